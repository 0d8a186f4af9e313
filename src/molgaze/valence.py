"""Valences of a drawn molecule: what is certain is put right, the rest is told.

Atoms carry where they came from in the properties of :mod:`molgaze.origin`.
"""

from __future__ import annotations

from itertools import combinations

from rdkit import Chem

from .finding import Finding, Kind
from .origin import atoms_of, bonds_of, find, is_of_label

#: Elements that carry hydrogens which a drawing leaves out; a metal carries those drawn.
FILLED = frozenset(
    ("B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Ge", "As", "Se", "Br", "Te", "I")
)
#: Element -> number of single bonds that means a lost plus sign, since no drawing leaves out
#: the hydrogen of a hypervalent atom that has single bonds only.
ONIUM = {"S": 3, "Se": 3, "Te": 3, "P": 4, "As": 4, "Cl": 2, "Br": 2, "I": 2}
#: Element -> number of bonds, all single, that means a lost minus sign: PF6-, BF4-.
ATE = {"P": 6, "As": 6, "Sb": 6}
#: Most hydrogens that are added to the nitrogens of rings drawn with circles.
MOST_ADDED = 4


def write_oxides(mol: Chem.RWMol) -> None:
    """Arrows from N, P or S to a lone O: N+-O-, P=O, S=O, as RDKit and its SMILES hold them."""
    for bond in bonds_of(mol):
        if bond.GetBondType() != Chem.BondType.DATIVE:
            continue
        giver, taker = bond.GetBeginAtom(), bond.GetEndAtom()
        if taker.GetSymbol() != "O":
            continue
        if taker.GetDegree() > 1 or taker.GetFormalCharge() or giver.GetFormalCharge():
            continue
        if giver.GetSymbol() == "N":
            bond.SetBondType(Chem.BondType.SINGLE)
            giver.SetFormalCharge(1)
            taker.SetFormalCharge(-1)
        elif giver.GetSymbol() in ("P", "S", "As", "Se"):
            bond.SetBondType(Chem.BondType.DOUBLE)


def cure(mol: Chem.RWMol, findings: list[Finding]) -> bool:
    """Cure what can be cured with certainty, then sanitise; whether all is well then.

    What cannot be cured is a finding, and its atom keeps its bonds and hydrogens as they are.
    """
    mol.UpdatePropertyCache(strict=False)
    for atom in atoms_of(mol):
        lost = is_onium(atom) and not atom.GetNoImplicit()
        charge = int(lost) - int(_is_ate(atom))
        if charge and not is_of_label(atom):
            atom.SetFormalCharge(charge)
            read = f"read as {atom.GetSymbol()}{'+' if charge > 0 else '-'}"
            find(findings, Kind.CHARGE, atom, read)
    faults: set[int] = set()
    for _ in range(mol.GetNumAtoms() + 1):
        Chem.SanitizeMol(
            mol,
            Chem.SanitizeFlags.SANITIZE_CLEANUP
            | Chem.SanitizeFlags.SANITIZE_CLEANUP_ORGANOMETALLICS,
            catchErrors=True,
        )
        problem = next(
            (p for p in Chem.DetectChemistryProblems(mol) if _culprit(mol, p) not in faults), None
        )
        if problem is None:
            break
        culprit = _culprit(mol, problem)
        atom = mol.GetAtomWithIdx(culprit)
        if problem.GetType() in ("AtomValenceException", "AtomSanitizeException"):
            if _recharge(atom, findings):
                continue
            why = f"its bonds and hydrogens add up to {_valence(atom)}"
            why += f" at charge {atom.GetFormalCharge():+d}" if atom.GetFormalCharge() else ""
            find(findings, Kind.VALENCE, atom, why)
            atom.SetNoImplicit(True)
        elif problem.GetType() == "AtomKekulizeException":
            find(findings, Kind.CIRCLE, atom, "part of a circle but in no ring")
        elif not _kekulize(mol, findings):
            why = "no arrangement of double bonds fits the circle drawn in its ring"
            find(findings, Kind.CIRCLE, atom, why)
        else:
            continue
        faults.add(culprit)
    if not faults:
        try:
            Chem.SanitizeMol(Chem.RWMol(mol))
        except Chem.MolSanitizeException as err:  # what only making it aromatic shows
            culprit = _culprit(mol, getattr(err, "cause", err))
            faults.add(culprit)
            why = "its bonds and those of a circle add up to too many"
            find(findings, Kind.VALENCE, mol.GetAtomWithIdx(culprit), why)
    sanitise(mol, not faults)
    return not faults


def _culprit(mol: Chem.Mol, problem: Chem.MolSanitizeException) -> int:
    """The atom that a problem is about: of a ring without a Kekulé form the first."""
    if hasattr(problem, "GetAtomIdx"):
        return int(problem.GetAtomIdx())
    atoms = problem.GetAtomIndices() if hasattr(problem, "GetAtomIndices") else ()
    return int(min(atoms, default=0))


def sanitise(mol: Chem.RWMol, valid: bool) -> None:
    """Sanitise a molecule, without a look at valences and circles where these are at fault."""
    if valid:
        Chem.SanitizeMol(mol)
        return
    flags = Chem.SanitizeFlags
    mol.UpdatePropertyCache(strict=False)
    but_valences = flags.SANITIZE_ALL ^ flags.SANITIZE_PROPERTIES
    if Chem.SanitizeMol(mol, but_valences, catchErrors=True) != flags.SANITIZE_NONE:
        circles = flags.SANITIZE_KEKULIZE | flags.SANITIZE_SETAROMATICITY
        Chem.SanitizeMol(mol, but_valences ^ circles, catchErrors=True)


def is_onium(atom: Chem.Atom) -> bool:
    """Whether an atom has so many single bonds that it must have lost its plus sign."""
    return (
        ONIUM.get(atom.GetSymbol()) == atom.GetDegree()
        and not atom.GetFormalCharge()
        and not atom.GetNumRadicalElectrons()
        and not atom.GetIsAromatic()
        and all(b.GetBondType() == Chem.BondType.SINGLE for b in atom.GetBonds())
        and all(n.GetSymbol() in FILLED or n.GetAtomicNum() == 0 for n in atom.GetNeighbors())
    )


def _is_ate(atom: Chem.Atom) -> bool:
    return (
        ATE.get(atom.GetSymbol()) == atom.GetDegree()
        and not atom.GetFormalCharge()
        and all(b.GetBondType() == Chem.BondType.SINGLE for b in atom.GetBonds())
    )


def _valence(atom: Chem.Atom) -> int:
    total = sum(b.GetValenceContrib(atom) for b in atom.GetBonds()) + atom.GetNumExplicitHs()
    return int(total)


def _recharge(atom: Chem.Atom, findings: list[Finding]) -> bool:
    """Give an atom with one bond too many the charge that it must have; False if none is sure."""
    element, charge, valence = atom.GetSymbol(), atom.GetFormalCharge(), _valence(atom)
    if element == "N" and charge == 1 and valence == 5:
        # A nitro group whose plus was drawn and whose minus was lost.
        for bond in atom.GetBonds():
            other = bond.GetOtherAtom(atom)
            if (
                bond.GetBondType() == Chem.BondType.DOUBLE
                and other.GetSymbol() == "O"
                and other.GetDegree() == 1
                and not other.GetFormalCharge()
            ):
                bond.SetBondType(Chem.BondType.SINGLE)
                other.SetFormalCharge(-1)
                find(findings, Kind.CHARGE, atom, "nitro group read as charged")
                return True
        return False
    if charge:
        return False
    if (element, valence) in (("N", 4), ("O", 3)):
        atom.SetFormalCharge(1)
        find(findings, Kind.CHARGE, atom, f"read as {element}+")
        if element == "N":
            _counter(atom)
        return True
    if (element, valence) == ("B", 4):
        atom.SetFormalCharge(-1)
        find(findings, Kind.CHARGE, atom, "read as B-")
        return True
    return False


def _counter(atom: Chem.Atom) -> None:
    """The minus that goes with a lost plus on N: N-oxide, azide, diazo compound, isocyanide."""
    for bond in atom.GetBonds():
        other = bond.GetOtherAtom(atom)
        kind = (other.GetSymbol(), bond.GetBondType())
        if other.GetDegree() > 1 or other.GetFormalCharge() or other.GetNoImplicit():
            continue
        if kind in (
            ("O", Chem.BondType.SINGLE),
            ("N", Chem.BondType.DOUBLE),
            ("C", Chem.BondType.TRIPLE),
        ):
            other.SetFormalCharge(-1)
            return


def _kekulize(mol: Chem.RWMol, findings: list[Finding]) -> bool:
    """Find a Kekulé form for rings drawn with circles, with as few more NH as there must be."""
    nitrogens = [
        a
        for a in mol.GetAtoms()
        if a.GetSymbol() == "N"
        and a.GetIsAromatic()
        and a.GetDegree() == 2
        and not a.GetFormalCharge()
        and not a.GetTotalNumHs()
    ]
    nitrogens.sort(key=lambda atom: -sum(_is_carbonyl(other) for other in atom.GetNeighbors()))
    places = [atom.GetIdx() for atom in nitrogens]
    for count in range(1, min(MOST_ADDED, len(places)) + 1):
        for chosen in combinations(places[:10], count):
            trial = Chem.RWMol(mol)
            for i in chosen:
                trial.GetAtomWithIdx(i).SetNumExplicitHs(1)
            try:
                Chem.Kekulize(trial)
            except Chem.KekulizeException:
                continue
            for i in chosen:
                mol.GetAtomWithIdx(i).SetNumExplicitHs(1)
                find(findings, Kind.HYDROGENS, mol.GetAtomWithIdx(i), "read as NH")
            return True
    return False


def _is_carbonyl(atom: Chem.Atom) -> bool:
    """Whether a ring atom has a double bond to O or S outside of the ring."""
    return any(
        bond.GetBondType() == Chem.BondType.DOUBLE
        and bond.GetOtherAtom(atom).GetSymbol() in ("O", "S")
        for bond in atom.GetBonds()
    )
