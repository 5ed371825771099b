"""The engine of the service without HTTP. This is the only place where the benchmarks build it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.config import Settings
from app.engine.engine import Engine
from app.main import build_engine


@asynccontextmanager
async def open_engine(settings: Settings) -> AsyncIterator[Engine]:
    """Open the engine of the service, and stop it with the context."""
    engine = build_engine(settings)
    await engine.load()
    try:
        yield engine
    finally:
        await engine.stop()
