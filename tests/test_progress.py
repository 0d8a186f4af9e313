"""The line of progress."""

from __future__ import annotations

import sys
import time

import pytest

from molgaze import progress
from molgaze.progress import Progress, span


def test_line() -> None:
    bar = Progress(range(1000))
    for _ in range(100):
        if bar._total == 1000:
            break
        time.sleep(0.01)
    bar.line(500, 0, 100.0)
    assert bar.line(510, 10, 101.0) == "[##########----------] 510/1,000  10.0/s  0:49 left"
    bar._total = None
    assert bar.line(520, 20, 102.0) == "520 pictures  10.0/s"
    assert Progress(0, shown=False).line(0, 0, 1.0) == "[--------------------] 0/0  0.0/s"


def test_spans() -> None:
    assert [span(s) for s in (5, 65, 3700, 200_000)] == ["0:05", "1:05", "1:01:40", "2 days"]


def test_what_is_not_shown_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Progress(3, shown=False)
    for done in (1, 2, 3):
        bar(done)
    bar.clear()
    assert capsys.readouterr().err == ""


def test_a_line_on_a_terminal_leaves_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    bar = Progress(3)
    bar(1, note="  a long note")
    bar(2)
    bar.clear()
    bar.clear()
    said = capsys.readouterr().err
    screen = [" "] * 100
    at = 0
    for char in said:
        at = 0 if char == "\r" else at + 1
        if char != "\r":
            screen[at - 1] = char
    assert "".join(screen).strip() == ""
    assert at == 0
    assert "2/3" in said


def test_where_lines_stay_there_are_few(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Progress(30)
    for done in range(1, 31):
        bar(done, note="  so far")
    bar.clear()
    assert capsys.readouterr().err == "[#-------------------] 1/30  0.0/s  so far\n"
