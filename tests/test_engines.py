"""Clusters: what their workers do, tested without them; and they themselves where installed.

The recipes are run as they stand in docs/clusters.md, but for the reader.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from stub import Stub

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from molgaze import batch_ray
from molgaze.batch import Inputs, batch
from molgaze.batch_ray import ReadPieces, pieces
from molgaze.files import parquet_schema
from molgaze.workers import WorkerError

DOCS = Path(__file__).parents[1] / "docs" / "clusters.md"


def pictures(folder: Path, number: int = 20) -> Path:
    folder.mkdir()
    for i in range(number):
        (folder / f"{i:03}.png").write_bytes(b"picture %d" % i)
    (folder / "bad.png").write_bytes(b"bad")
    (folder / "kill.png").write_bytes(b"kill")
    frames = [Image.new("L", (30, 20), 10 * i) for i in range(3)]
    file = io.BytesIO()
    frames[0].save(file, "TIFF", save_all=True, append_images=frames[1:])
    (folder / "pages.tif").write_bytes(file.getvalue())
    return folder


def alike(rows: list[dict[str, Any]]) -> list[str]:
    """Rows as text, but for the time, in one order."""
    kept = ({k: v for k, v in row.items() if k != "ms"} for row in rows)
    return sorted(json.dumps(row, sort_keys=True) for row in kept)


def by_batch(folder: Path, tmp_path: Path) -> list[str]:
    out = tmp_path / "batch.parquet"
    batch(Inputs([str(folder)]), [out], Stub, workers=1)
    return alike(pq.read_table(out).to_pylist())


def test_pieces_and_their_rows_equal_a_batch(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in")
    found = list(pieces([str(folder)]))
    assert len(found) == 23
    read = ReadPieces(Stub)
    table = read(pa.table({"path": [p.path for p in found], "group": [-1] * 23}))
    assert table.schema == parquet_schema()
    assert alike(table.to_pylist()) == by_batch(folder, tmp_path)
    lost = read(pa.table({"path": [str(tmp_path / "gone.png")], "group": [-1]})).to_pylist()
    assert lost[0]["error_type"] == "FileNotFoundError"


def test_pieces_of_uris_and_tables(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in", 2)
    assert [p.path for p in pieces([f"file://{folder}"])] == [
        f"file://{folder}/{name}" for name in sorted(os.listdir(folder))
    ]
    cells = [b"a", b"b", None, b"d", b"e"]
    pq.write_table(pa.table({"image": cells}), tmp_path / "t.parquet", row_group_size=2)
    found = list(pieces([f"file://{tmp_path}/t.parquet"]))
    assert [p.group for p in found] == [0, 1, 2]
    read = ReadPieces(Stub)
    rows = read(pa.table({"path": [p.path for p in found], "group": [0, 1, 2]})).to_pylist()
    assert [r["source"] for r in rows] == [f"file://{tmp_path}/t.parquet/{i}" for i in range(5)]
    (tmp_path / "t.parquet").write_bytes(b"broken")
    rows = read(pa.table({"path": [found[0].path], "group": [0]})).to_pylist()
    assert [r["finish_reason"] for r in rows] == ["error"]
    with pytest.raises(ValueError, match="archives"):
        list(pieces([str(tmp_path / "a.tar.gz")]))


def test_a_node_without_weights_is_told_of() -> None:
    with pytest.raises(WorkerError, match="no weights"):
        ReadPieces(partial(Stub, broken="no weights"))


def test_output_of_other_rows_is_refused(tmp_path: Path) -> None:
    files, root = batch_ray._file_system(str(tmp_path / "out"))
    batch_ray._begin(files, root, {"a": 1}, False)
    batch_ray._begin(files, root, {"a": 1}, False)
    with pytest.raises(ValueError, match="other pictures or settings"):
        batch_ray._begin(files, root, {"a": 2}, False)
    (tmp_path / "out" / "part-000000").mkdir()
    batch_ray._begin(files, root, {"a": 2}, True)
    assert os.listdir(tmp_path / "out") == [batch_ray.HEADER]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").touch()
    for restart in (False, True):
        with pytest.raises(ValueError, match="other things"):
            batch_ray._begin(files, str(tmp_path / "mine"), {"a": 1}, restart)


# ---- recipes --------------------------------------------------------------------------------


def recipe(name: str) -> str:
    """The code under a heading of the page, with the stub for the reader."""
    part = DOCS.read_text().split(f"## {name}\n")[1].split("\n## ")[0]
    code = "\n".join(re.findall(r"```python\n(.*?)```", part, re.DOTALL))
    assert "from molgaze import Reader" in code
    return code.replace("from molgaze import Reader", "from stub import Stub as Reader")


def test_dask(tmp_path: Path) -> None:
    pytest.importorskip("dask.bag")
    folder = pictures(tmp_path / "in", 6)
    out = tmp_path / "out"
    exec(recipe("Dask"), {"PICTURES": str(folder), "OUT": str(out), "PARTS": 2})
    assert alike(pq.read_table(out).to_pylist()) == by_batch(folder, tmp_path)


@pytest.mark.filterwarnings("ignore:::pyspark", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas")
def test_spark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyspark")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    folder = pictures(tmp_path / "in", 6)
    out = tmp_path / "out"
    exec(recipe("Spark"), {"PICTURES": f"file://{folder}", "OUT": f"file://{out}"})
    rows = pq.read_table(out).to_pylist()
    for row in rows:
        row["source"] = row["source"].removeprefix("file:")
        row["error"] = row["error"] and row["error"].removeprefix("file:")
    assert alike(rows) == by_batch(folder, tmp_path)


# ---- Ray ------------------------------------------------------------------------------------


RAYS_OWN = pytest.mark.filterwarnings("ignore:::ray", "ignore::ResourceWarning")


def rows_of(output: Path) -> list[dict[str, Any]]:
    parts = sorted(output.glob("part-*/*.parquet"))
    return [row for part in parts for row in pq.read_table(part).to_pylist()]


@pytest.fixture
def cluster() -> Any:
    pytest.importorskip("ray.data")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.add_node(num_cpus=1)
    import ray

    ray.init(
        address=made.address,
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}},
    )
    yield made
    ray.shutdown()
    made.shutdown()


@RAYS_OWN
def test_ray_equals_a_batch(tmp_path: Path, cluster: Any) -> None:
    folder = pictures(tmp_path / "in", 60)
    out = tmp_path / "out"
    found = list(pieces([str(folder)]))
    for _ in range(2):
        batch_ray.read_on_ray(found, str(out), Stub, part=40, actors=2)
    assert alike(rows_of(out)) == by_batch(folder, tmp_path)
    (out / "part-000001" / batch_ray.MARK).unlink()
    batch_ray.read_on_ray(found, str(out), Stub, part=40, actors=2)
    assert alike(rows_of(out)) == by_batch(folder, tmp_path)


@RAYS_OWN
def test_ray_with_a_node_killed_half_way(tmp_path: Path, cluster: Any) -> None:
    folder = pictures(tmp_path / "in", 600)
    out = tmp_path / "out"
    found = list(pieces([str(folder)]))
    second = cluster.list_all_nodes()[-1]

    def kill() -> None:
        time.sleep(15)
        for process in second.all_processes["raylet"]:
            os.kill(process.process.pid, signal.SIGKILL)

    threading.Thread(target=kill).start()
    batch_ray.read_on_ray(found, str(out), partial(Stub, delay=0.1), actors=2)
    assert alike(rows_of(out)) == by_batch(folder, tmp_path)
