"""A host whose home nobody has touched, and the trioet here that is to get there: the fixture
``host``.

What is not there, an index, is away in the far home's pip.conf; so trioet is sent from here,
as installed in the Python that runs the tests.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from farside import SOURCE
from fixtures_sshd import Sshd
from installed import FOR_A_SESSION, describe
from keepers import end_keepers
from trioet import __version__

NEWER: Final = "99.1"
PATIENCE_S: Final = 90.0
"""For a machine under load: environments are made, and half a thousand files compiled."""

PYTHONS: Final = ("python3", "python3.14", "python3.13", "python3.12", "python3.11")


class Host:
    """A far home that nobody has touched, and the trioet here that is to get there."""

    def __init__(self, sshd: Sshd, place: Path, runtime_dir: Path) -> None:
        self.sshd = sshd
        self.home = sshd.home
        self.runtime_dir = runtime_dir
        self.base = self.home / ".local" / "share" / "trioet"
        self.bin = self.home / ".local" / "bin"
        self.description = describe(place / "site", needed=FOR_A_SESSION)
        """Where what an installer would have written of our trioet is."""

        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(place),
            "TERM": "xterm",
            "PYTHONPATH": f"{self.description}:{SOURCE}",
            "TRIOET_RUNTIME_DIR": str(runtime_dir),
        }
        self._place = place
        for name in PYTHONS:
            sshd.put_program(name, "exit 1")
        self.put_python("")
        self.log_in_by("")

    def put_python(self, script: str) -> None:
        """The only Python there runs this first, and takes itself for the real one, with pip."""
        real = shlex.quote(sys.executable)
        path = self.sshd.bin / "python3"
        claims = f's|"path": "[^"]*"|"path": "{path}"|; s|"pip": false|"pip": true|'
        self.sshd.put_program(
            "python3",
            f"""{script}
            case $1 in
            */ask.py) {real} "$@" | sed '{claims}' ;;
            *) exec {real} "$@" ;;
            esac""",
        )

    def log_in_by(self, script: str) -> None:
        """What start-up files do there."""
        runtime_dir = f"export TRIOET_RUNTIME_DIR={self.runtime_dir}"
        self.sshd.use_login_shell(f'{runtime_dir}\n{script}\nexec sh -c "$SSH_ORIGINAL_COMMAND"')

    def need_all(self) -> None:
        """From now on all that trioet needs is sent, not only what a session does."""
        self.description = describe(self._place / "whole-site")
        self.environment["PYTHONPATH"] = f"{self.description}:{SOURCE}"

    def become_newer(self) -> None:
        """From now on another version is installed here."""
        place = self._place / "newer"
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(Path(SOURCE) / "trioet", place / "trioet", ignore=without)
        start = place / "trioet" / "__init__.py"
        start.write_text(start.read_text().replace(f'"{__version__}"', f'"{NEWER}"'))
        self.description = describe(self._place / "newer-site", needed=FOR_A_SESSION)
        self.environment["PYTHONPATH"] = f"{place}:{self.description}"

    def command(self, name: str, *arguments: str) -> list[str]:
        config = str(self.sshd.ssh_config_path)
        at = arguments.index("--") if "--" in arguments else len(arguments)
        words = [name, "-F", config, *arguments[:at], self.sshd.host_alias, *arguments[at:]]
        return [sys.executable, "-m", "trioet.cli.main", *words]

    def run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(name, *arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def start(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(name, *arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def install(self, *arguments: str) -> str:
        done = self.run("install", "--offline", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def versions(self) -> list[str]:
        found = [path for path in self.base.iterdir() if not path.is_symlink()]
        return sorted(path.name for path in found if (path / "bin").is_dir())

    def tree(self) -> dict[str, str]:
        """All that is in the home, by name."""
        return {
            str(path.relative_to(self.home)): os.readlink(path)
            if path.is_symlink()
            else path.read_bytes().hex()
            if path.is_file()
            else ""
            for path in self.home.rglob("*")
        }


@pytest.fixture
def host(sshd: Sshd, tmp_path: Path, runtime_dir: Path) -> Iterator[Host]:
    yield Host(sshd, tmp_path, runtime_dir)
    end_keepers(runtime_dir)
