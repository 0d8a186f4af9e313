"""How many cores this process may use: by its affinity, and by the quota of its container."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def cores(mount: Path = MOUNT, own: Path = OWN) -> int:
    """Cores that this process may use, at least 1.

    Linux tells the affinity of a process, and its control group tells which share of a core's time
    it gets; on other systems the number of cores is all that can be known.

    Args:
        mount: where control groups are mounted.
        own: the file that names the control group of this process.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    most = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, min([most, *_quotas(mount, own)]))


def _quotas(mount: Path, own: Path) -> Iterator[int]:
    """Whole cores that each control group above this process allows, in either version."""
    for folder in _groups(mount, own):
        with suppress(OSError, ValueError):  # not there, or "max"
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
            yield int(quota) // int(period)
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
            if int(quota) > 0:  # -1 is no quota
                yield int(quota) // int(period)


def _groups(mount: Path, own: Path) -> Iterator[Path]:
    """The folders of the control groups from the mount down to that of this process.

    A container sees its own group as the mount itself, so that is always looked at.
    """
    roots = {"": mount, "cpu": mount / "cpu", "cpu,cpuacct": mount / "cpu,cpuacct"}
    yield from roots.values()
    lines: list[str] = []
    with suppress(OSError, ValueError):
        lines = own.read_text(encoding="utf-8").splitlines()
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = roots.get(controllers, mount / controllers)
        parts = Path(path.lstrip("/")).parts
        for depth in range(1, len(parts) + 1):
            yield root.joinpath(*parts[:depth])
