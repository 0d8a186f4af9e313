"""Trained weights to two ONNX graphs, checked against PyTorch before they are let go.

``encoder.onnx``: the tables of :mod:`molgaze.sites` -> ``features`` (N8, D), ``keys`` (N8, A).

``step.onnx``, for K walks over one picture with L inked cells:

    features, grid (h, w) int64, keys (L, A), cells (L, 2) int64
    seen (K, L, E)          marks so far, seen from the cells, without the newest
    atoms, bonds (K, S, 2)  every mark so far, the newest last; NaN for none
    hidden (K, H), token (K,) int64, place (K, 2)  the last step's; NaN at the start
    ->
    new_seen (K, L, E)
    places (K, 2, 2), shares (K, 2)   the two best places and the attention that falls on them
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
from rdkit import Chem
from torch import Tensor, nn

from .. import gaze, walk
from ..picture import PictureError
from ..reader import Reader
from ..sites import CELL, TABLES, Sites, sites
from .corpus import Corpus
from .fit import load_model
from .hands import hand
from .model import Gaze, Location
from .spoil import spoil

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
    ) -> tuple[Tensor, Tensor]:
        features = self.model.encoder(patches, down4, near4, down8, near8)
        return features, self.model.w1(features)


class StepGraph(nn.Module):
    """What ``step.onnx`` computes."""

    def __init__(self, model: Gaze) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        features: Tensor,
        grid: Tensor,
        keys: Tensor,
        cells: Tensor,
        seen: Tensor,
        atoms: Tensor,
        bonds: Tensor,
        hidden: Tensor,
        token: Tensor,
        place: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        model, location = self.model, self.model.location
        new_seen = (
            seen
            + location(Location.ATOM, cells[None], atoms[:, -1:])[:, 0]
            + location(Location.BOND, cells[None], bonds[:, -1:])[:, 0]
        )
        weights = model.attend(keys[None], cells, hidden, token, place, new_seen)  # (K, L)
        spots = cells.to(weights.dtype)
        places, shares = [], []
        for _ in range(PEAKS):
            peak = spots[weights.argmax(-1)]  # (K, 2)
            near = ((spots[None] - peak[:, None]).abs() <= 1).all(-1).to(weights.dtype)
            mass = weights * near
            share = mass.sum(-1)
            places.append((mass[..., None] * spots).sum(1) / share.clamp(min=1e-12)[:, None])
            shares.append(share)
            weights = weights * (1 - near)
        chosen = torch.stack(places, 1)  # (K, P, 2)
        here = location(Location.ATOM, chosen, atoms).sum(1) + location(
            Location.BOND, chosen, bonds
        ).sum(1)  # (K, P, E)

        def each(x: Tensor) -> Tensor:  # every walk goes on at each of its places: K times P
            return x.repeat_interleave(PEAKS, 0)

        words, states = model.step(
            features,
            grid,
            each(hidden),
            each(token),
            each(place),
            chosen.flatten(0, 1),
            here.flatten(0, 1),
        )
        return (
            new_seen,
            chosen,
            torch.stack(shares, 1),
            words.view(-1, PEAKS, words.shape[-1]),
            states.view(-1, PEAKS, states.shape[-1]),
        )


class TorchNet:
    """The trained model behind the same two calls as :class:`molgaze.gaze.Net`."""

    def __init__(self, model: Gaze) -> None:
        self._encoder, self._step = EncoderGraph(model).eval(), StepGraph(model).eval()
        self.hidden, self.location = model.size.hidden, model.size.location

    def encode(self, found: Sites) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """As ``encoder.onnx``."""
        with torch.no_grad():
            features, keys = self._encoder(
                *(torch.from_numpy(getattr(found, name)) for name in TABLES)
            )
        return features.numpy(), keys.numpy()

    def step(self, **inputs: NDArray[np.generic]) -> list[NDArray[np.float32]]:
        """As ``step.onnx``."""
        with torch.no_grad():
            return [
                t.numpy() for t in self._step(**{k: torch.from_numpy(v) for k, v in inputs.items()})
            ]


def export(
    run: Path,
    folder: Path,
    inks: Sequence[NDArray[np.float32]] = (),
    name: str = "gaze",
    **metadata: str,
) -> None:
    """Write ``encoder.onnx`` and ``step.onnx``.

    Args:
        run: a run's or exported weights' safetensors file.
        folder: where the two files go; replaced only if every check passes.
        inks: pictures at reading scale, (H, W) 0..1, on which both must read the same walk with
            the same places to 0.1 px.
        name: the model's name.
        metadata: more to keep with the weights, such as the confidence's calibration.

    Raises:
        ExportError: the graphs and the model differ.
    """
    model = load_model(run)
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
        for file in ("encoder.onnx", "step.onnx"):
            shutil.move(Path(rough) / file, folder / (file + ".tmp"))
        for file in ("encoder.onnx", "step.onnx"):
            (folder / (file + ".tmp")).replace(folder / file)


def calibrate(folder: Path, data: Sequence[Path], count: int = 600, seed: int = 0) -> list[float]:
    """Make the confidence of exported weights honest on held-out drawings.

    Reads ``count`` spoiled drawings of molecules that training never saw and fits the chance of
    being right as a logistic function of the reading's log-probability; the two numbers go into
    both files' metadata.

    Returns:
        Slope and shift.
    """
    rng = np.random.default_rng(seed)
    molecules = iter(Corpus(data, [seed, 3], held_out=True, pool=32, uses=1))
    reader = Reader(folder, device="cpu")
    scores: list[float] = []
    right: list[bool] = []
    while len(scores) < count:
        mol = next(molecules)
        spoilt = spoil(hand(mol, rng), rng)
        picture = np.pad(255 - spoilt.ink, 16, constant_values=255)
        try:
            reading = reader.read(picture)
        except PictureError:
            continue
        if reading.probabilities:
            scores.append(max(float(np.log(np.maximum(reading.probabilities, 1e-12)).sum()), -50.0))
            right.append(
                reading.smiles == Chem.MolToSmiles(Chem.MolFromSmiles(Chem.MolToSmiles(mol)))
            )
    slope, shift = logistic(np.array(scores), np.array(right, dtype=np.float64))
    for file in ("encoder.onnx", "step.onnx"):
        stored = onnx.load(folder / file)
        kept = {e.key: e.value for e in stored.metadata_props}
        kept["calibration"] = json.dumps([round(slope, 4), round(shift, 4)])
        onnx.helper.set_model_props(stored, kept)
        onnx.save(stored, folder / (file + ".tmp"))
        (folder / (file + ".tmp")).replace(folder / file)
    return [slope, shift]


def logistic(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and shift of the logistic curve through y (0 or 1) over x, by Newton's method.

    A small penalty keeps them finite where x parts y in two.
    """
    design = np.stack([x, np.ones_like(x)], 1)
    weights = np.zeros(2)
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        gradient = design.T @ (y - p) - 1e-2 * weights
        curve = design.T @ (design * (p * (1 - p))[:, None]) + 1e-2 * np.eye(2)
        weights = weights + np.linalg.solve(curve, gradient)
    return float(weights[0]), float(weights[1])


Shapes = dict[str, tuple[Tensor, dict[int, str]]]


def _encoder_shapes() -> tuple[Shapes, list[str]]:
    ink = np.zeros((10 * CELL, 14 * CELL), np.float32)
    ink[20:50, 30:33] = 1
    found = sites(ink)
    axes = {"patches": {0: "N2"}, "down4": {0: "N4"}, "near4": {0: "N4"}, "down8": {0: "N8"}}
    shapes = {
        name: (torch.from_numpy(getattr(found, name)), axes.get(name, {1: "N8"})) for name in TABLES
    }
    return shapes, ["features", "keys"]


def _step_shapes(model: Gaze) -> tuple[Shapes, list[str]]:
    size, cells = model.size, torch.tensor([[2, 3], [3, 3], [4, 3], [4, 4], [9, 8]])
    n, k, s = len(cells), 3, 4
    marks = torch.rand(k, s, 2) * 8
    shapes: Shapes = {
        "features": (torch.rand(30, size.features), {0: "N8"}),
        "grid": (torch.arange(140).view(10, 14) % 30, {0: "h", 1: "w"}),
        "keys": (torch.rand(n, size.attention), {0: "L"}),
        "cells": (cells, {0: "L"}),
        "seen": (torch.rand(k, n, size.location), {0: "K", 1: "L"}),
        "atoms": (marks, {0: "K", 1: "S"}),
        "bonds": (marks.clone(), {0: "K", 1: "S"}),
        "hidden": (torch.rand(k, size.hidden), {0: "K"}),
        "token": (torch.tensor([5, 6, 7]), {0: "K"}),
        "place": (torch.rand(k, 2) * 8, {0: "K"}),
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
    stored = onnx.load(path)
    for key, value in notes.items():
        entry = stored.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(stored, full_check=True)
    onnx.save(stored, path)


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
