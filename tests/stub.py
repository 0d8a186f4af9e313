"""A reader without weights for tests of batches and of the server, and a batch to be killed."""

from __future__ import annotations

import os
import signal
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from molgaze.picture import PictureError, load
from molgaze.reading import Reading


def molfile(*atoms: tuple[str, float, float]) -> str:
    """Two atoms and a bond."""
    lines = [f"{x:10.4f}{y:10.4f}{0:10.4f} {symbol:3} 0  0" for symbol, x, y in atoms]
    start = ["", "     MolGaze          2D", "", "  2  1  0  0  0  0  0  0  0  0999 V2000"]
    return "\n".join([*start, *lines, "  1  2  1  0", "M  END", ""])


MOLFILE = molfile(("C", 20, -30), ("O", 60, -30))


class Stub:
    """Does what the bytes of a picture tell it to; what it reads depends on the bytes alone.

    ``kill``, ``hang``, ``raise`` and ``bad`` do so; ``flaky PATH`` kills the first time only;
    pictures that Pillow can open are methanol; anything else is as long as its checksum says.
    """

    def __init__(
        self, delay: float = 0.0, model: str = "stub 1 cpu", broken: str = "", threads: int = 1
    ) -> None:
        if broken == "die":
            os._exit(7)
        if broken:
            raise RuntimeError(broken)
        self.delay, self.info = delay, {"model": model}

    def read_together(
        self, pictures: Iterable[tuple[Any, int]], apart: bool = False
    ) -> Iterator[list[Reading] | Exception]:
        for source, page in pictures:
            try:
                read = self.read_apart if apart else self._read_one
                yield list(read(source, page=page))
            except Exception as err:
                yield err

    def _read_one(self, source: Any, *, page: int = 1) -> list[Reading]:
        return [self.read(source, page=page)]

    def read(self, source: Any, *, page: int = 1) -> Reading:
        name = source if isinstance(source, str) else "picture"
        try:
            data = Path(source).read_bytes() if isinstance(source, str) else source
        except OSError as err:
            raise PictureError(name, "missing", "cannot be opened") from err
        time.sleep(self.delay)
        if data == b"kill":
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        elif data == b"hang":
            time.sleep(3600)
        elif data == b"raise":
            raise KeyError("a fault")
        elif data == b"bad":
            raise PictureError(name, "format", "not a picture")
        elif data.startswith(b"slow"):
            time.sleep(float(data.split()[1]))
        elif data.startswith(b"flaky"):
            mark = Path(os.fsdecode(data[6:]))
            if not mark.exists():
                mark.touch()
                os._exit(3)
        if data[:4] in (b"\x89PNG", b"II*\0") or data[:2] == b"\xff\xd8":
            return self._methanol(load(data, page).size, name, page)
        length = zlib.crc32(data) % 20 + page
        return Reading(
            smiles="C" * length,
            molfile=MOLFILE,
            confidence=length / 100,
            tokens=("C",) * length,
            places=tuple((i + 1 / 3, 2 / 3) for i in range(length)),
            probabilities=(1 / 3,) * length,
            source=name,
            page=page,
            model=self.info["model"],
            ms=1.0,
        )

    def read_apart(self, source: Any, *, page: int = 1) -> list[Reading]:
        """As many molecules as ``apart N`` says, or one."""
        data = source
        if isinstance(source, str):
            data = Path(source).read_bytes() if Path(source).is_file() else b""
        if not data.startswith(b"apart"):
            return [self.read(source, page=page)]
        one = self.read(source, page=page)
        return [replace(one, box=(i, 0.0, i + 1.0, 1.0)) for i in range(int(data.split()[1]))]

    def find(self, source: Any, pages: Any) -> Any:
        """As many drawings on a page as the rest of its number by three says."""
        for page in pages:
            for i in range(page % 3):
                yield Reading(
                    smiles="C" * (i + 1),
                    molfile=MOLFILE,
                    confidence=0.9,
                    source="document",
                    page=page,
                    box=(1.0, 2.0, 3.0, 4.0 + i),
                    found=0.95,
                    model=self.info["model"],
                    ms=1.0,
                )

    def _methanol(self, size: tuple[int, int], name: str, page: int) -> Reading:
        y = size[0] / 2
        x = size[1] / 4
        return Reading(
            smiles="CO",
            molfile=molfile(("C", x, -y), ("O", 3 * x, -y)),
            inchikey="OKKJLVBELUTLKV-UHFFFAOYSA-N",
            confidence=0.8,
            tokens=("C", "O"),
            places=((x, y), (3 * x, y)),
            probabilities=(0.99, 0.6),
            alternatives=(("CN", 0.1),),
            scale=2 * x,
            source=name,
            page=page,
            model=self.info["model"],
            ms=1.0,
        )


def reader(weights: str | None = None, **given: Any) -> Stub:
    """With the arguments of the reader of the command line."""
    assert set(given) == {"device", "threads", "beam"}
    return Stub(broken="no weights" if weights else "")


def main(folder: str, output: str) -> None:
    """A batch over a folder, in a process of its own."""
    from molgaze.batch import Inputs, batch

    done = batch(Inputs([folder]), [output], partial(Stub, delay=0.02), workers=2, timeout=20)
    sys.exit(128 + done.stopped if done.stopped else 0)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    from stub import main

    main(*sys.argv[1:])
