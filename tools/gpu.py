"""Train for some minutes on a lent machine with a GPU that nothing can be fetched from.

    python tools/gpu.py pack --data patent.smi.gz stereo.smi.gz general.smi.gz   # here: makes far/
    python tools/gpu.py run --minutes 9 --out DIR                          # there, again and again

``far/`` (ignored by git) holds what the other machine lacks: molecules, fonts and RDKit's wheel.
With the repository's own files it must stay under 64 MiB. A run starts from the repository's
weights, or goes on from its last state where the machine still has it. Every two minutes the mean
of the weights is written to DIR in half precision. ``--device cpu`` rehearses it without a GPU.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FAR = ROOT / "far"
LIMIT = 64 * 2**20  # bytes that travel
LINES = 160_000  # molecules of each file
FONTS = 4 * 2**20  # bytes
PLATFORMS = tuple(f"manylinux{age}_x86_64" for age in ("_2_28", "_2_27", "_2_17", "2014"))


def pack(data: list[Path], python: str) -> None:
    """Put molecules, fonts and RDKit's wheel into FAR.

    Raises:
        SystemExit: more than LIMIT would travel.
    """
    from molgaze.train.draw import fonts, usual_fonts  # noqa: PLC0415

    shutil.rmtree(FAR, ignore_errors=True)
    (FAR / "fonts").mkdir(parents=True)
    dice = random.Random(0)
    for path in data:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            smiles = [line.split()[0] for line in lines if line.strip()]
        chosen = dice.sample(smiles, min(LINES, len(smiles)))
        with gzip.open(FAR / path.name, "wt", encoding="utf-8") as out:
            out.write("\n".join(chosen) + "\n")
    room = FONTS
    for font in dict.fromkeys((*usual_fonts(), *dice.sample(fonts(), len(fonts())))):
        size = Path(font).stat().st_size
        if size <= room:
            shutil.copy(font, FAR / "fonts")
            room -= size
    download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    download += ["--python-version", python, "--implementation", "cp", "-d", str(FAR / "wheels")]
    for platform in PLATFORMS:
        download += ["--platform", platform]
    subprocess.run([*download, "rdkit"], check=True)
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    files = [ROOT / name for name in tracked if name]
    files += [path for path in FAR.rglob("*") if path.is_file()]
    total = sum(path.stat().st_size for path in files if path.is_file())
    print(f"{total / 2**20:.1f} of {LIMIT / 2**20:.0f} MiB")
    if total > LIMIT:
        raise SystemExit("too much to travel: take fewer LINES or FONTS")


def run(args: argparse.Namespace) -> None:
    """Install what was carried, train, and keep the newest mean of the weights in args.out."""
    site = Path("/tmp/molgaze-site")
    if not site.exists() and list((FAR / "wheels").glob("*.whl")) and args.device == "cuda":
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
        wheels = [str(path) for path in (FAR / "wheels").glob("*.whl")]
        subprocess.run([*install, "--target", str(site), *wheels], check=True)
    shutil.copytree(FAR / "fonts", Path.home() / ".fonts", dirs_exist_ok=True)
    paths = [str(ROOT / "src"), str(site), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    data = sorted(str(path) for path in FAR.glob("*.smi.gz"))
    command = [sys.executable, "-m", "molgaze.train.fit", "--data", *data, "--out", str(args.state)]
    command += ["--weights", str(ROOT / "weights" / "gaze.safetensors"), "--device", args.device]
    command += [
        "--batch",
        str(args.batch),
        "--workers",
        str(args.workers),
        "--rate",
        str(args.rate),
    ]
    command += ["--minutes", str(args.total), "--cool", str(args.cool), "--save-minutes", "1.5"]
    command += ["--check-minutes", "5"]
    args.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * args.minutes
    kept = 0.0
    with subprocess.Popen(command, env=env) as training:
        while training.poll() is None and time.monotonic() < end:
            time.sleep(2)
            if time.monotonic() - kept > 120:
                kept = time.monotonic()
                keep(args, env)
        if training.poll() is None:
            training.send_signal(signal.SIGTERM)  # it saves, then ends
    keep(args, env)
    sys.exit(training.returncode)


KEEP = """
import shutil, sys
from pathlib import Path
from molgaze.train import fit
run, out = Path(sys.argv[1]), Path(sys.argv[2])
found = fit.weights_of(run)
if found.exists():
    fit.save_weights(fit.load_model(found), out / "gaze.safetensors", name="gaze")
    if (run / "log.jsonl").exists():
        shutil.copy(run / "log.jsonl", out)
"""


def keep(args: argparse.Namespace, env: dict[str, str]) -> None:
    """Write the mean of the weights, in half precision, and the log to args.out."""
    subprocess.run(
        [sys.executable, "-c", KEEP, str(args.state), str(args.out)], env=env, check=False
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    packing = commands.add_parser("pack", help="collect what travels into far/")
    packing.add_argument("--data", type=Path, nargs="+", required=True, help="files of SMILES, .gz")
    packing.add_argument(
        "--python", default="3.12", help="the other machine's; default %(default)s"
    )
    packing.set_defaults(call=lambda a: pack(a.data, a.python))
    running = commands.add_parser("run", help="train on the other machine")
    running.add_argument(
        "--minutes", type=float, default=9.0, help="of this call; default %(default)s"
    )
    running.add_argument(
        "--total", type=float, default=12.0, help="of all calls; default %(default)s"
    )
    running.add_argument("--cool", type=float, default=4.0, help="of them, the fall of the rate")
    running.add_argument("--out", type=Path, required=True, help="folder for what comes back")
    running.add_argument("--state", type=Path, default=Path("/tmp/molgaze-run"))
    running.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    running.add_argument("--batch", type=int, default=256, help="medium pictures a step")
    running.add_argument("--rate", type=float, default=2e-3, help="learning rate")
    running.add_argument("--workers", type=int, default=15, help="drawing processes")
    running.set_defaults(call=run)
    args = parser.parse_args()
    args.call(args)


if __name__ == "__main__":
    main()
