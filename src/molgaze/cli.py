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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from . import options
from .files import FORMATS, form_of

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
LONG = 200  # characters of a fact that is cut on a terminal
WARNINGS = 3  # of a picture that are told on standard error; tables have them all
DRAWN = (".png", ".jpg", ".jpeg", ".svg", ".pdf", ".html")  # suffixes that read does not write
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
        args = options.parser(given, _fill).parse_args(given)
        run_it = _COMMANDS[args.command] if isinstance(args.command, str) else args.command
        return int(run_it(args))
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


# ---- the commands ---------------------------------------------------------------------------


def _read(args: argparse.Namespace) -> int:
    from .files import text, write  # noqa: PLC0415
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
                row = f"{reading.title}\t{reading.smiles}\t{reading.confidence:.3f}"
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


def _mcp(args: argparse.Namespace) -> int:
    for folder in args.folder or ():
        if not folder.is_dir():
            raise _CommandError(USAGE, f"--folder {folder}: there is no such folder")
    server = _extra("mcp", ".mcp")
    server.server(_reader(args), args.folder or [Path.cwd()]).run("stdio")
    return 0


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

    from . import formats, inputs, picture  # noqa: PLC0415
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
    more = filter(formats.can_open, formats.SUFFIXES)  # those of extras that are installed
    facts["suffixes"] = [*inputs.PICTURES, *inputs.DOCUMENTS, *more]
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
    if isinstance(value, str) and len(value) > LONG:  # numbers of the network; JSON has them
        return f"{value[:20]}... ({len(value):,} characters)"
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


def _fill(command: str, line: argparse.ArgumentParser) -> None:
    """Add the options of a command of training."""
    if command == "train":
        from .train.options import add_options  # noqa: PLC0415  reads a file

        add_options(line, "fit")
    else:
        from .train.i2s.options import options as add  # noqa: PLC0415  without what training needs

        add(line)


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "read": _read,
    "show": _show,
    "score": _score,
    "info": _info,
    "check": _check,
    "batch": _batch,
    "serve": _serve,
    "mcp": _mcp,
    "train": _train,
    "export": _export,
}


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
        raise _CommandError(USAGE, "no pictures given: name files, folders, archives or tables")
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
        known = ", ".join(FORMATS)
        more = "; molgaze show draws pictures" if args.output.suffix.lower() in DRAWN else ""
        raise _CommandError(
            USAGE, f"{args.output}: its suffix is no format: choose --format {known}{more}"
        )
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
        if not self._quiet:
            self._bar.clear()
            _say(f"{reading.title}: {text}")

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
