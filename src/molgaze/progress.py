"""A line on standard error that tells how far many pictures are, and how long the rest takes."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

WINDOW = 30.0  # seconds over which the rate is measured
EVERY = 0.2  # seconds between two lines on a terminal
EVERY_IN_A_FILE = 10.0  # seconds between two lines where they stay


class Progress:
    """The share done, the rate of the last half minute, and the time left.

    Args:
        total: how many pictures there are, or what gives them one by one, which is counted aside;
            None if nobody knows, and then there is no bar.
        shown: False for a line that never appears.
    """

    def __init__(self, total: int | Iterable[object] | None, shown: bool = True) -> None:
        self._total: int | None = total if isinstance(total, int) else None
        self._shown, self._live = shown, sys.stderr.isatty()
        self._marks: deque[tuple[float, int]] = deque()
        self._told = 0.0
        self._width = 0  # characters of the line that stands on the terminal
        if shown and total is not None and not isinstance(total, int):
            threading.Thread(target=self._count, args=(total,), daemon=True).start()

    def _count(self, inputs: Iterable[object]) -> None:
        with suppress(Exception):  # what fails here fails in the run, which tells it
            self._total = sum(1 for _ in inputs)

    def __call__(self, done: int, before: int = 0, note: str = "") -> None:
        """Tell how far it is, if it is time to.

        Args:
            done: pictures that are done.
            before: how many of them were done before this run.
            note: what else is to be told of them.
        """
        if not self._shown:
            return
        now = time.monotonic()
        if self._told and now - self._told < (EVERY if self._live else EVERY_IN_A_FILE):
            return
        self._told = now
        line = self.line(done, done - before, now) + note
        if self._live:  # blanks over what is left of a longer line: not all terminals can clear
            print(f"\r{line.ljust(self._width)}", end="", file=sys.stderr, flush=True)
            self._width = len(line)
        else:
            print(line, file=sys.stderr, flush=True)

    def line(self, done: int, fresh: int, now: float) -> str:
        """The text for so many pictures done, so many of them in this run, at a time in seconds."""
        self._marks.append((now, fresh))
        while now - self._marks[0][0] > WINDOW and len(self._marks) > 2:
            self._marks.popleft()
        then, before = self._marks[0]
        rate = (fresh - before) / (now - then) if now > then else 0.0
        if self._total is None:
            return f"{done:,} pictures  {rate:.1f}/s"
        share = min(done / max(self._total, 1), 1.0)
        bar = ("#" * round(20 * share)).ljust(20, "-")
        left = f"  {span((self._total - done) / rate)} left" if rate else ""
        return f"[{bar}] {done:,}/{self._total:,}  {rate:.1f}/s{left}"

    def clear(self) -> None:
        """Take the line away, so that something else can be printed."""
        if self._width:
            print(f"\r{' ' * self._width}\r", end="", file=sys.stderr, flush=True)
            self._width = 0


def span(seconds: float) -> str:
    """A time as it is read: ``0:49``, ``1:01:40``, ``2 days``."""
    minutes, rest = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
