// Shows an answer: a box over the image and a card with seven scores for each face. Reuses its elements for the next
// answer, so that live video does not flicker.

const SMALL_BOX_PX = 44;
const TAG_PX = 150; // width of "1 surprise 100 %"

export class Results {
  constructor({ boxes, faces }) {
    this.boxes = boxes;
    this.faces = faces;
  }

  clear() {
    this.boxes.replaceChildren();
    this.faces.replaceChildren();
  }

  /** Show the faces of an answer. `mirrored` flips the boxes as the video of the webcam is flipped. */
  show(answer, { mirrored = false } = {}) {
    const { width, height } = answer.image;
    const frame = this.boxes.getBoundingClientRect();
    const numbers = faceNumbers(answer.faces);
    resize(this.boxes, answer.faces.length, newBox);
    resize(this.faces, answer.faces.length, newCard);
    answer.faces.forEach((face, index) => {
      const left = mirrored ? width - face.box.x - face.box.width : face.box.x;
      this.#placeBox(this.boxes.children[index], face, numbers[index], {
        left: left / width,
        top: face.box.y / height,
        width: face.box.width / width,
        height: face.box.height / height,
      }, frame);
      fillCard(this.faces.children[index], face, numbers[index]);
    });
  }

  highlight(index, highlighted) {
    this.boxes.children[index]?.classList.toggle("highlighted", highlighted);
  }

  #placeBox(box, face, number, share, frame) {
    for (const side of ["left", "top", "width", "height"]) box.style[side] = `${share[side] * 100}%`;
    box.dataset.emotion = face.emotion;
    const tag = box.firstChild;
    box.classList.toggle("small", share.width * frame.width < SMALL_BOX_PX);
    tag.classList.toggle("inside", share.top * frame.height < 32);
    tag.classList.toggle("to-left", (1 - share.left) * frame.width < TAG_PX);
    tag.children[0].textContent = number;
    tag.children[1].textContent = ` ${face.emotion} ${percent(face.confidence)}`;
  }
}

/** Return a sentence about an answer for the status line and screen readers. */
export function describe(answer) {
  if (answer.faces.length === 0) {
    return "No face found. A face must be turned to the camera and must not be too small.";
  }
  if (answer.faces.length === 1) {
    const [face] = answer.faces;
    return `One face. It looks ${adjective(face.emotion)} (${percent(face.confidence)}).`;
  }
  const counts = new Map();
  for (const { emotion } of answer.faces) counts.set(emotion, (counts.get(emotion) ?? 0) + 1);
  const named = [...counts].sort((one, other) => other[1] - one[1]).map(([emotion, count]) =>
    `${count === answer.faces.length ? "all" : count} look${count === 1 ? "s" : ""} ${adjective(emotion)}`);
  return `${answer.faces.length} faces: ${named.join(", ")}.`;
}

function adjective(emotion) {
  return { disgust: "disgusted", fear: "fearful", surprise: "surprised" }[emotion] ?? emotion;
}

/** Return the number of each face: its track in a stream, else its position, largest first. */
function faceNumbers(faces) {
  return faces.map((face, index) => face.track ?? index + 1);
}

function percent(share) {
  return `${Math.round(share * 100)} %`;
}

function resize(parent, count, make) {
  while (parent.children.length > count) parent.lastChild.remove();
  while (parent.children.length < count) parent.append(make());
}

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function newBox() {
  return element("div", "box", element("div", "tag", element("b", ""), element("span", "")));
}

function newCard() {
  const heading = element("h3", "", element("span", "number"), element("span", "name"), element("span", "confidence"));
  return element("li", "face", heading, element("ul", "scores"));
}

function fillCard(card, face, number) {
  const [heading, scores] = card.children;
  const [numberText, name, confidence] = heading.children;
  card.dataset.emotion = face.emotion;
  numberText.textContent = `Face ${number}`;
  name.textContent = face.emotion;
  confidence.textContent = percent(face.confidence);
  const entries = Object.entries(face.scores);
  resize(scores, entries.length, () => {
    const bar = element("span", "bar");
    bar.setAttribute("aria-hidden", "true");
    return element("li", "", element("span", "label"), bar, element("span", "share"));
  });
  entries.forEach(([label, share], index) => {
    const row = scores.children[index];
    row.dataset.emotion = label;
    row.classList.toggle("top-score", label === face.emotion);
    row.children[0].textContent = label;
    row.children[1].style.setProperty("--share", share);
    row.children[2].textContent = percent(share);
  });
}
