"""Pictures to fit the confidence on: molecules by programs that training never uses, and none.

    pip install rdkit pikachu-chem openbabel-wheel matplotlib pillow
    npm install openchemlib smiles-drawer @resvg/resvg-js @napi-rs/canvas jsdom
    python bench/fitting.py FILE.smi --node FOLDER --photos FOLDER [FOLDER ...] --out FOLDER

Writes ``drawn.csv`` (molecules drawn by Open Babel, PIKAChU, OpenChemLib and SmilesDrawer, small
and large, plain and as a poor JPEG) and ``nothing.csv`` (pictures without a molecule: pages of
text, plots, tables, flow charts, noise, words, and the photographs, icons and logos found in the
given folders), both with the columns ``file`` and ``smiles``, which is empty in the second one.
``python -m molgaze.train.confidence`` takes such tables.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import random
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rdkit import Chem

mpl.use("Agg")
from matplotlib import font_manager
from matplotlib import pyplot as plt

DRAW = Path(__file__).parents[1] / "examples" / "draw.mjs"
WORDS = """the of a reaction was stirred at room temperature for hours and then poured into water
extracted with ethyl acetate washed brine dried filtered concentrated compound mixture
under nitrogen solution mmol mL yield white solid NMR ppm found calculated method
example page figure table scheme according to claim wherein said first second third
value result average model data total price name city street number date order please
see also note that Dr. and Co. 12 3.5 2019 100 % (a) (b) [1] Cl NaOH H2O CO2 EtOH DMF
THF Fe Ni R O N C H S P""".split()


def sentence(rng: random.Random, count: int) -> str:
    """Words in a row, some with a capital or a comma."""
    row = [rng.choice(WORDS) for _ in range(count)]
    return " ".join(w.capitalize() if rng.random() < 0.15 else w for w in row)


def font(rng: random.Random, size: int) -> ImageFont.FreeTypeFont:
    """One of the fonts of this machine."""
    names = sorted(f.fname for f in font_manager.fontManager.ttflist if "Display" not in f.name)
    return ImageFont.truetype(rng.choice(names), size)


def text(rng: random.Random) -> Image.Image:
    """A page or a few lines of text."""
    size, lines = rng.randint(9, 40), rng.choice([1, 1, 2, 3, 8, 25, 40])
    letters = font(rng, size)
    longest = rng.randint(1, 12)
    step = int(size * rng.uniform(1.1, 1.6))
    image = Image.new("L", (60 + size * longest * 4, 40 + step * lines), 255)
    pen = ImageDraw.Draw(image)
    for k in range(lines):
        pen.text(
            (20, 15 + k * step), sentence(rng, longest), fill=rng.choice([0, 0, 60]), font=letters
        )
    return image.rotate(rng.choice([0, 0, 0, rng.uniform(-3, 3)]), fillcolor=255, expand=True)


def word(rng: random.Random) -> Image.Image:
    """One word, letter or number, as a logo or a caption has it."""
    letters = font(rng, rng.randint(20, 120))
    what = rng.choice([*WORDS, "MOL", "ACME", "Fig. 1", "IV", "X", "A", "?", "&", "+", "→", "1a"])
    left, top, right, bottom = letters.getbbox(what)
    pad = rng.randint(4, 60)
    image = Image.new("L", (int(right - left) + 2 * pad, int(bottom - top) + 2 * pad), 255)
    ImageDraw.Draw(image).text((pad - left, pad - top), what, fill=0, font=letters)
    return image


def table(rng: random.Random) -> Image.Image:
    """Rows and columns with words and numbers, with lines or without."""
    rows, columns, size = rng.randint(2, 12), rng.randint(2, 6), rng.randint(10, 22)
    width, height = rng.randint(60, 140), int(size * rng.uniform(1.5, 2.5))
    letters = font(rng, size)
    image = Image.new("L", (columns * width + 21, rows * height + 21), 255)
    pen = ImageDraw.Draw(image)
    if rng.random() < 0.7:
        for k in range(rows + 1):
            pen.line([10, 10 + k * height, 10 + columns * width, 10 + k * height], fill=0, width=1)
        for k in range(columns + 1):
            pen.line([10 + k * width, 10, 10 + k * width, 10 + rows * height], fill=0, width=1)
    for row in range(rows):
        for column in range(columns):
            what = rng.choice(
                [rng.choice(WORDS), f"{rng.uniform(0, 100):.2f}", str(rng.randint(0, 99))]
            )
            pen.text((14 + column * width, 12 + row * height), what, fill=0, font=letters)
    return image


def chart(rng: random.Random) -> Image.Image:
    """A flow chart, a circuit, or a graph of knots and lines."""
    width, height, size = rng.randint(200, 700), rng.randint(200, 500), rng.randint(12, 20)
    image = Image.new("L", (width, height), 255)
    pen = ImageDraw.Draw(image)
    letters, thick = font(rng, size), rng.randint(1, 3)
    spots = [
        (rng.randint(30, width - 60), rng.randint(20, height - 40))
        for _ in range(rng.randint(3, 10))
    ]
    for here, there in pairwise(spots):
        pen.line([*here, *there], fill=0, width=thick)
    for x, y in spots:
        box = (x - 20, y - 12, x + 30, y + 14)
        shape = rng.choice([pen.rectangle, pen.ellipse])
        shape(box, fill=255, outline=0, width=thick)
        if rng.random() < 0.7:
            pen.text((x - 14, y - 8), rng.choice(WORDS)[:4], fill=0, font=letters)
    return image


def scribble(rng: random.Random) -> Image.Image:
    """Lines, arcs and boxes at random."""
    width, height = rng.randint(100, 600), rng.randint(100, 500)
    image = Image.new("L", (width, height), 255)
    pen = ImageDraw.Draw(image)
    for _ in range(rng.randint(1, 14)):
        x, y = sorted(rng.sample(range(width), 2)), sorted(rng.sample(range(height), 2))
        thick = rng.randint(1, 5)
        kind = rng.randrange(3)
        if kind == 0:
            pen.line([x[0], rng.choice(y), x[1], rng.choice(y)], fill=0, width=thick)
        elif kind == 1:
            pen.arc(
                [x[0], y[0], x[1] + 1, y[1] + 1], rng.randint(0, 360), rng.randint(0, 360), 0, thick
            )
        else:
            pen.rectangle([x[0], y[0], x[1], y[1]], outline=0, width=thick)
    return image


def noise(rng: random.Random) -> Image.Image:
    """Grain, specks, or shades."""
    numbers = np.random.default_rng(rng.randrange(2**32))
    width, height = rng.randint(60, 500), rng.randint(60, 400)
    kind = rng.randrange(3)
    if kind == 0:
        grey = numbers.normal(rng.uniform(100, 230), rng.uniform(5, 70), (height, width))
    elif kind == 1:
        grey = np.where(numbers.random((height, width)) < rng.choice([0.001, 0.01, 0.1]), 0, 255)
    else:
        small = Image.fromarray(numbers.integers(0, 255, (9, 12), dtype=np.uint8))
        return small.resize((width, height), Image.Resampling.BICUBIC)
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))


def plot(rng: random.Random) -> Image.Image:
    """A plot by matplotlib."""
    numbers = np.random.default_rng(rng.randrange(2**32))
    figure, axes = plt.subplots(
        figsize=(rng.uniform(2, 6), rng.uniform(2, 5)), dpi=rng.randint(60, 160)
    )
    x = np.linspace(0, 10, rng.choice([6, 30, 200]))
    kind = rng.randrange(7)
    if kind == 0:
        for _ in range(rng.randint(1, 4)):
            axes.plot(x, np.cumsum(numbers.normal(size=x.size)), label=rng.choice(WORDS))
        axes.legend()
    elif kind == 1:
        axes.bar(range(6), numbers.random(6))
    elif kind == 2:
        axes.scatter(numbers.random(40), numbers.random(40), s=rng.randint(4, 60))
    elif kind == 3:
        axes.pie(numbers.random(5), labels=[rng.choice(WORDS) for _ in range(5)])
    elif kind == 4:
        axes.imshow(numbers.random((12, 12)), cmap=rng.choice(["grey", "viridis"]))
    elif kind == 5:  # a spectrum: sharp peaks over a line
        ppm = np.linspace(0, 10, 2000)
        peaks = sum(
            numbers.random() / (1 + ((ppm - c) / 0.02) ** 2) for c in numbers.uniform(0, 10, 9)
        )
        axes.plot(ppm, peaks, "k", lw=rng.uniform(0.5, 1.5))
    else:
        axes.hist(numbers.normal(size=300), bins=20, histtype=rng.choice(["bar", "step"]))
    if rng.random() < 0.3:
        axes.axis("off")
    if rng.random() < 0.6:
        axes.set_title(sentence(rng, 4))
        axes.set_xlabel(rng.choice(WORDS))
    stream = io.BytesIO()
    figure.savefig(stream)
    plt.close(figure)
    with Image.open(stream) as image:
        return image.convert("RGB")


MAKERS: dict[str, tuple[int, Callable[[random.Random], Image.Image]]] = {
    "text": (70, text),
    "word": (40, word),
    "table": (30, table),
    "chart": (30, chart),
    "scribble": (30, scribble),
    "noise": (20, noise),
    "plot": (70, plot),
}


def nothing(folder: Path, photos: list[Path], rng: random.Random) -> list[Path]:
    """Pictures without a molecule."""
    files = []
    for name, (count, make) in MAKERS.items():
        for k in range(count):
            files.append(folder / f"{name}{k:03d}.png")
            make(rng).save(files[-1])
    for place in photos:
        found = sorted(p for p in place.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
        for k, path in enumerate(rng.sample(found, min(40, len(found)))):
            try:
                with Image.open(path) as image:
                    shown = image.convert("RGBA")
            except OSError:
                continue
            if min(shown.size) < 24:
                continue
            shown.thumbnail((1200, 1200))
            paper = Image.new("RGBA", shown.size, "white")
            paper.alpha_composite(shown)
            files.append(folder / f"photo{len(files):04d}_{k}.png")
            paper.convert("RGB").save(files[-1])
    return files


def is_plain(smiles: str) -> bool:
    """One fragment, whose double bonds all tell E or Z: a program draws them as one or the other,
    and some programs draw the largest fragment only.
    """
    mol = Chem.MolFromSmiles(smiles)
    if mol is None or "." in smiles:
        return False
    return all(
        found.specified == Chem.StereoSpecified.Specified
        for found in Chem.FindPotentialStereo(mol)
        if found.type == Chem.StereoType.Bond_Double
    )


def open_babel(smiles: str, file: Path, rng: random.Random) -> None:
    """Open Babel's command line, as SVG or PNG sizes go."""
    command = [
        "obabel",
        f"-:{smiles}",
        "-O",
        str(file),
        "-xp",
        str(rng.choice([200, 300, 450, 600])),
    ]
    if rng.random() < 0.6:
        command.append("-xu")  # in black
    if rng.random() < 0.3:
        command.append("-xC")  # no carbons at the ends
    subprocess.run(
        [str(Path(sys.executable).with_name("obabel")), *command[1:]],
        check=True,
        capture_output=True,
    )


def pikachu(smiles: str, file: Path, _: random.Random) -> None:
    """PIKAChU, which draws with matplotlib."""
    from pikachu.general import png_from_smiles  # noqa: PLC0415

    png_from_smiles(smiles, str(file))


def drawn(
    folder: Path, molecules: list[str], node: Path, rng: random.Random
) -> list[tuple[Path, str]]:
    """Each molecule by one program; what a program cannot draw is left out."""
    rows: list[tuple[Path, str]] = []
    jobs = []
    for k, smiles in enumerate(molecules):
        file = folder / f"drawn{k:03d}.png"
        if k % 4 < 2:
            try:
                (open_babel, pikachu)[k % 4](smiles, file, rng)
            except Exception as err:  # whatever these programs raise
                print(f"{smiles}: {type(err).__name__}")
        else:
            name = ("OpenChemLib", "SmilesDrawer")[k % 4 - 2]
            theme = rng.choice(["light", "light", "dark"])
            width = rng.choice([220, 320, 480, 700])
            jobs.append(
                {"program": name, "smiles": smiles, "file": str(file.resolve()), "width": width}
            )
            if name == "SmilesDrawer":
                jobs[-1]["theme"] = theme
        rows.append((file, smiles))
    for job in jobs:
        done = subprocess.run(
            ["node", str(DRAW.resolve()), json.dumps([job])],
            cwd=node,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            print(f"{job['smiles']}: {job['program']} does not draw it")
    rows = [(file, smiles) for file, smiles in rows if file.exists()]
    for file, _ in rows:
        if rng.random() < 0.25:
            with Image.open(file) as image:
                flat = image.convert("RGB")
            stream = io.BytesIO()
            flat.save(stream, "JPEG", quality=rng.randint(25, 70))
            with Image.open(stream) as spoilt:
                spoilt.convert("RGB").save(file)
    return rows


def main() -> None:
    """Make both tables."""
    parser = argparse.ArgumentParser(description="pictures to fit the confidence on")
    parser.add_argument("smiles", type=Path, metavar="FILE.smi", help="one SMILES a line")
    parser.add_argument("--node", type=Path, required=True, help="folder that holds node_modules")
    parser.add_argument("--photos", type=Path, nargs="*", default=[], metavar="FOLDER")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(options.seed)
    none = [(file, "") for file in nothing(options.out, options.photos, rng)]
    molecules = [smiles for smiles in options.smiles.read_text().split() if is_plain(smiles)]
    shown = drawn(options.out, molecules, options.node, rng)
    for name, rows in (("nothing", none), ("drawn", shown)):
        with open(options.out / f"{name}.csv", "w", newline="", encoding="utf-8") as lines:
            writer = csv.writer(lines, lineterminator="\n")
            writer.writerow(("file", "smiles"))
            writer.writerows((file.name, smiles) for file, smiles in rows)
        print(f"{name}.csv: {len(rows)} pictures")


if __name__ == "__main__":
    main()
