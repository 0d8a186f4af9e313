import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

from molgaze import label

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
    "CH2CI": "*CCl",
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

VARIABLES = "R R1 R' R10 R1a Ra X Y Z Ar Ar1 Q Hal Het OR3 NR1R2 CO2R R4O (R1)n (CH2)n (CH2)nOH"


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


@pytest.mark.parametrize("text", ["", "CH", "CH5", "NMe", "qqq", "((", "C(", "N)", "Boc2", "O4"])
def test_the_impossible_is_none(text):
    assert label.fragment(text) is None


def test_every_entry_of_the_dictionary_reads_as_itself():
    assert len(label.DICTIONARY) >= 150
    for text, smiles in label.DICTIONARY.items():
        orders = (2,) if smiles.startswith("*=") else (1,) * smiles.count("*")
        mol = label.fragment(text, orders)
        assert mol is not None, text


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
        maps = sorted(a.GetAtomMapNum() for a in mol.GetAtoms() if a.GetAtomicNum() == 0)
        assert maps == list(range(1, len(orders) + 1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HCl", True),
        ("2HCl", True),
        ("3H2O", True),
        ("Br-", True),
        ("Ca2+", True),
        ("CF3COOH", True),
        ("II", False),
        ("I", False),
        ("Example", False),
        ("", False),
        ("OMe", False),
        ("C6H6", False),
    ],
)
def test_company_of_molecules(text: str, expected: bool) -> None:
    assert label.is_company(text) is expected
