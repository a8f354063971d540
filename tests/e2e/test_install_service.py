"""`trioet install --system` and `--user-service`, below a directory that stands for /.

sudo, systemctl and loginctl are scripts that note how they were called.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

from ptys import at_terminal
from trioet import __version__
from trioet.bootstrap.spawn import SshTarget
from trioet.errors import StepFailed
from trioet.install.installation import Wish, install, uninstall
from untouched import Host

pytestmark = [pytest.mark.e2e, pytest.mark.proof]

NOTE = 'echo "$(basename "$0") $*" >>"$HOME/../called"'
NOT_ROOT = 'case $* in -u) echo 1000 ;; *) exec /usr/bin/id "$@" ;; esac'
FREE_SUDO = f'{NOTE}; [ "$1" != -n ] || shift; exec "$@"'
ASKING_SUDO = f"""{NOTE}
[ "$1" != -n ] || exit 1
printf 'Password: ' >/dev/tty
read -r password </dev/tty
[ "$password" = secret ] || exit 1
exec "$@"
"""


class Machine:
    """The host, as its administrator sees it."""

    def __init__(self, host: Host, root: Path) -> None:
        self.host = host
        self.root = root
        self.base = root / "usr/local/lib/trioet"
        self.unit = root / "etc/systemd/system/trioet.service"
        self.said: list[str] = []
        self.wish = Wish(system=True, offline=True, root=str(root))
        for part in ("usr/local/bin", "etc/systemd/system", "run/systemd/system"):
            (root / part).mkdir(parents=True)
        for name in ("systemctl", "loginctl"):
            host.sshd.put_program(name, NOTE)
        host.log_in_by(f"PATH={root}/usr/local/bin:$PATH")

    @property
    def target(self) -> SshTarget:
        return SshTarget(self.host.sshd.host_alias, config_file=str(self.host.sshd.ssh_config_path))

    async def install(self, wish: Wish | None = None) -> str:
        self.said.clear()
        await install(self.target, wish or self.wish, self.said.append, self.said.append)
        return "\n".join(self.said)

    async def uninstall(self, wish: Wish | None = None) -> str:
        self.said.clear()
        await uninstall(self.target, wish or self.wish, self.said.append, self.said.append)
        return "\n".join(self.said)

    def called(self) -> list[str]:
        """How sudo and the others were called since this was asked last."""
        path = self.host.home.parent / "called"
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        return lines

    def tree(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}


@pytest.fixture
def machine(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.syspath_prepend(host.description)
    return Machine(host, tmp_path / "root")


async def test_for_all_users_it_is_in_usr_local_and_its_service_runs(machine: Machine) -> None:
    machine.host.sshd.put_program("id", NOT_ROOT)
    machine.host.sshd.put_program("sudo", FREE_SUDO)
    before = machine.tree()

    said = await machine.install()

    assert f"installed trioet {__version__} in {machine.base}/{__version__}" in said
    assert f"checked: a command run by ssh finds {machine.root}/usr/local/bin/trioet" in said
    assert f"ExecStart={machine.root}/usr/local/bin/trioet serve --socket" in (
        machine.unit.read_text()
    )
    assert machine.unit.stat().st_mode & 0o777 == 0o644
    called = [line for line in machine.called() if not line.startswith("sudo -n true")]
    assert called[0].startswith("sudo -n sh ")
    assert called[1:] == [
        *("systemctl daemon-reload", "systemctl enable trioet", "systemctl restart trioet")
    ]
    assert machine.host.tree() == {}

    await machine.install()
    assert "systemctl restart trioet" in machine.called()

    said = await machine.uninstall()
    assert f"removed the service, {machine.unit}" in said
    assert "systemctl disable --now trioet" in machine.called()
    assert machine.tree() == before


async def test_without_systemd_it_says_what_to_start(machine: Machine) -> None:
    machine.host.sshd.put_program("id", "echo 0")
    (machine.root / "run/systemd/system").rmdir()

    said = await machine.install()

    assert f"no systemd runs here: have `{machine.root}/usr/local/bin/trioet serve` started" in said
    assert machine.called() == []


async def test_a_unit_of_somebody_else_is_left_alone(machine: Machine) -> None:
    machine.host.sshd.put_program("id", "echo 0")
    machine.unit.write_text("[Unit]\n")

    with pytest.raises(StepFailed, match="is there already, and not from trioet install"):
        await machine.install()

    assert machine.unit.read_text() == "[Unit]\n"
    await machine.uninstall()
    assert machine.unit.read_text() == "[Unit]\n"


async def test_a_service_that_does_not_start_is_told(machine: Machine) -> None:
    machine.host.sshd.put_program("id", "echo 0")
    machine.host.sshd.put_program(
        "systemctl", '[ "$1" != restart ] || { echo Error: busy; exit 1; }'
    )

    with pytest.raises(StepFailed, match=r"the service does not start.*Error: busy") as failure:
        await machine.install()

    assert failure.value.hint == "trioet itself is installed"


async def test_a_python_in_a_home_is_none_for_all_users(machine: Machine) -> None:
    machine.host.sshd.put_program("id", "echo 0")
    machine.host.sshd.put_program(
        "python3", 'echo "{\\"path\\": \\"$HOME/bin/python3\\", \\"version\\": [3, 12, 1]}"'
    )

    with pytest.raises(StepFailed, match="bin/python3 is in a home"):
        await machine.install()


@pytest.mark.parametrize("password", [b"secret\n", b"wrong\n", b"\x03"])
async def test_sudo_asks_on_the_terminal(machine: Machine, password: bytes) -> None:
    machine.host.sshd.put_program("id", NOT_ROOT)
    machine.host.sshd.put_program("sudo", ASKING_SUDO)
    before = machine.tree()
    code = (
        "import sys\n"
        "from trioet.bootstrap.spawn import SshTarget\n"
        "from trioet.cli.installing import run\n"
        "from trioet.install.installation import Wish, install\n"
        f"target, wish = SshTarget(*{tuple(machine.target)}), Wish(*{tuple(machine.wish)})\n"
        "sys.exit(run('farside', False, lambda show, chat: install(target, wish, show, chat)))\n"
    )

    argv = [sys.executable, "-c", code]
    async with at_terminal(argv, machine.host.environment) as person:
        with trio.fail_after(90):
            before_all = person.mode()
            await person.until(b"Password: ")
            await person.type(password)
            while await person.read_some():
                pass
        status = await person.end()
        assert person.mode() == before_all

    if password == b"secret\n":
        assert (status, machine.unit.exists()) == (0, True), person.seen
        assert b"wrote " in person.seen
        assert b"TRIOET-INSTALL" not in person.seen
    else:
        assert status != 0
        assert machine.tree() == before
        assert b"sudo ended with exit status" in person.seen


async def test_a_service_of_ones_own_lingers(machine: Machine) -> None:
    wish = Wish(user_service=True, offline=True, root=str(machine.root))

    said = await machine.install(wish)

    unit = machine.host.home / ".config/systemd/user/trioet.service"
    assert "wrote ~/.config/systemd/user/trioet.service" in said
    assert f"ExecStart={machine.host.bin}/trioet serve\n" in unit.read_text()
    assert machine.called() == [
        "systemctl --user daemon-reload",
        "systemctl --user enable trioet",
        "systemctl --user restart trioet",
        "loginctl enable-linger",
    ]

    await machine.uninstall(wish)
    assert "systemctl --user disable --now trioet" in machine.called()
    assert machine.host.tree() == {}
