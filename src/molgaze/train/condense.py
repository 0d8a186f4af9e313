"""A molecule -> the groups of it that a drawing may write as text.

Groups are found by a walk over the molecule's acyclic bonds and spelled by rule, as chemists spell
condensed formulas, with the names of `label.DICTIONARY` where they fit. Every text is read back by
`label.fragment` as the group that it stands for.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from rdkit import Chem

from molgaze import label

_MOST_ATOMS = 7
_MOST_NAMED = 24
_LONGEST = 22
_LONGEST_WALK = 9


def _set(names: str) -> frozenset[str]:
    return frozenset(names.split())


_MIRRORED = {
    "NO2": "O2N",
    "N3": "N3",
    "CF3": "F3C",
    "CO2H": "HO2C",
    "SF5": "F5S",
    "PO3H2": "H2O3P",
    "CO2-": "-O2C",
    "COO-": "-OOC",
    "SO3-": "-O3S",
    "NH3+": "+H3N",
    "NMe3+": "+Me3N",
    "N+(CH3)3": "(CH3)3N+",
}
_IONS = {
    "CO2-": "*C(=O)[O-]",
    "COO-": "*C(=O)[O-]",
    "SO3-": "*S(=O)(=O)[O-]",
    "NH3+": "*[NH3+]",
    "NMe3+": "*[N+](C)(C)C",
    "N+(CH3)3": "*[N+](C)(C)C",
}
_UNWRITTEN = _set(
    "NC CO2H H2O3P For Morph Pip Im TFAc F5S N2+ N2 PO32- PO3H- PO3Na2 PhthN Fc BF3K KF3B DTBMP"
    " Glc Gal NHS Bhl B(pin) MMT imid"
)
_RARE = _set(
    "But Bui Bus Bun Pri Prn Am n-Am iAm i-Am tAm t-Am Pentyl Hexyl Heptyl Octyl Nonyl Decyl"
    " Dodecyl Methyl Ethyl Propyl Butyl isopropyl isobutyl tert-Butyl t-Butyl tert-Bu sec-Bu Chx"
    " Cyp Phenyl Benzyl Bzl All Vinyl vinyl Tos Pv For EE CBz CBZ BOC FMOC t-Boc tBoc Aloc Tbs"
    " Tms Tips Sem Mom Mem Thp Non Dec Im Pip Morph Np neoPent iPent i-Pent Prenyl Bu-t Bu-i Bu-s"
    " Bu-n Pr-i Pr-n C4H9-t C4H9-i C4H9-s C4H9-n C3H7-i C3H7-n n-Butyl nButyl sec-Butyl s-Butyl"
    " i-Butyl iButyl iso-Bu iso-Pr tButyl n-Propyl i-Propyl iPropyl Isopropyl Isobutyl c-Propyl"
    " cyclopropyl Cyclopropyl cyclobutyl Cyclobutyl c-Pentyl cyclopentyl Cyclopentyl c-Hexyl"
    " cyclohexyl Cyclohexyl methyl ethyl propyl butyl phenyl benzyl propargyl TFA nNon n-Non nDec"
    " n-Dec"
)
_ALONE = _set(
    "Pentyl Hexyl Heptyl Octyl Nonyl Decyl Dodecyl Methyl Ethyl Propyl Butyl isopropyl isobutyl"
    " tert-Butyl t-Butyl Phenyl Benzyl Allyl Vinyl Propargyl Prenyl allyl vinyl Trityl n-Butyl"
    " nButyl sec-Butyl s-Butyl i-Butyl iButyl tButyl n-Propyl i-Propyl iPropyl Isopropyl Isobutyl"
    " c-Propyl cyclopropyl Cyclopropyl cyclobutyl Cyclobutyl c-Pentyl cyclopentyl Cyclopentyl"
    " c-Hexyl cyclohexyl Cyclohexyl methyl ethyl propyl butyl phenyl benzyl propargyl"
)
_ON_CARBON = _set(
    "Me Et Pr nPr n-Pr iPr i-Pr Bu nBu n-Bu iBu i-Bu sBu s-Bu tBu t-Bu Ph Bn CF3 NO2 N3 Cy cPr"
    " c-Pr Bpin BPin TMS TES TIPS SiMe3 Tol p-Tol Mes PMP Ad 1-Ad SF5 PO3H2 CO2- COO- SO3- NH3+"
    " NMe3+ N+(CH3)3 iC3H7 tC4H9 t-C4H9 cPent cBu c-Pent c-Bu c-Hex cHex 1-Naph 2-Naph 2-Py 3-Py"
    " 4-Py 2-furyl 2-thienyl 3-thienyl"
)
_USUAL_RINGS = frozenset(("Ph", "Cy", "cPr", "c-Pr", "Bpin", "BPin", "THP", "Ts"))
_STRAIGHT = _set("Me Et Pr nPr n-Pr Bu nBu n-Bu")
_HALOGENS = frozenset(("F", "Cl", "Br", "I"))
_HEADS = frozenset(("C", "N", "O", "S", "Si", "B", "P", "Se", "Sn"))


@dataclass(frozen=True, slots=True)
class Group:
    """Atoms of a molecule that a text stands for.

    Attributes:
        atoms: indices of the group's atoms.
        anchor: the atom that bears the bond, or both bonds, to the rest.
        text: the label with the bond at its first glyph.
        reverse: the label with the bond at its last glyph.
    """

    atoms: tuple[int, ...]
    anchor: int
    text: str
    reverse: str


class _Spelling(NamedTuple):
    text: str
    reverse: str
    pieces: int  # atoms, a name counted as one
    lone: bool  # one word, which takes a count without parentheses


class _Graph:
    """What the walk needs of a molecule, as plain lists."""

    def __init__(self, mol: Chem.Mol) -> None:
        self.mol = mol
        self.symbol: list[str] = []
        self.number: list[int] = []
        self.hydrogens: list[int] = []
        self.charge: list[int] = []
        self.plain: list[bool] = []
        for atom in mol.GetAtoms():
            number = atom.GetAtomicNum()
            self.number.append(number)
            self.symbol.append(atom.GetSymbol())
            self.hydrogens.append(atom.GetTotalNumHs())
            self.charge.append(atom.GetFormalCharge())
            self.plain.append(
                number > 1
                and not atom.GetIsotope()
                and not atom.GetNumRadicalElectrons()
                and not atom.GetAtomMapNum()
                and atom.GetChiralTag() == Chem.ChiralType.CHI_UNSPECIFIED
            )
        self.neighbours: list[list[tuple[int, int]]] = [[] for _ in self.symbol]
        self.bonds: list[tuple[int, int]] = []
        self.ring = [False] * len(self.symbol)
        for bond in mol.GetBonds():
            a, b = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
            kind = bond.GetBondType()
            order = _ORDERS.get(kind, 0)
            if bond.IsInRing():
                self.ring[a] = self.ring[b] = True
                order = -1
            elif order == 1:
                self.bonds.append((a, b))
            elif order == 2 and bond.GetStereo() > Chem.BondStereo.STEREOANY:
                self.plain[a] = self.plain[b] = False
            self.neighbours[a].append((b, order))
            self.neighbours[b].append((a, order))

    def side(self, root: int, parent: int) -> list[int] | None:
        """Atoms on root's side of the bond to parent; None where too many or not plain."""
        found, seen = [root], {root, parent}
        for atom in found:
            if not self.plain[atom] or len(found) > _MOST_NAMED:
                return None
            for other, _ in self.neighbours[atom]:
                if other not in seen:
                    seen.add(other)
                    found.append(other)
        return found

    def key(self, root: int, parent: int, depth: int = 0) -> str:
        """A name for root's side that equal sides share; empty where none is worked out."""
        if self.ring[root]:
            return self.ring_key(root, parent)
        if depth > _LONGEST_WALK:
            return ""
        branches = []
        for other, order in self.neighbours[root]:
            if other != parent:
                branch = self.key(other, root, depth + 1)
                if not branch:
                    return ""
                branches.append(f"{order}{branch}")
        branches.sort()
        mark = f"{self.symbol[root]}{self.hydrogens[root]}{self.charge[root] or ''}"
        return f"{mark}({''.join(branches)})" if branches else mark

    def ring_key(self, root: int, parent: int) -> str:
        side = self.side(root, parent)
        if side is None:
            return ""
        if len(side) == 6 and all(
            self.symbol[i] == "C" and self.hydrogens[i] == (i != root) for i in side
        ):
            return "{Ph}"
        if _ring_marks and self.ring_mark(side) not in _ring_marks:
            return ""
        inside = set(side)
        near = {i: [(j, o) for j, o in self.neighbours[i] if j in inside] for i in side}
        codes = {
            i: hash((self.number[i], self.hydrogens[i], self.charge[i], i == root)) for i in side
        }
        for _ in range(8):  # Morgan's refinement, from the atom that is bonded to the rest
            codes = {i: hash((codes[i], *sorted((codes[j], o) for j, o in near[i]))) for i in side}
        return f"{{{codes[root]} {hash(tuple(sorted(codes.values())))}}}"

    def ring_mark(self, side: list[int]) -> tuple[int, int, int]:
        return len(side), sum(self.number[i] for i in side), sum(self.hydrogens[i] for i in side)


_ORDERS = {Chem.BondType.SINGLE: 1, Chem.BondType.DOUBLE: 2, Chem.BondType.TRIPLE: 3}
_ring_marks: set[tuple[int, int, int]] = set()


@lru_cache(maxsize=1)
def _names() -> dict[str, list[str]]:
    """Key of a group -> its names, the usual ones more than once."""
    names: dict[str, list[str]] = {}
    marks = set()
    for name, smiles in (*label.DICTIONARY.items(), *_IONS.items()):
        if smiles.count("*") != 1 or name in _UNWRITTEN or "." in smiles or "=*" in smiles:
            continue
        mol = Chem.MolFromSmiles(smiles)
        graph = _Graph(mol)
        dummy = graph.symbol.index("*")
        ((root, order),) = graph.neighbours[dummy]
        if order != 1 or "@" in smiles:
            continue
        for i, j in (*graph.bonds, *((j, i) for i, j in graph.bonds)):
            side = graph.side(i, j) if graph.ring[i] else None
            if side and dummy not in side:
                marks.add(graph.ring_mark(side))
        key = graph.key(root, dummy)
        if key:
            names.setdefault(key, []).extend([name] * (1 if name in _RARE else 6))
    _ring_marks.update(marks)
    return names


def condense(mol: Chem.Mol, rng: np.random.Generator, share: float) -> list[Group]:
    """Picks groups of a molecule to be written as text.

    Args:
        mol: a sanitised molecule without explicit hydrogens.
        rng: the source of all choices.
        share: probability that an eligible group is picked.

    Returns:
        Groups that share no atoms; the atom that a group is bonded to is in no group.
    """
    names = _names()
    dice = random.Random(int(rng.integers(1 << 62)))
    graph = _Graph(mol)
    total = len(graph.symbol)
    if not share or total < 4:
        return []
    speller = _Speller(graph, names, dice)
    sites = []
    for a, b in graph.bonds:
        for root, parent in ((a, b), (b, a)):
            if graph.plain[root] and graph.symbol[root] in _HEADS:
                sites.append((dice.random(), root, parent))
    sites.sort()
    fixed: set[int] = set()
    groups: list[Group] = []
    for _, root, parent in sites:
        if root in fixed:
            continue
        side = graph.side(root, parent)
        if side is None or total - len(side) < 3 or not fixed.isdisjoint(side):
            continue
        if len(side) == 1 and (graph.symbol[root] != "C" or dice.random() > 0.3):
            continue
        spelling = speller.group(root, parent, len(side))
        if spelling is None or any(
            parent == group.anchor or parent in group.atoms for group in groups
        ):
            continue
        fixed.update(side)
        if dice.random() < share:
            key = graph.key(root, parent)
            if not (
                _reads_as(spelling.text, True, key) and _reads_as(spelling.reverse, False, key)
            ):
                continue
            fixed.add(parent)
            groups.append(Group(tuple(sorted(side)), root, spelling.text, spelling.reverse))
    for atom in range(total):
        bridge = speller.bridge(atom, fixed) if atom not in fixed else None
        if bridge is not None and dice.random() < share * 0.3:
            fixed.update(bridge.atoms)
            fixed.update(other for other, _ in graph.neighbours[atom])
            groups.append(bridge)
    return groups


@lru_cache(maxsize=1 << 16)
def _reads_as(text: str, first: bool, key: str) -> bool:
    """Whether the reader takes a text for the group of this key."""
    mol = label.fragment(text, (1,), first)
    if mol is None:
        return False
    graph = _Graph(mol)
    dummy = graph.symbol.index("*")
    return graph.key(graph.neighbours[dummy][0][0], dummy) == key


class _Speller:
    """Spells the groups of one molecule in one hand: what it likes to name, how it turns texts."""

    def __init__(self, graph: _Graph, names: dict[str, list[str]], dice: random.Random) -> None:
        self.graph = graph
        self.names = names
        self.dice = dice
        self.naming = dice.choice((0.1, 0.5, 0.9, 0.95))
        self.turning = dice.choice((0.15, 0.85))
        self.strict = True

    def group(self, root: int, parent: int, size: int) -> _Spelling | None:
        self.strict = self.dice.random() < self.turning
        spelling = self.spell(root, parent, 0)
        if spelling is None or spelling.pieces > _MOST_ATOMS:
            return None
        if len(spelling.text) > _LONGEST or (size == 1 and spelling.text != "Me"):
            return None
        return spelling

    def bridge(self, atom: int, fixed: set[int]) -> Group | None:
        """`NBoc`, `N-Me`, `SO2`: an atom in a chain or ring with what hangs on it."""
        graph = self.graph
        around = graph.neighbours[atom]
        symbol = graph.symbol[atom]
        if not graph.plain[atom] or graph.charge[atom]:
            return None
        if symbol == "S" and len(around) == 4 and not graph.hydrogens[atom]:
            oxygens = [i for i, order in around if order == 2 and graph.symbol[i] == "O"]
            if len(oxygens) != 2 or not fixed.isdisjoint(oxygens):
                return None
            if any(i not in oxygens and graph.number[i] < 2 for i, _ in around):
                return None
            return Group(tuple(sorted((atom, *oxygens))), atom, "SO2", "O2S")
        if symbol != "N" or len(around) != 3 or graph.mol.GetAtomWithIdx(atom).GetIsAromatic():
            return None
        for child, order in around:
            if order != 1 or child in fixed or graph.symbol[child] not in ("C", "S"):
                continue
            side = graph.side(child, atom)
            if side is None or not fixed.isdisjoint(side):
                continue
            others = [i for i, _ in around if i != child]
            if any(len(graph.neighbours[i]) == 1 for i in others):
                continue
            spelling = self.group(child, atom, len(side))
            if len(side) == 1:
                spelling = self.dice.choice(
                    (_Spelling("Me", "Me", 1, True), _Spelling("CH3", "H3C", 1, False))
                )
                if graph.hydrogens[child] != 3:
                    continue
            if spelling is None or spelling.pieces > 4:
                continue
            dash = "-" if spelling.lone and self.dice.random() < 0.25 else ""
            text, reverse = "N" + dash + spelling.text, spelling.reverse + dash + "N"
            return Group(tuple(sorted((atom, *side))), atom, text, reverse)
        return None

    def spell(self, root: int, parent: int, depth: int) -> _Spelling | None:
        """A text for root's side of the bond to parent, or None."""
        graph, dice = self.graph, self.dice
        if depth > _LONGEST_WALK or not graph.plain[root]:
            return None
        known = self.names.get(graph.key(root, parent))
        ring = graph.ring[root]
        if known:
            known = self.fitting(known, root, parent, depth)
        if known and (ring or known[0] in _MIRRORED or dice.random() < self.naming):
            name = dice.choice(known)
            if ring and name not in _USUAL_RINGS and dice.random() < 0.6:
                return None
            if name == "Ph" and dice.random() < (0.3 if self.naming < 0.2 else 0.04):
                name = "C6H5"
            return _Spelling(name, _MIRRORED.get(name, name), 1, name not in _MIRRORED)
        if ring or graph.symbol[root] not in _HEADS:
            return self.lone_halogen(root)
        children: list[tuple[int, int]] = []
        for other, order in graph.neighbours[root]:
            if other != parent:
                if order not in (1, 2, 3):
                    return None
                children.append((other, order))
        if graph.charge[root] or (graph.symbol[root] == "P" and len(children) < 3):
            return None
        if any(order == 3 for _, order in children):
            return self.nitrile(root, children)
        doubled = [other for other, order in children if order == 2]
        single = [other for other, order in children if order == 1]
        if doubled:
            return self.oxo(root, doubled, single, depth)
        return self.chain(root, parent, single, depth)

    def fitting(self, known: list[str], root: int, parent: int, depth: int) -> list[str]:
        """Names that a chemist would write here: not `CH2Me`, not `CH2Boc`, not `NH2-Py`."""
        graph = self.graph
        if depth:
            known = [name for name in known if name not in _ALONE and not name[0].isdigit()]
        if graph.symbol[parent] != "C":
            return known
        known = [name for name in known if name in _ON_CARBON or (name in _ALONE and not depth)]
        if depth and graph.hydrogens[parent] == 2:
            known = [name for name in known if name not in _STRAIGHT]
        return known

    def lone_halogen(self, root: int) -> _Spelling | None:
        symbol = self.graph.symbol[root]
        if symbol in _HALOGENS and len(self.graph.neighbours[root]) == 1:
            return _Spelling(symbol, symbol, 1, True)
        return None

    def nitrile(self, root: int, children: list[tuple[int, int]]) -> _Spelling | None:
        ((other, _), *rest) = children
        if rest or self.graph.symbol[root] != "C" or self.graph.symbol[other] != "N":
            return None
        return _Spelling("CN", "NC", 2, False)

    def head(self, root: int) -> tuple[str, str]:
        """`CH2` and `H2C`, or `CH2` twice in a hand that writes chains forwards."""
        symbol, count = self.graph.symbol[root], self.graph.hydrogens[root]
        if not count:
            return symbol, symbol
        hydrogens = f"H{count}" if count > 1 else "H"
        leaf = len(self.graph.neighbours[root]) == 1 and symbol != "C"
        return symbol + hydrogens, hydrogens + symbol if self.strict or leaf else symbol + hydrogens

    def oxo(self, root: int, doubled: list[int], single: list[int], depth: int) -> _Spelling | None:
        """Atoms with =O, =S, =NH or =CH2 on them."""
        graph, dice = self.graph, self.dice
        symbol, count = graph.symbol[root], graph.hydrogens[root]
        if any(len(graph.neighbours[i]) > 1 or graph.charge[i] for i in doubled):
            return None
        marks = {graph.symbol[i] for i in doubled}
        size = 1 + len(doubled)
        if symbol == "C" and marks == {"C"}:
            if single or count != 1:
                return None
            if depth or dice.random() < 0.7:
                return _Spelling("CH=CH2", "H2C=CH", 2, False)
            return _Spelling("CHCH2", "H2CHC", 2, False)
        if symbol == "C" and marks == {"O"}:
            if count == 1 and not single:
                return _Spelling("CHO", "OHC", 2, False)
            if len(single) != 1:
                return None
            return self.carbonyl(root, single[0], depth)
        if symbol == "C" and marks <= {"S", "N"} and len(single) == 1 and not count:
            rest = self.spell(single[0], root, depth + 1)
            if rest is None or graph.hydrogens[doubled[0]] != (marks == {"N"}):
                return None
            mark, turned = ("S", "S") if marks == {"S"} else ("NH", "HN")
            if dice.random() < 0.5:
                mark, turned = "=" + mark, turned + "="
            reverse = f"({turned})C" if self.strict else f"C({mark})"
            return _join(f"C({mark})", reverse, rest, size)
        if symbol == "S" and marks == {"O"} and len(single) == 1 and not count:
            rest = self.spell(single[0], root, depth + 1)
            if rest is None:
                return None
            if len(doubled) == 1:
                text = "SO" if self.strict and dice.random() < 0.5 else "S(O)"
                turned = "OS" if text == "SO" else "(O)S"
                return _join(text, turned if self.strict else text, rest, size)
            if rest.text == "OH":
                return _Spelling("SO3H", "HO3S", 4, False)
            return _join("SO2", "O2S" if self.strict else "SO2", rest, size)
        if symbol == "P" and marks == {"O"} and len(single) == 2 and not count:
            rests = [self.spell(i, root, depth + 1) for i in single]
            one, two = rests
            if one is None or two is None:
                return None
            if graph.key(single[0], root) != graph.key(single[1], root):
                return None
            text, reverse = _times(one, 2)
            middle = dice.choice(("O", "(O)"))
            return _Spelling(f"P{middle}{text}", f"{reverse}{middle}P", 2 + one.pieces, False)
        return None

    def carbonyl(self, root: int, child: int, depth: int) -> _Spelling | None:
        graph, dice = self.graph, self.dice
        others = [i for i, _ in graph.neighbours[child] if i != root]
        plain = graph.plain[child] and not graph.ring[child] and not graph.charge[child]
        if graph.symbol[child] == "O" and plain and len(others) <= 1:
            form = dice.random()
            pair = ("CO2", "O2C") if form < 0.65 else ("COO", "OOC")
            if form > 0.93:
                pair = dice.choice((("C(O)O", "O(O)C"), ("C(=O)O", "O(O=)C")))
            if not others:
                return _Spelling(pair[0] + "H", "H" + pair[1], 3, False)
            strict, self.strict = self.strict, self.strict or depth > 0
            rest = self.spell(others[0], child, depth + 2)
            self.strict = strict
            return None if rest is None else _join(pair[0], pair[1], rest, 3)
        rest = self.spell(child, root, depth + 1)
        if rest is None:
            return None
        text = "CO" if dice.random() < 0.7 else dice.choice(("C(O)", "C(=O)"))
        if text == "CO":
            return _join("CO", "OC" if self.strict else "CO", rest, 2)
        turned = "(O)C" if text == "C(O)" else "(O=)C"
        return _join(text, turned if self.strict else text, rest, 2)

    def chain(self, root: int, parent: int, single: list[int], depth: int) -> _Spelling | None:
        """An atom with single bonds only: hydrogens, halogens, branches, then what follows."""
        graph = self.graph
        text, reverse = self.head(root)
        if not single:
            if text == "CH3" and depth == 0:
                return _Spelling("Me", "Me", 1, True)
            return _Spelling(text, reverse, 1, False)
        inside = depth and graph.symbol[parent] == "C" and graph.hydrogens[parent] == 2
        if graph.symbol[root] == "C" and graph.hydrogens[root] == 2 and not inside:
            run = self.run(root, single[0], depth)
            if run is not None:
                return run
        spelled = [self.spell(i, root, depth + 1) for i in single]
        halogens = sorted(s.text for s in spelled if s is not None and s.text in _HALOGENS)
        rests = [s for s in spelled if s is None or s.text not in _HALOGENS]
        pieces = 1 + len(halogens)
        marks = ""
        for halogen in sorted(set(halogens)):
            times = halogens.count(halogen)
            marks += halogen + (str(times) if times > 1 else "")
        if marks:
            if len(set(halogens)) > 1 and graph.hydrogens[root]:
                return None
            text, reverse = text + marks, marks + reverse
        if not rests:
            return _Spelling(text, reverse, pieces, False)
        kinds: dict[str, list[_Spelling]] = {}
        for place, rest in zip((i for i in single), spelled, strict=True):
            if rest is None:
                return None
            if rest.text not in _HALOGENS:
                kinds.setdefault(graph.key(place, root) or str(place), []).append(rest)
        if len(rests) == 1:
            return _join(text, reverse, rests[0], pieces) if rests[0] else None
        ordered = sorted(kinds.values(), key=lambda same: (-len(same), same[0].pieces))
        last = ordered.pop() if len(ordered[-1]) == 1 else None
        pieces += sum(same[0].pieces for same in ordered)
        branched, turned = "", ""
        for same in ordered:
            forwards, backwards = _times(same[0], len(same))
            branched += forwards
            turned = backwards + turned
        if last is None:
            back = turned + reverse
            return _Spelling(text + branched, back, pieces, False)
        pieces += last[0].pieces
        if self.strict:
            return _Spelling(
                text + branched + last[0].text, last[0].reverse + turned + reverse, pieces, False
            )
        back = last[0].reverse + text + branched
        return _Spelling(text + branched + last[0].text, back, pieces, False)

    def run(self, root: int, child: int, depth: int) -> _Spelling | None:
        """`(CH2)3OH`, `C4H9`: a chain of CH2 written by its length."""
        graph, dice = self.graph, self.dice
        length, last, here = 1, root, child
        while (
            graph.symbol[here] == "C"
            and graph.hydrogens[here] == 2
            and not graph.ring[here]
            and graph.plain[here]
            and len(graph.neighbours[here]) == 2
        ):
            following = next(i for i, _ in graph.neighbours[here] if i != last)
            length, last, here = length + 1, here, following
        methyl = graph.hydrogens[here] == 3 and graph.plain[here] and graph.symbol[here] == "C"
        if dice.random() < (1.0 - 0.4 * methyl, 0.85, 0.25)[min(length, 3) - 1]:
            return None
        if methyl and (length == 1 or dice.random() < 0.5):
            mark = dice.choice(("", "", "n-", "n")) if length > 1 else ""
            text = f"{mark}C{length + 1}H{2 * length + 3}"
            return _Spelling(text, text, 1, True)
        rest = self.spell(here, last, depth + 1)
        if rest is None:
            return None
        turned = f"(H2C){length}" if self.strict else f"(CH2){length}"
        return _join(f"(CH2){length}", turned, rest, 1)


def _join(text: str, reverse: str, rest: _Spelling, size: int) -> _Spelling:
    if rest.text[0].isdigit():
        return _Spelling(f"{text}-{rest.text}", f"{rest.reverse}-{reverse}", 99, False)
    return _Spelling(text + rest.text, rest.reverse + reverse, size + rest.pieces, False)


def _times(rest: _Spelling, times: int) -> tuple[str, str]:
    """A substituent, or several alike: `(CH3)2`, `Me2`."""
    count = str(times) if times > 1 else ""
    if rest.lone and times > 1 and "-" not in rest.text and rest.text[-1].isalpha():
        return rest.text + count, rest.reverse + count
    return f"({rest.text}){count}", f"({rest.reverse}){count}"


_VARIABLES = ("R", "R", "R", "R", "X", "Y", "Z", "Ar", "Q", "Hal", "Het", "A", "L", "W", "PG", "G")
_ENDS = ("Me", "Et", "H", "Ph", "Bn", "tBu", "CH3", "CF3", "C2H5", "Boc", "iPr", "OH", "NH2", "Cl")
_SALTS = tuple("ONa ONa NaO OK COONa CO2Na NaOOC NaO2C SO3Na SO3K OLi SNa".split())
_LINKS = ("CO", "SO2", "NH", "O", "CH2", "(CH2)2", "(CH2)3", "CO2", "CONH", "S", "NHCO", "OCH2")


def invent(rng: np.random.Generator) -> str:
    """A plausible label, of which many are no chemistry: `R1`, `NR1R2`, `(R1)n`, `SO2CH2Ph`."""
    dice = random.Random(int(rng.integers(1 << 62)))

    def variable() -> str:
        name = dice.choice(_VARIABLES)
        form = dice.random()
        if form < 0.55:
            return name + str(dice.randint(1, 9) if dice.random() < 0.85 else dice.randint(10, 39))
        if form < 0.68 and name == "R":
            return name + dice.choice("abcdxyz'")
        if form < 0.74:
            return f"{name}{dice.randint(1, 9)}{dice.choice(chr(39) + 'abcd')}"
        return name

    def formula() -> str:
        links = "".join(dice.choice(_LINKS) for _ in range(dice.randint(1, 2)))
        return links + dice.choice(_ENDS)

    shapes: tuple[tuple[float, Callable[[], str]], ...] = (
        (0.40, variable),
        (0.07, lambda: "O" + variable()),
        (0.05, lambda: variable() + "O"),
        (0.06, lambda: "N" + variable() + variable()),
        (0.04, lambda: variable() + variable() + "N"),
        (0.04, lambda: "NH" + variable()),
        (0.03, lambda: "S" + variable()),
        (0.04, lambda: "CO2" + variable()),
        (0.02, lambda: variable() + "O2C"),
        (0.03, lambda: "CO" + variable()),
        (0.03, lambda: f"({variable()}){dice.choice('mnpq')}"),
        (0.02, lambda: f"(CH2){dice.choice('mnpq')}{dice.choice(('', *_ENDS))}"),
        (0.02, lambda: f"C(O){variable()}"),
        (0.02, lambda: f"N({variable()})2"),
        (0.02, lambda: f"SO2{variable()}"),
        (0.01, lambda: str(dice.randint(1, 30))),
        (0.10, formula),
        (0.15, lambda: dice.choice(_SALTS)),
    )
    return dice.choices([make for _, make in shapes], [weight for weight, _ in shapes])[0]()
