"""Many pictures for Python: read one after another, or in several processes, in their order.

for reading in read_series(reader, factory, ["a.png", "scans", array], workers=4):
    print(reading)
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
from PIL import Image

from .inputs import DOCUMENTS, STANDARD_INPUT, Inputs, Item
from .picture import Source, name_of, read_file
from .progress import Progress
from .reading import Reading
from .workers import TIMEOUT, Factory, Reads, Workers, failure, named, read_page, read_together

Sources = str | os.PathLike[str] | Iterable[Source]

ONE = (
    "read_many takes a list of pictures, or the path of a folder, an archive, a table or a PDF; "
    "for one picture there is read"
)


def read_series(
    reader: Reads,
    factory: Factory,
    sources: Sources,
    *,
    page: int | None = None,
    recursive: bool = False,
    apart: bool = False,
    workers: int | None = None,
    timeout: float = TIMEOUT,
    progress: bool = False,
) -> Iterator[Reading]:
    """The readings of many pictures, in their order; arguments as of :meth:`Reader.read_many`.

    Args:
        reader: of this process.
        factory: makes the reader of a worker's process; picklable.

    Raises:
        TypeError: one picture instead of several.
        ValueError: a number of workers or of a page that is less than 1, or no time.
        WorkerError: raised when the readings are taken: no process could be started.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if page is not None and page < 1:
        raise ValueError(f"pages count from 1, got {page}")
    if not timeout > 0:
        raise ValueError(f"timeout must be more than 0 seconds, got {timeout:g}")
    several = _several(sources)
    pages = None if page is None else (page, page)

    def items() -> Iterator[Item]:
        for source in several:
            yield from _items(source, pages, recursive)

    counted = None if isinstance(several, Iterator) else items()
    bar = Progress(counted, progress)
    if workers is None:
        found = _here(reader, items(), apart)
    else:
        found = _in_workers(factory, items(), apart, workers, timeout)
    return _told(found, bar)


def _several(sources: Sources) -> Iterable[Source]:
    """The sources one by one; a path stands for all that it holds."""
    if isinstance(sources, str | os.PathLike):
        name = os.fsdecode(sources)
        if Inputs([name]).is_one_file and not name.lower().endswith(DOCUMENTS):
            there = "" if os.path.exists(name) else ", and there is no such file or folder"
            raise TypeError(f"{ONE}{there}: {name_of(name)}")
        return [name]
    is_one = isinstance(sources, bytes | bytearray | memoryview | Image.Image)
    if isinstance(sources, np.ndarray):
        is_one = sources.ndim < 3 or (sources.ndim == 3 and sources.shape[2] in (1, 3, 4))
    if is_one or hasattr(sources, "read"):
        raise TypeError(ONE)
    if not isinstance(sources, Iterable):
        raise TypeError(f"{ONE}; got {type(sources).__name__}")
    return sources


def _items(source: Source, pages: tuple[int, int] | None, recursive: bool) -> Iterator[Item]:
    """The pictures and pages that one source holds."""
    if isinstance(source, str | os.PathLike):
        yield from Inputs([os.fsdecode(source)], recursive=recursive, pages=pages)
        return
    page = pages[0] if pages else 1
    name = name_of(source)

    def load() -> Any:
        return source

    if isinstance(source, np.ndarray | Image.Image):
        yield Item(name, page, "", load)
        return
    try:
        given = source if isinstance(source, bytes | bytearray | memoryview) else None
        data = bytes(given) if given is not None else read_file(source, name)  # type: ignore[arg-type]
    except Exception as err:  # whatever an open file or a wrong type makes of it
        yield Item(name, page, "", partial(_raise, err))
        return
    for item in Inputs([STANDARD_INPUT], standard_input=data, pages=pages):
        yield replace(item, source=name)


def _raise(err: Exception) -> str:
    raise err


def _told(found: Generator[tuple[Reading, ...], None, None], bar: Progress) -> Iterator[Reading]:
    """The readings of all pictures, while the line of progress is drawn."""
    try:
        for done, readings in enumerate(found, 1):
            bar(done)
            yield from readings
    finally:
        bar.clear()
        found.close()  # it may hold processes


def _here(
    reader: Reads, items: Iterator[Item], apart: bool
) -> Generator[tuple[Reading, ...], None, None]:
    """The readings of each picture, in this process; pictures are read several at a time."""
    model = reader.info.get("model")
    with_contents = ((item, _content(item, model)) for item in items)
    for is_picture, group in groupby(
        with_contents, lambda one: not one[0].is_page and not isinstance(one[1], Reading)
    ):
        if is_picture:
            ids: deque[str | None] = deque()
            for found in read_together(reader, _asked(group, ids), apart):
                id = ids.popleft()
                yield tuple(replace(reading, id=id) for reading in found)
            continue
        for item, content in group:
            if isinstance(content, Reading):
                yield (content,)
            else:
                found = read_page(reader, item.source, item.page, content)
                yield tuple(replace(reading, id=item.id) for reading in found)


def _asked(
    group: Iterable[tuple[Item, Any]], ids: deque[str | None]
) -> Iterator[tuple[str, int, Any]]:
    """The pictures of a group, whose ids are noted as they are taken."""
    for item, content in group:
        ids.append(item.id)
        yield item.source, item.page, content


def _in_workers(
    factory: Factory, items: Iterator[Item], apart: bool, number: int, timeout: float
) -> Generator[tuple[Reading, ...], None, None]:
    """The same, in so many processes; twice as many pictures are in memory at most."""
    with Workers(factory, number, timeout) as pool:
        model = pool.start().get("model")
        threads = ThreadPoolExecutor(number)
        waiting: deque[Callable[[], tuple[Reading, ...]]] = deque()

        def work(item: Item, content: Any) -> tuple[Reading, ...]:
            if item.is_page:
                found = pool.read_page(item.source, item.page, content)
            elif apart:
                found = pool.read_apart(item.source, item.page, content)
            else:
                found = (pool.read(item.source, item.page, content),)
            return tuple(replace(reading, id=item.id) for reading in found)

        try:
            for item in items:
                content = _content(item, model)
                if isinstance(content, Reading):
                    waiting.append(partial(tuple, [content]))
                else:
                    future: Future[tuple[Reading, ...]] = threads.submit(work, item, content)
                    waiting.append(future.result)
                if len(waiting) >= 2 * number:
                    yield waiting.popleft()()
            while waiting:
                yield waiting.popleft()()
        finally:
            pool.close()
            threads.shutdown(cancel_futures=True)


def _content(item: Item, model: str | None) -> Any:
    """What is to be read of a picture; the reading of a failure if it cannot be opened."""
    try:
        return item.load()
    except Exception as err:  # whatever a broken archive makes its library raise
        return named(failure(item.source, item.page, err, model), item.source, item.id)
