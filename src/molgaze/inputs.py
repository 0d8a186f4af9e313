"""Files, folders, globs, archives and tables -> the pictures in them, one by one, in a fixed order.

    for item in Inputs(["scans", "crops.tar", "patents/*.tif"]):
        reader.read(item.load(), page=item.page)

Archives and tables are read from front to back, a member at a time, so any size will do. This is
the only place that knows which files are looked for; what is in them, `picture.load` knows.
"""

from __future__ import annotations

import glob
import io
import os
import stat
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from itertools import count
from pathlib import PurePath
from typing import IO, Any

from .document import Document, is_pdf, tiff_pages
from .files import arrow
from .formats import SUFFIXES, can_open
from .picture import MAX_BYTES, PictureError

PICTURES = (
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".webp"),
    *(".ppm", ".pgm", ".pbm"),
)
DOCUMENTS = (".pdf",)
"""With these, looked for in folders and archives; a file that is named is opened whatever its
suffix, but only one with this suffix is read page by page for all that is drawn on a page."""
TIFFS = (".tif", ".tiff")
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
TABLES = (".parquet", ".arrow", ".feather")
ARCHIVES = (".zip", *TARS)
STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Item:
    """One picture to read.

    Attributes:
        source: its name in the results: a path, or archive/member, or table/row.
        page: of a TIFF, from 1.
        stamp: size and time of its file, and its place in it: another one is another picture.
        load: gives a path or the bytes; may raise anything, and holds only until the next item.
        id: what a table calls it.
        is_page: True for a page of a document, on which any number of molecules may be drawn.
    """

    source: str
    page: int
    stamp: str
    load: Callable[[], str | bytes]
    id: str | None = None
    is_page: bool = False

    @property
    def key(self) -> bytes:
        """16 bytes that name this picture as it is now."""
        text = f"{self.source}\0{self.page}\0{self.stamp}"
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass(frozen=True)
class Inputs:
    """Pictures by the names of what holds them; iterated afresh each time, in a fixed order.

    Attributes:
        names: files, folders, globs, ZIP and TAR archives, Parquet and Arrow tables.
        files_from: a file of more names, one a line.
        recursive: folders in folders too.
        column: of a table, with the bytes of pictures; its only such column if None.
        id_column: of a table, with names of the pictures; ``id`` if None and there is one.
        pages: only pages with these numbers, from first to last; all if None.
        standard_input: what the name ``-`` stands for.
        skipped: folder or archive -> suffix -> files in it that were left out, as no pictures are
            called so; filled while the pictures are iterated.
    """

    names: Sequence[str] = ()
    files_from: str | os.PathLike[str] | None = None
    recursive: bool = False
    column: str | None = None
    id_column: str | None = None
    pages: tuple[int, int] | None = None
    standard_input: bytes | None = None
    skipped: dict[str, Counter[str]] = field(default_factory=dict, compare=False)

    def __iter__(self) -> Iterator[Item]:
        for name in self.named():
            if name == STANDARD_INPUT and self.standard_input is not None:
                data = self.standard_input
                load = partial(bytes, data)
                if is_pdf(data[:1024]):
                    yield from self._document(name, "", data, load)
                else:
                    yield from self._tiff(name, "", partial(io.BytesIO, data), load)
            elif os.path.isdir(name):
                yield from self._folder(name)
            elif glob.has_magic(name) and not os.path.exists(name):
                for found in sorted(glob.glob(name, recursive=True)) or [name]:
                    yield from self._folder(found) if os.path.isdir(found) else self._file(found)
            else:
                yield from self._file(name)

    @property
    def is_one_file(self) -> bool:
        """Whether one file is named and nothing else; it may have several pages."""
        if len(self.names) != 1 or self.files_from is not None:
            return False
        (name,) = self.names
        if name == STANDARD_INPUT and self.standard_input is not None:
            return True
        holds_many = name.lower().endswith((*ARCHIVES, *TABLES)) or os.path.isdir(name)
        return not holds_many and (not glob.has_magic(name) or os.path.exists(name))

    def named(self) -> Iterator[str]:
        """The names of what holds the pictures, those of the list of files among them."""
        yield from self.names
        if self.files_from is not None:
            with open(self.files_from, "rb") as lines:
                for line in lines:
                    if name := os.fsdecode(line.rstrip(b"\r\n")):
                        yield name

    def _folder(self, folder: str) -> Iterator[Item]:
        found = 0
        skipped: Counter[str] = Counter()
        closed: list[OSError] = []
        for path, folders, files in os.walk(folder, onerror=closed.append):
            folders[:] = sorted(f for f in folders if self.recursive and not f.startswith("."))
            for file in sorted(files):
                if is_picture(file):
                    found += 1
                    yield from self._file(os.path.join(path, file))
                elif not file.startswith("."):
                    skipped[_suffix(file)] += 1
        self._note(folder, skipped)
        for err in closed:
            name = os.fsdecode(err.filename or folder)
            reason = f"the folder cannot be opened ({err.strerror or err})"
            yield _broken(name, "", PictureError(name, "missing", reason))
        if not (found or closed):
            yield _broken(folder, "", PictureError(folder, "missing", "no pictures in this folder"))

    def _note(self, holder: str, skipped: Counter[str]) -> None:
        if skipped:
            self.skipped[holder] = skipped

    def _pages(
        self,
        source: str,
        stamp: str,
        number: int,
        load: Callable[[], str | bytes],
        is_page: bool = False,
    ) -> Iterator[Item]:
        """The pages that are wanted of a file with so many."""
        first, last = self.pages or (1, number)
        if number > 1 or is_page:  # of other files the number is not known: each page is tried
            last = min(last, max(number, first))
        for page in range(first, last + 1):
            yield Item(source, page, stamp, load, is_page=is_page)

    def _document(
        self, source: str, stamp: str, content: str | bytes, load: Callable[[], str | bytes]
    ) -> Iterator[Item]:
        """The pages that are wanted of a PDF."""
        try:
            with Document(content) as document:
                number = len(document)
        except PictureError as err:
            yield _broken(source, stamp, err)
            return
        yield from self._pages(source, stamp, number, load, is_page=True)

    def _tiff(
        self,
        source: str,
        stamp: str,
        opened: Callable[[], IO[bytes]],
        load: Callable[[], str | bytes],
    ) -> Iterator[Item]:
        """The pages that are wanted of a TIFF, or of a file that may be one."""
        number = 1
        try:
            with suppress(OSError), opened() as file:
                number = tiff_pages(file, source)
        except PictureError as err:
            yield _broken(source, stamp, err)
            return
        yield from self._pages(source, stamp, number, load)

    def _file(self, path: str) -> Iterator[Item]:
        suffix = path.lower()
        try:
            facts = os.stat(path)
            stamp = f"{facts.st_size} {facts.st_mtime_ns}"
            if not stat.S_ISREG(facts.st_mode):
                suffix = ""
        except (OSError, ValueError):
            stamp, suffix = "", ""
        found: Iterator[Item]
        if suffix.endswith(".zip"):
            found = self._zip(path, stamp)
        elif suffix.endswith(TARS):
            found = self._tar(path, stamp)
        elif suffix.endswith(TABLES):
            arrow()  # the extra is missing for all such files alike
            found = _table(path, stamp, self.column, self.id_column)
        elif suffix.endswith(DOCUMENTS):
            yield from self._document(path, stamp, path, partial(str, path))
            return
        else:
            load = partial(str, path)
            if suffix.endswith(TIFFS):
                yield from self._tiff(path, stamp, lambda: open(path, "rb"), load)  # noqa: SIM115
            else:
                yield from self._pages(path, stamp, 1, load)
            return
        try:
            yield from found
        except Exception as err:  # whatever a broken archive makes its library raise
            yield _broken(path, stamp, err)

    def _zip(self, path: str, stamp: str) -> Iterator[Item]:
        skipped: Counter[str] = Counter()
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.is_dir() or info.filename.startswith("__MACOSX/"):
                    continue
                if not is_picture(info.filename):
                    skipped[_suffix(info.filename)] += 1
                    continue
                name = f"{path}/{info.filename}"

                def load(info: zipfile.ZipInfo = info, name: str = name) -> bytes:
                    return _limited(archive.open(info), name)

                yield from self._member(name, f"{stamp} {info.header_offset}", load)
        self._note(path, skipped)

    def _tar(self, path: str, stamp: str) -> Iterator[Item]:
        skipped: Counter[str] = Counter()
        with tarfile.open(path) as archive:
            while (info := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # would grow with the archive
                if not info.isfile():
                    continue
                if not is_picture(info.name):
                    skipped[_suffix(info.name)] += 1
                    continue
                name = f"{path}/{info.name}"

                def load(info: tarfile.TarInfo = info, name: str = name) -> bytes:
                    file = archive.extractfile(info)
                    assert file is not None
                    return _limited(file, name)

                yield from self._member(name, f"{stamp} {info.offset}", load)
            if archive.fileobj is not None and archive.fileobj.tell() == archive.offset:
                raise tarfile.ReadError("ends without an end mark: cut off")
        self._note(path, skipped)

    def _member(self, source: str, stamp: str, load: Callable[[], bytes]) -> Iterator[Item]:
        """The pages of one member of an archive."""
        if not source.lower().endswith((*TIFFS, *DOCUMENTS)):
            yield from self._pages(source, stamp, 1, load)
            return
        try:
            data = load()
        except Exception as err:
            yield _broken(source, stamp, err)
            return
        if source.lower().endswith(DOCUMENTS):
            yield from self._document(source, stamp, data, lambda: data)
            return
        yield from self._tiff(source, stamp, partial(io.BytesIO, data), lambda: data)


def is_picture(name: str) -> bool:
    """Whether a file is looked for in folders and archives, by its name."""
    is_hidden = name.rpartition("/")[2].startswith(".")
    if is_hidden:
        return False
    suffix = _suffix(name)
    return suffix in (*PICTURES, *DOCUMENTS) or (suffix in SUFFIXES and can_open(suffix))


def _suffix(name: str) -> str:
    return PurePath(name).suffix.lower() or "without suffix"


def told_skipped(skipped: dict[str, Counter[str]]) -> Iterator[str]:
    """A line for each folder or archive in which files were left out: how many of which kind."""
    for holder, kinds in skipped.items():
        told = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(6))
        rest = kinds.total() - sum(count for _, count in kinds.most_common(6))
        more = f", {rest:,} others" if rest else ""
        one = kinds.total() == 1
        files = (
            "1 file was skipped: its name is" if one else f"{kinds.total():,} files were skipped"
        )
        why = "not that of a picture" if one else ": their names are not those of pictures"
        lacking = sorted(set(kinds) & set(SUFFIXES))
        how = f"; {', '.join(lacking)}: pip install 'molgaze[formats]'" if lacking else ""
        yield f"{holder}: {files}{' ' * one}{why} ({told}{more}){how}"


def _broken(source: str, stamp: str, err: Exception) -> Item:
    def load() -> bytes:
        raise err

    return Item(source, 1, stamp, load)


def _limited(file: IO[bytes], source: str) -> bytes:
    with file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise PictureError(source, "large", f"file of more than {MAX_BYTES // 2**20} MB")
    return data


def _table(path: str, stamp: str, column: str | None, id_column: str | None) -> Iterator[Item]:
    pa = arrow()
    if path.lower().endswith(".parquet"):
        file = pa.parquet.ParquetFile(path)
        name = column_of(file.schema_arrow, path, column)
        ids = id_column_of(file.schema_arrow, path, id_column)
        batches = file.iter_batches(batch_size=16, columns=[name, *([ids] if ids else [])])
    else:
        memory = pa.memory_map(path)
        try:
            reader = pa.ipc.open_file(memory)
            batches = map(reader.get_batch, range(reader.num_record_batches))
        except pa.ArrowInvalid:
            memory.seek(0)
            batches = reader = pa.ipc.open_stream(memory)
        name = column_of(reader.schema, path, column)
        ids = id_column_of(reader.schema, path, id_column)
    row = count()
    for batch in batches:
        cells = batch.column(batch.schema.get_field_index(name))
        if pa.types.is_struct(cells.type):
            cells = cells.field("bytes")
        called = batch.column(batch.schema.get_field_index(ids)).to_pylist() if ids else ()
        for i, cell in enumerate(cells):
            name_of_row = None if not ids or called[i] is None else str(called[i])
            yield Item(f"{path}/{next(row)}", 1, stamp, partial(_bytes, cell), name_of_row)


def _bytes(cell: Any) -> bytes:
    return cell.as_py() or b""


def column_of(schema: Any, path: str, column: str | None) -> str:
    """The column with the bytes; a struct as Hugging Face writes it counts for its `bytes`."""
    types = arrow().types

    def holds(kind: Any) -> bool:
        if types.is_struct(kind):
            index = kind.get_field_index("bytes")
            return index >= 0 and holds(kind.field(index).type)
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    found = [f.name for f in schema if holds(f.type) and column in (None, f.name)]
    if len(found) != 1:
        what = f"no column {column} of bytes" if column else f"{len(found)} columns of bytes"
        names = ", ".join(schema.names)
        raise PictureError(path, "format", f"{what}: choose one of its columns ({names})")
    return str(found[0])


def id_column_of(schema: Any, path: str, column: str | None) -> str | None:
    """The column with the names of the pictures, if there is one.

    Raises:
        PictureError: one was asked for that is not there.
    """
    if column is None:
        return next((name for name in schema.names if name.lower() == "id"), None)
    if column not in schema.names:
        names = ", ".join(schema.names)
        raise PictureError(path, "format", f"no column {column} of names: it has {names}")
    return column
