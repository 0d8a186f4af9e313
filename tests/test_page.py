"""The page in Chromium: what is in view, pictures and PDFs, replay, corrections, files, keys."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from paper import HEXAGON, pdf
from PIL import Image
from rdkit import Chem
from shown import Shown

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
if CHROMIUM is None:
    pytest.skip("no Chromium", allow_module_level=True)

import uvicorn
from playwright.sync_api import Browser, Page, expect

from molgaze.reading import COLUMNS
from molgaze.web.server import Limits, application

SHOTS = os.environ.get("MOLGAZE_SHOTS")
"""A folder where what was seen is kept, to be looked at."""
WIDE, PHONE = (1440, 900), (390, 844)
WAIT = 30_000  # ms: other work may take the processor meanwhile
expect.set_options(timeout=WAIT)


def picture(form: str = "PNG", frames: int = 1) -> bytes:
    file = io.BytesIO()
    images = [Image.new("L", (160, 120), 255) for _ in range(frames)]
    for image in images:
        image.paste(0, (40, 59, 120, 62))
    more: dict[str, Any] = {"save_all": True, "append_images": images[1:]} if frames > 1 else {}
    images[0].save(file, form, **more)
    return file.getvalue()


def file(name: str, data: bytes) -> Any:
    kinds = {".png": "image/png", ".tif": "image/tiff", ".pdf": "application/pdf"}
    return {"name": name, "mimeType": kinds.get(Path(name).suffix, ""), "buffer": data}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))
    app = application(Shown, Limits(workers=1, timeout=20))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.05)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with playwright.sync_playwright() as made:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = made.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


Opened = Callable[..., Page]


@pytest.fixture
def opened(chromium: Browser, url: str) -> Iterator[Opened]:
    """Opens the page; whatever goes wrong in its scripts fails the test."""
    contexts, faults = [], []

    def note(message: Any) -> None:
        if message.type == "error" and "status of 415" not in message.text:  # told by the browser
            faults.append(message.text)

    def made(size: tuple[int, int] = WIDE, scheme: Any = "light", motion: Any = "reduce") -> Page:
        context = chromium.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            reduced_motion=motion,
            has_touch=size == PHONE,
            permissions=["clipboard-read", "clipboard-write"],
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("console", note)
        page.on("pageerror", lambda err: faults.append(str(err)))
        page.goto(url)
        return page

    yield made
    for context in contexts:
        context.close()
    assert not faults


def give(page: Page, *files: Any) -> None:
    page.locator("#files").set_input_files(list(files))
    if len(files) == 1 and files[0]["name"].endswith(".png"):
        expect(page.locator("#share")).not_to_be_empty()
        expect(page.locator("#molecule")).to_be_visible()


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png")


def saved(page: Page, selector: str) -> tuple[str, str]:
    """The name and the text of what a button downloads."""
    with page.expect_download() as download:
        page.locator(selector).click()
    return download.value.suggested_filename, Path(download.value.path()).read_text()


def amber(page: Page, selector: str) -> list[float]:
    """Where the marks of doubt are on a canvas: left, top, right, bottom in CSS pixels."""
    found: list[float] = page.evaluate(
        """(selector) => {
          const canvas = document.querySelector(selector);
          const { width, height } = canvas;
          const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
          const box = [width, height, 0, 0];
          for (let i = 0; i < width * height; i++) {
            const [r, g, b] = data.slice(4 * i, 4 * i + 3);
            if (r < 180 || g < 80 || g > 170 || b > 90) continue;
            const [x, y] = [i % width, Math.floor(i / width)];
            box[0] = Math.min(box[0], x); box[1] = Math.min(box[1], y);
            box[2] = Math.max(box[2], x); box[3] = Math.max(box[3], y);
          }
          return box;
        }""",
        selector,
    )
    return found


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_of_a_result_is_in_view(opened: Opened, size: tuple[int, int], scheme: str) -> None:
    page = opened(size, scheme)
    shot(page, f"empty {size[0]} {scheme}")
    give(page, file("methanol.png", picture()))
    shot(page, f"one {size[0]} {scheme}")
    parts = ["#gaze", "#molecule", "#verdict", "#doubts", "#smiles", "#inchikey", "#correct"]
    parts += ["[data-copy=smiles]", "#pick", "#play"]
    parts += [f"[data-save={form}]" for form in ("smi", "mol", "sdf", "csv", "cdxml")]
    boxes = {}
    for part in parts:
        box = boxes[part] = page.locator(part).bounding_box()
        assert box is not None, part
        assert box["x"] >= 0, part
        assert box["y"] >= 0, part
        assert box["x"] + box["width"] <= size[0], part
        assert box["y"] + box["height"] <= size[1], part
        assert min(box["width"], box["height"]) > 4, part
    for pane in ("#gaze", "#molecule"):
        assert boxes[pane]["width"] > 0.35 * min(size[0], 800), pane
    assert page.evaluate("document.documentElement.scrollHeight") <= size[1]
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    small = page.evaluate(
        "[...document.querySelectorAll('button')].filter((b) => b.offsetParent"
        " && b.getBoundingClientRect().height < 28).map((b) => b.id)"
    )
    assert not small
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(244, 246, 248)", "dark": "rgb(15, 20, 28)"}[scheme]


def test_words_agree_with_the_number(opened: Opened) -> None:
    page = opened()
    give(page, file("methanol.png", picture()))
    expect(page.locator("#verdict")).to_have_text("Probably right 80 %")
    expect(page.locator("#doubts button")).to_have_text("O 60 %")
    expect(page.locator("#smiles")).to_have_text("CO")
    expect(page.locator("#inchikey")).to_have_text("OKKJLVBELUTLKV-UHFFFAOYSA-N")
    expect(page.locator("#others li")).to_have_text("CN, 10 %")


def test_doubtful_atoms_are_at_one_place_of_picture_and_molecule(opened: Opened) -> None:
    page = opened()
    give(page, file("methanol.png", picture()))
    ring = amber(page, "#gaze")
    assert ring[0] < ring[2]
    middle = (ring[0] + ring[2]) / 2, (ring[1] + ring[3]) / 2
    seen = page.locator("#gaze").bounding_box()
    drawn = page.locator("#marks").bounding_box()
    molecule = page.locator("#molecule").bounding_box()
    assert seen is not None
    assert drawn is not None
    assert molecule is not None
    svg = page.evaluate("decodeURIComponent(document.getElementById('molecule').src)")
    mark = re.search(r"<ellipse cx='([\d.]+)' cy='([\d.]+)'", svg)
    width = re.search(r"width='(\d+)px'", svg)
    assert mark is not None
    assert width is not None
    scale = molecule["width"] / float(width[1])
    x = molecule["x"] + float(mark[1]) * scale - drawn["x"]
    y = molecule["y"] + float(mark[2]) * scale - drawn["y"]
    assert (seen["width"], seen["height"]) == (drawn["width"], drawn["height"])
    assert x == pytest.approx(middle[0], abs=3)
    assert y == pytest.approx(middle[1], abs=3)
    # what is pointed at in the molecule is shown in both
    blue = (
        "(id) => { const c = document.getElementById(id);"
        " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;"
        " for (let i = 0; i < d.length; i += 4)"
        "   n += d[i + 3] > 200 && d[i] < 90 && d[i + 1] < 130 && d[i + 2] > 180; return n; }"
    )
    assert page.evaluate(blue, "marks") == page.evaluate(blue, "gaze") == 0
    page.locator("#doubts button").hover()
    assert page.evaluate(blue, "marks") > 50
    assert page.evaluate(blue, "gaze") > 50


def test_replay_and_keys(opened: Opened) -> None:
    page = opened()
    give(page, file("methanol.png", picture()))
    page.keyboard.press("Home")  # scrolls nothing, does nothing
    expect(page.locator("#scrub")).to_have_value("2")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#step")).to_have_text("atom C, 99 %")
    assert amber(page, "#gaze")[0] >= 0
    page.keyboard.press("ArrowRight")
    expect(page.locator("#step")).to_be_empty()
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play the gaze")
    expect(page.locator("#scrub")).to_have_value("2")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    shot(page, "help")
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    page.keyboard.press("c")
    expect(page.locator("[data-copy=smiles]")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "CO"
    with page.expect_download() as download:
        page.keyboard.press("s")
    assert download.value.suggested_filename == "methanol.mol"


def test_a_lone_picture_is_played_once(opened: Opened) -> None:
    page = opened(motion="no-preference")
    page.evaluate(
        "window.steps = []; new MutationObserver(() => steps.push("
        "document.getElementById('play').getAttribute('aria-label')))"
        ".observe(document.getElementById('play'), {attributes: true})"
    )
    give(page, file("methanol.png", picture()))
    expect(page.locator("#scrub")).to_have_value("2")
    assert "Pause" in page.evaluate("steps")


def test_downloads_are_those_of_the_command_line(opened: Opened) -> None:
    page = opened()
    give(page, file("methanol.png", picture()))
    name, text = saved(page, "[data-save=mol]")
    assert name == "methanol.mol"
    mol = Chem.MolFromMolBlock(text)
    assert Chem.MolToSmiles(mol) == "CO"
    assert mol.GetConformer().GetAtomPosition(1).x == pytest.approx(120)
    assert saved(page, "[data-save=smi]") == ("methanol.smi", "CO\tmethanol.png\n")
    _, text = saved(page, "[data-save=sdf]")
    assert "<inchikey>\nOKKJLVBELUTLKV-UHFFFAOYSA-N" in text
    _, text = saved(page, "[data-save=csv]")
    (row,) = csv.DictReader(io.StringIO(text))
    assert list(row) == list(COLUMNS)
    assert (row["smiles"], row["confidence"], row["page"]) == ("CO", "0.8", "1")
    _, text = saved(page, "[data-save=cdxml]")
    assert text.startswith("<?xml")
    _, text = saved(page, "[data-save=jsonl]")
    assert json.loads(text)["tokens"] == ["C", "O"]


@pytest.mark.parametrize("event", ["ClipboardEvent", "DragEvent"])
def test_paste_and_drop(opened: Opened, event: str) -> None:
    page = opened()
    page.evaluate(
        """([text, event]) => {
          const data = new DataTransfer();
          const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
          const name = "<img src=x onerror=alert(1)>.png";
          data.items.add(new File([bytes], name, { type: "image/png" }));
          const given = { clipboardData: data, dataTransfer: data, bubbles: true };
          const kind = event === "DragEvent" ? "drop" : "paste";
          document.dispatchEvent(new window[event](kind, given));
        }""",
        [base64.b64encode(picture()).decode(), event],
    )
    expect(page.locator("#smiles")).to_have_text("CO")
    expect(page.locator("#name")).to_have_text("<img src=x onerror=alert(1)>.png")  # only text
    assert page.locator("#name img").count() == 0


def test_example(opened: Opened) -> None:
    page = opened()
    page.locator("#example").click()
    expect(page.locator("#smiles")).to_have_text("CO")


def test_what_cannot_be_read_is_told_in_the_place_of_the_result(opened: Opened) -> None:
    page = opened()
    page.locator("#files").set_input_files([file("bad.png", b"bad")])
    expect(page.locator("#told")).to_have_text("bad.png: not a picture")
    expect(page.locator("#told")).to_be_visible()
    expect(page.locator("#word")).to_have_text("Not read")
    expect(page.locator(".names")).to_be_hidden()
    shot(page, "not read")


def test_several_become_a_list(opened: Opened) -> None:
    page = opened()
    asked: list[str] = []
    page.on("request", lambda r: r.method == "POST" and asked.append(r.url.rpartition("/")[2]))
    give(
        page,
        file("a.png", picture()),
        file("pages.tif", picture("TIFF", 3)),
        file("bad.png", b"bad"),
        file("=b.png", picture()),
    )
    expect(page.locator("#status")).to_have_text("5 read, 1 not")
    told = page.locator(".item .told").all_text_contents()
    assert told == ["Probably right, 80 %"] * 4 + ["Not read", "Probably right, 80 %"]
    # each page is sent once, and drawn by the server only where browsers cannot
    assert sorted(asked) == sorted(
        [f"find?page={n}&drawings=true&picture=true" for n in (1, 2, 3)]
        + ["find?page=1&drawings=true&picture=false"] * 3
    )
    dark = page.evaluate(
        "[...document.querySelectorAll('.item canvas')].map((c) =>"
        " c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
        ".filter((v, i, all) => i % 4 === 0 && v < 80 && all[i + 3]).length)"
    )
    assert [count > 100 for count in dark] == [True] * 4 + [False, True]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#name")).to_have_text("pages.tif, page 2")
    assert page.locator("[aria-current=true] .title").text_content() == "pages.tif, page 2"
    shot(page, "several")
    _, text = saved(page, "[data-all=csv]")
    table = list(csv.DictReader(io.StringIO(text)))
    assert list(table[0]) == list(COLUMNS)
    kept = ("smiles", "page", "confidence", "review", "valid", "finish_reason", "error")
    assert [table[2][name] for name in kept] == ["CO", "2", "0.8", "False", "True", "end", ""]
    assert (table[4]["error"], table[5]["source"]) == ("bad.png: not a picture", "'=b.png")
    _, text = saved(page, "[data-all=sdf]")
    titles = [record.lstrip("\n").splitlines()[0] for record in text.split("$$$$")[:5]]
    assert titles == ["a.png", "pages.tif", "pages.tif, page 2", "pages.tif, page 3", "=b.png"]
    page.locator(".item .remove").nth(1).click()
    expect(page.locator(".item")).to_have_count(5)
    page.locator("#clear").click()
    expect(page.locator("#result")).to_be_hidden()
    expect(page.locator("#intake")).to_be_visible()


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_a_pdf_shows_its_pages_with_boxes(opened: Opened, size: tuple[int, int]) -> None:
    page = opened(size)
    asked: list[str] = []
    page.on("request", lambda r: r.method == "POST" and asked.append(r.url.rpartition("/")[2]))
    give(page, file("paper.pdf", pdf([HEXAGON, HEXAGON, HEXAGON])))
    expect(page.locator("#status")).to_have_text("All 3 read")
    expect(page.locator("#sheet-name")).to_have_text("paper.pdf, page 1")
    expect(page.locator("#boxes button")).to_have_count(1)
    assert len(asked) == 3  # one request a page
    heads = page.locator(".head .open").all_text_contents()
    assert heads == [
        "paper.pdf, page 1 (1)",
        "paper.pdf, page 2 (2)",
        "paper.pdf, page 3: nothing found",
    ]
    page.locator(".head .open").nth(1).click()
    boxes = page.locator("#boxes button")
    expect(boxes).to_have_text(["2a \u00b7 97 %", "2b \u00b7 30 %"])
    place = [box.bounding_box() for box in boxes.all()]
    assert place[0] is not None
    assert place[1] is not None
    # in points, 120 to the right and 200 down
    right, down = place[1]["x"] - place[0]["x"], place[1]["y"] - place[0]["y"]
    assert down / right == pytest.approx(200 / 120, rel=0.02)
    shot(page, f"page {size[0]}")
    boxes.nth(1).click()
    expect(page.locator("#name")).to_have_text("paper.pdf, page 2: 2b")
    expect(page.locator("#verdict")).to_have_text("Probably wrong 30 %")
    expect(page.locator("#molecule")).to_be_visible()
    ring = amber(page, "#gaze")
    assert ring[0] < ring[2]
    shot(page, f"of a page {size[0]}")
    page.keyboard.press("Escape")
    expect(page.locator("#sheet-name")).to_have_text("paper.pdf, page 2")
    page.locator(".item .open").nth(0).click()
    expect(page.locator("#name")).to_have_text("paper.pdf, page 1: 1a")
    name, text = saved(page, "[data-all=sdf]")
    assert name == "molgaze.sdf"
    assert text.count("$$$$") == 3
    assert "<number>\n2b" in text
    name, _ = saved(page, "[data-save=mol]")
    assert name == "paper-p1-1a.mol"


def test_a_correction_goes_into_every_file(opened: Opened) -> None:
    page = opened()
    give(page, file("methanol.png", picture()))
    page.keyboard.press("e")
    expect(page.locator("#write")).to_be_visible()
    page.locator("#write").fill("C1CC1N")
    page.keyboard.press("Enter")
    shot(page, "correcting")
    page.locator("#done").click()
    expect(page.locator("#smiles")).to_have_text("NC1CC1")
    expect(page.locator("#verdict")).to_have_text("Corrected by you")
    expect(page.locator("#as-read")).to_have_text("CO")
    expect(page.locator("#inchikey")).to_have_text("HTJDQJBWANPRPF-UHFFFAOYSA-N")
    shot(page, "corrected")
    _, text = saved(page, "[data-save=csv]")
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["smiles"], row["warnings"]) == ("NC1CC1", "corrected by hand, read as CO")
    expect(page.locator("#warnings li")).to_have_count(0)
    page.locator("#revert").click()
    expect(page.locator("#smiles")).to_have_text("CO")


def test_a_molecule_that_is_left_as_it_was_was_checked(opened: Opened) -> None:
    page = opened()
    give(page, file("methanol.png", picture()))
    expect(page.locator("#warnings li")).not_to_have_count(0)
    page.keyboard.press("e")
    expect(page.locator("#editor > *")).not_to_have_count(0)
    page.locator("#done").click()
    expect(page.locator("#verdict")).to_have_text("Checked by you")
    expect(page.locator("#doubts")).to_be_hidden()
    expect(page.locator("#warnings li")).to_have_count(0)
    _, text = saved(page, "[data-save=csv]")
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["smiles"], row["warnings"]) == ("CO", "checked by hand")
    page.locator("#revert").click()
    expect(page.locator("#warnings li")).not_to_have_count(0)


def test_a_correction_in_the_editor_stays_on_the_picture(opened: Opened) -> None:
    page = opened()
    give(page, file("methanol.png", picture()))
    page.locator("#correct").click()
    expect(page.locator("#editor > *")).not_to_have_count(0)
    page.wait_for_timeout(500)  # until the editor has painted itself
    area = page.locator("#editor").bounding_box()
    assert area is not None
    # a click beside the molecule with the bond tool starts another: C-C
    page.mouse.click(area["x"] + 50 + (area["width"] - 50) / 2, area["y"] + area["height"] * 0.8)
    page.locator("#done").click()
    expect(page.locator("#smiles")).to_have_text("CC.CO")
    _, text = saved(page, "[data-save=mol]")
    mol = Chem.MolFromMolBlock(text)
    (oxygen,) = (a.GetIdx() for a in mol.GetAtoms() if a.GetSymbol() == "O")
    place = mol.GetConformer().GetAtomPosition(oxygen)
    assert place.x == pytest.approx(120, abs=1.5)
    assert place.y == pytest.approx(-60, abs=1.5)


def test_pictures_are_closed(opened: Opened) -> None:
    page = opened()
    page.evaluate(
        "(() => { const made = createImageBitmap; window.open = 0; window.createImageBitmap ="
        " async (...given) => { const found = await made(...given); window.open += 1;"
        " const close = found.close.bind(found);"
        " found.close = () => { window.open -= 1; close(); }; return found; } })()"
    )
    give(page, *(file(f"{i}.png", picture()) for i in range(4)))
    expect(page.locator("#status")).to_have_text("All 4 read")
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    expect(page.locator("#name")).to_have_text("3.png")
    page.wait_for_timeout(300)
    assert page.evaluate("window.open") == 1  # of the one that is shown
    page.locator("#clear").click()
    page.wait_for_timeout(100)
    assert page.evaluate("window.open") == 0
