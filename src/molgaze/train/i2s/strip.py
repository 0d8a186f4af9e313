"""Where the reader looked: the 49 weights of each character over the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .caption import Caption
from .model import GRID

PANEL, ACROSS, LINE = 126, 9, 22  # pixels of a panel, panels in a row, pixels of text
HEAT = (217, 72, 15)


def strip(picture: NDArray[np.uint8], caption: Caption) -> Image.Image:
    """The 49 weights over the picture at each step, a panel a step, the token written below.

    Args:
        picture: (224, 224) as the reader sees it.
        caption: what was read in it.
    """
    small = Image.fromarray(picture).resize((PANEL, PANEL), Image.Resampling.LANCZOS)
    base = np.asarray(small, np.float32)[..., None].repeat(3, 2)
    count = max(len(caption.tokens), 1)
    rows, across = -(-count // ACROSS), min(count, ACROSS)
    figure = Image.new(
        "RGB", (across * (PANEL + 4) + 4, rows * (PANEL + LINE + 4) + LINE + 8), "white"
    )
    pen = ImageDraw.Draw(figure)
    font = ImageFont.load_default(14)
    for i, token in enumerate(caption.tokens):
        weights = caption.weights[i].reshape(GRID, GRID)
        share = weights / max(float(weights.max()), 1e-9)
        side = PANEL // GRID
        cover = share.repeat(side, 0).repeat(side, 1)[..., None] * 0.75  # (PANEL, PANEL, 1)
        panel = base * (1 - cover) + np.array(HEAT, np.float32) * cover
        x, y = 4 + i % ACROSS * (PANEL + 4), 4 + i // ACROSS * (PANEL + LINE + 4)
        figure.paste(Image.fromarray(panel.astype(np.uint8)), (x, y))
        pen.rectangle((x - 1, y - 1, x + PANEL, y + PANEL), outline="lightgrey")
        peak = f"{token}   {caption.probabilities[i]:.2f}   peak {weights.max():.2f}"
        pen.text((x + 2, y + PANEL + 3), peak, "black", font)
    text = caption.smiles or "no molecule"
    text += f"   ({'ended' if caption.ended else 'cut off'}, {caption.confidence:.2f})"
    pen.text((6, figure.height - LINE), text, "black", font)
    return figure
