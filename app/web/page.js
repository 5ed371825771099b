// The elements of the page that every source of pictures shares: the stage, the status line, the errors.

import { describe } from "./words.js";

const ANNOUNCE_EVERY_MS = 3000; // limits announcements of screen readers while a video runs

let announced = { text: "", at: 0 };

export const $ = (id) => document.getElementById(id);

/** Show the invitation, the photo or the video. `mirrored` flips the video. */
export function setView(view, mirrored = false) {
  $("stage").classList.toggle("empty", view === "invitation");
  $("invitation").hidden = view !== "invitation";
  $("frame").hidden = view === "invitation";
  $("photo").hidden = view !== "photo";
  $("video").hidden = view !== "video";
  $("boxes").classList.toggle("live-boxes", view === "video");
  $("frame").classList.toggle("mirrored", mirrored);
}

export function setRatio(width, height) {
  $("frame").style.setProperty("--ratio", width / height);
}

/** Show a file in the stage before its answer arrives. */
export function showPreview(file) {
  const preview = $("photo");
  if (preview.src) URL.revokeObjectURL(preview.src);
  setView("photo");
  $("frame").classList.remove("no-preview");
  preview.onload = () => setRatio(preview.naturalWidth, preview.naturalHeight);
  preview.onerror = () => {
    // Browsers cannot show all formats that the service reads, for example TIFF. The page still shows boxes and scores.
    preview.hidden = true;
    $("frame").classList.add("no-preview");
    if ($("error").textContent) setView("invitation"); // the file is not an image
  };
  preview.src = URL.createObjectURL(file);
}

export function hasPreview() {
  return !$("frame").classList.contains("no-preview");
}

/** Write the summary, and let screen readers read it out. */
export function announce(text) {
  $("summary").textContent = text;
  if (text !== announced.text) $("status").textContent = text;
  announced = { text, at: performance.now() };
}

/** Write the summary of an answer; screen readers read out one of many. */
export function announceSometimes(answer) {
  const text = describe(answer);
  $("summary").textContent = text;
  if (performance.now() - announced.at >= ANNOUNCE_EVERY_MS) announce(text);
}

export function showStatistics({ rate, delay_ms, dropped }) {
  $("statistics").textContent = `${Math.round(rate)} frames/s · ${Math.round(delay_ms)} ms · ${dropped} dropped`;
}

/** Show an error, and the form for the API key if the service asks for one. */
export function showError(message, code) {
  if ($("error").textContent !== message) $("error").textContent = message;
  if (code === "unauthorized") showKeyForm();
}

export function showKeyForm() {
  $("key-form").hidden = false;
  $("key").focus();
}
