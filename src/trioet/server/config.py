"""The configuration of `trioet serve`: our TOML, or Eternal Terminal's et.cfg."""

from __future__ import annotations

import configparser
import difflib
import logging
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from trioet.config_file import read_text
from trioet.errors import UsageError
from trioet.server.places import MAX_SOCKET_PATH
from trioet.server.relay_policy import (
    ANYWHERE,
    MAX_PATTERNS,
    NOWHERE,
    RelayPattern,
    RelayPolicy,
    parse_pattern,
)

log = logging.getLogger(__name__)

DEFAULT_PORT: Final = 2022
REPLAY_MEMORY: Final = 1024**3
"""Bytes of replay buffers on the whole machine. A session that nobody reads fills 64 MiB."""

MIN_REPLAY_MEMORY: Final = 1024**2
"""Less is a unit forgotten: the 256 of somebody who meant megabytes."""

MAX_SHOWN: Final = 60
"""Characters of a wrong value that an error shows."""

_UNITS: Final = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}

_Readers: TypeAlias = Mapping[str, tuple[str, Callable[[Any], object]]]
"""Key -> the field of ServeConfig, and what makes its value or raises ValueError."""


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """What a router needs to know.

    ``bind`` empty: all addresses. ``socket`` empty: the usual place. ``replay_memory`` is
    in bytes, for all keepers together. ``relay_to`` None: anywhere, if ``relay`` at all.
    """

    port: int = DEFAULT_PORT
    bind: tuple[str, ...] = ()
    socket: str = ""
    replay_memory: int = REPLAY_MEMORY
    verbose: bool = False
    relay: bool = True
    relay_to: tuple[RelayPattern, ...] | None = None

    @property
    def relay_policy(self) -> RelayPolicy:
        """Where this machine's keepers may relay to."""
        if not self.relay:
            return NOWHERE
        return ANYWHERE if self.relay_to is None else RelayPolicy(self.relay_to)


def read_config(path: str) -> ServeConfig:
    """Read a configuration file: TOML if its name ends so, else an et.cfg.

    Raises:
      UsageError: names the file, the key, what is wrong with it and what would be right.
    """
    text = read_text(path)
    return parse_toml(text, path) if path.endswith(".toml") else parse_et_cfg(text, path)


def parse_toml(text: str, path: str) -> ServeConfig:
    """Parse our own format: the fields of ServeConfig, at top level.

    Raises:
      UsageError: as for read_config.
    """
    try:
        table = tomllib.loads(text)
    # tomllib lets out what deep nesting and numbers of thousands of digits raise.
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: {error}") from error
    for key in table:
        if key not in _TOML_KEYS:
            near = difflib.get_close_matches(key, _TOML_KEYS, 1)
            meant = f"is {near[0]!r} meant?" if near else f"known are {', '.join(_TOML_KEYS)}"
            raise UsageError(f"{path}: no key is called {_shown(key)}; {meant}")
    return _applied(table, _TOML_KEYS, path)


def parse_et_cfg(text: str, path: str) -> ServeConfig:
    """Parse ET's own format (specification 2.6), read as ET reads it.

    Names are the same in capitals, indentation means nothing, of a key given twice the
    last counts. Keys without a meaning here, like telemetry, are named in the log and
    ignored.

    Raises:
      UsageError: as for read_config.
    """
    parser = configparser.ConfigParser(
        interpolation=None, strict=False, delimiters=("=",), allow_no_value=True, default_section=""
    )
    try:
        parser.read_string("\n".join(line.strip() for line in text.splitlines()), path)
    except configparser.MissingSectionHeaderError as error:
        raise UsageError(f"{path}: line {error.lineno} stands before any [Section]") from error
    except configparser.Error as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from error
    found = {
        f"{section.lower()}.{key}": value or ""
        for section in parser.sections()
        for key, value in parser[section].items()
    }
    ignored = sorted(found.keys() - _ET_KEYS.keys())
    if ignored:
        log.info("%s: ignored, for they mean nothing here: %s", path, ", ".join(ignored))
    return _applied(found, _ET_KEYS, path)


def _applied(found: Mapping[str, object], readers: _Readers, path: str) -> ServeConfig:
    changes: dict[str, Any] = {}
    for key in readers.keys() & found.keys():
        field, read = readers[key]
        try:
            changes[field] = read(found[key])
        except ValueError as error:
            raise UsageError(f"{path}: {key} = {_shown(found[key])}: {error}") from None
    return replace(ServeConfig(), **changes)


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        return "…"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _port(value: object) -> int:
    # Zero, any free port, is for the command line: clients must find it the next day too.
    if type(value) is not int or not 0 < value < 65536:
        raise ValueError("a port is a number from 1 to 65535")
    return value


def _et_port(text: str) -> int:
    return _port(int(text) if re.fullmatch(r"[0-9]{1,5}", text) else None)


def _path(value: object) -> str:
    if not isinstance(value, str) or not os.path.isabs(value) or "\0" in value:
        raise ValueError("a path that begins with / belongs here, in quotes")
    if len(os.fsencode(value)) > MAX_SOCKET_PATH:
        raise ValueError(f"too long for the name of a socket: {MAX_SOCKET_PATH} bytes at most")
    return value


def _addresses(value: object) -> tuple[str, ...]:
    return tuple(map(_address, value if isinstance(value, list) else [value]))


def _et_addresses(text: str) -> tuple[str, ...]:
    return tuple(map(_address, re.findall(r"[^,\s]+", text)))


def relay_patterns(value: object) -> tuple[RelayPattern, ...]:
    """Read where relays may lead: a place, or a list of them.

    Raises:
      ValueError: one makes no sense, or there are too many.
    """
    places = value if isinstance(value, (list, tuple)) else [value]
    if len(places) > MAX_PATTERNS:
        raise ValueError(f"{len(places)} places; {MAX_PATTERNS} at most")
    if not all(isinstance(place, str) for place in places):
        raise ValueError('a place like "*.internal:2022", or a list of them, belongs here')
    try:
        return tuple(map(parse_pattern, places))
    except UsageError as error:
        raise ValueError(str(error)) from None


def _address(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Za-z._:%-]+", value):
        raise ValueError(
            'an address like "192.0.2.1" or "::1", or a list of them, belongs here, '
            "without brackets and without a port"
        )
    return value


def memory(value: object) -> int:
    """Read an amount of memory: bytes, or with a K, M or G behind, like "256M".

    Raises:
      ValueError: it is none, or less than MIN_REPLAY_MEMORY.
    """
    text = "" if isinstance(value, bool) else str(value).strip().upper()
    match = re.fullmatch(r"([0-9]{1,15})\s*([KMG]?)(?:I?B)?", text)
    if match is None:
        raise ValueError('an amount of memory is a number with K, M or G, like "256M"')
    size = int(match[1]) * _UNITS[match[2]]
    if size < MIN_REPLAY_MEMORY:
        raise ValueError(f'at least {MIN_REPLAY_MEMORY} bytes; is "{match[1]}M" meant?')
    return size


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("true or false belongs here, without quotes")


def _et_verbosity(text: str) -> bool:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError("a number belongs here, 0 for little")
    return int(text) > 0


_TOML_KEYS: Final[_Readers] = {
    "port": ("port", _port),
    "bind": ("bind", _addresses),
    "socket": ("socket", _path),
    "replay_memory": ("replay_memory", memory),
    "verbose": ("verbose", _flag),
    "relay": ("relay", _flag),
    "relay_to": ("relay_to", relay_patterns),
}

_ET_KEYS: Final[_Readers] = {
    "networking.port": ("port", _et_port),
    "networking.bind_ip": ("bind", _et_addresses),
    "debug.verbose": ("verbose", _et_verbosity),
}
