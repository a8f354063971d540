"""The besiegers: everything that strangers can do to a server's port and local sockets.

A process of its own, niced, for it shares the machine with the user whom it besieges:

    python -m proof.attacks < plan.json

It does what the plan says at the plan's rates, says at the end, in JSON, how it was
received, and then keeps its connections open until its stdin is closed. One seed decides
everything random.
"""

from __future__ import annotations

import array
import json
import os
import pwd
import random
import resource
import socket
import string
import struct
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Final

import trio

from trioet.errors import PeerError
from trioet.wire.framing import HANDSHAKE_LENGTH, handshake_frame, packet_frame
from trioet.wire.handshake import Handshake, connect_request_frame, sequence_header_frame
from trioet.wire.messages import ConnectRequest, ConnectResponse, ConnectStatus

RATES: Final = {
    "garbage": 100.0,
    "idle": 100.0,
    "dribble": 20.0,
    "takeover": 100.0,
    "replay": 20.0,
    "local": 50.0,
}
"""How many of each are begun a second. On two shared cores about 300 connections a second leave
the user a server that has work, but not a machine without processor time."""

DRIBBLE_EVERY_S: Final = 9.0
DRIBBLERS: Final = 64
"""They come back whenever they are dropped."""

COMES_BACK_S: Final = 1.0
CHURNED: Final = 1800
"""Client ids that a hostile local process registers at once."""

PATIENCE_S: Final = 5.0
"""How long an attacker that has said its piece waits for what it gets."""

NICENESS: Final = 10
_BIND_ADDRESS_NO_PORT: Final = 24
"""linux/in.h, IP_BIND_ADDRESS_NO_PORT: so that 28,000 local ports are for each source."""

HUGE: Final = 128 * 1024 * 1024
ALPHABET: Final = string.ascii_letters + string.digits
TLS_HELLO: Final = bytes.fromhex("16030100c8010000c40303") + bytes(range(32)) + b"\0" * 160
HTTP: Final = b"GET / HTTP/1.1\r\nHost: example\r\nUser-Agent: siege\r\n\r\n"
SSH: Final = b"SSH-2.0-OpenSSH_9.2\r\n" + b"\0\0\x05\xdc\x06\x14" + bytes(1500)


@dataclass
class Plan:
    """What is to be done, to whom, from where."""

    port: int
    seed: int
    sources: list[str]
    """Addresses to come from, in 127/8."""
    counts: dict[str, int]
    """How many of each kind of :data:`RATES`."""
    client_ids: list[str] = field(default_factory=list)
    """Of live sessions: what an eavesdropper knows."""
    recordings: list[str] = field(default_factory=list)
    """What their clients said, in hexadecimal."""
    router_socket: str = ""
    keeper_socket: str = ""
    as_nobody: bool = False
    """Whether local attacks come from another user, which takes root."""


class Attackers:
    """All of them, in one nursery."""

    def __init__(self, plan: Plan) -> None:
        self.outcomes: Counter[str] = Counter()
        """Kind of attack, and how it was received -> how often."""
        self._plan = plan
        self._rng = random.Random(plan.seed)
        self._nonsense = 0
        self._local_paths = _reachable(plan.router_socket, plan.keeper_socket)

    async def run(self, finished: Callable[[], None]) -> None:
        """Attack as planned, then call ``finished`` and hold what is open until cancelled."""
        kinds: dict[str, Callable[[int], Awaitable[None]]] = {
            "garbage": self._garbage,
            "idle": self._idle,
            "dribble": self._dribble,
            "takeover": self._take_over,
            "replay": self._replay,
            "local": self._abuse_locally,
        }
        async with trio.open_nursery() as holders:
            async with trio.open_nursery() as planners:
                for kind, count in self._plan.counts.items():
                    planners.start_soon(self._begin, kind, kinds[kind], count, holders)
            await trio.sleep(PATIENCE_S)
            finished()

    async def _begin(
        self,
        kind: str,
        attack: Callable[[int], Awaitable[None]],
        count: int,
        holders: trio.Nursery,
    ) -> None:
        begun = trio.current_time()
        for number in range(count):
            await trio.sleep_until(begun + number / RATES[kind])
            holders.start_soon(self._one, kind, attack, number)

    async def _one(self, kind: str, attack: Callable[[int], Awaitable[None]], number: int) -> None:
        try:
            await attack(number)
        except OSError as error:
            self.outcomes[f"{kind}: {os.strerror(error.errno or 0)}"] += 1
        except trio.BrokenResourceError:
            self.outcomes[f"{kind}: cut off"] += 1

    async def _connect(self) -> trio.SocketStream:
        sock = trio.socket.socket()
        try:
            sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            await sock.bind((self._rng.choice(self._plan.sources), 0))
            await sock.connect(("127.0.0.1", self._plan.port))
        except BaseException:
            sock.close()
            raise
        return trio.SocketStream(sock)

    # Strangers

    async def _garbage(self, number: int) -> None:
        stream = await self._connect()
        async with stream:
            said = garbage(self._rng, number, self._an_id())
            await stream.send_all(said)
            match self._rng.randrange(4):
                case 0:
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.outcomes["garbage: left with RST"] += 1
                case 1:
                    self.outcomes["garbage: left"] += 1
                case _:
                    await self._await_answer("garbage", stream)

    async def _idle(self, number: int) -> None:
        stream = await self._connect()
        async with stream:
            self.outcomes["idle: connected"] += 1
            with suppress(trio.BrokenResourceError):
                await stream.receive_some(1)
            self.outcomes["idle: dropped"] += 1
            await trio.sleep_forever()  # and keeps the socket, as one who does not care

    async def _dribble(self, number: int) -> None:
        said = connect_request_frame(ConnectRequest(self._an_id()))
        while True:
            stream = await self._connect()
            async with stream:
                with suppress(trio.BrokenResourceError):
                    for byte in said:
                        await stream.send_all(bytes((byte,)))
                        with trio.move_on_after(DRIBBLE_EVERY_S):
                            await stream.receive_some(1)
                            break
                self.outcomes["dribble: dropped"] += 1
            await trio.sleep(COMES_BACK_S)

    def _an_id(self) -> bytes:
        return "".join(self._rng.choices(ALPHABET, k=16)).encode()

    async def _await_answer(self, kind: str, stream: trio.SocketStream) -> None:
        with trio.move_on_after(PATIENCE_S) as patience:
            data = await stream.receive_some(4096)
            answer = "closed" if not data else "answered"
            while data:
                data = await stream.receive_some(4096)
            self.outcomes[f"{kind}: {answer}"] += 1
        if patience.cancelled_caught:
            self.outcomes[f"{kind}: still open after {PATIENCE_S:g} s"] += 1

    # Those who have listened

    async def _take_over(self, number: int) -> None:
        rng = self._rng
        client_id = rng.choice(self._plan.client_ids).encode()
        stream = await self._connect()
        async with stream:
            await stream.send_all(connect_request_frame(ConnectRequest(client_id)))
            status = await _status(stream)
            if status is not ConnectStatus.RETURNING_CLIENT:
                self.outcomes[f"takeover: {status.name if status else 'no answer'}"] += 1
                return
            received = rng.choice([0, 1, 2, rng.randrange(1000), 2**31 - 1])
            await stream.send_all(sequence_header_frame(received) + false_catch_up(rng))
            for _ in range(3):
                await stream.send_all(false_packet(rng))
            await self._await_answer("takeover", stream)

    async def _replay(self, number: int) -> None:
        stream = await self._connect()
        async with stream:
            await stream.send_all(bytes.fromhex(self._rng.choice(self._plan.recordings)))
            await self._await_answer("replay", stream)

    # Local users

    async def _abuse_locally(self, number: int) -> None:
        path = self._local_paths[number % len(self._local_paths)]
        if path.kind is socket.SOCK_STREAM:
            await self._abuse_keeper(path.name)
            return
        abuses = (
            self._say_nonsense,
            self._squat,
            self._churn,
            self._give_descriptors,
            self._never_finish,
        )
        turn = number // len(self._local_paths)
        sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with sock:
            await sock.connect(path.name)
            await abuses[turn % len(abuses)](sock)
            await self._listen(sock)

    async def _listen(self, sock: trio.socket.SocketType) -> None:
        with trio.move_on_after(0.5) as patience:
            while await sock.recv(65536):
                pass
            self.outcomes["local: closed"] += 1
        if patience.cancelled_caught:
            self.outcomes["local: kept"] += 1

    async def _never_finish(self, sock: trio.socket.SocketType) -> None:
        with trio.move_on_after(2 * PATIENCE_S):
            await sock.recv(1)

    async def _say_nonsense(self, sock: trio.socket.SocketType) -> None:
        kinds = (
            b"[" * 16000,
            self._rng.randbytes(self._rng.randint(1, 4096)),
            b'{"v":' * 2000,
            b'{"add":' + b"9" * 10000 + b"}",
            b'{"add":"abc"}',
            b'{"add":[1,null,{}]}',
            b'{"add":["' + b"a" * 9000 + b'"]}',
            b'{"remove":["../../etc"]}\n' + bytes(4000),
            b'{"arrival":"x","replay_memory":-1,"port":"x"}',
            b"{}" + bytes(64 * 1024),
        )
        said = kinds[self._nonsense % len(kinds)]
        self._nonsense += 1
        await sock.send(said)

    async def _squat(self, sock: trio.socket.SocketType) -> None:
        ids = self._plan.client_ids or ["0" * 16]
        await _tell(sock, add=ids)
        await _tell(sock, remove=ids)

    async def _churn(self, sock: trio.socket.SocketType) -> None:
        # Short names, so that many fit a message. One's own user has an allowance to lose.
        count = CHURNED if self._plan.as_nobody else CHURNED // 20
        names = ["".join(self._rng.choices(ALPHABET, k=4)) for _ in range(count)]
        await _tell(sock, add=names)
        if self._rng.random() < 0.5:
            await _tell(sock, remove=names)

    async def _give_descriptors(self, sock: trio.socket.SocketType) -> None:
        rights = array.array("i", [sock.fileno()] * 2)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
        await sock.sendmsg([b'{"v":1}'], ancillary)

    async def _abuse_keeper(self, path: str) -> None:
        sock = trio.socket.socket(socket.AF_UNIX)
        with sock:
            await sock.connect(path)
            stream = trio.SocketStream(sock)
            said = self._rng.choice(
                [b"", self._rng.randbytes(3000), b"do=open\0id=x\0", b"env=x\0" * 50_000]
            )
            await stream.send_all(said)
            if self._rng.random() < 0.5:
                await stream.send_eof()
            await self._await_answer("local keeper", stream)


def garbage(rng: random.Random, number: int, client_id: bytes) -> bytes:
    """What somebody says who is no client; each kind in its turn."""
    length = HANDSHAKE_LENGTH.pack
    request = connect_request_frame(ConnectRequest(client_id))
    kinds = (
        b"",
        rng.randbytes(rng.randint(1, 4096)),
        length(-rng.randint(1, 2**40)) + rng.randbytes(20),
        length(0),
        length(HUGE) + rng.randbytes(1024),
        length(2**63 - 1),
        length(4096) + rng.randbytes(rng.randint(0, 4095)),
        handshake_frame(rng.randbytes(rng.randint(1, 64))),
        handshake_frame(b"\x0a\x10" + client_id + b"\x10" + bytes((rng.randrange(127),))),
        request,
        request + rng.randbytes(64 * 1024),
        request[: rng.randrange(len(request))],
        sequence_header_frame(rng.randrange(2**31)),
        packet_frame(b"\x01\x01" + rng.randbytes(64)),
        TLS_HELLO,
        HTTP,
        SSH,
    )
    return kinds[number % len(kinds)]


def false_catch_up(rng: random.Random) -> bytes:
    """A CatchupBuffer of somebody who lacks the key."""
    match rng.randrange(4):
        case 0:
            body = b""
        case 1:
            body = b"".join(b"\x0a\x20\x01\x01" + rng.randbytes(30) for _ in range(3))
        case 2:
            body = rng.randbytes(200)
        case _:
            return HANDSHAKE_LENGTH.pack(HUGE) + b"\x0a"
    return handshake_frame(body)


def false_packet(rng: random.Random) -> bytes:
    """A packet that no key has sealed."""
    match rng.randrange(6):
        case 0:
            return rng.randbytes(4) + rng.randbytes(40)
        case 1:
            return b"\0\0\0\0"
        case 2:
            return packet_frame(b"\x00\x01" + rng.randbytes(40))
        case 3:
            return packet_frame(b"\x01\x01" + rng.randbytes(3))
        case _:
            return packet_frame(bytes((1, rng.randrange(256))) + rng.randbytes(40))


async def _status(stream: trio.SocketStream) -> ConnectStatus | None:
    """What the server answers to a ConnectRequest; None if nothing, in PATIENCE_S."""
    handshake = Handshake.client()
    with trio.move_on_after(PATIENCE_S), suppress(PeerError):
        while data := await stream.receive_some(4096):
            for event in handshake.feed(data):
                if isinstance(event, ConnectResponse):
                    return event.status
    return None


async def _tell(sock: trio.socket.SocketType, **fields: list[str]) -> None:
    await sock.send(json.dumps({"v": 1, **fields}, separators=(",", ":")).encode())


@dataclass(frozen=True)
class _Door:
    kind: socket.SocketKind
    name: str


def _reachable(router_socket: str, keeper_socket: str) -> list[_Door]:
    """Names of the local sockets by which another user reaches them, too.

    Through a descriptor, for the directories of a test are private; the sockets' own
    permissions count all the same (proc(5), unix(7)).
    """
    doors = []
    for kind, path in (
        (socket.SOCK_SEQPACKET, router_socket),
        (socket.SOCK_STREAM, keeper_socket),
    ):
        if path:
            descriptor = os.open(path, os.O_PATH)
            doors.append(_Door(kind, f"/proc/self/fd/{descriptor}"))
    return doors


def become_nobody() -> None:
    """Have no rights but those of any local user."""
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setresgid(nobody.pw_gid, nobody.pw_gid, nobody.pw_gid)
    os.setresuid(nobody.pw_uid, nobody.pw_uid, nobody.pw_uid)


async def attack(attackers: Attackers) -> None:
    """Attack until stdin is closed; say on stdout how it went so far when all is done."""

    def finished() -> None:
        sys.stdout.write(json.dumps(attackers.outcomes) + "\n")
        sys.stdout.flush()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attackers.run, finished)
        await trio.lowlevel.wait_readable(0)
        nursery.cancel_scope.cancel()


def main() -> None:
    """Attack as the plan on stdin says; its first line is the plan."""
    os.nice(NICENESS)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    plan = Plan(**json.loads(_read_line()))
    attackers = Attackers(plan)
    if plan.as_nobody:
        become_nobody()
    trio.run(attack, attackers)


def _read_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        if not (byte := os.read(0, 65536)):
            break
        line += byte
    return line


def as_json(plan: Plan) -> bytes:
    """A plan as it goes to the process."""
    return json.dumps(asdict(plan)).encode() + b"\n"


if __name__ == "__main__":
    main()
