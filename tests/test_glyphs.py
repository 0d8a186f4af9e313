"""Glyphs: how phrases are parted into them, what is read of drawn numbers, and the fit."""

import numpy as np
import pytest
from paper import WORDS, Sheet
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from molgaze.glyphs import CLASSES, SIDE, line_of, phrases, probabilities
from molgaze.layout import Layout
from molgaze.numbering import numbers, printed, windows


def ink_of(text, size=28):
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("L", (int(right - left) + 20, int(bottom - top) + 20), 0)
    ImageDraw.Draw(image).text((10 - left, 10 - top), text, 255, font)
    return np.asarray(image)


def line(text):
    return line_of(ink_of(text))


def test_dots_belong_to_their_letters_and_blanks_are_seen():
    found = line("ij: 12")
    assert len(found.boxes) == 5
    assert found.blanks.tolist() == [False, False, False, True, False]
    assert found.features.shape == (5, SIDE**2 + 4)


def test_a_glyph_looks_the_same_at_every_size():
    large, small = (line_of(ink_of("B7", size)) for size in (60, 24))
    assert np.abs(large.features - small.features).mean() < 0.12
    assert line_of(np.zeros((9, 9), np.uint8)) is None


def test_glyphs_that_touch_are_cut():
    one, other = ink_of("4"), ink_of("2")
    one, other = one[:, one.any(0)], other[:, other.any(0)]
    joined = np.pad(np.concatenate([one, other], 1), 8)
    joined[joined.shape[0] // 2 + 4 : joined.shape[0] // 2 + 7, 8:-8] = 255
    assert len(line_of(joined, is_cut=False).boxes) == 1
    said = probabilities(line_of(joined).features)
    assert [CLASSES[k] for k in said.argmax(1)] == ["4", "2"]


def test_probabilities_are_shares():
    said = probabilities(line("12ab").features)
    assert said.shape == (4, len(CLASSES))
    assert np.allclose(said.sum(1), 1, atol=1e-4)


def page(labels, size=20, blur=0.0, letters=True):
    """A page with a molecule above each of some labels, without a text layer."""
    sheet = Sheet(1300, 900)
    for k, label in enumerate(labels):
        sheet.molecule("CCN(CC)C(=O)CBr", 80 + 400 * (k % 3), 60 + 260 * (k // 3), bond=34, size=17)
        left, _, right, bottom = sheet.boxes[-1]
        sheet.text((left + right) // 2 - 5 * len(label), bottom + 16, [label], size)
    if letters:
        sheet.text(60, 720, WORDS)
    if blur:
        sheet.image = sheet.image.filter(ImageFilter.GaussianBlur(blur))
    return sheet


def read(sheet):
    found = Layout(255 - sheet.pixels)
    point = found.letter / 6
    taken = np.zeros(len(found.parts), bool)
    for left, top, right, bottom in sheet.boxes:
        boxes = found.parts.boxes
        taken |= (
            (boxes[:, 0] >= left - 3)
            & (boxes[:, 1] >= top - 3)
            & ((boxes[:, 2] <= right + 3) & (boxes[:, 3] <= bottom + 3))
        )
    boxes = [tuple(side / point for side in box) for box in sheet.boxes]
    near = [tuple(round(side * point) for side in w) for box in boxes for w in windows(box)]
    return numbers(boxes, printed(phrases(found, taken, near), point))


@pytest.mark.parametrize("blur", [0.0, 0.8])
def test_numbers_are_read_in_the_ink(blur):
    wanted = ["12a", "(3)", "A-4", "7", "(25b)", "46"]
    got = read(page(wanted, blur=blur))
    assert sum(a == b for a, b in zip(got, wanted, strict=True)) >= 5


def test_words_below_a_drawing_are_no_numbers():
    assert read(page(["anisole", "THF, NaH", "yield"])) == [None] * 3


def test_the_numbers_of_lines_are_left_out():
    sheet = Sheet(900, 900)
    for k in range(3):
        sheet.molecule("CCN(CC)C(=O)CBr", 80, 60 + 260 * k, bond=34, size=17)
        right = sheet.boxes[-1][2]
        sheet.text(right + 30, 90 + 260 * k, [f"{5 * (k + 1)}"], 20)
    assert read(sheet) == [None] * 3


def test_a_small_fit_learns(tmp_path):
    pytest.importorskip("molgaze.train.glyphs", exc_type=ImportError)
    from molgaze.train.draw import fonts
    from molgaze.train.glyphs import fit_glyphs

    try:
        fonts()
    except FileNotFoundError:
        pytest.skip("no fonts")
    told = fit_glyphs(tmp_path / "glyphs.npz", 250)
    assert told["glyphs"] > 600
    assert told["right"] > 0.4
    with np.load(tmp_path / "glyphs.npz", allow_pickle=False) as stored:
        assert stored["out"].shape[1] == len(CLASSES)
