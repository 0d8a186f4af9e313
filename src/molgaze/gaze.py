"""Ink map to walk: the encoder runs once, then the gaze goes one step at a time.

Every step chooses where to look (attention over the inked cells), reads there, and writes a token.
Beam search keeps several walks; a walk may branch on the token and on the second-best place.

A step costs the reading of all weights from memory, for one walk as for many. So what walks over a
picture is a task, a generator that yields the steps that it wants, and tasks of several pictures
take their steps together.

    gaze = Gaze(net, ink)                                # the encoder
    walks = alone(net, gaze.walks(beam=1))               # the search
    longer = alone(net, gaze.back(walks[0], (x, y)))     # one that ended goes on from an atom
    for number, found, seconds in together(net, tasks):  # many pictures
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import walk
from .cores import cores
from .sites import CELL, DILATIONS, TABLES, Sites, padded, sites
from .walk import Graph

MAX_TOKENS = 800
MAX_CELLS = 3000  # near ink; a drawing of 300 atoms has as many, noise and photographs have more
HEARD = 40  # tokens after which a walk is given up
MUMBLE = math.log(0.58)  # whose tokens are on the average less probable: noise, no drawing
FAR = 1e6  # cells: where a mark is that was not made
FORMAT = "7"  # of the pair of graphs; a reader refuses any other
TOGETHER = 12  # pictures whose walks take their steps together
SPARE = 2  # times the room that the tables of pictures take that go together is kept for them
AHEAD = 4  # times as many may be begun before the oldest has come to its end
ENCODED = ("features", "keys", "sharp", "tone")  # what the graphs give
STEP = ("new_seen", "places", "shares", "best", "likely", "words", "new_hidden", "back")

Floats = NDArray[np.float32]
Place: TypeAlias = tuple[float, float]
Found = TypeVar("Found")
#: A generator that yields the steps that it wants, is sent each when it is taken, and returns.
Task: TypeAlias = Generator["Wanted", "Step", Found]

_NOWHERE: Place = (FAR, FAR)
_NO_PLACE: Place = (math.nan, math.nan)
_END = walk.TOKEN_ID[walk.END]


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

SAME_ATOM = 0.4  # cells: nearer than this to an atom, there is no room for another
OTHER_ATOM = 1.2  # cells: farther than this from every atom, there is none to go back to


def _follow() -> dict[str, set[str]]:
    """State of the grammar -> tokens that may follow."""
    atoms = {t for t in walk.VOCABULARY if walk.is_atom(t)} | {walk.OPEN}
    glyphs = {t for t in walk.VOCABULARY if walk.is_glyph(t)}
    return {
        "start": atoms | {walk.END},
        "first": atoms,
        "jump": atoms | set(walk.BONDS),
        "bond": atoms | {walk.RING},
        "label": glyphs,
        "glyph": glyphs | {walk.CLOSE},
        "atom": atoms | set(walk.BONDS) | {walk.RING, walk.JUMP, walk.FRAGMENT, walk.END},
    }


STATES = tuple(_follow())


def _after(token: str) -> str:
    """The grammar's state after a token."""
    if token in walk.BONDS:
        return "bond"
    if walk.is_glyph(token):
        return "glyph"
    return {walk.OPEN: "label", walk.FRAGMENT: "first", walk.JUMP: "jump"}.get(token, "atom")


_AFTER = tuple(STATES.index(_after(token)) for token in walk.VOCABULARY)


def masks() -> Floats:
    """(states, 3, V): 0 for tokens that may follow in a state of the grammar and -inf for others:
    at a usual place, at one that has an atom already, and at one that is far from every atom.
    """
    new = np.array([walk.is_atom(t) or t == walk.OPEN for t in walk.VOCABULARY])
    old = np.array([t in (walk.RING, walk.JUMP) for t in walk.VOCABULARY])
    may = np.array([[t in tokens for t in walk.VOCABULARY] for tokens in _follow().values()])
    return np.stack([np.where(m, 0.0, -np.inf) for m in (may, may & ~new, may & ~old)], 1).astype(
        np.float32
    )


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
        on_cpu = device == "cpu" or "CUDAExecutionProvider" not in granted
        for name in ("encoder.onnx", "step.onnx"):
            path = Path(folder) / name
            rounded = path.with_suffix(".int8.onnx")
            if on_cpu and path.is_file() and rounded.is_file():
                path = rounded
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

    def encode(self, found: Sites) -> tuple[Floats, ...]:
        """The sites of a picture to features (N8, D), attention keys (N8, A), the features of finer
        sites (N4, S) between -1 and 1, and a number (1,) by which these were divided.
        """
        return tuple(self._encoder.run(ENCODED, {name: getattr(found, name) for name in TABLES}))

    def step(self, **inputs: Any) -> list[Any]:
        """One step of K walks; see ``train/export.py`` for names and shapes."""
        found: list[Any] = self._step.run(STEP, inputs)
        return found


# --- walks and views ---


@dataclass(slots=True, eq=False)
class _Path:
    """A walk on its way, with what the decoder remembers of it; places in cells."""

    hidden: Floats  # (1, H)
    seen: Floats  # (L, E) marks so far, seen from the cells, without the newest
    newest: tuple[Place, Place, Place]  # the atom, the bond and the gaze of the last step
    marks: Floats  # (S, 2, 2) the atom and the bond of each step; FAR for none
    score: float = 0.0
    tokens: tuple[int, ...] = (walk.TOKEN_ID[walk.START],)
    places: tuple[Place, ...] = ()
    probabilities: tuple[float, ...] = ()
    state: int = STATES.index("start")
    here: Place | None = None
    before: _Path | None = None  # of a walk that ended: without its end

    @property
    def ended(self) -> bool:
        return self.tokens[-1] == _END

    @property
    def is_lost(self) -> bool:
        """True for a walk over what is no drawing."""
        return len(self.places) >= HEARD and self.score < MUMBLE * len(self.places)

    def grown(self, token: int, spot: Place, score: float, hidden: Floats, seen: Floats) -> _Path:
        """This walk with one token more."""
        trail = walk.Trail(self.here)
        atom, bond = trail.step(walk.VOCABULARY[token], spot)
        pair = (atom or _NOWHERE, bond or _NOWHERE)
        return _Path(
            hidden,
            seen,
            (*pair, spot),
            np.concatenate([self.marks, np.array([pair], np.float32)]),
            score,
            (*self.tokens, token),
            (*self.places, spot),
            (*self.probabilities, math.exp(min(score - self.score, 0.0))),
            _AFTER[token],
            trail.here,
            self if token == _END else None,
        )

    def walk(self) -> Walk:
        """What the user of this module gets."""
        tokens = tuple(walk.VOCABULARY[t] for t in self.tokens[1:])
        places = (np.array(self.places, np.float32).reshape(-1, 2) + 0.5) * CELL
        return Walk(tokens, places, self.probabilities, self.score, self.ended, self)


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """One encoded picture: what every step looks at."""

    location: int  # numbers in which a cell sees the marks
    hidden: int
    grid: NDArray[np.int64]  # (h, w) the rows of all cells, framed by paper
    grid4: NDArray[np.int64]  # (h4, w4) the same of the sites of 4x4 pixels, in a frame of two
    cells: Floats  # (L, 2) those that are inked, or beside ink
    around: NDArray[np.int64]  # (L, 9) the 3x3 cells round each; -1 for none
    features: Floats  # (L + 1, D), paper's first
    sharp: Floats  # (N4, S) of the sites of 4x4 pixels, paper's first
    tone: Floats  # (1,) by which these were divided
    keys: Floats  # (L, A)


def _view(net: Net, found: Sites) -> _View:
    """Run the encoder."""
    features, keys, sharp, tone = net.encode(found)
    return _View(
        net.location,
        net.hidden,
        np.pad(found.grid, 1),
        np.pad(found.grid4, 2),
        found.cells.astype(np.float32),
        found.near8[DILATIONS.index(1), 1:] - 1,
        features,
        sharp,
        tone,
        keys[1:],
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
        found = sites(padded(ink))
        self.inked = found.cells[found.inked]
        self._view = _view(net, found) if 0 < len(found.cells) <= MAX_CELLS else None

    def walks(self, beam: int = 1) -> Task[list[Walk]]:
        """Walks from the start to their ends, the most probable first.

        Args:
            beam: how many walks are followed, and the most that come back; 1 is greedy.

        Returns:
            An empty list if nothing is inked, or more than a drawing has.
        """
        if self._view is None:
            return []
        view = self._view
        start = _Path(
            np.zeros((1, view.hidden), np.float32),
            np.zeros((len(view.cells), view.location), np.float32),
            (_NOWHERE, _NOWHERE, _NOWHERE),
            np.full((1, 2, 2), FAR, np.float32),
        )
        found = yield from _search(view, [start], beam)
        return [path.walk() for path in found]

    def back(self, read: Walk, place: NDArray[np.floating]) -> Task[Walk | None]:
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
        view = self._view
        atom = np.asarray(place) / CELL - 0.5
        if path.here is not None and math.dist(path.here, atom) < SAME_ATOM:
            return None
        near = np.flatnonzero((np.abs(view.cells - atom) <= 1).all(1))
        if not len(near):
            return None
        seen = (yield Wanted(view, [path])).seen[0]
        step = yield Wanted(view, [path], near)
        jump = walk.TOKEN_ID[walk.JUMP]
        score = path.score + step.back[0][0]
        again = path.grown(jump, step.places[0][0], score, step.hidden[0, :1], seen)
        return (yield from _search(view, [again], 1))[0].walk()


def read(net: Net, ink: Floats, beam: int = 1) -> list[Walk]:
    """The walks over an ink map (H, W) at reading scale, the most probable first."""
    return alone(net, Gaze(net, ink).walks(beam))


def _search(view: _View, paths: list[_Path], beam: int) -> Task[list[_Path]]:
    """Follow paths to their ends, for some tokens at most: the beam's most probable first."""
    finished: list[_Path] = []
    for _ in range(min(MAX_TOKENS, 30 + 3 * len(view.cells))):
        step = yield Wanted(view, paths)
        grown = [
            paths[k].grown(token, step.places[k][p], score, step.hidden[k, p : p + 1], step.seen[k])
            for score, k, p, token in _choose(paths, step, beam)
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


def _choose(paths: list[_Path], step: Step, beam: int) -> list[tuple[float, int, int, int]]:
    """The best (score, walk, place, token) that may follow, best first, at most beam of them."""
    options: list[tuple[float, int, int, int]] = []
    for k, path in enumerate(paths):
        for p, share in enumerate(step.shares[k]):
            gaze = path.score + math.log(max(share, 1e-9))
            if len(options) >= beam and gaze <= options[beam - 1][0]:
                continue  # no token can make it better
            if beam == 1:
                likely = [(step.likely[k][p], step.best[k][p])]
            else:
                line = step.words[k, p]
                likely = [(float(line[t]), int(t)) for t in np.argsort(-line)[:beam]]
            options += [(gaze + word, k, p, t) for word, t in likely if math.isfinite(word)]
            options.sort(key=lambda o: -o[0])
    return options[:beam]


# --- steps, alone and together ---


@dataclass(slots=True)
class Wanted:
    """A step that the walks over one picture want to take."""

    view: _View
    paths: list[_Path]
    only: NDArray[np.intp] | None = None
    """Keeps the gaze on some of the cells."""


@dataclass(slots=True)
class Step:
    """What the walks over one picture saw and read in a step; P places for each of K walks."""

    seen: list[Floats]  # (L, E) of each walk
    places: list[list[Place]]  # (K, P)
    shares: list[list[float]]  # (K, P)
    best: list[list[int]]  # (K, P)
    likely: list[list[float]]  # (K, P)
    back: list[list[float]]  # (K, P)
    words: Floats  # (K, P, V)
    hidden: Floats  # (K, P, H)


def alone(net: Net, task: Task[Found]) -> Found:
    """What a task finds that takes its steps alone."""
    stage = None
    try:
        wanted = next(task)
        while True:
            stage = _staged(stage, [wanted])
            wanted = task.send(stage.step(net, [wanted])[0])
    except StopIteration as end:
        found: Found = end.value
        return found


def together(
    net: Net, tasks: Iterable[Task[Found]], most: int = TOGETHER
) -> Iterator[tuple[int, Found | Exception, float]]:
    """What tasks find that take their steps together, as each comes to its end.

    A task that ends makes room for the next. None is begun that is farther from the oldest under
    way than `AHEAD` times as many as go together, so that not much can be waiting for one.

    Args:
        net: the weights.
        tasks: one for each picture; begun when there is room.
        most: how many go together.

    Yields:
        The number of a task, from 0, what it found or the exception that it raised, and the seconds
        that it took: its own, and its share of the steps.
    """
    waiting = enumerate(tasks)
    going: dict[int, _Going[Found]] = {}
    begun = 0
    stage = None
    while True:
        ended = []
        while len(going) < most and begun < min(going, default=begun) + AHEAD * most:
            number, task = next(waiting, (begun, None))
            if task is None:
                break
            begun += 1
            one = _Going(task)
            if one.goes_on(None):
                going[number] = one
            else:
                yield number, one.found, one.seconds
        if not going:
            return
        wanted = [one.wanted for one in going.values()]
        began = time.perf_counter()
        try:
            stage = _staged(stage, wanted)
            steps: list[Step | Exception] = [*stage.step(net, wanted)]
        except Exception as err:  # of the runtime, as when memory runs out
            steps, stage = [err] * len(wanted), None
        share = (time.perf_counter() - began) / len(going)
        for (number, one), step in zip(going.items(), steps, strict=True):
            one.seconds += share
            if not one.goes_on(step):
                ended.append(number)
        for number in ended:
            one = going.pop(number)
            yield number, one.found, one.seconds


class _Going(Generic[Found]):
    """A task under way."""

    wanted: Wanted
    found: Found | Exception

    def __init__(self, task: Task[Found]) -> None:
        self._task = task
        self.seconds = 0.0

    def goes_on(self, step: Step | Exception | None) -> bool:
        """Give it the step that it wanted, or None at first; False if it came to its end."""
        began = time.perf_counter()
        try:
            if isinstance(step, Exception):
                self.wanted = self._task.throw(step)
            else:
                self.wanted = self._task.send(step)  # type: ignore[arg-type]
        except StopIteration as end:
            self.found = end.value
        except Exception as err:  # of one picture: the others go on
            self.found = err
        else:
            return True
        finally:
            self.seconds += time.perf_counter() - began
        return False


class _Shelf:
    """The tables of pictures that walks go over, one picture's after another's.

    They stay where they are as pictures come and go: those that left leave a gap, and when there is
    no room after the last, all are put together anew.
    """

    def __init__(self) -> None:
        self._places: dict[int, tuple[_View, list[int]]] = {}  # where its rows begin, in each table
        self._tables: list[NDArray[Any]] = []
        self._used: list[int] = []

    def put(self, views: Sequence[_View]) -> list[list[int]]:
        """Keep these pictures alone.

        Returns:
            For each where its rows of ``features``, ``sharp``, ``grid`` and ``grid4`` begin.
        """
        kept = {id(view) for view in views}
        self._places = {key: place for key, place in self._places.items() if key in kept}
        coming = [view for view in views if id(view) not in self._places]
        sizes = np.array([_rows_of(view) for view in coming], np.int64).reshape(-1, 4)
        wanted = sizes.sum(0)
        if coming and (
            not self._tables
            or any(
                used + more > len(table)
                for used, more, table in zip(self._used, wanted, self._tables, strict=True)
            )
        ):
            self._places, coming = {}, list(views)
            sizes = np.array([_rows_of(view) for view in coming], np.int64)
            room = (sizes.sum(0) * (1 if len(views) == 1 else SPARE)).tolist()
            first = coming[0]
            self._tables = [
                np.empty((room[0], *first.features.shape[1:]), np.float32),
                np.empty((room[1], *first.sharp.shape[1:]), np.float32),
                np.empty(room[2], np.int64),
                np.empty(room[3], np.int64),
            ]
            self._used = [0, 0, 0, 0]
        for view, size in zip(coming, sizes.tolist(), strict=True):
            begin = list(self._used)
            self._places[id(view)] = (view, begin)
            self._used = [used + more for used, more in zip(begin, size, strict=True)]
            features, sharp, grid, grid4 = (
                table[used:end]
                for table, used, end in zip(self._tables, begin, self._used, strict=True)
            )
            features[:], sharp[:] = view.features, view.sharp
            np.add(view.grid.ravel(), begin[0], out=grid)
            np.add(view.grid4.ravel(), begin[1], out=grid4)
        return [self._places[id(view)][1] for view in views]

    @property
    def tables(self) -> dict[str, NDArray[Any]]:
        """What the step is given of them."""
        names = ("features", "sharp", "grid", "grid4")
        return {
            name: table[:used]
            for name, table, used in zip(names, self._tables, self._used, strict=True)
        }


def _rows_of(view: _View) -> tuple[int, int, int, int]:
    return len(view.features), len(view.sharp), view.grid.size, view.grid4.size


class _Stage:
    """The tables that walks look at, one picture's after another's, until walks come or go."""

    def __init__(self, wanted: Sequence[Wanted], shelf: _Shelf) -> None:
        self.walks = _walks(wanted)
        self.shelf = shelf
        self._wanted = [(w.view, len(w.paths), w.only) for w in wanted]  # none may be recycled
        self._seen: tuple[Floats, list[Floats]] | None = None  # of the last step, and its parts
        views = list({id(w.view): w.view for w in wanted}.values())
        begins = shelf.put(views)
        number = {id(view): i for i, view in enumerate(views)}
        every = [(number[id(w.view)], w.view, w.only) for w in wanted for _ in w.paths]
        lengths = [len(view.cells) if only is None else len(only) for _, view, only in every]
        total, longest = sum(lengths), max(lengths) + 1
        spread = np.full((len(every), 1, longest), total, np.int64)
        around = []
        begin = 0
        for row, length, (_, view, only) in zip(spread, lengths, every, strict=True):
            row[0, :length] = np.arange(begin, begin + length)
            begin += length
            nine = view.around
            if only is not None:
                place = np.full(len(view.cells) + 1, -1, np.int64)
                place[only] = np.arange(len(only))
                nine = place[nine[only]]
            around.append(nine)
        beside = _joined(around)
        which = [i for i, *_ in every]
        self.ends = np.cumsum(lengths).tolist()
        self.tables = {
            **shelf.tables,
            "stride": _upright([[1, views[i].grid.shape[1]] for i in which]),
            "base": _upright([[begins[i][2]] for i in which]),
            "stride4": _upright([[1, views[i].grid4.shape[1]] for i in which]),
            "base4": _upright([[begins[i][3]] for i in which]),
            "tone": np.stack([views[i].tone for i in which])[:, None],
            "keys": _joined([v.keys if o is None else v.keys[o] for _, v, o in every]),
            "cells": _joined([v.cells if o is None else v.cells[o] for _, v, o in every]),
            "owner": np.repeat(np.arange(len(every), dtype=np.int64), lengths),
            "spread": spread,
            "around": np.where(beside < 0, longest - 1, beside),
        }

    def step(self, net: Net, wanted: Sequence[Wanted]) -> list[Step]:
        """One step of all walks."""
        paths = [path for w in wanted for path in w.paths]
        if len(paths) == 1:
            marks = paths[0].marks[None]
        else:
            marks = np.full((len(paths), max(len(p.marks) for p in paths), 2, 2), FAR, np.float32)
            for row, path in zip(marks, paths, strict=True):
                row[: len(path.marks)] = path.marks
        parts = [p.seen if w.only is None else p.seen[w.only] for w in wanted for p in w.paths]
        if self._seen and all(x is y for x, y in zip(parts, self._seen[1], strict=True)):
            before = self._seen[0]  # every walk has gone on
        else:
            before = _joined(parts)[None]
        seen, places, shares, best, likely, words, hidden, back = net.step(
            **self.tables,
            seen=before,
            newest=np.array([[p.newest[kind] for p in paths] for kind in range(3)], np.float32),
            marks=marks[:, None],
            hidden=_joined([path.hidden for path in paths])[:, None],
            token=np.array([path.tokens[-1:] for path in paths], np.int64),
            place=np.array([[p.places[-1] if p.places else _NO_PLACE] for p in paths], np.float32),
            state=np.array([[path.state] for path in paths], np.int64),
        )
        lists = [a.tolist() for a in (places, shares[:, :, 0], best, likely, back)]
        parts = [seen[0, a:b] for a, b in pairwise([0, *self.ends])]
        self._seen = seen, parts
        steps, begin = [], 0
        for w in wanted:
            end = begin + len(w.paths)
            own = [values[begin:end] for values in lists]
            arrays = words[begin:end], hidden[begin:end]
            steps.append(Step(parts[begin:end], own[0], own[1], own[2], own[3], own[4], *arrays))
            begin = end
        return steps


def _upright(numbers: list[list[int]]) -> Floats:
    """(K, n) to (K, 1, n, 1)."""
    return np.array(numbers, np.float32)[:, None, :, None]


def _staged(stage: _Stage | None, wanted: Sequence[Wanted]) -> _Stage:
    """The stage as it stands if it is of the same walks, else another."""
    if stage is None:
        return _Stage(wanted, _Shelf())
    return stage if stage.walks == _walks(wanted) else _Stage(wanted, stage.shelf)


def _walks(wanted: Sequence[Wanted]) -> list[tuple[int, int, int]]:
    """How many walks go over which views."""
    return [(id(w.view), len(w.paths), id(w.only)) for w in wanted]


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
