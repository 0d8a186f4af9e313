"""A batch is learnt from again while the next is still being drawn."""

import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

pytest.importorskip("torch")

from molgaze.train.echo import LEAST, echoed


def slow(count: int, gap: float) -> Iterator[int]:
    """So many batches, each after a wait of some seconds once there are enough to repeat."""
    for i in range(count):
        if i >= LEAST:
            time.sleep(gap)
        yield i
    raise ValueError("no more is drawn")


def read(batches: Iterator[tuple[int, bool]], gap: float) -> list[tuple[int, bool]]:
    """What comes until it ends with an error, each after a wait of some seconds."""
    found = []

    def collect() -> None:
        for pair in batches:
            found.append(pair)
            time.sleep(gap)

    with pytest.raises(ValueError, match="no more is drawn"):
        collect()
    return found


def test_nothing_is_repeated_unless_it_is_asked_for() -> None:
    found = read(echoed(slow(12, 0), 1, 0, lambda b: 10 * b), 0)
    assert found == [(10 * i, True) for i in range(12)]


def test_earlier_batches_fill_the_wait() -> None:
    found = read(echoed(slow(30, 0.02), 4, 0, lambda b: b), 0.001)
    new = [batch for batch, is_new in found if is_new]
    again = Counter(batch for batch, is_new in found if not is_new)
    assert new == list(range(30))  # each new one once, in order
    assert sum(again.values()) > 20
    assert max(again.values()) <= 3


def test_it_ends_with_its_reader() -> None:
    before = threading.active_count()
    batches = echoed(slow(10_000, 0), 3, 0, lambda b: b)
    assert next(batches)[1]
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
