"""Bootstrap by the user's own ``ssh``: every prompt and word of its configuration works.

``trioet.bootstrap.spawn`` starts it; this is the half that waits, in Trio.
"""

from __future__ import annotations

import math
import os
import signal
from contextlib import AsyncExitStack
from typing import Final, TypeVar

import trio

from trioet.bootstrap.child import Child
from trioet.bootstrap.invitation import AnswerReader, Invitation, InvitationReader
from trioet.bootstrap.remote_command import EXIT_MISSING
from trioet.bootstrap.spawn import (
    RunningSsh,
    SshTarget,
    spawn_ssh,
    spawn_ssh_config,
    ssh_argv,
    ssh_config_argv,
)
from trioet.bootstrap.ssh_config import SshConfig, parse_ssh_config
from trioet.errors import StepFailed, TrioetError

INVITATION_DEADLINE_S: Final = 300.0
"""For passwords, second factors and jump hosts. sshd itself ends a login after 120 s."""

DETAILS_GRACE_S: Final = 0.5
"""How long a terminal that printed its invitation may take over the details, if any."""

DRAIN_GRACE_S: Final = 0.5
"""How long output may still come once ssh has ended: a child may hold the pipe open."""

ENDING_GRACE_S: Final = 2.0
"""How long ssh may take to end by itself, and then after SIGTERM."""

MAX_CONFIG: Final = 256 * 1024
"""Bytes in the answer of `ssh -G`; 5 KiB are usual."""

CHUNK: Final = 65536

T = TypeVar("T")

EXIT_SSH_FAILED: Final = 255


async def run(target: SshTarget, command: str, line: bytes) -> Invitation:
    """Fetch an invitation in one go; what every backend offers under this name.

    Cancellation ends ssh, which restores the terminal if it was asking for a password.

    Raises:
      StepFailed: ssh failed, or brought no invitation.
      PeerError: it brought one that makes no sense.
    """
    running = spawn_ssh(ssh_argv(target, command), line, target.host)
    invitation = await read_invitation(running)
    await finish(running)
    return invitation


async def fetch_ssh_config(target: SshTarget) -> SshConfig:
    """Ask ``ssh -G`` in one go. Cancellation ends it.

    Raises:
      StepFailed: there is no ssh, or it rejects the configuration.
    """
    return await read_ssh_config(spawn_ssh_config(ssh_config_argv(target), target.host))


async def read_invitation(running: RunningSsh) -> Invitation:
    """Read ssh's output until the invitation is there, as :func:`read_answer`."""
    return await read_answer(running, InvitationReader(running.host))


async def read_answer(running: RunningSsh, reader: AnswerReader[T]) -> T:
    """Read ssh's output until the answer is there; do not wait for ssh to end.

    Afterwards the caller awaits ``finish``, best beside connecting. On error and
    cancellation ssh has ended already.

    Raises:
      StepFailed: ssh failed, brought no answer, or took more than five minutes.
      PeerError: the answer makes no sense.
    """
    async with AsyncExitStack() as on_failure:
        on_failure.push_async_callback(_end, running.process)
        output = await on_failure.enter_async_context(trio.lowlevel.FdStream(running.output))
        answer = None
        with trio.move_on_after(INVITATION_DEADLINE_S):
            answer = await _read_until_ended(output, reader, running.process)
            if answer is None:
                raise await _failure(running, reader)
        if answer is None:
            what = f"no {reader.ANSWER} came from {running.host} within {INVITATION_DEADLINE_S:g} s"
            raise StepFailed("ssh", what, f"does `ssh {running.host} true` work, and end?")
        await output.aclose()
        on_failure.pop_all()
    return answer


async def read_ssh_config(running: RunningSsh) -> SshConfig:
    """Read the answer of ``ssh -G``. On cancellation and error it has ended.

    Raises:
      StepFailed: it rejects the configuration, or its answer cannot be read.
    """
    answer = bytearray()
    async with AsyncExitStack() as at_end:
        at_end.push_async_callback(_end, running.process)
        output = await at_end.enter_async_context(trio.lowlevel.FdStream(running.output))
        while len(answer) < MAX_CONFIG and (data := await output.receive_some(CHUNK)):
            answer += data
        await output.aclose()  # so that an endless answer ends as well
        status = await wait_ended(running.process)
    if status != 0:
        what = f"ssh rejects its configuration for {running.host} (exit status {status})"
        raise StepFailed("ssh", what, f"`ssh -G {running.host}` says why")
    return parse_ssh_config(bytes(answer))


async def finish(running: RunningSsh) -> None:
    """Let ssh end, as it does once the far side has; end it if it does not.

    Cancellation ends it at once.
    """
    async with AsyncExitStack() as at_end:
        at_end.push_async_callback(_end, running.process)
        with trio.move_on_after(ENDING_GRACE_S):
            await wait_ended(running.process)


async def _read_until_ended(
    output: trio.lowlevel.FdStream, reader: AnswerReader[T], process: Child
) -> T | None:
    """Read until the answer, the end of the output, or shortly after that of ssh."""
    answer: T | None = None
    failure: TrioetError | None = None  # carried out, not thrown: a nursery would wrap it
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_once_ended, process, nursery.cancel_scope)
        try:
            answer = await _read(output, reader)
        except TrioetError as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return answer or reader.end()


async def _read(output: trio.lowlevel.FdStream, reader: AnswerReader[T]) -> T | None:
    while True:
        data = b""
        with trio.move_on_after(DETAILS_GRACE_S if reader.marker_seen else math.inf):
            data = await output.receive_some(CHUNK)
        if not data:
            return reader.end()
        if answer := reader.feed(data):
            return answer


async def _cancel_once_ended(process: Child, reading: trio.CancelScope) -> None:
    await wait_ended(process)
    await trio.sleep(DRAIN_GRACE_S)
    reading.cancel()


async def _failure(running: RunningSsh, reader: AnswerReader[T]) -> StepFailed:
    host = running.host
    with trio.move_on_after(ENDING_GRACE_S):
        await wait_ended(running.process)
    status = running.process.poll()
    # The same status if a signal ended the far program; but then something was printed.
    if status == EXIT_SSH_FAILED and not reader.last_words():
        what = f"ssh could not reach a shell on {host} (exit status {status})"
        return StepFailed("ssh", what, f"ssh says why, above; try `ssh {host} true`")
    if status == EXIT_MISSING:
        return reader.missing()
    if status is None:
        return reader.no_answer("ssh closed its output")
    if status < 0:
        return reader.no_answer(f"ssh was ended by {signal.Signals(-status).name}")
    return reader.no_answer(f"ssh ended with exit status {status}")


async def wait_ended(process: Child) -> int:
    """Wait for a process. Cancellation leaves it running."""
    if process.poll() is None:
        ended = os.pidfd_open(process.pid)
        try:
            await trio.lowlevel.wait_readable(ended)
        finally:
            os.close(ended)
    return process.wait()


async def _end(process: Child) -> None:
    """End a process: politely, because ssh restores the terminal then; then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        with trio.move_on_after(ENDING_GRACE_S, shield=True):
            await wait_ended(process)
