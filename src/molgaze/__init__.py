"""MolGaze reads a picture of a molecule and returns the molecule.

>>> from molgaze import Reader
>>> Reader().read("examples/caffeine.png").smiles  # doctest: +SKIP
'Cn1c(=O)c2c(ncn2C)n(C)c1=O'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .dataframe import to_dataframe
    from .gaze import WeightsError
    from .picture import PictureError
    from .reader import Reader
    from .reading import Reading

    __version__: str

__all__ = ["PictureError", "Reader", "Reading", "WeightsError", "__version__", "to_dataframe"]

_HOME = {
    "PictureError": "picture",
    "Reader": "reader",
    "Reading": "reading",
    "WeightsError": "gaze",
    "to_dataframe": "dataframe",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415  slow, and seldom asked for

        return version("molgaze")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
