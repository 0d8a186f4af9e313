"""How well drawn reactions are taken apart: their molecules, their roles and their SMILES.

    python bench/reactions.py molecules.smi.gz [--count N] [--seed S] [--keep DIR]

Reactions are drawn of molecules of up to 22 atoms of the file, one or two reactants, none or one
agent, one or two products, in six styles: by RDKit in colours and in black, by RDKit small and
smaller, and as molecules in a row with arrows of our own: filled, open and long with words above
and below it, and from top to bottom. Each is read by ``Reader.read_apart``. The roles of a picture
are right if each drawing that was put there is found once, in its order, with its role.
"""

from __future__ import annotations

import argparse
import gzip
import io
import random
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rdkit import Chem, rdBase
from rdkit.Chem import rdChemReactions
from rdkit.Chem.Draw import rdMolDraw2D

from molgaze import Reader

Sides = tuple[list[str], list[str], list[str]]
STYLES = ("colour", "black", "small", "filled", "open", "down")


def plain(smiles: str | None) -> str | None:
    """Canonical SMILES without stereo."""
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles or "")
    return str(Chem.MolToSmiles(mol, isomericSmiles=False)) if mol is not None else None


def by_rdkit(sides: Sides, style: str) -> Image.Image:
    """A reaction as RDKit draws it."""
    reactants, agents, products = (".".join(side) for side in sides)
    count = sum(map(len, sides))
    size = (260 * count + 150, 260) if style != "small" else (170 * count + 100, 180)
    canvas = rdMolDraw2D.MolDraw2DCairo(*size)
    options = canvas.drawOptions()
    if style != "colour":
        options.useBWAtomPalette()
    if style == "black":
        options.bondLineWidth = 1
    canvas.DrawReaction(
        rdChemReactions.ReactionFromSmarts(f"{reactants}>{agents}>{products}", useSmiles=True)
    )
    canvas.FinishDrawing()
    return Image.open(io.BytesIO(canvas.GetDrawingText())).convert("RGB")


def molecule(smiles: str) -> Image.Image:
    """A molecule with bonds of 32 pixels, cropped."""
    canvas = rdMolDraw2D.MolDraw2DCairo(-1, -1)
    options = canvas.drawOptions()
    options.useBWAtomPalette()
    options.scalingFactor = 32 / 1.5
    options.fixedFontSize = 15
    rdMolDraw2D.PrepareAndDrawMolecule(canvas, Chem.MolFromSmiles(smiles))
    canvas.FinishDrawing()
    image = Image.open(io.BytesIO(canvas.GetDrawingText())).convert("L")
    ys, xs = np.nonzero(np.asarray(image) < 200)
    return image.crop((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))


def by_hand(sides: Sides, style: str, chance: random.Random) -> Image.Image:
    """A reaction whose molecules are set in a row, or in a column, round an arrow."""
    font = ImageFont.load_default(17)
    groups = [[molecule(s) for s in side] for side in sides]
    row = [*groups[0], *groups[2]]
    long = chance.randint(90, 190)
    if groups[1]:
        long = max(long, groups[1][0].width + 10)
    size = (sum(i.width for i in row) + 600, max(i.height for i in row) + 300)
    if style == "down":
        long = max(90, groups[1][0].height if groups[1] else 0)
        size = (max(i.width for i in row) + 600, sum(i.height for i in row) + 400)
    image = Image.new("L", size, 255)
    pen = ImageDraw.Draw(image)
    at, middle = 30, (size[1] if style != "down" else size[0]) // 2

    def set_down(what: Image.Image) -> None:
        nonlocal at
        if style == "down":
            image.paste(what, (middle - what.width // 2, at))
            at += what.height + 22
        else:
            image.paste(what, (at, middle - what.height // 2))
            at += what.width + 22

    def plus() -> None:
        nonlocal at
        x, y = (middle, at + 8) if style == "down" else (at + 8, middle)
        pen.line([(x - 6, y), (x + 6, y)], 0, 2)
        pen.line([(x, y - 6), (x, y + 6)], 0, 2)
        at += 38

    for k, what in enumerate(groups[0]):
        if k:
            plus()
        set_down(what)
    end = at + long
    if style == "down":
        pen.line([(middle, at), (middle, end)], 0, 2)
        pen.polygon([(middle, end), (middle - 5, end - 14), (middle + 5, end - 14)], 0)
        if groups[1]:
            image.paste(groups[1][0], (middle + 18, at + (long - groups[1][0].height) // 2))
    else:
        pen.line([(at, middle), (end, middle)], 0, 2 if style == "filled" else 1)
        if style == "filled":
            pen.polygon([(end, middle), (end - 13, middle - 4), (end - 13, middle + 4)], 0)
        else:
            pen.line([(end - 9, middle - 6), (end, middle), (end - 9, middle + 6)], 0, 1)
        if groups[1]:
            what = groups[1][0]
            image.paste(what, (at + (long - what.width) // 2, middle - what.height - 12))
        else:
            pen.text((at + 8, middle - 28), "NaH, THF", 0, font)
        pen.text((at + 8, middle + 8), "80 \N{DEGREE SIGN}C, 2 h", 0, font)
    at = end + 22
    for k, what in enumerate(groups[2]):
        if k:
            plus()
        set_down(what)
    return image


def main() -> None:
    """Draw, read, and print how many are right in each style."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="file of SMILES, one a line, gzipped or not")
    parser.add_argument("--count", type=int, default=36)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--keep", type=Path, help="save pictures that are not right here")
    given = parser.parse_args()
    opened = gzip.open if given.data.suffix == ".gz" else open
    smiles = []
    with opened(given.data, "rt", encoding="utf-8") as file:
        for line in file:
            mol = Chem.MolFromSmiles(line.split()[0])
            if mol is not None and 7 <= mol.GetNumAtoms() <= 22 and "." not in line.split()[0]:
                smiles.append(line.split()[0])
            if len(smiles) == 2000:
                break
    chance = random.Random(given.seed)
    reader = Reader(device="cpu", threads=1)
    total: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for number in range(given.count):
        style = STYLES[number % len(STYLES)]
        counts = (chance.choice([1, 1, 2]), chance.choice([0, 0, 1]), chance.choice([1, 1, 1, 2]))
        sides: Sides = tuple(chance.sample(smiles, n) for n in counts)  # type: ignore[assignment]
        drawn = by_rdkit if style in STYLES[:3] else None
        image = drawn(sides, style) if drawn else by_hand(sides, style, chance)
        began = time.process_time()
        found = reader.read_apart(image)
        row = total[style]
        row["seconds"] += time.process_time() - began
        names = ("reactant", "agent", "product")
        roles = tuple(sum(r.role == name for r in found) for name in names)
        molecules = [plain(s) for side in sides for s in side]
        read = [plain(r.smiles) for r in found]
        right = roles == counts and len(found) == sum(counts)
        row["pictures"] += 1
        row["parted"] += len(found) == sum(counts)
        row["roles"] += right
        row["molecules"] += len(molecules)
        row["read"] += sum(smiles in read for smiles in molecules)
        stated = {r.reaction for r in found} - {None}
        wanted = [sorted(filter(None, map(plain, side))) for side in sides]
        for reaction in stated:
            got = [
                sorted(filter(None, map(plain, side.split(".") if side else [])))
                for side in str(reaction).split(">")
            ]
            row["reactions"] += got == wanted and len(stated) == 1
        if given.keep and not right:
            given.keep.mkdir(parents=True, exist_ok=True)
            image.save(given.keep / f"{number}-{style}-{counts}-{roles}-{len(found)}.png")
    for style, row in total.items():
        print(
            f"{style:7} {row['pictures']:3.0f} pictures: parted {row['parted']:.0f}, "
            f"roles right {row['roles']:.0f}, reaction SMILES right {row['reactions']:.0f}; "
            f"{row['read']:.0f} of {row['molecules']:.0f} molecules right; "
            f"{row['seconds'] / row['pictures']:.1f} s of a core each"
        )


if __name__ == "__main__":
    main()
