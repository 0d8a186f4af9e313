"""Drawing, spoiling, the model, the training loop and export, on small sizes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")

from molgaze import gaze, walk
from molgaze.molecule import molecule
from molgaze.train import draw, export, fit, lessons
from molgaze.train.corpus import Corpus, layout, read_smiles
from molgaze.train.hands import hand
from molgaze.train.model import Gaze, Size, attention_target, loss
from molgaze.train.spoil import spoil

SMILES = """CC(=O)Oc1ccccc1C(=O)O aspirin
CN1C=NC2=C1C(=O)N(C(=O)N2C)C caffeine
C[C@H](N)C(=O)O alanine
CCOC(=O)c1ccc(N)cc1 benzocaine
OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O glucose
CC(C)Cc1ccc(cc1)C(C)C(=O)O ibuprofen
C[N+](C)(C)CC([O-])=O betaine
FC(F)(F)c1ccc(Cl)cc1 fluoride
"""
SMALL = Size(
    stem=8,
    fine=8,
    sharp=4,
    coarse=16,
    dilations=(1, 2),
    features=24,
    attention=16,
    location=4,
    reach=3,
    embedding=8,
    hidden=32,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "molecules.smi"
    path.write_text(SMILES * 40)
    return path


def corpus(data: Path, seed: int = 0) -> Corpus:
    return Corpus([data], seed, pool=4)


# --- corpus ---


def test_held_out_lines_are_never_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "many.smi"
    path.write_text("".join(f"{'C' * (i + 1)}\n" for i in range(450)))
    kept, held = read_smiles(path), read_smiles(path, held_out=True)
    assert not set(kept) & set(held)
    assert len(kept) + len(held) == 450
    assert len(held) == 3


def test_a_corpus_without_molecules_says_so(tmp_path: Path) -> None:
    path = tmp_path / "empty.smi"
    path.write_text("\n")
    with pytest.raises(ValueError, match=r"empty\.smi"):
        Corpus([path])


def test_a_corpus_without_a_valid_smiles_says_so(tmp_path: Path) -> None:
    path = tmp_path / "bad.smi"
    path.write_text("hello\nC1CC\n" * 10)
    with pytest.raises(ValueError, match=r"bad\.smi.*no SMILES"):
        Corpus([path])


@pytest.mark.parametrize(
    ("text", "said"),
    [("CCO\n", "give a file with more lines"), ("smiles\nCCO\nCCC\n", "take a heading off")],
)
def test_a_short_file_is_told_what_it_lacks(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "short.smi"
    path.write_text(text)
    # Training asks for the lines that are kept apart before any process draws the others.
    with pytest.raises(ValueError, match=rf"short\.smi.*first line and every 200th.*{said}"):
        Corpus([path], held_out=True)


def test_molecules_come_with_sound_coordinates(data: Path) -> None:
    for mol, _ in zip(corpus(data), range(20), strict=False):
        xy = mol.GetConformer().GetPositions()[:, :2]
        assert np.isfinite(xy).all()


# --- drawing ---


@pytest.mark.parametrize("seed", range(12))
def test_what_is_drawn_is_the_molecule(data: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for mol, _ in zip(corpus(data, seed), range(4), strict=False):
        plain = draw.style(rng)
        look = draw.Style(**{**vars(plain), "variables": 0.0})
        drawn = draw.own(mol, rng, look)
        back, faults = walk.decode(*walk.encode(drawn.graph))
        assert not faults
        assert molecule(back).smiles == Chem.CanonSmiles(Chem.MolToSmiles(mol))


def test_drawing_is_deterministic(data: Path) -> None:
    mol = next(iter(corpus(data)))
    a = spoil(draw.own(mol, np.random.default_rng(3)), np.random.default_rng(4))
    b = spoil(draw.own(mol, np.random.default_rng(3)), np.random.default_rng(4))
    assert np.array_equal(a.ink, b.ink)
    assert np.array_equal(a.graph.places, b.graph.places)
    assert a.graph.atoms == b.graph.atoms


def test_places_lie_on_ink() -> None:
    mol = Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O")
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert layout(mol, rng)
        look = draw.Style(bond=40.0, font=draw.usual_fonts()[0])
        drawn = draw.own(mol, rng, look)
        for (x, y), atom in zip(drawn.graph.places, drawn.graph.atoms, strict=True):
            reach = 12 if atom == "O" else 3  # the middle of an O is paper
            patch = drawn.ink[
                max(int(y) - reach, 0) : int(y) + reach + 1,
                max(int(x) - reach, 0) : int(x) + reach + 1,
            ]
            assert patch.max() > 128, (atom, x, y)


@pytest.mark.parametrize("harm", [0.0, 1.0])
def test_spoiling_moves_places_with_the_ink(harm: float) -> None:
    mol = Chem.MolFromSmiles("CCCCCC")
    assert layout(mol, np.random.default_rng(1))
    hits = total = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        look = draw.Style(bond=40.0, line=0.1, font=draw.usual_fonts()[0])
        spoilt = spoil(draw.own(mol, rng, look), rng, harm)
        assert spoilt.ink.dtype == np.uint8
        for x, y in spoilt.graph.places:
            i, j = int(round(y)), int(round(x))
            patch = spoilt.ink[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
            hits += patch.size > 0 and int(patch.max()) > 80
            total += 1
    assert hits / total > (0.99 if harm == 0 else 0.93)


def test_a_picture_of_nothing_is_an_empty_walk() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        shown = fit.example(spoil(draw.nothing(rng), rng))
        assert shown is not None
        assert [walk.VOCABULARY[t] for t in shown.tokens] == ["<", ">"]
        assert np.isfinite(shown.places[-1]).all()


def test_a_mirrored_layout_keeps_its_stereo() -> None:
    mol = Chem.MolFromSmiles("C[C@H](N)C(=O)O")
    seen = set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        assert layout(mol, rng)
        look = draw.Style(bond=40.0, font=draw.usual_fonts()[0])
        graph = draw.own(mol, rng, look).graph
        seen |= {k for _, _, k in graph.bonds if k in "wh"}
        assert molecule(graph).smiles == "C[C@H](N)C(=O)O"
    assert seen == {"w", "h"}


# --- lessons ---


@pytest.mark.parametrize("kind", lessons.KINDS)
def test_lessons_can_be_written_as_walks(data: Path, kind: str) -> None:
    rng = np.random.default_rng(5)
    molecules = corpus(data)
    for _ in range(12):
        drawn = lessons.drawn(kind, molecules, rng)
        shown = fit.example(spoil(drawn, rng))
        assert shown is not None
        assert (len(shown.tokens) == 2) == (kind == "nothing")


def test_label_lessons_write_their_texts(data: Path) -> None:
    rng = np.random.default_rng(2)
    molecules = corpus(data)
    labels = set()
    for _ in range(60):
        graph = lessons.drawn("label", molecules, rng).graph
        labels |= {atom for atom in graph.atoms if atom.startswith("[")}
        for i, spots in graph.glyphs.items():
            assert len(spots) == len(graph.atoms[i]) - 2  # a place for every glyph
    assert len(labels) > 60


def test_a_piece_is_a_ring_system_with_its_chains() -> None:
    mol = Chem.MolFromSmiles("CCOC(=O)c1ccc(CC2CCNCC2)cc1")
    found = {Chem.MolToSmiles(lessons.piece(mol, np.random.default_rng(seed))) for seed in range(8)}
    assert found == {"CCOC(=O)c1ccccc1", "C1CCNCC1"}


def test_attachment_points_are_drawn_as_waves() -> None:
    mol = Chem.MolFromSmiles("*CCC")
    rng = np.random.default_rng(0)
    assert layout(mol, rng)
    look = draw.Style(bond=40.0, font=draw.usual_fonts()[0], attachment="~")
    waved = draw.own(mol, np.random.default_rng(0), look)
    assert "*" in waved.graph.atoms
    starred = draw.own(mol, np.random.default_rng(0), draw.replace(look, attachment="*"))
    x, y = (round(v) for v in waved.graph.places[waved.graph.atoms.index("*")])
    wide = [d.ink[y - 18 : y + 19, x - 18 : x + 19].sum() for d in (waved, starred)]
    assert wide[0] > 1.3 * wide[1]  # a wave across the bond has more ink than a star


# --- model ---


def batch_of(data: Path, count: int = 4, seed: int = 0) -> fit.Batch:
    rng = np.random.default_rng(seed)
    shelf = []
    for mol in corpus(data, seed):
        drawn = fit.example(spoil(hand(mol, rng), rng, 0.0))
        if drawn is not None:
            shelf.append(drawn)
        if len(shelf) == count:
            break
    return fit.collate(shelf)


def test_attention_targets_peak_at_the_place(data: Path) -> None:
    batch = batch_of(data)
    chosen = torch.arange(batch.tokens.shape[1] - 1)
    target, known = attention_target(batch, chosen)
    assert known.float().mean() > 0.5
    sums = target.sum(-1)[known]
    assert torch.allclose(sums, torch.ones_like(sums), atol=1e-4)
    place = batch.places[:, 1:][known]
    peak = (
        batch.cells[:, None]
        .expand(-1, len(chosen), -1, -1)[known]
        .gather(1, target[known].argmax(-1)[:, None, None].expand(-1, 1, 2))[:, 0]
    )
    assert (peak - place).abs().max() <= 1.01


def test_a_step_of_reading_is_a_step_of_training(data: Path) -> None:
    """Under the gaze that a reading chose, training's one pass says what the steps said."""
    torch.manual_seed(0)
    model, batch = Gaze(SMALL).eval(), batch_of(data, count=1)
    graph = export.StepGraph(model).eval()
    with torch.no_grad():
        tables = (batch.patches, batch.down4, batch.near4, batch.down8, batch.near8)
        torch.nn.init.normal_(model.closer.weight, std=0.1)
        features, sharp = model.encoder(*tables)
        keys = torch.nn.functional.embedding(batch.rows[0], model.w1(features))
        grid = torch.nn.functional.pad(batch.grid[0], (1, 1, 1, 1))
        stride = torch.tensor([1.0, grid.shape[1]])[None, None, :, None]
        grid4 = torch.nn.functional.pad(batch.grid4[0], (2, 2, 2, 2))
        stride4 = torch.tensor([1.0, grid4.shape[1]])[None, None, :, None]
        base, tone = torch.zeros(1, 1, 1, 1), sharp.abs().max()[None, None, None]
        cells = batch.cells[0].float()
        count = len(cells)
        apart = cells[None] - cells[:, None] + 1  # of each from each, the middle at (1, 1)
        around = torch.full((count, 9), count)
        for cell, other in (((apart >= 0) & (apart <= 2)).all(-1)).nonzero():
            x, y = apart[cell, other].long()
            around[cell, y * 3 + x] = other
        spread = torch.arange(count + 1)[None, None]
        seen = torch.zeros(1, count, SMALL.location)
        hidden, place = torch.zeros(1, 1, SMALL.hidden), torch.full((1, 1, 2), torch.nan)
        newest = torch.full((3, 1, 2), gaze.FAR)
        marks = torch.full((1, 1, 1, 2, 2), gaze.FAR)
        state = torch.zeros(1, 1, dtype=torch.long)
        said, gaze_places, peaks = [], [place[:, 0]], []
        for step, token in enumerate(batch.tokens[0, :-1]):
            seen, places, shares, best, likely, words, hiddens, _ = graph(
                features,
                grid.flatten(),
                stride,
                base,
                sharp / tone[0],
                grid4.flatten(),
                stride4,
                base,
                tone,
                keys,
                cells,
                torch.zeros(count, dtype=torch.long),
                spread,
                around,
                seen,
                newest,
                marks,
                hidden,
                token[None, None],
                place,
                state,
            )
            assert torch.equal(best, words.argmax(-1))
            assert torch.equal(likely, words.amax(-1))
            # marks are those of the drawing, and the gaze is the model's own second choice
            hidden, place = hiddens[:, 1:], places[:, 1:]
            here = torch.stack([batch.atoms[0, step + 1], batch.bonds[0, step + 1], place[0, 0]])
            newest = torch.nan_to_num(here, nan=gaze.FAR)[:, None]
            marks = torch.cat([marks, newest[None, None, None, :2, 0]], 2)
            said.append(words[0, 1])
            gaze_places.append(place[:, 0])
            peaks.append(shares[0, 0, 0])
        batch.places = torch.stack(gaze_places, 1)
        logits, scores, _ = model(batch)
    spoken = torch.stack(said)
    may = torch.isfinite(spoken)
    assert may.any(1).all()
    assert torch.allclose(torch.log_softmax(logits[0], -1)[may], spoken[may], atol=1e-4)
    weights = torch.softmax(scores[0], -1)  # (T, L)
    top = cells[weights.argmax(-1)]
    near = (cells - top[:, None]).abs().amax(-1) <= 1
    assert torch.allclose((weights * near).sum(-1), torch.stack(peaks), atol=1e-4)
    assert len(said) > 5


def test_the_model_learns_a_handful_of_pictures(data: Path) -> None:
    torch.manual_seed(0)
    model, batch = Gaze(SMALL), batch_of(data)
    optimiser = torch.optim.AdamW(model.parameters(), 5e-3)
    first = last = None
    for _ in range(60):
        cost = loss(model, batch)
        optimiser.zero_grad()
        cost.total.backward()
        optimiser.step()
        last = float(cost.total.detach())
        first = first or last
    assert last is not None
    assert first is not None
    assert last < 0.5 * first


# --- the run, export, reading ---


def settings_for(data: Path, out: Path, minutes: float, cool: float = 0.0) -> fit.Settings:
    return fit.Settings(
        (data,), out, minutes=minutes, cool=cool, batch=2, workers=0, save_minutes=0.02
    )


def state_of(path: Path) -> fit.State:
    return fit.State(**json.loads(fit.load(path)[1]["state"]))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "Gaze", lambda size=None: Gaze(size or SMALL))
    monkeypatch.setattr(fit, "held_out", lambda settings, device: {})


@pytest.mark.usefixtures("small")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bf16", [False, True])
def test_a_run_saves_resumes_and_exports(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bf16: bool
) -> None:
    monkeypatch.setattr(fit, "fast_bf16", lambda cuda: bf16)
    out = tmp_path / "run"
    path = fit.fit(settings_for(data, out, 0.05))
    before = state_of(path)
    path = fit.fit(settings_for(data, out, 0.1))
    after = state_of(path)
    assert after.step > before.step > 0
    assert after.minutes >= 0.1
    assert not list(out.glob("*.tmp"))
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["seen"] == after.seen
    assert all(np.isfinite(row["total"]) for row in rows)

    half = tmp_path / "half.safetensors"
    fit.save_weights(fit.load_model(path), half)
    assert half.stat().st_size < path.stat().st_size / 4
    rng = np.random.default_rng(0)
    mol = next(iter(corpus(data)))
    ink = spoil(draw.own(mol, rng), rng, 0.0).ink.astype(np.float32) / 255
    export.export([half], tmp_path / "weights", [ink], note="of a test")
    net = gaze.Net(tmp_path / "weights", "cpu")
    assert net.metadata["note"] == "of a test"
    for beam in (1, 4):
        walks = gaze.read(net, ink, beam)
        assert 1 <= len(walks) <= beam
        scores = [w.score for w in walks]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= p <= 1.0001 for w in walks for p in w.probabilities)


@pytest.mark.usefixtures("small")
def test_the_rate_falls_in_a_branch_and_the_run_goes_on(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    last, cooled = out / "last.safetensors", out / "cooled.safetensors"
    assert fit.fit(settings_for(data, out, 0.1, cool=0.04)) == cooled
    assert fit.weights_of(out) == cooled
    steady, branch = state_of(last), state_of(cooled)
    assert branch.step > steady.step
    assert branch.minutes == steady.minutes
    assert steady.cooled == 0
    rates = [json.loads(line)["rate"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert rates[-1] < 0.1 * fit.Settings.rate  # at its end it is all but nothing
    # the run goes on from where the branch began
    assert fit.fit(settings_for(data, out, 0.12)) == last
    assert state_of(last).step > steady.step
    assert fit.weights_of(out) == last
    # at any time, a fall of so many minutes
    assert fit.fit(settings_for(data, out, 0, cool=0.02)) == cooled
    assert state_of(cooled).minutes == state_of(last).minutes


@pytest.mark.usefixtures("small")
def test_a_signal_saves_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*arguments: object) -> fit.Loss:
        signal.raise_signal(signal.SIGTERM)
        return loss(*arguments)

    monkeypatch.setattr(fit, "loss", ask)
    before = signal.getsignal(signal.SIGTERM)
    path = fit.fit(settings_for(data, tmp_path / "run", 5))
    assert state_of(path).step == 1
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_is_read_wrongly_is_drawn_more() -> None:
    found = {kind: {"walk_right": 0.9} for kind in lessons.KINDS}
    even = fit.needed(found)
    assert even == pytest.approx(list(lessons.SHARES.values()))
    found["label"]["walk_right"] = 0.2
    more = dict(zip(lessons.KINDS, fit.needed(found), strict=True))
    assert more["label"] > lessons.SHARES["label"]
    assert more["whole"] < lessons.SHARES["whole"]
    assert sum(more.values()) == pytest.approx(1)


def test_smaller_weights_grow_without_a_change(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    batch = batch_of(data)
    fewer = Size(**{**vars(SMALL), "fine_blocks": 1, "dilations": SMALL.dilations[:1]})
    smaller = Gaze(fewer).eval()
    more = Size(**{**vars(SMALL), "fine_blocks": 3, "dilations": (*SMALL.dilations[:1], 4, 1)})
    grown = Gaze(more).eval()
    fit.save_weights(smaller, tmp_path / "smaller")
    fit.grow(grown, fit.load_model(tmp_path / "smaller"))
    assert len(grown.encoder.fine) == len(grown.encoder.coarse) == 3
    with torch.no_grad():
        assert torch.allclose(grown(batch)[0], smaller(batch)[0], atol=0.03)  # saved as halves
    other = Gaze(Size(**{**vars(SMALL), "hidden": SMALL.hidden + 8}))
    with pytest.raises(ValueError, match="of another size"):
        fit.grow(other, smaller)


@pytest.mark.filterwarnings("ignore")
def test_export_refuses_graphs_that_differ(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = tmp_path / "half.safetensors"
    fit.save_weights(Gaze(SMALL).eval(), half)
    other = Gaze(SMALL).eval()
    monkeypatch.setattr(export, "TorchNet", lambda model, real=export.TorchNet: real(other))
    ink = np.zeros((64, 96), np.float32)
    ink[20:40, 20:70] = 1
    with pytest.raises(export.ExportError):
        export.export([half], tmp_path / "weights", [ink])
    assert not (tmp_path / "weights").exists()


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(gaze.WeightsError, match="no weights at"):
        gaze.Net(tmp_path)
    (tmp_path / "encoder.onnx").write_bytes(b"nonsense")
    with pytest.raises(gaze.WeightsError, match=r"encoder\.onnx"):
        gaze.Net(tmp_path)
    with pytest.raises(gaze.WeightsError, match="choose auto"):
        gaze.Net(tmp_path, "tpu")


@pytest.mark.skipif(sys.platform != "linux", reason="gloo over loopback")
def test_two_processes_learn_together(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--standalone",
        "-m",
        "molgaze.train.fit",
        "--data",
        str(data),
        "--out",
        str(out),
        "--minutes",
        "0.04",
        "--cool",
        "0",
        "--batch",
        "2",
        "--workers",
        "0",
        "--check-minutes",
        "9",
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=env, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert state_of(out / "last.safetensors").step > 0


def test_weights_of_several_runs_are_averaged(tmp_path: Path) -> None:
    first, second = Gaze(SMALL), Gaze(SMALL)
    first.encoder.stem.norm.running_mean += 1  # what normalisation has seen is averaged too
    for name, model in ("a", first), ("b", second):
        fit.save_weights(model, tmp_path / name)
    mean = fit.load_model(tmp_path / "a", tmp_path / "b")
    states = [model.state_dict() for model in (first, second, mean)]
    for x, y, z in zip(*(state.values() for state in states), strict=True):
        if z.is_floating_point():
            assert torch.allclose(z, (x.half().float() + y.half().float()) / 2, atol=1e-6)
    assert mean.encoder.stem.norm.running_mean.mean() == pytest.approx(0.5, abs=1e-3)
    assert not mean.training
