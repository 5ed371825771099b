// Connects the elements of the page: images by file, drop and paste, the webcam, the API key, the status line.

import { Camera } from "./camera.js";
import { asJpeg, forUpload } from "./picture.js";
import { describe, Results } from "./results.js";
import { info, predict, ServiceError, useKey } from "./service.js";

const ANNOUNCE_EVERY_MS = 3000; // limits announcements of screen readers while the webcam runs
const INFO_RETRY_MS = 2000;
// Errors about a file that a JPEG made by the browser may not have.
const FILE_ERRORS = ["unsupported_image_format", "undecodable_image", "too_many_pixels", "payload_too_large"];

const $ = (id) => document.getElementById(id);
const results = new Results({ boxes: $("boxes"), faces: $("faces") });
const camera = new Camera($("video"), { answer: showLive, problem: showError, end: endCamera });

let pending = null; // AbortController of the request in progress; a newer request aborts it
let shownFile = null; // the image on the page; sent again when the user enters an API key
let maxBytes = Infinity;
let starting = false;
let announced = { text: "", at: 0 };

$("stage").classList.add("empty");
$("file").addEventListener("change", () => {
  if ($("file").files.length) showImage($("file").files[0]);
  $("file").value = ""; // allows the user to choose the same file again
});
$("camera").addEventListener("click", () => !starting && (camera.running ? stopCamera() : startCamera()));
$("smoothing").addEventListener("change", () => camera.running && camera.connect(Number($("smoothing").value)));
$("key-form").addEventListener("submit", submitKey);
$("faces").addEventListener("pointerover", (event) => highlight(event, true));
$("faces").addEventListener("pointerout", (event) => highlight(event, false));
document.addEventListener("paste", (event) => acceptFile(event, event.clipboardData));
for (const name of ["dragenter", "dragover"]) document.addEventListener(name, (event) => highlightDrop(event, true));
for (const name of ["dragleave", "dragend"]) document.addEventListener(name, (event) => highlightDrop(event, false));
document.addEventListener("drop", (event) => {
  highlightDrop(event, false);
  acceptFile(event, event.dataTransfer);
});
loadServiceInfo();

async function loadServiceInfo() {
  try {
    const service = await info();
    maxBytes = service.limits.max_body_bytes;
    $("model").textContent = `Model ${service.name} ${service.version}.`;
    $("key-form").hidden = true;
  } catch (error) {
    if (error.code === "unauthorized") showKeyForm();
    else if (error.code === "not_ready") setTimeout(loadServiceInfo, INFO_RETRY_MS);
    else showError(error.message);
  }
}

function highlightDrop(event, over) {
  event.preventDefault();
  $("stage").classList.toggle("dropping", over);
}

function acceptFile(event, transfer) {
  const file = transfer?.files[0];
  if (!file) return;
  event.preventDefault();
  showImage(file);
}

async function showImage(file) {
  stopCamera();
  pending?.abort();
  const controller = (pending = new AbortController());
  shownFile = file;
  results.clear();
  showError("");
  showPreview(file);
  announce("Looking for faces…");
  $("busy").hidden = false;
  try {
    const answer = await predictPhotograph(file, controller.signal);
    setRatio(answer.image.width, answer.image.height);
    results.show(answer);
    announce(describe(answer));
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof ServiceError)) throw error;
    announce("No answer.");
    showError(error.message, error.code);
    if ($("frame").classList.contains("no-preview")) setView("invitation");
  } finally {
    if (pending === controller) $("busy").hidden = true;
  }
}

/** Return the answer for a file. A file that the service refuses is sent again as a JPEG, if the browser can read it. */
async function predictPhotograph(file, signal) {
  try {
    return await predictWithinLimit(await forUpload(file), signal);
  } catch (error) {
    if (!FILE_ERRORS.includes(error.code)) throw error;
    const converted = await asJpeg(file);
    if (!converted) throw error;
    return predictWithinLimit(converted, signal);
  }
}

function predictWithinLimit(file, signal) {
  signal.throwIfAborted();
  if (file.size <= maxBytes) return predict(file, signal);
  const limit = `This service accepts at most ${megabytes(maxBytes)}`;
  throw new ServiceError(`The file has ${megabytes(file.size)}. ${limit}`, "payload_too_large");
}

function showPreview(file) {
  const photo = $("photo");
  if (photo.src) URL.revokeObjectURL(photo.src);
  setView("photo");
  $("frame").classList.remove("no-preview");
  photo.onload = () => setRatio(photo.naturalWidth, photo.naturalHeight);
  photo.onerror = () => {
    // Browsers cannot show all formats that the service reads, for example TIFF. The page still shows boxes and scores.
    photo.hidden = true;
    $("frame").classList.add("no-preview");
    if ($("error").textContent) setView("invitation"); // the file is not an image
  };
  photo.src = URL.createObjectURL(file);
}

function setRatio(width, height) {
  $("frame").style.setProperty("--ratio", width / height);
}

function setView(view) {
  $("stage").classList.toggle("empty", view === "invitation");
  $("invitation").hidden = view !== "invitation";
  $("frame").hidden = view === "invitation";
  $("photo").hidden = view !== "photo";
  $("video").hidden = view !== "video";
  $("boxes").classList.toggle("live-boxes", view === "video");
}

async function startCamera() {
  pending?.abort();
  shownFile = null;
  results.clear();
  showError("");
  starting = true; // a disabled button would lose the keyboard focus
  try {
    setView("video");
    await camera.start(Number($("smoothing").value));
    setRatio($("video").videoWidth, $("video").videoHeight);
    $("camera").textContent = "Stop the webcam";
    $("camera").setAttribute("aria-pressed", "true");
    $("live").hidden = $("statistics").hidden = false;
    announce("The webcam is on.");
  } catch (error) {
    endCamera(error.message);
  } finally {
    starting = false;
  }
}

function stopCamera() {
  if (!camera.running) return;
  camera.stop();
  endCamera("");
  announce("The webcam is off.");
}

function endCamera(message, code) {
  setView("invitation");
  results.clear();
  $("camera").textContent = "Use the webcam";
  $("camera").setAttribute("aria-pressed", "false");
  $("live").hidden = $("statistics").hidden = true;
  $("statistics").textContent = "";
  announce("Nothing to show yet.");
  showError(message, code);
}

function showLive(answer, { rate, delay_ms, dropped }) {
  showError("");
  setRatio(answer.image.width, answer.image.height);
  results.show(answer, { mirrored: true });
  $("statistics").textContent = `${Math.round(rate)} frames/s · ${Math.round(delay_ms)} ms · ${dropped} dropped`;
  const now = performance.now();
  if (now - announced.at >= ANNOUNCE_EVERY_MS) announce(describe(answer));
}

function announce(text) {
  if (text !== announced.text) $("summary").textContent = text;
  announced = { text, at: performance.now() };
}

function showError(message, code) {
  if ($("error").textContent !== message) $("error").textContent = message;
  if (code === "unauthorized") showKeyForm();
}

function showKeyForm() {
  $("key-form").hidden = false;
  $("key").focus();
}

function submitKey(event) {
  event.preventDefault();
  useKey($("key").value);
  $("key").value = "";
  showError("");
  loadServiceInfo();
  if (shownFile) showImage(shownFile);
}

function highlight(event, highlighted) {
  const card = event.target.closest(".face");
  if (card) results.highlight([...$("faces").children].indexOf(card), highlighted);
}

function megabytes(bytes) {
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}
