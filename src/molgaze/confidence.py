"""How sure a reading is: features of its walk, its ink and its molecule, and models over them.

features = features_of(picture, walk, graph, left) | sense(molecule)
Confidence.of(metadata)(features)    # the chance that the reading is right
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from .evidence import Leftover, bare_bonds, unexplained
from .finding import Kind
from .gaze import Walk
from .molecule import Molecule
from .scale import Picture
from .walk import BONDS, CLOSE, OPEN, Graph, is_atom, is_glyph

#: Features -> what is found about a molecule that makes them.
_SENSE = {
    "unknown": (Kind.UNKNOWN_LABEL,),
    "repaired": (
        Kind.RESPELLED_LABEL,
        Kind.NO_STEREO,
        Kind.CHARGE,
        Kind.HYDROGENS,
    ),
}

#: Of weights that come without a confidence of their own, as those just exported: what was fitted
#: for others.
RIGHT = {
    "letter": 1.4,
    "way": 0.4,
    "mean": 3.4,
    "total": 0.1,
    "size": 0.2,
    "small": -4.5,
    "unread": -0.4,
    "beside": -1.4,
    "apart": -0.6,
    "lines": -1.1,
    "misshapen": -0.5,
    "unknown": -4.2,
    "repaired": -2.2,
    "charge": -2.7,
    "rings": -3.0,
    "differ": -1.2,
    "bias": 3.2,
}
DRAWING = {
    "way": -1.0,
    "mean": 3.9,
    "size": 2.2,
    "small": -5.0,
    "apart": -0.5,
    "lines": -0.4,
    "bare": -0.9,
    "unknown": -1.2,
    "repaired": -0.6,
    "differ": -1.1,
    "bias": 0.4,
}
ATOM = (3.1, 0.36, 3.4)
REFUSED = 0.2


# --- features ---


def features_of(
    picture: Picture, read: Walk, graph: Graph, left: list[Leftover]
) -> dict[str, float]:
    """What the confidence is made of, as far as the walk and the ink tell it.

    Of the walk, the least log-probability of a letter, of a bond's mark and of what else is written
    on the way; the mean log-probability of a token and their sum; the logarithm of the number of
    atoms; and how far they are under ten, if all are carbon, as any line is. Of the ink, what was
    passed over, in bonds; what nothing explains beside the molecule, in bonds and as a logarithm,
    and anywhere, as the logarithm of the atoms that it would make; and bonds without ink.
    """
    logs = np.log(np.maximum(read.probabilities, 1e-9)) if read.tokens else np.zeros(1)
    share, beside = unexplained(picture.ink, graph)
    count = len(graph.atoms)
    small = max(0.0, 1 - count / 10) if all(atom == "C" for atom in graph.atoms) else 0.0
    return {
        "letter": _least(logs, [_is_letter(token) for token in read.tokens]),
        "mark": _least(logs, [token in BONDS for token in read.tokens]),
        "way": _least(logs, [not _is_letter(t) and t not in BONDS for t in read.tokens]),
        "mean": float(max(logs.mean(), -3.0)),
        "total": float(max(logs.sum(), -20.0)),
        "size": math.log1p(count),
        "small": small,
        "unread": min(sum(piece.length for piece in left), 5.0),
        "beside": math.log1p(min(beside, 30.0)),
        "apart": math.log1p(min(count * share / (1.01 - share), 20.0)),
        "bare": float(min(len(bare_bonds(picture.ink, graph)), 3)),
    }


def _is_letter(token: str) -> bool:
    """True for what is written: an atom other than carbon, a label and its glyphs."""
    return (is_atom(token) and token != "C") or is_glyph(token) or token in (OPEN, CLOSE)


def _least(logs: NDArray[np.float64], chosen: list[bool]) -> float:
    """The least of some log-probabilities, 0 for none."""
    return max(float(logs[: len(chosen)][chosen].min(initial=0.0)), -6.0)


def sense(found: Molecule | None) -> dict[str, float]:
    """Features of what chemistry makes of a graph.

    Labels that stand for nothing; what had to be repaired: labels respelled, wedges without stereo,
    charges and hydrogens made up; the charge of the whole; and rings as they are seldom drawn: of
    four with a double bond, and of six that lack one of three.
    """
    kinds = Counter(finding.kind for finding in found.findings) if found else Counter()
    features = {
        name: float(min(sum(kinds[kind] for kind in many), 3)) for name, many in _SENSE.items()
    }
    features["invalid"] = float(found is None or not found.valid)
    if found is None:
        return features | {"charge": 0.0, "rings": 0.0}
    return features | {
        "charge": float(min(abs(Chem.GetFormalCharge(found.mol)), 2)),
        "rings": float(min(odd_rings(found.mol), 3)),
    }


def odd_rings(mol: Chem.Mol) -> int:
    """How many rings are of four atoms with a double bond, or of six with two double bonds and two
    CH2: most of them are rings of benzene that lack a line, or a bond that closed to a wrong atom.
    """
    count = 0
    for ring in mol.GetRingInfo().BondRings():
        bonds = [mol.GetBondWithIdx(i) for i in ring]
        if len(bonds) not in (4, 6) or all(bond.GetIsAromatic() for bond in bonds):
            continue
        unsaturated = sum(bond.GetBondType() != Chem.BondType.SINGLE for bond in bonds)
        ends = {atom.GetIdx(): atom for b in bonds for atom in (b.GetBeginAtom(), b.GetEndAtom())}
        methylenes = sum(a.GetSymbol() == "C" and a.GetTotalNumHs() == 2 for a in ends.values())
        if len(bonds) == 4:
            count += unsaturated > 0
        else:
            count += unsaturated > 1 and methylenes == 2
    return count


# --- models ---


@dataclass(frozen=True)
class Confidence:
    """Logistic models over the features of a reading: the chance that it is right, the chance that
    a molecule is drawn in the picture at all, and the chance that an atom is right.

    Attributes:
        right: feature -> its weight; ``bias`` is added.
        drawing: the same for whether a molecule is drawn.
        atom: weights of an atom's log-probability and of the reading's log odds, and a bias.
        refused: the chance of a drawing under which a picture is taken for one without a molecule.
    """

    right: Mapping[str, float]
    drawing: Mapping[str, float]
    atom: tuple[float, float, float]
    refused: float

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> Confidence:
        """The model that came with the weights; without one, that of the first ones."""
        stored = json.loads(metadata.get("confidence", "null"))
        if stored is None:
            return cls(RIGHT, DRAWING, ATOM, REFUSED)
        return cls(
            stored["right"], stored["drawing"], tuple(stored["atom"]), float(stored["refused"])
        )

    def __call__(self, features: Mapping[str, float]) -> float:
        """The chance, 0 to 1, that a reading with such features is right."""
        return _chance(self.logit(features))

    def logit(self, features: Mapping[str, float]) -> float:
        """The same as log odds."""
        return _sum(self.right, features)

    def refuses(self, features: Mapping[str, float]) -> bool:
        """True for a picture in which no molecule seems to be drawn, by its best reading."""
        return _chance(_sum(self.drawing, features)) < self.refused

    def of_atoms(
        self, features: Mapping[str, float], chances: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(n,) the chance that each atom, with its bonds, is right."""
        own, whole, bias = self.atom
        logs = np.log(np.maximum(chances, 1e-9))
        shared = whole * self.logit(features)
        return np.array([_chance(own * x + shared + bias) for x in logs])


def _sum(weights: Mapping[str, float], features: Mapping[str, float]) -> float:
    bias = weights.get("bias", 0.0)
    return bias + sum(weights.get(name, 0.0) * value for name, value in features.items())


def _chance(logit: float) -> float:
    return 1 / (1 + math.exp(-max(min(logit, 30.0), -30.0)))
