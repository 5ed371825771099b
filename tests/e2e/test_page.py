"""The page in Chromium against a running service: images, webcam, errors, API keys, accessibility."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from app.contract.labels import LABELS
from tests.e2e.browser import FACE, TIMEOUT_MS, expect_error, expect_faces, needs_chromium, opened
from tests.support.images import ASTRONAUT
from tests.support.process import service_process

pytestmark = needs_chromium


def test_chosen_photograph_shows_its_face_with_seven_scores(page, service):
    page.set_input_files("#file", ASTRONAUT)
    expect_faces(page, 1)
    expect(page.get_by_role("status")).to_have_text(re.compile(r"^One face\. It looks happy \(9\d %\)\.$"))
    rows = page.locator(".face .scores li")
    expect(rows).to_have_count(2)
    assert rows.first.inner_text().startswith("happy")
    page.get_by_role("button", name="Show all scores").click()
    assert [text.split("\n")[0] for text in rows.all_inner_texts()] == list(LABELS)
    assert sum(int(re.search(r"(\d+) %", text)[1]) for text in rows.all_inner_texts()) == pytest.approx(100, abs=3)
    response = service.post("/predict", content=ASTRONAUT.read_bytes()).json()
    shown, photo = page.locator(".box").bounding_box(), page.locator("#photo").bounding_box()
    scale = photo["width"] / response["image"]["width"]
    box = response["faces"][0]["box"]
    assert shown["x"] - photo["x"] == pytest.approx(box["x"] * scale, abs=1.5)
    assert shown["y"] - photo["y"] == pytest.approx(box["y"] * scale, abs=1.5)
    assert shown["width"] == pytest.approx(box["width"] * scale, abs=1.5)


def test_faces_have_the_same_numbers_in_image_and_list(page, pictures):
    page.set_input_files("#file", pictures / "group.jpg")
    expect_faces(page, 5)
    expect(page.get_by_role("status")).to_contain_text("5 faces")
    assert page.locator(".box .tag b").all_text_contents() == list("12345")
    assert page.locator(".face .number").all_text_contents() == [f"Face {number}" for number in range(1, 6)]
    page.locator(".face").nth(2).hover()
    expect(page.locator(".box").nth(2)).to_have_class(re.compile("highlighted"))
    expect(page.locator(".box.highlighted")).to_have_count(1)


def test_image_without_a_face_is_not_an_error(page, pictures):
    page.set_input_files("#file", ASTRONAUT)
    expect_faces(page, 1)
    page.set_input_files("#file", pictures / "empty.jpg")
    expect(page.get_by_role("status")).to_contain_text("No face found")
    expect_faces(page, 0)
    expect(page.locator("#error")).to_have_text("")


def test_error_is_shown_until_the_next_image(page, pictures):
    page.set_input_files("#file", pictures / "letter.jpg")
    expect_error(page, "Could not analyse this photo. Expected a JPEG, PNG, WebP, AVIF, HEIC, BMP, GIF or TIFF file.")
    expect(page.get_by_text("Drop a photo or video here")).to_be_visible()
    page.set_input_files("#file", ASTRONAUT)
    expect_faces(page, 1)
    expect(page.locator("#error")).to_have_text("")


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_pasted_or_dropped_image_is_predicted(page, way):
    page.evaluate(
        """([way, text]) => {
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "a.jpg", { type: "image/jpeg" }));
            const options = { bubbles: true, cancelable: true };
            document.getElementById("stage").dispatchEvent(way === "paste"
                ? new ClipboardEvent("paste", { ...options, clipboardData: transfer })
                : new DragEvent("drop", { ...options, dataTransfer: transfer }));
        }""",
        [way, base64.b64encode(ASTRONAUT.read_bytes()).decode()],
    )
    expect_faces(page, 1)


def test_image_without_a_preview_in_the_browser_is_predicted(page, pictures):
    from PIL import Image

    Image.open(ASTRONAUT).save(pictures / "portrait.tiff")
    page.set_input_files("#file", pictures / "portrait.tiff")
    expect_faces(page, 1)
    expect(page.locator("#photo")).to_be_hidden()


def write_large(path: Path, side: int = 7000) -> tuple[float, float, float]:
    """Write a photograph of 49 megapixels, and return left, top and width of its face as shares of the side."""
    zoom = side / 640
    matrix = np.array([[zoom, 0, 0], [0, zoom, 0]])
    scene = cv2.warpAffine(cv2.imread(str(ASTRONAUT)), matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
    scene[:2000, 5000:] = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3))  # makes the file large
    cv2.imwrite(str(path), scene)
    return tuple(value * zoom / side for value in (FACE.x, FACE.y, FACE.width))


def record_uploads(page: Page) -> None:
    """Record the size of every upload in bytes: Chromium does not report the body of a request with a file."""
    page.evaluate(
        """() => {
            const send = window.fetch;
            window.uploads = [];
            window.fetch = (path, options) => {
                if (options.body) window.uploads.push(options.body.size);
                return send(path, options);
            };
        }"""
    )


def uploads_of(page: Page) -> list[int]:
    return page.evaluate("window.uploads")


def expect_box_at(page: Page, left: float, top: float, width: float) -> None:
    shown, photo = page.locator(".box").bounding_box(), page.locator("#photo").bounding_box()
    assert (shown["x"] - photo["x"]) / photo["width"] == pytest.approx(left, abs=0.03)
    assert (shown["y"] - photo["y"]) / photo["height"] == pytest.approx(top, abs=0.03)
    assert shown["width"] / photo["width"] == pytest.approx(width, abs=0.04)


@pytest.mark.parametrize("suffix", ["jpg", "png"])  # the service refuses a PNG of 49 megapixels
def test_large_photograph_is_scaled_before_the_upload(page, pictures, suffix):
    place = write_large(pictures / f"large.{suffix}")
    record_uploads(page)
    page.set_input_files("#file", pictures / f"large.{suffix}")
    expect_faces(page, 1)
    (size,) = uploads_of(page)
    assert size < 0.5 * (pictures / f"large.{suffix}").stat().st_size
    expect_box_at(page, *place)


def test_refused_file_is_sent_again_as_a_jpeg_of_the_browser(page, pictures):
    # A picture that the browser reads and the service does not, as HEIC with some browsers and services.
    photo = base64.b64encode(ASTRONAUT.read_bytes()).decode()
    image = f'<image href="data:image/jpeg;base64,{photo}" width="512" height="512"/>'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="512" height="512">{image}</svg>'
    (pictures / "photo.svg").write_text(svg)
    record_uploads(page)
    page.set_input_files("#file", pictures / "photo.svg")
    expect_faces(page, 1)
    assert len(uploads_of(page)) == 2
    expect(page.locator("#error")).to_have_text("")


def test_small_photograph_is_sent_as_it_is(page):
    record_uploads(page)
    page.set_input_files("#file", ASTRONAUT)
    expect_faces(page, 1)
    assert uploads_of(page) == [ASTRONAUT.stat().st_size]


def test_size_of_a_refused_picture_is_given_in_megapixels(page, pictures):
    from PIL import Image

    Image.new("L", (8000, 6000)).save(pictures / "large.tiff", compression="tiff_deflate")
    page.set_input_files("#file", pictures / "large.tiff")
    expect_error(page, "At most 40 megapixels")
    expect_error(page, "Received: 48 megapixels (8000x6000)")


def test_webcam_boxes_move_with_the_face(page):
    page.get_by_role("button", name="Use the webcam").click()
    expect_faces(page, 1)
    expect(page.locator(".face .name")).to_have_text("happy")
    expect(page.locator("#statistics")).to_contain_text(re.compile(r"[1-9]\d* frames/s"))
    first = page.locator(".box").bounding_box()
    page.wait_for_function(
        "before => Math.abs(document.querySelector('.box').getBoundingClientRect().x - before) > 10", arg=first["x"]
    )
    page.get_by_role("button", name="Stop the webcam").click()
    expect_faces(page, 0)
    expect(page.get_by_text("Drop a photo or video here")).to_be_visible()


def test_choosing_an_image_stops_the_webcam(page):
    page.get_by_role("button", name="Use the webcam").click()
    expect_faces(page, 1)
    page.set_input_files("#file", ASTRONAUT)
    expect(page.locator("#photo")).to_be_visible()
    expect(page.get_by_role("button", name="Use the webcam")).to_be_visible()
    expect_faces(page, 1)
    assert page.evaluate("document.getElementById('video').srcObject") is None


def test_webcam_reconnects_and_stops_after_the_service_ended(browser):
    with service_process(FER_DRAIN_S="0") as (client, process), opened(browser, client) as page:
        page.get_by_role("button", name="Use the webcam").click()
        expect_faces(page, 1)
        process.terminate()
        expect_error(page, "Trying again")
        expect_error(page, "The connection to the service was lost.")
        expect(page.get_by_role("button", name="Use the webcam")).to_be_visible(timeout=TIMEOUT_MS)
        page.errors.clear()  # Chromium logs every WebSocket that fails to open


def test_key_is_requested_used_and_not_stored(browser):
    with service_process(FER_API_KEYS="secret") as (client, _), opened(browser, client) as page:
        key = page.get_by_label("API key")
        expect(key).to_be_focused(timeout=TIMEOUT_MS)
        page.set_input_files("#file", ASTRONAUT)
        expect_error(page, "Expected a valid API key")
        key.fill("secret")
        key.press("Enter")
        expect_faces(page, 1)  # the page sends the image again
        expect(key).to_be_hidden()
        page.get_by_role("button", name="Use the webcam").click()
        expect(page.locator("#statistics")).to_contain_text("frames/s", timeout=TIMEOUT_MS)
        expect_faces(page, 1)
        assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
        assert "secret" not in page.url + page.content()
        page.reload()
        expect(page.get_by_label("API key")).to_be_focused(timeout=TIMEOUT_MS)


def test_keyboard_reaches_all_controls_in_order(page):
    focused = []
    for _ in range(7):
        page.keyboard.press("Tab")
        focused.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert focused == ["Model card", "API", "portrait", "mean faces", "video", "file", "camera"]
    page.keyboard.press("Space")
    expect_faces(page, 1)
    expect(page.get_by_role("button", name="Stop the webcam")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Smoothing")).to_be_focused()


def test_all_controls_have_accessible_names(page):
    page.set_input_files("#file", ASTRONAUT)
    expect_faces(page, 1)
    for role, name in (
        ("heading", re.compile("fer-serve")),
        ("heading", re.compile("Face 1 *happy")),
        ("region", "Picture"),
        ("region", "Faces"),
        ("img", re.compile("Your photo")),
        ("button", "Use the webcam"),
    ):
        expect(page.get_by_role(role, name=name)).to_be_visible()
    expect(page.get_by_label("Choose a photo or video")).to_have_count(1)
    unnamed = page.evaluate(
        """[...document.querySelectorAll("input, button, img, video")]
            .filter((part) => !(part.labels?.length || part.alt != null || part.ariaLabel || part.textContent))
            .map((part) => part.outerHTML)"""
    )
    assert unnamed == []


@pytest.mark.parametrize("width", [360, 768, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_the_window_and_has_enough_contrast(browser, service, width, scheme):
    with opened(browser, service, viewport={"width": width, "height": 800}, color_scheme=scheme) as page:
        page.set_input_files("#file", ASTRONAUT)
        expect_faces(page, 1)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for selector in (
            ".summary",
            ".face h3",
            ".scores li",
            ".button.primary",
            "#camera",
            ".notes p",
            "h1 span",
            "nav a",
        ):
            assert contrast(page, selector) >= 4.5, selector  # WCAG 2.2, 1.4.3


def contrast(page: Page, selector: str) -> float:
    """Return the contrast ratio of the text of an element to its background, as WCAG defines it."""
    colours = page.evaluate(
        """selector => {
            const element = document.querySelector(selector);
            let behind = element;
            while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
            return [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
        }""",
        selector,
    )
    dark, light = sorted(luminance([int(part) for part in re.findall(r"\d+", colour)[:3]]) for colour in colours)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: list[int]) -> float:
    shares = [part / 255 for part in colour]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_page_explains_privacy_and_scores(page):
    expect(page.get_by_text("Nothing is stored.")).to_be_visible()
    expect(page.get_by_text("These are apparent expressions.")).to_be_visible()
