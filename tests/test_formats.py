"""formats.py: SVG, HEIC and AVIF, where what opens them is installed."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from molgaze import formats, inputs
from molgaze.inputs import Inputs, told_skipped
from molgaze.picture import PictureError, load

LINE = '<line x1="20" y1="10" x2="80" y2="10" stroke="black" stroke-width="4"/>'
SVG = f'<svg xmlns="http://www.w3.org/2000/svg" width="100" height="50">{LINE}</svg>'


def needs(suffix: str) -> None:
    if not formats.can_open(suffix):
        pytest.skip(f"nothing opens {suffix} here")


def test_an_svg_is_drawn_at_a_fixed_size() -> None:
    needs(".svg")
    for head in ("", '<?xml version="1.0"?>\n<!-- a comment -->\n', "\ufeff"):
        ink = load((head + SVG).encode()).ink
        assert ink.shape == (500, 1000)
        rows, columns = np.nonzero(ink > 128)
        assert (rows.min(), rows.max()) == pytest.approx((80, 119), abs=2)
        assert (columns.min(), columns.max()) == pytest.approx((200, 799), abs=2)


@pytest.mark.parametrize(
    ("root", "size"),
    [
        ('<svg width="3in" height="1.5in">', (1.5, 3)),
        ("<svg width='1e2' height='50px'>", (50, 100)),
        ('<svg viewBox="0 0 60 30">', (30, 60)),
        ('<svg width="100%" height="100%" viewBox="-5,-5,60,30">', (30, 60)),
        ("<svg>", (1, 1)),
    ],
)
def test_the_size_that_an_svg_asks_for(root: str, size: tuple[float, float]) -> None:
    assert formats._svg_size(root) == size


@pytest.mark.parametrize("quote", ['"', "'"])
def test_an_svg_opens_no_other_file(tmp_path: Path, quote: str) -> None:
    needs(".svg")
    picture = Image.new("L", (50, 50), 255)
    ImageDraw.Draw(picture).line((5, 5, 45, 45), 0, 5)
    picture.save(tmp_path / "secret.png")
    for name in ("xlink:href", "href"):
        link = f"{name} = {quote}{tmp_path / 'secret.png'}{quote}"
        image = f'<image {link} width="50" height="50"/>'
        svg = SVG.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ')
        (tmp_path / "a.svg").write_text(svg.replace(LINE, image))
        with pytest.raises(PictureError, match="blank"):
            load(tmp_path / "a.svg")


@pytest.mark.parametrize("svg", ["<svg/>", "<svg />", "<svg></svg>", '<a:svg xmlns:a="x"/>'])
def test_what_has_an_svg_tag_is_no_unknown_format(svg: str) -> None:
    needs(".svg")
    with pytest.raises(PictureError, match=r"blank|cannot be drawn") as told:
        load(svg.encode())
    assert "known format" not in told.value.reason


def test_the_tags_of_an_svg_may_have_a_prefix() -> None:
    needs(".svg")
    prefixed = SVG.replace("xmlns=", "xmlns:s=").replace("<", "<s:").replace("<s:/", "</s:")
    assert (load(prefixed.encode()).ink == load(SVG.encode()).ink).all()


def test_broken_svgs() -> None:
    needs(".svg")
    for bad in (b"<svg ", b'<svg width="9" height="9">', b'<svg width="1" height="900"></svg>'):
        with pytest.raises(PictureError, match="cannot be drawn or decoded"):
            load(bad)


@pytest.mark.parametrize("suffix", [".heic", ".avif"])
def test_photographs(suffix: str, tmp_path: Path) -> None:
    needs(suffix)
    picture = Image.new("RGB", (200, 100), "white")
    ImageDraw.Draw(picture).line((50, 20, 150, 20), "black", 6)
    file = io.BytesIO()
    if suffix == ".avif":
        picture.save(file, "AVIF")
    else:
        pytest.importorskip("pillow_heif").from_pillow(picture).save(file)
    ink = load(file.getvalue()).ink
    assert ink.shape == (100, 200)
    rows, columns = np.nonzero(ink > 128)
    assert (rows.mean(), columns.mean()) == pytest.approx((20, 100), abs=2)
    with pytest.raises(PictureError, match=r"cannot be drawn or decoded|truncated"):
        load(file.getvalue()[:200])
    (tmp_path / f"a{suffix}").write_bytes(file.getvalue())
    assert [item.source for item in Inputs([str(tmp_path)])] == [str(tmp_path / f"a{suffix}")]


def test_without_the_extra_it_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (formats, inputs):
        monkeypatch.setattr(module, "can_open", lambda suffix: False)
    with pytest.raises(PictureError, match=r"SVG drawing.*pip install 'molgaze\[formats\]'"):
        load(SVG.encode())
    (tmp_path / "a.svg").write_text(SVG)
    found = Inputs([str(tmp_path)])
    (item,) = found
    with pytest.raises(PictureError, match="no pictures in this folder"):
        item.load()
    assert found.skipped == {str(tmp_path): Counter({".svg": 1})}
    assert "pip install 'molgaze[formats]'" in next(told_skipped(found.skipped))
