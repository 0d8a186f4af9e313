"""The command line: parse, call, print.

Standard output holds results only; everything else goes to standard error. Exit codes:

    0    all was read
    1    some of it could not be read, or a file could not be written
    2    the command line is wrong
    3    the weights or the installation are at fault
    130  interrupted; what was written by then is whole
"""

from __future__ import annotations

import argparse
import glob
import io
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from .files import Format
    from .reader import Reader
    from .reading import Reading
    from .score import Score

FORMATS = ("smi", "csv", "jsonl", "sdf", "mol")
SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".webp", ".ppm", ".pgm", ".pbm")
)  # of pictures looked for in folders; a file that is named is opened whatever its suffix

FAILED, USAGE, BROKEN, INTERRUPTED = 1, 2, 3, 130


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
        epilog="Exit codes: 0 all read, 1 some not, 2 usage, 3 weights or installation, "
        "130 interrupted.",
    )
    parser.add_argument("--version", action=_Version, help="print the version")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    reader = argparse.ArgumentParser(add_help=False)
    group = reader.add_argument_group("reader")
    group.add_argument("--weights", metavar="DIR", help="default: those of the package")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    group.add_argument("--threads", type=_count, metavar="N", help="default: all cores")
    group.add_argument("--beam", type=_count, metavar="N", default=1, help="walks to follow")

    read = commands.add_parser(
        "read",
        parents=[reader],
        help="pictures to SMILES",
        description="One picture: its SMILES. Many: path, SMILES and confidence, one a line.",
    )
    read.add_argument("files", nargs="*", metavar="FILE", help="picture, folder, glob, or -")
    read.add_argument("--files-from", metavar="LIST", help="a file of paths, one a line, or -")
    read.add_argument("-r", "--recursive", action="store_true", help="folders in folders too")
    read.add_argument("-o", "--output", type=Path, metavar="OUT", help="." + " .".join(FORMATS))
    form = read.add_mutually_exclusive_group()
    form.add_argument("--format", choices=FORMATS, help="default: by the suffix of OUT")
    form.add_argument("--json", action="store_const", const="jsonl", dest="format")
    read.add_argument("--page", type=_count, default=1, metavar="N", help="page or frame, from 1")
    read.add_argument(
        "--min-confidence",
        type=_share,
        default=0.0,
        metavar="P",
        help="readings below are failures; their SMILES stays as an alternative",
    )
    read.add_argument("-q", "--quiet", action="store_true", help="no word of single pictures")
    read.add_argument("--no-progress", action="store_true")
    read.set_defaults(command=_read)

    show = commands.add_parser(
        "show", parents=[reader], help="draw the gaze over its picture", description=_show.__doc__
    )
    show.add_argument("file", metavar="FILE", help="picture, or -")
    show.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.png")
    show.add_argument("--page", type=_count, default=1, metavar="N", help="page or frame, from 1")
    show.set_defaults(command=_show)

    score = commands.add_parser(
        "score",
        parents=[reader],
        help="accuracy and speed on tables of pictures with answers",
        description="Tables have the columns file, smiles and, if there are any, condition.",
    )
    score.add_argument("tables", nargs="+", metavar="TABLE.csv")
    score.add_argument("--limit", type=_count, metavar="N", help="the first N rows of a table")
    score.add_argument("--misses", type=Path, metavar="PAGE.html", help="write what went wrong")
    score.add_argument("--json", action="store_true")
    score.add_argument("--progress", action="store_true", help="also where it is not a terminal")
    score.set_defaults(command=_score)

    info = commands.add_parser("info", parents=[reader], help="versions, weights, device, limits")
    info.add_argument("--json", action="store_true")
    info.set_defaults(command=_info)

    check = commands.add_parser(
        "check", parents=[reader], help="read the picture that comes with the package"
    )
    check.set_defaults(command=_check)

    # what follows is imported for the command that was asked for alone
    asked = given[0] if given else ""

    batch = commands.add_parser(
        "batch", parents=[reader], help="many pictures, with a journal: killed, it goes on"
    )
    if asked == "batch":
        from . import batch as many  # noqa: PLC0415

        many.options(batch)
        batch.set_defaults(command=_with_workers(many.run))

    serve = commands.add_parser(
        "serve", parents=[reader], help="a page and an HTTP service on this machine (extra: web)"
    )
    if asked == "serve":
        server = _extra("web", ".web.server")
        server.options(serve)
        serve.set_defaults(command=_with_workers(server.run))

    train = commands.add_parser("train", help="train a reader (extra: train)")
    train.set_defaults(command=_train)
    if asked == "train":
        _extra("train", ".train.fit").options(train)

    reference = commands.add_parser("i2s", help="the reference reader (extra: train)")
    if asked == "i2s":
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
    export.add_argument("--name", default="gaze", help="of the weights; default %(default)s")
    export.add_argument(
        "--check",
        nargs="+",
        metavar="FILE",
        help="pictures that the weights must read as the run does; default: the packaged one",
    )
    export.add_argument(
        "--calibrate",
        nargs="+",
        type=Path,
        default=(),
        metavar="SMILES",
        help="the run's files of molecules: those kept apart make the confidence honest",
    )
    export.add_argument(
        "--half",
        type=Path,
        metavar="FILE.safetensors",
        help="also write the weights in half precision, to start another run from",
    )
    export.set_defaults(command=_export)
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


def _share(text: str) -> float:
    if not 0 <= (number := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f"{text}: from 0 to 1")
    return number


# ---- the commands ---------------------------------------------------------------------------


def _read(args: argparse.Namespace) -> int:
    from .files import text, write  # noqa: PLC0415

    form = _format(args)
    sources, alone = _sources(args)
    if form == "mol" and not alone:
        raise _CommandError(USAGE, "a mol file holds one molecule: give one picture, or use sdf")
    reader = _reader(args)
    shown = sys.stderr.isatty() and (args.output is not None or not sys.stdout.isatty())
    count = _Count(len(sources), args.quiet, shown and not (args.quiet or args.no_progress))
    pictures = (sys.stdin.buffer if s == "-" else s for s in sources)
    readings = count.judged(reader.read_many(pictures, page=args.page), args.min_confidence)
    if args.output is not None:
        write(readings, args.output, form)
    elif form == "jsonl":
        for reading in readings:
            print(json.dumps(reading.to_dict(), ensure_ascii=False, allow_nan=False), flush=True)
    elif form is not None:
        sys.stdout.write(text(readings, form))
    else:
        for reading in readings:
            if reading.valid:
                end = f"\t{reading.confidence:.3f}"
                row = f"{_plain(reading.source)}\t{reading.smiles}{end}"
                print(reading.smiles if alone else row, flush=True)
    return count.code


def _show(args: argparse.Namespace) -> int:
    """Draws the gaze over its picture and the molecule that was read beside it."""
    from .picture import load  # noqa: PLC0415
    from .show import show  # noqa: PLC0415

    _writable(args.output)
    reader = _reader(args)
    source = sys.stdin.buffer.read() if args.file == "-" else args.file
    sheet = load(source, args.page)
    reading = replace(reader.read(source, page=args.page), source=args.file)
    try:
        show(sheet, reading).save(args.output)
    except ValueError as err:
        raise _CommandError(USAGE, f"{args.output}: {_line(err)}") from err
    count = _Count(1)
    for judged in count.judged([reading]):
        if judged.valid:
            print(judged.smiles)
    return count.code


def _score(args: argparse.Namespace) -> int:
    from .score import report, score, table, write_misses  # noqa: PLC0415

    if args.misses is not None:
        if len(args.tables) > 1:
            raise _CommandError(USAGE, "--misses takes one table")
        _writable(args.misses)
    tables = {name: table(name)[: args.limit] for name in args.tables}
    reader = _reader(args)
    count = _Count(sum(map(len, tables.values())), shown=args.progress or sys.stderr.isatty())
    scores: dict[str, Score] = {}
    for name, rows in tables.items():
        scores[name] = score(rows, reader.read, lambda result: count.step(result.exact))
    count.clear()
    if args.json:
        print(json.dumps({name: scored.to_dict() for name, scored in scores.items()}, indent=2))
    else:
        print("\n".join(report(scores)))
    if args.misses is not None:
        write_misses(scores[args.tables[0]], args.misses)
    return 0


def _info(args: argparse.Namespace) -> int:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    from . import picture  # noqa: PLC0415

    facts = {"python": f"{platform.python_version()} on {platform.system()} {platform.machine()}"}
    for package in ("molgaze", "numpy", "pillow", "rdkit", "onnxruntime"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    facts["formats"] = " ".join(picture.FORMATS)
    facts["limits"] = (
        f"{picture.MAX_BYTES // 2**20} MB, {picture.MAX_PIXELS:,} pixels, sides of "
        f"{picture.MIN_SIDE} to {picture.MAX_SIDE:,} pixels and up to {picture.MAX_ASPECT}:1"
    )
    fault = None
    try:
        facts |= _reader(args).info
    except _CommandError as stop:
        fault = stop
    if args.json:
        print(json.dumps(facts, indent=2))
    else:
        wide = max(map(len, facts))
        print("\n".join(f"{name:{wide}}  {value}" for name, value in facts.items()))
    if fault is not None:
        raise fault
    return 0


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


def _with_workers(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """A command whose workers may find that they have no reader."""

    def command(args: argparse.Namespace) -> int:
        from .workers import WorkerError  # noqa: PLC0415

        try:
            return run(args)
        except WorkerError as err:
            raise _CommandError(BROKEN, _line(err)) from err

    return command


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
            raise _CommandError(FAILED, f"{run}: no such run")
    inks = [load(file).at_scale().ink for file in args.check or [WEIGHTS / "check.png"]]
    try:
        export.export(runs, args.output, inks, args.name)
        if args.calibrate:
            slope, shift = export.calibrate(args.output, args.calibrate)
            print(f"confidence: logistic of {slope:.3f} x score + {shift:.3f}")
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


def _format(args: argparse.Namespace) -> Format | None:
    """The format asked for; None for plain lines on standard output."""
    if args.output is None:
        return args.format  # type: ignore[no-any-return]
    _writable(args.output)
    form = args.format or args.output.suffix.lstrip(".").lower()
    if form not in FORMATS:
        raise _CommandError(USAGE, f"{args.output}: choose --format {', '.join(FORMATS)}")
    return form  # type: ignore[no-any-return]


def _writable(path: Path) -> None:
    # Before the work, not after it.
    if path.is_dir():
        raise _CommandError(USAGE, f"{path}: is a folder")
    if not path.parent.is_dir():
        raise _CommandError(USAGE, f"{path.parent}: no such folder")


def _sources(args: argparse.Namespace) -> tuple[list[str], bool]:
    """Paths in the order given, and whether they are one picture that was named as such."""
    names = [*args.files]
    if args.files_from == "-":
        names += _lines(sys.stdin.buffer.read())
    elif args.files_from is not None:
        names += _lines(Path(args.files_from).read_bytes())
    found: list[str] = []
    for name in names:
        if name != "-" and os.path.isdir(name):
            inside = _pictures(name, args.recursive)
            if not inside:
                raise _CommandError(FAILED, f"{name}: no pictures in this folder")
            found += inside
        elif name != "-" and glob.has_magic(name) and not os.path.exists(name):
            found += sorted(glob.glob(name, recursive=True)) or [name]
        else:
            found.append(name)
    if not found:
        raise _CommandError(USAGE, "no pictures given")
    if found.count("-") + (args.files_from == "-") > 1:
        raise _CommandError(USAGE, "standard input can be read only once")
    return found, len(args.files) == 1 and found == names


def _lines(data: bytes) -> list[str]:
    return [name for line in data.split(b"\n") if (name := os.fsdecode(line.rstrip(b"\r")))]


def _pictures(folder: str, recursive: bool) -> list[str]:
    """Files in a folder that are pictures by their suffix, in the order of their names."""
    found: list[str] = []
    for path, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".")) if recursive else []
        found += [
            os.path.join(path, file)
            for file in sorted(files)
            if Path(file).suffix.lower() in SUFFIXES and not file.startswith(".")
        ]
    return found


# ---- standard error -------------------------------------------------------------------------


class _Count:
    """Counts pictures as they are read: failures, progress, interruption."""

    def __init__(self, total: int, quiet: bool = False, shown: bool = False) -> None:
        self.total, self.quiet, self.shown = total, quiet, shown
        self.done = self.exact = self.failed = 0
        self.interrupted = False
        self.told = 0.0

    @property
    def code(self) -> int:
        """The exit code that the pictures so far ask for."""
        return INTERRUPTED if self.interrupted else FAILED if self.failed else 0

    def judged(self, readings: Iterable[Reading], least: float = 0.0) -> Iterator[Reading]:
        """The readings as they come, failures told; an interruption ends them early."""
        try:
            for reading in readings:
                result = _doubted(reading, least) if reading.confidence < least else reading
                if not result.valid:
                    self.failed += 1
                    self.say(f"{result.source}: {_reason(result)}")
                for warning in result.warnings if result.valid else ():
                    self.say(f"{result.source}: {warning}")
                self.step()
                yield result
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            self.clear()

    def step(self, exact: bool = False) -> None:
        """One more picture."""
        self.done += 1
        self.exact += exact
        live = sys.stderr.isatty()
        now = time.monotonic()
        if self.shown and now - self.told > (0.1 if live else 10.0):
            self.told = now
            right = f"  {self.exact / self.done:.1%} exact" if self.exact else ""
            line = f"{self.done}/{self.total}{right}"
            print(f"\r{line}\x1b[K" if live else line, end="" if live else "\n", file=sys.stderr)
            sys.stderr.flush()

    def clear(self) -> None:
        """Take the progress line away."""
        if self.shown and sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """A word on one picture, unless told to be quiet."""
        if not self.quiet:
            self.clear()
            _say(text)


def _doubted(reading: Reading, least: float) -> Reading:
    """The same picture without an answer: what was read is only an alternative."""
    if not reading.smiles:
        return reading
    return replace(
        reading,
        smiles=None,
        cxsmiles=None,
        molfile=None,
        inchikey=None,
        alternatives=((reading.smiles, reading.confidence), *reading.alternatives),
        error=f"confidence {reading.confidence:.2f} is under {least:g}",
        error_type="LowConfidence",
    )


def _reason(reading: Reading) -> str:
    if reading.error:
        return reading.error.removeprefix(f"{reading.source}: ")
    return "cut off at its longest" if reading.finish_reason == "length" else "no molecule"


def _say(text: str) -> None:
    print(f"molgaze: {_plain(text)}", file=sys.stderr)


def _line(err: BaseException) -> str:
    if isinstance(err, OSError) and err.filename is not None and err.strerror:
        return f"{os.fsdecode(err.filename)}: {err.strerror}"
    return next(iter(str(err).strip().splitlines()), type(err).__name__)


def _plain(text: str | None) -> str:
    """One line without control characters, so that no file name can break a row or a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text or "")
