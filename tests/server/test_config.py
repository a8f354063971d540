from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.config_file import MAX_FILE
from trioet.errors import UsageError
from trioet.server.config import (
    MIN_REPLAY_MEMORY,
    ServeConfig,
    memory,
    parse_et_cfg,
    parse_toml,
    read_config,
)
from trioet.server.relay_policy import (
    ANYWHERE,
    MAX_PATTERNS,
    NOWHERE,
    RelayPattern,
    RelayPolicy,
    parse_pattern,
)

SHIPPED_WITH_ET = """\
; et.cfg : Config file for Eternal Terminal
;

[Networking]
port = 2022
# bind_ip = 0.0.0.0

[Debug]
verbose = 0
silent = 0
logsize = 20971520
telemetry = true
logdirectory = /tmp
"""


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    for name in ("serve.toml", "et.cfg"):
        (tmp_path / name).touch()
        assert read_config(str(tmp_path / name)) == ServeConfig()


def test_every_key_of_our_own_format(tmp_path: Path) -> None:
    path = tmp_path / "serve.toml"
    path.write_text(
        """
        # Comments may be anywhere.
        port = 2023
        bind = ["192.0.2.1", "::1", "fe80::1%eth0", "host.example"]
        socket = "/run/trioet/router.sock"
        replay_memory = "256M"
        verbose = true
        relay = true
        relay_to = ["*.internal:2022", "10.0.0.0/8", "[2001:db8::/32]"]
        """
    )
    assert read_config(str(path)) == ServeConfig(
        port=2023,
        bind=("192.0.2.1", "::1", "fe80::1%eth0", "host.example"),
        socket="/run/trioet/router.sock",
        replay_memory=256 * 1024**2,
        verbose=True,
        relay_to=tuple(map(parse_pattern, ("*.internal:2022", "10.0.0.0/8", "[2001:db8::/32]"))),
    )


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", ANYWHERE),
        ("relay = false", NOWHERE),
        ('relay = false\nrelay_to = "db1"', NOWHERE),
        ("relay_to = []", NOWHERE),
        ('relay_to = "db1"', RelayPolicy((RelayPattern("db1"),))),
    ],
)
def test_where_relays_may_lead(text: str, policy: RelayPolicy) -> None:
    assert parse_toml(text, "a.toml").relay_policy == policy


def test_one_address_needs_no_list() -> None:
    assert parse_toml('bind = "127.0.0.1"', "f").bind == ("127.0.0.1",)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("prot = 2022", "no key is called 'prot'; is 'port' meant?"),
        ("replay-memory = 1", "no key is called 'replay-memory'; is 'replay_memory' meant?"),
        (
            "colour = true",
            "no key is called 'colour'; known are port, bind, socket, replay_memory, verbose, "
            "relay, relay_to",
        ),
        ("port = 0", "port = 0: a port is a number from 1 to 65535"),
        ("port = 65536", "port = 65536: a port is a number from 1 to 65535"),
        ('port = "ssh"', "port = 'ssh': a port is a number from 1 to 65535"),
        ("port = true", "port = True: a port is a number from 1 to 65535"),
        ("[port]", "port = {}: a port is a number from 1 to 65535"),
        ("port = 0x" + "f" * 5000, "port = …: a port is a number from 1 to 65535"),
        ("bind = 127", "bind = 127: an address like"),
        ('bind = ""', "bind = '': an address like"),
        ('bind = ["::1", 5]', "bind = ['::1', 5]: an address like"),
        ('bind = "[::1]:2022"', "without brackets and without a port"),
        ('bind = "a\\u0000b"', "bind = 'a\\x00b': an address like"),
        ('socket = "router.sock"', "socket = 'router.sock': a path that begins with /"),
        ('socket = "/run/\\u0000"', "socket = '/run/\\x00': a path that begins with /"),
        ("socket = 3", "socket = 3: a path that begins with /"),
        (f'socket = "/{"x" * 107}"', "…: too long for the name of a socket: 107 bytes at most"),
        ("replay_memory = 256", 'replay_memory = 256: at least 1048576 bytes; is "256M" meant?'),
        ('replay_memory = "1T"', "replay_memory = '1T': an amount of memory is a number with"),
        ("replay_memory = true", "replay_memory = True: an amount of memory"),
        ("verbose = 1", "verbose = 1: true or false belongs here, without quotes"),
        ("relay = 1", "relay = 1: true or false belongs here"),
        ("relay_to = 1", "relay_to = 1: a place like"),
        ('relay_to = ["db1", 2022]', "a place like"),
        ('relay_to = "db1:ssh"', "'db1:ssh' is no place to relay to"),
        (f"relay_to = {['a'] * 300}", f"300 places; {MAX_PATTERNS} at most"),
        ("port", "Expected '='"),
        ("port = 2022\nport = 2023", "Cannot overwrite a value"),
        ("port = " + "9" * 5000, "Exceeds the limit"),
        ("bind = " + "[" * 5000, "recursion"),
    ],
)
def test_an_error_names_the_file_the_key_and_what_would_be_right(line: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_toml(line, "/etc/trioet.toml")
    assert str(caught.value).startswith("/etc/trioet.toml: ")
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1048576", 1024**2),
        ("1024K", 1024**2),
        ("256M", 256 * 1024**2),
        ("256 MiB", 256 * 1024**2),
        ("2g", 2 * 1024**3),
        ("64MB", 64 * 1024**2),
        (1024**3, 1024**3),
    ],
)
def test_amounts_of_memory(text: object, size: int) -> None:
    assert memory(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1M", "1.5G", "1048575", "1 2M", "0x10M", True, [], {}])
def test_what_is_no_amount_of_memory(text: object) -> None:
    with pytest.raises(ValueError, match=r"memory|at least"):
        memory(text)


def test_the_file_that_et_ships_is_understood(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert parse_et_cfg(SHIPPED_WITH_ET, "/etc/et.cfg") == ServeConfig()
    assert caplog.messages == [
        "/etc/et.cfg: ignored, for they mean nothing here: "
        "debug.logdirectory, debug.logsize, debug.silent, debug.telemetry"
    ]


def test_every_key_of_ets_that_means_something_here(caplog: pytest.LogCaptureFixture) -> None:
    text = "[Networking]\nport = 2023\nbind_ip = 127.0.0.1, ::1\n[Debug]\nverbose = 9\n"
    with caplog.at_level(logging.INFO):
        config = parse_et_cfg(text, "et.cfg")
    assert config == ServeConfig(port=2023, bind=("127.0.0.1", "::1"), verbose=True)
    assert caplog.messages == []


@pytest.mark.parametrize(
    "text",
    [
        "[networking]\nPORT=2023",
        "[Networking]\n   port = 2023   ",
        "[Debug]\nverbose = 0\n  ; indented, and no continuation\n\t[Networking]\n\tport = 2023",
        "[Networking]\nport = 2022\n[Networking]\nport = 2023",
        "[Networking]\nport = 2023\na line that is nothing",
        "[DEFAULT]\nport = 1\n[Other]\nport = 2\n[Networking]\nport = 2023",
        "[Networking]\r\nport = 2023\r\n",
        "[Networking]\nport = 2023\ntelemetry = 100%",
    ],
)
def test_et_cfg_is_read_as_et_reads_it(text: str) -> None:
    assert parse_et_cfg(text, "et.cfg") == ServeConfig(port=2023)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("port = 2022", "et.cfg: line 1 stands before any [Section]"),
        (
            "[Networking]\nport = 2022 # ours",
            "et.cfg: networking.port = '2022 # ours': a port is a number",
        ),
        ("[Networking]\nport = 99999", "et.cfg: networking.port = '99999': a port is a number"),
        ("[Networking]\nport", "et.cfg: networking.port = '': a port is a number"),
        ("[Networking]\nbind_ip = [::1]", "et.cfg: networking.bind_ip = '[::1]': an address like"),
        ("[Debug]\nverbose = yes", "et.cfg: debug.verbose = 'yes': a number belongs here"),
    ],
)
def test_an_error_in_et_cfg_names_file_and_key(text: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_et_cfg(text, "et.cfg")
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize("name", ["serve.toml", "et.cfg"])
def test_a_byte_order_mark_is_no_text(name: str, tmp_path: Path) -> None:
    text = "port = 2023" if name.endswith("toml") else "[Networking]\nport = 2023"
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_config(str(tmp_path / name)) == ServeConfig(port=2023)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "No such file or directory"),
        (b"port = \xff", "byte 7 is not UTF-8; save it as UTF-8"),
        (b"#" * (MAX_FILE + 1), f"more than {MAX_FILE} bytes; is this the right file?"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    content: bytes | None, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "serve.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_config(str(path))
    assert str(caught.value) == f"{path}: {expected}"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_a_possible_configuration_or_an_error_of_ours(text: str) -> None:
    for parse in (parse_toml, parse_et_cfg):
        with suppress(UsageError):
            config = parse(text, "file")
            assert config.replay_memory >= MIN_REPLAY_MEMORY
            assert 0 < config.port < 65536
