"""Batches: speed against workers, memory, and what kills leave behind.

    python bench/batch.py PICTURES ... [-n 2000] [--workers 1 2] [--kills 10] [--plot speed.png]

PICTURES are files, folders or globs. First the bare reader in one process, then a batch for each
number of workers: pictures a second, share of the bare reader times workers, and the memory of all
its processes after a quarter and at the end. Then, with the last number of workers, a batch that
is killed so many times at random, and compared row by row with the undisturbed one.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from molgaze import Reader
from molgaze.inputs import Inputs


def command(pictures: Path, out: Path, workers: int, weights: str | None) -> list[str]:
    """The batch as a user gives it."""
    given = ["--weights", weights] if weights else []
    start = [sys.executable, "-m", "molgaze", "batch", "--files-from", str(pictures), "-q"]
    return [*start, "-o", str(out), "--workers", str(workers), *given]


def family(pid: int) -> list[int]:
    """A process and its children."""
    try:
        inside = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *itertools.chain(*(family(int(child)) for child in inside))]


def resident(pid: int) -> float:
    """MB of a process and its children."""
    total = 0
    for member in family(pid):
        try:
            total += int(Path(f"/proc/{member}/statm").read_text().split()[1])
        except OSError:
            continue
    return total * os.sysconf("SC_PAGESIZE") / 2**20


def rows_in(journal: Path) -> int:
    """Lines of a journal but its first."""
    if not journal.exists():
        return 0
    with open(journal, "rb") as file:
        return max(sum(1 for _ in file) - 1, 0)


def table(path: Path) -> list[dict[str, str]]:
    """Rows but for their times, which no two runs have alike."""
    with open(path, newline="") as file:
        return [{k: v for k, v in row.items() if k != "ms"} for row in csv.DictReader(file)]


def timed(pictures: Path, number: int, out: Path, workers: int, weights: str | None) -> list[float]:
    """Pictures a second once all workers run, and MB after a quarter and at the end."""
    process = subprocess.Popen(command(pictures, out, workers, weights))
    journal = Path(f"{out}.journal")
    marks: list[tuple[float, int, float]] = []
    while process.poll() is None:
        time.sleep(0.25)
        marks.append((time.monotonic(), rows_in(journal), resident(process.pid)))
    if process.returncode not in (0, 1):
        raise SystemExit(f"batch ended with {process.returncode}")
    running = [m for m in marks if number / 10 <= m[1] < number]
    (began, before, _), (ended, after, last) = running[0], running[-1]
    quarter = next(memory for _, rows, memory in marks if rows >= number / 4)
    return [(after - before) / (ended - began), quarter, last]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="speed, memory and kills of batches")
    parser.add_argument("pictures", nargs="+", metavar="PICTURES")
    parser.add_argument("-n", type=int, default=2000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--weights")
    parser.add_argument("--bare", type=int, default=100, help="pictures for the bare reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", type=Path, metavar="OUT.png")
    options = parser.parse_args()

    chance = random.Random(options.seed)
    names = sorted({item.source for item in Inputs(options.pictures, recursive=True)})
    chance.shuffle(names)
    names = names[: options.n]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        pictures = folder / "list"
        pictures.write_bytes(b"\n".join(map(os.fsencode, names)) + b"\n")

        reader = Reader(options.weights, threads=1)
        some = names[: options.bare]
        list(reader.read_many(some[:3]))
        began = time.monotonic()
        list(reader.read_many(some))
        bare = len(some) / (time.monotonic() - began)
        print(f"bare reader, 1 thread: {bare:.2f} pictures a second (first {len(some)})\n")

        print("workers  a second  of bare x workers  MB at a quarter  MB at the end")
        speeds = []
        for workers in options.workers:
            out = folder / f"{workers}.csv"
            speed, quarter, last = timed(pictures, len(names), out, workers, options.weights)
            speeds.append(speed)
            share = speed / bare / workers
            print(f"{workers:7}  {speed:8.2f}  {share:17.0%}  {quarter:15.0f}  {last:13.0f}")
        if options.plot:
            plot(options.plot, options.workers, speeds, bare)

        if not options.kills:
            return
        out, kills = folder / "killed.csv", 0
        journal = Path(f"{out}.journal")
        again = command(pictures, out, workers, options.weights)
        for _ in range(options.kills):
            aim = rows_in(journal) + chance.randrange(1, max(2, len(names) // options.kills))
            process = subprocess.Popen(again)
            while process.poll() is None and rows_in(journal) < aim:
                time.sleep(0.05)
            time.sleep(chance.random())
            process.kill()
            kills += process.wait() == -signal.SIGKILL
        subprocess.run(again, check=False)
        same = table(out) == table(folder / f"{workers}.csv")
        print(f"\nkilled {kills} times: {'the same rows' if same else 'OTHER ROWS'}")


def plot(path: Path, workers: list[int], speeds: list[float], bare: float) -> None:
    """Pictures a second against workers, beside what the bare reader promises."""
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(5, 4))
    axes.plot(
        workers, [bare * n for n in workers], "--", color="grey", label="bare reader times workers"
    )
    axes.plot(workers, speeds, "o-", label="molgaze batch")
    axes.set(xlabel="workers", ylabel="pictures a second", xlim=(0, None), ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=150, bbox_inches="tight")


if __name__ == "__main__":
    main()
