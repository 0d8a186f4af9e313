"""Trained weights to two ONNX graphs, checked against PyTorch before they are let go.

``encoder.onnx``: the tables of :mod:`molgaze.sites` -> ``features`` (N8, D), ``keys`` (N8, A),
``sharp`` (N4, S).

``step.onnx``, for K walks over one picture with L inked cells:

    features, keys (L, A), cells (L, 2), near (L, L) bool: cells beside one another
    grid (n,) int64       the rows of all cells, framed by paper, line by line
    stride (2, 1)         from cell to cell of the grid, in x and in y
    sharp (N4, S), grid4 (n4,) int64, stride4 (2, 1)   the same of the sites of 4x4 pixels, framed
                          by two sites of paper
    seen (K, 1, L, E)     marks so far, seen from the cells, without the newest
    newest (K, 3, 1, 2)   the last step's atom, bond and gaze
    marks (K, 1, S, 2, 2) the atom and the bond of every step so far; far away for none
    hidden (K, 1, H), token (K, 1) int64, place (K, 1, 2)  the last step's; NaN at the start
    ->
    new_seen (K, 1, L, E)
    places (K, 2, 2), shares (K, 2, 1)   the two best places and the attention that falls on them
    words (K, 2, V), new_hidden (K, 2, H)   what is read there
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Sequence
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
from ..sites import CELL, TABLES, Sites, sites
from .fit import load_model
from .metadata import add_metadata
from .model import LONG_JUMP, SHORT_JUMP, WINDOW, Gaze, Location

PEAKS = 2  # places offered at each step


class ExportError(RuntimeError):
    """The exported graphs do not do what the trained model does."""


class EncoderGraph(nn.Module):
    """What ``encoder.onnx`` computes."""

    def __init__(self, model: Gaze) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, patches: Tensor, down4: Tensor, near4: Tensor, down8: Tensor, near8: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        features, sharp = self.model.encoder(patches, down4, near4, down8, near8)
        return features, self.model.w1(features), sharp


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
            asking, given = model.w2.weight, gru["weight_ih_l0"]
            from_hidden = torch.cat([asking[:, : size.hidden], gru["weight_hh_l0"]])
            self.hidden_weights = from_hidden.T.contiguous()  # (H, A + 3 H)
            self.hidden_bias = torch.cat([model.w2.bias, gru["bias_hh_l0"]])
            words = model.embedding.weight  # (V, embedding)
            start = size.features + size.location
            end = start + size.embedding
            read_weights = torch.cat([given[:, :start], given[:, end:]], 1).T.clone()
            read_weights[-2] /= SHORT_JUMP
            read_weights[-1] /= LONG_JUMP
            self.read_weights = read_weights
            steps = torch.arange(float(WINDOW))
            self.window = torch.cartesian_prod(steps, steps).flip(1)  # (W W, 2), x first
            self.token_queries = words @ asking[:, size.hidden :].T  # (V, A)
            self.token_gates = words @ given[:, start:end].T + gru["bias_ih_l0"]  # (V, 3 H)

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
        sharp: Tensor,
        grid4: Tensor,
        stride4: Tensor,
        keys: Tensor,
        cells: Tensor,
        near: Tensor,
        seen: Tensor,
        newest: Tensor,
        marks: Tensor,
        hidden: Tensor,
        token: Tensor,
        place: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        model, size = self.model, self.model.size
        from_hidden = hidden @ self.hidden_weights + self.hidden_bias
        parts = [size.attention, 2 * size.hidden, size.hidden]
        query, door_gates, new_gate = torch.split(from_hidden, parts, -1)  # (K, 1, ..)

        # where to look: V tanh(W1 features + W2 [hidden, last token] + U location)
        kinds = torch.tensor([[float(Location.ATOM)], [Location.BOND], [Location.GAZE]])
        felt = self.felt(cells - newest, kinds)  # (K, 3, L, E)
        new_seen = seen + felt[:, :2].sum(1, keepdim=True)
        query = query + F.embedding(token, self.token_queries)
        location = model.u(seen + felt.sum(1, keepdim=True))  # (K, 1, L, A)
        scores = model.v(torch.tanh(location + (keys + query[:, :, None])))
        weights = torch.softmax(scores.squeeze(-1), -1)  # (K, 1, L)

        # the cells around the two peaks
        peaks = []
        for _ in range(PEAKS):
            mass = torch.where(near[weights.argmax(-1)], weights, 0.0)
            weights = weights - mass
            peaks.append(mass)
        around = torch.cat(peaks, 1)  # (K, P, L)
        shares = around.sum(-1, keepdim=True)
        chosen = around @ cells / shares.clamp(min=1e-12)  # (K, P, 2)

        # what is read there, between four cells in proportion
        spot = chosen[:, :, None]
        low = torch.floor(spot)  # (K, P, 1, 2)
        corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        part = (spot - low + (corners - 1)).abs().prod(-1, keepdim=True)  # (K, P, 4, 1)
        rows = grid[((low + (corners + 1)) @ stride).squeeze(-1).long()]
        context = (part * F.embedding(rows, features)).sum(2)  # (K, P, D)
        beside = torch.round(2 * spot + 0.5) + self.window  # (K, P, W W, 2)
        rows = grid4[(beside @ stride4).squeeze(-1).long()]
        context = context + model.closer(F.embedding(rows, sharp).flatten(2))
        kinds = torch.tensor([float(Location.ATOM), Location.BOND])
        here = self.felt(spot[:, :, None] - marks, kinds).sum((2, 3))  # (K, P, E)

        # what it says: GRU, then words
        jump = chosen - place
        jump = torch.where(torch.isnan(jump), 0.0, jump)
        length = jump.norm(dim=-1, keepdim=True)
        moved = (jump / (length + 0.1), length.clamp(max=2 * SHORT_JUMP), length)
        given = torch.cat([context, here, *moved], -1) @ self.read_weights
        given = given + F.embedding(token, self.token_gates)  # (K, P, 3 H)
        door_given, new_given = torch.split(given, parts[1:], -1)
        reset, update = torch.sigmoid(door_given + door_gates).chunk(2, -1)
        new = torch.tanh(new_given + reset * new_gate)
        new_hidden = new + update * (hidden - new)  # (K, P, H)
        words = F.log_softmax(model.words(new_hidden, context), -1)
        return new_seen, chosen, shares, words, new_hidden


class TorchNet:
    """The trained model behind the same two calls as :class:`molgaze.gaze.Net`."""

    def __init__(self, model: Gaze) -> None:
        self._encoder, self._step = EncoderGraph(model).eval(), StepGraph(model).eval()
        self.hidden, self.location = model.size.hidden, model.size.location

    def encode(
        self, found: Sites
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """As ``encoder.onnx``."""
        with torch.no_grad():
            features, keys, sharp = self._encoder(
                *(torch.from_numpy(getattr(found, name)) for name in TABLES)
            )
        return features.numpy(), keys.numpy(), sharp.numpy()

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
    """Write ``encoder.onnx`` and ``step.onnx``.

    Args:
        runs: safetensors files of runs or of exported weights; the mean of several.
        folder: where the two files go; replaced only if every check passes.
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
        folder.mkdir(parents=True, exist_ok=True)
        with whole(folder / "encoder.onnx") as encoder, whole(folder / "step.onnx") as step:
            shutil.copyfile(Path(rough) / "encoder.onnx", encoder)
            shutil.copyfile(Path(rough) / "step.onnx", step)


Shapes = dict[str, tuple[Tensor, dict[int, str]]]


def _encoder_shapes() -> tuple[Shapes, list[str]]:
    ink = np.zeros((10 * CELL, 14 * CELL), np.float32)
    ink[20:50, 30:33] = 1
    found = sites(ink)
    axes = {"patches": {0: "N2"}, "down4": {0: "N4"}, "near4": {0: "N4"}, "down8": {0: "N8"}}
    shapes = {
        name: (torch.from_numpy(getattr(found, name)), axes.get(name, {1: "N8"})) for name in TABLES
    }
    return shapes, ["features", "keys", "sharp"]


def _step_shapes(model: Gaze) -> tuple[Shapes, list[str]]:
    size, cells = model.size, torch.tensor([[2.0, 3], [3, 3], [4, 3], [4, 4], [9, 8]])
    n, k, s = len(cells), 3, 4
    shapes: Shapes = {
        "features": (torch.rand(30, size.features), {0: "N8"}),
        "grid": (torch.arange(192) % 30, {0: "n"}),
        "stride": (torch.tensor([[1.0], [16.0]]), {}),
        "sharp": (torch.rand(90, size.sharp), {0: "N4"}),
        "grid4": (torch.arange(24 * 36) % 90, {0: "n4"}),
        "stride4": (torch.tensor([[1.0], [36.0]]), {}),
        "keys": (torch.rand(n, size.attention), {0: "L"}),
        "cells": (cells, {0: "L"}),
        "near": ((cells[:, None] - cells).abs().amax(-1) <= 1, {0: "L", 1: "L"}),
        "seen": (torch.rand(k, 1, n, size.location), {0: "K", 2: "L"}),
        "newest": (torch.rand(k, 3, 1, 2) * 8, {0: "K"}),
        "marks": (torch.rand(k, 1, s, 2, 2) * 8, {0: "K", 2: "S"}),
        "hidden": (torch.rand(k, 1, size.hidden), {0: "K"}),
        "token": (torch.tensor([[5], [6], [7]]), {0: "K"}),
        "place": (torch.rand(k, 1, 2) * 8, {0: "K"}),
    }
    return shapes, ["new_seen", "places", "shares", "words", "new_hidden"]


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
    ours, theirs = TorchNet(model), gaze.Net(folder, "cpu")
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
