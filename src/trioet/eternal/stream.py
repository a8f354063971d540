"""EternalStream: a Trio stream that outlives its connections."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import trio

from trioet.eternal.flow import Flow, LinkState
from trioet.wire.stream_messages import MAX_MESSAGE


@dataclass(frozen=True)
class StreamStatistics:
    """Counts of one stream since it was opened, as it has them now.

    ``connections`` proved to lead to the peer, one after the other. ``replayed_bytes`` came
    again after a lost connection (sealed, with what the protocol adds). ``unacknowledged_bytes``
    were sent and the peer has not said that it has them; ``kept_bytes`` of memory hold what may
    have to be sent again. ``round_trip_s`` is that of the last sign of life; 0 before the first.
    """

    bytes_sent: int
    bytes_received: int
    messages_sent: int
    messages_received: int
    connections: int
    replayed_bytes: int
    unacknowledged_bytes: int
    kept_bytes: int
    round_trip_s: float


class EternalStream(trio.abc.HalfCloseableStream):
    """Bytes that arrive once and in order, however many connections that takes.

    Made by :func:`trioet.open_eternal_stream` and :func:`trioet.serve_eternal`, which own its
    tasks. It behaves as any ``trio.abc.HalfCloseableStream``; what differs:

    * While there is no connection nothing fails: what is sent is kept, up to 256 KiB, and then
      ``send_all`` waits.
    * It has a packet form beside its bytes: :meth:`send` and :meth:`receive`. Messages come
      whole and in order among themselves; how they lie between bytes is not kept. Both share
      256 KiB of what the peer has sent and nobody has read, so who uses both reads both.
    * ``BrokenResourceError`` means that the session is lost for good, or was closed by the peer;
      its text says which.
    """

    def __init__(
        self,
        flow: Flow,
        client_id: bytes,
        close_timeout: float,
        peer_certificate: Mapping[str, Any] | None = None,
    ) -> None:
        """Not public: the functions above make streams."""
        self.client_id = client_id
        """Names the session on both sides, for logs. It is no secret, and opens nothing."""
        self.close_timeout = close_timeout
        """Seconds that :meth:`aclose` waits at most for the peer to have everything."""
        self.peer_certificate = peer_certificate
        """What the peer's TLS certificate says, as ``ssl.SSLSocket.getpeercert()`` gives it, if
        the session was introduced by TLS and the peer showed one."""
        self._flow = flow
        self._sending = _OneAtATime("another task is sending on this stream")
        self._receiving = _OneAtATime("another task is receiving from this stream")
        self._receiving_messages = _OneAtATime("another task is receiving messages")

    def __repr__(self) -> str:
        return f"<EternalStream {self.client_id.decode(errors='replace')} {self.link_state}>"

    # Bytes

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of ``data``; return when it is on its way, or kept for the next connection.

        Cancellation: some first part of ``data`` was sent and will arrive; the stream can be
        used on, and :meth:`statistics` tells how many bytes of it were.

        Raises:
          trio.BusyResourceError: another task sends.
          trio.BrokenResourceError: the peer has closed the stream, or the session is lost.
          trio.ClosedResourceError: this side was closed, or has sent its end.
        """
        with self._sending:
            await trio.lowlevel.checkpoint()
            await self._flow.send_data(memoryview(data).cast("B"))

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return at least one byte, at most ``max_bytes``; b"" when the peer has ended.

        What arrived before an error is returned before it is raised. Cancellation loses nothing.

        Raises:
          trio.BusyResourceError: another task receives.
          trio.BrokenResourceError: the peer gave up half-way, or the session is lost.
          trio.ClosedResourceError: this side was closed.
        """
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be at least 1")
        with self._receiving:
            await trio.lowlevel.checkpoint()
            return await self._flow.receive_data(max_bytes)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until ``send_all`` of a byte would return at once. Cancellation changes nothing.

        Raises:
          as :meth:`send_all`.
        """
        with self._sending:
            await trio.lowlevel.checkpoint()
            await self._flow.wait_to_send()

    async def send_eof(self) -> None:
        """Nothing more will be sent, neither bytes nor messages; receiving goes on.

        Cancellation: the end was said, or not; call it again.

        Raises:
          as :meth:`send_all`.
        """
        with self._sending:
            await trio.lowlevel.checkpoint()
            self._flow.say_end()

    # Packets

    async def send(self, message: bytes) -> None:
        """Send one message, of 1 MiB at most; an empty one is one, too.

        Cancellation: it was sent as a whole or, if it waited, not at all.

        Raises:
          ValueError: it is too long.
          as :meth:`send_all`.
        """
        if len(message) > MAX_MESSAGE:
            raise ValueError(f"a message of {len(message)} bytes; limit {MAX_MESSAGE}")
        with self._sending:
            await trio.lowlevel.checkpoint()
            await self._flow.send_message(bytes(message))

    async def receive(self) -> bytes:
        """Return the next message. Cancellation loses nothing.

        Raises:
          trio.EndOfChannel: the peer has ended, and all its messages were received.
          as :meth:`receive_some`.
        """
        with self._receiving_messages:
            await trio.lowlevel.checkpoint()
            return await self._flow.receive_message()

    # The end

    async def wait_delivered(self) -> None:
        """Wait until the peer's side has everything that was sent; its reader may not.

        Cancellation changes nothing.

        Raises:
          trio.BrokenResourceError: it will not get it: the session is lost, or the peer has closed.
        """
        await trio.lowlevel.checkpoint()
        await self._flow.wait_delivered()

    async def aclose(self) -> None:
        """Close the stream; return when the peer has everything that was sent.

        Waits for :attr:`close_timeout` seconds at most, so as not to wait for ever for a peer
        that is away; :attr:`delivered` tells what came of it. Cancellation, and so
        ``trio.aclose_forcefully``, does not wait, and closes it all the same.
        """
        self._flow.close()
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(self.close_timeout):
            await self._flow.over.wait()

    def abort(self) -> None:
        """Close at once, and let the peer know that there should have been more.

        Its ``receive_some`` raises BrokenResourceError where it would have returned b"".
        """
        self._flow.close(aborted=True)

    @property
    def delivered(self) -> bool:
        """Whether the peer has said that it has everything that was ever sent."""
        return self._flow.delivered

    # The link

    @property
    def link_state(self) -> LinkState:
        """Whether there is a connection now, where it leads, or why there is none."""
        return self._flow.state

    async def wait_link_change(self, seen: LinkState) -> LinkState:
        """Wait until :attr:`link_state` is another than ``seen``, and return it.

        States that pass while nobody waits are not told. Cancellation changes nothing. ::

            state = stream.link_state
            while True:
                state = await stream.wait_link_change(state)
                print("connected" if state.connected else f"away: {state.reason}")
        """
        return await self._flow.wait_state(seen)

    def statistics(self) -> StreamStatistics:
        """Counts and sizes as they are now."""
        flow, link = self._flow, self._flow.link
        return StreamStatistics(
            bytes_sent=flow.bytes_sent,
            bytes_received=flow.bytes_received,
            messages_sent=flow.messages_sent,
            messages_received=flow.messages_received,
            connections=link.lines_proven,
            replayed_bytes=link.bytes_replayed,
            unacknowledged_bytes=link.in_flight,
            kept_bytes=link.kept_bytes,
            round_trip_s=link.round_trip,
        )


class _OneAtATime:
    """Not two tasks at once: their bytes would be mixed."""

    def __init__(self, complaint: str) -> None:
        self._complaint = complaint
        self._busy = False

    def __enter__(self) -> None:
        if self._busy:
            raise trio.BusyResourceError(self._complaint)
        self._busy = True

    def __exit__(self, *_: object) -> None:
        self._busy = False
