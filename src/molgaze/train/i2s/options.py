"""The commands of ``molgaze i2s`` and their options, without what the commands need."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from ..options import add_options

WEIGHTS = Path(__file__).parents[4] / "weights" / "i2s.safetensors"  # of the repository


def options(parser: argparse.ArgumentParser) -> None:
    """Add the commands; each sets ``command``, a function of the arguments."""
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    run = commands.add_parser("train", help="train on plain drawings")
    add_options(run, "i2s/fit")
    run.set_defaults(command=_command("train"))

    reads = commands.add_parser("read", help="pictures to SMILES")
    reads.add_argument("files", nargs="+", metavar="FILE")
    _weights(reads)
    reads.set_defaults(command=_command("read"))

    shows = commands.add_parser("show", help="where each character was looked for")
    shows.add_argument("file", metavar="FILE")
    _weights(shows)
    shows.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.png")
    shows.set_defaults(command=_command("show"))

    scores = commands.add_parser(
        "score", help="held-out drawings by length, or tables of pictures, to accuracy"
    )
    scores.add_argument("tables", nargs="*", metavar="TABLE.csv")
    scores.add_argument(
        "--data", type=Path, nargs="+", metavar="FILE", help="files of SMILES that were trained on"
    )
    scores.add_argument(
        "--pictures",
        type=int,
        default=1000,
        metavar="N",
        help="drawings of each length class, of the lines that are held out; default %(default)s",
    )
    scores.add_argument("--json", action="store_true", help="the figures of --data as JSON")
    scores.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    _weights(scores)
    scores.set_defaults(command=_command("score"))

    exports = commands.add_parser("export", help="a run to weights in half precision, with a card")
    exports.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    exports.add_argument("-o", "--output", type=Path, default=WEIGHTS, metavar="OUT.safetensors")
    exports.set_defaults(command=_command("export"))


def _weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        type=Path,
        default=WEIGHTS,
        metavar="RUN",
        help="a run's folder or a file of weights; the default is the repository's",
    )


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    """A command whose module is loaded when it is run.

    Raises:
        ImportError: the extra is not installed.
    """

    def run(args: argparse.Namespace) -> int:
        try:
            module = import_module(".commands", __package__)
        except ImportError as err:
            needed = f"this needs the train extra: pip install 'molgaze[train]' ({err})"
            raise ImportError(needed) from err
        return int(getattr(module, name)(args))

    return run
