"""Train for some minutes on a lent machine with a GPU that nothing can be fetched from.

    python tools/gpu.py pack --data patent.smi.gz stereo.smi.gz general.smi.gz   # here: makes far/
    python tools/gpu.py run --until 540 --out DIR                          # there, again and again

``far/`` (ignored by git) holds what the other machine lacks: molecules, fonts, RDKit, Indigo, and
the ImageNet weights of the backbone of ``i2s``. With the repository's own files it must stay under
64 MiB. Drawing is what takes the time there, so both readers learn at once, ``gaze`` from the
repository's weights and ``i2s`` from the beginning, or go on from their last state where the
machine still has it. Every two minutes the means of the weights, in half precision, and the logs
are written to DIR, a large file in parts. ``--device cpu`` rehearses it without a GPU.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FAR = ROOT / "far"
ARCHIVE, BACKBONE = FAR / "far.tar.xz", FAR / "backbone.safetensors"
LIMIT = 64 * 2**20  # bytes that travel
LINES = 120_000  # molecules of each file
FONTS = 20 * 2**20  # bytes of fonts
PART = 15 * 2**20  # bytes of a file that comes back
KEEP = 120  # seconds between saves to the folder that comes back
ENDING = 25  # seconds that saving takes at the end
PLATFORMS = tuple(f"manylinux{age}_x86_64" for age in ("_2_28", "_2_27", "_2_17", "2014", "1"))
PACKAGES = ("rdkit", "epam.indigo")
SYSTEM = re.compile(r"ld-linux|lib(c|m|pthread|dl|rt|util|gcc_s|stdc[+]{2})[.]so")  # everywhere

# prints the libraries that training loads, each by its name without what a build adds to it
LOADED = """
import molgaze.train.fit, molgaze.train.i2s.fit, indigo.renderer
from indigo import Indigo
indigo.renderer.IndigoRenderer(Indigo())
print("\\n".join({line.split()[-1].rsplit("/", 1)[-1] for line in open("/proc/self/maps")
                  if ".so" in line}))
"""

# prints how much ink Indigo needs for a molecule with labels: other fonts would need other ink
INK = """
from io import BytesIO
import numpy as np
from indigo import Indigo
from indigo.renderer import IndigoRenderer
from PIL import Image
session = Indigo()
renderer = IndigoRenderer(session)
session.setOption("render-output-format", "png")
session.setOption("render-background-color", 1.0, 1.0, 1.0)
molecule = session.loadMolecule("CC(=O)Nc1ccc(S(N)(=O)=O)c(Br)c1[N+]([O-])=O")
png = bytes(renderer.renderToBuffer(molecule))
print((255 - np.asarray(Image.open(BytesIO(png)).convert("L"), int)).sum() / 255)
"""


# --- here: what travels ---


def pack(data: list[Path], python: str) -> None:
    """Put molecules, fonts, packages and the backbone's ImageNet weights into FAR.

    Raises:
        SystemExit: more than LIMIT would travel.
    """
    from molgaze.train.draw import fonts, usual_fonts  # noqa: PLC0415
    from molgaze.train.fit import save  # noqa: PLC0415
    from molgaze.train.i2s.model import Backbone  # noqa: PLC0415

    shutil.rmtree(FAR, ignore_errors=True)
    FAR.mkdir()
    dice = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = ("data", "fonts", "site", "lib")
        for part in parts:
            (folder / part).mkdir()
        for path in data:
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                smiles = [line.split()[0] for line in lines if line.strip()]
            chosen = sorted(dice.sample(smiles, min(LINES, len(smiles))))
            named = folder / "data" / path.name.removesuffix(".gz")
            named.write_text("\n".join(chosen) + "\n")
        room = FONTS
        for font in dict.fromkeys((*usual_fonts(), *dice.sample(fonts(), len(fonts())))):
            size = Path(font).stat().st_size
            if size <= min(room, 2**20):
                shutil.copy(font, folder / "fonts")
                room -= size
        _packages(folder / "site", python)
        _libraries(folder)
        shutil.copytree("/etc/fonts", folder / "etc")
        ink = subprocess.run([sys.executable, "-c", INK], check=True, capture_output=True)
        (folder / "ink").write_bytes(ink.stdout)
        with tarfile.open(ARCHIVE, "w:xz", preset=7) as archive:
            for part in (*parts, "etc", "ink"):
                archive.add(folder / part, part)
    backbone = Backbone()
    backbone.load_imagenet()
    halves = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in backbone.state_dict().items()
    }
    save(halves, BACKBONE, {})
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    total = sum(path.stat().st_size for path in (*files, ARCHIVE, BACKBONE) if path.is_file())
    print(f"{total / 2**20:.1f} of {LIMIT / 2**20:.0f} MiB")
    if total > LIMIT:
        raise SystemExit("too much to travel: take fewer LINES or FONTS")


def _packages(site: Path, python: str) -> None:
    """Install what of PACKAGES training loads, for another Python."""
    found = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True)
    loaded = {_plain(name) for name in found.stdout.decode().split()}
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--only-binary=:all:"]
    install += ["--python-version", python, "--implementation", "cp", "--target", str(site)]
    for platform in PLATFORMS:
        install += ["--platform", platform]
    subprocess.run([*install, *PACKAGES], check=True)
    shutil.rmtree(site / "rdkit" / "Contrib")
    for path in list(site.rglob("*")):
        is_library = ".so" in path.suffixes and path.is_file()
        if is_library and _plain(path.name) not in loaded:
            path.unlink()


def _libraries(folder: Path) -> None:
    """Copy what the packages in ``site`` need of this machine's libraries to ``lib``."""
    site = folder / "site"
    own = [site / "rdkit.libs", site / "indigo" / "lib" / "linux-x86_64"]
    env = {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, own))}
    for path in site.rglob("*.so*"):
        listed = subprocess.run(["ldd", path], env=env, capture_output=True, text=True, check=False)
        for name, found in re.findall(r"(\S+) => (/\S+)", listed.stdout):
            if not found.startswith(str(folder)) and not SYSTEM.match(name):
                shutil.copy(found, folder / "lib" / name)


def _plain(library: str) -> str:
    """A library's name without what a build or a Python adds to it."""
    return re.split("[-.]", library, maxsplit=1)[0].rstrip("0123456789")


# --- there: training ---


@dataclass
class Run:
    """A reader that learns: its name, the command, and the folder of its state."""

    name: str
    command: list[str]
    state: Path


def runs(args: argparse.Namespace, far: Path, env: dict[str, str]) -> list[Run]:
    """The readers that are to learn."""
    python = [sys.executable, "-m"]
    data = [str(far / "data" / f"{name}.smi") for name in args.data]
    common = ["--data", *data, "--device", args.device, "--minutes", str(args.total)]
    common += ["--cool", str(args.cool), "--save-minutes", "1.5", "--check-minutes", "3"]
    found = []
    if "gaze" in args.readers:
        state = args.state / "gaze"
        command = [*python, "molgaze.train.fit", *common, "--out", str(state)]
        command += ["--weights", str(ROOT / "weights" / "gaze.safetensors")]
        command += ["--shares", *map(str, args.shares), "--batch", str(args.batch)]
        command += ["--rate", str(args.rate), "--workers", str(args.workers)]
        found.append(Run("gaze", [*command, "--echo", str(args.echo)], state))
    if "i2s" in args.readers:
        state, start = args.state / "i2s", args.state / "i2s-start.safetensors"
        if not start.exists():
            subprocess.run([sys.executable, "-c", START, BACKBONE, start], env=env, check=True)
        command = [*python, "molgaze", "i2s", "train", *common, "--out", str(state)]
        command += ["--weights", str(start), "--unfreeze", "--batch", str(args.i2s_batch)]
        command += ["--rate", str(args.i2s_rate), "--backbone-rate", "0.5", "--grow", "60000"]
        command += ["--workers", str(args.i2s_workers), "--echo", str(args.i2s_echo)]
        found.append(Run("i2s", command, state))
    return found


def run(args: argparse.Namespace) -> None:
    """Unpack what was carried, train, and keep the newest means of the weights in args.out."""
    end = time.monotonic() + args.until
    far = Path("/tmp/molgaze-far")
    if not far.exists():
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(far, filter="data")
        shutil.copytree(far / "fonts", Path.home() / ".fonts", dirs_exist_ok=True)
        known = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=False)
        for path in (far / "lib").iterdir():
            if path.name in known.stdout.split():  # the machine's own fits the rest of it better
                path.unlink()
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    if args.device == "cuda" or args.site:
        paths.insert(1, str(far / "site"))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    env["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
    libraries = [*filter(None, [os.environ.get("LD_LIBRARY_PATH")]), str(far / "lib")]
    env["LD_LIBRARY_PATH"] = os.pathsep.join(libraries)
    env["FONTCONFIG_PATH"] = str(far / "etc")
    drawing = [sys.executable, "-c", INK]
    drawn = subprocess.run(drawing, env=env, capture_output=True, text=True, check=False)
    print("Indigo's ink here and there:", (far / "ink").read_text().strip(), drawn.stdout.strip())
    if not math.isclose(float(drawn.stdout or 0), float((far / "ink").read_text()), rel_tol=0.05):
        print("Indigo does not draw as it should and is left out:", drawn.stderr[-300:])
        shutil.rmtree(far / "site" / "indigo")
    args.out.mkdir(parents=True, exist_ok=True)
    args.state.mkdir(parents=True, exist_ok=True)
    # every tensor that a drawing process hands over is an open file
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    readers = runs(args, far, env)
    training = [subprocess.Popen(reader.command, env=env) for reader in readers]
    kept = told = time.monotonic()
    while time.monotonic() < end - ENDING:
        codes = [process.poll() for process in training]
        if any(codes) or None not in codes:  # one failed, or all are done
            break
        time.sleep(1)
        if time.monotonic() - told > args.tell:
            told = time.monotonic()
            for reader in readers:
                tell(reader)
        if time.monotonic() - kept > KEEP:
            kept = time.monotonic()
            for reader in readers:
                keep(reader, args.out, env)
    for process in training:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)  # it saves, then ends
    for process in training:
        process.wait()
    for reader in readers:
        keep(reader, args.out, env)
        tell(reader)
    print("exit codes", [process.returncode for process in training], flush=True)
    sys.exit(any(process.returncode for process in training))


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

MEAN = {
    "gaze": """
import sys
from pathlib import Path
from molgaze.train import fit
found = fit.weights_of(Path(sys.argv[1]))
fit.save_weights(fit.load_model(found), Path(sys.argv[2]), name="gaze")
""",
    "i2s": """
import sys
from pathlib import Path
from molgaze.train.i2s.model import load_model, save_weights
save_weights(load_model(Path(sys.argv[1])), Path(sys.argv[2]))
""",
}


def keep(reader: Run, out: Path, env: dict[str, str]) -> None:
    """Write the mean of the weights, in half precision and in parts, and the log to out."""
    if not list(reader.state.glob("*.safetensors")):
        return
    whole = reader.state.with_name(f"{reader.name}-half.safetensors")
    command = [sys.executable, "-c", MEAN[reader.name], str(reader.state), str(whole)]
    if subprocess.run(command, env=env, check=False).returncode == 0:
        content = whole.read_bytes()
        for i in range(0, len(content), PART):
            part = out / f"{reader.name}.safetensors.{i // PART}"
            part.write_bytes(content[i : i + PART])
    if (reader.state / "log.jsonl").exists():
        shutil.copy(reader.state / "log.jsonl", out / f"{reader.name}-log.jsonl")


def tell(reader: Run) -> None:
    """Print the newest line of a reader's log."""
    log = reader.state / "log.jsonl"
    if log.exists():
        row = json.loads(log.read_text().splitlines()[-1])
        print(reader.name, json.dumps(row), flush=True)


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
    running.add_argument("--readers", nargs="+", choices=("gaze", "i2s"), default=["gaze", "i2s"])
    running.add_argument("--until", type=float, default=570.0, help="seconds of this call")
    running.add_argument("--total", type=float, default=11.5, help="minutes of all calls, learning")
    running.add_argument("--cool", type=float, default=5.5, help="of them, the fall of the rate")
    running.add_argument("--out", type=Path, required=True, help="folder for what comes back")
    running.add_argument("--state", type=Path, default=Path("/tmp/molgaze-run"))
    running.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    running.add_argument("--site", action="store_true", help="the carried packages, on a CPU too")
    running.add_argument("--tell", type=float, default=30.0, help="seconds between lines")
    running.add_argument("--data", nargs="+", default=["patent", "stereo", "general"])
    running.add_argument("--shares", type=float, nargs="+", default=[0.34, 0.40, 0.26])
    running.add_argument("--batch", type=int, default=256, help="medium pictures a step of gaze")
    running.add_argument("--rate", type=float, default=1.5e-3, help="of gaze")
    running.add_argument("--workers", type=int, default=11, help="processes that draw for gaze")
    running.add_argument("--echo", type=int, default=5, help="most uses of a picture")
    running.add_argument("--i2s-batch", type=int, default=256, help="pictures a step of i2s")
    running.add_argument("--i2s-rate", type=float, default=1e-3, help="of i2s")
    running.add_argument("--i2s-workers", type=int, default=4, help="processes that draw for i2s")
    running.add_argument("--i2s-echo", type=int, default=6, help="most uses of a picture")
    running.set_defaults(call=run)
    args = parser.parse_args()
    args.call(args)


if __name__ == "__main__":
    main()
