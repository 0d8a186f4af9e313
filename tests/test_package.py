"""The package as a whole: what an import costs, what it offers, what its papers promise."""

from __future__ import annotations

import ast
import csv
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest
from PIL import Image
from rdkit import Chem

import molgaze

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "rdkit", "onnxruntime", "numpy", "PIL", "cv2")


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_import_is_quick() -> None:
    code = "import time; t = time.perf_counter(); import molgaze; print(time.perf_counter() - t)"
    assert min(float(python(code)) for _ in range(5)) < 0.3


@pytest.mark.parametrize("code", ["import molgaze", "import molgaze.cli"])
def test_import_pulls_in_nothing_heavy(code: str) -> None:
    found = python(f"{code}; import sys; print([m for m in {HEAVY} if m in sys.modules])")
    assert found == "[]"


def test_a_reading_needs_no_torch() -> None:
    code = "from molgaze import Reader, Reading, PictureError, WeightsError; import sys"
    assert python(f"{code}; print('torch' in sys.modules, 'onnxruntime' in sys.modules)") == (
        "False False"
    )


def test_names() -> None:
    assert set(molgaze.__all__) <= set(dir(molgaze))
    with pytest.raises(AttributeError, match="no attribute 'reader_of_minds'"):
        _ = molgaze.reader_of_minds  # type: ignore[attr-defined]
    from molgaze.picture import PictureError
    from molgaze.reading import Reading

    assert molgaze.Reading is Reading
    assert molgaze.PictureError is PictureError


def test_version() -> None:
    try:
        version = importlib.metadata.version("molgaze")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("not installed")
    assert molgaze.__version__ == version
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert (Path(molgaze.__file__).parent / "py.typed").exists()


def test_examples_are_what_their_table_says() -> None:
    with open(ROOT / "examples" / "examples.csv", newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) >= 12
    assert len({row["program"] for row in rows}) >= 4
    for row in rows:
        assert Chem.CanonSmiles(row["smiles"]) == row["smiles"]
        with Image.open(ROOT / "examples" / row["file"]) as picture:
            assert min(picture.size) > 100


def test_metadata() -> None:
    facts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.split(r"[<>=\[]", name)[0] for name in facts["dependencies"]}
    assert needed == {"filelock", "numpy", "onnxruntime", "pillow", "pypdfium2", "rdkit"}
    extras = facts["optional-dependencies"]
    wanted, known = ["test"], set()
    while wanted:
        for name in extras[wanted.pop()]:
            if name.startswith("molgaze["):
                wanted += name[len("molgaze[") : -1].split(",")
            known.add(re.split(r"[<>=\[]", name)[0])
    assert not known & {"torch", "onnx", "opencv-python-headless", "epam.indigo"}
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {facts['version']}\n" in cited
    # one address of the repository, wherever it is told
    address = facts["urls"]["Repository"]
    assert all(url.startswith(address) for url in facts["urls"].values())
    for paper in ("CITATION.cff", "mkdocs.yml", "docs/index.md"):
        text = (ROOT / paper).read_text(encoding="utf-8")
        assert set(re.findall(r"https://git[\w.]+/[\w-]+/[\w-]+", text)) == {address}, paper
    for system in ("Linux", "MacOS", "Windows"):
        assert any(system in name for name in facts["classifiers"])
    assert f"Python :: 3.{sys.version_info.minor}" in " ".join(facts["classifiers"])


def test_readme_commands_are_those_that_are_run() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "pip install -e '.[test]' && pytest" in readme
    assert "-e '.[train,dev,docs]'" in steps
    assert re.search(r"^\S*pytest\b", steps, re.MULTILINE)
    # the wheel reads the examples where nothing else is installed
    assert re.search(r'bin/pip" install -q \S+\.whl', steps)
    assert "bin/molgaze score" in steps
    for name in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / name).exists() or name == "docs/gaze.png", name
    for name in re.findall(r"examples/[\w.-]+", readme):
        assert (ROOT / name).exists(), name


def test_every_page_is_in_the_table_of_the_site() -> None:
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^ +- [^:\n]+: (\S+\.(?:md|ipynb))$", site, re.MULTILINE)
    pages = {path.name for path in (ROOT / "docs").iterdir() if path.suffix in (".md", ".ipynb")}
    papers = set(re.findall(r'": "(\w+\.md)"', (ROOT / "docs" / "hook.py").read_text("utf-8")))
    assert len(papers) == 4
    assert sorted(listed) == sorted(pages | papers)


def test_the_notebook_runs_and_is_kept_without_what_it_shows() -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("pandas")
    notebook = nbformat.read(ROOT / "docs" / "tour.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    with warnings.catch_warnings():  # the kernel's own, of which each release has others
        warnings.simplefilter("ignore")
        place = {"metadata": {"path": ROOT / "docs"}}
        nbclient.NotebookClient(notebook, timeout=120, resources=place).execute()
    shown = "\n".join(
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for cell in code
        for output in cell.outputs
    )
    assert "CC1(C)S[C@@H]2[C@H](NC(=O)Cc3ccccc3)C(=O)N2[C@H]1C(=O)O" in shown  # penicillin G
    assert "CC(=O)Oc1ccccc1C(=O)O" in shown  # compound 1 of the page
    assert "source,page,id,smiles" in shown


def test_the_layout_names_every_module_in_the_order_of_imports() -> None:
    source = ROOT / "src" / "molgaze"
    text = (ROOT / "docs" / "layout.md").read_text(encoding="utf-8")
    rows = "\n".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE))
    named = [name for name in re.findall(r"`([\w/]+\.py)`", rows) if "page/" not in name]
    modules = {path.relative_to(source).as_posix() for path in source.rglob("[!_]*.py")}
    assert sorted(named) == sorted(modules)
    flow = [name.removesuffix(".py") for name in named if "/" not in name]
    above: set[str] = set()
    for name in flow:
        code = (source / f"{name}.py").read_text(encoding="utf-8")
        when_loaded = [n for n in ast.parse(code).body if isinstance(n, ast.ImportFrom)]
        imported = {(n.module or n.names[0].name).removeprefix("molgaze.") for n in when_loaded}
        assert imported & set(flow) <= above, name
        above.add(name)
