// The gaze over its picture: what the reader looked at, token by token, on a canvas.

export const DOUBTFUL = 0.9; // tokens less probable than this are marked
const STEP = 240; // ms a token at speed 1, less for long walks
const LONGEST = 9000; // ms of a whole walk at speed 1
const PATH = [[29, 78, 216], [13, 148, 136], [217, 119, 6]]; // from the first step to the last
const RING = "rgb(192 38 211)";
const JUMP = "rgb(100 116 139 / 70%)";
const DOUBT = "rgb(220 38 38)";

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

// Steps whose token is doubtful.
export function doubts(reading) {
  const steps = [];
  reading.probabilities.forEach((p, i) => {
    if (p !== null && p < DOUBTFUL && reading.places[i]?.[0] !== null) steps.push(i);
  });
  return steps;
}

export class Replay {
  // told(step, playing) is called whenever either changes
  constructor(canvas, told) {
    this.canvas = canvas;
    this.told = told;
    this.speed = 1;
    this.at = 0; // in tokens: 3.5 is half way to the fourth
    this.playing = false;
    this.clear();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  clear() {
    this.playing = false;
    this.picture = null;
    this.reading = null;
    this.moves = [];
    this.doubts = new Set();
    this.at = 0;
    this.draw();
  }

  // picture: an ImageBitmap; reading: of it, or null
  show(picture, reading) {
    this.clear();
    this.picture = picture;
    this.reading = reading;
    if (reading) {
      this.moves = moves(reading.tokens, reading.places);
      this.doubts = new Set(doubts(reading));
    }
    this.seek(this.length);
  }

  get length() {
    return this.reading ? this.reading.tokens.length : 0;
  }

  play() {
    if (!this.length) return;
    if (this.at >= this.length) this.at = 0;
    this.playing = true;
    let before = performance.now();
    const frame = (now) => {
      if (!this.playing) return;
      const pace = Math.min(STEP, LONGEST / this.length);
      this.at = Math.min(this.length, this.at + Math.max(0, now - before) / pace * this.speed);
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

  // The step under a point of the canvas, or null.
  nearest(x, y) {
    const box = this.canvas.getBoundingClientRect();
    const { scale, left, top } = this.frame();
    let best = null;
    let least = 18;
    this.reading?.places.forEach((place, i) => {
      if (!place || place[0] === null) return;
      const d = Math.hypot(place[0] * scale + left - (x - box.left), place[1] * scale + top - (y - box.top));
      if (d < least) [best, least] = [i, d];
    });
    return best;
  }

  // How the picture lies on the canvas, in CSS pixels.
  frame() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const { width: w, height: h } = this.picture ?? { width: 1, height: 1 };
    const scale = Math.min((width - 24) / w, (height - 24) / h, 6);
    return { scale, left: (width - w * scale) / 2, top: (height - h * scale) / 2 };
  }

  draw() {
    const { canvas, picture, reading } = this;
    const dense = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * dense));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * dense));
    const pen = canvas.getContext("2d");
    pen.scale(dense, dense);
    if (!picture) return;
    const { scale, left, top } = this.frame();
    pen.save();
    pen.fillStyle = "#ffffff";
    pen.fillRect(left, top, picture.width * scale, picture.height * scale);
    pen.globalAlpha = reading ? 0.5 : 1;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(picture, left, top, picture.width * scale, picture.height * scale);
    pen.restore();
    if (!reading) return;
    const to = ([x, y]) => [x * scale + left, y * scale + top];
    const bond = Math.min(Math.max((reading.scale ?? 30) * scale, 16), 80);
    this.drawMoves(pen, to, bond);
    this.drawMarks(pen, to, bond);
    this.drawGaze(pen, to, bond);
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
    const { tokens, places, probabilities } = this.reading;
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
      if (this.doubts.has(step)) {
        pen.beginPath();
        pen.arc(x, y, Math.max(9, bond / 3), 0, 7);
        pen.lineWidth = 2;
        pen.strokeStyle = DOUBT;
        pen.stroke();
        pen.font = "600 12px system-ui, sans-serif";
        pen.lineWidth = 3;
        pen.strokeStyle = "#ffffff";
        pen.fillStyle = DOUBT;
        const text = `${Math.round(probabilities[step] * 100)} %`;
        const above = y - Math.max(9, bond / 3) - 4;
        pen.strokeText(text, x - 12, above);
        pen.fillText(text, x - 12, above);
      }
    });
  }

  drawGaze(pen, to, bond) {
    const { places } = this.reading;
    if (this.at <= 0 || this.at >= this.length) return;
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
