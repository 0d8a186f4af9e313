"""Entries in the metadata of ONNX files."""

import shutil

import pytest

onnx = pytest.importorskip("onnx")

from molgaze.gaze import Net
from molgaze.reader import WEIGHTS
from molgaze.train.metadata import add_metadata


@pytest.fixture
def files(tmp_path):
    names = ("encoder.onnx", "step.onnx")
    return [shutil.copy(WEIGHTS / name, tmp_path / name) for name in names]


def test_entries_are_added_to_those_that_are_there(files, tmp_path):
    before = Net(tmp_path, "cpu", 1).metadata
    add_metadata(files, {"name": "another", "new": "1"})
    assert Net(tmp_path, "cpu", 1).metadata == {**before, "name": "another", "new": "1"}
    assert sorted(tmp_path.iterdir()) == files


def test_all_files_are_changed_or_none(files, tmp_path):
    before = files[0].read_bytes()
    with pytest.raises(FileNotFoundError):
        add_metadata([*files, tmp_path / "missing.onnx"], {"name": "another"})
    assert files[0].read_bytes() == before
    assert sorted(tmp_path.iterdir()) == files
