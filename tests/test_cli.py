"""cli.py: what is printed where, and the exit codes; the weights are played by a fake."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import types
import zipfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from molgaze import cli, refusals
from molgaze.cli import main
from molgaze.picture import load
from molgaze.reading import COLUMNS, Reading

WARNINGS = {"c": ("a label is unknown",), "odd": tuple(f"odd {i}" for i in range(6))}
ANSWERS = {"a": ("CCO", 0.95), "b": ("C[C@H](N)O", 0.4), "c": ("c1ccccc1", 0.99)}


class FakeReader:
    """Answers by the file's name; opens the file as the real one does."""

    made: tuple[dict[str, Any], ...] = ()
    interrupt_after: int | None = None
    fault: Exception | None = None
    info: ClassVar = {
        "model": "fake 1 cpu",
        "provider": "CPUExecutionProvider",
        "bounds": "[1.5, 0.25]",
        "size": '{"hidden": 384}',
        "head": "x" * 3000,
    }

    def __init__(self, weights: str | None = None, **options: Any) -> None:
        if weights is not None:
            raise RuntimeError(f"no weights at {weights}")
        type(self).made += (options,)

    reads = 0

    def read_apart(self, source: Any, *, page: int = 1) -> list[Reading]:
        return [self.read(source, page=page)]

    def read(self, source: Any, *, page: int = 1) -> Reading:
        if self.fault is not None:
            raise self.fault
        if self.reads == self.interrupt_after:
            raise KeyboardInterrupt
        type(self).reads += 1
        sheet = load(source, page)
        name = sheet.source
        if Path(name).stem == "nothing":
            return Reading(source=name, finish_reason="no molecule", page=page)
        if Path(name).stem == "noise":  # a reader that says both
            return Reading(source=name, finish_reason="no molecule", page=page, smiles="CCl")
        smiles, confidence = ANSWERS.get(Path(name).stem, ("CC", 0.9))
        return Reading(
            smiles=smiles,
            confidence=confidence,
            source=name,
            page=page,
            tokens=("C", "=", "O"),
            places=((10.0, 10.0), (20.0, 15.0), (30.0, 20.0)),
            probabilities=(0.99, 0.6, 0.99),
            warnings=WARNINGS.get(Path(name).stem, ()),
            finish_reason="length" if Path(name).stem == "long" else "end",
        )


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> type[FakeReader]:
    made = type("Reader", (FakeReader,), {"made": (), "reads": 0})
    module = types.ModuleType("molgaze.reader")
    module.Reader = made  # type: ignore[attr-defined]
    module.WEIGHTS = Path(cli.__file__).parent / "weights"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "molgaze.reader", module)
    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.png", "b.png", "c.png", "sub/d.gif", "sub/.hidden.png"):
        paint(tmp_path / name)
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    (tmp_path / "notes.txt").write_text("c.png\n\na.png\r\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paint(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    picture = Image.new("L", (60, 40), 255)
    ImageDraw.Draw(picture).line((10, 10, 30, 20, 50, 10), 0, 2)
    picture.save(path)
    return path


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(
    reader: type[FakeReader], folder: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    def run(*argv: str) -> tuple[int, str, str]:
        code = main(argv)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


# ---- read -----------------------------------------------------------------------------------


def test_one_picture_is_its_smiles_alone(call: Run) -> None:
    assert call("read", "a.png") == (0, "CCO\n", "")


def test_many_are_rows_in_the_order_given(call: Run) -> None:
    line = ("read", "c.png", "a.png", "b.png", "--min-confidence", "0.3")
    code, out, err = call(*line)
    assert code == 0
    assert out == "c.png\tc1ccccc1\t0.990\na.png\tCCO\t0.950\nb.png\tC[C@H](N)O\t0.400\n"
    assert err == "molgaze: c.png: a label is unknown\n"


def test_of_many_warnings_the_first_are_told(call: Run, folder: Path) -> None:
    paint(folder / "odd.png")
    told = call("read", "odd.png", "-o", "o.csv")[2].splitlines()
    said = ["odd 0", "odd 1", "odd 2", "3 more warnings"]
    assert told == [f"molgaze: odd.png: {text}" for text in said]
    assert "odd 5" in (folder / "o.csv").read_text()


def test_a_failure_is_told_and_the_rest_goes_on(call: Run) -> None:
    code, out, err = call("read", "a.png", "bad.png", "none.png", "c.png", "-q")
    assert (code, err) == (1, "")
    assert out == "a.png\tCCO\t0.950\nc.png\tc1ccccc1\t0.990\n"
    code, out, err = call("read", "bad.png", "none.png")
    assert (code, out) == (1, "")
    told = err.splitlines()
    assert told[0].startswith("molgaze: bad.png: not a picture of a known format")
    assert told[1].startswith("molgaze: none.png: there is no such file")


@pytest.mark.parametrize(
    ("name", "reason"), [("nothing", "no molecule"), ("long", "cut off at its longest")]
)
def test_no_whole_molecule_is_a_failure(call: Run, folder: Path, name: str, reason: str) -> None:
    paint(folder / f"{name}.png")
    assert call("read", f"{name}.png") == (1, "", f"molgaze: {name}.png: {reason}\n")


def test_noise_gives_no_structure(call: Run, folder: Path) -> None:
    paint(folder / "noise.png")
    for line in (("--format", "smi"), ("--format", "csv"), ("--json",), ("--format", "sdf"), ()):
        code, out, err = call("read", "noise.png", *line)
        assert (code, err) == (1, "molgaze: noise.png: no molecule\n")
        assert "CCl" not in out


def test_folders_and_globs(call: Run, folder: Path) -> None:
    rows = [line.split("\t")[0] for line in call("read", ".", "-q")[1].splitlines()]
    assert rows == ["./a.png", "./b.png", "./c.png"]
    rows = [line.split("\t")[0] for line in call("read", "-r", ".", "-q")[1].splitlines()]
    assert rows == ["./a.png", "./b.png", "./c.png", "./sub/d.gif"]
    assert call("read", "[ab].png")[1] == "a.png\tCCO\t0.950\nb.png\tC[C@H](N)O\t0.400\n"
    assert call("read", "sub")[1] == "sub/d.gif\tCC\t0.900\n"  # rows even for one
    (folder / "empty").mkdir()
    assert call("read", "empty")[::2] == (1, "molgaze: empty: no pictures in this folder\n")


def test_a_file_of_paths(call: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    want = "c.png\tc1ccccc1\t0.990\na.png\tCCO\t0.950\n"
    assert call("read", "--files-from", "notes.txt")[1] == want
    stdin = types.SimpleNamespace(buffer=io.BytesIO(b"c.png\na.png\n"))
    monkeypatch.setattr("sys.stdin", stdin)
    assert call("read", "--files-from", "-")[1] == want


def pages(path: Path, number: int) -> Path:
    frames = [Image.new("L", (60, 40), 255) for _ in range(number)]
    for i, frame in enumerate(frames):
        ImageDraw.Draw(frame).line((10, 10, 30, 20 + i, 50, 10), 0, 2)
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


def test_all_pages_are_read_and_count_from_1(call: Run, folder: Path) -> None:
    pages(folder / "two.tif", 2)
    rows = "two.tif\tCC\t0.900\ntwo.tif, page 2\tCC\t0.900\n"
    assert call("read", "two.tif") == (0, rows, "")
    assert call("read", "two.tif", "--page", "2")[1] == "CC\n"
    assert call("read", "two.tif", "--page", "1-2")[1] == rows
    assert call("read", "two.tif", "--page", "2-9")[1] == "CC\n"
    code, out, err = call("read", "two.tif", "--page", "5")
    assert (code, out, err) == (1, "", "molgaze: two.tif, page 5: there is no page 5, it has 2\n")
    out = call("read", "two.tif", "--json")[1]
    assert [json.loads(line)["page"] for line in out.splitlines()] == [1, 2]
    assert call("read", "two.tif", "-o", "two.mol")[0] == 1
    assert call("read", "two.tif", "-o", "two.mol", "--page", "1")[0] == 0
    pages(folder / "two.gif", 2)
    assert call("read", "two.gif") == (0, "CC\n", "")
    assert call("read", "two.gif", "--page", "2")[1] == "CC\n"


def test_archives_and_what_is_skipped(
    call: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("molgaze.inputs.can_open", lambda suffix: False)  # as without the extra
    with zipfile.ZipFile("x.zip", "w") as packed:
        for name in ("a.png", "bad.png", "notes.txt", "paper.svg"):
            packed.writestr(name, (folder / "a.png").read_bytes() if name != "bad.png" else b"no")
    with tarfile.open("x.tar.gz", "w:gz") as packed:
        packed.add("a.png")
    code, out, err = call("read", "x.zip", "x.tar.gz")
    assert (code, out) == (1, "x.zip/a.png\tCC\t0.900\nx.tar.gz/a.png\tCC\t0.900\n")
    told = err.splitlines()
    assert told[0].startswith("molgaze: x.zip/bad.png: not a picture of a known format")
    assert told[1] == (
        "molgaze: x.zip: 2 files were skipped: their names are not those of pictures "
        "(1 .txt, 1 .svg); .svg: pip install 'molgaze[formats]'"
    )
    (folder / "sub" / "photo.HEIC").touch()
    _, _, err = call("read", "sub")
    assert err == (
        "molgaze: sub: 1 file was skipped: its name is not that of a picture (1 .heic); "
        ".heic: pip install 'molgaze[formats]'\n"
    )
    assert call("read", "sub", "-q")[2] == ""


def test_read_and_batch_give_the_same_rows(
    call: Run, folder: Path, reader: type[FakeReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    import stub

    monkeypatch.setattr(sys.modules["molgaze.reader"], "Reader", stub.reader)
    pages(folder / "two.tif", 2)
    with zipfile.ZipFile("x.zip", "w") as packed:
        packed.write("a.png")
    names = ["x.zip", "bad.png", "two.tif", "a.png", "gone.png"]
    for form in ("csv", "tsv", "jsonl", "sdf", "smi", "csv.gz"):
        assert call("read", *names, "-o", f"r.{form}")[0] == 1
        assert call("batch", *names, "-o", f"b.{form}", "--workers", "1")[0] == 1
        read, batch = ((folder / f"{which}.{form}").read_bytes() for which in "rb")
        if form.endswith(".gz"):
            read, batch = gzip.decompress(read), gzip.decompress(batch)
        assert read.count(b"\n") > 3
        read, batch = (re.sub(rb'"ms": (null|[-+.\de]+)', b"", data) for data in (read, batch))
        if form.startswith(("csv", "tsv")):
            mark = "\t" if form == "tsv" else ","
            tables = [
                list(csv.DictReader(io.StringIO(t.decode()), delimiter=mark)) for t in (read, batch)
            ]
            for row in (*tables[0], *tables[1]):
                del row["ms"]
            assert tables[0] == tables[1]
        else:
            assert read == batch


def test_parquet_and_compressed_files(call: Run, folder: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    assert call("read", "a.png", "bad.png", "-o", "o.parquet")[0] == 1
    rows = pq.read_table(folder / "o.parquet").to_pylist()
    assert [r["smiles"] for r in rows] == ["CCO", None]
    assert call("read", "a.png", "-o", "o.tsv.gz")[0] == 0
    assert b"a.png\t1\t" in gzip.decompress((folder / "o.tsv.gz").read_bytes())


def test_pages_of_a_document(call: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import stub

    monkeypatch.setattr(sys.modules["molgaze.reader"], "Reader", stub.reader)
    pages(folder / "paper.pdf", 3)
    rows = "paper.pdf\tC\t0.900\n" + "".join(
        f"paper.pdf, page 2\t{smiles}\t0.900\n" for smiles in ("C", "CC")
    )
    assert call("read", "paper.pdf") == (0, rows, "")
    assert call("read", "paper.pdf", "--page", "1")[1] == "paper.pdf\tC\t0.900\n"
    code, out, err = call("read", "paper.pdf", "--page", "3")
    assert (code, out) == (1, "")
    assert err.startswith("molgaze: no molecule was found")
    with open("paper.pdf", "rb") as file:
        monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=file))
        assert call("read", "-")[:2] == (0, rows.replace("paper.pdf", "-"))
    assert call("batch", "paper.pdf", "-o", "o.csv", "--workers", "1")[0] == 0
    pages(folder / "other.pdf", 3)
    assert call("read", "other.pdf", "--page", "9")[0] == 1


def test_what_is_no_picture_says_what_to_do(call: Run, folder: Path) -> None:
    (folder / "paper").write_bytes(b"%PDF-1.7\n")
    for name, said in (
        ("https://example.org/a.png", refusals.ADDRESS),
        ("CC(=O)Oc1ccccc1C(=O)O", refusals.STRING),
        ("gone.png", refusals.MISSING),
        ("paper", refusals.PDF),
    ):
        assert call("read", name) == (1, "", f"molgaze: {name}: {said}\n")


def test_standard_input(call: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = (folder / "a.png").read_bytes()
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))
    assert call("read", "-") == (0, "CC\n", "")
    assert call("read", "-", "-")[0] == 2
    assert call("read", "-", "--files-from", "-")[0] == 2


def test_json_is_a_line_for_each(call: Run) -> None:
    out = call("read", "--json", "a.png", "bad.png")[1]
    good, bad = map(json.loads, out.splitlines())
    assert Reading.from_dict(good).smiles == "CCO"
    assert bad["error_type"] == "PictureError"


def test_a_format_on_standard_output(call: Run) -> None:
    out = call("read", "--format", "csv", "a.png", "bad.png")[1].splitlines()
    assert out[0] == ",".join(COLUMNS)
    assert len(out) == 3
    assert call("read", "--format", "mol", "a.png")[1].endswith("M  END\n")


@pytest.mark.parametrize(("form", "count"), [("smi", 2), ("csv", 4), ("jsonl", 3), ("sdf", 2)])
def test_files(call: Run, folder: Path, form: str, count: int) -> None:
    code, out, _ = call("read", "a.png", "bad.png", "b.png", "-o", f"out.{form}")
    assert (code, out) == (1, "")
    text = (folder / f"out.{form}").read_text()
    assert (text.count("$$$$") if form == "sdf" else text.count("\n")) == count
    if form in ("csv", "jsonl"):
        assert "not a picture" in text
    assert call("read", "a.png", "-o", "other", "--format", form)[0] == 0
    assert (folder / "other").exists()


def test_a_mol_file_holds_one(call: Run, folder: Path) -> None:
    assert call("read", "a.png", "-o", "a.mol")[0] == 0
    assert "M  END" in (folder / "a.mol").read_text()
    assert call("read", "a.png", "b.png", "-o", "b.mol")[0] == 2
    assert call("read", "bad.png", "-o", "c.mol")[0] == 1
    assert not (folder / "c.mol").exists()


def test_low_confidence_is_marked_and_not_dropped(call: Run, folder: Path) -> None:
    code, out, err = call("read", "--min-confidence", "0.5", "a.png", "b.png")
    assert (code, out) == (1, "a.png\tCCO\t0.950\nb.png\tC[C@H](N)O\t0.400\n")
    assert err == "molgaze: b.png: confidence 0.40: look at it\n"
    assert call("read", "b.png") == (1, "C[C@H](N)O\n", err)  # the default is between them
    assert call("read", "a.png", "b.png", "-o", "b.csv")[0] == 1
    with open(folder / "b.csv", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(r["smiles"], r["review"]) for r in rows] == [
        ("CCO", "False"),
        ("C[C@H](N)O", "True"),
    ]
    assert call("read", "--min-confidence", "0.4", "b.png")[0] == 0
    assert call("read", "--min-confidence", "0.96", "a.png")[0] == 1


def test_an_interruption_keeps_what_was_read(
    call: Run, reader: type[FakeReader], folder: Path
) -> None:
    reader.interrupt_after = 2
    assert call("read", "a.png", "b.png", "c.png", "-o", "out.smi")[0] == 130
    assert (folder / "out.smi").read_text() == "CCO\ta.png\nC[C@H](N)O\tb.png\n"
    reader.reads = 0
    code, out, _ = call("read", "a.png", "b.png", "c.png")
    assert (code, out.count("\n")) == (130, 2)


def test_a_name_cannot_break_a_row(call: Run, folder: Path) -> None:
    paint(folder / "x\ty\n.png")
    out = call("read", "x\ty\n.png", "a.png")[1]
    assert out == "x y .png\tCC\t0.900\na.png\tCCO\t0.950\n"


def test_options_reach_the_reader(call: Run, reader: type[FakeReader]) -> None:
    call("read", "a.png", "--beam", "3", "--threads", "2", "--device", "cpu")
    assert reader.made[-1] == {"device": "cpu", "threads": 2, "beam": 3}
    code, _, err = call("read", "a.png", "--page", "2")
    assert (code, err) == (1, "molgaze: a.png, page 2: there is no page 2, it has 1\n")


# ---- usage, weights, faults -----------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "",
        "red a.png",
        "read",
        "read a.png --beam 0",
        "read a.png --beam many",
        "read a.png --page 0",
        "read a.png --min-confidence 2",
        "read a.png --device tpu",
        "read a.png --json --format csv",
        "read a.png -o out",
        "read a.png --format parquet",
        "read a.png -o out.csv --json",
        "read a.png -o out.sdf --format csv",
        "read a.png -o out.csv.gz --format tsv",
        "read a.png --page 3-2",
        "read --files-from gone.txt",
        "batch",
        "batch a.png",
        "batch a.png -o out.txt",
        "batch a.png -o none/out.csv",
        "batch - -o out.csv",
        "batch a.png -o out.csv --workers 0",
        "batch a.png -o out.csv --timeout 0",
        "batch a.png -o out.csv --timeout inf",
        "batch --files-from gone.txt -o out.csv",
        "batch a.png --engine ray",
        "batch a.png --engine ray -o one -o two",
        "batch a.png --engine ray --journal parts -o out.txt",
        "serve --port 80000",
        "serve --port 0",
        "serve --workers 0",
        "serve --admit none",
        "serve --timeout -1",
        "mcp --folder nowhere",
        "mcp --folder a.png",
        "score gone.csv",
        "read a.png -o .",
        "read a.png -o none/out.csv",
        "show a.png",
        "show a.png -o none/out.png",
        "show a.png -o out.xyz",
        "score",
        "score t.csv u.csv --misses m.html",
        "export",
    ],
)
def test_a_wrong_command_line(call: Run, line: str) -> None:
    code, out, err = call(*line.split())
    assert (code, out) == (2, "")
    assert err


@pytest.mark.parametrize(
    "line", ["read a.png", "show a.png -o x.png", "score t.csv", "info", "check"]
)
def test_weights_that_are_not_there(call: Run, folder: Path, line: str) -> None:
    (folder / "t.csv").write_text("file,smiles\na.png,CCO\n")
    code, _, err = call(*line.split(), "--weights", "nowhere")
    assert (code, err) == (3, "molgaze: no weights at nowhere\n")


def test_a_fault_is_one_line(call: Run, reader: type[FakeReader]) -> None:
    reader.fault = KeyError("x")
    code, _, err = call("read", "a.png")
    assert code == 1  # and the pictures after it are read
    assert err == "molgaze: a.png: KeyError: 'x' (a fault in MolGaze: please report it)\n"
    assert call("show", "a.png", "-o", "x.png") == (
        3,
        "",
        "molgaze: KeyError: 'x' (this is a fault in MolGaze: please report it)\n",
    )


def test_training_says_what_it_needs(call: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "molgaze.train.fit", None)
    monkeypatch.setitem(sys.modules, "molgaze.train.export", None)
    monkeypatch.delattr("molgaze.train.fit", raising=False)
    monkeypatch.delattr("molgaze.train.export", raising=False)
    for line in ("train --data a.smi --out run", "export run -o out"):
        code, out, err = call(*line.split())
        assert (code, out) == (3, "")
        assert err.startswith("molgaze: this needs the train extra: pip install 'molgaze[train]'")


@pytest.mark.parametrize("command", ["serve", "train", "mcp"])
def test_help_needs_no_extra(command: str) -> None:
    """The packages of the extras are taken away; help must come without them."""
    away = "torch cv2 onnx indigo tqdm safetensors fastapi uvicorn starlette pydantic mcp".split()
    code = f"import sys\nfor n in {away}: sys.modules[n] = None\n"
    code += "from molgaze.cli import main\nsys.exit(main(sys.argv[1:]))"
    line = [sys.executable, "-c", code, command]
    done = subprocess.run([*line, "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    options = re.findall(r"^  (--[\w-]+)", done.stdout, re.MULTILINE)
    assert len(options) >= 5
    more = ["--data", "a.smi", "--out", "run"] if command == "train" else []
    done = subprocess.run([*line, *more], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "pip install" in done.stderr


def test_the_help_of_training_tells_each_option() -> None:
    from molgaze.train.options import options_of

    found = list(options_of("fit"))
    assert {"data", "out", "harm", "jitter", "share"} <= {option.name for option in found}
    for option in found:
        assert len(option.text) > 10, option.name
    fit = pytest.importorskip("molgaze.train.fit")
    for option, field in zip(found, fields(fit.Settings), strict=True):
        assert (option.name, option.kind) == (field.name, field.type)
        assert option.required or option.default == field.default


def test_train_and_export(
    call: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, reader: type[FakeReader]
) -> None:
    asked: list[Any] = []
    fit, export = types.ModuleType("fit"), types.ModuleType("export")
    fit.settings_of = lambda args: args.minutes  # type: ignore[attr-defined]
    fit.fit = lambda minutes: asked.append(minutes) or Path("run/last")  # type: ignore[attr-defined]
    fit.weights_of = lambda run: run / "last.safetensors" if run.is_dir() else run  # type: ignore[attr-defined]
    fit.load_model = lambda *paths: f"model of {paths[0]}"  # type: ignore[attr-defined]
    fit.save_weights = lambda *a, **more: asked.append(a)  # type: ignore[attr-defined]
    export.export = lambda *a: asked.append(a)  # type: ignore[attr-defined]
    sure = types.ModuleType("confidence")
    sure.refit = lambda *a: print("refit from", *a[1])  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "molgaze.train.confidence", sure)
    monkeypatch.setattr("molgaze.train.confidence", sure, raising=False)
    heads = types.ModuleType("pages")
    heads.fit_head = lambda *a: {"found": 0.9, "false": 0.01}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "molgaze.train.pages", heads)
    monkeypatch.setattr("molgaze.train.pages", heads, raising=False)
    monkeypatch.setitem(sys.modules, "molgaze.train.fit", fit)
    monkeypatch.setitem(sys.modules, "molgaze.train.export", export)
    monkeypatch.setattr("molgaze.train.fit", fit, raising=False)
    monkeypatch.setattr("molgaze.train.export", export, raising=False)
    line = ("train", "--data", "a.smi", "--out", "run", "--minutes", "2")
    assert call(*line) == (0, "run/last\n", "")
    assert call(*line, "--hours", "2")[0] == 2
    assert call("train", "--out", "run")[0] == 2
    assert call("export", "run", "-o", "out") == (2, "", "molgaze: run: no such run\n")
    (folder / "run").mkdir()
    (folder / "run" / "last.safetensors").touch()
    assert call("export", "run", "-o", "out", "--check", "a.png") == (0, "out\n", "")
    assert asked[0] == 2.0
    runs, out, inks, name = asked[1]
    assert (runs, out, name) == ([Path("run/last.safetensors")], Path("out"), "gaze")
    assert inks[0].ndim == 2
    more = ("--confidence", "t.csv", "--pages", "m.smi", "--half", "h.safetensors")
    code, printed, _ = call("export", "run", "-o", "out", *more)
    assert (code, printed.splitlines()[-1]) == (0, "out")
    assert "refit from t.csv" in printed
    assert "0.900 of molecules" in printed
    assert len(asked[2][2]) == 1  # the packaged picture
    assert asked[3] == ("model of run/last.safetensors", Path("h.safetensors"))
    (folder / "half.safetensors").touch()
    assert call("export", "run", "half.safetensors", "-o", "out")[0] == 0
    assert asked[4][0] == [Path("run/last.safetensors"), Path("half.safetensors")]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    argv=st.lists(
        st.sampled_from(["read", "show", "score", "info", "check", "export", "-o", "-", "a.png"])
        | st.sampled_from(["--json", "--page", "1", "\x00", "[", "*", "--files-from", "x.csv", "."])
        | st.text(max_size=6),
        max_size=5,
    )
)
def test_any_command_line_ends_with_a_code(
    argv: list[str], reader: type[FakeReader], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(b"")))
    assert main(argv) in (0, 1, 2, 3)


# ---- the other commands ---------------------------------------------------------------------


def test_show(call: Run, folder: Path) -> None:
    assert call("show", "a.png", "-o", "gaze.png") == (0, "CCO\n", "")
    with Image.open(folder / "gaze.png") as figure:
        assert min(figure.size) > 300
    assert call("show", "bad.png", "-o", "gaze.png")[0] == 1


def test_score(call: Run, folder: Path) -> None:
    rows = "file,smiles,condition\na.png,OCC,clean\nb.png,CC(N)O,clean\nc.png,CCC,noise\n"
    (folder / "t.csv").write_text(rows)
    code, out, _ = call("score", "t.csv", "--misses", "page.html")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[1][:5] == ["t", "3", "33.3%", "33.3%", "66.7%"]
    assert lines[2][:3] == ["clean", "2", "50.0%"]
    assert lines[4][:3] == ["mean", "of", "conditions"]
    assert "b.png" in (folder / "page.html").read_text()
    report = json.loads(call("score", "t.csv", "--json", "--limit", "1")[1])
    assert report["t.csv"]["total"]["pictures"] == report["t.csv"]["total"]["exact"] == 1
    told = call("score", "t.csv", "t.csv", "--progress")[2].splitlines()[0]
    assert told == "[#######-------------] 1/3  0.0/s  100.0% exact"
    (folder / "u.csv").write_text("file,answer\na.png,OCC\n")
    assert call("score", "u.csv")[::2] == (2, "molgaze: u.csv: no column smiles\n")
    code, _, told = call("score", "none.csv")
    assert (code, told) == (2, f"molgaze: none.csv: {refusals.MISSING}\n")


def test_info(call: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molgaze.formats.can_open", lambda suffix: suffix == ".svg")
    code, out, _ = call("info")
    assert code == 0
    assert "pixels 40,000,000" in out
    assert f" {'x' * 20}... (3,000 characters)\n" in out
    facts = json.loads(call("info", "--json")[1])
    assert facts["model"] == "fake 1 cpu"
    assert facts["limits"]["pixels"] == 40_000_000
    assert "PNG" in facts["formats"]
    assert {".png", ".pdf", ".svg"} <= set(facts["suffixes"])
    assert ".heic" not in facts["suffixes"]
    assert facts["bounds"] == [1.5, 0.25]
    assert facts["size"] == {"hidden": 384}
    assert facts["head"] == "x" * 3000
    assert not any(isinstance(v, str) and v[:1] in "[{" for v in facts.values())


def test_check(call: Run, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    code, out, _ = call("check")
    assert (code, out) == (1, "wrong: CC\n")
    monkeypatch.setitem(ANSWERS, "check", ("CN1C(=O)N(C)c2ncn(C)c2C1=O", 1.0))
    assert call("check")[0] == 0
    monkeypatch.setattr(cli, "__file__", str(folder / "cli.py"))
    assert call("check")[0] == 3


# ---- as a process ---------------------------------------------------------------------------


def molgaze(*argv: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "molgaze", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **more)


def test_help_and_usage_as_a_process() -> None:
    done = molgaze("--help")
    assert done.returncode == 0
    assert "pictures to SMILES" in done.stdout
    alone = molgaze()
    assert alone.returncode == 2
    assert alone.stdout == ""
    assert len(alone.stderr.splitlines()) == 3
    for named in re.findall(r"molgaze (\w+)", alone.stderr):
        assert named in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_a_reader_that_leaves_is_no_error() -> None:
    end, start = os.pipe()
    os.close(end)
    done = subprocess.run(
        [sys.executable, "-m", "molgaze", "info", "--weights", "nowhere"],
        stdout=start,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(start)
    assert done.returncode == 141
    assert done.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_told() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "molgaze", "info", "--weights", "nowhere"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
