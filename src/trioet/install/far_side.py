"""One ssh login, in which script after script runs there (``far/far.sh`` says how).

The far side undoes a script that has not finished when this login ends, however it ends.
"""

from __future__ import annotations

import math
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeVar

import trio

from trioet.bootstrap.remote_command import EXTRA_PATH
from trioet.bootstrap.spawn import SshTarget, ssh_argv
from trioet.errors import StepFailed, TrioetError
from trioet.install.parcel import scripts, tar
from trioet.install.words import Answer, Word, WordReader

LOGIN_DEADLINE_S: Final = 300.0
"""For passwords, second factors and jump hosts. sshd itself ends a login after 120 s."""

SLOWEST: Final = 8 * 1024
"""Bytes a second: what is sent may take as long as it would at this pace, and no longer."""

SUDO_DEADLINE_S: Final = 900.0
"""For a password to be typed, and then the whole installation."""

ENDING_GRACE_S: Final = 5.0
"""How long the far side and ssh may take to end by themselves, and then after SIGTERM."""

CHUNK: Final = 65536

SAFE_PATH: Final = r"/[\w./+,=@%-]+"
"""What means itself to every shell."""

Show = Callable[[str], None]
T = TypeVar("T")


class FarSide:
    """The login. Made by :func:`login`; one script at a time."""

    def __init__(self, target: SshTarget, process: trio.Process, show: Show, chat: Show) -> None:
        self.host = target.host
        self.home = ""
        """Of the user there, once it is known."""

        self.stage = ""
        """The private directory there that lasts as long as this login."""
        self._target = target
        self._process = process
        self._show = show
        self._chat = chat
        self._reader = WordReader()
        self._words: list[Word] = []

    async def begin(self, stage: bytes) -> None:
        """Send what comes first, and wait until the far side waits for us.

        Raises:
          StepFailed: it never does.
        """
        with trio.move_on_after(LOGIN_DEADLINE_S):
            self.stage = await self._while_sending(stage, self._ready)
            return
        what = f"no shell on {self.host} answered within {LOGIN_DEADLINE_S:g} s"
        raise StepFailed("ssh", what, f"does `ssh {self.host} true` work, and end?")

    async def run(
        self,
        script: str,
        files: Mapping[str, bytes],
        deadline_s: float,
        *,
        sudo: bool = False,
    ) -> Answer:
        """Send files, run a script, return what it answers.

        Cancellation leaves it to the far side to stop, which it does when the login ends.

        Raises:
          StepFailed: it takes longer than the deadline, apart from the sending; or the
              connection is lost.
          MessageError: the answer makes no sense.
        """
        data = tar(files)
        request = f"{len(data)} {script}{' sudo' if sudo else ''}\n".encode() + data
        answer: Answer | None = None
        with trio.move_on_after(deadline_s + len(data) / SLOWEST):
            answer = await self._while_sending(request, self._answer)
        if answer is None:
            what = f"{self.host}: {script} took more than {deadline_s:g} s"
            raise StepFailed(script, what, "try again with -v, which shows what it does")
        return answer

    async def run_at_terminal(self, script: str, files: Mapping[str, bytes]) -> Answer:
        """Run a script as root by a second login, in which sudo asks on the user's terminal.

        What it says is read by the first login, when it has ended.

        Raises:
          StepFailed: it does not end, or sudo does not let us.
          MessageError: the answer makes no sense.
        """
        await self.run("ready", files, LOGIN_DEADLINE_S)
        # sudo itself asks on /dev/tty.
        command = f"sh -c 'sudo sh {self.stage}/{script}.sh >{self.stage}/said 2>&1'"
        argv = at_terminal(ssh_argv(self._target, command))
        with trio.move_on_after(SUDO_DEADLINE_S):
            # Its ending is the user's affair: ssh reads the terminal, Ctrl-C goes there.
            done = await trio.run_process(argv, stdin=None, check=False)
            answer = await self.run("said", {}, LOGIN_DEADLINE_S)
            if done.returncode != 0 and not answer.problems:
                what = f"{self.host}: sudo ended with exit status {done.returncode}"
                raise StepFailed("sudo", what, "it says why, above; nothing was changed there")
            return answer
        raise StepFailed(script, f"{self.host}: sudo took more than {SUDO_DEADLINE_S:g} s")

    def from_home(self, text: str) -> str:
        """The same with ``~`` for the user's home there."""
        return text.replace(f"{self.home}/", "~/") if self.home else text

    async def _while_sending(self, data: bytes, receive: Callable[[], Awaitable[T]]) -> T:
        """Beside each other, for a full disk there is told before all of it has arrived."""
        received: list[T] = []
        failure: TrioetError | None = None  # carried out, not thrown: a nursery would wrap it
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, data)
            try:
                received.append(await receive())
            except TrioetError as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return received[0]

    async def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(trio.BrokenResourceError):  # the end of the output tells why
            await self._process.stdin.send_all(data)

    async def _ready(self) -> str:
        last = ""
        while (word := await self._next()) is not None:
            if word.kind == "ready":
                if not re.fullmatch(SAFE_PATH, word.text):
                    what = f"{self.host} keeps temporary files in {word.text!r}"
                    raise StepFailed("ssh", what, "set TMPDIR there to a path without blanks")
                return word.text
            last = word.text or last
        raise await self._ended(last)

    async def _answer(self) -> Answer:
        answer = Answer()
        while (word := await self._next()) is not None:
            answer.add(word)
            if word.kind == "did":
                self._show(self.from_home(word.text))
            if answer.status is not None:
                return answer
        raise await self._ended(answer.last_noise)

    async def _next(self) -> Word | None:
        assert self._process.stdout is not None
        while not self._words:
            data = await self._process.stdout.receive_some(CHUNK)
            if not data:
                return None
            self._words = self._reader.feed(bytes(data))
            for word in self._words:
                if not word.kind:
                    self._chat(word.text)
        return self._words.pop(0)

    async def _ended(self, last: str) -> StepFailed:
        status: float = math.nan
        with trio.move_on_after(ENDING_GRACE_S):
            status = await self._process.wait()
        if not self.stage:
            what = f"ssh could not reach a shell on {self.host} (exit status {status:g})"
            last_words = f"; its last words: {last[:200]}" if last else ""
            return StepFailed("ssh", what + last_words, f"try `ssh {self.host} true`")
        return StepFailed("ssh", f"the connection to {self.host} was lost", "try again")


def at_terminal(argv: Sequence[str]) -> list[str]:
    """The same ssh with a terminal there, even if it seems that there is none here."""
    at = argv.index("-T")
    # Nor need ssh say that its connection has been closed.
    return [*argv[:at], "-tt", "-o", "LogLevel=ERROR", *argv[at + 1 :]]


@asynccontextmanager
async def login(target: SshTarget, show: Show, chat: Show) -> AsyncIterator[FarSide]:
    """Log in; ``show`` gets what was done there, line by line, ``chat`` what else is printed.

    At the end, on errors and on cancellation too, the far side has been told to stop, and ssh
    has ended.

    Raises:
      StepFailed: there is no ssh here, or no shell there.
    """
    argv = ssh_argv(target, first_command(stage := tar(scripts())))
    try:
        process = await trio.lowlevel.open_process(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    except OSError as error:
        what = f"cannot run ssh: {error.strerror}"
        raise StepFailed("ssh", what, "install OpenSSH's client") from error
    try:
        far = FarSide(target, process, show, chat)
        await far.begin(stage)
        yield far
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)


def first_command(stage: bytes) -> str:
    """What ssh runs: unpack far.sh and its friends, which come on stdin, and run it.

    In quotes as every login shell reads them (``trioet.bootstrap.remote_command``).
    """
    return (
        f'sh -c \'PATH="$PATH:{EXTRA_PATH}"; export PATH; stage=$(umask 077; mktemp -d) && '
        f'{{ head -c {len(stage)} | tar -C "$stage" -xf - && exec sh "$stage/far.sh"; '
        'rm -rf "$stage"; exit 1; }\''
    )


async def _end(process: trio.Process) -> None:
    """Hang up, and let all end in its own time; then not."""
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdin.aclose()
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            process.send_signal(number)
        with trio.move_on_after(ENDING_GRACE_S):
            while await _receive(process.stdout):
                pass  # so that nothing waits for us to read
            await process.wait()
            break
    await process.stdout.aclose()


async def _receive(output: trio.abc.ReceiveStream) -> bytes | bytearray:
    try:
        return await output.receive_some(CHUNK)
    except (trio.BusyResourceError, trio.ClosedResourceError, trio.BrokenResourceError):
        return b""
