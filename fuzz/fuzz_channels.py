"""What a peer may say of channels: wire/channels.py, et_channels.py, forward_messages.py."""

from __future__ import annotations

from harness import Target, instrumented

with instrumented():
    from trioet.wire import channels as c
    from trioet.wire import forward_messages as f
    from trioet.wire.et_channels import EtChannels
    from trioet.wire.forward import Address, UnixPath, Variable
    from trioet.wire.packet import Packet, PacketType
    from trioet.wire.reach import Failure


ET_TYPES = (
    PacketType.PORT_FORWARD_DESTINATION_REQUEST,
    PacketType.PORT_FORWARD_DESTINATION_RESPONSE,
    PacketType.PORT_FORWARD_DATA,
)
WHERE = Address("localhost", 80)


def take(data: bytes) -> None:
    """The first byte says for which type of packet the rest is taken."""
    if not data:
        return
    choice = data[0] % (1 + len(ET_TYPES))
    if choice == 0:
        message = c.decode_channel(data[1:])
        assert c.decode_channel(c.encode_channel(message)) == message
    else:
        _take_et(Packet(ET_TYPES[choice - 1], data[1:]))


def _take_et(packet: Packet) -> None:
    """Of a side that has opened two channels, of which one is connected, and connected one."""
    peer = EtChannels(0)
    peer.encode(c.ChannelOpen(1, 0, WHERE, 0))
    peer.encode(c.ChannelOpen(3, 0, WHERE, 0))
    peer.decode(Packet(ET_TYPES[1], f.encode_forward_response(f.ForwardResponse(0, 7))))
    peer.decode(Packet(ET_TYPES[0], f.encode_forward_request(f.ForwardRequest(5, WHERE))))
    peer.encode(c.ChannelOpened(2, 0))
    message = peer.decode(packet)
    match message:
        case None:
            return
        case c.ChannelOpen(number):
            assert number == 4
            assert peer.encode(c.ChannelRefused(number, Failure.REFUSED, "no")) is not None
        case c.ChannelOpened(number) | c.ChannelRefused(number):
            assert number == 3
        case c.ChannelData(number):
            assert peer.encode(c.ChannelData(number, b"answer")) is not None
        case c.ChannelEnd(number) | c.ChannelReset(number):
            assert number in (1, 2)
            assert peer.encode(c.ChannelData(number, b"answer")) is None
        case _:
            raise AssertionError(message)


SAMPLES: list[c.ChannelMessage] = [
    c.ChannelOpen(1, 0, WHERE, 1 << 18),
    c.ChannelOpen(2, 3, None, 0, datagrams=True),
    c.ChannelOpened(1, 1 << 18),
    c.ChannelRefused(1, Failure.NO_SUCH_HOST, "no such host"),
    c.ChannelData(1, b"data"),
    c.ChannelCredit(1, 1 << 16),
    c.ChannelEnd(1),
    c.ChannelReset(1),
    f.Listen(1, UnixPath("/run/s")),
    f.Listen(2, Variable("SSH_AUTH_SOCK"), dynamic=True, datagrams=True),
    f.Listening(1, 8080),
    f.Listening(1, error="in use"),
    c.Unlisten(1),
]

TARGET = Target(
    take,
    seeds=[
        *(b"\0" + c.encode_channel(message) for message in SAMPLES),
        b"\1" + f.encode_forward_request(f.ForwardRequest(5, WHERE)),
        b"\1" + f.encode_forward_request(f.ForwardRequest(5, UnixPath("/run/s"))),
        b"\2" + f.encode_forward_response(f.ForwardResponse(1, 9)),
        b"\2" + f.encode_forward_response(f.ForwardResponse(1, error=b"no")),
        b"\3" + f.encode_forward_data(f.ForwardData(True, 1, b"data")),
        b"\3" + f.encode_forward_data(f.ForwardData(False, 7, closed=True)),
        b"\3" + f.encode_forward_data(f.ForwardData(False, 7, error=b"reset")),
    ],
)

if __name__ == "__main__":
    TARGET.run()
