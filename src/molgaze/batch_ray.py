"""Many pictures on a Ray cluster: one actor a core or share of a GPU, files and rows by any
file system that Arrow opens (local, ``s3://``, ``gs://``, ``abfs://``, ``hdfs://``).

The pictures are read in parts. A part is a folder of Parquet files with a mark in it once it is
whole; run again, parts with their mark stay, others are thrown away and read again. Inside a part
Ray repeats what a lost node was doing. So no row is lost and none is there twice.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from .batch import header_of, read_rows
from .files import arrow, parquet_schema, storable
from .inputs import PICTURES, TARS, Inputs, column_of
from .picture import MAX_BYTES
from .workers import TIMEOUT, Factory, Workers

PART = 100_000  # pictures: minutes of work for a cluster
TASK = 64  # pictures: what is read again when a node is lost
ARCHIVES = (".zip", *TARS)
MARK = "_SUCCESS"
HEADER = "_molgaze.json"


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
    """

    def __init__(
        self, factory: Factory, timeout: float = TIMEOUT, column: str | None = None
    ) -> None:
        self._workers = Workers(factory, 1, timeout)
        self._workers.start()  # a node without weights is told of at once
        self._column = column

    def __call__(self, batch: Any) -> Any:
        """An Arrow table of pieces to one of rows."""
        pieces = [Piece(**piece) for piece in batch.to_pylist()]
        pictures = (picture for piece in pieces for picture in self._open(piece))
        rows = list(map(storable, read_rows(pictures, self._workers)))
        return arrow().Table.from_pylist(rows, parquet_schema())

    def __del__(self) -> None:
        if hasattr(self, "_workers"):
            self._workers.close()

    def _open(self, piece: Piece) -> Iterator[tuple[str, bytes | Exception]]:
        try:
            if piece.group < 0:
                files, path = _file_system(piece.path)
                with files.open_input_stream(path) as file:
                    yield piece.path, bytes(file.read(MAX_BYTES + 1))
            else:
                yield from self._cells(piece)
        except Exception as err:  # whatever a file system or a broken table makes of it
            yield piece.path, err

    def _cells(self, piece: Piece) -> Iterator[tuple[str, bytes]]:
        table = _table(piece.path)
        first = sum(table.metadata.row_group(g).num_rows for g in range(piece.group))
        name = column_of(table.schema_arrow, piece.path, self._column)
        cells = table.read_row_group(piece.group, columns=[name]).column(name)
        for i, cell in enumerate(cells.to_pylist()):
            content = cell["bytes"] if isinstance(cell, dict) else cell
            yield f"{piece.path}/{first + i}", content or b""


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
                    if f.type == fs.FileType.File and f.path.lower().endswith(PICTURES)
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


def read_on_ray(
    found: Sequence[Piece],
    output: str,
    factory: Factory,
    *,
    actors: int | None = None,
    gpus: float = 0.0,
    timeout: float = TIMEOUT,
    column: str | None = None,
    settings: dict[str, Any] | None = None,
    restart: bool = False,
    part: int = PART,
) -> None:
    """Read pieces on the cluster that Ray is connected to, or on this machine.

    Args:
        found: as :func:`pieces` gives them.
        output: a folder or URI; holds the rows as Parquet files when this returns.
        factory: makes a reader; all nodes must have what it imports and opens.
        actors: at most; as many as the cluster has cores if None.
        gpus: of an actor, if it is to use any.
        timeout: seconds for one picture.
        column: of tables, with the bytes of pictures.
        settings: of the reader, kept beside the rows.
        restart: throw away what is there.
        part: pieces of a part.

    Raises:
        ValueError: the output holds other rows than these.
    """
    import ray  # noqa: PLC0415

    pa = arrow()
    if not ray.is_initialized():
        ray.init()
    with Workers(factory, 1) as workers:
        header = header_of(workers.start()["model"], settings)
    digest = blake2b(repr(found).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    files, root = _file_system(output)
    _begin(files, root, {**header, "pieces": digest, "part": part}, restart)
    most = actors or max(1, int(ray.cluster_resources().get("CPU", 1)))
    for number, start in enumerate(range(0, len(found), part)):
        folder = f"{root}/part-{number:06}"
        if _exists(files, f"{folder}/{MARK}"):
            continue
        if _exists(files, folder):
            files.delete_dir(folder)
        files.create_dir(folder)
        chosen = found[start : start + part]
        blocks = [
            pa.table({"path": [p.path for p in some], "group": [p.group for p in some]})
            for some in (chosen[i : i + TASK] for i in range(0, len(chosen), TASK))
        ]
        ray.data.from_arrow(blocks).map_batches(
            ReadPieces,
            fn_constructor_args=(factory, timeout, column),
            batch_size=TASK,
            batch_format="pyarrow",
            # down to one: it goes on with the nodes that are left
            compute=ray.data.ActorPoolStrategy(
                min_size=1, max_size=min(most, len(blocks)), initial_size=min(most, len(blocks))
            ),
            num_cpus=1,
            num_gpus=gpus or None,
            # writing is little work: a core kept for it would be one less to read with
        ).write_parquet(folder, filesystem=files, ray_remote_args={"num_cpus": 0})
        _write(files, f"{folder}/{MARK}", b"")


def _begin(files: Any, root: str, header: dict[str, Any], restart: bool) -> None:
    place = f"{root}/{HEADER}"
    if _exists(files, place) and not restart:
        with files.open_input_stream(place) as file:
            if json.loads(file.read()) != header:
                raise ValueError(f"{root}: holds rows of other pictures or settings: --restart")
        return
    if _exists(files, root):
        from pyarrow import fs  # noqa: PLC0415

        if files.get_file_info(fs.FileSelector(root)) and not _exists(files, place):
            raise ValueError(f"{root}: a folder with other things in it")
        files.delete_dir_contents(root)
    files.create_dir(root)
    _write(files, place, json.dumps(header).encode())


def _exists(files: Any, path: str) -> bool:
    from pyarrow import fs  # noqa: PLC0415

    return bool(files.get_file_info(path).type != fs.FileType.NotFound)


def _write(files: Any, path: str, data: bytes) -> None:
    with files.open_output_stream(path) as file:
        file.write(data)


def run(args: argparse.Namespace, factory: Factory) -> None:
    """``molgaze batch --engine ray``.

    Raises:
        ValueError: not exactly one output, or one that holds other rows.
        ImportError: the extra is not installed.
        WorkerError: no reader could be started.
    """
    try:
        import ray  # noqa: F401, PLC0415
    except ImportError as err:
        raise ImportError(f"this needs an extra: pip install 'molgaze[ray]' ({err})") from err
    if len(args.output) != 1:
        raise ValueError("--engine ray: give one output, a folder or URI")
    names = [*args.files]
    if args.files_from is not None:
        with open(args.files_from, encoding="utf-8", errors="surrogateescape") as lines:
            names += [name for line in lines if (name := line.rstrip("\r\n"))]
    read_on_ray(
        list(pieces(names, args.recursive)),
        args.output[0],
        factory,
        actors=args.workers,
        gpus=args.gpus,
        timeout=args.timeout,
        column=args.column,
        settings={"beam": args.beam},
        restart=args.restart,
    )
