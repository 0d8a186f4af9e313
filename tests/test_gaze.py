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

from molgaze import gaze, walk
from molgaze.gaze import Gaze, Net, WeightsError

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

    def encode(self, found: Any) -> tuple[Any, Any, Any]:
        self.cells = len(found.cells)
        none = np.zeros((self.cells + 1, 1), np.float32)
        return none, none, none

    def step(self, *, seen: NDArray[Any], cells: NDArray[Any], **_: Any) -> list[Any]:
        paths = len(seen)
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
        return [seen, places, shares, words, np.zeros((paths, 2, 4), np.float32)]


def ink() -> NDArray[np.float32]:
    found = np.zeros((80, 200), np.float32)
    found[39:42, 20:68] = 1
    return found


def test_a_walk_is_what_the_net_says() -> None:
    net = Told([("C", SPOTS[0]), ("=", (32, 40)), ("O", SPOTS[1])])
    (read,) = Gaze(net, ink()).walks()  # type: ignore[arg-type]
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
    (read,) = Gaze(Told(said), ink()).walks()  # type: ignore[arg-type]
    assert not read.faults
    assert walk.decode(read.tokens, read.places)[1] == []
    assert read.tokens[0] != "'C"
    assert "=" not in read.tokens[3:4]


def test_no_atom_on_an_atom_and_no_ring_closure_where_none_is() -> None:
    for forbidden in (("C", SPOTS[0]), ("&", SPOTS[2])):
        said = [("C", SPOTS[0]), ("C", SPOTS[1]), forbidden]
        (read,) = Gaze(Told(said), ink()).walks()  # type: ignore[arg-type]
        assert read.tokens == ("C", "C", ">")
    said = [("C", SPOTS[0]), ("C", SPOTS[1]), ("&", SPOTS[0])]
    (read,) = Gaze(Told(said), ink()).walks()  # type: ignore[arg-type]
    assert read.tokens == ("C", "C", "&", ">")


def test_a_walk_that_ended_goes_back_to_an_atom_and_on() -> None:
    net = Told([("C", SPOTS[0]), ("C", SPOTS[1])], then=[("O", SPOTS[2])])
    looks = Gaze(net, ink())  # type: ignore[arg-type]
    (read,) = looks.walks()
    again = looks.back(read, np.array(SPOTS[0]))
    assert again is not None
    assert again.tokens == ("C", "C", "^", "O", ">")
    assert again.graph.bonds == [(0, 1, "-"), (0, 2, "-")]
    assert again.score < read.score
    assert looks.back(read, np.array(SPOTS[1])) is None  # there the gaze rests


@pytest.mark.parametrize("beam", [2, 5, len(walk.VOCABULARY), len(walk.VOCABULARY) + 1])
def test_a_beam_may_be_wider_than_the_vocabulary(beam: int) -> None:
    found = gaze.read(Told([("C", SPOTS[0])]), ink(), beam)  # type: ignore[arg-type]
    assert 1 <= len(found) <= beam
    assert [w.score for w in found] == sorted((w.score for w in found), reverse=True)
    assert found[0].tokens == ("C", ">")


def test_paper_and_noise_have_no_walks() -> None:
    assert Gaze(Told([]), np.zeros((80, 80), np.float32)).walks() == []  # type: ignore[arg-type]
    grain = np.random.default_rng(1).random((600, 600)).astype(np.float32)
    assert Gaze(Told([]), grain).walks() == []  # type: ignore[arg-type]


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
