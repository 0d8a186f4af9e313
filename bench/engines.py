"""Ray beside a batch: the same rows, a node killed half way, and speed against workers.

    pip install -e '.[ray,dev]'
    python bench/engines.py PICTURES ... [-n 400] [--workers 1 2] [--plot engines.png]

PICTURES are files, folders or globs. For each number of workers the same pictures go through
`molgaze batch` and through Ray on a local cluster of so many nodes of one core, both timed whole,
start included. Then a cluster of two nodes loses one of them by `kill -9` when half of the rows are
written. All rows are compared with those of the batch.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import ray
from ray.cluster_utils import Cluster

from molgaze import Reader
from molgaze.batch import batch
from molgaze.batch_ray import pieces, read_on_ray
from molgaze.inputs import Inputs


def alike(files: list[Path]) -> list[str]:
    """Rows as text, but for their times, in one order."""
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    kept = ({k: v for k, v in row.items() if k != "ms"} for row in rows)
    return sorted(json.dumps(row, sort_keys=True) for row in kept)


def parts(output: Path) -> list[Path]:
    """The files of rows that Ray has written so far."""
    return sorted(output.glob("part-*/*.parquet"))


def by_ray(names: list[str], output: Path, nodes: int, factory: Any, killed: bool = False) -> float:
    """Seconds that a cluster of so many nodes of one core takes; its start left out."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    for _ in range(nodes - 1):
        cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    last = cluster.list_all_nodes()[-1]
    done = threading.Event()

    def kill() -> None:
        while not done.is_set():
            rows = sum(pq.read_metadata(file).num_rows for file in parts(output))
            if rows >= len(names) / 2:
                for process in last.all_processes["raylet"]:
                    os.kill(process.process.pid, signal.SIGKILL)
                print(f"killed a node of {nodes} after {rows} of {len(names)} rows", flush=True)
                return
            time.sleep(0.2)

    watch = threading.Thread(target=kill)
    if killed:
        watch.start()
    began = time.monotonic()
    try:
        read_on_ray(list(pieces(names)), str(output), factory, actors=nodes)
    finally:
        seconds = time.monotonic() - began
        done.set()
        if killed:
            watch.join()
        ray.shutdown()
        cluster.shutdown()
    return seconds


def plot(path: Path, workers: list[int], speeds: dict[str, list[float]]) -> None:
    """Pictures a second against workers."""
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(5, 4))
    for name, rates in speeds.items():
        axes.plot(workers, rates, "o-", label=name)
    axes.set(xlabel="workers", ylabel="pictures a second", xlim=(0, None), ylim=(0, None))
    axes.set_xticks(workers)
    axes.legend()
    figure.savefig(path, dpi=150, bbox_inches="tight")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Ray beside a batch")
    parser.add_argument("pictures", nargs="+", metavar="PICTURES")
    parser.add_argument("-n", type=int, default=400)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--weights")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", type=Path, metavar="OUT.png")
    options = parser.parse_args()

    names = sorted({item.source for item in Inputs(options.pictures, recursive=True)})
    random.Random(options.seed).shuffle(names)
    names = [os.path.abspath(name) for name in names[: options.n]]
    factory = partial(Reader, options.weights, threads=1)
    speeds: dict[str, list[float]] = {"molgaze batch": [], "Ray": []}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        print("workers  batch, a second  Ray, a second  rows")
        for workers in options.workers:
            out, spread = folder / f"{workers}.parquet", folder / f"ray-{workers}"
            began = time.monotonic()
            batch(Inputs(names), [out], factory, workers=workers)
            speeds["molgaze batch"].append(len(names) / (time.monotonic() - began))
            speeds["Ray"].append(len(names) / by_ray(names, spread, workers, factory))
            wanted = alike([out])
            same = "the same" if alike(parts(spread)) == wanted else "OTHER ROWS"
            rates = [rates[-1] for rates in speeds.values()]
            print(f"{workers:7}  {rates[0]:15.2f}  {rates[1]:13.2f}  {same}", flush=True)
        spread = folder / "ray-killed"
        seconds = by_ray(names, spread, 2, factory, killed=True)
        same = "the same rows" if alike(parts(spread)) == wanted else "OTHER ROWS"
        print(f"with a node killed: {same}, {seconds:.0f} s")
    if options.plot:
        plot(options.plot, options.workers, speeds)


if __name__ == "__main__":
    main()
