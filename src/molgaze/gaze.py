"""Ink map to walk: the encoder runs once, then the gaze goes one step at a time.

Every step chooses where to look (attention over the inked cells), reads there, and writes a token.
Beam search keeps several walks; a walk may branch on the token and on the second-best place.

    gaze = Gaze(net, ink)            # the encoder
    walks = gaze.walks(beam=1)       # the search
    longer = gaze.back(walks[0], (x, y))    # a walk that ended goes on from one of its atoms
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import walk
from .cores import cores
from .sites import CELL, TABLES, Sites, padded, sites
from .walk import Graph

MAX_TOKENS = 800
MAX_CELLS = 3000  # near ink; a drawing of 300 atoms has as many, noise and photographs have more
HEARD = 40  # tokens after which a walk is given up
MUMBLE = math.log(0.58)  # whose tokens are on the average less probable: noise, no drawing
FAR = 1e6  # cells: where a mark is that was not made
FORMAT = "6"  # of the pair of graphs; a reader refuses any other

Floats = NDArray[np.float32]


class WeightsError(RuntimeError):
    """Weights that are missing, don't fit together, or can't run on the device asked for."""


@dataclass(frozen=True)
class Walk:
    """One candidate: tokens from the first after ``<``, ending with ``>`` if it ended."""

    tokens: tuple[str, ...]
    places: Floats
    """(len(tokens), 2): x and y in pixels of the ink map, from its top left corner."""
    probabilities: tuple[float, ...]
    """Of each token and its place together."""
    score: float
    """Log-probability of the whole walk."""
    ended: bool
    path: _Path | None = field(default=None, repr=False, compare=False)
    """What the decoder remembers, from which the walk can go on."""

    @property
    def graph(self) -> Graph:
        """What it has drawn, in pixels of the ink map."""
        return self._decoded[0]

    @property
    def faults(self) -> list[str]:
        """What is wrong with its grammar."""
        return self._decoded[1]

    @cached_property
    def _decoded(self) -> tuple[Graph, list[str]]:
        return walk.decode(self.tokens, self.places)


# --- which tokens may follow ---

_BONDS = frozenset(walk.BONDS)


def _state(token: str, before: str) -> str:
    """The grammar's state after a token, given the state before it."""
    if token in _BONDS:
        return "bond"
    if token == walk.OPEN:
        return "label"
    if walk.is_glyph(token):
        return "glyph"
    if token == walk.FRAGMENT:
        return "first"
    if token == walk.JUMP:
        return "jump"
    return "atom"


def _masks() -> dict[str, Floats]:
    """State -> 0 for tokens that may follow and -inf for others."""
    atoms = {t for t in walk.VOCABULARY if walk.is_atom(t)} | {walk.OPEN}
    glyphs = {t for t in walk.VOCABULARY if walk.is_glyph(t)}
    follow = {
        "start": atoms | {walk.END},
        "first": atoms,
        "jump": atoms | set(walk.BONDS),
        "bond": atoms | {walk.RING},
        "label": glyphs,
        "glyph": glyphs | {walk.CLOSE},
        "atom": atoms | set(walk.BONDS) | {walk.RING, walk.JUMP, walk.FRAGMENT, walk.END},
    }
    return {
        state: np.array([0.0 if t in tokens else -np.inf for t in walk.VOCABULARY], np.float32)
        for state, tokens in follow.items()
    }


_MASKS = _masks()
_NEW = np.array([walk.is_atom(t) or t == walk.OPEN for t in walk.VOCABULARY])
_OLD = np.array([t in (walk.RING, walk.JUMP) for t in walk.VOCABULARY])
SAME_ATOM = 0.4  # cells: nearer than this to an atom, there is no room for another
OTHER_ATOM = 1.2  # cells: farther than this from every atom, there is none to go back to


def _mask(state: str, place: NDArray[np.floating], atoms: Floats) -> Floats:
    """0 for tokens that may be written at a place and -inf for others.

    Args:
        state: of the grammar.
        place: (2,) in cells.
        atoms: (S, 2) places of the atoms written so far, far away for none.
    """
    mask = _MASKS[state]
    away = atoms - place
    nearest = float((away * away).sum(1).min())  # squared
    if nearest < SAME_ATOM**2:
        mask = np.where(_NEW, -np.inf, mask)
    elif nearest > OTHER_ATOM**2:
        mask = np.where(_OLD, -np.inf, mask)
    return mask


# --- the two graphs ---


class Net:
    """Encoder and decoding step, as exported: a folder with ``encoder.onnx`` and ``step.onnx``.

    Raises:
        WeightsError: a file is missing or broken, the two don't belong together, or the device
            asked for was not granted.
    """

    def __init__(
        self, folder: str | os.PathLike[str], device: str = "auto", threads: int | None = None
    ) -> None:
        import onnxruntime as ort  # noqa: PLC0415  a second to import: only when weights are read

        providers = {
            "auto": ["CUDAExecutionProvider", "CPUExecutionProvider"],
            "cpu": ["CPUExecutionProvider"],
            "cuda": ["CUDAExecutionProvider"],
        }.get(device)
        if providers is None:
            raise WeightsError(f"device {device!r}: choose auto, cpu or cuda")
        granted = set(ort.get_available_providers())
        if device == "cuda" and "CUDAExecutionProvider" not in granted:
            raise WeightsError(
                "device cuda: this onnxruntime has no CUDA; install onnxruntime-gpu instead of "
                "onnxruntime (never both)"
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or cores()
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # shapes vary: an arena would only grow
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        sessions = []
        for name in ("encoder.onnx", "step.onnx"):
            path = Path(folder) / name
            if not path.is_file():
                raise WeightsError(f"no weights at {path}")
            try:
                sessions.append(
                    ort.InferenceSession(
                        str(path), options, providers=[p for p in providers if p in granted]
                    )
                )
            except Exception as err:  # onnxruntime has no common class for these
                raise WeightsError(f"{path}: {str(err).splitlines()[0]}") from err
            if device == "cuda" and "CUDAExecutionProvider" not in sessions[-1].get_providers():
                raise WeightsError(
                    "device cuda: onnxruntime has its CUDA provider but could not start it; check "
                    "the graphics driver and the CUDA and cuDNN libraries, or choose cpu"
                )
        self._encoder, self._step = sessions
        metadata = [s.get_modelmeta().custom_metadata_map for s in sessions]
        self.metadata: dict[str, str] = dict(metadata[0])
        self.provider: str = self._step.get_providers()[0]
        if metadata[0].get("id") != metadata[1].get("id"):
            raise WeightsError(f"{folder}: encoder.onnx and step.onnx are of different models")
        if self.metadata.get("format") != FORMAT:
            raise WeightsError(f"{folder}: made for another version of MolGaze")
        if json.loads(self.metadata["vocabulary"]) != list(walk.VOCABULARY):
            raise WeightsError(f"{folder}: made for another vocabulary")
        sizes = json.loads(self.metadata["size"])
        self.hidden, self.location = int(sizes["hidden"]), int(sizes["location"])

    def encode(self, found: Sites) -> tuple[Floats, Floats, Floats]:
        """The sites of a picture to features (N8, D), attention keys (N8, A) and the features of
        finer sites (N4, S).
        """
        inputs = {name: getattr(found, name) for name in TABLES}
        features, keys, sharp = self._encoder.run(["features", "keys", "sharp"], inputs)
        return features, keys, sharp

    def step(self, **inputs: Any) -> list[Any]:
        """One step of K walks; see ``train/export.py`` for names and shapes."""
        names = ["new_seen", "places", "shares", "words", "new_hidden"]
        found: list[Any] = self._step.run(names, inputs)
        return found


# --- reading ---


@dataclass(frozen=True)
class _Path:
    """A walk on its way, with what the decoder remembers of it; places in cells."""

    hidden: Floats  # (H,)
    seen: Floats  # (1, L, E) marks so far, seen from the cells, without the newest
    newest: Floats  # (3, 1, 2) the atom, the bond and the gaze of the last step; FAR for none
    marks: Floats  # (S, 2, 2) the atom and the bond of each step
    score: float = 0.0
    tokens: tuple[int, ...] = (walk.TOKEN_ID[walk.START],)
    places: tuple[tuple[float, float], ...] = ()
    probabilities: tuple[float, ...] = ()
    state: str = "start"
    here: tuple[float, float] | None = None
    before: _Path | None = None

    @property
    def ended(self) -> bool:
        return self.tokens[-1] == walk.TOKEN_ID[walk.END]

    @property
    def is_lost(self) -> bool:
        """True for a walk over what is no drawing."""
        return len(self.places) >= HEARD and self.score < MUMBLE * len(self.places)

    def grown(self, token: int, place: Floats, score: float, hidden: Floats, seen: Floats) -> _Path:
        """This walk with one token more."""
        word = walk.VOCABULARY[token]
        spot = (float(place[0]), float(place[1]))
        trail = walk.Trail(self.here)
        marks = [mark or (FAR, FAR) for mark in trail.step(word, spot)]
        newest = np.array([*marks, spot], np.float32)
        return _Path(
            hidden,
            seen,
            newest[:, None],
            np.concatenate([self.marks, newest[None, :2]]),
            score,
            (*self.tokens, token),
            (*self.places, spot),
            (*self.probabilities, math.exp(min(score - self.score, 0.0))),
            _state(word, self.state),
            trail.here,
            self,
        )

    def walk(self) -> Walk:
        """What the user of this module gets."""
        tokens = tuple(walk.VOCABULARY[t] for t in self.tokens[1:])
        places = (np.array(self.places, np.float32).reshape(-1, 2) + 0.5) * CELL
        return Walk(tokens, places, self.probabilities, self.score, self.ended, self)


@dataclass(frozen=True)
class _View:
    """One encoded picture: what every step looks at."""

    net: Net
    grid: NDArray[np.int64]  # (n,) the rows of all cells, framed by paper, line by line
    stride: Floats  # (2, 1) from cell to cell of the grid, in x and in y
    grid4: NDArray[np.int64]  # (n4,) the same of the sites of 4x4 pixels, in a frame of two sites
    stride4: Floats  # (2, 1)
    cells: Floats  # (L, 2) those that are inked, or beside ink
    near: NDArray[np.bool_]  # (L, L) of the cells: beside one another
    features: Floats  # (L + 1, D), paper's first
    sharp: Floats  # (N4, S) of the sites of 4x4 pixels, paper's first
    keys: Floats  # (L, A)

    def step(self, paths: list[_Path], only: NDArray[np.intp] | None = None) -> list[Any]:
        """One step of every path; ``only`` keeps the gaze on some of the cells."""

        def together(*arrays: Floats) -> Floats:
            return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)

        seen = together(*(p.seen for p in paths))
        before = [[p.places[-1] if p.places else (math.nan, math.nan)] for p in paths]
        return self.net.step(
            features=self.features,
            grid=self.grid,
            stride=self.stride,
            sharp=self.sharp,
            grid4=self.grid4,
            stride4=self.stride4,
            keys=self.keys if only is None else self.keys[only],
            cells=self.cells if only is None else self.cells[only],
            near=self.near if only is None else self.near[np.ix_(only, only)],
            seen=seen if only is None else seen[:, :, only],
            newest=together(*(p.newest for p in paths)),
            marks=together(*(p.marks for p in paths))[:, None],
            hidden=together(*(p.hidden for p in paths))[:, None],
            token=np.array([p.tokens[-1:] for p in paths], np.int64),
            place=np.array(before, np.float32),
        )


class Gaze:
    """One ink map, encoded, and the walks over it.

    Args:
        net: the weights.
        ink: (H, W), 0 paper to 1 ink, at reading scale.

    Attributes:
        inked: (L, 2) x and y of the cells, squares of CELL pixels, that hold ink.
    """

    def __init__(self, net: Net, ink: Floats) -> None:
        ink = padded(ink)
        found = sites(ink)
        self.inked = found.cells[found.inked]
        self._view = _view(net, found) if 0 < len(found.cells) <= MAX_CELLS else None

    def walks(self, beam: int = 1) -> list[Walk]:
        """Walks from the start to their ends, the most probable first.

        Args:
            beam: how many walks are followed, and the most that come back; 1 is greedy.

        Returns:
            An empty list if nothing is inked, or more than a drawing has.
        """
        if self._view is None:
            return []
        view = self._view
        nowhere = np.full((3, 1, 2), FAR, np.float32)
        start = _Path(
            np.zeros(view.net.hidden, np.float32),
            np.zeros((1, len(view.cells), view.net.location), np.float32),
            nowhere,
            nowhere[None, :2, 0],
        )
        return [path.walk() for path in _search(view, [start], beam)]

    def back(self, read: Walk, place: NDArray[np.floating]) -> Walk | None:
        """A walk of this picture that ended, sent back to one of its atoms by a jump, and on.

        Args:
            read: from this picture.
            place: (x, y) of the atom, in pixels of the ink map.

        Returns:
            None for a walk that did not end, or whose gaze rests on that atom at its end.
        """
        path = read.path.before if read.path is not None and read.ended else None
        if path is None or self._view is None:
            return None
        atom = np.asarray(place) / CELL - 0.5
        if path.here is not None and math.dist(path.here, atom) < SAME_ATOM:
            return None
        near = np.flatnonzero((np.abs(self._view.cells - atom) <= 1).all(1))
        if not len(near):
            return None
        seen = self._view.step([path])[0][0]
        _, places, _, words, hidden = self._view.step([path], near)
        jump = walk.TOKEN_ID[walk.JUMP]
        score = path.score + float(words[0, 0, jump])
        again = path.grown(jump, places[0, 0], score, hidden[0, 0], seen)
        return _search(self._view, [again], 1)[0].walk()


def read(net: Net, ink: Floats, beam: int = 1) -> list[Walk]:
    """The walks over an ink map (H, W) at reading scale, the most probable first."""
    return Gaze(net, ink).walks(beam)


def _view(net: Net, found: Sites) -> _View:
    """Run the encoder."""
    features, keys, sharp = net.encode(found)
    cells = found.cells.astype(np.float32)
    grid, grid4 = np.pad(found.grid, 1), np.pad(found.grid4, 2)
    stride, stride4 = (np.array([[1], [g.shape[1]]], np.float32) for g in (grid, grid4))
    x, y = found.cells.T.astype(np.int16)
    near = (np.abs(x[:, None] - x) <= 1) & (np.abs(y[:, None] - y) <= 1)
    grids = (grid.ravel(), stride, grid4.ravel(), stride4)
    return _View(net, *grids, cells, near, features, sharp, keys[1:])


def _search(view: _View, paths: list[_Path], beam: int) -> list[_Path]:
    """Follow paths to their ends, for some tokens at most: the beam's most probable first."""
    finished: list[_Path] = []
    for _ in range(min(MAX_TOKENS, 30 + 3 * len(view.cells))):
        new_seen, places, shares, words, new_hidden = view.step(paths)
        grown = [
            paths[k].grown(token, places[k, p], score, new_hidden[k, p], new_seen[k])
            for score, k, p, token in _choose(paths, places, shares, words, beam)
        ]
        finished += [path for path in grown if path.ended]
        finished.sort(key=lambda f: -f.score)
        grown = [path for path in grown if not path.ended]
        if not grown:
            break
        paths = grown
        if paths[0].is_lost:
            break
        # scores only fall: once enough walks ended above all that go on, nothing can change
        if len(finished) >= beam and finished[beam - 1].score >= paths[0].score:
            break
    if not finished:
        finished = paths
    return finished[:beam]


def _choose(
    paths: list[_Path],
    places: Floats,
    shares: Floats,
    words: Floats,
    beam: int,
) -> list[tuple[float, int, int, int]]:
    """The best (score, walk, place, token) that may follow, best first, at most beam of them."""
    options: list[tuple[float, int, int, int]] = []
    for k, path in enumerate(paths):
        for p in range(shares.shape[1]):
            gaze = path.score + math.log(max(float(shares[k, p, 0]), 1e-9))
            if len(options) >= beam and gaze <= options[beam - 1][0]:
                continue  # no token can make it better
            line = words[k, p] + _mask(path.state, places[k, p], path.marks[:, 0])
            best = [int(line.argmax())] if beam == 1 else np.argsort(-line)[:beam]
            options += [(gaze + float(line[t]), k, p, int(t)) for t in best if np.isfinite(line[t])]
            options.sort(key=lambda o: -o[0])
    return options[:beam]
