"""Trained weights to two ONNX graphs, checked against PyTorch before they are let go.

``encoder.onnx``: the tables of :mod:`molgaze.sites` -> ``features`` (N8, D), ``keys`` (N8, A),
``sharp`` (N4, S) between -1 and 1, and ``tone`` (1,) by which it was divided.

``step.onnx``, one step of K walks, each over a picture of its own or several over one. What they
look at stands in tables, one picture's rows after another's; N is the sum of the inked cells of
all walks, L the most that a walk has, and one more:

    features (N8, D), grid (n,) int64      the cells' features, and the row of every cell, line by
                                           line and framed by paper
    stride (K, 1, 2, 1), base (K, 1, 1, 1) to find a place of a walk's picture in ``grid``
    sharp (N4, S), grid4 (n4,), stride4, base4   the same of the sites of 4x4 pixels, framed by two
    tone (K, 1, 1)                         by which ``sharp`` of the walk's picture was divided
    keys (N, A), cells (N, 2)              of the inked cells, walk after walk
    owner (N,) int64                       the walk that a cell belongs to
    spread (K, 1, L) int64                 the cells of each walk; N where there are no more
    around (N, 9) int64                    the 3x3 cells round each, as columns of ``spread``; L - 1
                                           for none
    seen (1, N, E)                         marks so far, seen from the cells, without the newest
    newest (3, K, 2)                       the last step's atom, bond and gaze
    marks (K, 1, S, 2, 2)                  the atom and the bond of every step; far away for none
    hidden (K, 1, H), token (K, 1) int64   the last step's
    place (K, 1, 2)                        the last step's; NaN at the start
    state (K, 1) int64                     of the grammar
    ->
    new_seen (1, N, E)
    places (K, 2, 2), shares (K, 2, 1)     the two best places and the attention that falls on them
    best (K, 2) int64, likely (K, 2)       the likeliest token there that may follow, and its
                                           log-probability
    words (K, 2, V), new_hidden (K, 2, H)  what is read there; -inf for tokens that may not follow
    back (K, 2)                            the log-probability of a jump, may it follow or not

``encoder.int8.onnx`` and ``step.int8.onnx`` do the same for processors, with the large matrices in
whole numbers of seven bits, which every processor multiplies without a carry that is lost.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from .. import gaze, walk
from ..files import whole
from ..sites import CELL, TABLES, Sites, padded, sites
from .fit import load_model
from .metadata import add_metadata
from .model import LONG_JUMP, SHORT_JUMP, WINDOW, Gaze, Location
from .quantization import quantize

PEAKS = 2  # places offered at each step
BOUNDED = ("old", "new", "read", "closer")  # layers of the step whose input is between -1 and 1
ROUNDED = 0.15  # of the features' spread: no more is lost in whole numbers


class ExportError(RuntimeError):
    """The exported graphs do not do what the trained model does."""


class EncoderGraph(nn.Module):
    """What ``encoder.onnx`` computes."""

    def __init__(self, model: Gaze) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, patches: Tensor, down4: Tensor, near4: Tensor, down8: Tensor, near8: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        features, sharp = self.model.encoder(patches, down4, near4, down8, near8)
        tone = sharp.abs().amax().clamp(min=1e-6).unsqueeze(0)
        return features, self.model.w1(features), sharp / tone, tone


class StepGraph(nn.Module):
    """What ``step.onnx`` computes: one step of K walks, each at the P places it may look at next.

    The same sums as in :class:`~molgaze.train.model.Gaze`, for few and large operations: what
    depends on the last token alone is worked out beforehand for every token, what depends on
    hidden alone is one product, and marks of all kinds are looked up at once.
    """

    def __init__(self, model: Gaze) -> None:
        super().__init__()
        self.model = model
        size, location, gru = model.size, model.location, dict(model.gru.named_parameters())
        with torch.no_grad():
            # a frame of zeros around each table: what lies farther is not felt
            tables = location.tables.view(3, location.side, location.side, -1)
            self.tables = F.pad(tables, (0, 0, 1, 1, 1, 1)).flatten(0, 2)
            asking, given, dense = model.w2.weight, gru["weight_ih_l0"], model.dense.weight
            # what multiplies hidden, its old value and its new one
            self.old = _linear(
                torch.cat([asking[:, : size.hidden], gru["weight_hh_l0"]]),
                torch.cat([model.w2.bias, gru["bias_hh_l0"]]),
            )  # (H) -> (A + 3 H)
            self.new = _linear(dense[:, : size.hidden], model.dense.bias)
            # what multiplies the context, and the rest that is read
            words = model.embedding.weight  # (V, embedding)
            start = size.features + size.location
            end = start + size.embedding
            self.read = _linear(torch.cat([given[:, : size.features], dense[:, size.hidden :]]))
            read_rest = torch.cat([given[:, size.features : start], given[:, end:]], 1).T.clone()
            read_rest[-2] /= SHORT_JUMP
            read_rest[-1] /= LONG_JUMP
            self.read_rest = read_rest
            steps = torch.arange(float(WINDOW))
            self.window = torch.cartesian_prod(steps, steps).flip(1)  # (W W, 2), x first
            self.token_queries = words @ asking[:, size.hidden :].T  # (V, A)
            self.token_gates = words @ given[:, start:end].T + gru["bias_ih_l0"]  # (V, 3 H)
            steps = torch.arange(-1.0, 2.0)
            self.nine = torch.cartesian_prod(steps, steps).flip(1)  # (9, 2) as in near8
            self.masks = torch.from_numpy(gaze.masks()).flatten(0, 1)  # (states 3, V)

    def felt(self, offset: Tensor, kinds: Tensor) -> Tensor:
        """Vectors (.., E) of marks of some kinds, felt at an offset (.., 2) from them."""
        edge, side = self.model.location.reach + 1, self.model.location.side + 2
        offset = torch.round(offset).clamp(-edge, edge)
        first = (kinds * side + edge) * side + edge
        index = (offset @ torch.tensor([[1.0], [side]])).squeeze(-1) + first
        return F.embedding(index.long(), self.tables)

    def forward(
        self,
        features: Tensor,
        grid: Tensor,
        stride: Tensor,
        base: Tensor,
        sharp: Tensor,
        grid4: Tensor,
        stride4: Tensor,
        base4: Tensor,
        tone: Tensor,
        keys: Tensor,
        cells: Tensor,
        owner: Tensor,
        spread: Tensor,
        around: Tensor,
        seen: Tensor,
        newest: Tensor,
        marks: Tensor,
        hidden: Tensor,
        token: Tensor,
        place: Tensor,
        state: Tensor,
    ) -> tuple[Tensor, ...]:
        model, size = self.model, self.model.size
        from_hidden = self.old(hidden)  # hidden is a mean of what tanh gave: between -1 and 1
        parts = [size.attention, 2 * size.hidden, size.hidden]
        query, door_gates, new_gate = torch.split(from_hidden, parts, -1)  # (K, 1, ..)

        # where to look: V tanh(W1 features + W2 [hidden, last token] + U location)
        kinds = torch.tensor([[float(Location.ATOM)], [Location.BOND], [Location.GAZE]])
        felt = self.felt(cells - newest.index_select(1, owner), kinds)  # (3, N, E)
        atom, bond, last = torch.split(felt, 1)
        new_seen = seen + atom + bond  # (1, N, E)
        query = (query + F.embedding(token, self.token_queries)).squeeze(1)
        location = model.u(new_seen + last)  # (1, N, A)
        scores = model.v(torch.tanh(location + (keys + query.index_select(0, owner))))
        none = torch.full((1, 1), -torch.inf)
        scores = torch.cat([scores.squeeze(0), none]).squeeze(-1)
        weights = torch.softmax(scores[spread], -1)  # (K, 1, L)

        # the cells around the two peaks
        peaks, masses = [], []
        for _ in range(PEAKS):
            top = weights.argmax(-1, keepdim=True)
            cell = spread.gather(-1, top).squeeze(-1)  # (K, 1)
            nine = around[cell]  # (K, 1, 9)
            masses.append(weights.gather(-1, nine))
            peaks.append(cells[cell])
            if len(peaks) < PEAKS:
                weights = weights.scatter(-1, nine, masses[-1] * 0)
        mass = torch.cat(masses, 1)  # (K, P, 9)
        shares = mass.sum(-1, keepdim=True)
        chosen = torch.cat(peaks, 1) + mass @ self.nine / shares.clamp(min=1e-12)  # (K, P, 2)

        # what is read there, between four cells in proportion
        spot = chosen.unsqueeze(2)
        low = torch.floor(spot)  # (K, P, 1, 2)
        corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        across, down = torch.split((spot - low + (corners - 1)).abs(), 1, -1)
        part = (across * down).transpose(2, 3)  # (K, P, 1, 4)
        rows = grid[((low + (corners + 1)) @ stride + base).squeeze(-1).long()]
        context = (part @ F.embedding(rows, features)).squeeze(2)  # (K, P, D)
        beside = torch.round(2 * spot + 0.5) + self.window  # (K, P, W W, 2)
        rows = grid4[(beside @ stride4 + base4).squeeze(-1).long()]
        context = context + model.closer(F.embedding(rows, sharp).flatten(2)) * tone
        kinds = torch.tensor([float(Location.ATOM), Location.BOND])
        offset = spot.unsqueeze(2) - marks  # (K, P, S, 2, 2)
        here = self.felt(offset, kinds).sum((2, 3))  # (K, P, E)

        # what it says: GRU, then words
        jump = chosen - place
        jump = torch.where(torch.isnan(jump), 0.0, jump)
        length = jump.norm(dim=-1, keepdim=True)
        moved = (jump / (length + 0.1), length.clamp(max=2 * SHORT_JUMP), length)
        most = context.abs().amax(-1, keepdim=True).clamp(min=1e-6)
        from_context = self.read(context / most) * most  # (K, P, 3 H + dense)
        door_read, new_read, said = torch.split(from_context, [*parts[1:], size.hidden], -1)
        given = torch.cat([here, *moved], -1) @ self.read_rest
        given = given + F.embedding(token, self.token_gates)  # (K, P, 3 H)
        door_given, new_given = torch.split(given, parts[1:], -1)
        gates = torch.sigmoid(door_given + door_read + door_gates)
        reset, update = gates.chunk(2, -1)
        new = torch.tanh(new_given + new_read + reset * new_gate)
        new_hidden = new + update * (hidden - new)  # (K, P, H)
        words = F.log_softmax(model.out(F.relu(said + self.new(new_hidden))), -1)
        back = words[..., walk.TOKEN_ID[walk.JUMP]]

        # what may follow, there and in this state of the grammar
        away = offset[:, :, :, 0].square().sum(-1).amin(-1)  # (K, P), of the nearest atom
        near, far = away < gaze.SAME_ATOM**2, away > gaze.OTHER_ATOM**2
        words = words + F.embedding(3 * state + near.long() + 2 * far.long(), self.masks)
        likely, best = words.amax(-1), words.argmax(-1)
        return new_seen, chosen, shares, best, likely, words, new_hidden, back


def _linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A layer of a weight (outputs, inputs), made of parts of others."""
    outputs, inputs = weight.shape
    layer = nn.Linear(inputs, outputs, bias is not None)
    layer.weight.copy_(weight)
    if bias is not None:
        layer.bias.copy_(bias)
    return layer


class TorchNet:
    """The trained model behind the same two calls as :class:`molgaze.gaze.Net`."""

    def __init__(self, model: Gaze) -> None:
        self._encoder, self._step = EncoderGraph(model).eval(), StepGraph(model).eval()
        self.hidden, self.location = model.size.hidden, model.size.location

    def encode(self, found: Sites) -> tuple[NDArray[np.float32], ...]:
        """As ``encoder.onnx``."""
        with torch.no_grad():
            outputs = self._encoder(*(torch.from_numpy(getattr(found, name)) for name in TABLES))
        return tuple(t.numpy() for t in outputs)

    def step(self, **inputs: NDArray[np.generic]) -> list[NDArray[np.float32]]:
        """As ``step.onnx``."""
        with torch.no_grad():
            return [
                t.numpy() for t in self._step(**{k: torch.from_numpy(v) for k, v in inputs.items()})
            ]


def export(
    runs: Sequence[Path],
    folder: Path,
    inks: Sequence[NDArray[np.float32]] = (),
    name: str = "gaze",
    **metadata: str,
) -> None:
    """Write ``encoder.onnx`` and ``step.onnx``, and both in whole numbers.

    Args:
        runs: safetensors files of runs or of exported weights; the mean of several.
        folder: where the four files go; replaced only if every check passes.
        inks: pictures at reading scale, (H, W) 0..1, on which both must read the same walk with
            the same places to 0.1 px.
        name: the model's name.
        metadata: more to keep with the weights.

    Raises:
        ExportError: the graphs and the model differ.
    """
    model = load_model(*runs)
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode() + value.numpy().tobytes())
    notes = {
        "id": digest.hexdigest()[:16],
        "name": name,
        "format": gaze.FORMAT,
        "vocabulary": json.dumps(walk.VOCABULARY),
        "size": json.dumps(asdict(model.size)),
        **metadata,
    }
    with tempfile.TemporaryDirectory() as rough:
        _write(EncoderGraph(model), Path(rough) / "encoder.onnx", _encoder_shapes(), notes)
        _write(StepGraph(model), Path(rough) / "step.onnx", _step_shapes(model), notes)
        _compare(model, Path(rough), inks)
        quantize(Path(rough) / "encoder.onnx")
        quantize(Path(rough) / "step.onnx", BOUNDED)
        _compare_rounded(model, Path(rough), inks)
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as drafts:
            for file in sorted(Path(rough).iterdir()):
                shutil.copyfile(file, drafts.enter_context(whole(folder / file.name)))


Shapes = dict[str, tuple[Tensor, dict[int, str]]]


def _encoder_shapes() -> tuple[Shapes, list[str]]:
    ink = np.zeros((10 * CELL, 14 * CELL), np.float32)
    ink[20:50, 30:33] = 1
    found = sites(ink)
    axes = {"patches": {0: "N2"}, "down4": {0: "N4"}, "near4": {0: "N4"}, "down8": {0: "N8"}}
    shapes = {
        name: (torch.from_numpy(getattr(found, name)), axes.get(name, {1: "N8"})) for name in TABLES
    }
    return shapes, list(gaze.ENCODED)


def _step_shapes(model: Gaze) -> tuple[Shapes, list[str]]:
    size, cells = model.size, torch.tensor([[2.0, 3], [3, 3], [4, 3], [4, 4], [9, 8], [9, 9]])
    n, k, s = len(cells), 3, 4  # two cells a walk
    shapes: Shapes = {
        "features": (torch.rand(30, size.features), {0: "N8"}),
        "grid": (torch.arange(192) % 30, {0: "n"}),
        "stride": (torch.tensor([[[[1.0], [16.0]]]] * k), {0: "K"}),
        "base": (torch.zeros(k, 1, 1, 1), {0: "K"}),
        "sharp": (torch.rand(90, size.sharp), {0: "N4"}),
        "grid4": (torch.arange(24 * 36) % 90, {0: "n4"}),
        "stride4": (torch.tensor([[[[1.0], [36.0]]]] * k), {0: "K"}),
        "base4": (torch.zeros(k, 1, 1, 1), {0: "K"}),
        "tone": (torch.ones(k, 1, 1), {0: "K"}),
        "keys": (torch.rand(n, size.attention), {0: "N"}),
        "cells": (cells, {0: "N"}),
        "owner": (torch.arange(n) // 2, {0: "N"}),
        "spread": (torch.tensor([[[0, 1, n]], [[2, 3, n]], [[4, 5, n]]]), {0: "K", 2: "L"}),
        "around": (torch.tensor([[2, 2, 2, 2, 0, 1, 2, 2, 2]] * n), {0: "N"}),
        "seen": (torch.rand(1, n, size.location), {1: "N"}),
        "newest": (torch.rand(3, k, 2) * 8, {1: "K"}),
        "marks": (torch.rand(k, 1, s, 2, 2) * 8, {0: "K", 2: "S"}),
        "hidden": (torch.rand(k, 1, size.hidden), {0: "K"}),
        "token": (torch.tensor([[5], [6], [7]]), {0: "K"}),
        "place": (torch.rand(k, 1, 2) * 8, {0: "K"}),
        "state": (torch.tensor([[0], [1], [2]]), {0: "K"}),
    }
    return shapes, list(gaze.STEP)


def _write(
    graph: nn.Module, path: Path, described: tuple[Shapes, list[str]], notes: dict[str, str]
) -> None:
    shapes, outputs = described
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own future
        torch.onnx.export(
            graph.eval(),
            tuple(example for example, _ in shapes.values()),
            str(path),
            input_names=list(shapes),
            output_names=outputs,
            dynamic_axes={name: axes for name, (_, axes) in shapes.items()},
            opset_version=17,
            dynamo=False,
        )
    onnx.checker.check_model(onnx.load(path), full_check=True)
    add_metadata([path], notes)


def _compare(model: Gaze, folder: Path, inks: Sequence[NDArray[np.float32]]) -> None:
    """Both must read the same; the first difference is told."""
    ours, theirs = TorchNet(model), gaze.Net(folder, "cpu")  # there are no others yet
    for i, ink in enumerate(inks):
        for beam in (1, 3):
            want = gaze.read(ours, ink, beam)[:1]  # type: ignore[arg-type]
            got = gaze.read(theirs, ink, beam)[:1]
            if [w.tokens for w in want] != [g.tokens for g in got]:
                raise ExportError(f"picture {i}, beam {beam}: another walk than PyTorch's")
            for w, g in zip(want, got, strict=True):
                off = float(np.abs(w.places - g.places).max(initial=0.0))
                if off > 0.1:
                    raise ExportError(f"picture {i}, beam {beam}: places differ by {off:.2f} px")


def _compare_rounded(model: Gaze, folder: Path, inks: Sequence[NDArray[np.float32]]) -> None:
    """What the encoder gives in whole numbers must be close to what it gives without."""
    ours, theirs = TorchNet(model), gaze.Net(folder, "cpu")
    for i, ink in enumerate(inks):
        found = sites(padded(ink))
        for name, want, got in zip(
            gaze.ENCODED, ours.encode(found), theirs.encode(found), strict=True
        ):
            off = float(np.sqrt(np.mean((want - got) ** 2)) / max(float(want.std()), 1e-6))
            if len(want) > 1 and off > ROUNDED:
                raise ExportError(f"picture {i}: {name} in whole numbers are off by {off:.2f}")
