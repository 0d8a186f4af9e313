"""Reader: picture, gaze, walk, molecule, reading, in a row."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import gaze, walk
from .gaze import Net, Walk
from .molecule import Molecule, MoleculeError, molecule
from .picture import Picture, PictureError, Sheet, Source, load
from .reading import Reading

WEIGHTS = Path(__file__).parent / "weights"
DOUBTFUL = -0.7  # log-probability under which other scales are tried
TOLERANCE = 1.3  # a bond length this factor off the target is read again at the right scale
OTHER_SCALES = (0.8, 1.25)


class Reader:
    """Reads pictures of molecules.

    >>> from molgaze import Reader
    >>> Reader().read("examples/aspirin.png").smiles  # doctest: +SKIP
    'CC(=O)Oc1ccccc1C(=O)O'

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

    def read(self, source: Source, *, page: int = 0) -> Reading:
        """Read one picture.

        Args:
            source: path, bytes, binary file, PIL image or uint8 array.
            page: frame of a picture with several.

        Raises:
            PictureError: the source is not a picture that can be read.
        """
        began = time.perf_counter()
        sheet = load(source, page)
        best = self._read_sheet(sheet)
        return best.reading(page, self._model, (time.perf_counter() - began) * 1000)

    def read_many(self, sources: Iterable[Source], *, page: int = 0) -> Iterator[Reading]:
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

    # --- one picture ---

    def _read_sheet(self, sheet: Sheet) -> _Attempt:
        """Read at the estimated scale; again where the reading itself shows a better one, or
        where it is doubtful.
        """
        best = self._attempt(sheet.at_scale())
        tried = [best.picture.bond]
        found = best.bond
        if found and not 1 / TOLERANCE < found / best.picture.bond < TOLERANCE:
            tried.append(found)
            best = max(best, self._attempt(sheet.at_scale(bond=found)), key=_Attempt.rank)
        if best.score < DOUBTFUL:
            middle = best.picture.bond
            for factor in OTHER_SCALES:
                if all(abs(math.log(middle * factor / t)) > 0.1 for t in tried):
                    other = self._attempt(sheet.at_scale(bond=middle * factor))
                    best = max(best, other, key=_Attempt.rank)
        best.calibration = self._slope, self._shift
        return best

    def _attempt(self, picture: Picture) -> _Attempt:
        return _Attempt(picture, gaze.read(self._net, picture.ink, self._beam))


def _remade(arguments: dict[str, Any]) -> Reader:
    return Reader(**arguments)


class _Attempt:
    """One picture at one scale: its candidate walks, and the first that is a molecule."""

    def __init__(self, picture: Picture, walks: Sequence[Walk]) -> None:
        self.picture, self.walks = picture, walks
        self.molecule: Molecule | None = None
        self.calibration = (1.0, 0.0)
        self.notes: list[str] = []
        self.others: list[tuple[str, float]] = []
        self.chosen: Walk | None = walks[0] if walks else None
        for candidate in walks:
            places = picture.to_original(candidate.places)
            graph, faults = walk.decode(candidate.tokens, places)
            if not graph.atoms:
                continue
            try:
                read = molecule(graph)
            except MoleculeError as err:
                self.notes.append(str(err))
                continue
            if self.molecule is None:
                self.molecule, self.chosen, self.faults = read, candidate, faults
            elif read.smiles != self.molecule.smiles:
                self.others.append((read.smiles, math.exp(candidate.score)))

    @property
    def score(self) -> float:
        """Log-probability of what was read; lower by 3 for a walk that is no molecule."""
        if self.chosen is None:
            return -99.0
        penalty = 0.0 if self.molecule is not None else 3.0
        return self.chosen.score - penalty

    def rank(self) -> tuple[float, float]:
        """Attempts that are molecules first, then by probability a token."""
        if self.chosen is None:
            return (-1.0, -99.0)
        return (float(self.molecule is not None), self.score / len(self.chosen.tokens))

    @property
    def bond(self) -> float | None:
        """Median bond length that was read, in pixels of the original picture."""
        if self.chosen is None:
            return None
        places = self.picture.to_original(self.chosen.places)
        graph, _ = walk.decode(self.chosen.tokens, places)
        if len(graph.bonds) < 3:
            return None
        ends = np.array([(a, b) for a, b, _ in graph.bonds])
        lengths = np.linalg.norm(graph.places[ends[:, 0]] - graph.places[ends[:, 1]], axis=1)
        return max(float(np.median(lengths)), 1.0)

    def reading(self, page: int, model: str, ms: float) -> Reading:
        """The result that a user gets."""
        slope, shift = self.calibration
        confidence = 1 / (1 + math.exp(-(slope * max(self.score, -50.0) + shift)))
        common: dict[str, Any] = {
            "source": self.picture.source,
            "page": page,
            "model": model,
            "ms": ms,
            "scale": self.bond or self.picture.bond,
        }
        chosen = self.chosen
        if chosen is None or chosen.tokens[:1] == (walk.END,):
            return Reading(finish_reason="no molecule", **common)
        end = len(chosen.tokens) - chosen.ended
        places = self.picture.to_original(chosen.places[:end])
        common |= {
            "tokens": chosen.tokens[:end],
            "places": tuple((float(x), float(y)) for x, y in places),
            "probabilities": chosen.probabilities[:end],
            "finish_reason": "end" if chosen.ended else "length",
        }
        if self.molecule is None:
            what = self.notes[0] if self.notes else "no atom was read"
            return Reading(
                warnings=tuple(self.notes),
                error=f"{self.picture.source}: {what}",
                error_type="MoleculeError",
                **common,
            )
        cut = () if chosen.ended else ("the reading was cut off at its longest",)
        return Reading(
            smiles=self.molecule.smiles,
            cxsmiles=self.molecule.cxsmiles,
            molfile=self.molecule.molfile,
            inchikey=self.molecule.inchikey,
            confidence=confidence if chosen.ended else min(confidence, 0.1),
            warnings=(*self.molecule.warnings, *self.faults, *cut),
            alternatives=tuple(self.others),
            **common,
        )
