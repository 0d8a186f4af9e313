"""Sites against dense pictures: the same convolutions, there and back."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from molgaze.sites import DILATIONS, Sites, padded, sites

torch = pytest.importorskip("torch")

from molgaze.train.fit import Example, collate
from molgaze.train.model import Batch, Sparse


def picture(seed: int = 0, height: int = 61, width: int = 90) -> NDArray[np.float32]:
    """Some strokes and a blot, with an odd size."""
    rng = np.random.default_rng(seed)
    ink = np.zeros((height, width), np.float32)
    for _ in range(4):
        y, x = rng.integers(4, (height - 14, width - 24))
        ink[y : y + 3, x : x + int(rng.integers(5, 20))] = rng.uniform(0.4, 1)
    return padded(ink)


def full_picture() -> NDArray[np.float32]:
    """Ink everywhere, so that every site is one."""
    return np.random.default_rng(1).uniform(0.5, 1, (48, 64)).astype(np.float32)


def test_the_tables_name_the_neighbours() -> None:
    found = sites(picture(), upward=True)
    assert found.cells.shape == (len(found.down8) - 1, 2)
    row_of = {(int(x), int(y)): i + 1 for i, (x, y) in enumerate(found.cells)}
    for row, (x, y) in enumerate(found.cells.tolist(), 1):
        assert found.grid[y, x] == row
        for table, d in zip(found.near8, DILATIONS, strict=True):
            around = [(x + i * d, y + j * d) for j in (-1, 0, 1) for i in (-1, 0, 1)]
            assert table[row].tolist() == [row_of.get(p, 0) for p in around]
    assert not found.near8[:, 0].any()  # paper's neighbours are paper


def test_up_tables_are_the_inverse_of_down_tables() -> None:
    found = sites(picture(3), upward=True)
    for down, up in ((found.down4, found.up2), (found.down8, found.up4)):
        flat = down.ravel()
        for row in range(1, len(up)):
            assert sorted(up[row][up[row] > 0]) == sorted(np.flatnonzero(flat == row))


def test_blank_paper_has_no_cells() -> None:
    found = sites(np.zeros((40, 24), np.float32))
    assert len(found.cells) == 0
    assert len(found.patches) == len(found.down4) == len(found.down8) == 1


@pytest.mark.parametrize("level", ["down8", "near8"])
def test_where_all_is_ink_a_sparse_convolution_is_a_dense_one(level: str) -> None:
    found = sites(full_picture(), upward=True)
    h, w = found.grid.shape
    stride = 2 if level == "down8" else 1
    taps, table = (16, found.down8) if stride == 2 else (9, found.near8[0])
    layer = Sparse(taps, 3, 5)
    layer.eval()
    x = torch.randn(len(found.down4) if stride == 2 else len(found.down8), 3)
    x[0] = 0
    with torch.no_grad():
        got = layer(x, torch.from_numpy(table))[1:]
        side = 4 if stride == 2 else 3
        kernel = layer.weight.view(side, side, 3, 5).permute(3, 2, 0, 1)
        image = x[1:].view(1, h * stride, w * stride, 3).permute(0, 3, 1, 2)
        want = torch.conv2d(image, kernel, stride=stride, padding=1)
        want = want[0].permute(1, 2, 0).reshape(-1, 5) / (1 + layer.norm.eps) ** 0.5
    assert torch.allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("level", ["down4", "down8", "near4", "near8"])
def test_gradients_are_those_of_plain_look_ups(level: str) -> None:
    found = sites(picture(5), upward=True)
    table, up, count = {
        "down4": (found.down4, found.up2, len(found.patches)),
        "down8": (found.down8, found.up4, len(found.down4)),
        "near4": (found.near4, None, len(found.down4)),
        "near8": (found.near8[1], None, len(found.down8)),
    }[level]
    rows = torch.from_numpy(table)
    layer = Sparse(table.shape[1], 3, 5).double()
    layer.norm = torch.nn.Identity()
    x = torch.randn(count, 3, dtype=torch.float64, requires_grad=True)
    aim = torch.randn(len(table), 5, dtype=torch.float64)
    ours = torch.autograd.grad(
        (layer(x, rows, None if up is None else torch.from_numpy(up)) * aim).sum(),
        (x, layer.weight),
    )
    plain = torch.autograd.grad(
        ((x[rows].flatten(1) @ layer.weight) * aim).sum(), (x, layer.weight)
    )
    for a, b in zip(ours, plain, strict=True):
        assert torch.allclose(a, b)


def test_a_batch_names_the_rows_of_its_own_pictures() -> None:
    alone = [sites(picture(seed, 40 + 9 * seed), upward=True) for seed in range(3)]
    none = np.full((2, 2), np.nan, np.float32)
    batch = collate([Example(s, [1, 2], none, none, none) for s in alone])
    layer = {"down4": 0, "near4": 0, "down8": 0, "up2": 0, "up4": 0}
    first = dict.fromkeys(layer, 1)
    for s in alone:
        for name in layer:
            mine = getattr(s, name)[1:]
            theirs = getattr(batch, name)[first[name] : first[name] + len(mine)].numpy()
            assert np.array_equal(mine == 0, theirs == 0)
            shift = np.unique((theirs - mine)[mine > 0])
            assert len(shift) <= 1
            first[name] += len(mine)
    for i, s in enumerate(alone):
        assert same_cells(batch, i, s)


def same_cells(batch: Batch, i: int, found: Sites) -> bool:
    count = len(found.cells)
    cells, rows = batch.cells[i, :count].numpy(), batch.rows[i, :count].numpy()
    named = batch.grid[i].numpy()[cells[:, 1], cells[:, 0]]
    return np.array_equal(cells, found.cells) and np.array_equal(named, rows)
