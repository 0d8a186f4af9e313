"""How many numbers of compounds are read from the ink of drawn pages.

    python bench/numbering.py [--pages N] [--seed S] [--misses]

A page has nine molecules by RDKit, with a number below most and beside some, lines of text, and the
numbers of a patent's lines in a column. Half of the pages are set in fonts of this machine, half in
one that comes with Pillow and that the reader of glyphs was not fitted on. Each page is read clean,
in one bit, blurred, as a JPEG of quality 30 and at 150 dots an inch. The boxes of the molecules are
given, so this measures the reading of numbers and their choice alone.
"""

from __future__ import annotations

import argparse
import io
import time
from collections import Counter

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

from molgaze.glyphs import phrases
from molgaze.layout import Layout
from molgaze.numbering import numbers, printed, windows
from molgaze.train.draw import usual_fonts

SMILES = [
    "CC(=O)Oc1ccccc1C(=O)O", "CN1CCCC1c1cccnc1", "OCc1ccc(Cl)cc1C#N", "CCN(CC)C(=O)CBr",
    "c1ccc2[nH]ccc2c1", "CC(C)Cc1ccc(cc1)C(C)C(=O)O", "O=C1CCCCC1", "Clc1ccccc1N", "CCOC(=O)C=C",
]  # fmt: skip
WORDS = "the mixture was stirred at 20 C for 12 hours and then poured into water with brine".split()
SPOILS = ("clean", "one bit", "blurred", "jpeg", "150 dpi")


def molecule(smiles: str) -> Image.Image:
    """A molecule with bonds of 34 pixels, cropped."""
    canvas = rdMolDraw2D.MolDraw2DCairo(-1, -1)
    options = canvas.drawOptions()
    options.useBWAtomPalette()
    options.scalingFactor = 34 / 1.5
    options.fixedFontSize = 16
    rdMolDraw2D.PrepareAndDrawMolecule(canvas, Chem.MolFromSmiles(smiles))
    canvas.FinishDrawing()
    image = Image.open(io.BytesIO(canvas.GetDrawingText())).convert("L")
    ys, xs = np.nonzero(np.asarray(image) < 200)
    return image.crop((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))


def number(rng: np.random.Generator, kind: int) -> str:
    """A number in the style of a page."""
    count = int(rng.integers(1, 300))
    small = "abcdefgh"[int(rng.integers(8))]
    large = "ABCDEFGKLMPT"[int(rng.integers(12))]
    roman = ("II", "III", "IV", "VI", "VII", "VIII", "IX", "XI")[int(rng.integers(8))]
    return (
        f"{count}", f"{count}{small}", f"({count})", f"({roman})", f"{large}-{count}",
        f"Example {count}", f"Compound {count}{small}", f"{large}{count}", f"({count}{small})",
    )[kind]  # fmt: skip


def page(
    rng: np.random.Generator, kind: int, is_own: bool
) -> tuple[Image.Image, list[tuple[int, int, int, int]], list[str | None]]:
    """A page, the boxes of its molecules and what they are called."""
    image = Image.new("L", (1654, 1500), 255)
    pen = ImageDraw.Draw(image)
    size = int(rng.integers(22, 32))
    names = usual_fonts()
    font = (
        ImageFont.load_default(size)
        if is_own
        else ImageFont.truetype(names[int(rng.integers(len(names)))], size)
    )
    for y in [*range(60, 200, 40), *range(1240, 1450, 40)]:
        line = " ".join(rng.choice(WORDS, 16))
        pen.text((160, y), line, 0, font)
    for k in range(9):
        pen.text((90, 60 + 150 * k), str(5 * (k + 1)), 0, font)
    boxes: list[tuple[int, int, int, int]] = []
    called: list[str | None] = []
    for k, smiles in enumerate(SMILES):
        drawn = molecule(smiles)
        x, y = 180 + 470 * (k % 3), 260 + 320 * (k // 3)
        image.paste(drawn, (x, y))
        box = (x, y, x + drawn.width, y + drawn.height)
        boxes.append(box)
        if rng.random() < 0.15:
            called.append(None)
            continue
        text = number(rng, kind)
        called.append(text)
        wide = pen.textlength(text, font)
        if rng.random() < 0.25 and box[2] + 24 + wide < 180 + 470 * (k % 3 + 1) - 20:
            pen.text((box[2] + 24, (box[1] + box[3]) / 2 - size / 2), text, 0, font)
        else:
            pen.text(((box[0] + box[2] - wide) / 2, box[3] + 14), text, 0, font)
    return image, boxes, called


def spoiled(image: Image.Image, how: str, rng: np.random.Generator) -> Image.Image:
    """The page as it comes from a scanner or a compressor."""
    if how == "one bit":
        grey = np.asarray(image.filter(ImageFilter.GaussianBlur(0.8))) + rng.normal(
            0, 25, (image.height, image.width)
        )
        return Image.fromarray(((grey > 140) * 255).astype(np.uint8))
    if how == "blurred":
        return image.filter(ImageFilter.GaussianBlur(1.1))
    if how == "jpeg":
        file = io.BytesIO()
        image.save(file, "JPEG", quality=30)
        return Image.open(file)
    if how == "150 dpi":
        return image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.BOX)
    return image


def main() -> None:
    """Draw, read, and print the shares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=int, default=18)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--misses", action="store_true", help="print what is read otherwise")
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    total: Counter[str] = Counter()
    seconds = 0.0
    for n in range(given.pages):
        is_own = bool(n % 2)
        image, boxes, called = page(rng, n % 9, is_own)
        for how in SPOILS:
            spoilt = spoiled(image, how, rng)
            factor = spoilt.width / image.width
            layout = Layout(255 - np.asarray(spoilt))
            began = time.process_time()
            point = layout.letter / 6
            places = [tuple(side * factor / point for side in box) for box in boxes]
            parts = layout.parts.boxes / factor
            taken = np.zeros(len(parts), bool)
            for left, top, right, bottom in boxes:
                taken |= (
                    (parts[:, 0] > left - 3)
                    & (parts[:, 2] < right + 3)
                    & ((parts[:, 1] > top - 3) & (parts[:, 3] < bottom + 3))
                )
            near = [tuple(round(v * point) for v in w) for box in places for w in windows(box)]
            found = numbers(places, printed(phrases(layout, taken, near), point))
            seconds += time.process_time() - began
            for got, wanted in zip(found, called, strict=True):
                kind = "own" if is_own else "fonts"
                total[f"{how} printed"] += wanted is not None
                total[f"{how} right"] += wanted is not None and got == wanted
                total[f"{kind} printed"] += wanted is not None
                total[f"{kind} right"] += wanted is not None and got == wanted
                total["wrong"] += got is not None and got != wanted
                total["all"] += 1
                if given.misses and got != wanted:
                    print(how, kind, wanted, got)
    for name in (*SPOILS, "fonts", "own"):
        share = total[f"{name} right"] / max(total[f"{name} printed"], 1)
        print(f"{name}: {share:.3f} of {total[f'{name} printed']} numbers right")
    print(
        f"{total['wrong']} of {total['all']} drawings have a wrong number; "
        f"{seconds / given.pages / len(SPOILS):.3f} s of a core a page"
    )


if __name__ == "__main__":
    main()
