"""series.py: many pictures of any kind for Python, in this process and in workers."""

from __future__ import annotations

import io
import os
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from stub import Stub

from molgaze import Reader
from molgaze.reading import Reading
from molgaze.series import read_series


def drawing() -> Image.Image:
    picture = Image.new("L", (60, 40), 255)
    ImageDraw.Draw(picture).line((10, 10, 30, 20, 50, 10), 0, 2)
    return picture


def png() -> bytes:
    file = io.BytesIO()
    drawing().save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, one that is none, a TIFF of two pages, an archive, a PDF of one page."""
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "b.png").write_bytes(b"bad")
    drawing().save(tmp_path / "c.tif", save_all=True, append_images=[drawing()])
    drawing().save(tmp_path / "d.pdf")
    (tmp_path / "sub").mkdir()
    with zipfile.ZipFile(tmp_path / "sub" / "e.zip", "w") as packed:
        packed.writestr("f.png", png())
    return tmp_path


def read(sources: Any, **more: Any) -> list[Reading]:
    return list(read_series(Stub(), partial(Stub), sources, **more))


@pytest.mark.parametrize("workers", [None, 2])
def test_everything_that_holds_pictures(folder: Path, workers: int | None) -> None:
    array = np.asarray(drawing())
    stack = [folder, folder / "sub" / "e.zip", png(), io.BytesIO(png())]
    if workers is None:  # the stub of a worker takes bytes and paths alone
        stack += [np.asarray([array, array])[0]]
    found = read(stack, workers=workers)
    kept = [(os.path.basename(r.source or ""), r.page, r.smiles) for r in found]
    assert kept[:5] == [
        ("a.png", 1, "CO"),
        ("b.png", 1, None),
        ("c.tif", 1, "CO"),
        ("c.tif", 2, "CO"),
        ("d.pdf", 1, "C"),
    ]
    assert kept[5:8] == [("f.png", 1, "CO"), ("picture", 1, "CO"), ("picture", 1, "CO")]
    assert found[1].error == f"{folder / 'b.png'}: not a picture"
    assert found[4].box is not None


@pytest.mark.parametrize("more", [{}, {"workers": 2}])
def test_a_path_may_stand_alone(folder: Path, more: dict[str, int]) -> None:
    for source in (str(folder), folder, str(folder / "*.tif")):
        assert read(source, **more)[-1].smiles
    assert [r.page for r in read(str(folder / "c.tif")[:-3] + "*", page=2)] == [2]
    assert len(read(folder / "d.pdf")) == 1


@pytest.mark.parametrize(
    "one",
    [
        *("a.png", "scans", Path("a.png"), b"bytes", io.BytesIO(b"x"), 7),
        *(Image.new("L", (9, 9)), np.zeros((9, 9)), np.zeros((9, 9, 3)), np.zeros((9, 9, 1))),
    ],
)
def test_one_picture_is_refused(one: Any) -> None:
    with pytest.raises(TypeError, match="list of pictures"):
        read(one)


def test_what_the_numbers_may_be() -> None:
    for more, said in (
        ({"workers": 0}, "workers must be at least 1"),
        ({"page": 0}, "count from 1"),
        ({"timeout": 0.0}, "more than 0"),
    ):
        with pytest.raises(ValueError, match=said):
            read([], **more)
    assert read([]) == []


def test_a_picture_that_kills_a_worker_costs_one_reading(tmp_path: Path) -> None:
    found = read([b"good", b"kill", b"hang", b"fine"], workers=2, timeout=1.0)
    assert [bool(r.smiles) for r in found] == [True, False, False, True]
    assert [r.error_type for r in found[1:3]] == ["WorkerDied", "TimedOut"]


def test_molecules_of_a_picture_apart() -> None:
    for workers in (None, 1):
        assert len(read([b"apart 3", b"x"], apart=True, workers=workers)) == 4
        assert len(read([b"apart 3", b"x"], workers=workers)) == 2


def test_readings_come_as_they_are_asked_for() -> None:
    taken = []

    def sources() -> Any:
        for i in range(50):
            taken.append(i)
            yield b"%d" % i

    for more in ({}, {"workers": 2}):
        taken.clear()
        found = read_series(Stub(), partial(Stub), sources(), **more)  # type: ignore[arg-type]
        assert next(found).smiles
        assert len(taken) <= 5
        found.close()  # type: ignore[attr-defined]


def test_progress(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(read([b"a", b"bc"], progress=True)) == 2
    assert "2" in (said := capsys.readouterr().err)
    assert "/s" in said
    assert len(read(iter([b"a", b"bc"]), progress=True)) == 2
    assert "pictures" in capsys.readouterr().err
    read([b"a"])
    assert capsys.readouterr().err == ""


def test_a_reader_reads_in_workers_with_its_own_arguments() -> None:
    reader = Reader(device="cpu", threads=2, without=["wave"])
    array = np.asarray(drawing())
    here = list(reader.read_many([array, drawing()]))
    there = list(reader.read_many([array, drawing()], workers=1))
    assert [r.smiles for r in there] == [r.smiles for r in here]
    assert [r.source for r in there] == ["array", "picture"]
    with pytest.raises(TypeError, match="for one picture there is read"):
        reader.read_many("a.png")
