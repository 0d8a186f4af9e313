"""What the reader makes of a walk."""

from __future__ import annotations

import numpy as np
import pytest

from molgaze import reader, walk
from molgaze.gaze import Walk


@pytest.mark.parametrize(("narrow", "wide"), [(1, 2), (2, 1), (1, 4), (4, 1)])
@pytest.mark.parametrize("kind", ["w", "h"])
def test_a_wedge_found_in_the_ink_is_in_the_walk(narrow: int, wide: int, kind: str) -> None:
    """Of a methylcyclobutane: a bond that the gaze crossed, and the one that closes the ring."""
    tokens = ("C", "C", "C", "C", "C", "&", ">")
    places = np.array(
        [[0, 0], [10, 10], [30, 10], [30, 30], [10, 30], [10, 10], [0, 0]], np.float32
    )
    read = Walk(tokens, places, (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3), -1.0, ended=True)
    graph, _ = walk.decode(tokens, places)
    number = [set(bond[:2]) for bond in graph.bonds].index({narrow, wide})
    found = reader._with_wedges(read, graph, {number: (narrow, wide, kind)})
    again, faults = walk.decode(found.tokens, found.places)
    assert not faults
    assert again.atoms == graph.atoms
    assert np.array_equal(again.places, graph.places)
    expected = list(graph.bonds)
    expected[number] = (narrow, wide, kind)
    assert again.bonds == expected
    assert len(found.tokens) == len(found.places) == len(found.probabilities) == 8
    new = next(i for i, token in enumerate(found.tokens) if token[:1] == kind)
    assert found.probabilities[new] == found.probabilities[new + 1]
    assert found.places[new] == pytest.approx(graph.places[[narrow, wide]].mean(0))
