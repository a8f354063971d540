"""Imports only ever point down: docs/design.md, "Floors"."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import trioet

ROOT = Path(trioet.__file__).parent

FLOORS = [
    {"errors"},
    {"wire"},
    {"link", "health", "config_file"},
    {"session", "eternal"},
    {"bootstrap"},
    {"server", "client", "web", "scon"},
    {"demo", "doctor", "install", "proxy"},
    {"cli"},
]

KEPT_TO: dict[str, str | tuple[str, ...]] = {
    # Slow, or with effects on the whole process: one family of modules each.
    "asyncssh": "bootstrap/asyncssh_",
    "trio_asyncio": "bootstrap/asyncio_border.py",
    "asyncio": "bootstrap/async",
    "google": "wire/protobuf.py",
    "trioet.wire.pb": ("wire/messages.py", "wire/forward_messages.py"),
    "nacl": ("wire/sealing.py", "wire/agreement.py", "wire/scon_sealed.py"),
    "cryptography": "wire/scon_arc4.py",
    "dns": "link/srv.py",
    "h11": "health/endpoint.py",
    "yaml": "scon/config.py",
    "coredis": "scon/cluster.py",
    "websockets": "web/",
    "argon2": "web/login.py",
}

SANS_IO = ("trio", "os", "socket", "select", "subprocess", "asyncio", "time")
SANS_IO_PLACES = ("wire/", "errors.py", "bootstrap/invitation.py", "client/modes.py",
                  "client/escapes.py", "client/status.py", "doctor/finding.py",
                  "doctor/far_report.py", "doctor/ssh_words.py", "doctor/judge.py",
                  "doctor/ports.py")  # fmt: skip


def modules() -> list[Path]:
    return [path for path in ROOT.rglob("*.py") if "pb" not in path.parts]


def imported(source: str) -> list[str]:
    """Every module that a source imports, at any depth, by its full name."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide where they lead"
            found += [node.module or ""]
            found += [f"{node.module}.{name.name}" for name in node.names]
    return found


def floor(name: str) -> int | None:
    parts = name.split(".")
    if parts[0] != "trioet" or len(parts) < 2:
        return None
    return next((number for number, rooms in enumerate(FLOORS) if parts[1] in rooms), None)


def climbs(room: str, source: str) -> list[str]:
    """Imports of a source in ``room`` that point up, or to a neighbour."""
    here = floor(f"trioet.{room}")
    assert here is not None, f"{room} is on no floor"
    found = []
    for target in imported(source):
        there = floor(target)
        if there is None:
            continue
        neighbour = there == here and target.split(".")[1] != room
        if there > here or neighbour:
            found.append(target)
    return found


def strays(path: str, source: str) -> list[str]:
    """Imports of a source at ``path`` that are kept to other modules."""
    return [
        target
        for target in imported(source)
        for name, place in KEPT_TO.items()
        if (target == name or target.startswith(f"{name}.")) and not path.startswith(place)
    ]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_point_down(path: Path) -> None:
    place = path.relative_to(ROOT)
    if str(place) == "__init__.py":
        return  # it names what is public on any floor; and see test_startup
    assert climbs(place.parts[0].removesuffix(".py"), path.read_text()) == []
    assert strays(str(place), path.read_text()) == []


def doers(path: str, source: str) -> list[str]:
    """Imports that do I/O or look at clocks, of a source at ``path`` that may not."""
    if not path.startswith(SANS_IO_PLACES):
        return []
    found = [target for target in imported(source) if target.split(".")[0] in SANS_IO]
    if path == "bootstrap/invitation.py" and found == ["os", "os.urandom"]:
        return []  # random bytes for keys; `secrets` takes five times as long to import
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_sans_io_modules_do_no_io(path: Path) -> None:
    assert doers(str(path.relative_to(ROOT)), path.read_text()) == []


def test_packages_are_empty_so_that_importing_one_module_imports_no_other() -> None:
    packages = [path for path in ROOT.rglob("__init__.py") if path.parent != ROOT]
    assert [str(path) for path in packages if path.read_text()] == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("wire", "import trioet.link.line"),
        ("link", "from trioet.server import router"),
        ("server", "from trioet.client.app import Client"),
        ("client", "def f():\n    from trioet.server import places"),
        ("errors", "import trioet.wire"),
        ("web", "from trioet.server.router import Router"),
        ("session", "if True:\n    from trioet import cli"),
    ],
)
def test_a_climb_is_noticed(room: str, source: str) -> None:
    assert climbs(room, source)


@pytest.mark.parametrize(
    "source", ["import asyncssh", "from nacl import bindings", "from trioet.wire.pb import ET_pb2"]
)
def test_a_stray_is_noticed(source: str) -> None:
    assert strays("client/app.py", source)


@pytest.mark.parametrize(
    "source", ["import trio", "import os.path", "from trio.lowlevel import wait_readable"]
)
def test_a_doer_among_the_sans_io_modules_is_noticed(source: str) -> None:
    assert doers("wire/framing.py", source)
    assert not doers("link/line.py", source)


@pytest.mark.parametrize("source", ["from . import link", "from ..cli import main"])
def test_a_relative_import_is_noticed(source: str) -> None:
    with pytest.raises(AssertionError, match="hide where they lead"):
        climbs("wire", source)


def test_a_room_on_no_floor_is_noticed() -> None:
    with pytest.raises(AssertionError, match="attic is on no floor"):
        climbs("attic", "")


def test_a_step_down_is_none() -> None:
    assert not climbs("cli", "from trioet.client.app import Client\nimport trioet.errors")
    assert not climbs("server", "from trioet.server.door import Door")
