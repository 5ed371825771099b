// Files that the browser makes from the answers: a picture with the boxes, JSON, and CSV.

import { faceNumbers, percent, shownEmotion } from "./words.js";

const LABELS = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"];
const BOX = ["x", "y", "width", "height"];
const VALUES = [...BOX, "detection_confidence", "emotion", "confidence", ...LABELS, "prediction_set"];
const JPEG_QUALITY = 0.92;

/** Save a file on the computer of the user. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Return a JPEG of a picture, or of the current frame of a video, with the boxes of its faces. */
export function drawn(source, answer) {
  const canvas = document.createElement("canvas");
  canvas.width = source.naturalWidth ?? source.videoWidth;
  canvas.height = source.naturalHeight ?? source.videoHeight;
  const context = canvas.getContext("2d");
  context.drawImage(source, 0, 0);
  const scale = canvas.width / answer.image.width;
  const line = Math.max(2, Math.round(Math.min(canvas.width, canvas.height) / 200));
  const text = Math.max(12, line * 6);
  const numbers = faceNumbers(answer.faces);
  const style = getComputedStyle(document.documentElement);
  answer.faces.forEach((face, index) => {
    const [x, y, width, height] = BOX.map((name) => face.box[name] * scale);
    const unclear = shownEmotion(face) === "unclear";
    context.strokeStyle = style.getPropertyValue(unclear ? "--unclear-box" : `--${face.emotion}`);
    context.lineWidth = line;
    context.setLineDash(unclear ? [4 * line, 2 * line] : []);
    context.strokeRect(x, y, width, height);
    drawTag(context, `${numbers[index]} ${label(face)}`, x, y, text);
  });
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
}

/** Return the answer of a picture as JSON: the response of the service, with the name of the file. */
export function photoJson(name, answer) {
  return json({ path: name, ...answer });
}

/** Return the answers of a video as JSON. */
export function videoJson(name, records) {
  const frames = records.map(({ time_s, faces }) => ({ time_s, faces }));
  return json({ path: name, image: records[0]?.image, model: records[0]?.model, frames });
}

/** Return the faces of a picture as CSV, with the columns of the command line. */
export function photoCsv(name, answer) {
  const { faces } = answer;
  const rows = faces.map((face, index) => [name, faces.length, index + 1, ...values(face)]);
  return csv(["path", "faces", "face", ...VALUES], faces.length ? rows : [[name, 0]]);
}

/** Return the faces of a video as CSV: one row for each face and analysed frame. */
export function videoCsv(name, records) {
  const rows = records.flatMap(({ time_s, faces }) =>
    faces.map((face) => [name, time_s.toFixed(3), face.track, ...values(face)]));
  return csv(["path", "time_s", "track", ...VALUES], rows);
}

function values(face) {
  const { box, scores } = face;
  const { detection_confidence, emotion, confidence } = face;
  const set = (face.prediction_set ?? []).join(" ");
  return [...BOX.map((side) => box[side]), detection_confidence, emotion, confidence, ...LABELS.map((each) => scores[each]), set];
}

function csv(columns, rows) {
  const filled = rows.map((row) => [...row, ...Array(columns.length - row.length).fill("")]);
  const lines = [columns, ...filled].map((row) => row.map(quoted).join(","));
  return new Blob([`${lines.join("\n")}\n`], { type: "text/csv" });
}

function quoted(value) {
  const text = String(value ?? "");
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function json(document) {
  return new Blob([`${JSON.stringify(document, null, 2)}\n`], { type: "application/json" });
}

function label(face) {
  const emotion = shownEmotion(face);
  return emotion === "unclear" ? emotion : `${emotion} ${percent(face.confidence)}`;
}

function drawTag(context, words, x, y, size) {
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textBaseline = "top";
  const width = context.measureText(words).width + size * 0.8;
  const height = size * 1.5;
  const left = Math.max(0, Math.min(x, context.canvas.width - width));
  const top = y >= height ? y - height : y;
  context.fillStyle = "rgb(14 16 24 / 86%)";
  context.fillRect(left, top, width, height);
  context.fillStyle = "#fff";
  context.fillText(words, left + size * 0.4, top + size * 0.22);
}
