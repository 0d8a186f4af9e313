"""A reader without weights for tests of the page: molecules lie where the pictures have them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from stub import Stub, molfile

from molgaze.reading import Reading

BOXES = ((40.0, 60.0, 140.0, 110.0), (160.0, 260.0, 260.0, 310.0))  # in points of a page


class Shown(Stub):
    """Methanol on every picture and in every box; the oxygen is doubtful."""

    def read(self, source: Any, *, page: int = 1) -> Reading:
        told = ("the oxygen is doubtful",)
        return replace(super().read(source, page=page), atom_confidences=(0.99, 0.6), warnings=told)

    def read_apart(self, source: Any, *, page: int = 1) -> list[Reading]:
        return [self.read(source, page=page)]

    def find(self, source: Any, pages: Any) -> Iterator[Reading]:
        """Two molecules on the second page, none on the third, one on all others."""
        for page in pages:
            boxes = {2: BOXES, 3: ()}.get(page, BOXES[:1])
            for number, box in enumerate(boxes, 1):
                left, top, right, bottom = box
                y = (top + bottom) / 2
                places = ((left + 10, y), (right - 10, y))
                yield Reading(
                    smiles="CO",
                    molfile=molfile(("C", left + 10, -y), ("O", right - 10, -y)),
                    confidence=0.97 if number == 1 else 0.3,
                    tokens=("C", "O"),
                    places=places,
                    probabilities=(0.99, 0.6),
                    scale=right - left - 20,
                    source="document",
                    page=page,
                    box=box,
                    found=0.95,
                    number=f"{page}{'ab'[number - 1]}",
                    model=self.info["model"],
                    ms=1.0,
                    atom_confidences=(0.99, 0.6 if number == 2 else 0.99),
                )
