"""The search: one step after another by a net that says what it is told to say."""

from __future__ import annotations

import math
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from molgaze import gaze, walk
from molgaze.gaze import AHEAD, Gaze, Net, WeightsError, alone, together

WEIGHTS = Path(gaze.__file__).parent / "weights"
SPOTS = [(20, 40), (44, 40), (68, 40)]  # of atoms on a line


class Told:
    """A net that says tokens at places, one after another, with a probability; at a jump that it
    was sent to it says the tokens that come then.
    """

    hidden, location = 4, 2

    def __init__(
        self,
        said: list[tuple[str, tuple[int, int]]],
        then: list[tuple[str, tuple[int, int]]] | None = None,
        chance: float = 0.9,
    ) -> None:
        self.said, self.then, self.chance = list(said), then, chance
        self.cells = 0

    def encode(self, found: Any) -> tuple[Any, ...]:
        self.cells = len(found.cells)
        none = np.zeros((self.cells + 1, 1), np.float32)
        return none, none, none, np.ones(1, np.float32)

    def step(
        self,
        *,
        seen: NDArray[Any],
        cells: NDArray[Any],
        marks: NDArray[Any],
        state: NDArray[Any],
        **_: Any,
    ) -> list[Any]:
        paths = len(state)
        words = np.full((paths, 2, len(walk.VOCABULARY)), math.log(1e-4), np.float32)
        if len(cells) < self.cells:  # kept to some cells: where it is sent
            self.said, place = list(self.then or []), cells.mean(0)
            words[..., walk.TOKEN_ID[walk.JUMP]] = math.log(0.5)
        else:
            token, spot = self.said.pop(0) if self.said else (walk.END, SPOTS[0])
            words[..., walk.TOKEN_ID[token]] = math.log(self.chance)
            place = np.array(spot) / gaze.CELL - 0.5
        places = np.broadcast_to(np.stack([place, place]).astype(np.float32), (paths, 2, 2))
        shares = np.broadcast_to(np.array([[1.0], [1e-9]]), (paths, 2, 1))
        back = words[..., walk.TOKEN_ID[walk.JUMP]]
        away = ((marks[:, 0, :, 0] - place) ** 2).sum(-1).min(-1)
        kind = (away < gaze.SAME_ATOM**2) + 2 * (away > gaze.OTHER_ATOM**2)
        words = words + gaze.masks()[state[:, 0], kind][:, None]
        hidden = np.zeros((paths, 2, 4), np.float32)
        return [seen, places, shares, words.argmax(-1), words.max(-1), words, hidden, back]


def walks(net: Told, beam: int = 1) -> list[gaze.Walk]:
    return gaze.read(net, ink(), beam)  # type: ignore[arg-type]


def ink() -> NDArray[np.float32]:
    found = np.zeros((80, 200), np.float32)
    found[39:42, 20:68] = 1
    return found


def test_a_walk_is_what_the_net_says() -> None:
    net = Told([("C", SPOTS[0]), ("=", (32, 40)), ("O", SPOTS[1])])
    (read,) = walks(net)
    assert read.tokens == ("C", "=", "O", ">")
    assert read.ended
    assert read.places[:3] == pytest.approx(np.array([SPOTS[0], (32, 40), SPOTS[1]]))
    assert read.probabilities == pytest.approx([0.9] * 4)
    assert read.score == pytest.approx(4 * math.log(0.9))
    assert read.graph.atoms == ["C", "O"]
    assert read.graph.bonds == [(0, 1, "=")]
    assert not read.faults


def test_only_what_the_grammar_allows_is_written() -> None:
    """A glyph at the start, a closing bracket at once, two bonds in a row, an end after a bond."""
    said = [("'C", SPOTS[0]), ("]", SPOTS[0]), ("=", (32, 40)), ("=", (32, 40)), (">", SPOTS[1])]
    (read,) = walks(Told(said))
    assert not read.faults
    assert walk.decode(read.tokens, read.places)[1] == []
    assert read.tokens[0] != "'C"
    assert "=" not in read.tokens[3:4]


def test_no_atom_on_an_atom_and_no_ring_closure_where_none_is() -> None:
    for forbidden in (("C", SPOTS[0]), ("&", SPOTS[2])):
        said = [("C", SPOTS[0]), ("C", SPOTS[1]), forbidden]
        (read,) = walks(Told(said))
        assert read.tokens == ("C", "C", ">")
    said = [("C", SPOTS[0]), ("C", SPOTS[1]), ("&", SPOTS[0])]
    (read,) = walks(Told(said))
    assert read.tokens == ("C", "C", "&", ">")


def test_a_walk_that_ended_goes_back_to_an_atom_and_on() -> None:
    net = Told([("C", SPOTS[0]), ("C", SPOTS[1])], then=[("O", SPOTS[2])])
    looks = Gaze(net, ink())  # type: ignore[arg-type]
    (read,) = alone(net, looks.walks())  # type: ignore[arg-type]
    again = alone(net, looks.back(read, np.array(SPOTS[0])))  # type: ignore[arg-type]
    assert again is not None
    assert again.tokens == ("C", "C", "^", "O", ">")
    assert again.graph.bonds == [(0, 1, "-"), (0, 2, "-")]
    assert again.score < read.score
    there = looks.back(read, np.array(SPOTS[1]))
    assert alone(net, there) is None  # type: ignore[arg-type]  # there the gaze rests


@pytest.mark.parametrize("beam", [2, 5, len(walk.VOCABULARY), len(walk.VOCABULARY) + 1])
def test_a_beam_may_be_wider_than_the_vocabulary(beam: int) -> None:
    found = walks(Told([("C", SPOTS[0])]), beam)
    assert 1 <= len(found) <= beam
    assert [w.score for w in found] == sorted((w.score for w in found), reverse=True)
    assert found[0].tokens == ("C", ">")


def test_paper_and_noise_have_no_walks() -> None:
    assert gaze.read(Told([]), np.zeros((80, 80), np.float32)) == []  # type: ignore[arg-type]
    grain = np.random.default_rng(1).random((600, 600)).astype(np.float32)
    assert gaze.read(Told([]), grain) == []  # type: ignore[arg-type]


def test_cuda_that_does_not_start_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime has the provider, but falls back to the CPU where its libraries are not there."""

    class Session:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

    runtime = types.ModuleType("onnxruntime")
    runtime.SessionOptions = lambda: types.SimpleNamespace(  # type: ignore[attr-defined]
        add_session_config_entry=lambda *_: None
    )
    runtime.InferenceSession = Session  # type: ignore[attr-defined]
    runtime.get_available_providers = lambda: [  # type: ignore[attr-defined]
        "CUDAExecutionProvider",
        "CPUExecutionProvider",
    ]
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    for name in ("encoder.onnx", "step.onnx"):
        (tmp_path / name).touch()
    with pytest.raises(WeightsError, match="could not start"):
        Net(tmp_path, "cuda")


# --- many walks together ---


@pytest.fixture(scope="module")
def net() -> Net:
    return Net(WEIGHTS, "cpu", 1)


def drawings() -> list[NDArray[np.float32]]:
    """Zigzags of one to nine bonds, some of them with a second fragment, at reading scale."""
    found = []
    for count in range(1, 10):
        image = Image.new("L", (60 + 20 * count, 120 if count % 3 else 60))
        pen = ImageDraw.Draw(image)
        for top in range(20, image.height - 30, 60):
            spots = [(30 + 20 * i, top + 12 * (i % 2)) for i in range(count + 1)]
            pen.line(spots, fill=255, width=2)
            if count > 2:
                pen.line([(x, y + 4) for x, y in spots[1:3]], fill=255, width=2)
        found.append(np.asarray(image, np.float32) / 255)
    return found


def test_a_walk_is_the_same_alone_and_in_company(net: Net) -> None:
    inks = drawings()
    alone_ = [gaze.read(net, ink) for ink in inks]
    assert len({w.tokens for walks in alone_ for w in walks}) > 5
    for most in (2, 5, len(inks)):
        tasks = (Gaze(net, ink).walks() for ink in inks)
        found = {number: walks for number, walks, _ in together(net, tasks, most)}
        assert sorted(found) == list(range(len(inks)))
        for number, want in enumerate(alone_):
            got = found[number]
            assert isinstance(got, list)
            assert [w.tokens for w in got] == [w.tokens for w in want]
            for one, other in zip(got, want, strict=True):
                assert one.places == pytest.approx(other.places, abs=0.05)
                assert one.probabilities == pytest.approx(other.probabilities, abs=1e-3)


def test_beams_and_second_looks_go_together_too(net: Net) -> None:
    inks = drawings()[3:6]

    def task(ink: NDArray[np.float32], beam: int) -> gaze.Task[list[gaze.Walk | None]]:
        looks = Gaze(net, ink)
        walks = yield from looks.walks(beam)
        again = yield from looks.back(walks[0], walks[0].graph.places[0])
        return [*walks, again]

    beams = (1, 4, 2)
    want = [alone(net, task(ink, beam)) for ink, beam in zip(inks, beams, strict=True)]
    tasks = (task(ink, beam) for ink, beam in zip(inks, beams, strict=True))
    for number, found, seconds in together(net, tasks):
        assert seconds > 0
        assert isinstance(found, list)
        assert [w and w.tokens for w in found] == [w and w.tokens for w in want[number]]


def test_a_task_that_fails_costs_no_other(net: Net) -> None:
    def task(number: int) -> gaze.Task[int]:
        if number % 3 == 1:
            raise KeyError(number)
        walks = yield from Gaze(net, drawings()[number]).walks()
        if number % 3 == 2:
            raise ValueError(walks[0].tokens)
        return number

    found = {number: what for number, what, _ in together(net, map(task, range(6)), 3)}
    assert [type(found[n]) for n in range(6)] == [int, KeyError, ValueError] * 2


def test_no_task_is_begun_far_ahead_of_the_oldest() -> None:
    """The first task goes on for long; those that follow end at once."""
    begun = []

    def task(number: int) -> gaze.Task[int]:
        begun.append(number)
        if number == 0:
            yield from Gaze(net, ink()).walks()  # type: ignore[arg-type]
        return number

    net = Told([("C", SPOTS[0])] * 30)
    ahead = []
    for number, _, _ in together(net, map(task, range(100)), 2):  # type: ignore[arg-type]
        if number:
            ahead.append(max(begun))
        else:
            break
    assert max(ahead) < AHEAD * 2
