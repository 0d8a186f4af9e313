"""mcp.py: tried with the client of the SDK, over the standard input and output of a process."""

from __future__ import annotations

import base64
import io
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

anyio = pytest.importorskip("anyio")
mcp = pytest.importorskip("mcp")
pytest.importorskip("mcp.server.mcpserver", reason="an older SDK")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders that may be read, and a secret beside them that links lead to."""
    here = tmp_path_factory.mktemp("place")
    for name in ("one", "two"):
        (here / name).mkdir()
    examples = ROOT / "examples"
    (here / "one" / "caffeine.png").write_bytes((examples / "caffeine.png").read_bytes())
    (here / "two" / "paper.pdf").write_bytes((examples / "paper.pdf").read_bytes())
    (here / "one" / "notes.txt").write_text("no picture")
    Image.new("RGB", (90, 90), "white").save(here / "one" / "blank.png")
    (here / "secret.png").write_bytes((examples / "caffeine.png").read_bytes())
    (here / "twofold").mkdir()
    (here / "twofold" / "secret.png").write_bytes((examples / "caffeine.png").read_bytes())
    try:
        (here / "one" / "link.png").symlink_to(here / "secret.png")
        (here / "one" / "folder").symlink_to(here)
        (here / "one" / "good.png").symlink_to(here / "one" / "caffeine.png")
    except OSError:
        pytest.skip("no links here")
    return here


def talk(place: Path, act: Callable[[Any], Awaitable[None]]) -> None:
    """A conversation with a server of its own."""
    command = [sys.executable, "-m", "molgaze", "mcp", "--threads", "1"]
    for name in ("one", "two"):
        command += ["--folder", str(place / name)]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    server = mcp.StdioServerParameters(command=command[0], args=command[1:], env=env)

    async def run() -> None:
        with anyio.fail_after(240):
            async with (
                mcp.stdio_client(server) as (read, write),
                mcp.ClientSession(read, write) as session,
            ):
                await session.initialize()
                await act(session)

    anyio.run(run)


def opened(result: Any) -> tuple[dict[str, Any], Image.Image]:
    """The JSON and the picture of an answer."""
    assert not result.is_error, result.content
    text, picture = result.content
    assert picture.mime_type == "image/png"
    return json.loads(text.text), Image.open(io.BytesIO(base64.b64decode(picture.data)))


def test_an_agent_reads_pictures_and_pages(place: Path) -> None:
    async def act(session: Any) -> None:
        listed = await session.list_tools()
        assert sorted(tool.name for tool in listed.tools) == ["read_page", "read_picture"]
        for tool in listed.tools:
            assert "confidence" in tool.description
            assert set(tool.input_schema["properties"]) == {"path", "page"}

        for path in ("caffeine.png", str(place / "one" / "caffeine.png"), "good.png"):
            told, image = opened(await session.call_tool("read_picture", {"path": path}))
            (molecule,) = told["molecules"]
            assert molecule["smiles"] == "Cn1c(=O)c2c(ncn2C)n(C)c1=O"
            assert molecule["formula"] == "C8H10N4O2"
            assert 0.5 < molecule["confidence"] <= 1
            assert molecule["doubtful_atoms"] == [] or molecule["warnings"]
            assert 300 < max(image.size) <= 1200

        told, image = opened(await session.call_tool("read_page", {"path": "paper.pdf"}))
        assert (told["pages"], told["unit"]) == (2, "points")
        assert len(told["molecules"]) >= 2
        assert all(len(one["box"]) == 4 for one in told["molecules"])
        assert "CC(=O)Oc1ccccc1C(=O)O" in [one["smiles"] for one in told["molecules"]]
        left, top, right, bottom = told["molecules"][0]["box"]
        scale = image.width / 595.0  # a page of A4, or of nearly its width
        assert (
            image.crop(tuple(round(v * scale) for v in (left, top, right, bottom))).getcolors(1)
            is None
        )

    talk(place, act)


def test_what_an_agent_may_not_read_and_what_is_wrong(place: Path) -> None:
    refused = {
        "../secret.png": "outside of the folders",
        str(place / "secret.png"): "outside of the folders",
        "link.png": "outside of the folders",
        "folder/secret.png": "outside of the folders",
        str(place / "twofold" / "secret.png"): "outside of the folders",
        "/etc/passwd": "outside of the folders",
        "../gone.png": "outside of the folders",
        "gone.png": "no such file",
        "": "is a folder",
        ".": "is a folder",
        "notes.txt": "not a picture",
        "blank.png": "blank",
        "a\0b.png": "no path",
        "https://example.org/a.png": "fetches nothing by network",
        "CC(=O)Oc1ccccc1C(=O)O": "SMILES",
    }

    async def act(session: Any) -> None:
        for tool in ("read_picture", "read_page"):
            for path, said in refused.items():
                if tool == "read_page" and path == "blank.png":
                    continue  # a page without drawings is one with no molecules
                result = await session.call_tool(tool, {"path": path})
                assert result.is_error, path
                assert said in result.content[0].text, (path, result.content[0].text)
        for tool, path, page in (
            ("read_picture", "caffeine.png", 2),
            ("read_page", "paper.pdf", 9),
        ):
            result = await session.call_tool(tool, {"path": path, "page": page})
            assert result.is_error
            assert "page" in result.content[0].text

    talk(place, act)
