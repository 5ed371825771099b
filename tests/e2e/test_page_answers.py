"""Answers on the page, in Chromium: doubt, downloads, samples, phones, and the rules of axe."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator

import cv2
import httpx2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from app.contract.labels import LABELS
from tests.e2e.browser import expect_error, expect_faces, needs_chromium, opened
from tests.e2e.test_page_video import download
from tests.support.images import ASTRONAUT
from tests.support.paths import REPOSITORY
from tests.support.process import service_process

pytestmark = needs_chromium
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


@pytest.fixture(scope="module")
def doubtful(tmp_path_factory) -> Iterator[httpx2.Client]:
    """A service whose model has such low thresholds that the prediction sets of many faces hold two emotions."""
    folder = tmp_path_factory.mktemp("model")
    for path in (REPOSITORY / "models").glob("fer_vgg.*"):
        shutil.copy(path, folder)
    manifest = folder / "fer_vgg.manifest.json"
    document = json.loads(manifest.read_text())
    thresholds = dict.fromkeys(LABELS, 0.5) | {"neutral": 0.01}
    document["prediction_sets"] = {"0.9": {"method": "class_conditional", "thresholds": thresholds}}
    manifest.write_text(json.dumps(document))
    with service_process(stderr=subprocess.DEVNULL, FER_MODEL=str(folder / "fer_vgg.onnx")) as (client, _):
        yield client


def test_face_with_more_than_one_possible_emotion_is_unclear(browser, doubtful):
    with opened(browser, doubtful) as page:
        page.set_input_files("#file", ASTRONAUT)
        expect_faces(page, 1)
        expect(page.locator("#summary")).to_have_text("One face. Its expression is unclear: happy or neutral.")
        expect(page.locator(".face .name")).to_have_text("unclear")
        expect(page.locator(".face .doubt")).to_have_text("happy or neutral")
        expect(page.locator(".box .tag")).to_have_text("1 unclear")
        assert [row.inner_text().split()[0] for row in page.locator(".face .scores li").all()] == ["happy", "neutral"]
        picture = cv2.imdecode(np.frombuffer(download(page, "Picture"), np.uint8), cv2.IMREAD_COLOR)
        (row,) = csv.DictReader(io.StringIO(download(page, "CSV").decode()))
        top, left, width = int(row["y"]), int(row["x"]), int(row["width"])
        light = np.abs(picture[top, left : left + width].astype(int) - (238, 231, 228)).max(axis=1) < 40
        assert 0.2 < light.mean() < 0.9  # dashes
        assert (row["emotion"], row["prediction_set"]) == ("happy", "happy neutral")


def test_leading_scores_of_an_unclear_face_are_those_of_its_set(browser, service):
    with opened(browser, service) as page:
        page.get_by_role("button", name="mean faces", exact=True).click()
        expect_faces(page, 7)
        cards = page.locator('.face[data-emotion="unclear"]').all()
        assert 0 < len(cards) < 7
        for card in cards:
            possible = re.split(", | or ", card.locator(".doubt").inner_text())
            assert [row.inner_text() for row in card.locator(".label").all()] == possible[:2]
        page.get_by_role("button", name="Show all scores").click()
        assert cards[0].locator(".label").count() == 7


def test_tags_that_would_cover_each_other_show_only_the_number(browser, service):
    for device, shown in ((PHONE, "none"), ({}, "inline")):
        with opened(browser, service, **device) as page:
            page.get_by_role("button", name="mean faces", exact=True).click()
            expect_faces(page, 7)
            words = page.locator(".tag span").all()
            assert {word.evaluate("word => getComputedStyle(word).display") for word in words} == {shown}


def test_webcam_shows_unclear_faces_too(browser, doubtful):
    with opened(browser, doubtful) as page:
        page.get_by_role("button", name="Use the webcam").click()
        expect(page.locator(".face .name")).to_have_text("unclear")


def test_model_without_prediction_sets_names_the_emotion(page):
    page.route("**/info", lambda route: route.fulfill(json={**route.fetch().json(), "coverages": []}))
    page.reload()
    page.set_input_files("#file", ASTRONAUT)
    expect(page.locator(".face .name")).to_have_text("happy")
    expect(page.locator(".face .doubt")).to_be_hidden()


def test_downloads_of_a_photo(page, service, pictures):
    page.set_input_files("#file", pictures / "group.jpg")
    expect_faces(page, 5)
    expected = service.post("/predict", content=(pictures / "group.jpg").read_bytes()).json()
    document = json.loads(download(page, "JSON"))
    assert document["path"] == "group.jpg"
    assert [face["box"] for face in document["faces"]] == [face["box"] for face in expected["faces"]]
    rows = list(csv.DictReader(io.StringIO(download(page, "CSV").decode())))
    assert [int(row["face"]) for row in rows] == [1, 2, 3, 4, 5]
    assert [float(row["happy"]) for row in rows] == [face["scores"]["happy"] for face in expected["faces"]]
    drawn = cv2.imdecode(np.frombuffer(download(page, "Picture"), np.uint8), cv2.IMREAD_COLOR)
    original = cv2.imread(str(pictures / "group.jpg"))
    assert drawn.shape == original.shape
    box = expected["faces"][0]["box"]
    edge = (slice(box["y"] + 40, box["y"] + box["height"] - 40), box["x"])
    assert np.abs(drawn[edge].astype(int) - original[edge]).mean() > 20


def test_csv_of_the_page_has_the_columns_of_the_command_line(page):
    from app.cli.output import CSV_COLUMNS

    page.set_input_files("#file", ASTRONAUT)
    expect_faces(page, 1)
    assert download(page, "CSV").decode().splitlines()[0] == ",".join(CSV_COLUMNS)


@pytest.mark.parametrize(("name", "faces"), [("portrait", 1), ("mean faces", 7), ("video", 1)])
def test_samples_can_be_tried(page, name, faces):
    page.get_by_role("button", name=name, exact=True).click()
    expect_faces(page, faces)


def test_phone_has_words_and_cameras_of_a_phone(browser, service):
    with opened(browser, service, **PHONE) as page:
        expect(page.get_by_text("Drop a photo or video here")).to_have_count(0)
        expect(page.locator("label.primary")).to_have_text("Take or choose a photo or video")
        page.get_by_role("button", name="Use the camera").click()
        expect_faces(page, 1)
        page.get_by_role("button", name="Stop the camera").click()


def test_second_camera_can_be_chosen(browser, service):
    with opened(browser, service, **PHONE) as page:
        # Chromium's fake webcam is one device. The second camera of this test is the same device, on the back.
        page.evaluate(
            """() => {
                const devices = navigator.mediaDevices;
                const open = devices.getUserMedia.bind(devices);
                const cameras = ["front", "back"].map((deviceId) => ({ deviceId, kind: "videoinput" }));
                devices.enumerateDevices = async () => cameras;
                devices.getUserMedia = async ({ video }) => {
                    const media = await open({ video: { width: 640, height: 480 } });
                    media.getVideoTracks()[0].getSettings = () => ({ facingMode: video.facingMode });
                    return media;
                };
            }"""
        )
        page.get_by_role("button", name="Use the camera").click()
        expect_faces(page, 1)
        expect(page.locator("#frame")).to_have_class(re.compile("mirrored"))
        page.get_by_role("button", name="Switch camera").click()
        expect(page.locator("#frame")).not_to_have_class(re.compile("mirrored"))
        expect_faces(page, 1)
        page.get_by_role("button", name="Switch camera").click()
        expect(page.locator("#frame")).to_have_class(re.compile("mirrored"))
        page.get_by_role("button", name="Stop the camera").click()
        expect(page.get_by_role("button", name="Switch camera")).to_be_hidden()


def test_page_links_to_the_model_card(page, service):
    with page.expect_navigation():
        page.get_by_role("link", name="Model card").click()
    expect(page.locator("body")).to_contain_text(f"Model card: fer_vgg {service.get('/info').json()['version']}")


def test_page_links_to_the_source_code_of_the_operator(browser, page):
    expect(page.get_by_role("link", name="Source")).to_have_count(0)
    with (
        service_process(FER_SOURCE_URL="https://git.example.com/fer") as (client, _),
        opened(browser, client) as linked,
    ):
        expect(linked.get_by_role("link", name="Source")).to_have_attribute("href", "https://git.example.com/fer")


def show_start(page: Page, pictures) -> None:
    expect(page.locator("#model")).to_contain_text("Model")


def show_faces(page: Page, pictures) -> None:
    page.set_input_files("#file", pictures / "group.jpg")
    expect_faces(page, 5)


def show_video(page: Page, pictures) -> None:
    page.set_input_files("#file", pictures / "clip.webm")
    expect_faces(page, 2)


def show_webcam(page: Page, pictures) -> None:
    page.locator("#camera").click()
    expect_faces(page, 1)


def show_error(page: Page, pictures) -> None:
    page.set_input_files("#file", pictures / "letter.jpg")
    expect_error(page, "Could not analyse this photo.")


@pytest.mark.parametrize(
    ("scheme", "device"),
    [
        pytest.param("light", {}, id="light desktop"),
        pytest.param("dark", PHONE, id="dark phone"),
        pytest.param("dark", {}, id="dark desktop", marks=pytest.mark.slow),
        pytest.param("light", PHONE, id="light phone", marks=pytest.mark.slow),
    ],
)
def test_axe_finds_nothing(browser, doubtful, pictures, scheme, device):
    for show in (show_start, show_faces, show_video, show_webcam, show_error):
        with opened(browser, doubtful, color_scheme=scheme, **device) as page:
            show(page, pictures)
            found = Axe().run(page).response["violations"]
            assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in found] == [], show.__name__
