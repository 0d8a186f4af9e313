"""Many pictures: what is to be read, who reads it, what was read, and the tables at the end.

Every picture becomes one row of a journal, in whatever order it is done; the tables are made from
the journal, in the order of the inputs, when all is read. Killed at any moment, the same call goes
on where the journal ends, and its tables are those of a run that nothing disturbed.

    batch(Inputs(["scans", "crops.tar"]), [Path("out.csv")], partial(Reader, threads=1))
"""

from __future__ import annotations

import io
import json
import os
import queue
import re
import signal
import threading
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from filelock import BaseFileLock, FileLock, Timeout

from .cores import cores
from .document import Document, is_pdf, tiff_pages
from .files import TABLES, answered, arrow, clear_drafts, form_of, row, write
from .inputs import TIFFS, Inputs, Item
from .reading import MIN_CONFIDENCE, Reading
from .workers import TIMEOUT, Factory, Workers, failure

GROUP = 12  # pictures that a worker reads together
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

    def add(self, key: bytes, *readings: Reading) -> int:
        """Append a row with the readings of all molecules of a picture or page; its offset.

        Raises:
            OSError: no space, for one; the journal is as it was before.
        """
        kept = row(readings[0]) if len(readings) == 1 else {"drawings": [*map(row, readings)]}
        line = json.dumps({"key": key.hex(), **kept}, allow_nan=False)
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

    def at(self, offset: int) -> list[Reading]:
        """The readings of the row there: most often one of a picture, any number of a page.

        Raises:
            JournalError: the row is damaged.
        """
        self._rows.seek(offset)
        try:
            kept = json.loads(self._rows.readline())
            del kept["key"]
            return [Reading.from_dict(one) for one in kept.get("drawings", [kept])]
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
    pictures: Iterable[tuple[Any, ...]], workers: Workers, least: float = MIN_CONFIDENCE
) -> Iterator[dict[str, Any]]:
    """Rows of pictures, those that cannot be read among them; one for each page of a TIFF, and one
    for each molecule that is drawn in a PDF.

    Args:
        pictures: names, contents or the error why there are none, and ids if there are any.
        workers: of this task; one will do.
        least: confidence under which rows are marked to be looked at.

    Raises:
        WorkerError: no reader could be started.
    """
    for source, content, *ids in pictures:
        id = ids[0] if ids else None
        read, number = workers.read_apart, 1
        try:
            if isinstance(content, Exception):
                raise content
            if is_pdf(content[:1024]):
                read = workers.read_page
                with Document(content) as document:
                    number = len(document)
            elif source.lower().endswith(TIFFS):
                number = tiff_pages(io.BytesIO(content), source)
        except Exception as err:
            yield row(replace(failure(source, 1, err), id=id))
            continue
        for page in range(1, number + 1):
            for found in read(source, page, content):
                yield row(replace(found, id=id).judged(least))


# ---- the run --------------------------------------------------------------------------------


@dataclass(slots=True)
class Summary:
    """What a run did.

    Attributes:
        pictures: pictures and pages of documents that were read.
        rows: of the tables: one for each molecule of a picture or page, or why it was not read.
        resumed: of these, rows that were in the journal before.
        failures: type of error -> rows; ``no molecule`` and ``length`` count as such.
        review: rows that were read, but not surely enough.
        stopped: the signal that ended it early, or 0; then no table was written.
        seconds: of this run.
    """

    pictures: int = 0
    rows: int = 0
    resumed: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    review: int = 0
    stopped: int = 0
    seconds: float = 0.0

    def counted(self, reading: Reading, told: Callable[[Reading], object] | None = None) -> Reading:
        """The reading, counted and told of if it is a failure or to be looked at."""
        failed = not reading.smiles or reading.finish_reason != "end"
        if failed:
            self.failures[reading.error_type or reading.finish_reason] += 1
        self.rows += 1
        self.review += reading.review and not failed
        if told is not None and (failed or reading.review):
            told(reading)
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
    least: float = MIN_CONFIDENCE,
    told: Callable[[Reading], object] | None = None,
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
        least: confidence under which rows are marked to be looked at.
        told: called with each reading that failed or is to be looked at, when tables are made.
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
            write_tables(
                targets,
                lambda: (
                    answered(reading).judged(least) for offset in rows for reading in log.at(offset)
                ),
                lambda reading: summary.counted(reading, told),
                header,
            )
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
        raise ValueError("an output or a journal is needed: give -o OUT.csv, or --journal FILE")
    for target in targets:
        if form_of(target) not in TABLES:
            raise ValueError(f"{target}: the formats are .{', .'.join(TABLES)}")
        if target.is_dir() or not target.parent.is_dir():
            raise ValueError(f"{target}: {'is a' if target.is_dir() else 'no such'} folder")
        if journal is not None and target.absolute() == Path(journal).absolute():
            raise ValueError(f"{target}: cannot be the journal too")
        if form_of(target) == "parquet":
            arrow()


Found = tuple[Reading, ...]  # of all molecules of a picture or of a page


def _read_all(
    items: Iterable[Item],
    log: Journal,
    pool: Workers,
    number: int,
    stop: _Stop,
    summary: Summary,
    progress: Callable[[int, int], object],
) -> array[int]:
    """Read what the journal does not hold; the offsets of all rows in the order of the inputs.

    Pictures are given to workers in groups, which are read together; as long as a worker has
    nothing to do, a group is what there is.
    """
    rows = array("q")
    done: queue.SimpleQueue[list[tuple[int, bytes, Found]] | BaseException] = queue.SimpleQueue()
    group: list[tuple[int, bytes, Item, str | bytes]] = []
    running = under_way = 0  # groups and pictures

    def work(given: list[tuple[int, bytes, Item, str | bytes]]) -> None:
        try:
            if given[0][2].is_page:
                ((_, _, item, content),) = given
                found = [pool.read_page(item.source, item.page, content)]
            else:
                found = pool.read_together([(i.source, i.page, c) for _, _, i, c in given])
            done.put(
                [
                    (place, key, tuple(replace(reading, id=item.id) for reading in readings))
                    for (place, key, item, _), readings in zip(given, found, strict=True)
                ]
            )
        except BaseException as err:
            done.put(err)

    def submit(given: list[tuple[int, bytes, Item, str | bytes]]) -> None:
        nonlocal running
        running += 1
        threads.submit(work, given)

    def keep() -> None:
        nonlocal running, under_way
        found = done.get()
        running -= 1
        if isinstance(found, BaseException):
            raise found
        for place, key, readings in found:
            rows[place] = log.add(key, *readings)
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
                    found = replace(failure(item.source, item.page, err), id=item.id)
                    running += 1
                    done.put([(len(rows) - 1, key, (found,))])
                else:
                    one = (len(rows) - 1, key, item, content)
                    if item.is_page:
                        submit([one])
                    else:
                        group.append(one)
            if group and (len(group) == GROUP or running < number):
                submit(group)
                group = []
            while running >= 2 * number or not done.empty():
                keep()
            progress(len(rows) - under_way, summary.resumed)
        if group:
            submit(group)
        while running:
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


def write_tables(
    targets: Sequence[Path],
    readings: Callable[[], Iterable[Reading]],
    counted: Callable[[Reading], Reading],
    header: dict[str, Any],
) -> None:
    """Write the tables of a run, and count its readings once.

    Args:
        targets: tables by suffix.
        readings: gives all of them, in order, each time that it is called.
        counted: called with each of them once.
        header: kept in Parquet files.
    """
    found: Iterable[Reading] = map(counted, readings())
    for target in targets:
        clear_drafts(target)
        write(found, target, header=header)
        found = readings()
    if not targets:
        deque(found, 0)
