"""Reader: which scales are read, what is chosen, and how errors of one picture are told."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from molgaze import Reader
from molgaze.evidence import Leftover, leftovers
from molgaze.gaze import Gaze, Task, Walk
from molgaze.judge import judge
from molgaze.picture import PictureError, load
from molgaze.reader import LOOKS, Candidate, _looked_again, understood
from molgaze.scale import Picture

DRAWING = np.full((120, 200), 255, np.uint8)
DRAWING[58:61, 40:160] = 0


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(device="cpu", threads=1)


def candidate(
    picture: Picture, atom: str, chance: float, bond: float | None = None, ended: bool = True
) -> Candidate:
    """Four atoms in a zigzag, the last of them as told."""
    length = 23.0 if bond is None else bond * picture.factor
    places = np.array([(0, 0), (0.87, 0.5), (1.73, 0), (2.6, 0.5), (0, 0)]) * length + 20
    walk = Walk(("C", "C", "C", atom, ">"), places.astype(np.float32), (chance,) * 5, 0.0, ended)
    verdict = judge(picture, np.zeros((0, 2), np.int64), walk)
    return understood(picture, walk, verdict)


Told = Callable[[Picture, int | None], Candidate]


def scales(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, told: Told
) -> tuple[list[Candidate], list[float]]:
    """The candidates of a drawing if they are as told, and the scales as parts of the first."""
    asked: list[float] = []

    def look(
        self: Reader, read: list[Candidate], picture: Picture, beam: int | None = None
    ) -> Task[Candidate]:
        asked.append(picture.bond)
        read.append(told(picture, beam))
        yield from ()
        return self._best(read[-1:])

    monkeypatch.setattr(Reader, "_look", look)
    found = reader.candidates(load(DRAWING))
    return found, [bond / asked[0] for bond in asked]


def test_a_sure_reading_is_read_once(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = scales(reader, monkeypatch, lambda p, _: candidate(p, "O", 0.99))
    assert asked == [1.0]
    assert [c.smiles for c in found] == ["CCCO"]


def test_a_doubtful_reading_is_read_at_other_scales_until_two_agree(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    first: list[float] = []

    def told(picture: Picture, _: int | None) -> Candidate:
        first.append(picture.bond)
        is_first = picture.bond == first[0]
        return candidate(picture, "N" if is_first else "O", 0.5 if is_first else 0.98)

    found, asked = scales(reader, monkeypatch, told)
    assert asked == pytest.approx([1.0, 0.8, 1.25])
    assert found[0].smiles == "CCCO"
    assert found[0].features["differ"] == 1
    assert found[0].confidence > found[-1].confidence
    _, asked = scales(reader, monkeypatch, lambda p, _: candidate(p, "O", 0.5))
    assert asked[:2] == pytest.approx([1.0, 0.8])
    assert 1.25 not in asked


def test_bonds_that_come_out_otherwise_are_read_at_their_scale(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    first: list[float] = []

    def told(picture: Picture, _: int | None) -> Candidate:
        first.append(picture.bond)
        return candidate(picture, "O", 0.99, 1.5 * first[0])

    _, asked = scales(reader, monkeypatch, told)
    assert asked == pytest.approx([1.0, 1.5], rel=0.01)


def test_what_makes_no_sense_is_read_at_far_scales_and_what_is_no_molecule_with_a_beam(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, asked = scales(reader, monkeypatch, lambda p, _: candidate(p, "O", 0.3))
    assert asked[-2:] == pytest.approx([2.0, 4.0])
    beams: list[int | None] = []

    def told(picture: Picture, beam: int | None) -> Candidate:
        beams.append(beam)
        return Candidate(picture) if beam is None else candidate(picture, "O", 0.9)

    impossible = Walk(("C",) * 4 + (">",), np.zeros((5, 2), np.float32), (0.9,) * 5, 0.0, True)
    found, _ = scales(
        reader,
        monkeypatch,
        lambda p, b: (
            Candidate(p, impossible, features={"unread": 0, "misshapen": 0, "mean": -0.1})
            if b is None
            else told(p, b)
        ),
    )
    assert beams == [5]
    assert found[0].smiles == "CCCO"


def at_once(task: Task[tuple[Walk, list[Leftover]]]) -> tuple[Walk, list[Leftover]]:
    """What a task finds that takes no step."""
    with pytest.raises(StopIteration) as end:
        next(task)
    found: tuple[Walk, list[Leftover]] = end.value.value
    return found


class Looks:
    """A gaze that finds one atom more each time that it is sent back."""

    def __init__(self, inked: NDArray[np.int64]) -> None:
        self.inked, self.sent = inked, 0

    def back(self, walk: Walk, _: Any) -> Task[Walk | None]:
        yield from ()
        self.sent += 1
        count = len(walk.tokens)
        spots = np.array([(20 + 24 * i, 40) for i in range(count)] + [(0, 0)], np.float32)
        return Walk(("C",) * count + (">",), spots, (0.9,) * (count + 1), -1.0, ended=True)


def test_the_gaze_is_sent_back_to_ink_that_it_passed_over_as_often_as_is_allowed() -> None:
    cells = np.array([(x, 5) for x in range(2, 21)])
    spots = np.array([(20, 40), (44, 40), (0, 0)], np.float32)
    read = Walk(("C", "C", ">"), spots, (0.9,) * 3, -1.0, ended=True)
    for allowed in (0, 1, 2):
        looks = Looks(cells)
        found, left = at_once(_looked_again(looks, read, allowed))  # type: ignore[arg-type]
        assert looks.sent == allowed
        assert left == leftovers(cells, found.graph)
        assert len(found.tokens) == len(read.tokens) + allowed
    done = Looks(np.array([(x, 5) for x in range(2, 6)]))
    assert at_once(_looked_again(done, read, 4))[0] is read  # type: ignore[arg-type]
    assert not done.sent


def test_every_walk_is_looked_at_again_unless_that_is_left_out(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def looked_again(_: Gaze, walk: Walk, most: int) -> Task[tuple[Walk, list[Leftover]]]:
        yield from ()
        looks.append(most)
        return walk, []

    monkeypatch.setattr("molgaze.reader._looked_again", looked_again)
    reader.read(molecule_picture())
    assert looks[0] == LOOKS
    looks.clear()
    Reader(device="cpu", threads=1, without=["second look"]).read(molecule_picture())
    assert looks == []


def judged(tokens: str, *places: tuple[float, float]) -> Candidate:
    """A walk over a picture of 200 x 120 pixels at the reading scale, understood."""
    names = tuple(tokens.split())
    spots = np.array([*places, (0, 0)], np.float32)
    walk = Walk(names, spots, (0.95,) * len(names), -0.5, ended=True)
    picture = Picture(np.zeros((120, 200), np.float32), (0.0, 0.0), 1.0, (120, 200), 23.0, "a")
    return understood(picture, walk, judge(picture, np.zeros((0, 2), np.int64), walk))


def test_a_valence_fault_withholds_nothing(reader: Reader) -> None:
    """A nitrogen with five single bonds."""
    middle, ends = (60, 60), [(60, 37), (83, 55), (74, 80), (46, 80), (37, 55)]
    places = [ends[0], middle]
    for end in ends[1:]:
        places += [end, middle]
    found = judged("C N C ^ C ^ C ^ C >", *places[:-1])
    assert found.molecule is not None
    assert not found.is_whole
    assert found.is_doubtful
    reader._best([found])
    reading = reader._reading(load(DRAWING), [found], 1, 0.0)
    assert reading.smiles
    assert reading.molfile
    assert reading.error is None
    assert any("atom 2 (N" in warning for warning in reading.warnings)
    assert reading.confidence < 0.1
    assert reading.review


def test_a_picture_that_is_refused_has_no_smiles(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = judged("C C O >", (40, 60), (60, 48), (80, 60))
    reader._best([found])
    assert reader._reading(load(DRAWING), [found], 1, 0.0).smiles == "CCO"
    monkeypatch.setattr("molgaze.confidence.Confidence.refuses", lambda *_: True)
    refused = reader._reading(load(DRAWING), [found], 1, 0.0)
    assert refused.finish_reason == "no molecule"
    assert refused.smiles is refused.molfile is refused.error is None
    assert refused.tokens == ("C", "C", "O")
    assert not refused.valid


def test_alternatives_have_the_same_confidence_and_are_no_repetition(reader: Reader) -> None:
    best = judged("C C O >", (40, 60), (60, 48), (80, 60))
    other = judged("C C N >", (40, 60), (60, 48), (80, 60))
    again = judged("C C O >", (40, 60), (60, 48), (80, 60))
    for candidate, confidence in ((best, 0.9), (other, 0.4), (again, 0.3)):
        candidate.confidence = confidence
    reading = reader._reading(load(DRAWING), [best, other, again], 1, 0.0)
    assert (reading.smiles, reading.confidence) == ("CCO", 0.9)
    assert reading.alternatives == (("CCN", 0.4),)


# --- the whole reader, with whatever weights ship ---


def molecule_picture() -> Image.Image:
    """A benzene ring with sharp lines."""
    image = Image.new("L", (200, 200), 255)
    pen = ImageDraw.Draw(image)
    turns = np.radians(np.arange(30, 390, 60))
    for radius, every in ((70, 1), (56, 2)):
        ring = 100 + radius * np.stack([np.cos(turns), np.sin(turns)], 1)
        for i in range(0, 6, every):
            pen.line([*ring[i], *ring[(i + 1) % 6]], fill=0, width=3)
    return image


def test_a_reading_has_confidences_places_and_warnings(reader: Reader) -> None:
    reading = reader.read(molecule_picture())
    assert reading.smiles == "c1ccccc1"
    assert reading.page == 1
    assert 0.5 < reading.confidence <= 1
    assert not reading.review
    assert len(reading.atom_confidences) == 6
    assert all(0 <= c <= 1 for c in reading.atom_confidences)
    assert all(0 <= c <= 1 for _, c in reading.alternatives)


def test_one_bad_picture_does_not_stop_the_others(reader: Reader, tmp_path: Path) -> None:
    good = tmp_path / "good.png"
    molecule_picture().save(good)
    sources: list[Any] = [tmp_path / "none.png", 7, np.full((50, 50), np.nan), good]
    first, second, third, last = reader.read_many(sources)
    assert first.error_type == third.error_type == "PictureError"
    assert first.source == str(tmp_path / "none.png")
    assert second.error_type == "TypeError"
    assert "not a path" in (second.error or "")
    assert {r.finish_reason for r in (first, second, third)} == {"error"}
    assert last.smiles == "c1ccccc1"


def test_a_rule_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no such rule: hunch"):
        Reader(without=["hunch"])
    with pytest.raises(ValueError, match="at least 1"):
        Reader(beam=0)


def test_a_reader_can_be_sent_to_another_process(reader: Reader) -> None:
    again = pickle.loads(pickle.dumps(Reader(device="cpu", threads=1, without=["wave"])))
    assert again._without == {"wave"}
    assert again.read(molecule_picture()).smiles == "c1ccccc1"


def test_a_wide_beam_reads(reader: Reader) -> None:
    reading = Reader(device="cpu", threads=1, beam=6).read(molecule_picture())
    assert reading.smiles == "c1ccccc1"
    confidences = [reading.confidence, *(c for _, c in reading.alternatives)]
    assert confidences == sorted(confidences, reverse=True)


def test_pages_count_from_one(reader: Reader, tmp_path: Path) -> None:
    file = tmp_path / "two.tif"
    other = Image.fromarray(DRAWING)
    molecule_picture().save(file, save_all=True, append_images=[other])
    first, second = reader.read(file, page=1), reader.read(file, page=2)
    assert (first.smiles, first.page, second.page) == ("c1ccccc1", 1, 2)
    assert second.smiles != "c1ccccc1"
    for page in (0, 3):
        with pytest.raises(PictureError, match=f"no page {page}"):
            reader.read(file, page=page)


def test_pictures_read_together_read_as_they_do_alone(reader: Reader) -> None:
    """Among them some that cannot be read, and what takes several scales. In noise, where one token
    is as likely as another, rounding decides, so there is none among them.
    """
    line = np.asarray(molecule_picture().resize((70, 70)))
    sources: list[Any] = [molecule_picture(), DRAWING, 7, DRAWING[::-1], line, DRAWING.T] * 3
    found = list(reader.read_together((source, 1) for source in sources))
    for source, got in zip(sources, found, strict=True):
        if isinstance(source, int):
            assert isinstance(got, TypeError)
            continue
        want = reader.read(source)
        assert isinstance(got, list)
        (one,) = got
        assert (one.tokens, one.smiles, one.warnings) == (want.tokens, want.smiles, want.warnings)
        assert one.confidence == pytest.approx(want.confidence, abs=1e-3)
        assert one.ms is not None
        assert one.ms > 0
