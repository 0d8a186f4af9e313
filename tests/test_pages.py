"""Pages through the reader with the shipped weights; which molecules are read is not looked at."""

import io
import json
import zlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from paper import HEXAGON, WORDS, Sheet, overlap, pdf, scan
from PIL import Image
from rdkit import Chem

from molgaze import Reader
from molgaze.gaze import WeightsError
from molgaze.layout import Layout, Region
from molgaze.page import (
    HEAD,
    MARGIN,
    _cut,
    _is_split,
    _Read,
    _read_alone,
    apart,
    find,
    findings,
    moved,
)
from molgaze.picture import PictureError, load
from molgaze.reading import Reading

EXAMPLES = Path(__file__).parent.parent / "examples"
SMILES = ["CC(=O)Oc1ccccc1C(=O)O", "CN1CCCC1c1cccnc1", "OCc1ccc(Cl)cc1C#N", "CCN(CC)C(=O)CBr"]


@pytest.fixture(scope="module")
def reader():
    return Reader(threads=1)


def paper():
    """A page of an article: text, four drawings with numbers, a table, a plot."""
    sheet = Sheet(1240, 1650)
    sheet.text(80, 60, WORDS * 2)
    for k, smiles in enumerate(SMILES):
        x, y = 120 + 560 * (k % 2), 380 + 240 * (k // 2)
        sheet.molecule(smiles, x, y, bond=36, size=20)
        left, _, right, bottom = sheet.boxes[-1]
        sheet.text((left + right) // 2 - 12, bottom + 22, [f"{k + 1}a"])
    sheet.table(80, 880, 5, 4)
    sheet.plot(720, 860)
    sheet.text(80, 1220, WORDS * 3)
    return sheet


def found_all(readings, boxes, unit=1.0):
    """Whether each box was found within 3 pixels, and nothing else."""
    found = [tuple(v * unit for v in r.box) for r in readings]
    assert len(found) == len(boxes)
    for box in boxes:
        best = max(found, key=lambda f: overlap(f, box))
        assert np.abs(np.array(best) - np.array(box)).max() <= 3


def test_the_shipped_weights_have_a_head_for_pages(reader):
    assert HEAD in reader._net.metadata


def test_all_drawings_of_a_page_and_nothing_else(reader):
    sheet = paper()
    readings = list(reader.find(sheet.pixels))
    found_all(readings, sheet.boxes)
    assert [r.page for r in readings] == [1] * 4
    assert all(r.found > 0.5 for r in readings)
    # from the first row to the second, from left to right
    assert [r.box[0] < 600 for r in readings] == [True, False, True, False]


def test_a_scan_in_a_pdf_has_places_in_points(reader):
    sheet = paper()
    readings = list(reader.find(scan(sheet.image.resize((1500, 2000)))))
    # the page is 300 points wide, and was drawn 1240 pixels wide
    boxes = [np.array(b) * np.tile([300 / 1240, 400 / 1650], 2) for b in sheet.boxes]
    assert len(readings) == 4
    for box in boxes:
        assert min(np.abs(np.array(r.box) - box).max() for r in readings) < 1.0
    for r in readings:
        places = np.array(r.places)
        assert (places > np.array(r.box[:2]) - 2).all()
        assert (places < np.array(r.box[2:]) + 2).all()


def test_molfiles_lie_on_the_page(reader):
    sheet = paper()
    for r in reader.find(sheet.pixels):
        if r.mol is None:
            continue
        xy = r.mol.GetConformer().GetPositions()[:, :2] * [1, -1]
        assert (xy > np.array(r.box[:2]) - 12).all()
        assert (xy < np.array(r.box[2:]) + 12).all()


def test_pages_without_molecules_give_nothing(reader):
    sheet = Sheet(1240, 1650)
    sheet.text(80, 60, ["A Headline in Large Letters"], 44)
    sheet.text(80, 160, WORDS * 3)
    sheet.table(80, 560, 8, 5)
    sheet.plot(120, 900)
    sheet.plot(680, 900, 300, 200)
    sheet.text(80, 1300, WORDS * 2)
    assert list(reader.find(sheet.pixels)) == []
    assert list(reader.find(np.full((900, 700), 255, np.uint8))) == []


def test_numbers_from_the_text_layer(reader):
    sheet = Sheet(1250, 1667)
    sheet.molecule(SMILES[0], 200, 300, bond=36, size=20)
    sheet.molecule(SMILES[1], 700, 300, bond=36, size=20)
    left, _, _, bottom = (v * 300 / 1250 for v in sheet.boxes[0])
    words = f"BT /F 6 Tf {left + 10} {400 - bottom - 10} Td (12a) Tj ET"
    drawn = f"q 300 0 0 400 0 0 cm /I0 Do Q {words}"
    readings = list(reader.find(pdf([drawn], images=[image_of(sheet.image)])))
    assert [r.number for r in readings] == ["12a", None]


def image_of(image):
    """What a PDF keeps of a grey picture."""
    entries = f"/Width {image.width} /Height {image.height} /ColorSpace /DeviceGray "
    return entries + "/BitsPerComponent 8 /Filter /FlateDecode", zlib.compress(image.tobytes())


def test_pages_that_are_wanted_and_pages_that_are_broken(reader):
    good = pdf([HEXAGON] * 3)
    assert {r.page for r in reader.find(good, pages=[2])} <= {2}
    (fault,) = reader.find(good, pages=[9])
    assert fault.page == 9
    assert fault.error_type == "PictureError"
    assert "no page 9" in fault.error
    with pytest.raises(PictureError):
        list(reader.find(b"%PDF-1.4 broken"))


def test_the_paper_of_the_examples(reader):
    found = {r.number: (r.page, r.smiles) for r in reader.find(EXAMPLES / "paper.pdf")}
    assert found == {
        "1": (1, "CC(=O)Oc1ccccc1C(=O)O"),
        "2": (1, "CN1CCC[C@H]1c1cccnc1"),
        "3a": (1, "CCN(CC)CC(=O)Nc1c(C)cccc1C"),
        "3b": (1, "CC(C)Cc1ccc(C(C)C(=O)O)cc1"),
        "(IV)": (2, "Cn1c(=O)c2c(ncn2C)n(C)c1=O"),
        "A-5": (2, "CN1C(=O)CN=C(c2ccccc2)c2cc(Cl)ccc21"),
    }


def test_weights_without_a_head_say_so(reader):
    headless = SimpleNamespace(metadata={})
    with pytest.raises(WeightsError, match="export"):
        list(find(headless, reader.read, paper().pixels))


def grid(*smiles):
    sheet = Sheet(440 * len(smiles), 300)
    for k, s in enumerate(smiles):
        sheet.molecule(s, 60 + 420 * k, 70, bond=36, size=20)
    return sheet


def test_several_molecules_of_one_picture_are_apart(reader):
    sheet = grid(*SMILES[:3])
    readings = reader.read_apart(sheet.pixels)
    found_all(readings, sheet.boxes)


def test_a_file_is_read_once_and_any_frame_of_it(reader):
    """An open file has nothing more to give once it is read, and not only a TIFF has frames."""
    sheet = grid(*SMILES[:3])
    file = io.BytesIO()
    sheet.image.save(file, "PNG")
    file.seek(0)
    found_all(reader.read_apart(file), sheet.boxes)
    file = io.BytesIO()
    first = Image.new("L", sheet.image.size, 255)
    first.save(file, "GIF", save_all=True, append_images=[sheet.image.convert("L")])
    readings = reader.read_apart(file.getvalue(), page=2)
    found_all(readings, sheet.boxes)
    assert {reading.page for reading in readings} == {2}


def test_drawings_of_a_page_are_read_together_and_as_if_alone(reader):
    sheet = grid(*SMILES[:3])
    layout = Layout(255 - sheet.pixels)
    alone = {
        finding.region.box: reader.read(255 - layout.shown(finding.region, MARGIN)).tokens
        for finding in findings(reader._net, layout)
    }
    readings = list(reader.find(sheet.pixels))
    assert len(readings) == 3
    assert {reading.box: reading.tokens for reading in readings} == alone
    assert all(reading.ms > 0 for reading in readings)


def test_a_picture_of_a_page_gives_what_is_drawn_on_it(reader):
    sheet = Sheet(1000, 900)
    sheet.text(60, 40, WORDS * 2)
    sheet.molecule(SMILES[0], 300, 420, bond=36, size=20)
    sheet.text(60, 700, WORDS)
    whole = Reading(smiles="C.CC", confidence=0.1, scale=36.0)
    readings = apart(reader._net, reader._read_part, load(sheet.image), whole)
    found_all(readings, sheet.boxes)


def test_one_molecule_stays_one(reader):
    sheet = grid(SMILES[0])
    (reading,) = reader.read_apart(sheet.pixels)
    assert reading == Reading.from_dict({**reading.to_dict(), "box": None})


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [
        ("CCCC[N+](C)(C)Cc1ccccc1", "Cc1ccc(S(=O)(=O)[O-])cc1", 1),  # charges cancel
        ("CN1CCC(c2ccccc2)CC1", "O=C(O)C=CC(=O)O", 1),  # a base and its acid
        ("CN1CCC(c2ccccc2)CC1", "O=C(O)c1ccncc1", 2),
    ],
)
def test_a_salt_is_one_molecule(reader, one, other, count):
    """Told by what is read, so the reader is told what to read."""
    sheet = grid(one, other)

    def read(pixels, *, is_scaled=False):
        yield from ()  # it takes no step
        xs = np.nonzero(pixels.min(0) < 128)[0]
        width = xs.max() - xs.min()
        widths = [b[2] - b[0] for b in sheet.boxes]
        smiles = one if abs(width - widths[0]) < abs(width - widths[1]) else other
        return Reading(smiles=smiles, confidence=0.8)

    whole = Reading(smiles=f"{one}.{other}", confidence=0.5, scale=36.0)
    readings = apart(reader._net, read, load(sheet.image), whole)
    assert len(readings) == count


def test_a_molfile_is_moved():
    v2000 = "\n  x\n\n  1  0  0  0  0  0            999 V2000\n" + (
        "   10.0000  -20.0000    0.0000 C   0  0\nM  END\n"
    )
    assert "   55.0000  -60.0000    0.0000 C" in moved(v2000, (100, 100), 2.0)
    v3000 = "\n  x\n\n  0  0  0     0  0            999 V3000\nM  V30 BEGIN ATOM\n" + (
        "M  V30 1 C 10 -20 0 0\nM  V30 END ATOM\nM  END\n"
    )
    assert "M  V30 1 C 55.000000 -60.000000 0 0" in moved(v3000, (100, 100), 2.0)


def test_readings_of_pages_are_rows_and_json(reader):
    sheet = grid(*SMILES[:2])
    for r in reader.find(sheet.pixels):
        kept = json.loads(json.dumps(r.to_dict()))
        assert Reading.from_dict(kept) == r
        row = r.row()
        assert [row[k] for k in ("x0", "y0", "x1", "y1")] == list(r.box)


def test_a_turned_page_is_found_all_the_same(reader):
    sheet = paper()
    turned = sheet.image.rotate(-1.0, Image.Resampling.BICUBIC, fillcolor=255)
    assert len(list(reader.find(np.asarray(turned)))) == 4


def hexagons(*middles, radius=40):
    """Rings drawn with Pillow, and the molecule of all of them with its atoms on the corners."""
    sheet = Sheet(700, 300)
    mol = Chem.RWMol()
    spots = []
    for x, y in middles:
        turn = np.arange(6) * np.pi / 3
        corners = np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], 1)
        sheet.pen.line([*map(tuple, corners.tolist()), tuple(corners[0])], 0, 3)
        first = mol.GetNumAtoms()
        for _ in corners:
            mol.AddAtom(Chem.Atom(6))
        for k in range(6):
            mol.AddBond(first + k, first + (k + 1) % 6, Chem.BondType.SINGLE)
        spots.append(corners)
    return sheet, mol, np.concatenate(spots)


def whole_of(layout, mol, spots):
    """The largest region, read as this molecule."""
    region = layout.regions[0]
    conformer = Chem.Conformer(mol.GetNumAtoms())
    for k, (x, y) in enumerate(spots - np.array(region.box[:2]) + MARGIN):
        conformer.SetAtomPosition(k, (float(x), float(-y), 0.0))
    mol.AddConformer(conformer)
    reading = Reading(
        smiles=Chem.MolToSmiles(mol), molfile=Chem.MolToMolBlock(mol), scale=40.0, confidence=0.5
    )
    return _Read(region, 0.99, reading)


def test_molecules_that_a_line_joins_are_cut_apart():
    sheet, mol, spots = hexagons((150, 150), (420, 150))
    sheet.pen.line([(194, 150), (376, 150)], 0, 3)  # touches neither, but nearly
    sheet.pen.line([(250, 150), (250, 120)], 0, 3)  # bent, so that it is no line by itself
    found = Layout(255 - sheet.pixels)
    whole = whole_of(found, mol, spots)
    assert whole.region.box[2] - whole.region.box[0] > 300
    one, other = _cut(found, whole)
    for region, x in ((one, 150), (other, 420)):
        assert np.abs(np.array(region.box) - (x - 41, 114, x + 42, 187)).max() <= 4


def test_rings_that_touch_are_not_cut_apart():
    sheet, mol, spots = hexagons((150, 150), (234, 150))
    found = Layout(255 - sheet.pixels)
    assert _cut(found, whole_of(found, mol, spots)) == []


def test_the_whole_stands_against_its_parts():
    def region(*box):
        return Region(box, np.zeros(1, np.int64), 1)

    def read(smiles, confidence, *box):
        return _Read(region(*box), 0.99, Reading(smiles=smiles, confidence=confidence))

    left, right = read("CC", 0.9, 0, 0, 40, 40), read("CO", 0.8, 50, 0, 90, 40)
    assert _is_split(read("CC.CO", 0.9, 0, 0, 90, 40), [left, right])
    assert not _is_split(read("CCCO", 0.6, 0, 0, 90, 40), [left, right])
    assert _is_split(read("CCCO", 0.1, 0, 0, 90, 40), [left, right])
    assert not _is_split(read("CC.CO", 0.9, 0, 0, 90, 40), [left, read(None, 0.0, 50, 0, 90, 40)])
    wide = replace(
        read("CCCO", 0.4, 0, 0, 90, 40), region=Region((0, 0, 90, 40), left.region.parts, 2)
    )
    assert not _is_split(read("CCCO", 0.4, 0, 0, 90, 40), [left, right])
    assert _is_split(wide, [left, right])  # at the usual gap they are two
    over = read("CO", 0.2, 30, 0, 90, 40)  # pieces that lie over one another
    assert not _is_split(read("CC.CO", 0.9, 0, 0, 90, 40), [left, over])


def test_what_looks_less_like_a_drawing_must_be_read_more_surely():
    def credible(probability, smiles, confidence):
        reading = Reading(smiles=smiles, confidence=confidence)
        return _Read(
            Region((0, 0, 9, 9), np.zeros(1, np.int64), 1), probability, reading
        ).is_credible

    assert credible(0.999, None, 0.0)  # told with its box, as it cannot be read
    assert not credible(0.95, None, 0.0)
    assert not credible(0.95, "CC", 0.001)
    assert credible(0.95, "CC", 0.02)
    assert not credible(0.8, "CC", 0.1)
    assert credible(0.8, "CC", 0.3)
    assert not credible(0.4, "CC", 0.5)
    assert credible(0.4, "CC", 0.7)


def test_a_picture_of_which_little_was_read_is_searched(reader):
    sheet = Sheet(1000, 300)
    sheet.molecule(SMILES[0], 60, 60, bond=36, size=18)
    sheet.molecule(SMILES[2], 560, 60, bond=36, size=18)
    left = sheet.boxes[0]
    whole = Reading(
        smiles="CC", confidence=0.9, scale=36.0, places=((left[0], left[1]), (left[2], left[3]))
    )
    found = apart(reader._net, reader._read_part, load(sheet.pixels), whole)
    assert len(found) == 2
    over = replace(whole, places=((60.0, 60.0), (float(sheet.boxes[1][2]), 250.0)))
    assert apart(reader._net, reader._read_part, load(sheet.pixels), over) == [over]


def test_the_text_of_a_page_bears_out_the_scale_of_its_drawings():
    told = []

    def read(pixels, *, is_scaled=False):
        yield from ()  # it takes no step
        told.append(is_scaled)
        return Reading(smiles="CC", confidence=0.9)

    for bond, text in ((36, WORDS * 3), (36, []), (120, WORDS * 3)):
        sheet = Sheet(1300, 1100)
        sheet.text(60, 60, text)
        sheet.molecule(SMILES[0], 80, 500, bond=bond, size=18)
        found = Layout(255 - sheet.pixels)
        region = max(found.regions, key=lambda r: overlap(r.box, sheet.boxes[0]))
        with pytest.raises(StopIteration):
            next(_read_alone(found, read, region, 0.99))
    assert told == [True, False, False]
