"""How `trioet install` and `trioet uninstall` run, and what their user sees."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from trioet.cli.ending import ending_signals
from trioet.cli.output import Printing, complain, write_error
from trioet.errors import StepFailed, TrioetError

EXIT_NOT_DONE: Final = 1
"""The host was reached, or never tried, and it could not be done; 255 is ssh's failure."""

Show = Callable[[str], None]


def run(host: str, is_verbose: bool, work: Callable[[Show, Show], Awaitable[None]]) -> int:
    """Do the work, one line on stdout for each step; return the exit status.

    A signal ends it in good order: ssh ends, and the far side leaves what was there before.

    Raises:
      TrioetError: ssh failed, or the far side makes no sense.
    """

    def show(text: str) -> None:
        with Printing():
            print(f"{host}: {text}")

    def chat(text: str) -> None:
        if is_verbose:
            write_error(f"    {text}\n".encode(errors="replace"))

    async def all_of_it() -> int:
        status = 0
        failure: TrioetError | None = None  # carried out, not thrown: a nursery would wrap it
        scope = trio.CancelScope()

        async def end_by_signal() -> None:
            nonlocal status
            async for number in signals:  # to the end: a second one is not to leave ssh behind
                status = 128 + number
                scope.cancel()

        with ending_signals() as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(end_by_signal)
                try:
                    with scope:
                        await work(show, chat)
                except TrioetError as error:
                    failure = error
                nursery.cancel_scope.cancel()
        if status:
            # What failed then is ssh, whom the signal reached as well.
            complain(f"{host}: interrupted")
        elif isinstance(failure, StepFailed) and failure.step != "ssh":
            complain(failure)
            status = EXIT_NOT_DONE
        elif failure is not None:
            raise failure
        return status

    return trio.run(all_of_it)
