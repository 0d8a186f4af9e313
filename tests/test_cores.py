"""Cores: affinity, and the quota of a container in both versions of control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from molgaze.cores import cores


@pytest.fixture(autouse=True)
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 16), ("300000 100000", 3), ("50000 100000", 1), ("rubbish", 16)],
)
def test_quota_of_a_container(tmp_path: Path, quota: str, expected: int) -> None:
    write(tmp_path / "cpu.max", quota)
    assert cores(tmp_path, tmp_path / "gone") == expected


def test_quota_of_the_own_group_and_of_those_above(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/slurm/job_7/step_0\n")
    write(tmp_path / "slurm/job_7/cpu.max", "400000 100000")
    write(tmp_path / "slurm/job_7/step_0/cpu.max", "max 100000")
    assert cores(tmp_path, own) == 4
    write(tmp_path / "slurm/cpu.max", "200000 100000")
    assert cores(tmp_path, own) == 2


def test_quota_of_the_first_version(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("5:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n")
    folder = tmp_path / "cpu,cpuacct/docker/a"
    write(folder / "cpu.cfs_quota_us", "-1\n")
    write(folder / "cpu.cfs_period_us", "100000\n")
    assert cores(tmp_path, own) == 16
    write(folder / "cpu.cfs_quota_us", "500000\n")
    assert cores(tmp_path, own) == 5


def test_without_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cores(tmp_path, tmp_path / "gone") == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores(tmp_path, tmp_path / "gone") == 1
