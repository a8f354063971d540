"""Whole sessions through jumphosts: real sshd, keepers and routers, some of each per host."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from jumphosts import DESTINATION, Journey, journey
from keepers import end_keepers, keepers_in
from ptys import at_terminal
from trioet.demo.cutter import Cutter
from waiting import until

pytestmark = pytest.mark.e2e


@pytest.fixture
def through_one(tmp_path: Path, runtime_dir: Path) -> Iterator[Journey]:
    with journey(tmp_path, runtime_dir, "a") as made:
        yield made


@pytest.mark.parametrize("hops", [("a",), ("a", "b"), ("a", "b", "c")])
def test_a_chain_that_needs_no_server_and_one_login_for_each_host(
    tmp_path: Path, runtime_dir: Path, hops: tuple[str, ...]
) -> None:
    data = bytes(range(256)) * 4000
    with journey(tmp_path, runtime_dir, *hops) as way:
        done = way.run("--jump", ",".join(hops), "--", "cat; echo oops >&2; exit 3", stdin=data)
        assert (done.returncode, done.stdout, done.stderr) == (3, data, b"oops\n")
        assert {name: host.sshd.logins for name, host in way.hosts.items()} == dict.fromkeys(
            (*hops, DESTINATION), 1
        )
        assert os.listdir(way.config.parent) == ["ssh_config"], "nothing is left"
        for name in hops:
            assert "relay to 127.0.0.1" in way.hosts[name].keeper_log()
            assert "session" not in way.hosts[name].keeper_log()


def test_routers_serve_relays_as_they_serve_sessions(through_one: Journey) -> None:
    """With the options that real ET has for it."""
    port = through_one.hosts["a"].start_router()
    through_one.destination.start_router()
    socket = str(through_one.hosts["a"].runtime_dir / "router.sock")
    arguments = ("--jumphost", "a", "--jport", str(port), "--jserverfifo", socket)
    assert through_one.run(*arguments, "--", "echo hi").stdout == b"hi\n"
    refused = through_one.complaint("--jumphost", "a", "--jserverfifo", "/no/such/socket")
    assert "no trioet server listens at /no/such/socket" in refused


def test_the_jumphosts_of_sshs_configuration_if_so_wished(through_one: Journey) -> None:
    assert through_one.run("--jump", "auto", "--", "echo there is none").returncode == 0
    assert not (through_one.hosts["a"].runtime_dir / "keeper.log").exists()
    through_one.configure(DESTINATION, "ProxyJump a")
    assert through_one.run("--jump", "auto", "--", "echo hi").stdout == b"hi\n"
    assert "relay to" in through_one.hosts["a"].keeper_log()
    assert through_one.hosts["a"].sshd.logins == 1
    through_one.configure("*", "NoSuchWord yes")
    assert "ssh rejects its configuration" in through_one.complaint("--jump", "auto")


def test_without_the_wish_they_are_sshs_own_business(through_one: Journey) -> None:
    through_one.configure(DESTINATION, "ProxyJump a")
    assert through_one.run("--", "echo hi").stdout == b"hi\n"
    assert not (through_one.hosts["a"].runtime_dir / "keeper.log").exists()


async def test_a_jumphost_that_hangs_keeps_nobody_who_goes(
    through_one: Journey, tmp_path: Path
) -> None:
    """Nor the terminal, which a connection of ssh's would hold."""
    hangs = tmp_path / "hangs"
    through_one.hosts["a"].sshd.put_program("trioet", f"echo $$ >{hangs}; exec sleep 1000")
    command = through_one.connect("--jump", "a")
    async with at_terminal(command, through_one.environment) as person:
        await until(lambda: hangs.exists() and hangs.read_text())
        os.kill(person.process.pid, signal.SIGTERM)
        await person.until(b"trioet: ended by SIGTERM")
        try:
            assert await person.end() == 255
        finally:
            os.kill(int(hangs.read_text()), signal.SIGKILL)
    assert os.listdir(through_one.config.parent) == ["ssh_config"]


async def test_a_session_outlives_the_jumphosts_keeper(through_one: Journey) -> None:
    """Whose relays are gone with it: ssh is asked again, and asks nothing."""
    hop = through_one.hosts["a"]
    command = through_one.connect("--jump", "a")
    async with at_terminal(command, through_one.environment) as person:
        await person.run(b"mine=42")
        (keeper,) = keepers_in(hop.runtime_dir)
        os.kill(keeper, signal.SIGKILL)
        assert await person.run(b"echo $mine") == b"42\r\n"
        assert keepers_in(hop.runtime_dir) not in ([], [keeper])
        await person.type(b"exit\n")
        assert await person.end() == 0


async def test_the_user_is_told_who_cannot_reach_whom(through_one: Journey) -> None:
    destination = through_one.destination
    port = destination.start_router()
    async with trio.open_nursery() as nursery:
        cutter = Cutter(through_one.hosts["a"].start_router())
        near = await nursery.start(cutter.serve)
        command = through_one.connect("--jump", "a", "--jport", str(near))
        async with at_terminal(command, through_one.environment, 24, 160) as person:
            await person.run(b"mine=42")
            destination.stop_router()
            cutter.cut()
            said = f"(a cannot reach 127.0.0.1 port {port}: connection refused)"
            await person.until(said.encode())
            destination.start_router(port)
            assert await person.run(b"echo $mine") == b"42\r\n"
            await person.type(b"exit\n")
            assert await person.end() == 0
        nursery.cancel_scope.cancel()


async def test_no_passkey_comes_to_a_jumphost(through_one: Journey, tmp_path: Path) -> None:
    """Neither on stdin nor stdout of what ssh runs there, nor in its arguments, nor the keeper."""
    copies = {name: tmp_path / f"{name}-copy" for name in through_one.hosts}
    for name, host in through_one.hosts.items():
        script = (host.sshd.bin / "trioet").read_text().partition("\n")[2]
        host.sshd.put_program("trioet-real", script)
        copy = copies[name]
        host.sshd.put_program(
            "trioet", f'echo "$@" >>{copy}; tee -a {copy} | trioet-real "$@" | tee -a {copy}'
        )
    command = through_one.connect("--jump", "a")
    async with at_terminal(command, through_one.environment) as person:
        await person.run(b"true")
        said = copies[DESTINATION].read_bytes()
        keys = re.findall(rb"(?<!\w)(\w{16})/(\w{32})", said)
        assert len(keys) == 2, "what was asked for, and what was given"
        at_hop = copies["a"].read_bytes()
        assert at_hop.startswith(b"terminal --relay\n127.0.0.1 ")
        for client_id, passkey in keys:
            assert client_id not in at_hop
            assert passkey not in at_hop
        await person.type(b"exit\n")
        await person.end()


# Without an ssh program


def without_ssh(way: Journey) -> Journey:
    """There is none on its PATH, so all is done by asyncssh."""
    way.environment["PATH"] = str(way.config.parent)
    return way


@pytest.mark.parametrize("hops", [("a",), ("a", "b", "c")])
def test_a_chain_by_asyncssh(tmp_path: Path, runtime_dir: Path, hops: tuple[str, ...]) -> None:
    """With one login more for each jumphost: asyncssh shares none with the destination's."""
    data = bytes(range(256)) * 4000
    with journey(tmp_path, runtime_dir, *hops) as way:
        arguments = ("--ssh-backend", "asyncssh", "--via", "direct", "--jump", ",".join(hops))
        done = way.run(*arguments, "--", "cat; echo oops >&2; exit 3", stdin=data)
        assert (done.returncode, done.stdout, done.stderr) == (3, data, b"oops\n")
        assert {name: host.sshd.logins for name, host in way.hosts.items()} == {
            **dict.fromkeys(hops, 2),
            DESTINATION: 1,
        }
        for name in hops:
            assert "relay to 127.0.0.1" in way.hosts[name].keeper_log()


def test_without_an_ssh_program_jumphosts_are_reached_too(through_one: Journey) -> None:
    way = without_ssh(through_one)
    assert way.run("--via", "direct", "--jump", "a", "--", "echo hi").stdout == b"hi\n"
    assert way.run("--via", "ssh", "--jump", "a", "--", "echo hi").stdout == b"hi\n"
    logins = way.hosts["a"].sshd.logins
    way.configure(DESTINATION, "ProxyJump a")
    done = way.run("--via", "direct", "--jump", "auto", "--", "echo hi")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hi\n", b"")
    assert way.hosts["a"].sshd.logins == logins + 2


async def test_by_asyncssh_a_session_outlives_the_jumphosts_keeper(through_one: Journey) -> None:
    hop = through_one.hosts["a"]
    command = through_one.connect("--ssh-backend", "asyncssh", "--via", "direct", "--jump", "a")
    async with at_terminal(command, through_one.environment) as person:
        await person.run(b"mine=42")
        (keeper,) = keepers_in(hop.runtime_dir)
        os.kill(keeper, signal.SIGKILL)
        assert await person.run(b"echo $mine") == b"42\r\n"
        assert keepers_in(hop.runtime_dir) not in ([], [keeper])
        await person.type(b"exit\n")
        assert await person.end() == 0


def test_by_asyncssh_what_a_jumphost_does_not_relay_goes_through_ssh(through_one: Journey) -> None:
    for program in ("trioet", "etterminal"):
        (through_one.hosts["a"].sshd.bin / program).unlink()
    done = through_one.run("--ssh-backend", "asyncssh", "--jump", "a", "--", "echo hi")
    assert (done.returncode, done.stdout) == (0, b"hi\n")
    said = b"trioet: trioet was not found on the jumphost a: the session goes through ssh\n"
    assert done.stderr == said


def test_by_asyncssh_a_jumphost_that_cannot_be_reached_is_named(
    through_one: Journey, free_tcp_port: int
) -> None:
    text = through_one.complaint("--ssh-backend", "asyncssh", "--jump", f"a:{free_tcp_port}")
    assert f"a (127.0.0.1 port {free_tcp_port}) cannot be reached: Connection refused" in text
    through_one.hosts["a"].start_router(0, "--no-relay")
    text = through_one.complaint("--ssh-backend", "asyncssh", "--jump", "a")
    assert "a: relaying is switched off on this machine" in text


# What is done where a jumphost does not relay


def test_what_a_jumphost_does_not_relay_goes_through_ssh(through_one: Journey) -> None:
    for program in ("trioet", "etterminal"):
        (through_one.hosts["a"].sshd.bin / program).unlink()
    done = through_one.run("--jump", "a", "--", "echo hi")
    assert (done.returncode, done.stdout) == (0, b"hi\n")
    said = b"trioet: trioet was not found on the jumphost a: the session goes through ssh\n"
    assert done.stderr == said
    assert through_one.hosts["a"].sshd.logins == 1


def test_a_relay_that_leads_nowhere_is_gone_around_by_ssh(
    through_one: Journey, free_tcp_port: int
) -> None:
    through_one.destination.start_router()
    done = through_one.run("--jump", "a", "-p", str(free_tcp_port), "--", "echo hi")
    assert (done.returncode, done.stdout) == (0, b"hi\n")
    assert b"cannot be reached through a: the session goes through ssh" in done.stderr
    assert b"`trioet doctor --jump a db1` looks why" in done.stderr


@pytest.mark.parametrize("backend", ["openssh", "asyncssh"])
def test_a_jumphost_that_has_only_ets_programs_is_used_as_et_does(
    through_one: Journey, backend: str
) -> None:
    programs = through_one.hosts["a"].sshd.bin
    script = (programs / "trioet").read_text().replace('"$@"', 'terminal "$@"')
    (programs / "trioet").unlink()
    through_one.hosts["a"].sshd.put_program("etterminal", script.partition("\n")[2])
    done = through_one.run("--ssh-backend", backend, "--jump", "a", "--", "echo hi")
    assert (done.returncode, done.stdout) == (0, b"hi\n")
    assert b"a has Eternal Terminal's kind of jumphost, which reads the session" in done.stderr


# What goes wrong, and what is said, where ssh is not to carry the session


def test_a_jumphost_without_trioet_is_named(through_one: Journey) -> None:
    for program in ("trioet", "etterminal"):
        (through_one.hosts["a"].sshd.bin / program).unlink()
    text = through_one.complaint("--jump", "a")
    assert "trioet was not found on the jumphost a" in text
    assert "trioet install a" in text


def test_a_jumphost_with_an_older_trioet_is_named(through_one: Journey) -> None:
    """It takes the line for a session's."""
    hop = through_one.hosts["a"].sshd
    script = (hop.bin / "trioet").read_text().replace('"$@"', "terminal")
    hop.put_program("trioet", script.partition("\n")[2])
    assert "the trioet on the jumphost a is too old to relay" in through_one.complaint(
        "--jump", "a"
    )


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--no-relay", "a: relaying is switched off on this machine"),
        ("--relay-to=*.internal:2022", "a: no relay may lead to 127.0.0.1 port "),
    ],
)
def test_an_administrator_who_forbids_it_is_named(
    through_one: Journey, option: str, said: str
) -> None:
    through_one.hosts["a"].start_router(0, option)
    text = through_one.complaint("--jump", "a")
    assert said in text
    assert "ask its administrator" in text


def test_a_jumphost_has_trioet_where_install_puts_it_wherever_the_destination_has_it(
    through_one: Journey, tmp_path: Path
) -> None:
    hop, destination = through_one.hosts["a"].sshd, through_one.destination.sshd
    usual = hop.home / ".local" / "bin"
    usual.mkdir(parents=True)
    (hop.bin / "trioet").rename(usual / "trioet")
    odd = tmp_path / "odd" / "trioet"
    odd.parent.mkdir()
    (destination.bin / "trioet").rename(odd)
    done = through_one.run(
        *("--via", "direct", "--jump", "a", "--terminal-path", str(odd)), "--", "echo hi"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hi\n", b"")
    (usual / "trioet").unlink()
    (hop.bin / "etterminal").unlink()
    text = through_one.complaint("--jump", "a", "--terminal-path", str(odd))
    assert "on the PATH of ssh's commands or in ~/.local/bin: `trioet install a`" in text


def test_an_administrator_may_allow_some_places(through_one: Journey) -> None:
    through_one.hosts["a"].start_router(0, "--relay-to", "10.0.0.0/8", "--relay-to", "127.0.0.0/8")
    assert through_one.run("--jump", "a", "--", "echo hi").stdout == b"hi\n"


def test_a_port_that_the_jumphost_cannot_reach_is_named(
    through_one: Journey, free_tcp_port: int
) -> None:
    through_one.destination.start_router()
    text = through_one.complaint("--jump", "a", "-p", str(free_tcp_port))
    place = f"127.0.0.1 port {free_tcp_port}"
    assert f"{place} cannot be reached through a: a cannot reach {place}: " in text
    assert "connection refused" in text


def test_a_jumphost_that_ssh_cannot_reach_is_named(through_one: Journey) -> None:
    end_keepers(through_one.destination.runtime_dir)
    text = through_one.complaint("--jump", "nowhere.invalid")
    assert "nowhere.invalid" in text


async def test_ended_by_a_signal_nothing_is_left(through_one: Journey) -> None:
    command = through_one.connect("--jump", "a")
    async with at_terminal(command, through_one.environment) as person:
        await person.run(b"true")
        person.process.send_signal(signal.SIGTERM)
        assert await person.end() == 255
    await until(lambda: os.listdir(through_one.config.parent) == ["ssh_config"])
