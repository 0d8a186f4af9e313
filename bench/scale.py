"""Errors of `scale.bond_length`: on drawn molecules, and on real pictures by a rough check.

    python bench/scale.py [--drawn 400] [--babel 100] [--each 150] [--bench FOLDER]

Drawn pictures have a known bond length. For real pictures the check is the ratio of the ink's box
to the box of RDKit's layout of the answer, so its own spread is wide: watch the median, not the
tail. Captions beside the drawing make it read low, superatom labels high. Most sets were drawn with
one bond length throughout, so the last two columns are a better check of them: the median estimate
in px, and the share of estimates within 1.25 of it.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rdkit import Chem, rdBase
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

from molgaze.picture import PictureError, load

SHARED = Path(__file__).resolve().parents[2] / "shared"


def read_molecules(file: Path, count: int, seed: int) -> list[str]:
    """`count` SMILES of a file of many, 3 heavy atoms or more."""
    chosen = random.Random(seed)
    with gzip.open(file, "rt") as lines:
        head = [line.split()[0] for line, _ in zip(lines, range(50 * count), strict=False)]
    chosen.shuffle(head)
    return head[:count]


def draw(smiles: str, chosen: random.Random) -> tuple[Image.Image, float] | None:
    """A molecule in a random RDKit style, and its true bond length in px; None if undrawable."""
    mol = Chem.MolFromSmiles(smiles)
    if mol is None or mol.GetNumBonds() < 2:
        return None
    rdDepictor.Compute2DCoords(mol)
    length = float(np.exp(chosen.uniform(np.log(10), np.log(100))))
    canvas = rdMolDraw2D.MolDraw2DCairo(-1, -1)
    options: Any = canvas.drawOptions()
    options.fixedBondLength = length
    options.scalingFactor = length
    options.bondLineWidth = max(1, round(length * chosen.uniform(0.025, 0.1)))
    options.scaleBondWidth = False
    options.multipleBondOffset = chosen.uniform(0.1, 0.2)
    options.additionalAtomLabelPadding = chosen.uniform(0.0, 0.15)
    options.baseFontSize = chosen.uniform(0.4, 0.8)
    options.minFontSize = max(5, round(length * 0.3))
    options.maxFontSize = max(6, round(length * 0.65))
    options.rotate = chosen.choice([0, 0, 0, 30, 90, chosen.uniform(0, 360)])
    options.explicitMethyl = chosen.random() < 0.2
    one_bit = chosen.random() < 0.5
    if one_bit or chosen.random() < 0.4:
        options.useBWAtomPalette()
    try:
        canvas.DrawMolecule(mol)
        places = [canvas.GetDrawCoords(i) for i in range(mol.GetNumAtoms())]
    except (RuntimeError, ValueError):
        return None
    canvas.FinishDrawing()
    true = np.median(
        [(places[b.GetBeginAtomIdx()] - places[b.GetEndAtomIdx()]).Length() for b in mol.GetBonds()]
    )
    image = Image.open(io.BytesIO(canvas.GetDrawingText())).convert("RGB")
    if one_bit:
        image = image.convert("L").point([0] * 150 + [255] * 106).convert("1")
    return image, float(true)


def draw_with_babel(smiles: str, chosen: random.Random) -> tuple[Image.Image, float] | None:
    """A molecule as Open Babel draws it, and its true bond length in px; None if undrawable."""
    side = round(float(np.exp(chosen.uniform(np.log(200), np.log(1500)))))
    with tempfile.TemporaryDirectory() as folder:
        svg, png = Path(folder) / "x.svg", Path(folder) / "x.png"
        for command in ([f"-O{svg}"], [f"-O{png}", "-xp", str(side)]):
            subprocess.run(["obabel", f"-:{smiles}", *command], capture_output=True, check=False)
        if not all(file.exists() and file.stat().st_size for file in (svg, png)):
            return None
        boxes = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg.read_text())
        image = Image.open(png).convert("RGB")
    # Its bonds are 40 units long on average, and the longer side of its box fills the picture.
    return image, 40.0 * side / max(float(length) for length in boxes[-1])


def expected(smiles: str, ink: NDArray[np.uint8]) -> float | None:
    """Rough bond length of a picture in px, from the answer's layout and the ink's box."""
    mol = Chem.MolFromSmiles(smiles)
    if mol is None or mol.GetNumBonds() < 3 or "." in smiles:
        return None
    rdDepictor.Compute2DCoords(mol)
    places = mol.GetConformer().GetPositions()[:, :2]
    size = np.ptp(places, axis=0) / 1.5 + 0.45  # half a letter on either side
    ys, xs = np.nonzero(ink > 110)
    box = float(np.ptp(xs)) * float(np.ptp(ys))
    return float(np.sqrt(box / (size[0] * size[1])))


def row_of(name: str, ratios: list[float], seconds: list[float]) -> str:
    """One row of the table."""
    log = np.abs(np.log(ratios))
    shares = " ".join(f"{100 * np.mean(log < np.log(k)):6.1f}" for k in (1.1, 1.25, 1.35, 1.6))
    pace = f"{1e3 * np.median(seconds):6.1f} {1e3 * np.max(seconds):6.1f}"
    return f"{name:14s} {len(ratios):5d} {np.median(ratios):7.3f} {shares}  {pace}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="errors of the bond length estimate")
    parser.add_argument("--drawn", type=int, default=400)
    parser.add_argument("--babel", type=int, default=100)
    parser.add_argument("--each", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--molecules", type=Path, default=SHARED / "data" / "general.smi.gz")
    parser.add_argument("--bench", type=Path, default=SHARED / "bench")
    parser.add_argument("--misses", type=Path, help="folder for the pictures that miss by 1.35")
    options = parser.parse_args()
    rdBase.DisableLog("rdApp.*")
    chosen = random.Random(options.seed)
    print("estimate / truth   n  median   <1.1  <1.25  <1.35   <1.6   ms med    max   own <1.25")
    ratios: list[float] = []
    seconds: list[float] = []
    bonds: list[float] = []
    by_size: dict[str, list[float]] = {}

    def measure(image: Image.Image | Path, true: float | None, smiles: str, name: str) -> None:
        try:
            sheet = load(image)
        except PictureError as error:
            print(name, error, file=sys.stderr)
            return
        truth = expected(smiles, sheet.ink) if true is None else true
        if truth is None:
            return
        start = time.perf_counter()
        ratio = sheet.bond / truth
        seconds.append(time.perf_counter() - start)
        ratios.append(ratio)
        bonds.append(sheet.bond)
        if options.misses and not 1 / 1.35 < ratio < 1.35:
            options.misses.mkdir(parents=True, exist_ok=True)
            Image.fromarray(255 - sheet.ink).save(
                options.misses / f"{name}-{ratio:.2f}-{truth:.0f}-{len(ratios)}.png"
            )

    if options.drawn:
        for smiles in read_molecules(options.molecules, options.drawn, options.seed):
            drawn = draw(smiles, chosen)
            if drawn:
                before = len(ratios)
                measure(drawn[0], drawn[1], smiles, "rdkit")
                if len(ratios) == before:
                    continue
                low = 10 * 2 ** int(np.log2(drawn[1] / 10) + 1e-9)
                by_size.setdefault(f"  {low}-{2 * low} px", []).append(ratios[-1])
        print(row_of("rdkit", ratios, seconds))
        for name in sorted(by_size):
            print(row_of(name, by_size[name], seconds))
    if options.babel and shutil.which("obabel"):
        ratios, seconds = [], []
        for smiles in read_molecules(options.molecules, options.babel, options.seed + 1):
            drawn = draw_with_babel(smiles, chosen)
            if drawn and drawn[1] >= 8:
                measure(drawn[0], drawn[1], smiles, "babel")
        print(row_of("babel", ratios, seconds))
    for table in sorted(options.bench.glob("*/*.csv")):
        rows = list(csv.DictReader(table.open()))
        chosen.shuffle(rows)
        ratios, seconds, bonds = [], [], []
        for row in rows[: options.each]:
            measure(table.parent / row["file"], None, row["smiles"], table.stem)
        if ratios:
            own = float(np.median(bonds))
            share = 100 * np.mean(np.abs(np.log(np.array(bonds) / own)) < np.log(1.25))
            print(f"{row_of(table.stem, ratios, seconds)} {own:5.0f} {share:5.1f}")


if __name__ == "__main__":
    main()
