"""Reader: picture, gaze, walk, molecule, reading, in a row."""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import gaze, walk
from .evidence import cut_anions, misshapen, straight_carbons, tapers, waves
from .gaze import WORTH_A_LOOK, Net, Walk
from .molecule import Molecule, MoleculeError, molecule
from .page import apart, find
from .picture import PictureError, Sheet, Source, load
from .reading import Reading
from .scale import Picture
from .walk import Graph

WEIGHTS = Path(__file__).parent / "weights"
DOUBTFUL = 0.6  # probability of a step under which other scales are tried
UNREAD_COST = 0.5  # of the score, for each bond's worth of ink left over
ODD = ("gives no stereo", "read as", "second bond", "to itself")  # warnings of what seldom is drawn
ODD_COST = 1.0  # of the score, for each of these
AGREEMENT = 0.02  # of the score a token, for another scale at which the same is read
TOLERANCE = 1.3  # a bond length this factor off the target is read again at the right scale
OTHER_SCALES = (0.8, 1.25)
LOST = -0.25  # score a token under which the scale may be far off
FAR_SCALES = (2.0, 4.0)
WIDE_BEAM = 5  # for pictures whose first reading is no molecule,
WIDE_TOKENS = 150  # if it is no longer

Step = tuple[str, NDArray[np.floating], float]  # of a walk: token, place, probability


class Reader:
    """Reads pictures of molecules.

    >>> from molgaze import Reader
    >>> Reader().read("examples/caffeine.png").smiles  # doctest: +SKIP
    'Cn1c(=O)c2c(ncn2C)n(C)c1=O'

    Args:
        weights: a folder with ``encoder.onnx`` and ``step.onnx``; the package's own by default.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: for one picture; all the cores this process may use by default.
        beam: how many readings of a picture are followed; 1 is the fastest.

    Raises:
        WeightsError: no such weights, weights of another version, or a device that is not there.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        *,
        device: str = "auto",
        threads: int | None = None,
        beam: int = 1,
    ) -> None:
        if beam < 1:
            raise ValueError(f"beam must be at least 1, got {beam}")
        self._arguments: dict[str, Any] = {
            "weights": weights,
            "device": device,
            "threads": threads,
            "beam": beam,
        }
        self._net = Net(weights or WEIGHTS, device, threads)
        self._beam = beam
        self._slope, self._shift = json.loads(self._net.metadata.get("calibration", "[1.0, 0.0]"))
        kind = self._net.provider.removesuffix("ExecutionProvider").lower()
        self._model = f"{self._net.metadata['name']} {self._net.metadata['id']} {kind}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (self._arguments,)

    @property
    def info(self) -> dict[str, str]:
        """The weights' metadata, the model's name and what it runs on."""
        kept = {k: v for k, v in self._net.metadata.items() if k != "vocabulary"}
        return {**kept, "model": self._model, "provider": self._net.provider}

    def read(self, source: Source, *, page: int = 1) -> Reading:
        """Read one picture.

        Args:
            source: path, bytes, binary file, PIL image or uint8 array.
            page: frame of a picture with several, from 1.

        Raises:
            PictureError: the source is not a picture that can be read.
        """
        began = time.perf_counter()
        sheet = load(source, page)
        best = self._read_sheet(sheet)
        return self._reading(best, page, (time.perf_counter() - began) * 1000)

    def read_many(self, sources: Iterable[Source], *, page: int = 1) -> Iterator[Reading]:
        """Read pictures one after another; a picture that can't be read is a reading with
        ``error``, so there is one reading for each source, in order.
        """
        for source in sources:
            began = time.perf_counter()
            try:
                yield self.read(source, page=page)
            except PictureError as err:
                yield Reading(
                    source=err.source,
                    page=page,
                    finish_reason="error",
                    model=self._model,
                    ms=(time.perf_counter() - began) * 1000,
                    error=str(err),
                    error_type=type(err).__name__,
                )

    def find(self, source: Source, pages: Iterable[int] | None = None) -> Iterator[Reading]:
        """Every molecule that is drawn in a document, page by page.

        Args:
            source: a PDF, a TIFF of several pages or a picture of a page: path, bytes, binary
                file, PIL image or uint8 array.
            pages: numbers of the pages, from 1; all by default.

        Yields:
            A reading for each drawing, also for those that can't be read, with ``page``, ``box``,
            ``found`` and ``number``; its places, molfile and box are in the page's units, points
            of a PDF or pixels. A page that can't be drawn is a reading with ``error``.

        Raises:
            PictureError: the document can't be opened.
            WeightsError: weights that were exported without a head for pages.
        """
        return find(self._net, self.read, source, pages)

    def read_apart(self, source: Source, *, page: int = 1) -> list[Reading]:
        """Read a picture that may show several molecules, such as a grid or a reaction.

        Returns:
            As :meth:`read`, if it shows one molecule or a salt; else a reading for each molecule,
            with its ``box`` and places in pixels of the picture.

        Raises:
            PictureError: the source is not a picture that can be read.
        """
        return apart(self._net, self.read, source, page, self.read(source, page=page))

    # --- one picture ---

    def _read_sheet(self, sheet: Sheet) -> _Attempt:
        """Read at the estimated scale; at others where the reading is doubtful, at far ones where
        it makes no sense; with a beam where no reading is a molecule.
        """
        best, tried = self._at(sheet, sheet.bond)
        if best.is_doubtful:
            middle = best.picture.bond
            attempts = [best]
            for factor in OTHER_SCALES:
                if all(abs(math.log(middle * factor / t)) > 0.1 for t in tried):
                    attempts.append(self._attempt(sheet.at_scale(bond=middle * factor)))
                if attempts[-1].smiles and attempts[-1].smiles == best.smiles and len(attempts) > 1:
                    break  # two say the same: a third is not asked
            best = _chosen(attempts)
        if best.is_lost:
            far = [self._at(sheet, sheet.bond * factor)[0] for factor in FAR_SCALES]
            best = max(best, *far, key=_Attempt.merit)
        if best.is_no_molecule and self._beam < WIDE_BEAM:
            best = max(best, self._attempt(best.picture, WIDE_BEAM), key=_Attempt.merit)
        return best

    def _at(self, sheet: Sheet, bond: float) -> tuple[_Attempt, list[float]]:
        """The better of readings at a scale and at that which the reading itself shows, and the
        bond lengths that were tried.
        """
        best = self._attempt(sheet.at_scale(bond=bond))
        found = best.bond
        if not found or 1 / TOLERANCE < found / bond < TOLERANCE:
            return best, [bond]
        again = self._attempt(sheet.at_scale(bond=found))
        return max(best, again, key=_Attempt.merit), [bond, found]

    def _attempt(self, picture: Picture, beam: int | None = None) -> _Attempt:
        walks = gaze.read(self._net, picture.ink, beam or self._beam)
        attempts = [_attempt(picture, w) for w in walks]
        if not attempts:
            return _Attempt(picture)
        best = max(attempts, key=_Attempt.merit)
        best.others = tuple(
            (a.molecule.smiles, math.exp(a.walk.score))
            for a in attempts
            if a is not best and a.molecule and a.walk
        )
        return best

    def _reading(self, attempt: _Attempt, page: int, ms: float) -> Reading:
        """The result that a user gets."""
        common: dict[str, Any] = {
            "source": attempt.picture.source,
            "page": page,
            "model": self._model,
            "ms": ms,
            "scale": attempt.bond or attempt.picture.bond,
        }
        read = attempt.walk
        if read is None or read.tokens[:1] == (walk.END,):
            return Reading(finish_reason="no molecule", **common)
        end = len(read.tokens) - read.ended
        places = attempt.picture.to_original(read.places[:end])
        common |= {
            "tokens": read.tokens[:end],
            "places": tuple((float(x), float(y)) for x, y in places),
            "probabilities": read.probabilities[:end],
            "finish_reason": "end" if read.ended else "length",
            "warnings": attempt.warnings,
        }
        if attempt.molecule is None:
            what = attempt.warnings[0] if attempt.warnings else "no atom was read"
            return Reading(
                error=f"{attempt.picture.source}: {what}", error_type="MoleculeError", **common
            )
        confidence = 1 / (1 + math.exp(-(self._slope * attempt.score + self._shift)))
        return Reading(
            smiles=attempt.molecule.smiles,
            cxsmiles=attempt.molecule.cxsmiles,
            molfile=attempt.molecule.molfile,
            inchikey=attempt.molecule.inchikey,
            confidence=confidence if read.ended and attempt.is_valid else min(confidence, 0.1),
            alternatives=attempt.others,
            **common,
        )


def _remade(arguments: dict[str, Any]) -> Reader:
    return Reader(**arguments)


@dataclass
class _Attempt:
    """A picture at one scale, read once."""

    picture: Picture
    walk: Walk | None = None
    graph: Graph | None = None
    """What the walk drew, in pixels of the original picture."""
    molecule: Molecule | None = None
    warnings: tuple[str, ...] = ()
    others: tuple[tuple[str, float], ...] = ()
    misshapen: int = 0
    """Atoms and bonds that lie as none is drawn."""

    @property
    def smiles(self) -> str:
        """What was read, empty for no molecule."""
        return self.molecule.smiles if self.molecule else ""

    @property
    def score(self) -> float:
        """Log-probability of the walk, less what the picture says against it."""
        if self.walk is None or self.molecule is None:
            return -50.0
        against = UNREAD_COST * self.walk.unread + ODD_COST * self.misshapen
        return max(self.walk.score - against, -50.0)

    @property
    def is_valid(self) -> bool:
        """True for a molecule that obeys the rules of valence."""
        return self.molecule is not None and self.molecule.valid

    @property
    def is_doubtful(self) -> bool:
        """True where another scale may well do better."""
        if self.walk is None or not self.is_valid:
            return True
        unsure = min(self.walk.probabilities) < DOUBTFUL or self.walk.unread > WORTH_A_LOOK
        return unsure or self.misshapen > 0

    @property
    def is_lost(self) -> bool:
        """True for a reading that makes so little sense that the scale may be far off."""
        return self.walk is None or not self.walk.ended or self.merit()[1] < LOST

    @property
    def is_no_molecule(self) -> bool:
        """True for a walk that came to its end and breaks the rules of chemistry."""
        if self.walk is None or self.is_valid:
            return False
        return self.walk.ended and len(self.walk.tokens) <= WIDE_TOKENS

    def merit(self) -> tuple[bool, float]:
        """What attempts are compared by: molecules first, then the score a token, less what is odd
        about the molecule.
        """
        odd = sum(any(sign in warning for sign in ODD) for warning in self.warnings)
        tokens = len(self.walk.tokens) if self.walk else 1
        return self.is_valid, (self.score - ODD_COST * odd) / tokens

    @property
    def bond(self) -> float | None:
        """Median bond length that was read, in pixels of the original picture."""
        if self.graph is None or len(self.graph.bonds) < 3:
            return None
        places = self.graph.places
        lengths = [math.dist(places[a], places[b]) for a, b, _ in self.graph.bonds]
        return max(float(np.median(lengths)), 1.0)


def _chosen(attempts: Sequence[_Attempt]) -> _Attempt:
    """The best of some readings of one picture; that another says the same speaks for one."""
    answers = Counter(a.smiles for a in attempts)

    def merit(attempt: _Attempt) -> tuple[bool, float]:
        is_molecule, score = attempt.merit()
        others = answers[attempt.smiles] - 1 if is_molecule else 0
        return is_molecule, score + AGREEMENT * others

    return max(attempts, key=merit)


def _attempt(picture: Picture, read: Walk) -> _Attempt:
    """What a walk over a picture amounts to."""
    read, graph, faults = _mended(picture, read)
    attempt = _Attempt(picture, read, graph)
    if not graph.atoms:
        return attempt
    on_ink = replace(graph, places=picture.from_original(graph.places))
    attempt.misshapen = len(straight_carbons(picture.ink, on_ink)) + misshapen(graph)
    try:
        attempt.molecule = molecule(graph)
    except MoleculeError as err:
        attempt.warnings = (str(err),)
        return attempt
    attempt.warnings = (*attempt.molecule.warnings, *faults)
    if not read.ended:
        attempt.warnings += ("the reading was cut off at its longest",)
    return attempt


# --- what the ink says otherwise than the walk ---


def _mended(picture: Picture, read: Walk) -> tuple[Walk, Graph, list[str]]:
    """A walk with what the picture shows to be otherwise, its graph in pixels of the original
    picture, and what is wrong with it.
    """
    tokens = list(read.tokens)
    for i in waves(picture.ink, read.tokens, read.places):
        tokens[i] = "~"
    read = replace(read, tokens=tuple(tokens))
    graph, faults = walk.decode(read.tokens, read.places)
    for mend in (_straightened, _tapered):
        mended = mend(picture, read, graph)
        if mended is not read:
            read = mended
            graph, faults = walk.decode(read.tokens, read.places)
    graph.places = picture.to_original(graph.places)
    graph.glyphs = {label: picture.to_original(spots) for label, spots in graph.glyphs.items()}
    cut = cut_anions(graph, picture.size)
    if cut:
        tokens = list(read.tokens)
        for atom in cut:
            graph.atoms[atom] = tokens[graph.steps[atom]] = graph.atoms[atom].removesuffix("-")
        read = replace(read, tokens=tuple(tokens))
    return read, graph, faults


def _straightened(picture: Picture, read: Walk, graph: Graph) -> Walk:
    """Without carbons in a straight line that the gaze only passed."""
    closed = set(graph.closed)
    steps = [graph.steps[atom] for atom in straight_carbons(picture.ink, graph)]
    left = [step for step in steps if {step, step + 1} <= closed]
    return _edited(read, dict.fromkeys(left, ())) if left else read


def _tapered(picture: Picture, read: Walk, graph: Graph) -> Walk:
    """With wedges and hashes that were taken as plain bonds, each as probable as the step to the
    bond's end.
    """
    edits = {}
    for number, (narrow, _, kind) in tapers(picture.ink, graph).items():
        begin, end, _ = graph.bonds[number]
        step = graph.closed[number]
        token = walk.BOND_TOKENS[kind][narrow != begin]
        middle = (graph.places[begin] + graph.places[end]) / 2
        here = (read.tokens[step], read.places[step], read.probabilities[step])
        edits[step] = ((token, middle, read.probabilities[step]), here)
    return _edited(read, edits) if edits else read


def _edited(read: Walk, edits: Mapping[int, tuple[Step, ...]]) -> Walk:
    """A walk with other steps (token, place, probability) instead of some."""
    steps = zip(read.tokens, read.places, read.probabilities, strict=True)
    kept = [new for i, old in enumerate(steps) for new in edits.get(i, (old,))]
    tokens, places, probabilities = zip(*kept, strict=True)
    return replace(
        read, tokens=tokens, places=np.array(places, np.float32), probabilities=probabilities
    )
