"""Reader: picture, gaze, walk, graph, molecule, reading, in a row."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from .confidence import Confidence, sense
from .evidence import Leftover, leftovers
from .gaze import Gaze, Net, Task, Walk, alone, together
from .judge import RULES, WORTH_A_LOOK, Verdict, judge
from .judge import doubtful as doubtful_atoms
from .molecule import Molecule, MoleculeError, molecule
from .page import apart, find
from .picture import Sheet, Source, load
from .reading import Reading
from .scale import Picture
from .walk import is_glyph

WEIGHTS = Path(__file__).parent / "weights"
DOUBTFUL = 0.6  # probability of a step under which other scales are tried,
DOUBTFUL_GLYPH = 0.95  # and of a glyph of a label, whose neighbours may have been passed over
TOLERANCE = 1.3  # a bond length this factor off the target is read again at the right scale
OTHER_SCALES = (0.8, 1.25)
SAME_SCALE = 1.1  # scales that differ by less than this factor are one
LOST = -0.25  # log-probability a token under which the scale may be far off
FAR_SCALES = (2.0, 4.0)
LOOKS = 4  # at most, at ink that the best walk passed over; other walks have one
WIDE_BEAM = 5  # for pictures whose first reading is no molecule,
WIDE_TOKENS = 150  # if it is no longer
ALTERNATIVES = 5  # at most
LOOSE = 0.1  # of the confidence, of a reading that was cut off or breaks the rules of valence


class Reader:
    """Reads pictures of molecules.

    Examples:
        >>> from molgaze import Reader
        >>> Reader().read("examples/caffeine.png").smiles  # doctest: +SKIP
        'Cn1c(=O)c2c(ncn2C)n(C)c1=O'

    Args:
        weights: a folder with ``encoder.onnx`` and ``step.onnx``; the package's own by default.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: for one picture; all the cores this process may use by default.
        beam: how many readings of a picture are followed; 1 is the fastest.
        expand: put the atoms that a written group stands for in its place; else groups such as
            ``Boc`` stay as atoms with a label, in ``cxsmiles`` and ``molfile``.
        without: names of rules of :data:`molgaze.judge.RULES` that are to be left out.

    Raises:
        WeightsError: no such weights, weights of another version, or a device that is not there.
        ValueError: a beam under 1, or a rule that is none.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        *,
        device: str = "auto",
        threads: int | None = None,
        beam: int = 1,
        expand: bool = True,
        without: Collection[str] = (),
    ) -> None:
        if beam < 1:
            raise ValueError(f"beam must be at least 1, got {beam}")
        if unknown := sorted(set(without) - set(RULES)):
            raise ValueError(f"no such rule: {', '.join(unknown)}; there are {', '.join(RULES)}")
        self._arguments: dict[str, Any] = {
            "weights": weights,
            "device": device,
            "threads": threads,
            "beam": beam,
            "expand": expand,
            "without": tuple(without),
        }
        self._net = Net(weights or WEIGHTS, device, threads)
        self._beam = beam
        self._expand = expand
        self._without = frozenset(without)
        self._confidence = Confidence.of(self._net.metadata)
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
        return self._read_sheet(load(source, page), page, began)

    def _read_sheet(self, sheet: Sheet, page: int, began: float) -> Reading:
        """Read a picture that is in memory; `began` is the clock's time when it was asked for."""
        candidates = self.candidates(sheet)
        return self._reading(sheet, candidates, page, (time.perf_counter() - began) * 1000)

    def read_together(
        self, pictures: Iterable[tuple[Source, int]], apart: bool = False
    ) -> Iterator[list[Reading] | Exception]:
        """Read pictures, several at a time, which is faster than one after another; each is read as
        if it were alone.

        Args:
            pictures: sources as for :meth:`read`, with the page of each, from 1. Some are taken
                before the first reading comes.
            apart: give each molecule of a picture its own reading, as :meth:`read_apart` does.

        Yields:
            In their order, the readings of each picture, or what :meth:`read` raises for it.
        """
        pages: dict[int, int] = {}
        ready: dict[int, list[Reading] | Exception] = {}

        def tasks() -> Iterator[Task[tuple[Sheet, list[Candidate]]]]:
            for number, (source, page) in enumerate(pictures):
                pages[number] = page
                yield self._opened(source, page)

        following = 0
        for number, found, seconds in together(self._net, tasks()):
            page = pages.pop(number)
            try:
                if isinstance(found, Exception):
                    raise found
                sheet, candidates = found
                whole = self._reading(sheet, candidates, page, seconds * 1000)
                ready[number] = self._apart(sheet, whole) if apart else [whole]
            except Exception as err:  # whatever one picture does, the others are read
                ready[number] = err
            while following in ready:
                yield ready.pop(following)
                following += 1

    def _opened(self, source: Source, page: int) -> Task[tuple[Sheet, list[Candidate]]]:
        sheet = load(source, page)
        return sheet, (yield from self._candidates(sheet))

    def read_many(
        self,
        sources: str | os.PathLike[str] | Iterable[Source],
        *,
        page: int | None = None,
        recursive: bool = False,
        apart: bool = False,
        workers: int | None = None,
        timeout: float = 60.0,
        progress: bool = False,
    ) -> Iterator[Reading]:
        """Read many pictures, in their order; a picture that can't be read is a reading with
        ``error``.

        Args:
            sources: pictures as for :meth:`read`, or paths of folders, archives, tables, globs and
                PDFs, which stand for all that they hold; or one such path. An array (N, H, W) or
                (N, H, W, C) is N pictures.
            page: frame or page of each, from 1; all by default.
            recursive: look into folders inside of folders, too.
            apart: give each molecule of a picture of several its own reading, as
                :meth:`read_apart` does. The molecules on pages of a PDF have their own anyway.
            workers: read in so many processes with one thread each, which a picture may kill; by
                default in this process.
            timeout: seconds that a worker may take for a picture; a page has five times as many.
            progress: show on standard error how far the work is.

        Raises:
            TypeError: one picture instead of several.
            ValueError: a number of workers or of a page under 1, or no time.
            WorkerError: raised when readings are taken: no process could be started.
        """
        from .series import read_series  # noqa: PLC0415  comes after this module

        factory = partial(Reader, **self._arguments | {"threads": 1})
        return read_series(
            self,
            factory,
            sources,
            page=page,
            recursive=recursive,
            apart=apart,
            workers=workers,
            timeout=timeout,
            progress=progress,
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
        return find(self._net, self._read_part, source, pages)

    def read_apart(self, source: Source, *, page: int = 1) -> list[Reading]:
        """Read a picture that may show several molecules, such as a grid or a reaction.

        Returns:
            As :meth:`read`, if it shows one molecule or a salt; else a reading for each molecule,
            with its ``box`` and places in pixels of the picture.

        Raises:
            PictureError: the source is not a picture that can be read.
        """
        began = time.perf_counter()
        sheet = load(source, page)
        return self._apart(sheet, self._read_sheet(sheet, page, began))

    def _read_part(self, source: Source, *, is_scaled: bool = False) -> Task[Reading]:
        """Read one drawing of a page, cut out.

        Args:
            source: as for :meth:`read`.
            is_scaled: the page bears out the length of a bond that is estimated: a reading that
                makes no sense at it is given up.

        Raises:
            PictureError: the source is not a picture that can be read.
        """
        sheet = load(source)
        candidates = yield from self._candidates(sheet, is_scaled)
        return self._reading(sheet, candidates, 1, 0.0)

    def _apart(self, sheet: Sheet, whole: Reading) -> list[Reading]:
        return apart(self._net, self._read_part, sheet, whole)

    # --- one picture ---

    def candidates(self, sheet: Sheet, is_scaled: bool = False) -> list[Candidate]:
        """All readings of a picture that were made, the best first.

        Args:
            sheet: the picture.
            is_scaled: see :meth:`_read_part`.
        """
        return alone(self._net, self._candidates(sheet, is_scaled))

    def _candidates(self, sheet: Sheet, is_scaled: bool = False) -> Task[list[Candidate]]:
        """All readings of a picture that were made, the best first.

        The picture is read at the estimated scale, and again if the bonds that were read have
        another length. If the reading is doubtful, it is read somewhat smaller and larger until
        two scales say the same. If the reading makes no sense, it is read at far larger scales
        of the bond. If it is no molecule, more walks are followed.

        Args:
            sheet: the picture.
            is_scaled: see :meth:`_read_part`.
        """
        read: list[Candidate] = []
        found = (yield from self._look(read, sheet.at_scale(bond=sheet.bond))).bond
        if found and not _is_same(found, sheet.bond, TOLERANCE):
            yield from self._look(read, sheet.at_scale(bond=found))
        best = self._best(read)
        if is_scaled and best.is_lost:
            return sorted(read, key=lambda c: -c.confidence)
        if best.is_doubtful:
            middle = best.picture.bond
            for factor in OTHER_SCALES:
                if any(_is_same(middle * factor, c.picture.bond, SAME_SCALE) for c in read):
                    continue
                other = yield from self._look(read, sheet.at_scale(bond=middle * factor))
                if other.smiles and other.smiles == best.smiles:
                    break
            best = self._best(read)
        if best.is_lost:
            for factor in FAR_SCALES:
                far = yield from self._look(read, sheet.at_scale(bond=sheet.bond * factor))
                if far.bond and not _is_same(far.bond, sheet.bond * factor, TOLERANCE):
                    yield from self._look(read, sheet.at_scale(bond=far.bond))
            best = self._best(read)
        if best.is_no_molecule and self._beam < WIDE_BEAM:
            yield from self._look(read, best.picture, WIDE_BEAM)
        self._best(read)
        return sorted(read, key=lambda c: -c.confidence)

    def _look(
        self, read: list[Candidate], picture: Picture, beam: int | None = None
    ) -> Task[Candidate]:
        """Add what is read at one scale to the readings so far; the best of it comes back."""
        gaze = Gaze(self._net, picture.ink)
        walks = yield from gaze.walks(beam or self._beam)
        new = []
        for rank, walk in enumerate(walks):
            left = None
            if "second look" not in self._without:
                looks = 1 if rank else LOOKS
                walk, left = yield from _looked_again(gaze, walk, looks)  # noqa: PLW2901
            verdict = judge(picture, gaze.inked, walk, self._without, left)
            new.append(understood(picture, walk, verdict, self._expand))
        if not new:
            new.append(Candidate(picture))
        read += new
        return self._best(new)

    def _best(self, read: Sequence[Candidate]) -> Candidate:
        """The reading with the most confidence, in which it counts what other scales say."""
        for candidate in read:
            others = {
                c.picture.bond: c.smiles == candidate.smiles
                for c in sorted(read, key=lambda c: c.smiles == candidate.smiles)
                if c.picture.bond != candidate.picture.bond
            }
            candidate.features["differ"] = float(min(len(others) - sum(others.values()), 3))
            candidate.confidence = self._confidence(candidate.features)
            if candidate.molecule is None:
                candidate.confidence = 0.0
            elif not candidate.is_whole:
                candidate.confidence *= LOOSE
        return max(read, key=lambda c: c.confidence)

    def _reading(
        self, sheet: Sheet, candidates: Sequence[Candidate], page: int, ms: float
    ) -> Reading:
        """The result that a user gets."""
        best = candidates[0]
        read, verdict, found = best.walk, best.verdict, best.molecule
        common: dict[str, Any] = {
            "source": sheet.source,
            "page": page,
            "model": self._model,
            "ms": ms,
            "scale": best.bond or best.picture.bond,
        }
        if read is None or verdict is None or not verdict.graph.atoms:
            return Reading(finish_reason="no molecule", **common)
        end = len(read.tokens) - read.ended
        places = best.picture.to_original(read.places[:end])
        common |= {
            "tokens": read.tokens[:end],
            "places": tuple((float(x), float(y)) for x, y in places),
            "probabilities": read.probabilities[:end],
            "finish_reason": "end" if read.ended else "length",
        }
        if self._confidence.refuses(best.features):
            return Reading(**common | {"finish_reason": "no molecule"}, confidence=best.confidence)
        if found is None:
            return Reading(
                error=f"{sheet.source}: {best.fault}",
                error_type="MoleculeError",
                warnings=(best.fault, *verdict.warnings),
                **common,
            )
        of_graph = self._confidence.of_atoms(best.features, verdict.chances)
        atoms = tuple(float(of_graph[source]) for source in found.molfile_atoms)
        doubts = doubtful_atoms(verdict.graph, of_graph)
        others: dict[str, float] = {}
        for candidate in candidates:
            if candidate.smiles and candidate.smiles != best.smiles:
                others.setdefault(candidate.smiles, candidate.confidence)
        return Reading(
            smiles=found.smiles,
            cxsmiles=found.cxsmiles,
            molfile=found.molfile,
            inchikey=found.inchikey,
            confidence=best.confidence,
            atom_confidences=atoms,
            warnings=(*found.warnings, *verdict.warnings, *(f.message for f in doubts)),
            alternatives=tuple(others.items())[:ALTERNATIVES],
            **common,
        ).judged()


def _remade(arguments: dict[str, Any]) -> Reader:
    return Reader(**arguments)


def _is_same(bond: float, other: float, factor: float) -> bool:
    return abs(math.log(bond / other)) < math.log(factor)


def _looked_again(gaze: Gaze, walk: Walk, looks: int) -> Task[tuple[Walk, list[Leftover]]]:
    """A walk that is sent back to ink which it passed over, as long as this leaves less ink; and
    what it leaves.

    Args:
        gaze: of the picture.
        walk: as it ended first.
        looks: how many times at most.
    """
    left = leftovers(gaze.inked, walk.graph)
    for _ in range(looks):
        if not left or left[0].length < WORTH_A_LOOK:
            break
        longer = yield from gaze.back(walk, walk.graph.places[left[0].atom])
        if longer is None or not longer.ended:
            break
        still = leftovers(gaze.inked, longer.graph)
        if sum(x.length for x in still) >= sum(x.length for x in left):
            break
        walk, left = longer, still
    return walk, left


@dataclass
class Candidate:
    """A picture at one scale, read once: what the best reading of a picture is chosen from."""

    picture: Picture
    walk: Walk | None = None
    verdict: Verdict | None = None
    molecule: Molecule | None = None
    features: dict[str, float] = field(default_factory=dict)
    fault: str = ""
    """Why it is no molecule."""
    confidence: float = 0.0

    @property
    def smiles(self) -> str:
        """What was read, empty for no molecule."""
        return self.molecule.smiles if self.molecule else ""

    @property
    def bond(self) -> float | None:
        """Median bond length that was read, in pixels of the original picture."""
        return self.verdict.bond if self.verdict else None

    @property
    def is_whole(self) -> bool:
        """True for a walk that came to its end and whose molecule obeys the rules of valence."""
        return bool(self.walk and self.walk.ended and self.molecule and self.molecule.valid)

    @property
    def is_doubtful(self) -> bool:
        """True where another scale may well do better."""
        if self.walk is None or self.molecule is None or not self.molecule.valid:
            return True
        steps = zip(self.walk.tokens, self.walk.probabilities, strict=True)
        unsure = any(p < (DOUBTFUL_GLYPH if is_glyph(t) else DOUBTFUL) for t, p in steps)
        return unsure or self.features["unread"] > WORTH_A_LOOK or self.features["misshapen"] > 0

    @property
    def is_lost(self) -> bool:
        """True for a reading that makes so little sense that the scale may be far off."""
        if self.walk is None or self.molecule is None or not self.walk.ended:
            return True
        return self.features["mean"] < LOST

    @property
    def is_no_molecule(self) -> bool:
        """True for a walk that came to its end and breaks the rules of valence."""
        if self.walk is None or self.is_whole:
            return False
        return self.walk.ended and len(self.walk.tokens) <= WIDE_TOKENS


def understood(picture: Picture, walk: Walk, verdict: Verdict, expand: bool = True) -> Candidate:
    """What chemistry makes of a judged walk.

    Args:
        picture: that the walk went over.
        walk: as the gaze went.
        verdict: on it.
        expand: as of :class:`Reader`.
    """
    found, fault = None, "no atom was read"
    if verdict.graph.atoms:
        try:
            found = molecule(verdict.graph, expand=expand)
        except MoleculeError as err:
            fault = str(err)
    features = {**verdict.features, **sense(found)}
    return Candidate(picture, walk, verdict, found, features, fault)
