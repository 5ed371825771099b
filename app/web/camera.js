// The webcam: sends frames to /ws as JPEG and receives the answers in order. At most two frames are in flight, which
// limits the delay on a slow connection.

import { openStream, sentence } from "./service.js";

const LONG_SIDE_PX = 640;
const JPEG_QUALITY = 0.8;
const MAX_IN_FLIGHT = 2;
const MAX_RETRIES = 5;
const RETRY_MS = 1000;
const POLICY_VIOLATION = 1008; // close code of a stream that the service would refuse again
const RATE_WINDOW_MS = 2000;

export class Camera {
  #media = null;
  #socket = null;
  #canvas = document.createElement("canvas");
  #sentAt = new Map();
  #sent = 0;
  #answeredAt = [];
  #failures = 0;
  #retry = 0;

  /**
   * Callbacks: `on.answer(answer, statistics)` and `on.problem(message, code)` for a frame, `on.end(message, code)` when
   * the camera stops.
   */
  constructor(video, on) {
    this.video = video;
    this.on = on;
  }

  get running() {
    return this.#media !== null;
  }

  async start(smoothing) {
    if (!navigator.mediaDevices) throw new Error("The webcam works only on https:// or on localhost.");
    try {
      this.#media = await navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "user" },
      });
    } catch (error) {
      throw new Error(describeCameraError(error));
    }
    this.#media.getVideoTracks()[0].addEventListener("ended", () => this.#end("The webcam was disconnected."));
    this.video.srcObject = this.#media;
    await this.video.play();
    this.#failures = 0;
    this.connect(smoothing);
  }

  /** Open the stream. Replaces an open stream, for example to change the smoothing. */
  connect(smoothing) {
    this.smoothing = smoothing;
    this.#disconnect();
    this.#sentAt.clear();
    this.#sent = 0;
    const socket = (this.#socket = openStream(smoothing));
    socket.addEventListener("open", () => this.#sendNext(socket));
    socket.addEventListener("message", (message) => this.#receive(JSON.parse(message.data)));
    socket.addEventListener("close", (event) => this.#onClose(socket, event));
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
    if (this.#sentAt.size < MAX_IN_FLIGHT && this.video.videoWidth > 0) {
      this.#captureFrame((jpeg) => {
        if (jpeg && socket === this.#socket && socket.readyState === WebSocket.OPEN) {
          socket.send(jpeg);
          this.#sent += 1;
          this.#sentAt.set(this.#sent, performance.now());
        }
        this.#onNextVideoFrame(next);
      });
    } else {
      this.#onNextVideoFrame(next);
    }
  }

  #onNextVideoFrame(callback) {
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(callback);
    else requestAnimationFrame(callback);
  }

  #captureFrame(callback) {
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
      return; // the service closes the stream after this message
    }
    const now = performance.now();
    const sentAt = this.#sentAt.get(answer.frame);
    for (const number of this.#sentAt.keys()) if (number <= answer.frame) this.#sentAt.delete(number);
    if (answer.error) {
      this.on.problem(sentence(answer.error.detail), answer.error.code);
      return;
    }
    this.#failures = 0;
    this.#answeredAt = [...this.#answeredAt.filter((time) => now - time < RATE_WINDOW_MS), now];
    this.on.answer(answer, {
      rate: rate(this.#answeredAt),
      delay_ms: now - sentAt,
      dropped: answer.dropped,
    });
  }

  #lastProblem = null;

  #onClose(socket, event) {
    if (socket !== this.#socket) return; // this page closed the socket
    const problem = this.#lastProblem;
    this.#lastProblem = null;
    this.#failures += 1;
    if (event.code === POLICY_VIOLATION || this.#failures > MAX_RETRIES) {
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

function describeCameraError(error) {
  const known = {
    NotAllowedError: "The browser blocks the webcam on this page. Allow it next to the address bar, then try again.",
    NotFoundError: "No webcam was found.",
    NotReadableError: "Another program uses the webcam.",
  };
  return known[error.name] ?? "The webcam could not be started.";
}
