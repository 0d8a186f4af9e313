"""Many pictures: what is to be read, who reads it, what was read, and the tables at the end.

Every picture becomes one row of a journal, in whatever order it is done; the tables are made from
the journal, in the order of the inputs, when all is read. Killed at any moment, the same call goes
on where the journal ends, and its tables are those of a run that nothing disturbed.

    batch(Inputs(["scans", "crops.tar"]), [Path("out.csv")], partial(Reader, threads=1))
"""

from __future__ import annotations

import argparse
import io
import json
import os
import queue
import re
import signal
import sys
import threading
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from filelock import BaseFileLock, FileLock, Timeout

from .cores import cores
from .files import TABLES, arrow, clear_drafts, form_of, row, write
from .inputs import TIFFS, Inputs, Item, tiff_pages
from .reader import Reader
from .reading import Reading
from .workers import TIMEOUT, Factory, Workers, failure

SYNC = 64  # rows between two calls of fsync
JOURNAL = 2  # version of the format
UNLUCKY = ("WorkerDied", "TimedOut")  # rows that may do better another time


class JournalError(ValueError):
    """A journal that is of something else, or that another run is writing."""


# ---- what was read --------------------------------------------------------------------------

_ROW = re.compile(rb'\{"key": "([0-9a-f]{32})", ')


class Journal:
    """An append-only file of rows, JSON a line; the first line says what makes the others.

    Args:
        path: made if it does not exist; what a kill left torn at its end is cut off.
        restart: throw away what it holds.

    Raises:
        JournalError: another run has it open, or it is a file of something else.
    """

    def __init__(self, path: str | os.PathLike[str], restart: bool = False) -> None:
        self.path = Path(path)
        self._unsynced = 0
        self._lock = _locked(self.path)
        way = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        try:
            self._fd = os.open(self.path, way, 0o666)
            self._rows = open(self.path, "rb")  # noqa: SIM115  closed by close()
        except BaseException:
            self._lock.release()
            raise
        self.header: dict[str, Any] | None = None
        try:
            with open(self.path, "rb") as file:
                self._check_header(file.readline())
            if restart:
                self.header = None
                os.ftruncate(self._fd, 0)
            self._keys, self._offsets, self._end = self._scan(())
        except BaseException:
            self.close()
            raise

    def _scan(self, forgotten: Sequence[str]) -> tuple[Any, Any, int]:
        """Keys and offsets of the rows, by key; and where the last whole line ends."""
        left_out = [f'"error_type": "{name}"'.encode() for name in forgotten]
        keys, offsets, end = bytearray(), array("q"), 0
        self._rows.seek(0)
        for line in self._rows:
            if not line.endswith(b"\n"):
                break
            match = _ROW.match(line)
            if match and line.endswith(b"}\n") and not any(text in line for text in left_out):
                keys += bytes.fromhex(match[1].decode())
                offsets.append(end)
            end += len(line)
        os.ftruncate(self._fd, end)
        found = np.frombuffer(keys, "S16") if keys else np.empty(0, "S16")
        order = np.argsort(found, kind="stable")
        return found[order], np.array(offsets, np.int64)[order], end

    def _check_header(self, line: bytes) -> None:
        start = b'{"molgaze": '
        with suppress(ValueError):
            if line.startswith(start):
                self.header = json.loads(line)["molgaze"] if line.endswith(b"\n") else None
                return
        if not (start.startswith(line) and len(line) < len(start)):
            raise JournalError(f"{self.path}: this file is no journal of MolGaze")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Bring all rows to the disk and let others have the journal."""
        self._rows.close()
        os.fsync(self._fd)
        os.close(self._fd)
        self._lock.release()

    def begin(self, header: dict[str, Any], forgotten: Sequence[str] = ()) -> None:
        """Write the header, or compare it with the one that is there.

        Args:
            header: what the rows depend on.
            forgotten: error types whose rows count as not there.

        Raises:
            JournalError: the rows were made otherwise.
        """
        if self.header is None:
            self._append(json.dumps({"molgaze": header}).encode() + b"\n")
            self.header = header
        elif self.header != header:
            names = sorted({*header, *self.header})
            told = (
                f"{n} {self.header.get(n)!r} and now {header.get(n)!r}"
                for n in names
                if header.get(n) != self.header.get(n)
            )
            raise JournalError(
                f"{self.path}: its rows were made with {'; '.join(told)}: "
                "use the same again, another journal, or --restart"
            )
        elif forgotten:
            self._keys, self._offsets, self._end = self._scan(forgotten)

    def __len__(self) -> int:
        return len(self._offsets)

    def find(self, key: bytes) -> int | None:
        """Offset of the last row of a picture that was there when the journal was opened."""
        # numpy compares without zeros at the end, on both sides alike
        at = int(np.searchsorted(self._keys, key, side="right")) - 1
        if at < 0 or self._keys[at] != key.rstrip(b"\0"):
            return None
        return int(self._offsets[at])

    def add(self, key: bytes, reading: Reading) -> int:
        """Append a row; its offset.

        Raises:
            OSError: no space, for one; the journal is as it was before.
        """
        line = json.dumps({"key": key.hex(), **row(reading)}, allow_nan=False)
        return self._append(line.encode("ascii") + b"\n")

    def _append(self, line: bytes) -> int:
        offset, left = self._end, memoryview(line)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError:
            os.ftruncate(self._fd, offset)
            raise
        self._end += len(line)
        self._unsynced += 1
        if self._unsynced >= SYNC:
            os.fsync(self._fd)
            self._unsynced = 0
        return offset

    def at(self, offset: int) -> Reading:
        """The reading of the row there.

        Raises:
            JournalError: the row is damaged.
        """
        self._rows.seek(offset)
        try:
            kept = json.loads(self._rows.readline())
            del kept["key"]
            return Reading.from_dict(kept)
        except (ValueError, KeyError, TypeError) as err:
            raise JournalError(f"{self.path}: damaged at byte {offset}: use --restart") from err


def _locked(path: Path) -> BaseFileLock:
    """A lock on a journal, held in a file beside it; none where the file system has no locks.

    Raises:
        JournalError: another run holds it.
    """
    lock = FileLock(f"{path}.lock", timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise JournalError(f"{path}: another run is writing this journal") from None
    except (OSError, NotImplementedError):
        pass  # a file system without locks, or a folder that opening the journal complains of
    return lock


# ---- for engines of clusters ----------------------------------------------------------------


def read_rows(
    pictures: Iterable[tuple[str, bytes | Exception]], workers: Workers
) -> Iterator[dict[str, Any]]:
    """Rows of pictures, those that cannot be read among them; one for each page of a TIFF.

    Args:
        pictures: names, and contents or why there are none.
        workers: of this task; one will do.

    Raises:
        WorkerError: no reader could be started.
    """
    for source, content in pictures:
        if isinstance(content, Exception):
            yield row(failure(source, 1, content))
            continue
        number = tiff_pages(io.BytesIO(content)) if source.lower().endswith(TIFFS) else 1
        for page in range(1, number + 1):
            yield row(workers.read(source, page, content))


# ---- the run --------------------------------------------------------------------------------


@dataclass(slots=True)
class Summary:
    """What a run did.

    Attributes:
        pictures: rows of the tables.
        resumed: of these, rows that were in the journal before.
        failures: type of error -> rows; ``no molecule`` and ``length`` count as such.
        stopped: the signal that ended it early, or 0; then no table was written.
        seconds: of this run.
    """

    pictures: int = 0
    resumed: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    stopped: int = 0
    seconds: float = 0.0

    def counted(self, reading: Reading) -> Reading:
        """The reading, counted among the failures if it is one."""
        if not reading.smiles or reading.finish_reason != "end":
            self.failures[reading.error_type or reading.finish_reason] += 1
        return reading


def batch(
    inputs: Inputs | Iterable[Item],
    outputs: Sequence[str | os.PathLike[str]],
    factory: Factory,
    *,
    journal: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    timeout: float = TIMEOUT,
    settings: dict[str, Any] | None = None,
    restart: bool = False,
    retry: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Summary:
    """Read many pictures into tables.

    Args:
        inputs: the pictures; must give the same in the same order when the run is repeated.
        outputs: tables by suffix: csv, sdf, smi, jsonl, parquet; each appears whole or not at all.
        factory: makes a worker's reader; picklable.
        journal: by default the first output with ``.journal`` after it.
        workers: processes; one a core by default.
        timeout: seconds for one picture.
        settings: of the reader, kept in the journal: others refuse to go on with it.
        restart: throw away the journal that is there.
        retry: read again what killed a worker or took too long.
        progress: called with the number of pictures done and how many of them were there before.

    Raises:
        JournalError: the journal is another run's, or was made with other weights or settings.
        WorkerError: no reader could be started.
        OSError: a file cannot be written; the journal is whole.
    """
    targets = [Path(o) for o in outputs]
    check_outputs(targets, journal)
    began = time.monotonic()
    summary = Summary()
    number = workers or cores()
    log = Journal(journal or f"{targets[0]}.journal", restart)
    with log, Workers(factory, number, timeout) as pool, _Stop() as stop:
        header = {"journal": JOURNAL, **header_of(pool.start()["model"], settings)}
        log.begin(header, UNLUCKY if retry else ())
        rows = _read_all(inputs, log, pool, number, stop, summary, progress or (lambda *_: 0))
        summary.pictures = len(rows)
        summary.stopped = stop.signal
        if not stop.signal:
            _write_tables(targets, log, rows, header, summary)
    summary.seconds = time.monotonic() - began
    return summary


def header_of(model: str, settings: dict[str, Any] | None) -> dict[str, Any]:
    """All that rows depend on beside their pictures."""
    versions = {package: _version(package) for package in ("molgaze", "rdkit")}
    return {**versions, "model": model, "settings": settings or {}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def check_outputs(targets: Sequence[Path], journal: str | os.PathLike[str] | None = None) -> None:
    """Before the work, not after it.

    Raises:
        ValueError: a table of unknown format, or that cannot be written where it is wanted.
        ImportError: parquet without pyarrow.
    """
    if not targets and journal is None:
        raise ValueError("an output or a journal is needed")
    for target in targets:
        if form_of(target) not in TABLES:
            raise ValueError(f"{target}: the formats are .{', .'.join(TABLES)}")
        if target.is_dir() or not target.parent.is_dir():
            raise ValueError(f"{target}: {'is a' if target.is_dir() else 'no such'} folder")
        if journal is not None and target.absolute() == Path(journal).absolute():
            raise ValueError(f"{target}: cannot be the journal too")
        if form_of(target) == "parquet":
            arrow()


def _read_all(
    items: Iterable[Item],
    log: Journal,
    pool: Workers,
    number: int,
    stop: _Stop,
    summary: Summary,
    progress: Callable[[int, int], object],
) -> array[int]:
    """Read what the journal does not hold; the offsets of all rows in the order of the inputs."""
    rows = array("q")
    done: queue.SimpleQueue[tuple[int, bytes, Reading | BaseException]] = queue.SimpleQueue()
    under_way = 0

    def work(place: int, key: bytes, item: Item, content: str | bytes) -> None:
        try:
            done.put((place, key, pool.read(item.source, item.page, content)))
        except BaseException as err:
            done.put((place, key, err))

    def keep() -> None:
        nonlocal under_way
        place, key, reading = done.get()
        if not isinstance(reading, Reading):
            raise reading
        rows[place] = log.add(key, reading)
        under_way -= 1

    threads = ThreadPoolExecutor(number)
    try:
        for item in items:
            if stop.signal:
                break
            key = item.key
            offset = log.find(key)
            if offset is not None:
                rows.append(offset)
                summary.resumed += 1
            else:
                rows.append(-1)
                under_way += 1
                try:
                    content = item.load()
                except Exception as err:
                    done.put((len(rows) - 1, key, failure(item.source, item.page, err)))
                else:
                    threads.submit(work, len(rows) - 1, key, item, content)
            while under_way >= 2 * number or not done.empty():
                keep()
            progress(len(rows) - under_way, summary.resumed)
        while under_way:
            keep()
            progress(len(rows) - under_way, summary.resumed)
    finally:
        pool.close()
        threads.shutdown(cancel_futures=True)
    return rows


class _Stop:
    """While it lasts, a first SIGINT or SIGTERM is only noted, and a second one interrupts."""

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number


def _write_tables(
    targets: Sequence[Path],
    log: Journal,
    rows: array[int],
    header: dict[str, Any],
    summary: Summary,
) -> None:
    counted = map(summary.counted, map(log.at, rows))
    for target in targets:
        clear_drafts(target)
        write(counted, target, header=header)
        counted = map(log.at, rows)
    if not targets:
        deque(counted, 0)


# ---- the command ----------------------------------------------------------------------------


def options(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``molgaze batch``, beside those of every reader."""
    parser.add_argument(
        "files", nargs="*", metavar="INPUT", help="picture, folder, glob, ZIP, TAR, Parquet, Arrow"
    )
    parser.add_argument("--files-from", metavar="LIST", help="a file of inputs, one a line")
    parser.add_argument("-r", "--recursive", action="store_true", help="folders in folders too")
    parser.add_argument("--column", metavar="NAME", help="of a table: where the bytes are")
    parser.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="OUT",
        help="." + " .".join(TABLES) + "; may be given several times",
    )
    parser.add_argument("--journal", type=Path, metavar="FILE", help="default: OUT.journal")
    parser.add_argument("--workers", type=int, metavar="N", help="processes; default: one a core")
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT, metavar="S", help="for a picture; %(default)g s"
    )
    parser.add_argument("--restart", action="store_true", help="throw the journal away")
    parser.add_argument(
        "--retry", action="store_true", help="read again what killed a worker or timed out"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no word but of faults")
    parser.add_argument("--no-progress", action="store_true")
    group = parser.add_argument_group("cluster (extra: ray)")
    group.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="ray: OUT is a folder or URI"
    )
    group.add_argument("--gpus", type=float, default=0.0, metavar="F", help="of a worker")


def run(args: argparse.Namespace) -> int:
    """``molgaze batch``.

    Returns:
        0 all read, 1 some not, 128 + the signal that stopped it.

    Raises:
        ValueError: no inputs or outputs, or a journal that does not fit.
        OSError: a file cannot be read or written.
        WorkerError: no reader could be started.
        ImportError: an extra is missing.
    """
    if not args.files and args.files_from is None:
        raise ValueError("no inputs given")
    if args.workers is not None and args.workers < 1:
        raise ValueError("--workers: at least 1")
    if not args.timeout > 0:
        raise ValueError("--timeout: more than 0")
    if args.files_from is not None and not os.path.isfile(args.files_from):
        raise ValueError(f"{args.files_from}: no such file")
    inputs = Inputs(args.files, args.files_from, args.recursive, args.column)
    factory: Any = partial(
        Reader, args.weights, device=args.device, threads=args.threads or 1, beam=args.beam
    )
    if args.engine == "ray":
        from .batch_ray import run as run_on_ray  # noqa: PLC0415

        run_on_ray(args, factory)
        return 0
    shown = sys.stderr.isatty() and not (args.quiet or args.no_progress)
    bar = _Bar(inputs) if shown else None
    try:
        summary = batch(
            inputs,
            args.output,
            factory,
            journal=args.journal,
            workers=args.workers,
            timeout=args.timeout,
            settings={"beam": args.beam},
            restart=args.restart,
            retry=args.retry,
            progress=bar,
        )
    finally:
        if bar is not None:
            bar.clear()
    if not args.quiet:
        print(f"molgaze: {told(summary)}", file=sys.stderr)
    if summary.stopped:
        return 128 + summary.stopped
    return 1 if summary.failures else 0


def told(summary: Summary) -> str:
    """The run in one line."""
    fresh = summary.pictures - summary.resumed
    parts = [f"{summary.pictures:,} pictures"]
    if summary.resumed:
        parts.append(f"{summary.resumed:,} of them in the journal before")
    if summary.failures:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in summary.failures.most_common())
        parts.append(f"{summary.failures.total():,} not read ({kinds})")
    if fresh:
        parts.append(f"{fresh / max(summary.seconds, 1e-9):.1f} a second")
    if summary.stopped:
        parts.append("stopped: the same command goes on from here")
    return "; ".join(parts)


class _Bar:
    """A line with the share done, the rate of the last half minute, and the time left."""

    def __init__(self, inputs: Iterable[object]) -> None:
        self._total: int | None = None
        self._marks: deque[tuple[float, int]] = deque()
        self._shown = 0.0
        threading.Thread(target=self._count, args=(inputs,), daemon=True).start()

    def _count(self, inputs: Iterable[object]) -> None:
        with suppress(Exception):  # what fails here fails in the run, which tells it
            self._total = sum(1 for _ in inputs)

    def __call__(self, done: int, resumed: int) -> None:
        now = time.monotonic()
        if now - self._shown < 0.2:
            return
        self._shown = now
        line = self.line(done, done - resumed, now)
        print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)

    def line(self, done: int, fresh: int, now: float) -> str:
        """The text for so many pictures done, so many of them in this run."""
        self._marks.append((now, fresh))
        while now - self._marks[0][0] > 30 and len(self._marks) > 2:
            self._marks.popleft()
        then, before = self._marks[0]
        rate = (fresh - before) / (now - then) if now > then else 0.0
        if self._total is None:
            return f"{done:,} pictures  {rate:.1f}/s"
        share = done / max(self._total, 1)
        bar = ("#" * round(20 * share)).ljust(20, "-")
        left = f"  {_span((self._total - done) / rate)} left" if rate else ""
        return f"[{bar}] {done:,}/{self._total:,}  {rate:.1f}/s{left}"

    def clear(self) -> None:
        """Take the line away."""
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
