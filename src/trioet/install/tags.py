"""Does a wheel's tag fit another machine? And how uv and pip are told which machine that is.

Tags are those of PEP 425, 600 (manylinux) and 656 (musllinux). Only CPython, as trioet's
dependencies come ready-made for nothing else.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

OLD_MANYLINUX: Final = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
"""Names from before PEP 600, and the glibc that they mean."""

NEWEST_GLIBC: Final = 60
OLDEST_GLIBC: Final = 17
OLDEST_MACOS: Final = 10


class Machine(NamedTuple):
    """What a wheel has to fit: a CPython's minor version, and its system.

    ``libc`` is glibc's or musl's version, or macOS's own; empty if it is not known.
    """

    minor: int
    system: str
    """``manylinux``, ``musllinux`` or ``macosx``."""

    libc: tuple[int, ...]
    architecture: str
    """As in tags: ``x86_64``, ``aarch64``, ``arm64`` …"""


def fits(tag: str, machine: Machine) -> bool:
    """Whether a wheel of that tag, ``cp311-abi3-manylinux_2_28_x86_64``, runs there."""
    parts = tag.split("-")
    if len(parts) != 3:
        return False
    pythons, abis, platforms = (part.split(".") for part in parts)
    return any(
        _python_fits(python, abi, machine) and _platform_fits(platform, machine)
        for python in pythons
        for abi in abis
        for platform in platforms
    )


def _python_fits(python: str, abi: str, machine: Machine) -> bool:
    if python in ("py3", f"py3{machine.minor}"):
        return abi == "none"
    found = re.fullmatch(r"cp3(\d{1,2})", python)
    if found is None:
        return False
    minor = int(found[1])
    if abi == "abi3":
        return minor <= machine.minor
    return minor == machine.minor and abi in ("none", python)


def _platform_fits(platform: str, machine: Machine) -> bool:
    if platform == "any":
        return True
    for name, (major, minor) in OLD_MANYLINUX.items():
        if platform.startswith(f"{name}_"):
            platform = platform.replace(name, f"manylinux_{major}_{minor}", 1)
    found = re.fullmatch(r"(manylinux|musllinux|macosx)_(\d{1,3})_(\d{1,3})_(\w+)", platform)
    if found is None:
        return False  # like linux_x86_64: built somewhere, for whatever was there
    system, architecture = found[1], found[4]
    if system == "macosx" and architecture == "universal2":
        architecture = machine.architecture
    needed = (int(found[2]), int(found[3]))
    return (system, architecture) == (machine.system, machine.architecture) and (
        needed <= machine.libc
    )


def for_uv(machine: Machine) -> list[str]:
    """The words that tell `uv pip install` to choose wheels for that machine."""
    if machine.system == "manylinux":
        name = f"{machine.architecture}-manylinux_2_{min(machine.libc[1], 40)}"
    elif machine.system == "musllinux":
        name = f"{machine.architecture}-unknown-linux-musl"
    else:
        name = f"{machine.architecture.replace('arm64', 'aarch64')}-apple-darwin"
    return ["--python-platform", name, "--python-version", f"3.{machine.minor}"]


def for_pip(machine: Machine) -> list[str]:
    """The same for `pip install`, which wants each platform by its name."""
    major, minor = machine.libc[:2]
    arch = machine.architecture
    match machine.system:
        case "manylinux":
            names = [
                f"manylinux_2_{each}_{arch}"
                for each in range(OLDEST_GLIBC, min(minor, NEWEST_GLIBC) + 1)
            ]
            names.append(f"manylinux2014_{arch}")
        case "musllinux":
            names = [f"musllinux_{major}_{each}_{arch}" for each in range(minor + 1)]
        case _:
            names = [
                f"macosx_{each}_0_{kind}"
                for each in range(OLDEST_MACOS + 1, major + 1)
                for kind in ("universal2", arch)
            ]
    words = [word for name in reversed(names) for word in ("--platform", name)]
    return [*words, "--python-version", f"3.{machine.minor}", "--implementation", "cp"]
