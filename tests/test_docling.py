"""docling.py: a PDF goes through docling's own pipeline, where docling is installed.

docling's model of layout has to be fetched from a hub; a stand-in marks the pictures instead.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

docling = pytest.importorskip("docling")
pytestmark = pytest.mark.filterwarnings("ignore")  # of other packages

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def converted() -> Any:
    """examples/paper.pdf as docling's document; its first picture is a piece of text."""
    from docling.datamodel.base_models import Cluster, InputFormat, LayoutPrediction, Page
    from docling.datamodel.document import ConversionResult
    from docling.datamodel.pipeline_options import BaseLayoutOptions, PdfPipelineOptions
    from docling.document_converter import DocumentConverter, PdfFormatOption
    from docling.models.base_layout_model import BaseLayoutModel
    from docling.models.factories import get_layout_factory, get_picture_description_factory
    from docling_core.types.doc import BoundingBox, DocItemLabel

    from molgaze import Reader
    from molgaze.docling import MoleculeModel, MoleculeOptions

    source = EXAMPLES / "paper.pdf"
    boxes: dict[int, list[tuple[float, ...]]] = {1: [(60.0, 40.0, 300.0, 80.0)]}
    for reading in Reader(threads=1).find(source):
        if reading.box is not None:
            boxes.setdefault(reading.page or 1, []).append(reading.box)

    class Options(BaseLayoutOptions):
        kind: ClassVar[Literal["marked"]] = "marked"

    class Marked(BaseLayoutModel):
        requires_layout_postprocessing = True

        def __init__(self, *, options: Any, **_: Any) -> None:
            self.options = options

        @classmethod
        def get_options_type(cls) -> type[Options]:
            return Options

        def predict_layout(
            self, conv_res: ConversionResult, pages: Sequence[Page]
        ) -> Iterable[LayoutPrediction]:
            return [
                LayoutPrediction(
                    clusters=[
                        Cluster(
                            id=i,
                            label=DocItemLabel.PICTURE,
                            bbox=BoundingBox(l=box[0], t=box[1], r=box[2], b=box[3]),
                            confidence=0.99,
                        )
                        for i, box in enumerate(boxes.get(page.page_no, []))
                    ]
                )
                for page in pages
            ]

    get_layout_factory(allow_external_plugins=True).register(Marked, "marked", __name__)
    factory = get_picture_description_factory(allow_external_plugins=True)
    if "molgaze" not in factory.registered_kind:  # installed before it had an entry point
        factory.register(MoleculeModel, "molgaze", "molgaze.docling")
    options = PdfPipelineOptions(
        allow_external_plugins=True,
        do_ocr=False,
        do_table_structure=False,
        do_picture_description=True,
        picture_description_options=MoleculeOptions(),
        layout_options=Options(),
    )
    converter = DocumentConverter(
        format_options={InputFormat.PDF: PdfFormatOption(pipeline_options=options)}
    )
    return converter.convert(source).document


def test_the_molecules_of_a_pdf_are_put_into_its_pictures(converted: Any) -> None:
    molecules = [p.meta.molecule for p in converted.pictures if p.meta and p.meta.molecule]
    assert len(converted.pictures) > len(molecules) >= 4  # text is none
    assert "CC(=O)Oc1ccccc1C(=O)O" in [molecule.smi for molecule in molecules]
    for molecule in molecules:
        assert 0.5 <= molecule.confidence <= 1
        assert molecule.created_by.startswith("molgaze ")
    kept = converted.export_to_dict()
    readings = [p["meta"]["molgaze__readings"] for p in kept["pictures"] if p.get("meta")]
    assert len(readings) == len(molecules)
    assert all(one["smiles"] and one["confidence"] >= 0.5 for many in readings for one in many)


def test_docling_finds_the_plug_in() -> None:
    found = [point for point in entry_points(group="docling") if point.name == "molgaze"]
    if not found:
        pytest.skip("installed before it had an entry point")
    assert found[0].load() is sys.modules["molgaze.docling"]
    (model,) = found[0].load().picture_description()["picture_description"]
    assert model.get_options_type().kind == "molgaze"
