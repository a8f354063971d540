"""What the user's ssh configuration says of a host: the answer of ``ssh -G``.

``ssh`` itself has read the files, so Include, Match, tokens and defaults are right.
"""

from __future__ import annotations

import os
import pwd
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import translate
from typing import Final

from trioet.errors import StepFailed, UsageError
from trioet.wire.forward import Forward, UnixPath
from trioet.wire.forward_specs import parse_printed

PATH_GAP: Final = re.compile(r" +(?=[/~%$])")
"""Between two paths on one line; ssh prints them unquoted, whatever they contain."""

TOKEN: Final = re.compile("%(.)")


@dataclass(frozen=True, slots=True)
class SshConfig:
    """The words that trioet acts on. Paths may hold ``~`` and %-tokens, as ssh prints them."""

    hostname: str
    port: int = 22
    user: str = ""
    address_family: str = "any"
    set_env: tuple[tuple[str, str], ...] = ()
    send_env: tuple[str, ...] = ()
    request_tty: str = "auto"
    session_type: str = "default"
    stdin_null: bool = False
    escape_char: str = "~"
    identity_files: tuple[str, ...] = ()
    certificate_files: tuple[str, ...] = ()
    identity_agent: str | None = None
    identities_only: bool = False
    proxy_jump: str | None = None
    proxy_command: str | None = None
    host_key_alias: str | None = None
    strict_host_key_checking: str = "ask"
    user_known_hosts: tuple[str, ...] = ()
    global_known_hosts: tuple[str, ...] = ()
    known_hosts_command: str | None = None
    hash_known_hosts: bool = False
    connect_timeout_s: float | None = None
    local_forwards: tuple[Forward, ...] = ()
    remote_forwards: tuple[Forward, ...] = ()
    dynamic_forwards: tuple[Forward, ...] = ()
    gateway_ports: bool = False
    """Holds in the forwards above already."""

    exit_on_forward_failure: bool = False
    forward_agent: str = "no"
    """``no``, ``yes``, or which agent: the path of its socket, or ``$NAME`` of a variable."""


def parse_ssh_config(output: bytes) -> SshConfig:
    """Read the answer of ``ssh -G``. Words it does not know are passed over.

    Raises:
      StepFailed: it is no such answer, or asks for a tunnel that we cannot make.
    """
    words: defaultdict[str, list[str]] = defaultdict(list)
    for line in output.decode(errors="surrogateescape").splitlines():
        word, _, value = line.partition(" ")
        words[word.lower()].append(value)
    try:
        return _with_forwards(_config(words), words)
    except (ValueError, IndexError) as error:
        hint = "does `ssh -G HOST` print the configuration of a host?"
        raise StepFailed("ssh", "the answer of `ssh -G` cannot be read", hint) from error


def _config(words: Mapping[str, list[str]]) -> SshConfig:
    def one(word: str, default: str = "") -> str:
        return words[word][0] if word in words else default

    def one_or_none(word: str) -> str | None:
        value = one(word, "none")
        return None if value == "none" else value

    def yes(word: str) -> bool:
        return one(word) in ("yes", "true")

    timeout = one_or_none("connecttimeout")
    return SshConfig(
        hostname=words["hostname"][0],
        port=_port(one("port", "22")),
        user=one("user"),
        address_family=one("addressfamily", "any"),
        set_env=tuple(_assignment(value) for value in words["setenv"]),
        send_env=tuple(words["sendenv"]),
        request_tty=one("requesttty", "auto"),
        session_type=one("sessiontype", "default"),
        stdin_null=yes("stdinnull"),
        escape_char=one("escapechar", "~"),
        identity_files=tuple(words["identityfile"]),
        certificate_files=tuple(words["certificatefile"]),
        identity_agent=one("identityagent") or None,
        identities_only=yes("identitiesonly"),
        proxy_jump=one_or_none("proxyjump"),
        proxy_command=one_or_none("proxycommand"),
        host_key_alias=one_or_none("hostkeyalias"),
        strict_host_key_checking=one("stricthostkeychecking", "ask"),
        user_known_hosts=_paths(one("userknownhostsfile")),
        global_known_hosts=_paths(one("globalknownhostsfile")),
        known_hosts_command=one_or_none("knownhostscommand"),
        hash_known_hosts=yes("hashknownhosts"),
        connect_timeout_s=float(timeout) if timeout else None,
        gateway_ports=yes("gatewayports"),
        exit_on_forward_failure=yes("exitonforwardfailure"),
        forward_agent=one("forwardagent", "no"),
    )


def _with_forwards(config: SshConfig, words: Mapping[str, list[str]]) -> SshConfig:
    def forwards(word: str) -> list[Forward]:
        return [
            parse_printed(word, text, gateway_ports=config.gateway_ports)
            for text in words.get(word.lower(), ())
        ]

    try:
        local, remote = forwards("LocalForward"), forwards("RemoteForward")
        dynamic = forwards("DynamicForward")
    except UsageError as error:
        raise StepFailed("ssh", f"ssh's configuration: {error}") from error
    # ssh -G (9.2) prints a LocalForward to a Unix socket as a DynamicForward, too.
    sockets = {forward.listen for forward in local if isinstance(forward.destination, UnixPath)}
    return replace(
        config,
        local_forwards=tuple(local),
        remote_forwards=tuple(remote),
        dynamic_forwards=tuple(forward for forward in dynamic if forward.listen not in sockets),
    )


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise ValueError(port)
    return port


def _assignment(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _paths(text: str) -> tuple[str, ...]:
    return tuple(path for path in PATH_GAP.split(text) if path not in ("", "none"))


def check_usable(config: SshConfig, host: str) -> None:
    """Refuse configurations under which ssh runs no command or reads no key.

    Raises:
      StepFailed: with the words to change.
    """
    if config.session_type != "default":
        word, value, remedy = "SessionType", config.session_type, "default"
    elif config.stdin_null:
        word, value, remedy = "StdinNull", "yes", "no"
    else:
        return
    raise StepFailed(
        "ssh",
        f"ssh's configuration for {host} says `{word} {value}`: ssh cannot start a session so",
        f"give trioet a Host entry without it, or add `-o {word}={remedy}`",
    )


def expand(text: str, config: SshConfig, host: str) -> str:
    """Replace %-tokens, ``${NAME}`` and a leading ``~``, as ssh does where it uses a value.

    ``host`` is the host as the user wrote it (%n). Tokens it does not know stay.
    """
    tokens = {
        "%": "%",
        "d": os.path.expanduser("~"),
        "h": config.hostname,
        "i": str(os.getuid()),
        "k": config.host_key_alias or host,
        "n": host,
        "p": str(config.port),
        "r": config.user,
        "u": pwd.getpwuid(os.getuid()).pw_name,
    }
    text = TOKEN.sub(lambda match: tokens.get(match[1], match[0]), text)
    return os.path.expanduser(os.path.expandvars(text))


def environment_to_send(
    config: SshConfig, environment: Mapping[bytes, bytes]
) -> dict[bytes, bytes]:
    """What SetEnv and SendEnv ask to be set for the session, out of ``os.environb``.

    As with ssh, SetEnv wins, and patterns know ``*`` and ``?`` only.
    """
    patterns = [_pattern(text) for text in config.send_env]
    sent = {
        name: value
        for name, value in environment.items()
        if any(pattern.fullmatch(name.decode(errors="surrogateescape")) for pattern in patterns)
    }
    for name, value in config.set_env:
        sent[_raw(name)] = _raw(value)
    return sent


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(translate(text.replace("[", "[[]")))


def _raw(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
