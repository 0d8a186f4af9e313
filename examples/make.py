"""Makes the pictures of this folder, with six programs that draw molecules.

    pip install rdkit epam.indigo pikachu-chem          # and Open Babel: apt-get install openbabel
    npm install openchemlib smiles-drawer @resvg/resvg-js @napi-rs/canvas jsdom
    python examples/make.py --node FOLDER               # where npm put node_modules

The pictures are what the programs write; where a file has other colours or another format than its
program has, the table below says so. `examples.csv` lists them with their answers.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from rdkit import Chem
from rdkit.Chem import rdAbbreviations
from rdkit.Chem.Draw import rdMolDraw2D

HERE = Path(__file__).parent


class Example(NamedTuple):
    """One picture: its file, what is drawn, by which program and how."""

    file: str
    smiles: str
    program: str
    style: dict[str, Any]


EXAMPLES = (
    Example("caffeine.png", "Cn1cnc2c1c(=O)n(C)c(=O)n2C", "RDKit", {}),
    Example(
        "boc-phenylalanine.png",
        "CC(C)(C)OC(=O)N[C@@H](Cc1ccccc1)C(=O)O",
        "RDKit",
        {"short": ("tBu", "CO2H"), "black": True, "size": (420, 300)},
    ),
    Example(
        "amoxicillin.tif",
        "CC1(C)S[C@@H]2[C@H](NC(=O)[C@H](N)c3ccc(O)cc3)C(=O)N2[C@H]1C(=O)O",
        "RDKit",
        {"black": True, "line": 3, "size": (900, 520), "bits": 1},
    ),
    Example(
        "sildenafil.png",
        "CCCc1nn(C)c2c1nc([nH]c2=O)-c1cc(ccc1OCC)S(=O)(=O)N1CCN(C)CC1",
        "Indigo",
        {"render-bond-length": 34, "kekule": True},
    ),
    Example(
        "estradiol.png",
        "C[C@]12CC[C@H]3[C@@H](CCc4cc(O)ccc34)[C@@H]1CC[C@@H]2O",
        "Indigo",
        {"render-bond-length": 60, "render-relative-thickness": 1.4, "render-coloring": False},
    ),
    Example(
        "fluoxetine.jpg",
        "CNCCC(Oc1ccc(cc1)C(F)(F)F)c1ccccc1",
        "Indigo",
        {"short": ("CF3",), "render-bond-length": 34, "render-coloring": False, "quality": 60},
    ),
    Example("diazepam.png", "CN1c2ccc(Cl)cc2C(=NCC1=O)c1ccccc1", "Open Babel", {"size": 300}),
    Example("chloroquine.png", "CCN(CC)CCCC(C)Nc1ccnc2cc(Cl)ccc12", "Open Babel", {"size": 420}),
    Example(
        "retinal.png",
        "CC1=C(C(C)(C)CCC1)/C=C/C(C)=C/C=C/C(C)=C/C=O",
        "Open Babel",
        {"size": 500, "black": True},
    ),
    Example(
        "penicillin-g.png",
        "CC1(C)S[C@@H]2[C@H](NC(=O)Cc3ccccc3)C(=O)N2[C@H]1C(=O)O",
        "OpenChemLib",
        {"width": 520},
    ),
    Example(
        "oseltamivir.png",
        "CCOC(=O)C1=C[C@@H](OC(CC)CC)[C@H](NC(C)=O)[C@@H](N)C1",
        "OpenChemLib",
        {"width": 340},
    ),
    Example(
        "trinitrotoluene.png",
        "Cc1c(cc(cc1[N+](=O)[O-])[N+](=O)[O-])[N+](=O)[O-]",
        "OpenChemLib",
        {"width": 260},
    ),
    Example("melatonin.png", "COc1ccc2[nH]cc(CCNC(C)=O)c2c1", "SmilesDrawer", {"width": 500}),
    Example(
        "lidocaine.png",
        "CCN(CC)CC(=O)Nc1c(C)cccc1C",
        "SmilesDrawer",
        {"width": 420, "theme": "dark"},
    ),
    Example(
        "aspartame.png",
        "COC(=O)[C@H](Cc1ccccc1)NC(=O)[C@@H](N)CC(=O)O",
        "SmilesDrawer",
        {"width": 640},
    ),
    Example("ciprofloxacin.png", "O=C(O)c1cn(C2CC2)c2cc(N3CCNCC3)c(F)cc2c1=O", "PIKAChU", {}),
    Example("nicotine.png", "CN1CCC[C@H]1c1cccnc1", "PIKAChU", {}),
    Example("omeprazole.png", "COc1ccc2[nH]c(nc2c1)S(=O)Cc1ncc(C)c(OC)c1C", "PIKAChU", {}),
)


def abbreviations(example: Example) -> list[Any]:
    """RDKit's own short forms of groups, those that the style asks for."""
    wanted = example.style.get("short", ())
    return [a for a in rdAbbreviations.GetDefaultAbbreviations() if a.label in wanted]


def rdkit(example: Example, folder: Path) -> None:
    """RDKit, with groups shortened and in black if the style says so."""
    mol = Chem.MolFromSmiles(example.smiles)
    mol = rdAbbreviations.CondenseMolAbbreviations(mol, abbreviations(example), maxCoverage=0.8)
    canvas = rdMolDraw2D.MolDraw2DCairo(*example.style.get("size", (360, 300)))
    options = canvas.drawOptions()
    options.bondLineWidth = example.style.get("line", 2)
    if example.style.get("black"):
        options.useBWAtomPalette()
    rdMolDraw2D.PrepareAndDrawMolecule(canvas, mol)
    canvas.FinishDrawing()
    save(canvas.GetDrawingText(), example, folder)


def indigo(example: Example, folder: Path) -> None:
    """Indigo; shortened groups reach it as the contracted S-groups of a molfile."""
    from indigo import Indigo  # noqa: PLC0415
    from indigo.renderer import IndigoRenderer  # noqa: PLC0415

    engine = Indigo()
    renderer = IndigoRenderer(engine)
    engine.setOption("render-output-format", "png")
    engine.setOption("render-background-color", "1.0, 1.0, 1.0")
    engine.setOption("render-stereo-style", "none")
    for name, value in example.style.items():
        if name.startswith("render-"):
            engine.setOption(name, value)
    drawn = Chem.MolFromSmiles(example.smiles)
    mol = engine.loadMolecule(example.smiles)
    if example.style.get("kekule"):
        Chem.Kekulize(drawn)
        mol = engine.loadMolecule(Chem.MolToSmiles(drawn, kekuleSmiles=True))
    if example.style.get("short"):
        drawn = rdAbbreviations.LabelMolAbbreviations(drawn, abbreviations(example), 0.8)
        mol = engine.loadMolecule(Chem.MolToV3KMolBlock(drawn))
    mol.layout()
    save(bytes(renderer.renderToBuffer(mol)), example, folder)


def open_babel(example: Example, folder: Path) -> None:
    """Open Babel's command line."""
    file = str(folder / example.file)
    command = ["obabel", f"-:{example.smiles}", "-O", file, "-xp", str(example.style["size"])]
    if example.style.get("black"):
        command.append("-xu")
    subprocess.run(command, check=True, capture_output=True)


def pikachu(example: Example, folder: Path) -> None:
    """PIKAChU, which draws with matplotlib."""
    from pikachu.general import png_from_smiles  # noqa: PLC0415

    png_from_smiles(example.smiles, str(folder / example.file))


def javascript(examples: list[Example], folder: Path, node: Path) -> None:
    """OpenChemLib and SmilesDrawer, by draw.mjs."""
    jobs = [
        {
            "program": e.program,
            "smiles": e.smiles,
            "file": str((folder / e.file).resolve()),
            **e.style,
        }
        for e in examples
    ]
    command = ["node", str((HERE / "draw.mjs").resolve()), json.dumps(jobs)]
    subprocess.run(command, check=True, cwd=node)


def save(data: bytes, example: Example, folder: Path) -> None:
    """Write a drawing in the format of its file name."""
    with Image.open(io.BytesIO(data)) as drawing:
        picture = drawing.convert("RGB")
    if example.style.get("bits") == 1:
        picture = picture.convert("L").point([0] * 160 + [255] * 96).convert("1")
        picture.save(folder / example.file, compression="group4")
    else:
        picture.save(folder / example.file, quality=example.style.get("quality", 90))


PROGRAMS: dict[str, Callable[[Example, Path], None]] = {
    "RDKit": rdkit,
    "Indigo": indigo,
    "Open Babel": open_babel,
    "PIKAChU": pikachu,
}


def main() -> None:
    """Draw all, and write the table."""
    parser = argparse.ArgumentParser(description="Make the pictures of examples/.")
    parser.add_argument("--node", type=Path, required=True, help="folder that holds node_modules")
    parser.add_argument("--out", type=Path, default=HERE, help="default: the folder of this file")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for example in EXAMPLES:
        if example.program in PROGRAMS:
            PROGRAMS[example.program](example, options.out)
    rest = [e for e in EXAMPLES if e.program not in PROGRAMS]
    javascript(rest, options.out, options.node)
    with open(options.out / "examples.csv", "w", newline="", encoding="utf-8") as lines:
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(("file", "smiles", "program"))
        for e in EXAMPLES:
            table.writerow((e.file, Chem.CanonSmiles(e.smiles), e.program))


if __name__ == "__main__":
    main()
