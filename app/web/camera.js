// The webcam: its frames go to /ws as JPEG, and the answers come back in order. At most two frames are on their way, so
// that answers stay fresh on a slow line.

import { openStream, sentence } from "./service.js";

const LONG_SIDE_PX = 640;
const JPEG_QUALITY = 0.8;
const MOST_ON_THEIR_WAY = 2;
const RETRIES = 5;
const RETRY_MS = 1000;
const REFUSED = 1008; // the close code of a stream that would be refused again
const RATE_OVER_MS = 2000;

export class Camera {
  #media = null;
  #socket = null;
  #canvas = document.createElement("canvas");
  #sentAt = new Map();
  #sent = 0;
  #answeredAt = [];
  #failures = 0;
  #retry = 0;

  /** `on.answer(answer, statistics)`, `on.problem(sentence, code)` for one frame, `on.end(sentence, code)` for good. */
  constructor(video, on) {
    this.video = video;
    this.on = on;
  }

  get running() {
    return this.#media !== null;
  }

  async start(smoothing) {
    if (!navigator.mediaDevices) throw new Error("The webcam needs a page that is served by https:// or from localhost.");
    try {
      this.#media = await navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "user" },
      });
    } catch (error) {
      throw new Error(reason(error));
    }
    this.#media.getVideoTracks()[0].addEventListener("ended", () => this.#end("The webcam was switched off."));
    this.video.srcObject = this.#media;
    await this.video.play();
    this.#failures = 0;
    this.connect(smoothing);
  }

  /** Opens the stream, or opens it again with another smoothing. */
  connect(smoothing) {
    this.smoothing = smoothing;
    this.#disconnect();
    this.#sentAt.clear();
    this.#sent = 0;
    const socket = (this.#socket = openStream(smoothing));
    socket.addEventListener("open", () => this.#sendNext(socket));
    socket.addEventListener("message", (message) => this.#receive(JSON.parse(message.data)));
    socket.addEventListener("close", (closed) => this.#closed(socket, closed));
  }

  stop() {
    this.#disconnect();
    this.#media?.getTracks().forEach((track) => track.stop());
    this.#media = null;
    this.video.srcObject = null;
  }

  #disconnect() {
    clearTimeout(this.#retry);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #end(message, code) {
    this.stop();
    this.on.end(message, code);
  }

  #sendNext(socket) {
    if (socket !== this.#socket || socket.readyState !== WebSocket.OPEN) return;
    const next = () => this.#sendNext(socket);
    if (this.#sentAt.size < MOST_ON_THEIR_WAY && this.video.videoWidth > 0) {
      this.#grab((jpeg) => {
        if (jpeg && socket === this.#socket && socket.readyState === WebSocket.OPEN) {
          socket.send(jpeg);
          this.#sent += 1;
          this.#sentAt.set(this.#sent, performance.now());
        }
        this.#onNextPicture(next);
      });
    } else {
      this.#onNextPicture(next);
    }
  }

  #onNextPicture(callback) {
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(callback);
    else requestAnimationFrame(callback);
  }

  #grab(callback) {
    const { videoWidth, videoHeight } = this.video;
    const scale = Math.min(1, LONG_SIDE_PX / Math.max(videoWidth, videoHeight));
    this.#canvas.width = Math.round(videoWidth * scale);
    this.#canvas.height = Math.round(videoHeight * scale);
    this.#canvas.getContext("2d").drawImage(this.video, 0, 0, this.#canvas.width, this.#canvas.height);
    this.#canvas.toBlob(callback, "image/jpeg", JPEG_QUALITY);
  }

  #receive(answer) {
    if (answer.frame === null) {
      this.#lastProblem = answer.error;
      return; // the stream closes next
    }
    const now = performance.now();
    const sentAt = this.#sentAt.get(answer.frame);
    for (const number of this.#sentAt.keys()) if (number <= answer.frame) this.#sentAt.delete(number);
    if (answer.error) {
      this.on.problem(sentence(answer.error.detail), answer.error.code);
      return;
    }
    this.#failures = 0;
    this.#answeredAt = [...this.#answeredAt.filter((time) => now - time < RATE_OVER_MS), now];
    this.on.answer(answer, {
      rate: rate(this.#answeredAt),
      delay_ms: now - sentAt,
      dropped: answer.dropped,
    });
  }

  #lastProblem = null;

  #closed(socket, closed) {
    if (socket !== this.#socket) return; // closed by this page
    const problem = this.#lastProblem;
    this.#lastProblem = null;
    this.#failures += 1;
    if (closed.code === REFUSED || this.#failures > RETRIES) {
      this.#end(problem ? sentence(problem.detail) : "The connection to the service was lost.", problem?.code);
      return;
    }
    this.on.problem(`${problem ? sentence(problem.detail) : "The connection to the service was lost."} Trying again…`);
    this.#retry = setTimeout(() => this.connect(this.smoothing), RETRY_MS);
  }
}

function rate(times) {
  return times.length < 2 ? 0 : ((times.length - 1) * 1000) / (times.at(-1) - times[0]);
}

function reason(error) {
  const known = {
    NotAllowedError: "The browser did not let this page use the webcam. Allow it beside the address, then try again.",
    NotFoundError: "No webcam was found.",
    NotReadableError: "The webcam is used by another program.",
  };
  return known[error.name] ?? "The webcam could not be switched on.";
}
