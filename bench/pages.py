"""How well molecules are found and read on pages.

    python bench/pages.py FOLDER [--weights DIR] [--every N] [--only REGEX] [--spoil KIND]
                          [--json FILE] [--misses]

The folder holds ``pdf/NAME.pdf``, one page each, and ``boxes.csv`` with the boxes of all drawings
in pixels at 200 dots an inch: file, x0, y0, x1, y1, kind and, where known, smiles. Drawings of the
kinds `mol` and `markush` are to be found; what lies on one of another kind counts neither way.
Boxes are matched greedily by their intersection over union. A SMILES is right if it is that of the
answer without stereo.

With ``--spoil``, the page is drawn at 200 dots an inch, spoiled and read as a picture: ``skew``
turns it by 1.5 degrees, ``low`` halves its resolution, ``jpeg`` compresses it at quality 20,
``fax`` makes it one bit at 200 x 100 dots an inch, ``noise`` adds noise of a fifth of the contrast.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from rdkit import Chem, rdBase

from molgaze.document import Document
from molgaze.reader import WEIGHTS, Reader
from molgaze.reading import Reading

Box = tuple[float, ...]
DPI = 200
WANTED = ("mol", "markush")


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    common = shared(a, b)
    return common / (area(a) + area(b) - common) if common else 0.0


def area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def shared(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0.0) * max(height, 0.0)


def matches(found: Sequence[Box], wanted: Sequence[Box], least: float) -> dict[int, int]:
    """Pairs of found and wanted boxes, the best first, each box once."""
    pairs = [(overlap(f, w), i, j) for i, f in enumerate(found) for j, w in enumerate(wanted)]
    pairs.sort(reverse=True)
    chosen: dict[int, int] = {}
    for share, i, j in pairs:
        if share >= least and i not in chosen and j not in chosen.values():
            chosen[i] = j
    return chosen


# --- spoiled pages ---


def skew(image: Image.Image) -> Image.Image:
    return image.rotate(1.5, Image.Resampling.BICUBIC, fillcolor=255)


def low(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)


def jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=20)
    return Image.open(file)


def fax(image: Image.Image) -> Image.Image:
    small = image.resize((image.width, image.height // 2), Image.Resampling.BOX)
    return small.point(lambda v: 255 * (v > 150)).resize(image.size, Image.Resampling.NEAREST)


def noise(image: Image.Image) -> Image.Image:
    grain = np.random.default_rng(0).normal(0, 51, (image.height, image.width))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


SPOILS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "skew": skew, "low": low, "jpeg": jpeg, "fax": fax, "noise": noise,
}  # fmt: skip


def turned(box: Box, size: tuple[int, int]) -> Box:
    """A box on the skewed page: that of its middle, since a drawing is turned with the page."""
    angle = np.radians(1.5)
    middle = np.array(size) / 2
    x, y = (box[0] + box[2]) / 2 - middle[0], (box[1] + box[3]) / 2 - middle[1]
    moved_x = x * np.cos(angle) + y * np.sin(angle) + middle[0]
    moved_y = -x * np.sin(angle) + y * np.cos(angle) + middle[1]
    half = (box[2] - box[0]) / 2, (box[3] - box[1]) / 2
    return moved_x - half[0], moved_y - half[1], moved_x + half[0], moved_y + half[1]


# --- the measure ---


def plain(smiles: str | None) -> str | None:
    """Canonical SMILES without stereo and without the names of dummy atoms."""
    if not smiles:
        return None
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    return None if mol is None else str(Chem.MolToSmiles(mol, isomericSmiles=False))


def found_on(reader: Reader, path: Path, spoil: str) -> tuple[list[Reading], float, Box]:
    """The readings of a page, the pixels at 200 dots an inch for one of their units, its size."""
    if not spoil:
        readings = list(reader.find(str(path)))
        return readings, DPI / 72, (0.0, 0.0)
    with Document(str(path)) as document:
        image = document.picture(1, DPI).convert("L")
    spoiled = SPOILS[spoil](image)
    scale = image.width / spoiled.width
    return list(reader.find(spoiled)), scale, image.size


def main() -> None:
    """Measure, and print one line of figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--every", type=int, default=1, help="only every N-th page")
    parser.add_argument("--only", default="", help="pages whose name fits this expression")
    parser.add_argument("--spoil", choices=SPOILS, default="")
    parser.add_argument("--json", type=Path, help="write all readings here, a line each")
    parser.add_argument("--misses", action="store_true", help="print what is missed or false")
    given = parser.parse_args()

    boxes: dict[str, list[dict[str, str]]] = defaultdict(list)
    with open(given.folder / "boxes.csv", encoding="utf-8") as table:
        for row in csv.DictReader(table):
            boxes[row["file"].removesuffix(".png")].append(row)
    reader = Reader(given.weights, device="cpu", threads=1)
    paths = sorted((given.folder / "pdf").glob("*.pdf"))[:: given.every]
    paths = [p for p in paths if re.search(given.only, p.stem)]
    total = defaultdict(float)
    lines: list[str] = []
    for path in paths:
        began = time.process_time()
        readings, scale, size = found_on(reader, path, given.spoil)
        total["seconds"] += time.process_time() - began
        found = [tuple(v * scale for v in r.box) for r in readings if r.box]
        rows = boxes[path.stem]
        places = [tuple(float(r[k]) for k in ("x0", "y0", "x1", "y1")) for r in rows]
        if given.spoil == "skew":
            places = [turned(p, size) for p in places]
        wanted = [p for p, r in zip(places, rows, strict=True) if r["kind"] in WANTED]
        others = [p for p, r in zip(places, rows, strict=True) if r["kind"] not in WANTED]
        answers = [plain(r.get("smiles")) for r in rows if r["kind"] in WANTED]
        pairs = matches(found, wanted, 0.5)
        false = [
            f
            for i, f in enumerate(found)
            if i not in pairs
            and not any(overlap(f, o) >= 0.3 or shared(f, o) >= 0.5 * area(f) for o in others)
        ]
        total["pages"] += 1
        total["wanted"] += len(wanted)
        total["found"] += len(pairs)
        total["tight"] += len(matches(found, wanted, 0.8))
        total["false"] += len(false)
        total["empty"] += not rows
        total["false pages"] += bool(false) and not rows
        total["read"] += sum(bool(readings[i].smiles) for i in pairs)
        total["confidence"] += sum(readings[i].confidence for i in pairs)
        total["answers"] += sum(a is not None for a in answers)
        total["right"] += sum(
            answers[j] is not None and plain(readings[i].smiles) == answers[j]
            for i, j in pairs.items()
        )
        if given.misses:
            for j in set(range(len(wanted))) - set(pairs.values()):
                print(path.stem, "missed", [round(v) for v in wanted[j]])
            for f in false:
                print(path.stem, "false", [round(v) for v in f])
        lines += [json.dumps(reading.to_dict()) + "\n" for reading in readings]
    if given.json:
        given.json.write_text("".join(lines), encoding="utf-8")
    print(
        f"{total['pages']:.0f} pages, {total['wanted']:.0f} drawings: "
        f"recall {total['found'] / max(total['wanted'], 1):.3f} "
        f"precision {total['found'] / max(total['found'] + total['false'], 1):.3f} at IoU 0.5; "
        f"recall {total['tight'] / max(total['wanted'], 1):.3f} at 0.8; "
        f"something found on {total['false pages']:.0f} of {total['empty']:.0f} pages without "
        f"molecules; read {total['read'] / max(total['found'], 1):.3f} of those found, mean "
        f"confidence {total['confidence'] / max(total['found'], 1):.2f}; "
        f"right {total['right']:.0f} of {total['answers']:.0f}; "
        f"{total['seconds'] / max(total['pages'], 1):.2f} s of a core a page; "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most"
    )


if __name__ == "__main__":
    main()
