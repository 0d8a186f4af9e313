"""files.py: whole or not at all, and readings as tables, SDF and other files."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem
from rdkit.Chem import rdDepictor

from molgaze import files
from molgaze.files import FORMATS, clear_drafts, form_of, row, text, whole, write
from molgaze.reading import COLUMNS, Reading


def reading(smiles: str, **more: object) -> Reading:
    mol = Chem.MolFromSmiles(smiles)
    rdDepictor.Compute2DCoords(mol)
    fields: dict[str, object] = {
        "smiles": Chem.MolToSmiles(mol),
        "molfile": Chem.MolToMolBlock(mol),
        "inchikey": Chem.MolToInchiKey(mol),
        "confidence": 0.9,
        "tokens": ("C", "=", "O"),
        "places": ((1.0, 2.0), (3.0, 4.5), (5.0, 6.0)),
        "probabilities": (1.0, 0.9, 0.8),
        "alternatives": (("CO", 0.05),),
        "source": "a.png",
        "page": 1,
        "model": "test",
        "ms": 12.5,
    }
    return Reading(**(fields | more))  # type: ignore[arg-type]


FAILED = Reading(finish_reason="error", source="b.png", error="too small", error_type="ImageError")
EMPTY = Reading(finish_reason="no molecule", source="c.png")
NOISE = reading("CCl", finish_reason="no molecule", confidence=0.01, source="noise.png")


# ---- whole or not at all --------------------------------------------------------------------


def test_a_file_appears_when_all_went_well(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole(path) as draft:
        draft.write_text("new")
        assert not path.exists()
        assert draft.parent == tmp_path
    assert path.read_text() == "new"
    with pytest.raises(ZeroDivisionError), whole(path) as draft:
        draft.write_text(f"half{1 / 0}")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_drafts_of_killed_processes_are_cleared_and_nothing_else(tmp_path: Path) -> None:
    names = [".a.csv.12345678.tmp", ".a.csv.tmp", ".a.csv.notes.tmp", ".b.csv.12345678.tmp"]
    for name in names:
        (tmp_path / name).touch()
    clear_drafts(tmp_path / "a.csv")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names[1:])


@pytest.mark.parametrize("name", [f"o.{form}" for form in FORMATS] + ["o.csv.gz", "o.sdf.gz"])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("old")

    def broken() -> Any:
        yield reading("CO")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write(broken(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# ---- formats --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *(("a.csv", "csv"), ("a.CSV.gz", "csv"), ("dir.v2/a.tsv", "tsv"), ("a.sdf.GZ", "sdf")),
        *(("a.parquet", "parquet"), ("csv", None), ("a.gz", None), ("a.pdf", None), ("a", None)),
    ],
)
def test_the_format_of_a_file(name: str, form: str | None) -> None:
    assert form_of(name) == form


def test_jsonl_and_csv_hold_every_reading(tmp_path: Path) -> None:
    everything = [reading("CO"), FAILED, EMPTY]
    assert write(everything, tmp_path / "o.jsonl") == 3
    lines = (tmp_path / "o.jsonl").read_text("utf-8").splitlines()
    assert [Reading.from_dict(json.loads(line)) for line in lines] == everything
    assert write(iter(everything), tmp_path / "o.csv") == 3
    with open(tmp_path / "o.csv", newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    assert [r["source"] for r in rows] == ["a.png", "b.png", "c.png"]
    assert rows[1]["error"] == "too small"
    assert rows[0]["smiles"] == "CO"
    assert write(everything, tmp_path / "o.tsv") == 3
    lines = (tmp_path / "o.tsv").read_text("utf-8").splitlines()
    assert [line.split("\t") for line in lines] == [
        list(COLUMNS),
        *([r[name] for name in COLUMNS] for r in rows),
    ]


def test_compressed_files_hold_the_same(tmp_path: Path) -> None:
    for name in ("o.csv", "o.tsv", "o.jsonl", "o.sdf", "o.smi"):
        for _ in range(2):
            assert write([reading("CO")], tmp_path / name) == 1
            before = (tmp_path / f"{name}.gz").read_bytes() if _ else None
            assert write([reading("CO")], tmp_path / f"{name}.gz") == 1
        packed = (tmp_path / f"{name}.gz").read_bytes()
        assert packed == before
        assert gzip.decompress(packed) == (tmp_path / name).read_bytes()


def test_numbers_are_rounded() -> None:
    long = reading("CO", places=((1 / 3, 2 / 3),), probabilities=(1 / 3,), confidence=1 / 3)
    kept = row(long)
    assert kept["places"] == [[0.33, 0.67]]
    assert kept["probabilities"] == [0.3333]
    assert kept["confidence"] == 0.3333
    assert Reading.from_dict(kept).smiles == "CO"
    table = text([long], "csv").splitlines()
    assert dict(zip(*(line.split(",") for line in table), strict=True))["confidence"] == "0.3333"


@pytest.mark.parametrize("name", ["=1+1.png", "+a.png", "-a.png", "@a.png", "\ta.png", " =1.png"])
def test_cells_are_no_formulas(name: str) -> None:
    assert ("'" + name) in text([reading("CO", source=name)], "csv")


def test_a_name_cannot_break_a_row() -> None:
    evil = reading("CO", source="a\tb\n.png")
    assert text([evil], "smi") == "CO\ta b .png\n"
    lines = text([evil], "tsv").splitlines()
    assert [len(line.split("\t")) for line in lines] == [len(COLUMNS)] * 2


def test_what_is_no_molecule_gives_no_structure() -> None:
    assert text([NOISE], "smi") == text([NOISE], "sdf") == ""
    for form in ("csv", "tsv", "jsonl"):
        assert "CCl" not in text([NOISE], form)  # type: ignore[arg-type]
        assert "no molecule" in text([NOISE], form)  # type: ignore[arg-type]
        assert NOISE.inchikey not in text([NOISE], form)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one molecule"):
        text([NOISE], "mol")


def test_sdf(tmp_path: Path) -> None:
    path = tmp_path / "o.sdf"
    evil = reading(
        "C[C@H](N)F", source="a\n$$$$\n.png", page=2, warnings=("one", "two"), confidence=0.12345
    )
    named = reading("CO", molfile=None, id="mol 7")
    assert write([evil, EMPTY, named], path) == 2
    mols = list(Chem.SDMolSupplier(str(path)))
    assert [Chem.MolToSmiles(m) for m in mols] == ["C[C@H](N)F", "CO"]
    assert [m.GetProp("_Name") for m in mols] == ["a $$$$ .png, page 2", "mol 7"]
    props = mols[0].GetPropsAsDict(autoConvertStrings=False)
    assert props["smiles"] == "C[C@H](N)F"
    assert props["inchikey"] == evil.inchikey
    assert props["warnings"] == "one; two"
    assert props["source"] == "a $$$$ .png"
    assert (props["page"], props["confidence"], props["model"]) == ("2", "0.1235", "test")
    assert set(props) <= set(COLUMNS)


@pytest.mark.parametrize(("smiles", "flag"), [("C[C@H](N)F", "1"), ("CC(N)F", "0")])
def test_a_molecule_of_smiles_alone_is_no_racemate(smiles: str, flag: str, tmp_path: Path) -> None:
    write([Reading(smiles)], tmp_path / "o.mol")
    assert (tmp_path / "o.mol").read_text().splitlines()[3].split()[4] == flag


def test_mol_holds_one(tmp_path: Path) -> None:
    assert write([reading("CO")], tmp_path / "o.mol") == 1
    assert Chem.MolToSmiles(Chem.MolFromMolFile(str(tmp_path / "o.mol"))) == "CO"
    for bad in ([], [FAILED], [reading("CO")] * 2):
        with pytest.raises(ValueError, match="one molecule"):
            write(bad, tmp_path / "o.mol")


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = b"\xff.png".decode("utf-8", "surrogateescape")
    for form in ("smi", "csv", "tsv", "jsonl", "sdf", "csv.gz"):
        assert write([reading("CO", source=name)], tmp_path / f"o.{form}") == 1


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown format 'pdf'"):
        write([], tmp_path / "o.pdf")
    with pytest.raises(ValueError, match="unknown format"):
        text([], "parquet")


# ---- Parquet --------------------------------------------------------------------------------


def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(files, "CHUNK", 2)
    odd = b"\xff.png".decode("utf-8", "surrogateescape")
    given = [reading("CO", id=f"{i}", source=odd if i == 3 else "a.png") for i in range(5)]
    path = tmp_path / "o.parquet"
    assert write([*given, FAILED], path, header={"model": "x"}) == 6
    table = pq.read_table(path)
    assert json.loads(table.schema.metadata[b"molgaze"]) == {"model": "x"}
    rows = table.to_pylist()
    assert [r["id"] for r in rows] == ["0", "1", "2", "3", "4", None]
    assert "\\udcff" in rows[3]["source"]
    assert rows[5]["error"] == "too small"
    assert rows[0]["alternatives"] == [{"smiles": "CO", "confidence": 0.05}]
    assert Reading.from_dict(rows[0]) == given[0]
