// The gaze over its picture: what the reader looked at, token by token, on a canvas.

import { fit, MARK, pen, ring } from "./pane.js";

export const SPOT = "rgb(37 99 235)"; // of a place that is pointed at
const STEP = 160; // ms a token, less for long walks
const LONGEST = 6000; // ms of a whole walk
const PATH = [[29, 78, 216], [13, 148, 136], [217, 119, 6]]; // from the first step to the last
const RING = "rgb(192 38 211)";
const JUMP = "rgb(100 116 139 / 70%)";

const BONDS = {
  "=": "double bond", "#": "triple bond", "$": "quadruple bond", ":": "aromatic bond",
  "~": "wavy bond", "?": "bond of any kind", "x": "crossed double bond",
  "w>": "wedge", "w<": "wedge", "h>": "hashed bond", "h<": "hashed bond",
  "d>": "dative bond", "d<": "dative bond",
};

const isGlyph = (token) => token.length === 2 && token[0] === "'";
const isAtom = (token) => /^[A-Z*]/.test(token);

// A token in words.
export function words(token) {
  if (BONDS[token]) return BONDS[token];
  if (token === "&") return "ring closes";
  if (token === "^") return "back to an atom";
  if (token === ".") return "a new fragment";
  if (token === "[") return "a label begins";
  if (token === "]") return "the label ends";
  if (isGlyph(token)) return `letter ${token[1]}`;
  return `atom ${token}`;
}

// The moves of a walk from atom to atom: {kind, step, start, end}, as show.py draws them.
export function moves(tokens, places) {
  const found = [];
  let here = null;
  tokens.forEach((token, step) => {
    const place = places[step];
    if (!place || place[0] === null || place[1] === null) return;
    const moved = here && (here[0] !== place[0] || here[1] !== place[1]);
    if (token === "^" || token === ".") {
      if (moved) found.push({ kind: "jump", step, start: here, end: place });
      here = place;
    } else if (isAtom(token) || token === "[") {
      if (moved && tokens[step - 1] !== ".") found.push({ kind: "bond", step, start: here, end: place });
      here = place;
    } else if (token === "&" && here) {
      found.push({ kind: "ring", step, start: here, end: place });
    }
  });
  return found;
}

export class Replay {
  // told(step, playing) is called whenever either changes
  constructor(canvas, told) {
    this.canvas = canvas;
    this.told = told;
    this.at = 0; // in tokens: 3.5 is half way to the fourth
    this.playing = false;
    this.spot = null; // a place that is pointed at
    this.clear();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  clear() {
    this.playing = false;
    this.shown = null;
    this.moves = [];
    this.at = 0;
    this.draw();
  }

  // shown: bitmap; unit, its pixels for one of the reading; frame, the part that is to be seen;
  // box, that of a drawing on its page, or null; reading or null; doubtful, [{x, y, confidence}]
  show(shown) {
    this.clear();
    this.shown = shown;
    if (shown.reading) this.moves = moves(shown.reading.tokens, shown.reading.places);
    this.seek(this.length);
  }

  get length() {
    return this.shown?.reading?.tokens.length ?? 0;
  }

  play() {
    if (!this.length) return;
    if (this.at >= this.length) this.at = 0;
    this.playing = true;
    let before = performance.now();
    const frame = (now) => {
      if (!this.playing) return;
      const pace = Math.min(STEP, LONGEST / this.length);
      this.at = Math.min(this.length, this.at + Math.max(0, now - before) / pace);
      before = now;
      if (this.at >= this.length) this.playing = false;
      this.draw();
      this.told(this.at, this.playing);
      if (this.playing) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    this.told(this.at, true);
  }

  pause() {
    this.playing = false;
    this.told(this.at, false);
  }

  seek(at) {
    this.playing = false;
    this.at = Math.min(Math.max(at, 0), this.length);
    this.draw();
    this.told(this.at, false);
  }

  // The step that looked at a place, or null.
  nearest([x, y], reach) {
    let [best, least] = [null, reach];
    this.shown?.reading?.places.forEach((place, i) => {
      if (!place || place[0] === null) return;
      const d = Math.hypot(place[0] - x, place[1] - y);
      if (d < least) [best, least] = [i, d];
    });
    return best;
  }

  // How the frame lies on the canvas, in CSS pixels.
  view() {
    return fit(this.shown.frame, this.canvas.clientWidth, this.canvas.clientHeight);
  }

  draw() {
    const made = pen(this.canvas);
    if (!this.shown) return;
    const { bitmap, unit, box, reading } = this.shown;
    const { scale, left, top } = this.view();
    const to = ([x, y]) => [x * scale + left, y * scale + top];
    const [width, height] = [bitmap.width / unit * scale, bitmap.height / unit * scale];
    const isWalking = reading && this.at < this.length;
    made.fillStyle = "#ffffff";
    made.fillRect(left, top, width, height);
    made.globalAlpha = isWalking ? 0.5 : 1;
    made.drawImage(bitmap, left, top, width, height);
    made.globalAlpha = 1;
    if (box) this.dim(made, to, box);
    const bond = Math.min(Math.max((reading?.scale ?? 30) * scale, 16), 80);
    if (isWalking) {
      this.drawMoves(made, to, bond);
      this.drawMarks(made, to, bond);
      this.drawGaze(made, to, bond);
    } else {
      for (const { x, y } of this.shown.doubtful) ring(made, to([x, y]), bond * 0.42, MARK, 2.5);
    }
    if (this.spot) ring(made, to(this.spot), bond * 0.55, SPOT, 2.5);
  }

  // What stands round the drawing on its page is pale.
  dim(made, to, [x0, y0, x1, y1]) {
    const [[left, top], [right, bottom]] = [to([x0, y0]), to([x1, y1])];
    made.fillStyle = "rgb(255 255 255 / 65%)";
    made.beginPath();
    made.rect(0, 0, this.canvas.clientWidth, this.canvas.clientHeight);
    made.rect(left - 6, top - 6, right - left + 12, bottom - top + 12);
    made.fill("evenodd");
  }

  colour(step) {
    const part = (this.length > 1 ? step / (this.length - 1) : 0) * (PATH.length - 1);
    const i = Math.min(Math.floor(part), PATH.length - 2);
    const mix = PATH[i].map((c, k) => Math.round(c + (PATH[i + 1][k] - c) * (part - i)));
    return `rgb(${mix.join(" ")})`;
  }

  drawMoves(pen, to, bond) {
    pen.lineCap = "round";
    for (const move of this.moves) {
      const share = Math.min(this.at - move.step, 1);
      if (share <= 0) continue;
      const [x0, y0] = to(move.start);
      const [x1, y1] = to(move.end);
      pen.beginPath();
      pen.setLineDash(move.kind === "jump" ? [3, 6] : []);
      pen.lineWidth = move.kind === "jump" ? 1.5 : Math.max(2.5, bond / 14);
      pen.strokeStyle = { jump: JUMP, ring: RING, bond: this.colour(move.step) }[move.kind];
      pen.moveTo(x0, y0);
      pen.lineTo(x0 + (x1 - x0) * share, y0 + (y1 - y0) * share);
      pen.stroke();
    }
    pen.setLineDash([]);
  }

  drawMarks(pen, to, bond) {
    const { tokens, places } = this.shown.reading;
    tokens.forEach((token, step) => {
      const place = places[step];
      if (step >= this.at || !place || place[0] === null) return;
      const [x, y] = to(place);
      if (isAtom(token) || isGlyph(token)) {
        pen.beginPath();
        pen.arc(x, y, isAtom(token) ? Math.max(3, bond / 10) : Math.max(2, bond / 18), 0, 7);
        pen.fillStyle = this.colour(step);
        pen.fill();
      }
    });
  }

  drawGaze(pen, to, bond) {
    const { places } = this.shown.reading;
    if (this.at <= 0) return;
    const step = Math.floor(this.at);
    const seen = (i) => (places[i] && places[i][0] !== null ? places[i] : null);
    const end = seen(step);
    if (!end) return;
    const start = seen(step - 1) ?? end;
    const ease = Math.min((this.at - step) * 1.6, 1);
    const [x, y] = to([start[0] + (end[0] - start[0]) * ease, start[1] + (end[1] - start[1]) * ease]);
    const reach = Math.max(16, bond * 0.55);
    const glow = pen.createRadialGradient(x, y, 0, x, y, reach);
    glow.addColorStop(0, "rgb(217 119 6 / 55%)");
    glow.addColorStop(1, "rgb(217 119 6 / 0%)");
    pen.fillStyle = glow;
    pen.beginPath();
    pen.arc(x, y, reach, 0, 7);
    pen.fill();
  }
}
