"""Whose hand draws: mostly our own, which is the fastest, with other programs' styles mixed in."""

from __future__ import annotations

import numpy as np
from rdkit import Chem

from .draw import Drawing, own
from .programs import DrawingError, indigo, rdkit

HANDS = (own, rdkit, indigo)
SHARES = (0.69, 0.21, 0.1)


def hand(mol: Chem.Mol, rng: np.random.Generator) -> Drawing:
    """Draw a molecule that has a 2D conformer with a hand picked at random.

    What another program cannot draw, our own hand draws.
    """
    pick = HANDS[int(rng.choice(len(HANDS), p=SHARES))]
    try:
        return pick(mol, rng)
    except DrawingError:
        return own(mol, rng)
