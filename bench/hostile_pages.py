"""A hundred odd PDFs through `Document.page` and `Layout`: each gives pages or a `PictureError`.

    python bench/hostile_pages.py [--only REGEX] [--list]

Broken, truncated, recursive, encrypted, huge and bloated ones, made in code. Each is looked over by
a process of its own, forked, so this needs a system with fork. A PDF fails if anything else than a
`PictureError` is raised, if the process dies, or if it takes 30 seconds of a core or 1 GB.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import resource
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from molgaze.document import Document
from molgaze.layout import Layout
from molgaze.picture import PictureError

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from paper import HEXAGON, pdf

MOST_SECONDS = 30
MOST_BYTES = 2**30
TEXT = "BT /F 12 Tf 50 300 Td (Compound 12a) Tj ET "
FAILURES = ("RAISED", "DIED", "LARGE")


def image(width: int, height: int, data: bytes, more: str = "") -> bytes:
    """A PDF whose page is one picture."""
    entries = f"/Width {width} /Height {height} /ColorSpace /DeviceGray /BitsPerComponent 8 {more}"
    return pdf(["q 300 0 0 400 0 0 cm /I0 Do Q"], images=[(entries, data)])


def broken() -> Iterator[tuple[str, bytes]]:
    """Damaged files."""
    good = pdf([HEXAGON + " " + TEXT] * 3)
    for share in range(5, 100, 8):
        yield f"cut at {share} %", good[: len(good) * share // 100]
    chance = random.Random(7)
    for k in range(20):
        data = bytearray(good)
        for _ in range(3 + 4 * k):
            data[chance.randrange(len(data))] = chance.randrange(256)
        yield f"damaged {k}", bytes(data)
    yield "no table", re.sub(rb"xref.*", b"", good, flags=re.S)
    yield "table elsewhere", good.replace(b"startxref\n", b"startxref\n9")
    yield "no pages", pdf([])
    yield "count lies", good.replace(b"/Count 3", b"/Count 2000000000")
    yield "negative count", good.replace(b"/Count 3", b"/Count -3")
    yield "page tree in a circle", good.replace(b"/Kids [4 0 R", b"/Kids [2 0 R")
    yield "page is its own parent", good.replace(b"/Parent 2 0 R", b"/Parent 4 0 R")
    yield "length lies", re.sub(rb"/Length \d+", b"/Length 99999999", good)
    yield "no root", good.replace(b"/Root 1 0 R", b"")
    yield "root is a font", good.replace(b"/Root 1 0 R", b"/Root 3 0 R")
    yield "encrypted", pdf([HEXAGON], encrypt=True)
    yield "only a head", b"%PDF-1.7\n"
    yield "head in junk", b"\0" * 900 + good
    yield "zeros", b"%PDF-1.4" + bytes(100_000)
    yield "random", b"%PDF-1.4\n" + chance.randbytes(200_000)
    yield (
        "javascript",
        good.replace(
            b"/Type /Catalog", b"/Type /Catalog /OpenAction << /S /JavaScript /JS (while(1){}) >>"
        ),
    )


def odd_pages() -> Iterator[tuple[str, bytes]]:
    """Pages of odd sizes and with odd entries."""
    for size in ((0, 0), (-300, -400), (1, 1), (3, 14000), (14400, 14400), (1e9, 1e9), (1e-6, 9)):
        yield f"size {size}", pdf([HEXAGON], size=size)
    for turn in (45, -90, 89999910, 0.5):
        yield f"turned {turn}", pdf([HEXAGON], page=f"/Rotate {turn}")
    for box in ("[0 0 0 0]", "[9 9 1 1]", "[-1e9 -1e9 1e9 1e9]", "[0 0]", "(x)"):
        yield f"crop {box}", pdf([HEXAGON], page=f"/CropBox {box}")
    for unit in ("0", "-1", "1000000"):
        yield f"unit {unit}", pdf([HEXAGON], page=f"/UserUnit {unit}")
    yield "annotations", pdf([HEXAGON], page="/Annots [4 0 R 99 0 R (x) null]")


def heavy() -> Iterator[tuple[str, bytes]]:
    """Much of everything."""
    line = "0 0 m 300 400 l S "
    yield "million lines", pdf([line * 1_000_000])
    yield "million letters", pdf(["BT /F 1 Tf 9 9 Td " + "(aaaaaaaaaa) Tj " * 100_000 + "ET"])
    yield "deep states", pdf(["q " * 500_000 + line])
    yield "deep arrays", pdf(["[" * 200_000 + "]" * 200_000 + " TJ " + line])
    yield "deep dictionaries", pdf([HEXAGON], page="/X " + "<< /X " * 50_000 + ">> " * 50_000)
    yield "long path", pdf(["0 0 m " + "300 400 l 0 400 l 9 9 l " * 300_000 + "f"])
    yield "curves", pdf(["0 0 m " + "1 2 300 400 5 6 c " * 200_000 + "S"])
    yield "dashes", pdf(["[0.0001] 0 d 0.01 w " + line * 50])
    yield "wide strokes", pdf(["1e30 w " + line * 1000])
    yield "far away", pdf(["1e38 1e38 m -1e38 1e38 l 3 w S " * 1000 + line])
    yield "huge letters", pdf(["BT /F 1000000 Tf 0 0 Td (MMMM) Tj ET"])
    yield "two thousand pages", pdf([line] * 2000)
    yield "three thousand pages", pdf([line] * 3000)
    bomb = zlib.compress(bytes(300_000_000), 9)
    flate = "/Filter /FlateDecode"
    yield "picture bomb", image(17_000, 17_000, bomb, flate)
    yield "picture lies", image(60_000, 60_000, zlib.compress(b"x" * 100), flate)
    yield "picture of no size", image(0, 0, b"")
    yield "picture cut", image(5000, 5000, b"x" * 1000)
    twice = zlib.compress(bomb, 9)
    yield "bomb in a bomb", image(9000, 9000, twice, "/Filter [/FlateDecode /FlateDecode]")
    page = pdf(["@" * 64]).replace(b"/Length 64 >>", b"/Length 64 /Filter /FlateDecode >>")
    text = zlib.compress(b"0 0 m 9 9 l S " * 20_000_000, 9)
    yield (
        "content bomb",
        page.replace(b"@" * 64, text).replace(b"/Length 64", f"/Length {len(text)}".encode()),
    )
    for name in ("DCTDecode", "JPXDecode", "JBIG2Decode", "CCITTFaxDecode", "LZWDecode"):
        noise = random.Random(1).randbytes(5000)
        yield f"noise as {name}", image(900, 900, noise, f"/Filter /{name}")


def pdfs() -> Iterator[tuple[str, bytes]]:
    """Names and contents."""
    yield from broken()
    yield from odd_pages()
    yield from heavy()


def look(data: bytes) -> str:
    """What becomes of a PDF's first pages."""
    try:
        with Document(data) as document:
            for number in range(1, min(len(document), 3) + 1):
                Layout(document.page(number).sheet.ink)
        return "pages"
    except PictureError as error:
        return f"refused: {error.kind}"
    except BaseException as error:
        return f"RAISED {type(error).__name__}: {error}"


def trial(data: bytes) -> tuple[str, float, int]:
    """Outcome, seconds of a core and most bytes of a process that looks a PDF over."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS + 1))
        os.write(write_end, look(data).encode()[:2000])
        os._exit(0)
    os.close(write_end)
    _, status, used = os.wait4(child, 0)
    with os.fdopen(read_end, "rb") as pipe:
        outcome = pipe.read().decode()
    held = used.ru_maxrss * 1024
    if status:
        outcome = f"DIED of signal {os.WTERMSIG(status)}"
    elif held > MOST_BYTES:
        outcome = f"LARGE, {outcome}"
    return outcome, used.ru_utime + used.ru_stime, held


def main() -> int:
    """Print the outcomes; 1 if anything failed."""
    parser = argparse.ArgumentParser(description="odd PDFs: pages or a PictureError each")
    parser.add_argument("--only", default="", metavar="REGEX", help="PDFs of such names only")
    parser.add_argument("--list", action="store_true", help="every PDF")
    given = parser.parse_args()
    outcomes: Counter[str] = Counter()
    slowest, largest = (0.0, ""), (0, "")
    for name, data in pdfs():
        if not re.search(given.only, name):
            continue
        outcome, seconds, held = trial(data)
        outcomes[outcome.split(",")[0]] += 1
        slowest, largest = max(slowest, (seconds, name)), max(largest, (held, name))
        if given.list or outcome.startswith(FAILURES):
            print(f"{name:24s} {seconds:6.2f} s {held / 2**20:6.0f} MB  {outcome}", flush=True)
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:5d}  {outcome}")
    print(f"slowest {slowest[0]:.2f} s: {slowest[1]}")
    print(f"largest {largest[0] / 2**20:.0f} MB: {largest[1]}")
    return int(any(outcome.startswith(FAILURES) for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
