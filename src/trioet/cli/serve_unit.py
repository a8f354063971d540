"""The systemd unit that `trioet serve --print-unit` writes, for what its other options describe."""

from __future__ import annotations

import argparse
import ipaddress
import os
from typing import Final

from trioet.errors import UsageError
from trioet.server.config import ServeConfig
from trioet.server.places import SYSTEM_ROUTER_SOCKET
from trioet.server.units import service_unit, socket_unit

HIDDEN: Final = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
"""What the system's unit does not see: ProtectHome= and PrivateTmp=, systemd.exec(5)."""

SERVICES_OWN: Final = {
    "--socket": "socket",
    "--relay-to": "relay_to",
    "--no-relay": "no_relay",
    "--verbose": "verbose",
}
"""Options that mean nothing to whoever only listens."""


def print_unit(options: argparse.Namespace, config: ServeConfig) -> str:
    """The unit for these options, and for the configuration that they make.

    Raises:
      UsageError: one of them makes no sense in it.
    """
    if not config.port:
        raise UsageError("--port 0: in a unit it must be one that clients find the next day, too")
    if options.print_unit == "socket":
        return socket_unit(_streams(options, config))
    if options.print_unit == "system":
        _check_system(options)
    return service_unit(options.print_unit, _arguments(options))


def _arguments(options: argparse.Namespace) -> list[str]:
    """The options that were given, for a service whose directory is another."""
    words = []
    if options.port is not None:
        words += ["--port", str(options.port)]
    for address in options.bind or ():
        words += ["--bind", address]
    if options.config:
        words += ["--config", full_path(options.config)]
    if options.socket:
        words += ["--socket", os.path.abspath(options.socket)]
    for place in options.relay_to or ():
        words += ["--relay-to", place]
    if options.no_relay:
        words.append("--no-relay")
    if options.verbose:
        words.append("--verbose")
    return words


def full_path(file: str) -> str:
    """The path of a configuration file, for whoever is in another directory."""
    return os.path.abspath(os.path.expanduser(file))


def check_visible(option: str, file: str) -> None:
    """
    Raises:
      UsageError: the system's unit does not see this file.
    """
    path = os.path.realpath(full_path(file))
    for directory in HIDDEN:
        if path.startswith(f"{directory}/"):
            raise UsageError(
                f"{option} {file}: the system's unit sees nothing in {directory}; put it into /etc"
            )


def _check_system(options: argparse.Namespace) -> None:
    if options.socket:
        raise UsageError(
            f"--socket: the system's unit has {SYSTEM_ROUTER_SOCKET}, where all users' keepers look"
        )
    if options.config:
        check_visible("--config", options.config)


def _streams(options: argparse.Namespace, config: ServeConfig) -> list[str]:
    for option, name in SERVICES_OWN.items():
        if getattr(options, name):
            raise UsageError(f"{option}: a socket unit only listens; it belongs to the service's")
    return [_stream(host, config.port) for host in config.bind or ("",)]


def _stream(host: str, port: int) -> str:
    """As systemd.socket(5) writes an address and port; "" is every address."""
    if not host:
        return str(port)
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        raise UsageError(f"--bind {host}: a socket unit takes addresses, not names") from None
    if version == 4:
        return f"{host}:{port}"
    address, _, interface = host.partition("%")
    return f"[{address}]:{port}%%{interface}" if interface else f"[{address}]:{port}"
