"""The doctor, with hosts that are really broken: through a real sshd, in every way."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from farside import FarSide
from fixtures_sshd import Sshd
from networks import Network
from ports import free_ports
from trioet.server.router import GRACE_S

pytestmark = [pytest.mark.e2e, pytest.mark.proof]

STEPS = [
    *("config", "name", "login", "shell", "program", "version", "runtime", "linger", "keeper"),
    *("router", "port", "mtu", "clock", "terminfo", "agent"),
]


class Report:
    """What `trioet doctor --json` says."""

    def __init__(self, done: subprocess.CompletedProcess[bytes]) -> None:
        assert done.returncode in (0, 1), done.stderr.decode()
        self.status = done.returncode
        self.fields: dict[str, Any] = json.loads(done.stdout)
        self.steps: list[dict[str, Any]] = self.fields["steps"]

    def __getitem__(self, step: str) -> dict[str, Any]:
        return next(item for item in self.steps if item["step"] == step)

    def outcome(self, step: str) -> str:
        return str(self[step]["outcome"])

    @property
    def failed(self) -> list[str]:
        return [item["step"] for item in self.steps if item["outcome"] == "failed"]

    @property
    def warned(self) -> list[str]:
        return [item["step"] for item in self.steps if item["outcome"] == "warning"]

    @property
    def skipped(self) -> list[str]:
        return [item["step"] for item in self.steps if item["outcome"] == "skipped"]


def doctor(far_side: FarSide, *arguments: str, **environment: str) -> Report:
    return Report(run(far_side, *arguments, "--json", **environment))


def run(
    far_side: FarSide, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    config = str(far_side.sshd.ssh_config_path)
    command = [sys.executable, "-m", "trioet.cli.main", "doctor", "-F", config, *arguments]
    return subprocess.run(
        [*command, far_side.sshd.host_alias],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**far_side.environment, **environment},
        timeout=100,
        check=False,
    )


def test_a_good_host_is_well_in_every_step(far_side: FarSide) -> None:
    report = doctor(far_side)

    assert report.status == 0
    assert report.fields["well"] is True
    assert report.fields["host"] == "farside"
    assert [item["step"] for item in report.steps] == STEPS
    assert {item["outcome"] for item in report.steps} == {"ok"}
    assert report["login"]["facts"]["method"] == "publickey"
    assert report["program"]["facts"]["path"] == str(far_side.sshd.bin / "trioet")
    assert report["port"]["facts"]["reached"] == "speaks ET"
    assert "where the keeper will listen" in report["port"]["what"]


def test_people_get_one_line_for_each_step(far_side: FarSide) -> None:
    done = run(far_side)

    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0
    assert len(lines) == len(STEPS) + 2
    assert all(line.startswith("✓ ") for line in lines[: len(STEPS)])
    assert lines[-1] == "All is well."
    assert "\x1b" not in done.stdout.decode()
    assert done.stderr == b""


def test_ssh_may_tell_what_it_does(far_side: FarSide) -> None:
    done = run(far_side, "-v")
    assert done.returncode == 0
    assert b"debug1: " in done.stderr
    assert b"debug1: " not in done.stdout


def test_the_doctor_leaves_no_keeper_and_no_session_behind(far_side: FarSide) -> None:
    before = sorted(far_side.runtime_dir.iterdir())
    doctor(far_side)
    assert sorted(far_side.runtime_dir.iterdir()) == before


def test_a_router_and_a_keeper_that_runs_are_seen(far_side: FarSide) -> None:
    begun = time.monotonic()
    port = far_side.start_router()
    assert far_side.run("--", "true").returncode == 0

    report = doctor(far_side)

    assert report.failed == []
    assert report["router"]["facts"]["port"] == port
    assert report["port"]["facts"]["port"] == port
    # It has just been started: strangers are not called unknown for a while.
    late = time.monotonic() - begun > GRACE_S
    assert report["port"]["facts"]["reached"] in (["parked", "speaks ET"] if late else ["parked"])
    assert report["keeper"]["facts"]["state"] == "runs"
    assert report["keeper"]["facts"]["sessions"] == 0


def test_a_keeper_whose_router_is_down_is_told(far_side: FarSide) -> None:
    far_side.start_router()
    assert far_side.run("--", "true").returncode == 0
    far_side.stop_router()

    report = doctor(far_side)

    assert report.failed == []
    assert report.warned == ["router"]
    assert "the keeper waits for it" in report["router"]["what"]
    assert report["router"]["command"].endswith("'trioet serve'")
    assert "where the keeper will listen" in report["port"]["what"]


@pytest.mark.parametrize("shell", ["fish", "csh", "tcsh", "zsh"])
def test_other_login_shells_run_the_same_command(far_side: FarSide, shell: str) -> None:
    use_shell(far_side.sshd, shell)

    report = doctor(far_side)

    assert report.failed == []
    assert report["shell"]["what"] == f"{shell}, silent"
    assert report["shell"]["facts"]["noise_bytes"] == 0


@pytest.mark.parametrize(
    ("shell", "file"), [("fish", ".config/fish/config.fish"), ("csh", ".cshrc"), ("zsh", ".zshenv")]
)
def test_noise_of_start_up_files_is_measured(far_side: FarSide, shell: str, file: str) -> None:
    use_shell(far_side.sshd, shell)
    rc = far_side.sshd.home / file
    rc.parent.mkdir(parents=True, exist_ok=True)
    rc.write_text("head -c 102400 /dev/zero | tr '\\0' x\n")

    report = doctor(far_side)

    assert report.status == 0
    assert report.warned == ["shell"]
    assert report["shell"]["facts"]["noise_bytes"] == 102400
    assert "102,400 bytes" in report["shell"]["what"]
    assert report["shell"]["fix"]


def test_a_start_up_file_that_reads_stdin_swallows_the_key(far_side: FarSide) -> None:
    far_side.sshd.use_login_shell('read -r answer; exec sh -c "$SSH_ORIGINAL_COMMAND"')

    report = doctor(far_side)

    assert report.failed == ["shell"]
    assert "swallow the session's key" in report["shell"]["what"]


def test_a_login_shell_that_runs_nothing_is_told_with_its_last_words(far_side: FarSide) -> None:
    far_side.sshd.use_login_shell("echo This account is currently not available.; exit 1")

    report = doctor(far_side)

    assert report.failed == ["shell"]
    assert "not available" in report["shell"]["what"]
    assert "chsh" in report["shell"]["fix"]
    assert "port" in report.skipped


def test_a_program_that_is_not_on_the_path_is_found_elsewhere(
    sshd: Sshd, far_side: FarSide
) -> None:
    place = sshd.home / "venv" / "bin"
    place.mkdir(parents=True)
    (sshd.bin / "trioet").rename(place / "trioet")
    (sshd.bin / "etterminal").unlink()

    report = doctor(far_side)

    assert report.failed == ["program"]
    assert report["program"]["fix"] == f"say where it is: --terminal-path {place}/trioet"
    assert doctor(far_side, "--terminal-path", f"{place}/trioet").failed == []


def test_a_host_with_nothing_is_told_how_to_install_it(sshd: Sshd, far_side: FarSide) -> None:
    (sshd.bin / "trioet").unlink()
    (sshd.bin / "etterminal").unlink()

    report = doctor(far_side)

    assert report.failed == ["program"]
    assert report["program"]["command"].endswith("ssh_config farside")
    assert report["terminfo"]["outcome"] == "ok"
    assert report["clock"]["outcome"] == "ok"


def test_an_older_version_is_told_and_what_can_be_looked_at_is(far_side: FarSide) -> None:
    script = '[ "$1" = --version ] && echo trioet 0.0.9 && exit; echo "invalid choice" >&2; exit 2'
    far_side.sshd.put_program("trioet", script)
    port = free_ports(1)[0]

    report = doctor(far_side, "-p", str(port))

    assert report.failed == []
    assert report.warned == ["version"]
    assert report["version"]["facts"]["there"] == "0.0.9"
    assert report.skipped == ["runtime", "linger", "keeper", "router", "mtu"]
    assert report["port"]["facts"]["reached"] == "refused"


def test_a_program_that_does_not_run_says_why(far_side: FarSide) -> None:
    far_side.sshd.put_program("trioet", "echo ModuleNotFoundError: no trio >&2; exit 1")

    report = doctor(far_side)

    assert report.failed == ["program"]
    assert "ModuleNotFoundError: no trio" in report["program"]["what"]


def test_a_keeper_that_cannot_start(far_side: FarSide) -> None:
    """Its libraries are not all there: what `trioet terminal` does without."""
    place = far_side.sshd.home
    (place / "nacl.py").write_text("raise ImportError('libsodium is missing')\n")
    script = (far_side.sshd.bin / "trioet").read_text()
    far_side.sshd.put_program("trioet", script.replace("PYTHONPATH=", f"PYTHONPATH={place}:"))

    report = doctor(far_side)

    assert report.failed == ["keeper"]
    assert "libsodium is missing" in report["keeper"]["what"]
    assert report.skipped == ["port", "mtu"]


def test_an_et_host_needs_its_server(sshd: Sshd, far_side: FarSide) -> None:
    (sshd.bin / "trioet").unlink()
    sshd.put_program("etterminal", "echo et version 6.2.9")
    port = free_ports(1)[0]

    report = doctor(far_side, "-p", str(port))

    assert report.failed == ["port"]
    assert report.warned == ["program"]
    assert "systemctl start et" in report["port"]["command"]


def test_a_runtime_directory_that_is_open_to_others(far_side: FarSide) -> None:
    far_side.runtime_dir.chmod(0o755)

    report = doctor(far_side)

    assert report.failed == ["runtime"]
    assert f"chmod 700 {far_side.runtime_dir}" in report["runtime"]["command"]
    assert report.skipped == ["keeper", "port", "mtu"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_runtime_directory_of_somebody_else(far_side: FarSide) -> None:
    os.chown(far_side.runtime_dir, 65534, 65534)
    try:
        report = doctor(far_side)
    finally:
        os.chown(far_side.runtime_dir, 0, 0)

    assert report.failed == ["runtime"]
    assert report["runtime"]["facts"]["owner"] == 65534
    assert f"chown -R root {far_side.runtime_dir}" in report["runtime"]["command"]


def test_a_terminal_that_is_not_known_there(far_side: FarSide) -> None:
    report = doctor(far_side, TERM="doctors-own")

    assert report.status == 0
    assert report.warned == ["terminfo"]
    assert report["terminfo"]["facts"]["term"] == "doctors-own"


def test_a_host_key_that_has_changed(sshd: Sshd, far_side: FarSide) -> None:
    other = sshd.user_key_path.with_suffix(".pub").read_text()
    sshd.known_hosts_path.write_text(f"[127.0.0.1]:{sshd.port} {other}")

    report = doctor(far_side)

    assert report.failed == ["login"]
    assert "is not the one known" in report["login"]["what"]
    fix = f"ssh-keygen -R '[127.0.0.1]:{sshd.port}' -f {sshd.known_hosts_path}"
    assert report["login"]["command"] == fix
    # The command does what it says.
    subprocess.run(shlex.split(fix), check=True, capture_output=True)
    assert "is not known here" in doctor(far_side)["login"]["what"]


def test_a_login_that_is_refused(sshd: Sshd, far_side: FarSide) -> None:
    (sshd.directory / "authorized_keys").write_text("")

    report = doctor(far_side)

    assert report.failed == ["login"]
    assert "it accepts publickey" in report["login"]["what"]
    assert "authorized_keys" in report["login"]["fix"]
    assert report.skipped == [
        step for step in STEPS if step not in ("config", "name", "login", "agent")
    ]


def test_no_sshd_where_it_should_be(far_side: FarSide) -> None:
    report = doctor(far_side, "-o", f"Port={free_ports(1)[0]}")

    assert report.failed == ["login"]
    assert "Connection refused" in report["login"]["what"]


def test_a_name_that_does_not_resolve(far_side: FarSide) -> None:
    report = doctor(far_side, "-o", "HostName=nosuch.invalid")

    assert report.failed == ["name"]
    assert "nosuch.invalid" in report["name"]["what"]
    assert "login" in report.skipped


def test_a_configuration_that_ssh_rejects(far_side: FarSide) -> None:
    report = doctor(far_side, "-o", "NoSuchWord=yes")

    assert report.failed == ["config"]
    assert "ssh -G -F" in report["config"]["command"]


class WebServer(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def web_server() -> Iterator[int]:
    server = http.server.HTTPServer(("127.0.0.1", 0), WebServer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_something_else_on_the_port(far_side: FarSide) -> None:
    far_side.start_router()
    with web_server() as port:
        report = doctor(far_side, "-p", str(port))

    assert report.failed == ["port"]
    assert "something else answers" in report["port"]["what"]
    assert "<!DOCTYPE HTML>" in report["port"]["what"]


def test_of_several_ports_one_will_do(far_side: FarSide) -> None:
    router = far_side.start_router()
    with web_server() as port:
        report = doctor(far_side, "-p", f"{port},{router}")

    assert report.failed == []
    wrong, right = (item for item in report.steps if item["step"] == "port")
    assert (wrong["facts"]["port"], wrong["outcome"]) == (port, "warning")
    assert wrong["fix"] == "none needed: another port works"
    assert right["facts"]["port"] == router
    assert right["outcome"] in ("ok", "warning"), "a router that has just started answers later"


def test_sshd_on_the_port(far_side: FarSide) -> None:
    far_side.start_router()
    report = doctor(far_side, "-p", str(far_side.sshd.port))

    assert report.failed == ["port"]
    assert "SSH-2.0" in report["port"]["what"]
    assert "never sshd's" in report["port"]["fix"]


def doctor_in(network: Network, far_side: FarSide, address: str, *arguments: str) -> Report:
    """Look from within the network; ssh gets "there" by an sshd on its stdin, beside us."""
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    proxy = f"ProxyCommand={sshd} -i -f {far_side.sshd.directory}/sshd_config"
    options = ("-o", proxy, "-o", f"HostName={address}", "-o", "HostKeyAlias=it")
    key = far_side.sshd.host_key_path.with_suffix(".pub").read_text()
    far_side.sshd.known_hosts_path.write_text(f"it {key}")
    config = str(far_side.sshd.ssh_config_path)
    command = [sys.executable, "-m", "trioet.cli.main", "doctor", "-F", config, *options]
    done = subprocess.run(
        [*network.ours, *command, "--json", *arguments, "farside"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=far_side.environment,
        timeout=100,
        check=False,
    )
    return Report(done)


@pytest.mark.parametrize(
    ("address", "reached", "word"),
    [("192.0.2.3", "dropped", "drops"), ("192.0.2.1", "refused", "rejects")],
)
def test_a_firewall_before_the_port(
    far_side: FarSide, network: Network, address: str, reached: str, word: str
) -> None:
    report = doctor_in(network, far_side, address)

    assert report.failed == ["port"]
    assert report["port"]["facts"]["reached"] == reached
    assert report["port"]["facts"]["address"] == address
    assert word in report["port"]["what"]
    assert f"open TCP port {report['port']['facts']['port']}" in report["port"]["fix"]
    assert "sessions go through ssh" in report["port"]["fix"]
    assert report.skipped == ["mtu"]


def test_a_network_that_swallows_large_packets(far_side: FarSide, network: Network) -> None:
    network.swallow_large_packets()
    check = [sys.executable, "-m", "trioet.cli.main", "check", "--stand-in=2022"]
    with subprocess.Popen(
        [*network.theirs, *check],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=far_side.environment,
    ) as theirs:
        assert theirs.stdout is not None
        assert theirs.stdout.readline()

        report = doctor_in(network, far_side, "192.0.2.1", "-p", "2022")

        assert theirs.stdin is not None
        theirs.stdin.close()
    assert report.failed == ["mtu"]
    assert "a black hole for MTU 1500" in report["mtu"]["what"]


def test_without_a_host_this_machine_is_looked_at(far_side: FarSide) -> None:
    port = far_side.start_router()
    command = [sys.executable, "-m", "trioet.cli.main", "doctor", "--json"]
    done = subprocess.run(
        command, capture_output=True, env=far_side.environment, timeout=60, check=False
    )
    report = Report(done)

    assert report.fields["host"] is None
    assert report["router"]["facts"]["port"] == port
    assert [item["step"] for item in report.steps] == [
        *("ssh", "runtime", "linger", "keeper", "router", "port", "mtu", "terminfo", "agent")
    ]


@pytest.mark.parametrize("ports", ["4711", "4711,4712"])
def test_the_errors_of_connect_lead_to_the_doctor(
    sshd: Sshd, far_side: FarSide, ports: str
) -> None:
    (sshd.directory / "authorized_keys").write_text("")

    done = far_side.run("-p", ports)

    config = sshd.ssh_config_path
    assert f"`trioet doctor -F {config} -p {ports} farside` looks for" in done.stderr.decode()


def use_shell(sshd: Sshd, name: str) -> None:
    """Make it the login shell."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    start = f'SHELL={program} exec {program} -c "$SSH_ORIGINAL_COMMAND"'
    sshd.use_login_shell(start)
