"""Faults to plant in a link: in place of one of its rules, one that looks as if it would do.

Each is a context in which the rule is broken, for all links.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import TypeAlias

import pytest

from trioet.errors import ForgedPacket, PacketError
from trioet.link import trial
from trioet.link.attachment import Attachment
from trioet.link.packet_attachment import PacketAttachment
from trioet.link.resumable import ResumableLink
from trioet.wire.backed import BackedReader
from trioet.wire.handshake import Handshake, State
from trioet.wire.packet import Packet, split_body

Turn: TypeAlias = Callable[[], Awaitable[None]]


@contextmanager
def _patched(owner: type | ModuleType, name: str, value: object) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, value)
        yield


@contextmanager
def replace_before_proof() -> Iterator[None]:
    """The newest line is the only one as soon as its header has been read."""
    attach = ResumableLink._attach

    def displace(link: ResumableLink, attachment: PacketAttachment) -> None:
        for older in link._lines.attached:
            older.line.close()
        attach(link, attachment)

    with _patched(ResumableLink, "_attach", displace):
        yield


@contextmanager
def count_before_opening() -> Iterator[None]:
    """A packet is counted as received when it comes, whatever it is."""
    opened = BackedReader.open

    def count_and_open(reader: BackedReader, ordinal: int, body: bytes) -> Packet | None:
        fresh = ordinal > reader.received
        reader.received = max(reader.received, ordinal)
        packet = opened(reader, ordinal, body)
        return packet or (Packet(body[1], reader._box.open(ordinal, body[2:])) if fresh else None)

    with (
        _patched(BackedReader, "open", count_and_open),
        _patched(BackedReader, "count", lambda reader: None),
    ):
        yield


@contextmanager
def sent_is_received() -> Iterator[None]:
    """What was handed to a line counts as delivered when the line is gone."""
    run = ResumableLink._run

    async def run_and_forget(
        link: ResumableLink, attachment: PacketAttachment, handshake: Handshake, preface: bytes
    ) -> None:
        try:
            await run(link, attachment, handshake, preface)
        finally:
            if attachment.proven:
                link._writer.forget(attachment.needs - 1)

    with _patched(ResumableLink, "_run", run_and_forget):
        yield


@contextmanager
def ask_again_for_a_cut_catchup() -> Iterator[None]:
    """What came of a catch-up counts only once all of it has come."""
    run = ResumableLink._run

    async def run_and_take_back(
        link: ResumableLink, attachment: PacketAttachment, handshake: Handshake, preface: bytes
    ) -> None:
        before = link.received
        try:
            await run(link, attachment, handshake, preface)
        finally:
            if handshake.state is State.CATCHUP:
                link._reader.received = before

    with _patched(ResumableLink, "_run", run_and_take_back):
        yield


@contextmanager
def start_one_too_far() -> Iterator[None]:
    """A catch-up leaves out the packet that the line before was cut in."""
    catch_up = PacketAttachment.catch_up

    def late(attachment: PacketAttachment, after: int, turn: Turn | None = None) -> None:
        catch_up(attachment, min(after + 1, attachment._writer.sent), turn)

    with _patched(PacketAttachment, "catch_up", late):
        yield


@contextmanager
def open_under_any_ordinal() -> Iterator[None]:
    """A packet is taken if it opens under the ordinal of any packet before it, too."""

    def opened(reader: BackedReader, ordinal: int, body: bytes) -> Packet | None:
        packet_type, sealed = split_body(body)
        for number in range(ordinal, 0, -1):
            with suppress(ForgedPacket):
                payload = reader._box.open(number, sealed)
                return Packet(packet_type, payload) if ordinal > reader.received else None
        raise ForgedPacket("under none")

    with _patched(BackedReader, "open", opened):
        yield


@contextmanager
def three_on_trial() -> Iterator[None]:
    """One more line is admitted."""
    with _patched(trial, "MAX_PROVISIONAL", 3):
        yield


@contextmanager
def trial_without_end() -> Iterator[None]:
    """A line may stay for as long as it likes without proof."""
    with _patched(Attachment, "allow", lambda attachment, seconds: None):
        yield


@contextmanager
def pass_over_what_makes_no_sense() -> Iterator[None]:
    """A packet that the receiver refuses is counted all the same."""
    arrived = ResumableLink._arrived

    def arrive(link: ResumableLink, attachment: PacketAttachment, body: bytes) -> None:
        before = attachment.next_in
        try:
            arrived(link, attachment, body)
        except PacketError:
            link._reader.received = max(link._reader.received, before)
            raise

    with _patched(ResumableLink, "_arrived", arrive):
        yield


@contextmanager
def a_header_is_proof_of_receipt() -> Iterator[None]:
    """What a line's header says the peer has is forgotten, before the line has proven itself."""
    catch_up = ResumableLink._catch_up

    def believe(link: ResumableLink, attachment: PacketAttachment, after: int) -> None:
        catch_up(link, attachment, after)
        link._acknowledged(after)

    with _patched(ResumableLink, "_catch_up", believe):
        yield
