"""The command line of `trioet web`: GoTTY's options by their names, with defaults that are safe."""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
import secrets
import shutil
import signal
from collections.abc import Sequence
from typing import Any, Final

from trioet.cli.web_config import read_settings, take_variables
from trioet.cli.web_far_options import add_far_arguments, read_far
from trioet.errors import UsageError
from trioet.web.options import (
    DEFAULT_ARGUMENT,
    DEFAULT_LINGER_S,
    DEFAULT_PING_S,
    DEFAULT_PORT,
    Far,
    WebOptions,
)
from trioet.wire.web_forwarded import Proxies, proxies

DEFAULT_RANDOM_LENGTH: Final = 16
"""Characters of a random path; GoTTY's 8 can be guessed."""

MIN_RANDOM_LENGTH: Final = 8

BASE36: Final = "0123456789abcdefghijklmnopqrstuvwxyz"

CERTIFICATE, KEY, AUTHORITY = "~/.gotty.crt", "~/.gotty.key", "~/.gotty.ca.crt"
"""Where GoTTY has them."""


def build_parser() -> argparse.ArgumentParser:
    """Every option."""
    parser = argparse.ArgumentParser(
        prog="trioet web",
        usage="trioet web [options] -- COMMAND...\n"
        "       trioet web --connect [user@]host [options] [-- COMMAND...]",
        description="Serve a command to browsers, each visitor a session of its own that "
        "survives reloads, sleep and the loss of the network. Options are GoTTY's by their names.",
        epilog="Without -w visitors look on. Without --address only this machine's browsers come "
        "in. SIGHUP reads certificates again; when it is stopped, sessions live on, and pages come "
        "back to them when it is started again.",
    )
    _add_where(parser.add_argument_group("where"))
    _add_who(parser.add_argument_group("who"))
    _add_what(parser.add_argument_group("what"))
    _add_how_long(parser.add_argument_group("how long, how many"))
    add_far_arguments(parser)
    parser.add_argument(
        "--print-unit",
        action="store_true",
        help="print a systemd unit of yours that runs this, and exit",
    )
    parser.add_argument("--config", metavar="FILE", help="a configuration file of GoTTY's")
    parser.add_argument("-q", "--quiet", action="store_true", default=None, help="log less")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="what to run")
    return parser


def _add_where(where: argparse._ArgumentGroup) -> None:
    where.add_argument("-a", "--address", metavar="ADDR", help="listen there (127.0.0.1)")
    where.add_argument("-p", "--port", help=f"TCP port, 0 for any ({DEFAULT_PORT})")
    where.add_argument("--unix-socket", metavar="PATH", help="listen there instead; mode 0600")
    where.add_argument("-m", "--path", help="base path of the page (/)")
    where.add_argument(
        "-r", "--random-url", action="store_true", default=None, help="a base path nobody guesses"
    )
    where.add_argument("--random-url-length", type=int, metavar="N", help="its length (16)")
    where.add_argument(
        "--hostname",
        action="append",
        metavar="NAME",
        help="a name that browsers may call this server by, beside the machine's; repeatable",
    )


def _add_who(who: argparse._ArgumentGroup) -> None:
    who.add_argument(
        "-w", "--permit-write", action="store_true", default=None, help="let them type"
    )
    who.add_argument(
        "-c",
        "--credential",
        metavar="USER:PASSWORD",
        help="ask for these; others see them in ps, so better --credential-file",
    )
    who.add_argument(
        "--credential-file",
        metavar="FILE",
        help="lines USER:PASSWORD, the password in clear or as an argon2 hash",
    )
    who.add_argument(
        "--token", action="store_true", default=None, help="print a link that lets in who has it"
    )
    who.add_argument("--ws-origin", metavar="REGEX", help="pages of these origins may connect")
    who.add_argument("--ws-query-args", metavar="QUERY", help="pages connect to ws?QUERY")
    who.add_argument(
        "--trusted-proxy",
        action="append",
        metavar="ADDR[/BITS]",
        help="believe the X-Forwarded-For of a proxy there, or `unix`, of who comes by "
        "--unix-socket; repeatable",
    )
    who.add_argument("-t", "--tls", action="store_true", default=None, help="speak TLS")
    who.add_argument("--tls-crt", metavar="FILE", help=f"certificate ({CERTIFICATE})")
    who.add_argument("--tls-key", metavar="FILE", help=f"its key ({KEY})")
    who.add_argument(
        "--tls-ca-crt", metavar="FILE", help="visitors need a certificate that this one signed"
    )


def _add_what(what: argparse._ArgumentGroup) -> None:
    what.add_argument(
        "--shares",
        action="store_true",
        help="no COMMAND, only sessions for which there is a link by `trioet share`",
    )
    what.add_argument(
        "--permit-arguments",
        action="store_true",
        default=None,
        help="append what the page's ?arg= say to COMMAND",
    )
    what.add_argument(
        "--argument-pattern",
        metavar="REGEX",
        help="each of them has to match it as a whole (letters, digits, no option)",
    )
    what.add_argument(
        "--pass-headers",
        action="store_true",
        default=None,
        help="COMMAND gets what a browser says of itself: User-Agent as HTTP_USER_AGENT",
    )
    what.add_argument("--width", type=int, metavar="N", help="columns, whatever the page has")
    what.add_argument("--height", type=int, metavar="N", help="rows")
    what.add_argument("--close-signal", metavar="N", help="what COMMAND gets at the end (HUP)")
    what.add_argument("--close-timeout", type=float, metavar="S", help="from that to KILL (10 s)")
    what.add_argument(
        "--linger",
        type=float,
        metavar="S",
        help="how long COMMAND waits for a visitor who is away (a day)",
    )
    what.add_argument("--title-format", metavar="TEXT", help="{{ .command }}@{{ .hostname }}")
    what.add_argument("--index", metavar="FILE", help="your own index.html")
    what.add_argument("--favicon", metavar="FILE", help="your own icon: svg, png or ico")
    what.add_argument(
        "--enable-webgl",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="pages draw with the graphics card (they do)",
    )


def _add_how_long(how: argparse._ArgumentGroup) -> None:
    how.add_argument(
        "--reconnect", action="store_true", default=None, help="a new session when one is over"
    )
    how.add_argument("--reconnect-time", type=int, metavar="S", help="after so long (10 s)")
    how.add_argument("--max-connection", type=int, metavar="N", help="visitors at once (no limit)")
    how.add_argument("--once", action="store_true", default=None, help="one session, then end")
    how.add_argument("--timeout", type=float, metavar="S", help="end when nobody was there so long")
    how.add_argument(
        "--ping-interval", type=int, metavar="S", help="between signs of life (30 s); 0: none"
    )


def read_options(argv: Sequence[str]) -> WebOptions:
    """Make sense of a command line.

    Raises:
      UsageError: it makes none, or would not be safe.
    """
    parsed = build_parser().parse_args(argv)
    far = read_far(parsed)
    given = vars(parsed)
    words = given.pop("command")
    command = words[1:] if words[:1] == ["--"] else words
    shares = given.pop("shares")
    if shares and (command or far):
        raise UsageError("--shares runs no command; a trioet web that runs one shows shares too")
    if not (command or far or shares):
        raise UsageError("which command? trioet web [options] -- COMMAND...")
    said = take_variables(os.environ)
    if said and given["print_unit"]:
        raise UsageError("--print-unit: a unit has no GOTTY_ variables; use the command line")
    config = given.pop("config") or said.pop("config", None)
    settings = read_settings(config) | said if config else said
    settings |= {name: value for name, value in given.items() if value is not None}
    argv = tuple(command) if far or not command else _found(command)
    options = _options(settings, argv, far)
    if options.pass_headers and (far or options.e2e):
        raise UsageError("--pass-headers: only what runs here is told of a request")
    _check_safe(options)
    _check_e2e(options)
    return options


def _options(settings: dict[str, Any], command: tuple[str, ...], far: Far | None) -> WebOptions:
    defaults = WebOptions(command)
    said = settings.get
    has_tls = bool(said("tls") or said("tls_crt"))
    pattern = said("argument_pattern") or DEFAULT_ARGUMENT
    return WebOptions(
        command=command,
        far=far,
        e2e=bool(said("e2e")),
        print_unit=bool(said("print_unit")),
        address=said("address") or defaults.address,
        port=_number("port", said("port", DEFAULT_PORT), 0, 65535),
        unix_socket=said("unix_socket") or "",
        path=_base_path(settings),
        permit_write=bool(said("permit_write")),
        permit_arguments=bool(said("permit_arguments")),
        argument_pattern=_regex("argument-pattern", pattern),
        credentials=_credentials(settings),
        wants_token=bool(said("token")),
        tls_certificate=_path(said("tls_crt") or CERTIFICATE) if has_tls else "",
        tls_key=_path(said("tls_key") or KEY) if has_tls else "",
        tls_ca=_client_authority(settings, has_tls),
        proxies=_proxies(settings),
        hostnames=tuple(said("hostname") or ()),
        ws_origin=_regex("ws-origin", str(said("ws_origin"))) if said("ws_origin") else None,
        index=_readable("index", said("index")),
        title_format=said("title_format") or defaults.title_format,
        reconnect_s=_number("reconnect-time", said("reconnect_time", 10), 0, 86400)
        if said("reconnect")
        else None,
        max_connection=_number("max-connection", said("max_connection", 0), 0, 1 << 20),
        once=bool(said("once")),
        timeout_s=_seconds("timeout", said("timeout", 0), 1 << 31),
        width=_number("width", said("width", 0), 0, 10_000),
        height=_number("height", said("height", 0), 0, 10_000),
        close_signal=_signal(said("close_signal", signal.SIGHUP)),
        close_timeout_s=_close_timeout(said("close_timeout", -1)),
        favicon=_favicon(settings),
        pass_headers=bool(said("pass_headers")),
        ws_query=str(said("ws_query_args") or ""),
        ping_s=_number("ping-interval", said("ping_interval", DEFAULT_PING_S), 0, 86400),
        linger_s=_seconds("linger", said("linger", DEFAULT_LINGER_S), 30 * 86400),
        preferences=_preferences(settings),
        quiet=bool(said("quiet")),
    )


def _check_safe(options: WebOptions) -> None:
    """Nobody may type here whom nobody asked who he is, unless he is on this machine."""
    lets_in_anybody = not (options.needs_login or options.tls_ca or options.e2e)
    if options.permit_write and lets_in_anybody and not is_private(options):
        raise UsageError(
            f"-w on {options.address} lets everybody type who can reach it; "
            "ask who they are: --credential-file, --token or --tls-ca-crt; or listen on 127.0.0.1"
        )


def _check_e2e(options: WebOptions) -> None:
    """There is one session, which nobody can ask for."""
    if not options.e2e:
        return
    settings = {
        "--permit-arguments": options.permit_arguments,
        "--token": options.wants_token,
        "--reconnect": options.reconnect_s is not None,
        "--print-unit": options.print_unit,
    }
    for name, is_set in settings.items():
        if is_set:
            raise UsageError(f"{name} and --e2e: there is one session, by the link that is printed")


def is_private(options: WebOptions) -> bool:
    """True if only this machine's users can connect."""
    if options.unix_socket or options.address == "localhost":
        return True
    try:
        return ipaddress.ip_address(options.address).is_loopback
    except ValueError:
        return False


def _found(command: Sequence[str]) -> tuple[str, ...]:
    path = shutil.which(command[0])
    if path is None:
        raise UsageError(f"{command[0]}: there is no such command on PATH")
    return (os.path.abspath(path), *command[1:])


def _proxies(settings: dict[str, Any]) -> Proxies:
    try:
        found = proxies(settings.get("trusted_proxy") or [])
    except ValueError as error:
        raise UsageError(f"--trusted-proxy: {error}") from None
    if found.unix and not settings.get("unix_socket"):
        raise UsageError("--trusted-proxy unix makes sense with --unix-socket only")
    return found


def _base_path(settings: dict[str, Any]) -> str:
    if settings.get("random_url"):
        asked = settings.get("random_url_length", DEFAULT_RANDOM_LENGTH)
        length = _number("random-url-length", asked, MIN_RANDOM_LENGTH, 256)
        return "/" + "".join(secrets.choice(BASE36) for _ in range(length)) + "/"
    path = str(settings.get("path") or "/")
    if not re.fullmatch(r"[A-Za-z0-9._~/-]*", path) or "//" in path or ".." in path:
        raise UsageError(f"--path {path}: a path has letters, digits and / - . _ ~")
    return "/" + path.strip("/") + "/" if path.strip("/") else "/"


def _credentials(settings: dict[str, Any]) -> dict[str, str]:
    lines = []
    if file := settings.get("credential_file"):
        try:
            with open(_path(file), encoding="utf-8") as opened:
                lines += [line.strip() for line in opened]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--credential-file {file}: {error}") from error
        lines = [line for line in lines if line and not line.startswith("#")]
        if not lines:
            raise UsageError(f"--credential-file {file}: nobody is in it")
    if one := settings.get("credential"):
        lines.append(str(one))
    if settings.get("basic_auth") and not lines:
        raise UsageError("enable_basic_auth without a credential")
    found = {}
    for line in lines:
        user, colon, password = line.partition(":")
        if not (user and colon and password):
            raise UsageError("a credential is USER:PASSWORD, and neither is empty")
        found[user] = password
    return found


def _client_authority(settings: dict[str, Any], has_tls: bool) -> str:
    file = settings.get("tls_ca_crt")
    if settings.get("tls_client_auth"):
        file = file or AUTHORITY
    if file and not has_tls:
        raise UsageError("--tls-ca-crt: client certificates need TLS: -t")
    return _path(str(file)) if file else ""


def _readable(option: str, file: str | None) -> str:
    if file and not os.access(_path(file), os.R_OK):
        raise UsageError(f"--{option} {file}: cannot be read")
    return _path(file) if file else ""


def _favicon(settings: dict[str, Any]) -> str:
    file = settings.get("favicon")
    if file and not str(file).endswith((".svg", ".png", ".ico")):
        raise UsageError(f"--favicon {file}: a file, .svg, .png or .ico; pages load nothing else")
    return _readable("favicon", file)


def _preferences(settings: dict[str, Any]) -> dict[str, object]:
    found = dict(settings.get("preferences") or {})
    if (webgl := settings.get("enable_webgl")) is not None:
        found["enable_webgl"] = webgl
    return found


def _path(file: str) -> str:
    return os.path.expanduser(file)


def _regex(option: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--{option} {pattern}: {error}") from error


def _number(option: str, value: object, least: int, most: int) -> int:
    try:
        number = int(float(str(value)))
    except (ValueError, OverflowError):
        raise UsageError(f"--{option} {value}: not a number") from None
    if not least <= number <= most:
        raise UsageError(f"--{option} {value}: from {least} to {most}")
    return number


def _seconds(option: str, value: object, most: int) -> float:
    try:
        number = float(str(value))
    except ValueError:
        raise UsageError(f"--{option} {value}: not a number") from None
    if not 0 <= number <= most:
        raise UsageError(f"--{option} {value}: from 0 to {most}")
    return number


def _close_timeout(value: object) -> float:
    """GoTTY's default is -1, by which it means ten seconds."""
    return 10.0 if str(value) in ("-1", "-1.0") else _seconds("close-timeout", value, 86400)


def _signal(value: object) -> int:
    """A signal by its number or its name."""
    text = str(int(value) if isinstance(value, signal.Signals) else value).upper()
    name = text if text.startswith("SIG") else f"SIG{text}"
    if name in signal.Signals.__members__:
        return signal.Signals[name].value
    number = _number("close-signal", text, 1, 64)
    if number not in set(map(int, signal.valid_signals())):
        raise UsageError(f"--close-signal {value}: no such signal")
    return number
