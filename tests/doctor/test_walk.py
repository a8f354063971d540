"""What takes too long is given up: in this process, so that the deadlines can be short."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio

from fixtures_sshd import Sshd
from trioet.bootstrap.spawn import SshTarget
from trioet.doctor import visit, walk
from trioet.doctor.finding import Finding, Outcome
from trioet.doctor.walk import Destination, examine


def destination(sshd: Sshd, *options: str) -> Destination:
    config = str(sshd.ssh_config_path)
    return Destination(SshTarget(sshd.host_alias, config_file=config, options=options))


async def failure(there: Destination) -> Finding:
    """The only finding that failed; all were told as they came."""
    told: list[Finding] = []
    with trio.fail_after(60):
        findings = await examine(there, told.append)
    assert told == findings
    (failed,) = (finding for finding in findings if finding.outcome is Outcome.FAILED)
    return failed


async def test_a_start_up_file_that_waits(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit, "REPORT_DEADLINE_S", 1.0)
    sshd.use_login_shell("echo Enter your name:; exec sleep 100")

    found = await failure(destination(sshd))

    assert found.step == "shell"
    assert found.what.endswith("a start-up file waits for something: Enter your name:")


async def test_a_program_that_hangs(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit, "REPORT_DEADLINE_S", 1.0)
    sshd.put_program("trioet", "exec sleep 100")

    found = await failure(destination(sshd))

    assert found.step == "program"
    assert "in vain" in found.what


async def test_a_login_that_never_ends(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit, "LOGIN_DEADLINE_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = await failure(destination(sshd, f"Port={listener.getsockname()[1]}"))

    assert found.step == "login"
    assert "not let in" in found.what


async def test_a_configuration_that_never_ends(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "CONFIG_DEADLINE_S", 0.5)
    config = sshd.ssh_config_path
    config.write_text('Match exec "sleep 100"\n' + config.read_text())

    found = await failure(destination(sshd))

    assert found.step == "config"
    assert "Match exec" in found.fix


async def test_a_resolver_that_never_answers(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dead(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *arguments: object) -> list[object]:  # type: ignore[override]
            await trio.sleep_forever()
            raise AssertionError

        async def getnameinfo(self, *arguments: object) -> tuple[str, str]:
            raise AssertionError

    monkeypatch.setattr(walk, "RESOLVE_DEADLINE_S", 0.5)
    trio.socket.set_custom_hostname_resolver(Dead())

    found = await failure(destination(sshd, "HostName=far.example"))

    assert found.step == "name"
    assert "no answer" in found.what


async def test_no_ssh_program(sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    there = destination(sshd)
    monkeypatch.setenv("PATH", str(tmp_path))

    found = await failure(there)

    assert found.step == "config"
    assert "no ssh program" in found.what


async def test_by_an_open_master_connection(sshd: Sshd, runtime_dir: Path) -> None:
    """A master keeps ssh's stderr open: nobody waits for its end."""
    options = ("ControlMaster=auto", f"ControlPath={runtime_dir}/m", "ControlPersist=60")
    sshd.install_trioet()
    try:
        for method in ("publickey", "an open master connection"):
            with trio.fail_after(60):
                findings = await examine(destination(sshd, *options), lambda _: None)
            login = next(finding for finding in findings if finding.step == "login")
            assert login.facts["method"] == method
            assert not any(finding.outcome is Outcome.FAILED for finding in findings)
    finally:
        control = ["-F", str(sshd.ssh_config_path), "-o", options[1], "-O", "exit"]
        with trio.move_on_after(10, shield=True):
            await trio.run_process(
                ["ssh", *control, sshd.host_alias], capture_stderr=True, check=False
            )


def children() -> set[str]:
    """Processes of ours, whichever thread started them."""
    lists = Path("/proc/self/task").glob("*/children")
    return {pid for path in lists for pid in path.read_text().split()}


async def test_leaving_early_ends_ssh(sshd: Sshd) -> None:
    sshd.use_login_shell("exec sleep 100")
    before = children()
    async with trio.open_nursery() as nursery:

        def note(finding: Finding) -> None:
            if finding.step == "login":
                assert children() > before
                nursery.cancel_scope.cancel()

        nursery.start_soon(examine, destination(sshd), note)

    assert children() == before
