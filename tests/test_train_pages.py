import base64
import gzip
import shutil

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("cv2")

from molgaze.gaze import Net
from molgaze.layout import INK_LEVEL, Layout
from molgaze.page import HEAD
from molgaze.reader import WEIGHTS
from molgaze.train import pages
from molgaze.train.pages import OTHERS, draw_page, fit, fit_head, page_examples, supply

SMILES = """
CC(=O)Oc1ccccc1C(=O)O
CN1CCC[C@H]1c1cccnc1
CCN(CC)CC(=O)Nc1c(C)cccc1C
Clc1ccc2c(c1)C(=NCC(=O)N2C)c1ccccc1
CC(C)Cc1ccc(cc1)C(C)C(=O)O
OCCBr
CC(=O)OCC
NCCc1ccc(O)c(O)c1
""".split()


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "molecules.smi.gz"
    with gzip.open(path, "wt") as lines:
        lines.writelines(f"{s}\n" for s in SMILES * 40)
    return path


@pytest.mark.parametrize("draw", OTHERS, ids=lambda f: f.__name__.strip("_"))
def test_clippings_have_ink_and_paper(draw):
    for seed in range(4):
        ink = draw(np.random.default_rng(seed), 500, 20.0)
        assert ink.dtype == np.uint8
        assert ink.ndim == 2
        assert 0 < np.count_nonzero(ink >= INK_LEVEL) < ink.size


def test_a_drawn_page_knows_whose_ink_is_whose(data, monkeypatch):
    monkeypatch.setattr(pages, "_spoil", lambda page, rng: None)
    rng = np.random.default_rng(2)
    molecules = supply([data], 0)
    count = 0
    for _ in range(3):
        page = draw_page(molecules, rng)
        assert page.ink.shape == page.owner.shape == pages.SIZE
        count += page.owner.max()
        assert (page.ink[page.owner > 0] >= INK_LEVEL // 2).all()
    assert count > 3


def test_spoiled_pages_keep_their_size_and_their_ink():
    for seed in range(8):
        page = pages.Drawn(np.zeros((200, 300), np.uint8), np.zeros((200, 300), np.int16))
        page.ink[80:100, 50:250] = 255
        pages._spoil(page, np.random.default_rng(seed))
        assert page.ink.shape == (200, 300)
        assert page.ink[85:95, 60:240].mean() > 200
        assert page.ink[:60].mean() < 20


def test_regions_of_drawn_pages_are_told_by_their_owners(data):
    rng = np.random.default_rng(5)
    molecules = supply([data], 1)
    net = Net(WEIGHTS, "cpu", 1)
    found = [e for _ in range(3) for e in page_examples(net, draw_page(molecules, rng), rng)]
    kinds = [is_molecule for _, is_molecule in found]
    assert any(kinds)
    assert not all(kinds)
    assert len({len(vector) for vector, _ in found}) == 1


def test_the_fit_parts_what_can_be_parted():
    rng = np.random.default_rng(0)
    y = rng.random(600) < 0.2
    x = rng.normal(5, 3, (600, 8)).astype(np.float32)
    x[:, 3] += 9 * y
    x[:, 5] = 2.0  # a feature that never changes
    weights = fit(x, y, 1.0)
    said = x @ weights[:-1] + weights[-1] > 0
    assert (said == y).mean() > 0.9
    assert said[y].mean() > 0.85  # the rarer kind too
    assert np.isfinite(weights).all()


def test_the_head_goes_into_the_metadata_and_nothing_else_changes(data, tmp_path):
    for name in ("encoder.onnx", "step.onnx"):
        shutil.copy(WEIGHTS / name, tmp_path / name)
    before = onnx.load(tmp_path / "encoder.onnx")
    report = fit_head(tmp_path, [data], pages=3, seed=3)
    assert report["regions"] > report["molecules"] > 0
    after = onnx.load(tmp_path / "encoder.onnx")
    assert after.graph == before.graph
    old = {e.key: e.value for e in before.metadata_props}
    new = {e.key: e.value for e in after.metadata_props}
    assert {k for k in new if new[k] != old.get(k)} == {HEAD}
    head = np.frombuffer(base64.b64decode(new[HEAD]), "<f4")
    ink = np.zeros((200, 200), np.uint8)
    ink[40:140, 50:150] = 255
    ink[44:136, 54:146] = 0
    net = Net(tmp_path, "cpu", 1)
    size = len(pages.summary(net, Layout(ink), Layout(ink).regions[0]))
    assert len(head) == size + 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "encoder.onnx",
        "molecules.smi.gz",
        "step.onnx",
    ]
