"""Reactions: who is what by the places of drawings and arrows, and reactions that are drawn."""

import io

import numpy as np
import pytest
from paper import Sheet
from PIL import Image
from rdkit.Chem import rdChemReactions
from rdkit.Chem.Draw import rdMolDraw2D

from molgaze import Reader
from molgaze.arrows import Arrow, plus_signs
from molgaze.components import components
from molgaze.reaction import Reaction, reactions, roles

LETTER = 16.0


def right_arrow(x, y, length=100.0):
    return Arrow((x, y), (x + length, y), 2.0, (12.0, 4.0))


def test_before_behind_and_beside_an_arrow():
    boxes = [(20, 60, 180, 140), (330, 50, 480, 150), (215, 40, 270, 85), (20, 300, 180, 400)]
    (found,) = reactions(boxes, [right_arrow(200, 100)], [], LETTER)
    assert found == Reaction((0,), (2,), (1,))
    assert found.smiles(["CCO", "CC=O", "O=O", "C"]) == "CCO>O=O>CC=O"
    assert found.smiles(["CCO", None, "O=O", "C"]) is None
    told = roles([found], ["CCO", "CC=O", "O=O", "C"])
    assert [role for role, _ in told] == ["reactant", "product", "agent", None]
    assert told[3] == (None, None)


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_arrows_in_all_four_directions(turn):
    boxes = [(20, 60, 180, 140), (330, 50, 480, 150)]
    arrow = right_arrow(200, 100)

    def turned(place):
        x, y = place
        for _ in range(turn):
            x, y = -y, x
        return x, y

    moved = []
    for left, top, right, bottom in boxes:
        (a, b), (c, d) = turned((left, top)), turned((right, bottom))
        moved.append((min(a, c), min(b, d), max(a, c), max(b, d)))
    made = Arrow(turned(arrow.tail), turned(arrow.tip), 2.0, (12.0, 4.0))
    assert reactions(moved, [made], [], LETTER) == [Reaction((0,), (), (1,))]


def test_pluses_join_drawings_to_a_side():
    boxes = [(0, 60, 100, 140), (150, 60, 250, 140), (400, 50, 500, 150), (560, 50, 640, 150)]
    pluses = [(118, 94, 130, 106), (522, 94, 534, 106)]
    arrow = right_arrow(270, 100)
    assert reactions(boxes, [arrow], pluses, LETTER) == [Reaction((0, 1), (), (2, 3))]
    assert reactions(boxes, [arrow], [], LETTER) == [Reaction((1,), (), (2,))]


def test_the_steps_of_a_row_share_their_intermediate():
    boxes = [(0, 60, 100, 140), (230, 60, 330, 140), (460, 60, 560, 140)]
    steps = reactions(boxes, [right_arrow(115, 100), right_arrow(345, 100)], [], LETTER)
    assert steps == [Reaction((0,), (), (1,)), Reaction((1,), (), (2,))]
    told = roles(steps, ["C", "CC", "CCC"])
    assert told == [("reactant", "C>>CC"), ("intermediate", "C>>CC"), ("product", "CC>>CCC")]


def test_an_arrow_that_leads_nowhere_says_nothing():
    boxes = [(20, 60, 180, 140), (700, 50, 800, 150)]
    assert reactions(boxes, [right_arrow(200, 100)], [], LETTER) == []
    assert reactions(boxes[:1], [right_arrow(200, 100)], [], LETTER) == []
    assert reactions([], [right_arrow(200, 100)], [], LETTER) == []


def test_pluses_are_told_from_letters_and_corners():
    sheet = Sheet(400, 100)
    sheet.pen.line([(20, 40), (40, 40)], 0, 3)
    sheet.pen.line([(30, 30), (30, 50)], 0, 3)
    sheet.pen.line([(70, 30), (70, 50), (90, 50)], 0, 3)  # a corner
    sheet.pen.line([(120, 30), (140, 50)], 0, 3)  # a cross
    sheet.pen.line([(140, 30), (120, 50)], 0, 3)
    sheet.pen.rectangle([170, 30, 190, 50], None, 0, 3)
    sheet.pen.line([(220, 30), (240, 30)], 0, 3)  # a T
    sheet.pen.line([(230, 30), (230, 50)], 0, 3)
    parts = components(sheet.pixels < 128)
    (found,) = plus_signs(parts, LETTER, np.zeros(len(parts), bool))
    assert parts.boxes[found].tolist()[0] < 41
    assert not len(plus_signs(parts, LETTER, np.ones(len(parts), bool)))


@pytest.fixture(scope="module")
def reader():
    return Reader(threads=1)


def test_a_reaction_that_rdkit_draws(reader):
    canvas = rdMolDraw2D.MolDraw2DCairo(900, 240)
    text = "O=C(O)c1ccccc1.OCCCl>>O=C(OCCCl)c1ccccc1"
    canvas.DrawReaction(rdChemReactions.ReactionFromSmarts(text, useSmiles=True))
    canvas.FinishDrawing()
    found = reader.read_apart(Image.open(io.BytesIO(canvas.GetDrawingText())).convert("RGB"))
    assert [r.role for r in found] == ["reactant", "reactant", "product"]
    stated = {r.reaction for r in found}
    assert len(stated) == 1
    assert stated.pop() == ">>".join(
        [".".join(str(r.smiles) for r in found[:2]), str(found[2].smiles)]
    )
    assert found[0].to_dict()["role"] == "reactant"


def test_molecules_side_by_side_have_no_roles(reader):
    sheet = Sheet(900, 300)
    sheet.molecule("O=C(O)c1ccccc1", 60, 60, bond=36, size=18)
    sheet.molecule("OCc1ccc(Cl)cc1", 500, 60, bond=36, size=18)
    found = reader.read_apart(sheet.pixels)
    assert all(r.role is None and r.reaction is None for r in found)
