"""Pictures a second a core: each hand that draws, and what comes before and after it.

    python bench/draw.py FILE.smi.gz [FILE ...] [-n 300]

Layouts are made beforehand, as training uses each several times. For every molecule all hands
draw in turn, so that a busy machine is as bad for one as for another; time is that of the process
alone. The bar is 250 a second for our own hand.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from molgaze import walk
from molgaze.train.corpus import Corpus
from molgaze.train.draw import Drawing, own
from molgaze.train.programs import DrawingError, indigo, rdkit
from molgaze.train.spoil import spoil

STAGES = ("layout", "own", "rdkit", "indigo", "spoil", "encode")


@contextmanager
def clock(seconds: list[float]) -> Iterator[None]:
    """Note the time of this process that the block takes."""
    began = time.process_time()
    try:
        yield
    finally:
        seconds.append(time.process_time() - began)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="pictures a second a core")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="SMILES, one a line")
    parser.add_argument("-n", type=int, default=300, help="molecules; default %(default)s")
    parser.add_argument("--warm", type=int, default=100, help="molecules before them, not counted")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    cv2.setNumThreads(1)

    seconds: dict[str, list[float]] = defaultdict(list)
    refused: Counter[str] = Counter()
    source = iter(Corpus(options.files, seed=options.seed, pool=1, uses=1))
    for number in range(options.warm + options.n):
        if number == options.warm:
            seconds.clear()
            refused.clear()
        with clock(seconds["layout"]):
            mol = next(source)
        drawing: Drawing | None = None
        for hand in (rdkit, indigo, own):
            rng = np.random.default_rng((options.seed, number))
            try:
                with clock(seconds[hand.__name__]):
                    drawing = hand(mol, rng)
            except DrawingError:
                refused[hand.__name__] += 1
        assert drawing is not None  # our own hand refuses nothing
        with clock(seconds["spoil"]):
            drawing = spoil(drawing, rng)
        with clock(seconds["encode"]):
            walk.encode(drawing.graph)
    print(f"{'':8s} {'a second':>9s} {'mean ms':>8s} {'median':>7s} {'95 %':>7s} {'refused':>8s}")
    for name in STAGES:
        ms = 1000 * np.array(seconds[name])
        spread = f"{ms.mean():8.2f} {np.median(ms):7.2f} {np.quantile(ms, 0.95):7.2f}"
        print(f"{name:8s} {1000 / ms.mean():9.1f} {spread} {refused[name]:8d}")


if __name__ == "__main__":
    main()
