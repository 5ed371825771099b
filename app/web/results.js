// Shows an answer: a box over the image and a card with scores for each face. Reuses its elements for the next answer,
// so that live video does not flicker.

import { alternatives, faceNumbers, percent, shownEmotion } from "./words.js";

const SMALL_BOX_PX = 44;
const TAG_HEIGHT_PX = 32; // with the distance to the box
const TAG_PADDING_PX = 18;
const CHARACTER_PX = 8.5;
const LEADING = 2; // scores of a face until the user asks for all

export class Results {
  #last = null;
  all = false;

  constructor({ boxes, faces }) {
    this.boxes = boxes;
    this.faces = faces;
  }

  /** The answer on the page. */
  get answer() {
    return this.#last?.answer;
  }

  clear() {
    this.#last = null;
    this.boxes.replaceChildren();
    this.faces.replaceChildren();
  }

  /** Show the faces of an answer. `mirrored` flips the boxes as the video of the webcam is flipped. */
  show(answer, { mirrored = false } = {}) {
    this.#last = { answer, mirrored };
    const { width, height } = answer.image;
    const frame = this.boxes.getBoundingClientRect();
    const numbers = faceNumbers(answer.faces);
    // By number: the sizes of two faces change places often in a video.
    const order = [...numbers.keys()].sort((one, other) => numbers[one] - numbers[other]);
    resize(this.boxes, answer.faces.length, newBox);
    resize(this.faces, answer.faces.length, newCard);
    const tags = [];
    order.forEach((place, index) => {
      const face = answer.faces[place];
      const number = numbers[place];
      const left = mirrored ? width - face.box.x - face.box.width : face.box.x;
      tags.push(placeBox(this.boxes.children[index], face, number, {
        left: left / width,
        top: face.box.y / height,
        width: face.box.width / width,
        height: face.box.height / height,
      }, frame));
      fillCard(this.faces.children[index], face, number, this.all ? Infinity : LEADING);
    });
    tags.forEach((tag, index) => {
      const crowded = tags.some((other) => other !== tag && overlap(tag, other));
      this.boxes.children[index].classList.toggle("crowded", crowded);
    });
  }

  /** Show all seven scores of each face, in a fixed order, or only the highest ones. */
  showAll(all) {
    this.all = all;
    if (this.#last) this.show(this.#last.answer, this.#last);
  }

  highlight(index, highlighted) {
    this.boxes.children[index]?.classList.toggle("highlighted", highlighted);
  }
}

/** Place a box and write its tag. Return the place of the tag in pixels. */
function placeBox(box, face, number, share, frame) {
  for (const side of ["left", "top", "width", "height"]) box.style[side] = `${share[side] * 100}%`;
  box.dataset.emotion = shownEmotion(face);
  const tag = box.firstChild;
  tag.children[0].textContent = number;
  tag.children[1].textContent = ` ${shownEmotion(face)}${isUnclear(face) ? "" : ` ${percent(face.confidence)}`}`;
  const [left, top, boxWidth] = [share.left * frame.width, share.top * frame.height, share.width * frame.width];
  const width = TAG_PADDING_PX + CHARACTER_PX * tag.textContent.length; // an estimate: a layout per frame is slow
  const toLeft = left + width > frame.width;
  const inside = top < TAG_HEIGHT_PX;
  box.classList.toggle("small", boxWidth < SMALL_BOX_PX);
  tag.classList.toggle("inside", inside);
  tag.classList.toggle("to-left", toLeft);
  return { left: toLeft ? left + boxWidth - width : left, top: inside ? top : top - TAG_HEIGHT_PX, width };
}

function overlap(one, other) {
  return Math.abs(one.top - other.top) < TAG_HEIGHT_PX && one.left < other.left + other.width
    && other.left < one.left + one.width;
}

function isUnclear(face) {
  return shownEmotion(face) === "unclear";
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
  return element("li", "face", heading, element("p", "doubt"), element("ul", "scores"));
}

function newRow() {
  const bar = element("span", "bar");
  bar.setAttribute("aria-hidden", "true");
  return element("li", "", element("span", "label"), bar, element("span", "share"));
}

function fillCard(card, face, number, count) {
  const [heading, doubt, scores] = card.children;
  const [numberText, name, confidence] = heading.children;
  card.dataset.emotion = shownEmotion(face);
  numberText.textContent = `Face ${number}`;
  name.textContent = shownEmotion(face);
  confidence.textContent = isUnclear(face) ? "" : percent(face.confidence);
  doubt.hidden = !isUnclear(face);
  doubt.textContent = isUnclear(face) ? alternatives(face) : "";
  let entries = Object.entries(face.scores);
  if (count < entries.length) {
    const possible = isUnclear(face) ? entries.filter(([label]) => face.prediction_set.includes(label)) : entries;
    entries = possible.sort((one, other) => other[1] - one[1]).slice(0, count);
  }
  resize(scores, entries.length, newRow);
  entries.forEach(([label, share], index) => {
    const row = scores.children[index];
    row.dataset.emotion = label;
    row.classList.toggle("top-score", label === face.emotion);
    row.children[0].textContent = label;
    row.children[1].style.setProperty("--share", share);
    row.children[2].textContent = percent(share);
  });
}
