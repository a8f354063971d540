"""What the far side reads and prints: bootstrap/credentials.py, bootstrap/invitation.py,
bootstrap/guest_line.py, and what is offered for relays and guests."""

from __future__ import annotations

from collections.abc import Iterable

from harness import Target, instrumented, sliced

with instrumented():
    from trioet.bootstrap.credentials import (
        DEFAULT_TERM,
        MAX_TERM,
        bootstrap_line,
        parse_bootstrap_line,
    )
    from trioet.bootstrap.guest_line import parse_guest_line
    from trioet.bootstrap.guest_offer import GuestOffer, GuestReader
    from trioet.bootstrap.invitation import Invitation, InvitationReader, parse_invitation
    from trioet.bootstrap.relay_offer import RelayOffer, RelayReader
    from trioet.errors import PeerError, StepFailed, TrioetError


LINE = b"XXX4567890123456/12345678901234567890123456789012_xterm-256color\n"
MARKER = b"IDPASSKEY:" + LINE[:49]
DETAILS = b'\nTRIOET:{"version":"0.1.0","port":2022,"router":true}\n'
FAILURE = b'TRIOET-ERROR:{"step":"terminal","what":"\\u001b[2J","hint":"start it"}\n'


def read_sliced(data: bytes) -> Invitation | None:
    reader = InvitationReader("host")
    for piece in sliced(data):
        if (invitation := reader.feed(piece)) is not None:
            return invitation
    return reader.end()


def read_offer(pieces: Iterable[bytes]) -> RelayOffer | None:
    reader = RelayReader("host")
    for piece in pieces:
        if (offer := reader.feed(piece)) is not None:
            return offer
    return reader.end()


def read_guest_offer(pieces: Iterable[bytes]) -> GuestOffer | None:
    reader = GuestReader("host")
    for piece in pieces:
        if (offer := reader.feed(piece)) is not None:
            return offer
    return reader.end()


def take_guest(data: bytes) -> None:
    if data[:1] == b"{":
        guest = parse_guest_line(data)
        assert all("\0" not in word for word in [*guest.argv, *guest.fields.values()])
        return
    try:
        offer = read_guest_offer([data])
    except TrioetError:
        offer = None
    assert offer is None or all(0 < port < 65536 for port in offer.ports)
    assert read_guest_offer(sliced(data)) == offer


def take(data: bytes) -> None:
    if data[:1] == b"G":
        take_guest(data[1:])
        return
    if data[:1] == b"R":
        try:
            offer = read_offer([data[1:]])
        except TrioetError:
            offer = None
        assert offer is None or (len(offer.relay_id) == 16 and 0 < offer.port < 65536)
        assert read_offer(sliced(data[1:])) == offer
        return
    if data[:1] == b"L":
        credentials, term = parse_bootstrap_line(data[1:])
        assert 0 < len(term) <= MAX_TERM
        line = bootstrap_line(credentials, term)
        again, term_again = parse_bootstrap_line(line)
        assert term_again == term
        assert bootstrap_line(again, term) == line
        return
    try:
        invitation = parse_invitation(data, "host")
    except TrioetError:
        invitation = None
    assert read_sliced(data) == invitation
    if invitation is not None:
        assert len(invitation.client_id) == 16
        assert invitation.passkey not in repr(invitation)


TARGET = Target(
    take,
    seeds=[
        b"L" + LINE,
        b"L" + LINE.replace(b"xterm-256color", b"a_b"),
        b"L" + LINE.replace(b"xterm-256color", DEFAULT_TERM.encode() * 9),
        b"welcome\r\n" + MARKER + DETAILS,
        MARKER + b"\r\n\r\n",
        b"motd\n" + FAILURE,
        b"TRIOET-MISSING\n",
        b'Rmotd\nTRIOET-RELAY:{"id":"1234567890123456","port":2022,"router":true}\r\n',
        b"R" + FAILURE,
        b'Gmotd\nTRIOET-GUEST:{"version":"0.1.0","socket":"/run/x","ports":[2022,2023]}\r\n',
        b"G" + FAILURE,
        b'G{"id":"1234567890123456","passkey":"1","term":"xterm","write":"","argv":["ls","\\udcff"],'
        b'"rows":0,"columns":0,"start":1,"linger":1,"close_signal":1,"close_timeout":10}\n',
    ],
    refusals=(PeerError, StepFailed),
)

if __name__ == "__main__":
    TARGET.run()
