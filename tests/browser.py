"""Chromium without a window, driven through a pipe by its own protocol; no other package needed."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

KEYS = {"Enter": 13, "Escape": 27, "Space": 32, "End": 35, "Home": 36, "Tab": 9}
KEYS |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


class Browser:
    """One page in one browser."""

    def __init__(
        self, folder: Path, size: tuple[int, int] = (800, 1200), touch: bool = False
    ) -> None:
        read_end, self._to = os.pipe()
        self._from, write_end = os.pipe()
        theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in (read_end, write_end)]

        def fixed() -> None:
            for fd, number in zip(theirs, (3, 4), strict=True):
                os.dup2(fd, number)

        options = ["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu"]
        options += ["--no-first-run", "--disable-extensions", "--disable-background-networking"]
        options += ["--disable-dev-shm-usage", "--force-color-profile=srgb", "--hide-scrollbars"]
        self._process = subprocess.Popen(
            [str(CHROMIUM), *options, f"--user-data-dir={folder / 'profile'}", "about:blank"],
            preexec_fn=fixed,  # noqa: PLW1509  the tests have one thread
            pass_fds=(3, 4),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for fd in (read_end, write_end, *theirs):
            os.close(fd)
        self._number, self._buffer = 0, b""
        self._session: str | None = None
        self.faults: list[str] = []
        """What went wrong in the page: exceptions, and what the content policy refused."""
        self.downloads = folder / "downloads"
        self.downloads.mkdir()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=size[1],
            height=size[0],
            deviceScaleFactor=1,
            mobile=touch,
        )
        if touch:
            self.call("Emulation.setTouchEmulationEnabled", enabled=True)
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))

    def close(self) -> None:
        """End the browser."""
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its answer; what else is said meanwhile is kept if it is a fault."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session and not method.startswith("Browser."):
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            said = self._next()
            if said.get("id") == self._number:
                if "error" in said:
                    raise RuntimeError(f"{method}: {said['error']}")
                return dict(said["result"])
            if said.get("method") == "Runtime.exceptionThrown":
                details = said["params"]["exceptionDetails"]
                self.faults.append(details.get("exception", {}).get("description", details["text"]))
            elif said.get("method") == "Log.entryAdded":
                entry = said["params"]["entry"]
                if entry["level"] == "error":
                    self.faults.append(f"{entry['text']} {entry.get('url', '')}")

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._from, 2**20)
            if not part:
                raise RuntimeError("the browser is gone")
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(line))

    def run(self, script: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        found = self.call(
            "Runtime.evaluate",
            expression=script,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in found:
            details = found["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return found["result"].get("value")

    def open(self, url: str) -> None:
        """Go there, and wait until it is loaded."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def wait(self, script: str, seconds: float = 60.0) -> Any:
        """The expression's value, once it is true."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            if time.monotonic() > end:
                raise TimeoutError(f"{script}; faults: {self.faults}")
            time.sleep(0.05)
        return value

    def until(self, test: Callable[[], Any], seconds: float = 30.0) -> Any:
        """What the test gives, once it is true."""
        end = time.monotonic() + seconds
        while not (value := test()):
            if time.monotonic() > end:
                raise TimeoutError
            self.run("1")
            time.sleep(0.05)
        return value

    def key(self, name: str, modifiers: int = 0) -> None:
        """Press and release a key."""
        code = KEYS.get(name) or ord(name.upper())
        text = {"Enter": "\r", "Space": " "}.get(name, name if len(name) == 1 else "")
        common = {
            "key": " " if name == "Space" else name,
            "code": name if name in KEYS else f"Key{name.upper()}",
            "windowsVirtualKeyCode": code,
            "modifiers": modifiers,
        }
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def click(self, x: float, y: float) -> None:
        """Press and release the left button there."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button="none" if kind == "mouseMoved" else "left",
                clickCount=1,
            )

    def press(self, selector: str) -> None:
        """Click in the middle of an element."""
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({selector!r});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        self.click(x, y)

    def pick(self, selector: str, *files: Path) -> None:
        """Choose files in an input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(f) for f in files])

    def shot(self, file: Path, whole: bool = False) -> None:
        """Save what is seen as a PNG."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(found["data"]))
