import pytest

from molgaze.document import Word
from molgaze.numbering import numbers

DRAWING = (100.0, 100.0, 200.0, 160.0)


def words(text, left, top, height=8.0):
    """The words of a phrase, in a line."""
    found = []
    for word in text.split(" "):
        wide = 5.0 * len(word)
        found.append(Word(word, (left, top, left + wide, top + height)))
        left += wide + 3.0
    return found


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12a", "12a"),
        ("(IV)", "(IV)"),
        ("(V)", "(V)"),
        ("A-3", "A-3"),
        ("F3'", "F3'"),
        ("F3 '", "F3'"),
        ("21-49", "21-49"),
        ("Example 114", "Example 114"),
        ("Compound F6", "Compound F6"),
        ("50: R = 2-Cl", "50"),
        ("7 (R = H)", "7"),
        ("12a.", "12a"),
        ("IIa", "IIa"),
        ("R1", None),  # an R group
        ("IC50", None),
        ("OCH3", None),
        ("(CH2)", None),
        ("CF3", None),
        ("SO2", None),
        ("V", None),  # vanadium, or a letter of a table
        ("THF", None),
        ("yield", None),
    ],
)
def test_what_a_number_looks_like(text, number):
    assert numbers([DRAWING], words(text, 135, 168)) == [number]


def test_the_nearest_below_and_else_the_nearest_beside():
    page = words("3", 145, 180) + words("2", 145, 165) + words("9", 210, 130)
    assert numbers([DRAWING], page) == ["2"]
    assert numbers([DRAWING], words("9", 210, 130)) == ["9"]
    assert numbers([DRAWING], words("9", 80, 130)) == ["9"]
    assert numbers([DRAWING], words("9", 145, 200)) == [None]  # too far
    assert numbers([DRAWING], words("9", 145, 130)) == [None]  # an atom's label
    assert numbers([DRAWING], words("9", 145, 80)) == [None]  # above


def test_a_number_belongs_to_one_drawing():
    other = (230.0, 100.0, 330.0, 160.0)
    assert numbers([DRAWING, other], words("1", 145, 165)) == ["1", None]
    both = words("1", 145, 165) + words("2", 275, 165)
    assert numbers([DRAWING, other], both) == ["1", "2"]


def test_numbers_in_sentences_and_of_lines_are_kept_out():
    assert numbers([DRAWING], words("was added 12 of the acid", 110, 168)) == [None]
    lines = [w for k in range(1, 5) for w in words(str(5 * k), 206, 60 + 40 * k)]
    assert numbers([DRAWING], lines) == [None]
    assert numbers([DRAWING], words("10", 145, 168)) == ["10"]
    assert numbers([], lines) == []


def test_the_first_column_of_a_table_numbers_its_drawings():
    rows = [(200.0, 100.0 + 90 * k, 300.0, 160.0 + 90 * k) for k in range(3)]
    column = [w for k in range(3) for w in words(str(k + 4), 110, 126 + 90 * k)]
    assert numbers(rows, column) == ["4", "5", "6"]
    assert numbers(rows[:1], column[:1]) == [None]  # alone it may be anything
    assert numbers(rows, column[::-1]) == ["4", "5", "6"]
    back = [w for k in range(3) for w in words(str(6 - k), 110, 126 + 90 * k)]
    assert numbers(rows, back) == [None] * 3  # they do not count upwards
    between = [*rows, (140.0, 100.0, 190.0, 160.0)]
    assert numbers(between, column)[0] is None
