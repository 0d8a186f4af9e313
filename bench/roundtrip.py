"""Molecules drawn by our own hand, written as walks, read back: which come back the same?

    python bench/roundtrip.py FILE.smi.gz [FILE ...] [-n 3000] [--list] [--seed 1]

No pixels are read here: what is lost is lost by the drawing's graph, by the walk, by the spelling
or reading of labels, or by the way from graph to molecule. Molecules come as training draws them
(some with random stereo, some with drawn hydrogens), groups may be condensed to labels, and
nothing is variable. Double bonds of unknown stereo are crossed: they have no geometry to keep.
The bar is 99.8 %, canonical SMILES with full stereo. docs/walk.md tells what the failures are.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from rdkit import Chem, rdBase

from molgaze import walk
from molgaze.molecule import MoleculeError, molecule
from molgaze.score import compare
from molgaze.train.corpus import Corpus
from molgaze.train.draw import own, style


def crossed(mol: Chem.Mol) -> Chem.Mol:
    """The molecule with the double bonds whose stereo it leaves open marked as such."""
    copy = Chem.Mol(mol)
    for element in Chem.FindPotentialStereo(copy):
        if (
            element.type == Chem.StereoType.Bond_Double
            and element.specified == Chem.StereoSpecified.Unspecified
        ):
            copy.GetBondWithIdx(element.centeredOn).SetStereo(Chem.BondStereo.STEREOANY)
    return copy


def trip(mol: Chem.Mol, rng: np.random.Generator) -> tuple[str, str, str, list[str]]:
    """Draw, write and read one molecule with a 2D conformer.

    Returns:
        Kind of failure ("" for none), the expected SMILES, what came instead, and the tokens.
    """
    with rdBase.BlockLogs():
        expected = Chem.MolToSmiles(Chem.RemoveHs(mol))
    look = replace(style(rng, mol.GetNumHeavyAtoms()), variables=0.0, clutter=0.0)
    tokens, places = walk.encode(own(crossed(mol), rng, look).graph)
    strange = [token for token in tokens if token not in walk.TOKEN_ID]
    if strange:
        return "no token", expected, " ".join(strange), tokens
    graph, faults = walk.decode(tokens, places)
    if faults:
        return "walk", expected, faults[0], tokens
    try:
        read = molecule(graph)
    except MoleculeError as error:
        return "no molecule", expected, str(error), tokens
    return compare(Path(), expected, read.smiles).kind, expected, read.smiles, tokens


def traits(tokens: list[str]) -> str:
    """What in a walk may be to blame: labels, circles, crossed and wavy bonds."""
    labels = "".join(
        t[1] if walk.is_glyph(t) else t for t in tokens if walk.is_glyph(t) or t in "[]"
    )
    marks = [name for token, name in ((":", "circle"), ("x", "crossed"), ("~", "wavy"))
             if token in tokens]  # fmt: skip
    return " ".join([*marks, labels])


def main() -> None:
    """Print the share that comes back, and the failures by kind."""
    parser = argparse.ArgumentParser(description="drawing -> walk -> molecule: what comes back")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="SMILES, one a line")
    parser.add_argument("-n", type=int, default=3000, help="molecules; default %(default)s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="every failure")
    options = parser.parse_args()

    began = time.process_time()
    molecules = iter(Corpus(options.files, seed=(options.seed, 0), pool=1, uses=1))
    kinds: Counter[str] = Counter()
    tokens_in_all = 0
    for number in range(options.n):
        rng = np.random.default_rng((options.seed, 1, number))
        kind, expected, came, tokens = trip(next(molecules), rng)
        tokens_in_all += len(tokens)
        kinds[kind] += 1
        if kind and options.list:
            print(f"{number}\t{kind}\n  want {expected}\n  got  {came}\n  {traits(tokens)}")
    back = kinds.pop("", 0)
    print(f"{'molecules':22s} {options.n:7d}")
    print(f"{'come back':22s} {back:7d} {back / options.n:8.2%}")
    for kind, count in kinds.most_common():
        print(f"  {kind:20s} {count:7d} {count / options.n:8.2%}")
    print(f"{'tokens a molecule':22s} {tokens_in_all / options.n:7.1f}")
    print(f"{'seconds of a core':22s} {time.process_time() - began:7.1f}")


if __name__ == "__main__":
    main()
