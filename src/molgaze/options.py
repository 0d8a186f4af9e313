"""What may be asked on the command line: commands, options and their help."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from .files import FORMATS, TABLES


def parser(
    given: Sequence[str], fill: Callable[[str, argparse.ArgumentParser], None]
) -> argparse.ArgumentParser:
    """What the command line takes; parsed, it has the name of the command as ``command``.

    Args:
        given: the arguments, of which the first tells whose options are to be known.
        fill: adds the options of a command of training, given its name, if that is asked for.
    """
    line = argparse.ArgumentParser(
        prog="molgaze",
        description="Reads pictures of molecules.",
        epilog="Exit codes: 0 all pictures were read; 1 some were not, or not surely enough; "
        "2 the command line is wrong; 3 the command cannot start; 130 it was interrupted.",
    )
    line.add_argument("--version", action=_Version, help="print the version")
    commands = line.add_subparsers(metavar="COMMAND", required=True)
    reader, inputs, trust = _reader_options(), _input_options(), _trust()

    read = commands.add_parser(
        "read",
        parents=[inputs, trust, reader],
        help="pictures to SMILES",
        description="One picture: its SMILES. Several: title, SMILES and confidence, one a line.",
    )
    read.add_argument("-o", "--output", type=Path, metavar="OUT", help=_told_formats(FORMATS))
    form = read.add_mutually_exclusive_group()
    form.add_argument(
        "--format",
        choices=FORMATS,
        help="format of what is written; the default is that of the suffix of OUT",
    )
    form.add_argument(
        "--json",
        action="store_const",
        const="jsonl",
        dest="format",
        help="the same as --format jsonl",
    )
    read.add_argument(
        "--page",
        type=_pages,
        metavar="N[-M]",
        help="read only these pages or frames, counted from 1",
    )
    read.add_argument(
        "--crops",
        type=Path,
        metavar="DIR",
        help="also keep every molecule that was found on a page as a picture in this folder",
    )
    read.set_defaults(command="read")

    show = commands.add_parser(
        "show",
        parents=[reader],
        help="draw the gaze over its picture",
        description="Draws the gaze over its picture, and beside it the molecule that was read.",
    )
    show.add_argument("file", metavar="FILE", help="a picture or a PDF, or - for standard input")
    show.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help="a picture of the gaze, such as OUT.png; or OUT.html, which shows the pages of a PDF "
        "with a box round every molecule and the readings beside them",
    )
    show.add_argument(
        "--page",
        type=_pages,
        metavar="N[-M]",
        help="the page or frame, counted from 1; the default is 1 for a picture of the gaze, and "
        "all pages for HTML",
    )
    show.set_defaults(command="show")

    score = commands.add_parser(
        "score",
        parents=[reader],
        help="accuracy and speed on tables of pictures with answers",
        description="Tables have the columns file, smiles and, if there are any, condition and "
        "note. The note flat compares without stereo, and with the note dummy any label an R "
        "group may have any label.",
    )
    score.add_argument("tables", nargs="+", metavar="TABLE.csv")
    score.add_argument(
        "--limit", type=_count, metavar="N", help="score only the first N rows of each table"
    )
    score.add_argument(
        "--misses", type=Path, metavar="PAGE.html", help="write a page that shows what went wrong"
    )
    score.add_argument("--json", action="store_true", help="print the figures as JSON")
    score.add_argument(
        "--progress",
        action="store_true",
        help="show how far the work is also where standard error is no terminal",
    )
    score.set_defaults(command="score")

    info = commands.add_parser("info", parents=[reader], help="versions, weights, device, limits")
    info.add_argument("--json", action="store_true", help="print them as JSON")
    info.set_defaults(command="info")

    check = commands.add_parser(
        "check", parents=[reader], help="read the picture that comes with the package"
    )
    check.set_defaults(command="check")

    batch = commands.add_parser(
        "batch",
        parents=[inputs, trust, _worker_options(60.0), _reader_options("one")],
        help="many pictures, with a journal: killed, it goes on",
    )
    batch.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="OUT",
        help=_told_formats(TABLES) + "; may be given several times",
    )
    batch.add_argument(
        "--journal",
        metavar="FILE",
        help="file in which rows are kept as they are read; the default is OUT.journal",
    )
    batch.add_argument(
        "--restart",
        action="store_true",
        help="throw away the journal that is there and read everything again",
    )
    batch.add_argument(
        "--retry",
        action="store_true",
        help="read again the pictures that killed a worker or took too long",
    )
    cluster = batch.add_argument_group("cluster (extra: ray)")
    cluster.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="with ray, OUT is a folder or a URI that takes the rows; given a --journal, that is "
        "the folder, and OUT are tables as without ray",
    )
    cluster.add_argument(
        "--gpus",
        type=float,
        default=0.0,
        metavar="X",
        help="GPUs for each worker; may be a fraction",
    )
    batch.set_defaults(command="batch")

    serve = commands.add_parser(
        "serve",
        parents=[_worker_options(20.0), _reader_options("one")],
        help="a page and an HTTP service on this machine (extra: web)",
    )
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen at; the default, %(default)s, is for this machine only",
    )
    serve.add_argument(
        "--port",
        type=_port,
        default=8765,
        metavar="N",
        help="port to listen at; the default is %(default)s",
    )
    serve.add_argument(
        "--admit",
        type=_count,
        default=32,
        metavar="N",
        help="requests that are served at a time; the default is %(default)s",
    )
    serve.add_argument(
        "--megabytes",
        type=_count,
        default=20,
        metavar="N",
        help="largest size of a request; the default is %(default)s",
    )
    serve.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="another name under which the server answers, beside localhost and numbers",
    )
    serve.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="another site whose pages may use the server, such as https://ketcher.example.org; "
        "* is all",
    )
    serve.add_argument(
        "--ketcher",
        action="store_true",
        help="also answer what the editor Ketcher asks to recognize a picture",
    )
    serve.add_argument("--open", action="store_true", help="open the page in a browser")
    serve.set_defaults(command="serve")

    agents = commands.add_parser(
        "mcp",
        parents=[_reader_options()],
        help="a server for agents, over standard input and output (extra: mcp)",
        description="Serves the tools read_picture and read_page to an agent that starts it, by "
        "the Model Context Protocol over standard input and output.",
    )
    agents.add_argument(
        "--folder",
        type=Path,
        action="append",
        metavar="DIR",
        help="a folder whose files may be read, and those in folders inside of it; may be given "
        "several times; the default is the current folder",
    )
    agents.set_defaults(command="mcp")

    train = commands.add_parser("train", help="train a reader (extra: train)")
    train.set_defaults(command="train")
    if given[:1] == ["train"]:
        fill("train", train)

    reference = commands.add_parser("i2s", help="the reference reader (extra: train)")
    if given[:1] == ["i2s"]:
        fill("i2s", reference)

    export = commands.add_parser("export", help="a trained run to weights (extra: train)")
    export.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="a run's folder or safetensors file; of several with one past, the mean",
    )
    export.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    export.add_argument(
        "--name", default="gaze", help="name of the weights; the default is %(default)s"
    )
    export.add_argument(
        "--check",
        nargs="+",
        metavar="FILE",
        help="pictures that the weights must read as the run does; default: the packaged one",
    )
    export.add_argument(
        "--confidence",
        nargs="+",
        type=Path,
        default=(),
        metavar="TABLE.csv",
        help="pictures with their answers, file and smiles, also such without a molecule, from "
        "which the confidence learns how often a reading is right",
    )
    export.add_argument(
        "--pages",
        nargs="+",
        type=Path,
        default=(),
        metavar="SMILES",
        help="the run's files of molecules: drawings of them teach what a molecule looks like on "
        "a page",
    )
    export.add_argument(
        "--half",
        type=Path,
        metavar="FILE.safetensors",
        help="also write the weights in half precision, to start another run from",
    )
    export.set_defaults(command="export")
    return line


def _told_formats(forms: Sequence[str]) -> str:
    return f"file to write, in the format of its suffix: .{', .'.join(forms)}; .gz may follow"


def _input_options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "files",
        nargs="*",
        metavar="INPUT",
        help="picture, PDF, folder, glob, ZIP or TAR archive, Parquet or Arrow table",
    )
    group = parser.add_argument_group("inputs")
    group.add_argument(
        "--files-from",
        metavar="LIST",
        help="a file that names inputs, one on each line; - is standard input",
    )
    group.add_argument(
        "-r", "--recursive", action="store_true", help="look into folders inside of folders, too"
    )
    group.add_argument(
        "--column", metavar="NAME", help="column of a table that holds the bytes of the pictures"
    )
    group.add_argument(
        "--id-column",
        metavar="NAME",
        help="column of a table that names the pictures; the default is id, if there is one",
    )
    return parser


def _trust() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("results")
    group.add_argument(
        "--min-confidence",
        type=_share,
        metavar="P",
        help="mark readings with a lower confidence in the column review, as to be looked at; "
        "from 0 to 1, and `molgaze info` tells the default",
    )
    group.add_argument(
        "-q", "--quiet", action="store_true", help="say nothing about single pictures"
    )
    group.add_argument("--no-progress", action="store_true", help="do not show how far the work is")
    return parser


def _worker_options(timeout: float) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("workers")
    group.add_argument(
        "--workers",
        type=_count,
        metavar="N",
        help="processes that read; the default is one for each core",
    )
    group.add_argument(
        "--timeout",
        type=_seconds,
        default=timeout,
        metavar="S",
        help="seconds that a picture may take; a page may take five times as long; the default is "
        "%(default)g",
    )
    return parser


def _reader_options(threads: str = "all cores") -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("reader")
    group.add_argument(
        "--weights", metavar="DIR", help="a folder of weights; the default is the package's own"
    )
    group.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where to compute; the default is %(default)s",
    )
    group.add_argument(
        "--threads",
        type=_count,
        metavar="N",
        help=f"processor threads of a reader; the default is {threads}",
    )
    group.add_argument(
        "--beam",
        type=_count,
        metavar="N",
        default=1,
        help="readings of a picture that are followed at once; the default is 1, the fastest",
    )
    return parser


class _Version(argparse.Action):
    """Prints the version; it is looked up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from . import __version__  # noqa: PLC0415

        print(f"molgaze {__version__}")
        parser.exit()


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1")
    return number


def _port(text: str) -> int:
    if not 1 <= (number := int(text)) <= 65535:
        raise argparse.ArgumentTypeError(f"{text}: from 1 to 65535")
    return number


def _seconds(text: str) -> float:
    if not 0 < (number := float(text)) < 1e6:
        raise argparse.ArgumentTypeError(f"{text}: more than 0")
    return number


def _share(text: str) -> float:
    if not 0 <= (number := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f"{text}: from 0 to 1")
    return number


def _pages(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    pages = int(first), int(last) if dash else int(first)
    if not 1 <= pages[0] <= pages[1] <= 10_000:
        raise argparse.ArgumentTypeError(f"{text}: counted from 1, as 3 or 3-7")
    return pages
