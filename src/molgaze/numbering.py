"""What compounds are called on a page: the numbers printed below their drawings or beside them.

`12a`, `(IV)`, `A-3`, `Example 114` and their like, from the words of a page's text layer, or from
what is read of its ink.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .document import Box, Word
from .glyphs import Phrase

REACH = 27.0  # points: from a drawing down to its number
BESIDE = 24.0  # points: from a drawing to a number at its side
ASIDE = 12.0  # points: that a number below may stand farther to a side than the drawing
SPACE = 0.9  # heights: a wider gap parts two phrases of a line
LINE_STEP = 5  # lines of patents are numbered in steps of this
ALIGNED = 8.0  # points: numbers of lines stand in a column as narrow as this
SURE = 0.6  # mean probability of the glyphs of a number that is read, at least
MOST_LINES = 3  # so many aligned multiples of LINE_STEP are numbers of lines

_MARKS = "['\u2032*]{0,2}"  # primes and stars
_ID = (
    rf"\d{{1,4}}(?:\.\d{{1,3}})?[a-z]{{0,2}}{_MARKS}(?:[-\u2013]\d{{1,4}}[a-z]?)?"  # 12a, 21-49
    rf"|(?![HNOR]\d|[IEL][CD]50)[A-Z]{{1,3}}[-\u2013]?\d{{1,5}}[a-z]?{_MARKS}"  # A-3; no R1, IC50
    rf"|(?:[IVX]{{2,5}}|[IVX](?=\)))(?:[-\u2013]?\d{{1,3}})?[a-z]?{_MARKS}"  # IV, IIa, (V)
)
_PRIME = re.compile("\\s+(['\u2032])")  # which recognised text sets apart
_PREFIX = r"(?i:compound|example|ex|cpd|intermediate|formula|structure|no)\.?\s+"
_NUMBER = re.compile(
    rf"(?P<number>(?:{_PREFIX})?(?:\((?:{_ID})\)|(?:{_ID})))(?:[.:,;]|\s*[:,;(=].*)?"
)


def numbers(boxes: Sequence[Box], words: Sequence[Word]) -> list[str | None]:
    """What each drawing of a page is called; None where nothing is printed.

    A number stands alone, or begins its phrase (``12a: R = Me``). The nearest below a drawing is
    its own, else the nearest beside it; a number belongs to one drawing.

    Args:
        boxes: of the drawings, in points.
        words: of the text layer.
    """
    options: list[tuple[float, int, int]] = []
    phrases = [
        (text, box)
        for text, box in ((_PRIME.sub(r"\1", t), b) for t, b in _phrases(words))
        if _NUMBER.fullmatch(text)
    ]
    lines = _line_numbers(phrases)
    phrases = [p for p in phrases if p not in lines]
    for i, drawing in enumerate(boxes):
        for j, (_, box) in enumerate(phrases):
            away = _away(drawing, box)
            if away is not None:
                options.append((away, i, j))
    found: list[str | None] = [None] * len(boxes)
    taken: set[int] = set()
    for _, i, j in sorted(options):
        if found[i] is None and j not in taken:
            match = _NUMBER.fullmatch(phrases[j][0])
            assert match is not None
            found[i] = match["number"]
            taken.add(j)
    return found


def windows(box: Box) -> tuple[Box, Box]:
    """Where the number of a drawing may stand: below it and beside it; all in points.

    Args:
        box: of the drawing.
    """
    left, top, right, bottom = box
    below = (left - ASIDE, bottom - 2.0, right + ASIDE, bottom + REACH)
    return below, (left - BESIDE, top, right + BESIDE, bottom + 2.0)


def printed(phrases: Sequence[Phrase], point: float) -> list[Word]:
    """The phrases that may be numbers, as words; of what one may say, the most probable number.

    Args:
        phrases: that were read in the ink.
        point: pixels for one point.
    """
    found = []
    for phrase in phrases:
        for text, chance in phrase.options:
            if chance > SURE and _NUMBER.fullmatch(text):
                left, top, right, bottom = (side / point for side in phrase.box)
                found.append(Word(text, (left, top, right, bottom)))
                break
    return found


def _phrases(words: Sequence[Word]) -> list[tuple[str, Box]]:
    """Words that stand together in a line."""
    found: list[tuple[str, Box]] = []
    for word in words:
        text, box = word.text, word.box
        if found:
            before, last = found[-1]
            height = max(box[3] - box[1], last[3] - last[1], 1.0)
            level = min(box[3], last[3]) - max(box[1], last[1]) > 0.3 * height
            if level and -0.5 * height < box[0] - last[2] < SPACE * height:
                around = (last[0], min(last[1], box[1]), box[2], max(last[3], box[3]))
                found[-1] = (f"{before} {text}", around)
                continue
        found.append((text, box))
    return found


def _line_numbers(phrases: Sequence[tuple[str, Box]]) -> set[tuple[str, Box]]:
    """The numbers of a patent's lines: multiples of five, one below the other."""
    fives = [p for p in phrases if p[0].isdigit() and int(p[0]) % LINE_STEP == 0]

    def middle(box: Box) -> float:
        return (box[0] + box[2]) / 2

    return {
        p for p in fives
        if sum(abs(middle(p[1]) - middle(q[1])) < ALIGNED for q in fives) >= MOST_LINES
    }  # fmt: skip


def _away(drawing: Box, box: Box) -> float | None:
    """How far a number is from a drawing, in points; None if it cannot be its own."""
    left, top, right, bottom = drawing
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    if left < x < right and top < y < bottom:
        return None  # it stands in the drawing: an atom's label
    aside = max(left - x, x - right, 0.0)
    below = box[1] - bottom
    if -2.0 < below < REACH and aside < ASIDE:
        return max(below, 0.0) + 0.2 * abs(x - (left + right) / 2)
    gap = max(left - box[2], box[0] - right)
    if top < y < bottom + 2.0 and 0 < gap < BESIDE:
        return REACH + gap
    return None
