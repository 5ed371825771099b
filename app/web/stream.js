// Frames of a <video> element to /ws: sends JPEGs, receives the answers in order, and connects again after a failure.
// At most two frames are in flight, which limits the delay on a slow connection.

import { openStream, sentence } from "./service.js";

const LONG_SIDE_PX = 640;
const JPEG_QUALITY = 0.8;
const MAX_IN_FLIGHT = 2;
const MAX_RETRIES = 5;
const RETRY_MS = 1000;
const POLICY_VIOLATION = 1008; // close code of a stream that the service would refuse again
const RATE_WINDOW_MS = 2000;

export class FrameStream {
  #socket = null;
  #canvas = document.createElement("canvas");
  #sent = new Map(); // frame number -> time of its sending, time in the video
  #count = 0;
  #answeredAt = [];
  #failures = 0;
  #retry = 0;
  #problem = null;
  #parameters = {};

  /**
   * Callbacks: `on.answer(answer, statistics, time_s)` and `on.problem(message, code)` for a frame,
   * `on.end(message, code)` when the stream gives up, `on.open()` before each connection, and
   * `on.wants(time_s)`: whether to send the frame at this time of the video.
   */
  constructor(video, on) {
    this.video = video;
    this.on = { open() {}, wants: () => true, ...on };
  }

  get isOpen() {
    return this.#socket !== null;
  }

  /** Open the stream with query parameters. Replaces an open stream. */
  open(parameters) {
    this.#failures = 0;
    this.#connect(parameters);
  }

  /** Send the current frame, of a video that shows no further ones, when all frames before it are answered. */
  sendLast() {
    const { currentTime } = this.video;
    if (this.#socket && this.#sent.size === 0 && this.on.wants(currentTime)) this.#send(this.#socket, currentTime);
  }

  close() {
    clearTimeout(this.#retry);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #connect(parameters) {
    this.close();
    this.#parameters = parameters;
    this.#sent.clear();
    this.#count = 0;
    this.on.open();
    const socket = (this.#socket = openStream(parameters));
    socket.addEventListener("open", () => this.#sendFrame(socket, this.video.currentTime));
    socket.addEventListener("message", (message) => this.#receive(JSON.parse(message.data)));
    socket.addEventListener("close", (event) => this.#onClose(socket, event));
  }

  #sendFrame(socket, time) {
    if (!this.#isCurrent(socket)) return;
    const next = () => onVideoFrame(this.video, (nextTime) => this.#sendFrame(socket, nextTime));
    const isReady = this.#sent.size < MAX_IN_FLIGHT && this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
    if (isReady && this.on.wants(time)) this.#send(socket, time, next);
    else next();
  }

  #send(socket, time, then = () => {}) {
    this.#capture((jpeg) => {
      if (jpeg && this.#isCurrent(socket)) {
        socket.send(jpeg);
        this.#count += 1;
        this.#sent.set(this.#count, { at: performance.now(), time });
      }
      then();
    });
  }

  #isCurrent(socket) {
    return socket === this.#socket && socket.readyState === WebSocket.OPEN;
  }

  #capture(callback) {
    const { videoWidth, videoHeight } = this.video;
    const scale = Math.min(1, LONG_SIDE_PX / Math.max(videoWidth, videoHeight));
    this.#canvas.width = Math.round(videoWidth * scale);
    this.#canvas.height = Math.round(videoHeight * scale);
    this.#canvas.getContext("2d").drawImage(this.video, 0, 0, this.#canvas.width, this.#canvas.height);
    this.#canvas.toBlob(callback, "image/jpeg", JPEG_QUALITY);
  }

  #receive(answer) {
    if (answer.frame === null) {
      this.#problem = answer.error;
      return; // the service closes the stream after this message
    }
    const now = performance.now();
    const sent = this.#sent.get(answer.frame);
    for (const number of this.#sent.keys()) if (number <= answer.frame) this.#sent.delete(number);
    if (answer.error) {
      this.on.problem(sentence(answer.error.detail), answer.error.code);
      return;
    }
    this.#failures = 0;
    this.#answeredAt = [...this.#answeredAt.filter((time) => now - time < RATE_WINDOW_MS), now];
    const statistics = { rate: rate(this.#answeredAt), delay_ms: now - sent.at, dropped: answer.dropped };
    this.on.answer(answer, statistics, sent.time);
  }

  #onClose(socket, event) {
    if (socket !== this.#socket) return; // this page closed the socket
    const problem = this.#problem;
    const message = problem ? sentence(problem.detail) : "The connection to the service was lost.";
    this.#problem = null;
    this.#failures += 1;
    if (event.code === POLICY_VIOLATION || this.#failures > MAX_RETRIES) {
      this.close();
      this.on.end(message, problem?.code);
      return;
    }
    this.on.problem(`${message} Trying again…`);
    this.#retry = setTimeout(() => this.#connect(this.#parameters), RETRY_MS);
  }
}

/** Call back with the time in the video, in seconds, when the element shows its next frame. */
export function onVideoFrame(video, callback) {
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback((_, frame) => callback(frame.mediaTime));
  else requestAnimationFrame(() => callback(video.currentTime));
}

function rate(times) {
  return times.length < 2 ? 0 : ((times.length - 1) * 1000) / (times.at(-1) - times[0]);
}
