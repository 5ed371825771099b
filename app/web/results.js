// Draws an answer: boxes over the picture, and a card with the seven scores for each face. Keeps its elements from one
// answer to the next, so that a live picture does not flicker.

const SMALL_BOX_PX = 44;
const WORDS_PX = 150; // room that "1 surprise 100 %" needs

export class Results {
  constructor({ boxes, faces }) {
    this.boxes = boxes;
    this.faces = faces;
  }

  clear() {
    this.boxes.replaceChildren();
    this.faces.replaceChildren();
  }

  /** Shows the faces of an answer; `mirrored` where the picture is shown as in a mirror. */
  show(answer, { mirrored = false } = {}) {
    const { width, height } = answer.image;
    const shown = this.boxes.getBoundingClientRect();
    const numbers = numbered(answer.faces);
    resize(this.boxes, answer.faces.length, newBox);
    resize(this.faces, answer.faces.length, newCard);
    answer.faces.forEach((face, index) => {
      const left = mirrored ? width - face.box.x - face.box.width : face.box.x;
      this.#placeBox(this.boxes.children[index], face, numbers[index], {
        left: left / width,
        top: face.box.y / height,
        width: face.box.width / width,
        height: face.box.height / height,
      }, shown);
      fillCard(this.faces.children[index], face, numbers[index]);
    });
  }

  point(index, pointed) {
    this.boxes.children[index]?.classList.toggle("pointed", pointed);
  }

  #placeBox(box, face, number, share, shown) {
    for (const side of ["left", "top", "width", "height"]) box.style[side] = `${share[side] * 100}%`;
    box.dataset.emotion = face.emotion;
    const tag = box.firstChild;
    box.classList.toggle("small", share.width * shown.width < SMALL_BOX_PX);
    tag.classList.toggle("inside", share.top * shown.height < 32);
    tag.classList.toggle("to-left", (1 - share.left) * shown.width < WORDS_PX);
    tag.children[0].textContent = number;
    tag.children[1].textContent = ` ${face.emotion} ${percent(face.confidence)}`;
  }
}

/** What an answer says, as a sentence for the status line and screen readers. */
export function describe(answer) {
  if (answer.faces.length === 0) {
    return "No face found. Faces are found when they look towards the camera and are not too small.";
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

/** A stream's faces keep the number of their track; a photograph's are counted, largest first. */
function numbered(faces) {
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
