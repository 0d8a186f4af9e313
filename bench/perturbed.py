"""The field's perturbed copy of a benchmark: every picture turned and sheared a little, five times.

    python bench/perturbed.py TABLE.csv FOLDER [--copies 5] [--seed 1] [--limit N]

Each copy is rotated by U(-5, 5) degrees and sheared in x and in y by U(-0.1, 0.1), on a page that
grows so that nothing is cut, filled with the colour of the paper. FOLDER gets ``images/`` and a
table of the same name with the columns of the old one. The same seed makes the same pictures.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from molgaze.score import table


def opened(file: Path) -> Image.Image:
    """A picture as grey or RGB on white."""
    with Image.open(file) as picture:
        if picture.has_transparency_data:
            layers = picture.convert("RGBA")
            sheet = Image.new("RGB", layers.size, "white")
            sheet.paste(layers, mask=layers.getchannel("A"))
            return sheet
        return picture.convert("L" if picture.mode in ("1", "L", "I;16", "I") else "RGB")


def paper(picture: Image.Image) -> float | tuple[int, ...] | None:
    """The commonest colour along the border."""
    width, height = picture.size
    border = [(x, y) for x in range(width) for y in (0, height - 1)]
    border += [(x, y) for y in range(height) for x in (0, width - 1)]
    return Counter(picture.getpixel(at) for at in border).most_common(1)[0][0]


def perturbed(picture: Image.Image, angle: float, shear: tuple[float, float]) -> Image.Image:
    """Rotate by an angle in radians after a shear in x and in y."""
    c, s = math.cos(angle), math.sin(angle)
    linear = np.array([[c, -s], [s, c]]) @ np.array([[1.0, shear[0]], [shear[1], 1.0]])
    corners = np.array([(x, y) for x in (0, picture.width) for y in (0, picture.height)])
    turned = corners @ linear.T
    low, high = turned.min(0), turned.max(0)
    back = np.linalg.inv(linear)
    width, height = np.ceil(high - low).astype(int).tolist()
    matrix = (*back[0], float(back[0] @ low), *back[1], float(back[1] @ low))
    return picture.transform(
        (width, height),
        Image.Transform.AFFINE,
        matrix,
        resample=Image.Resampling.BICUBIC,
        fillcolor=paper(picture),
    )


def main() -> None:
    """Write the copies and their table."""
    parser = argparse.ArgumentParser(description="rotated and sheared copies of a benchmark")
    parser.add_argument("table", type=Path, metavar="TABLE.csv")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--copies", type=int, default=5)
    parser.add_argument("--limit", type=int, help="the first rows only")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    rows = table(options.table)[: options.limit]
    images = options.folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    target = options.folder / options.table.name
    with open(target, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "smiles", "condition")[: 3 if rows[0][2] else 2])
        for number, (source, smiles, condition, _) in enumerate(rows):
            picture = opened(source)
            for copy in range(options.copies):
                rng = np.random.default_rng((options.seed, number, copy))
                angle = math.radians(rng.uniform(-5, 5))
                shear = (rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1))
                name = f"{number:05d}-{source.stem}-{copy}.png"
                perturbed(picture, angle, shear).save(images / name)
                writer.writerow((f"images/{name}", smiles, condition)[: 3 if condition else 2])
    print(f"{len(rows)} pictures, {options.copies} copies each: {target}")


if __name__ == "__main__":
    main()
