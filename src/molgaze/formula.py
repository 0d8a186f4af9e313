"""A condensed formula such as `CO2Et`, `(CH3)2CHCH2O` or `NHR` -> the fragment that it stands for.

The text is cut into atoms, hydrogens, named groups, R groups and parentheses. They form a tree:
each piece is bonded to a piece before or behind it so that no two bonds cross, and every valence
must be met exactly. Among all trees the one of least cost is taken; what costs is what chemists
seldom write: a double bond that is not spelled out, a bond between two oxygens, hydrogens far from
their atom. A text that has no such tree is no formula, and nothing is guessed.

A text whose bond is at its first glyph is read forwards. Where the bond is at the last glyph, the
pieces are taken in the reverse order, and two hands are known: a strict one turns everything round
(`HOH2CH2CO`), a forward one writes the hydrogens behind their atoms (`HOCH2CH2O`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

from rdkit import Chem


def _numbers(text: str) -> dict[str, tuple[int, ...]]:
    pairs = (entry.split() for entry in text.split(","))
    return {atom: tuple(map(int, valences)) for atom, *valences in pairs}


#: Valences of an atom, with its charge if it has one, the usual one first. The higher ones need
#: double bonds to O, N or S.
VALENCES = _numbers(
    "B 3, C 4, N 3, O 2, F 1, Si 4, P 3 5, S 2 4 6, Cl 1, Br 1, I 1, Se 2 4 6, As 3 5, Te 2 4,"
    " Ge 4, Sn 4, Sb 3 5, Al 3, Mg 2, Zn 2, Cd 2, Hg 2, Pb 4, Li 1, Na 1, K 1, Rb 1, Cs 1, Ag 1,"
    " Cu 1, Au 1, Tl 1, B- 4, C+ 3, C- 3, N+ 4, N- 2, O+ 3, O- 1, S+ 3, S- 1, P+ 4, P- 6, Se+ 3,"
    " Se- 1, Te+ 3, As+ 4, I+ 2, Al- 4"
)
ALKALI = frozenset(("Li", "Na", "K", "Rb", "Cs"))
#: Masses that are written in front of an element.
ISOTOPES = _numbers(
    "H 1 2 3, C 11 12 13 14, N 13 14 15, O 15 16 17 18, F 18 19, Si 28 29 30, P 31 32 33,"
    " S 33 34 35, Cl 35 36 37, Se 75 77, Br 75 76 77 79 80 81 82, At 211,"
    " I 121 122 123 124 125 127 128 129 131"
)
_HALOGENS = frozenset(("F", "Cl", "Br", "I"))
#: Atoms that may be written once with a count: `Cl3`, `O2`, `Na2`.
_REPEATED = _HALOGENS | ALKALI | {"O", "S"}
#: Atoms whose double bonds explain a valence above the usual one.
_EXPLAINING = frozenset(("O", "N", "S", "Se"))
#: (atom, atom bonded to it, order) -> cost of a multiple bond that the text does not spell out.
_UNSPELLED = {
    (a, b, int(order)): int(cost)
    for a, b, order, cost in (
        entry.split()
        for entry in (
            "C O 2 0, C S 2 0, C N 2 3, C N 3 0, C C 2 2, C C 3 3, N C 2 3, N O 2 3, N N 2 4,"
            " S O 2 0, S N 2 3, P O 2 0, P S 2 1, Se O 2 0, As O 2 0, Sb O 2 0"
        ).split(",")
    )
}
#: Atoms that may have a multiple bond to what is written after them.
_BRANCHING = frozenset(atom for atom, _, _ in _UNSPELLED)
#: Atoms that may have a multiple bond which is spelled out.
_SPELLED = frozenset(("C", "N", "O", "S", "P", "Se"))
#: Groups that protect N, O or S; on carbon they are the less likely reading.
_ON_HETERO = frozenset(
    "Ac Bz Boc BOC Cbz CBz CBZ Fmoc Ms Ts Tos Tf Piv Tfa TFA MOM MEM SEM".split()
)
#: Amino acids, which a peptide names without what closes its ends.
RESIDUES = frozenset(
    "Gly Ala Val Leu Ile Phe Tyr Trp Ser Thr Cys Met Asp Glu Asn Gln Lys Arg His Pro Nle Nva Orn"
    " Abu Aib Sar Hyp Phg Cha Chg bAla".split()
)
_RADICAL = r"R(?:\d{1,2}[a-d]?|[abcdfijkmpqstvwxyz](?![a-z]))?(?:'{1,3}|\*)?"
#: A whole label that is an R group or stands for a kind of atom or group.
VARIABLE = re.compile(
    rf"(?:{_RADICAL}|(?:Ar|Het|Hal|Hetaryl|Heteroaryl|HetAr|Aryl|aryl|ARY|Alkyl|alkyl|Alk|Acyl|acyl"
    r"|PG|Pg|LG|Lg|Nu|EWG|EDG|Pol|Cyc|Ring|[XYZQLAEGMWJVU])(?:\d{1,2}[a-d]?)?'{0,3})"
)
_VARIABLE_PIECE = re.compile(
    rf"(?:{_RADICAL}|(?:HetAr|Het|Hal|Aryl|aryl|Alkyl|alkyl|Alk|Ar|PG|Pg|LG|[XYZQ])\d{{0,2}}'{{0,3}})"
)
_RUN = re.compile(r"(?:n-?)?C(\d{1,2})([HF])(\d{1,2})")
_RUN_TURNED = re.compile(r"([HF])(\d{1,2})C(\d{1,2})(?!\d)")
_OTHER_WAY = 2  # cost of a bond at the other end of the text than it was said to be
#: Steps that one label may take, of about 10 microseconds.
MOST_STEPS = 1800
_CUTS = 12  # ways to cut a text into pieces that are tried
_MOST_COUNTED = 30


@dataclass(frozen=True)
class Words:
    """The named groups that a formula may hold."""

    smiles: Mapping[str, str]
    """Name -> SMILES with one or two dummy atoms."""
    turned: frozenset[str]
    """Names that have their bond at the last glyph, which are written first in a formula only."""

    @cached_property
    def longest(self) -> int:
        """Glyphs of the longest name."""
        return max(map(len, self.smiles))


@dataclass(frozen=True, slots=True)
class _Unit:
    """One piece: `atom`, `hydrogen`, `word`, `variable`, `branch`, `bond` or `exit`.

    An `exit` stands for the drawing's further bonds; its count is the sum of their orders.
    """

    kind: str
    text: str = ""
    count: int = 1
    charge: int = 0
    isotope: int = 0
    inner: tuple[_Unit, ...] = ()
    copied: bool = False
    """Whether it is the second or a later one of a count."""


class _Node(NamedTuple):
    """A piece of the tree with what is bonded to it."""

    unit: _Unit
    hydrogens: tuple[int, ...]  # mass of each, 0 where none is written
    bonds: tuple[tuple[int, _Node], ...]  # order and piece
    link: _Node | None = None  # of a repeated link: the inside of one


_Found = tuple[int, _Node]
_Bonds = tuple[tuple[int, _Node], ...]
#: What counts of an atom that is under way: how much of its valence is used, its double bonds to
#: O, N, S or Se, and whether a group is written behind it, so that hydrogens would lie too far off.
_State = tuple[int, int, bool]


class _Way(NamedTuple):
    """The cheapest way to a state."""

    cost: int
    hydrogens: tuple[int, ...]
    bonds: _Bonds


class _States(dict[_State, _Way]):
    """The states that an atom may be in, within the most valence that it can have."""

    def __init__(self, most: int) -> None:
        self.most = most

    def keep(self, used: int, doubled: int, crowded: bool, way: _Way) -> None:
        """Keep a state where it fits and the way is the cheapest to it."""
        if used <= self.most:
            state = (used, doubled, crowded)
            if state not in self or way.cost < self[state].cost:
                self[state] = way

    def add_hydrogens(self, state: _State, way: _Way, piece: _Unit, price: int) -> None:
        """Keep a state with hydrogens added."""
        masses = way.hydrogens + (piece.isotope,) * piece.count
        used = state[0] + piece.count
        self.keep(used, state[1], state[2], _Way(way.cost + price, masses, way.bonds))

    def add_groups(
        self,
        state: _State,
        way: _Way,
        order: int,
        node: _Node,
        price: int,
        times: int = 1,
        crowded: bool = False,
    ) -> None:
        """Keep a state with a group, or several alike, bonded to the atom."""
        doubled = state[1] + times * _explains(node, order)
        bonds = way.bonds + ((order, node),) * times
        way = _Way(way.cost + price, way.hydrogens, bonds)
        self.keep(state[0] + order * times, doubled, state[2] or crowded, way)


class _ExhaustedError(Exception):
    """A label took too many steps."""


class Effort:
    """The steps that one label may take, so that no text takes longer than about 20 ms."""

    def __init__(self, steps: int = MOST_STEPS) -> None:
        self.left = steps

    def spend(self, steps: int = 1) -> None:
        """Take some steps.

        Raises:
            _ExhaustedError: there are none left.
        """
        self.left -= steps
        if self.left < 0:
            raise _ExhaustedError


def solve(
    text: str, orders: tuple[int, ...], first: bool, words: Words, effort: Effort
) -> Chem.Mol | None:
    """Read a condensed formula.

    Args:
        text: as drawn, left to right.
        orders: of the drawing's bonds to it, the leftmost first.
        first: whether the bond is expected at the first glyph.
        words: the named groups.
        effort: what may still be spent on the label; at its end the best formula so far is taken.

    Returns:
        The fragment with a dummy atom mapped 1, 2, ... for each of ``orders``, R groups as dummy
        atoms without a map number and with the property ``atomLabel``; None where the text is no
        formula.
    """
    best: tuple[int, _Node, bool] | None = None
    try:
        for rank, tokens in enumerate(_cut(text, words)):
            for units in _trees(tokens):
                effort.spend(len(units))
                if all(unit.kind in ("variable", "hydrogen") for unit in units):
                    continue
                for turned in (False, True) if first or len(orders) != 1 else (True, False):
                    cost = (rank > 0) + (_OTHER_WAY if turned == first else 0)
                    if best is not None and cost >= best[0]:
                        continue
                    found = _read(units, orders, turned, effort, words)
                    if found is not None and (best is None or found[0] + cost < best[0]):
                        best = (found[0] + cost, found[1], turned)
            if best is not None and best[0] <= 1:
                break
    except _ExhaustedError:
        pass
    return None if best is None else _build(best[1], orders, best[2], words)


def has_variable(text: str, words: Words) -> bool:
    """Whether a text can be cut into the pieces of a formula, an R group among them."""
    return any(
        any(token[0] == "variable" for token in tokens) and next(_trees(tokens), None) is not None
        for tokens in _cut(text, words)
    )


def is_cut(text: str, words: Words) -> bool:
    """Whether a text can be cut into the pieces of a formula."""
    return any(next(_trees(tokens), None) is not None for tokens in _cut(text, words))


# --- text to units ------------------------------------------------------------------------------

_Token = tuple[str, str, int, int]  # kind, text, count, isotope


def _cut(text: str, words: Words) -> Iterator[list[_Token]]:
    """The ways to cut a text into pieces, the longest names first."""
    found = 0
    dead: set[int] = set()

    def cut(start: int) -> Iterator[list[_Token]]:
        nonlocal found
        if start == len(text):
            found += 1
            yield []
            return
        if start in dead or found >= _CUTS:
            return
        alive = False
        for token, end in _heads(text, start, words):
            for rest in cut(end):
                alive = True
                yield [token, *rest]
                if found >= _CUTS:
                    return
        if not alive:
            dead.add(start)

    yield from cut(0)


def _heads(text: str, start: int, words: Words) -> Iterator[tuple[_Token, int]]:
    """Pieces that may begin at a place, each with where it ends."""
    glyph = text[start]
    if glyph in "+-=#(":
        yield (glyph, glyph, 1, 0), start + 1
        if glyph != "-":
            return
    if glyph == ")":
        for count, end in _counts(text, start + 1):
            yield (")", ")", count, 0), end
        return
    fresh = start == 0 or text[start - 1] in "(-="
    for size in range(min(words.longest, len(text) - start), 1, -1):
        name = text[start : start + size]
        if name in words.smiles and (fresh or name not in words.turned):
            for count, end in _counts(text, start + size):
                yield ("word", name, count, 0), end
    run = _RUN.match(text, start) or (_RUN_TURNED.match(text, start) if fresh else None)
    if run and run_smiles(run[0]):
        yield ("word", run[0], 1, 0), run.end()
    variable = _VARIABLE_PIECE.match(text, start)
    if variable:
        # The number of an R group is not told from a count by the glyphs; the valences decide.
        name = variable[0]
        yield ("variable", name, 1, 0), variable.end()
        stem = name.rstrip("0123456789")
        for length in range(len(stem), len(name)):
            if name[length] != "0" and (length == len(stem) or name[len(stem)] != "0"):
                yield ("variable", name[:length], int(name[length:]), 0), variable.end()
    digits = start
    while digits < len(text) and text[digits] in "0123456789" and digits - start < 3:
        digits += 1
    isotope = int(text[start:digits]) if digits > start else 0
    if isotope and not fresh and isotope < 11:
        return  # `OCH2O2H`: the 2 is a count
    for size in (2, 1):
        symbol = text[digits : digits + size]
        if len(symbol) != size or (isotope and isotope not in ISOTOPES.get(symbol, ())):
            continue
        mass, kind = isotope, "atom"
        follower = text[digits + 1 : digits + 2]
        if (symbol == "D" or (symbol == "T" and follower.isdigit())) and not isotope:
            mass, kind = (2 if symbol == "D" else 3), "hydrogen"
        elif symbol == "H":
            kind = "hydrogen"
        elif symbol not in VALENCES or not symbol.isalpha():
            continue
        for count, end in _counts(text, digits + size):
            yield (kind, symbol, count, mass), end


def _counts(text: str, start: int) -> Iterator[tuple[int, int]]:
    """The counts that may follow a piece, with where each ends; digits may belong to an isotope."""
    end = start
    while end < len(text) and text[end] in "0123456789" and end - start < 2:
        end += 1
    while end > start:
        if text[start] != "0" and text[start:end] != "1":
            yield int(text[start:end]), end
        end -= 1
    yield 1, start


@lru_cache(maxsize=256)
def run_smiles(text: str) -> str:
    """`C2H5`, `H17C8`, `C6H5`, `C4F9` ... as SMILES, or an empty string."""
    match, turned = _RUN.fullmatch(text), _RUN_TURNED.fullmatch(text)
    if match is not None:
        carbons, element, others = int(match[1]), match[2], int(match[3])
    elif turned is not None:
        element, others, carbons = turned[1], int(turned[2]), int(turned[3])
    else:
        return ""
    if not 1 < carbons <= _MOST_COUNTED:
        return ""
    benzene = (carbons, others) == (6, 5)
    if benzene:
        return "*c1ccccc1" if element == "H" else "*c1c(F)c(F)c(F)c(F)c1F"
    if element == "H" and (carbons, others) == (2, 3):
        return "*C=C"
    if element == "H" and others == 2 * carbons - 1 and text.startswith("c"):
        return "*C1" + "C" * (carbons - 1) + "1"
    link = "C" if element == "H" else "C(F)(F)"
    if others == 2 * carbons + 1:
        return "*" + link * carbons + ("" if element == "H" else "F")
    if others == 2 * carbons and match is not None:
        return "[*:1]" + link * carbons + "[*:2]"
    return ""


def _trees(tokens: list[_Token]) -> Iterator[tuple[_Unit, ...]]:
    """Nest the tokens by their parentheses and give each charge to an atom, the nearest first."""
    if len(tokens) > 1 and tokens[0][0] in ("+", "-"):
        if tokens[0][0] == "-":  # the drawing's bond, written with the label
            yield from _trees(tokens[1:])
        bearer = next((i for i, token in enumerate(tokens) if token[0] == "atom"), 0)
        if bearer:
            sign = 1 if tokens[0][0] == "+" else -1
            yield from _nested(tokens[1:], charged=(bearer - 1, sign))
        return
    yield from _nested(tokens)


def _nested(
    tokens: list[_Token], charged: tuple[int, int] | None = None
) -> Iterator[tuple[_Unit, ...]]:
    # Each level holds its alternatives, which differ in the atom that bears a charge.
    levels: list[list[list[_Unit]]] = [[[]]]
    last = len(tokens) - 1
    for place, (kind, text, count, isotope) in enumerate(tokens):
        here = levels[-1]
        if kind == "(":
            if len(levels) > 5:
                return
            levels.append([[]])
        elif kind == ")":
            if len(levels) == 1:
                return
            inners = [inner for inner in levels.pop() if inner]
            levels[-1] = [
                [*units, _bracketed(inner, count)]
                for inner in inners[:4]
                for units in levels[-1][:4]
            ]
        elif kind == "-" and place != last and tokens[place + 1][0] != ")":
            continue
        elif kind in "+-":
            sign = 1 if kind == "+" else -1
            levels[-1] = [
                [*units[:at], *_charge(units[at], sign), *units[at + 1 :]]
                for units in here
                for at in range(len(units) - 1, -1, -1)
                if units[at].kind == "atom" and not units[at].charge
            ][:6]
        else:
            unit = _Unit(kind, text, count, 0, isotope)
            if kind in "=#":
                unit = _Unit("bond", count=2 if kind == "=" else 3)
            extra = [unit]
            if charged is not None and place == charged[0]:
                extra = _charge(unit, charged[1])
            for units in here:
                units.extend(extra)
        if not levels[-1]:
            return
    if len(levels) == 1:
        for units in levels[0]:
            yield tuple(units)


def _bracketed(inner: list[_Unit], count: int) -> _Unit:
    """A parenthesis as one unit; hydrogens in one are hydrogens: `C(2H)3`."""
    if len(inner) == 1 and inner[0].kind == "hydrogen":
        return replace(inner[0], count=inner[0].count * count)
    return _Unit("branch", count=count, inner=tuple(inner))


def _charge(unit: _Unit, sign: int) -> list[_Unit]:
    """An atom with a charge; of `O3` the last of the three has it."""
    one = replace(unit, count=1, charge=sign)
    if unit.count == 1:
        return [one]
    return [replace(unit, count=unit.count - 1), replace(one, copied=True)]


def _spread(units: tuple[_Unit, ...]) -> tuple[_Unit, ...] | None:
    """O, S and alkali metals with a count written out, as they may be on several atoms; all others
    of one count are on one atom. None for a count that none has."""
    spread: list[_Unit] = []
    for unit in units:
        if unit.kind in ("atom", "word", "variable") and unit.count > 1:
            if unit.count > 6 or (unit.kind == "atom" and unit.text not in _REPEATED):
                return None
            if unit.kind == "atom" and unit.text not in _HALOGENS:
                one = replace(unit, count=1)
                spread += [one, *[replace(one, copied=True)] * (unit.count - 1)]
                continue
        spread.append(unit)
    return tuple(spread)


# --- units to a tree ----------------------------------------------------------------------------


def _read(
    units: tuple[_Unit, ...],
    orders: tuple[int, ...],
    turned: bool,
    effort: Effort,
    words: Words,
) -> _Found | None:
    """The tree of least cost; ``turned`` where the first bond is at the last glyph."""
    units = _capped(units, turned)
    row = _spread(units[::-1] if turned else units)
    if row is None:
        return None
    entry, exits = (orders[-1:], orders[:-1]) if turned else (orders[:1], orders[1:])
    if exits:
        row += (_exit(exits),)
    best: _Found | None = None
    for forward_hand in (True,) if _is_forward_hand(units) else (False, True):
        chart = _Chart(row, turned, forward_hand, effort, words)
        for found in chart.group(0, len(row), entry[0] if entry else 0).values():
            if best is None or found[0] < best[0]:
                best = found
        if not turned or (best is not None and best[0] <= 0):
            break
    return best


def _exit(orders: tuple[int, ...]) -> _Unit:
    return _Unit("exit", text="=" if max(orders) > 1 else "", count=sum(orders))


def _capped(units: tuple[_Unit, ...], turned: bool) -> tuple[_Unit, ...]:
    """A peptide whose last residue ends the text is closed by what a chemist leaves unsaid."""
    if turned and units[0].kind == "word" and units[0].text in RESIDUES:
        return (_Unit("hydrogen", "H"), *units)
    if not turned and units[-1].kind == "word" and units[-1].text in RESIDUES:
        return (*units, _Unit("atom", "O"), _Unit("hydrogen", "H"))
    return units


def _is_forward_hand(units: tuple[_Unit, ...]) -> bool:
    """Whether a text with its bond at the last glyph has its hydrogens behind their atoms."""
    heavy = [i for i, unit in enumerate(units) if unit.kind == "atom" and unit.text in ("C", "N")]
    last = len(units) - 1
    return any(
        i < last and units[i + 1].kind == "hydrogen" and (i == 0 or i + 1 == last) for i in heavy
    )


class _Chart:
    """One row of units, the unit at the drawing's bond first, and the groups found in it."""

    def __init__(
        self,
        row: tuple[_Unit, ...],
        turned: bool,
        forward_hand: bool,
        effort: Effort,
        words: Words,
    ) -> None:
        self.row = row
        self.turned = turned
        self.forward_hand = forward_hand
        self.effort = effort
        self.words = words
        self.groups: dict[tuple[int, int, int], dict[str, _Found]] = {}
        self.insides: dict[tuple[int, int], _Found | None] = {}

    def group(self, begin: int, end: int, order: int) -> dict[str, _Found]:
        """The best group that units[begin:end] make, for each text of the atom that leads it.

        ``order`` is that of the bond to the rest, 0 where there is none.
        """
        key = (begin, end, order)
        found = self.groups.get(key)
        if found is None:
            found = self.groups[key] = {}
            self.effort.spend()
            for root in range(begin, min(begin + 6, end)):
                unit = self.row[root]
                if unit.kind in ("branch", "exit") or (
                    unit.kind in ("atom", "word", "variable") and unit.count == 1
                ):
                    self.lead(begin, root, end, order, found)
                if not self.goes_before(unit, begin == 0):
                    break
        return found

    def goes_before(self, unit: _Unit, whole: bool) -> bool:
        """Whether a unit may be written before the atom that it is bonded to."""
        if unit.kind in ("hydrogen", "branch"):
            return whole or self.turned
        if unit.kind == "atom":
            return unit.text in ("O", "S") or (self.turned and unit.text in _HALOGENS)
        return self.turned and unit.kind in ("word", "variable")

    def lead(self, begin: int, root: int, end: int, order: int, found: dict[str, _Found]) -> None:
        """Add the best group that is led by a unit."""
        unit = self.row[root]
        link: _Node | None = None
        start = 0
        valences = self.valences(unit)
        if not valences or order > valences[-1] or (order == valences[-1] and end > begin + 1):
            return
        if unit.kind == "exit" and end > begin + 1:
            return
        if order > 1 and unit.kind != "exit" and unit.text not in _SPELLED | {"As"}:
            return
        if unit.kind == "branch":
            if unit.count > _MOST_COUNTED or unit.inner[0].kind == "bond":
                return
            if len(unit.inner) == 1 and unit.inner[0].text in ("O", "S"):
                return
            inside = self.inside(root, 0)
            if inside is None:
                return
            start, link = inside[0] + 2 * (unit.count == 1), inside[1]
        states = _States(valences[-1])
        states[order, int(order > 1), False] = _Way(start, (), ())
        for place in range(begin, root):
            states = self.before(unit, states, place, root, begin == 0)
        for (used, doubled, _), way in self.behind(unit, states, root + 1, end).items():
            if used in valences and _is_sound(unit, used, doubled, way, valences):
                name = unit.text if unit.kind == "atom" else unit.kind
                if name not in found or way.cost < found[name][0]:
                    found[name] = (way.cost, _Node(unit, way.hydrogens, way.bonds, link))

    def valences(self, unit: _Unit) -> tuple[int, ...]:
        """Valences of an atom, number of bonds of a named group; none where it can't be bonded."""
        if unit.kind == "atom":
            return VALENCES.get(unit.text + {1: "+", -1: "-"}.get(unit.charge, ""), ())
        if unit.kind == "word":
            smiles = self.words.smiles.get(unit.text) or run_smiles(unit.text)
            return () if "=*" in smiles or "*=" in smiles else (smiles.count("*"),)
        if unit.kind == "branch":
            return (2,)
        return (unit.count,) if unit.kind == "exit" else (1,)

    def before(self, unit: _Unit, states: _States, place: int, root: int, whole: bool) -> _States:
        """The states of an atom with a unit that is written before it."""
        piece = self.row[place]
        strict = self.turned and not self.forward_hand
        grown = _States(states.most)
        for state, way in states.items():
            self.effort.spend()
            if piece.kind == "hydrogen":
                if _takes_hydrogens(unit, state[0], piece):
                    vinyl = root + 1 < len(self.row) and self.row[root + 1].kind == "bond"
                    grown.add_hydrogens(state, way, piece, strict and not vinyl)
            elif piece.kind == "branch":
                for price, order, node in self.branches(unit, state[0], place, states.most):
                    grown.add_groups(state, way, order, node, price + (not whole), piece.count)
            elif self.valences(piece):
                node = _Node(replace(piece, count=1), (), ())
                order = self.valences(piece)[0]
                single = _price(unit, node, order, False)
                if single is not None:
                    usual = order == 1 or (self.turned and (unit.text != "C" or self.forward_hand))
                    single += not usual and not way.bonds  # `CH3CO` is usual, `OCCH3` is not
                    grown.add_groups(state, way, order, node, single, piece.count)
        return grown

    def behind(self, unit: _Unit, states: _States, begin: int, end: int) -> _States:
        """The states of an atom when all units up to ``end`` have been bonded to it."""
        reached = [states, *(_States(states.most) for _ in range(begin, end))]
        for place in range(begin, end):
            piece = self.row[place]
            here, following = reached[place - begin], reached[place + 1 - begin]
            for state, way in here.items():
                self.effort.spend()
                if piece.kind == "hydrogen":
                    if not state[2] and _takes_hydrogens(unit, state[0], piece):
                        late = 2 * any(order > 1 for order, _ in way.bonds)  # `COH`
                        late += self.turned and self.forward_hand and place + 1 < end
                        following.add_hydrogens(state, way, piece, late)
                    if not self.turned:
                        continue
                if state[0] >= states.most:
                    continue
                if piece.kind == "branch":
                    for price, order, node in self.branches(unit, state[0], place, states.most):
                        following.add_groups(state, way, order, node, price, piece.count)
                elif piece.count > 1 and piece.kind in ("atom", "word", "variable"):
                    node = _Node(replace(piece, count=1), (), ())
                    single = _price(unit, node, 1, False) if self.valences(piece) == (1,) else None
                    if single is not None:
                        following.add_groups(state, way, 1, node, single, piece.count)
                    if not self.turned:
                        continue
                self.branch_off(unit, state, way, place, reached[place - begin :])
        return reached[-1]

    def branch_off(
        self, unit: _Unit, state: _State, way: _Way, place: int, reached: list[_States]
    ) -> None:
        """Bond the groups that begin at a place, of whatever length, to an atom.

        ``reached`` are the states when the units up to this place, up to the next, ... are bonded.
        """
        spelled = self.row[place].kind == "bond"
        start, end = place + spelled, place + len(reached) - 1
        if start == end or (spelled and unit.kind != "atom"):
            return
        orders: tuple[int, ...] = (1, 2, 3) if unit.text in _BRANCHING else (1,)
        if spelled or self.row[start].kind == "exit":
            orders = (self.row[place].count,)
        for order in orders:
            if state[0] + order > reached[0].most:
                return
            for stop in range(start + 1, end + 1):
                for cost, node in self.group(start, stop, order).values():
                    price = _price(unit, node, order, spelled)
                    if price is None:
                        continue
                    if order == 2 and unit.text == "C" and not spelled:
                        if node.unit.text == "C" and len(way.hydrogens) != 1:
                            continue  # only `CHCH2` is written without its double bond
                        if self.turned and self.forward_hand and stop < end:
                            price += self.row[stop].text != "O"  # `MeOC`
                    crowded = not (
                        node.unit.kind in ("word", "variable")
                        or node.unit.text in _HALOGENS
                        or (order == 2 and not node.hydrogens and not node.bonds)
                    )
                    reached[stop - place].add_groups(
                        state, way, order, node, cost + price, crowded=crowded
                    )

    def branches(
        self, unit: _Unit, used: int, place: int, most: int
    ) -> Iterator[tuple[int, int, _Node]]:
        """Cost, order and group of a parenthesis whose groups are bonded to one atom."""
        piece = self.row[place]
        if piece.count > 4:
            return
        spelled = piece.inner[-1 if self.turned else 0].kind == "bond"
        for order in (1, 2, 3) if unit.text in _BRANCHING else (1,):
            if used + order * piece.count > most:
                return
            found = self.inside(place, order)
            if found is None:
                continue
            price = _price(unit, found[1], order, spelled)
            if price is not None:
                other = found[1].unit.text
                if (order == 1 and unit.text in ("S", "P") and other == "O") or order == 2:
                    price = min(price, int(order == 2 and other != "O"))  # `P(OMe)2`, `C(NH)NH2`
                yield found[0] + price + (unit.text == "O"), order, found[1]

    def inside(self, place: int, order: int) -> _Found | None:
        """The group in a parenthesis for a bond of an order; for order 0 the link that it makes."""
        key = (place, order)
        if key not in self.insides:
            self.insides[key] = self.fill(self.row[place].inner, order)
        return self.insides[key]

    def fill(self, inner: tuple[_Unit, ...], order: int) -> _Found | None:
        best: _Found | None = None
        for turned in (self.turned, not self.turned):
            row = _spread(inner[::-1] if turned else inner)
            if row is None:
                return None
            if row[0].kind == "bond":
                if row[0].count != order:
                    continue
                row = row[1:]
            if not order:
                if turned != self.turned:
                    break
                row += (_exit((1,)),)
            if not row:
                continue
            chart = _Chart(row, turned, _is_forward_hand(inner), self.effort, self.words)
            for cost, node in chart.group(0, len(row), order or 1).values():
                cost += turned != self.turned  # noqa: PLW2901
                if best is None or cost < best[0]:
                    best = (cost, node)
            if best is not None:
                break
        return best


def _takes_hydrogens(unit: _Unit, used: int, piece: _Unit) -> bool:
    if unit.kind == "word":  # H-Ala-OH
        return unit.text in RESIDUES and used < 2 and piece.count == 1
    if unit.kind != "atom":
        return False
    if unit.text in _HALOGENS:
        return not used
    return piece.count <= 5 and unit.text not in ALKALI


def _explains(node: _Node, order: int) -> int:
    """1 for a double bond that explains a valence above the usual one, else 0."""
    return int(order > 1 and (node.unit.text in _EXPLAINING or node.unit.text == "="))


def _is_sound(unit: _Unit, used: int, doubled: int, way: _Way, valences: tuple[int, ...]) -> bool:
    """Whether a valence above the usual one is explained, and a carbon is not that of an allene."""
    if unit.kind != "atom":
        return True
    if unit.text == "C":
        twice = [node.unit.text for order, node in way.bonds if order == 2]
        return len(twice) < 2 or "C" not in twice
    if used == valences[0]:
        return unit.text in ("N", "O") or all(order == 1 for order, _ in way.bonds)
    metal = any(node.unit.text in ALKALI for _, node in way.bonds)
    if unit.text in ("S", "Se", "Te") and (way.hydrogens or metal):
        return False
    more = (used - valences[0]) // 2
    return doubled == more if unit.text in ("P", "As", "Sb") else doubled >= more


def _price(unit: _Unit, node: _Node, order: int, spelled: bool) -> int | None:
    """Cost of a bond from a piece to one that is written after it; None where there is none."""
    other = node.unit
    if other.kind == "exit":
        return 0
    if unit.kind != "atom" or other.kind != "atom":
        if order > 1:
            return None
        pair = {unit.text, other.text}
        if unit.kind == "atom" and unit.text in ALKALI | {"H"}:
            return None
        if other.text in _ON_HETERO and unit.text == "C":
            return 1
        return 3 if pair in ({"S", "NO2"},) else 0
    a, b = unit.text, other.text
    pair = {a, b}
    if order > 1:
        if spelled:
            return (2 if (a, b) == ("N", "O") else 0) if pair <= _SPELLED else None
        if (a, b) == ("C", "S") and (node.hydrogens or node.bonds):
            return None
        if (a, b, order) == ("C", "N", 3) and (node.hydrogens or node.bonds):
            return None
        if (a, b, order) == ("N", "C", 2) and any(
            bond == 2 and other.unit.text in ("O", "S") for bond, other in node.bonds
        ):
            return 2  # isocyanates
        return _UNSPELLED.get((a, b, order))
    if a == "O" and b == "C" and any(bond == 3 for bond, _ in node.bonds):
        return 2  # cyanates
    if pair & ALKALI:
        salt = pair & (_HALOGENS | {"O", "S"}) or pair in ({"C", "Li"}, {"N", "Li"})
        return 0 if salt else None
    if pair <= {"O"}:
        return None if other.copied else 3  # `O2H` is no peroxide
    if pair in ({"S", "O"}, {"P", "O"}) and not unit.charge and not other.charge:
        return 1  # `SO2Me` is a sulfone, no ester
    if pair & _HALOGENS and pair & {"O", "N"}:
        return 2
    return 1 if pair in ({"N", "O"}, {"N"}, {"S"}) else 0


# --- the tree to a molecule ---------------------------------------------------------------------

_BOND = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}
#: Map numbers that keep R groups apart from the drawing's bonds while the fragment is built.
_SHIFT = 100


class _Builder:
    """A molecule that grows by the pieces of a tree."""

    def __init__(self, turned: bool, words: Words) -> None:
        self.mol = Chem.RWMol()
        self.turned = turned
        self.words = words
        self.ports: list[int] = []
        self.variables: list[str] = []
        self.exits = -1
        """The atom that bears the drawing's further bonds."""

    def add(self, node: _Node, joined: bool) -> int:
        """Add a piece with all that hangs on it; the atom that takes the bond towards the drawing.

        ``joined`` is False where there is no such bond.
        """
        unit = node.unit
        if unit.kind == "branch":
            return self.add_links(node)
        if unit.kind == "word":
            return self.add_word(node, joined)
        if unit.kind == "variable":
            self.variables.append(unit.text)
            dummy = Chem.Atom(0)
            dummy.SetAtomMapNum(_SHIFT + len(self.variables))
            return int(self.mol.AddAtom(dummy))
        index = add_atom(self.mol, unit.text, unit.charge, unit.isotope, node.hydrogens)
        self.hang(index, node.bonds)
        return index

    def hang(self, index: int, bonds: tuple[tuple[int, _Node], ...]) -> None:
        for order, node in bonds:
            if node.unit.kind == "exit":
                self.exits = index
            else:
                self.mol.AddBond(index, self.add(node, True), _BOND[order])

    def add_word(self, node: _Node, joined: bool) -> int:
        smiles = self.words.smiles.get(node.unit.text) or run_smiles(node.unit.text)
        shift = self.mol.GetNumAtoms()
        group = Chem.MolFromSmiles(smiles)
        self.mol.InsertMol(group)
        ports = sorted(
            (atom.GetAtomMapNum(), atom.GetIdx() + shift)
            for atom in group.GetAtoms()
            if atom.GetAtomicNum() == 0
        )
        if self.turned:
            ports.reverse()
        self.ports += [port for _, port in ports]
        bearers = [self.mol.GetAtomWithIdx(port).GetNeighbors()[0].GetIdx() for _, port in ports]
        if node.hydrogens:
            hydrogen = _add_hydrogen(self.mol, node.hydrogens[0])
            self.mol.AddBond(bearers[-1 if joined else 0], hydrogen, _BOND[1])
        for place, bond in enumerate(reversed(node.bonds)):
            self.hang(bearers[-1 - place], (bond,))
        return int(bearers[0])

    def add_links(self, node: _Node) -> int:
        """A link as often as it is counted, and what follows it."""
        assert node.link is not None
        first = last = -1
        for _ in range(node.unit.count):
            index = self.add(node.link, True)
            if last < 0:
                first = index
            else:
                self.mol.AddBond(last, index, _BOND[1])
            last = self.exits
        self.exits = -1
        self.hang(last, node.bonds)
        return first


def _build(node: _Node, orders: tuple[int, ...], turned: bool, words: Words) -> Chem.Mol | None:
    builder = _Builder(turned, words)
    first = builder.add(node, bool(orders))
    mol = builder.mol
    ends = [first, *[builder.exits] * (len(orders) - 1)] if orders else []
    if turned:
        ends = [*ends[1:], *ends[:1]]
    attach(mol, ends, orders)
    for atom in mol.GetAtoms():
        if atom.GetSymbol() in ALKALI:
            _ionise(mol, atom)
    for port in sorted(builder.ports, reverse=True):
        _drop(mol, port)
    fragment = clean(mol)
    if fragment is not None:
        for atom in fragment.GetAtoms():
            if atom.GetAtomMapNum() > _SHIFT:
                name_variable(atom, builder.variables[atom.GetAtomMapNum() - _SHIFT - 1])
                atom.SetAtomMapNum(0)
    return fragment


def name_variable(atom: Chem.Atom, text: str) -> None:
    """Make a dummy atom an R group: numbered for R1, R2 ..., else with its text as label."""
    number = re.fullmatch(r"R([1-9]\d?)", text)
    if number:
        atom.SetIsotope(int(number[1]))
        atom.SetProp("atomLabel", f"_R{number[1]}")
        atom.SetProp("dummyLabel", f"R{number[1]}")
        atom.SetUnsignedProp("_MolFileRLabel", int(number[1]))
    else:
        atom.SetProp("atomLabel", text)
        atom.SetProp("molFileAlias", text)


def add_atom(
    mol: Chem.RWMol, symbol: str, charge: int, isotope: int, hydrogens: tuple[int, ...]
) -> int:
    """Add an atom with all of its hydrogens, of which 0 is a plain one, and give its index."""
    atom = Chem.Atom(symbol)
    atom.SetFormalCharge(charge)
    atom.SetIsotope(isotope)
    atom.SetNoImplicit(True)
    atom.SetNumExplicitHs(hydrogens.count(0))
    index: int = mol.AddAtom(atom)
    for mass in hydrogens:
        if mass:
            mol.AddBond(index, _add_hydrogen(mol, mass), _BOND[1])
    return index


def _add_hydrogen(mol: Chem.RWMol, mass: int) -> int:
    atom = Chem.Atom(1)
    atom.SetIsotope(mass)
    index: int = mol.AddAtom(atom)
    return index


def _drop(mol: Chem.RWMol, port: int) -> None:
    """Remove a dummy whose place a new bond has taken, keeping the handedness next to it."""
    bearer = mol.GetAtomWithIdx(port).GetNeighbors()[0]
    if bearer.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED:
        order = [bond.GetOtherAtomIdx(bearer.GetIdx()) for bond in bearer.GetBonds()]
        if (len(order) - 2 - order.index(port)) % 2:
            bearer.InvertChirality()
    mol.RemoveAtom(port)


def _ionise(mol: Chem.RWMol, atom: Chem.Atom) -> None:
    """An alkali metal on O, S or a halogen to a pair of ions."""
    for other in atom.GetNeighbors():
        if other.GetSymbol() in ("O", "S", "F", "Cl", "Br", "I") and not other.GetFormalCharge():
            mol.RemoveBond(atom.GetIdx(), other.GetIdx())
            atom.SetFormalCharge(1)
            other.SetFormalCharge(-1)
            return


def attach(mol: Chem.RWMol, ends: list[int], orders: tuple[int, ...]) -> None:
    """Bond dummy atoms mapped 1, 2, ... to atoms of a fragment by bonds of the given orders."""
    for number, (end, order) in enumerate(zip(ends, orders, strict=True), 1):
        dummy = Chem.Atom(0)
        dummy.SetAtomMapNum(number)
        mol.AddBond(end, mol.AddAtom(dummy), _BOND[order])


def clean(mol: Chem.RWMol) -> Chem.Mol | None:
    """The fragment as RDKit reads it from its own SMILES; None where it refuses it."""
    try:
        Chem.SanitizeMol(mol)
        fragment: Chem.Mol | None = Chem.MolFromSmiles(Chem.MolToSmiles(mol))
    except (ValueError, RuntimeError):
        return None
    return fragment
