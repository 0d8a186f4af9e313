"""What is found about a reading besides the molecule: kinds, and sentences for the user."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What a finding is about."""

    # of the ink
    WAVE = "wave"  # a wedge that is a wavy bond
    PASSED_CARBON = "passed carbon"  # a place on a straight line that is no carbon
    PLAIN_LINE = "plain line"  # a hash that is a line like the plain bonds
    TAPER = "taper"  # a plain bond that widens
    SECOND_LINE = "second line"  # a plain bond with another line beside it
    UNREAD_LINE = "unread line"  # one that cannot be a bond by the rules of valence
    CUT_HYDROXYL = "cut hydroxyl"  # O- or S- at an edge that is OH or SH
    UNREAD_INK = "unread ink"  # that grows out of what was read
    MISSHAPEN = "misshapen"  # bonds as none is drawn
    # of the walk
    FAULT = "fault"  # in its grammar
    CUT_OFF = "cut off"  # as it was too long
    DOUBTFUL_ATOM = "doubtful atom"  # less likely right than wrong
    # of the molecule
    UNKNOWN_LABEL = "unknown label"  # kept as a labelled dummy atom
    RESPELLED_LABEL = "respelled label"  # read as a name that looks alike
    HYDROGENS = "hydrogens"  # more than the label shows, or on a nitrogen of a ring with a circle
    CHARGE = "charge"  # given to an atom that has one bond too many
    NO_STEREO = "no stereo"  # a wedge that makes no stereocentre
    VALENCE = "valence"  # an atom has more bonds than it can have
    CIRCLE = "circle"  # no arrangement of double bonds fits a circle
    SMILES = "smiles"  # RDKit does not read its own SMILES


class Finding(NamedTuple):
    """One thing that the user of a reading should know."""

    kind: Kind
    message: str
    """A sentence for the user; places are in pixels of the original picture."""
    atoms: tuple[int, ...] = ()
    """Of the graph, from 0."""


def name(atom: int, text: str, x: float, y: float) -> str:
    """How a message names an atom: its number from 1, what is written there, its place."""
    return f"atom {atom + 1} ({text.strip('[]')} at {x:.0f}, {y:.0f})"
