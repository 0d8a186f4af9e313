"""The page in a browser without a window: paste, drop, replay, edit, download, phone, dark."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, Browser
from PIL import Image
from rdkit import Chem
from stub import Stub

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")
if CHROMIUM is None:
    pytest.skip("no Chromium", allow_module_level=True)

import uvicorn

from molgaze.reading import COLUMNS
from molgaze.web.server import Limits, application

SHOTS = os.environ.get("MOLGAZE_SHOTS")
"""A folder where what was seen is kept, to be looked at."""


def picture(form: str = "PNG", frames: int = 1) -> bytes:
    file = io.BytesIO()
    images = [Image.new("L", (160, 120), 255) for _ in range(frames)]
    for image in images:
        image.paste(0, (40, 59, 120, 62))
    more: dict[str, Any] = {"save_all": True, "append_images": images[1:]} if frames > 1 else {}
    images[0].save(file, form, **more)
    return file.getvalue()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))
    app = application(Stub, Limits(workers=2, timeout=5))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server.should_exit = True
    thread.join()


@pytest.fixture
def browser(tmp_path: Path, url: str) -> Iterator[Browser]:
    made = Browser(tmp_path)
    made.open(url)
    yield made
    made.close()
    assert not made.faults


def send(browser: Browser, how: str, files: dict[str, bytes]) -> None:
    """Paste or drop files as a user would, by the event that the browser makes of it."""
    encoded = {name: base64.b64encode(data).decode() for name, data in files.items()}
    event = (
        "ClipboardEvent('paste', {clipboardData: data"
        if how == "paste"
        else "DragEvent('drop', {dataTransfer: data"
    )
    browser.run(
        f"""(() => {{ const data = new DataTransfer();
        for (const [name, text] of Object.entries({json.dumps(encoded)})) {{
          const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
          const type = {{png: "image/png", tif: "image/tiff"}}[name.split(".").at(-1)] ?? "";
          data.items.add(new File([bytes], name, {{ type }}));
        }}
        document.dispatchEvent(new {event}, bubbles: true, cancelable: true}}));
        }})()"""
    )


def value(browser: Browser, name: str) -> str:
    return str(browser.run(f"document.getElementById({name!r}).value"))


def text(browser: Browser, selector: str) -> str:
    return str(browser.run(f"document.querySelector({selector!r}).textContent"))


def shot(browser: Browser, name: str, whole: bool = False) -> None:
    if SHOTS:
        browser.run("new Promise((done) => setTimeout(done, 300))")
        browser.shot(Path(SHOTS) / f"{name}.png", whole)


def reddish(browser: Browser, selector: str) -> int:
    """Red pixels on a canvas: marks of doubt."""
    return int(
        browser.run(
            f"""(() => {{ let found = 0;
            const root = document.querySelector({selector!r});
            const all = root.tagName === "CANVAS" ? [root] : [...root.children].flatMap(
              (c) => [...(c.shadowRoot?.querySelectorAll("canvas") ?? [])].slice(1));
            for (const canvas of all) {{
              const {{ width, height }} = canvas;
              const d = canvas.getContext("2d").getImageData(0, 0, width, height).data;
              for (let i = 0; i < d.length; i += 4)
                if (d[i] > 150 && d[i + 1] < 90 && d[i + 2] < 90 && d[i + 3] > 100) found++;
            }}
            return found }})()"""
        )
    )


def downloaded(browser: Browser, name: str) -> str:
    path = browser.downloads / name
    browser.until(lambda: path.exists() and path.stat().st_size)
    return path.read_text()


def test_paste_replay_copy_download(browser: Browser) -> None:
    shot(browser, "empty")
    send(browser, "paste", {"methanol.png": picture()})
    browser.wait("document.getElementById('smiles').value === 'CO'")
    assert value(browser, "inchikey") == "OKKJLVBELUTLKV-UHFFFAOYSA-N"
    assert text(browser, "#verdict") == "Check this 80 %"
    assert text(browser, "#picture-name") == "methanol.png"
    browser.wait("document.getElementById('scrub').value === '2'")
    assert text(browser, "#step") == "2 of 2: atom O, 60 %"
    browser.wait("document.querySelector('#editor').children.length > 0")
    shot(browser, "one")
    assert reddish(browser, "#gaze") > 50
    assert reddish(browser, "#editor") > 10

    browser.key("Home")
    assert value(browser, "scrub") == "0"
    assert reddish(browser, "#gaze") == 0
    browser.key("ArrowRight")
    assert text(browser, "#step") == "1 of 2: atom C, 99 %"
    browser.run(
        "document.getElementById('speed').value = '0.5';"
        "document.getElementById('speed').dispatchEvent(new Event('change'))"
    )
    browser.key("Home")
    browser.key("Space")
    browser.wait("Number(document.getElementById('scrub').value) > 0.3")
    assert text(browser, "#play") == "\u275a\u275a"
    browser.key("Space")
    assert 0.3 < float(value(browser, "scrub")) < 2
    shot(browser, "half way")

    browser.press("#save-mol")
    mol = Chem.MolFromMolBlock(downloaded(browser, "methanol.mol"))
    assert Chem.MolToSmiles(mol) == "CO"
    browser.press("#save-json")
    assert json.loads(downloaded(browser, "methanol.json"))["tokens"] == ["C", "O"]
    browser.press("[data-copy=smiles]")
    browser.wait("document.querySelector('[data-copy=smiles]').textContent === 'Copied'")


def test_edit_and_download_the_correction(browser: Browser) -> None:
    send(browser, "drop", {"methanol.png": picture()})
    browser.wait("document.getElementById('smiles').value === 'CO'")
    browser.wait("document.querySelector('#editor').children.length > 0")
    browser.run("document.querySelector('#editor').scrollIntoView({block: 'center'})")
    x, y, high = browser.run(
        "(() => { const b = document.querySelector('#editor').getBoundingClientRect();"
        "return [b.x + 50 + (b.width - 50) / 2, b.y + b.height / 2, b.height] })()"
    )
    # a click beside the molecule with the bond tool starts another: C-C
    browser.click(x, y + high / 3)
    browser.wait("!document.getElementById('corrected').hidden")
    browser.wait("document.getElementById('smiles').value === 'CC.CO'")
    assert value(browser, "as-read") == "CO"
    assert text(browser, "#verdict") == "Corrected by you"
    shot(browser, "corrected", whole=True)
    browser.press("#save-mol")
    mol = Chem.MolFromMolBlock(downloaded(browser, "methanol.mol"))
    assert Chem.MolToSmiles(mol) == "CC.CO"
    where = {a.GetIdx(): mol.GetConformer().GetAtomPosition(a.GetIdx()) for a in mol.GetAtoms()}
    oxygen = next(a for a in mol.GetAtoms() if a.GetSymbol() == "O")
    assert where[oxygen.GetIdx()].x == pytest.approx(120, abs=1.5)
    assert where[oxygen.GetIdx()].y == pytest.approx(-60, abs=1.5)
    browser.press("#save-sdf")
    record = downloaded(browser, "methanol.sdf")
    assert "<corrected>\nyes" in record
    assert "<read_as>\nCO" in record

    browser.press("#revert")
    browser.wait("document.getElementById('smiles').value === 'CO'")
    browser.run("document.getElementById('smiles').select()")
    browser.key("e")
    browser.run("document.getElementById('smiles').value = 'C1CC1N'")
    browser.key("Enter")
    browser.wait("document.getElementById('smiles').value === 'NC1CC1'")
    assert value(browser, "inchikey") == "HTJDQJBWANPRPF-UHFFFAOYSA-N"


def test_several_become_a_table(browser: Browser, tmp_path: Path) -> None:
    files = {
        "a.png": picture(),
        "pages.tif": picture("TIFF", 3),
        "bad.png": b"bad",
        "=b.png": picture(),
    }
    paths = []
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        paths.append(tmp_path / name)
    browser.pick("#files", *paths)
    browser.wait("document.getElementById('status').textContent === '5 read, 1 not.'")
    rows = browser.run("[...document.querySelectorAll('#rows tr')].map((r) => r.innerText)")
    assert len(rows) == 6
    assert "pages.tif, page 3" in rows[3]
    assert "Not read" in rows[4]
    browser.key("n")
    browser.key("n")
    assert text(browser, "#picture-name") == "pages.tif, page 2"
    assert browser.run("document.querySelector('tr[aria-selected=true] span').textContent") == (
        "pages.tif, page 2"
    )
    shot(browser, "several", whole=True)
    browser.press("#all-sdf")
    records = downloaded(browser, "molgaze.sdf")
    assert records.count("$$$$") == 5
    assert "<page>\n2" in records
    titles = [record.lstrip("\n").splitlines()[0] for record in records.split("$$$$")[:5]]
    assert titles == ["a.png", "pages.tif", "pages.tif, page 2", "pages.tif, page 3", "=b.png"]
    browser.press("#all-csv")
    table = list(csv.DictReader(io.StringIO(downloaded(browser, "molgaze.csv"))))
    assert list(table[0]) == [*COLUMNS, "corrected", "read_as"]
    assert table[5]["source"] == "'=b.png"
    kept = ("smiles", "page", "confidence", "review", "valid", "finish_reason", "error")
    assert [table[2][name] for name in kept] == ["CO", "2", "0.8", "False", "True", "end", ""]
    assert (table[4]["valid"], table[4]["error"]) == ("False", "not a picture")
    assert len(table) == 6
    browser.press("tr:nth-child(5) .open")
    assert text(browser, "#verdict-word") == "Not read"
    shot(browser, "not read")
    browser.press("tr:nth-child(5) td:last-child button")
    assert text(browser, "#list-count") == "5 pictures"
    browser.press("#clear")
    assert browser.run("document.getElementById('result').hidden")
    # the browser tells of the answer 415 by itself
    browser.faults = [f for f in browser.faults if "415" not in f]


def test_pictures_are_closed_and_rows_are_made_once(browser: Browser) -> None:
    browser.run(
        "(() => { const made = createImageBitmap; window.open = 0; window.createImageBitmap ="
        " async (...given) => { const found = await made(...given); window.open += 1;"
        " const close = found.close.bind(found);"
        " found.close = () => { window.open -= 1; close(); }; return found; } })()"
    )
    send(browser, "drop", {f"{i}.png": picture() for i in range(6)})
    browser.wait("document.getElementById('status').textContent === 'All 6 read.'")
    browser.wait("window.open === 1")  # of the one that is shown
    browser.run("document.querySelector('#rows').children[2].mark = 'mine'")
    browser.key("n")
    browser.key("n")
    browser.wait("window.open === 1")
    assert text(browser, "#picture-name") == "2.png"
    assert browser.run("document.querySelector('tr[aria-selected=true]').mark") == "mine"
    drawn = (
        "[...document.querySelectorAll('#rows canvas')].filter((c) => c.getContext('2d')"
        ".getImageData(0, 0, 64, 40).data.some((v) => v)).length"
    )
    assert browser.run(drawn) == 6
    assert browser.run("window.open") == 1
    browser.press("#clear")
    browser.wait("window.open === 0")


def test_names_in_pictures_are_only_text(browser: Browser) -> None:
    send(browser, "drop", {"<img src=x onerror=alert(1)>.png": picture(), "b.png": picture()})
    browser.wait("document.getElementById('status').textContent === 'All 2 read.'")
    assert text(browser, "#picture-name").startswith("<img")
    assert browser.run("document.querySelectorAll('#result img, #rows img').length") == 0


def test_example_and_help(browser: Browser) -> None:
    browser.press("#example")
    browser.wait("document.getElementById('smiles').value === 'CO'")
    browser.key("?")
    assert browser.run("document.getElementById('help').open")
    shot(browser, "help")
    browser.key("Escape")


def test_phone_and_dark(tmp_path: Path, url: str) -> None:
    browser = Browser(tmp_path, (780, 390), touch=True)
    try:
        for scheme in ("light", "dark"):
            browser.call(
                "Emulation.setEmulatedMedia",
                features=[{"name": "prefers-color-scheme", "value": scheme}],
            )
            browser.open(url)
            browser.wait("document.readyState === 'complete'")
            shot(browser, f"phone {scheme} empty")
            send(browser, "drop", {"methanol.png": picture()})
            browser.wait("document.getElementById('smiles').value === 'CO'")
            assert browser.run("document.documentElement.scrollWidth") <= 390
            small = browser.run(
                "[...document.querySelectorAll('button')].filter((b) => b.offsetParent"
                " && b.getBoundingClientRect().height < 32).map((b) => b.id)"
            )
            assert not small
            shot(browser, f"phone {scheme}", whole=True)
        ground = browser.run("getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(15, 20, 28)"
    finally:
        browser.close()
    assert not browser.faults
