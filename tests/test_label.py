"""label.py: the table of abbreviations and the labels that are read by it or as formulas."""

import csv
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import rdAbbreviations

from molgaze import label

HERE = Path(__file__).parent
#: Every name of the table with a compound of the group, written apart from the table, and its name.
COMPOUNDS = list(csv.DictReader((HERE / "abbreviations.csv").read_text("utf-8").splitlines()))
#: Groups as they are written to the right and to the left of a ring; R groups have no molecule.
GROUPS = list(csv.DictReader((HERE / "labels.csv").read_text("utf-8").splitlines()))

FORWARDS = {
    "CO2Et": "*C(=O)OCC",
    "COOH": "*C(=O)O",
    "NHBoc": "*NC(=O)OC(C)(C)C",
    "SO2NH2": "*S(N)(=O)=O",
    "(CH2)3CH3": "*CCCC",
    "OC2H5": "*OCC",
    "t-Bu": "*C(C)(C)C",
    "C(CH3)3": "*C(C)(C)C",
    "CONHCH3": "*C(=O)NC",
    "N(CH3)2": "*N(C)C",
    "SiMe3": "*[Si](C)(C)C",
    "CN": "*C#N",
    "CHO": "*C=O",
    "B(OH)2": "*B(O)O",
    "P(O)(OEt)2": "*P(=O)(OCC)OCC",
    "PO(OEt)2": "*P(=O)(OCC)OCC",
    "OSO2CF3": "*OS(=O)(=O)C(F)(F)F",
    "CO2-": "*C(=O)[O-]",
    "NH3+": "*[NH3+]",
    "N+(CH3)3": "*[N+](C)(C)C",
    "NMe3+": "*[N+](C)(C)C",
    "SO3Na": "*S(=O)(=O)[O-].[Na+]",
    "NH3+Cl-": "*[NH3+].[Cl-]",
    "13CH3": "*[13CH3]",
    "CD3": "*C([2H])([2H])[2H]",
    "18F": "*[18F]",
    "131I": "*[131I]",
    "NO2": "*[N+](=O)[O-]",
    "N3": "*N=[N+]=[N-]",
    "CH=CH2": "*C=C",
    "CHCH2": "*C=C",
    "CCH": "*C#C",
    "NCO": "*N=C=O",
    "SOCH3": "*S(C)=O",
    "C(=NH)NH2": "*C(=N)N",
    "(OCH2CH2)3OMe": "*OCCOCCOCCOC",
    "n-C8H17": "*CCCCCCCC",
    "C6H5": "*c1ccccc1",
    "N(i-Pr)2": "*N(C(C)C)C(C)C",
    "OSiMe2tBu": "*O[Si](C)(C)C(C)(C)C",
    "Gly": "*NCC(=O)O",
    "Cl": "*Cl",
    "C02H": "*C(=O)O",
    "OC6H4-4-Cl": "*Oc1ccc(Cl)cc1",
    "C6H4OMe-p": "*c1ccc(OC)cc1",
    "m-ClC6H4": "*c1cccc(Cl)c1",
    "SO2Na": "*S(=O)[O-].[Na+]",
    "OPO3Na2": "*OP(=O)([O-])[O-].[Na+].[Na+]",
    "CH2BF3K": "*C[B-](F)(F)F.[K+]",
    "OFc": "*O[c-]1cccc1.[Fe+2].c1cc[cH-]c1",
    "NH2HCl": "*N.Cl",
    "NH3Cl": "*[NH3+].[Cl-]",
    "CO2OH": "*C(=O)OO",
    "OOH": "*OO",
    "HCl.H2N": "*N.Cl",
    "OBu-t": "*OC(C)(C)C",
    "Pr-i": "*C(C)C",
    "H5C2O": "*OCC",
    "TFA": "*C(=O)C(F)(F)F",
    "BMIDA": "*[B-]12OC(=O)C[N+]1(C)CC(=O)O2",
    "C=CH": "*C#C",
    "C#CPh": "*C#Cc1ccccc1",
    "OCH213C(O)OH": "*OC[13C](=O)O",
    "C(2H)3": "*C([2H])([2H])[2H]",
    "O2SMe": "*S(C)(=O)=O",
}

BACKWARDS = {
    "EtO2C": "*C(=O)OCC",
    "CH3O2C": "*C(=O)OC",
    "CH3OOC": "*C(=O)OC",
    "BocHN": "*NC(=O)OC(C)(C)C",
    "F3C": "*C(F)(F)F",
    "MeO": "*OC",
    "H3CO": "*OC",
    "CH3O": "*OC",
    "O2N": "*[N+](=O)[O-]",
    "Me2N": "*N(C)C",
    "(CH3CH2)2N": "*N(CC)CC",
    "TBDMSO": "*O[Si](C)(C)C(C)(C)C",
    "NC": "*C#N",
    "OHC": "*C=O",
    "HOOC": "*C(=O)O",
    "(HO)2B": "*B(O)O",
    "(EtO)2P(O)": "*P(=O)(OCC)OCC",
    "CH3CO": "*C(C)=O",
    "CH3CONH": "*NC(C)=O",
    "CF3CH2O": "*OCC(F)(F)F",
    "EtO2CCH2O": "*OCC(=O)OCC",
    "NCCH2": "*CC#N",
    "H3C(H2C)3": "*CCCC",
    "HO(CH2)3": "*CCCO",
    "-O2C": "*C(=O)[O-]",
    "+H3N": "*[NH3+]",
    "OCN": "*N=C=O",
    "AcOCH2CO": "*C(=O)COC(C)=O",
    "PhS(O)CH2": "*CS(=O)c1ccccc1",
    "H17C8O": "*OCCCCCCCC",
    "H5C6": "*c1ccccc1",
    "(pin)B": "*B1OC(C)(C)C(C)(C)O1",
    "HC=C": "*C#C",
    "HC#C": "*C#C",
    "H2C=HC": "*C=C",
    "ClH3N": "*[NH3+].[Cl-]",
    "Na+-O": "*[O-].[Na+]",
    "H313C": "*[13CH3]",
    "HOCH2CH2O": "*OCCO",
    "HOH2CH2CO": "*OCCO",
    "MeO2CCH2CH2": "*CCC(=O)OC",
    "CH3OCO": "*C(=O)OC",
    "HOCMe2CH2": "*CC(C)(C)O",
}

BRIDGES = {
    ("SO2", (1, 1)): "*S(*)(=O)=O",
    ("CO", (1, 1)): "*C(*)=O",
    ("NMe", (1, 1)): "*N(*)C",
    ("MeN", (1, 1)): "*N(*)C",
    ("N-Me", (1, 1)): "*N(*)C",
    ("NBoc", (1, 1)): "*N(*)C(=O)OC(C)(C)C",
    ("(CH2)3", (1, 1)): "*CCC*",
    ("C(CH3)2", (1, 1)): "*C(*)(C)C",
    ("NOH", (2,)): "*=NO",
    ("NMe", (2,)): "*=NC",
    ("CH2", (2,)): "*=C",
    ("N2", (2,)): "*=[N+]=[N-]",
    ("N", (1, 1, 1)): "*N(*)*",
    ("P(O)", (1, 1, 1)): "*P(*)(*)=O",
    ("PO2H", (1, 1)): "*P(*)(=O)O",
    ("N+", (1, 1, 2)): "*[N+](*)=*",
    ("HCl", ()): "Cl",
    ("2HCl", ()): "Cl.Cl",
    ("NaOH", ()): "[Na+].[OH-]",
    ("Fe3+", ()): "[Fe+3]",
    ("H2O", ()): "O",
    ("CH3OH", ()): "CO",
    ("BH4-", ()): "[BH4-]",
    ("CF3CO2H", ()): "OC(=O)C(F)(F)F",
    ("Boc-Gly-OMe", ()): "CC(C)(C)OC(=O)NCC(=O)OC",
    ("H-Ala-OH", ()): "C[C@H](N)C(=O)O",
}

#: A formula with an R group, the fragment with numbered R groups as isotopes, the other labels.
WITH_VARIABLES = [
    ("OR3", "*O[3*]", ["_R3"]),
    ("R4O", "*O[4*]", ["_R4"]),
    ("NHR", "*N*", ["R"]),
    ("NR1R2", "*N([1*])[2*]", ["_R1", "_R2"]),
    ("NR2", "*N(*)*", ["R", "R"]),
    ("N(R1)2", "*N([1*])[1*]", ["_R1", "_R1"]),
    ("CO2R", "*OC(*)=O", ["R"]),
    ("RO2C", "*OC(*)=O", ["R"]),
    ("CONR2R3", "*C(=O)N([2*])[3*]", ["_R2", "_R3"]),
    ("SiR3", "*[Si](*)(*)*", ["R", "R", "R"]),
    ("CH2X", "*C*", ["X"]),
    ("OAr", "*O*", ["Ar"]),
    ("SO2NHHet", "*NS(*)(=O)=O", ["Het"]),
    ("NHR'", "*N*", ["R'"]),
]

VARIABLES = "R RR R1 R' R10 R1a Ra X Y Z Ar Ar1 Q Hal Het (R1)n (CH2)n (CH2)nOH"


def unmapped(mol):
    for atom in mol.GetAtoms():
        atom.SetAtomMapNum(0)
    return Chem.CanonSmiles(Chem.MolToSmiles(mol))


@pytest.mark.parametrize(("text", "smiles"), FORWARDS.items())
def test_bond_at_the_first_glyph(text, smiles):
    assert unmapped(label.fragment(text)) == Chem.CanonSmiles(smiles)


@pytest.mark.parametrize(("text", "smiles"), BACKWARDS.items())
def test_bond_at_the_last_glyph(text, smiles):
    assert unmapped(label.fragment(text, (1,), first=False)) == Chem.CanonSmiles(smiles)


@pytest.mark.parametrize(("case", "smiles"), BRIDGES.items())
def test_other_numbers_of_bonds(case, smiles):
    assert unmapped(label.fragment(*case)) == Chem.CanonSmiles(smiles)


def test_a_bridge_keeps_left_and_right():
    for text in ("CONH", "HNOC"):
        mol = label.fragment(text, (1, 1))
        bearers = {a.GetAtomMapNum(): a.GetNeighbors()[0].GetSymbol() for a in mol.GetAtoms()}
        left, right = ("C", "N") if text == "CONH" else ("N", "C")
        assert (bearers[1], bearers[2]) == (left, right)


def test_the_end_that_bears_the_bond_decides():
    assert unmapped(label.fragment("NC", (1,), first=True)) == Chem.CanonSmiles("*[N+]#[C-]")
    assert unmapped(label.fragment("SCN", (1,), first=True)) == Chem.CanonSmiles("*SC#N")
    assert unmapped(label.fragment("SCN", (1,), first=False)) == Chem.CanonSmiles("*N=C=S")


@pytest.mark.parametrize(
    "text",
    VARIABLES.split(),
)
def test_variables_are_no_fragments(text):
    assert label.is_variable(text)
    assert label.fragment(text) is None


@pytest.mark.parametrize("text", ["CO2Et", "Ac", "Rh", "Ph", "", "Zr", "XYZ(", "qq"])
def test_what_is_no_variable(text):
    assert not label.is_variable(text)


@pytest.mark.parametrize(("text", "smiles", "names"), WITH_VARIABLES)
def test_r_groups_in_formulas(text, smiles, names):
    assert label.is_variable(text)
    mol = label.fragment(text)
    found = [a.GetProp("atomLabel") for a in mol.GetAtoms() if a.HasProp("atomLabel")]
    assert sorted(found) == sorted(names)
    assert unmapped(mol) == Chem.CanonSmiles(smiles)


IMPOSSIBLE = (
    "CH CH5 NMe qqq (( C( N) Boc2 O4 OAl PO2 PO3H AcH TsH HAc C6H4 C6H4Cl CH2CI OCHs OCn CH2CH2"
    " CH2CH2O PCl5 O2 C=SiMe2 OCH22H CSi CH=Sn SnCH GeC CBMe PO SiO OB CHSiMe2 COMe2 NH2Me SO4Me"
    " OCH2O2H HO2CH2O"
)


@pytest.mark.parametrize("text", ["", *IMPOSSIBLE.split()])
def test_the_impossible_is_none(text):
    assert label.fragment(text) is None
    assert label.fragment(text, (1,), first=False) is None


def test_isotopes_stand_in_front_of_their_element():
    assert label.fragment("OCH2O2H") is None
    assert unmapped(label.fragment("2H3C")) == Chem.CanonSmiles("*C([2H])([2H])[2H]")
    assert unmapped(label.fragment("C2H5")) == "*CC"


def test_no_multiple_bonds_to_silicon():
    assert unmapped(label.fragment("CCSiMe3")) == "*C#C[Si](C)(C)C"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("C02H", "CO2H"),
        ("B0C", "Boc"),
        ("Dnns", None),
        ("TlPS", "TIPS"),
        ("CH2CI", None),
        ("OCHs", None),
    ],
)
def test_only_names_of_the_table_are_respelled_and_never_in_silence(text, name):
    found = label.expand(text)
    if name is None:
        assert found is None or found.text == text
    else:
        assert found.text == name != text
        assert unmapped(found.mol) == unmapped(label.fragment(name))


# --- the table ------------------------------------------------------------------------------------


def capped(smiles, cap):
    """A group of the table with atoms on its bonds, to be compared with a compound."""
    mol = Chem.MolFromSmiles(smiles)
    for atom in mol.GetAtoms():
        if atom.GetAtomicNum() == 0:
            element = {"peptide": "HHO"[atom.GetAtomMapNum()]}.get(cap, cap.lstrip("="))
            atom.SetAtomicNum(Chem.Atom(element).GetAtomicNum())
            atom.SetAtomMapNum(0)
            atom.SetNoImplicit(False)
    return Chem.CanonSmiles(Chem.MolToSmiles(mol))


def bonds_of(name, cap):
    if cap == "alone":
        return 0
    return 2 if cap == "peptide" or name.endswith("-C6H4") else 1


@pytest.mark.parametrize("row", COMPOUNDS, ids=[row["names"].split()[0] for row in COMPOUNDS])
def test_every_name_of_the_table_is_the_group_of_its_compound(row):
    smiles = {(entry.name, entry.smiles.count("*")): entry.smiles for entry in label.TABLE}
    for name in row["names"].split():
        bonds = bonds_of(name, row["cap"])
        assert capped(smiles[name, bonds], row["cap"]) == Chem.CanonSmiles(row["compound"]), name


def test_every_name_of_the_table_has_a_compound():
    listed = [(n, bonds_of(n, row["cap"])) for row in COMPOUNDS for n in row["names"].split()]
    assert sorted(listed) == sorted((entry.name, entry.smiles.count("*")) for entry in label.TABLE)
    assert len(listed) > 450


def test_every_name_of_the_table_reads_as_itself():
    for entry in label.TABLE:
        orders = (2,) if entry.smiles.startswith("*=") else (1,) * entry.smiles.count("*")
        mol = label.fragment(entry.name, orders)
        assert unmapped(mol) == Chem.CanonSmiles(re.sub(r":\d", "", entry.smiles)), entry.name
        assert entry.side in ("left", "right", "any", "alone")
        assert entry.source


def test_names_that_rdkit_knows():
    # In RDKit iBu and iPent are branched next to their bond, which they are not.
    compared = 0
    for known in rdAbbreviations.GetDefaultAbbreviations():
        expected = Chem.CanonSmiles(Chem.MolToSmiles(known.mol))
        mol = label.fragment(known.label, (1,) * expected.count("*"))
        if mol is not None and known.label not in ("iBu", "iPent"):
            assert unmapped(mol) == expected, known.label
            compared += 1
    assert compared >= 25


def test_amino_acids_have_the_hands_of_rdkits():
    letters = "GAVLIFYWSTCMDENQKRHP"
    names = (
        "Gly Ala Val Leu Ile Phe Tyr Trp Ser Thr Cys Met Asp Glu Asn Gln Lys Arg His Pro".split()
    )
    for letter, name in zip(letters, names, strict=True):
        acid = Chem.MolToSmiles(Chem.MolFromSequence(letter))
        assert Chem.MolToSmiles(label.fragment(f"H-{name}-OH", ())) == acid
        assert capped(label.DICTIONARY[name], "peptide") == acid


def test_the_dictionary_holds_what_is_written_from_left_to_right():
    assert label.DICTIONARY["Boc"] == "*C(=O)OC(C)(C)C"
    assert label.DICTIONARY["TFA"] == "*C(=O)C(F)(F)F"
    assert label.DICTIONARY["DMF"] == "CN(C)C=O"
    assert "pinB" not in label.DICTIONARY


@pytest.mark.parametrize("row", GROUPS, ids=[row["right"] for row in GROUPS])
def test_groups_of_every_day_both_ways_round(row):
    for text, first in ((row["right"], True), (row["left"], False)):
        mol = label.fragment(text, (1,), first)
        if row["group"]:
            assert unmapped(mol) == Chem.CanonSmiles(row["group"]), text
        else:
            assert mol is None
            assert label.is_variable(text)


def test_the_answer_is_the_callers_own():
    first = label.fragment("OMe")
    first.GetAtomWithIdx(0).SetAtomMapNum(7)
    assert Chem.MolToSmiles(label.fragment("OMe")) == "CO[*:1]"


GLYPHS = "CHNOSPBFIRXlreuaoctPhM0123456789()+-,.'/*=#"
ORDERS = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.text(alphabet=GLYPHS, max_size=24), st.text(max_size=12)), ORDERS, st.booleans()
)
def test_no_text_raises(text, orders, first):
    mol = label.fragment(text, orders, first)
    label.is_variable(text)
    if mol is not None:
        dummies = [a for a in mol.GetAtoms() if a.GetAtomicNum() == 0]
        maps = sorted(a.GetAtomMapNum() for a in dummies if not a.HasProp("atomLabel"))
        assert maps == list(range(1, len(orders) + 1))
