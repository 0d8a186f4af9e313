"""The server: what it reads, what it refuses, what it withstands."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paper import pdf
from PIL import Image
from rdkit import Chem, Geometry
from rdkit.Chem import rdDepictor
from stub import MOLFILE, Stub

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
pytest.importorskip("python_multipart")

from fastapi.testclient import TestClient

from molgaze import files
from molgaze.molecule import molecule
from molgaze.reading import COLUMNS, Reading
from molgaze.walk import Graph
from molgaze.web import server, tasks
from molgaze.web.server import FoundAnswer, Limits, ReadingAnswer, application
from molgaze.workers import WorkerError

PNG = {"Content-Type": "image/png"}
BYTES = {"Content-Type": "application/octet-stream"}
Client = Callable[..., TestClient]


def picture(form: str = "PNG") -> bytes:
    file = io.BytesIO()
    image = Image.new("L", (80, 60), 255)
    image.paste(0, (20, 30, 60, 32))
    image.save(file, form)
    return file.getvalue()


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    limits = Limits(workers=1, body=100_000, pictures=3, timeout=1.5, hosts=("molgaze.example",))
    with TestClient(application(Stub, limits), base_url="http://localhost") as made:
        yield made


def test_one_picture_is_one_reading(client: TestClient) -> None:
    answer = client.post("/read", content=picture(), headers=PNG)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["smiles"], found["source"], found["page"]) == ("CO", "picture", 1)
    assert Reading.from_dict(found).mol is not None
    assert answer.headers["cache-control"] == "no-store"
    for headers in (BYTES, {}, PNG | {"Content-Disposition": 'form-data; filename="../a.png"'}):
        answer = client.post("/read?page=2", content=b"anything", headers=headers)
        assert answer.status_code == 200
        assert answer.json()["page"] == 2
    assert answer.json()["source"] == "a.png"


def test_a_form_of_pictures_is_a_list(client: TestClient) -> None:
    parts = [("pictures", (n, d)) for n, d in (("a.png", picture()), ("b/b.png", b"bad"))]
    answer = client.post("/read", files=parts)
    assert answer.status_code == 200
    first, second = answer.json()
    assert (first["smiles"], first["source"]) == ("CO", "a.png")
    assert (second["error"], second["error_type"]) == ("b.png: not a picture", "PictureError")
    killed, one = client.post(
        "/read", files=[("pictures", b"kill"), ("pictures", ("y", b"1"))]
    ).json()
    assert killed["error_type"] == "WorkerDied"
    assert one["smiles"]


@pytest.mark.parametrize(
    ("content", "headers", "status", "said"),
    [
        (b"bad", PNG, 415, "not a picture"),
        (b"", PNG, 422, "the body is empty"),
        (b"x", {"Content-Type": "text/html"}, 415, "text/html: send image/*"),
        (b"x" * 100_001, PNG, 413, "more than 100,000 bytes"),
        (b"raise", PNG, 500, "a fault"),
        (b"hang", PNG, 504, "timed out after 1.5 s"),
        (b"kill", PNG, 422, "SIGKILL"),
        (b"{}", {"Content-Type": "multipart/form-data"}, 400, ""),
        (b"--a\r\n", {"Content-Type": "multipart/form-data; boundary=a"}, 422, "no file"),
    ],
)
def test_refusals(
    client: TestClient, content: bytes, headers: dict[str, str], status: int, said: str
) -> None:
    answer = client.post("/read", content=content, headers=headers)
    assert answer.status_code == status
    assert said in answer.json()["detail"]


def test_how_much_may_be_sent_is_told_as_the_option_has_it(welcoming: TestClient) -> None:
    answer = welcoming.post("/read", content=b"x", headers=PNG | {"Content-Length": "20971521"})
    assert (answer.status_code, answer.json()["detail"]) == (413, "more than 20 MB")


def test_refusals_of_forms(client: TestClient) -> None:
    assert client.post("/read", data={"a": "b"}, files={"pictures": b"1"}).status_code == 422
    assert client.post("/read", files={"x": b"1"}).status_code == 422
    many = [("pictures", (f"{i}", b"1")) for i in range(4)]
    assert client.post("/read", files=many).status_code == 413
    assert client.post("/read?page=-1", content=b"1").status_code == 422
    assert client.get("/read").status_code == 405
    assert client.get("/etc/passwd").status_code == 404


def test_what_is_streamed_without_a_length_is_counted(client: TestClient) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(200):
            yield b"x" * 1000

    assert client.post("/read", content=parts(), headers=PNG).status_code == 413


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:1234", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("192.168.1.7:8765", 200),
        ("molgaze.example", 200),
        ("MolGaze.Example.:443", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("localhost@evil", 421),
        ("", 421),
    ],
)
def test_hosts(client: TestClient, host: str, status: int) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://localhost"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_pages_of_other_sites_cannot_use_it(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    answer = client.post("/read", content=picture(), headers=PNG | headers)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers


def test_the_page_and_its_files(client: TestClient) -> None:
    for path in server.FILES:
        answer = client.get(path)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        if path != "/openchemlib.js":
            outside = re.findall(r"https?://[^\s\"')]+", answer.text)
            assert not [u for u in outside if "w3.org" not in u], path
    text = client.get("/").text
    for found in re.findall(r'(?:src|href)="([^"]+)"', text):
        assert client.get(f"/{found}").status_code == 200
    assert not re.search(r"<script(?! type=\"module\" src)|\son\w+=|style=", text)
    script = client.get("/page.js").text
    assert "innerHTML" not in script
    assert client.get("/docs").status_code == 404


def test_readings_become_the_files_of_the_command_line(client: TestClient) -> None:
    one = client.post("/read", content=picture(), headers=PNG).json()
    pages = [one, one | {"page": 2, "number": "12a"}]
    failed = {"source": "b.png", "finish_reason": "error", "error": "b.png: no", "page": 1}
    for form in server.KINDS:
        given = [one] if form == "mol" else [*pages, failed]
        answer = client.post(f"/export?format={form}", json=given)
        assert answer.status_code == 200
        assert answer.headers["content-type"].partition(";")[0] == server.KINDS[form]
        assert answer.text == files.text([Reading.from_dict(r) for r in given], form)
    table = client.post("/export?format=csv", json=[*pages, failed]).text
    assert table.splitlines()[0] == ",".join(COLUMNS)
    assert table.count("\n") == 4
    for wrong, status in (([{"x": 1}], 422), ({}, 422), ([1], 422), ([one, one], 422)):
        assert client.post("/export?format=mol", json=wrong).status_code == status
    unknown = client.post("/export?format=xyz", json=[])
    assert unknown.status_code == 422
    assert "format: Input should be 'csv'" in unknown.json()["detail"]
    assert client.post("/export?format=csv", content=b"[").status_code == 415
    headers = {"Content-Type": "application/json"}
    assert client.post("/export?format=csv", content=b"[", headers=headers).status_code == 422


def test_a_page_of_a_pdf_gives_all_that_is_drawn_on_it(client: TestClient) -> None:
    document = pdf(["", "", ""])
    headers = {"Content-Type": "application/pdf"}
    for page, count in ((1, 1), (2, 2), (3, 0)):
        answer = client.post(f"/find?page={page}", content=document, headers=headers)
        assert answer.status_code == 200
        found = answer.json()
        assert (found["pages"], found["size"]) == (3, [400, 300])
        assert found["drawings"] is found["picture"] is None
        assert [r["smiles"] for r in found["readings"]] == ["C", "CC"][:count]
        for reading in found["readings"]:
            assert reading["page"] == page
            assert reading["box"][:3] == [1, 2, 3]
            ReadingAnswer.model_validate(reading, strict=True)
    told = client.post("/find?page=4", content=document, headers=headers)
    assert told.status_code == 422
    assert told.json()["detail"] == "there is no page 4, it has 3"
    assert client.post("/find?page=0", content=document, headers=headers).json() == {
        "detail": "page: Input should be greater than or equal to 1"
    }
    assert client.post("/find", content=pdf([""], encrypt=True), headers=headers).status_code == 422
    assert client.post("/find", content=b"%PDF-1.4", headers=headers).status_code == 415
    assert (
        client.post("/find", content=document, headers={"Content-Type": "text/x"}).status_code
        == 415
    )


def test_a_picture_gives_the_molecules_in_it_as_the_command_line_does(client: TestClient) -> None:
    answer = client.post("/find?drawings=true&picture=true", content=picture("TIFF"), headers=BYTES)
    found = answer.json()
    FoundAnswer.model_validate(found)
    assert (found["pages"], found["size"]) == (1, [60, 80])
    assert [r["smiles"] for r in found["readings"]] == ["CO"]
    shown = Image.open(io.BytesIO(base64.b64decode(found["picture"].partition(",")[2])))
    assert (shown.format, shown.size) == ("JPEG", (80, 60))
    assert np.asarray(shown.convert("L"))[31, 40] < 60
    several = client.post("/find", content=b"apart 3", headers=BYTES).json()
    assert [r["box"][0] for r in several["readings"]] == [0, 1, 2]
    assert client.post("/find", content=b"bad", headers=BYTES).status_code == 415
    names = {"Content-Disposition": "attachment; filename*=UTF-8''a%20%C3%A9.png"}
    said = client.post("/find", content=picture(), headers=PNG | names).json()
    assert said["readings"][0]["source"] == "a \u00e9.png"


def test_preview(client: TestClient) -> None:
    file = io.BytesIO()
    pages = [Image.new("L", (80, 60), 255) for _ in range(2)]
    for i, frame in enumerate(pages):
        frame.paste(0, (10 + 30 * i, 30, 40 + 30 * i, 34))
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    answer = client.post(
        "/preview?page=2", content=file.getvalue(), headers={"Content-Type": "image/tiff"}
    )
    assert answer.headers["content-type"] == "image/png"
    seen = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert seen.shape == (60, 80)
    assert seen[32, 50] < 30
    assert seen[32, 20] > 220
    assert client.post("/preview", content=b"no", headers=PNG).status_code == 415
    assert client.post("/preview", content=picture()[:90], headers=PNG).status_code == 422
    assert client.post("/preview?page=3", content=file.getvalue(), headers=BYTES).status_code == 422
    blank = io.BytesIO()
    Image.new("L", (50, 50), 255).save(blank, "PNG")
    assert client.post("/preview", content=blank.getvalue(), headers=PNG).status_code == 422


def test_names(client: TestClient) -> None:
    headers = {"Content-Type": "chemical/x-mdl-molfile"}
    answer = client.post("/names", content=MOLFILE, headers=headers)
    found = answer.json()
    assert found.pop("drawing")["frame"][2] > 60
    assert found == {
        "smiles": "CO",
        "cxsmiles": None,
        "inchikey": "OKKJLVBELUTLKV-UHFFFAOYSA-N",
    }
    labelled = MOLFILE.replace(" O  ", " R  ").replace("M  END", "A    2\nXyz\nM  END")
    answer = client.post("/names", content=labelled, headers=headers)
    found = answer.json()
    assert found.pop("drawing")["svg"]
    assert found == {"smiles": "*C", "cxsmiles": "*C |$Xyz;$|", "inchikey": None}
    group = MOLFILE.replace(" O  ", " R# ").replace("M  END", "M  RGP  1   2   1\nM  END")
    assert (
        client.post("/names", content=group, headers=headers).json()["cxsmiles"] == "[1*]C |$_R1;$|"
    )
    wrong = MOLFILE.replace("  1  2  1  0", "  1  2  3  0")
    assert client.post("/names", content=wrong, headers=headers).status_code == 422
    assert client.post("/names", content="rubbish", headers=headers).status_code == 422
    assert client.post("/names", content="x" * 2**21, headers=headers).status_code == 413
    assert client.post("/names", content=MOLFILE, headers=PNG).status_code == 415


def test_health_and_openapi(client: TestClient) -> None:
    health = client.get("/healthz").json()
    assert (health["status"], health["model"], health["under_way"]) == ("ok", "stub 1 cpu", 0)
    document = client.get("/openapi.json").json()
    paths = {"/read", "/find", "/preview", "/names", "/export", "/healthz"}
    assert paths == set(document["paths"])
    told = document["paths"]["/read"]["post"]["responses"]
    assert {"200", "413", "415", "422", "503", "504"} <= set(told)
    assert "Retry-After" in told["503"]["headers"]
    assert [f.name for f in dataclasses.fields(Reading)] == list(ReadingAnswer.model_fields)
    found = client.post("/read", content=picture(), headers=PNG).json()
    ReadingAnswer.model_validate(found, strict=True)


def test_drawings_lie_on_the_picture_with_wedges_where_they_were() -> None:
    mol = Chem.MolFromSmiles("C[C@H](N)C(=O)O")
    rdDepictor.Compute2DCoords(mol)
    places = mol.GetConformer().GetPositions()
    for i, (x, y, _) in enumerate(places * 25 + (100, -80, 0)):
        mol.GetConformer().SetAtomPosition(i, Geometry.Point3D(x, y, 0))
    Chem.WedgeMolBonds(mol, mol.GetConformer())
    block = Chem.MolToMolBlock(mol)
    atoms, bonds = block.splitlines()[4:10], block.splitlines()[10:15]
    wedged = next(i for i, line in enumerate(bonds) if line.split()[3] in "16")
    centre = bonds[wedged].split()[0]
    for line in bonds:  # each bond of the centre may have the wedge
        ends = line.split()[:2]
        if centre not in ends:
            continue
        other = next(end for end in ends if end != centre)
        laid = [[*b.split()[:3], "0"] for b in bonds if set(b.split()[:2]) != set(ends)]
        lines = [
            f"{centre:>3}{other:>3}  1  6",
            *(f"{a:>3}{b:>3}{k:>3}{s:>3}" for a, b, k, s in laid),
        ]
        given = "\n".join(
            ["", "", "", "  6  5  0  0  1  0  0  0  0  0999 V2000", *atoms, *lines, "M  END"]
        )
        drawn = tasks.drawing(given, [0.9, 0.4, 0.9, 0.9, 0.9, 0.9])
        assert drawn is not None
        hashed = re.findall(r"class='bond-(\d+) atom-(\d+) atom-(\d+)'", drawn["svg"])
        number = {pair: hashed.count(pair) for pair in hashed}
        most = max(number, key=lambda pair: number[pair])  # a hashed bond has many lines
        assert number[most] > 3
        assert {most[1], most[2]} == {str(int(centre) - 1), str(int(other) - 1)}
        (doubt,) = drawn["doubtful"]
        assert (doubt["label"], doubt["confidence"]) == ("C", 0.4)
        assert doubt["x"] == pytest.approx(float(atoms[1].split()[0]), abs=0.01)
        assert doubt["y"] == pytest.approx(-float(atoms[1].split()[1]), abs=0.01)
        left, top, right, bottom = drawn["frame"]
        xs = [float(atom.split()[0]) for atom in atoms]
        ys = [-float(atom.split()[1]) for atom in atoms]
        assert left < min(xs) < max(xs) < right
        assert top < min(ys) < max(ys) < bottom
        assert right - left < 2 * (max(xs) - min(xs))
        # the mark behind the doubtful atom is where the picture has it
        mark = re.search(r"<ellipse cx='([\d.]+)' cy='([\d.]+)'", drawn["svg"])
        width = re.search(r"width='(\d+)px'", drawn["svg"])
        assert mark is not None
        assert width is not None
        scale = (right - left) / float(width[1])
        assert left + float(mark[1]) * scale == pytest.approx(doubt["x"], abs=0.5)
        assert top + float(mark[2]) * scale == pytest.approx(doubt["y"], abs=0.5)
    assert tasks.drawing("rubbish") is None
    assert tasks.drawing(None) is None


@pytest.mark.parametrize("kind", ["w", "h"])
def test_wedges_to_drawn_hydrogens_stay_there(kind: str) -> None:
    """A ring of four with two more on one carbon: F and H, which has the wedge."""
    places = [(60, 60), (40, 60), (40, 80), (60, 80), (75, 70), (70, 45)]
    ring: list[tuple[int, int, str]] = [(0, 1, "-"), (1, 2, "-"), (2, 3, "-"), (3, 0, "-")]
    graph = Graph(
        ["C", "C", "C", "N", "F", "H"], np.array(places, float), [*ring, (0, 4, "-"), (0, 5, kind)]
    )
    found = molecule(graph)
    given = Reading(found.smiles, molfile=found.molfile, atom_confidences=(0.9,) * 5 + (0.4,))
    drawn = tasks.drawing(given.molfile, given.atom_confidences)
    assert drawn is not None
    # A plain bond is one line, which is in two colours where it ends at an atom other than carbon.
    shapes = re.findall(r"<path class='bond-\d+ atom-(\d+) atom-(\d+)' d='([^']+)'", drawn["svg"])
    wedged = {
        frozenset(map(int, ends))
        for *ends, path in shapes
        if "Z" in path or sum(shape[:2] == tuple(ends) for shape in shapes) > 3
    }
    assert wedged == {frozenset({0, 5})}
    assert [(doubt["x"], doubt["y"], doubt["label"]) for doubt in drawn["doubtful"]] == [
        (70, 45, "H")
    ]
    assert [(a.number, a.symbol) for a in given.doubtful_atoms()] == [(6, "H")]
    assert given.mol is not None
    assert given.mol.GetNumAtoms() == 5


class Alanine(Stub):
    """Reads L-alanine everywhere, its wedge where RDKit has put it."""

    def read(self, source: Any, *, page: int = 1) -> Reading:
        mol = Chem.MolFromSmiles("C[C@H](N)C(=O)O")
        rdDepictor.Compute2DCoords(mol)
        return Reading(smiles=Chem.MolToSmiles(mol), molfile=Chem.MolToMolBlock(mol))


@pytest.fixture(scope="module")
def welcoming() -> Iterator[TestClient]:
    limits = Limits(workers=1, timeout=5, origins=("https://ketcher.example",), recognized=3)
    app = application(Stub, limits, ketcher=True)
    with TestClient(app, base_url="http://localhost") as made:
        yield made


def test_ketcher_gets_a_molecule_for_a_picture(client: TestClient, welcoming: TestClient) -> None:
    assert client.post("/imago/uploads", content=picture(), headers=PNG).status_code == 404
    info = welcoming.get("/info").json()
    assert info["imago_versions"][0].startswith("MolGaze ")
    posted = welcoming.post("/imago/uploads?version=1", content=picture(), headers=PNG)
    assert posted.status_code == 200
    path = f"/imago/uploads/{posted.json()['upload_id']}"
    found = welcoming.get(path).json()
    assert found["state"] == "SUCCESS"
    mol = Chem.MolFromMolBlock(found["metadata"]["mol_str"])
    assert Chem.MolToSmiles(mol) == "CO"
    first, second = mol.GetConformer().GetPositions()
    assert np.linalg.norm(first - second) == pytest.approx(1.5, abs=0.01)
    gone = welcoming.get(path)  # nothing is kept once it was fetched
    assert gone.status_code == 404
    assert gone.json()["error"] == "there is no such upload, or its molecule was fetched already"

    assert tasks.recognized(Alanine(), b"")[1].splitlines()[3].split()[4] == "1"  # one enantiomer
    stereo = Chem.MolFromMolBlock(tasks.recognized(Alanine(), b"")[1])
    assert Chem.MolToSmiles(stereo) == "C[C@H](N)C(=O)O"

    posted = welcoming.post("/imago/uploads", content=b"bad", headers=PNG).json()
    found = welcoming.get(f"/imago/uploads/{posted['upload_id']}").json()
    assert (found["state"], found["error"]) == ("FAILURE", "not a picture")
    refused = welcoming.post("/imago/uploads", content=b"x", headers={"Content-Type": "text/html"})
    assert refused.status_code == 415
    assert refused.json()["error"].startswith("text/html: send")

    ids = [
        welcoming.post("/imago/uploads", content=picture(), headers=PNG).json()["upload_id"]
        for _ in range(4)
    ]
    codes = [welcoming.get(f"/imago/uploads/{i}").status_code for i in ids]
    assert codes == [404, 200, 200, 200]  # as many as are kept


def test_only_pages_of_sites_that_were_named_may_use_it(welcoming: TestClient) -> None:
    ask = {
        "Origin": "https://ketcher.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
        "Sec-Fetch-Site": "cross-site",
    }
    before = welcoming.options("/imago/uploads", headers=ask)
    assert before.status_code == 204
    assert before.headers["access-control-allow-origin"] == "https://ketcher.example"
    assert "POST" in before.headers["access-control-allow-methods"]
    headers = PNG | {"Origin": "https://ketcher.example", "Sec-Fetch-Site": "cross-site"}
    answer = welcoming.post("/read", content=picture(), headers=headers)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://ketcher.example"
    assert answer.headers["vary"] == "Origin"
    for other in ("https://ketcher.example.org", "http://ketcher.example", "null"):
        headers["Origin"] = other
        refused = welcoming.post("/read", content=picture(), headers=headers)
        assert refused.status_code == 403
        assert "access-control-allow-origin" not in refused.headers
        assert welcoming.options("/read", headers=ask | {"Origin": other}).status_code == 403


def test_nothing_goes_to_disk(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("a temporary file")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    parts = [("pictures", (n, n.encode() * 45_000)) for n in "ab"]
    assert client.post("/read", files=parts).status_code == 200
    assert not list(tmp_path.iterdir())


def test_more_than_it_takes_on() -> None:
    limits = Limits(workers=2, admitted=4, timeout=10)
    with TestClient(
        application(partial(Stub, delay=0.2), limits), base_url="http://localhost"
    ) as made:
        made.post("/read", content=b"1")

        def ask(i: int) -> tuple[int, int]:
            answer = made.post("/read", content=b"%d" % i)
            return answer.status_code, int(answer.headers.get("retry-after", 0))

        with ThreadPoolExecutor(12) as threads:
            answers = list(threads.map(ask, range(36)))
        codes = {code for code, _ in answers}
        assert codes == {200, 503}
        assert all(wait >= 1 for code, wait in answers if code == 503)
        assert made.get("/healthz").json()["under_way"] == 0


def test_deadline() -> None:
    limits = Limits(workers=1, timeout=10, deadline=0.7)
    with TestClient(application(Stub, limits), base_url="http://localhost") as made:
        made.post("/read", content=b"1")
        began = time.monotonic()
        answer = made.post("/read", content=b"slow 5")
        assert answer.status_code == 504
        assert time.monotonic() - began < 4


Receive = Callable[[], Any]


async def ask(
    app: Any, receive: Receive, kind: str = "image/png"
) -> tuple[int, dict[bytes, bytes]]:
    """One request by ASGI itself, whose body comes as ``receive`` gives it."""
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"image/png")]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST"}
    scope |= {"path": "/read", "raw_path": b"/read", "root_path": "", "query_string": b""}
    scope |= {"scheme": "http", "headers": headers, "client": ("1", 1), "server": ("1", 1)}
    await app(scope, receive, send)
    return said[0]["status"], dict(said[0]["headers"])


def body(*parts: bytes) -> Receive:
    left = [{"type": "http.request", "body": p, "more_body": True} for p in parts]
    left.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Any:
        return left.pop(0) if left else await asyncio.Event().wait()

    return receive


def test_slow_uploads_keep_nobody_out() -> None:
    app = application(Stub, Limits(workers=1, admitted=2, body=1000, deadline=3))

    async def trial() -> None:
        async with app.router.lifespan_context(app):
            go_on = asyncio.Event()

            def slow() -> Receive:
                first = [{"type": "http.request", "body": b"x", "more_body": True}]

                async def receive() -> Any:
                    if first:
                        return first.pop()
                    await go_on.wait()
                    return {"type": "http.request", "body": b"y", "more_body": False}

                return receive

            slow_ones = [asyncio.create_task(ask(app, slow())) for _ in range(10)]
            await asyncio.sleep(0.1)
            assert (await ask(app, body(b"quick")))[0] == 200
            go_on.set()
            codes = {code for code, _ in await asyncio.gather(*slow_ones)}
            assert codes <= {200, 503}
            assert 200 in codes
            assert (await ask(app, body()))[0] == 422

    asyncio.run(trial())


def test_uploads_hold_no_more_than_the_limit_together() -> None:
    app = application(Stub, Limits(workers=1, admitted=2, body=1000, deadline=1))

    async def trial() -> None:
        async with app.router.lifespan_context(app):

            def waiting() -> Receive:
                first = [{"type": "http.request", "body": bytes(900), "more_body": True}]

                async def receive() -> Any:
                    return first.pop() if first else await asyncio.Event().wait()

                return receive

            held = [asyncio.create_task(ask(app, waiting())) for _ in range(2)]
            await asyncio.sleep(0.1)
            code, headers = await ask(app, body(bytes(300)))
            assert code == 503
            assert int(headers[b"retry-after"]) >= 1
            assert [code for code, _ in await asyncio.gather(*held)] == [504, 504]
            assert (await ask(app, body(bytes(300))))[0] == 200  # what they held is free again

    asyncio.run(trial())


def test_a_worker_that_goes_on_after_the_deadline_keeps_its_place() -> None:
    app = application(Stub, Limits(workers=1, admitted=1, timeout=10, deadline=0.5))

    async def trial() -> None:
        async with app.router.lifespan_context(app):
            await ask(app, body(b"1"))
            assert (await ask(app, body(b"slow 2")))[0] == 504
            assert (await ask(app, body(b"1")))[0] == 503
            for _ in range(100):
                await asyncio.sleep(0.1)
                code, _ = await ask(app, body(b"1"))
                if code != 503:
                    break
            assert code == 200

    asyncio.run(trial())


@pytest.mark.parametrize("form", [False, True])
def test_a_request_is_in_memory_once(form: bool) -> None:
    size, parts = 4 * 2**20, []
    if form:
        for i in range(4):
            head = f'--b\r\nContent-Disposition: form-data; name="pictures"; filename="{i}"\r\n\r\n'
            parts += [head.encode(), *(bytes(2**16) for _ in range(size // 4 // 2**16)), b"\r\n"]
        parts.append(b"--b--\r\n")
    else:
        parts = [bytes(2**16)] * (size // 2**16)
    kind = "multipart/form-data; boundary=b" if form else "image/png"
    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode())]}
    sent = iter(parts)

    async def receive() -> Any:
        part = next(sent, None)
        return {"type": "http.request", "body": part or b"", "more_body": part is not None}

    async def take() -> list[int]:
        request = server.Request(scope, receive)
        if not form:
            return [len(await server._body(request, 2 * size, lambda _: None))]
        files = await server._files(request, Limits(body=2 * size), lambda _: None)
        return [len(content) for _, content in files]

    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        found = asyncio.run(take())
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert found == ([size // 4] * 4 if form else [size])
    assert peak < 1.7 * size, peak / size


def test_a_reader_that_does_not_start() -> None:
    broken = application(partial(Stub, broken="no weights here"), Limits(workers=1))
    with pytest.raises(WorkerError, match="no weights"), TestClient(broken):
        pass


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
def test_many_requests_take_no_memory(client: TestClient) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    body = picture()
    for _ in range(100):
        client.post("/read", content=body, headers=PNG)
    before = resident()
    for _ in range(300):
        client.post("/read", content=body, headers=PNG)
    assert resident() - before < 20 * 2**20
    assert threading.active_count() < 40


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_command() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import stub, molgaze.web.server as server\nserver.Reader = stub.reader\n"
        "from molgaze.cli import main\nsys.exit(main(['serve', *sys.argv[2:]]))"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), "--port", str(port)]
    more = ["--workers", "1", "--ketcher", "--allow-origin", "https://lab.example"]
    process = subprocess.Popen([*command, *more], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        said = process.stderr.readline()
        assert said == f"molgaze: http://127.0.0.1:{port}/ (Ctrl-C ends it)\n"
        with urllib.request.urlopen(f"http://localhost:{port}/healthz") as answer:
            assert json.loads(answer.read())["status"] == "ok"
        asked = urllib.request.Request(
            f"http://localhost:{port}/info", headers={"Origin": "https://lab.example"}
        )
        with urllib.request.urlopen(asked) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == "https://lab.example"
            assert json.loads(answer.read())["imago_versions"]
        taken = subprocess.run(command, capture_output=True, text=True, check=False)
        assert taken.returncode == 3
        said = "Address already in use; choose another one with --port"
        assert taken.stderr == f"molgaze: 127.0.0.1, port {port}: {said}\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "Traceback" not in said
    finally:
        process.kill()
        process.communicate()
    broken = subprocess.run(
        [*command, "--weights", "x"], capture_output=True, text=True, check=False
    )
    assert broken.returncode == 3
    assert broken.stderr == "molgaze: no weights\n"
    wrong = subprocess.run(
        [*command, "--workers", "0"], capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 2
