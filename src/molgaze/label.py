"""A text label of a drawing -> the fragment that it stands for.

A label is looked up in the table `abbreviations.csv`; what is not there is read as a condensed
formula (`formula.py`). The bond of the drawing may meet the text at either end, so a label is read
forwards (`CO2Et`) and backwards (`EtO2C`). Salts are fragments of their own (`NH2.HCl`, `CO2Na`).
"""

from __future__ import annotations

import csv
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from rdkit import Chem, rdBase

from molgaze import formula

MOST_GLYPHS = 60


class Abbreviation(NamedTuple):
    """One line of the table.

    Attributes:
        name: as it is written.
        smiles: with `*` where the drawing's bond attaches, `[*:1]` and `[*:2]` from left to right.
        side: at which end of the name the bond is: `left`, `right`, `any`, or `alone` for none.
        source: what kind of name it is.
    """

    name: str
    smiles: str
    side: str
    source: str


def _table() -> tuple[Abbreviation, ...]:
    with open(Path(__file__).with_name("abbreviations.csv"), encoding="utf-8", newline="") as lines:
        return tuple(Abbreviation(**row) for row in csv.DictReader(lines))


TABLE = _table()

DICTIONARY: dict[str, str] = {
    entry.name: entry.smiles
    for entry in sorted(TABLE, key=lambda entry: entry.side != "alone")
    if entry.side != "right" and not re.search("[=#]", entry.name)
}
"""Name -> SMILES of what may be written from left to right; see :class:`Abbreviation`. A name that
stands both alone and on a bond has its meaning on a bond here."""

_ENTRIES: dict[tuple[str, int], Abbreviation] = {
    (entry.name, entry.smiles.count("*")): entry for entry in TABLE
}
#: Names that may be part of a formula; `NC` would be taken for a nitrile there.
_WORDS = formula.Words(
    {
        entry.name: entry.smiles
        for entry in TABLE
        if entry.side != "alone" and not re.search("NC|[=#]", entry.name)
    },
    frozenset(entry.name for entry in TABLE if entry.side == "right"),
)
#: Glyphs that are easily taken for one another, and the one that stands for all of them.
_ALIKE = str.maketrans({"0": "O", "o": "O", "I": "l", "1": "l", "s": "S", "5": "S", "c": "C"})
_METALS = frozenset(
    "Li Na K Rb Cs Be Mg Ca Sr Ba Al Ga In Tl Sn Pb Bi Sc Ti Zr Hf Nb Ta Cr Mo Mn Tc Re Fe Ru Os Co"
    " Rh Ir Ni Pd Pt Cu Ag Au Zn Cd Hg La Ce Pr Nd Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Th Ra".split()
)
_ION = re.compile(r"(\d{0,3})([A-Z][a-z]?)(?:(\d?)([+-])|([+-]{2,3}))?")
_BESIDE = r"HCl|HBr|HI|TFA|(?:F|Cl|Br|I)-|(?:Na|K|Li|Cs)\+"
#: A salt without a dot, its second part behind the first or before it.
_SALTS = (
    re.compile(rf"(?P<bonded>.+?)(?P<beside>{_BESIDE})"),
    re.compile(rf"(?P<beside>{_BESIDE})(?P<bonded>.+)"),
)
#: A salt without its charges: `NH3Cl`, `ClH3N`.
_ONIUMS = (
    re.compile(r"(?P<bonded>.*[NPS].*?)(?P<beside>Cl|Br|I)"),
    re.compile(r"(?P<beside>Cl|Br|I)(?P<bonded>.*[NPS].*)"),
)
_REPEAT = re.compile(r"\)[kmnpqrxyz](?![a-z])")
#: A benzene ring whose second place is written elsewhere: `4-ClC6H4`, `C6H4-p-Cl`, `C6H4Cl-p`.
_PHENYLENES = (
    re.compile(r"(?P<at>[omp234])-(?P<before>.+)C6H4(?P<behind>.*)"),
    re.compile(r"(?P<before>.*)C6H4-(?P<at>[omp234])-(?P<behind>.+)"),
    re.compile(r"(?P<before>.*)C6H4(?P<behind>.+)-(?P<at>[omp234])"),
)
_LOCANTS = {"2": "o", "3": "m", "4": "p"}


class Expansion(NamedTuple):
    """What a label stands for.

    Attributes:
        mol: the fragment, see :func:`fragment`.
        text: that was read; not that of the label where glyphs that look alike were put right.
    """

    mol: Chem.Mol
    text: str


def fragment(text: str, attachments: tuple[int, ...] = (1,), first: bool = True) -> Chem.Mol | None:
    """Read a label.

    Args:
        text: the label, left to right as drawn.
        attachments: orders of the drawing's bonds that end on the label, the leftmost first; `()`
            for a species that stands alone, `(1, 1)` for a bridge.
        first: the bond meets the text at its first glyph, so that it is read forwards first.

    Returns:
        The fragment, with dummy atoms mapped 1, 2, ... in the order of `attachments` and bonded in
        those orders, and R groups of a formula as dummy atoms that have no map number; None where
        the label is unknown, all variable or impossible. The Mol is the caller's own.
    """
    found = expand(text, attachments, first)
    return None if found is None else found.mol


def expand(text: str, attachments: tuple[int, ...] = (1,), first: bool = True) -> Expansion | None:
    """As :func:`fragment`, with the text that was read."""
    try:
        found = _expand(text, tuple(int(order) for order in attachments), bool(first))
    except (TypeError, ValueError):
        return None
    return None if found is None else found._replace(mol=Chem.Mol(found.mol))


def is_word(text: str) -> bool:
    """Whether a text is a name of the table, with any number of bonds."""
    return any((text, count) in _ENTRIES for count in range(3))


@lru_cache(maxsize=4096)
def is_variable(text: str) -> bool:
    """Whether a label is an R group or a formula with one (`R1`, `X`, `OR3`, `NR1R2`, `(CH2)n`)."""
    text = text.strip()
    if not text or len(text) > 40:
        return False
    if formula.VARIABLE.fullmatch(text):
        return True
    fixed = _REPEAT.sub(")2", text)
    return formula.has_variable(fixed, _WORDS) or (fixed != text and formula.is_cut(fixed, _WORDS))


@lru_cache(maxsize=8192)
def _expand(text: str, orders: tuple[int, ...], first: bool) -> Expansion | None:
    text = text.strip().strip(",")
    if not text or len(text) > MOST_GLYPHS or any(not 1 <= order <= 3 for order in orders):
        return None
    if formula.VARIABLE.fullmatch(text):
        return None
    with rdBase.BlockLogs():
        mol = _read(text, orders, first, formula.Effort())
        if mol is not None:
            return Expansion(mol, text)
        if is_variable(text):
            return None
        name = _alike().get((text.translate(_ALIKE), len(orders)))
        mol = _look_up(name, orders, first) if name else None
        return Expansion(mol, name) if mol is not None and name else None


@lru_cache(maxsize=1)
def _alike() -> dict[tuple[str, int], str]:
    """(name with one glyph for all that look alike, number of bonds) -> such a name.

    Where names of different groups look alike there is none.
    """
    names: dict[tuple[str, int], str] = {}
    groups: dict[tuple[str, int], set[str]] = {}
    for (name, count), entry in _ENTRIES.items():
        if len(name) > 2:
            key = (name.translate(_ALIKE), count)
            names.setdefault(key, name)
            groups.setdefault(key, set()).add(entry.smiles)
    return {key: name for key, name in names.items() if len(groups[key]) == 1}


def _read(
    text: str, orders: tuple[int, ...], first: bool, effort: formula.Effort
) -> Chem.Mol | None:
    """The first of: a name of the table, salts, an ion, a formula, salts without a dot."""
    found = _look_up(text, orders, first)
    if found is not None:
        return found
    times = re.fullmatch(r"([2-6])([A-Z(].*)", text)
    if times and not orders:
        return _salt([times[2]] * int(times[1]), (), first, effort)
    if "." in text:
        parts = [part for part in text.split(".") if part]
        return _salt(parts, orders, first, effort) or _salt(parts[::-1], orders, first, effort)
    ion = _ion(text, orders)
    if ion is not None:
        return ion
    found = formula.solve(_located(text), orders, first, _WORDS, effort)
    if found is not None:
        return found
    for pattern in _SALTS:
        match = pattern.fullmatch(text)
        found = match and _salt([match["bonded"], match["beside"]], orders, first, effort)
        if found:
            return found
    for pattern in _ONIUMS:
        match = pattern.fullmatch(text)
        found = match and _salt(
            [match["bonded"] + "+", match["beside"] + "-"], orders, first, effort
        )
        if found:
            return found
    return None


def _located(text: str) -> str:
    """A text with `p-C6H4`, which is a name of the table, for a ring whose place is elsewhere."""
    for pattern in _PHENYLENES:
        match = pattern.fullmatch(text)
        if match:
            locant = _LOCANTS.get(match["at"], match["at"])
            return f"{match['before']}{locant}-C6H4{match['behind']}"
    return text


def _salt(
    texts: list[str], orders: tuple[int, ...], first: bool, effort: formula.Effort
) -> Chem.Mol | None:
    """Fragments side by side, of which the first has the drawing's bonds."""
    if not 1 < len(texts) <= 6:
        return None
    both: Chem.Mol | None = None
    for i, text in enumerate(texts):
        mol = _read(text, () if i else orders, first, effort)
        if mol is None:
            return None
        both = mol if both is None else Chem.CombineMols(both, mol)
    return both


def _look_up(text: str, orders: tuple[int, ...], first: bool) -> Chem.Mol | None:
    """The fragment of a name, where its bonds are of the drawing's orders."""
    entry = _ENTRIES.get((text, len(orders)))
    if entry is None or (text == "NC" and not first):  # then it is a nitrile
        return None
    mol = Chem.RWMol(Chem.MolFromSmiles(entry.smiles))
    ports = sorted(
        (atom for atom in mol.GetAtoms() if atom.GetAtomicNum() == 0),
        key=lambda atom: (atom.GetAtomMapNum(), atom.GetIdx()),
    )
    for number, (port, order) in enumerate(zip(ports, orders, strict=True), 1):
        if round(port.GetBonds()[0].GetBondTypeAsDouble()) != order:
            return None
        port.SetAtomMapNum(number)
    return mol.GetMol()


def _ion(text: str, orders: tuple[int, ...]) -> Chem.Mol | None:
    """A metal, an ion or a bare hydrogen isotope, which no valence rule decides."""
    match = _ION.fullmatch(text)
    if match is None:
        return None
    isotope, symbol, size, sign, signs = match.groups()
    if symbol in ("D", "T") and not isotope:
        isotope, symbol = {"D": "2", "T": "3"}[symbol], "H"
    charge = 0
    if signs:
        charge = len(signs) if set(signs) == {"+"} else -len(signs)
    elif sign:
        charge = int(size or 1) * (1 if sign == "+" else -1)
    halide = symbol in ("F", "Cl", "Br", "I") and charge == -1 and not orders
    hydrogen = symbol == "H" and charge == 0 and orders == (1,)
    if not (halide or hydrogen or (symbol in _METALS and charge >= 0)):
        return None
    if symbol in _WORDS.smiles and not charge:
        return None
    if isotope and int(isotope) not in formula.ISOTOPES.get(symbol, (int(isotope),)):
        return None
    mol = Chem.RWMol()
    index = formula.add_atom(mol, symbol, charge, int(isotope or 0), ())
    formula.attach(mol, [index] * len(orders), orders)
    return formula.clean(mol)
