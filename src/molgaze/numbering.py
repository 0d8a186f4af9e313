"""What compounds are called on a page: the numbers printed below their drawings or beside them.

`12a`, `(IV)`, `A-3`, `Example 114` and their like, from the words of a page's text layer, or from
what is read of its ink.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from .document import Box, Word
from .glyphs import Phrase

REACH = 27.0  # points: from a drawing down to its number
BESIDE = 24.0  # points: from a drawing to a number at its side
ASIDE = 12.0  # points: that a number below may stand farther to a side than the drawing
COLUMN = 110.0  # points: from a drawing to a number in the first column of its table
MIDDLE_SHARE = 0.35  # of a drawing's height, that such a number may stand off its middle
SPACE = 0.9  # heights: a wider gap parts two phrases of a line
LINE_STEP = 5  # lines of patents are numbered in steps of this
ALIGNED = 8.0  # points: numbers of lines stand in a column as narrow as this
SURE = 0.65  # mean probability of the glyphs of a number that is read, at least
MOST_LINES = 3  # so many aligned multiples of LINE_STEP are numbers of lines

_MARKS = "['\u2032*]{0,2}"  # primes and stars
_ID = (
    rf"\d{{1,4}}(?:\.\d{{1,3}})?[a-z]{{0,2}}{_MARKS}(?:[-\u2013]\d{{1,4}}[a-z]?)?"  # 12a, 21-49
    r"|(?![HNOR]\d|O?C[HEF]\d|[NOS]H\d|[CNSP]O\d|[IEL][CD]50)"  # no R1, CH3, IC50, but
    rf"[A-Z]{{1,3}}[-\u2013]?\d{{1,5}}[a-z]?{_MARKS}"
    rf"|(?:[IVX]{{2,5}}|[IVX](?=\)))(?:[-\u2013]?\d{{1,3}})?[a-z]?{_MARKS}"  # IV, IIa, (V)
)
_COUNT = re.compile(r"\d{1,4}(?![\d.])")  # what a number in a column begins with
_PRIME = re.compile("\\s+(['\u2032])")  # which recognised text sets apart
_PREFIX = r"(?i:compound|example|ex|cpd|intermediate|formula|structure|no)\.?\s+"
_WORD = re.compile(_PREFIX)
_NUMBER = re.compile(
    rf"(?P<number>(?:{_PREFIX})?(?:\((?:{_ID})\)|(?:{_ID})))(?:[.:,;]|\s*[:,;(=].*)?"
)


def numbers(boxes: Sequence[Box], words: Sequence[Word]) -> list[str | None]:
    """What each drawing of a page is called; None where nothing is printed.

    A number stands alone, or begins its phrase (``12a: R = Me``). The nearest below a drawing is
    its own, else the nearest beside it, else the one in the first column of its table; a number
    belongs to one drawing.

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
    for i, j in _in_columns(boxes, found, phrases, taken):
        found[i] = phrases[j][0]
    return found


def windows(box: Box) -> tuple[Box, Box, Box]:
    """Where the number of a drawing may stand: below it, beside it, or in a column of a table; all
    in points.

    Args:
        box: of the drawing.
    """
    left, top, right, bottom = box
    below = (left - ASIDE, bottom - 2.0, right + ASIDE, bottom + REACH)
    beside = (left - BESIDE, top, right + BESIDE, bottom + 2.0)
    return below, beside, (left - COLUMN, top, left, bottom)


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
                word = _WORD.match(text)
                if word:  # small and capital letters look alike
                    text = word[0].capitalize() + text[word.end() :]  # noqa: PLW2901
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


def _in_columns(
    boxes: Sequence[Box],
    found: Sequence[str | None],
    phrases: Sequence[tuple[str, Box]],
    taken: set[int],
) -> list[tuple[int, int]]:
    """Drawings without a number and the phrases that number them in the first column of a table.

    Such numbers stand one below the other to the left of their drawings, and count upwards.
    """
    pairs: list[tuple[float, int, int]] = []  # of the phrase's height on the page
    for i, (left, top, _right, bottom) in enumerate(boxes):
        if found[i] is not None:
            continue
        for j, (text, box) in enumerate(phrases):
            y = (box[1] + box[3]) / 2
            gap, aside = left - box[2], abs(y - (top + bottom) / 2)
            if j in taken or not _COUNT.match(text) or not 0 < gap < COLUMN:
                continue
            is_hidden = any(
                other[0] < left and other[2] > box[2] and other[1] < y < other[3]
                for k, other in enumerate(boxes)
                if k != i
            )
            if aside < MIDDLE_SHARE * (bottom - top) and not is_hidden:
                pairs.append((y, i, j))
    pairs.sort()
    chosen: list[tuple[int, int]] = []
    for _, i, j in pairs:
        x = (phrases[j][1][0] + phrases[j][1][2]) / 2
        column = [
            p for p in pairs if abs((phrases[p[2]][1][0] + phrases[p[2]][1][2]) / 2 - x) < ALIGNED
        ]
        counts = [int(m[0]) for p in column if (m := _COUNT.match(phrases[p[2]][0]))]
        if len({p[1] for p in column}) >= 2 and all(a < b for a, b in pairwise(counts)):
            chosen.append((i, j))
    return chosen


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
