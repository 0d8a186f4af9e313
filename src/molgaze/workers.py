"""Readers in processes of their own: a picture that kills or hangs one costs one reading.

    with Workers(partial(Reader, threads=1), 4) as workers:
        workers.read("scan.png", 0, "scan.png")

Tasks may come from any thread. The processes are started afresh, not forked, and know nothing of
the program that starts them: script, notebook, server and cluster engine are all the same. They are
spoken to through their standard input and output, which every system has.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import IO, Any, Protocol, TypeVar

from .picture import PictureError
from .reading import Reading

TIMEOUT = 60.0  # seconds for one picture
PAGE_TIMES = 5  # as long may a page take, which shows many molecules
START_TIMEOUT = 120.0  # seconds for a worker to load its weights
RECYCLE = 5_000  # pictures after which a worker is replaced, so that no leak can grow

_ENTRY = """
import os, sys
alarm, *sys.path[:] = sys.argv[1:]
tasks, answers = os.dup(0), os.dup(1)
nothing = os.open(os.devnull, os.O_RDWR)
os.dup2(nothing, 0)
os.dup2(nothing, 1)  # what is printed must not get among the answers
from molgaze.workers import work
with open(tasks, "rb") as tasks, open(answers, "wb") as answers:
    work(tasks, answers, float(alarm))
"""
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

Answer = TypeVar("Answer")


class WorkerError(RuntimeError):
    """No reader could be started; the text says why."""


class LostError(RuntimeError):
    """A worker was lost over a task, twice.

    Attributes:
        kind: ``WorkerDied`` or ``TimedOut``.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Reads(Protocol):
    """What a worker needs of its reader."""

    @property
    def info(self) -> dict[str, str]:
        """With the model's name as ``model``."""

    def read(self, source: str | bytes, *, page: int) -> Reading:
        """As :meth:`molgaze.Reader.read`."""

    def read_apart(self, source: str | bytes, *, page: int) -> Iterable[Reading]:
        """As :meth:`molgaze.Reader.read_apart`."""

    def read_together(
        self, pictures: Iterable[tuple[Any, int]], apart: bool
    ) -> Iterable[Sequence[Reading] | Exception]:
        """As :meth:`molgaze.Reader.read_together`."""

    def find(self, source: str | bytes, pages: Iterable[int]) -> Iterable[Reading]:
        """As :meth:`molgaze.Reader.find`."""


Factory = Callable[[], Reads]  # picklable, of a module: called once in every worker
Task = Callable[[Reads], Answer]  # picklable too; must not raise


def read(reader: Reads, source: str, page: int, content: str | bytes) -> Reading:
    """One reading for one picture, whatever happens to it.

    Args:
        reader: of this process.
        source: name of the picture in the result.
        page: of a TIFF, from 1.
        content: a path, or the bytes of a file.
    """
    (found,) = _caught(reader, source, page, lambda: [reader.read(content, page=page)])
    return found


def _first_line(err: BaseException) -> str:
    return next(iter(str(err).strip().splitlines()), type(err).__name__)


def named(reading: Reading, source: str, id: str | None = None) -> Reading:
    """The same, of a picture of this name, and with what a table calls it."""
    said = reading.error
    if said is not None:
        said = f"{source}: {said.removeprefix(f'{reading.source}: ')}"
    return replace(reading, source=source, error=said, id=id)


def read_page(reader: Reads, source: str, page: int, content: str | bytes) -> tuple[Reading, ...]:
    """A reading for each molecule that is drawn on a page, whatever happens to it.

    Args:
        reader: of this process.
        source: name of the document in the results.
        page: its number, from 1.
        content: a path, or the bytes of a file.
    """
    return _caught(reader, source, page, lambda: reader.find(content, [page]))


def read_apart(reader: Reads, source: str, page: int, content: str | bytes) -> tuple[Reading, ...]:
    """A reading for each molecule of a picture, whatever happens to it; arguments as of `read`.

    A picture of one molecule, or of none, gives one.
    """
    return _caught(reader, source, page, lambda: reader.read_apart(content, page=page))


def read_together(
    reader: Reads, pictures: Iterable[tuple[str, int, Any]], apart: bool
) -> Iterator[tuple[Reading, ...]]:
    """The readings of each of some pictures, in their order, whatever happens to it.

    Args:
        reader: of this process.
        pictures: the name of each in the result, its page from 1, and a path or the bytes of a
            file, or whatever else the reader takes.
        apart: as of :meth:`molgaze.Reader.read_together`.
    """
    asked: deque[tuple[str, int]] = deque()

    def contents() -> Iterator[tuple[Any, int]]:
        for source, page, content in pictures:
            asked.append((source, page))
            yield content, page

    for found in reader.read_together(contents(), apart):
        source, page = asked.popleft()
        if isinstance(found, Exception):
            is_fault = not isinstance(found, PictureError)
            model = reader.info.get("model")
            yield (failure(source, page, found, model, fault=is_fault),)
        else:
            yield tuple(named(reading, source) for reading in found)


def _all_together(
    reader: Reads, pictures: Sequence[tuple[str, int, Any]]
) -> list[tuple[Reading, ...]]:
    return list(read_together(reader, pictures, apart=True))


def _caught(
    reader: Reads, source: str, page: int, call: Callable[[], Iterable[Reading]]
) -> tuple[Reading, ...]:
    """What a call of the reader gives, by the source's name; the reading of a failure if it raises.

    Whatever else than a `PictureError` it raises is a fault of the program, and told as one.
    """
    began = time.perf_counter()
    try:
        return tuple(named(found, source) for found in call())
    except Exception as err:
        ms = (time.perf_counter() - began) * 1000
        is_fault = not isinstance(err, PictureError)
        return (failure(source, page, err, reader.info.get("model"), ms, is_fault),)


def failure(
    source: str,
    page: int,
    err: Exception,
    model: str | None = None,
    ms: float | None = None,
    fault: bool = False,
) -> Reading:
    """The row of a picture that could not be read.

    Args:
        source: name of the picture.
        page: of a TIFF, from 1.
        err: why it could not be read.
        model: of the reader that tried.
        ms: how long it tried.
        fault: True if that should not happen, whatever the picture.
    """
    reason = getattr(err, "reason", None) or _first_line(err)
    name = getattr(err, "kind", None) if isinstance(err, LostError) else type(err).__name__
    if fault:
        reason = f"{name}: {reason} (a fault in MolGaze: please report it)"
    said = f"{source}: {reason}"
    return Reading(
        source=source,
        page=page,
        finish_reason="error",
        model=model,
        ms=ms,
        error=said,
        error_type=name,
    )


class Worker:
    """A reader in a process of its own, with one thread; lost and replaced as need be.

    Args:
        factory: makes the reader, in the process.
        timeout: seconds for one task.
    """

    def __init__(self, factory: Factory, timeout: float = TIMEOUT) -> None:
        self._factory, self._timeout = factory, timeout
        self._process: _Process | None = None
        self._answers = 0
        self._closed = False
        self.info: dict[str, str] = {}

    def start(self) -> dict[str, str]:
        """Start the process unless it runs, and return the reader's ``info``.

        Raises:
            WorkerError: it does not start.
        """
        for _ in range(3):
            if self._process is not None:
                break
            self._spawn()
        if self._closed:
            self.stop()
            raise LostError("WorkerDied", "the run was stopped")
        if self._process is None:
            raise WorkerError("a worker died while it started")
        return self.info

    def _spawn(self) -> None:
        self._process = _Process(PAGE_TIMES * self._timeout + 10)
        self._answers = 0
        try:
            self._send(self._factory)
            said = self._receive(START_TIMEOUT)
        except LostError:
            return
        if isinstance(said, str):
            self.stop()
            raise WorkerError(said)
        self.info = said

    def ask(self, task: Task[Answer], times: float = 1.0) -> Answer:
        """The task's answer. One that loses the worker is given to a fresh one, once.

        Args:
            task: what to do.
            times: how many times as long as a picture it may take, up to `PAGE_TIMES`.

        Raises:
            LostError: that one was lost too.
            WorkerError: no process could be started.
        """
        try:
            return self.ask_once(task, times)
        except LostError:
            return self.ask_once(task, times)

    def ask_once(self, task: Task[Answer], times: float = 1.0, pictures: int = 1) -> Answer:
        """As `ask`, for so many pictures, but what loses the worker is not given to another."""
        if self._closed:
            raise LostError("WorkerDied", "the run was stopped")
        if self._answers >= RECYCLE:
            self.stop()
        self.start()
        self._answers += pictures
        self._send(task)
        answer: Answer = self._receive(times * self._timeout)
        return answer

    def _send(self, what: object) -> None:
        assert self._process is not None
        try:
            self._process.send(what)
        except (OSError, ValueError) as err:  # a ValueError of a pipe that was closed meanwhile
            raise self._died() from err

    def _receive(self, timeout: float) -> Any:
        assert self._process is not None
        try:
            return self._process.receive(timeout)
        except EOFError:
            raise self._died() from None
        except TimeoutError:
            self.stop()
            raise LostError("TimedOut", f"timed out after {timeout:g} s") from None

    def _died(self) -> LostError:
        code = self._process.code() if self._process is not None else None
        self.stop()
        return LostError("WorkerDied", f"worker died{_ending(code)}")

    def stop(self) -> None:
        """End the process at once; the next task starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.end()

    def close(self) -> None:
        """End the process for good, from any thread: a task under way is lost."""
        self._closed = True
        process = self._process
        if process is not None:
            process.end()


class _Process:
    """A Python process that gets tasks and gives answers, one after the other.

    Args:
        alarm: seconds for one task, after which the process ends itself.
    """

    def __init__(self, alarm: float) -> None:
        # An interrupt from the keyboard is for the parent alone: the last two arguments see to it,
        # one on Windows and one elsewhere.
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-P", "-c", _ENTRY, str(alarm), *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | _ONE_THREAD,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            start_new_session=True,
        )
        self._said: queue.SimpleQueue[tuple[Any] | None] = queue.SimpleQueue()
        # No system but POSIX can wait for a pipe with a time limit; all can wait for a queue.
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as answers, suppress(Exception):  # the process died while it sent
            while True:
                self._said.put((pickle.load(answers),))
        self._said.put(None)

    def send(self, what: object) -> None:
        """Give it a task.

        Raises:
            OSError: it has ended.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(pickle.dumps(what, pickle.HIGHEST_PROTOCOL))
        self._process.stdin.flush()

    def receive(self, timeout: float) -> Any:
        """Its next answer.

        Args:
            timeout: seconds.

        Raises:
            EOFError: it has ended.
            TimeoutError: there is none in this time.
        """
        try:
            said = self._said.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None
        if said is None:
            raise EOFError
        return said[0]

    def code(self) -> int | None:
        """The exit code of a process that is ending; None if it does not end in five seconds."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(5)
        return None

    def end(self) -> None:
        """End it at once, from any thread."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        with suppress(OSError):  # what it was to be sent cannot be sent any more
            self._process.stdin.close()


def _ending(code: int | None) -> str:
    if code is None:
        return ""
    with suppress(ValueError):
        return f" ({signal.Signals(-code).name})"
    return f" (exit code {code})"


def work(tasks: IO[bytes], answers: IO[bytes], alarm: float) -> None:
    """The life of a worker's process.

    Args:
        tasks: the factory of the reader comes first, then tasks, pickled one after the other.
        answers: the reader's ``info`` goes first, or a text why there is none; then answers.
        alarm: seconds after which a task ends the process, for a parent that can do it no more.
    """

    def answer(what: object) -> None:
        pickle.dump(what, answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()

    with suppress(EOFError, OSError):  # the parent is gone
        try:
            reader: Reads = pickle.load(tasks)()
            info = dict(reader.info)
        except EOFError:
            return
        except Exception as err:
            answer(_first_line(err))
            return
        answer(info)
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            while True:
                task = pickle.load(tasks)
                # Its thread ends the process even when a library holds Python's lock for ever.
                faulthandler.dump_traceback_later(alarm, exit=True, file=nowhere)
                found = task(reader)
                faulthandler.cancel_dump_traceback_later()
                answer(found)


class Workers:
    """Several workers; tasks may be given from any thread and wait for a free one.

    Args:
        factory: makes the reader, in each process.
        number: of processes.
        timeout: seconds for one task.
    """

    def __init__(self, factory: Factory, number: int, timeout: float = TIMEOUT) -> None:
        self._all = [Worker(factory, timeout) for _ in range(number)]
        self._free: queue.LifoQueue[Worker] = queue.LifoQueue()
        for worker in self._all:
            self._free.put(worker)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> dict[str, str]:
        """Start one worker and return its reader's ``info``.

        Raises:
            WorkerError: it does not start.
        """
        return self._with(Worker.start)

    def ask(self, task: Task[Answer], times: float = 1.0) -> Answer:
        """As :meth:`Worker.ask`."""
        return self._with(lambda worker: worker.ask(task, times))

    def _with(self, act: Callable[[Worker], Answer]) -> Answer:
        worker = self._free.get()
        try:
            return act(worker)
        finally:
            self._free.put(worker)

    def read(self, source: str, page: int, content: str | bytes) -> Reading:
        """One reading for one picture, whatever happens to it or to its worker.

        Raises:
            WorkerError: no process could be started.
        """

        task = partial(read, source=source, page=page, content=content)
        found = self._asked(task, source, page)
        return found if isinstance(found, Reading) else found[0]

    def read_apart(self, source: str, page: int, content: str | bytes) -> tuple[Reading, ...]:
        """A reading for each molecule of a picture, whatever happens to it or to its worker.

        Raises:
            WorkerError: no process could be started.
        """
        task = partial(read_apart, source=source, page=page, content=content)
        found = self._asked(task, source, page)
        return (found,) if isinstance(found, Reading) else found

    def read_together(
        self, pictures: Sequence[tuple[str, int, str | bytes]]
    ) -> list[tuple[Reading, ...]]:
        """What `read_apart` gives for each of some pictures, faster than one after another.

        If a worker is lost over them, they are read one by one, so that it costs one picture.

        Args:
            pictures: the arguments of `read_apart` for each. All of them may take the time of one.

        Raises:
            WorkerError: no process could be started.
        """
        if len(pictures) > 1:
            with suppress(LostError):
                task = partial(_all_together, pictures=pictures)
                return self._with(lambda worker: worker.ask_once(task, pictures=len(pictures)))
        return [self.read_apart(*picture) for picture in pictures]

    def read_page(self, source: str, page: int, content: str | bytes) -> tuple[Reading, ...]:
        """A reading for each molecule on a page, whatever happens to it or to its worker.

        Raises:
            WorkerError: no process could be started.
        """
        task = partial(read_page, source=source, page=page, content=content)
        found = self._asked(task, source, page, PAGE_TIMES)
        return (found,) if isinstance(found, Reading) else found

    def _asked(
        self,
        task: Task[Reading | tuple[Reading, ...]],
        source: str,
        page: int,
        times: float = 1.0,
    ) -> Reading | tuple[Reading, ...]:
        """What a worker answers; the reading of a failure if two were lost over it."""

        def act(worker: Worker) -> Reading | tuple[Reading, ...]:
            try:
                return worker.ask(task, times)
            except LostError as lost:
                return failure(source, page, lost, worker.info.get("model"))

        return self._with(act)

    def close(self) -> None:
        """End all processes; tasks under way are lost."""
        for worker in self._all:
            worker.close()
