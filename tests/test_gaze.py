"""What stands apart from a molecule, by a net that says what it is told to say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from molgaze import gaze, walk
from molgaze.sites import padded, sites

LINE = [(20, 40), (44, 40)]  # of a bond
CELLS = 19  # inked, or beside ink
WORD = (140, 36, 12, 8)  # x, y, width and height of the ink beside it


class Told:
    """Once it was sent to some of the cells, it says one token after another there."""

    def __init__(self, tokens: list[str], chance: float) -> None:
        self.tokens, self.chance = iter(tokens), chance
        self.place: NDArray[np.float32] | None = None

    def step(self, *, seen: NDArray[Any], cells: NDArray[Any], **_: Any) -> list[Any]:
        words = np.full((1, 2, len(walk.VOCABULARY)), np.log(1e-6), np.float32)
        if len(cells) < CELLS:
            self.place = cells.mean(0)
        elif self.place is not None:
            said = next(self.tokens, None)
            words[..., walk.TOKEN_ID[said or ""]] = np.log(self.chance)
            if said is None:
                words[:] = -np.inf
        place = cells[0] if self.place is None else self.place
        shares = np.array([[[1.0], [1e-9]]])
        return [seen, np.stack([place, place])[None], shares, words, np.zeros((1, 2, 4))]


def view_of(net: Told) -> gaze._View:
    ink = np.zeros((80, 200), np.float32)
    ink[39:42, LINE[0][0] : LINE[1][0]] = 1
    x, y, width, height = WORD
    ink[y : y + height, x : x + width] = 1
    found = sites(padded(ink))
    cells = found.cells.astype(np.float32)
    near = (np.abs(cells[:, None] - cells) <= 1).all(-1)
    assert len(cells) == CELLS
    none = np.zeros((len(cells), 0), np.float32)
    return gaze._View(net, ink, found, found.grid, none, cells, near, none, none)  # type: ignore[arg-type]


def ethane(view: gaze._View) -> gaze._Path:
    """A path over the bond that ended."""
    far = np.full((3, 1, 2), gaze.FAR, np.float32)
    path = gaze._Path(
        np.zeros(4, np.float32),
        np.zeros((1, len(view.cells), 2), np.float32),
        far,
        far[None, :2, 0],
    )
    for token, place in (("C", LINE[0]), ("C", LINE[1]), (">", LINE[1])):
        spot = np.array(place, np.float32) / gaze.CELL - 0.5
        path = path.grown(walk.TOKEN_ID[token], spot, path.score - 0.1, path.hidden, path.seen)
    return path


@pytest.mark.parametrize(
    ("said", "chance", "expected"),
    [
        (["Cl", ">"], 0.9, ["C", "C", ".", "Cl", ">"]),
        (["Na+", ">"], 0.9, ["C", "C", ".", "Na+", ">"]),
        (["[", "'2", "'H", "'B", "'r", "]", ">"], 0.9, "C C . [ '2 'H 'B 'r ] >".split()),
        (["Cl", ">"], 0.7, ["C", "C", ">"]),  # not sure
        (["I", ">"], 0.9, ["C", "C", ">"]),  # a caption
        (["[", "'I", "'I", "]", ">"], 0.9, ["C", "C", ">"]),
        (["C", "C", ">"], 0.9, ["C", "C", ">"]),  # no counter-ion
        (["Cl"] * 20, 0.9, ["C", "C", ">"]),  # without end
        ([], 0.9, ["C", "C", ">"]),  # nothing to say
    ],
)
def test_what_stands_apart_is_read_if_it_is_a_counter_ion_or_a_solvent(
    said: list[str], chance: float, expected: list[str]
) -> None:
    view = view_of(Told(said, chance))
    path = gaze._with_company(view, ethane(view))
    assert [walk.VOCABULARY[t] for t in path.tokens[1:]] == expected
    assert path.ended
