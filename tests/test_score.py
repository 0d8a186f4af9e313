"""score.py: accuracy by protocol, kinds of misses, the page of misses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from molgaze.reading import Reading
from molgaze.score import (
    Row,
    TableError,
    compare,
    kinds,
    misses,
    score,
    table,
    write_misses,
)


def picture(folder: Path, name: str) -> Path:
    path = folder / name
    drawn = Image.new("L", (60, 40), 255)
    drawn.paste(0, (10, 10, 50, 13))
    drawn.save(path)
    return path


def test_table(tmp_path: Path) -> None:
    picture(tmp_path, "a.png")
    (tmp_path / "t.csv").write_text("file,smiles,condition\na.png,OC,t\n", "utf-8")
    assert table(tmp_path / "t.csv") == [(tmp_path / "a.png", "OC", "t", "")]
    (tmp_path / "t.csv").write_text("file,smiles,note\na.png,OC,flat\n", "utf-8")
    assert table(tmp_path / "t.csv") == [(tmp_path / "a.png", "OC", None, "flat")]


@pytest.mark.parametrize(
    ("want", "got", "note", "exact"),
    [
        ("C[C@H](N)O", "CC(N)O", "", False),
        ("C[C@H](N)O", "CC(N)O", "flat", True),
        ("C[C@H](N)O", "CC(N)S", "flat", False),
        ("*c1ccccc1", "[1*]c1ccccc1", "", False),
        ("*c1ccccc1", "[1*]c1ccccc1", "dummy any label", True),
        ("*c1ccccc1", "[1*]c1ccncc1", "dummy any label", False),
        ("*c1ccccc1", "[2H]c1ccccc1", "dummy any label", False),
    ],
)
def test_a_note_says_how_an_answer_is_compared(
    tmp_path: Path, want: str, got: str, note: str, exact: bool
) -> None:
    row = Row(picture(tmp_path, "a.png"), want, None, note)
    assert score([row], lambda _: got).total.exact == exact


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,name\na.png,C\n", "no column smiles"),
        ("file,smiles\n", "no rows"),
        ("", "no column file and smiles"),
        ("file,smiles\na.png,\n", "line 2: file or smiles is empty"),
        ("file,smiles\nb.png,C\n", "line 2: no picture"),
        ("file,smiles\na.png,C(\n", "line 2: RDKit does not read"),
        ("file,smiles\na.png,CC O\n", "line 2: RDKit does not read"),
    ],
)
def test_table_errors(tmp_path: Path, text: str, message: str) -> None:
    picture(tmp_path, "a.png")
    (tmp_path / "t.csv").write_text(text, "utf-8")
    with pytest.raises(TableError, match=message):
        table(tmp_path / "t.csv")
    with pytest.raises(TableError, match=r"none\.csv"):
        table(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("want", "got", "kind"),
    [
        ("OC", "CO", ""),
        ("C1=CC=CC=C1", "c1ccccc1", ""),
        ("[CH3:1]O", "CO", ""),
        ("CO", None, "no reading"),
        ("CO", "", "no reading"),
        ("CO", "C(", "invalid SMILES"),
        ("C[C@H](N)F", "C[C@@H](N)F", "tetrahedral stereo"),
        ("C[C@H](N)F", "CC(N)F", "tetrahedral stereo"),
        ("C/C=C/C", "C/C=C\\C", "double-bond stereo"),
        ("CCO.Cl", "CCO", "fragment missing"),
        ("CCO", "CCO.Cl", "fragment extra"),
        ("CCO", "*CO", "label unknown"),
        ("CC[O-]", "CCO", "charge"),
        ("[13CH3]C", "CC", "isotope"),
        ("CC=C", "CCC", "bond order"),
        ("O=c1cccc[nH]1", "Oc1ccccn1", "tautomer"),
        ("CCO", "CCN", "element"),
        ("CCCO", "CCO", "atoms missing"),
        ("CCO", "CCCO", "atoms extra"),
        ("C1CCCCC1", "CCCCCC", "ring"),
        ("CCCCO", "CCC(C)O", "connection"),
    ],
)
def test_kinds(want: str, got: str | None, kind: str) -> None:
    assert compare(Path("a.png"), want, got).kind == kind


def test_a_label_that_was_read_is_named() -> None:
    read = Reading(smiles="CCCO", tokens=("C", "[", "'E", "'t", "]"))
    assert compare(Path("a.png"), "CCO", read).kind == "label"


def test_protocols() -> None:
    ez = compare(Path("a"), "C/C=C/[C@H](N)F", "C/C=C\\[C@H](N)F")
    assert (ez.exact, ez.tetrahedral, ez.flat, ez.valid) == (False, True, True, True)
    rs = compare(Path("a"), "C/C=C/[C@H](N)F", "C/C=C/[C@@H](N)F")
    assert (rs.exact, rs.tetrahedral, rs.flat) == (False, False, True)
    none = compare(Path("a"), "CO", None)
    assert (none.valid, none.tanimoto, none.morgan) == (False, 0.0, 0.0)
    near = compare(Path("a"), "CCCCO", "CCCCN")
    assert 0 < near.tanimoto < 1
    assert 0 < near.morgan < 1


def test_centres_that_hang_on_double_bonds_lose_theirs_too() -> None:
    a, b = "C/C=C/[C@H](O)/C=C\\C", "C/C=C/C(O)/C=C/C"
    assert compare(Path("a"), a, b).tetrahedral


def test_score_by_condition(tmp_path: Path) -> None:
    rows = [(tmp_path / f"{k}.png", "CO", "x" if k < 3 else "y") for k in range(4)]
    answers = {"0": "CO", "1": "CN", "2": "OC"}

    def read(path: Path) -> str:
        if path.stem not in answers:
            raise ValueError("blank")
        return answers[path.stem]

    seen = []
    scored = score(rows, read, seen.append)
    assert len(seen) == 4
    assert scored.total.exact == 0.5
    assert scored.total.valid == 0.75
    assert scored.conditions["x"].exact == pytest.approx(2 / 3)
    assert scored.conditions["y"].exact == 0
    assert scored.mean_of_conditions is not None
    assert scored.mean_of_conditions.exact == pytest.approx(1 / 3)
    assert scored.mean_of_conditions.pictures == 4
    assert kinds(scored.results) == {"element": 1, "no reading": 1}
    assert scored.results[3].error == "ValueError: blank"
    told = json.loads(json.dumps(scored.to_dict(), allow_nan=False))
    assert told["total"]["pictures"] == 4
    assert told["misses"]["element"] == 1
    assert [r.kind for r in misses(scored.results, "element")] == ["element"]


def test_no_conditions_no_mean() -> None:
    scored = score([("a.png", "CO", None)], lambda path: "CO")
    assert scored.conditions == {}
    assert scored.mean_of_conditions is None
    assert scored.to_dict()["mean_of_conditions"] is None


def test_faults_in_the_code_go_through() -> None:
    def read(path: Path) -> str:
        raise TypeError("bug")

    with pytest.raises(TypeError, match="bug"):
        score([("a.png", "CO", None)], read)
    with pytest.raises(ValueError, match="nothing"):
        score([], read)
    with pytest.raises(ValueError, match="does not read"):
        score([("a.png", "C(", None)], lambda path: None)


def test_page_of_misses(tmp_path: Path) -> None:
    rows = [(picture(tmp_path, f"{k}<b>.png"), "CO", None) for k in range(3)]
    rows.append((tmp_path / "gone.png", "CO", None))
    reading = Reading(
        smiles="CN",
        tokens=("C", "N"),
        places=((5.0, 5.0), (float("nan"), 9.0)),
        warnings=("<i>careful",),
        scale=20.0,
    )
    scored = score(rows, lambda path: reading)
    page = tmp_path / "misses.html"
    assert write_misses(scored, page, limit=None) == 4
    text = page.read_text("utf-8")
    assert text.count("data:image/png;base64,") == 11
    assert "<b>" not in text
    assert "<i>" not in text
    assert "http" not in text
    assert ">element</th><td>4</td>" in text
    assert write_misses(scored, page, limit=1) == 1
    assert not list(tmp_path.glob(".*"))
