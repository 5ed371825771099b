// The timeline of a video: one row for each face, with the colour of its emotion; the height shows the confidence.

import { shownEmotion } from "./words.js";

const ROW_PX = 30;
const MAX_ROWS = 6;
const STRIPES_PX = 6;
const MAX_GAP_S = 1; // a record lasts until the next one, at most this long
const MIN_WIDTH_PX = 2;

const patterns = new Map(); // colour -> stripes

export class Timeline {
  #rows = new Map(); // track -> {row, last: the newest record with its start}
  #records = [];
  #duration_s = 0;
  #pending = false;

  /** `on.seek(time_s)` is called when the user chooses a time. */
  constructor({ canvas, labels, position, time, note }, on) {
    Object.assign(this, { canvas, labels, position, time, note });
    position.addEventListener("input", () => on.seek(Number(position.value)));
    new ResizeObserver(() => this.#redrawSoon()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#redrawSoon());
  }

  clear() {
    this.#rows.clear();
    this.#records = [];
    this.#duration_s = 0;
    this.labels.replaceChildren();
    this.note.textContent = "";
  }

  /** Add a record. Records may come in any order. */
  add(record, records) {
    this.#records = records;
    const known = this.#rows.size;
    for (const { track } of record.faces) {
      if (!this.#rows.has(track)) this.#rows.set(track, this.#rows.size);
    }
    const isLast = records.at(-1) === record;
    if (this.#rows.size > known || !isLast) this.#redrawSoon();
    else if (!this.#pending) this.#drawRecord(this.canvas.getContext("2d"), records.length - 2, records.length - 1);
  }

  /** Show the current time. */
  show(time_s, duration_s) {
    if (Math.abs(duration_s - this.#duration_s) > 0.01) {
      this.#duration_s = duration_s;
      this.position.max = duration_s;
      this.#redrawSoon();
    }
    this.position.value = time_s;
    const text = `${clock(time_s)} of ${clock(duration_s)}`;
    this.time.textContent = text;
    this.position.setAttribute("aria-valuetext", text);
  }

  #redrawSoon() {
    if (this.#pending) return;
    this.#pending = true;
    requestAnimationFrame(() => {
      this.#pending = false;
      this.#redraw();
    });
  }

  #redraw() {
    const rows = Math.max(1, Math.min(MAX_ROWS, this.#rows.size));
    const shown = [...this.#rows.keys()].slice(0, MAX_ROWS);
    this.labels.replaceChildren(...shown.map((track) => {
      const label = document.createElement("li");
      label.textContent = track;
      return label;
    }));
    const more = this.#rows.size - shown.length;
    this.note.textContent = more > 0 ? `${more} more ${more === 1 ? "face is" : "faces are"} in the download.` : "";
    this.canvas.style.height = `${rows * ROW_PX}px`;
    this.canvas.width = Math.round(this.canvas.clientWidth * devicePixelRatio);
    this.canvas.height = Math.round(rows * ROW_PX * devicePixelRatio);
    const context = this.canvas.getContext("2d");
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    for (let index = 0; index < this.#records.length; index += 1) this.#drawRecord(context, index, index);
  }

  /** Draw the records from one index to another. Each lasts until the record after it. */
  #drawRecord(context, from, to) {
    const style = getComputedStyle(this.canvas);
    const scale = this.canvas.clientWidth / (this.#duration_s || 1);
    for (let index = Math.max(0, from); index <= to; index += 1) {
      const { time_s, faces } = this.#records[index];
      const next_s = this.#records[index + 1]?.time_s ?? time_s;
      const length_s = next_s - time_s <= MAX_GAP_S ? next_s - time_s : 0;
      for (const face of faces) {
        const row = this.#rows.get(face.track);
        if (row >= MAX_ROWS) continue;
        const height = Math.max(3, face.confidence * (ROW_PX - 4));
        const colour = style.getPropertyValue(`--${shownEmotion(face)}`);
        context.fillStyle = shownEmotion(face) === "unclear" ? stripes(context, colour) : colour;
        const left = Math.floor(time_s * scale); // whole pixels, so that no gap shows between two records
        const right = Math.max(left + MIN_WIDTH_PX, Math.ceil((time_s + length_s) * scale));
        context.fillRect(left, (row + 1) * ROW_PX - height, right - left, height);
      }
    }
  }
}

/** Return diagonal stripes of a colour: "neutral" is grey too, but not striped. */
function stripes(context, colour) {
  if (!patterns.has(colour)) patterns.set(colour, newStripes(context, colour));
  return patterns.get(colour);
}

function newStripes(context, colour) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = STRIPES_PX;
  const pen = tile.getContext("2d");
  pen.strokeStyle = colour;
  pen.lineWidth = STRIPES_PX / 3;
  for (const shift of [-STRIPES_PX / 2, STRIPES_PX / 2, STRIPES_PX * 1.5]) {
    pen.moveTo(shift - STRIPES_PX, STRIPES_PX);
    pen.lineTo(shift + STRIPES_PX, -STRIPES_PX);
  }
  pen.stroke();
  return context.createPattern(tile, "repeat");
}

/** Return minutes and seconds: "1:05". */
export function clock(time_s) {
  const whole = Math.floor(time_s);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
