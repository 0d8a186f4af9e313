"""Clusters: what their workers do, tested without them; and they themselves where installed.

The recipes are run as they stand in docs/clusters.md, but for the reader.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import types
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import stub
from PIL import Image
from stub import Stub

if os.name != "posix":
    pytest.skip("signals and paths of POSIX", allow_module_level=True)
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from molgaze import batch_ray
from molgaze.batch import Inputs, JournalError, batch
from molgaze.batch_ray import ReadPieces, pieces
from molgaze.cli import main
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


def test_pieces_of_documents(tmp_path: Path) -> None:
    frames = [Image.new("L", (300, 200), 255) for _ in range(2)]
    frames[0].save(tmp_path / "a.pdf", save_all=True, append_images=frames[1:])
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.7 broken")
    found = list(pieces([f"file://{tmp_path}"]))
    assert [p.path[-5:] for p in found] == ["a.pdf", "b.pdf"]
    table = ReadPieces(Stub)(pa.table({"path": [p.path for p in found], "group": [-1, -1]}))
    rows = [(r["source"][-5:], r["page"], r["error_type"]) for r in table.to_pylist()]
    assert rows == [
        ("a.pdf", 1, None),
        ("a.pdf", 2, None),
        ("a.pdf", 2, None),
        ("b.pdf", 1, "PictureError"),
    ]


def test_a_node_without_weights_is_told_of() -> None:
    with pytest.raises(WorkerError, match="no weights"):
        ReadPieces(partial(Stub, broken="no weights"))


def test_output_of_other_rows_is_refused(tmp_path: Path) -> None:
    files, root = batch_ray._file_system(str(tmp_path / "out"))
    batch_ray._begin(files, root, {"a": 1}, False)
    batch_ray._begin(files, root, {"a": 1}, False)
    with pytest.raises(JournalError, match="other pictures or settings"):
        batch_ray._begin(files, root, {"a": 2}, False)
    (tmp_path / "out" / "part-000000").mkdir()
    batch_ray._begin(files, root, {"a": 2}, True)
    assert os.listdir(tmp_path / "out") == [batch_ray.HEADER]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").touch()
    for restart in (False, True):
        with pytest.raises(JournalError, match="other things"):
            batch_ray._begin(files, str(tmp_path / "mine"), {"a": 1}, restart)


# ---- a batch on Ray, with Ray played by this process ----------------------------------------


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Lets pieces be read without Ray; the paths of those that were, call by call."""
    calls: list[list[str]] = []

    def map_here(chosen: Any, read: Any, files: Any, folder: str, *_: Any) -> None:
        calls.append([p.path for p in chosen])
        actor = read()
        half = (len(chosen) + 1) // 2
        for name, some in (("b", chosen[:half]), ("a", chosen[half:])):  # in another order
            blocks = {"path": [p.path for p in some], "group": [p.group for p in some]}
            with files.open_output_stream(f"{folder}/{name}.parquet") as out:
                pq.write_table(actor(pa.table(blocks)), out)
        del actor

    monkeypatch.setattr(batch_ray, "_map_on_ray", map_here)
    return calls


def without_time(path: Path) -> list[dict[str, Any]]:
    rows = map(json.loads, path.read_text().splitlines())
    return [{k: v for k, v in row.items() if k != "ms"} for row in rows]


def test_batch_on_ray_equals_a_batch(tmp_path: Path, here: list[list[str]]) -> None:
    folder = pictures(tmp_path / "in")
    inputs, parts = Inputs([str(folder)]), tmp_path / "parts"
    outs = [str(tmp_path / "o.jsonl"), str(tmp_path / "o.csv.gz")]
    told: list[str | None] = []
    seen: list[tuple[int, int]] = []
    more: dict[str, Any] = {"least": 0.05, "told": lambda r: told.append(r.source), "part": 8}
    done = batch_ray.batch_on_ray(
        inputs, outs, Stub, journal=str(parts), progress=lambda *n: seen.append(n), **more
    )
    want = batch(inputs, [tmp_path / "w.jsonl"], Stub, workers=1, least=0.05)
    assert without_time(tmp_path / "o.jsonl") == without_time(tmp_path / "w.jsonl")
    assert (done.pictures, done.failures, done.review) == (25, want.failures, want.review)
    assert len(told) == done.failures.total() + done.review
    assert (done.resumed, len(here), seen) == (0, 3, [(8, 0), (16, 0), (23, 0)])
    again = batch_ray.batch_on_ray(inputs, outs, Stub, journal=str(parts), **more)
    assert (again.resumed, again.pictures, len(here)) == (25, 25, 3)
    with pytest.raises(JournalError, match="other pictures or settings"):
        batch_ray.batch_on_ray(inputs, outs, Stub, journal=str(parts), settings={"a": 1}, **more)


def test_retry_on_ray(tmp_path: Path, here: list[list[str]]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, data in (("a", b"a"), ("flaky", b"kill"), ("z", b"bad")):
        (folder / f"{name}.png").write_bytes(data)
    cells = {"image": [b"1", b"kill", b"3"], "id": ["x", "y", "z"]}
    pq.write_table(pa.table(cells), tmp_path / "t.parquet", row_group_size=2)
    inputs, out = Inputs([str(folder), str(tmp_path / "t.parquet")]), tmp_path / "out"
    read = partial(batch_ray.batch_on_ray, inputs, [str(out)], Stub)
    assert read().failures == {"WorkerDied": 2, "PictureError": 1}
    assert read(retry=True).failures == {"WorkerDied": 2, "PictureError": 1}
    table = str(tmp_path / "t.parquet")
    assert here[1] == [f"{folder}/flaky.png", table, table]
    files, root = batch_ray._file_system(str(out))
    rows = batch_ray._rows(files, f"{root}/part-000000")
    assert sorted(r["source"] for r in rows) == sorted(
        [*(f"{folder}/{n}.png" for n in ("a", "flaky", "z")), *(f"{table}/{i}" for i in range(3))]
    )
    assert {r["source"][-1]: r["id"] for r in rows if r["id"]} == {"0": "x", "1": "y", "2": "z"}
    done = read()
    assert (done.resumed, len(here)) == (6, 2)


def test_a_retry_that_was_killed_is_put_right(tmp_path: Path, here: list[list[str]]) -> None:
    folder = pictures(tmp_path / "in", 3)
    inputs, out = Inputs([str(folder)]), tmp_path / "out"
    read = partial(batch_ray.batch_on_ray, inputs, [str(out)], Stub)
    want = read()
    part = out / "part-000000"
    (out / "part-000000.again").mkdir()
    (out / "part-000000.again" / "half.parquet").write_bytes(b"PAR1")
    assert read().pictures == want.pictures  # a new part that is not whole is thrown away
    assert not (out / "part-000000.again").exists()
    part.rename(out / "part-000000.again")
    assert read().pictures == want.pictures  # one that is takes the old one's place
    assert sorted(os.listdir(out)) == [batch_ray.HEADER, "part-000000"]
    assert len(here) == 1


def test_the_command_on_ray(
    tmp_path: Path,
    here: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = pictures(tmp_path / "in", 3)
    line = ["batch", str(folder), "--engine", "ray", "-o", str(tmp_path / "out")]
    monkeypatch.setattr("molgaze.reader.Reader", stub.reader)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(line) == 3
    assert "molgaze[ray]" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "ray", types.ModuleType("ray"))
    assert main(line) == 1
    said = capsys.readouterr().err
    assert "kill.png: worker died (SIGKILL)" in said
    assert "5 not read (4 PictureError, 1 WorkerDied)" in said
    assert main([*line, "--retry", "--beam", "3"]) == 3
    assert "--restart" in capsys.readouterr().err
    for name in ("bad.png", "kill.png", "pages.tif"):
        (folder / name).unlink()
    assert main([*line, "--restart", "--min-confidence", "0"]) == 0
    tables = ["--journal", str(tmp_path / "out"), "-o", str(tmp_path / "o.csv")]
    assert main([*line[:-2], *tables, "--min-confidence", "0"]) == 0
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 4


# ---- recipes --------------------------------------------------------------------------------


def recipe(name: str) -> str:
    """The code under a heading of the page, with the stub for the reader."""
    part = DOCS.read_text().split(f"## {name}\n")[1].split("\n## ")[0]
    code = "\n".join(re.findall(r"```python\n(.*?)```", part, re.DOTALL))
    assert "from molgaze import Reader" in code
    return code.replace("from molgaze import Reader", "from stub import Stub as Reader")


def test_dask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask.bag")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    folder = pictures(tmp_path / "in", 6)
    out = tmp_path / "out"
    script = tmp_path / "recipe.py"  # as a file, which dask's processes load
    places = f"PICTURES, OUT, PARTS = {str(folder)!r}, {str(out)!r}, 2\n"
    script.write_text(places + recipe("Dask"))
    subprocess.run([sys.executable, script], check=True, timeout=120)
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
