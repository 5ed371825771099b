// A video file: the browser plays it, and its frames go to the service one by one. The file itself is never sent.

import { FrameStream, onVideoFrame } from "./stream.js";
import { Tracks } from "./tracks.js";

const MAX_GAP_S = 1; // between two answers that belong together

export class Clip {
  #records = []; // {time_s, image, model, faces}, by time
  #tracks = new Tracks();
  #jumped = false; // since the last frame that was sent
  #stream;
  #parameters = {};

  /**
   * Callbacks: `on.show(record)` for the faces at the current time, `on.record(record, statistics)` for a new answer,
   * `on.problem(message, code)`, and `on.change()` when the time or the state of the video changes.
   */
  constructor(video, on) {
    this.video = video;
    this.on = on;
    this.#stream = new FrameStream(video, {
      open: () => this.#tracks.startStream(),
      wants: (time_s) => this.#wants(time_s),
      answer: (answer, statistics, time_s) => this.#add(answer, statistics, time_s),
      problem: on.problem,
      end: on.problem,
    });
    video.addEventListener("seeking", () => (this.#jumped = true));
    video.addEventListener("pause", () => this.running && this.#stream.sendLast()); // at the end, too
    for (const name of ["play", "pause", "timeupdate", "durationchange", "ended"]) {
      video.addEventListener(name, () => this.running && on.change());
    }
  }

  file = null;

  get running() {
    return this.file !== null;
  }

  get records() {
    return this.#records;
  }

  /** Length in seconds. Recordings of browsers have none until they were played to the end. */
  get duration_s() {
    const { duration, currentTime } = this.video;
    return Number.isFinite(duration) ? duration : Math.max(currentTime, this.#records.at(-1)?.time_s ?? 0);
  }

  /** Play a file. Throws an error with a sentence for users if the browser cannot play it. */
  async start(file, parameters) {
    this.file = file;
    this.#parameters = parameters;
    this.video.src = URL.createObjectURL(file);
    const ready = new Promise((resolve, reject) => {
      this.video.onloadedmetadata = resolve;
      this.video.onerror = () => reject(new Error("This browser cannot play the file."));
    });
    this.video.play().catch(() => {}); // before the data is there: some phones load none until then
    await ready;
    this.video.onerror = () => this.running && this.on.problem("The file is damaged at this point.");
    if (this.video.videoWidth === 0) throw new Error("The file has sound only.");
    this.#follow();
    this.#stream.open(parameters);
  }

  /** Use other parameters for the frames to come. */
  connect(parameters) {
    this.#parameters = parameters;
    this.#stream.open(parameters);
  }

  toggle() {
    if (!this.video.paused) return this.video.pause();
    if (!this.#stream.isOpen) this.#stream.open(this.#parameters);
    this.video.play();
  }

  seek(time_s) {
    this.video.currentTime = time_s;
  }

  stop() {
    this.#stream.close();
    this.video.pause();
    URL.revokeObjectURL(this.video.src);
    this.video.removeAttribute("src");
    this.video.load();
    this.file = null;
    this.#records = [];
    this.#tracks = new Tracks();
    this.#jumped = false;
  }

  /** Show the recorded faces while the video plays a part that was analysed before. */
  #follow() {
    const { file } = this;
    const next = () => onVideoFrame(this.video, (time_s) => {
      if (this.file !== file) return;
      const record = this.#recorded(time_s);
      if (record) this.on.show(record);
      this.on.change();
      next();
    });
    next();
  }

  #wants(time_s) {
    if (this.#recorded(time_s)) return false;
    const jumped = this.#jumped;
    this.#jumped = false;
    if (jumped) this.#stream.open(this.#parameters); // the tracks of the service do not apply after a jump
    return !jumped;
  }

  #add(answer, statistics, time_s) {
    const index = this.#indexAfter(time_s);
    const before = this.#records[index - 1];
    const known = before && time_s - before.time_s <= MAX_GAP_S ? before.faces : [];
    const faces = this.#tracks.assign(answer.faces, known);
    const record = { time_s, image: answer.image, model: answer.model, faces };
    this.#records.splice(index, 0, record);
    this.on.show(this.#recorded(this.video.currentTime) ?? record); // the user may have gone to another time
    this.on.record(record, statistics);
    if (this.video.paused) this.#stream.sendLast(); // the frame that the user sees, if it was skipped
  }

  /** Return the record that applies at a time; null where the video has not been analysed. */
  #recorded(time_s) {
    const index = this.#indexAfter(time_s);
    const before = this.#records[index - 1];
    const after = this.#records[index];
    if (!before) return null;
    return before.time_s === time_s || (after && after.time_s - before.time_s <= MAX_GAP_S) ? before : null;
  }

  /** Return the index of the first record after a time. */
  #indexAfter(time_s) {
    let low = 0;
    let high = this.#records.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#records[middle].time_s <= time_s) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
