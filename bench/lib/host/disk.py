"""The file system of a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lib.host.errors import BenchError


@dataclass(frozen=True)
class Disk:
    kind: str
    device: str
    options: str

    def __str__(self) -> str:
        # Only the last part of the device: a network file system has a path there.
        return f"{self.kind} on {Path(self.device).name} ({self.options})"


def disk_of(folder: Path) -> Disk:
    """The file system that `folder` is on, from /proc/self/mountinfo. Refuses file systems in memory."""
    number = folder.stat().st_dev
    device_number = f"{os.major(number)}:{os.minor(number)}"
    found, found_mount_point = None, ""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, file_system = (part.split() for part in line.split(" - ", 1))
        mount_point = mount[4]
        if mount[2] != device_number or not folder.is_relative_to(mount_point):
            continue
        # A device can be mounted several times: the longest mount point is the one that leads to the folder.
        if found is None or len(mount_point) > len(found_mount_point):
            found, found_mount_point = Disk(file_system[0], file_system[1], f"{mount[5]}; {file_system[2]}"), mount_point
    if found is None:
        raise BenchError(f"cannot find the file system of {folder}: choose another folder with --dir")
    if found.kind in ("tmpfs", "ramfs"):
        raise BenchError(f"{folder} is on {found.kind}, which is memory and not a disk: choose another folder with --dir")
    return found
