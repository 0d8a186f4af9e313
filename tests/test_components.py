import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from molgaze.components import components


def flooded(mask):
    """Labels by a flood from every pixel, line by line."""
    labels = np.zeros(mask.shape, int)
    count = 0
    for y, x in zip(*np.nonzero(mask), strict=True):
        if labels[y, x]:
            continue
        count += 1
        wet = [(y, x)]
        labels[y, x] = count
        while wet:
            y0, x0 = wet.pop()
            for y1 in range(max(y0 - 1, 0), min(y0 + 2, mask.shape[0])):
                for x1 in range(max(x0 - 1, 0), min(x0 + 2, mask.shape[1])):
                    if mask[y1, x1] and not labels[y1, x1]:
                        labels[y1, x1] = count
                        wet.append((y1, x1))
    return labels


def drawn(*lines):
    return np.array([[c == "#" for c in line] for line in lines])


@settings(deadline=None, max_examples=200)
@given(arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14))))
def test_as_a_flood_finds_them(mask):
    found = components(mask)
    want = flooded(mask)
    assert (found.labels() == want).all()
    assert len(found) == want.max()
    for k in range(len(found)):
        ys, xs = np.nonzero(want == k + 1)
        assert found.boxes[k].tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        assert found.areas[k] == len(ys)


@settings(deadline=None, max_examples=100)
@given(
    arrays(bool, (9, 12)),
    st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(6, 12), st.integers(5, 9)),
    st.integers(1, 3),
)
def test_some_of_them_in_a_box(mask, box, step):
    found = components(mask)
    chosen = np.arange(0, len(found), step)
    left, top, right, bottom = box
    want = np.isin(found.labels(), chosen + 1)
    assert (found.mask(chosen, box) == want[top:bottom, left:right]).all()
    assert (found.mask(np.isin(np.arange(len(found)), chosen)) == want).all()


def test_corners_touch_and_line_ends_do_not():
    assert len(components(drawn("#.", ".#"))) == 1
    assert len(components(drawn("..#", "#.."))) == 2  # the end of a row, the start of the next
    assert len(components(drawn("###", "#.#", "###"))) == 1
    assert components(drawn("#.#", "###", "#.#")).areas.tolist() == [7]


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (4, 4)])
def test_nothing_in_it(shape):
    found = components(np.zeros(shape, bool))
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert found.labels().shape == shape


def test_a_long_serpent_and_a_comb_are_joined_quickly():
    size = 801
    y, x = np.mgrid[:size, :size]
    serpent = (y % 2 == 0) | ((y % 4 == 1) & (x == 0)) | ((y % 4 == 3) & (x == size - 1))
    comb = (x % 2 == 0) | (y == size - 1)
    began = time.perf_counter()
    assert len(components(comb)) == 1
    assert len(components(serpent)) == 1
    assert len(components(serpent & (x > 0))) == 201
    assert time.perf_counter() - began < 3
