import re
from html.parser import HTMLParser

import numpy as np
import pytest
from paper import HEXAGON, pdf
from PIL import Image

from molgaze.cli import main
from molgaze.document import Document
from molgaze.gallery import COLOURS, DPI, MARGIN, cut_out, marked, pages
from molgaze.reading import Reading

MOLFILE = "\n  x\n\n  1  0  0  0  0  0            999 V2000\n" + (
    "  100.0000 -280.0000    0.0000 C   0  0\nM  END\n"
)


class Tags(HTMLParser):
    """All start tags with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def shown(*readings, source=None, least=0.5):
    return "".join(pages(source or pdf([HEXAGON, "", HEXAGON]), readings, least))


def reading(page=1, **fields):
    given = {"box": (75.0, 250.0, 150.0, 300.0), "smiles": "C", "molfile": MOLFILE}
    return Reading(page=page, **{**given, "confidence": 0.9, "found": 0.99, **fields})


def test_boxes_lie_on_their_drawings_and_lead_to_readings_and_back():
    tags = Tags(shown(reading(), reading(box=(0, 0, 30, 40), number="12a"), reading(page=3))).found
    boxes = [a for t, a in tags if t == "a" and a["class"].startswith("box")]
    entries = [a for t, a in tags if t == "a" and a["class"] == "reading"]
    assert [b["id"] for b in boxes] == ["b1-1", "b1-2", "b3-1"]
    assert [b["href"] for b in boxes] == [f"#{e['id']}" for e in entries]
    assert [e["href"] for e in entries] == [f"#{b['id']}" for b in boxes]
    # the page has 300 x 400 points
    assert boxes[0]["style"] == "left:25.000%;top:62.500%;width:25.000%;height:12.500%"
    assert len([a for t, a in tags if t == "img" and a["alt"].startswith("page")]) == 2


def test_what_is_doubtful_or_not_read_is_marked():
    text = shown(
        reading(), reading(confidence=0.2), reading(smiles=None, molfile=None, error="no: why")
    )
    kinds = [a["class"] for t, a in Tags(text).found if t == "a" and "box" in a["class"]]
    assert kinds == ["box", "box doubtful", "box failed"]
    assert "no: why" in text


def test_text_of_a_document_is_no_html():
    text = shown(reading(number="<b>1</b>", warnings=("<script>x</script>",), smiles="<i>"))
    assert "<script" not in text
    assert "<b>1</b>" not in text
    assert "&lt;i&gt;" in text


def test_broken_pages_and_empty_documents():
    text = shown(Reading(page=9, error="x: there is no page 9", finish_reason="error"))
    assert "there is no page 9" in text
    assert "0 drawings on 3 pages" in shown()


def test_the_command_writes_it_whole(tmp_path, capsys):
    source = tmp_path / "paper.pdf"
    source.write_bytes(pdf(["", ""]))
    out = tmp_path / "found.html"
    assert main(["show", str(source), "-o", str(out)]) == 0
    assert "0 drawings on 2 pages" in out.read_text(encoding="utf-8")
    assert main(["show", str(source), "-o", str(out), "--page", "7"]) == 1
    assert "no page 7" in out.read_text(encoding="utf-8")
    source.write_bytes(b"%PDF-1.4 broken")
    before = out.read_bytes()
    assert main(["show", str(source), "-o", str(out)]) == 1
    assert out.read_bytes() == before
    assert re.search("broken PDF", capsys.readouterr().err)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["found.html", "paper.pdf"]


def test_molecules_are_cut_out_of_their_pages(tmp_path):
    source = tmp_path / "paper.pdf"
    source.write_bytes(pdf([HEXAGON, HEXAGON]))
    other = tmp_path / "other" / "paper.pdf"
    other.parent.mkdir()
    other.write_bytes(pdf([HEXAGON]))
    box = (80.0, 260.0, 120.0, 300.0)
    given = [
        reading(box=box, source=str(source)),
        reading(box=(0.0, 0.0, 30.0, 30.0), source=str(source)),
        reading(page=2, box=box, source=str(source)),
        reading(source=str(other)),
        Reading(smiles="C", source="elsewhere.png"),
    ]
    assert list(cut_out(given, tmp_path / "crops")) == given
    names = sorted(p.name for p in (tmp_path / "crops").iterdir())
    assert names == ["paper-p1-1.png", "paper-p1-2.png", "paper-p2-1.png", "paper~2-p1-1.png"]
    with Image.open(tmp_path / "crops" / names[0]) as crop:
        dark = np.asarray(crop.convert("L")) < 128
    ys, xs = np.nonzero(dark)
    # 40 points at 300 dots an inch, with 12 pixels of paper round them
    assert dark.shape == pytest.approx((191, 191), abs=2)
    assert [xs.min(), ys.min(), xs.max(), ys.max()] == pytest.approx([10, 10, 180, 180], abs=4)


def test_boxes_are_drawn_round_what_was_read_on_a_page():
    found = [
        reading(box=(75.0, 150.0, 150.0, 200.0)),
        reading(box=(200.0, 300.0, 250.0, 350.0), confidence=0.2),
        reading(box=(0.0, 0.0, 20.0, 20.0), smiles=None),
        reading(box=None),
    ]
    with Document(pdf([HEXAGON])) as document:
        image = marked(document, 1, found)
        bare = document.picture(1, DPI)
    assert image.size == bare.size
    pixels = np.asarray(image)
    for kind, one in zip(("", " doubtful", " failed"), found, strict=False):
        colour = [int(COLOURS[kind][i : i + 2], 16) for i in (1, 3, 5)]
        rows, columns = np.nonzero((pixels == colour).all(2))
        left, _, right, bottom = (side * DPI / 72 for side in one.box)
        assert columns.min() == pytest.approx(max(left - MARGIN, 0), abs=2)
        assert columns.max() == pytest.approx(right + MARGIN, abs=2)
        assert rows.max() == pytest.approx(bottom + MARGIN, abs=2)
