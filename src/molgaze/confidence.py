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

#: Of weights that come without a confidence of their own: what was fitted for the first ones that
#: were read with these features, on 795 pictures.
RIGHT = {
    "letter": 1.303,
    "mark": 1.111,
    "way": 0.562,
    "mean": 2.266,
    "total": 0.134,
    "size": 1.241,
    "unread": -0.134,
    "apart": -0.045,
    "bare": -0.344,
    "grey": -0.963,
    "misshapen": -0.705,
    "faults": -1.581,
    "unknown": -3.979,
    "repaired": -0.687,
    "agree": 0.634,
    "differ": -1.292,
    "bias": 0.112,
}
DRAWING = {
    "letter": -0.743,
    "mark": 0.415,
    "way": 0.269,
    "mean": 4.026,
    "total": 0.015,
    "size": 2.664,
    "unread": 0.109,
    "apart": -0.504,
    "bare": -0.253,
    "grey": -2.216,
    "misshapen": -0.288,
    "faults": 0.219,
    "unknown": -0.799,
    "repaired": 0.431,
    "agree": -0.276,
    "differ": -0.873,
    "bias": -0.523,
}
ATOM = (3.145, 0.363, 3.384)
REFUSED = 0.15


# --- features ---


def features_of(
    picture: Picture, read: Walk, graph: Graph, left: list[Leftover]
) -> dict[str, float]:
    """What the confidence is made of, as far as the walk and the ink tell it.

    Of the walk, the least log-probability of a letter, of a bond's mark and of what else is written
    on the way; the mean log-probability of a token and their sum; the logarithm of the number of
    atoms; whether there is nothing but carbons and plain bonds. Of the ink, what was passed over,
    in bonds; what nothing explains beside the molecule, in bonds and as a logarithm, and anywhere,
    as the logarithm of the atoms that it would make; bonds without ink; and how dark the ink is.
    """
    logs = np.log(np.maximum(read.probabilities, 1e-9)) if read.tokens else np.zeros(1)
    share, beside = unexplained(picture.ink, graph)
    plain = all(atom == "C" for atom in graph.atoms) and all(k == "-" for *_, k in graph.bonds)
    dark = picture.ink[picture.ink > 0.2]
    return {
        "letter": _least(logs, [_is_letter(token) for token in read.tokens]),
        "mark": _least(logs, [token in BONDS for token in read.tokens]),
        "way": _least(logs, [not _is_letter(t) and t not in BONDS for t in read.tokens]),
        "mean": float(max(logs.mean(), -3.0)),
        "total": float(max(logs.sum(), -20.0)),
        "size": math.log(1 + len(graph.atoms)),
        "unread": min(sum(piece.length for piece in left), 5.0),
        "plain": float(plain),
        "beside": math.log1p(min(beside, 30.0)),
        "apart": math.log1p(min(len(graph.atoms) * share / (1.01 - share), 20.0)),
        "bare": float(min(len(bare_bonds(picture.ink, graph)), 3)),
        "grey": float(dark.mean()) if dark.size else 0.0,
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
    charges and hydrogens made up; the charge of the whole; fragments beside the first; and rings
    as they are seldom drawn: of four with a double bond, and of six that lack one of three.
    """
    kinds = Counter(finding.kind for finding in found.findings) if found else Counter()
    features = {
        name: float(min(sum(kinds[kind] for kind in many), 3)) for name, many in _SENSE.items()
    }
    features["invalid"] = float(found is None or not found.valid)
    if found is None:
        return features | {"charge": 0.0, "fragments": 0.0, "rings": 0.0}
    return features | {
        "charge": float(min(abs(Chem.GetFormalCharge(found.mol)), 2)),
        "fragments": float(min(len(Chem.GetMolFrags(found.mol)) - 1, 3)),
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
        return np.array([_chance(own * x + whole * self.logit(features) + bias) for x in logs])


def _sum(weights: Mapping[str, float], features: Mapping[str, float]) -> float:
    bias = weights.get("bias", 0.0)
    return bias + sum(weights.get(name, 0.0) * value for name, value in features.items())


def _chance(logit: float) -> float:
    return 1 / (1 + math.exp(-max(min(logit, 30.0), -30.0)))
