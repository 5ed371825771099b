"""The web page at `/` and its files from `app/web`."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse

from app.api.service import service_of
from app.errors import ErrorCode, FerError

_FOLDER = Path(__file__).parent.parent.parent / "web"
_FILES = frozenset(path.name for path in _FOLDER.iterdir()) - {"index.html"}
# Scripts, styles and pictures of this service only; no page may embed it. `connect-src 'self'` covers /ws.
_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "media-src blob:",
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


@router.get("/web/model-card")
async def model_card(request: Request) -> FileResponse:
    """Return the card of the served model as text: the Markdown file with the name of the model, else the README.

    Raises:
        FerError: `not_found`.
    """
    model = service_of(request).settings.model
    for card in (model.with_suffix(".md"), model.with_name("README.md")):
        if card.is_file():
            return FileResponse(card, headers=_HEADERS, media_type="text/plain; charset=utf-8")
    raise FerError(ErrorCode.NOT_FOUND, "the served model has no model card")


@router.get("/web/{name}")
async def page_file(name: str) -> FileResponse:
    """Return a script, style sheet or picture of the page.

    Raises:
        FerError: `not_found`.
    """
    if name not in _FILES:
        raise FerError(ErrorCode.NOT_FOUND, f"the page has no file {name[:100]}")
    return FileResponse(_FOLDER / name, headers=_HEADERS)
