"""A plug-in of docling that reads the molecules in the pictures of a document.

docling finds it by the entry point ``molgaze`` of the group ``docling``, once external plug-ins are
allowed, and it stands where docling otherwise has a model describe pictures:

    options = PdfPipelineOptions(allow_external_plugins=True, do_picture_description=True)
    options.picture_description_options = MoleculeOptions()

A picture of molecules then has their SMILES and the confidence in ``meta.molecule``; the readings
one by one, with warnings, stand beside them under ``molgaze__readings``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

from docling.datamodel.accelerator_options import AcceleratorOptions
from docling.datamodel.base_models import ItemAndImageEnrichmentElement
from docling.datamodel.pipeline_options import PictureDescriptionBaseOptions
from docling.models.picture_description_base_model import PictureDescriptionBaseModel
from docling_core.types.doc import DoclingDocument, NodeItem, PictureItem, PictureMeta
from docling_core.types.doc.items.picture.meta import MoleculeMetaField
from PIL import Image

from .picture import PictureError
from .reader import Reader
from .reading import MIN_CONFIDENCE, Reading


class MoleculeOptions(PictureDescriptionBaseOptions):
    """What is read in which pictures; beside these, the options of any description of pictures.

    Attributes:
        min_confidence: readings with a lower confidence, from 0 to 1, are left out.
        scale: pixels of a point of 1/72 inch at which pictures of a PDF are drawn.
        picture_area_threshold: share of the page's area under which a picture is left out.
        classification_allow: only pictures of these classes, where docling's classifier ran.
    """

    kind: ClassVar[Literal["molgaze"]] = "molgaze"
    min_confidence: float = MIN_CONFIDENCE
    scale: float = 4.0
    picture_area_threshold: float = 0.0


class MoleculeModel(PictureDescriptionBaseModel):
    """Puts what was read into the pictures of a document; docling makes and calls it."""

    def __init__(
        self,
        *,
        enabled: bool,
        enable_remote_services: bool,
        artifacts_path: Path | str | None,
        options: MoleculeOptions,
        accelerator_options: AcceleratorOptions,
    ) -> None:
        super().__init__(
            enabled=enabled,
            enable_remote_services=enable_remote_services,
            artifacts_path=artifacts_path,
            options=options,
            accelerator_options=accelerator_options,
        )
        if enabled:
            self._reader = Reader(threads=accelerator_options.num_threads)
            self.provenance = f"molgaze {self._reader.info['model']}"

    @classmethod
    def get_options_type(cls) -> type[MoleculeOptions]:
        return MoleculeOptions

    def is_processable(self, doc: DoclingDocument, element: NodeItem) -> bool:
        return (
            self.enabled
            and isinstance(element, PictureItem)
            and (element.meta is None or element.meta.molecule is None)
        )

    def __call__(
        self, doc: DoclingDocument, element_batch: Iterable[ItemAndImageEnrichmentElement]
    ) -> Iterable[NodeItem]:
        for element in element_batch:
            if self.enabled and self._is_wanted(doc, element.item):
                self._enrich(element.item, element.image)
            yield element.item

    def _is_wanted(self, doc: DoclingDocument, item: PictureItem) -> bool:
        """Whether a picture is large enough, and of a class that is to be read."""
        for place in item.prov[:1]:
            page = doc.pages.get(place.page_no)
            area = page.size.width * page.size.height if page is not None else 0.0
            if place.bbox.area() < self.options.picture_area_threshold * area:
                return False
        told = item.meta.classification if item.meta is not None else None
        if told is None or not told.predictions:
            return True
        kind = told.get_main_prediction().class_name
        allowed, denied = (
            [getattr(label, "value", label) for label in labels or ()]
            for labels in (self.options.classification_allow, self.options.classification_deny)
        )
        return kind not in denied and (not allowed or kind in allowed)

    def _enrich(self, item: PictureItem, image: Image.Image) -> None:
        """Put the molecules of a picture into it, if there are any that are sure enough."""
        try:
            found = self._reader.read_apart(image)
        except PictureError:  # blank, or smaller than any drawing
            return
        least = self.options.min_confidence
        sure = [reading for reading in found if reading.valid and reading.confidence >= least]
        if not sure:
            return
        if item.meta is None:
            item.meta = PictureMeta()
        item.meta.molecule = MoleculeMetaField(
            smi=".".join(reading.smiles or "" for reading in sure),
            confidence=math.prod(reading.confidence for reading in sure),
            created_by=self.provenance,
        )
        item.meta.set_custom_field("molgaze", "readings", [_kept(reading) for reading in sure])


def _kept(reading: Reading) -> dict[str, Any]:
    """What a document keeps of one molecule; its box is in pixels of the picture."""
    return {
        "smiles": reading.smiles,
        "cxsmiles": reading.cxsmiles,
        "inchikey": reading.inchikey,
        "confidence": round(reading.confidence, 4),
        "warnings": list(reading.warnings),
        "box": reading.box and [round(side, 1) for side in reading.box],
    }


def picture_description() -> dict[str, list[type[MoleculeModel]]]:
    """What docling asks of the plug-in."""
    return {"picture_description": [MoleculeModel]}
