"""`trioet scon serve`: the proxy itself."""

from __future__ import annotations

import argparse
import dataclasses
import gc
import logging
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

    from trioet.scon.config import SconConfig

COLLECT_AFTER: Final = (20_000, 20, 50)
"""Objects, and collections, after which the collector looks at each of its generations. A look at
all the objects of thousands of sessions takes the better part of a second, and Python's own figures
ask for it often: of 1,000 sessions at work among 4,000, the p99 of an echo is twice as long."""

UNITS_CONFIG: Final = "/etc/trioet/scon.toml"
"""What the unit names, unless another is given."""


def main(argv: list[str]) -> int:
    """Serve until told to end, or check a configuration."""
    options = build_parser().parse_args(argv)
    if options.print_unit:
        from trioet.scon.unit import unit
        from trioet.server.units import command_line, program

        words = [program(), "scon", "serve", *_arguments(options)]
        sys.stdout.write(unit(command_line(words)))
        return 0
    if options.config is None:
        build_parser().error("--config is needed; docs/scon-operations.md has an example")
    from trioet.scon.config import dump

    config = configuration(options)
    if options.check or options.dump:
        from trioet.scon.serving import check

        check(config)
        sys.stdout.write(dump(config) if options.dump else f"{options.config}: ok\n")
        return 0
    level = logging.DEBUG if options.verbose else logging.INFO
    logging.basicConfig(level=level, format="%(levelname)s %(message)s", stream=sys.stderr)
    _serve(config, lambda: configuration(options))
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trioet scon serve",
        description="Stand between clients of goscon's protocol, which come and go, and backends "
        "that must not notice. SIGHUP reads the configuration again; SIGUSR2 lets a new process "
        "take over while this one's sessions live on; SIGQUIT ends with the last session.",
    )
    parser.add_argument("--config", metavar="FILE", help="TOML, or goscon's own YAML")
    parser.add_argument(
        "--workers", metavar="N", type=int, help="processes that share the port (1)"
    )
    parser.add_argument("-t", "--check", action="store_true", help="check the configuration only")
    parser.add_argument("-T", "--dump", action="store_true", help="check it, and show all of it")
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")
    parser.add_argument(
        "--print-unit",
        action="store_true",
        help="print a systemd unit for the other options and exit",
    )
    return parser


def _arguments(options: argparse.Namespace) -> list[str]:
    """The options that were given, for a service whose directory is another.

    Raises:
      UsageError: the service could not follow them.
    """
    from trioet.cli.serve_unit import check_visible, full_path

    words = ["--config", UNITS_CONFIG]
    if options.config:
        check_visible("--config", options.config)
        words[1] = full_path(options.config)
    if options.workers is not None:
        words += ["--workers", str(_workers(options.workers))]
    if options.verbose:
        words.append("--verbose")
    return words


def configuration(options: argparse.Namespace) -> SconConfig:
    """The file's settings, with the command line's on top.

    Raises:
      UsageError: the file cannot be followed, or a value is impossible.
    """
    from trioet.scon.config import read_config

    config = read_config(options.config)
    if options.workers is None:
        return config
    return dataclasses.replace(config, workers=_workers(options.workers))


def _workers(count: int) -> int:
    from trioet.errors import UsageError
    from trioet.scon.config import MAX_WORKERS

    if not 0 < count <= MAX_WORKERS:
        raise UsageError(f"--workers {count}: from 1 to {MAX_WORKERS}")
    return count


def _serve(config: SconConfig, reread: Callable[[], SconConfig]) -> None:
    from trioet.cli.private import keep_private
    from trioet.errors import TrioetError
    from trioet.scon import inherited
    from trioet.session.descriptors import raise_limit

    keep_private()
    raise_limit()
    given = inherited.inherited()
    try:
        _run(config, reread, given)
    except* TrioetError as group:
        failure: BaseException = group
    else:
        return
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    raise failure


def _run(
    config: SconConfig, reread: Callable[[], SconConfig], given: dict[str, list[socket]]
) -> None:
    """Serve, as a worker if that is what this process was started for.

    Raises:
      TrioetError: it cannot; maybe in groups.
    """
    import trio

    from trioet.scon import inherited
    from trioet.scon.service import Service, Surroundings, seats_directory
    from trioet.scon.serving import Serving
    from trioet.scon.workers import work
    from trioet.server.places import runtime_dir
    from trioet.server.systemd import listen_fds, notify

    gc.freeze()  # what was imported stays: the collector need never look at it again
    gc.set_threshold(*COLLECT_AFTER)
    if inherited.CONTROL in given:
        listeners = given[inherited.CLIENTS]
        directory = seats_directory(runtime_dir(), listeners[0])
        relays = given.get(inherited.RELAYS, [])
        kcp = given.get(inherited.KCP, [])
        serving = Serving(config, reread, directory, listeners, relays, kcp)
        trio.run(work, serving, given[inherited.CONTROL][0])
        return
    surroundings = Surroundings(reread, runtime_dir(), notify, given, listen_fds())
    trio.run(Service(config, surroundings).run)
