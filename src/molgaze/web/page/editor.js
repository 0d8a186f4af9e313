// The molecule in an editor (OpenChemLib), and back out of it with its atoms on the picture.

let library = null;

async function openchemlib() {
  library ??= import("./openchemlib.js");
  return library;
}

// x and y (down, pixels of the picture) of the atoms of a V2000 or V3000 molfile.
export function atoms(molfile) {
  const lines = molfile.split("\n");
  if (lines[3]?.includes("V3000")) {
    const start = lines.findIndex((line) => line.startsWith("M  V30 BEGIN ATOM"));
    const end = lines.findIndex((line) => line.startsWith("M  V30 END ATOM"));
    return lines.slice(start + 1, end).map((line) => {
      const [, , , , x, y] = line.split(/\s+/);
      return [Number(x), -Number(y)];
    });
  }
  const count = Number(lines[3]?.slice(0, 3)) || 0;
  return lines.slice(4, 4 + count).map((line) => [Number(line.slice(0, 10)), -Number(line.slice(10, 20))]);
}

export class Editor {
  constructor(element) {
    this.element = element;
    this.editor = null;
    this.onPicture = null; // places of the atoms there, until they are known in the editor
    this.before = []; // places in the editor when it was last looked at
    this.scale = 1; // editor pixels for one of the picture
    this.shift = [0, 0]; // of the picture's corner, in the editor
    this.shown = Promise.resolve(); // when all that was asked for is in the editor
  }

  // One thing after another: the library, which is large, is loaded by the first.
  after(task) {
    const done = this.shown.then(task);
    this.shown = done.catch(() => {}); // whoever asked for it hears of the fault
    return done;
  }

  // molfile: with its atoms on the picture; doubtful: {x, y} there.
  show(molfile, doubtful = []) {
    return this.after(() => this.put(molfile, doubtful));
  }

  async put(molfile, doubtful) {
    const { Molecule, CanvasEditor } = await openchemlib();
    const molecule = Molecule.fromMolfile(absolute(molfile ?? ""));
    if (molfile && !molecule.getAllAtoms()) throw new Error("no atoms");
    if (!this.editor) {
      this.editor = new CanvasEditor(this.element);
      // The editor lays a molecule out when it paints it: look just before the first change.
      for (const kind of ["pointerdown", "keydown"]) {
        this.element.addEventListener(kind, () => this.follow(), { capture: true });
      }
    }
    const places = molfile ? atoms(molfile) : [];
    for (const { x, y } of doubtful) {
      const [atom, distance] = nearest([x, y], places);
      if (distance < spacing(places) / 2) molecule.setAtomColor(atom, Molecule.cAtomColorRed);
    }
    this.editor.setMolecule(molecule);
    this.onPicture = places;
  }

  showSmiles(smiles) {
    return this.after(async () => {
      const { Molecule } = await openchemlib();
      const molecule = Molecule.fromSmiles(smiles);
      if (!molecule.getAllAtoms()) throw new Error("no atoms");
      this.editor.setMolecule(molecule);
      this.onPicture = [];
    });
  }

  places() {
    const molecule = this.editor.getMolecule();
    const count = molecule.getAllAtoms();
    return Array.from({ length: count }, (_, i) => [molecule.getAtomX(i), molecule.getAtomY(i)]);
  }

  // Finds out where the picture lies in the editor, which moves and scales all atoms as it likes.
  follow() {
    const now = this.places();
    if (this.onPicture) {
      const found = similar(this.onPicture, now) ?? { scale: 1, shift: [0, 0] };
      [this.scale, this.shift] = [found.scale, found.shift];
      this.onPicture = null;
    } else {
      const { scale, shift } = moved(this.before, now);
      this.scale *= scale;
      this.shift = this.shift.map((s, k) => s * scale + shift[k]);
    }
    this.before = now;
  }

  // V2000 with the atoms on the picture; labels as aliases, which others read too.
  molfile() {
    this.follow();
    const molecule = this.editor.getMolecule();
    const text = molecule.toMolfile();
    const lines = text.split("\n");
    if (!lines[3]?.includes("V2000")) return text;
    const own = /^M  (STY|SLB|SAL|SDT|SDD|SED)/; // how OpenChemLib keeps labels
    const aliases = [];
    molecule.getAllAtoms() && this.places().forEach(([x, y], i) => {
      const place = [(x - this.shift[0]) / this.scale, -(y - this.shift[1]) / this.scale, 0];
      let rest = lines[4 + i].slice(30);
      const label = molecule.getAtomCustomLabel(i);
      if (label) {
        rest = ` R  ${rest.slice(4)}`;
        aliases.push(`A  ${String(i + 1).padStart(3)}`, label);
      }
      lines[4 + i] = place.map((v) => v.toFixed(4).padStart(10)).join("") + rest;
    });
    const end = lines.findIndex((line) => line.startsWith("M  END"));
    const bonds = Number(lines[3].slice(3, 6));
    const first = 4 + molecule.getAllAtoms() + bonds;
    const properties = lines.slice(first, end).filter((line) => !own.test(line));
    return ["", "  MolGaze, corrected by hand", "", ...lines.slice(3, first), ...aliases, ...properties, "M  END", ""].join("\n");
  }
}

// V2000 with its chiral flag set: OpenChemLib takes all else for a racemate, and says so.
function absolute(molfile) {
  const lines = molfile.split("\n");
  if (lines[3]?.includes("V2000")) lines[3] = `${lines[3].slice(0, 12)}  1${lines[3].slice(15)}`;
  return lines.join("\n");
}

function middle(places) {
  return [0, 1].map((k) => places.reduce((sum, p) => sum + p[k], 0) / places.length);
}

// Scale and shift that bring some places to others, atom by atom; null if none does.
function similar(from, to) {
  const count = Math.min(from.length, to.length);
  if (!count) return null;
  const [a, b] = [from.slice(0, count), to.slice(0, count)];
  const [ma, mb] = [middle(a), middle(b)];
  const spread = (all, m) => all.reduce((sum, p) => sum + Math.hypot(p[0] - m[0], p[1] - m[1]), 0);
  const scale = spread(a, ma) > 0 ? spread(b, mb) / spread(a, ma) : 1;
  const shift = [0, 1].map((k) => mb[k] - ma[k] * scale);
  const off = a.map((p, i) => Math.hypot(...[0, 1].map((k) => p[k] * scale + shift[k] - b[i][k])));
  return Math.max(...off) < 1 ? { scale, shift } : null;
}

// How most atoms went from before to now, when some were added, moved or taken away.
function moved(before, now) {
  const votes = new Map();
  before.forEach((p, i) => {
    for (let j = Math.max(0, i - 8); j <= Math.min(i, now.length - 1); j++) {
      const shift = [now[j][0] - p[0], now[j][1] - p[1]];
      const key = shift.map((d) => Math.round(d * 4)).join();
      const vote = votes.get(key) ?? { count: 0, scale: 1, shift };
      vote.count += 1;
      votes.set(key, vote);
    }
  });
  const best = [...votes.values()].sort((a, b) => b.count - a.count)[0];
  const enough = Math.min(before.length, now.length) / 2;
  if (best && best.count >= enough) return best;
  return similar(before, now) ?? { scale: 1, shift: [0, 0] };
}

function nearest(spot, places) {
  let [best, least] = [-1, Infinity];
  places.forEach((p, i) => {
    const d = Math.hypot(p[0] - spot[0], p[1] - spot[1]);
    if (d < least) [best, least] = [i, d];
  });
  return [best, least];
}

// Median distance of an atom to the one nearest to it: about a bond.
function spacing(places) {
  if (places.length < 2) return Infinity;
  const gaps = places.map((p, i) => nearest(p, places.filter((_, j) => j !== i))[1]).sort((a, b) => a - b);
  return gaps[Math.floor(gaps.length / 2)];
}
