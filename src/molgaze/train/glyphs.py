"""The reader of glyphs, fitted on phrases that are drawn in many fonts and spoiled as by a scanner.

    python -m molgaze.train.glyphs src/molgaze/weights/glyphs.npz

It takes about half a minute of a core.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ..glyphs import CLASSES, SOLID, line_of, probabilities
from .draw import fonts, usual_fonts

Rng = np.random.Generator
Floats = NDArray[np.float32]

HIDDEN = 64  # neurons
ROUNDS = 30  # over all glyphs
BATCH = 128
RATE = 2e-3
DECAY = 1e-4  # of the weights a step, in shares of the rate
HELD_OUT = 10  # every so many phrases are kept to check the fit


def phrase(rng: Rng) -> str:
    """What may be printed beside a drawing: mostly a number, else anything."""
    number = str(rng.integers(1, int(rng.choice([10, 100, 1000]))))
    letter = str(rng.choice(list("abcdefghijklmnopqrstuvwxyz")))
    large = str(rng.choice(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")))
    roman = str(
        rng.choice(["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "IIa"])
    )
    kinds = (
        number, number + letter, f"({number})", f"({roman})", f"({number}{letter})", roman,
        f"{large}-{number}", f"{large}{number}", f"[{number}]", f"{number}-{letter}", f"{number}'",
        f"{large}{number}'",
        f"{number}.", f"{number}:", f"({letter})", f"{number}{letter}, R = {large}",
        str(rng.choice(["Example ", "Compound ", "Formula ", "Cpd. ", "Ex. ", "No. "])) + number,
    )  # fmt: skip
    if rng.random() < 0.7:
        return str(rng.choice(kinds))
    return "".join(rng.choice(list(CLASSES), int(rng.integers(2, 7))))


def drawn(text: str, rng: Rng) -> tuple[Image.Image, list[float]]:
    """A phrase as ink, 255, and where each of its glyphs ends, in pixels from the left."""
    names = usual_fonts() if rng.random() < 0.75 else fonts()
    font = ImageFont.truetype(names[int(rng.integers(len(names)))], int(rng.integers(15, 42)))
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("L", (int(right - left) + 16, int(bottom - top) + 16), 0)
    pen = ImageDraw.Draw(image)
    pen.text((8 - left, 8 - top), text, 255, font)
    ends = [8 - left + pen.textlength(text[: k + 1], font) for k in range(len(text))]
    return image, ends


def spoiled(image: Image.Image, rng: Rng) -> Image.Image:
    """What a scanner does to ink; the places stay."""
    kind = rng.random()
    if kind < 0.2:
        return image
    turned = image.rotate(float(rng.normal(0, 1.0)), Image.Resampling.BICUBIC)
    soft = turned.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 1.1))))
    if kind < 0.65:  # one bit, as patents are
        level = float(rng.uniform(70, 170))
        grey = np.asarray(soft) + rng.normal(0, 25, (soft.height, soft.width))
        return Image.fromarray(((grey > level) * 255).astype(np.uint8))
    if kind < 0.85:
        file = io.BytesIO()
        soft.save(file, "JPEG", quality=int(rng.integers(15, 70)))
        return Image.open(file)
    grey = np.asarray(soft) * rng.uniform(0.6, 1) + rng.normal(0, 12, (soft.height, soft.width))
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))


def examples(text: str, rng: Rng) -> tuple[list[Floats], list[int]]:
    """Features of the glyphs of a drawn phrase, and their classes; without those that touch."""
    image, ends = drawn(text, rng)
    line = line_of(np.asarray(spoiled(image, rng)), float(rng.uniform(*SOLID)), is_cut=False)
    if line is None:
        return [], []
    starts = np.r_[0.0, ends[:-1]]
    shown = [k for k, c in enumerate(text) if c != " "]
    middles = np.array([(starts[k] + ends[k]) / 2 for k in shown])
    found: list[Floats] = []
    classes: list[int] = []
    for box, features in zip(line.boxes, line.features, strict=True):
        inside = np.flatnonzero((middles >= box[0] - 1) & (middles <= box[2] + 1))
        if len(inside) == 1:
            found.append(features)
            classes.append(CLASSES.index(text[shown[int(inside[0])]]))
    return found, classes


def fit(x: Floats, y: NDArray[np.int64], rng: Rng) -> tuple[Floats, Floats, Floats, Floats]:
    """Weights of the network, by Adam over batches of glyphs.

    Args:
        x: (n, SIDE ** 2 + 4) features.
        y: (n,) classes.
        rng: of the order of the glyphs.
    """
    count = x.shape[1], HIDDEN, len(CLASSES)
    weights = [
        (rng.normal(0, 1, count[:2]) * np.sqrt(2 / (0.3 * count[0]))).astype(np.float32),
        np.zeros(count[1], np.float32),
        (rng.normal(0, 1, count[1:]) * np.sqrt(1 / count[1])).astype(np.float32),
        np.zeros(count[2], np.float32),
    ]
    slopes = [(np.zeros_like(w), np.zeros_like(w)) for w in weights]
    step, steps = 0, ROUNDS * -(-len(x) // BATCH)
    for _ in range(ROUNDS):
        order = rng.permutation(len(x))
        for start in range(0, len(x), BATCH):
            chosen = order[start : start + BATCH]
            inputs, wanted = x[chosen], y[chosen]
            hidden = np.maximum(inputs @ weights[0] + weights[1], 0)
            scores = hidden @ weights[2] + weights[3]
            error = np.exp(scores - scores.max(1, keepdims=True))
            error /= error.sum(1, keepdims=True)
            error[np.arange(len(chosen)), wanted] -= 1
            error /= len(chosen)
            back = (error @ weights[2].T) * (hidden > 0)
            gradients = [inputs.T @ back, back.sum(0), hidden.T @ error, error.sum(0)]
            step += 1
            rate = RATE * (1 - step / steps) + 1e-5
            for k, gradient in enumerate(gradients):
                mean, square = slopes[k]
                mean += 0.1 * (gradient - mean)
                square += 0.001 * (gradient**2 - square)
                scaled = mean / (1 - 0.9**step)
                spread = np.sqrt(square / (1 - 0.999**step)) + 1e-8
                weights[k] -= rate * (scaled / spread + DECAY * weights[k])
    return weights[0], weights[1], weights[2], weights[3]


def fit_glyphs(path: Path, count: int = 6000, seed: int = 0) -> dict[str, float]:
    """Fit the reader of glyphs and write it to a file.

    Args:
        path: of the file, ``glyphs.npz``.
        count: of the phrases that are drawn.
        seed: of all that is drawn.

    Returns:
        How many glyphs there were, and the share read right of those of every tenth phrase, that
        the fit did not see.
    """
    rng = np.random.default_rng(seed)
    features: list[Floats] = []
    classes: list[int] = []
    is_held: list[bool] = []
    for number in range(count):
        found, told = examples(phrase(rng), rng)
        features += found
        classes += told
        is_held += [number % HELD_OUT == HELD_OUT - 1] * len(told)
    x, y, held = np.array(features, np.float32), np.array(classes), np.array(is_held)
    weights = fit(x[~held], y[~held], rng)
    kept = {
        name: weight.astype(np.float16)
        for name, weight in zip(("hidden", "shift", "out", "bias"), weights, strict=True)
    }
    with open(path, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **kept)
    right = probabilities(x[held], weights).argmax(1) == y[held]
    return {"glyphs": float(len(y)), "right": float(right.mean())}


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit the reader of glyphs."""
    parser = argparse.ArgumentParser(prog="python -m molgaze.train.glyphs", description=__doc__)
    parser.add_argument("path", type=Path, help="the file that is written, glyphs.npz")
    parser.add_argument("--phrases", type=int, default=6000, help="that are drawn (6000)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    print(json.dumps(fit_glyphs(given.path, given.phrases, given.seed)))


if __name__ == "__main__":
    main()
