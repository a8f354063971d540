"""How tunnels are written, by users and in their ssh configuration: wire/forward_specs.py."""

from __future__ import annotations

from harness import Target, check_text, instrumented

with instrumented():
    from trioet.errors import UsageError
    from trioet.wire.forward import Address, Forward, Side, UnixPath
    from trioet.wire.forward_specs import (
        LONGEST_PATH,
        Add,
        parse_et_tunnels,
        parse_printed,
        parse_session_command,
        parse_ssh_dynamic,
        parse_ssh_local,
        parse_ssh_remote,
        with_gateway_ports,
    )


def check(forward: Forward) -> None:
    """What every tunnel promises to those who open it."""
    check_text(str(forward))
    for end, least in (forward.listen, 0), (forward.destination, 1):
        if isinstance(end, Address):
            assert least <= end.port <= 65535
            assert end.host
            assert end.host.isprintable()
        elif isinstance(end, UnixPath):
            assert end.path.startswith("/")
            assert end.path.isprintable()
            assert len(end.path.encode()) <= LONGEST_PATH
            assert not forward.datagrams
    opened = with_gateway_ports(forward)
    assert (opened.side, opened.destination) == (forward.side, forward.destination)


def take(data: bytes) -> None:
    """The first byte is who reads the rest."""
    reader, text = data[:1], data[1:].decode(errors="surrogateescape")
    match reader:
        case b"L":
            check(parse_ssh_local(text))
        case b"R":
            check(parse_ssh_remote(text))
        case b"D":
            check(parse_ssh_dynamic(text))
        case b"t" | b"r":
            side = Side.LOCAL if reader == b"t" else Side.REMOTE
            for forward in parse_et_tunnels(text, side):
                check(forward)
        case b"~":
            command = parse_session_command(text)
            if isinstance(command, Add):
                check(command.forward)
        case b"l":
            check(parse_printed("LocalForward", text))
        case b"m":
            check(parse_printed("RemoteForward", text))
        case _:
            check(parse_printed("DynamicForward", text))


TARGET = Target(
    take,
    seeds=[
        b"L8080:host:80",
        b"L[::1]:8080:[fe80::1]:80",
        b"L53:dns:53/udp",
        b"R*:8080:/run/x\\:y",
        b"Rlocalhost:1080",
        b"D:1080",
        b"t9000-9002:8000-8002,1:/x",
        b"rSSH_AUTH_SOCK:/run/agent,/a:1",
        b"t0.0.0.0:1:host:2",
        b"~-KL [::1]:8080/udp",
        b"~-R 8080:host:80",
        b"l[localhost]:1 [host]:80",
        b"m/run/a b [socks]:0",
        b"d[*]:1080",
    ],
    refusals=(UsageError,),
)

if __name__ == "__main__":
    TARGET.run()
