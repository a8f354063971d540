"""What is sent: trioet as it runs here and, where the far side cannot fetch them, all that
it needs, as files that belong into a site-packages.

What is installed here is taken as it is where it fits, for that needs no network: the same
minor version of CPython, and wheels made for a libc that is no newer than the far one.
Otherwise uv or pip, whichever is here, fetches ready-made wheels for that machine.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from importlib import metadata, resources
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path
from typing import Final

import trio

import trioet
from trioet.errors import StepFailed
from trioet.install.tags import Machine, fits, for_pip, for_uv

FETCH_DEADLINE_S: Final = 600.0
"""For uv or pip here; they take some seconds."""

ONLY_READY_MADE: Final = ("--only-binary=:all:",)
"""What is built here would run here, not there."""

Files = dict[str, bytes]
"""Names below site-packages, and what is in them."""

OWN_METADATA: Final = ("METADATA", "WHEEL", "entry_points.txt")


class NotHere(Exception):
    """This machine cannot provide what the far one needs; says why."""


def own_distribution() -> Distribution:
    """What is known of the trioet that runs.

    Raises:
      StepFailed: it is not installed, but runs from its source tree.
    """
    try:
        return metadata.distribution("trioet")
    except PackageNotFoundError:
        what = f"this trioet is not installed: it runs from {Path(trioet.__file__).parent}"
        raise StepFailed("here", what, "install it here first: pip install .") from None


def own_files() -> Files:
    """trioet itself, exactly as it runs here, even from an editable installation.

    Raises:
      StepFailed: it runs from its source tree.
    """
    own = own_distribution()
    top = Path(trioet.__file__).parent
    files = {
        f"trioet/{path.relative_to(top).as_posix()}": path.read_bytes()
        for path in sorted(top.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    for name in OWN_METADATA:
        text = own.read_text(name)
        if text is not None:
            files[f"trioet-{trioet.__version__}.dist-info/{name}"] = text.encode()
    files[f"trioet-{trioet.__version__}.dist-info/INSTALLER"] = b"trioet\n"
    return files


def requirements() -> list[str]:
    """What trioet needs, in the words of pip."""
    return [text for text in own_distribution().requires or () if not _extra_of(text)]


def digest_of(files: Mapping[str, bytes]) -> str:
    """One number for many files: tells whether the same is there already."""
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def pack(files: Mapping[str, bytes]) -> bytes:
    """The files as a zip archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


def tar(files: Mapping[str, bytes]) -> bytes:
    """The files as a tar archive, for the far side's tar."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


def scripts() -> Files:
    """What runs there."""
    return {
        path.name: path.read_bytes()
        for path in resources.files("trioet.install").joinpath("far").iterdir()
        if path.is_file()
    }


async def dependencies(machine: Machine) -> tuple[Files, str]:
    """What trioet needs on that machine, and how it was come by.

    Raises:
      NotHere: it is not here, and cannot be fetched.
    """
    try:
        return installed_here(machine), "as they are installed here"
    except NotHere as reason:
        why = reason
    try:
        return await fetch(machine)
    except NotHere as reason:
        raise NotHere(f"{why}; {reason}") from None


def installed_here(machine: Machine) -> Files:
    """The files of what trioet needs, as installed here.

    Raises:
      NotHere: they do not fit that machine, or are not known file by file.
    """
    if sys.implementation.name != "cpython" or sys.version_info[:2] != (3, machine.minor):
        here = f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}"
        raise NotHere(f"what is installed here is for {here}")
    files: Files = {}
    for distribution in needed_distributions():
        wheel = distribution.read_text("WHEEL") or ""
        tags = re.findall(r"^Tag: *(\S+)", wheel, re.MULTILINE)
        if not any(fits(tag, machine) for tag in tags):
            said = ", ".join(tags) or "something that is no wheel"
            raise NotHere(f"{distribution.name} as installed here is for {said}")
        files.update(_files_of(distribution))
    return files


def needed_distributions() -> Iterator[Distribution]:
    """All that trioet needs, directly or not, of what is installed here.

    Conditions on Python's version and the like are not looked at: where one does not hold, the
    package is not here, and if it is, it does no harm.
    """
    seen: set[tuple[str, str]] = set()
    given: set[str] = set()
    waiting = [("trioet", "")]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            distribution = metadata.distribution(name)
        except PackageNotFoundError:
            continue
        for text in distribution.requires or ():
            if _extra_of(text) in ("", extra):
                wanted, extras = _name_and_extras(text)
                waiting += [(wanted, each) for each in ("", *extras)]
        if name != "trioet" and name not in given:
            given.add(name)
            yield distribution


def _name_and_extras(requirement: str) -> tuple[str, list[str]]:
    """The name as pip compares it, and what stands in brackets (PEP 508)."""
    found = re.match(r"\s*([\w.-]+)\s*(?:\[([^]]*)\])?", requirement)
    assert found is not None, "installed metadata is well-formed"
    extras = [extra.strip() for extra in (found[2] or "").split(",") if extra.strip()]
    return re.sub(r"[-_.]+", "-", found[1]).lower(), extras


def _extra_of(requirement: str) -> str:
    """The extra that a requirement belongs to, if any."""
    found = re.search(r"""\bextra\s*==\s*["']([^"']+)["']""", requirement)
    return found[1] if found else ""


def _files_of(distribution: Distribution) -> Files:
    """What a distribution has in site-packages; not its programs.

    By its RECORD: from Python 3.12 on, ``Distribution.files`` is silent about what is missing.
    """
    record = distribution.read_text("RECORD")
    if not record:
        raise NotHere(f"the files of {distribution.name} are not known here")
    files: Files = {}
    for name, *_ in csv.reader(record.splitlines()):
        if name.startswith(("../", "/")) or name.endswith(".pyc"):
            continue
        place = Path(str(distribution.locate_file(name)))
        if not place.is_file():
            raise NotHere(f"{place}, of {distribution.name}, is missing here")
        files[name] = place.read_bytes()
    return files


async def fetch(machine: Machine) -> tuple[Files, str]:
    """Have uv or pip fetch what trioet needs there. Cancellation ends it.

    Raises:
      NotHere: neither is here, or they cannot.
    """
    if len(machine.libc) < 2:
        raise NotHere("which ready-made packages fit there is not known")
    uv = shutil.which("uv")
    if uv is not None:
        program, words = "uv", [uv, "pip", "install", *for_uv(machine)]
    else:
        program = "pip"
        pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        words = [*pip, "--no-compile", *for_pip(machine)]
    with tempfile.TemporaryDirectory(prefix="trioet-install-") as place:
        command = [*words, *ONLY_READY_MADE, "--target", place, *requirements()]
        with trio.move_on_after(FETCH_DEADLINE_S) as deadline:
            done = await trio.run_process(
                command,
                stdin=subprocess.DEVNULL,
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if deadline.cancelled_caught:
            raise NotHere(f"{program} here took more than {FETCH_DEADLINE_S:g} s")
        if done.returncode != 0:
            last = done.stdout.decode(errors="replace").strip().rpartition("\n")[2]
            raise NotHere(f"{program} here cannot fetch them: {last}")
        return _tree(Path(place)), f"fetched here by {program}"


def _tree(top: Path) -> Files:
    return {
        path.relative_to(top).as_posix(): path.read_bytes()
        for path in sorted(top.rglob("*"))
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.relative_to(top).parts[0] != "bin"
        and path.name != ".lock"
    }
