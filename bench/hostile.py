"""Hundreds of odd inputs through `Reader.read`: each must give a reading or a `PictureError`.

    python bench/hostile.py [--weights DIR] [--every N] [--only REGEX] [--list]

Made in code: broken, truncated and lying files, every mode of every format, huge, tiny and long
pictures, noise, blanks, strange arrays and paths. They are read one after another by a process of
their own, so that a crash counts as a failure of that input and not of the rest. An input fails if
anything else is raised, if the process dies, or if it takes 5 seconds of a core or 1 GB of memory.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import multiprocessing
import os
import random
import re
import signal
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageOps
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

from molgaze.picture import PictureError
from molgaze.reader import WEIGHTS, Reader

#: (name; bytes of a file, array, or path; page from 1). Bytes are read from a file of that name.
Input = tuple[str, Any, int]

MOST_SECONDS = 5.0  # of a core
MOST_BYTES = 2**30  # resident
HUNG_SECONDS = 12.0  # of a core: then a read is stopped
PATIENCE = 1800.0  # seconds by the clock, for a read that can't be stopped
FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM")
MODES = ("1", "L", "P", "PA", "LA", "La", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB",
         "HSV", "I", "I;16", "F")  # fmt: skip
REFUSED = ("ICO", "ICNS", "EPS", "PDF", "PCX", "TGA", "SGI", "JPEG2000", "DDS", "IM", "SPIDER",
           "XBM", "MSP", "MPO", "AVIF", "QOI", "BLP", "DIB")  # fmt: skip
MAGIC = {
    "png": b"\x89PNG\r\n\x1a\n",
    "jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    "gif": b"GIF89a",
    "bmp": b"BM",
    "tif": b"II*\x00",
    "tiff": b"MM\x00*",
    "bigtiff": b"II+\x00\x08\x00\x00\x00",
    "webp": b"RIFF\x00\x10\x00\x00WEBPVP8 ",
    "ppm": b"P6\n64 64\n255\n",
    "pgm": b"P2\n64 64\n255\n",
    "pam": b"P7\nWIDTH 64\nHEIGHT 64\n",
    "ico": b"\x00\x00\x01\x00",
    "psd": b"8BPS",
    "pdf": b"%PDF-1.7",
    "heic": b"\x00\x00\x00\x18ftypheic",
    "jp2": b"\x00\x00\x00\x0cjP  \r\n\x87\n",
    "zip": b"PK\x03\x04",
}
TEXTS = {
    "empty.png": b"",
    "blank.png": b" ",
    "newline.png": b"\n",
    "nul.png": b"\0",
    "nuls.png": bytes(4096),
    "smiles.png": b"CC(=O)Oc1ccccc1C(=O)O\n",
    "page.png": b"<!doctype html><html></html>",
    "table.csv": b"file,smiles\nx.png,CC\n",
    "script.jpg": b"#!/bin/sh\nexit 1\n",
    "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0 9 9"/></svg>',
    "entities.svg": b'<!DOCTYPE x [<!ENTITY a "&a;">]><svg>&a;</svg>',
    "print.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\nshowpage\n",
    "object.pkl": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
    "elf.tif": b"\x7fELF\x02\x01\x01" + bytes(57),
    "latin.gif": bytes(range(256)),
    "comment.ppm": b"P6 # 64 64\n" * 500,
    "digits.pgm": b"P2\n" + b"9" * 9000,
    "negative.pgm": b"P2\n-64 64\n255\n",
    "plain.pbm": b"P1\n16 16\n" + b"1 0 " * 128,
    "plain.pgm": b"P2\n16 16\n255\n" + b"255 0 " * 128,
    "maxval.ppm": b"P6\n16 16\n0\n" + bytes(768),
}
COMPRESSIONS = ("lzw", "deflate", "adobe_deflate", "packbits", "jpeg", "group3", "group4", "lzma")


# ---- making ---------------------------------------------------------------------------------


def drawing(
    width: int = 300, height: int = 240, smiles: str = "CN1CCC[C@H]1c1cccnc1"
) -> Image.Image:
    """A molecule as RDKit draws it."""
    canvas = rdMolDraw2D.MolDraw2DCairo(width, height)
    rdMolDraw2D.PrepareAndDrawMolecule(canvas, Chem.MolFromSmiles(smiles))
    canvas.FinishDrawing()
    return Image.open(io.BytesIO(canvas.GetDrawingText())).convert("RGB")


def saved(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """A picture as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, depth: int = 8, colour: int = 0, rows: int = 1000) -> bytes:
    """A PNG that may promise what it does not hold: so many bytes of black rows."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return MAGIC["png"] + head + chunk(b"IDAT", zlib.compress(bytes(rows), 1)) + chunk(b"IEND", b"")


def files() -> Iterator[Input]:
    """Files of every format: whole, in every mode, cut short, damaged, and of formats refused."""
    picture = drawing()
    for name, data in TEXTS.items():
        yield name, data, 1
    for form in FORMATS:
        suffix = form.lower()
        for mode in MODES:
            with contextlib.suppress(OSError, ValueError, KeyError, RuntimeError):
                image = picture.convert("I") if mode == "I;16" else picture
                yield f"{mode}.{suffix}", saved(image.convert(mode), form), 1
        whole = saved(picture, form)
        for tenth in range(1, 10):
            yield f"cut{tenth}.{suffix}", whole[: len(whole) * tenth // 10], 1
        for seed in range(6):
            dice, hurt = random.Random(seed), bytearray(whole)
            for _ in range(1 + 4**seed // 4):
                hurt[dice.randrange(8 if seed % 2 else 64, len(hurt))] = dice.randrange(256)
            yield f"hurt{seed}.{suffix}", bytes(hurt), 1
        wrong = FORMATS[(FORMATS.index(form) + 1) % len(FORMATS)].lower()
        yield f"really-{suffix}.{wrong}", whole, 1
        yield f"tail.{suffix}", whole + bytes(1000), 1
        yield f"page9.{suffix}", whole, 9
    for suffix, magic in MAGIC.items():
        for seed in range(3):
            yield f"random{seed}.{suffix}", magic + random.Random(seed).randbytes(20 * 30**seed), 1
    for form in REFUSED:
        small = picture.resize((64, 64))
        modes = {"XBM": "1", "MSP": "1", "SPIDER": "F"}
        with contextlib.suppress(Exception):  # not every Pillow writes them all
            yield f"refused.{form.lower()}", saved(small.convert(modes.get(form, "RGB")), form), 1
    frames = [drawing(smiles="C" * n) for n in range(3, 7)]
    for form in ("GIF", "WEBP", "PNG", "TIFF"):
        many = saved(frames[0], form, save_all=True, append_images=frames[1:])
        for page in (1, 3, 5, -1):
            yield f"frames{page}.{form.lower()}", many, page
    for kind in COMPRESSIONS:
        image = picture.convert("1") if kind.startswith("group") else picture
        name = kind if kind in ("packbits", "jpeg", "group3", "group4", "lzma") else f"tiff_{kind}"
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            whole = saved(image, "TIFF", compression=name)
            yield f"{kind}.tif", whole, 1
            yield f"{kind}-cut.tif", whole[: len(whole) // 2], 1
    yield "progressive.jpg", saved(picture, "JPEG", progressive=True), 1
    yield "grain.jpg", saved(picture, "JPEG", quality=1), 1
    for turn in (*range(1, 9), 0, 99):
        exif = Image.Exif()
        exif[0x0112] = turn
        yield f"turned{turn}.jpg", saved(picture, "JPEG", exif=exif), 1
    yield "profile.png", saved(picture, "PNG", icc_profile=b"no profile"), 1
    yield "no-exif.jpg", saved(picture, "JPEG", exif=b"Exif\0\0MM\0*" + b"\xff" * 40), 1


def headers() -> Iterator[Input]:
    """Bombs and lies: pictures that unpack to far more than they weigh, or claim it."""
    for width, height in (
        *((0, 0), (0, 9), (1, 1), (8, 8), (2**31 - 1, 2**31 - 1), (2**31, 2)),
        *((65_000, 65_000), (16_385, 16), (16_384, 2441), (6325, 6325)),
    ):
        yield f"claims-{width}x{height}.png", png(width, height), 1
    for depth, colour in ((16, 6), (1, 0), (8, 3), (3, 0), (8, 9), (16, 3)):
        yield f"depth{depth}-{colour}.png", png(64, 64, depth, colour), 1
    yield "bomb-30000.png", png(30_000, 30_000, 1, 0, 3751 * 30_000), 1
    yield "bomb-6000.png", png(6000, 6000, 8, 0, 6001 * 6000), 1
    yield "bomb-rows.png", png(64, 64, rows=2**27), 1
    whole = png(64, 64)
    note = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**27), 1))
    yield "bomb-note.png", whole[:33] + note + whole[33:], 1
    yield "huge.gif", b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + bytes(32), 1
    sizes = struct.pack("<IIIIiiHHI", 99, 0, 54, 40, 2**30, -(2**30), 1, 24, 0)
    yield "huge.bmp", b"BM" + sizes, 1
    yield "huge.ppm", b"P6\n999999999 999999999\n255\n", 1
    yield "huge.tif", saved(Image.new("1", (20_000, 20_000)), "TIFF", compression="group4"), 1


def sheets() -> Iterator[tuple[str, Image.Image]]:
    """Pictures of what no molecule is, or hardly, or too many of them."""
    picture = drawing()
    grey = picture.convert("L")
    for side in (1, 2, 7, 8, 9, 16, 33):
        yield f"{side}px", grey.resize((side, side))
        yield f"{side}px-white", Image.new("L", (side, side), 255)
    for ratio in (10, 39, 40, 41, 400):
        strip = Image.new("L", (16 * ratio, 16), 255)
        ImageDraw.Draw(strip).line((0, 15, 16 * ratio, 0), fill=0)
        yield f"strip-{ratio}", strip
        yield f"pole-{ratio}", strip.transpose(Image.Transpose.ROTATE_90)
    row, field = Image.new("L", (6000, 150), 255), Image.new("L", (1500, 1200), 255)
    for k in range(25):
        row.paste(grey.resize((240, 150)), (240 * k, 0))
        field.paste(grey, (300 * (k % 5), 240 * (k // 5)))
    yield "row-of-25", row
    yield "field-of-25", field
    yield "large", drawing(1600, 1200)
    yield "largest", drawing(900, 700).resize((7200, 5500))
    yield "peptide", drawing(1400, 1000, "NCC(=O)" * 40 + "O")
    yield "salts", drawing(800, 800, ".".join(["[Na+]", "[Cl-]"] * 30))
    yield "atom", drawing(100, 100, "O")
    yield "blurred", grey.resize((75, 60)).resize((3000, 2400))
    yield "inverse", ImageOps.invert(grey)
    yield "red", ImageOps.colorize(grey, "red", "yellow")
    yield "dots", grey.convert("1")
    yield "upside", grey.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    yield "framed", ImageOps.expand(grey, 10, 0)
    yield "cropped", grey.crop((60, 60, 200, 160))
    yield "half-black", ImageOps.expand(grey, (0, 0, 300, 0), 0)
    for level in (0, 1, 127, 254, 255):
        yield f"flat-{level}", Image.new("L", (300, 200), level)
        pale = [128 + (v - 128) * level // 2560 for v in range(256)]
        yield f"pale-{level}", grey.point(pale)
    for number in (1, 5, 6, 50):
        sheet = Image.new("L", (200, 200), 255)
        ImageDraw.Draw(sheet).point([(10 + 3 * k, 99) for k in range(number)], 0)
        yield f"points-{number}", sheet
    wall = Image.new("L", (1000, 1000), 255)
    lines = "\n".join(["C1=CC=CC=C1 NHBoc " * 10] * 90)
    ImageDraw.Draw(wall).multiline_text((0, 0), lines, fill=0)
    yield "wall-of-text", wall
    for name, ink, alpha in (
        ("black", 0, ImageOps.invert(grey)),
        ("white", 255, ImageOps.invert(grey)),
        ("opaque", 0, Image.new("L", grey.size, 255)),
        ("clear", 0, Image.new("L", grey.size, 0)),
    ):
        layers = Image.new("RGBA", grey.size, (ink, ink, ink, 0))
        layers.putalpha(alpha)
        yield f"transparent-{name}", layers
    yield "deep", Image.fromarray(np.asarray(grey).astype(np.uint16) * 16)
    yield "palette", picture.quantize(3)


def patterns() -> Iterator[tuple[str, Image.Image]]:
    """Noise, clouds and regular patterns."""
    dice = np.random.default_rng(0)
    for side in (64, 400, 1500, 4000):
        noise = Image.fromarray(dice.integers(0, 256, (side, side), dtype=np.uint8))
        colours = Image.fromarray(dice.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        cloud = colours.resize((side, side), Image.Resampling.BICUBIC)
        yield f"noise-{side}", noise
        yield f"bits-{side}", noise.convert("1", dither=Image.Dither.NONE)
        yield f"cloud-{side}", cloud
        yield f"photo-{side}", ImageChops.add(cloud, noise.convert("RGB"), 2)
    y, x = np.mgrid[:800, :800]
    shapes = {f"specks-{share}": dice.random((800, 800)) < share for share in (0.001, 0.01, 0.1)}
    for period in (2, 3, 8, 20, 40):
        shapes[f"stripes-{period}"] = x % period < period / 2
        shapes[f"board-{period}"] = (x // period + y // period) % 2 > 0
        shapes[f"grid-{period}"] = (x % period < 2) | (y % period < 2)
        shapes[f"rings-{period}"] = np.hypot(x - 400, y - 400) % period < 2
    for name, shape in shapes.items():
        yield name, Image.fromarray(np.where(shape, 0, 255).astype(np.uint8))


def contents() -> Iterator[Input]:
    """Sound files of the pictures above."""
    for group in (sheets, patterns):
        for name, image in group():
            yield f"{name}.png", saved(image, compress_level=1), 1
    grey = drawing().convert("L")
    yield "key.png", saved(grey.convert("P"), transparency=0), 1
    yield "palette-clear.png", saved(grey.quantize(3), transparency=bytes(3)), 1
    for name, image in patterns():
        if name.startswith(("cloud", "photo")):
            yield f"{name}.jpg", saved(image, "JPEG"), 1


def arrays() -> Iterator[Input]:
    """Arrays and paths that nobody should give."""
    grey = np.asarray(drawing().convert("L"))
    for name, array in {
        "unit floats": grey / 255, "floats": grey.astype(float), "bools": grey > 128,
        "negative": grey.astype(np.int64) - 300, "16 bits": grey.astype(np.uint16) * 257,
        "64 bits": grey.astype(np.uint64) * 2**50, "tiny floats": grey * 1e-300,
        "huge floats": grey * 1e300, "nan": np.where(grey > 128, np.nan, 0.0),
        "infinite": np.where(grey > 128, np.inf, 0.0), "complex": grey * 1j,
        "objects": grey.astype(object), "text": grey.astype(str), "half": grey.astype(np.float16),
        "strided": grey[::-2, ::2], "transposed": grey.T, "fortran": np.asfortranarray(grey),
        "one channel": grey[:, :, None], "two channels": np.dstack([grey] * 2),
        "four channels": np.dstack([grey] * 4), "five channels": np.dstack([grey] * 5),
        "channels first": np.stack([grey] * 3), "batch": grey[None, :, :, None],
        "row": grey[120], "scalar": np.array(3), "nothing": np.zeros((0, 0), np.uint8),
        "no rows": np.zeros((0, 99, 3)), "records": np.zeros((9, 9), [("a", "u1")]),
        "dates": np.zeros((9, 9), "datetime64[s]"), "long": np.zeros((20_000, 9), np.uint8),
    }.items():  # fmt: skip
        yield f"array: {name}", array, 1
    for place in ("no/such/file.png", ".", "/dev/zero", "/dev/null", "", "a\0b.png", "x" * 5000):
        yield f"path: {place[:20]!r}", place, 1


def inputs() -> Iterator[Input]:
    """All of them."""
    for group in (files, headers, contents, arrays):
        yield from group()


# ---- reading --------------------------------------------------------------------------------


class _HungError(BaseException):
    """Out of a read that takes too long; no clause of the reader's may catch it."""


def _stop(*_: object) -> None:
    raise _HungError


def peak_memory(reset: bool = False) -> int:
    """Most bytes that this process held since the last reset, where the system tells; else 0."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
        return 1024 * int(found[1]) if found else 0
    except OSError:
        return 0


def serve(pipe: Connection, weights: Path) -> None:
    """Read what comes through a pipe, and answer with what became of it."""
    reader = Reader(weights, threads=1)
    signal.signal(signal.SIGPROF, _stop)
    pipe.send(None)
    while True:
        source, page = pipe.recv()
        peak_memory(reset=True)
        began, what = time.process_time(), ""
        try:
            signal.setitimer(signal.ITIMER_PROF, HUNG_SECONDS)
            reading = reader.read(source, page=page)
            signal.setitimer(signal.ITIMER_PROF, 0)
            outcome, what = f"read: {reading.finish_reason}", reading.error or reading.smiles or ""
            outcome = "read: faulty" if reading.error else outcome
        except PictureError as error:
            signal.setitimer(signal.ITIMER_PROF, 0)
            outcome, what = f"refused: {error.kind}", str(error)
        except _HungError:
            outcome = "HUNG"
        except BaseException as error:
            outcome, what = "RAISED", f"{type(error).__name__}: {error}"
        pipe.send((outcome, what, time.process_time() - began, peak_memory()))


class Victim:
    """A process that reads, replaced by a new one when it dies or hangs."""

    def __init__(self, weights: Path) -> None:
        self.weights = weights
        self.process: Any = None

    def read(self, source: Any, page: int) -> tuple[str, str, float, int]:
        """Outcome, message, seconds of a core and peak bytes."""
        if self.process is None or not self.process.is_alive():
            context = multiprocessing.get_context("spawn")
            self.pipe, other = context.Pipe()
            self.process = context.Process(target=serve, args=(other, self.weights), daemon=True)
            self.process.start()
            other.close()
            self.pipe.recv()
        try:
            self.pipe.send((source, page))
            if self.pipe.poll(PATIENCE):
                outcome: tuple[str, str, float, int] = self.pipe.recv()
                if outcome[0] == "HUNG" or outcome[3] > MOST_BYTES:
                    self.close()  # what it still holds would count against the next
                return outcome
            self.close()
            return "HUNG", "", math.inf, 0
        except (EOFError, ConnectionError):
            self.process.join()
            return "DIED", f"exit code {self.process.exitcode}", 0.0, 0

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()


def trial(
    chosen: Iterator[Input], weights: Path = WEIGHTS
) -> Iterator[tuple[str, str, str, float, int]]:
    """Name, outcome, message, seconds and bytes of each input; a failure is in capitals."""
    victim = Victim(weights)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, source, page in chosen:
                if isinstance(source, bytes):
                    file = Path(folder) / name
                    file.write_bytes(source)
                    source = file  # noqa: PLW2901
                outcome, what, seconds, held = victim.read(source, page)
                if not outcome.isupper() and seconds > MOST_SECONDS:
                    outcome = "SLOW"
                elif not outcome.isupper() and held > MOST_BYTES:
                    outcome = "LARGE"
                yield name, outcome, what, seconds, held
                if isinstance(source, Path) and source.is_relative_to(folder):
                    source.unlink()
    finally:
        victim.close()


def main() -> int:
    """Print the outcomes; 1 if anything failed."""
    parser = argparse.ArgumentParser(description="odd inputs: a reading or a PictureError each")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each N-th input only")
    parser.add_argument("--only", default="", metavar="REGEX", help="inputs of such names only")
    parser.add_argument("--list", action="store_true", help="every input")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    outcomes: Counter[str] = Counter()
    slowest, largest = (0.0, ""), (0, "")
    named = (item for item in inputs() if re.search(options.only, item[0]))
    chosen = (item for k, item in enumerate(named) if k % options.every == 0)
    for name, outcome, what, seconds, held in trial(chosen, options.weights):
        outcomes[outcome] += 1
        slowest, largest = max(slowest, (seconds, name)), max(largest, (held, name))
        if options.list or outcome.isupper():
            size = f"{seconds:6.2f} s {held / 2**20:6.0f} MB"
            print(f"{outcome:18s} {size}  {name}  {what[:100]}", flush=True)
    total = sum(outcomes.values())
    failed = sum(count for outcome, count in outcomes.items() if outcome.isupper())
    print(f"{'inputs':18s} {total:5d}")
    for outcome, count in sorted(outcomes.items()):
        print(f"  {outcome:16s} {count:5d}")
    print(f"{'failed':18s} {failed:5d}")
    print(f"{'slowest':18s} {slowest[0]:5.2f} s   {slowest[1]}")
    print(f"{'largest':18s} {largest[0] / 2**20:5.0f} MB  {largest[1]}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
