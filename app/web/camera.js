// The webcam, or the cameras of a phone: shows one of them and sends its frames to the service.

import { FrameStream } from "./stream.js";

export class Camera {
  #media = null;
  #stream;

  /**
   * Callbacks: `on.answer(answer, statistics)` and `on.problem(message, code)` for a frame, `on.end(message, code)` when
   * the camera stops.
   */
  constructor(video, on) {
    this.video = video;
    this.on = on;
    this.#stream = new FrameStream(video, {
      answer: on.answer,
      problem: on.problem,
      end: (message, code) => this.#end(message, code),
    });
  }

  get running() {
    return this.#media !== null;
  }

  /** Whether the video shows its user, as a mirror does: every camera but the one on the back of a phone. */
  get mirrored() {
    return this.#media?.getVideoTracks()[0].getSettings().facingMode !== "environment";
  }

  async start(parameters) {
    await this.#show({ facingMode: "user" });
    this.connect(parameters);
  }

  /** Open the stream. Replaces an open stream, for example to change the smoothing. */
  connect(parameters) {
    this.#stream.open(parameters);
  }

  /** Return the number of cameras of this device. */
  async count() {
    return (await cameras()).length;
  }

  /** Show the next camera. */
  async switch(parameters) {
    const ids = (await cameras()).map((device) => device.deviceId);
    const { deviceId, facingMode } = this.#media.getVideoTracks()[0].getSettings();
    const next = ids[(ids.indexOf(deviceId) + 1) % ids.length];
    const opposite = { user: "environment", environment: "user" }[facingMode]; // phones have several cameras on a side
    this.#stream.close();
    this.#release(); // many phones open one camera at a time
    try {
      await this.#show(opposite ? { facingMode: opposite } : { deviceId: { exact: next } });
    } catch (error) {
      this.#end(error.message);
      return;
    }
    this.connect(parameters);
  }

  stop() {
    this.#stream.close();
    this.#release();
  }

  async #show(camera) {
    if (!navigator.mediaDevices) throw new Error("The camera works only on https:// or on localhost.");
    try {
      this.#media = await navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 640 }, height: { ideal: 480 }, ...camera },
      });
    } catch (error) {
      throw new Error(describeCameraError(error));
    }
    this.#media.getVideoTracks()[0].addEventListener("ended", () => this.#end("The camera was disconnected."));
    this.video.srcObject = this.#media;
    await this.video.play();
  }

  #release() {
    this.#media?.getTracks().forEach((track) => track.stop());
    this.#media = null;
    this.video.srcObject = null;
  }

  #end(message, code) {
    this.stop();
    this.on.end(message, code);
  }
}

async function cameras() {
  return (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === "videoinput");
}

function describeCameraError(error) {
  const known = {
    NotAllowedError: "The browser blocks the camera on this page. Allow it next to the address bar, then try again.",
    NotFoundError: "No camera was found.",
    NotReadableError: "Another program uses the camera.",
  };
  return known[error.name] ?? "The camera could not be started.";
}
