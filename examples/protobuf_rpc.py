"""Remote calls with protobuf messages and without gRPC, in the packet form of an eternal stream.

A call is one message there and one back: eight bytes that number it, then a
google.protobuf.Any. Many may be under way at once, and are answered as they are done. The
requests here are protobuf's own well-known types, so that nothing has to be generated.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial

import trio
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BytesValue, StringValue, UInt64Value

import trioet

NUMBER = 8


class CallFailed(Exception):
    """The other side says why."""


class Client:
    """Makes calls, as many at once as it likes, while :meth:`run` runs."""

    def __init__(self, stream: trioet.EternalStream) -> None:
        self._stream = stream
        self._sending = trio.Lock()
        self._last = 0
        self._waiting: dict[int, trio.MemorySendChannel[Any]] = {}

    async def call(self, request: Message) -> Any:
        """Return the answer. Cancellation forgets it.

        Raises:
          CallFailed: the other side could not do it.
        """
        self._last += 1
        number = self._last
        self._waiting[number], answered = trio.open_memory_channel[Any](1)
        try:
            async with self._sending:
                await self._stream.send(pack(number, request))
            answer = await answered.receive()
        finally:
            del self._waiting[number]
        if answer.Is(StringValue.DESCRIPTOR):
            failure = StringValue()
            answer.Unpack(failure)
            raise CallFailed(failure.value)
        return answer

    async def run(self) -> None:
        while True:
            number, answer = unpack(await self._stream.receive())
            if number in self._waiting:
                self._waiting[number].send_nowait(answer)


Method = Callable[[Any], Awaitable[Message]]


async def serve_calls(methods: Mapping[str, Method], stream: trioet.EternalStream) -> None:
    """A handler for ``serve_eternal``: a method for each type of request, by its full name."""
    one_at_a_time = trio.Lock()  # a stream is written to by one task at once
    async with trio.open_nursery() as nursery:
        with suppress(trio.EndOfChannel):
            while True:
                number, request = unpack(await stream.receive())
                nursery.start_soon(answer, methods, number, request, stream, one_at_a_time)


async def answer(
    methods: Mapping[str, Method],
    number: int,
    request: Any,
    stream: trioet.EternalStream,
    one_at_a_time: trio.Lock,
) -> None:
    method = methods.get(request.TypeName())
    try:
        if method is None:
            raise CallFailed(f"nobody knows {request.TypeName()} here")
        result: Message = await method(request)
    except CallFailed as error:
        result = StringValue(value=str(error))
    async with one_at_a_time:
        await stream.send(pack(number, result))


def pack(number: int, message: Message) -> bytes:
    envelope = Any()
    envelope.Pack(message)
    return number.to_bytes(NUMBER, "big") + envelope.SerializeToString()


def unpack(packet: bytes) -> tuple[int, Any]:
    return int.from_bytes(packet[:NUMBER], "big"), Any.FromString(packet[NUMBER:])


async def nap(request: Any) -> Message:
    """Sleep for a Duration, and say for how many nanoseconds."""
    duration = Duration()
    request.Unpack(duration)
    await trio.sleep(duration.ToTimedelta().total_seconds())
    return UInt64Value(value=duration.ToNanoseconds())


async def turn(request: Any) -> Message:
    """Bytes, the last first."""
    given = BytesValue()
    request.Unpack(given)
    if len(given.value) > 100_000:
        raise CallFailed("that is too much to turn")
    return BytesValue(value=given.value[::-1])


METHODS = {"google.protobuf.Duration": nap, "google.protobuf.BytesValue": turn}


async def main() -> None:
    psk = secrets.token_bytes(32)
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[trioet.EternalServer]) -> None:
            handler = partial(serve_calls, METHODS)
            await trioet.serve_eternal(handler, 0, psk=psk, task_status=task_status)

        server = await nursery.start(serve)
        async with trioet.open_eternal_stream("localhost", server.port, psk=psk) as stream:
            client = Client(stream)
            nursery.start_soon(client.run)
            print(await client.call(BytesValue(value=b"abc")))
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
