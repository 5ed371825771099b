"""Plain routes: documented as all are, called with the request alone, and refused where that would skip something."""

from __future__ import annotations

from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from app.api.guards import admitted
from app.api.plain import PlainRoute
from app.api.routes.predict import portrait_router


async def guard() -> None:
    pass


async def endpoint(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.url.path)


async def endpoint_with_a_parameter(request: Request, wanted: Annotated[int, Query()]) -> PlainTextResponse:
    return PlainTextResponse(str(wanted))


def test_route_that_needs_more_than_the_request_cannot_be_plain():
    router = APIRouter(route_class=PlainRoute)
    router.get("/plain")(endpoint)
    with pytest.raises(TypeError, match="/guarded"):
        router.get("/guarded", dependencies=[Depends(guard)])(endpoint)
    with pytest.raises(TypeError, match="/asking"):
        router.get("/asking")(endpoint_with_a_parameter)


def test_predict_is_plain_and_asks_for_its_permit_itself(client):
    (route,) = portrait_router.routes
    assert isinstance(route, PlainRoute)
    assert client.app.router.routes[0] is route  # the busiest first
    assert admitted.__name__ in route.endpoint.__code__.co_names
