"""Tunnels that cannot be had, and destinations that nobody reaches: what the user reads, and
what the application sees."""

from __future__ import annotations

import shutil
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
import trio

from farside import FarSide
from ports import free_ports
from ptys import at_terminal
from shown import output_of
from trioet.demo.cutter import Cutter
from tunnelled import carries, configure, connect_when_open, echo_server, session, socks4a, socks5
from waiting import until

pytestmark = pytest.mark.e2e

NOWHERE = "nowhere.invalid"
"""A name that never exists (RFC 6761, 6.4)."""

LINGER_NOT = struct.pack("ii", 1, 0)
"""SO_LINGER, socket(7): close with a reset."""

GOES_ON = pytest.mark.parametrize("option", ["-L", "-R"])


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which somebody listens already."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def free_and_nobody() -> tuple[int, int]:
    """Two ports that nobody listens on."""
    first, second = free_ports(2)
    return first, second


# Tunnels that cannot be had: the session goes on


@GOES_ON
async def test_a_port_in_use(far_side: FarSide, taken_port: int, option: str) -> None:
    wish = f"{taken_port}:localhost:1"
    async with session(far_side, option, wish) as person:
        why = f"cannot listen on localhost:{taken_port}: address already in use"
        await person.until(f"trioet: {option} {wish}: {why}\r\n".encode())
        assert await person.run(b"echo goes on") == b"goes on\r\n"


@GOES_ON
async def test_a_name_that_does_not_resolve(far_side: FarSide, option: str) -> None:
    wish = f"{NOWHERE}:4000:localhost:1"
    async with session(far_side, option, wish) as person:
        await person.until(f"trioet: {option} {wish}: cannot listen on {NOWHERE}:4000: ".encode())
        assert await person.run(b"echo goes on") == b"goes on\r\n"


@GOES_ON
async def test_a_privileged_port(far_side: FarSide, option: str) -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("needs setpriv (util-linux)")
    without = [setpriv, "--bounding-set", "-net_bind_service", "--inh-caps", "-net_bind_service"]
    command = far_side.connect(option, "87:localhost:1")
    if option == "-L":
        command = [*without, *command]
    else:
        program = far_side.sshd.bin / "trioet"
        script = program.read_text().replace(" exec ", f" exec {' '.join(without)} ")
        program.write_text(script)
    async with at_terminal(command, far_side.environment) as person:
        why = "permission denied (ports below 1024 need a privilege)"
        text = f"trioet: {option} 87:localhost:1: cannot listen on localhost:87: {why}\r\n"
        await person.until(text.encode())
        assert await person.run(b"echo goes on") == b"goes on\r\n"


def _file(path: Path) -> str:
    path.write_text("precious")
    return "a file is there; choose another path, or remove it"


def _directory(path: Path) -> str:
    path.mkdir()
    return "a directory is there; choose another path"


def _link(path: Path) -> str:
    path.symlink_to("elsewhere")
    return "a link is there, to elsewhere; choose another path, or remove it"


def _dead_socket(path: Path) -> str:
    with closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.bind(str(path))
    return f"a socket is there that nobody uses any more; remove it: rm {path}"


@GOES_ON
@pytest.mark.parametrize("put", [_file, _directory, _link, _dead_socket])
async def test_a_path_with_something_at_it(
    far_side: FarSide, runtime_dir: Path, option: str, put: Callable[[Path], str]
) -> None:
    path = runtime_dir / "path"
    what = put(path)
    before = path.lstat()
    wish = f"{path}:localhost:1"
    async with session(far_side, option, wish) as person:
        # The terminal is 80 wide, and the text is not folded by trioet.
        text = f"trioet: {option} {wish}: cannot listen on {path}: {what}\r\n"
        await person.until(text.encode())
        assert await person.run(b"echo goes on") == b"goes on\r\n"
        await person.type(b"exit\n")
        await person.end()
    after = path.lstat()
    assert (after.st_ino, after.st_mtime) == (before.st_ino, before.st_mtime)


@GOES_ON
async def test_a_socket_of_somebody_who_listens_is_left_alone(
    far_side: FarSide, runtime_dir: Path, option: str
) -> None:
    path = runtime_dir / "path"
    with closing(socket.socket(socket.AF_UNIX)) as other:
        other.bind(str(path))
        other.listen()
        async with session(far_side, option, f"{path}:localhost:1") as person:
            await person.until(b"a socket is there, and in use; choose another path\r\n")
            await person.type(b"exit\n")
            await person.end()
        with closing(socket.socket(socket.AF_UNIX)) as probe:
            probe.connect(str(path))


async def test_the_others_stand_beside_one_that_cannot_be_had(
    far_side: FarSide, taken_port: int, free_and_nobody: tuple[int, int]
) -> None:
    here, there = free_and_nobody
    async with echo_server() as port:
        wishes = ["-t", f"{taken_port}:{port},{here}:{port}"]
        wishes += ["-r", f"{taken_port}:{port},{there}:{port}"]
        async with session(far_side, *wishes) as person:
            for _ in wishes[::2]:
                await person.until(b": address already in use\r\n")
            await carries(here)
            await carries(there)


async def test_tunnels_leave_descriptors_to_the_session(far_side: FarSide, free_port: int) -> None:
    """Who connects to a tunnel that may have no more waits; a lost connection is replaced."""
    router = far_side.start_router()
    async with trio.open_nursery() as nursery, echo_server() as port:
        cutter = Cutter(router)
        near = await nursery.start(cutter.serve)
        connect = far_side.connect(
            "--via", "direct", "-p", str(near), "-L", f"{free_port}:localhost:{port}"
        )
        command = ["prlimit", "--nofile=64", *connect]
        async with at_terminal(command, far_side.environment) as person:
            await carries(free_port)
            async with AsyncExitStack() as many:
                for _ in range(64):
                    stream = await connect_when_open(free_port)
                    await many.enter_async_context(stream)
                cutter.cut()
                assert await person.run(b"echo goes on") == b"goes on\r\n"
            await carries(free_port)
        nursery.cancel_scope.cancel()


# ExitOnForwardFailure


@GOES_ON
@pytest.mark.parametrize("in_file", [False, True], ids=["option", "configuration"])
async def test_with_exit_on_forward_failure_there_is_no_session(
    far_side: FarSide, taken_port: int, option: str, in_file: bool
) -> None:
    setting = ["-o", "ExitOnForwardFailure=yes"]
    if in_file:
        configure(far_side, ["ExitOnForwardFailure yes"])
        setting = []
    wish = f"{taken_port}:localhost:1"
    async with session(far_side, *setting, option, wish) as person:
        text = f"{option} {wish}: cannot listen on localhost:{taken_port}: address already in use"
        before = await person.until(text.encode())
        assert output_of(before) == b"trioet: "
        assert await person.end() == 255
        assert b"ExitOnForwardFailure is set, so the session ends here" in person.seen
    await until(lambda: "over" in far_side.keeper_log())


@GOES_ON
def test_with_exit_on_forward_failure_no_command_is_run(
    far_side: FarSide, taken_port: int, tmp_path: Path, option: str
) -> None:
    setting = ["-o", "ExitOnForwardFailure=yes", option, f"{taken_port}:localhost:1"]
    ran = tmp_path / "ran"
    for options, status in ((setting, 255), ([], 0)):
        assert not ran.exists()
        done = far_side.run(*options, "--", "touch", str(ran))
        assert done.returncode == status, done.stderr
    assert ran.exists()


async def test_a_destination_that_refuses_is_no_forward_failure(
    far_side: FarSide, free_and_nobody: tuple[int, int]
) -> None:
    """As with ssh: ssh_config(5)."""
    port, nobody = free_and_nobody
    options = ["-o", "ExitOnForwardFailure=yes", "-L", f"{port}:localhost:{nobody}"]
    async with session(far_side, *options) as person:
        await resets(port)
        assert await person.run(b"echo goes on") == b"goes on\r\n"


# Destinations that nobody reaches


async def resets(where: int | Path) -> None:
    """Check that who connects there sees a reset, and neither an end nor silence."""
    async with await connect_when_open(where) as stream:
        with pytest.raises(trio.BrokenResourceError) as caught, trio.fail_after(20):
            await stream.receive_some()
        assert isinstance(caught.value.__cause__, ConnectionResetError)


@GOES_ON
async def test_a_refused_destination_is_a_reset(
    far_side: FarSide, free_and_nobody: tuple[int, int], option: str
) -> None:
    port, nobody = free_and_nobody
    async with session(far_side, option, f"{port}:localhost:{nobody}"):
        await resets(port)


@GOES_ON
async def test_a_missing_socket_and_an_unknown_host_are_resets(
    far_side: FarSide, runtime_dir: Path, free_and_nobody: tuple[int, int], option: str
) -> None:
    first, second = free_and_nobody
    wishes = [option, f"{first}:{runtime_dir}/nothing", option, f"{second}:{NOWHERE}:1"]
    async with session(far_side, *wishes):
        await resets(first)
        await resets(second)


REFUSED, NO_SUCH_HOST, REJECTED4 = 5, 4, 91


@pytest.mark.parametrize("option", ["-D", "-R"])
async def test_socks_says_why_in_its_own_codes(
    far_side: FarSide, free_and_nobody: tuple[int, int], option: str
) -> None:
    port, nobody = free_and_nobody
    async with session(far_side, option, str(port)):
        async with await connect_when_open(port) as stream:
            assert await socks5(stream, "localhost", nobody) == REFUSED
            assert await stream.receive_some() == b""
        async with await connect_when_open(port) as stream:
            assert await socks5(stream, NOWHERE, 80) == NO_SUCH_HOST
        async with await connect_when_open(port) as stream:
            assert await socks4a(stream, "localhost", nobody) == REJECTED4
        async with await connect_when_open(port) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
            with trio.fail_after(20):
                await ends(stream)


async def ends(stream: trio.SocketStream) -> None:
    try:
        while await stream.receive_some():
            pass
    except trio.BrokenResourceError:
        pass


@GOES_ON
async def test_an_application_that_resets_is_a_reset_at_the_other_end(
    far_side: FarSide, free_port: int, option: str
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        end = listener.getsockname()[1]
        accepting = trio.socket.from_stdlib_socket(listener)
        listener.setblocking(False)
        forward = f"{free_port}:localhost:{end}"
        async with (
            session(far_side, option, forward),
            await connect_when_open(free_port) as stream,
        ):
            with trio.fail_after(20):
                accepted, _ = await accepting.accept()
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
            accepted.close()
            with pytest.raises(trio.BrokenResourceError), trio.fail_after(20):
                await stream.receive_some()
