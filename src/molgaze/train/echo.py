"""Learning from a batch again while the next is still being drawn.

A GPU learns from pictures faster than processors draw them. Instead of waiting it learns once more
from batches that it has had, which is known as data echoing: noise, dropout and the weights are
not the same as the first time.
"""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

LEAST = 8  # batches that must be at hand before one is repeated
MOST = 200  # batches that are kept; the oldest goes as a new one comes
AHEAD = 4  # new batches that wait


def echoed(
    batches: Iterable[T], uses: int, seed: int, placed: Callable[[T], T]
) -> Iterator[tuple[T, bool]]:
    """The batches, each new one as soon as it is there, and in between earlier ones again.

    Args:
        batches: endless; what makes them works in other processes.
        uses: how often a batch is learnt from, at most; with 1 nothing is repeated.
        seed: of the choice of what is repeated.
        placed: brings a batch to where it is learnt from.

    Yields:
        A batch, and whether it is new.

    Raises:
        Exception: what the batches raised.
    """
    if uses <= 1:
        for batch in batches:
            yield placed(batch), True
        return
    dice = random.Random(seed)
    fresh: queue.Queue[T | Exception] = queue.Queue(AHEAD)
    over = threading.Event()

    def put(what: T | Exception) -> None:
        while not over.is_set():
            try:
                fresh.put(what, timeout=0.2)
                return
            except queue.Full:
                pass

    def fetch() -> None:
        try:
            for batch in batches:
                put(placed(batch))
                if over.is_set():
                    return
        except Exception as err:
            put(err)

    fetching = threading.Thread(target=fetch, daemon=True)
    fetching.start()
    kept: list[tuple[T, int]] = []  # batches, and how often each may still be learnt from
    try:
        while True:
            try:
                new = fresh.get(block=len(kept) < LEAST)
            except queue.Empty:
                i = dice.randrange(len(kept))
                batch, left = kept[i]
                if left > 1:
                    kept[i] = (batch, left - 1)
                else:
                    kept[i] = kept[-1]
                    kept.pop()
                yield batch, False
                continue
            if isinstance(new, Exception):
                raise new
            if len(kept) == MOST:
                kept.pop(0)
            kept.append((new, uses - 1))
            yield new, True
    finally:
        over.set()
        fetching.join()
