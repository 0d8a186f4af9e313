"""A drawn graph -> an RDKit molecule with stereo, names and molfile.

Places are pixels with y down, conformers are the same numbers with y up (negated).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from rdkit import Chem, Geometry, rdBase
from rdkit.Chem import rdinchi

from .components import median
from .finding import Finding, Kind
from .graft import NUMBER, graft
from .origin import atoms_of, bonds_of, forget, named, source, spot, trace, trace_bond
from .stereo import MARK, WEDGES, perceive, wedge_as_drawn
from .valence import FILLED, cure, write_oxides
from .walk import ATOM_PATTERN, Graph

V2000_ATOMS = 999
NUMBERED = "_numbered"  # property of an atom: its number while hydrogens were atoms, too
BONDS = {
    "-": Chem.BondType.SINGLE,
    "w": Chem.BondType.SINGLE,
    "h": Chem.BondType.SINGLE,
    "~": Chem.BondType.SINGLE,
    "=": Chem.BondType.DOUBLE,
    "x": Chem.BondType.DOUBLE,
    "#": Chem.BondType.TRIPLE,
    "$": Chem.BondType.QUADRUPLE,
    ":": Chem.BondType.AROMATIC,
    "d": Chem.BondType.DATIVE,
    "?": Chem.BondType.UNSPECIFIED,
}


class MoleculeError(ValueError):
    """The graph is none: no atoms, a bond that cannot be, an element that there is not."""


class Hydrogen(NamedTuple):
    """A drawn hydrogen at the wide end of a wedge, which only the molfile has as an atom.

    Attributes:
        bearer: the atom of the molecule that it is bonded to, from 0.
        kind: of the wedge, a key of :data:`molgaze.stereo.WEDGES`.
        place: (x, y) in pixels, y up.
        source: its atom of the graph.
    """

    bearer: int
    kind: str
    place: tuple[float, float]
    source: int


@dataclass(frozen=True)
class Molecule:
    """What a graph stands for.

    Attributes:
        mol: with a 2D conformer: x as in the picture, y its negative (pixels); sanitised if
            ``valid``.
        smiles: RDKit canonical, full stereo; equal to ``Chem.CanonSmiles`` of the same molecule if
            ``valid``, else what RDKit writes, which it may not read.
        findings: what was read otherwise than drawn, and what is at fault.
        atoms: for each atom of mol the atom of the graph that it came from.
        valid: whether it obeys the rules of valence and its circles have a Kekulé form.
        hydrogens: those on wedges, which are no atoms of mol.
    """

    mol: Chem.Mol
    smiles: str
    findings: tuple[Finding, ...]
    atoms: tuple[int, ...]
    valid: bool = True
    hydrogens: tuple[Hydrogen, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The messages of the findings."""
        return tuple(dict.fromkeys(finding.message for finding in self.findings))

    # Made when they are asked for: of several attempts at a picture all but one are discarded.

    @cached_property
    def cxsmiles(self) -> str | None:
        """With the labels that plain SMILES cannot hold; None if there are none."""
        labelled = any(a.HasProp("atomLabel") for a in atoms_of(self.mol))
        return _cxsmiles(self.mol) if labelled else None

    @property
    def molfile(self) -> str:
        """V2000, or V3000 above 999 atoms or bonds; coordinates of the conformer.

        Wedges are on the bonds that were drawn as wedges. After the atoms of mol come those of
        ``hydrogens``, since else their wedges would have to be on other bonds.
        """
        return self._written[0]

    @property
    def molfile_atoms(self) -> tuple[int, ...]:
        """For each atom of the molfile the atom of the graph that it came from."""
        return self.atoms + tuple(hydrogen.source for hydrogen in self._written[1])

    @cached_property
    def _written(self) -> tuple[str, tuple[Hydrogen, ...]]:
        return _molfile(self.mol, self.smiles, self.valid, self.hydrogens)

    @cached_property
    def inchikey(self) -> str | None:
        """None where InChI has no answer: labels left as dummy atoms, or not ``valid``."""
        if not self.valid:
            return None
        with rdBase.BlockLogs():
            return rdinchi.MolToInchiKey(self.mol) or None


def molecule(graph: Graph, *, expand: bool = True) -> Molecule:
    """Turn a graph with places into a molecule.

    A valence that no certain repair cures, or a circle without a Kekulé form, withholds nothing:
    the molecule is then not ``valid``, and a finding names the atom.

    Args:
        graph: atoms, places (n, 2) in pixels with y down, and bonds.
        expand: put the atoms that a label stands for in its place; else a label that stands for two
            heavy atoms or more stays a dummy atom with the label as its alias.

    Raises:
        MoleculeError: no atoms, a bond that cannot be, or an unknown element.
    """
    findings: list[Finding] = []
    with rdBase.BlockLogs():
        mol = _build(graph, expand, findings)
        valid = cure(mol, findings)
        try:
            _place(mol)
            perceive(mol, valid, findings)
            return _finish(mol, valid, findings)
        except (RuntimeError, ValueError) as err:  # MolSanitizeException is a ValueError
            raise MoleculeError(f"RDKit refuses the molecule: {_first_line(err)}") from err


def _first_line(err: Exception) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0]


def _build(graph: Graph, expand: bool, findings: list[Finding]) -> Chem.RWMol:
    """Atoms, bonds (kind in the property ``_kind``), labels replaced by their fragments."""
    if not graph.atoms:
        raise MoleculeError("no atoms")
    places = np.asarray(graph.places, dtype=np.float64)
    if places.shape != (len(graph.atoms), 2) or not np.isfinite(places).all():
        raise MoleculeError(f"{len(graph.atoms)} atoms need as many finite places (x, y)")
    mol = Chem.RWMol()
    labels: list[int] = []
    for i, text in enumerate(graph.atoms):
        atom = _atom(text)
        if atom is None:
            if not (text.startswith("[") and text.endswith("]") and len(text) > 2):
                raise MoleculeError(f"atom {i + 1}: unknown element {text!r}")
            labels.append(i)
            atom = Chem.Atom(0)
        trace(atom, i, (float(places[i, 0]), -float(places[i, 1])))
        mol.AddAtom(atom)
    for a, b, kind in graph.bonds:
        if not (0 <= a < len(graph.atoms) and 0 <= b < len(graph.atoms)) or kind not in BONDS:
            raise MoleculeError(f"no such bond: {(a, b, kind)}")
        if a == b or mol.GetBondBetweenAtoms(a, b) is not None:
            raise MoleculeError(f"{named(mol.GetAtomWithIdx(a))}: bonded to itself or twice to one")
        mol.AddBond(a, b, BONDS[kind])
        bond = mol.GetBondBetweenAtoms(a, b)
        trace_bond(bond, kind)
        if kind == ":":
            bond.SetIsAromatic(True)
            bond.GetBeginAtom().SetIsAromatic(True)
            bond.GetEndAtom().SetIsAromatic(True)
    scale = _bond_length(graph)
    gone = []
    for i in labels:
        text, glyphs = graph.atoms[i][1:-1], graph.glyphs.get(i)
        if graft(mol, i, text, glyphs, scale, expand, findings):
            gone.append(i)
    for i in sorted(gone, reverse=True):
        mol.RemoveAtom(i)
    write_oxides(mol)
    return mol


def _atom(text: str) -> Chem.Atom | None:
    """An element with dots and charge; None for a label or anything else."""
    match = ATOM_PATTERN.match(text)
    if match is None:
        return None
    element, dots, size, sign = match.groups()
    isotope = {"D": 2, "T": 3}.get(element, 0)
    number = 1 if isotope else NUMBER.get(element)
    if number is None:
        return None
    atom = Chem.Atom(number)
    if isotope:
        atom.SetIsotope(isotope)
    if sign:
        atom.SetFormalCharge(int(size or 1) * (1 if sign == "+" else -1))
    if dots:
        atom.SetNumRadicalElectrons(len(dots))
    if element not in FILLED:
        atom.SetNoImplicit(True)
    return atom


def _bond_length(graph: Graph) -> float:
    places = np.asarray(graph.places, np.float64).tolist()
    lengths = [math.dist(places[a], places[b]) for a, b, _ in graph.bonds]
    return (median(lengths) if lengths else 0.0) or 20.0


def _place(mol: Chem.RWMol) -> None:
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.Set3D(False)
    conformer.SetPositions(np.array([(*spot(atom), 0.0) for atom in atoms_of(mol)]))
    mol.RemoveAllConformers()
    mol.AddConformer(conformer, assignId=True)


def _finish(drawn: Chem.RWMol, valid: bool, findings: list[Finding]) -> Molecule:
    for i, atom in enumerate(atoms_of(drawn)):
        atom.SetIntProp(NUMBERED, i)
    mol = Chem.RemoveHs(drawn, sanitize=valid)
    kept = atoms_of(mol)
    hydrogens = _on_wedges(drawn, {a.GetIntProp(NUMBERED): i for i, a in enumerate(kept)})
    atoms = tuple(source(a) for a in kept)
    forget(mol)
    for atom in kept:
        atom.ClearProp(NUMBERED)
        if atom.GetAtomicNum():
            atom.SetAtomMapNum(0)
    if not valid:
        mol.UpdatePropertyCache(strict=False)
    smiles = Chem.MolToSmiles(mol)
    again = Chem.MolFromSmiles(smiles)
    if again is not None:
        smiles = Chem.MolToSmiles(again)
    elif valid:
        why = "RDKit does not read its own SMILES of this molecule"
        findings.append(Finding(Kind.SMILES, why, ()))
    return Molecule(mol, smiles, tuple(dict.fromkeys(findings)), atoms, valid, hydrogens)


def _on_wedges(drawn: Chem.Mol, kept: dict[int, int]) -> tuple[Hydrogen, ...]:
    """The hydrogens at the wide ends of wedges that are no atoms of the molecule any more.

    Args:
        drawn: with all atoms.
        kept: for each atom that the molecule still has, its number there.
    """
    return tuple(
        Hydrogen(
            kept[bond.GetBeginAtomIdx()],
            bond.GetProp(MARK),
            spot(bond.GetEndAtom()),
            source(bond.GetEndAtom()),
        )
        for bond in bonds_of(drawn)
        if bond.HasProp(MARK)
        and bond.GetBeginAtomIdx() in kept
        and bond.GetEndAtomIdx() not in kept
    )


def _molfile(
    mol: Chem.Mol, smiles: str, valid: bool, hydrogens: tuple[Hydrogen, ...]
) -> tuple[str, tuple[Hydrogen, ...]]:
    """The molfile, and the hydrogens that are atoms of it."""
    copy = Chem.RWMol(mol)
    # RDKit writes only a query bond as "any" (8); an unspecified one becomes an illegal 0.
    for i in [b.GetIdx() for b in bonds_of(copy) if b.GetBondType() == Chem.BondType.UNSPECIFIED]:
        copy.ReplaceBond(i, Chem.MolFromSmarts("*~*").GetBondWithIdx(0))
    if "@" in smiles:  # else Indigo, OpenChemLib and others take it for a racemate
        copy.SetIntProp("_MolFileChiralFlag", 1)
    block = _block(copy, valid)
    if not valid or not (hydrogens or any(bond.HasProp(MARK) for bond in bonds_of(copy))):
        return block, ()
    # RDKit chooses the bonds that are wedged; those that were drawn so are to be.
    wedge_as_drawn(copy, {hydrogen.bearer for hydrogen in hydrogens})
    for bearer, kind, place, _ in hydrogens:
        hydrogen_count = copy.GetAtomWithIdx(bearer).GetNumExplicitHs()
        copy.GetAtomWithIdx(bearer).SetNumExplicitHs(max(hydrogen_count - 1, 0))
        added = copy.AddAtom(Chem.Atom(1))
        copy.AddBond(bearer, added, Chem.BondType.SINGLE)
        copy.GetBondBetweenAtoms(bearer, added).SetBondDir(WEDGES[kind])
        copy.GetConformer().SetAtomPosition(added, Geometry.Point3D(*place, 0.0))
    as_drawn = _block(copy, valid)
    with rdBase.BlockLogs():
        given, told = (Chem.MolFromMolBlock(text) for text in (block, as_drawn))
    if None in (given, told) or Chem.MolToSmiles(given) != Chem.MolToSmiles(told):
        return block, ()
    return as_drawn, hydrogens


def _block(mol: Chem.Mol, valid: bool) -> str:
    large = mol.GetNumAtoms() > V2000_ATOMS or mol.GetNumBonds() > V2000_ATOMS
    return str(Chem.MolToMolBlock(mol, kekulize=valid, forceV3000=large))


def _cxsmiles(mol: Chem.Mol) -> str:
    fields = Chem.CXSmilesFields
    text = Chem.MolToCXSmiles(
        mol, Chem.SmilesWriteParams(), int(fields.CX_ATOM_LABELS | fields.CX_RADICALS)
    )
    return str(text)
