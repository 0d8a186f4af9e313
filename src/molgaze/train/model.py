"""The gaze reader: CNN encoder, Bahdanau attention over inked cells, GRU decoder.

Attention is taught where to look: every token of a walk has a place, and the attention map of its
step is trained towards that place. In training the context is read at the true place, so no step
waits for another's attention; in reading the peak of the map is the place.

Shapes: B pictures, T steps, L inked cells, (h, w) cells of 8x8 pixels, N8 sites of that size in the
whole batch, D features, A attention width, E location width, H hidden.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..sites import DILATIONS
from ..walk import CHARGED, VOCABULARY, is_glyph

STEREO = ("w>", "w<", "h>", "h<", "~", "x")
SHORT_JUMP, LONG_JUMP = 3.0, 20.0  # cells: scales of how far the gaze jumped
WINDOW = 5  # sites of 4x4 pixels a side, read round the place


@dataclass(frozen=True)
class Size:
    """Sizes of the network."""

    stem: int = 32
    """Channels at stride 2."""
    fine: int = 64
    """Channels at stride 4."""
    fine_blocks: int = 3
    """Residual blocks at stride 4."""
    sharp: int = 32
    """Channels at stride 4 that are read round the place, beside the features of its cell."""
    coarse: int = 128
    """Channels at stride 8."""
    dilations: tuple[int, ...] = (1, 2, 4, 2, 1, 4, 1)
    """One residual block at stride 8 for each."""
    features: int = 256
    attention: int = 96
    location: int = 16
    reach: int = 6
    """How far a place is felt by the location term, in cells."""
    embedding: int = 64
    hidden: int = 384
    dropout: float = 0.1
    vocabulary: int = len(VOCABULARY)


@dataclass
class Batch:
    """Walks and their pictures, padded. Places in cells; NaN where there is none."""

    patches: Tensor  # (N2, 16), and so on: the sites of all pictures in one, see sites.py
    down4: Tensor
    near4: Tensor
    down8: Tensor
    near8: Tensor
    up2: Tensor
    up4: Tensor
    grid: Tensor  # (B, h, w) the row of every cell among the sites; 0 is paper
    grid4: Tensor  # (B, 2h, 2w) the row of every site of 4x4 pixels; 0 is paper
    cells: Tensor  # (B, L, 2) int64, x and y of inked cells; padded with -1
    rows: Tensor  # (B, L) their rows; padded with 0
    tokens: Tensor  # (B, T + 1) int64 from '<' on, 0 is padding
    places: Tensor  # (B, T + 1, 2) float
    atoms: Tensor  # (B, T + 1, 2) the atom that this token put down
    bonds: Tensor  # (B, T + 1, 2) the midpoint of the bond that this token closed

    def to(self, device: torch.device | str) -> Batch:
        return Batch(**{k: v.to(device, non_blocking=True) for k, v in vars(self).items()})


class _Gathered(torch.autograd.Function):
    """A convolution over sites: every site's neighbours side by side, times one matrix.

    The way back gathers too. Over ``near`` tables a site is its neighbours' neighbour, at the
    opposite tap; for ``down`` tables ``up`` names each finer site's places in the table.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, table: Tensor, up: Tensor | None) -> Tensor:
        columns = x.index_select(0, table.flatten()).view(len(table), -1)  # (M, K C)
        result = columns @ weight
        # where autocast is on, the product is made in its type: the way back is made in it too
        matrix = weight.to(result.dtype)
        ctx.save_for_backward(columns.to(result.dtype), matrix, table, up)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        columns, weight, table, up = ctx.saved_tensors
        taps = table.shape[1]
        matrices = weight.view(taps, -1, weight.shape[1])  # (K, C, O)
        paper = (table == 0).to(grad.dtype).t() @ grad  # (K, O) what paper did at each tap
        inked = grad.clone()
        inked[0] = 0
        if up is None:
            around = inked.index_select(0, table.flatten()).view(len(table), -1)  # (M, K O)
            back = around @ matrices.flip(0).transpose(1, 2).reshape(-1, matrices.shape[1])
        else:
            parts = (inked @ weight.t()).view(-1, matrices.shape[1])  # (M K, C)
            back = parts.index_select(0, up.flatten()).view(len(up), 4, -1).sum(1)
        back[0] = torch.einsum("ko,kco->c", paper, matrices)
        return back, columns.t() @ grad, None, None


gathered: Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor] = _Gathered.apply


class Sparse(nn.Module):
    """A convolution over sites, with normalisation: (N, C) to (M, O)."""

    def __init__(self, taps: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(taps * inputs, outputs))
        nn.init.normal_(self.weight, std=math.sqrt(2 / (taps * inputs)))
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor, table: Tensor | None = None, up: Tensor | None = None) -> Tensor:
        """Neighbours by ``table`` (M, K) of sites ``x`` (N, C); without one, x is (M, K C)."""
        if self.training:
            normed: Tensor = self.norm(
                x @ self.weight if table is None else gathered(x, self.weight, table, up)
            )
            return normed
        # reading: the normalisation is part of the matrix
        norm = self.norm
        assert norm.running_var is not None
        assert norm.running_mean is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        shift = norm.bias - norm.running_mean * scale
        columns = x if table is None else x[table].flatten(1)
        return columns @ (self.weight * scale) + shift


class Residual(nn.Module):
    """Two 3x3 convolutions beside the identity, as which it begins; the first may reach farther."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = Sparse(9, width, width), Sparse(9, width, width)
        nn.init.zeros_(self.second.norm.weight)

    def forward(self, x: Tensor, wide: Tensor, near: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.first(x, wide)), near))


class Encoder(nn.Module):
    """Patches of ink at the finest sites to features (N8, D) of the cells, and to sharper ones
    (N4, S) of sites of 4x4 pixels; row 0 is paper's.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.dilations = size.dilations
        self.stem = Sparse(16, 1, size.stem)
        self.down4 = Sparse(16, size.stem, size.fine)
        self.fine = nn.ModuleList(Residual(size.fine) for _ in range(size.fine_blocks))
        self.sharp = nn.Linear(size.fine, size.sharp)
        self.down8 = Sparse(16, size.fine, size.coarse)
        self.coarse = nn.ModuleList(Residual(size.coarse) for _ in size.dilations)
        self.out = nn.Linear(size.coarse, size.features)

    def forward(
        self,
        patches: Tensor,
        down4: Tensor,
        near4: Tensor,
        down8: Tensor,
        near8: Tensor,
        up2: Tensor | None = None,
        up4: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Features of one picture's sites or of a batch's; see ``sites.py`` for the tables."""
        x = F.relu(self.stem(patches))
        x = F.relu(self.down4(x, down4, up2))
        for block in self.fine:
            x = block(x, near4, near4)
        sharp = self.sharp(x)
        x = F.relu(self.down8(x, down8, up4))
        for block, dilation in zip(self.coarse, self.dilations, strict=True):
            x = block(x, near8[DILATIONS.index(dilation)], near8[0])
        return self.out(x), sharp


class Location(nn.Module):
    """What a cell knows of the walk so far: last gaze, atoms put down, bonds crossed.

    Each kind of mark has a table of (2 reach + 1)^2 vectors, one for each offset in whole cells;
    the marks of a walk add up. The same as a convolution over maps of marks, at the cost of a
    look-up.
    """

    GAZE, ATOM, BOND = range(3)

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.reach = size.reach
        self.side = 2 * size.reach + 1
        self.tables = nn.Parameter(torch.randn(3 * self.side**2, size.location) * 0.1)

    def forward(self, kind: int, cells: Tensor, marks: Tensor) -> Tensor:
        """Vectors (B, T, L, E) of marks (B, T, 2) seen from cells (B, L, 2), both in cells."""
        offset = torch.round(cells.float()[:, None] - marks[:, :, None])  # (B, T, L, 2)
        near = (offset.abs() <= self.reach).all(-1)  # False for NaN
        x, y = torch.where(near[..., None], offset, 0.0).long().unbind(-1)
        index = (kind * self.side + y + self.reach) * self.side + x + self.reach
        # most pairs are far apart: look up the others only
        flat = near.flatten().nonzero()[:, 0]
        found = F.embedding(index.flatten()[flat], self.tables)
        none = found.new_zeros(near.numel(), found.shape[-1])
        return none.index_copy(0, flat, found).view(*near.shape, -1)


class Gaze(nn.Module):
    """Encoder, attention and decoder; see the module's text for the shapes."""

    def __init__(self, size: Size | None = None) -> None:
        super().__init__()
        size = size or Size()
        self.size = size
        self.encoder = Encoder(size)
        self.location = Location(size)
        self.embedding = nn.Embedding(size.vocabulary, size.embedding)
        # attention: V tanh(W1 features + W2 [hidden, last token] + U location)
        self.w1 = nn.Linear(size.features, size.attention)
        self.w2 = nn.Linear(size.hidden + size.embedding, size.attention)
        self.u = nn.Linear(size.location, size.attention, bias=False)
        self.v = nn.Linear(size.attention, 1, bias=False)
        # what lies round the place, in finer detail than a cell
        self.closer = nn.Linear(WINDOW**2 * size.sharp, size.features, bias=False)
        nn.init.zeros_(self.closer.weight)
        step = size.features + size.location + size.embedding + 4
        self.gru = nn.GRU(step, size.hidden, batch_first=True)
        self.dense = nn.Linear(size.hidden + size.features, size.hidden)
        self.dropout = nn.Dropout(size.dropout)
        self.out = nn.Linear(size.hidden, size.vocabulary)

    @staticmethod
    def read(features: Tensor, grid: Tensor, places: Tensor) -> Tensor:
        """Features (N8, D), spread over cells by grid (B, h, w), at places (B, T, 2): (B, T, D).

        Between four cells in proportion; beyond the picture there is paper.
        """
        framed = F.pad(grid, (1, 1, 1, 1))
        tall, wide = framed.shape[1:]
        low = torch.floor(places)
        corners = places.new_tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        share = (1 - (places - low)[..., None, :] - corners).abs().prod(-1)  # (B, T, 4)
        x, y = (low[..., None, :] + corners + 1).long().unbind(-1)
        flat = y.clamp(0, tall - 1) * wide + x.clamp(0, wide - 1)
        rows = framed.flatten(1).gather(1, flat.flatten(1)).view(flat.shape)
        return (F.embedding(rows, features) * share[..., None]).sum(-2)

    @staticmethod
    def window(sharp: Tensor, grid4: Tensor, places: Tensor) -> Tensor:
        """The WINDOW x WINDOW sites of ``sharp`` (N4, S) round places (B, T, 2): (B, T, W W S)."""
        edge = WINDOW // 2
        framed = F.pad(grid4, (edge, edge, edge, edge))
        tall, wide = framed.shape[1:]
        x, y = torch.round(2 * places + 0.5).long().unbind(-1)
        x, y = x.clamp(0, wide - WINDOW), y.clamp(0, tall - WINDOW)  # of the top left site
        steps = torch.arange(WINDOW, device=grid4.device)
        around = (steps[:, None] * wide + steps).flatten()
        flat = (y * wide + x)[..., None] + around  # (B, T, W W)
        rows = framed.flatten(1).gather(1, flat.flatten(1)).view(flat.shape)
        return F.embedding(rows, sharp).flatten(2)

    def scores(self, keys: Tensor, query: Tensor, location: Tensor) -> Tensor:
        """Attention logits (B, T, L) from keys (B, L, A), query (B, T, A), location (.., E)."""
        together = self.u(location)  # (B, T, L, A), by far the largest array: used in place
        together += keys[:, None]
        together += query[:, :, None]
        scores: Tensor = self.v(together.tanh_())[..., 0]
        return scores

    @staticmethod
    def motion(place: Tensor, before: Tensor) -> Tensor:
        """The jump of the gaze as (.., 4): direction, and length twice; no jump from NaN."""
        jump = place - before
        jump = torch.where(torch.isnan(jump), 0.0, jump)
        length = jump.norm(dim=-1, keepdim=True)
        short, long = (length / SHORT_JUMP).clamp(max=2), length / LONG_JUMP
        return torch.cat([jump / (length + 0.1), short, long], -1)

    def words(self, hidden: Tensor, context: Tensor) -> Tensor:
        """Token logits (.., V) from hidden (.., H) and context (.., D)."""
        dense = F.relu(self.dense(torch.cat([hidden, context], -1)))
        logits: Tensor = self.out(self.dropout(dense))
        return logits

    def forward(
        self, batch: Batch, jitter: float = 0.0, share: float = 1.0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Token logits and attention under the true gaze.

        Args:
            batch: B walks of T steps.
            jitter: noise on the given gaze, standard deviation in cells.
            share: share of the steps whose attention is worked out.

        Returns:
            logits (B, T, V); attention logits (B, S, L), -inf outside ink; the S steps' indices.
        """
        features, sharp = self.encoder(
            batch.patches,
            batch.down4,
            batch.near4,
            batch.down8,
            batch.near8,
            batch.up2,
            batch.up4,
        )
        features = features.float()
        noise = torch.randn_like(batch.places) * jitter if jitter else 0.0
        gaze = batch.places + noise
        before, place = gaze[:, :-1], gaze[:, 1:]
        steps = place.shape[1]
        atoms, bonds = batch.atoms[:, :-1] + 0.0, batch.bonds[:, :-1] + 0.0
        if jitter:
            atoms = atoms + torch.randn_like(atoms) * jitter
            bonds = bonds + torch.randn_like(bonds) * jitter

        kinds = Location
        where = torch.nan_to_num(place)
        context = self.read(features, batch.grid, where)  # (B, T, D)
        context = context + self.closer(self.window(sharp, batch.grid4, where)).float()
        past = torch.ones(steps, steps, device=where.device).tril()  # marks put down before t
        seen = self.location(kinds.ATOM, where, atoms) + self.location(kinds.BOND, where, bonds)
        # (B, s, t, E): mark s seen from place t; summed over s <= t
        here = torch.einsum("bste,ts->bte", seen, past)
        token = self.embedding(batch.tokens[:, :-1])
        given = torch.cat([context, here, token, self.motion(place, before)], -1)
        kind = given.device.type
        # on CUDA autocast takes fp16 for it, whatever it is told; small slopes vanish in fp16
        mixed = torch.is_autocast_enabled(kind) and kind != "cuda"
        with torch.autocast(kind, torch.get_autocast_dtype(kind), enabled=mixed):
            hidden, _ = self.gru(given.float())  # (B, T, H)
        logits = self.words(hidden, context)

        if share < 1:
            chosen = torch.randperm(steps, device=where.device)[: max(int(steps * share), 1)]
        else:
            chosen = torch.arange(steps, device=where.device)
        valid = batch.cells[..., 0] >= 0  # (B, L)
        keys = F.embedding(batch.rows, self.w1(features))  # (B, L, A)
        earlier = F.pad(hidden, (0, 0, 1, 0))[:, :-1]
        query = self.w2(torch.cat([earlier, token], -1)[:, chosen])
        marks = self.location(kinds.ATOM, batch.cells, atoms)
        marks += self.location(kinds.BOND, batch.cells, bonds)  # (B, T, L, E)
        spots = torch.matmul(past[chosen], marks.flatten(2))  # (B, S, L E)
        spots = spots.view(*spots.shape[:2], *marks.shape[2:])
        spots += self.location(kinds.GAZE, batch.cells, before[:, chosen])
        scores = self.scores(keys, query, spots).float()
        return logits.float(), scores.masked_fill(~valid[:, None], -torch.inf), chosen


def attention_target(batch: Batch, chosen: Tensor, sigma: float = 0.6) -> tuple[Tensor, Tensor]:
    """A small Gaussian around each chosen step's place, over the inked cells.

    Returns:
        Weights (B, S, L) that sum to one, and which steps (B, S) have such a place.
    """
    place = batch.places[:, 1:][:, chosen]
    distance = ((batch.cells.float()[:, None] - place[:, :, None]) ** 2).sum(-1)
    weight = torch.exp(-distance / (2 * sigma**2))
    weight = torch.nan_to_num(weight) * (batch.cells[:, None, :, 0] >= 0)
    total = weight.sum(-1)
    known = (total > 0.1) & (batch.tokens[:, 1:][:, chosen] > 0)
    return weight / total.clamp(min=1e-6)[..., None], known


@functools.cache
def _weights(device: torch.device) -> tuple[Tensor, Tensor]:
    """The weight in the loss of every token (V,), and which are glyphs of labels."""

    def weight(token: str) -> float:
        if token in CHARGED or token in STEREO:
            return 2.0
        return 1.5 if is_glyph(token) else 1.0

    weights = torch.tensor([weight(t) for t in VOCABULARY], device=device)
    return weights, torch.tensor([is_glyph(t) for t in VOCABULARY], device=device)


def emphasis(tokens: Tensor) -> Tensor:
    """Weight of each token: rare marks that turn a molecule into another count twice, the glyphs
    of labels one and a half times.
    """
    return _weights(tokens.device)[0][tokens]


def glyph_tokens(tokens: Tensor) -> Tensor:
    """Which tokens are glyphs of labels."""
    return _weights(tokens.device)[1][tokens]


@dataclass
class Loss:
    """What a batch costs, and how well it was read under the true gaze."""

    total: Tensor
    token: Tensor
    attention: Tensor
    """Kullback-Leibler divergence from the target."""
    token_right: Tensor
    peak_right: Tensor
    """Share of steps whose attention peaks in the true cell."""
    walk_right: Tensor
    glyph_right: Tensor
    """Share of the glyphs of labels; NaN if there are none."""


def loss(
    model: Gaze, batch: Batch, jitter: float = 0.0, share: float = 1.0, weight: float = 0.5
) -> Loss:
    """Token cross-entropy plus weight times attention cross-entropy."""
    logits, scores, chosen = model(batch, jitter, share)
    answer = batch.tokens[:, 1:]
    real = answer > 0
    weights = emphasis(answer) * real
    token = F.cross_entropy(logits.flatten(0, 1), answer.flatten(), reduction="none")
    token = (token * weights.flatten()).sum() / weights.sum().clamp(min=1)
    target, known = attention_target(batch, chosen)
    log = F.log_softmax(scores, -1)
    log = torch.where(torch.isfinite(log), log, 0.0)
    cross = -(target * log).sum(-1)
    count = known.sum().clamp(min=1)
    weights = weights[:, chosen] * known
    attention = (cross * weights).sum() / weights.sum().clamp(min=1)
    with torch.no_grad():
        entropy = -(target * torch.log(target.clamp(min=1e-9))).sum(-1)
        divergence = ((cross - entropy) * known).sum() / count
        hit = logits.argmax(-1) == answer
        peak = scores.argmax(-1) == target.argmax(-1)
        walk = (hit | ~real).all(1)
        is_glyph_token = glyph_tokens(answer)
        glyph_right = (hit & is_glyph_token).sum() / is_glyph_token.sum()
        token_right = (hit & real).sum() / real.sum().clamp(min=1)
        peak_right = (peak & known).sum() / count
    return Loss(
        token + weight * attention,
        token.detach(),
        divergence,
        token_right,
        peak_right,
        walk.float().mean(),
        glyph_right,
    )
