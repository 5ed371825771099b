// Numbers of the faces of a video. The service numbers the faces of one stream; a pause or a jump starts new numbers.

const MIN_OVERLAP = 0.3; // share of the union of two boxes, as the service compares them

export class Tracks {
  #numbers = new Map(); // track of the stream -> number on the page
  #next = 1;

  /** Forget the tracks of the last stream. */
  startStream() {
    this.#numbers.clear();
  }

  /**
   * Return the faces with `track` replaced by a number that is valid for the whole video.
   *
   * `before`: the faces shortly before in the video. A face at the place of one of them is the same face.
   */
  assign(faces, before) {
    const used = new Set(faces.map((face) => this.#numbers.get(face.track)));
    return faces.map((face) => {
      if (!this.#numbers.has(face.track)) {
        const same = before.find((old) => !used.has(old.track) && overlap(old.box, face.box) >= MIN_OVERLAP);
        this.#numbers.set(face.track, same?.track ?? this.#next++);
        used.add(this.#numbers.get(face.track));
      }
      return { ...face, track: this.#numbers.get(face.track) };
    });
  }
}

/** Return the area of the intersection of two boxes, as a share of the area of their union. */
function overlap(one, other) {
  const width = Math.min(one.x + one.width, other.x + other.width) - Math.max(one.x, other.x);
  const height = Math.min(one.y + one.height, other.y + other.height) - Math.max(one.y, other.y);
  const shared = Math.max(0, width) * Math.max(0, height);
  return shared / (one.width * one.height + other.width * other.height - shared);
}
