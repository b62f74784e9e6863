"""The file system that a folder is on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lib.host.errors import Failed


@dataclass(frozen=True)
class Disk:
    """The file system that a folder is on."""

    kind: str
    device: str
    options: str
    mount_point: str

    def __str__(self) -> str:
        return f"{self.kind} on {self.device}, mounted at {self.mount_point} ({self.options})"


def disk_of(folder: Path) -> Disk:
    number = folder.stat().st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    found = None
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, after = (part.split() for part in line.split(" - ", 1))
        if before[2] != device or not folder.is_relative_to(before[4]):
            continue
        # Of several mounts of one device, that through which the folder is reached.
        if found is None or len(before[4]) > len(found.mount_point):
            found = Disk(after[0], after[1], f"{before[5]}; {after[2]}", before[4])
    if found is None:
        raise Failed(f"cannot tell the file system of {folder}: give another --dir")
    if found.kind in ("tmpfs", "ramfs"):
        raise Failed(f"{folder} is on {found.kind}, which is no disk: give another --dir")
    return found
