from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

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
from trioet.wire.forward_specs import (
    MOST_TUNNELS,
    SESSION_HELP,
    Add,
    Cancel,
    Help,
    parse_et_tunnels,
    parse_printed,
    parse_session_command,
    parse_ssh_dynamic,
    parse_ssh_local,
    parse_ssh_remote,
    with_gateway_ports,
)

HOST = Address("host", 80)
LONGEST = "/" + 106 * "x"


def ends(forward: Forward) -> tuple[Endpoint | Variable, Endpoint | None]:
    return forward.listen, forward.destination


def check_place(error: UsageError, text: str, column: int) -> None:
    """The message names the column, and points at it in the text."""
    head, shown, caret = str(error).split("\n")
    assert head.endswith(f"(column {column})")
    assert shown.strip() == text.strip()
    assert len(caret) - len("        ") == column
    assert caret.strip() == "^"


@pytest.mark.parametrize(
    ("text", "listen", "destination"),
    [
        ("8080:host:80", Address(LOOPBACK, 8080), HOST),
        ("0:host:80", Address(LOOPBACK, 0), HOST),
        ("08080:host:080", Address(LOOPBACK, 8080), HOST),
        ("65535:host:65535", Address(LOOPBACK, 65535), Address("host", 65535)),
        ("localhost:1:host:80", Address(LOOPBACK, 1), HOST),
        ("127.0.0.1:1:host:80", Address("127.0.0.1", 1), HOST),
        (":1:host:80", Address(ANYWHERE, 1), HOST),
        ("[]:1:host:80", Address(ANYWHERE, 1), HOST),
        ("*:1:host:80", Address(ANYWHERE, 1), HOST),
        ("[*]:1:host:80", Address(ANYWHERE, 1), HOST),
        ("0.0.0.0:1:host:80", Address("0.0.0.0", 1), HOST),
        ("[::1]:1:[fe80::1%lo]:80", Address("::1", 1), Address("fe80::1%lo", 80)),
        ("1:/run/x", Address(LOOPBACK, 1), UnixPath("/run/x")),
        ("[::1]:1:/run/x", Address("::1", 1), UnixPath("/run/x")),
        ("/run/x:host:80", UnixPath("/run/x"), HOST),
        ("/run/x:/run/y", UnixPath("/run/x"), UnixPath("/run/y")),
        ("/run/a b:/run/é", UnixPath("/run/a b"), UnixPath("/run/é")),
        ("[/run/a:b]:/run/c\\:d\\\\", UnixPath("/run/a:b"), UnixPath("/run/c:d\\")),
        (f"{LONGEST}:host:80", UnixPath(LONGEST), HOST),
        ("1:/run/udp", Address(LOOPBACK, 1), UnixPath("/run/udp")),
        ("1:/udp", Address(LOOPBACK, 1), UnixPath("/udp")),
    ],
)
def test_a_tunnel_with_two_ends_is_written_as_for_ssh(
    text: str, listen: Endpoint, destination: Endpoint
) -> None:
    assert parse_ssh_local(text) == Forward(Side.LOCAL, listen, destination, written=f"-L {text}")
    assert parse_ssh_remote(text) == Forward(Side.REMOTE, listen, destination, written=f"-R {text}")


def test_udp_is_said_at_the_end() -> None:
    assert parse_ssh_local("53:dns:53/udp") == Forward(
        Side.LOCAL, Address(LOOPBACK, 53), Address("dns", 53), True, "-L 53:dns:53/udp"
    )
    assert parse_ssh_remote("*:5353:[::1]:53/udp") == Forward(
        Side.REMOTE, Address(ANYWHERE, 5353), Address("::1", 53), True, "-R *:5353:[::1]:53/udp"
    )


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("1080", Address(LOOPBACK, 1080)),
        ("0", Address(LOOPBACK, 0)),
        ("host:1080", Address("host", 1080)),
        ("localhost:1080", Address(LOOPBACK, 1080)),
        (":1080", Address(ANYWHERE, 1080)),
        ("*:1080", Address(ANYWHERE, 1080)),
        ("[::1]:1080", Address("::1", 1080)),
        ("/run/socks", UnixPath("/run/socks")),
    ],
)
def test_socks_takes_only_a_place_to_listen(text: str, listen: Endpoint) -> None:
    assert parse_ssh_dynamic(text) == Forward(Side.LOCAL, listen, None, written=f"-D {text}")
    assert parse_ssh_remote(text) == Forward(Side.REMOTE, listen, None, written=f"-R {text}")


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("1:h:2", ANYWHERE),
        ("1:h:2/udp", ANYWHERE),
        ("localhost:1:h:2", LOOPBACK),
        ("127.0.0.1:1:h:2", "127.0.0.1"),
        ("*:1:h:2", ANYWHERE),
    ],
)
def test_gateway_ports_open_what_names_no_address(text: str, host: str) -> None:
    opened = parse_ssh_local(text, gateway_ports=True)

    assert opened.listen == Address(host, 1)
    assert with_gateway_ports(parse_ssh_local(text)) == opened


def test_gateway_ports_are_for_what_ssh_opens_here() -> None:
    opened = parse_ssh_dynamic("1", gateway_ports=True)
    others = [
        parse_ssh_remote("1:h:2"),
        *parse_et_tunnels("1:2", Side.LOCAL),
        parse_printed("LocalForward", "[localhost]:1 [h]:2"),
        Forward(Side.LOCAL, Address(LOOPBACK, 1), HOST),
    ]

    assert opened.listen == Address(ANYWHERE, 1)
    assert with_gateway_ports(parse_ssh_dynamic("1")) == opened
    assert [with_gateway_ports(forward) for forward in others] == others


WRONG_TWO_ENDED = [
    ("80x80:host:80", 1, '"80x80" is no port; ports go from 0 to 65535'),
    ("65536:host:80", 1, '"65536" is no port; ports go from 0 to 65535'),
    ("1" + 5000 * "0" + ":host:80", 1, "is no port"),
    ("-1:host:80", 1, '"-1" is no port'),
    ("²:host:80", 1, '"²" is no port'),
    (" 80:host:80", 1, '" 80" is no port'),
    ("http:host:80", 1, '"http" is no port'),
    ("80:host:0", 9, '"0" is no port; ports go from 1 to 65535'),
    ("80:host:65536", 9, '"65536" is no port; ports go from 1 to 65535'),
    ("80:host:", 9, "a port is missing"),
    ("80::80", 4, "a host is missing"),
    ("80:[]:80", 4, "a host is missing"),
    ("80:ho st:80", 4, '"ho st" is no host'),
    ("80:h[o:80", 4, r'"h[o" is no host'),
    ("80:ho\xa0st:80", 4, r'"ho\xa0st" is no host'),
    ("*:80:host:eighty", 11, '"eighty" is no port'),
    ("a b:80:host:80", 1, '"a b" is no host'),
    ("h:80x:host:80", 3, '"80x" is no port'),
    ("80:host:80:", 4, '"host" is no port'),
    ("80:host:80:9:9", 14, "too many parts"),
    ("::1:80:host:80", 8, "too many parts; IPv6 addresses stand in brackets: [::1]"),
    ("80:::1:80", 8, "too many parts; IPv6 addresses stand in brackets"),
    ("[::1:80:host:80", 1, "this bracket is never closed"),
    ("80:[::1:80", 4, "this bracket is never closed"),
    ("[::1]80:host:80", 6, "only a `:` can follow the bracket"),
    ("80:host:80\\", 11, "nothing follows this backslash"),
    ("127.0.0.1/80:host:80", 1, '"127.0.0.1/80" is no absolute path'),
    ("~/x:host:80", 1, '"~/x" is no absolute path'),
    ("80:run/x", 4, '"run/x" is no absolute path'),
    ("80:host:~/x", 4, '"host" is no port'),
    ("80:/x:80", 4, '"/x" is no host'),
    ("/x:80", 4, '"80" is neither host:port nor the path of a Unix socket'),
    ("/x:host:80:80", 12, "too many parts"),
    ("/x:host:/y", 9, "too many parts"),
    ("h:80:/x:/y", 9, "too many parts"),
    (f"{LONGEST}x:host:80", 1, "a Unix socket's path has at most 107 bytes"),
    (f"80:/{54 * 'é'}", 4, "a Unix socket's path has at most 107 bytes"),
    ("80:/a\0b", 4, r'"/a\x00b" cannot be a path'),
    ("80:/a\udcff", 4, r'"/a\udcff" cannot be a path'),
    ("/x:host:80/udp", 1, "UDP goes from port to port"),
    ("80:h/x:80/udp", 4, "UDP goes from port to port"),
    ("80:host:/udp/udp/", 4, '"host" is no port'),
    ("80:host:80/tcp", 4, '"host" is no port'),
    ("80:host:8o/udp", 9, '"8o" is no port'),
]


@pytest.mark.parametrize(("text", "column", "problem"), WRONG_TWO_ENDED)
def test_what_is_wrong_with_a_tunnel_is_told_with_the_place(
    text: str, column: int, problem: str
) -> None:
    for option, parse in ("-L", parse_ssh_local), ("-R", parse_ssh_remote):
        with pytest.raises(UsageError, match=re.escape(problem)) as failure:
            parse(text)
        assert str(failure.value).startswith(f"{option} ")
        assert f"(column {column})\n" in str(failure.value)


@pytest.mark.parametrize(
    ("text", "column"), [("", 1), ("8080", 5), ("host:80", 8), ("/x", 3), ("8080:host", 10)]
)
def test_a_local_tunnel_needs_both_ends(text: str, column: int) -> None:
    with pytest.raises(UsageError, match="both ends are needed") as failure:
        parse_ssh_local(text)
    check_place(failure.value, text, column)


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("", 1, "a port is missing"),
        ("x", 1, '"x" is no port'),
        ("host:", 6, "a port is missing"),
        ("h?st :80", 1, '"h?st " is no host'),
        ("*:80x", 3, '"80x" is no port'),
        ("x/y", 1, '"x/y" is no absolute path'),
        ("1080/udp", 5, "SOCKS is for TCP only"),
        ("*:1080/udp", 7, "SOCKS is for TCP only"),
    ],
)
def test_what_is_wrong_with_socks_is_told_with_the_place(
    text: str, column: int, problem: str
) -> None:
    for parse in parse_ssh_dynamic, parse_ssh_remote:
        with pytest.raises(UsageError, match=re.escape(problem)) as failure:
            parse(text)
        check_place(failure.value, text, column)


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("80:host:80", 9, "[bind:]port is all there can be"),
        ("::1:80", 3, "[bind:]port is all there can be; IPv6 addresses stand in brackets"),
        ("/x:80", 4, "nothing can follow this path"),
    ],
)
def test_socks_leads_nowhere_by_itself(text: str, column: int, problem: str) -> None:
    with pytest.raises(UsageError, match=re.escape(problem)) as failure:
        parse_ssh_dynamic(text)
    check_place(failure.value, text, column)


def test_the_message_shows_option_text_and_place() -> None:
    with pytest.raises(UsageError) as failure:
        parse_ssh_local("1:a\t:x\ny")

    assert str(failure.value) == (
        r'-L 1:a\t:x\ny: "a\t" is no host (column 3)'
        "\n        "
        r"1:a\t:x\ny"
        "\n          ^"
    )


def test_the_place_is_right_behind_what_cannot_be_shown() -> None:
    with pytest.raises(UsageError) as failure:
        parse_ssh_local("a\t:80")

    shown, place = r"a\t:80", 6 * " "
    assert str(failure.value).endswith(f"(column 6)\n        {shown}\n        {place}^")


LOOP_1 = Address(LOOPBACK, 1)
LOOP_2 = Address(LOOPBACK, 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1:2", [(LOOP_1, LOOP_2)]),
        ("0:2", [(Address(LOOPBACK, 0), LOOP_2)]),
        ("1:2,2:1", [(LOOP_1, LOOP_2), (LOOP_2, LOOP_1)]),
        ("1-2:1-2", [(LOOP_1, LOOP_1), (LOOP_2, LOOP_2)]),
        ("1-1:2-2,2:/x", [(LOOP_1, LOOP_2), (LOOP_2, UnixPath("/x"))]),
        ("1:/a-b", [(LOOP_1, UnixPath("/a-b"))]),
        ("/a-b:1", [(UnixPath("/a-b"), LOOP_1)]),
        ("/a:/b", [(UnixPath("/a"), UnixPath("/b"))]),
        ("h:1:host:80", [(Address("h", 1), HOST)]),
        ("*:1:host:80", [(Address(ANYWHERE, 1), HOST)]),
        ("[::1]:1:[::2]:80", [(Address("::1", 1), Address("::2", 80))]),
    ],
)
@pytest.mark.parametrize("side", Side)
def test_et_tunnels_are_written_as_for_et(
    text: str, expected: list[tuple[Endpoint, Endpoint]], side: Side
) -> None:
    forwards = parse_et_tunnels(text, side)

    assert [ends(forward) for forward in forwards] == expected
    assert {(forward.side, forward.datagrams) for forward in forwards} == {(side, False)}


def test_a_variable_names_a_socket_on_the_far_side() -> None:
    assert parse_et_tunnels("SSH_AUTH_SOCK:/run/agent,_1:/x", Side.REMOTE) == [
        Forward(
            Side.REMOTE,
            Variable("SSH_AUTH_SOCK"),
            UnixPath("/run/agent"),
            written="-r SSH_AUTH_SOCK:/run/agent",
        ),
        Forward(Side.REMOTE, Variable("_1"), UnixPath("/x"), written="-r _1:/x"),
    ]
    with pytest.raises(UsageError, match="only -r makes a socket for an environment variable"):
        parse_et_tunnels("SSH_AUTH_SOCK:/run/agent", Side.LOCAL)


def test_each_tunnel_of_many_says_which_it_is() -> None:
    forwards = parse_et_tunnels("1:2,9000-9001:8000-8001", Side.LOCAL)

    assert [str(forward) for forward in forwards] == [
        "-t 1:2",
        "-t 9000-9001:8000-8001 (9000:8000)",
        "-t 9000-9001:8000-8001 (9001:8001)",
    ]
    assert str(*parse_et_tunnels("h:1:host:80", Side.REMOTE)) == "-r h:1:host:80"


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("", 1, "source and destination are needed, with a `:` between them"),
        ("80", 3, "source and destination are needed"),
        ("1:2,80", 7, "source and destination are needed"),
        ("1:2,", 5, "source and destination are needed"),
        (":80", 1, "a port is missing"),
        ("80:", 4, "a port is missing"),
        ("80x:80", 1, '"80x" is no port'),
        ("80:80x", 4, '"80x" is no port'),
        ("80:0", 4, '"0" is no port; ports go from 1 to 65535'),
        ("1:2,70000:1", 5, '"70000" is no port; ports go from 0 to 65535'),
        ("http:ssh", 1, '"http" is no port'),
        ("1-3:4-5", 5, "both ranges must have the same length; these have 3 and 2 ports"),
        ("1-3:4", 5, "if the source is a range, the destination must be one too"),
        ("1:3-4", 1, "if the source is a range, the destination must be one too"),
        ("1-2:/x", 5, "if the source is a range, the destination must be one too"),
        ("/x:1-2", 1, "if the source is a range, the destination must be one too"),
        ("3-1:3-1", 1, "this range runs backwards"),
        ("1-2:2-1", 5, "this range runs backwards"),
        ("0-2:1-3", 1, '"0" is no port; ports go from 1 to 65535'),
        ("1-2-3:1-3", 3, '"2-3" is no port'),
        ("5:6,1-2x:1-2", 7, '"2x" is no port'),
        ("-5:1-5", 1, "a port is missing"),
        ("5-:1-5", 3, "a port is missing"),
        ("1-2:65535-65536", 11, '"65536" is no port'),
        ("80:host:80", 11, "with a host it is bind_address:port:host:hostport, all four parts"),
        ("1:2:3:4:5", 9, "has four parts"),
        ("::1:8080:::1:9090", 10, "IPv6 addresses stand in brackets: [::1]:80:[::1]:80"),
        ("1:2,h:80:host:80", 10, "beside a comma, source:destination is all there can be"),
        ("1:2,[::1:80", 5, "this bracket is never closed"),
        ("h:80:/x:80", 6, '"/x" is no host'),
        ("/x:80:host:80", 4, "nothing can follow this path"),
        ("h:80:host:80/udp", 11, '"80/udp" is no port'),
        ("53:53/udp", 4, '"53/udp" is no absolute path'),
        ("x/y:1", 1, '"x/y" is no absolute path'),
        (f"1:2,3:{LONGEST}x", 7, "at most 107 bytes"),
        (f"1-{MOST_TUNNELS + 1}:1-{MOST_TUNNELS + 1}", 1, f"more than {MOST_TUNNELS} tunnels"),
        (f"1-{MOST_TUNNELS}:1-{MOST_TUNNELS},5:5", 15, f"more than {MOST_TUNNELS}"),
    ],
)
def test_what_is_wrong_with_et_tunnels_is_told_with_the_place(
    text: str, column: int, problem: str
) -> None:
    for option, side in ("-t", Side.LOCAL), ("-r", Side.REMOTE):
        with pytest.raises(UsageError, match=re.escape(problem)) as failure:
            parse_et_tunnels(text, side)
        assert str(failure.value).startswith(f"{option} ")
        check_place(failure.value, text, column)


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("A-B:/x", 1, '"A-B" is neither a port nor the name of an environment variable'),
        ("80x:/x", 1, '"80x" is neither a port nor the name'),
        ("A:x/y", 3, '"x/y" is no absolute path'),
    ],
)
def test_what_is_wrong_with_a_variable_is_told_with_the_place(
    text: str, column: int, problem: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(problem)) as failure:
        parse_et_tunnels(text, Side.REMOTE)
    check_place(failure.value, text, column)


@pytest.mark.parametrize(
    ("word", "text", "expected"),
    [
        ("LocalForward", "1 [host]:80", (LOOP_1, HOST)),
        ("LocalForward", "[]:1 [host]:80", (Address(ANYWHERE, 1), HOST)),
        ("LocalForward", "[::1]:1 [::2]:80", (Address("::1", 1), Address("::2", 80))),
        ("LocalForward", "1 /a b:c /d", (LOOP_1, UnixPath("/a b:c /d"))),
        ("LocalForward", "/a b:c\\ [host]:80", (UnixPath("/a b:c\\"), HOST)),
        ("LocalForward", "/a b /c:d", (UnixPath("/a b"), UnixPath("/c:d"))),
        ("LocalForward", "1 /x/udp", (LOOP_1, UnixPath("/x/udp"))),
        ("RemoteForward", "0 [host]:80", (Address(LOOPBACK, 0), HOST)),
        ("RemoteForward", "/a /b", (UnixPath("/a"), UnixPath("/b"))),
        ("RemoteForward", "[*]:1 [socks]:0", (Address(ANYWHERE, 1), None)),
        ("RemoteForward", "/a b [socks]:0", (UnixPath("/a b"), None)),
        ("DynamicForward", "1", (LOOP_1, None)),
        ("DynamicForward", "[::1]:1", (Address("::1", 1), None)),
        ("DynamicForward", "/a b:c", (UnixPath("/a b:c"), None)),
    ],
)
def test_what_ssh_prints_of_its_configuration_is_read(
    word: str, text: str, expected: tuple[Endpoint, Endpoint | None]
) -> None:
    forward = parse_printed(word, text)

    assert ends(forward) == expected
    assert forward.side is (Side.REMOTE if word == "RemoteForward" else Side.LOCAL)
    assert str(forward) == f"{word} {text}"


@pytest.mark.parametrize(
    ("word", "host"),
    [("LocalForward", ANYWHERE), ("DynamicForward", ANYWHERE), ("RemoteForward", LOOPBACK)],
)
def test_gateway_ports_open_what_the_configuration_opens_here(word: str, host: str) -> None:
    text = "1" if word == "DynamicForward" else "1 [host]:80"

    assert parse_printed(word, text, gateway_ports=True).listen == Address(host, 1)


@pytest.mark.parametrize(
    ("word", "text", "column"),
    [
        ("LocalForward", "", 1),
        ("LocalForward", "1", 2),
        ("LocalForward", "~/a /b", 1),
        ("LocalForward", "/a ~/b", 4),
        ("LocalForward", "1 run/b", 3),
        ("RemoteForward", "70000 [host]:80", 1),
        ("RemoteForward", "1 [host]:0", 10),
        ("DynamicForward", "[x y]:1", 1),
        ("DynamicForward", "", 1),
    ],
)
def test_what_cannot_be_done_of_the_configuration_is_told(
    word: str, text: str, column: int
) -> None:
    with pytest.raises(UsageError, match=f"^{word} ") as failure:
        parse_printed(word, text)
    check_place(failure.value, text, column)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        (" \t", None),
        ("-h", Help()),
        ("?", Help()),
        ("help", Help()),
        ("-L 1:host:80", Add(parse_ssh_local("1:host:80"))),
        (" -L1:host:80 ", Add(parse_ssh_local("1:host:80"))),
        ("-R  1", Add(parse_ssh_remote("1"))),
        ("-R 1:host:80/udp", Add(parse_ssh_remote("1:host:80/udp"))),
        ("-D *:1", Add(parse_ssh_dynamic("*:1"))),
        ("-KL 1", Cancel("-KL", LOOP_1)),
        ("-KL1/udp", Cancel("-KL", LOOP_1, datagrams=True)),
        ("-KR *:1", Cancel("-KR", Address(ANYWHERE, 1))),
        ("-KD [::1]:1", Cancel("-KD", Address("::1", 1))),
        ("-KL /a b", Cancel("-KL", UnixPath("/a b"))),
    ],
)
def test_a_session_takes_commands_as_ssh_does(
    text: str, expected: Add | Cancel | Help | None
) -> None:
    assert parse_session_command(text) == expected


@pytest.mark.parametrize(
    ("text", "host"),
    [("-L 1:h:2", ANYWHERE), ("-D 1", ANYWHERE), ("-R 1:h:2", LOOPBACK), ("-KL 1", ANYWHERE),
     ("-KD 1", ANYWHERE), ("-KR 1", LOOPBACK)],
)  # fmt: skip
def test_gateway_ports_hold_in_a_session_too(text: str, host: str) -> None:
    match parse_session_command(text, gateway_ports=True):
        case Add(forward):
            assert forward.listen == Address(host, 1)
        case Cancel(_, listen):
            assert listen == Address(host, 1)
        case other:
            pytest.fail(repr(other))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ls", 'there is no command "ls"; -h lists them'),
        ("-X 1", 'there is no command "-X 1"'),
        ("-KX 1", 'there is no command "-KX 1"'),
        ("-L\x1b[m", r"-L \\x1b\[m: both ends are needed"),
        ("x\x1b", r'there is no command "x\\x1b"'),
        ("-L", r"-L : both ends .* \(column 1\)"),
        ("-D", r"-D : a port is missing \(column 1\)"),
        ("-KL", r"-KL : a port is missing \(column 1\)"),
        ("-KL *:0", r"-KL \*:0: name the port that was chosen \(column 3\)"),
        ("-KR 1:host:80", r"-KR 1:host:80: \[bind:\]port is all there can be \(column 8\)"),
        ("-KL /a/udp:1", r"nothing can follow this path \(column 8\)"),
    ],
)
def test_what_is_no_command_is_told(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parse_session_command(text)


def test_a_cancel_means_what_listens_there() -> None:
    local, remote = parse_ssh_local("1:h:2"), parse_ssh_remote("1:h:2")
    dynamic, datagrams = parse_ssh_dynamic("1"), parse_ssh_local("1:h:2/udp")

    def meant(command: str) -> list[Forward]:
        cancel = parse_session_command(command)
        assert isinstance(cancel, Cancel)
        return [f for f in (local, remote, dynamic, datagrams) if cancel.means(f)]

    assert meant("-KL 1") == meant("-KD localhost:1") == [local, dynamic]
    assert meant("-KR 1") == [remote]
    assert meant("-KL 1/udp") == [datagrams]
    assert meant("-KL *:1") == meant("-KL 2") == meant("-KL /1") == []


def test_the_help_names_every_command() -> None:
    for option in ("-L", "-R", "-D", "-KL", "-KR", "-KD", "/udp"):
        assert option in SESSION_HELP
    assert max(map(len, SESSION_HELP.splitlines())) < 80


FRAGMENTS = st.sampled_from(
    [*":/,-[]*\\\0\n ~é\udcff", "80", "0", "65536", "host", "::1", "/x", "/udp", "9-12", "-KL "]
)
TEXTS = st.one_of(st.text(), st.lists(FRAGMENTS, max_size=12).map("".join))
PARSERS = [
    parse_ssh_local,
    parse_ssh_remote,
    parse_ssh_dynamic,
    lambda text: parse_et_tunnels(text, Side.LOCAL),
    lambda text: parse_et_tunnels(text, Side.REMOTE),
    lambda text: parse_printed("LocalForward", text),
    lambda text: parse_printed("RemoteForward", text),
    lambda text: parse_printed("DynamicForward", text),
]


def complaint(parse: Callable[[str], object], text: str) -> str | None:
    """What the parser has to say against a text, which must be fit for a terminal."""
    try:
        parse(text)
    except UsageError as error:
        told = str(error)
    else:
        return None
    assert all(line.isprintable() for line in told.split("\n"))
    return told


@given(TEXTS)
def test_any_text_is_a_tunnel_or_told_with_the_place(text: str) -> None:
    for parse in PARSERS:
        told = complaint(parse, text)
        if told is None:
            continue
        head, shown, caret = told.split("\n")
        column = re.search(r" \(column (\d+)\)$", head)
        assert column is not None
        assert 1 <= int(column[1]) <= len(text) + 1
        assert len(caret) <= len(shown) + 1


@given(st.sampled_from(["", "-", "-L", "-R ", "-D", "-KL ", "-KR", "-KD "]), TEXTS)
def test_any_text_is_a_command_or_told(start: str, text: str) -> None:
    complaint(parse_session_command, start + text)


def written_end(end: Endpoint | Variable) -> str:
    """As ssh would have it."""
    if isinstance(end, UnixPath):
        return end.path.replace("\\", "\\\\").replace(":", "\\:")
    return str(end)


def printed_end(end: Endpoint | Variable) -> str:
    """As `ssh -G` would print it."""
    return f"[{end.host}]:{end.port}" if isinstance(end, Address) else str(end)


PORTS = st.integers(1, 65535)
HOSTS = st.one_of(
    st.sampled_from([LOOPBACK, "::1", "fe80::1%eth0", "10.0.0.1"]),
    st.from_regex(r"[\w.-]{1,20}", fullmatch=True),
).filter(str.isprintable)
BINDS = st.one_of(HOSTS, st.just(ANYWHERE))
PATHS = st.text(min_size=1, max_size=26).map("/".__add__).filter(str.isprintable).map(UnixPath)
LISTEN = st.one_of(st.builds(Address, BINDS, st.integers(0, 65535)), PATHS)
DESTINATION = st.one_of(st.builds(Address, HOSTS, PORTS), PATHS)


@given(LISTEN, DESTINATION, st.booleans())
def test_a_tunnel_written_as_for_ssh_is_read_back(
    listen: Endpoint, destination: Endpoint, datagrams: bool
) -> None:
    datagrams = datagrams and isinstance(listen, Address) and isinstance(destination, Address)
    text = f"{written_end(listen)}:{written_end(destination)}{'/udp' if datagrams else ''}"

    for side, parse in (Side.LOCAL, parse_ssh_local), (Side.REMOTE, parse_ssh_remote):
        written = f"{side.value} {text}"
        assert parse(text) == Forward(side, listen, destination, datagrams, written)


@given(LISTEN)
def test_socks_written_as_for_ssh_is_read_back(listen: Endpoint) -> None:
    text = written_end(listen)

    assert ends(parse_ssh_dynamic(text)) == ends(parse_ssh_remote(text)) == (listen, None)


@given(LISTEN, DESTINATION)
def test_a_tunnel_is_read_back_as_ssh_prints_it(listen: Endpoint, destination: Endpoint) -> None:
    # ssh quotes nothing: where one path ends and another begins is then a guess.
    assume(not (isinstance(listen, UnixPath) and re.search(r" [/\[]", listen.path)))

    for word in "LocalForward", "RemoteForward":
        text = f"{printed_end(listen)} {printed_end(destination)}"
        assert ends(parse_printed(word, text)) == (listen, destination)


@given(st.integers(1, 65000), st.integers(1, 65000), st.integers(0, 50))
def test_a_range_has_every_port_once(source: int, destination: int, more: int) -> None:
    text = f"{source}-{source + more}:{destination}-{destination + more}"

    assert [ends(forward) for forward in parse_et_tunnels(text, Side.LOCAL)] == [
        (Address(LOOPBACK, source + n), Address(LOOPBACK, destination + n)) for n in range(more + 1)
    ]
