"""Train the reference reader for some minutes on the machine of ``tools/gpu.py``.

    python tools/gpu.py pack --data patent.smi.gz stereo.smi.gz general.smi.gz   # here: makes far/
    python tools/gpu_i2s.py pack                       # here: adds the backbone's ImageNet weights
    python tools/gpu_i2s.py run --minutes 4 --out DIR                     # there, again and again

Its backbone is trained too, as drawing is what takes the time there; ``--frozen`` leaves it as
it is. A run goes on from its last state where the machine still has it. At the end the weights, in
half precision, with their card, and the log are written to DIR. ``--device cpu`` rehearses it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import gpu

BACKBONE = gpu.FAR / "backbone.safetensors"


def pack() -> None:
    """Put the backbone's ImageNet weights, in half precision, into far/.

    Raises:
        SystemExit: more than gpu.LIMIT would travel.
    """
    from molgaze.train.fit import save  # noqa: PLC0415
    from molgaze.train.i2s.model import Backbone  # noqa: PLC0415

    backbone = Backbone()
    backbone.load_imagenet()
    halves = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in backbone.state_dict().items()
    }
    save(halves, BACKBONE, {})
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=gpu.ROOT, check=True, capture_output=True, text=True
    )
    files = [gpu.ROOT / name for name in listed.stdout.split("\0") if name]
    files += gpu.FAR.rglob("*")
    total = sum(path.stat().st_size for path in files if path.is_file())
    print(f"{total / 2**20:.1f} of {gpu.LIMIT / 2**20:.0f} MiB")
    if total > gpu.LIMIT:
        raise SystemExit("too much to travel: take fewer molecules or fonts in tools/gpu.py")


START = """
import sys
from pathlib import Path
import torch
from molgaze.train.fit import load
from molgaze.train.i2s.model import I2S, save_weights
torch.manual_seed(0)
model = I2S()
tensors, _ = load(Path(sys.argv[1]))
model.backbone.load_state_dict({k: v.float() if v.is_floating_point() else v
                                for k, v in tensors.items()})
save_weights(model, Path(sys.argv[2]))
"""


def run(args: argparse.Namespace) -> None:
    """Install RDKit if it is needed, train, and put weights, card and log into args.out."""
    site = Path("/tmp/molgaze-site")
    wheels = [str(path) for path in (gpu.FAR / "wheels").glob("*.whl")]
    if not site.exists() and wheels and args.device == "cuda":
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
        subprocess.run([*install, "--target", str(site), *wheels], check=True)
    paths = [str(gpu.ROOT / "src"), str(site), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    start = args.state.with_name(args.state.name + "-start.safetensors")
    if not start.exists():
        command = [sys.executable, "-c", START, str(BACKBONE), str(start)]
        subprocess.run(command, env=env, check=True)
    data = sorted(str(path) for path in gpu.FAR.glob("*.smi.gz"))
    i2s = [sys.executable, "-m", "molgaze", "i2s"]
    command = [*i2s, "train", "--data", *data, "--out", str(args.state), "--weights", str(start)]
    given = {
        "device": args.device,
        "batch": args.batch,
        "rate": args.rate,
        "backbone-rate": args.backbone_rate,
        "workers": args.workers,
        "grow": args.grow,
        "uses": 1,  # a picture is drawn sooner than its features are read from a disk
        "minutes": args.total,
        "cool": args.cool,
        "save-minutes": 1,
        "check-minutes": 2,
    }
    for name, value in given.items():
        command += [f"--{name}", str(value)]
    command += [] if args.frozen else ["--unfreeze"]
    args.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * args.minutes
    with subprocess.Popen(command, env=env) as training:
        while training.poll() is None and time.monotonic() < end:
            time.sleep(1)
        if training.poll() is None:
            training.send_signal(signal.SIGTERM)  # it saves, then ends
    if (args.state / "last.safetensors").exists():
        weights = args.out / "i2s.safetensors"
        subprocess.run([*i2s, "export", str(args.state), "-o", str(weights)], env=env, check=False)
        shutil.copy(args.state / "log.jsonl", args.out)
    sys.exit(training.returncode)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    packing = commands.add_parser("pack", help="add what i2s needs to far/")
    packing.set_defaults(call=lambda _: pack())
    running = commands.add_parser("run", help="train on the other machine")
    running.add_argument("--minutes", type=float, default=4.0, help="of this call")
    running.add_argument("--total", type=float, default=3.5, help="of all calls, learning alone")
    running.add_argument("--cool", type=float, default=1.0, help="of them, the fall of the rate")
    running.add_argument("--out", type=Path, required=True, help="folder for what comes back")
    running.add_argument("--state", type=Path, default=Path("/tmp/molgaze-i2s"))
    running.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    running.add_argument("--frozen", action="store_true", help="the backbone stays as it is")
    running.add_argument("--batch", type=int, default=256, help="pictures a step")
    running.add_argument("--rate", type=float, default=1e-3, help="learning rate")
    running.add_argument("--backbone-rate", type=float, default=0.5, help="share of it")
    running.add_argument("--grow", type=int, default=100_000, help="as of molgaze i2s train")
    running.add_argument("--workers", type=int, default=15, help="drawing processes")
    running.set_defaults(call=run)
    args = parser.parse_args()
    args.call(args)


if __name__ == "__main__":
    main()
