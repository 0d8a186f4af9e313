"""Breaks the package in ten ways, one at a time, and says which of them no test notices.

    python bench/mutants.py [-k WORD]

Each mutant is a copy of the package in which one piece of text is another: it reads nothing, puts
atoms elsewhere, is always as sure, reads at one scale only, and so on. The tests of the module run
against the copy, and one of them at least must fail. The exit code is 1 if a mutant lives, and also
if the text that it changes is not there any more, since then it must be written anew.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Mutant(NamedTuple):
    """One fault: in which file which text becomes which, and the tests that should notice."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = (
    Mutant(
        "every picture is without a molecule",
        "reader.py",
        "if read is None or verdict is None",
        "if True or read is None or verdict is None",
        ("test_examples.py",),
    ),
    Mutant(
        "every place is 50 pixels off",
        "scale.py",
        "return ink / self.factor + np.asarray(self.offset, np.float64)",
        "return ink / self.factor + np.asarray(self.offset, np.float64) + 50",
        ("test_scale.py", "test_examples.py"),
    ),
    Mutant(
        "the confidence is always the same",
        "confidence.py",
        "return _chance(self.logit(features))",
        "return 0.8",
        ("test_judge.py",),
    ),
    Mutant(
        "a picture is read at one scale only",
        "reader.py",
        "if best.is_doubtful:",
        "if False:",
        ("test_reader.py",),
    ),
    Mutant(
        "there is no second look",
        "reader.py",
        'if "second look" not in self._without:',
        "if False:",
        ("test_reader.py",),
    ),
    Mutant(
        "any token may follow any other",
        "gaze.py",
        "[[t in tokens for t in walk.VOCABULARY]",
        "[[bool(t) or t in tokens for t in walk.VOCABULARY]",
        ("test_gaze.py",),
    ),
    Mutant(
        "a group's stereocentre is turned over as it is bonded to the molecule",
        "graft.py",
        "if (len(row) - 1 - row.index(end)) % 2:",
        "if False:",
        ("test_molecule.py",),
    ),
    Mutant(
        "a group's stereocentre is turned over as its hydrogen is dropped",
        "formula.py",
        "if (len(order) - 2 - order.index(port)) % 2:",
        "if False:",
        ("test_formula.py",),
    ),
    Mutant(
        "an amino acid of the table is its mirror image",
        "abbreviations.csv",
        "Trp,[*:1]N[C@@H](Cc1c[nH]c2ccccc12)C([*:2])=O",
        "Trp,[*:1]N[C@H](Cc1c[nH]c2ccccc12)C([*:2])=O",
        ("test_label.py",),
    ),
    Mutant(
        "a protecting group of the table is propyl",
        "abbreviations.csv",
        "Pbf,*S(=O)(=O)c1c(C)c(C)c2c(c1C)CC(C)(C)O2",
        "Pbf,*CCC",
        ("test_label.py",),
    ),
)


def is_noticed(mutant: Mutant) -> bool:
    """Whether a test fails on a copy of the package with the fault in it, and on no other copy.

    Raises:
        ValueError: the text that is to be changed is not there, or is there more than once.
    """
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "molgaze"
        shutil.copytree(
            ROOT / "src" / "molgaze", copy, ignore=shutil.ignore_patterns("__pycache__")
        )
        file = copy / mutant.file
        text = file.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            raise ValueError(f"{mutant.file} has {text.count(mutant.old)} times {mutant.old!r}")
        if fails(mutant.tests, place):
            raise ValueError("its tests fail without it too")
        file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        return fails(mutant.tests, place)


def fails(tests: Sequence[str], place: str) -> bool:
    """Whether one of some tests fails on the package in a folder.

    Raises:
        ValueError: the tests did not run.
    """
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
            *(str(ROOT / "tests" / test) for test in tests),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": place},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):  # 1: a test failed
        raise ValueError(f"pytest ended with {done.returncode}: {done.stdout[-500:]}")
    return done.returncode == 1


def main() -> None:
    """Print a line for each mutant."""
    parser = argparse.ArgumentParser(description="faults that a test must notice")
    parser.add_argument(
        "-k", default="", metavar="WORD", help="only mutants with it in their names"
    )
    options = parser.parse_args()
    alive = 0
    for mutant in MUTANTS:
        if options.k not in mutant.name:
            continue
        try:
            told = "noticed" if is_noticed(mutant) else "LIVES"
        except ValueError as err:
            told = f"LIVES ({err})"
        alive += told != "noticed"
        print(f"{told:8s} {mutant.name}", flush=True)
    sys.exit(1 if alive else 0)


if __name__ == "__main__":
    main()
