"""Readings as a table of pandas in which notebooks show the molecules.

>>> to_dataframe(Reader().read_many("scans"))  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rdkit.Chem import rdDepictor

from .files import answered
from .reading import COLUMNS, Reading

if TYPE_CHECKING:
    import pandas

COUNTS = ("page",)  # columns of whole numbers, which may be missing


def to_dataframe(readings: Iterable[Reading]) -> pandas.DataFrame:
    """Readings as rows of a table of pandas.

    The columns are those of :data:`molgaze.reading.COLUMNS`, as in the tables of ``molgaze read``,
    and ``molecule``: an RDKit molecule that lies as in its picture, with bonds of 1.5 units, or
    None. A notebook draws it. Tables that are made from this one, such as a selection of rows, draw
    theirs after ``rdkit.Chem.PandasTools.RenderImagesInAllDataFrames()``.

    Args:
        readings: also those without a molecule, or one alone.

    Returns:
        A ``pandas.DataFrame`` with a row for each reading, in their order.

    Raises:
        ImportError: pandas is not installed.
    """
    pandas = _pandas()
    if isinstance(readings, Reading):
        readings = [readings]
    rows: list[dict[str, Any]] = []
    for reading in map(answered, readings):
        mol = reading.mol
        if mol is not None and mol.GetNumConformers():
            rdDepictor.NormalizeDepiction(mol, canonicalize=0)
        rows.append({**reading.row(), "molecule": mol})
    frame = pandas.DataFrame(rows, columns=[*COLUMNS, "molecule"])
    for name in COUNTS:
        frame[name] = frame[name].astype("Int64")
    frame["molecule"] = frame["molecule"].astype(object)
    import_module("rdkit.Chem.PandasTools").ChangeMoleculeRendering(frame)  # imports pandas
    return frame


def _pandas() -> Any:
    try:
        import pandas  # noqa: PLC0415
    except ImportError as err:
        raise ImportError(
            f"a table of pandas needs an extra: pip install 'molgaze[pandas]' ({err})"
        ) from err
    return pandas
