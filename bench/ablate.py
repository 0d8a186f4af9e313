"""What each rule that mends a reading is good for: how often it acts, mends, and spoils.

    python bench/ablate.py TABLE.csv [TABLE.csv ...] [--each 100]

Tables have the columns ``file`` and ``smiles`` (``note`` as in :mod:`molgaze.train.confidence`); of
each the first so many pictures of a fixed shuffle are read. A picture on which a rule acts is read
again without the rule. Judge a rule on pictures that it was not made on; one that mends no more
than it spoils there is to go.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from molgaze.judge import RULES
from molgaze.picture import PictureError, load
from molgaze.reader import WEIGHTS, Candidate, Reader
from molgaze.train.confidence import Row, answer, rows


def acted(found: list[Candidate]) -> set[str]:
    """The rules that acted on any reading of a picture, but for the second look."""
    return {f.kind.value for c in found if c.verdict for f in c.verdict.findings} & set(RULES)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="rules that mend, one left out at a time")
    parser.add_argument("tables", nargs="+", type=Path, metavar="TABLE.csv")
    parser.add_argument("--each", type=int, default=100, help="pictures of a table; default 100")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, metavar="FOLDER")
    options = parser.parse_args()
    whole = Reader(options.weights, threads=1)
    readers = {rule: Reader(options.weights, threads=1, without=[rule]) for rule in RULES}
    count: Counter[tuple[str, str]] = Counter()
    pictures = list(rows(options.tables, options.each))

    def is_right(found: list[Candidate], row: Row) -> bool:
        truth = answer(row.smiles, row.note)
        return truth is not None and answer(found[0].smiles, row.note) == truth

    for row in pictures:
        try:
            sheet = load(row.file)
        except PictureError:
            continue
        found = whole.candidates(sheet)
        right = is_right(found, row)
        count["all", "right"] += right
        for rule in RULES:
            if rule != "second look" and rule not in acted(found):
                continue
            other = readers[rule].candidates(sheet)
            if rule == "second look" and [c.smiles for c in other] == [c.smiles for c in found]:
                continue
            count[rule, "acted"] += 1
            count[rule, "mended"] += right and not is_right(other, row)
            count[rule, "spoiled"] += is_right(other, row) and not right
    print(f"{len(pictures)} pictures, {count['all', 'right']} right")
    print(f"{'rule':16s} {'acted':>6s} {'mended':>7s} {'spoiled':>8s}")
    for rule in RULES:
        numbers = (count[rule, what] for what in ("acted", "mended", "spoiled"))
        print("{:16s} {:6d} {:7d} {:8d}".format(rule, *numbers))


if __name__ == "__main__":
    main()
