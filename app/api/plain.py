"""Routes whose endpoints do everything themselves, which costs less than FastAPI's resolving of what they depend on."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from inspect import signature
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response


class PlainRoute(APIRoute):
    """A route whose endpoint is called with the request and gives the response; what it says is only documentation.

    Raises:
        TypeError: When it is added with dependencies or further parameters, which would be skipped.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The endpoint itself."""
        if self.dependencies or len(signature(self.endpoint).parameters) != 1:
            raise TypeError(f"{self.path}: the endpoint of a PlainRoute takes the request alone; this one needs more")
        return self.endpoint
