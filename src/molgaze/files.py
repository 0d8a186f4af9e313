"""Files that appear whole or not at all, and readings as tables, SDF and other files.

write(readings, "out.csv.gz")
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO, get_args

if TYPE_CHECKING:
    from .reading import Reading

Format = Literal["csv", "tsv", "jsonl", "sdf", "smi", "cdxml", "mol", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)
TABLES: tuple[Format, ...] = ("csv", "tsv", "jsonl", "sdf", "smi", "cdxml", "parquet")
"""Formats that hold any number of readings."""
STRUCTURES: tuple[Format, ...] = ("sdf", "smi", "cdxml", "mol")
"""Formats that hold molecules only, so that a reading without one is left out."""

DIGITS = {
    **dict.fromkeys(("confidence", "found", "probabilities", "atom_confidences"), 4),
    **dict.fromkeys(("places", "scale", "box", "x0", "y0", "x1", "y1"), 2),
    "ms": 1,
}
"""Decimals that are kept of numbers in files: pixels to 0.01, probabilities to 0.0001."""
CHUNK = 5_000  # readings in memory at once while a Parquet file is written


# ---- whole or not at all --------------------------------------------------------------------


@contextmanager
def whole(target: str | os.PathLike[str]) -> Iterator[Path]:
    """A draft beside a file, which takes the file's place when all went well.

        with whole("out.png") as draft:
            image.save(draft, "PNG")

    Args:
        target: replaced at the end; left as it was if anything is raised.

    Raises:
        OSError: the draft cannot be written, or cannot take the file's place.
    """
    path = Path(target)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield draft
        with open(draft, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def clear_drafts(target: str | os.PathLike[str]) -> None:
    """Delete the drafts of a file that killed processes left beside it."""
    path = Path(target)
    start, end = f".{path.name}.", ".tmp"
    for draft in path.parent.glob("." + "*" + end):
        middle = draft.name.removeprefix(start).removesuffix(end)
        if draft.name.startswith(start) and re.fullmatch("[0-9a-f]{8}", middle):
            draft.unlink(missing_ok=True)


def form_of(path: str | os.PathLike[str]) -> Format | None:
    """The format that a file's suffix asks for, before ``.gz`` if that comes last; None if none."""
    suffix = Path(str(path).lower().removesuffix(".gz")).suffix.lstrip(".")
    return next((form for form in FORMATS if form == suffix), None)


# ---- one reading in a file ------------------------------------------------------------------


def row(reading: Reading) -> dict[str, Any]:
    """All fields of a reading as files keep them: ready for JSON, numbers to a few decimals."""
    found = answered(reading).to_dict()
    return {name: _rounded(value, DIGITS.get(name, 6)) for name, value in found.items()}


def answered(reading: Reading) -> Reading:
    """The same, without any structure if no molecule was seen in the picture."""
    if reading.finish_reason != "no molecule":
        return reading
    return replace(reading, smiles=None, cxsmiles=None, molfile=None, inchikey=None)


def _rounded(value: Any, digits: int) -> Any:
    if isinstance(value, list):
        return [_rounded(v, digits) for v in value]
    if isinstance(value, dict):
        return {name: _rounded(v, digits) for name, v in value.items()}
    return round(value, digits) if isinstance(value, float) else value


# ---- many -----------------------------------------------------------------------------------


def write(
    readings: Iterable[Reading],
    path: str | os.PathLike[str],
    format: Format | None = None,
    header: dict[str, Any] | None = None,
) -> int:
    """Write readings to a file that appears whole or not at all.

    ``csv``, ``tsv``, ``jsonl`` and ``parquet`` hold every reading, failed ones with their error;
    ``smi`` (SMILES, tab, title), ``sdf`` and ``cdxml`` leave out those without a molecule; ``mol``
    takes exactly one. A path that ends in ``.gz`` is compressed, but for Parquet, which is anyway.

    Args:
        readings: taken one at a time, so any number will do.
        path: replaced if it exists.
        format: by the suffix of the path if None.
        header: kept as ``molgaze`` in the metadata of a Parquet file, as JSON.

    Returns:
        The number of readings written.

    Raises:
        ValueError: unknown format, or not exactly one molecule for ``mol``.
        ImportError: Parquet without the extra that brings it.
        OSError: the file cannot be written; one that was there before is left as it was.
    """
    form = format or form_of(path)
    if form is None:
        suffix = Path(path).suffix.lstrip(".")
        raise ValueError(f"{path}: unknown format {suffix!r}: one of {', '.join(FORMATS)}")
    with whole(path) as draft:
        if form == "parquet":
            return _write_parquet(readings, draft, header or {})
        with _opened(draft, str(path).lower().endswith(".gz")) as out:
            return _WRITERS[form](readings, out)


@contextmanager
def _opened(draft: Path, packed: bool) -> Iterator[TextIO]:
    """A new text file, compressed if wanted, with the same bytes for the same text."""
    with open(draft, "xb") as file:
        held = gzip.GzipFile("", "wb", fileobj=file, mtime=0) if packed else file
        # File names that are not UTF-8 would otherwise stop a batch at its last step.
        with io.TextIOWrapper(held, "utf-8", "backslashreplace", newline="") as out:
            yield out


def text(readings: Iterable[Reading], format: Format) -> str:
    """What :func:`write` would put into a file, for downloads and standard output.

    Raises:
        ValueError: as :func:`write`, and for Parquet, which is no text.
    """
    if format not in _WRITERS:
        raise ValueError(f"unknown format {format!r}: one of {', '.join(_WRITERS)}")
    out = io.StringIO()
    _WRITERS[format](readings, out)
    return out.getvalue()


def _write_smi(readings: Iterable[Reading], out: TextIO) -> int:
    from .reading import one_line  # noqa: PLC0415  brings RDKit, which a format's name does not need

    count = 0
    for r in map(answered, readings):
        if r.smiles:
            out.write(f"{one_line(r.smiles)}\t{r.title}\n")
            count += 1
    return count


def _write_jsonl(readings: Iterable[Reading], out: TextIO) -> int:
    count = 0
    for r in readings:
        out.write(json.dumps(row(r), ensure_ascii=False, allow_nan=False) + "\n")
        count += 1
    return count


def _write_csv(readings: Iterable[Reading], out: TextIO) -> int:
    return _write_table(readings, csv.writer(out, lineterminator="\n").writerow, _cell)


def _write_tsv(readings: Iterable[Reading], out: TextIO) -> int:
    from .reading import one_line  # noqa: PLC0415  as above

    def add(values: list[Any]) -> None:
        out.write("\t".join(map(one_line, values)) + "\n")

    return _write_table(readings, add, _cell)


def _write_table(
    readings: Iterable[Reading],
    add: Callable[[list[Any]], object],
    cell: Callable[[str, object], object],
) -> int:
    from .reading import COLUMNS  # noqa: PLC0415  as above

    add(list(COLUMNS))
    count = 0
    for r in readings:
        add([cell(name, value) for name, value in answered(r).row().items()])
        count += 1
    return count


def _cell(name: str, value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, float):
        return round(value, DIGITS.get(name, 6))
    # A spreadsheet runs a cell that begins so as a formula.
    if isinstance(value, str) and value.lstrip(" ")[:1] in ("=", "+", "-", "@", "\t", "\r", "\n"):
        return "'" + value
    return value


def _write_sdf(readings: Iterable[Reading], out: TextIO) -> int:
    from .reading import one_line  # noqa: PLC0415  as above

    count = 0
    for r in map(answered, readings):
        block = _block(r)
        if block is None:
            continue
        out.write(block)
        for name, value in r.row().items():
            said = one_line("" if value is None else _plain(name, value)).strip()
            if said:
                out.write(f">  <{name}>\n{said}\n\n")
        out.write("$$$$\n")
        count += 1
    return count


def _plain(name: str, value: object) -> str:
    return f"{value:.{DIGITS.get(name, 6)}f}" if isinstance(value, float) else str(value)


def _write_mol(readings: Iterable[Reading], out: TextIO) -> int:
    blocks = [_block(answered(r)) for r in readings]
    if len(blocks) != 1 or blocks[0] is None:
        raise ValueError("a mol file holds one molecule: use sdf for more, csv or jsonl for none")
    out.write(blocks[0])
    return 1


def _write_cdxml(readings: Iterable[Reading], out: TextIO) -> int:
    from .cdxml import document  # noqa: PLC0415  brings RDKit

    text, number = document(map(answered, readings))
    out.write(text)
    return number


def _block(reading: Reading) -> str | None:
    """The molfile under its title, or one in RDKit's layout if the reading has only SMILES."""
    found = reading.molfile
    if not found:
        mol = reading.mol
        if mol is None:
            return None
        from rdkit import Chem, rdBase  # noqa: PLC0415

        if "@" in (reading.smiles or ""):  # as in molecule.py
            mol.SetIntProp("_MolFileChiralFlag", 1)
        with rdBase.BlockLogs():
            found = str(Chem.MolToMolBlock(mol, forceV3000=mol.GetNumAtoms() > 999))
    _, _, rest = found.rstrip("\n").partition("\n")
    return f"{reading.title[-80:]}\n{rest}\n"


_WRITERS: dict[str, Callable[[Iterable[Reading], TextIO], int]] = {
    "csv": _write_csv,
    "tsv": _write_tsv,
    "jsonl": _write_jsonl,
    "sdf": _write_sdf,
    "smi": _write_smi,
    "cdxml": _write_cdxml,
    "mol": _write_mol,
}


# ---- Parquet --------------------------------------------------------------------------------


def arrow() -> Any:
    """pyarrow.

    Raises:
        ImportError: the extra is not installed.
    """
    try:
        import pyarrow  # noqa: PLC0415
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as err:
        raise ImportError(
            f"Parquet and Arrow files need an extra: pip install 'molgaze[parquet]' ({err})"
        ) from err
    return pyarrow


def _write_parquet(readings: Iterable[Reading], draft: Path, header: dict[str, Any]) -> int:
    pa = arrow()
    schema = parquet_schema().with_metadata({"molgaze": json.dumps(header)})
    count = 0
    with pa.parquet.ParquetWriter(draft, schema, compression="zstd") as out:
        chunk: list[dict[str, Any]] = []
        for reading in readings:
            chunk.append(storable(row(reading)))
            count += 1
            if len(chunk) == CHUNK:
                out.write_table(pa.Table.from_pylist(chunk, schema))
                chunk.clear()
        out.write_table(pa.Table.from_pylist(chunk, schema))
    return count


def storable(kept: dict[str, Any]) -> dict[str, Any]:
    """A row for Arrow: bytes of file names that are not UTF-8 spelt out, and as JSON what has no
    column type of its own.
    """
    kinds = _kinds()
    found = {}
    for name, value in kept.items():
        if isinstance(value, str):
            value = value.encode(errors="backslashreplace").decode()  # noqa: PLW2901
        elif kinds[name] is None and value is not None:
            value = json.dumps(value)  # noqa: PLW2901
        found[name] = value
    return found


def parquet_schema() -> Any:
    """The columns of a Parquet file of readings: the fields of a reading, in their order."""
    pa = arrow()
    types = {
        None: pa.string(),
        "str": pa.string(),
        "int": pa.int32(),
        "float": pa.float64(),
        "bool": pa.bool_(),
        "tuple[str, ...]": pa.list_(pa.string()),
        "tuple[int, ...]": pa.list_(pa.int32()),
        "tuple[float, ...]": pa.list_(pa.float64()),
        "tuple[tuple[float, float], ...]": pa.list_(pa.list_(pa.float64())),
        "tuple[tuple[str, float], ...]": pa.list_(
            pa.struct([("smiles", pa.string()), ("confidence", pa.float64())])
        ),
    }
    return pa.schema([(name, types[kind]) for name, kind in _kinds().items()])


_TYPED = re.compile(
    r"str|int|float|bool|tuple\[(str|int|float), \.\.\.\]"
    r"|tuple\[tuple\[(float|str), float\], \.\.\.\]"
)


def _kinds() -> dict[str, str | None]:
    """Each field of a reading with its type; None where the type has no column of its own."""
    from .reading import Reading  # noqa: PLC0415

    found = {}
    for f in fields(Reading):
        kind = str(f.type).removesuffix(" | None")
        kind = "str" if kind == "FinishReason" else kind
        found[f.name] = kind if _TYPED.fullmatch(kind) else None
    return found
