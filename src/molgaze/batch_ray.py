"""Many pictures on a Ray cluster: one actor a core or share of a GPU, files and rows by any
file system that Arrow opens (local, ``s3://``, ``gs://``, ``abfs://``, ``hdfs://``).

The pictures are read in parts. A part is a folder of Parquet files with a mark in it once it is
whole; run again, parts with their mark stay, others are thrown away and read again. Inside a part
Ray repeats what a lost node was doing. So no row is lost and none is there twice.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from .batch import UNLUCKY, JournalError, Summary, header_of, read_rows, write_tables
from .files import answered, arrow, parquet_schema, storable
from .inputs import ARCHIVES, Inputs, column_of, id_column_of, is_picture
from .picture import MAX_BYTES
from .reading import MIN_CONFIDENCE, Reading
from .workers import TIMEOUT, Factory, Workers

PART = 100_000  # pictures: minutes of work for a cluster
TASK = 64  # pictures: what is read again when a node is lost
MARK = "_SUCCESS"
HEADER = "_molgaze.json"
AGAIN = ".again"  # after the name of a part of which some is read again


@dataclass(frozen=True, slots=True)
class Piece:
    """What one row of Ray's input names: a picture, or a row group of a Parquet table."""

    path: str
    group: int = -1


class ReadPieces:
    """One actor: reads the pictures of a batch of pieces, in a worker process of its own.

    Args:
        factory: makes the reader.
        timeout: seconds for one picture.
        column: of a table, with the bytes of pictures.
        id_column: of a table, with the names of the pictures.
        least: confidence under which rows are marked to be looked at.
    """

    def __init__(
        self,
        factory: Factory,
        timeout: float = TIMEOUT,
        column: str | None = None,
        id_column: str | None = None,
        least: float = MIN_CONFIDENCE,
    ) -> None:
        self._workers = Workers(factory, 1, timeout)
        self._workers.start()  # a node without weights is told of at once
        self._column, self._id_column, self._least = column, id_column, least

    def __call__(self, batch: Any) -> Any:
        """An Arrow table of pieces to one of rows."""
        pieces = [Piece(**piece) for piece in batch.to_pylist()]
        pictures = (picture for piece in pieces for picture in self._open(piece))
        rows = list(map(storable, read_rows(pictures, self._workers, self._least)))
        return arrow().Table.from_pylist(rows, parquet_schema())

    def __del__(self) -> None:
        if hasattr(self, "_workers"):
            self._workers.close()

    def _open(self, piece: Piece) -> Iterator[tuple[str, bytes | Exception, str | None]]:
        try:
            if piece.group < 0:
                files, path = _file_system(piece.path)
                with files.open_input_stream(path) as file:
                    yield piece.path, bytes(file.read(MAX_BYTES + 1)), None
            else:
                yield from self._cells(piece)
        except Exception as err:  # whatever a file system or a broken table makes of it
            yield piece.path, err, None

    def _cells(self, piece: Piece) -> Iterator[tuple[str, bytes, str | None]]:
        table = _table(piece.path)
        first = sum(table.metadata.row_group(g).num_rows for g in range(piece.group))
        name = column_of(table.schema_arrow, piece.path, self._column)
        ids = id_column_of(table.schema_arrow, piece.path, self._id_column)
        columns = table.read_row_group(piece.group, columns=[name, *([ids] if ids else [])])
        called = columns.column(ids).to_pylist() if ids else [None] * columns.num_rows
        for i, cell in enumerate(columns.column(name).to_pylist()):
            content = cell["bytes"] if isinstance(cell, dict) else cell
            id = None if called[i] is None else str(called[i])
            yield f"{piece.path}/{first + i}", content or b"", id


def _file_system(uri: str) -> tuple[Any, str]:
    from pyarrow import fs  # noqa: PLC0415

    files, path = fs.FileSystem.from_uri(uri) if "://" in uri else (fs.LocalFileSystem(), uri)
    return files, path


def _table(uri: str) -> Any:
    files, path = _file_system(uri)
    return arrow().parquet.ParquetFile(files.open_input_file(path))


def pieces(names: Sequence[str], recursive: bool = False) -> Iterator[Piece]:
    """The pieces of files, folders, globs (local ones) and URIs, in a fixed order.

    Args:
        names: pictures, folders of them, and Parquet tables.
        recursive: folders in folders too.

    Raises:
        ValueError: an archive: workers on many machines cannot share one.
    """
    from pyarrow import fs  # noqa: PLC0415

    for name in names:
        found = [name]
        if "://" in name:
            files, path = _file_system(name)
            root = name[: len(name) - len(path)]
            if files.get_file_info(path).type == fs.FileType.Directory:
                inside = files.get_file_info(fs.FileSelector(path, recursive=recursive))
                found = sorted(
                    root + f.path
                    for f in inside
                    if f.type == fs.FileType.File and is_picture(f.path)
                )
        elif not name.lower().endswith((".parquet", *ARCHIVES)):
            here = Inputs([os.path.abspath(name)], None, recursive)
            found = list(dict.fromkeys(item.source for item in here))
        for path in found:
            if path.lower().endswith(".parquet"):
                for group in range(_table(path).num_row_groups):
                    yield Piece(path, group)
            elif path.lower().endswith(ARCHIVES):
                raise ValueError(f"{path}: archives are read by one machine; use Parquet instead")
            else:
                yield Piece(path)


def batch_on_ray(
    inputs: Inputs,
    outputs: Sequence[str],
    factory: Factory,
    *,
    journal: str | None = None,
    workers: int | None = None,
    gpus: float = 0.0,
    timeout: float = TIMEOUT,
    settings: dict[str, Any] | None = None,
    restart: bool = False,
    retry: bool = False,
    least: float = MIN_CONFIDENCE,
    told: Callable[[Reading], object] | None = None,
    progress: Callable[[int, int], object] | None = None,
    part: int = PART,
) -> Summary:
    """``molgaze batch --engine ray``: as :func:`molgaze.batch.batch`, on a cluster.

    Args:
        inputs: pictures, folders and Parquet tables; URIs too.
        outputs: the folder or URI that takes the rows; or, given a journal, tables by suffix.
        factory: makes a reader; all nodes must have what it imports and opens.
        journal: the folder or URI that takes the rows, if outputs are tables.
        workers: actors at most; as many as the cluster has cores if None.
        gpus: of an actor, if it is to use any.
        timeout: seconds for one picture.
        settings: of the reader, kept beside the rows.
        restart: throw away the rows that are there.
        retry: read again what killed a worker or took too long.
        least: confidence under which rows of tables are marked to be looked at.
        told: called with each reading that failed or is to be looked at, at the end.
        progress: called with the number of pieces done and how many of them were done before.
        part: pieces of a part.

    Raises:
        JournalError: the folder holds other rows, or other things.
        WorkerError: no reader could be started.
        ImportError: Ray is not installed.
    """
    began = time.monotonic()
    found = list(pieces(list(inputs.named()), inputs.recursive))
    folder = journal if journal is not None else outputs[0]
    rows = read_on_ray(
        found,
        folder,
        factory,
        actors=workers,
        gpus=gpus,
        timeout=timeout,
        column=inputs.column,
        id_column=inputs.id_column,
        settings=settings,
        restart=restart,
        retry=retry,
        least=least,
        progress=progress,
        part=part,
    )
    summary = Summary(resumed=rows.resumed)

    def counted(reading: Reading) -> Reading:
        summary.pictures += 1
        return summary.counted(reading, told)

    tables = list(map(Path, outputs)) if journal is not None else []
    write_tables(
        tables, lambda: (answered(reading).judged(least) for reading in rows), counted, rows.header
    )
    summary.seconds = time.monotonic() - began
    return summary


def read_on_ray(
    found: Sequence[Piece],
    output: str,
    factory: Factory,
    *,
    actors: int | None = None,
    gpus: float = 0.0,
    timeout: float = TIMEOUT,
    column: str | None = None,
    id_column: str | None = None,
    settings: dict[str, Any] | None = None,
    restart: bool = False,
    retry: bool = False,
    least: float = MIN_CONFIDENCE,
    progress: Callable[[int, int], object] | None = None,
    part: int = PART,
) -> Rows:
    """Read pieces on the cluster that Ray is connected to, or on this machine.

    Args:
        found: as :func:`pieces` gives them.
        output: a folder or URI; holds the rows as Parquet files when this returns.
        factory: makes a reader; all nodes must have what it imports and opens.
        actors: at most; as many as the cluster has cores if None.
        gpus: of an actor, if it is to use any.
        timeout: seconds for one picture.
        column: of tables, with the bytes of pictures.
        id_column: of tables, with the names of pictures.
        settings: of the reader, kept beside the rows.
        restart: throw away what is there.
        retry: read again the pieces of which a picture killed a worker or took too long.
        least: confidence under which rows are marked to be looked at, when they are read.
        progress: called with the number of pieces done and how many of them were done before.
        part: pieces of a part.

    Returns:
        The rows, in the order of the pieces.

    Raises:
        JournalError: the output holds other rows than these, or other things.
    """
    with Workers(factory, 1) as workers:
        header = header_of(workers.start()["model"], settings)
    digest = blake2b(repr(found).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    files, root = _file_system(output)
    _begin(files, root, {**header, "pieces": digest, "part": part}, restart)
    read = partial(ReadPieces, factory, timeout, column, id_column, least)
    parts = [found[start : start + part] for start in range(0, len(found), part)]
    done = before = resumed = 0
    for number, chosen in enumerate(parts):
        place = f"{root}/part-{number:06}"
        fresh = not _settle(files, place)
        if fresh:
            _read_part(files, place, chosen, read, actors, gpus)
        elif retry:
            resumed += _retry_part(files, place, chosen, read, actors, gpus)
        else:
            resumed += _count(files, place)
        done += len(chosen)
        before += 0 if fresh else len(chosen)
        if progress is not None:
            progress(done, before)
    return Rows(files, root, parts, header, resumed)


@dataclass(frozen=True)
class Rows:
    """The rows in a folder of parts, which all are whole, as readings in the order of the pieces.

    Attributes:
        files, root: the folder.
        parts: the pieces of each part.
        header: what the rows depend on beside their pictures.
        resumed: how many rows were there before.
    """

    files: Any
    root: str
    parts: Sequence[Sequence[Piece]]
    header: dict[str, Any]
    resumed: int

    def __iter__(self) -> Iterator[Reading]:
        for number, chosen in enumerate(self.parts):
            rows = _rows(self.files, f"{self.root}/part-{number:06}")
            at = _places(chosen, rows)
            order = sorted(range(len(rows)), key=lambda i: (at[i], rows[i]["page"] or 1))
            for i in order:
                yield Reading.from_dict(rows[i])


def _places(chosen: Sequence[Piece], rows: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
    """Where each row stands in the order of the pieces: the piece, and the row in its table."""
    pictures = {p.path: i for i, p in enumerate(chosen) if p.group < 0}
    tables = {p.path: i for i, p in reversed(list(enumerate(chosen))) if p.group >= 0}
    found = []
    for kept in rows:
        source = _spelt_back(kept["source"], pictures)
        if source in pictures:
            found.append((pictures[source], 0))
            continue
        table, _, row = source.rpartition("/")
        if table in tables and row.isdigit():
            found.append((tables[table], int(row)))
        else:  # a table that could not be opened
            found.append((tables.get(source, len(chosen)), 0))
    return found


def _spelt_back(source: str, pictures: dict[str, int]) -> str:
    """A name as it was before its bytes that are not UTF-8 were spelt out."""
    if source in pictures or "\\" not in source:
        return source
    spelt = {p.encode(errors="backslashreplace").decode(): p for p in pictures}
    return spelt.get(source, source)


def _read_part(
    files: Any,
    folder: str,
    chosen: Sequence[Piece],
    read: partial[ReadPieces],
    actors: int | None,
    gpus: float,
) -> None:
    """Read some pieces into a folder, and mark it as whole."""
    if _exists(files, folder):
        files.delete_dir(folder)
    files.create_dir(folder)
    _map_on_ray(chosen, read, files, folder, actors, gpus)
    _write(files, f"{folder}/{MARK}", b"")


def _map_on_ray(
    chosen: Sequence[Piece],
    read: partial[ReadPieces],
    files: Any,
    folder: str,
    actors: int | None,
    gpus: float,
) -> None:
    """Read some pieces on the cluster, into Parquet files of a folder.

    Raises:
        ImportError: Ray is not installed.
    """
    import ray  # noqa: PLC0415

    pa = arrow()
    if not ray.is_initialized():
        ray.init()
    blocks = [
        pa.table({"path": [p.path for p in some], "group": [p.group for p in some]})
        for some in (chosen[i : i + TASK] for i in range(0, len(chosen), TASK))
    ]
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    most = min(actors or cores, len(blocks))
    ray.data.from_arrow(blocks).map_batches(
        read.func,
        fn_constructor_args=read.args,
        batch_size=TASK,
        batch_format="pyarrow",
        # down to one: it goes on with the nodes that are left
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most, initial_size=most),
        num_cpus=1,
        num_gpus=gpus or None,
        # writing is little work: a core kept for it would be one less to read with
    ).write_parquet(folder, filesystem=files, ray_remote_args={"num_cpus": 0})


def _retry_part(
    files: Any,
    folder: str,
    chosen: Sequence[Piece],
    read: partial[ReadPieces],
    actors: int | None,
    gpus: float,
) -> int:
    """Read again the pieces of a whole part that had no luck; how many rows stay as they were.

    The new part is made beside the old one and marked, and only then is the old one deleted: what
    is killed between the two is put right by :func:`_settle`.
    """
    rows = _rows(files, folder)
    places = [at for at, _ in _places(chosen, rows)]
    bad = {
        at
        for at, kept in zip(places, rows, strict=True)
        if kept["error_type"] in UNLUCKY and at < len(chosen)
    }
    if not bad:
        return len(rows)
    # a table has its rows under its first piece here: all of its pieces are read again
    paths = {chosen[at].path for at in bad if chosen[at].group >= 0}
    again = [p for at, p in enumerate(chosen) if at in bad or (p.group >= 0 and p.path in paths)]
    kept_rows = [kept for at, kept in zip(places, rows, strict=True) if at not in bad]
    beside = f"{folder}{AGAIN}"
    if _exists(files, beside):
        files.delete_dir(beside)
    files.create_dir(beside)
    _map_on_ray(again, read, files, beside, actors, gpus)
    pa = arrow()
    with files.open_output_stream(f"{beside}/kept.parquet") as out:
        pa.parquet.write_table(pa.Table.from_pylist(kept_rows, parquet_schema()), out)
    _write(files, f"{beside}/{MARK}", b"")
    files.delete_dir(folder)
    _settle(files, folder)
    return len(kept_rows)


def _settle(files: Any, folder: str) -> bool:
    """Whether a part is whole, after a second reading of it took its place if that is whole."""
    beside = f"{folder}{AGAIN}"
    if _exists(files, f"{beside}/{MARK}"):
        if _exists(files, folder):
            files.delete_dir(folder)
        files.create_dir(folder)
        for name in _names(files, beside):
            files.copy_file(f"{beside}/{name}", f"{folder}/{name}")
        _write(files, f"{folder}/{MARK}", b"")
        files.delete_dir(beside)
    elif _exists(files, beside):
        files.delete_dir(beside)
    return _exists(files, f"{folder}/{MARK}")


def _names(files: Any, folder: str) -> list[str]:
    """The Parquet files of a folder, in the order of their names."""
    from pyarrow import fs  # noqa: PLC0415

    found = files.get_file_info(fs.FileSelector(folder))
    return sorted(f.base_name for f in found if f.base_name.endswith(".parquet"))


def _rows(files: Any, folder: str) -> list[dict[str, Any]]:
    """All rows of a part."""
    tables = []
    for name in _names(files, folder):
        with files.open_input_file(f"{folder}/{name}") as file:
            tables.append(arrow().parquet.read_table(file))
    return [kept for table in tables for kept in table.to_pylist()]


def _count(files: Any, folder: str) -> int:
    """The number of rows of a part."""
    total = 0
    for name in _names(files, folder):
        with files.open_input_file(f"{folder}/{name}") as file:
            total += arrow().parquet.ParquetFile(file).metadata.num_rows
    return total


def _begin(files: Any, root: str, header: dict[str, Any], restart: bool) -> None:
    place = f"{root}/{HEADER}"
    if _exists(files, place) and not restart:
        with files.open_input_stream(place) as file:
            if json.loads(file.read()) != header:
                raise JournalError(f"{root}: holds rows of other pictures or settings: --restart")
        return
    if _exists(files, root):
        from pyarrow import fs  # noqa: PLC0415

        if files.get_file_info(fs.FileSelector(root)) and not _exists(files, place):
            raise JournalError(f"{root}: a folder with other things in it")
        files.delete_dir_contents(root)
    files.create_dir(root)
    _write(files, place, json.dumps(header).encode())


def _exists(files: Any, path: str) -> bool:
    from pyarrow import fs  # noqa: PLC0415

    return bool(files.get_file_info(path).type != fs.FileType.NotFound)


def _write(files: Any, path: str, data: bytes) -> None:
    with files.open_output_stream(path) as file:
        file.write(data)
