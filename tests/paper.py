"""PDFs made by hand and pages drawn with Pillow, for tests."""

from __future__ import annotations

import io
import zlib

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

HEXAGON = "100 100 m 120 110 l 120 130 l 100 140 l 80 130 l 80 110 l h S"  # in points, y up


def pdf(contents=(), *, size=(300, 400), page="", encrypt=False, images=()):
    """A PDF with a page for each content stream.

    Args:
        contents: streams of drawing operators; /F is a font, /I0, /I1 ... are the images.
        size: (width, height) of the pages in points.
        page: more entries of each page's dictionary.
        encrypt: with a handler that nobody knows, so that it can't be opened.
        images: dictionaries' entries and data of pictures.
    """
    objects = ["<< /Type /Catalog /Pages 2 0 R >>"]
    first = 4 + len(images)
    kids = " ".join(f"{first + 2 * i} 0 R" for i in range(len(contents)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(contents)} >>")
    objects.append("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    data = [o.encode() for o in objects]
    for entries, content in images:
        head = f"<< /Type /XObject /Subtype /Image {entries} /Length {len(content)} >>\nstream\n"
        data.append(head.encode() + content + b"\nendstream")
    names = " ".join(f"/I{i} {4 + i} 0 R" for i in range(len(images)))
    for i, content in enumerate(contents):
        raw = content.encode() if isinstance(content, str) else content
        data.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {size[0]} {size[1]}] {page} "
            f"/Resources << /Font << /F 3 0 R >> /XObject << {names} >> >> "
            f"/Contents {first + 2 * i + 1} 0 R >>".encode()
        )
        data.append(f"<< /Length {len(raw)} >>\nstream\n".encode() + raw + b"\nendstream")
    out, places = b"%PDF-1.7\n", []
    for number, body in enumerate(data, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = len(out)
    out += f"xref\n0 {len(data) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{p:010d} 00000 n \n".encode() for p in places)
    lock = ""
    if encrypt:
        key = "00" * 32
        lock = f"/Encrypt << /Filter /Standard /V 1 /R 2 /O <{key}> /U <{key}> /P -4 >> "
        lock += f"/ID [<{'11' * 16}> <{'11' * 16}>] "
    out += f"trailer\n<< /Size {len(data) + 1} /Root 1 0 R {lock}>>\n".encode()
    return out + f"startxref\n{table}\n%%EOF\n".encode()


def scan(image):
    """A PDF of one page that is one picture, 300 x 400 points."""
    grey = image.convert("L")
    entries = f"/Width {grey.width} /Height {grey.height} /ColorSpace /DeviceGray "
    entries += "/BitsPerComponent 8 /Filter /FlateDecode"
    stream = "q 300 0 0 400 0 0 cm /I0 Do Q"
    return pdf([stream], images=[(entries, zlib.compress(grey.tobytes()))])


def molecule(smiles, bond=26.0, size=15):
    """A drawing (h, w) uint8, 255 paper, cropped to its ink, with bonds of so many pixels."""
    mol = Chem.MolFromSmiles(smiles)
    canvas = rdMolDraw2D.MolDraw2DCairo(-1, -1)
    options = canvas.drawOptions()
    options.useBWAtomPalette()
    options.scalingFactor = bond / 1.5
    options.fixedBondLength = bond
    options.fixedFontSize = size
    options.padding = 0.1
    rdMolDraw2D.PrepareAndDrawMolecule(canvas, mol)
    canvas.FinishDrawing()
    image = Image.open(io.BytesIO(canvas.GetDrawingText())).convert("L")
    grey = np.asarray(image)
    ys, xs = np.nonzero(grey < 190)
    return grey[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]


class Sheet:
    """A page that is drawn upon."""

    def __init__(self, width=1200, height=1000):
        self.image = Image.new("L", (width, height), 255)
        self.pen = ImageDraw.Draw(self.image)
        self.boxes = []

    def molecule(self, smiles, x, y, **style):
        """Set a drawing with its top left corner there, and remember its box."""
        drawn = molecule(smiles, **style)
        here = self.image.crop((x, y, x + drawn.shape[1], y + drawn.shape[0]))
        self.image.paste(Image.fromarray(np.minimum(np.asarray(here), drawn)), (x, y))
        self.boxes.append((x, y, x + drawn.shape[1], y + drawn.shape[0]))

    def text(self, x, y, lines, size=20):
        """Set lines of text."""
        font = ImageFont.load_default(size)
        for i, line in enumerate(lines):
            self.pen.text((x, y + i * size * 1.4), line, 0, font)

    def table(self, x, y, rows, columns, wide=140, high=34):
        """Set a ruled table with numbers in it."""
        font = ImageFont.load_default(18)
        for i in range(rows + 1):
            self.pen.line([(x, y + i * high), (x + columns * wide, y + i * high)], 0, 2)
        for j in range(columns + 1):
            self.pen.line([(x + j * wide, y), (x + j * wide, y + rows * high)], 0, 2)
        for i in range(rows):
            for j in range(columns):
                self.pen.text((x + j * wide + 12, y + i * high + 6), f"{i * 3.7 + j:.2f}", 0, font)

    def plot(self, x, y, width=400, height=260):
        """Set a plot with axes, ticks, a curve and points."""
        font = ImageFont.load_default(16)
        self.pen.line([(x, y), (x, y + height), (x + width, y + height)], 0, 2)
        for k in range(6):
            at = x + k * width / 5
            self.pen.line([(at, y + height), (at, y + height + 7)], 0, 2)
            self.pen.text((at - 6, y + height + 10), str(k * 10), 0, font)
        across = np.linspace(0, 1, 60)
        up = y + height - 0.9 * height / (1 + np.exp(-12 * (across - 0.5)))
        self.pen.line(list(zip((x + across * width).tolist(), up.tolist(), strict=True)), 0, 2)
        for a, b in zip((x + across * width).tolist()[::8], up.tolist()[::8], strict=True):
            self.pen.ellipse([a - 4, b - 4, a + 4, b + 4], None, 0, 2)

    @property
    def pixels(self):
        """(H, W) uint8, 255 paper."""
        return np.asarray(self.image)


WORDS = [
    "The mixture was stirred at room temperature for two hours and",
    "then poured into water. The organic layer was washed with brine,",
    "dried over sodium sulfate and concentrated. The residue was",
    "purified by chromatography to give the product as a white solid.",
]


def overlap(a, b):
    """Intersection over union of two boxes."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    whole = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / whole
