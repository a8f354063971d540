"""The configuration of `trioet scon serve`: goscon's own keys, and ours beside them.

TOML, or YAML if the file's name ends so: the same keys in both, and goscon's own file is
one of them (goscon's description, 5.2). The dataclasses here *are* the format: their names
are the keys, their defaults the defaults. As in goscon, capitals make no difference.
Everything is checked when it is read, and what is wrong is named by its path:
``hosts[2].addr``.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeVar, get_args, get_type_hints

from trioet.config_file import read_text
from trioet.errors import UsageError
from trioet.health import secret_file
from trioet.health.place import parse_place
from trioet.scon import config_keys as keys
from trioet.scon.kcp_option import KcpOption
from trioet.scon.policy import MAX_KEPT, MAX_KEPT_IN_ALL, MAX_SESSIONS, Policy, Secure

MAX_HOSTS: Final = 4096
MAX_WORKERS: Final = 64
MAX_WEIGHT: Final = 1_000_000
MAX_SHOWN: Final = 60
"""Characters of a wrong value that an error shows."""

MIN_PSK: Final = 16
"""Bytes of a key in a file."""
MAX_PSK: Final = 64
"""The largest key of BLAKE2b."""

_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Scp:
    """``scp``: sessions. Times in seconds, sizes in bytes."""

    handshake_timeout: Annotated[float, keys.seconds(0.1, _HOUR)] = 30.0
    reuse_time: Annotated[float, keys.seconds(0.1, _DAY)] = 30.0
    reuse_buffer: Annotated[int, keys.size(1024, 1024**3)] = 64 * 1024
    # Ours.
    max_kept: Annotated[int, keys.size(64 * 1024, 1024**3)] = MAX_KEPT
    max_kept_in_all: Annotated[int, keys.size(1024**2, 1024**4)] = MAX_KEPT_IN_ALL
    max_sessions: Annotated[int, keys.whole(1, 1_000_000)] = MAX_SESSIONS
    max_sessions_per_source: Annotated[int, keys.whole(0, 1_000_000)] = 0
    secure: Annotated[str, keys.one_of(*(mode.value for mode in Secure))] = "offered"
    psk_file: Annotated[str, keys.path] = ""


@dataclass(frozen=True, slots=True)
class TcpOption:
    """``tcp_option``: connections of clients."""

    read_timeout: Annotated[float, keys.seconds(0.1, _DAY, never=True)] = 0.0
    keepalive: Annotated[bool, keys.flag] = True
    keepalive_interval: Annotated[int, keys.whole(1, _DAY)] = 60


@dataclass(frozen=True, slots=True)
class Resolver:
    """``upstream_option.resolv``: targets that no host of the list has, found by DNS."""

    prefix: Annotated[str, keys.text] = ""
    suffix: Annotated[str, keys.text] = ""
    port: Annotated[int, keys.whole(1, 65535)] = 0
    pattern: Annotated[str, keys.pattern] = ""


@dataclass(frozen=True, slots=True)
class UpstreamOption:
    """``upstream_option``: how backends are chosen and reached."""

    net: Annotated[str, keys.one_of("tcp")] = "tcp"
    resolv: Resolver = field(default_factory=Resolver)
    # Ours.
    unknown_target: Annotated[str, keys.one_of("refuse", "any")] = "refuse"
    connect_timeout: Annotated[float, keys.seconds(0.1, 300)] = 10.0
    max_connects: Annotated[int, keys.whole(1, 100_000)] = 128
    proxy_protocol: Annotated[int, keys.whole(0, 2)] = 0
    sproto: Annotated[int, keys.whole(-1, 0x7FFE)] = -1
    hook: Annotated[str, keys.module_function] = ""


@dataclass(frozen=True, slots=True)
class ManagerOption:
    """``manager_option``: who may call the management port, and by what names."""

    token_file: Annotated[str, keys.path] = ""
    names: Annotated[tuple[str, ...], keys.names] = ()


@dataclass(frozen=True, slots=True)
class Cluster:
    """``cluster``: proxies on several machines, which find each other by a Redis."""

    redis: Annotated[str, keys.redis] = ""
    listen: Annotated[tuple[tuple[str, int], ...], keys.listening] = ()
    advertise: Annotated[tuple[str, int] | None, keys.address] = None
    key_file: Annotated[str, keys.path] = ""


@dataclass(frozen=True, slots=True)
class Host:
    """One of ``hosts``: a backend. Those of one name share its clients by weight."""

    name: Annotated[str, keys.text] = ""
    addr: Annotated[tuple[str, int], keys.address] = ("", 0)
    weight: Annotated[int, keys.whole(-MAX_WEIGHT, MAX_WEIGHT)] = 100
    # Ours; unset: as upstream_option says.
    proxy_protocol: Annotated[int | None, keys.whole(0, 2)] = None


@dataclass(frozen=True, slots=True)
class SconConfig:
    """All of it."""

    tcp: Annotated[tuple[tuple[str, int], ...], keys.listening] = (("0.0.0.0", 1248),)
    manager: Annotated[str, keys.place] = "127.0.0.1:6620"
    kcp: Annotated[tuple[tuple[str, int], ...], keys.kcp] = ()
    scp: Scp = field(default_factory=Scp)
    tcp_option: TcpOption = field(default_factory=TcpOption)
    kcp_option: KcpOption = field(default_factory=KcpOption)
    upstream_option: UpstreamOption = field(default_factory=UpstreamOption)
    manager_option: ManagerOption = field(default_factory=ManagerOption)
    cluster: Cluster = field(default_factory=Cluster)
    workers: Annotated[int, keys.whole(1, MAX_WORKERS)] = 1
    hosts: tuple[Host, ...] = ()

    def policy(self) -> Policy:
        """What the server is to allow. Reads the pre-shared key from its file.

        Raises:
          UsageError: that file cannot be read, others can read it, or it holds no good key.
        """
        scp, tcp = self.scp, self.tcp_option
        return Policy(
            handshake_timeout=scp.handshake_timeout,
            reuse_time=scp.reuse_time,
            reuse_buffer=scp.reuse_buffer,
            max_kept=max(scp.max_kept, scp.reuse_buffer),
            max_kept_in_all=scp.max_kept_in_all,
            read_timeout=tcp.read_timeout,
            keepalive=tcp.keepalive,
            keepalive_interval=tcp.keepalive_interval,
            max_sessions=scp.max_sessions,
            max_sessions_per_source=scp.max_sessions_per_source,
            secure=Secure(scp.secure),
            psk=read_key(scp.psk_file) if scp.psk_file else b"",
        )


def read_config(path: str) -> SconConfig:
    """Read a configuration file.

    Raises:
      UsageError: names the file, the key, what is wrong with it and what would be right.
    """
    text = read_text(path)
    parse = parse_yaml if path.endswith((".yaml", ".yml")) else parse_toml
    return parse(text, path)


def parse_toml(text: str, path: str) -> SconConfig:
    """Read a configuration that is written in TOML.

    Raises:
      UsageError: as for read_config.
    """
    try:
        table = tomllib.loads(text)
    # tomllib lets out what deep nesting and numbers of thousands of digits raise.
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: {error}") from error
    return build(table, path)


def parse_yaml(text: str, path: str) -> SconConfig:
    """Read a configuration that is written in YAML, goscon's for one.

    Raises:
      UsageError: as for read_config, or PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError:
        raise UsageError(
            f"{path}: to read YAML, PyYAML is needed: pip install 'trioet[scon]'; or write the "
            "same keys as TOML, in a file whose name ends in .toml"
        ) from None
    try:
        table = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        where = error.problem_mark
        line = f" line {where.line + 1}, column {where.column + 1}:" if where else ""
        raise UsageError(f"{path}:{line} {_printable(str(error.problem))}") from error
    # Beside its own errors it lets out those of Python: of dates that are none, for instance.
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, AttributeError) as error:
        raise UsageError(f"{path}: no YAML: {_printable(str(error))}") from error
    return build({} if table is None else table, path)


def build(table: object, path: str) -> SconConfig:
    """Make a configuration of what a file says.

    Raises:
      UsageError: as for read_config.
    """
    try:
        return _checked(_read(SconConfig, table, ""))
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None


def _read(kind: type[_T], table: object, place: str) -> _T:
    """Read a section. ``place`` is its path, with a dot behind.

    Raises:
      ValueError: says where, and what.
    """
    if not isinstance(table, Mapping):
        where = place.removesuffix(".") or "the file"
        raise ValueError(f"{where}: keys and values belong here, not {_shown(table)}")
    known = _KEYS[kind]
    found: dict[str, Any] = {}
    for written, value in table.items():
        name = written.lower() if isinstance(written, str) else ""
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f"is {near[0]!r} meant?" if near else f"known are {', '.join(known)}"
            raise ValueError(f"no key is called {_printable(place)}{_shown(written)}; {meant}")
        if name in found:
            raise ValueError(f"{place}{name} stands there twice, in other capitals")
        read = known[name]
        if value is None:  # YAML's way to leave a value away
            continue
        if isinstance(read, type):
            found[name] = _read(read, value, f"{place}{name}.")
            continue
        try:
            found[name] = read(value)
        except _Elsewhere:
            raise
        except ValueError as error:
            raise ValueError(
                f"{place}{name} = {_shown(_without_password(value))}: {error}"
            ) from None
    return kind(**found)


def _keys_of(kind: type) -> dict[str, type | keys.Reader]:
    """The keys of a section: of each its own section, or what reads its value."""
    found: dict[str, type | keys.Reader] = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if hint == tuple[Host, ...]:
            found[name] = _read_hosts
        else:
            found[name] = hint if isinstance(hint, type) else get_args(hint)[1]
    return found


class _Elsewhere(ValueError):
    """Says itself where."""


def _read_hosts(value: object) -> tuple[Host, ...]:
    if not isinstance(value, list):
        raise ValueError("a list of hosts belongs here")
    if len(value) > MAX_HOSTS:
        raise ValueError(f"{MAX_HOSTS} hosts at most, not {len(value)}")
    try:
        return tuple(_read(Host, host, f"hosts[{number}].") for number, host in enumerate(value))
    except ValueError as error:
        raise _Elsewhere(*error.args) from None


def _checked(config: SconConfig) -> SconConfig:
    """What no key alone can tell.

    Raises:
      ValueError: says where, and what.
    """
    for number, host in enumerate(config.hosts):
        if host.addr == ("", 0):
            raise ValueError(f'hosts[{number}].addr is missing; write addr = "HOST:PORT"')
    resolv, cluster = config.upstream_option.resolv, config.cluster
    if resolv != Resolver() and not resolv.port:
        raise ValueError("upstream_option.resolv.port is missing")
    if not config.hosts and not resolv.port:
        raise ValueError("there is no backend: hosts is empty, and upstream_option.resolv not set")
    if not config.tcp:
        raise ValueError("tcp: there is nothing to listen at")
    guarded = config.manager_option.token_file or not config.manager
    if not guarded and not parse_place(config.manager).private:
        raise ValueError(
            f"manager = {config.manager!r}: strangers reach it; give manager_option.token_file, "
            "or choose 127.0.0.1"
        )
    if cluster.redis:
        for name in ("listen", "advertise", "key_file"):
            if not getattr(cluster, name):
                raise ValueError(f"cluster.{name} is missing, which cluster.redis needs")
    return config


def read_key(path: str) -> bytes:
    """Read a key from a file that strangers cannot read.

    Raises:
      UsageError: it cannot be read, strangers can read it, or it is too short or too long.
    """
    return secret_file.read_secret(path, MIN_PSK, MAX_PSK)


def dump(config: SconConfig) -> str:
    """The configuration as TOML, all defaults included, a password in a URL left out.

    What it says can be read again.
    """
    lines = list(_lines(config, ""))
    for host in config.hosts:
        lines += ["", "[[hosts]]", *_lines(host, "")]
    return "".join(f"{line}\n" for line in lines)


def _lines(section: object, place: str) -> list[str]:
    lines: list[str] = []
    for name, read in _KEYS[type(section)].items():
        value = getattr(section, name)
        if isinstance(read, type):
            if value != Resolver():  # that was not set: its default is no resolver
                lines += _lines(value, f"{place}{name}.")
        elif value is not None and name != "hosts":
            lines.append(f"{place}{name} = {_toml(_without_password(value))}")
    return lines


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case (str(host), int(port)):
            return json.dumps(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        case tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case str():
            # A basic string of TOML is one of JSON, but for DEL.
            return json.dumps(value).replace("\x7f", "\\u007f")
        case _:
            return repr(value)


def _without_password(value: object) -> object:
    """``redis://user:password@host`` with the password hidden."""
    if not isinstance(value, str) or "://" not in value or "@" not in value:
        return value
    scheme, _, rest = value.partition("://")
    login, _, place = rest.rpartition("@")
    return f"{scheme}://{login.partition(':')[0]}:***@{place}"


def _shown(value: object) -> str:
    try:
        shown = ascii(value)
    except (ValueError, RecursionError):  # a number of thousands of digits
        return "…"
    return shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}…"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


_KEYS: Final[dict[type, dict[str, type | keys.Reader]]] = {
    kind: _keys_of(kind)
    for kind in (
        SconConfig,
        Scp,
        TcpOption,
        KcpOption,
        UpstreamOption,
        Resolver,
        ManagerOption,
        Cluster,
        Host,
    )
}
