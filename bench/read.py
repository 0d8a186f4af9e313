"""Speed of reading: pictures a second on one core, by size of molecule, and the time to start.

    python bench/read.py FILE.smi.gz [FILE ...] [-n 20] [--beam 5] [--weights DIR]

Held-out molecules drawn by our own hand, at the scale that it drew them, read with one thread;
greedy and beam take turns on each picture, and time is that of the process alone. A picture whose
reading is doubtful is read at more than one scale: ``scales`` counts them. Starts are whole
processes: user and system seconds of the best of three, and by the clock. The bars: 8 a second
greedy at 20 to 30 heavy atoms, a beam of 5 at no more than 3 times that, `molgaze read` from cold
in 2 seconds.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

from molgaze.picture import Sheet
from molgaze.reader import WEIGHTS, Reader
from molgaze.train.corpus import Corpus
from molgaze.train.draw import own, style

SIZES = ((4, 9), (10, 19), (20, 30), (31, 40), (41, 80))  # heavy atoms


def pictures(files: list[Path], each: int, seed: int) -> dict[tuple[int, int], list[Image.Image]]:
    """Drawings of held-out molecules, as many for each size."""
    drawn: dict[tuple[int, int], list[Image.Image]] = {size: [] for size in SIZES}
    rng = np.random.default_rng(seed)
    for mol in Corpus(files, seed=seed, held_out=True, pool=1, uses=1):
        heavy = mol.GetNumHeavyAtoms()
        size = next((s for s in SIZES if s[0] <= heavy <= s[1] and len(drawn[s]) < each), None)
        if size:
            look = replace(style(rng, heavy), variables=0.0, clutter=0.0)
            drawn[size].append(Image.fromarray(255 - own(mol, rng, look).ink))
        if all(len(row) == each for row in drawn.values()):
            break
    return drawn


def start(command: list[str], times: int = 3) -> tuple[float, float]:
    """Seconds of a core, and seconds by the clock, of the best start of a process."""
    spent, waited = [], []
    for _ in range(times):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        waited.append(time.perf_counter() - began)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent), min(waited)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="speed of reading on one core")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="SMILES, one a line")
    parser.add_argument("-n", type=int, default=20, help="pictures of each size; default 20")
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-start", action="store_true", help="leave out the starts")
    options = parser.parse_args()

    beams = (1, options.beam)
    readers = {beam: Reader(options.weights, threads=1, beam=beam) for beam in beams}
    drawn = pictures(options.files, options.n, options.seed)
    for reader in readers.values():
        reader.read(drawn[SIZES[0]][0])
    patch = mock.patch.object(Sheet, "at_scale", autospec=True, side_effect=Sheet.at_scale)
    at_scale = patch.start()  # called for every scale at which a picture is read
    heads = ("heavy atoms", "n", "tokens", "scales", "ms", "a second", f"beam {options.beam}")
    print("{:12s} {:>4s} {:>7s} {:>7s} {:>7s} {:>9s} {:>9s} ratio".format(*heads))
    for size, images in drawn.items():
        seconds: dict[int, list[float]] = {beam: [] for beam in beams}
        tokens, scales = [], []
        for image in images:
            for beam, reader in readers.items():
                at_scale.reset_mock()
                began = time.process_time()
                reading = reader.read(image)
                seconds[beam].append(time.process_time() - began)
                if beam == 1:
                    tokens.append(len(reading.tokens))
                    scales.append(at_scale.call_count)
        greedy, wide = (float(np.mean(seconds[beam])) for beam in beams)
        print(
            f"{f'{size[0]}-{size[1]}':12s} {len(images):4d} {np.mean(tokens):7.1f} "
            f"{np.mean(scales):7.1f} {1000 * greedy:7.1f} {1 / greedy:9.1f} {1 / wide:9.1f} "
            f"{wide / greedy:5.2f}"
        )
    if options.no_start:
        return
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "medium.png"
        drawn[SIZES[2]][0].save(picture)
        weights = ["--weights", str(options.weights), "--threads", "1"]
        print(f"\n{'start':24s} {'core s':>7s} {'clock s':>8s}")
        for name, command in {
            "python": ["-c", ""],
            "import molgaze": ["-c", "import molgaze"],
            "import molgaze.Reader": ["-c", "from molgaze import Reader"],
            "molgaze --help": ["-m", "molgaze", "--help"],
            "molgaze read": ["-m", "molgaze", "read", *weights, str(picture)],
        }.items():
            spent, waited = start(command)
            print(f"{name:24s} {spent:7.2f} {waited:8.2f}")


if __name__ == "__main__":
    main()
