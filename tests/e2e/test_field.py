"""The files that people reported against similar software, on the service with its model."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from tests.support.field import FIELD_IMAGES, FieldCase, describe, field_cases, needs_field_images
from tests.support.process import service_process

pytestmark = needs_field_images
CASES = list(field_cases())


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    with service_process() as (client, _):
        yield client


def test_field_images_exist():
    assert len(CASES) >= 40, FIELD_IMAGES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.path.name)
def test_field_image_is_answered_as_its_readme_asks(client, case: FieldCase):
    response = client.post("/predict" + case.query, content=case.path.read_bytes())
    assert case.is_met(response.status_code, response.json()), (
        f"wanted: {case.wanted}; received: {describe(response.status_code, response.json())}"
    )
