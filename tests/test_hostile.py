"""A share of the odd inputs of bench/hostile.py: a reading or a `PictureError`, never more."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from molgaze.picture import Picture, PictureError, load
from molgaze.reader import WEIGHTS

SCRIPT = Path(__file__).parents[1] / "bench" / "hostile.py"
LARGE = ("large", "field", "row-", "wall", "salts", "peptide")
HAVE_WEIGHTS = (WEIGHTS / "encoder.onnx").is_file() and (WEIGHTS / "step.onnx").is_file()


@pytest.fixture(scope="module")
def hostile() -> Iterator[Any]:
    if not SCRIPT.is_file():
        pytest.skip("the bench folder is not there")
    sys.path.insert(0, str(SCRIPT.parent))  # the reading process looks for it there too
    yield importlib.import_module("hostile")
    sys.path.remove(str(SCRIPT.parent))


def share(hostile: Any, every: int) -> list[Any]:
    """Each so-many-th file, picture and array, without those that take long."""
    pictures = (
        (f"{name}.png", hostile.saved(image), 1)
        for name, image in hostile.sheets()
        if not name.startswith(LARGE)
    )
    groups = (hostile.files(), pictures, hostile.arrays())
    return [item for group in groups for k, item in enumerate(group) if k % every == 1]


@pytest.mark.filterwarnings("ignore")  # Pillow's, about what is wrong with a file
def test_load(hostile: Any, tmp_path: Path) -> None:
    loaded = refused = 0
    for name, source, page in share(hostile, 5):
        file = tmp_path / name
        if isinstance(source, bytes):
            file.write_bytes(source)
        try:
            sheet = load(file if isinstance(source, bytes) else source, page)
        except PictureError:
            refused += 1
        else:
            assert isinstance(sheet.at_scale(), Picture), name
            loaded += 1
    assert loaded > 20
    assert refused > 20


@pytest.mark.skipif(not HAVE_WEIGHTS, reason="the package's weights are missing")
def test_read(hostile: Any) -> None:
    results = list(hostile.trial(share(hostile, 15)))
    assert len(results) > 20
    assert [result for result in results if result[1].isupper()] == []
