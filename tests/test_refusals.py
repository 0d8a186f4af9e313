"""Every kind of source that is no picture is told of in a sentence of its own."""

from __future__ import annotations

import base64
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from molgaze import formats, inputs, refusals
from molgaze.picture import FORMATS, PictureError, load


def fault(source: object) -> PictureError:
    with pytest.raises(PictureError) as caught:
        load(source)  # type: ignore[arg-type]
    return caught.value


def archive(kind: str) -> bytes:
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as packed:
            packed.writestr("a.png", b"x")
    else:
        with tarfile.open(fileobj=file, mode=kind) as packed:  # type: ignore[call-overload]
            packed.addfile(tarfile.TarInfo("a.png"))
    return file.getvalue()


CONTENTS = {
    "paper.pdf": (b"%PDF-1.7\n%\xe2\xe3\n", refusals.PDF),
    "drawing.svg": (b'<?xml version="1.0"?>\n<svg xmlns="x">', refusals.SVG),
    "photo.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", refusals.HEIC),
    "photo.avif": (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", refusals.HEIC),
    "slides.pptx": (archive("zip"), refusals.ARCHIVE),
    "a.tar.gz": (archive("w:gz"), refusals.TARBALL),
    "a.tar": (archive("w"), refusals.TARBALL),
    "fig.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n", refusals.POSTSCRIPT),
    "fig.emf": (b"\1\0\0\0" + bytes(36) + b" EMF", refusals.METAFILE),
    "a.cdx": (b"VjCD0100\4\3\2\1", refusals.MOLECULE),
    "a.cdxml": (b'<?xml version="1.0"?>\n<CDXML BondLength="14">', refusals.MOLECULE),
    "a.mol": (b"\n  x\n\n  2  1  0  0  0  0  0  0  0  0999 V2000\n", refusals.MOLECULE),
    "saved.png": (b"<!DOCTYPE html><html><head>", refusals.WEB_PAGE),
    "pasted.png": (b"data:image/png;base64,iVBORw0KGgo=", refusals.ENCODED),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_contents(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "can_open", lambda suffix: False)  # as without the extra
    data, said = CONTENTS[name]
    (tmp_path / name).write_bytes(data)
    for source in (str(tmp_path / name), data, io.BytesIO(data)):
        found = fault(source)
        assert (found.kind, found.reason) == ("format", said)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("https://example.org/a.png", refusals.ADDRESS),
        ("www.example.org/a.png", refusals.ADDRESS),
        ("s3://bucket/a.png", refusals.ADDRESS),
        ("CC(=O)Oc1ccccc1C(=O)O", refusals.STRING),
        ("C[C@H](N)C(=O)O", refusals.STRING),
        ("InChI=1S/CH4/h1H4", refusals.STRING),
        ("data:image/png;base64,iVBORw0KGgo=", refusals.ENCODED),
        ("gone.png", refusals.MISSING),
        ("CCO.png", refusals.MISSING),
        ("no/such/folder/a.tif", refusals.MISSING),
        ("nonsense", refusals.MISSING),
    ],
)
def test_names(name: str, said: str) -> None:
    found = fault(name)
    assert (found.source, found.kind, found.reason) == (name, "missing", said)


def test_an_encoded_picture_is_not_put_into_the_error() -> None:
    file = io.BytesIO()
    Image.effect_noise((60, 60), 90).save(file, "PNG")
    text = base64.b64encode(file.getvalue()).decode()
    for given in (text, f"data:image/png;base64,{text}"):
        found = fault(given)
        assert found.reason == refusals.ENCODED
        assert len(str(found)) < 250
    path = "a" * 300 + ".png"
    assert "characters)" in str(fault(path))


def test_long_names_of_files_that_are_there_stay(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120) / ("y" * 120)
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"no")
    assert fault(str(folder / "a.png")).source == str(folder / "a.png")


def test_what_is_looked_for_is_what_can_be_read() -> None:
    """Suffixes of files and the formats of pictures are listed once each, and agree."""
    known = Image.registered_extensions()
    assert {known[suffix] for suffix in inputs.PICTURES} == set(FORMATS)
    assert set(inputs.TIFFS) <= set(inputs.PICTURES)


def test_a_picture_of_an_unknown_kind_still_says_which_are_known() -> None:
    assert "PNG, JPEG" in fault(b"no picture at all").reason
