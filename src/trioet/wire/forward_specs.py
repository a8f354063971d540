"""How people write tunnels: ssh's -L, -R and -D, Eternal Terminal's -t and -r, and ~C.

Sources: ssh(1), "-L", "-R", "-D" and "ESCAPE CHARACTERS"; ``parse_forward`` in OpenSSH's
readconf.c; Eternal Terminal specification 5.2. Where Eternal Terminal reads on past what
makes no sense, this does not. ``/udp`` at the end, for datagrams, is our own.

Whatever is wrong is a `UsageError` that shows the place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from trioet.errors import UsageError
from trioet.wire.forward import (
    ANYWHERE,
    LOOPBACK,
    Address,
    Endpoint,
    Forward,
    Side,
    UnixPath,
    Variable,
)

HIGHEST_PORT: Final = 65535

LONGEST_PATH: Final = 107
"""Bytes that the address of a Unix socket has room for (unix(7)), without the NUL."""

MOST_TUNNELS: Final = 1024
"""In one argument of -t or -r. Each takes a listening socket or two."""

UDP: Final = "/udp"

SESSION_HELP: Final = """\
  -L [bind:]port:host:hostport   listen here, connect from there
  -R [bind:]port:host:hostport   listen there, connect from here
  -D [bind:]port                 SOCKS here, connect from there
  -R [bind:]port                 SOCKS there, connect from here
  -KL [bind:]port                cancel what -L added; -KR and -KD likewise
Either end of -L and -R may be the /path of a Unix socket.
With /udp at the end, a tunnel between two ports is one for UDP."""

FIELD: Final = re.compile(r"\[([^\]]*)\]|((?:[^\\:]|\\.)*)", re.DOTALL)
ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
NO_HOST: Final = re.compile(r"[\s/\\\[\]]")
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
COMMAND: Final = re.compile(r"-(K?[LRD])\s*(.*)", re.DOTALL)
PRINTED: Final = re.compile(r"(\d+|\[[^\]]*\]:\d+|.+?) (\[[^\]]*\]:\d+|/.*|\S+)")
"""Two ends as ``ssh -G`` prints them: unquoted, whatever a path contains."""

LINE: Final = "\n        "


@dataclass(frozen=True, slots=True)
class Add:
    """``-L``, ``-R`` or ``-D`` after ~C."""

    forward: Forward


@dataclass(frozen=True, slots=True)
class Cancel:
    """``-KL``, ``-KR`` or ``-KD`` after ~C: stop what listens there."""

    option: str
    listen: Endpoint
    datagrams: bool = False

    def means(self, forward: Forward) -> bool:
        """Whether it is this one. As with ssh, -KL and -KD cancel each other's too."""
        side = Side.REMOTE if self.option == "-KR" else Side.LOCAL
        mine = (side, self.listen, self.datagrams)
        return mine == (forward.side, forward.listen, forward.datagrams)


@dataclass(frozen=True, slots=True)
class Help:
    """``-h``, ``?`` or ``help`` after ~C: show SESSION_HELP."""


SessionCommand = Add | Cancel | Help


def parse_ssh_local(text: str, *, gateway_ports: bool = False) -> Forward:
    """What ``-L text`` asks for.

    Args:
      gateway_ports: where no address to listen on is named, listen on all (-g).

    Raises:
      UsageError: it makes no sense; shows where.
    """
    spec = _Spec("-L", text)
    return _two_ended(Side.LOCAL, spec, *_fields(spec), _bare(gateway_ports))


def parse_ssh_remote(text: str) -> Forward:
    """What ``-R text`` asks for: a tunnel with two ends, or SOCKS on the far side.

    Raises:
      UsageError: it makes no sense; shows where.
    """
    spec = _Spec("-R", text)
    fields, datagrams = _fields(spec)
    if len(fields) == 1 or (len(fields) == 2 and not any(map(_is_path, fields))):
        return _dynamic(Side.REMOTE, spec, fields, datagrams, LOOPBACK)
    return _two_ended(Side.REMOTE, spec, fields, datagrams, LOOPBACK)


def parse_ssh_dynamic(text: str, *, gateway_ports: bool = False) -> Forward:
    """What ``-D text`` asks for: SOCKS on this side.

    Args:
      gateway_ports: as for `parse_ssh_local`.

    Raises:
      UsageError: it makes no sense; shows where.
    """
    spec = _Spec("-D", text)
    return _dynamic(Side.LOCAL, spec, *_fields(spec), _bare(gateway_ports))


def parse_printed(word: str, text: str, *, gateway_ports: bool = False) -> Forward:
    """What ``ssh -G`` prints after LocalForward, RemoteForward or DynamicForward.

    Raises:
      UsageError: trioet cannot do that; shows where.
    """
    spec = _Spec(word, text)
    side = Side.REMOTE if word == "RemoteForward" else Side.LOCAL
    bare = _bare(gateway_ports and side is Side.LOCAL)
    if word == "DynamicForward":
        return _dynamic(side, spec, _printed_end(spec, 0, len(text)), False, bare)
    ends = PRINTED.fullmatch(text)
    if ends is None:
        raise spec.wrong(len(text), "where to connect to is missing")
    listen = _printed_end(spec, *ends.span(1))
    if ends[2] == "[socks]:0":  # no host: nobody can connect to port 0
        return _dynamic(side, spec, listen, False, bare)
    return _two_ended(side, spec, [*listen, *_printed_end(spec, *ends.span(2))], False, bare)


def with_gateway_ports(forward: Forward) -> Forward:
    """The same as if -g had been given, for when GatewayPorts is learnt after the parsing.

    Tunnels that name an address to listen on, and those that ``-L`` and ``-D`` did not
    ask for, are what they were.
    """
    option, _, text = forward.written.partition(" ")
    parse = {"-L": parse_ssh_local, "-D": parse_ssh_dynamic}.get(option)
    return parse(text, gateway_ports=True) if parse else forward


def parse_et_tunnels(text: str, side: Side) -> list[Forward]:
    """What ``-t text`` (listening on the client) or ``-r text`` asks for, in order.

    Raises:
      UsageError: it makes no sense; shows where.
    """
    spec = _Spec("-t" if side is Side.LOCAL else "-r", text)
    if "," not in text and len(fields := _split(spec, 0, len(text))) > 2:
        return [_with_bind_address(side, spec, fields)]
    forwards: list[Forward] = []
    start = 0
    for item in text.split(","):
        fields = _split(spec, start, start + len(item))
        if len(fields) < 2:
            what = "source and destination are needed, with a `:` between them"
            raise spec.wrong(start + len(item), what)
        if len(fields) > 2:
            raise fields[2].wrong("beside a comma, source:destination is all there can be")
        forwards += _et_item(side, f"{spec.option} {item}", *fields)
        if len(forwards) > MOST_TUNNELS:
            raise spec.wrong(start, f"more than {MOST_TUNNELS} tunnels in one option")
        start += len(item) + 1
    return forwards


def parse_session_command(text: str, *, gateway_ports: bool = False) -> SessionCommand | None:
    """What the user wrote after ~C; None: nothing.

    Args:
      gateway_ports: as for `parse_ssh_local`.

    Raises:
      UsageError: it makes no sense; says why.
    """
    text = text.strip()
    if not text:
        return None
    if text in ("-h", "-?", "?", "h", "help"):
        return Help()
    command = COMMAND.fullmatch(text)
    if command is None:
        raise UsageError(f'there is no command "{_shown(text)}"; -h lists them')
    option, argument = f"-{command[1]}", command[2]
    if option == "-L":
        return Add(parse_ssh_local(argument, gateway_ports=gateway_ports))
    if option == "-R":
        return Add(parse_ssh_remote(argument))
    if option == "-D":
        return Add(parse_ssh_dynamic(argument, gateway_ports=gateway_ports))
    spec = _Spec(option, argument)
    fields, datagrams = _fields(spec)
    listen = _listen(fields, _bare(gateway_ports and option != "-KR"))
    if isinstance(listen, Address) and not listen.port:
        raise fields[-1].wrong("name the port that was chosen")
    return Cancel(option, listen, datagrams)


class _Spec(NamedTuple):
    """An option and what was written after it."""

    option: str
    text: str

    def wrong(self, at: int, what: str) -> UsageError:
        """The error that points at an index of the text."""
        shown = _shown(self.text)
        caret = " " * len(_shown(self.text[:at])) + "^"
        head = f"{self.option} {shown}: {what} (column {at + 1})"
        return UsageError(f"{head}{LINE}{shown}{LINE}{caret}")


class _Field(NamedTuple):
    """What is between two colons, without brackets and backslashes."""

    spec: _Spec
    at: int
    text: str

    def wrong(self, what: str) -> UsageError:
        return self.spec.wrong(self.at, what)


def _shown(text: str) -> str:
    """Fit for a terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _bare(gateway_ports: bool) -> str:
    """Where to listen if that is not said."""
    return ANYWHERE if gateway_ports else LOOPBACK


def _split(spec: _Spec, at: int, end: int) -> list[_Field]:
    """Cut at colons as ssh does: brackets and backslashes protect them."""
    fields: list[_Field] = []
    while True:
        field = FIELD.match(spec.text, at, end)
        assert field is not None  # it matches nothing, too
        bracketed: str | None = field[1]
        if bracketed is None and field[0].startswith("["):
            raise spec.wrong(at, "this bracket is never closed")
        plain = bracketed if bracketed is not None else ESCAPED.sub(r"\1", field[0])
        fields.append(_Field(spec, at, plain))
        if field.end() == end:
            return fields
        if spec.text[field.end()] != ":":
            backslash = "nothing follows this backslash"
            what = backslash if bracketed is None else "only a `:` can follow the bracket"
            raise spec.wrong(field.end(), what)
        at = field.end() + 1


def _fields(spec: _Spec) -> tuple[list[_Field], bool]:
    """The fields, and whether they end in ``/udp``, which is then cut off."""
    fields = _split(spec, 0, len(spec.text))
    last = fields[-1]
    if last.text.startswith("/") or not last.text.endswith(UDP):
        return fields, False
    fields[-1] = last._replace(text=last.text.removesuffix(UDP))
    for field in filter(_is_path, fields):
        raise field.wrong("UDP goes from port to port, not to or from Unix sockets")
    return fields, True


def _printed_end(spec: _Spec, start: int, end: int) -> list[_Field]:
    """The fields of one end as ``ssh -G`` prints it."""
    if re.fullmatch(r"\[[^\]]*\]:\d+", spec.text[start:end]):
        return _split(spec, start, end)
    return [_Field(spec, start, spec.text[start:end])]


def _two_ended(
    side: Side, spec: _Spec, fields: list[_Field], datagrams: bool, bare: str
) -> Forward:
    """``[bind:]port`` or a path, and then ``host:port`` or a path."""
    from_path, to_path = _is_path(fields[0]), _is_path(fields[-1])
    most = (1 if from_path else 2) + (1 if to_path else 2)
    if len(fields) > most:
        raise fields[most].wrong(f"too many parts{_brackets(spec)}")
    cut = 1 if from_path else len(fields) - (1 if to_path else 2)
    if not 0 < cut < len(fields):
        what = "both ends are needed: where to listen, and a host:port or /path to connect to"
        raise spec.wrong(len(spec.text), what)
    listen, destination = _listen(fields[:cut], bare), _destination(fields[cut:])
    return Forward(side, listen, destination, datagrams, _written(spec))


def _dynamic(side: Side, spec: _Spec, fields: list[_Field], datagrams: bool, bare: str) -> Forward:
    listen = _listen(fields, bare)
    if datagrams:
        raise spec.wrong(len(spec.text) - len(UDP), "SOCKS is for TCP only")
    return Forward(side, listen, None, written=_written(spec))


def _written(spec: _Spec) -> str:
    return f"{spec.option} {spec.text}"


def _listen(fields: list[_Field], bare: str) -> Endpoint:
    """``[bind:]port``, or a path."""
    if _is_path(fields[0]):
        if len(fields) > 1:
            raise fields[1].wrong("nothing can follow this path")
        return _path(fields[0])
    if len(fields) == 1:
        return Address(bare, _port(fields[0], 0))
    if len(fields) > 2:
        raise fields[2].wrong(f"[bind:]port is all there can be{_brackets(fields[0].spec)}")
    bind = fields[0].text
    return Address(
        ANYWHERE if bind in ("", ANYWHERE) else _host(fields[0]),
        _port(fields[1], 0),
    )


def _destination(fields: list[_Field]) -> Endpoint:
    """``host:port``, or a path."""
    if len(fields) == 2:
        return Address(_host(fields[0]), _port(fields[1], 1))
    if _is_path(fields[0]):
        return _path(fields[0])
    shown = _shown(fields[0].text)
    raise fields[0].wrong(f'"{shown}" is neither host:port nor the path of a Unix socket')


def _with_bind_address(side: Side, spec: _Spec, fields: list[_Field]) -> Forward:
    """``bind_address:port:host:hostport``, all four."""
    four = "bind_address:port:host:hostport"
    if len(fields) < 4:
        instead = "-L" if side is Side.LOCAL else "-R"
        what = f"with a host it is {four}, all four parts; {instead} takes three"
        raise spec.wrong(len(spec.text), what)
    if len(fields) > 4:
        what = f"{four} has four parts; IPv6 addresses stand in brackets: [::1]:80:[::1]:80"
        raise fields[4].wrong(what)
    destination = Address(_host(fields[2]), _port(fields[3], 1))
    return Forward(side, _listen(fields[:2], LOOPBACK), destination, written=_written(spec))


def _et_item(side: Side, written: str, source: _Field, destination: _Field) -> list[Forward]:
    """``A:B``, in the order in which Eternal Terminal tells the kinds apart."""
    if _is_path(destination) and source.text.strip("0123456789-") and not _is_path(source):
        return [Forward(side, _variable(side, source), _path(destination), written=written)]
    ranges = [field for field in (source, destination) if "-" in field.text and not _is_path(field)]
    if not ranges:
        listen = _path(source) if _is_path(source) else Address(LOOPBACK, _port(source, 0))
        if _is_path(destination):
            return [Forward(side, listen, _path(destination), written=written)]
        leads = Address(LOOPBACK, _port(destination, 1))
        return [Forward(side, listen, leads, written=written)]
    if len(ranges) == 1:
        other = destination if ranges == [source] else source
        what = "if the source is a range, the destination must be one too, and vice versa"
        raise other.wrong(what)
    sources, destinations = _range(source), _range(destination)
    if len(sources) != len(destinations):
        numbers = f"{len(sources)} and {len(destinations)} ports"
        raise destination.wrong(f"both ranges must have the same length; these have {numbers}")
    if len(sources) > MOST_TUNNELS:
        raise source.wrong(f"more than {MOST_TUNNELS} tunnels in one option")
    return [
        Forward(
            side,
            Address(LOOPBACK, here),
            Address(LOOPBACK, there),
            written=f"{written} ({here}:{there})",
        )
        for here, there in zip(sources, destinations, strict=True)
    ]


def _range(field: _Field) -> range:
    first, _, last = field.text.partition("-")
    start = _port(field._replace(text=first), 1)
    end = _port(field._replace(text=last, at=field.at + len(first) + 1), 1)
    if end < start:
        raise field.wrong("this range runs backwards")
    return range(start, end + 1)


def _variable(side: Side, field: _Field) -> Variable:
    if side is Side.LOCAL:
        raise field.wrong("only -r makes a socket for an environment variable, or write a port")
    if NAME.fullmatch(field.text) is None:
        shown = _shown(field.text)
        raise field.wrong(f'"{shown}" is neither a port nor the name of an environment variable')
    return Variable(field.text)


def _is_path(field: _Field) -> bool:
    """As ssh tells it."""
    return "/" in field.text


def _path(field: _Field) -> UnixPath:
    path, shown = field.text, _shown(field.text)
    if not path.startswith("/"):
        raise field.wrong(f'"{shown}" is no absolute path, and a Unix socket needs one')
    if not path.isprintable():
        raise field.wrong(f'"{shown}" cannot be a path: there is a character that nobody sees')
    if len(path.encode()) > LONGEST_PATH:
        raise field.wrong(f"a Unix socket's path has at most {LONGEST_PATH} bytes")
    return UnixPath(path)


def _host(field: _Field) -> str:
    if not field.text:
        raise field.wrong(f"a host is missing{_brackets(field.spec)}")
    if not field.text.isprintable() or NO_HOST.search(field.text):
        raise field.wrong(f'"{_shown(field.text)}" is no host')
    return field.text


def _port(field: _Field, least: int) -> int:
    digits = field.text
    if not digits:
        raise field.wrong(f"a port is missing{_brackets(field.spec)}")
    number = digits.lstrip("0") or "0"
    if digits.isascii() and digits.isdigit() and len(number) <= len(str(HIGHEST_PORT)):
        port = int(number)
        if least <= port <= HIGHEST_PORT:
            return port
    raise field.wrong(f'"{_shown(digits)}" is no port; ports go from {least} to {HIGHEST_PORT}')


def _brackets(spec: _Spec) -> str:
    """What may help somebody who wrote an IPv6 address."""
    return "; IPv6 addresses stand in brackets: [::1]" if "::" in spec.text else ""
