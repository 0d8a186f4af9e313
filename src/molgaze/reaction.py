"""Reactions of a page: what stands before a straight arrow becomes what stands behind it.

The drawing that the line of an arrow meets first behind its tip is a product, the one that it meets
before its tail is a reactant, and so are those that a plus joins to them. What stands beside the
shaft is an agent. An arrow that has none of a kind says nothing, and neither does one whose next
drawing is farther away than a few letters: it may be another line of a scheme.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .arrows import Arrow

Box = tuple[float, float, float, float]

REACH = 9.0  # letters: from an end of an arrow to the drawing that it belongs to, at most
OVERLAP = 0.25  # of an arrow's length: that a drawing may reach beyond its end
BESIDE = 3.5  # letters: from a shaft to an agent, at most
ASIDE = 0.7  # letters: that the line of an arrow may pass a drawing by
PLUS_GAP = 6.0  # letters: from a plus to a drawing, at most


@dataclass(frozen=True)
class Reaction:
    """The drawings round an arrow, by their numbers in the order of the page."""

    reactants: tuple[int, ...]
    agents: tuple[int, ...]
    products: tuple[int, ...]

    def smiles(self, read: Sequence[str | None]) -> str | None:
        """Reaction SMILES, ``reactants>agents>products``; None if a drawing could not be read.

        Args:
            read: the SMILES of every drawing.
        """
        sides = []
        for numbers in (self.reactants, self.agents, self.products):
            side = [read[k] for k in numbers]
            if None in side or "" in side:
                return None
            sides.append(".".join(str(smiles) for smiles in side))
        return ">".join(sides)


def reactions(
    boxes: Sequence[Box], arrows: Sequence[Arrow], pluses: Sequence[Box], letter: float
) -> list[Reaction]:
    """The reactions that arrows make plain.

    Args:
        boxes: left, top, right, bottom of the drawings, in pixels.
        arrows: of the page, in pixels.
        pluses: boxes of the plus signs, see :func:`arrows.plus_signs`.
        letter: the height of a usual letter, in pixels.
    """
    ends: list[tuple[Arrow, tuple[int, ...], tuple[int, ...]]] = []
    for arrow in arrows:
        before = _side(boxes, arrow, pluses, letter, -1)
        behind = _side(boxes, arrow, pluses, letter, 1)
        if before and behind and not set(before) & set(behind):
            ends.append((arrow, before, behind))
    taken = {k for _, before, behind in ends for k in (*before, *behind)}
    found: list[Reaction] = []
    for arrow, before, behind in ends:
        agents = [
            k for k, box in enumerate(boxes) if k not in taken and is_beside(box, arrow, letter)
        ]
        reaction = Reaction(tuple(sorted(before)), tuple(agents), tuple(sorted(behind)))
        if reaction not in found:  # two arrows in a row, or one above the other
            found.append(reaction)
    return found


def roles(
    found: Sequence[Reaction], smiles: Sequence[str | None]
) -> list[tuple[str | None, str | None]]:
    """The role of each drawing and the SMILES of its reaction; None where there is none.

    Args:
        found: the reactions of the page.
        smiles: of its drawings.

    Returns:
        For each drawing ``reactant``, ``agent``, ``product``, or ``intermediate`` for a product
        that is a reactant too, with the reaction that makes it.
    """
    given: list[tuple[str | None, str | None]] = []
    for k in range(len(smiles)):
        makes = [r for r in found if k in r.products]
        takes = [r for r in found if k in r.reactants]
        helps = [r for r in found if k in r.agents]
        if makes:
            given.append(("intermediate" if takes else "product", makes[0].smiles(smiles)))
        elif takes:
            given.append(("reactant", takes[0].smiles(smiles)))
        elif helps:
            given.append(("agent", helps[0].smiles(smiles)))
        else:
            given.append((None, None))
    return given


def _along(box: Box, arrow: Arrow) -> tuple[float, float, float, float]:
    """A box seen from an arrow's tail: where it begins and ends along the arrow, and across it."""
    x, y = (box[0] + box[2]) / 2 - arrow.tail[0], (box[1] + box[3]) / 2 - arrow.tail[1]
    wide, high = (box[2] - box[0]) / 2, (box[3] - box[1]) / 2
    dx = (arrow.tip[0] - arrow.tail[0]) / arrow.length
    dy = (arrow.tip[1] - arrow.tail[1]) / arrow.length
    ahead, across = x * dx + y * dy, y * dx - x * dy
    half_ahead, half_across = abs(dx) * wide + abs(dy) * high, abs(dy) * wide + abs(dx) * high
    return ahead - half_ahead, ahead + half_ahead, across - half_across, across + half_across


def _side(
    boxes: Sequence[Box], arrow: Arrow, pluses: Sequence[Box], letter: float, way: int
) -> tuple[int, ...]:
    """The drawings at the tip (`way` 1) or the tail (-1) of an arrow, the nearest first."""

    def span(box: Box) -> tuple[float, float, float]:
        """How far a box begins and ends beyond the arrow's end, and how far beside its line."""
        first, last, low, high = _along(box, arrow)
        beside = max(low, -high, 0.0)
        if way > 0:
            return first - arrow.length, last - arrow.length, beside
        return -last, -first, beside

    spans = [span(box) for box in boxes]
    ahead = sorted(
        (first, k)
        for k, (first, _, beside) in enumerate(spans)
        if first > -OVERLAP * arrow.length and beside < ASIDE * letter
    )
    if not ahead or ahead[0][0] > REACH * letter:
        return ()
    chosen = [ahead[0][1]]
    signs = [(first, last) for first, last, beside in map(span, pluses) if beside < 3 * letter]
    for first, k in ahead[1:]:
        end = spans[chosen[-1]][1]
        is_joined = any(
            end - letter < a and b < first + letter
            and a - end < PLUS_GAP * letter and first - b < PLUS_GAP * letter
            for a, b in signs
        )  # fmt: skip
        if not is_joined:
            break
        chosen.append(k)
    return tuple(chosen)


def is_beside(box: Box, arrow: Arrow, letter: float) -> bool:
    """Whether something stands beside the shaft of an arrow.

    Args:
        box: of it, in pixels.
        arrow: in pixels.
        letter: the height of a usual letter, in pixels.
    """
    first, last, low, high = _along(box, arrow)
    middle = (first + last) / 2
    return 0 <= middle <= arrow.length and -0.5 * letter < max(low, -high) < BESIDE * letter
