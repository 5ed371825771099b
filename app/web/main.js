// Wires the page: photographs by file, drop and paste; the webcam; the API key; what is said to people.

import { Camera } from "./camera.js";
import { describe, Results } from "./results.js";
import { info, predict, ServiceError, useKey } from "./service.js";

const SAY_EVERY_MS = 3000; // screen readers are told of a live picture's change no more often
const ASK_AGAIN_MS = 2000;

const $ = (id) => document.getElementById(id);
const results = new Results({ boxes: $("boxes"), faces: $("faces") });
const camera = new Camera($("video"), { answer: showLive, problem: showError, end: endCamera });

let asked = null; // the request being answered; a newer one takes its place
let last = null; // the photograph shown, to be asked again once there is a key
let maxBytes = Infinity;
let starting = false;
let said = { text: "", at: 0 };

$("stage").classList.add("empty");
$("file").addEventListener("change", () => {
  if ($("file").files.length) showPhotograph($("file").files[0]);
  $("file").value = ""; // so that the same file can be chosen again
});
$("camera").addEventListener("click", () => !starting && (camera.running ? stopCamera() : startCamera()));
$("smoothing").addEventListener("change", () => camera.running && camera.connect(Number($("smoothing").value)));
$("key-form").addEventListener("submit", takeKey);
$("faces").addEventListener("pointerover", (event) => point(event, true));
$("faces").addEventListener("pointerout", (event) => point(event, false));
document.addEventListener("paste", (event) => offered(event, event.clipboardData));
for (const name of ["dragenter", "dragover"]) document.addEventListener(name, (event) => dragged(event, true));
for (const name of ["dragleave", "dragend"]) document.addEventListener(name, (event) => dragged(event, false));
document.addEventListener("drop", (event) => {
  dragged(event, false);
  offered(event, event.dataTransfer);
});
learnOfService();

async function learnOfService() {
  try {
    const known = await info();
    maxBytes = known.limits.max_body_bytes;
    $("model").textContent = `Model ${known.name} ${known.version}.`;
    $("key-form").hidden = true;
  } catch (error) {
    if (error.code === "unauthorized") askForKey();
    else if (error.code === "not_ready") setTimeout(learnOfService, ASK_AGAIN_MS);
    else showError(error.message);
  }
}

function dragged(event, over) {
  event.preventDefault();
  $("stage").classList.toggle("dropping", over);
}

function offered(event, transfer) {
  const file = transfer?.files[0];
  if (!file) return;
  event.preventDefault();
  showPhotograph(file);
}

async function showPhotograph(file) {
  stopCamera();
  asked?.abort();
  const mine = (asked = new AbortController());
  last = file;
  results.clear();
  showError("");
  showPicture(file);
  if (file.size > maxBytes) {
    say("No answer.");
    showError(`The file has ${megabytes(file.size)}. This service takes at most ${megabytes(maxBytes)}.`);
    return;
  }
  say("Looking for faces…");
  $("busy").hidden = false;
  try {
    const answer = await predict(file, mine.signal);
    setRatio(answer.image.width, answer.image.height);
    results.show(answer);
    say(describe(answer));
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof ServiceError)) throw error;
    say("No answer.");
    showError(error.message, error.code);
    if ($("frame").classList.contains("unshowable")) show("invitation");
  } finally {
    if (asked === mine) $("busy").hidden = true;
  }
}

function showPicture(file) {
  const photo = $("photo");
  if (photo.src) URL.revokeObjectURL(photo.src);
  show("photo");
  $("frame").classList.remove("unshowable");
  photo.onload = () => setRatio(photo.naturalWidth, photo.naturalHeight);
  photo.onerror = () => {
    // Not every browser shows every format that the service reads, TIFF for one; boxes and scores are shown still.
    photo.hidden = true;
    $("frame").classList.add("unshowable");
    if ($("error").textContent) show("invitation"); // no picture at all
  };
  photo.src = URL.createObjectURL(file);
}

function setRatio(width, height) {
  $("frame").style.setProperty("--ratio", width / height);
}

function show(what) {
  $("stage").classList.toggle("empty", what === "invitation");
  $("invitation").hidden = what !== "invitation";
  $("frame").hidden = what === "invitation";
  $("photo").hidden = what !== "photo";
  $("video").hidden = what !== "video";
  $("boxes").classList.toggle("following", what === "video");
}

async function startCamera() {
  asked?.abort();
  last = null;
  results.clear();
  showError("");
  starting = true; // not the button's disabled, which would take the focus away
  try {
    show("video");
    await camera.start(Number($("smoothing").value));
    setRatio($("video").videoWidth, $("video").videoHeight);
    $("camera").textContent = "Stop the webcam";
    $("camera").setAttribute("aria-pressed", "true");
    $("live").hidden = $("statistics").hidden = false;
    say("The webcam is on.");
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
  say("The webcam is off.");
}

function endCamera(message, code) {
  show("invitation");
  results.clear();
  $("camera").textContent = "Use the webcam";
  $("camera").setAttribute("aria-pressed", "false");
  $("live").hidden = $("statistics").hidden = true;
  $("statistics").textContent = "";
  say("Nothing to show yet.");
  showError(message, code);
}

function showLive(answer, { rate, delay_ms, dropped }) {
  showError("");
  setRatio(answer.image.width, answer.image.height);
  results.show(answer, { mirrored: true });
  $("statistics").textContent = `${Math.round(rate)} frames/s · ${Math.round(delay_ms)} ms · ${dropped} dropped`;
  const now = performance.now();
  if (now - said.at >= SAY_EVERY_MS) say(describe(answer));
}

function say(text) {
  if (text !== said.text) $("summary").textContent = text;
  said = { text, at: performance.now() };
}

function showError(message, code) {
  if ($("error").textContent !== message) $("error").textContent = message;
  if (code === "unauthorized") askForKey();
}

function askForKey() {
  $("key-form").hidden = false;
  $("key").focus();
}

function takeKey(event) {
  event.preventDefault();
  useKey($("key").value);
  $("key").value = "";
  showError("");
  learnOfService();
  if (last) showPhotograph(last);
}

function point(event, pointed) {
  const card = event.target.closest(".face");
  if (card) results.point([...$("faces").children].indexOf(card), pointed);
}

function megabytes(bytes) {
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}
