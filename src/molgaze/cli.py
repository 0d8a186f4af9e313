"""The command line: parse, call, print.

Standard output holds results only; everything else goes to standard error. Exit codes:

    0    all was read
    1    some pictures were not read, or not surely enough, or a file could not be written
    2    the command line is wrong
    3    it cannot start: the weights, the installation, a journal or an address is at fault
    130  interrupted; what was written by then is whole
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .files import FORMATS, TABLES, form_of

if TYPE_CHECKING:
    from .batch import Summary
    from .files import Format
    from .inputs import Inputs
    from .progress import Progress
    from .reader import Reader
    from .reading import Reading
    from .score import Score

FAILED, USAGE, BROKEN, INTERRUPTED = 1, 2, 3, 130
TOLD = 20  # pictures of a batch of which it is said why they were not read
WARNINGS = 3  # of a picture that are told on standard error; tables have them all
HELP = """\
molgaze read picture.png               one picture to its SMILES
molgaze read scans/ -o table.csv       many pictures to a table (or .sdf, .jsonl, .parquet)
molgaze --help                         all commands; molgaze COMMAND --help tells their options"""


class _CommandError(Exception):
    """Ends the command with a message and an exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def run() -> NoReturn:
    """The console entry."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OSError as err:
        # Nobody reads on, or the disk is full: Python must not try again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
        if isinstance(err, BrokenPipeError):
            code = 128 + getattr(signal, "SIGPIPE", 13)
        else:
            _say(f"standard output: {err}")
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments after the program's name; those of the process by default.

    Returns:
        The exit code.

    Raises:
        BrokenPipeError: nobody reads standard output any more.
    """
    given = sys.argv[1:] if argv is None else list(argv)
    if not given:
        print(HELP, file=sys.stderr)
        return USAGE
    try:
        args = _parser(given).parse_args(given)
        return int(args.command(args))
    except _CommandError as stop:
        _say(str(stop))
        return stop.code
    except SystemExit as stop:  # argparse: help, version, or a wrong command line
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as err:
        _say(_line(err))
        return FAILED
    except ImportError as err:
        _say(f"the installation is not complete: {_line(err)}")
        return BROKEN
    except Exception as err:
        _say(f"{type(err).__name__}: {_line(err)} (this is a fault in MolGaze: please report it)")
        return BROKEN


# ---- what may be asked ----------------------------------------------------------------------


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="molgaze",
        description="Reads pictures of molecules.",
        epilog="Exit codes: 0 all pictures were read; 1 some were not, or not surely enough; "
        "2 the command line is wrong; 3 the command cannot start; 130 it was interrupted.",
    )
    parser.add_argument("--version", action=_Version, help="print the version")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
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
    read.set_defaults(command=_read)

    show = commands.add_parser(
        "show", parents=[reader], help="draw the gaze over its picture", description=_show.__doc__
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
    show.set_defaults(command=_show)

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
    score.set_defaults(command=_score)

    info = commands.add_parser("info", parents=[reader], help="versions, weights, device, limits")
    info.add_argument("--json", action="store_true", help="print them as JSON")
    info.set_defaults(command=_info)

    check = commands.add_parser(
        "check", parents=[reader], help="read the picture that comes with the package"
    )
    check.set_defaults(command=_check)

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
    batch.set_defaults(command=_batch)

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
    serve.add_argument("--open", action="store_true", help="open the page in a browser")
    serve.set_defaults(command=_serve)

    train = commands.add_parser("train", help="train a reader (extra: train)")
    train.set_defaults(command=_train)
    if given[:1] == ["train"]:
        from .train.options import add_options  # noqa: PLC0415  reads a file

        add_options(train, "fit")

    reference = commands.add_parser("i2s", help="the reference reader (extra: train)")
    if given[:1] == ["i2s"]:
        _extra("train", ".train.i2s").options(reference)

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
    export.set_defaults(command=_export)
    return parser


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


# ---- the commands ---------------------------------------------------------------------------


def _read(args: argparse.Namespace) -> int:
    from .files import text, title, write  # noqa: PLC0415
    from .progress import Progress  # noqa: PLC0415

    form = _format(args)
    inputs = _inputs(args)
    if form == "mol" and not inputs.is_one_file:
        raise _CommandError(USAGE, "a mol file holds one molecule: give one picture, or use sdf")
    reader = _reader(args)
    alone = inputs.is_one_file and [item.is_page for item in inputs] == [False]
    shown = sys.stderr.isatty() and (args.output is not None or not sys.stdout.isatty())
    bar = Progress(inputs, shown and not alone and not (args.quiet or args.no_progress))
    watch = _Watch(bar, args.min_confidence, args.quiet)
    readings = watch.over(_readings(reader, inputs))
    if args.crops is not None:
        from .gallery import cut_out  # noqa: PLC0415  brings pdfium's reader of documents

        readings = cut_out(readings, args.crops)
    if args.output is not None:
        write(readings, args.output, form, {"model": reader.info.get("model")})
    elif form == "jsonl":
        for reading in readings:
            print(text([reading], form), end="", flush=True)
    elif form is not None:
        sys.stdout.write(text(readings, form))
    else:
        for reading in readings:
            if reading.valid:
                row = f"{title(reading)}\t{reading.smiles}\t{reading.confidence:.3f}"
                print(_plain(reading.smiles if alone else row, tabs=not alone), flush=True)
    watch.tell_skipped(inputs)
    if not watch.done and watch.code == 0:
        _say("no molecule was found: there was no picture, or nothing is drawn on the pages")
        return FAILED
    return watch.code


def _readings(reader: Reader, inputs: Inputs) -> Iterator[Reading]:
    """The readings of all pictures and pages: one for each molecule on a page or in a picture of
    several, and one for each picture else, whatever happens to it.
    """
    from .workers import failure, named, read_apart, read_page  # noqa: PLC0415

    for item in inputs:
        try:
            content = item.load()
        except Exception as err:  # whatever a broken archive makes its library raise
            yield named(
                failure(item.source, item.page, err, reader.info.get("model")), item.source, item.id
            )
            continue
        if item.is_page:
            yield from read_page(reader, item.source, item.page, content)
        else:
            found = read_apart(reader, item.source, item.page, content)
            yield from (named(reading, item.source, item.id) for reading in found)


def _batch(args: argparse.Namespace) -> int:
    from .batch import JournalError, batch, check_outputs  # noqa: PLC0415
    from .progress import Progress  # noqa: PLC0415
    from .reader import Reader  # noqa: PLC0415
    from .reading import MIN_CONFIDENCE  # noqa: PLC0415
    from .workers import WorkerError  # noqa: PLC0415

    on_ray = args.engine == "ray"
    try:
        if not on_ray or args.journal is not None:
            check_outputs(list(map(Path, args.output)), args.journal)
        elif len(args.output) != 1:
            raise ValueError("--engine ray: give one -o OUT, a folder or URI, or a --journal")
    except ValueError as err:
        raise _CommandError(USAGE, _line(err)) from err
    if "-" in args.files:
        raise _CommandError(USAGE, "a batch cannot read a picture from standard input")
    inputs = _inputs(args)
    factory: Any = partial(
        Reader, args.weights, device=args.device, threads=args.threads or 1, beam=args.beam
    )
    shown = sys.stderr.isatty() and not (args.quiet or args.no_progress or on_ray)
    bar = Progress(inputs, shown)  # Ray has a line of its own
    watch = _Watch(bar, args.min_confidence, args.quiet, TOLD)
    common: dict[str, Any] = {
        "journal": args.journal,
        "workers": args.workers,
        "timeout": args.timeout,
        "settings": {"beam": args.beam},
        "restart": args.restart,
        "retry": args.retry,
        "least": MIN_CONFIDENCE if args.min_confidence is None else args.min_confidence,
        "told": watch.failed_one,
        "progress": bar,
    }
    summary: Summary
    try:
        if on_ray:
            _extra("ray", "ray")
            summary = _extra("ray", ".batch_ray").batch_on_ray(
                inputs, args.output, factory, gpus=args.gpus, **common
            )
        else:
            summary = batch(inputs, args.output, factory, **common)
    except (JournalError, WorkerError) as err:
        raise _CommandError(BROKEN, _line(err)) from err
    finally:
        bar.clear()
    watch.tell_rest(args.output)
    watch.tell_skipped(inputs)
    if not args.quiet:
        _say(_told(summary))
    if summary.pictures and not (summary.rows or summary.stopped):
        _say("no molecule was found: nothing is drawn on the pages")
        return FAILED
    if summary.stopped:
        return 128 + summary.stopped
    return FAILED if summary.failures or summary.review else 0


def _told(summary: Summary) -> str:
    """A batch in one line."""
    fresh = summary.pictures - summary.resumed
    parts = [f"{summary.pictures:,} picture{'s' * (summary.pictures != 1)}"]
    if summary.rows not in (0, summary.pictures):
        parts.append(f"{summary.rows:,} molecules in them")
    if summary.resumed:
        parts.append(f"{summary.resumed:,} of them in the journal before")
    if summary.failures:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in summary.failures.most_common())
        parts.append(f"{summary.failures.total():,} not read ({kinds})")
    if summary.review:
        parts.append(f"{summary.review:,} to be looked at (column review)")
    if fresh:
        parts.append(f"{fresh / max(summary.seconds, 1e-9):.1f} a second")
    if summary.stopped:
        parts.append("stopped: the same command goes on from here")
    return "; ".join(parts)


def _serve(args: argparse.Namespace) -> int:
    server = _extra("web", ".web.server")
    from .workers import WorkerError  # noqa: PLC0415

    try:
        return int(server.run(args))
    except (OSError, WorkerError) as err:
        raise _CommandError(BROKEN, _line(err)) from err


def _show(args: argparse.Namespace) -> int:
    """Draws the gaze over its picture and the molecule that was read beside it."""
    from .files import whole  # noqa: PLC0415
    from .picture import load  # noqa: PLC0415
    from .progress import Progress  # noqa: PLC0415
    from .show import figure_format, show  # noqa: PLC0415

    _writable(args.output)
    if args.output.suffix.lower() in (".html", ".htm"):
        return _show_pages(args)
    form = figure_format(args.output)
    if form is None:
        message = f"{args.output}: choose .png or another format of pictures, or .html"
        raise _CommandError(USAGE, message)
    page, last = args.page or (1, 1)
    if page != last:
        raise _CommandError(USAGE, "a picture shows one page: give --page N, or choose .html")
    reader = _reader(args)
    source = sys.stdin.buffer.read() if args.file == "-" else args.file
    sheet = load(source, page)
    reading = replace(reader.read(source, page=page), source=args.file)
    with whole(args.output) as draft, open(draft, "xb") as file:
        show(sheet, reading).save(file, form)
    watch = _Watch(Progress(1, shown=False), None)
    for judged in watch.over([reading]):
        if judged.valid:
            print(judged.smiles)
    return watch.code


def _show_pages(args: argparse.Namespace) -> int:
    """The pages of a document as HTML, with what was read on them."""
    from .document import Document  # noqa: PLC0415
    from .files import whole  # noqa: PLC0415
    from .gallery import pages  # noqa: PLC0415
    from .progress import Progress  # noqa: PLC0415
    from .reading import MIN_CONFIDENCE  # noqa: PLC0415

    source = sys.stdin.buffer.read() if args.file == "-" else args.file
    with Document(source) as document:
        first, last = args.page or (1, len(document))
        wanted = range(first, min(last, max(len(document), first)) + 1)
    reader = _reader(args)
    bar = Progress(len(wanted), sys.stderr.isatty())

    def found() -> Iterator[Reading]:
        for done, number in enumerate(wanted):
            bar(done)
            yield from reader.find(source, [number])

    watch = _Watch(Progress(1, shown=False), None)
    with whole(args.output) as draft, open(draft, "x", encoding="utf-8") as file:
        for piece in pages(source, watch.over(found()), MIN_CONFIDENCE):
            file.write(piece)
    bar.clear()
    return watch.code


def _score(args: argparse.Namespace) -> int:
    from .progress import Progress  # noqa: PLC0415
    from .score import TableError, report, score, table, write_misses  # noqa: PLC0415

    if args.misses is not None:
        if len(args.tables) > 1:
            raise _CommandError(USAGE, "--misses takes one table")
        _writable(args.misses)
    try:
        tables = {name: table(name)[: args.limit] for name in args.tables}
    except TableError as err:
        raise _CommandError(USAGE, _line(err)) from err
    reader = _reader(args)
    bar = Progress(sum(map(len, tables.values())), args.progress or sys.stderr.isatty())
    done = exact = 0

    def step(result: Any) -> None:
        nonlocal done, exact
        done, exact = done + 1, exact + result.exact
        bar(done, note=f"  {exact / done:.1%} exact")

    scores: dict[str, Score] = {}
    for name, rows in tables.items():
        scores[name] = score(rows, reader.read, step)
    bar.clear()
    if args.json:
        print(json.dumps({name: scored.to_dict() for name, scored in scores.items()}, indent=2))
    else:
        print("\n".join(report(scores)))
    if args.misses is not None:
        write_misses(scores[args.tables[0]], args.misses)
    return 0


def _info(args: argparse.Namespace) -> int:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    from . import inputs, picture  # noqa: PLC0415
    from .reading import MIN_CONFIDENCE  # noqa: PLC0415

    facts: dict[str, Any] = {
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    }
    for package in ("molgaze", "numpy", "pillow", "rdkit", "onnxruntime"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = None
    facts["formats"] = list(picture.FORMATS)
    facts["suffixes"] = list(inputs.PICTURES)
    facts["outputs"] = list(FORMATS)
    facts["limits"] = {
        "megabytes": picture.MAX_BYTES // 2**20,
        "pixels": picture.MAX_PIXELS,
        "least side": picture.MIN_SIDE,
        "largest side": picture.MAX_SIDE,
        "largest side by least": picture.MAX_ASPECT,
    }
    facts["min confidence"] = MIN_CONFIDENCE
    fault = None
    try:
        facts |= {name: _value(told) for name, told in _reader(args).info.items()}
    except _CommandError as stop:
        fault = stop
    if args.json:
        print(json.dumps(facts, indent=2))
    else:
        wide = max(map(len, facts))
        print("\n".join(f"{name:{wide}}  {_shown(value)}" for name, value in facts.items()))
    if fault is not None:
        raise fault
    return 0


def _value(told: str) -> Any:
    """What a text of the weights' metadata says, which holds lists and objects as JSON."""
    if told[:1] in ("[", "{"):
        with suppress(ValueError):
            return json.loads(told)
    return told


def _shown(value: Any) -> str:
    """A fact on one line."""
    if value is None:
        return "not installed"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(v)}" for name, v in value.items())
    if isinstance(value, list):
        return " ".join(map(_shown, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _check(args: argparse.Namespace) -> int:
    folder = Path(__file__).parent / "weights"
    picture, answer = folder / "check.png", folder / "check.smi"
    reader = _reader(args)
    if not (picture.is_file() and answer.is_file()):
        raise _CommandError(BROKEN, f"no picture to check at {picture}")
    from .score import compare  # noqa: PLC0415

    expected = answer.read_text(encoding="utf-8").split()[0]
    reading = reader.read(picture)
    right = compare(picture, expected, reading).exact
    print(f"{'right' if right else 'wrong'}: {reading.smiles or reading.error or 'no molecule'}")
    if not right:
        _say(f"{picture.name}: expected {expected}")
    return 0 if right else FAILED


def _train(args: argparse.Namespace) -> int:
    fit = _extra("train", ".train.fit")
    try:
        print(fit.fit(fit.settings_of(args)))
    except RuntimeError as err:
        raise _CommandError(BROKEN, _line(err)) from err
    return 0


def _export(args: argparse.Namespace) -> int:
    export = _extra("train", ".train.export")
    fit = _extra("train", ".train.fit")
    from .picture import load  # noqa: PLC0415
    from .reader import WEIGHTS  # noqa: PLC0415

    runs = [fit.weights_of(run) for run in args.runs]
    for run in runs:
        if not run.is_file():
            raise _CommandError(USAGE, f"{run}: no such run")
    inks = [load(file).at_scale().ink for file in args.check or [WEIGHTS / "check.png"]]
    try:
        export.export(runs, args.output, inks, args.name)
        if args.confidence:
            _extra("train", ".train.confidence").refit(args.output, args.confidence)
        if args.pages:
            pages = _extra("train", ".train.pages")
            report = pages.fit_head(args.output, args.pages)
            print(
                f"pages: {report['found']:.3f} of molecules found, {report['false']:.3f} of others"
            )
        if args.half:
            fit.save_weights(fit.load_model(*runs), args.half, name=args.name)
    except RuntimeError as err:
        raise _CommandError(FAILED, _line(err)) from err
    print(args.output)
    return 0


def _extra(name: str, module: str) -> Any:
    """A module that an extra brings the packages for."""
    try:
        return import_module(module, __package__)
    except ImportError as err:
        raise _CommandError(
            BROKEN, f"this needs the {name} extra: pip install 'molgaze[{name}]' ({_line(err)})"
        ) from err


# ---- input ----------------------------------------------------------------------------------


def _reader(args: argparse.Namespace) -> Reader:
    try:
        from .reader import Reader  # noqa: PLC0415

        return Reader(args.weights, device=args.device, threads=args.threads, beam=args.beam)
    except (ImportError, OSError, RuntimeError) as err:
        raise _CommandError(BROKEN, _line(err)) from err


def _inputs(args: argparse.Namespace) -> Inputs:
    """The pictures that were named; what comes from standard input is read here."""
    from .inputs import STANDARD_INPUT, Inputs  # noqa: PLC0415
    from .picture import MAX_BYTES  # noqa: PLC0415

    names, listed = [*args.files], args.files_from
    if names.count(STANDARD_INPUT) + (listed == STANDARD_INPUT) > 1:
        raise _CommandError(USAGE, "standard input can be read only once")
    if listed == STANDARD_INPUT:
        names, listed = names + _lines(sys.stdin.buffer.read()), None
    elif listed is not None and not os.path.isfile(listed):
        raise _CommandError(USAGE, f"--files-from {listed}: there is no such file")
    if not names and listed is None:
        raise _CommandError(USAGE, "no pictures given")
    sent = sys.stdin.buffer.read(MAX_BYTES + 1) if STANDARD_INPUT in args.files else None
    pages = getattr(args, "page", None)
    more = {"column": args.column, "id_column": args.id_column, "pages": pages}
    return Inputs(names, listed, args.recursive, standard_input=sent, **more)


def _lines(data: bytes) -> list[str]:
    return [name for line in data.split(b"\n") if (name := os.fsdecode(line.rstrip(b"\r")))]


def _format(args: argparse.Namespace) -> Format | None:
    """The format asked for; None for plain lines on standard output."""
    asked: Format | None = args.format
    if args.output is None:
        if asked == "parquet":
            raise _CommandError(USAGE, "--format parquet: give a file with -o")
        return asked
    _writable(args.output)
    told = form_of(args.output)
    if asked is not None and told is not None and asked != told:
        raise _CommandError(
            USAGE, f"{args.output}: its suffix asks for {told} and the options for {asked}"
        )
    form = asked or told
    if form is None:
        raise _CommandError(USAGE, f"{args.output}: choose --format {', '.join(FORMATS)}")
    if form == "parquet":
        from .files import arrow  # noqa: PLC0415

        arrow()
    return form


def _writable(path: Path) -> None:
    # Before the work, not after it.
    if path.is_dir():
        raise _CommandError(USAGE, f"{path}: is a folder")
    if not path.parent.is_dir():
        raise _CommandError(USAGE, f"{path.parent}: no such folder")


# ---- standard error -------------------------------------------------------------------------


class _Watch:
    """Tells of the pictures that were not read, or not surely, and keeps the exit code.

    Args:
        bar: the line of progress.
        least: confidence under which a reading is to be looked at; the default if None.
        quiet: True for no word of single pictures.
        most: pictures that are told of; all if None.
    """

    def __init__(
        self, bar: Progress, least: float | None, quiet: bool = False, most: int | None = None
    ) -> None:
        self._bar, self._least, self._quiet, self._most = bar, least, quiet, most
        self.done = 0
        self._failed = 0
        self._interrupted = False

    @property
    def code(self) -> int:
        """The exit code that the pictures so far ask for."""
        return INTERRUPTED if self._interrupted else FAILED if self._failed else 0

    def over(self, readings: Iterable[Reading]) -> Iterator[Reading]:
        """The readings as they come, judged and told of; an interruption ends them early."""
        from .files import answered  # noqa: PLC0415
        from .reading import MIN_CONFIDENCE  # noqa: PLC0415

        least = MIN_CONFIDENCE if self._least is None else self._least
        try:
            for reading in readings:
                judged = answered(reading).judged(least)
                if judged.review or not judged.valid:
                    self.failed_one(judged)
                warnings = judged.warnings if judged.valid else ()
                for warning in warnings[:WARNINGS]:
                    self._tell(judged, warning)
                if len(warnings) > WARNINGS:
                    self._tell(judged, f"{len(warnings) - WARNINGS} more warnings")
                self.done += 1
                self._bar(self.done)
                yield judged
        except KeyboardInterrupt:
            self._interrupted = True
        finally:
            self._bar.clear()

    def failed_one(self, reading: Reading) -> None:
        """One more picture that was not read, or not surely."""
        self._failed += 1
        if self._most is None or self._failed <= self._most:
            self._tell(reading, _reason(reading))

    def _tell(self, reading: Reading, text: str) -> None:
        from .files import title  # noqa: PLC0415

        if not self._quiet:
            self._bar.clear()
            _say(f"{title(reading)}: {text}")

    def tell_rest(self, outputs: Sequence[str]) -> None:
        """How many pictures were not told of, and where they stand."""
        if self._most is not None and self._failed > self._most and not self._quiet:
            where = f" in {outputs[0]}" if outputs else ""
            _say(f"{self._failed - self._most:,} more: see the columns error and review{where}")

    def tell_skipped(self, inputs: Inputs) -> None:
        """Which files of folders and archives were left out."""
        from .inputs import told_skipped  # noqa: PLC0415

        for line in told_skipped(inputs.skipped) if not self._quiet else ():
            _say(line)


def _reason(reading: Reading) -> str:
    if reading.error:
        return reading.error.removeprefix(f"{reading.source}: ")
    if reading.finish_reason == "length":
        return "cut off at its longest"
    if not reading.smiles:
        return "no molecule"
    if reading.review:
        return f"confidence {reading.confidence:.2f}: look at it"
    return "no molecule by the rules of chemistry"


def _say(text: str) -> None:
    print(f"molgaze: {_plain(text)}", file=sys.stderr)


def _line(err: BaseException) -> str:
    if isinstance(err, OSError) and err.filename is not None and err.strerror:
        return f"{os.fsdecode(err.filename)}: {err.strerror}"
    return next(iter(str(err).strip().splitlines()), type(err).__name__)


def _plain(text: str | None, tabs: bool = False) -> str:
    """One line without control characters, so that no file name can break a row or a terminal."""
    return "".join(c if c.isprintable() or (tabs and c == "\t") else "?" for c in text or "")
