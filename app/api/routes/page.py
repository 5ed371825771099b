"""The web page at `/` and its files from `app/web`."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse

from app.errors import ErrorCode, FerError

_FOLDER = Path(__file__).parent.parent.parent / "web"
_FILES = frozenset({"page.css", "icon.svg", "main.js", "service.js", "camera.js", "picture.js", "results.js"})
# Scripts, styles and pictures of this service only; no page may embed it. `connect-src 'self'` covers /ws.
_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # revalidated on each use, so that files of two versions never mix
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> FileResponse:
    """Return the page."""
    return FileResponse(_FOLDER / "index.html", headers=_HEADERS)


@router.get("/web/{name}")
async def page_file(name: str) -> FileResponse:
    """Return a script, style sheet or picture of the page.

    Raises:
        FerError: `not_found`.
    """
    if name not in _FILES:
        raise FerError(ErrorCode.NOT_FOUND, f"the page has no file {name[:100]}")
    return FileResponse(_FOLDER / name, headers=_HEADERS)
