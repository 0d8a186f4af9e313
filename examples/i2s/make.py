"""Draws the pictures of this folder as RDKit draws a molecule when it is asked for nothing else.

    python examples/i2s/make.py

They are of the kind that the reference reader is trained on (docs/attention.md): 300x300 pixels.
`examples.csv` lists them with their answers.
"""

from __future__ import annotations

import csv
from pathlib import Path

from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

HERE = Path(__file__).parent
EXAMPLES = {
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "benzocaine": "CCOC(=O)c1ccc(N)cc1",
    "caffeine": "Cn1c(=O)c2c(ncn2C)n(C)c1=O",
    "ibuprofen": "CC(C)Cc1ccc(C(C)C(=O)O)cc1",
    "lidocaine": "CCN(CC)CC(=O)Nc1c(C)cccc1C",
    "nicotine": "CN1CCC[C@H]1c1cccnc1",
    "paracetamol": "CC(=O)Nc1ccc(O)cc1",
    "vanillin": "COc1cc(C=O)ccc1O",
}


def main() -> None:
    """Write the pictures and their table."""
    with open(HERE / "examples.csv", "w", newline="", encoding="utf-8") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(["file", "smiles"])
        for name, smiles in EXAMPLES.items():
            drawer = rdMolDraw2D.MolDraw2DCairo(300, 300)
            drawer.DrawMolecule(Chem.MolFromSmiles(smiles))
            drawer.FinishDrawing()
            (HERE / f"{name}.png").write_bytes(drawer.GetDrawingText())
            table.writerow([f"{name}.png", Chem.CanonSmiles(smiles)])


if __name__ == "__main__":
    main()
