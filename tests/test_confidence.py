"""The fit of the confidence, on readings that are made up."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training is an extra")

from PIL import Image
from rdkit import Chem

from molgaze.confidence import Confidence
from molgaze.train import confidence
from molgaze.train.confidence import FEATURES, Record, Seen, fit, halves


def seen(right: bool, molecule: bool = True, **features: float) -> Seen:
    return Seen(dict.fromkeys(FEATURES, 0.0) | features, right, molecule)


def records(count: int, seed: int = 0) -> list[Record]:
    """Pictures whose readings are right by a chance that two features tell; the second reading of
    each is worse. A tenth holds no molecule, and its ink is not explained.
    """
    rng = np.random.default_rng(seed)
    found = []
    for k in range(count):
        holds = k % 10 > 0
        total, apart = -rng.exponential(1.0), rng.normal(0.1 if holds else 0.8, 0.05)
        chance = 1 / (1 + np.exp(-(3 + 2 * total))) if holds else 0.0
        right = bool(rng.random() < chance)
        readings = (
            seen(right, total=float(total), apart=float(apart)),
            seen(False, total=float(total) - 4, apart=float(apart)),
        )
        atoms = (((-0.01, True), (float(total), right)), ((float(total) - 4, False),))
        found.append(Record("made", f"{k}.png", holds, readings, atoms))
    return found


def test_the_fit_says_how_often_it_is_right() -> None:
    model, fresh = fit(records(3000)), records(3000, seed=1)
    chosen = [confidence.choice(model, record) for record in fresh]
    assert all(best is not None and best[0].features["total"] > -12 for best in chosen)
    chances = np.array([model(best[0].features) for best in chosen if best])
    right = np.array([float(best[0].right) for best in chosen if best])
    assert confidence.error(chances, right) < 0.03
    assert chances.max() > 0.94
    nothing = [model(r.seen[0].features) for r in fresh if not r.holds]
    assert np.mean(nothing) < 0.05
    atoms = model.of_atoms({"total": -0.1, "apart": 0.0}, np.array([0.9, 0.01]))
    assert atoms[0] > 0.8
    assert atoms[1] < 0.5


def test_what_holds_no_molecule_is_refused_and_few_others() -> None:
    model, fresh = fit(records(3000)), records(3000, seed=1)
    refused = [model.refuses(r.seen[0].features) for r in fresh]
    held = [no for no, record in zip(refused, fresh, strict=True) if record.holds]
    nothing = [no for no, record in zip(refused, fresh, strict=True) if not record.holds]
    assert np.mean(held) < 0.02
    assert np.mean(nothing) > 0.95


def test_the_logistic_curve_is_found() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(3.0, 2.0, (4000, 2))
    y = (rng.random(4000) < 1 / (1 + np.exp(-(1.5 * x[:, 0] - 2 * x[:, 1] + 1)))).astype(float)
    found = confidence.logistic(x, y, np.ones(4000))
    assert found == pytest.approx([1.5, -2, 1], abs=0.4)
    parted = confidence.logistic(np.array([[0.0], [1.0]]), np.array([0.0, 1.0]), np.ones(2))
    assert np.isfinite(parted).all()


def test_measures() -> None:
    chances = np.array([0.95, 0.95, 0.15, 0.15])
    assert confidence.error(chances, np.array([1.0, 1.0, 0.0, 0.0])) == pytest.approx(0.1)
    assert confidence.error(chances, np.array([0.0, 0.0, 1.0, 1.0])) == pytest.approx(0.9)
    assert confidence.coverage(chances, np.array([1.0, 1.0, 0.0, 0.0])) == 0.5
    assert confidence.coverage(chances, np.array([1.0, 1.0, 0.0, 0.0]), wanted=0.5) == 1.0
    assert confidence.coverage(chances, np.zeros(4)) == 0.0


def test_halves_share_nothing_and_stay_as_they_are() -> None:
    first, second = halves(records(200))
    assert len(first) + len(second) == 200
    assert 60 < len(first) < 140
    assert {r.file for r in first}.isdisjoint(r.file for r in second)
    assert halves(records(200))[0] == first


@pytest.mark.parametrize(
    ("smiles", "other", "note", "same"),
    [
        ("OCC", "CCO", "", True),
        ("C[C@H](O)F", "C[C@@H](O)F", "", False),
        ("C[C@H](O)F", "CC(O)F", "flat", True),
        ("[1*]CC", "*CC", "", False),
        ("[1*]CC", "*CC", "flat; dummy any label", True),
        ("", "CC", "", False),
        ("not", "CC", "", False),
    ],
)
def test_answers_are_compared_as_a_note_says(
    smiles: str, other: str, note: str, same: bool
) -> None:
    assert (confidence.answer(smiles, note) == confidence.answer(other, note)) == same


def test_the_atoms_that_both_have_are_right() -> None:
    read, truth = Chem.MolFromSmiles("CCOC(=O)c1ccccc1Br"), Chem.MolFromSmiles("CCOC(=O)c1ccccc1Cl")
    good = confidence._shared(read, truth)
    assert good.count(False) == 1
    assert not good[read.GetNumAtoms() - 1]
    wrong = confidence._shared(Chem.MolFromSmiles("C[C@H](O)F"), Chem.MolFromSmiles("C[C@@H](O)F"))
    assert wrong.count(False) == 1


def test_what_was_seen_is_kept_for_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (40, 40), 255).save(tmp_path / "blank.png")
    with open(tmp_path / "table.csv", "w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([("file", "smiles"), ("blank.png", ""), ("blank.png", "C")])
    wanted = list(confidence.rows([tmp_path / "table.csv"], each=1))
    assert len(wanted) == 1
    assert len(list(confidence.rows([tmp_path / "table.csv"], each=0))) == 2
    calls: list[str] = []
    record = records(2)[1]

    def looked(_: object, row: confidence.Row) -> Record:
        calls.append(row.table)
        return Record(row.table, str(row.file), record.holds, record.seen, record.atoms)

    class Weights:
        def __init__(self, model: str) -> None:
            self.info = {"id": model}

    monkeypatch.setattr(confidence, "looked", looked)
    cache = tmp_path / "cache.jsonl"
    first = confidence.read_all(Weights("one"), wanted, cache)  # type: ignore[arg-type]
    again = confidence.read_all(Weights("one"), wanted, cache)  # type: ignore[arg-type]
    assert first == again
    assert calls == ["table"]
    confidence.read_all(Weights("two"), wanted, cache)  # type: ignore[arg-type]
    assert calls == ["table"] * 2


def test_the_model_comes_back_from_what_is_written() -> None:
    model = fit(records(500))
    text = json.dumps(asdict(model))
    assert Confidence.of({"confidence": text}) == model
