"""The error document."""

from __future__ import annotations

from app.api.schemas.base import Document
from app.errors import ErrorCode


class Problem(Document):
    """An error (RFC 9457), with `code` for programs."""

    type: str
    title: str
    status: int
    detail: str
    code: ErrorCode
    request_id: str
