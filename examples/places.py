"""Finds where the atoms lie on the pictures of this folder, and writes ``places.json``.

    pip install rdkit epam.indigo pikachu-chem openbabel-wheel scipy
    npm install openchemlib smiles-drawer @resvg/resvg-js @napi-rs/canvas jsdom
    python examples/places.py --node FOLDER             # where npm put node_modules

RDKit tells the pixel of every atom. The other programs tell the layout that they drew, up to its
scale and its corner; these two are found by laying the bonds of the layout on the ink of the
picture, and a picture on whose ink they do not lie is an error. MolGaze has no part in it.

``places.json`` maps a file to its atoms, each with its element and its x and y in pixels of the
picture, where the centre of the first pixel is 0.5. Hydrogens and atoms inside a written group, as
in ``CO2H``, are left out, since the drawing gives them no place.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from make import EXAMPLES, HERE, Example, abbreviations
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rdkit import Chem
from rdkit.Chem import rdAbbreviations
from rdkit.Chem.Draw import rdMolDraw2D
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.optimize import minimize
from scipy.signal import fftconvolve

LEAST_INK = 0.6  # mean ink along the bonds, 0 to 1: less than this is another layout


class Layout(NamedTuple):
    """Elements, places (n, 2) with y down, and bonds as pairs of atoms."""

    elements: list[str]
    places: NDArray[np.float64]
    bonds: list[tuple[int, int]]


def of_mol(mol: Chem.Mol) -> Layout:
    """The layout that a mol has as its conformer."""
    spots = np.array(mol.GetConformer().GetPositions()[:, :2]) * (1, -1)
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()]
    return Layout([a.GetSymbol() for a in mol.GetAtoms()], spots, bonds)


def rdkit(example: Example) -> Layout:
    """What RDKit drew, in pixels of its picture."""
    mol = Chem.MolFromSmiles(example.smiles)
    mol = rdAbbreviations.CondenseMolAbbreviations(mol, abbreviations(example), maxCoverage=0.8)
    canvas = rdMolDraw2D.MolDraw2DCairo(*example.style.get("size", (360, 300)))
    canvas.drawOptions().bondLineWidth = example.style.get("line", 2)
    rdMolDraw2D.PrepareAndDrawMolecule(canvas, mol)
    spots = [canvas.GetDrawCoords(i) for i in range(mol.GetNumAtoms())]
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()]
    elements = [a.GetSymbol() for a in mol.GetAtoms()]
    return Layout(elements, np.array([(p.x, p.y) for p in spots]), bonds)


def indigo(example: Example) -> Layout:
    """Indigo's layout of the molecule that it was given."""
    from indigo import Indigo  # noqa: PLC0415

    engine = Indigo()
    drawn = Chem.MolFromSmiles(example.smiles)
    mol = engine.loadMolecule(example.smiles)
    if example.style.get("kekule"):
        Chem.Kekulize(drawn)
        mol = engine.loadMolecule(Chem.MolToSmiles(drawn, kekuleSmiles=True))
    if example.style.get("short"):
        drawn = rdAbbreviations.LabelMolAbbreviations(drawn, abbreviations(example), 0.8)
        mol = engine.loadMolecule(Chem.MolToV3KMolBlock(drawn))
    mol.layout()
    written = {i for group in Chem.GetMolSubstanceGroups(drawn) for i in group.GetAtoms()}
    atoms = [a for a in mol.iterateAtoms() if a.index() not in written]
    number = {a.index(): i for i, a in enumerate(atoms)}
    bonds = [(b.source().index(), b.destination().index()) for b in mol.iterateBonds()]
    return Layout(
        [a.symbol() for a in atoms],
        np.array([a.xyz()[:2] for a in atoms]) * (1, -1),
        [(number[a], number[b]) for a, b in bonds if a in number and b in number],
    )


def open_babel(example: Example) -> Layout:
    """Open Babel's layout, as its molfile has it."""
    from openbabel import pybel  # noqa: PLC0415

    mol = pybel.readstring("smi", example.smiles)
    mol.draw(show=False, update=True)
    return of_mol(Chem.MolFromMolBlock(mol.write("mol")))


def pikachu(example: Example) -> Layout:
    """PIKAChU's layout."""
    from pikachu.drawing.drawing import Drawer  # noqa: PLC0415
    from pikachu.general import read_smiles  # noqa: PLC0415

    drawing = Drawer(read_smiles(example.smiles))
    atoms = [a for a in drawing.structure.graph if a.type != "H" and a.draw.positioned]
    number = {a: i for i, a in enumerate(atoms)}
    pairs = [b.neighbours for b in drawing.structure.bonds.values()]
    return Layout(
        [a.type for a in atoms],
        np.array([(a.draw.position.x, -a.draw.position.y) for a in atoms]),
        [(number[a], number[b]) for a, b in pairs if a in number and b in number],
    )


SCRIPT = """
import { createRequire } from "node:module";
const require = createRequire(process.cwd() + "/");
const { JSDOM } = require("jsdom");
const { createCanvas } = require("@napi-rs/canvas");
const { window } = new JSDOM("");
Object.assign(globalThis, { window, document: window.document });
for (const name of ["SVGElement", "SVGSVGElement", "HTMLElement", "HTMLCanvasElement"]) {
  globalThis[name] = window[name];
}
const element = document.createElement.bind(document);
document.createElement = (name) => (name === "canvas" ? createCanvas(8, 8) : element(name));
const bundle = require.resolve("smiles-drawer").replace(".min.js", ".min.mjs");
const { default: SmilesDrawer } = await import(bundle);
const { Molecule } = require("openchemlib");
const jobs = JSON.parse(process.argv[1]);
const layouts = [];
for (const { program, smiles } of jobs) {
  const atoms = [], bonds = [];
  if (program === "OpenChemLib") {
    const mol = Molecule.fromSmiles(smiles);
    for (let i = 0; i < mol.getAllAtoms(); i++) {
      atoms.push([mol.getAtomLabel(i), mol.getAtomX(i), mol.getAtomY(i)]);
    }
    for (let i = 0; i < mol.getAllBonds(); i++) {
      bonds.push([mol.getBondAtom(0, i), mol.getBondAtom(1, i)]);
    }
  } else {
    const drawer = new SmilesDrawer.SvgDrawer({ width: 500, height: 400, padding: 20 });
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    SmilesDrawer.parse(smiles, (tree) => drawer.draw(tree, svg, "light"));
    const { vertices, edges } = drawer.preprocessor.graph;
    for (const { value, position } of vertices) {
      // An atom inside a written group such as COOH is not drawn by itself.
      atoms.push([value.isDrawn ? value.element : "*", position.x, position.y]);
    }
    for (const e of edges) bonds.push([e.sourceId, e.targetId]);
  }
  layouts.push({ atoms, bonds });
}
console.log(JSON.stringify(layouts));
"""


def javascript(examples: list[Example], node: Path) -> list[Layout]:
    """The layouts of OpenChemLib and of SmilesDrawer."""
    jobs = [{"program": e.program, "smiles": e.smiles} for e in examples]
    command = ["node", "--input-type=module", "-e", SCRIPT, json.dumps(jobs)]
    done = subprocess.run(command, check=True, cwd=node, capture_output=True, text=True)
    layouts = []
    for found in json.loads(done.stdout.splitlines()[-1]):
        kept = [i for i, (symbol, _, _) in enumerate(found["atoms"]) if symbol not in ("H", "*")]
        number = {atom: i for i, atom in enumerate(kept)}
        layouts.append(
            Layout(
                [found["atoms"][i][0] for i in kept],
                np.array([found["atoms"][i][1:] for i in kept]),
                [(number[a], number[b]) for a, b in found["bonds"] if {a, b} <= set(number)],
            )
        )
    return layouts


def ink_of(file: Path) -> NDArray[np.float64]:
    """(H, W), 0 paper to 1 ink; the paper is the colour of the first pixel."""
    with Image.open(file) as image:
        colours = np.asarray(image.convert("RGB"), np.float64)
    away = np.abs(colours - colours[0, 0]).max(-1)
    return np.asarray(np.clip(away / 128, 0, 1))


def lines(layout: Layout, scale: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The bonds as lines of 3 pixels (h, w), and the layout's origin on them."""
    spots = layout.places * scale
    origin = 3 - spots.min(0)
    width, height = np.ceil(spots.max(0) + origin + 4).astype(int)
    image = Image.new("L", (int(width), int(height)))
    pen = ImageDraw.Draw(image)
    for a, b in layout.bonds:
        pen.line([*(spots[a] + origin), *(spots[b] + origin)], fill=1, width=3)
    return np.asarray(image, np.float64), origin


def laid(layout: Layout, ink: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Places in pixels of the picture at which the bonds have most ink, and how much, 0 to 1."""
    full = np.argwhere(ink > 0.5)
    room = float((np.ptp(full, axis=0)[::-1] / np.maximum(np.ptp(layout.places, axis=0), 1)).min())
    best: tuple[float, float, NDArray[np.float64]] = (-1.0, 0.0, np.zeros(2))
    for scale in room * np.geomspace(0.6, 1.1, 80):
        drawn, origin = lines(layout, float(scale))
        if drawn.shape[0] > ink.shape[0] + 40 or drawn.shape[1] > ink.shape[1] + 40:
            continue
        framed = np.pad(ink, 20)
        frame = np.maximum(0, np.array(drawn.shape) - framed.shape)
        framed = np.pad(framed, [(0, int(n)) for n in frame])
        found = fftconvolve(framed, drawn[::-1, ::-1], mode="valid") / drawn.sum()
        y, x = np.unravel_index(int(found.argmax()), found.shape)
        # of scales that fit alike the largest: a small layout finds ink more easily
        score = float(found.max()) + 0.1 * float(scale) / room
        if score > best[0]:
            best = score, float(scale), np.array([x, y]) - 20 + origin + 0.5

    smooth = gaussian_filter(ink, 1.0)
    ends = layout.places[layout.bonds]  # (M, 2, 2)
    along = np.linspace(0.0, 1.0, 33)[:, None, None]
    spots = (ends[:, 0] + along * (ends[:, 1] - ends[:, 0])).reshape(-1, 2)

    def missed(way: NDArray[np.float64]) -> float:
        x, y = (spots * best[1] * way[0] + best[2] + way[1:]).T - 0.5
        return -float(map_coordinates(smooth, [y, x], order=1).mean())

    start = [[1, 0, 0], [1.01, 0, 0], [1, 3, 0], [1, 0, 3]]
    way = minimize(missed, start[0], method="Nelder-Mead", options={"initial_simplex": start}).x
    best = best[0], best[1] * way[0], best[2] + way[1:]
    _, scale, corner = best
    places = layout.places * scale + corner
    spots = [
        places[a] + t * (places[b] - places[a])
        for a, b in layout.bonds
        for t in np.linspace(0.3, 0.7, 9)
    ]
    on = [ink[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].max(initial=0) for x, y in spots]
    return places, float(np.mean(on))


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description="Find where the atoms of the pictures lie.")
    parser.add_argument("--node", type=Path, required=True, help="folder that holds node_modules")
    options = parser.parse_args()
    own = {"RDKit": rdkit, "Indigo": indigo, "Open Babel": open_babel, "PIKAChU": pikachu}
    rest = [e for e in EXAMPLES if e.program not in own]
    layouts = dict(zip((e.file for e in rest), javascript(rest, options.node), strict=True))
    table: dict[str, list[list[Any]]] = {}
    for example in EXAMPLES:
        ink = ink_of(HERE / example.file)
        if example.program == "RDKit":
            layout = rdkit(example)
            places = layout.places
        else:
            layout = layouts.get(example.file) or own[example.program](example)
            places, share = laid(layout, ink)
            print(f"{example.file:24s} {share:.3f} of the bonds lie on ink")
            if share < LEAST_INK:
                raise SystemExit(f"{example.file}: the program's layout is another one")
        table[example.file] = [
            [element, round(float(x), 1), round(float(y), 1)]
            for element, (x, y) in zip(layout.elements, places, strict=True)
            if element != "*"
        ]
    rows = [f"  {json.dumps(file)}: {json.dumps(atoms)}" for file, atoms in table.items()]
    (HERE / "places.json").write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
