"""Files of SMILES to laid-out molecules, ready to be drawn."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdCoordGen, rdDepictor

from .cages import bridged, draw_in_space, hang

MAX_HEAVY = 80
HELD_OUT = 200  # every 200th line is never trained on
SEEN_IN_SPACE = 0.4  # share of the cages
ADDED_LATER = 0.4  # share of the molecules with hydrogens that are laid out without them


def read_smiles(path: Path, held_out: bool = False) -> list[str]:
    """The SMILES of a file, one a line, ``.gz`` or plain; what follows a blank is a name.

    Every HELD_OUT-th line is kept apart: ``held_out`` asks for those instead of the others.
    """
    return list(_smiles(path, held_out))


def _smiles(path: Path, held_out: bool = False) -> Iterator[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for i, line in enumerate(lines):
            if line.strip() and (i % HELD_OUT == 0) == held_out:
                yield line.split()[0]


def drawable(smiles: str) -> Chem.Mol | None:
    """The molecule of a SMILES; None if it is not valid, or too large to be drawn."""
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    return mol if mol is not None and 1 <= mol.GetNumHeavyAtoms() <= MAX_HEAVY else None


def layout(mol: Chem.Mol, rng: np.random.Generator, coordgen: float = 0.25) -> bool:
    """Give a molecule 2D coordinates by one of several methods; False if none are sound.

    ``coordgen``: share of the layouts that CoordGen makes, which puts the hydrogens of fused rings
    inside the rings; of cages, most of those that are not seen in space.
    """
    is_later = mol.GetNumAtoms() > mol.GetNumHeavyAtoms() and rng.random() < ADDED_LATER
    if is_later and _with_hydrogens_later(mol, rng, coordgen):
        return True
    pick = rng.random()
    with rdBase.BlockLogs():
        is_caged = bool(bridged(mol))
        if is_caged and rng.random() < SEEN_IN_SPACE and draw_in_space(mol, rng):
            pass
        elif pick < (max(coordgen, 0.55) if is_caged else coordgen):
            try:
                rdCoordGen.AddCoords(mol)
            except (RuntimeError, ValueError):
                return False
        else:
            rdDepictor.Compute2DCoords(
                mol, canonOrient=pick < 0.6, useRingTemplates=pick > 0.8, clearConfs=True
            )
    if rng.random() < 0.3:
        _fold_oxides(mol, rng)
    if rng.random() < 0.3:
        _cross_ends(mol, rng)
    if rng.random() < 0.7:
        _part_fragments(mol, rng)
    return _is_legible(mol)


def _with_hydrogens_later(mol: Chem.Mol, rng: np.random.Generator, coordgen: float) -> bool:
    """Lay a molecule out without its hydrogens, which then go where there is room, on shorter
    bonds, as RDKit does before it draws; False if no sound layout comes of it.
    """
    hydrogens = {a.GetIdx() for a in mol.GetAtoms() if a.GetAtomicNum() == 1}
    with rdBase.BlockLogs():
        bare = Chem.RemoveHs(mol)
        heavy = [i for i in range(mol.GetNumAtoms()) if i not in hydrogens]
        if bare.GetNumAtoms() != len(heavy):  # deuterium, hydrogen itself
            return False
        if not layout(bare, rng, coordgen):
            return False
        new = {old: i for i, old in enumerate(heavy)}
        roots = [mol.GetAtomWithIdx(i).GetNeighbors()[0].GetIdx() for i in sorted(hydrogens)]
        if len(set(roots)) < len(roots):
            return False
        whole = Chem.AddHs(bare, addCoords=True, onlyOnAtoms=[new[i] for i in roots])
    if whole.GetNumAtoms() != mol.GetNumAtoms():
        return False
    places = whole.GetConformer().GetPositions()
    added = {
        whole.GetAtomWithIdx(i).GetNeighbors()[0].GetIdx(): i
        for i in range(len(heavy), whole.GetNumAtoms())
    }
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.Set3D(False)
    for i in range(mol.GetNumAtoms()):
        at = new[i] if i in new else added[new[mol.GetAtomWithIdx(i).GetNeighbors()[0].GetIdx()]]
        conformer.SetAtomPosition(i, [float(v) for v in places[at]])
    mol.RemoveAllConformers()
    mol.AddConformer(conformer, assignId=True)
    return _is_legible(mol)


def _is_legible(mol: Chem.Mol) -> bool:
    """True if no two atoms of a layout are on top of one another, which nobody can read.

    The programs make bonds of different lengths, 1 or 1.5, so that distances are told in bonds.
    CoordGen's hydrogens inside rings are 0.4 bonds away from their atom, and the two methyls on the
    bridge of bornane 0.17 bonds from each other; both are printed, and read.
    """
    xy = mol.GetConformer().GetPositions()[:, :2]
    if not np.isfinite(xy).all():
        return False
    gaps = np.linalg.norm(xy[:, None] - xy[None], axis=-1)
    np.fill_diagonal(gaps, np.inf)
    if gaps.min() > 0.35 * 1.5:
        return True
    if mol.GetNumBonds():
        bonds = ((b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds())
        first, second = np.array(list(bonds)).T
        gaps /= max(float(np.median(gaps[first, second])), 1e-9)
        if gaps[first, second].min() < 0.3:
            return False
    else:
        gaps /= 1.5
    near = np.argwhere(np.triu(gaps < 0.4))
    for a, b in near.tolist():
        if mol.GetBondBetweenAtoms(a, b) is not None:
            continue
        if all(mol.GetAtomWithIdx(i).GetAtomicNum() != 6 for i in (a, b)):
            return False  # their texts are on top of one another
        beside = {n.GetIdx() for n in mol.GetAtomWithIdx(a).GetNeighbors()}
        is_pair = any(n.GetIdx() in beside for n in mol.GetAtomWithIdx(b).GetNeighbors())
        if gaps[a, b] < (0.15 if is_pair else 0.3):
            return False
    return True


def _fold_oxides(mol: Chem.Mol, rng: np.random.Generator) -> None:
    """Bring the two oxygens of sulfonyls to one side, as a V, which many chemists draw."""
    conformer = mol.GetConformer()
    for atom in mol.GetAtoms():
        if atom.GetAtomicNum() not in (15, 16) or atom.GetDegree() != 4:
            continue
        around = [a.GetIdx() for a in atom.GetNeighbors()]
        oxygens = [
            i
            for i in around
            if mol.GetAtomWithIdx(i).GetDegree() == 1
            and mol.GetBondBetweenAtoms(atom.GetIdx(), i).GetBondTypeAsDouble() == 2
        ]
        if len(oxygens) != 2:
            continue
        middle = conformer.GetPositions()[atom.GetIdx(), :2]
        others = [conformer.GetPositions()[i, :2] - middle for i in around if i not in oxygens]
        unit = float(np.linalg.norm(others[0]))
        away = -(others[0] + others[1])
        if np.linalg.norm(away) < 0.4 * unit:  # a straight chain: to either side of it
            away = np.array([-others[0][1], others[0][0]]) * (1 if rng.random() < 0.5 else -1)
        base = math.atan2(away[1], away[0])
        half = float(rng.uniform(0.42, 0.8))
        length = unit * float(rng.uniform(0.8, 1.0))
        for i, turn in zip(oxygens, (half, -half), strict=True):
            x, y = middle + length * np.array([math.cos(base + turn), math.sin(base + turn)])
            conformer.SetAtomPosition(i, (float(x), float(y), 0.0))


def set_stereo(mol: Chem.Mol, rng: np.random.Generator) -> None:
    """Give a flat molecule random tetrahedral stereo."""
    centres = Chem.FindMolChiralCenters(  # type: ignore[no-untyped-call]
        mol, includeUnassigned=True, useLegacyImplementation=False
    )
    for i, tag in centres:
        if tag == "?":
            way = (
                Chem.ChiralType.CHI_TETRAHEDRAL_CW
                if rng.random() < 0.5
                else (Chem.ChiralType.CHI_TETRAHEDRAL_CCW)
            )
            mol.GetAtomWithIdx(i).SetChiralTag(way)
    Chem.AssignStereochemistry(mol, cleanIt=True, force=True)


def _cross(mol: Chem.Mol, rng: np.random.Generator) -> None:
    """Make the stereo of double bonds unknown, for a hand to cross them."""
    for element in Chem.FindPotentialStereo(mol):
        if element.type == Chem.StereoType.Bond_Double and rng.random() < 0.8:
            mol.GetBondWithIdx(element.centeredOn).SetStereo(Chem.BondStereo.STEREOANY)


def _hydrogens(mol: Chem.Mol, rng: np.random.Generator) -> Chem.Mol:
    """Draw some hydrogens as atoms: of stereocentres in rings, as natural-product chemists do, or
    of aldehydes, alkynes, alkenes and amides.
    """
    in_rings = rng.random() < 0.6
    share = 0.6 if in_rings else 0.35
    if in_rings and rng.random() < 0.5:
        return stereocentres_with_hydrogens(mol, rng, 0.9)

    def is_shown(atom: Chem.Atom) -> bool:
        if atom.GetTotalNumHs() != 1 or atom.GetFormalCharge():
            return False
        is_centre = atom.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED
        if in_rings:
            return is_centre and atom.IsInRing()
        is_flat = atom.GetHybridization() in (
            Chem.HybridizationType.SP,
            Chem.HybridizationType.SP2,
        )
        return is_flat and not (atom.GetIsAromatic() and atom.GetAtomicNum() == 6)

    shown = [a.GetIdx() for a in mol.GetAtoms() if is_shown(a) and rng.random() < share]
    return Chem.AddHs(mol, onlyOnAtoms=shown) if shown else mol


def stereocentres_with_hydrogens(mol: Chem.Mol, rng: np.random.Generator, share: float) -> Chem.Mol:
    """With the hydrogens of a share of the stereocentres in rings as atoms; as often as not only
    where rings meet, as RDKit and PubChem draw them.
    """
    least = 2 if rng.random() < 0.5 else 1
    rings = mol.GetRingInfo()
    shown = [
        atom.GetIdx()
        for atom in mol.GetAtoms()
        if atom.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED
        and atom.GetTotalNumHs() == 1
        and rings.NumAtomRings(atom.GetIdx()) >= least
        and rng.random() < share
    ]
    return Chem.AddHs(mol, onlyOnAtoms=shown) if shown else mol


def _iodinate(mol: Chem.Mol, rng: np.random.Generator) -> None:
    """Put iodine, rare and easily taken for a line, in the place of another halogen."""
    halogens = [a for a in mol.GetAtoms() if a.GetAtomicNum() in (9, 17, 35) and a.GetDegree() == 1]
    if halogens:
        halogens[int(rng.integers(len(halogens)))].SetAtomicNum(53)


def _fluorinate(mol: Chem.Mol, rng: np.random.Generator) -> Chem.Mol:
    """Turn a methyl into CF3, which small print makes look like CH3."""
    methyls = [a.GetIdx() for a in mol.GetAtoms() if a.GetDegree() == 1 and a.GetTotalNumHs() == 3]
    methyls = [i for i in methyls if mol.GetAtomWithIdx(i).GetAtomicNum() == 6]
    if not methyls:
        return mol
    grown = Chem.RWMol(mol)
    carbon = methyls[int(rng.integers(len(methyls)))]
    for _ in range(3):
        grown.AddBond(carbon, grown.AddAtom(Chem.Atom(9)), Chem.BondType.SINGLE)
    grown.GetAtomWithIdx(carbon).SetNoImplicit(False)
    grown.GetAtomWithIdx(carbon).SetNumExplicitHs(0)
    with rdBase.BlockLogs():
        Chem.SanitizeMol(grown)
    return grown.GetMol()


PARTNERS = (
    *("Cl", "Cl", "Cl", "Cl", "Cl.Cl", "Cl.Cl", "Cl.Cl.Cl", "Br", "Br", "Br.Br", "I", "O", "O"),
    *("[Br-].[Br-]", "[I-].[I-]", "[Cl-].[Cl-]", "[Br-]", "[I-]", "[Na+].[Na+]", "[K+]", "[Ca+2]"),
    *("OS(O)(=O)=O", "OS(O)(=O)=O"),
    *("O.O", "O.O.O", "Cl.O", "CS(=O)(=O)O", "OS(=O)(=O)O", "OC(=O)C(F)(F)F", "OC(=O)C=CC(=O)O"),
    *(
        "OC(=O)/C=C/C(=O)O",
        "OC(=O)/C=C\\C(=O)O",
        "OC(=O)C(=O)O",
        "CC(=O)O",
        "O[N+](=O)[O-]",
        "OP(O)(O)=O",
    ),
    *("OC(=O)C(O)C(O)C(=O)O", "OC(=O)CC(O)(CC(=O)O)C(=O)O", "Cc1ccc(cc1)S(=O)(=O)O", "CO", "C(C)O"),
)  # of salts and solvates


def _salt(mol: Chem.Mol, rng: np.random.Generator) -> Chem.Mol:
    """Put an acid, water or the like beside a molecule."""
    text = PARTNERS[int(rng.integers(len(PARTNERS)))]
    return Chem.CombineMols(mol, Chem.MolFromSmiles(text))


def _part_fragments(mol: Chem.Mol, rng: np.random.Generator) -> None:
    """Move the smaller fragments away from the largest, most often to the right, in a row."""
    fragments = Chem.GetMolFrags(mol)
    if len(fragments) < 2:
        return
    conformer = mol.GetConformer()
    xy = conformer.GetPositions()[:, :2]
    first, *others = sorted(fragments, key=len, reverse=True)
    low, high = xy[list(first)].min(0), xy[list(first)].max(0)
    level = float(low[1] + (high[1] - low[1]) * rng.uniform(0.2, 0.8))
    side = 1 if rng.random() < 0.85 else -1
    edge = float(high[0] if side > 0 else low[0])
    for fragment in others:
        spots = xy[list(fragment)]
        edge += side * 1.5 * float(rng.uniform(1.2, 6.0))
        near = spots[:, 0].min() if side > 0 else spots[:, 0].max()
        shift = (edge - near, level - float(spots[:, 1].mean()))
        for i in fragment:
            conformer.SetAtomPosition(i, (xy[i, 0] + shift[0], xy[i, 1] + shift[1], 0.0))
        edge += side * float(np.ptp(spots[:, 0]))


def _cross_ends(mol: Chem.Mol, rng: np.random.Generator) -> None:
    """Draw CF3, CMe3 and the like as a cross, with right angles."""
    conformer = mol.GetConformer()
    for atom in mol.GetAtoms():
        around = atom.GetNeighbors()
        ends = [a.GetIdx() for a in around if a.GetDegree() == 1]
        if len(around) != 4 or len(ends) != 3 or rng.random() < 0.3:
            continue
        middle = conformer.GetPositions()[atom.GetIdx(), :2]
        (root,) = (a.GetIdx() for a in around if a.GetIdx() not in ends)
        away = middle - conformer.GetPositions()[root, :2]
        across = np.array([-away[1], away[0]])
        for i, way in zip(ends, (away, across, -across), strict=True):
            x, y = middle + way
            conformer.SetAtomPosition(i, (float(x), float(y), 0.0))


class Corpus:
    """An endless supply of laid-out molecules.

    Layouts cost more than drawings, so each is used ``uses`` times, far apart: molecules wait in
    a pool from which one is taken at random.
    """

    def __init__(
        self,
        files: Sequence[Path],
        seed: int | Sequence[int] = 0,
        shares: Sequence[float] = (),
        held_out: bool = False,
        pool: int = 2000,
        uses: int = 3,
    ) -> None:
        for path in files:
            if not any(map(drawable, _smiles(path))):
                raise ValueError(
                    f"{path}: holds no SMILES of 1 to {MAX_HEAVY} heavy atoms to learn from, one a "
                    f"line; the first line and every {HELD_OUT}th after it are kept apart, so give "
                    "a file with more lines"
                )
        self.files = [read_smiles(f, held_out) for f in files]
        if not any(any(map(drawable, lines)) for lines in self.files):
            raise ValueError(
                f"{', '.join(map(str, files))}: the first line and every {HELD_OUT}th after it are "
                f"kept apart to measure with, and none of these is a SMILES of 1 to {MAX_HEAVY} "
                "heavy atoms: take a heading off, or give a file with more lines"
            )
        if shares and len(shares) != len(self.files):
            raise ValueError(f"{len(shares)} shares for {len(self.files)} files")
        share = np.array(shares or [math.sqrt(len(f)) for f in self.files], dtype=np.float64)
        share *= [bool(lines) for lines in self.files]
        self.shares = np.cumsum(share / share.sum())
        self.rng = np.random.default_rng(seed)
        self.pool: list[Chem.Mol] = []
        self.left: list[int] = []
        self.pool_size, self.uses = pool, uses

    def smiles(self) -> str:
        """A line of the files at random."""
        lines = self.files[int(np.searchsorted(self.shares, self.rng.random()))]
        return lines[int(self.rng.integers(len(lines)))]

    def _fresh(self) -> Chem.Mol:
        """A new molecule with coordinates."""
        rng = self.rng
        while True:
            smiles = self.smiles()
            # long lines are rare in the files and hard to read: keep their share
            if len(smiles) < 25 and rng.random() < 0.35:
                continue
            mol = drawable(smiles)
            if mol is None:
                continue
            with rdBase.BlockLogs():
                if rng.random() < 0.035:
                    mol = hang(mol, rng)
                if rng.random() < 0.12:
                    set_stereo(mol, rng)
                if rng.random() < 0.22:
                    mol = _hydrogens(mol, rng)
                if rng.random() < 0.3:
                    _cross(mol, rng)
                if rng.random() < 0.06:
                    _iodinate(mol, rng)
                if rng.random() < 0.1:
                    mol = _fluorinate(mol, rng)
                if rng.random() < 0.1:
                    mol = _salt(mol, rng)
                if layout(mol, rng):
                    return mol

    def __iter__(self) -> Iterator[Chem.Mol]:
        return self

    def __next__(self) -> Chem.Mol:
        if len(self.pool) < self.pool_size and (len(self.pool) < 32 or self.rng.random() < 0.5):
            self.pool.append(self._fresh())
            self.left.append(self.uses)
        i = int(self.rng.integers(len(self.pool)))
        mol = self.pool[i]
        self.left[i] -= 1
        if not self.left[i]:
            self.pool[i], self.left[i] = self._fresh(), self.uses
        return mol
