// Connects the elements of the page: photos, videos, the camera, the API key, the status line.

import { Camera } from "./camera.js";
import { Clip } from "./clip.js";
import * as download from "./download.js";
import { onFile } from "./files.js";
import {
  $, announce, announceSometimes, hasPreview, setRatio, setView, showError, showKeyForm, showPreview, showStatistics,
} from "./page.js";
import { predictPhoto } from "./photo.js";
import { Results } from "./results.js";
import { info, ServiceError, useKey } from "./service.js";
import { Timeline } from "./timeline.js";
import { describe } from "./words.js";

const INFO_RETRY_MS = 2000;
const COVERAGE = 0.9; // share of the prediction sets that hold the label
const VIDEO_NAMES = /\.(mp4|m4v|mov|webm|mkv|avi|ogv)$/i;
const DEVICE = matchMedia("(pointer: coarse)").matches ? "camera" : "webcam";

const results = new Results({ boxes: $("boxes"), faces: $("faces") });
const camera = new Camera($("video"), { answer: showLive, problem: showError, end: endCamera });
const clip = new Clip($("video"), { show: showRecord, record: addRecord, problem: showClipError, change: showTime });
const timeline = new Timeline(
  { canvas: $("rows"), labels: $("tracks"), position: $("position"), time: $("time"), note: $("timeline-note") },
  { seek: (time_s) => clip.seek(time_s) },
);

let pending = null; // AbortController of the request in progress; a newer request aborts it
let photo = null; // {file, answer} on the page; sent again when the user enters an API key
let service = { maxBytes: Infinity, coverage: {} };
let loaded = loadServiceInfo();
let starting = false;

setView("invitation");
onFile(showFile);
$("camera").addEventListener("click", () => !starting && (camera.running ? stopCamera() : startCamera()));
$("switch").addEventListener("click", switchCamera);
$("smoothing").addEventListener("change", () => {
  for (const source of [camera, clip]) if (source.running) source.connect(streamParameters());
});
$("play").addEventListener("click", () => clip.toggle());
$("all").addEventListener("click", toggleAll);
$("save-picture").addEventListener("click", savePicture);
$("save-csv").addEventListener("click", () => saveTable("csv", download.photoCsv, download.videoCsv));
$("save-json").addEventListener("click", () => saveTable("json", download.photoJson, download.videoJson));
$("key-form").addEventListener("submit", submitKey);
$("faces").addEventListener("pointerover", (event) => highlight(event, true));
$("faces").addEventListener("pointerout", (event) => highlight(event, false));
if (DEVICE === "camera") {
  for (const part of document.querySelectorAll("[data-phone]")) part.textContent = part.dataset.phone;
}
showCameraButton();

async function loadServiceInfo() {
  try {
    const model = await info();
    const coverage = model.coverages?.includes(COVERAGE) ? { coverage: COVERAGE } : {};
    service = { maxBytes: model.limits.max_body_bytes, coverage };
    $("model").textContent = `Model ${model.name} ${model.version}.`;
    $("key-form").hidden = true;
    $("source").hidden = !model.source_url;
    if (model.source_url) $("source").href = model.source_url;
  } catch (error) {
    if (error.code === "unauthorized") showKeyForm();
    else if (error.code === "not_ready") setTimeout(loadServiceInfo, INFO_RETRY_MS);
    else showError(error.message);
  }
}

function streamParameters() {
  return { smoothing: $("smoothing").value, ...service.coverage };
}

function showFile(file) {
  reset();
  if (file.type.startsWith("video/") || VIDEO_NAMES.test(file.name)) showVideo(file);
  else showPhoto(file);
}

/** Stop everything that is on the page. */
function reset() {
  pending?.abort();
  pending = photo = null;
  if (camera.running) stopCamera();
  if (clip.running) clip.stop();
  $("busy").hidden = $("timeline").hidden = $("live").hidden = $("statistics").hidden = true;
  document.querySelector("main").classList.remove("playing");
  clearResults();
  showError("");
}

function clearResults() {
  results.clear();
  $("all").hidden = $("downloads").hidden = true;
}

function showAnswer(answer, options) {
  setRatio(answer.image.width, answer.image.height);
  results.show(answer, options);
  $("all").hidden = answer.faces.length === 0;
}

async function showPhoto(file) {
  const controller = (pending = new AbortController());
  photo = { file, answer: null };
  showPreview(file);
  announce("Looking for faces…");
  $("busy").hidden = false;
  try {
    await loaded;
    const options = { parameters: service.coverage, maxBytes: service.maxBytes, signal: controller.signal };
    const answer = (photo.answer = await predictPhoto(file, options));
    showAnswer(answer);
    $("downloads").hidden = false;
    $("save-picture").hidden = !hasPreview();
    announce(describe(answer));
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof ServiceError)) throw error;
    announce("No answer.");
    showError(`Could not analyse this photo. ${error.message}`, error.code);
    if (!hasPreview()) setView("invitation");
  } finally {
    if (pending === controller) $("busy").hidden = true;
  }
}

async function showVideo(file) {
  timeline.clear();
  setView("video");
  announce("Loading the video…");
  try {
    await loaded;
    await clip.start(file, streamParameters());
    setRatio($("video").videoWidth, $("video").videoHeight);
    $("timeline").hidden = $("live").hidden = $("statistics").hidden = false;
    document.querySelector("main").classList.add("playing");
    showTime();
    announce("The video plays.");
  } catch (error) {
    if (clip.file !== file) return; // the user chose another file
    reset();
    setView("invitation");
    announce("No answer.");
    showError(`Could not analyse this video. ${error.message}`);
  }
}

function showRecord(record) {
  showAnswer(record);
  if ($("video").paused) announce(describe(record));
  else announceSometimes(record);
}

function addRecord(record, statistics) {
  showError("");
  $("downloads").hidden = $("save-picture").hidden = false;
  showStatistics(statistics);
  timeline.add(record, clip.records);
}

function showTime() {
  timeline.show($("video").currentTime, clip.duration_s);
  $("play").textContent = $("video").paused ? "Play" : "Pause";
}

function showClipError(message, code) {
  showError(`Could not analyse this video. ${message}`, code);
}

async function startCamera() {
  reset();
  starting = true; // a disabled button would lose the keyboard focus
  try {
    await loaded;
    setView("video");
    await camera.start(streamParameters());
    showCamera();
    announce(`The ${DEVICE} is on.`);
    $("switch").hidden = (await camera.count()) < 2;
  } catch (error) {
    endCamera(error.message);
  } finally {
    starting = false;
  }
}

function showCamera() {
  setView("video", camera.mirrored);
  setRatio($("video").videoWidth, $("video").videoHeight);
  showCameraButton();
  $("live").hidden = $("statistics").hidden = false;
}

async function switchCamera() {
  if (starting) return;
  starting = true;
  await camera.switch(streamParameters());
  starting = false;
  if (camera.running) showCamera();
}

function stopCamera() {
  if (!camera.running) return;
  camera.stop();
  endCamera("");
  announce(`The ${DEVICE} is off.`);
}

function endCamera(message, code) {
  setView("invitation");
  clearResults();
  showCameraButton();
  $("switch").hidden = $("live").hidden = $("statistics").hidden = true;
  $("statistics").textContent = "";
  announce("Nothing to show yet.");
  showError(message, code);
}

function showCameraButton() {
  $("camera").textContent = `${camera.running ? "Stop" : "Use"} the ${DEVICE}`;
  $("camera").setAttribute("aria-pressed", camera.running);
}

function showLive(answer, statistics) {
  showError("");
  showAnswer(answer, { mirrored: camera.mirrored });
  showStatistics(statistics);
  announceSometimes(answer);
}

function toggleAll() {
  results.showAll(!results.all);
  $("all").textContent = results.all ? "Show leading scores" : "Show all scores";
}

async function savePicture() {
  const [source, answer, file] = clip.running
    ? [$("video"), results.answer, clip.file]
    : [$("photo"), photo.answer, photo.file];
  download.save(await download.drawn(source, answer), `${stem(file)}-faces.jpg`);
}

function saveTable(extension, ofPhoto, ofVideo) {
  const { file } = photo ?? clip;
  const table = clip.running ? ofVideo(file.name, clip.records) : ofPhoto(file.name, photo.answer);
  download.save(table, `${stem(file)}-faces.${extension}`);
}

function stem(file) {
  return file.name.replace(/\.[^.]*$/, "");
}

function submitKey(event) {
  event.preventDefault();
  useKey($("key").value);
  $("key").value = "";
  showError("");
  loaded = loadServiceInfo();
  if (photo) showFile(photo.file);
  if (clip.running) loaded.then(() => clip.connect(streamParameters()));
}

function highlight(event, highlighted) {
  const card = event.target.closest(".face");
  if (card) results.highlight([...$("faces").children].indexOf(card), highlighted);
}
