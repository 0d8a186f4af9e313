"""The metadata of ONNX files: entries by name, which the reader and `molgaze info` tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import onnx

from ..files import whole
from .quantization import integers_of


def add_metadata(files: Sequence[Path], entries: Mapping[str, str]) -> None:
    """Put entries into the metadata of files, beside those that are there or in their place.

    Args:
        files: ONNX graphs; they and their copies in whole numbers are replaced when all of them
            have been written.
        entries: texts by name.

    Raises:
        OSError: a file cannot be read or written; then none is changed.
    """
    with ExitStack() as drafts:
        for file in [*files, *(copy for copy in map(integers_of, files) if copy.is_file())]:
            stored = onnx.load(file)
            kept = {entry.key: entry.value for entry in stored.metadata_props}
            onnx.helper.set_model_props(stored, {**kept, **entries})
            onnx.save(stored, drafts.enter_context(whole(file)))
