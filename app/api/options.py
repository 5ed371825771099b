"""The options of a request that brings an image: one model for the query and for the keys of a body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from app.api.problems import invalid_parameter
from app.contract.prediction_sets import COVERAGES
from app.domain import PredictOptions


def _check_coverage(value: float) -> float:
    if value not in COVERAGES:
        raise ValueError(f"expected one of {', '.join(map(str, COVERAGES))}")
    return value


# Documented without null, which a query does not have, and without an enum: generators of clients read no enum of
# numbers.
_COVERAGE_SCHEMA = {
    "type": "number",
    "minimum": min(COVERAGES),
    "maximum": max(COVERAGES),
    "examples": list(COVERAGES),
}
Coverage = Annotated[Annotated[float, AfterValidator(_check_coverage)] | None, WithJsonSchema(_COVERAGE_SCHEMA)]


class OptionsQuery(BaseModel):
    """The query parameters of every request that brings an image. Unknown parameters are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    detect: bool = Field(True, description="false: the image is one cropped face already; classify all of it")
    max_faces: int = Field(PredictOptions().max_faces, ge=1, le=1000, description="keep the largest N faces")
    min_face_size: int = Field(
        0, ge=0, le=100_000, description="drop faces smaller than this many pixels of the upright image"
    )
    require_face: bool = Field(False, description="true: an image without a face is an error")
    min_detection_confidence: float = Field(
        PredictOptions().min_detection_confidence,
        ge=0,
        le=1,
        description="drop faces with a lower detection_confidence. The Haar detector returns no face below 0.45",
    )
    min_confidence: float = Field(
        0, ge=0, le=1, description='a face whose top score is below this value has the emotion "uncertain"'
    )
    coverage: Coverage = Field(
        None,
        description="adds `prediction_set` to each face: the smallest set of emotions that holds the label with this"
        f" frequency, measured on FER2013. One of {', '.join(map(str, COVERAGES))}",
    )

    @classmethod
    def of_body(cls, values: Mapping[str, Any], *, strict: bool) -> OptionsQuery:
        """Return the options that a body carries.

        Args:
            values: Values by name.
            strict: True for values of a JSON document, which must have the type of the option. False for the texts of a
                form, which are read like those of the query.

        Raises:
            FerError: `invalid_parameter`.
        """
        try:
            return cls.model_validate(values, strict=strict)
        except ValidationError as error:
            raise invalid_parameter(error) from None

    def predict_options(self, body: OptionsQuery | None = None) -> PredictOptions:
        """Return the options of a request. A query parameter overrides the same option in the body.

        Args:
            body: Options of the body; None if the request has no body.
        """
        options = self
        if body is not None and body.model_fields_set:
            options = body.model_copy(update=self.model_dump(include=self.model_fields_set))
        return PredictOptions(
            detect=options.detect,
            max_faces=options.max_faces,
            min_face_size_px=options.min_face_size,
            require_face=options.require_face,
            min_confidence=options.min_confidence,
            coverage=options.coverage,
            min_detection_confidence=options.min_detection_confidence,
        )
