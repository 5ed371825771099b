"""What a caller may choose, as query parameters: the same for every way to send an image.

Read by one model and documented from it. FastAPI's own way, a dependency with a parameter for each, costs a small
request as much time as the whole of its routing.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import HTTPConnection

from app.api.documentation import inlined_schema
from app.api.problems import invalid_parameter
from app.domain import PredictOptions


class OptionsQuery(BaseModel):
    """The query parameters of every request that brings an image."""

    model_config = ConfigDict(frozen=True)

    detect: bool = Field(True, description="false: the image is already one cropped face; classify all of it")
    max_faces: int = Field(100, ge=1, le=1000, description="keep the largest N faces")
    min_face_size: int = Field(0, ge=0, le=100_000, description="drop faces smaller than this many pixels")
    require_face: bool = Field(False, description="true: an image without a face is an error")

    @property
    def options(self) -> PredictOptions:
        """In the domain's words."""
        return PredictOptions(self.detect, self.max_faces, self.min_face_size, self.require_face)


Query = TypeVar("Query", bound=OptionsQuery)


def read_query(connection: HTTPConnection, model: type[Query]) -> Query:
    """The query parameters of a request; of one that is given twice, the last. Unknown ones are left alone.

    Raises:
        FerError: `invalid_parameter`.
    """
    try:
        return model.model_validate(dict(connection.query_params))
    except ValidationError as error:
        raise invalid_parameter(error) from None


def query_parameters(model: type[OptionsQuery]) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads them."""
    parameters = [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema["description"],
            "schema": {key: value for key, value in schema.items() if key != "description"},
        }
        for name, schema in inlined_schema(model)["properties"].items()
    ]
    return {"parameters": parameters}
