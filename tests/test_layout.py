import numpy as np
import pytest
from paper import WORDS, Sheet
from PIL import Image

from molgaze.layout import Layout

SMILES = ["CC(=O)Oc1ccccc1C(=O)O", "CN1CCC[C@H]1c1cccnc1", "OCc1ccc(Cl)cc1", "CCN(CC)C(=O)CBr"]


def layout(sheet):
    return Layout(255 - sheet.pixels)


def nearest(found, box):
    """How far the sides of the best region's box are from those of a drawing, in pixels."""
    boxes = np.array([r.box for r in found.regions]).reshape(-1, 4)
    return np.abs(boxes - np.array(box)).max(1).min(initial=1e9)


def full_page():
    sheet = Sheet(1300, 1500)
    sheet.text(60, 60, WORDS * 2)
    for k, smiles in enumerate(SMILES):
        sheet.molecule(smiles, 80 + 300 * k, 340)
        sheet.text(150 + 300 * k, 560, [f"{k + 1}a"])
    sheet.table(80, 640, 6, 4)
    sheet.plot(760, 640)
    sheet.text(60, 960, WORDS * 3)
    sheet.molecule("O=C(O)C(N)Cc1c[nH]c2ccccc12", 500, 1330 - 20)
    return sheet


def test_every_drawing_of_a_page_is_a_region():
    sheet = full_page()
    found = layout(sheet)
    for box in sheet.boxes:
        assert nearest(found, box) <= 3
    assert len(found.regions) < 40


def test_lines_of_text_are_no_regions():
    sheet = Sheet()
    sheet.text(60, 60, WORDS * 4)
    sheet.text(60, 700, ["Headlines Are Larger Than the Words Below"], size=40)
    found = layout(sheet)
    assert found.is_text.mean() > 0.9
    assert len(found.regions) <= 2


@pytest.mark.parametrize("gap", [9, 14, 30])
def test_stacked_and_neighbouring_drawings_are_regions_each(gap):
    sheet = Sheet()
    sheet.molecule(SMILES[0], 100, 100)
    left, top, right, bottom = sheet.boxes[0]
    sheet.molecule(SMILES[1], right + gap, top)
    sheet.molecule(SMILES[2], left, bottom + gap)
    found = layout(sheet)
    for box in sheet.boxes:
        assert nearest(found, box) <= 3


def test_a_drawing_in_a_table_is_apart_from_its_rules():
    sheet = Sheet()
    sheet.text(60, 40, WORDS)
    for i in range(4):
        sheet.pen.line([(60, 200 + 200 * i), (1100, 200 + 200 * i)], 0, 3)
    for x in (60, 400, 800, 1100):
        sheet.pen.line([(x, 200), (x, 800)], 0, 3)
    for k, smiles in enumerate(SMILES[:3]):
        sheet.molecule(smiles, 100, 240 + 200 * k)
        sheet.text(500, 260 + 200 * k, [f"{k}.25"])
    found = layout(sheet)
    for box in sheet.boxes:
        assert nearest(found, box) <= 3


def test_a_region_is_shown_without_what_is_beside_it():
    sheet = Sheet(500, 400)
    sheet.molecule(SMILES[0], 150, 150)
    left, top, right, bottom = sheet.boxes[0]
    alone = 255 - sheet.pixels
    sheet.pen.rectangle([left - 25, top - 25, right + 25, bottom + 25], None, 0, 3)
    found = layout(sheet)
    region = min(found.regions, key=lambda r: np.abs(np.array(r.box) - sheet.boxes[0]).max())
    shown = found.shown(region, 8)
    want = np.pad(alone[top:bottom, left:right], 8)
    assert shown.shape == want.shape
    assert (np.abs(shown.astype(int) - want) > 64).mean() < 0.002


def test_a_region_at_the_edge_of_the_page():
    sheet = Sheet(400, 300)
    sheet.molecule(SMILES[2], 0, 0)
    found = layout(sheet)
    shown = found.shown(found.regions[0], 8)
    assert not shown[:6].any()
    assert not shown[:, :6].any()
    assert shown.any()


@pytest.mark.parametrize("turn", [0.7, -1.5])
def test_skewed_pages(turn):
    sheet = full_page()
    turned = sheet.image.rotate(turn, Image.Resampling.BICUBIC, fillcolor=255)
    whole = Layout(255 - np.asarray(turned))
    # each drawing alone on the same sheet, turned, tells where it is
    for smiles, box in zip([*SMILES, "O=C(O)C(N)Cc1c[nH]c2ccccc12"], sheet.boxes, strict=True):
        lone = Sheet(*sheet.image.size)
        lone.molecule(smiles, *box[:2])
        moved = lone.image.rotate(turn, Image.Resampling.BICUBIC, fillcolor=255)
        ys, xs = np.nonzero(np.asarray(moved) < 190)
        want = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        assert nearest(whole, want) <= 3


def test_blank_and_black_and_noisy_pages():
    assert Layout(np.zeros((300, 200), np.uint8)).regions == []
    assert Layout(np.full((300, 200), 255, np.uint8)).regions == []
    noise = np.random.default_rng(0).integers(0, 256, (600, 500), np.uint8)
    assert len(Layout(noise).regions) <= 300


def test_the_height_of_letters_is_told_by_the_text():
    for size in (16, 24, 40):
        sheet = Sheet()
        sheet.text(40, 40, WORDS[:2] * 3, size)
        assert 0.4 * size < layout(sheet).letter < 0.9 * size


def test_a_grainy_page_is_smoothed():
    sheet = full_page()
    grain = np.random.default_rng(0).normal(0, 45, sheet.pixels.shape)
    noisy = np.clip(sheet.pixels + grain, 0, 255).astype(np.uint8)
    found = Layout(255 - noisy)
    assert len(found.parts) < 5000
    for k, box in enumerate(sheet.boxes):
        if k != 1:  # a hashed bond is lost in the grain
            assert nearest(found, box) <= 8
