"""Pictures a second of training, of this tree and of an older one, in turns in one run.

    git worktree add ../old 272394b
    python bench/train.py --data molecules.smi.gz --old ../old

Both trees learn from the same drawings, in batches that each makes with its own code, on one
thread, in fp32 and in bf16; what a tree can't do is nan. Drawing is timed too: whole molecules by
each tree's hands, and this tree's lessons beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

STEP = """
import json, pickle, sys, time
import torch
from molgaze.train import fit
from molgaze.train.model import Gaze, loss
from molgaze.train.draw import Drawing
from molgaze.walk import Graph
shown, share, repeats = sys.argv[1], float(sys.argv[2]), int(sys.argv[4])
bf16 = sys.argv[3] == "bf16"
torch.set_num_threads(1)
drawn = pickle.load(open(shown, "rb"))
examples = [fit.example(Drawing(ink, Graph(*graph), bond)) for ink, graph, bond in drawn]
cut = getattr(fit, "portions", None) or fit.shares
batches = [fit.collate(part) for part in cut(examples, 24)]
model = Gaze().train()
optimiser = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
def turn():
    for batch in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            cost = loss(model, batch, 0.15, share)
        optimiser.zero_grad(set_to_none=True)
        cost.total.backward()
        optimiser.step()
turn()
times = []
for _ in range(repeats):
    began = time.perf_counter()
    turn()
    times.append(len(examples) / (time.perf_counter() - began))
print(json.dumps(max(times)))
"""

DRAW = """
import json, sys, time
from pathlib import Path
import numpy as np
from molgaze.train.corpus import Corpus
from molgaze.train.hands import hand
from molgaze.train.spoil import spoil
kind, count = sys.argv[2], int(sys.argv[3])
rng = np.random.default_rng(0)
molecules = iter(Corpus([Path(sys.argv[1])], 1, pool=50))
if kind == "whole":
    make = lambda: hand(next(molecules), rng)
else:
    from molgaze.train.lessons import drawn
    make = lambda: drawn(kind, molecules, rng)
make()
began = time.perf_counter()
for _ in range(count):
    spoil(make(), rng)
print(json.dumps(count / (time.perf_counter() - began)))
"""


def told(tree: Path, program: str, *arguments: object) -> float:
    """What a program prints that runs with a tree's package; NaN if it fails."""
    env = {**os.environ, "PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )
    return float(json.loads(done.stdout)) if done.returncode == 0 else float("nan")


def main() -> None:
    """Draw, time, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="a file of SMILES")
    parser.add_argument("--old", type=Path, required=True, help="an older tree of this repository")
    parser.add_argument("-n", type=int, default=160, help="pictures; default %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="turns; the best of them counts")
    args = parser.parse_args()

    import pickle  # noqa: PLC0415  the file is our own, and read by our own code only

    import numpy as np  # noqa: PLC0415

    from molgaze.train.corpus import Corpus  # noqa: PLC0415
    from molgaze.train.fit import example  # noqa: PLC0415
    from molgaze.train.hands import hand  # noqa: PLC0415
    from molgaze.train.spoil import spoil  # noqa: PLC0415

    rng = np.random.default_rng(7)
    molecules = Corpus([args.data], 7, pool=50)
    shown = []
    while len(shown) < args.n:
        d = spoil(hand(next(molecules), rng), rng)
        if example(d) is not None:
            g = d.graph
            shown.append((d.ink, (g.atoms, g.places, g.bonds, g.glyphs), d.bond))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shown.pickle"
        path.write_bytes(pickle.dumps(shown))
        rows = [
            ("step, old, fp32", args.old, STEP, (path, 0.4, "fp32", args.repeats)),
            ("step, old, bf16", args.old, STEP, (path, 0.4, "bf16", args.repeats)),
            ("step, new, fp32", ROOT, STEP, (path, 0.25, "fp32", args.repeats)),
            ("step, new, bf16", ROOT, STEP, (path, 0.25, "bf16", args.repeats)),
            ("drawing, old, whole", args.old, DRAW, (args.data, "whole", args.n)),
            ("drawing, new, whole", ROOT, DRAW, (args.data, "whole", args.n)),
            ("drawing, new, label", ROOT, DRAW, (args.data, "label", args.n)),
            ("drawing, new, stereo", ROOT, DRAW, (args.data, "stereo", args.n)),
        ]
        for name, tree, program, arguments in rows:
            print(f"{name:24} {told(tree, program, *arguments):7.1f} pictures a second", flush=True)


if __name__ == "__main__":
    main()
