"""The configuration of `trioet serve`: our TOML, or Eternal Terminal's et.cfg."""

from __future__ import annotations

import configparser
import difflib
import logging
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from trioet.errors import UsageError

log = logging.getLogger(__name__)

DEFAULT_PORT: Final = 2022
REPLAY_MEMORY: Final = 1024**3
"""Bytes of replay buffers on the whole machine. A session that nobody reads fills 64 MiB."""

MAX_FILE: Final = 256 * 1024
_UNITS: Final = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}

IGNORED_ET_KEYS: Final = {"silent", "logsize", "telemetry", "logdirectory", "serverfifo"}
"""Keys of et.cfg that mean nothing here: we log to stderr, and send no telemetry. The
server's fifo speaks a protocol of ET's own programs."""


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """What a router needs to know.

    ``bind`` empty: all addresses. ``socket`` empty: the usual place. ``replay_memory`` is
    in bytes, for all keepers together.
    """

    port: int = DEFAULT_PORT
    bind: tuple[str, ...] = ()
    socket: str = ""
    replay_memory: int = REPLAY_MEMORY
    verbose: bool = False


def read_config(path: str) -> ServeConfig:
    """Read a configuration file: TOML if its name ends so, else an et.cfg.

    Raises:
      UsageError: names the file, the key, what is wrong with it and what would be right.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    if len(data) > MAX_FILE:
        raise UsageError(f"{path}: more than {MAX_FILE} bytes; is this the right file?")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start} is not UTF-8") from error
    return parse_toml(text, path) if path.endswith(".toml") else parse_et_cfg(text, path)


def parse_toml(text: str, path: str) -> ServeConfig:
    """Parse our own format: the fields of ServeConfig, at top level.

    Raises:
      UsageError: as for read_config.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}") from error
    for key in table:
        if key not in _TOML_KEYS:
            near = difflib.get_close_matches(key, _TOML_KEYS, 1)
            meant = f"; is {near[0]!r} meant?" if near else f"; known are {', '.join(_TOML_KEYS)}"
            raise UsageError(f"{path}: no key is called {key!r}{meant}")
    return _applied(table, _TOML_KEYS, path)


def parse_et_cfg(text: str, path: str) -> ServeConfig:
    """Parse ET's own format (specification 2.6); keys without a meaning here are ignored.

    Raises:
      UsageError: as for read_config.
    """
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text, path)
    except configparser.Error as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from error
    found = {key: value for name in parser.sections() for key, value in parser[name].items()}
    ignored = sorted(IGNORED_ET_KEYS & found.keys())
    if ignored:
        log.info("%s: ignored, for they mean nothing here: %s", path, ", ".join(ignored))
    return _applied(found, _ET_KEYS, path)


def _applied(
    found: Mapping[str, Any], keys: Mapping[str, tuple[str, Callable[[Any], object]]], path: str
) -> ServeConfig:
    changes: dict[str, Any] = {}
    for key, value in found.items():
        if key in keys:
            field, read = keys[key]
            try:
                changes[field] = read(value)
            except ValueError as error:
                raise UsageError(f"{path}: {key} = {value!r}: {error}") from None
    return replace(ServeConfig(), **changes)


def _port(value: object) -> int:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise ValueError("a port is a number from 1 to 65535")
    return int(text)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a text in quotes belongs here")
    return value


def _addresses(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ValueError("an address belongs here, or a list of them, in quotes")
    return tuple(value)


def _et_addresses(value: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"[,\s]+", value) if part)


def memory(value: object) -> int:
    """Read an amount of memory: bytes, or with a K, M or G behind, like "256M".

    Raises:
      ValueError: it is none.
    """
    match = re.fullmatch(r"([0-9]{1,15})\s*([KMG]?)(?:i?B)?", str(value).strip(), re.IGNORECASE)
    if match is None or isinstance(value, bool):
        raise ValueError('an amount of memory is a number with K, M or G, like "256M"')
    return int(match[1]) * _UNITS[match[2].upper()]


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("true or false belongs here")


def _et_verbosity(value: str) -> bool:
    if not value.strip().isdigit():
        raise ValueError("a number belongs here")
    return int(value) > 0


_TOML_KEYS: Final[Mapping[str, tuple[str, Callable[[Any], object]]]] = {
    "port": ("port", _port),
    "bind": ("bind", _addresses),
    "socket": ("socket", _text),
    "replay_memory": ("replay_memory", memory),
    "verbose": ("verbose", _flag),
}

_ET_KEYS: Final[Mapping[str, tuple[str, Callable[[Any], object]]]] = {
    "port": ("port", _port),
    "bind_ip": ("bind", _et_addresses),
    "verbose": ("verbose", _et_verbosity),
}
