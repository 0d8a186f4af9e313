"""Many pictures: inputs, workers, journal, tables; killed, hung, stopped and gone on with."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stub
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from rdkit import Chem
from stub import Stub

from molgaze import batch as batches
from molgaze import workers
from molgaze.batch import GROUP, Inputs, Journal, JournalError, Summary, batch
from molgaze.cli import _told as told
from molgaze.document import MAX_FRAMES, Document, tiff_pages
from molgaze.inputs import Item
from molgaze.picture import PictureError
from molgaze.reading import Reading
from molgaze.workers import Worker, WorkerError, Workers

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals, pipes or /proc of POSIX")


def png(shade: int = 0) -> bytes:
    file = io.BytesIO()
    image = Image.new("L", (40, 30), 255)
    image.paste(shade, (10, 10, 30, 12))
    image.save(file, "PNG")
    return file.getvalue()


def tiff(pages: int, **options: Any) -> bytes:
    file = io.BytesIO()
    frames = [Image.new("L", (30, 20), 255) for _ in range(pages)]
    for i, frame in enumerate(frames):
        frame.paste(0, (5, 5, 10 + i, 7))
    frames[0].save(file, "TIFF", save_all=True, append_images=frames[1:], **options)
    return file.getvalue()


def folder(path: Path, number: int, **named: bytes) -> Path:
    path.mkdir()
    for i in range(number):
        (path / f"{i:03}.png").write_bytes(b"picture %d" % i)
    for name, data in named.items():
        (path / f"{name}.png").write_bytes(data)
    return path


def readings(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def sources(inputs: Inputs) -> list[str]:
    return [item.source for item in inputs]


# ---- inputs ---------------------------------------------------------------------------------


def test_files_folders_and_globs(tmp_path: Path) -> None:
    deep = folder(tmp_path / "a", 2) / "deep"
    folder(deep, 1)
    (tmp_path / "a" / "notes.txt").write_text("no")
    (tmp_path / "a" / ".hidden.png").write_bytes(b"no")
    (tmp_path / "a" / "odd").write_bytes(png())
    a = str(tmp_path / "a")
    assert sources(Inputs([a])) == [f"{a}/000.png", f"{a}/001.png"]
    assert sources(Inputs([a], recursive=True))[2:] == [f"{a}/deep/000.png"]
    assert sources(Inputs([f"{a}/*1.png", f"{a}/odd"])) == [f"{a}/001.png", f"{a}/odd"]
    assert sources(Inputs([f"{a}/*"])) == [
        f"{a}/000.png",
        f"{a}/001.png",
        *(f"{a}/deep/000.png", f"{a}/notes.txt", f"{a}/odd"),
    ]
    (tmp_path / "[1].png").write_bytes(b"x")
    assert sources(Inputs([str(tmp_path / "[1].png")])) == [str(tmp_path / "[1].png")]
    listed = tmp_path / "list"
    listed.write_bytes(f"{a}/000.png\r\n\n{a}/deep\n".encode())
    assert sources(Inputs([], listed)) == [f"{a}/000.png", f"{a}/deep/000.png"]


@POSIX
def test_what_is_not_there_is_a_row_too(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe.zip")
    items = list(Inputs([str(tmp_path / n) for n in ("gone.png", "no*.png", "pipe.zip")]))
    assert [item.load() for item in items] == [item.source for item in items]
    (empty,) = Inputs([str(tmp_path / "empty")])
    with pytest.raises(ValueError, match="no pictures in this folder"):
        empty.load()


def test_keys_change_with_the_picture(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    file.write_bytes(tiff(2))
    keys = [item.key for item in Inputs([str(file)])]
    assert len(set(keys)) == 2
    assert keys == [item.key for item in Inputs([str(file)])]
    os.utime(file, (1, 1))
    assert not set(keys) & {item.key for item in Inputs([str(file)])}


@pytest.mark.parametrize("options", [{}, {"big_tiff": True}, {"compression": "group4"}])
@pytest.mark.parametrize("pages", [1, 2, 7])
def test_tiff_pages(pages: int, options: dict[str, Any]) -> None:
    if "compression" in options:
        frames = [Image.new("1", (30, 20), i % 2) for i in range(pages)]
        file = io.BytesIO()
        frames[0].save(file, "TIFF", save_all=True, append_images=frames[1:], **options)
        data = file.getvalue()
    else:
        data = tiff(pages, **options)
    assert tiff_pages(io.BytesIO(data), "a") == pages
    with Image.open(io.BytesIO(data)) as image:
        assert getattr(image, "n_frames", 1) == pages


@settings(deadline=None)
@given(data=st.binary(max_size=64), start=st.sampled_from([b"II*\0", b"MM\0*", b"II+\0", b""]))
def test_tiff_pages_of_anything(data: bytes, start: bytes) -> None:
    assert tiff_pages(io.BytesIO(start + data), "a") >= 1


def test_tiff_chain_in_a_circle() -> None:
    data = bytearray(tiff(1))
    at = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[at : at + 2], "little")
    data[at + 2 + 12 * entries :][:4] = b""
    data[at + 2 + 12 * entries : at + 6 + 12 * entries] = at.to_bytes(4, "little")
    assert tiff_pages(io.BytesIO(bytes(data)), "a") == 1


def empty_directories(number: int) -> bytes:
    """A TIFF of so many pages, of which nothing but the chain is there."""
    data = b"II*\0" + (8).to_bytes(4, "little")
    for page in range(1, number + 1):
        following = 8 + 6 * page if page < number else 0
        data += bytes(2) + following.to_bytes(4, "little")
    return data


def test_a_tiff_of_too_many_pages_is_refused_as_a_whole(tmp_path: Path) -> None:
    assert tiff_pages(io.BytesIO(empty_directories(MAX_FRAMES)), "a") == MAX_FRAMES
    data = empty_directories(MAX_FRAMES + 1)
    (tmp_path / "a.tif").write_bytes(data)
    names = [str(tmp_path / "a.tif"), archive(tmp_path / "b.zip", {"c.tif": data}), "-"]
    items = list(Inputs(names, standard_input=data))
    assert [item.page for item in items] == [1, 1, 1]
    for item in items:
        with pytest.raises(PictureError, match=f"more than {MAX_FRAMES:,} pages"):
            item.load()
    with pytest.raises(PictureError, match=f"more than {MAX_FRAMES:,} pages"):
        Document(data)


def test_a_folder_that_cannot_be_opened_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By root every folder can, so the system's answer is made up."""
    scans = folder(tmp_path / "scans", 1)
    closed = folder(scans / "closed", 1)
    scandir = os.scandir

    def refusing(path: Any = ".") -> Any:
        if os.fspath(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(closed))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    first, second = Inputs([str(scans)], recursive=True)
    assert first.source == str(scans / "000.png")
    assert second.source == str(closed)
    with pytest.raises(PictureError, match=r"cannot be opened .Permission denied"):
        second.load()
    (alone,) = Inputs([str(closed)])
    with pytest.raises(PictureError, match="cannot be opened"):
        alone.load()


def archive(path: Path, members: dict[str, bytes]) -> str:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, data in members.items():
                packed.writestr(name, data)
    else:
        mode = {".tar": "w", ".tgz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}[path.suffix]
        with tarfile.open(path, mode) as packed:  # type: ignore[call-overload]
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                packed.addfile(info, io.BytesIO(data))
    return str(path)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tgz", "a.tar.xz", "a.tar.bz2"])
def test_archives(tmp_path: Path, name: str) -> None:
    members = {"in/1.png": b"one", "2.tif": tiff(3), "notes.txt": b"no", "in/.x.png": b"no"}
    path = archive(tmp_path / name, members)
    found = [(i.source, i.page, i.load()) for i in Inputs([path])]
    pages = [(f"{path}/2.tif", page, members["2.tif"]) for page in (1, 2, 3)]
    assert found == [(f"{path}/in/1.png", 1, b"one"), *pages]
    assert len({item.key for item in Inputs([path])}) == 4


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tgz"])
def test_broken_archives(tmp_path: Path, name: str) -> None:
    rng = random.Random(5)
    members = {f"{i}.png": rng.randbytes(2000) for i in range(9)}
    path = Path(archive(tmp_path / name, members))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    items = []
    for item in Inputs([str(path)]):
        try:
            item.load()
        except Exception as err:
            items.append((item.source, err))
    assert items
    assert items[-1][0].startswith(str(path))
    path.write_bytes(b"nothing of the kind")
    (item,) = Inputs([str(path)])
    with pytest.raises(Exception, match=r"."):
        item.load()


def test_zip_bomb_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molgaze.inputs.MAX_BYTES", 1000)
    path = archive(tmp_path / "a.zip", {"big.png": bytes(1001), "fits.png": bytes(1000)})
    inputs = iter(Inputs([path]))
    with pytest.raises(ValueError, match="file of more than"):
        next(inputs).load()
    assert next(inputs).load() == bytes(1000)


def test_many_members_take_no_memory(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", {f"{i}.png": b"x" for i in range(3000)})
    with tarfile.open(path) as packed:
        assert len(packed.getmembers()) == 3000
    seen = 0
    for item in Inputs([path]):
        seen += len(item.load())
    assert seen == 3000


def test_tables(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    cells = [b"a", b"b", None, b"d"]
    plain = pa.table({"id": [1, 2, 3, 4], "image": pa.array(cells, pa.binary())})
    nested = pa.table({"image": [{"bytes": c, "path": None} for c in cells], "text": ["t"] * 4})
    files = [tmp_path / n for n in ("a.parquet", "b.parquet", "c.arrow", "d.feather")]
    pq.write_table(plain, files[0], row_group_size=3)
    pq.write_table(nested, files[1])
    with pa.ipc.new_file(files[2], plain.schema) as out:
        out.write_table(plain, max_chunksize=3)
    with pa.ipc.new_stream(files[3], nested.schema) as out:
        out.write_table(nested)
    for file in map(str, files):
        found = [(item.source, item.load()) for item in Inputs([file])]
        assert found == [(f"{file}/{i}", c or b"") for i, c in enumerate(cells)]
    both = tmp_path / "both.parquet"
    pq.write_table(plain.append_column("other", plain["image"]), both)
    (item,) = Inputs([str(both)])
    with pytest.raises(ValueError, match="2 columns of bytes"):
        item.load()
    assert len(sources(Inputs([str(both)], column="other"))) == 4
    (item,) = Inputs([str(both)], column="id")
    with pytest.raises(ValueError, match="no column id of bytes"):
        item.load()


# ---- workers --------------------------------------------------------------------------------


@POSIX
def test_a_worker_reads_and_is_lost(tmp_path: Path) -> None:
    with Workers(Stub, 1, timeout=1.5) as pool:
        assert pool.start() == {"model": "stub 1 cpu"}
        assert pool.read("a", 0, b"abc").source == "a"
        died = pool.read("b", 2, b"kill")
        assert (died.error, died.error_type) == ("b: worker died (SIGKILL)", "WorkerDied")
        assert (died.source, died.page, died.model) == ("b", 2, "stub 1 cpu")
        began = time.monotonic()
        hung = pool.read("c", 0, b"hang")
        assert time.monotonic() - began < 30
        assert (hung.error, hung.error_type) == ("c: timed out after 1.5 s", "TimedOut")
        assert pool.read("d", 0, b"flaky " + os.fsencode(tmp_path / "mark")).error is None
        assert pool.read("e", 0, b"raise").error_type == "KeyError"
        bad = pool.read("f", 0, b"bad")
        assert (bad.error, bad.error_type) == ("f: not a picture", "PictureError")


@POSIX
def test_a_picture_that_loses_a_worker_costs_no_other_of_its_group(tmp_path: Path) -> None:
    flaky = b"flaky " + os.fsencode(tmp_path / "mark")
    group = [b"abc", b"kill", b"apart 2", b"bad", flaky, b"hang"]
    with Workers(Stub, 1, timeout=1.5) as pool:
        found = pool.read_together([(f"p{i}", 1, data) for i, data in enumerate(group)])
        assert [len(readings) for readings in found] == [1, 1, 2, 1, 1, 1]
        kinds = [readings[0].error_type for readings in found]
        assert kinds == [None, "WorkerDied", None, "PictureError", None, "TimedOut"]
        assert [readings[0].source for readings in found] == [f"p{i}" for i in range(6)]


def test_pictures_are_given_to_a_busy_worker_in_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def read_together(self: Workers, pictures: Any) -> Any:
        sizes.append(len(pictures))
        time.sleep(0.2)
        return [self.read_apart(*picture) for picture in pictures]

    monkeypatch.setattr(Workers, "read_together", read_together)
    pictures = folder(tmp_path / "in", 30)
    summary = batch(Inputs([str(pictures)]), [tmp_path / "o.csv"], Stub, workers=1)
    assert summary.rows == sum(sizes) == 30
    assert max(sizes) == GROUP


def test_workers_that_do_not_start() -> None:
    for broken, said in (("no weights here", "no weights here"), ("die", "died while it started")):
        with (
            Workers(partial(Stub, broken=broken), 1) as pool,
            pytest.raises(WorkerError, match=said),
        ):
            pool.start()


def test_worker_is_replaced_after_many_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "RECYCLE", 2)
    worker = Worker(Stub)
    try:
        seen = [worker.ask(_process) for _ in range(5)]
    finally:
        worker.close()
    assert [seen.count(pid) for pid in dict.fromkeys(seen)] == [2, 2, 1]


def _process(reader: object) -> int:
    return os.getpid()


@POSIX
def test_worker_ends_with_its_parent() -> None:
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from molgaze.workers import Worker\n"
        "from stub import Stub\nfrom test_batch import _process\n"
        "w = Worker(Stub); print(w.ask(_process), flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent)], capture_output=True, check=False
    )
    pid = int(done.stdout)
    for _ in range(100):
        if not Path(f"/proc/{pid}/stat").exists():
            return
        time.sleep(0.1)
    pytest.fail("the worker lives on")


# ---- journal --------------------------------------------------------------------------------

READING = Reading(
    smiles="CO", places=((1 / 3, 2 / 3),), tokens=("C",), probabilities=(1 / 3,), ms=1.0
)


def test_journal_keeps_and_finds(tmp_path: Path) -> None:
    keys = [os.urandom(15) + bytes([i % 2]) for i in range(200)]
    with Journal(tmp_path / "j") as log:
        log.begin({"model": "a"})
        offsets = [log.add(key, READING) for key in keys]
        assert log.find(keys[0]) is None  # of this run
    with Journal(tmp_path / "j") as log:
        log.begin({"model": "a"})
        assert len(log) == 200
        assert [log.find(key) for key in keys] == offsets
        assert log.find(os.urandom(16)) is None
        assert [found.smiles for found in log.at(offsets[7])] == ["CO"]
        with pytest.raises(JournalError, match="another run"):
            Journal(tmp_path / "j")


def test_journal_of_something_else(tmp_path: Path) -> None:
    for content in (b"source,smiles\n", b"my notes", b'{"molgazer": 1}\n'):
        file = tmp_path / "results.csv"
        file.write_bytes(content)
        for restart in (False, True):
            with pytest.raises(JournalError, match="no journal of MolGaze"):
                Journal(file, restart)
        assert file.read_bytes() == content
    with Journal(tmp_path / "j") as log:
        log.begin({"model": "a", "beam": 1})
        log.add(bytes(16), READING)
    with Journal(tmp_path / "j") as log, pytest.raises(JournalError, match="beam 1 and now 4"):
        log.begin({"model": "a", "beam": 4})
    with Journal(tmp_path / "j", restart=True) as log:
        log.begin({"model": "a", "beam": 4})
        assert not len(log)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut=st.floats(0, 1))
def test_journal_cut_anywhere(tmp_path: Path, cut: float) -> None:
    path = tmp_path / "j"
    path.unlink(missing_ok=True)
    keys = [bytes([i]) * 16 for i in range(1, 5)]
    with Journal(path) as log:
        log.begin({"model": "a"})
        ends = [log.add(key, READING) for key in keys][1:]
    whole = path.read_bytes()
    size = round(cut * len(whole))
    path.write_bytes(whole[:size])
    with Journal(path) as log:
        log.begin({"model": "a"})
        there = [key for key in keys if log.find(key) is not None]
        assert there == keys[: sum(end <= size for end in [*ends, len(whole)])]
        for key in keys[len(there) :]:
            log.add(key, READING)
    assert path.read_bytes() == whole


def test_journal_with_a_damaged_middle(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as log:
        log.begin({})
        first = log.add(b"1" * 16, READING)
        log.add(b"2" * 16, READING)
    data = bytearray((tmp_path / "j").read_bytes())
    data[first : first + 60] = bytes(60)
    (tmp_path / "j").write_bytes(data)
    with Journal(tmp_path / "j") as log:
        log.begin({})
        assert log.find(b"1" * 16) is None
        assert log.find(b"2" * 16) is not None
        with pytest.raises(JournalError, match="damaged"):
            log.at(first)


def test_full_disk_leaves_the_journal_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(tmp_path / "j") as log:
        log.begin({})
        log.add(b"1" * 16, READING)
        before = (tmp_path / "j").read_bytes()
        write = os.write

        def full(fd: int, data: Any) -> int:
            monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
            return write(fd, bytes(data)[:50])

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match="full"):
            log.add(b"2" * 16, READING)
        assert (tmp_path / "j").read_bytes() == before


# ---- runs -----------------------------------------------------------------------------------


def test_a_run_and_its_tables(tmp_path: Path) -> None:
    pictures = folder(tmp_path / "in", 6, bad=b"bad", kill=b"kill", png=png())
    (pictures / "pages.tif").write_bytes(tiff(2))
    outs = [tmp_path / f"out.{suffix}" for suffix in ("csv", "sdf", "smi", "jsonl")]
    seen: list[tuple[int, int]] = []
    done = batch(
        Inputs([str(pictures)]),
        outs,
        Stub,
        workers=2,
        progress=lambda n, old: seen.append((n, old)),
    )
    assert (done.pictures, done.resumed, done.stopped) == (11, 0, 0)
    assert done.failures == {"PictureError": 1, "WorkerDied": 1}
    assert seen[-1] == (11, 0)
    assert [n for n, _ in seen] == sorted(n for n, _ in seen)
    rows = readings(outs[3])
    names = [f"{pictures}/{n}" for n in sorted(os.listdir(pictures))]
    assert [r["source"] for r in rows] == [
        n for n in names for _ in range(2 if n.endswith(".tif") else 1)
    ]
    assert [r["page"] for r in rows if r["source"].endswith(".tif")] == [1, 2]
    assert [r["source"] for r in table(outs[0])] == [r["source"] for r in rows]
    assert {r["error_type"] for r in table(outs[0])} == {"", "PictureError", "WorkerDied"}
    assert len(list(Chem.SDMolSupplier(str(outs[1])))) == 9
    assert len(outs[2].read_text().splitlines()) == 9
    assert "11 pictures; 2 not read" in told(done)
    assert done.review == 6  # the stub is sure of what Pillow can open

    before = [out.read_bytes() for out in outs]
    for out in outs:
        out.unlink()
    again = batch(Inputs([str(pictures)]), outs, Stub, workers=1)
    assert (again.pictures, again.resumed) == (11, 11)
    assert again.failures == done.failures
    assert [out.read_bytes() for out in outs] == before
    (pictures / "001.png").write_bytes(b"another")
    (pictures / "new.png").write_bytes(b"new")
    assert batch(Inputs([str(pictures)]), outs, Stub, workers=1).resumed == 10


@POSIX
def test_parquet(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    pictures = folder(tmp_path / "in", 3, bad=b"bad", pill="\N{PILL}".encode())
    odd = os.path.join(os.fsencode(pictures), b"\xff.png")
    with open(odd, "wb") as file:
        file.write(b"odd")
    out = tmp_path / "out.parquet"
    batch(Inputs([str(pictures)]), [out], Stub, workers=1, settings={"beam": 3})
    table = pq.read_table(out)
    assert table.num_rows == 6
    header = json.loads(table.schema.metadata[b"molgaze"])
    assert (header["model"], header["settings"]) == ("stub 1 cpu", {"beam": 3})
    rows = table.to_pylist()
    assert rows[0]["tokens"]
    assert rows[0]["places"][0] == [0.33, 0.67]
    assert [r["error_type"] for r in rows].count("PictureError") == 1
    assert any("\\udcff" in r["source"] for r in rows)
    assert all(r["source"] for r in rows)


def pdf(path: Path, number: int) -> Path:
    frames = [Image.new("L", (300, 200), 255) for _ in range(number)]
    frames[0].save(path, "PDF", save_all=True, append_images=frames[1:])
    return path


def test_pages_of_documents(tmp_path: Path) -> None:
    pictures = folder(tmp_path / "in", 1)
    data = pdf(pictures / "paper.pdf", 5).read_bytes()
    (pictures / "torn.pdf").write_bytes(b"%PDF-1.7 and no more")
    packed = archive(tmp_path / "a.zip", {"b.pdf": data})
    found = [(i.source, i.page, i.is_page) for i in Inputs([str(pictures), packed], pages=(2, 9))]
    assert found == [
        *((f"{pictures}/000.png", page, False) for page in range(2, 10)),
        *((f"{pictures}/paper.pdf", page, True) for page in range(2, 6)),
        (f"{pictures}/torn.pdf", 1, False),
        *((f"{packed}/b.pdf", page, True) for page in range(2, 6)),
    ]
    inputs = Inputs([str(pictures), packed])
    outs = [tmp_path / "o.jsonl", tmp_path / "o.sdf", tmp_path / "o.csv"]
    for resumed in (0, 12):
        done = batch(inputs, outs, Stub, workers=2)
        assert (done.pictures, done.resumed, done.rows) == (12, resumed, 14)
        assert "12 pictures; 14 molecules in them" in told(done)
        assert done.failures == {"PictureError": 1}
        rows = readings(outs[0])
        drawn = [r["page"] for r in rows if r["source"].endswith("paper.pdf")]
        assert drawn == [1, 2, 2, 4, 5, 5]  # nothing is drawn on the third
        assert [r["page"] for r in rows if r["source"] == f"{packed}/b.pdf"] == drawn
        assert rows[1]["box"] == [1.0, 2.0, 3.0, 4.0]
        assert len(list(Chem.SDMolSupplier(str(outs[1])))) == 1 + 2 * len(drawn)
        assert table(outs[2])[1]["x1"] == "3.0"
        assert "broken PDF" in next(r["error"] for r in rows if r["error"])


@POSIX
def test_molecules_of_a_picture_of_several_are_rows(tmp_path: Path) -> None:
    pictures = folder(tmp_path / "in", 1, apart=b"apart 3", one=b"apart 1")
    for resumed in (0, 3):
        done = batch(Inputs([str(pictures)]), [tmp_path / "o.jsonl"], Stub, workers=1)
        assert (done.pictures, done.rows, done.resumed) == (3, 5, resumed)
        rows = readings(tmp_path / "o.jsonl")
        assert [r["box"] and r["box"][0] for r in rows] == [None, 0, 1, 2, 0]
        assert all(Path(r["source"]).parent == pictures for r in rows)


def test_a_page_that_kills_its_worker_is_a_row(tmp_path: Path) -> None:
    inputs = Inputs([str(pdf(tmp_path / "paper.pdf", 2))])
    done = batch(inputs, [tmp_path / "o.jsonl"], Killed, workers=1)
    assert done.failures == {"WorkerDied": 2}
    rows = readings(tmp_path / "o.jsonl")
    assert [(r["page"], r["error_type"]) for r in rows] == [(1, "WorkerDied"), (2, "WorkerDied")]
    again = batch(inputs, [tmp_path / "o.jsonl"], Stub, workers=1, retry=True)
    assert (again.resumed, len(again.failures)) == (0, 0)


class Killed(Stub):
    """Dies on every page."""

    def find(self, source: Any, pages: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_run_of_an_archive_with_a_broken_end(tmp_path: Path) -> None:
    path = Path(archive(tmp_path / "a.tar", {f"{i}.png": b"x" * 700 for i in range(8)}))
    path.write_bytes(path.read_bytes()[:6000])
    done = batch(Inputs([str(path)]), [tmp_path / "o.jsonl"], Stub, workers=1)
    rows = readings(tmp_path / "o.jsonl")
    assert done.failures
    assert rows[0]["smiles"]
    assert rows[-1]["error"].startswith(str(path))


def test_other_weights_or_settings_are_refused(tmp_path: Path) -> None:
    inputs, out = Inputs([str(folder(tmp_path / "in", 2))]), [tmp_path / "o.csv"]
    batch(inputs, out, Stub, workers=1)
    with pytest.raises(JournalError, match="model 'stub 1 cpu' and now 'stub 2 cpu'"):
        batch(inputs, out, partial(Stub, model="stub 2 cpu"), workers=1)
    with pytest.raises(JournalError, match="settings"):
        batch(inputs, out, Stub, workers=1, settings={"beam": 2})
    done = batch(inputs, out, partial(Stub, model="stub 2 cpu"), workers=1, restart=True)
    assert done.resumed == 0


def test_retry(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    inputs = Inputs([str(folder(tmp_path / "in", 2, kill=b"kill", bad=b"bad"))])
    out = [tmp_path / "o.jsonl"]
    assert batch(inputs, out, Stub, workers=1).failures.total() == 2
    mark.touch()
    again = batch(inputs, out, Stub, workers=1, retry=True)
    assert (again.resumed, again.pictures) == (3, 4)
    assert len(readings(out[0])) == 4


def test_wrong_outputs_are_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "dir.csv").mkdir()
    for out, said in (
        ("a.txt", "formats"),
        ("a.mol", "formats"),
        ("no/a.csv", "no such folder"),
        ("dir.csv", "is a folder"),
    ):
        with pytest.raises(ValueError, match=said):
            batch(Inputs(["x"]), [tmp_path / out], Stub)
    with pytest.raises(ValueError, match="needed"):
        batch(Inputs(["x"]), [], Stub)
    with pytest.raises(ValueError, match="journal too"):
        batch(Inputs(["x"]), [tmp_path / "a.jsonl"], Stub, journal=tmp_path / "a.jsonl")
    assert not list(tmp_path.glob("*.journal"))


def test_reader_that_does_not_start_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="no weights"):
        batch(Inputs(["x"]), [tmp_path / "o.csv"], partial(Stub, broken="no weights"))


def test_a_fault_in_the_inputs_ends_the_run_with_the_journal_whole(tmp_path: Path) -> None:
    def items() -> Any:
        for i in range(5):
            yield Item(f"{i}", 0, "", lambda i=i: b"%d" % i)
        raise ImportError("an extra")

    with pytest.raises(ImportError):
        batch(items(), [tmp_path / "o.csv"], Stub, workers=1)
    with Journal(tmp_path / "o.csv.journal") as log:
        assert len(log) <= 5
    assert not (tmp_path / "o.csv").exists()


def run(pictures: Path, out: Path) -> subprocess.Popen[bytes]:
    script = Path(__file__).parent / "stub.py"
    return subprocess.Popen([sys.executable, script, pictures, out], stderr=subprocess.PIPE)


def ended(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    _, said = process.communicate(timeout=100)
    return process.returncode, said


def table(path: Path) -> list[dict[str, str]]:
    """A CSV file but for the times, which no two runs have alike."""
    with open(path, newline="") as file:
        return [{k: v for k, v in r.items() if k != "ms"} for r in csv.DictReader(file)]


def rows_of(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


@POSIX
def test_killed_again_and_again_equals_undisturbed(tmp_path: Path) -> None:
    chance = random.Random(11)
    pictures = folder(tmp_path / "in", 150, bad=b"bad", kill=b"kill")
    undisturbed, out = tmp_path / "one.csv", tmp_path / "two.csv"
    assert ended(run(pictures, undisturbed)) == (0, b"")
    kills = 0
    for _ in range(5):
        process = run(pictures, out)
        before, aim = rows_of(Path(f"{out}.journal")), chance.randrange(1, 25)
        while process.poll() is None and rows_of(Path(f"{out}.journal")) < before + aim:
            time.sleep(0.01)
        time.sleep(chance.random() / 20)
        process.kill()
        kills += ended(process)[0] == -signal.SIGKILL
        journal = Path(f"{out}.journal")
        journal.write_bytes(journal.read_bytes()[: -chance.randrange(1, 9)])
    assert kills == 5
    assert not out.exists()
    (tmp_path / ".two.csv.12345678.tmp").write_text("of a run that was killed")
    assert ended(run(pictures, out)) == (0, b"")
    assert table(out) == table(undisturbed)
    keys = [json.loads(line)["key"] for line in Path(f"{out}.journal").read_text().splitlines()[1:]]
    assert len(keys) == len(set(keys)) == 152
    assert not list(tmp_path.glob(".*"))


@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_with_the_journal_whole(tmp_path: Path, number: int) -> None:
    pictures = folder(tmp_path / "in", 400)
    out = tmp_path / "o.csv"
    process = run(pictures, out)
    while process.poll() is None and rows_of(Path(f"{out}.journal")) < 20:
        time.sleep(0.02)
    process.send_signal(number)
    assert ended(process) == (128 + number, b"")
    assert not out.exists()
    with Journal(f"{out}.journal") as log:
        assert 19 <= len(log) < 400


ELSEWHERE = """
import os, signal, sys, time
for name in ("fcntl", "resource", "pwd", "termios", "grp"):
    sys.modules[name] = None
for module, names in (
    (os, ("sched_getaffinity", "fork", "getuid", "mkfifo", "killpg", "setsid")),
    (signal, ("SIGALRM", "SIGPIPE", "SIGHUP", "alarm", "setitimer")),
):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
sys.path.insert(0, sys.argv[1])
from functools import partial
from stub import Stub
from molgaze.batch import Inputs, batch
from molgaze.cli import main
done = batch(Inputs([sys.argv[2]]), [sys.argv[3]], Stub, workers=2, timeout=1.5)
assert dict(done.failures) == {"TimedOut": 1, "PictureError": 1}, done
import molgaze.web.server
assert main(["read", sys.argv[4], "--threads", "1", "--min-confidence", "0"]) == 0
assert main(["info", "--weights", "nowhere"]) == 3
"""


def test_a_batch_where_there_is_nothing_of_posix(tmp_path: Path) -> None:
    """What Windows lacks is taken away: file locks, affinity, alarms and signals."""
    pictures = folder(tmp_path / "in", 5, bad=b"bad", hang=b"hang")
    pytest.importorskip("fastapi")
    example = Path(__file__).parents[1] / "examples" / "caffeine.png"
    command = [sys.executable, "-c", ELSEWHERE, Path(__file__).parent, pictures, tmp_path / "o.csv"]
    command.append(example)
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0
    assert Chem.MolFromSmiles(done.stdout.splitlines()[0]).GetNumAtoms() == 14
    assert done.stderr.splitlines()[-1] == f"molgaze: no weights at {Path('nowhere/encoder.onnx')}"
    assert len(table(tmp_path / "o.csv")) == 7


@pytest.mark.parametrize(
    "file", sorted(Path(batches.__file__).parent.rglob("*.py")), ids=lambda f: f.name
)
def test_what_some_systems_lack_is_not_imported(file: Path) -> None:
    import ast

    found = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    assert not found & {"fcntl", "msvcrt", "resource", "pwd", "grp", "termios", "winreg"}


# ---- what is told ---------------------------------------------------------------------------


def test_told() -> None:
    done = Summary(pictures=1200, rows=1199, resumed=200, seconds=10, stopped=2, review=7)
    done.counted(Reading(finish_reason="no molecule"))
    assert told(done) == (
        "1,200 pictures; 200 of them in the journal before; 1 not read (1 no molecule); "
        "7 to be looked at (column review); "
        "100.0 a second; stopped: the same command goes on from here"
    )


def test_tables_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    pictures = folder(tmp_path / "in", 30)
    outs = [tmp_path / f"{n}.csv" for n in (1, 3)]
    for out, n in zip(outs, (1, 3), strict=True):
        batch(Inputs([str(pictures)]), [out], partial(Stub, delay=0.01), workers=n)
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert np.array_equal(*(sorted(o.read_bytes().split(b"\n")) for o in outs))


# ---- the command ----------------------------------------------------------------------------


@pytest.fixture
def molgaze(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line with the stub for its reader."""
    from molgaze import reader
    from molgaze.cli import main

    monkeypatch.setattr(reader, "Reader", stub.reader)
    return main


def test_command(
    molgaze: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pictures = folder(tmp_path / "in", 3)
    out, more = str(tmp_path / "o.csv"), str(tmp_path / "o.sdf.gz")
    line = ["batch", str(pictures), "-o", out, "--workers", "1", "--min-confidence", "0"]
    assert molgaze([*line, "-o", more]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "3 pictures" in said.err
    assert len(table(Path(out))) == 3
    assert gzip.decompress(Path(more).read_bytes()).count(b"$$$$") == 3
    (pictures / "z.png").write_bytes(b"bad")
    (pictures / "paper.docx").write_bytes(b"x")
    listed = tmp_path / "list"
    listed.write_text(f"{pictures}\n")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    line[1:2] = ["--files-from", str(listed)]
    assert molgaze(line) == 1
    said = capsys.readouterr()
    assert "1 not read (1 PictureError)" in said.err
    assert f"molgaze: {pictures}/z.png: not a picture\n" in said.err
    assert f"molgaze: {pictures}: 1 file was skipped" in said.err
    assert "(1 .docx)" in said.err
    monkeypatch.undo()
    monkeypatch.setattr("molgaze.reader.Reader", stub.reader)
    assert molgaze([*line, "-q"]) == 1
    assert capsys.readouterr().err == ""
    assert molgaze([*line, "-q", "--beam", "2"]) == 3
    assert "beam" in capsys.readouterr().err
    assert molgaze([*line, "--weights", "x", "--restart"]) == 3
    assert "no weights" in capsys.readouterr().err
    with Journal(f"{out}.journal"):
        assert molgaze(line) == 3
    assert "another run is writing" in capsys.readouterr().err


def test_rows_under_the_threshold_are_marked_without_being_read_again(
    molgaze: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = folder(tmp_path / "in", 4)
    out = tmp_path / "o.csv"
    line = ["batch", str(pictures), "-o", str(out), "--workers", "1", "--min-confidence"]
    assert molgaze([*line, "0"]) == 0
    confidences = [float(r["confidence"]) for r in table(out)]
    middle = sorted(confidences)[2]
    capsys.readouterr()
    assert molgaze([*line, str(middle)]) == 1
    said = capsys.readouterr().err
    assert "4 of them in the journal before" in said
    assert "2 to be looked at" in said
    assert said.count("look at it") == 2
    marks = [r["review"] for r in table(out)]
    assert marks == [str(c < middle) for c in confidences]
    assert all(r["smiles"] for r in table(out))


def test_of_many_failures_the_first_are_told(
    molgaze: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = folder(tmp_path / "in", 0, **{f"bad{i:02}": b"bad" for i in range(25)})
    out = str(tmp_path / "o.csv")
    assert molgaze(["batch", str(pictures), "-o", out, "--workers", "1"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "not a picture" in line] == [
        f"molgaze: {pictures}/bad{i:02}.png: not a picture" for i in range(20)
    ]
    assert said[20] == f"molgaze: 5 more: see the columns error and review in {out}"
    assert "25 not read" in said[21]


def test_ids_of_a_table_pass_through(molgaze: Any, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    cells = {"ID": ["m1", None, "m3"], "name": [1, 2, 3], "image": [b"a", b"bad", b"c"]}
    pq.write_table(pa.table(cells), tmp_path / "t.parquet", row_group_size=2)
    with pa.ipc.new_file(tmp_path / "t.arrow", pa.table(cells).schema) as file:
        file.write_table(pa.table(cells), max_chunksize=2)
    for name in ("t.parquet", "t.arrow"):
        for more, ids in (([], ["m1", "", "m3"]), (["--id-column", "name"], ["1", "2", "3"])):
            out, sdf = tmp_path / "o.csv", tmp_path / "o.sdf"
            line = ["batch", str(tmp_path / name), "-o", str(out), "-o", str(sdf), "--restart"]
            assert molgaze([*line, "--workers", "1", *more]) == 1
            assert [r["id"] for r in table(out)] == ids
            titles = [m.GetProp("_Name") for m in Chem.SDMolSupplier(str(sdf))]
            assert titles == [ids[0], ids[2]]
    assert molgaze([*line, "--workers", "1", "--id-column", "gone"]) == 1
    assert "no column gone" in table(out)[0]["error"]
