// The words of an answer: what the page writes about faces.

const ADJECTIVES = { disgust: "disgusted", fear: "fearful", surprise: "surprised" };

/** Return the emotion of a face, or "unclear" if its prediction set has more than one. */
export function shownEmotion(face) {
  return face.prediction_set?.length > 1 ? "unclear" : face.emotion;
}

/** Return the emotions that a face may show: "fear, sad or surprise". */
export function alternatives(face) {
  const set = face.prediction_set;
  return `${set.slice(0, -1).join(", ")} or ${set.at(-1)}`;
}

/** Return a sentence about an answer for the status line and screen readers. */
export function describe({ faces }) {
  if (faces.length === 0) return "No face found. A face must be turned to the camera and must not be too small.";
  if (faces.length === 1) {
    const [face] = faces;
    if (shownEmotion(face) === "unclear") return `One face. Its expression is unclear: ${alternatives(face)}.`;
    return `One face. It looks ${adjective(face.emotion)} (${percent(face.confidence)}).`;
  }
  const counts = new Map();
  for (const face of faces) counts.set(shownEmotion(face), (counts.get(shownEmotion(face)) ?? 0) + 1);
  const named = [...counts].sort((one, other) => other[1] - one[1]).map(([emotion, count]) => {
    const verb = emotion === "unclear" ? (count === 1 ? "is" : "are") : count === 1 ? "looks" : "look";
    return `${count === faces.length ? "all" : count} ${verb} ${adjective(emotion)}`;
  });
  return `${faces.length} faces: ${named.join(", ")}.`;
}

export function percent(share) {
  return `${Math.round(share * 100)} %`;
}

/** Return the number of each face: its track in a stream, else its position, largest first. */
export function faceNumbers(faces) {
  return faces.map((face, index) => face.track ?? index + 1);
}

function adjective(emotion) {
  return ADJECTIVES[emotion] ?? emotion;
}
