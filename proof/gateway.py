"""The networks between a client and its server: each a NAT that can forget, and go dark.

A network is a tun(4) device in the client's namespace, and a public address that the server
sees. What goes through is carried in here, later by half a round trip, so that no more than
namespaces are asked of the kernel: neither netfilter nor netem(8). TCP over IPv4 only.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from dataclasses import dataclass, field
from typing import Final

import trio

TUN: Final = "/dev/net/tun"
_TUNSETIFF: Final = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x1, 0x1000
_SYN, _ACK = 0x2, 0x10
_FIRST_PORT: Final = 20_000
_TCP: Final = 6

Place = tuple[bytes, int]
"""An IPv4 address and a port."""


def open_tun(name: str, space: str) -> int:
    """Make a device in a namespace; return its descriptor, with which it goes.

    Raises:
      OSError: there may be none.
    """
    descriptor = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(
            descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI)
        )
        status = os.spawnlp(os.P_WAIT, "ip", "ip", "link", "set", name, "netns", space)
        if status:
            raise OSError(f"cannot move {name} to {space}")
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@dataclass
class Network:
    """One way to the server. Masks what comes from ``prefix`` as ``public``."""

    descriptor: int
    prefix: bytes
    """The first bytes of the addresses that it serves."""
    public: bytes
    dark: bool = False
    """Nothing goes through, and nobody is told."""
    _ports: dict[Place, int] = field(default_factory=dict)
    _insiders: dict[int, Place] = field(default_factory=dict)
    _next: int = _FIRST_PORT

    def forget(self) -> None:
        """Lose every mapping, as a NAT that was restarted or let them expire."""
        self._ports.clear()
        self._insiders.clear()

    def outward(self, packet: bytearray) -> bool:
        """Make it come from ``public``; False if it goes nowhere."""
        ports = _tcp_at(packet)
        source = bytes(packet[12:16])
        if self.dark or not ports or not source.startswith(self.prefix):
            return False
        inside = source, int.from_bytes(packet[ports : ports + 2])
        if inside not in self._ports:
            if packet[ports + 13] & (_SYN | _ACK) != _SYN:
                return False  # of a connection that is not known: strict NATs drop it
            self._ports[inside] = self._next
            self._insiders[self._next] = inside
            self._next += 1
        _readdress(packet, 12, ports, (self.public, self._ports[inside]))
        return True

    def inward(self, packet: bytearray) -> bool:
        """Make it go to whom it is for; False if nobody is known."""
        ports = _tcp_at(packet)
        inside = self._insiders.get(int.from_bytes(packet[ports + 2 : ports + 4]))
        if self.dark or not ports or inside is None:
            return False
        _readdress(packet, 16, ports + 2, inside)
        return True


class Gateway:
    """Carries packets between networks and the server. Counts them in ``carried``."""

    def __init__(self, server: int, networks: list[Network], one_way_s: float) -> None:
        self.carried = 0
        self._server = server
        self._networks = networks
        self._one_way_s = one_way_s

    async def run(self) -> None:
        """Carry until cancelled."""
        async with trio.open_nursery() as nursery:
            for network in self._networks:
                nursery.start_soon(self._carry_out, network)
            await self._carry_in()

    async def _carry_out(self, network: Network) -> None:
        send, receive = trio.open_memory_channel[tuple[float, bytes]](1000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._deliver, self._server, receive)
            while True:
                packet = await _read(network.descriptor)
                if network.outward(packet):
                    await self._post(send, packet)

    async def _carry_in(self) -> None:
        async with trio.open_nursery() as nursery:
            sends = {}
            for network in self._networks:
                send, receive = trio.open_memory_channel[tuple[float, bytes]](1000)
                sends[network.descriptor] = send
                nursery.start_soon(self._deliver, network.descriptor, receive)
            while True:
                packet = await _read(self._server)
                for network in self._networks:
                    if packet[16:20] == network.public and network.inward(packet):
                        await self._post(sends[network.descriptor], packet)
                        break

    async def _post(
        self, send: trio.MemorySendChannel[tuple[float, bytes]], packet: bytearray
    ) -> None:
        self.carried += 1
        await send.send((trio.current_time() + self._one_way_s, bytes(packet)))

    async def _deliver(
        self, descriptor: int, packets: trio.MemoryReceiveChannel[tuple[float, bytes]]
    ) -> None:
        async for due, packet in packets:
            await trio.sleep_until(due)
            try:
                os.write(descriptor, packet)
            except OSError:
                continue  # the device is down


async def _read(descriptor: int) -> bytearray:
    while True:
        try:
            return bytearray(os.read(descriptor, 65536))
        except BlockingIOError:
            await trio.lowlevel.wait_readable(descriptor)
        except OSError:
            await trio.sleep(0.001)  # the device is down


def _tcp_at(packet: bytearray) -> int:
    """Where its TCP header begins; 0 if it has none."""
    if len(packet) < 40 or packet[0] >> 4 != 4 or packet[9] != _TCP:
        return 0
    return (packet[0] & 15) * 4


def _readdress(packet: bytearray, address_at: int, port_at: int, place: Place) -> None:
    header = (packet[0] & 15) * 4
    address, port = place[0], place[1].to_bytes(2)
    old_address = bytes(packet[address_at : address_at + 4])
    old_port = bytes(packet[port_at : port_at + 2])
    packet[address_at : address_at + 4] = address
    packet[port_at : port_at + 2] = port
    _mend(packet, 10, old_address, address)
    _mend(packet, header + 16, old_address + old_port, address + port)


def _mend(packet: bytearray, at: int, old: bytes, new: bytes) -> None:
    """Correct a checksum for bytes that were replaced (RFC 1624)."""
    total = ~int.from_bytes(packet[at : at + 2]) & 0xFFFF
    for start in range(0, len(old), 2):
        total += ~int.from_bytes(old[start : start + 2]) & 0xFFFF
        total += int.from_bytes(new[start : start + 2])
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    packet[at : at + 2] = (~total & 0xFFFF).to_bytes(2)


def address(text: str) -> bytes:
    """An IPv4 address as it stands in packets."""
    return socket.inet_aton(text)
