"""Makes `paper.pdf`, two pages as of an article: text, six molecules with numbers, a table, a plot.

    python examples/paper.py

The text, the rules and the plot are drawn by operators of PDF; the molecules are pictures that
RDKit drew at 300 dots an inch, in one bit.
"""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

HERE = Path(__file__).parent
WIDTH, HEIGHT = 595, 842  # points

#: Page, left and top in points, number, SMILES.
MOLECULES = (
    (1, 80, 300, "1", "CC(=O)Oc1ccccc1C(=O)O"),
    (1, 330, 300, "2", "CN1CCC[C@H]1c1cccnc1"),
    (1, 80, 480, "3a", "CCN(CC)CC(=O)Nc1c(C)cccc1C"),
    (1, 330, 480, "3b", "CC(C)Cc1ccc(cc1)C(C)C(=O)O"),
    (2, 80, 120, "(IV)", "Cn1cnc2c1c(=O)n(C)c(=O)n2C"),
    (2, 330, 120, "A-5", "Clc1ccc2c(c1)C(=NCC(=O)N2C)c1ccccc1"),
)
LINES = (
    "The compounds of this series were made from the acid chlorides in two steps. The mixture",
    "was stirred at room temperature for two hours and poured into water. The organic layer",
    "was washed with brine, dried over sodium sulfate and concentrated. The residue was",
    "purified by chromatography, which gave the products as white solids.",
)


def drawing(smiles: str) -> Image.Image:
    """A molecule in black, with bonds of 16 points at 300 dots an inch, in one bit."""
    canvas = rdMolDraw2D.MolDraw2DCairo(-1, -1)
    options = canvas.drawOptions()
    options.useBWAtomPalette()
    options.fixedBondLength = 66
    options.fixedFontSize = 38
    options.bondLineWidth = 4
    options.scalingFactor = 44
    rdMolDraw2D.PrepareAndDrawMolecule(canvas, Chem.MolFromSmiles(smiles))
    canvas.FinishDrawing()
    return (
        Image.open(io.BytesIO(canvas.GetDrawingText()))
        .convert("L")
        .point(lambda v: 255 * (v > 128), "1")
    )


def text(x: float, y: float, line: str, size: int = 10) -> str:
    """Operators for a line of text whose foot is so far from the top of the page."""
    safe = line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    return f"BT /F {size} Tf {x} {HEIGHT - y} Td ({safe}) Tj ET\n"


def rule(x0: float, y0: float, x1: float, y1: float) -> str:
    """Operators for a straight line, in points from the top left corner."""
    return f"0.8 w {x0} {HEIGHT - y0} m {x1} {HEIGHT - y1} l S\n"


def page_one() -> str:
    """Text above and below."""
    lines = [
        text(60, 70, "Reading structures from pages", 18),
        text(60, 95, "An example of MolGaze"),
    ]
    lines += [text(60, 130 + 14 * k, line) for k, line in enumerate(LINES * 2)]
    lines += [text(60, 680 + 14 * k, line) for k, line in enumerate(LINES)]
    return "".join(lines)


def page_two() -> str:
    """A table and a plot."""
    lines = [text(60, 70, "Table 1. Half-lives and yields", 11)]
    for i in range(7):
        lines.append(rule(80, 320 + 24 * i, 500, 320 + 24 * i))
        for j in range(4) if i < 6 else ():
            lines.append(text(90 + 105 * j, 336 + 24 * i, f"{(i + 2) * (j + 3) * 1.7:.1f}"))
    lines += [rule(80 + 105 * j, 320, 80 + 105 * j, 464) for j in range(5)]
    lines += [rule(120, 520, 120, 740), rule(120, 740, 460, 740)]
    x = np.linspace(0, 1, 40)
    y = 730 - 190 / (1 + np.exp(-10 * (x - 0.5)))
    for a, b, c, d in zip(x, y, x[1:], y[1:], strict=False):
        lines.append(
            rule(round(120 + 330 * a, 2), round(b, 2), round(120 + 330 * c, 2), round(d, 2))
        )
    lines += [text(116 + 66 * k, 756, f"{10 * k}") for k in range(6)]
    return "".join(lines)


def made() -> bytes:
    """The file."""
    streams, pictures = {1: page_one(), 2: page_two()}, []
    for number, left, top, name, smiles in MOLECULES:
        image = drawing(smiles)
        wide, high = image.width * 72 / 300, image.height * 72 / 300
        spot = f"{wide:.2f} 0 0 {high:.2f} {left} {HEIGHT - top - high:.2f}"
        streams[number] += f"q {spot} cm /I{len(pictures)} Do Q\n"
        streams[number] += text(left + wide / 2 - 8, top + high + 12, name)
        pictures.append(image)
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>"]
    first = 4 + len(pictures)
    objects.append(f"<< /Type /Pages /Kids [{first} 0 R {first + 2} 0 R] /Count 2 >>".encode())
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for image in pictures:
        packed = zlib.compress(image.tobytes(), 9)
        head = (
            f"<< /Type /XObject /Subtype /Image /Width {image.width} /Height {image.height} "
            f"/ColorSpace /DeviceGray /BitsPerComponent 1 /Filter /FlateDecode "
            f"/Length {len(packed)} >>\nstream\n"
        )
        objects.append(head.encode() + packed + b"\nendstream")
    names = " ".join(f"/I{k} {4 + k} 0 R" for k in range(len(pictures)))
    for number in (1, 2):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {WIDTH} {HEIGHT}] /Resources "
            f"<< /Font << /F 3 0 R >> /XObject << {names} >> >> "
            f"/Contents {first + 2 * number - 1} 0 R >>".encode()
        )
        packed = zlib.compress(streams[number].encode(), 9)
        head = f"<< /Filter /FlateDecode /Length {len(packed)} >>\nstream\n"
        objects.append(head.encode() + packed + b"\nendstream")
    out, places = b"%PDF-1.5\n", []
    for k, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{k} 0 obj\n".encode() + body + b"\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    out_at = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}".encode()
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\n".encode()
    return out + f"startxref\n{out_at}\n%%EOF\n".encode()


if __name__ == "__main__":
    (HERE / "paper.pdf").write_bytes(made())
