"""Where the atoms and bonds of a molecule were drawn, kept as properties while it is being made."""

from __future__ import annotations

from rdkit import Chem

from .finding import Finding, Kind, name

PROPERTIES = ("_graph", "_x", "_y", "_label")


def atoms_of(mol: Chem.Mol) -> list[Chem.Atom]:
    """The atoms of a molecule, in a fifth of the time that ``GetAtoms`` takes to count them out."""
    return [mol.GetAtomWithIdx(i) for i in range(mol.GetNumAtoms())]


def bonds_of(mol: Chem.Mol) -> list[Chem.Bond]:
    """The bonds of a molecule, likewise."""
    return [mol.GetBondWithIdx(i) for i in range(mol.GetNumBonds())]


def trace(atom: Chem.Atom, source: int, place: tuple[float, float], of_label: bool = False) -> None:
    """Note of an atom from which atom of the graph it came, and its place.

    Args:
        atom: of the molecule.
        source: number of the atom of the graph, from 0.
        place: (x, y) in pixels, y up.
        of_label: whether it is of the fragment that a label stands for.
    """
    atom.SetIntProp("_graph", source)
    atom.SetDoubleProp("_x", place[0])
    atom.SetDoubleProp("_y", place[1])
    if of_label:
        atom.SetBoolProp("_label", True)


def source(atom: Chem.Atom) -> int:
    """The atom of the graph that an atom came from."""
    return int(atom.GetIntProp("_graph"))


def spot(atom: Chem.Atom) -> tuple[float, float]:
    """The place of an atom: (x, y) in pixels, y up."""
    return atom.GetDoubleProp("_x"), atom.GetDoubleProp("_y")


def is_of_label(atom: Chem.Atom) -> bool:
    """Whether an atom is of the fragment that a label stands for."""
    return bool(atom.HasProp("_label"))


def trace_bond(bond: Chem.Bond, kind: str) -> None:
    """Note of a bond as what it was drawn: a key of :data:`molgaze.walk.BOND_TOKENS`."""
    bond.SetProp("_kind", kind)


def kind_of(bond: Chem.Bond) -> str:
    """What a bond was drawn as; empty for one inside the fragment of a label."""
    return str(bond.GetProp("_kind")) if bond.HasProp("_kind") else ""


def forget(mol: Chem.Mol) -> None:
    """Clear all of these properties."""
    for atom in atoms_of(mol):
        for key in PROPERTIES:
            atom.ClearProp(key)
    for bond in bonds_of(mol):
        bond.ClearProp("_kind")


def named(atom: Chem.Atom) -> str:
    """How a message names an atom."""
    x, y = spot(atom)
    text = name(source(atom), atom.GetSymbol(), x, -y)
    return text + (" of a label" if is_of_label(atom) else "")


def find(findings: list[Finding], kind: Kind, atom: Chem.Atom, message: str) -> None:
    """Note a finding about one atom; its message begins with the atom's name."""
    findings.append(Finding(kind, f"{named(atom)}: {message}", (source(atom),)))
