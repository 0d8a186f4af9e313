"""A text label of a drawing -> the fragment that it stands for.

A label is read as a condensed formula: atoms, hydrogens, counts, parentheses, charges and named
groups, joined in the order of the text by whatever bonds the valences demand. The bond of the
drawing may meet the text at either end, so a label is read forwards (`CO2Et`) and backwards
(`EtO2C`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from rdkit import Chem, rdBase


def _set(names: str) -> frozenset[str]:
    return frozenset(names.split())


_ALKYL = {
    "Me": "C",
    "Et": "CC",
    "Pr": "CCC",
    "Bu": "CCCC",
    "Pent": "CCCCC",
    "Hex": "CCCCCC",
    "Hept": "CCCCCCC",
    "Oct": "CCCCCCCC",
    "iPr": "C(C)C",
    "iBu": "CC(C)C",
    "sBu": "C(C)CC",
    "tBu": "C(C)(C)C",
    "cPr": "C1CC1",
    "cBu": "C1CCC1",
    "cPent": "C1CCCC1",
    "cHex": "C1CCCCC1",
}

_RESIDUES = {
    "Gly": "[*:1]NCC([*:2])=O",
    "Ala": "[*:1]N[C@@H](C)C([*:2])=O",
    "Val": "[*:1]N[C@@H](C(C)C)C([*:2])=O",
    "Leu": "[*:1]N[C@@H](CC(C)C)C([*:2])=O",
    "Ile": "[*:1]N[C@@H]([C@@H](C)CC)C([*:2])=O",
    "Phe": "[*:1]N[C@@H](Cc1ccccc1)C([*:2])=O",
    "Tyr": "[*:1]N[C@@H](Cc1ccc(O)cc1)C([*:2])=O",
    "Trp": "[*:1]N[C@@H](Cc1c[nH]c2ccccc12)C([*:2])=O",
    "Ser": "[*:1]N[C@@H](CO)C([*:2])=O",
    "Thr": "[*:1]N[C@@H]([C@H](O)C)C([*:2])=O",
    "Cys": "[*:1]N[C@@H](CS)C([*:2])=O",
    "Met": "[*:1]N[C@@H](CCSC)C([*:2])=O",
    "Asp": "[*:1]N[C@@H](CC(=O)O)C([*:2])=O",
    "Glu": "[*:1]N[C@@H](CCC(=O)O)C([*:2])=O",
    "Asn": "[*:1]N[C@@H](CC(N)=O)C([*:2])=O",
    "Gln": "[*:1]N[C@@H](CCC(N)=O)C([*:2])=O",
    "Lys": "[*:1]N[C@@H](CCCCN)C([*:2])=O",
    "Arg": "[*:1]N[C@@H](CCCNC(=N)N)C([*:2])=O",
    "His": "[*:1]N[C@@H](Cc1c[nH]cn1)C([*:2])=O",
    "Pro": "[*:1]N1CCC[C@H]1C([*:2])=O",
    "Nle": "[*:1]N[C@@H](CCCC)C([*:2])=O",
    "Nva": "[*:1]N[C@@H](CCC)C([*:2])=O",
    "Orn": "[*:1]N[C@@H](CCCN)C([*:2])=O",
    "Abu": "[*:1]N[C@@H](CC)C([*:2])=O",
    "Aib": "[*:1]NC(C)(C)C([*:2])=O",
    "Sar": "[*:1]N(C)CC([*:2])=O",
    "Hyp": "[*:1]N1C[C@H](O)C[C@H]1C([*:2])=O",
    "Phg": "[*:1]N[C@@H](c1ccccc1)C([*:2])=O",
    "Cha": "[*:1]N[C@@H](CC1CCCCC1)C([*:2])=O",
    "Chg": "[*:1]N[C@@H](C1CCCCC1)C([*:2])=O",
    "bAla": "[*:1]NCCC([*:2])=O",
}

# Names that are a whole label but would mislead inside a formula.
_WHOLE = {
    "NC": "*[N+]#[C-]",
    "NBS": "O=C1CCC(=O)N1Br",
    "BF3K": "*[B-](F)(F)F.[K+]",
    "KF3B": "*[B-](F)(F)F.[K+]",
    "TFA": "OC(=O)C(F)(F)F",
    "DMF": "CN(C)C=O",
    "DMSO": "CS(C)=O",
    "THF": "C1CCOC1",
    "DMAP": "CN(C)c1ccncc1",
    "DIPEA": "CCN(C(C)C)C(C)C",
    "DBU": "C1CCC2=NCCCN2CC1",
    "TEA": "CCN(CC)CC",
    "HOBt": "On1nnc2ccccc21",
    "TsOH": "Cc1ccc(S(O)(=O)=O)cc1",
    "MsOH": "CS(O)(=O)=O",
    "HOAc": "CC(O)=O",
    "H2SO4": "OS(O)(=O)=O",
    "H3PO4": "OP(O)(O)=O",
    "HNO3": "O[N+](=O)[O-]",
    "HClO4": "OCl(=O)(=O)=O",
    "ClO4-": "[O-]Cl(=O)(=O)=O",
    "PF6-": "F[P-](F)(F)(F)(F)F",
    "SbF6-": "F[Sb-](F)(F)(F)(F)F",
    "NO3-": "[O-][N+](=O)[O-]",
    "HSO4-": "OS([O-])(=O)=O",
    "SO42-": "[O-]S([O-])(=O)=O",
    "PO43-": "[O-]P([O-])([O-])=O",
    "CO32-": "[O-]C([O-])=O",
    "HCO3-": "OC([O-])=O",
    "NH4+": "[NH4+]",
    "OH-": "[OH-]",
    "H+": "[H+]",
    "H3O+": "[OH3+]",
    "TfO-": "[O-]S(=O)(=O)C(F)(F)F",
    "OTf-": "[O-]S(=O)(=O)C(F)(F)F",
    "TsO-": "Cc1ccc(S([O-])(=O)=O)cc1",
    "OTs-": "Cc1ccc(S([O-])(=O)=O)cc1",
    "MsO-": "CS([O-])(=O)=O",
    "OMs-": "CS([O-])(=O)=O",
    "OAc-": "CC([O-])=O",
    "AcO-": "CC([O-])=O",
    "TFA-": "[O-]C(=O)C(F)(F)F",
    "CN-": "[C-]#N",
    "SCN-": "[S-]C#N",
    "N3-": "[N-]=[N+]=[N-]",
    "I3-": "I[I-]I",
    "Na2CO3": "[Na+].[Na+].[O-]C([O-])=O",
    "K2CO3": "[K+].[K+].[O-]C([O-])=O",
    "Cs2CO3": "[Cs+].[Cs+].[O-]C([O-])=O",
    "CO2": "O=C=O",
    "CO": "[C-]#[O+]",
    "N2": "N#N",
    "H2": "[H][H]",
    "O2": "O=O",
    "Cl2": "ClCl",
    "Br2": "BrBr",
    "I2": "II",
    "SO2": "O=S=O",
    "PO3H": "*P(O)(*)=O",
    "PO2H": "*P(O)(*)=O",
    "PO2": "*P(*)(*)=O",
    "DTBMP": "Cc1cc(C(C)(C)C)nc(C(C)(C)C)c1",
}

# Names that mean something else when the bond meets their last glyph.
_FORWARD = frozenset(("NC",))

_NAMED = {
    # alkyl, alkenyl, aryl
    "Am": "*CCCCC",
    "n-Am": "*CCCCC",
    "iAm": "*CCC(C)C",
    "i-Am": "*CCC(C)C",
    "tAm": "*C(C)(C)CC",
    "t-Am": "*C(C)(C)CC",
    "iPent": "*CCC(C)C",
    "i-Pent": "*CCC(C)C",
    "neoPent": "*CC(C)(C)C",
    "neo-Pent": "*CC(C)(C)C",
    "Pentyl": "*CCCCC",
    "Hexyl": "*CCCCCC",
    "Heptyl": "*CCCCCCC",
    "Octyl": "*CCCCCCCC",
    "Nonyl": "*CCCCCCCCC",
    "Decyl": "*CCCCCCCCCC",
    "Dodecyl": "*CCCCCCCCCCCC",
    "Non": "*CCCCCCCCC",
    "Dec": "*CCCCCCCCCC",
    "Methyl": "*C",
    "Ethyl": "*CC",
    "Propyl": "*CCC",
    "Butyl": "*CCCC",
    "isopropyl": "*C(C)C",
    "isobutyl": "*CC(C)C",
    "tert-Bu": "*C(C)(C)C",
    "tert-Butyl": "*C(C)(C)C",
    "t-Butyl": "*C(C)(C)C",
    "sec-Bu": "*C(C)CC",
    "But": "*C(C)(C)C",
    "Bui": "*CC(C)C",
    "Bus": "*C(C)CC",
    "Bun": "*CCCC",
    "Pri": "*C(C)C",
    "Prn": "*CCC",
    "Cy": "*C1CCCCC1",
    "Chx": "*C1CCCCC1",
    "Cyp": "*C1CCCC1",
    "Ad": "*C12CC3CC(CC(C3)C1)C2",
    "1-Ad": "*C12CC3CC(CC(C3)C1)C2",
    "2-Ad": "*C1C2CC3CC(C2)CC1C3",
    "All": "*CC=C",
    "allyl": "*CC=C",
    "Allyl": "*CC=C",
    "Prenyl": "*CC=C(C)C",
    "Vinyl": "*C=C",
    "vinyl": "*C=C",
    "Propargyl": "*CC#C",
    "Ph": "*c1ccccc1",
    "Phenyl": "*c1ccccc1",
    "Bn": "*Cc1ccccc1",
    "Bzl": "*Cc1ccccc1",
    "Benzyl": "*Cc1ccccc1",
    "Bz": "*C(=O)c1ccccc1",
    "Tol": "*c1ccc(C)cc1",
    "p-Tol": "*c1ccc(C)cc1",
    "pTol": "*c1ccc(C)cc1",
    "o-Tol": "*c1ccccc1C",
    "m-Tol": "*c1cccc(C)c1",
    "Mes": "*c1c(C)cc(C)cc1C",
    "Dipp": "*c1c(C(C)C)cccc1C(C)C",
    "PMP": "*c1ccc(OC)cc1",
    "1-Naph": "*c1cccc2ccccc12",
    "2-Naph": "*c1ccc2ccccc2c1",
    "1-Np": "*c1cccc2ccccc12",
    "2-Np": "*c1ccc2ccccc2c1",
    "2-Py": "*c1ccccn1",
    "3-Py": "*c1cccnc1",
    "4-Py": "*c1ccncc1",
    "2-Pyr": "*c1ccccn1",
    "3-Pyr": "*c1cccnc1",
    "4-Pyr": "*c1ccncc1",
    "2-pyridyl": "*c1ccccn1",
    "3-pyridyl": "*c1cccnc1",
    "4-pyridyl": "*c1ccncc1",
    "2-Fur": "*c1ccco1",
    "3-Fur": "*c1ccoc1",
    "2-furyl": "*c1ccco1",
    "2-Th": "*c1cccs1",
    "2-thienyl": "*c1cccs1",
    "3-thienyl": "*c1ccsc1",
    "Fc": "*[c-]1cccc1.[Fe+2].c1cc[cH-]c1",
    # acyl, sulfonyl, phosphoryl
    "Ac": "*C(C)=O",
    "Piv": "*C(=O)C(C)(C)C",
    "Pv": "*C(=O)C(C)(C)C",
    "For": "*C=O",
    "TFAc": "*C(=O)C(F)(F)F",
    "Tfa": "*C(=O)C(F)(F)F",
    "Lev": "*C(=O)CCC(C)=O",
    "Cbz": "*C(=O)OCc1ccccc1",
    "CBz": "*C(=O)OCc1ccccc1",
    "CBZ": "*C(=O)OCc1ccccc1",
    "Boc": "*C(=O)OC(C)(C)C",
    "BOC": "*C(=O)OC(C)(C)C",
    "t-Boc": "*C(=O)OC(C)(C)C",
    "tBoc": "*C(=O)OC(C)(C)C",
    "Fmoc": "*C(=O)OCC1c2ccccc2-c2ccccc21",
    "FMOC": "*C(=O)OCC1c2ccccc2-c2ccccc21",
    "Alloc": "*C(=O)OCC=C",
    "Aloc": "*C(=O)OCC=C",
    "Troc": "*C(=O)OCC(Cl)(Cl)Cl",
    "Teoc": "*C(=O)OCC[Si](C)(C)C",
    "Ms": "*S(C)(=O)=O",
    "Ts": "*S(=O)(=O)c1ccc(C)cc1",
    "Tos": "*S(=O)(=O)c1ccc(C)cc1",
    "Tf": "*S(=O)(=O)C(F)(F)F",
    "Ns": "*S(=O)(=O)c1ccccc1[N+](=O)[O-]",
    "oNs": "*S(=O)(=O)c1ccccc1[N+](=O)[O-]",
    "o-Ns": "*S(=O)(=O)c1ccccc1[N+](=O)[O-]",
    "pNs": "*S(=O)(=O)c1ccc([N+](=O)[O-])cc1",
    "p-Ns": "*S(=O)(=O)c1ccc([N+](=O)[O-])cc1",
    "Bs": "*S(=O)(=O)c1ccc(Br)cc1",
    "SES": "*S(=O)(=O)CC[Si](C)(C)C",
    "Nf": "*S(=O)(=O)C(F)(F)C(F)(F)C(F)(F)C(F)(F)F",
    "Dns": "*S(=O)(=O)c1cccc2c(N(C)C)cccc12",
    "Pbf": "*S(=O)(=O)c1c(C)c(C)c2c(c1C)CC(C)(C)O2",
    "Pmc": "*S(=O)(=O)c1c(C)c(C)c2c(c1C)CCC(C)(C)O2",
    "Mtr": "*S(=O)(=O)c1c(C)cc(OC)c(C)c1C",
    "PO3H2": "*P(O)(O)=O",
    "H2O3P": "*P(O)(O)=O",
    "PO3Et2": "*P(=O)(OCC)OCC",
    "PO3Me2": "*P(=O)(OC)OC",
    "PO3Na2": "*P(=O)([O-])[O-].[Na+].[Na+]",
    "PO32-": "*P(=O)([O-])[O-]",
    "PO3H-": "*P(=O)(O)[O-]",
    # ethers, acetals, silyl
    "PMB": "*Cc1ccc(OC)cc1",
    "MPM": "*Cc1ccc(OC)cc1",
    "Pmb": "*Cc1ccc(OC)cc1",
    "DMB": "*Cc1ccc(OC)cc1OC",
    "Dmb": "*Cc1ccc(OC)cc1OC",
    "PNB": "*Cc1ccc([N+](=O)[O-])cc1",
    "pNB": "*Cc1ccc([N+](=O)[O-])cc1",
    "PNZ": "*C(=O)OCc1ccc([N+](=O)[O-])cc1",
    "Bzh": "*C(c1ccccc1)c1ccccc1",
    "Bhl": "*C(c1ccccc1)c1ccccc1",
    "Tr": "*C(c1ccccc1)(c1ccccc1)c1ccccc1",
    "Trt": "*C(c1ccccc1)(c1ccccc1)c1ccccc1",
    "Trityl": "*C(c1ccccc1)(c1ccccc1)c1ccccc1",
    "MMTr": "*C(c1ccccc1)(c1ccccc1)c1ccc(OC)cc1",
    "MMT": "*C(c1ccccc1)(c1ccccc1)c1ccc(OC)cc1",
    "DMTr": "*C(c1ccccc1)(c1ccc(OC)cc1)c1ccc(OC)cc1",
    "DMT": "*C(c1ccccc1)(c1ccc(OC)cc1)c1ccc(OC)cc1",
    "THP": "*C1CCCCO1",
    "Thp": "*C1CCCCO1",
    "MOM": "*COC",
    "Mom": "*COC",
    "MEM": "*COCCOC",
    "Mem": "*COCCOC",
    "BOM": "*COCc1ccccc1",
    "SEM": "*COCC[Si](C)(C)C",
    "Sem": "*COCC[Si](C)(C)C",
    "MTM": "*CSC",
    "EE": "*C(C)OCC",
    "POM": "*COC(=O)C(C)(C)C",
    "Acm": "*CNC(C)=O",
    "TMS": "*[Si](C)(C)C",
    "Tms": "*[Si](C)(C)C",
    "TES": "*[Si](CC)(CC)CC",
    "TIPS": "*[Si](C(C)C)(C(C)C)C(C)C",
    "Tips": "*[Si](C(C)C)(C(C)C)C(C)C",
    "TBS": "*[Si](C)(C)C(C)(C)C",
    "Tbs": "*[Si](C)(C)C(C)(C)C",
    "TBDMS": "*[Si](C)(C)C(C)(C)C",
    "TBDPS": "*[Si](C(C)(C)C)(c1ccccc1)c1ccccc1",
    "DMPS": "*[Si](C)(C)c1ccccc1",
    # nitrogen, boron and others
    "NO2": "*[N+](=O)[O-]",
    "N3": "*N=[N+]=[N-]",
    "N2+": "*[N+]#N",
    "N2": "*=[N+]=[N-]",
    "NPhth": "*N1C(=O)c2ccccc2C1=O",
    "NPht": "*N1C(=O)c2ccccc2C1=O",
    "PhthN": "*N1C(=O)c2ccccc2C1=O",
    "OSu": "*ON1C(=O)CCC1=O",
    "NHS": "*ON1C(=O)CCC1=O",
    "OPfp": "*Oc1c(F)c(F)c(F)c(F)c1F",
    "Pfp": "*c1c(F)c(F)c(F)c(F)c1F",
    "OBt": "*On1nnc2ccccc21",
    "Bpin": "*B1OC(C)(C)C(C)(C)O1",
    "BPin": "*B1OC(C)(C)C(C)(C)O1",
    "B(pin)": "*B1OC(C)(C)C(C)(C)O1",
    "Bneo": "*B1OCC(C)(C)CO1",
    "Bcat": "*B1Oc2ccccc2O1",
    "BMIDA": "*B1OC(=O)CN(C)CC(=O)O1",
    "CO2H": "*C(=O)O",
    "CF3": "*C(F)(F)F",
    "SF5": "*S(F)(F)(F)(F)F",
    "F5S": "*S(F)(F)(F)(F)F",
    "Glc": "*[C@@H]1O[C@H](CO)[C@@H](O)[C@H](O)[C@H]1O",
    "Gal": "*[C@@H]1O[C@H](CO)[C@H](O)[C@H](O)[C@H]1O",
    # rings and bridges
    "C6H4": "[*:1]c1ccc([*:2])cc1",
    "p-C6H4": "[*:1]c1ccc([*:2])cc1",
    "m-C6H4": "[*:1]c1cccc([*:2])c1",
    "o-C6H4": "[*:1]c1ccccc1[*:2]",
    "imid": "*n1ccnc1",
    "Im": "*n1ccnc1",
    "Morph": "*N1CCOCC1",
    "Pip": "*N1CCCCC1",
}


def _named() -> dict[str, str]:
    names = dict(_NAMED)
    for mark, formula, name in (
        ("i", "C3H7", "iPr"),
        ("i", "C4H9", "iBu"),
        ("s", "C4H9", "sBu"),
        ("t", "C4H9", "tBu"),
        ("c", "C3H5", "cPr"),
        ("c", "C5H9", "cPent"),
        ("c", "C6H11", "cHex"),
    ):
        names[mark + formula] = names[f"{mark}-{formula}"] = "*" + _ALKYL[name]
    for name, chain in _ALKYL.items():
        names[name] = "*" + chain
        if name[0] in "isct":
            names[f"{name[0]}-{name[1:]}"] = "*" + chain
        elif name not in ("Me", "Et"):
            names["n" + name] = names["n-" + name] = "*" + chain
    return names


_WORDS = _named()

DICTIONARY: dict[str, str] = {**_WHOLE, **_WORDS, **_RESIDUES}
"""Label -> SMILES; `*` where the drawing's bond attaches, `[*:1]`, `[*:2]` from left to right."""

_TOKENS: dict[str, str] = {**_WORDS, **_RESIDUES}
_LONGEST = max(map(len, _TOKENS))

_VALENCES: dict[str, tuple[int, ...]] = {
    "B": (3,),
    "C": (4,),
    "N": (3, 5),
    "O": (2,),
    "F": (1,),
    "Si": (4,),
    "P": (3, 5),
    "S": (2, 4, 6),
    "Cl": (1,),
    "Br": (1,),
    "I": (1, 3, 5),
    "Se": (2, 4, 6),
    "As": (3, 5),
    "Te": (2, 4, 6),
    "Ge": (4,),
    "Sn": (4,),
    "Sb": (3, 5),
    "Al": (3,),
    "Mg": (2,),
    "Zn": (2,),
    "Hg": (2,),
    "Pb": (4,),
    "Li": (1,),
    "Na": (1,),
    "K": (1,),
    "Cs": (1,),
    "Ag": (1,),
    "Cu": (1,),
    "Au": (1,),
    "Tl": (1,),
}
_CHARGED: dict[tuple[str, int], tuple[int, ...]] = {
    ("B", -1): (4,),
    ("C", 1): (3,),
    ("C", -1): (3,),
    ("N", 1): (4,),
    ("N", -1): (2,),
    ("O", 1): (3,),
    ("O", -1): (1,),
    ("S", 1): (3, 5),
    ("S", -1): (1,),
    ("P", 1): (4,),
    ("P", -1): (6,),
    ("Se", 1): (3,),
    ("Se", -1): (1,),
    ("As", 1): (4,),
    ("I", 1): (2,),
    ("Al", -1): (4,),
    ("Si", -1): (5,),
    ("Te", 1): (3,),
    ("Br", 1): (2,),
    ("Cl", 1): (2,),
}
_ALKALI = frozenset(("Li", "Na", "K", "Cs"))
_REPEATED = frozenset(("F", "Cl", "Br", "I", "O", "S"))
_ISOTOPES: dict[str, tuple[int, ...]] = {
    "H": (1, 2, 3),
    "C": (11, 12, 13, 14),
    "N": (13, 14, 15),
    "O": (15, 16, 17, 18),
    "F": (18, 19),
    "P": (31, 32, 33),
    "S": (34, 35),
    "Cl": (35, 36, 37),
    "Br": (75, 76, 77, 79, 80, 81, 82),
    "I": (121, 122, 123, 124, 125, 127, 128, 129, 131),
    "At": (211,),
    "Se": (75,),
    "Si": (29,),
}
_METALS = _set(
    "Li Na K Rb Cs Be Mg Ca Sr Ba Al Ga In Tl Sn Pb Bi Sc Ti Zr Hf Nb Ta Cr Mo Mn Tc Re Fe Ru"
    " Os Co Rh Ir Ni Pd Pt Cu Ag Au Zn Cd Hg La Ce Pr Nd Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Th Ra Ac"
)

_RUN = re.compile(r"(?:n-?)?C(\d{1,2})([HF])(\d{1,2})")
_ION = re.compile(r"(\d{0,3})([A-Z][a-z]?)(?:(\d?)([+-])|([+-]{2,3}))?")
_COUNTER = re.compile(r"(.*[A-Z0-9)+-])((?:F|Cl|Br|I)-|(?:Na|K|Li|Cs)\+)")
_RADICAL = r"R(?:\d{1,2}[a-d]?|[abcdfijkmpqstvwxyz](?![a-z]))?(?:'{1,3}|\*)?"
_VARIABLE = re.compile(
    rf"(?:{_RADICAL}|(?:Ar|Het|Hal|Hetaryl|Heteroaryl|HetAr|Aryl|aryl|Alkyl|alkyl|Alk|Acyl|acyl"
    r"|PG|Pg|LG|Lg|Nu|EWG|Cyc|Ring|[XYZQLAEGMWJVU])(?:\d{1,2}[a-d]?)?'{0,3})"
)
_VARIABLE_PIECE = re.compile(
    rf"(?:{_RADICAL}|(?:HetAr|Het|Hal|Aryl|aryl|Alkyl|alkyl|Alk|Ar|PG|Pg|LG|[XYZQ])\d?'{{0,3}})"
)
_REPEAT = re.compile(r"\)[kmnpqrxyz](?![a-z])")
# Groups that protect N, O or S; on carbon they are the less likely reading.
_ON_HETERO = _set("Ac Bz Boc BOC Cbz CBz CBZ Fmoc Ms Ts Tos Tf Piv Tfa MOM MEM SEM")
_LIMIT = 48
_TURNED = 2
_STEPS = 6000


@dataclass(frozen=True, slots=True)
class _Unit:
    """One piece of a formula: `atom`, `hydrogen`, `word`, `branch` or `bond`."""

    kind: str
    text: str = ""
    count: int = 1
    charge: int = 0
    isotope: int = 0
    inner: tuple[_Unit, ...] = ()
    flipped: bool = False
    order: int = 0


@dataclass(frozen=True, slots=True)
class _Node:
    """An atom, or one port of a named group, in a formula under way."""

    text: str
    valences: tuple[int, ...]
    used: int
    charge: int = 0
    isotope: int = 0
    hydrogens: tuple[int, ...] = ()
    port: int = 0

    @property
    def content(self) -> bool:
        return self.used in self.valences

    @property
    def room(self) -> int:
        return self.valences[-1] - self.used


@dataclass(frozen=True, slots=True)
class _Part:
    """Nodes and bonds (from, to, order; order 0 joins the ports of one group).

    `ends` bear the attachments, `chain` may take what follows, `cost` is how unusual it all is.
    """

    nodes: tuple[_Node, ...] = ()
    bonds: tuple[tuple[int, int, int], ...] = ()
    ends: tuple[int, ...] = ()
    cost: int = 0
    chain: tuple[int, ...] = ()

    def joined(self, other: _Part, at: int, order: int) -> _Part:
        """Self with `other` bonded by its first end to node `at`, whose use grows by `order`."""
        shift = len(self.nodes)
        nodes = self.spend(at, order).nodes + other.nodes
        moved = tuple((a + shift, b + shift, o) for a, b, o in other.bonds)
        bonds = (*self.bonds, *moved, (at, other.ends[0] + shift, order))
        return _Part(nodes, bonds, self.ends, self.cost + other.cost, self.chain)

    def dearer(self, cost: int) -> _Part:
        return replace(self, cost=self.cost + cost) if cost else self

    def spend(self, at: int, order: int) -> _Part:
        node = replace(self.nodes[at], used=self.nodes[at].used + order)
        return replace(self, nodes=(*self.nodes[:at], node, *self.nodes[at + 1 :]))


class _ExhaustedError(Exception):
    """A formula took too many steps."""


class _Budget:
    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise _ExhaustedError


def fragment(text: str, attachments: tuple[int, ...] = (1,), first: bool = True) -> Chem.Mol | None:
    """Reads a label.

    Args:
        text: the label, left to right as drawn.
        attachments: orders of the drawing's bonds that end on the label, the leftmost first; `()`
            for a species that stands alone, `(1, 1)` for a bridge.
        first: the bond meets the text at its first glyph, so that it is read forwards first.

    Returns:
        The fragment, with dummy atoms mapped 1, 2, ... in the order of `attachments` and bonded in
        those orders; None where the label is unknown, variable or impossible. The Mol is the
        caller's own.
    """
    try:
        found = _fragment(text, tuple(int(order) for order in attachments), bool(first))
    except (TypeError, ValueError):
        return None
    return None if found is None else Chem.Mol(found)


#: What is printed beside molecules: acids, bases, counter-ions and solvents, as canonical SMILES.
_COMPANY = frozenset(
    "F Cl Br I O N CO CCO CC(=O)O O=CO CC(=O)[O-] O=S(=O)(O)O O=S(=O)([O-])[O-] CS(=O)(=O)O "
    "Cc1ccc(S(=O)(=O)O)cc1 O=C(O)C(F)(F)F O=C([O-])C(F)(F)F O=[N+]([O-])O O=[N+]([O-])[O-] "
    "O=P(O)(O)O F[B-](F)(F)F F[P-](F)(F)(F)(F)F [F-] [Cl-] [Br-] [I-] [OH-] [NH4+] "
    "[Li+] [Na+] [K+] [Cs+] [Ag+] [Mg+2] [Ca+2] [Ba+2] [Zn+2] CN(C)C=O CS(C)=O".split()
)


def is_company(text: str) -> bool:
    """Whether a label that stands alone is what is printed beside molecules (`HCl`, `2H2O`)."""
    found = fragment(text, ())
    return found is not None and set(Chem.MolToSmiles(found).split(".")) <= _COMPANY


def is_variable(text: str) -> bool:
    """Whether a label is an R group or a formula with one (`R1`, `X`, `OR3`, `NR1R2`, `(CH2)n`)."""
    text = text.strip()
    if not text or len(text) > 40:
        return False
    if _VARIABLE.fullmatch(text):
        return True
    fixed = _REPEAT.sub(")2", text)
    return any(
        (fixed != text or any(token[0] == "variable" for token in tokens))
        and next(_trees(tokens), None) is not None
        for tokens in _tokenise(fixed, variables=True)
    )


@lru_cache(maxsize=8192)
def _fragment(text: str, orders: tuple[int, ...], first: bool) -> Chem.Mol | None:
    text = text.strip().strip(",")
    if not text or len(text) > 60 or any(not 1 <= order <= 3 for order in orders):
        return None
    if _VARIABLE.fullmatch(text):
        return None
    with rdBase.BlockLogs():
        for spelling in _spellings(text):
            mol = _read(spelling, orders, first)
            if mol is not None:
                return mol
            if spelling == text and is_variable(text):
                return None
    return None


def _spellings(text: str) -> Iterator[str]:
    """The text, then the same with glyphs that are easily taken for one another put right."""
    yield text
    seen = {text}
    for old, new in (
        ("0", "O"), ("CI", "Cl"), ("C1", "Cl"), ("lPr", "iPr"), ("o", "O"), ("c", "C"), ("s", "S"),
        ("f", "F"), ("n", "N"), ("h", "H"), ("l", "I"), ("I", "l"),
    ):  # fmt: skip
        other = text.replace(old, new)
        if other not in seen:
            seen.add(other)
            yield other


def _read(text: str, orders: tuple[int, ...], first: bool) -> Chem.Mol | None:
    whole = _from_dictionary(text, orders) if first or text not in _FORWARD else None
    if whole is not None:
        return whole
    times = re.fullmatch(r"([2-6])([A-Z(].*)", text)
    if times and not orders:
        return _with_company([times[2]] * int(times[1]), (), first)
    if "." in text:
        return _with_company(text.split("."), orders, first)
    ion = _single_atom(text, orders)
    if ion is not None:
        return ion
    mol = _formula(text, orders, first)
    if mol is not None:
        return mol
    salt = _COUNTER.fullmatch(text)
    if salt:
        return _with_company([salt[1], salt[2]], orders, first)
    return None


def _formula(text: str, orders: tuple[int, ...], first: bool) -> Chem.Mol | None:
    """The most usual chemistry among all readings of a condensed formula."""
    budget = _Budget(_STEPS)
    best: Chem.Mol | None = None
    least = 1000
    try:
        for rank, tokens in enumerate(_tokenise(text)):
            for units in _trees(tokens):
                for part in _readings(units, orders, first, budget):
                    cost = part.cost + (rank > 0)
                    if cost < least and (mol := _build(part, orders)) is not None:
                        best, least = mol, cost
                    if least <= 0:
                        return best
    except _ExhaustedError:
        pass
    return best


def _with_company(texts: list[str], orders: tuple[int, ...], first: bool) -> Chem.Mol | None:
    mols = [_read(texts[0], orders, first)] if texts[0] else [None]
    mols += [_read(text, (), True) if text else None for text in texts[1:]]
    if len(mols) > 6:
        return None
    both: Chem.Mol | None = None
    for mol in mols:
        if mol is None:
            return None
        both = mol if both is None else Chem.CombineMols(both, mol)
    return both


def _from_dictionary(text: str, orders: tuple[int, ...]) -> Chem.Mol | None:
    for table in (_WHOLE, _TOKENS):
        smiles = table.get(text)
        if smiles is None or smiles.count("*") != len(orders):
            continue
        mol = Chem.RWMol(Chem.MolFromSmiles(smiles))
        ports = sorted(
            (atom for atom in mol.GetAtoms() if atom.GetAtomicNum() == 0),
            key=lambda atom: (atom.GetAtomMapNum(), atom.GetIdx()),
        )
        if any(
            round(port.GetBonds()[0].GetBondTypeAsDouble()) != order
            for port, order in zip(ports, orders, strict=True)
        ):
            continue
        for number, port in enumerate(ports, 1):
            port.SetAtomMapNum(number)
        return mol.GetMol()
    return None


def _single_atom(text: str, orders: tuple[int, ...]) -> Chem.Mol | None:
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
    if not (halide or hydrogen or (symbol in _METALS and (charge >= 0))):
        return None
    if symbol in _TOKENS and not charge:
        return None
    if isotope and symbol in _ISOTOPES and int(isotope) not in _ISOTOPES[symbol]:
        return None
    mol = Chem.RWMol()
    atom = Chem.Atom(symbol)
    atom.SetFormalCharge(charge)
    atom.SetIsotope(int(isotope or 0))
    atom.SetNoImplicit(True)
    mol.AddAtom(atom)
    _attach(mol, [0] * len(orders), orders)
    return _clean(mol)


# --- text to units ------------------------------------------------------------------------------


def _tokenise(text: str, variables: bool = False) -> Iterator[list[tuple[str, str, int, int]]]:
    """Every way to cut a text into (kind, text, count, isotope), the longest names first."""
    found = 0
    dead: set[int] = set()

    def cut(start: int) -> Iterator[list[tuple[str, str, int, int]]]:
        nonlocal found
        if start == len(text):
            found += 1
            yield []
            return
        if start in dead or found >= _LIMIT:
            return
        alive = False
        for token, end in _heads(text, start, variables):
            for rest in cut(end):
                alive = True
                yield [token, *rest]
                if found >= _LIMIT:
                    return
        if not alive:
            dead.add(start)

    yield from cut(0)


def _heads(
    text: str, start: int, variables: bool
) -> Iterator[tuple[tuple[str, str, int, int], int]]:
    glyph = text[start]
    if glyph in "+-=#(":
        yield (glyph, glyph, 1, 0), start + 1
        if glyph != "-":
            return
    if glyph == ")":
        for count, end in _counts(text, start + 1):
            yield (")", ")", count, 0), end
        return
    if variables and (match := _VARIABLE_PIECE.match(text, start)):
        yield ("variable", match[0], 1, 0), match.end()
    for size in range(min(_LONGEST, len(text) - start), 1, -1):
        name = text[start : start + size]
        if name in _TOKENS:
            for count, end in _counts(text, start + size):
                yield ("word", name, count, 0), end
    run = _RUN.match(text, start)
    if run and _run_smiles(run[0]):
        yield ("word", run[0], 1, 0), run.end()
    digits = start
    while digits < len(text) and text[digits].isdigit() and digits - start < 3:
        digits += 1
    isotope = int(text[start:digits]) if digits > start and text[start:digits].isascii() else 0
    for size in (2, 1):
        symbol = text[digits : digits + size]
        if len(symbol) != size:
            continue
        if isotope and isotope not in _ISOTOPES.get(symbol, ()):
            continue
        mass = isotope
        kind = "atom"
        follower = text[digits + 1 : digits + 2]
        if (symbol == "D" or (symbol == "T" and follower.isdigit())) and not isotope:
            mass, kind = (2 if symbol == "D" else 3), "hydrogen"
        elif symbol == "H":
            kind = "hydrogen"
        elif symbol not in _VALENCES:
            continue
        for count, end in _counts(text, digits + size):
            yield (kind, symbol, count, mass), end


def _counts(text: str, start: int) -> Iterator[tuple[int, int]]:
    """The counts that may follow a piece, with where each ends; digits may belong to an isotope."""
    end = start
    while end < len(text) and text[end] in "0123456789" and end - start < 2:
        end += 1
    while end > start:
        if text[start] != "0":
            count = int(text[start:end])
            if 1 <= count <= 40:
                yield count, end
        end -= 1
    yield 1, start


@lru_cache(maxsize=256)
def _run_smiles(text: str) -> str:
    """`C2H5`, `C6H5`, `C4F9`... as SMILES, or an empty string."""
    match = _RUN.fullmatch(text)
    if match is None:
        return ""
    carbons, element, others = int(match[1]), match[2], int(match[3])
    if not 1 < carbons <= 30:
        return ""
    if element == "H":
        if (carbons, others) == (6, 5):
            return "*c1ccccc1"
        if (carbons, others) == (2, 3):
            return "*C=C"
        if others == 2 * carbons + 1:
            return "*" + "C" * carbons
        if others == 2 * carbons:
            return "[*:1]" + "C" * carbons + "[*:2]"
        if others == 2 * carbons - 1 and carbons in (5, 6):
            return "*C1" + "C" * (carbons - 1) + "1"
        return ""
    if (carbons, others) == (6, 5):
        return "*c1c(F)c(F)c(F)c(F)c1F"
    if others == 2 * carbons + 1:
        return "*" + "C(F)(F)" * carbons + "F"
    if others == 2 * carbons:
        return "[*:1]" + "C(F)(F)" * carbons + "[*:2]"
    return ""


def _trees(
    tokens: list[tuple[str, str, int, int]], marked: bool = False
) -> Iterator[tuple[_Unit, ...]]:
    """Nests the tokens by their parentheses and gives each charge to an atom, nearest first."""
    if len(tokens) > 1 and tokens[0][0] in ("+", "-"):
        if tokens[0][0] == "-":
            yield from _trees(tokens[1:])
        bearer = next((i for i, token in enumerate(tokens) if token[0] == "atom"), 0)
        if bearer:
            turned = [*tokens[1 : bearer + 1], tokens[0], *tokens[bearer + 1 :]]
            yield from _trees(turned, marked=True)
        return
    levels: list[list[list[_Unit]]] = [[[]]]
    # Each level holds its alternatives, which differ in the atom that bears a charge.
    last = len(tokens) - 1
    for place, (kind, text, count, isotope) in enumerate(tokens):
        here = levels[-1]
        if kind == "(":
            if len(levels) > 6:
                return
            levels.append([[]])
        elif kind == ")":
            if len(levels) == 1:
                return
            inners = levels.pop()
            outer = levels[-1]
            levels[-1] = [
                [*units, _Unit("branch", count=count, inner=tuple(inner))]
                for inner in inners[:6]
                for units in outer[:6]
            ]
        elif kind == "-" and not marked and place != last and tokens[place + 1][0] != ")":
            continue
        elif kind in "+-":
            sign = 1 if kind == "+" else -1
            levels[-1] = [
                [*units[:at], replace(units[at], charge=sign), *units[at + 1 :]]
                for units in here
                for at in range(len(units) - 1, -1, -1)
                if units[at].kind == "atom" and not units[at].charge
            ][:12]
            if not levels[-1]:
                return
        else:
            if kind in "=#":
                unit = _Unit("bond", order=2 if kind == "=" else 3)
            else:
                unit = _Unit(kind, text, count, 0, isotope)
            for units in here:
                units.append(unit)
    if len(levels) == 1:
        for units in levels[0]:
            yield tuple(units)


# --- units to parts -----------------------------------------------------------------------------


def _mirror(units: tuple[_Unit, ...]) -> tuple[_Unit, ...]:
    return tuple(
        replace(unit, flipped=not unit.flipped) if unit.kind in ("branch", "word") else unit
        for unit in reversed(units)
    )


def _readings(
    units: tuple[_Unit, ...], orders: tuple[int, ...], first: bool, budget: _Budget
) -> Iterator[_Part]:
    """Parts whose `ends` are the nodes of the attachments, in the order of `orders`."""
    if not orders:
        yield from _grow(units, 0, (), budget)
        yield from _grow(_mirror(units), 0, (), budget)
        return
    if len(orders) == 1:
        yield from _closed(units, orders[0], not first, budget, whole=True)
        return
    ways = (False, True) if first or len(orders) > 1 else (True, False)
    for backwards in ways:
        if backwards:
            for part in _grow(_mirror(units), orders[-1], orders[:-1], budget):
                yield replace(part, ends=(*part.ends[1:], part.ends[0]))
        else:
            yield from _grow(units, orders[0], orders[1:], budget)


def _closed(
    units: tuple[_Unit, ...], order: int, backwards: bool, budget: _Budget, whole: bool = False
) -> Iterator[_Part]:
    """Readings with one attachment; `backwards` where it is at the last glyph.

    In a `whole` label a group may also be written forwards before a mirrored tail: `CH3O2C`.
    """
    for way in (backwards, not backwards):
        cost = _TURNED if way != backwards and whole else 0
        for part in _turned(units, order, way, budget, whole):
            yield part.dearer(cost)


def _turned(
    units: tuple[_Unit, ...], order: int, backwards: bool, budget: _Budget, whole: bool
) -> Iterator[_Part]:
    if not backwards:
        yield from _headed(_capped(units, "O", "H"), order, budget)
        return
    yield from _headed(_capped(_mirror(units), "H"), order, budget)
    yield from _split(units, order, budget)
    for cut in range(2, len(units) if whole else 0):
        tail = (_Unit("branch", inner=units[:cut], order=1), *units[cut:])
        for part in _grow(_mirror(tail), order, (), budget):
            yield part.dearer(1)


def _best(parts: Iterator[_Part]) -> _Part | None:
    best: _Part | None = None
    for count, part in enumerate(parts):
        if best is None or part.cost < best.cost:
            best = part
        if best.cost <= 0 or count > 8:
            break
    return best


def _capped(units: tuple[_Unit, ...], *cap: str) -> tuple[_Unit, ...]:
    """A peptide whose last residue ends the text is closed by what a chemist leaves unsaid."""
    if units and units[-1].kind == "word" and units[-1].text in _RESIDUES:
        ends = [_Unit("hydrogen" if piece == "H" else "atom", piece) for piece in cap]
        return (*units, *ends)
    return units


def _headed(units: tuple[_Unit, ...], order: int, budget: _Budget) -> Iterator[_Part]:
    """Grows units, what is written before its atom taken as behind it: `(EtO)2P(O)`, `O2SMe`."""
    head = 0
    while head < len(units) and units[head].kind == "branch" and units[head].flipped:
        head += 1
    if head == 0 and len(units) > 1 and units[0].text == "O" and units[0].count > 1:
        head = 1
    if 0 < head < len(units) and units[head].kind == "atom":
        behind = [replace(u, order=1) if u.kind == "branch" else u for u in units[:head]]
        yield from _grow((units[head], *behind, *units[head + 1 :]), order, (), budget)
    yield from _grow(units, order, (), budget)


def _split(units: tuple[_Unit, ...], order: int, budget: _Budget) -> Iterator[_Part]:
    """A chain written forwards that ends at the drawing's bond: `MeO2C` + `CH2CH2O`."""
    for cut in range(1, len(units)):
        head, tail = units[:cut], units[cut:]
        if tail[0].kind in ("hydrogen", "bond") and cut + 1 == len(units):
            continue
        for chain in _grow(tail, 1, (order,), budget):
            end = chain.ends[1]
            start = _best(_headed(_mirror(head), 1, budget))
            if start is None:
                break
            shift = len(chain.nodes)
            moved = tuple((a + shift, b + shift, o) for a, b, o in start.bonds)
            link = (chain.ends[0], start.ends[0] + shift, 1)
            nodes = chain.spend(end, order).nodes + start.nodes
            cost = chain.cost + start.cost
            cost += _unusual(chain.nodes[chain.ends[0]], start.nodes[start.ends[0]], 1)
            yield _Part(nodes, (*chain.bonds, *moved, link), (end,), cost)


def _grow(
    units: tuple[_Unit, ...], entry: int, exits: tuple[int, ...], budget: _Budget
) -> Iterator[_Part]:
    """Joins units in their order to parts whose valences are all met.

    The first heavy atom bears a bond of order `entry` (0 for none), one atom bears all `exits`.
    """
    pieces: list[_Unit] = []
    for unit in units:
        if unit.kind == "atom" and unit.count > 1:
            if unit.text not in _REPEATED or unit.count > 6:
                return
            lone = replace(unit, count=1, charge=0)
            pieces += [lone, *[replace(lone, order=1)] * (unit.count - 2)]
            pieces.append(replace(lone, charge=unit.charge, order=1))
        elif unit.kind == "word" and unit.count > 1:
            if unit.count > 4:
                return
            pieces += [replace(unit, count=1)] * unit.count
        else:
            pieces.append(unit)
    yield from _place(_Task(tuple(pieces), entry, exits, budget), 0, _Part(), (), 0)


class _Task(NamedTuple):
    """What stays the same while one row of pieces is placed."""

    pieces: tuple[_Unit, ...]
    entry: int
    exits: tuple[int, ...]
    budget: _Budget


def _place(
    task: _Task, at: int, part: _Part, lead: tuple[int, ...], forced: int
) -> Iterator[_Part]:
    """Places pieces[at:]; `lead` are hydrogens that wait for an atom, `forced` a bond written."""
    task.budget.step()
    if at == len(task.pieces):
        if not forced and not lead and part.nodes:
            yield from _finished(part, task.entry, task.exits)
        return
    piece = task.pieces[at]
    if piece.kind == "bond":
        if not forced:
            yield from _place(task, at + 1, part, lead, piece.order)
    elif piece.kind == "hydrogen":
        masses = (piece.isotope,) * piece.count
        if forced or piece.count > 6:
            return
        if not part.nodes:
            yield from _place(task, at + 1, part, lead + masses, 0)
            return
        before = task.pieces[at - 1].text
        for node in _open(part):
            grown = _hydrogenated(part, node, masses, before)
            if grown is not None:
                yield from _place(task, at + 1, grown, (), 0)
    elif piece.kind == "branch":
        if not lead and piece.inner:
            yield from _branch(task, at, part, forced)
    elif not part.nodes:
        start = _start(piece)
        used = task.entry + len(lead)
        if start is None or used > start.nodes[0].room:
            return
        if start.nodes[0].port and (lead or task.entry > 1):
            return
        node0 = replace(start.nodes[0], used=used, hydrogens=lead)
        opened = tuple(range(len(start.nodes)))
        grown = replace(start, nodes=(node0, *start.nodes[1:]), chain=opened)
        yield from _place(task, at + 1, grown, (), forced)
    else:
        start = _start(piece)
        if start is None:
            return
        base = len(part.nodes)
        added = tuple(range(base, base + len(start.nodes)))
        for node in _open(part):
            bearer = part.nodes[node]
            for order in _orders(bearer, start.nodes[0], piece, forced):
                if order <= bearer.room:
                    cost = 0 if forced else _unusual(bearer, start.nodes[0], order)
                    grown = part.joined(start, node, order).spend(base, order).dearer(cost)
                    grown = replace(grown, chain=part.chain + added)
                    yield from _place(task, at + 1, grown, (), 0)


def _hydrogenated(part: _Part, node: int, masses: tuple[int, ...], before: str) -> _Part | None:
    """The part with hydrogens on a node, where they fit; `before` is the text ahead of them."""
    atom = part.nodes[node]
    room = atom.valences[0] - atom.used if atom.text in ("S", "Se", "I") else atom.room
    if len(masses) > room or (atom.port and len(masses) > 1):
        return None
    bearer = replace(atom, used=atom.used + len(masses), hydrogens=atom.hydrogens + masses)
    grown = replace(part, nodes=(*part.nodes[:node], bearer, *part.nodes[node + 1 :]))
    astray = before == "O" and atom.text != "O"
    return grown.dearer(2 if astray or 3 in masses else 0)


def _start(piece: _Unit) -> _Part | None:
    """The node of an atom, or the one or two ports of a named group."""
    if piece.kind == "atom":
        if piece.charge:
            valences = _CHARGED.get((piece.text, piece.charge), ())
        else:
            valences = _VALENCES[piece.text]
        if not valences:
            return None
        node = _Node(piece.text, valences, 0, piece.charge, piece.isotope)
        return _Part((node,), (), (0,))
    smiles = _TOKENS.get(piece.text) or _run_smiles(piece.text)
    if "=*" in smiles or "*=" in smiles:
        return None
    if smiles.count("*") == 1:
        return _Part((_Node(piece.text, (1,), 0, port=1),), (), (0,))
    left, right = (2, 1) if piece.flipped else (1, 2)
    nodes = (_Node(piece.text, (1,), 0, port=left), _Node(piece.text, (1,), 0, port=right))
    return _Part(nodes, ((0, 1, 0),), (0,))


def _open(part: _Part) -> Iterator[int]:
    """Nodes that may take the next piece: the latest first, none before one still in want."""
    for node in reversed(part.chain):
        if part.nodes[node].room > 0:
            yield node
        if not part.nodes[node].content:
            return


def _orders(bearer: _Node, taken: _Node, piece: _Unit, forced: int) -> tuple[int, ...]:
    """Bond orders to try between an atom and the piece that follows it."""
    if bearer.port or taken.port or taken.valences[-1] == 1:
        return (1,) if forced in (0, 1) else ()
    if forced:
        return (forced,)
    if "I" in (bearer.text, taken.text) and "O" not in (bearer.text, taken.text):
        return (1,)
    if taken.text == "O":
        if bearer.text == "O" and piece.order:
            return ()
        if bearer.text in ("S", "P", "Se", "As", "I"):
            return (2, 1)
        if bearer.text == "N" and bearer.used >= 3:
            return (2,)
        return (1, 2)
    if bearer.text in ("O", "S") and taken.text in ("O", "S", "N"):
        return (1, 2) if bearer.text == "S" else (1,)
    return (1, 2, 3)


def _unusual(bearer: _Node, taken: _Node, order: int) -> int:
    """What a bond that the text does not spell out costs a reading."""
    pair = {bearer.text, taken.text}
    if order == 1:
        if bearer.text == "C" and taken.text in _ON_HETERO:
            return 1
        if pair & {"F", "Cl", "Br", "I"} and pair & {"O", "N"}:
            return 2
        if pair in ({"O"}, {"S", "NO2"}):
            return 3
        return 1 if pair in ({"N", "O"}, {"N"}) else 0
    if order == 2:
        if bearer.text == "C" and taken.text in ("O", "S"):
            return -2 if bearer.used == 2 else 0
        if bearer.text == "N" and taken.text in ("O", "S"):
            return 2 if bearer.used < 3 else 0
        return 2 if pair <= {"C", "N", "S"} else 0
    return 1 if pair == {"C"} else 0


def _branch(task: _Task, at: int, part: _Part, forced: int) -> Iterator[_Part]:
    """A parenthesis: substituents of one atom, or a link repeated in the chain."""
    piece = task.pieces[at]
    inner, count, marked = piece.inner, piece.count, 0
    if inner[0].kind == "bond":
        marked, inner = inner[0].order, inner[1:]
    elif inner[-1].kind == "bond" and piece.flipped:
        marked, inner = inner[-1].order, inner[:-1]
    if not inner:
        return
    if part.nodes and count <= 4 and not forced:
        for node in _open(part):
            bearer = part.nodes[node]
            for order in (marked,) if marked else (1, 2, 3):
                if order * count > bearer.room or (order > 1 and bearer.text in ("I", "O")):
                    continue
                if order == 2 and bearer.text == "N" and bearer.used > 3:
                    continue
                branch = _best(_closed(inner, order, piece.flipped, task.budget))
                if branch is None:
                    continue
                grown = part.dearer(_unusual(bearer, branch.nodes[branch.ends[0]], order))
                for _ in range(count):
                    grown = grown.joined(branch, node, order)
                yield from _place(task, at + 1, grown, (), 0)
    chalcogen = len(inner) == 1 and inner[0].text in ("O", "S")
    if marked or piece.order or chalcogen or count > 30 or forced > 1:
        return
    if not part.nodes and task.entry != 1:
        return
    link = next(_grow(_mirror(inner) if piece.flipped else inner, 1, (1,), task.budget), None)
    if link is None:
        return
    for node in _open(part) if part.nodes else (-1,):
        grown, tail = part, node
        for _ in range(count):
            base = len(grown.nodes)
            grown = grown.joined(link, tail, 1) if base else replace(link, ends=(0,))
            tail = base + link.ends[1]
        grown = replace(grown, chain=(*part.chain, tail)).dearer(2 if count == 1 else 0)
        yield from _place(task, at + 1, grown, (), 0)


def _finished(part: _Part, entry: int, exits: tuple[int, ...]) -> Iterator[_Part]:
    """The part with its ends, if every valence is met once the exits are bonded."""
    starved = {i for i, node in enumerate(part.nodes) if not node.content}
    if not exits:
        if not starved and _plausible(part, -1, ()):
            yield replace(part, ends=(0,) if entry else ())
        return
    total = sum(exits)
    for i in reversed(part.chain):
        node = part.nodes[i]
        if starved <= {i} and node.used + total in node.valences and _plausible(part, i, exits):
            yield replace(part, ends=(0, *[i] * len(exits)))


def _plausible(part: _Part, end: int, exits: tuple[int, ...]) -> bool:
    """Whether each expanded octet has the double bond (to oxygen, for N) that explains it."""
    total, largest = sum(exits), max(exits, default=0)
    for i, node in enumerate(part.nodes):
        if node.text == "C" and node.used == 4:
            partners = [b if a == i else a for a, b, o in part.bonds if o == 2 and i in (a, b)]
            if len(partners) > 1 and any(part.nodes[j].text == "C" for j in partners):
                return False
        if node.charge or node.text not in ("N", "P", "S", "Se", "As", "Te"):
            continue
        used = node.used + (total if i == end else 0)
        if used <= node.valences[0]:
            continue
        partners = [b if a == i else a for a, b, o in part.bonds if o == 2 and i in (a, b)]
        if node.text == "N":
            if not any(part.nodes[j].text == "O" for j in partners):
                return False
            continue
        doubled = sum(part.nodes[j].text in ("O", "N", "S", "Se") for j in partners)
        doubled += i == end and largest > 1
        if doubled < (used - node.valences[0]) // 2:
            return False
    return True


# --- part to molecule ---------------------------------------------------------------------------


def _build(part: _Part, orders: tuple[int, ...]) -> Chem.Mol | None:
    mol = Chem.RWMol()
    where: list[int] = []
    ports: list[int] = []
    paired = {b: a for a, b, order in part.bonds if order == 0}
    placed: dict[int, dict[int, int]] = {}
    for i, node in enumerate(part.nodes):
        if not node.port:
            where.append(_add_atom(mol, node))
            continue
        if i in paired:
            placed[i] = placed[paired[i]]
        else:
            placed[i] = _add_word(mol, node.text)
            ports += placed[i].values()
        port = mol.GetAtomWithIdx(placed[i][node.port])
        where.append(port.GetNeighbors()[0].GetIdx())
        if node.hydrogens:
            mol.AddBond(where[-1], _add_hydrogen(mol, node.hydrogens[0]), Chem.BondType.SINGLE)
    for a, b, order in part.bonds:
        if order:
            mol.AddBond(where[a], where[b], _BOND[order])
    _attach(mol, [where[end] for end in part.ends], orders)
    for i, node in enumerate(part.nodes):
        if node.text == "N" and not node.port and node.used + _ended(part, i, orders) == 5:
            _separate(mol, where[i])
        elif node.text in _ALKALI:
            _ionise(mol, where[i])
    for dummy in sorted(ports, reverse=True):
        _drop(mol, dummy)
    return _clean(mol)


_BOND = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}


def _ended(part: _Part, i: int, orders: tuple[int, ...]) -> int:
    """Orders of the exits on node i, which its `used` leaves out."""
    return sum(o for end, o in list(zip(part.ends, orders, strict=True))[1:] if end == i)


def _add_atom(mol: Chem.RWMol, node: _Node) -> int:
    atom = Chem.Atom(node.text)
    atom.SetFormalCharge(node.charge)
    atom.SetIsotope(node.isotope)
    atom.SetNoImplicit(True)
    atom.SetNumExplicitHs(node.hydrogens.count(0))
    index: int = mol.AddAtom(atom)
    for mass in node.hydrogens:
        if mass:
            mol.AddBond(index, _add_hydrogen(mol, mass), Chem.BondType.SINGLE)
    return index


def _add_hydrogen(mol: Chem.RWMol, mass: int) -> int:
    atom = Chem.Atom(1)
    atom.SetIsotope(mass)
    index: int = mol.AddAtom(atom)
    return index


def _add_word(mol: Chem.RWMol, text: str) -> dict[int, int]:
    """Inserts a named group, its dummies too; gives port -> dummy."""
    shift = mol.GetNumAtoms()
    group = Chem.MolFromSmiles(_TOKENS.get(text) or _run_smiles(text))
    mol.InsertMol(group)
    return {
        atom.GetAtomMapNum() or 1: atom.GetIdx() + shift
        for atom in group.GetAtoms()
        if atom.GetAtomicNum() == 0
    }


def _drop(mol: Chem.RWMol, port: int) -> None:
    """Removes a dummy whose place a new bond has taken, keeping the handedness next to it."""
    bearer = mol.GetAtomWithIdx(port).GetNeighbors()[0]
    if bearer.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED:
        order = [bond.GetOtherAtomIdx(bearer.GetIdx()) for bond in bearer.GetBonds()]
        if (len(order) - 2 - order.index(port)) % 2:
            bearer.InvertChirality()
    mol.RemoveAtom(port)


def _separate(mol: Chem.RWMol, index: int) -> None:
    """N with five bonds, as in a nitro group, to its charged form."""
    atom = mol.GetAtomWithIdx(index)
    for bond in atom.GetBonds():
        other = bond.GetOtherAtom(atom)
        if bond.GetBondType() == Chem.BondType.DOUBLE and other.GetAtomicNum() == 8:
            bond.SetBondType(Chem.BondType.SINGLE)
            other.SetFormalCharge(-1)
            atom.SetFormalCharge(1)
            return


def _ionise(mol: Chem.RWMol, index: int) -> None:
    """An alkali metal on O, S or a halogen to a pair of ions."""
    atom = mol.GetAtomWithIdx(index)
    for other in atom.GetNeighbors():
        if other.GetSymbol() in ("O", "S", "F", "Cl", "Br", "I") and not other.GetFormalCharge():
            mol.RemoveBond(index, other.GetIdx())
            atom.SetFormalCharge(1)
            other.SetFormalCharge(-1)
            return


def _attach(mol: Chem.RWMol, ends: list[int], orders: tuple[int, ...]) -> None:
    for number, (end, order) in enumerate(zip(ends, orders, strict=True), 1):
        dummy = Chem.Atom(0)
        dummy.SetAtomMapNum(number)
        mol.AddBond(end, mol.AddAtom(dummy), _BOND[order])


def _clean(mol: Chem.RWMol) -> Chem.Mol | None:
    try:
        Chem.SanitizeMol(mol)
        clean: Chem.Mol | None = Chem.MolFromSmiles(Chem.MolToSmiles(mol))
    except (ValueError, RuntimeError):
        return None
    return clean
