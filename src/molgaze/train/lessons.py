"""Small drawings, each of which teaches one kind of thing.

Most of what is hard to read is local: a label, a wedge, a charge. A ring with its side chains and
one or two such things on it costs half of what a whole molecule costs, and has more to learn from.
What a label may say is drawn evenly instead of as often as nature has it. The texts and groups that
lessons are made of are in ``lessons.txt``.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import resources

import numpy as np
from rdkit import Chem, rdBase

from .. import label
from .cages import cage, grown, hang, interrupt
from .condense import invent
from .corpus import Corpus, drawable, layout, set_stereo, stereocentres_with_hydrogens
from .draw import TURNED, WRITTEN, Drawing, Style, nothing, own, style
from .hands import hand
from .programs import DrawingError, indigo, rdkit
from .steroids import glycoside, steroid
from .surroundings import photograph, surrounded
from .upright import lay_upright

SMALL = 16  # heavy atoms of a scaffold, at most
MEDIUM = 30  # heavy atoms of a lesson about stereo, at most
TRIES = 400  # lines of the corpus that are looked at for one that suits
INTERRUPTED = 0.35  # share of our own drawings of what is rare: of crossing bonds, one is cut
UPRIGHT = 0.08  # share of whole molecules that are drawn as formulas, with straight chains

#: kind of drawing -> its share of the pictures as long as all kinds are read equally well
SHARES: Mapping[str, float] = {
    "whole": 0.53,  # a molecule as it comes
    "label": 0.13,  # any text on a small scaffold
    "piece": 0.06,  # a ring system with its side chains, every group written that can be
    "stereo": 0.13,  # wedges, hashes, waves, drawn hydrogens
    "mark": 0.05,  # charges, radicals, isotopes, attachment points
    "rare": 0.06,  # rare elements, metals, cages, macrocycles, alkynes, a few atoms alone
    "surrounded": 0.03,  # with frames, brackets, arrows, numbers, tints or neighbours round it
    "nothing": 0.01,  # no molecule
}
KINDS = tuple(SHARES)

Text = tuple[str, str]  # as it is written to the right of its bond, and to the left

# --- what a label may say -------------------------------------------------------------------------


def _parts() -> dict[str, tuple[str, ...]]:
    """The parts of ``lessons.txt``, each as its words."""
    found: dict[str, tuple[str, ...]] = {}
    lines = (resources.files(__package__) / "lessons.txt").read_text(encoding="utf-8").splitlines()
    name = ""
    for line in lines:
        if match := re.match(r"== (\w+):", line):
            name = match[1]
            found[name] = ()
        elif name and not line.startswith("#"):
            found[name] += tuple(line.split())
    return found


def _pairs(words: Sequence[str]) -> tuple[Text, ...]:
    halves = (word.split("|") for word in words)
    return tuple((forward, backward) for forward, backward in halves)


_PARTS = _parts()
_VARIABLES, _GROUPS, _BESIDE = (_PARTS[name] for name in ("variables", "groups", "beside"))
_FRAMES, _COMMON, _ENDS, _BRIDGES = (
    _pairs(_PARTS[name]) for name in ("frames", "common", "ends", "bridges")
)
_TABLES = tuple(_pairs(_PARTS[name]) for name in ("ions", "isotopes", "elements"))
_NAMED = tuple((name, name) for name in label.DICTIONARY if len(name) <= 14)


def _chain(dice: random.Random) -> Text:
    """A chain by its formula: C8H17, (CH2)5OH, n-C6H13O, CF2CF3."""
    n = dice.randint(2, 20)
    hydrogens = dice.choice((2 * n + 1, 2 * n + 1, 2 * n + 1, 2 * n - 1))
    chain, turned = (f"C{n}H{hydrogens}", f"H{hydrogens}C{n}")
    if dice.random() < 0.12:
        chain, turned = f"C{n}F{2 * n + 1}", f"F{2 * n + 1}C{n}"
    form = dice.random()
    if form < 0.3:
        return chain, turned
    if form < 0.42:
        mark = dice.choice(("n-", "n", "i-", "t-", "c-"))
        return mark + chain, mark + chain
    if form < 0.6:
        head = dice.choice(("O", "S", "NH", "CO", "CO2", "N(", "OCO"))
        if head == "N(":
            return f"N({chain})2", f"({turned})2N"
        back = {"NH": "HN", "CO": "OC", "CO2": "O2C"}.get(head, head)
        return head + chain, turned + back
    end, start = dice.choice(_ENDS)
    link, count = dice.choice(("CH2", "CH2", "CH2", "CF2", "OCH2CH2", "CH2CH2O")), n
    count = dice.choice((count, count, "n", "m", "x"))  # type: ignore[assignment]
    return f"({link}){count}{end}", f"{start}({link}){count}"


def text(dice: random.Random) -> Text:
    """What may be written on one bond, every kind about as often as any other."""
    pick = dice.random()
    if pick < 0.14:
        return dice.choice(_NAMED)
    if pick < 0.27:
        name = dice.choice(_VARIABLES)
        return name, name
    if pick < 0.43:
        forward, backward = dice.choice(_FRAMES)
        inner = dice.choice((*_GROUPS, *_VARIABLES[:20]))
        return forward.format(inner), backward.format(inner)
    if pick < 0.53:
        name = dice.choice(_GROUPS)
        return name, name
    if pick < 0.71:
        return dice.choice(_COMMON)
    if pick < 0.88:
        return dice.choice(dice.choice(_TABLES))
    if pick < 0.95:
        return _chain(dice)
    name = invent(np.random.default_rng(dice.getrandbits(60)))
    return name, name


# --- scaffolds ------------------------------------------------------------------------------------


def _scaffold(corpus: Corpus, rng: np.random.Generator) -> Chem.Mol:
    """A small ring or chain, or a piece of a molecule."""
    if rng.random() < 0.6:
        return _of("scaffolds", rng)
    return _piece(corpus, rng, SMALL)


def _piece(corpus: Corpus, rng: np.random.Generator, most: int) -> Chem.Mol:
    """A ring system of a molecule with the chains on it, of so many heavy atoms at most; benzene if
    the corpus has nothing like it.
    """
    for _ in range(TRIES):
        mol = drawable(corpus.smiles())
        found = None if mol is None else piece(mol, rng)
        if found is not None and 3 <= found.GetNumHeavyAtoms() <= most:
            return found
    return Chem.MolFromSmiles("c1ccccc1")


def piece(mol: Chem.Mol, rng: np.random.Generator, widest: int = 10) -> Chem.Mol | None:
    """A ring system of a molecule with its acyclic branches; None if there is none that is small.

    Args:
        mol: a sanitised molecule.
        rng: which of the ring systems is taken.
        widest: atoms of the ring system, at most; of a larger one, a part is taken.
    """
    rings = [set(ring) for ring in mol.GetRingInfo().AtomRings()]
    if not rings:
        return mol
    cyclic = set().union(*rings)
    core = set(rings[int(rng.integers(len(rings)))])
    for _ in range(3):
        for ring in rings:
            if ring & core and len(core | ring) <= widest:
                core |= ring
    kept = set(core)
    for root in core:
        for neighbour in mol.GetAtomWithIdx(root).GetNeighbors():
            if neighbour.GetIdx() not in cyclic:
                kept |= _branch(mol, root, neighbour.GetIdx(), cyclic)
    cut = Chem.RWMol(mol)
    for i in kept:
        atom = cut.GetAtomWithIdx(i)
        lost = sum(
            bond.GetBondTypeAsDouble()
            for bond in atom.GetBonds()
            if bond.GetOtherAtomIdx(i) not in kept
        )
        is_fixed = atom.GetNoImplicit() or (atom.GetIsAromatic() and atom.GetAtomicNum() in (7, 15))
        if lost and is_fixed:
            atom.SetNumExplicitHs(atom.GetNumExplicitHs() + round(lost))
    for i in sorted(set(range(mol.GetNumAtoms())) - kept, reverse=True):
        cut.RemoveAtom(i)
    return _sound(cut)


def _branch(mol: Chem.Mol, root: int, start: int, cyclic: set[int]) -> set[int]:
    """The atoms of an acyclic branch; none if it is long or ends at another ring."""
    side, todo = {start}, [start]
    while todo:
        for neighbour in mol.GetAtomWithIdx(todo.pop()).GetNeighbors():
            i = neighbour.GetIdx()
            if i == root or i in side:
                continue
            if i in cyclic or len(side) > 11:
                return set()
            side.add(i)
            todo.append(i)
    return side


def _sound(mol: Chem.RWMol) -> Chem.Mol | None:
    """The molecule, sanitised; None if it breaks the rules of valence."""
    with rdBase.BlockLogs():
        if Chem.SanitizeMol(mol, catchErrors=True) != Chem.SanitizeFlags.SANITIZE_NONE:
            return None
        Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
    return mol.GetMol()


def _free(mol: Chem.Mol, elements: tuple[int, ...] = (6, 7, 8, 16)) -> list[int]:
    """The atoms that have a hydrogen to give."""
    return [
        a.GetIdx()
        for a in mol.GetAtoms()
        if a.GetTotalNumHs() and a.GetAtomicNum() in elements and not a.GetFormalCharge()
    ]


def _hung(mol: Chem.Mol, at: int, atom: Chem.Atom, order: Chem.BondType) -> Chem.Mol | None:
    """The molecule with an atom more; None if there is no room for it."""
    grown = Chem.RWMol(mol)
    root = grown.GetAtomWithIdx(at)
    if root.GetNumExplicitHs():
        root.SetNumExplicitHs(root.GetNumExplicitHs() - 1)
    root.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    grown.AddBond(at, grown.AddAtom(atom), order)
    return _sound(grown)


def _of(part: str, rng: np.random.Generator) -> Chem.Mol:
    """One of the molecules of a part of ``lessons.txt``."""
    return Chem.MolFromSmiles(str(rng.choice(_PARTS[part])))


def _pick(rng: np.random.Generator, found: list[int]) -> int:
    return found[int(rng.integers(len(found)))]


# --- the lessons ----------------------------------------------------------------------------------


def _labelled(corpus: Corpus, rng: np.random.Generator) -> Chem.Mol | None:
    """A scaffold with one to four texts on it."""
    dice = random.Random(int(rng.integers(1 << 62)))
    mol = _scaffold(corpus, rng)
    written: dict[int, Text] = {}
    for _ in range(int(rng.choice([1, 2, 3, 4], p=[0.3, 0.34, 0.22, 0.14]))):
        if dice.random() < 0.15:
            between = [
                a.GetIdx()
                for a in mol.GetAtoms()
                if a.GetDegree() == 2
                and not a.GetIsAromatic()
                and a.GetIdx() not in written
                and all(b.GetBondType() == Chem.BondType.SINGLE for b in a.GetBonds())
            ]
            if between:
                written[_pick(rng, between)] = dice.choice(_BRIDGES)
                continue
        places = [i for i in _free(mol) if i not in written]
        if not places:
            break
        grown = _hung(mol, _pick(rng, places), Chem.Atom(6), Chem.BondType.SINGLE)
        if grown is not None:
            mol = grown
            written[mol.GetNumAtoms() - 1] = text(dice)
    if dice.random() < 0.11:
        beside = dice.choice(_BESIDE)
        written[mol.GetNumAtoms()] = (beside, beside)
        mol = Chem.CombineMols(mol, Chem.MolFromSmiles("C"))
        Chem.SanitizeMol(mol)
    for i, (forward, backward) in written.items():
        if dice.random() < 0.15:
            backward = forward  # noqa: PLW2901  not everyone turns a text round
        mol.GetAtomWithIdx(i).SetProp(WRITTEN, forward)
        mol.GetAtomWithIdx(i).SetProp(TURNED, backward)
    if rng.random() < 0.5:
        set_stereo(mol, rng)
        if rng.random() < 0.5:
            mol = stereocentres_with_hydrogens(mol, rng, 1.0)
    return mol


_RINGS = (6, 6, 6, 6, 5, 5, 7, 4, 3)  # sizes of rings that are fused
_ON_FUSED = ("O", "O", "O", "=O", "=O", "C", "F", "Cl", "N", "OC", "C(C)C", "C(=O)O", "OC(C)=O")
_CHAINS = "C(C)CCCC(C)C C(C)C=CC(C)C C(=O)CO C(C)=O C#C C(C)CCC(=O)O C(C)=C C=C".split()


def fused(rng: np.random.Generator) -> Chem.Mol | None:
    """Two to five saturated rings, each fused to the one before, with groups and random stereo, as
    steroids and terpenes are; None if what chance makes is no sound molecule.
    """
    mol = Chem.RWMol()
    size = int(rng.choice(_RINGS[:6]))
    for i in range(size):
        mol.AddAtom(Chem.Atom(6))
        if i:
            mol.AddBond(i - 1, i, Chem.BondType.SINGLE)
    mol.AddBond(size - 1, 0, Chem.BondType.SINGLE)
    last = list(range(size))
    for _ in range(int(rng.choice([1, 2, 3, 4], p=[0.2, 0.3, 0.4, 0.1]))):
        edges = [
            (a, b)
            for a, b in zip(last, (*last[1:], last[0]), strict=True)
            if mol.GetAtomWithIdx(a).GetDegree() == 2 and mol.GetAtomWithIdx(b).GetDegree() == 2
        ]
        if not edges:
            break
        a, b = edges[int(rng.integers(len(edges)))]
        ring = [a]
        for _ in range(int(rng.choice(_RINGS)) - 2):
            new = mol.AddAtom(Chem.Atom(6))
            mol.AddBond(ring[-1], new, Chem.BondType.SINGLE)
            ring.append(new)
        mol.AddBond(ring[-1], b, Chem.BondType.SINGLE)
        last = [*ring, b]
    joints = {a.GetIdx() for a in mol.GetAtoms() if a.GetDegree() > 2}
    for bond in list(mol.GetBonds()):  # double bonds, none beside another at one atom
        ends = (bond.GetBeginAtom(), bond.GetEndAtom())
        if rng.random() < 0.1 and all(
            b.GetBondType() == Chem.BondType.SINGLE for end in ends for b in end.GetBonds()
        ):
            bond.SetBondType(Chem.BondType.DOUBLE)
    has_chain = False
    for atom in [mol.GetAtomWithIdx(i) for i in range(mol.GetNumAtoms())]:
        is_flat = any(b.GetBondType() == Chem.BondType.DOUBLE for b in atom.GetBonds())
        pick = rng.random()
        if atom.GetIdx() in joints:
            if not is_flat and pick < 0.32:
                group = str(rng.choice(["C", "C", "C", "O", "F", "C=O"]))
                mol = grown(mol, atom.GetIdx(), group)
        elif not is_flat and pick < 0.1:
            atom.SetAtomicNum(int(rng.choice([8, 7, 8, 16])))
        elif not is_flat and pick < 0.34:
            group = str(rng.choice(_ON_FUSED))
            if rng.random() < 0.25 and not has_chain:
                group, has_chain = str(rng.choice(_CHAINS)), True
            mol = grown(mol, atom.GetIdx(), group)
    found = _sound(mol)
    if found is not None:
        set_stereo(found, rng)
    return found


def _steroid(rng: np.random.Generator) -> Chem.Mol | None:
    """A steroid with random stereo, now and then with sugars on it."""
    made = steroid(rng)
    if made is not None and rng.random() < 0.15:
        made = glycoside(made, rng, 2) or made
    if made is not None:
        set_stereo(made, rng)
    return made


def _stereo(corpus: Corpus, rng: np.random.Generator) -> Chem.Mol | None:
    """A molecule with stereo marks; now and then fused rings with hydrogens drawn on them."""
    is_fused = rng.random() < 0.6
    if is_fused and rng.random() < 0.65:
        made = _steroid(rng) if rng.random() < 0.45 else fused(rng)
        if made is not None and rng.random() < 0.85:
            made = stereocentres_with_hydrogens(made, rng, float(rng.choice([0.6, 1.0, 1.0])))
        return made
    for _ in range(TRIES):
        smiles = corpus.smiles()
        centres = smiles.count("@]") + smiles.count("@@") + smiles.count("@H")
        if centres < (5 if is_fused else 1) or len(smiles) > (110 if is_fused else 60):
            continue
        mol = drawable(smiles)
        if mol is None or mol.GetNumHeavyAtoms() > MEDIUM + 6 * is_fused:
            continue
        if is_fused:
            joints = sum(
                len(a.GetBonds()) > 2 and mol.GetRingInfo().NumAtomRings(a.GetIdx()) > 1
                for a in mol.GetAtoms()
            )
            if joints < 4:
                continue
        if rng.random() < (0.85 if is_fused else 0.25):
            mol = stereocentres_with_hydrogens(mol, rng, float(rng.choice([0.6, 1.0])))
        return mol
    return None


def _charged(mol: Chem.Mol, rng: np.random.Generator) -> Chem.Mol | None:
    changed = Chem.RWMol(mol)
    pick = rng.random()
    if pick < 0.4:  # an anion, or an ammonium ion, where there is a hydrogen to take or to add
        places = _free(mol, (7, 8, 16)) or _free(mol)
        if not places:
            return None
        atom = changed.GetAtomWithIdx(_pick(rng, places))
        is_plus = atom.GetAtomicNum() == 7 and not atom.GetIsAromatic()
        atom.SetFormalCharge(1 if is_plus else -1)
        if atom.GetNumExplicitHs() and not is_plus:
            atom.SetNumExplicitHs(atom.GetNumExplicitHs() - 1)
        found = _sound(changed)
    elif pick < 0.75:
        places = _free(mol)
        if not places:
            return None
        group = _of("charged", rng)
        found = _joined(mol, _pick(rng, places), group)
    else:  # an N-oxide or a quaternary ring nitrogen
        rings = [
            a.GetIdx()
            for a in mol.GetAtoms()
            if a.GetAtomicNum() == 7
            and not a.GetTotalNumHs()
            and not a.GetFormalCharge()
            and a.GetDegree() < 4
            and a.GetTotalValence() == 3
        ]
        if not rings:
            return None
        at = _pick(rng, rings)
        changed.GetAtomWithIdx(at).SetFormalCharge(1)
        end = Chem.Atom(8 if rng.random() < 0.5 else 6)
        end.SetFormalCharge(-1 if end.GetAtomicNum() == 8 else 0)
        changed.AddBond(at, changed.AddAtom(end), Chem.BondType.SINGLE)
        found = _sound(changed)
    if found is not None and rng.random() < 0.3:
        found = Chem.CombineMols(found, _of("counterions", rng))
        Chem.SanitizeMol(found)
    return found


def _joined(mol: Chem.Mol, at: int, group: Chem.Mol) -> Chem.Mol | None:
    """A molecule with a group on one of its atoms, by the group's first atom."""
    both = Chem.RWMol(Chem.CombineMols(mol, group))
    root = both.GetAtomWithIdx(at)
    if root.GetNumExplicitHs():
        root.SetNumExplicitHs(root.GetNumExplicitHs() - 1)
    first = both.GetAtomWithIdx(mol.GetNumAtoms())
    if first.GetNumExplicitHs() and first.GetFormalCharge() <= 0 and first.GetAtomicNum() != 6:
        first.SetNumExplicitHs(first.GetNumExplicitHs() - 1)
    root.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    both.AddBond(at, mol.GetNumAtoms(), Chem.BondType.SINGLE)
    return _sound(both)


def _isotopic(mol: Chem.Mol, rng: np.random.Generator) -> Chem.Mol | None:
    numbers = {
        6: (13, 13, 14, 11),
        7: (15, 15, 13),
        8: (18, 17, 15),
        9: (18,),
        17: (36, 37),
        16: (35, 34),
        35: (76, 77, 82),
        53: (123, 125, 131, 124),
        15: (32, 33),
    }
    if rng.random() < 0.45:  # deuterium, tritium
        at = _free(mol)
        if not at:
            return None
        atom = Chem.Atom(1)
        atom.SetIsotope(int(rng.choice([2, 2, 2, 3])))
        return _hung(mol, _pick(rng, at), atom, Chem.BondType.SINGLE)
    changed = Chem.RWMol(mol)
    for _ in range(int(rng.integers(1, 4))):
        atom = changed.GetAtomWithIdx(int(rng.integers(mol.GetNumAtoms())))
        if atom.GetAtomicNum() in numbers:
            atom.SetIsotope(int(rng.choice(numbers[atom.GetAtomicNum()])))
    return _sound(changed)


def _radical(mol: Chem.Mol, rng: np.random.Generator) -> Chem.Mol | None:
    places = _free(mol, (6, 7, 8, 16))
    if not places:
        return None
    changed = Chem.RWMol(mol)
    atom = changed.GetAtomWithIdx(_pick(rng, places))
    atom.SetNumExplicitHs(max(atom.GetTotalNumHs() - 1, 0))
    atom.SetNoImplicit(True)
    atom.SetNumRadicalElectrons(1)
    return _sound(changed)


def _open(mol: Chem.Mol, rng: np.random.Generator) -> Chem.Mol | None:
    """With one to three attachment points."""
    found: Chem.Mol | None = mol
    for _ in range(int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))):
        places = _free(mol)
        if not places:
            return None
        found = _hung(mol, _pick(rng, places), Chem.Atom(0), Chem.BondType.SINGLE)
        if found is None:
            return None
        mol = found
    return found


def _with_hydrogens(mol: Chem.Mol, rng: np.random.Generator) -> Chem.Mol | None:
    """Hydrogens of heteroatoms as atoms with bonds of their own, as some databases draw them."""
    share = float(rng.choice([0.5, 1.0]))
    shown = [i for i in _free(mol, (7, 8, 16)) if rng.random() < share]
    return Chem.AddHs(mol, onlyOnAtoms=shown) if shown else None


_BRANCHES = ("", *"(C) (O) (N) (=O) (Cl) ([NH3+]) (CC) (Br) (C(=O)[O-])".split())
_CHAIN_ENDS = (
    "",
    "",
    *"C(=O)O C(=O)[O-] C(=O)[O-] [NH3+] c1ccccc1 C(=[NH2+])N [O-] S C(N)=O".split(),
)
SPELT = "molgaze.spelt"  # property of a molecule: every atom of it is written, chains are straight


def _spelt(rng: np.random.Generator) -> Chem.Mol | None:
    """A small chain as textbooks spell it: straight, right angles, all its carbons written."""
    chain = rng.choice(list("CCCCCCNOS"), size=int(rng.integers(1, 7)))
    smiles = ""
    for k, element in enumerate(chain):
        branch = str(rng.choice(_BRANCHES)) if element == "C" and rng.random() < 0.45 else ""
        double = "=" if k and element == "C" and not branch and rng.random() < 0.06 else ""
        smiles += double + element + branch
    smiles += str(rng.choice(_CHAIN_ENDS))
    mol = drawable(smiles)
    if mol is None:
        return None
    if rng.random() < 0.3:
        set_stereo(mol, rng)
    if rng.random() < 0.4:  # COO and NH3 as texts, their charges at the end
        places = _free(mol, (6,))
        grown = (
            _hung(mol, _pick(rng, places), Chem.Atom(6), Chem.BondType.SINGLE) if places else None
        )
        if grown is not None:
            mol = grown
            forward, backward = str(rng.choice(["COO-|-OOC", "NH3+|+H3N", "CO2-|-O2C"])).split("|")
            mol.GetAtomWithIdx(mol.GetNumAtoms() - 1).SetProp(WRITTEN, forward)
            mol.GetAtomWithIdx(mol.GetNumAtoms() - 1).SetProp(TURNED, backward)
    elif mol.GetNumHeavyAtoms() < 7 and rng.random() < 0.6:
        mol = Chem.AddHs(mol)
    mol.SetProp(SPELT, "")
    return mol


def _marked(corpus: Corpus, rng: np.random.Generator) -> Chem.Mol | None:
    """A scaffold with charges, isotopes, radicals, attachment points or drawn hydrogens."""
    if rng.random() < 0.15:
        return _spelt(rng)
    mol: Chem.Mol | None = _scaffold(corpus, rng)
    changes = (_charged, _isotopic, _open, _radical, _with_hydrogens)
    for change in rng.choice(5, size=int(rng.integers(1, 3)), p=[0.4, 0.18, 0.22, 0.06, 0.14]):
        if mol is None:
            return None
        mol = changes[int(change)](mol, rng)
    return mol


#: (element, its bonds) -> rare elements that may stand in its place
_SWAPS = {
    (6, 4): (14, 14, 32, 50, 50, 82),
    (6, 3): (14, 14, 5),
    (6, 2): (14, 34),
    (7, 3): (15, 33, 15, 5, 51),
    (8, 2): (34, 52, 16, 34),
    (16, 2): (34, 52, 34),
    (7, 2): (15, 34),
    (6, 1): (53, 35, 3, 5),
    (17, 1): (53, 35),
}


def _swapped(mol: Chem.Mol, rng: np.random.Generator) -> Chem.Mol | None:
    """With one or two atoms of rare elements instead of common ones."""
    changed = Chem.RWMol(mol)
    atoms = [
        a
        for a in changed.GetAtoms()
        if (a.GetAtomicNum(), a.GetDegree()) in _SWAPS
        and not a.GetIsAromatic()
        and not a.GetFormalCharge()
        and all(b.GetBondTypeAsDouble() == 1 for b in a.GetBonds())
    ]
    if not atoms:
        return None
    for _ in range(int(rng.integers(1, 3))):
        atom = atoms[int(rng.integers(len(atoms)))]
        rare = _SWAPS.get((atom.GetAtomicNum(), atom.GetDegree()))
        if rare:
            atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
            atom.SetNoImplicit(False)
            atom.SetNumExplicitHs(0)
            atom.SetAtomicNum(int(rng.choice(rare)))
    return _sound(changed)


def _with_metal(mol: Chem.Mol, rng: np.random.Generator) -> Chem.Mol | None:
    places = _free(mol)
    if not places:
        return None
    return _joined(mol, _pick(rng, places), _of("metals", rng))


def _bearing(_: Chem.Mol, rng: np.random.Generator) -> Chem.Mol | None:
    """A metal or a rare element alone, with its ligands round it."""
    atom, count = str(rng.choice(_PARTS["atoms"])).split(":")
    few = [str(ligand) for ligand in rng.choice(_PARTS["ligands"], size=2)]
    if atom == "[Pt]":  # cisplatin and its like are kept for checks
        few = [{"N": "NC"}.get(ligand, ligand) for ligand in few]
    size = int(count) - (rng.random() < 0.2)
    ligands = [few[int(rng.random() < 0.4)] for _ in range(max(size, 1))]
    if atom.startswith("P") and any(ligand[0] == "P" for ligand in ligands):
        return None
    if size == 2 and rng.random() < 0.12:  # two of them with oxygen between
        return drawable(f"{few[0]}{atom}O{atom}{few[0]}")
    return drawable(atom + "".join(f"({ligand})" for ligand in ligands[:-1]) + ligands[-1])


def _salt(_: Chem.Mol, rng: np.random.Generator) -> Chem.Mol | None:
    """Small ions beside one another."""
    return _of("salts", rng)


_UNITS_OF_RINGS = {
    **{"C": 0.5, "O": 0.05, "N": 0.05, "S": 0.02, "C(=O)": 0.06, "/C=C/": 0.03, "C(C)": 0.1},
    **{"C(O)": 0.08, "C(CC)": 0.02, "C(OC)": 0.03, "N(C)": 0.02, "C(C)(O)": 0.02, "C(=C)": 0.02},
}  # what rings are made of, and how often
_RESIDUES = (
    *("C", "C(C)", "C(C(C)C)", "C(CC(C)C)", "C(C(C)CC)", "C(Cc1ccccc1)", "C(CO)", "C(CC)"),
    *("C(CC(N)=O)", "C(C(C)O)", "C(CCC(=O)O)", "C(Cc1ccc(O)cc1)", "C(CCCCN)", "C(CS)"),
)  # of amino acids, between their nitrogen and their carbonyl


def _macrocycle(_: Chem.Mol, rng: np.random.Generator) -> Chem.Mol | None:
    """A ring of nine to twenty-four atoms: crown ethers, lactones with sugars, cyclic peptides."""
    pick = rng.random()
    if pick < 0.25:
        unit = str(rng.choice(_PARTS["units"]))
        smiles = unit * int(rng.integers(3, 8 if len(unit) < 5 else 6))
        cut = 1 if smiles[0] == "C" else 0
        return drawable(f"C1{smiles[cut:]}1" if smiles[-1] != ")" else f"C1{smiles[cut:]}O1")
    if pick < 0.5:
        found = drawable(_cyclic_peptide(rng))
    else:
        size = int(rng.integers(9, 19))
        units = rng.choice(list(_UNITS_OF_RINGS), size=size, p=list(_UNITS_OF_RINGS.values()))
        found = drawable("C1" + "".join(units) + ("C(=O)O1" if rng.random() < 0.5 else "C1"))
        if found is not None and rng.random() < 0.35:
            found = glycoside(found, rng, 2) or found
    if found is not None and rng.random() < 0.65:
        set_stereo(found, rng)
        if rng.random() < 0.25:
            found = stereocentres_with_hydrogens(found, rng, float(rng.choice([0.5, 1.0])))
    return found


def _cyclic_peptide(rng: np.random.Generator) -> str:
    """SMILES of a ring of three to seven amino acids, some of them methylated."""
    residues = rng.choice(_RESIDUES, size=int(rng.integers(3, 8)))
    methylated = rng.random() < 0.5
    bonds = ["N(C)" if methylated and rng.random() < 0.5 else "N" for _ in residues]
    first, *others = [
        f"{bond}{residue}C(=O)" for bond, residue in zip(bonds, residues, strict=True)
    ]
    ring = first[0] + "9" + first[1:] + "".join(others)
    return ring.removesuffix("C(=O)") + "C9=O"


def _alkynic(mol: Chem.Mol, rng: np.random.Generator) -> Chem.Mol | None:
    places = _free(mol)
    if not places:
        return None
    return _joined(mol, _pick(rng, places), _of("stiff", rng))


def _caged(mol: Chem.Mol, rng: np.random.Generator) -> Chem.Mol | None:
    """A cage of any make, or a common one, alone or on a molecule."""
    pick = rng.random()
    found = cage(rng) if pick < 0.5 else _of("cages", rng) if pick < 0.72 else hang(mol, rng)
    if found is None or rng.random() < 0.5:
        return found
    if sum(len(ring) < 5 for ring in found.GetRingInfo().AtomRings()) < 3:  # no cubane
        set_stereo(found, rng)
        for atom in found.GetAtoms():
            if atom.GetAtomicNum() == 7:  # bridgeheads that nobody marks
                atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
        Chem.AssignStereochemistry(found, cleanIt=True, force=True)
        if rng.random() < 0.6:
            found = stereocentres_with_hydrogens(found, rng, float(rng.choice([0.6, 1.0, 1.0])))
    return found


def _tiny(_: Chem.Mol, rng: np.random.Generator) -> Chem.Mol | None:
    """One to three atoms, which stand alone in textbooks: methane, ammonia, carbon dioxide."""
    return _of("tiny", rng)


def _rare(corpus: Corpus, rng: np.random.Generator) -> Chem.Mol | None:
    """A scaffold with what is rare in lists of molecules."""
    changes = (_swapped, _with_metal, _bearing, _macrocycle, _alkynic, _caged, _tiny, _salt)
    change = changes[int(rng.choice(8, p=[0.15, 0.1, 0.14, 0.12, 0.09, 0.3, 0.05, 0.05]))]
    return change(_scaffold(corpus, rng), rng)


_COORDGEN = {"stereo": 0.5, "rare": 0.35}  # share of a lesson's layouts that CoordGen makes
_LESSONS: Mapping[str, Callable[[Corpus, np.random.Generator], Chem.Mol | None]] = {
    "label": _labelled,
    "piece": lambda corpus, rng: _piece(corpus, rng, MEDIUM - 4),
    "stereo": _stereo,
    "mark": _marked,
    "rare": _rare,
}


def _look(kind: str, heavy: int, rng: np.random.Generator) -> Style:
    """A random style that shows what the lesson is about."""
    look = style(rng, heavy)
    small = rng.random() < (0.25 if kind == "label" else 0.12)
    look = replace(
        look,
        size=float(rng.uniform(0.22, 0.36) if small else rng.uniform(0.36, 0.62)),
        clutter=float(rng.random() < 0.08),
        bare=False,
    )
    if kind == "label":
        return replace(look, variables=0.0, abbreviations=0.0)
    if kind == "piece":
        return replace(look, abbreviations=0.97, chains=rng.random() < 0.12)
    if kind == "stereo":
        return replace(
            look,
            waves=rng.random() < 0.2,
            abbreviations=look.abbreviations / 2,
            methyls=look.methyls if rng.random() < 0.6 else 0.0,  # texts would hide the wedges
            carbons=0.0,
        )
    if kind == "mark":
        look = replace(look, abbreviations=0.0, circled_charges=rng.random() < 0.3)
        return replace(look, charges_away=rng.uniform(0.1, 1.2) if rng.random() < 0.15 else 0.0)
    return look


def _spelt_look(heavy: int, rng: np.random.Generator) -> Style:
    """A style in which every atom is written; its charges often stand off, in circles."""
    return replace(
        _look("mark", heavy, rng),
        size=float(rng.uniform(0.25, 0.42)),
        circles=False,
        methyls=1.0,
        carbons=1.0,
        stacked=0.0,
        circled_charges=rng.random() < 0.5,
        charges_away=float(rng.uniform(0.1, 1.4)) if rng.random() < 0.6 else 0.0,
    )


def upright(mol: Chem.Mol, rng: np.random.Generator) -> Drawing | None:
    """A drawing in which chains are straight and every atom of them is written, as in the formulas
    of older patents; None if the molecule has no chain, or can't be laid out so.
    """
    chain = sum(a.GetAtomicNum() == 6 and not a.IsInRing() for a in mol.GetAtoms())
    look = _look("piece", mol.GetNumHeavyAtoms(), rng)
    if chain < 2 or not lay_upright(mol, rng, look.size):
        return None
    return own(
        mol,
        rng,
        replace(
            look,
            chains=True,
            inline=rng.random() < 0.8,
            turned=rng.random() < 0.15,
            stacked=0.0,
            waves=False,
            abbreviations=float(rng.choice([0.0, 0.4, 0.9], p=[0.6, 0.2, 0.2])),
            bond=look.bond * float(rng.uniform(0.7, 1.1)),
        ),
    )


def drawn(kind: str, corpus: Corpus, rng: np.random.Generator) -> Drawing:
    """A drawing of a kind.

    Args:
        kind: one of KINDS.
        corpus: where molecules come from.
        rng: all chance comes from here.
    """
    if kind == "whole":
        whole = next(corpus)
        typed = upright(Chem.Mol(whole), rng) if rng.random() < UPRIGHT else None
        return typed or hand(whole, rng)
    if kind == "surrounded":
        return surrounded(hand(next(corpus), rng), lambda: hand(next(corpus), rng), rng)
    if kind == "nothing":
        return photograph(rng) if rng.random() < 0.3 else nothing(rng)
    for _ in range(20):
        with rdBase.BlockLogs():
            mol = _LESSONS[kind](corpus, rng)
            if mol is None or not mol.GetNumAtoms():
                continue
            if kind == "piece" and rng.random() < 0.4 and (typed := upright(mol, rng)):
                return typed
            if mol.HasProp(SPELT):
                look = _spelt_look(mol.GetNumHeavyAtoms(), rng)
                if lay_upright(mol, rng, look.size):
                    return own(mol, rng, look)
                continue
            if not layout(mol, rng, _COORDGEN.get(kind, 0.25)):
                continue
        pick = rng.random()
        try:
            if pick < (0.4 if kind == "stereo" else 0.25):
                return rdkit(mol, rng)
            if pick > 0.94 and kind != "label":
                return indigo(mol, rng)
            look = _look(kind, mol.GetNumHeavyAtoms(), rng)
            made = own(mol, rng, look)
            if kind == "rare" and rng.random() < INTERRUPTED:
                line = max(look.line * look.bond, 1.0)
                interrupt(made.ink, made.graph.places, made.graph.bonds, made.bond, line, rng)
            return made
        except (DrawingError, ValueError, RuntimeError):
            continue  # what a program can't draw is passed over: the next is as good
    return hand(next(corpus), rng)  # the corpus has nothing for this lesson
