"""Ketcher tried with MolGaze in Chromium: the button pressed, a picture chosen, the molecule on the
canvas.

    npm install --prefix FOLDER ketcher-core ketcher-react ketcher-standalone react@18 \\
        react-dom@18 esbuild
    python bench/ketcher.py FOLDER examples/caffeine.png

The server runs as ``molgaze serve --ketcher`` with the weights that ship. Ketcher's own client asks
it by way of the server that the page is from, as a proxy would have it, under ``molgaze/``. It
prints what Ketcher has on its canvas, and what the picture is read as without it.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from playwright.sync_api import expect, sync_playwright
from rdkit import Chem

from molgaze import Reader

WAIT = 60_000  # ms
PAGE = """<!doctype html><meta charset="utf-8"><title>Ketcher</title>
<link rel="stylesheet" href="app.css"><style>html, body, #root { height: 100%; margin: 0 }</style>
<div id="root"></div><script src="app.js"></script>"""


def bundle(folder: Path) -> Path:
    """Ketcher and the page that shows it, as files to be served."""
    made = folder / "page"
    made.mkdir(exist_ok=True)
    source = folder / "ketcher.mjs"  # beside the packages that it imports
    shutil.copy(Path(__file__).with_suffix(".mjs"), source)
    esbuild = folder / "node_modules" / ".bin" / "esbuild"
    options = ["--bundle", "--format=iife", "--define:process.env.NODE_ENV='production'"]
    options += ["--define:global=window", "--loader:.woff=dataurl", "--loader:.woff2=dataurl"]
    options += ["--loader:.svg=dataurl", "--loader:.sdf=text", "--log-level=error"]
    options += ["--define:process.env={}", f"--outfile={made / 'app.js'}"]
    subprocess.run([str(esbuild), str(source), *options], check=True)
    (made / "index.html").write_text(PAGE)
    return made


def serve(folder: Path, molgaze: str) -> str:
    """The address under which a folder is served, and MolGaze under ``molgaze/`` in it."""
    handler = functools.partial(_Proxy, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    _Proxy.molgaze = molgaze
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


class _Proxy(http.server.SimpleHTTPRequestHandler):
    molgaze = ""

    def do_GET(self) -> None:
        if self.path.startswith("/molgaze/"):
            self._pass_on()
        else:
            super().do_GET()

    def do_POST(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
        kept = ("Host", "Origin", "Content-Type", "Sec-Fetch-Site")
        headers = {name: self.headers[name] for name in kept if name in self.headers}
        address = self.molgaze + self.path.removeprefix("/molgaze/")
        request = urllib.request.Request(address, body, headers, method=self.command)
        try:
            answer = urllib.request.urlopen(request)
        except urllib.error.HTTPError as err:
            answer = err
        content = answer.read()
        print(f"{self.command} {self.path[:60]}: {answer.status} {content[:60]!r}")
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def molgaze() -> tuple[subprocess.Popen[bytes], str]:
    """The server, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "molgaze", "serve", "--port", str(port), "--workers", "1"]
    process = subprocess.Popen([*command, "--ketcher"])
    address = f"http://127.0.0.1:{port}/"
    for _ in range(300):
        time.sleep(0.2)
        try:
            with urllib.request.urlopen(f"{address}healthz"):
                return process, address
        except OSError:
            continue
    process.terminate()
    raise SystemExit("the server did not start")


def recognized(address: str, picture: Path, shot: str | None) -> str:
    """The SMILES of what is on Ketcher's canvas after its button was pressed for a picture."""
    chromium = (
        os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    )
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(WAIT)
        expect.set_options(timeout=WAIT)
        page.on("pageerror", lambda err: print("page:", str(err)[:300], file=sys.stderr))
        with page.expect_response("**/info"):  # after which it offers to open pictures
            page.goto(address)
        page.locator("[data-testid=open-file-button]:visible").first.click()
        dialog = page.get_by_role("dialog")
        image = page.locator("input[type=file][accept*=image]")
        page.wait_for_timeout(2000)
        image.set_input_files(picture)
        ready = page.get_by_role("button", name="Open as new Project")
        expect(page.get_by_role("dialog").locator("svg text").first).to_be_visible()  # the preview
        if shot:
            page.wait_for_timeout(1500)
            page.screenshot(path=f"{shot}-dialog.png")
        ready.click()
        expect(dialog).to_have_count(0)
        page.wait_for_timeout(500)
        if shot:
            page.screenshot(path=f"{shot}-canvas.png")
        smiles = str(page.evaluate("window.ketcher.getSmiles()"))
        browser.close()
    return smiles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the packages of Ketcher are")
    parser.add_argument("picture", type=Path, nargs="+")
    parser.add_argument("--shot", help="start of the names of screenshots")
    args = parser.parse_args()
    page = bundle(args.folder.resolve())
    process, server = molgaze()
    wrong = 0
    try:
        address = serve(page, server)
        for picture in args.picture:
            found = Chem.CanonSmiles(recognized(address, picture, args.shot))
            wanted = Reader(threads=1).read(picture).smiles
            wrong += found != wanted
            print(f"{picture}: on Ketcher's canvas {found}, read as {wanted}")
    finally:
        process.terminate()
        process.wait()
    raise SystemExit(wrong > 0)


if __name__ == "__main__":
    main()
