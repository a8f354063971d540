"""The command line of `trioet connect`: ET's flags by their names, ssh's where ssh has one.

Imports nothing slow: ssh is started right after this.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

from trioet.bootstrap.credentials import DEFAULT_TERM
from trioet.bootstrap.host import HostArgument, parse_host, parse_ports
from trioet.bootstrap.jump import Jump, ssh_jumps
from trioet.bootstrap.remote_command import remote_command
from trioet.bootstrap.spawn import SshTarget
from trioet.cli.forward_options import add_forward_arguments, read_forwards
from trioet.cli.jump_options import add_jump_arguments, read_jumps
from trioet.cli.parser import Parser
from trioet.cli.ssh_options import Once, add_login_arguments, agreed
from trioet.cli.way_options import Via, add_srv_argument, add_way_arguments, read_srv
from trioet.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from trioet.wire.forward import Forward

DEFAULT_PORT: Final = 2022
"""Where trioet and ET servers listen, unless they say otherwise."""

KEEPALIVE_RANGE_S: Final = (1.0, 180.0)
"""As long as trioet itself is silent. Against a real etserver, which gives a client up that is
silent for long, more than 5 s are taken for 5."""

MACSERVER_TERMINAL: Final = "/usr/local/bin/etterminal"

FIRST_CONTROL: Final = "A"
LAST_CONTROL: Final = "_"
"""What makes a control character after ``^``: these and what is between, or a small letter."""

USAGE: Final = "trioet connect [options] [user@]host[:port[,port]] [-- COMMAND...]"

EPILOG: Final = """\
An IPv6 address may stand in brackets, and must if a port follows it. Everything else about
the host comes from ssh's configuration: HostName, User, keys, jump hosts and the rest.

While connected, after Enter: ~. disconnects, ~^Z suspends, ~L logs in again by ssh, ~? lists
what there is.
The exit status is that of the remote shell or COMMAND; 255 if trioet or ssh failed.
"""


class SshBackend(Enum):
    """Who speaks ssh for us."""

    OPENSSH = "openssh"
    ASYNCSSH = "asyncssh"


class ConnectOptions(NamedTuple):
    """What the user asked for.

    None means that it was not said: ``user`` comes from ssh's configuration then,
    ``port`` from the invitation, ``escape`` from EscapeChar, ``forward_agent`` from
    ForwardAgent, ``agent_socket`` from IdentityAgent, and ``ssh_backend`` from whether there
    is an ssh program; ``keepalive_s`` is left to what is learnt. ``gateway_ports`` holds in
    ``forwards`` already.
    """

    host: str
    user: str | None = None
    port: int | None = None
    more_ports: tuple[int, ...] = ()
    via: Via = Via.AUTO
    srv: bool = False
    command: str | None = None
    stays: bool = False
    """With a command: leave the shell open after it (``--noexit``)."""

    term: str = DEFAULT_TERM
    """Our terminal's TERM."""

    keepalive_s: float | None = None
    kill_other_sessions: bool = False
    has_terminal: bool = True
    terminal_path: str | None = None
    server_fifo: str | None = None
    config_file: str | None = None
    identity_files: tuple[str, ...] = ()
    ssh_options: tuple[str, ...] = ()
    verbose: int = 0
    ssh_backend: SshBackend | None = None
    escape: str | None = None
    forwards: tuple[Forward, ...] = ()
    gateway_ports: bool = False
    forward_agent: bool | None = None
    agent_socket: str | None = None
    jumps: tuple[Jump, ...] | None = ()
    """None: those of ssh's ProxyJump."""

    @property
    def ssh_target(self) -> SshTarget:
        """Whom ssh is to call, and how."""
        return SshTarget(
            self.host,
            user=self.user,
            config_file=self.config_file,
            identity_files=self.identity_files,
            options=self.ssh_options,
            verbose=self.verbose,
            gateway_ports=self.gateway_ports,
            jumps=ssh_jumps(self.jumps or ()),
        )

    @property
    def remote_command(self) -> str:
        """What ssh is to run there. ``parse`` has checked that it can be written."""
        return remote_command(
            term=self.term,
            terminal_path=self.terminal_path,
            server_fifo=self.server_fifo,
            port=self.port,
            kill_other_sessions=self.kill_other_sessions,
        )


def parse_escape(text: str) -> bytes | None:
    """The escape character that ``--escape`` or ssh's EscapeChar means; None: there is none.

    As with ssh: one character, ``^`` and a letter, or ``none``.

    Raises:
      UsageError: it is none of these.
    """
    if text == "none":
        return None
    if text.isascii():
        if len(text) == 1:
            return text.encode()
        if len(text) == 2 and text[0] == "^" and FIRST_CONTROL <= text[1].upper() <= LAST_CONTROL:
            return bytes([ord(text[1]) & 0x1F])
    raise UsageError(f"escape character {text!r}: one character, ^ and a letter, or none")


def add_connect_arguments(parser: argparse.ArgumentParser) -> None:
    """Define every option of `trioet connect`, and the host."""
    parser.add_argument("host", metavar="[user@]host[:port[,port]]", help="as ssh knows it")
    _add_session_arguments(parser.add_argument_group("session"))
    tunnels = parser.add_argument_group("tunnels")
    add_forward_arguments(tunnels)
    _add_agent_arguments(tunnels)
    server = parser.add_argument_group("the other end")
    add_server_arguments(server)
    add_way_arguments(server)
    way_there = parser.add_argument_group("the way there")
    add_srv_argument(way_there)
    add_jump_arguments(way_there)
    add_ssh_arguments(parser.add_argument_group("ssh, which brings the key there"))


def _add_session_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        *("-c", "--command"),
        action=Once,
        help="run COMMAND instead of a shell; the same as `-- COMMAND`",
    )
    group.add_argument(
        *("-e", "--noexit"),
        action="store_true",
        help="type the command into a shell, and stay in it",
    )
    group.add_argument(
        *("-N", "--no-terminal"),
        action="store_true",
        help="no terminal: hold the connection, show nothing",
    )
    group.add_argument(
        *("-k", "--keepalive"),
        action=Once,
        metavar="S",
        type=_keepalive,
        help="seconds between signs of life, 1 to 180 (default: 5, and fewer when idle)",
    )
    group.add_argument(
        "--escape",
        action=Once,
        metavar="C",
        type=_escape,
        help="escape character, ^ and a letter, or `none` (default: ssh's EscapeChar, ~)",
    )
    group.add_argument(
        *("-x", "--kill-other-sessions"),
        action="store_true",
        help="end all other sessions of this user there first",
    )


def _add_agent_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        *("-A", "-f", "--forward-ssh-agent"),
        action="store_const",
        const=True,
        dest="forward_agent",
        help="let the session use your ssh agent",
    )
    group.add_argument(
        *("-a",),
        action="store_const",
        const=False,
        dest="forward_agent",
        help="do not, whatever ssh's configuration says",
    )
    group.add_argument(
        "--ssh-socket",
        action=Once,
        dest="agent_socket",
        metavar="P",
        help="socket of that agent (default: ssh's IdentityAgent, else $SSH_AUTH_SOCK)",
    )


def add_server_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        *("-p", "--port"),
        action=Once,
        metavar="N[,N]",
        type=_ports,
        help=f"port of the trioet or ET server (default: what it says, else {DEFAULT_PORT}); of "
        "several, whichever works; that of sshd is ssh's business: -o Port=N",
    )
    group.add_argument(
        "--terminal-path",
        action=Once,
        metavar="P",
        help="trioet or etterminal at the destination (default: found on PATH)",
    )
    group.add_argument(
        "--macserver",
        action="store_true",
        help=f"the same as --terminal-path {MACSERVER_TERMINAL}",
    )
    group.add_argument(
        "--serverfifo",
        action=Once,
        metavar="P",
        help="socket of the server there (default: the usual one)",
    )


def add_ssh_arguments(
    group: argparse._ArgumentGroup,
    verbosity: str = "have ssh tell what it does; more with -vv, -vvv",
) -> None:
    add_login_arguments(group)
    group.add_argument(
        "-v",
        action="count",
        dest="verbose",
        default=0,
        help=verbosity,
    )
    group.add_argument(
        "--ssh-backend",
        action=Once,
        type=_ssh_backend,
        metavar="{openssh,asyncssh}",
        help="your own ssh program (the default where there is one), or a built-in one",
    )


def build_parser() -> argparse.ArgumentParser:
    """The parser of `trioet connect`; its errors are raised as UsageError."""
    parser = Parser(
        prog="trioet connect",
        usage=USAGE,
        description="Open a session that survives the loss of the network.",
        epilog=EPILOG,
    )
    add_connect_arguments(parser)
    return parser


def parse(argv: Sequence[str]) -> ConnectOptions:
    """Read the command line after `trioet connect`.

    Raises:
      UsageError: it makes no sense; says why.
      SystemExit: it asks for help, which is printed.
    """
    words = list(argv)
    # By ourselves: what argparse makes of `--` differs between Python versions.
    end = words.index("--") if "--" in words else len(words)
    namespace, unknown = build_parser().parse_known_args(words[:end])
    if unknown:
        if unknown[0].startswith("-") and len(unknown[0]) > 1:
            raise UsageError(f"no such option: {unknown[0]} (`trioet connect --help` lists them)")
        raise UsageError(f"write `--` before a command: {namespace.host} -- {' '.join(unknown)}")
    options = _options(namespace, words[end + 1 :])
    _ = options.remote_command  # raises what is wrong with its paths
    return options


def _options(given: argparse.Namespace, after_dashes: list[str]) -> ConnectOptions:
    host = parse_host(given.host)
    ports = agreed_ports(host, given)
    command = _command(given, after_dashes)
    jumps = read_jumps(given)
    if given.macserver and given.terminal_path:
        raise UsageError("--macserver and --terminal-path both say where the terminal is")
    return ConnectOptions(
        host=host.host,
        user=agreed(host.user, given.username, "user", "-u/-l"),
        port=next(iter(ports), None),
        more_ports=ports[1:],
        via=given.via,
        srv=read_srv(given, jumps),
        command=command,
        stays=given.noexit,
        keepalive_s=given.keepalive,
        kill_other_sessions=given.kill_other_sessions,
        has_terminal=not given.no_terminal,
        terminal_path=MACSERVER_TERMINAL if given.macserver else given.terminal_path,
        server_fifo=given.serverfifo,
        config_file=given.config_file,
        identity_files=tuple(given.identity_files),
        ssh_options=tuple(given.ssh_options),
        verbose=given.verbose,
        ssh_backend=given.ssh_backend,
        escape=given.escape,
        forwards=read_forwards(given),
        gateway_ports=given.gateway_ports,
        forward_agent=given.forward_agent,
        agent_socket=given.agent_socket,
        jumps=jumps,
    )


def _command(given: argparse.Namespace, after_dashes: list[str]) -> str | None:
    if given.command is not None and after_dashes:
        raise UsageError("a command is given twice: by -c, and after `--`")
    command: str | None = given.command
    if after_dashes:
        command = " ".join(after_dashes)  # as ssh does: the far shell splits it again
    if command is not None and not command.strip():
        raise UsageError("the command is empty")
    if command is None and given.noexit:
        raise UsageError("-e/--noexit needs a command, to stay after it")
    if command is not None and given.no_terminal:
        raise UsageError("-N/--no-terminal runs no command")
    return command


def agreed_ports(host: HostArgument, given: argparse.Namespace) -> tuple[int, ...]:
    """The ports that host or ``-p`` name; none if it is left to the far side."""
    in_host = () if host.port is None else (host.port, *host.more_ports)
    return agreed(in_host or None, given.port, "port", "-p") or ()


def _keepalive(text: str) -> float:
    least, most = KEEPALIVE_RANGE_S
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not least <= seconds <= most:
        raise argparse.ArgumentTypeError(f"{text!r}: from {least:g} to {most:g} seconds")
    return seconds


def _ports(text: str) -> tuple[int, ...]:
    try:
        return parse_ports(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _escape(text: str) -> str:
    parse_escape(text)
    return text


def _ssh_backend(text: str) -> SshBackend:
    try:
        return SshBackend(text)
    except ValueError:
        names = " and ".join(backend.value for backend in SshBackend)
        raise argparse.ArgumentTypeError(f"{text!r}: there are {names}") from None
