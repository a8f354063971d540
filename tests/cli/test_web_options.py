"""The command line of `trioet web`, and GoTTY's configuration files."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.cli.web_options import read_options
from trioet.config_file import MAX_FILE
from trioet.errors import UsageError
from trioet.web.gotty_config import parse_config, read_config
from trioet.web.titles import index_page, title

COMMAND = ["--", "/bin/sh", "-c", "x"]


def test_a_command_and_its_own_options() -> None:
    for argv in (COMMAND, COMMAND[1:], ["-w", *COMMAND[1:]]):
        assert read_options(argv).command == ("/bin/sh", "-c", "x")
    assert read_options(["--", "sh", "--", "-w"]).command[1:] == ("--", "-w")


def test_options_by_gottys_names(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("{{ .title }}")
    options = read_options(
        [
            *("-a", "127.0.0.1", "-p", "9000", "-m", "shell", "-w", "-c", "user:pa:ss"),
            *("--index", str(tmp_path / "index.html"), "--title-format", "{{ .pid }}"),
            *("--reconnect", "--reconnect-time", "3", "--max-connection", "4", "--once"),
            *("--timeout", "5", "--permit-arguments", "--width", "90", "--height", "20"),
            *("--ws-origin", "https://.*", "--close-signal", "9", "--close-timeout", "7"),
            *COMMAND,
        ]
    )
    assert (options.port, options.path, options.permit_write) == (9000, "/shell/", True)
    assert options.credentials == {"user": "pa:ss"}
    assert (options.reconnect_s, options.max_connection, options.once) == (3, 4, True)
    assert (options.timeout_s, options.width, options.height) == (5, 90, 20)
    assert (options.close_signal, options.close_timeout_s) == (signal.SIGKILL, 7)


def test_shares_alone() -> None:
    options = read_options(["--shares"])
    assert (options.command, options.name) == ((), "shared")


def test_defaults() -> None:
    options = read_options(COMMAND)
    assert (options.port, options.path, options.reconnect_s) == (8080, "/", None)
    assert (options.close_signal, options.close_timeout_s) == (signal.SIGHUP, 10)
    assert not options.needs_login
    assert not options.has_tls


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ([], "which command"),
        (["--shares", *COMMAND], "--shares runs no command"),
        (["--", "no-such-command-here"], "no such command"),
        (["-p", "70000", *COMMAND], "--port 70000"),
        (["-p", "x", *COMMAND], "--port x"),
        (["-m", "a b", *COMMAND], "--path"),
        (["-m", "../x", *COMMAND], "--path"),
        (["-c", "user", *COMMAND], "USER:PASSWORD"),
        (["-c", ":x", *COMMAND], "USER:PASSWORD"),
        (["--credential-file", "/no/such", *COMMAND], "--credential-file"),
        (["--ws-origin", "(", *COMMAND], "--ws-origin"),
        (["--argument-pattern", "[", *COMMAND], "--argument-pattern"),
        (["--close-signal", "NO", *COMMAND], "--close-signal"),
        (["--close-signal", "33", *COMMAND], "--close-signal"),
        (["--width", "20000", *COMMAND], "--width"),
        (["--index", "/no/such", *COMMAND], "--index"),
        (["--favicon", "/no/such.png", *COMMAND], "cannot be read"),
        (["--favicon", "https://example.org/", *COMMAND], "pages load nothing else"),
        (["--pass-headers", "--e2e", *COMMAND], "--pass-headers"),
        (["--pass-headers", "--connect", "host"], "--pass-headers"),
        (["--ping-interval", "-1", *COMMAND], "--ping-interval"),
        (["--trusted-proxy", "proxy.example", *COMMAND], "--trusted-proxy: 'proxy.example'"),
        (["--trusted-proxy", "0.0.0.0/0", *COMMAND], "is everybody"),
        (["--trusted-proxy", "unix", *COMMAND], "with --unix-socket only"),
        (["--tls-ca-crt", "/ca", *COMMAND], "need TLS"),
        (["-r", "--random-url-length", "4", *COMMAND], "--random-url-length"),
        (["--config", "/no/such", *COMMAND], "/no/such: No such file"),
        (["-w", "-a", "0.0.0.0", *COMMAND], "lets everybody type"),
    ],
)
def test_what_cannot_be_followed(arguments: list[str], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        read_options(arguments)


def test_a_random_url_is_another_each_time_and_long() -> None:
    paths = {read_options(["-r", *COMMAND]).path for _ in range(3)}
    assert len(paths) == 3
    assert {len(path) for path in paths} == {18}
    assert len(read_options(["-r", "--random-url-length", "30", *COMMAND]).path) == 32


def test_a_file_of_credentials(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text("# who\nann:one\n\nbob:$argon2id$v=19$x\n")
    options = read_options(["--credential-file", str(file), *COMMAND])
    assert options.credentials == {"ann": "one", "bob": "$argon2id$v=19$x"}
    assert "one" not in repr(options)
    file.write_text("# nobody\n")
    with pytest.raises(UsageError, match="nobody"):
        read_options(["--credential-file", str(file), *COMMAND])


CONFIG = """\
// [string] Address to listen, all addresses will be used when empty
# comment
/* another
   one */
address = "127.0.0.1"
port = "9000"
permit_write = true
credential = "user:pass"
enable_random_url = false
random_url_length = 8
enable_tls = false
title_format = "GoTTY - {{ .command }} ({{ .hostname }})"
enable_basic_auth = true
enable_tls_client_auth = false
pass_headers = false
ws_query_args = ""
enable_totp_auth = false
secret = ""
enable_webgl = true
ping_interval = 5
quiet = true
enable_reconnect = true
reconnect_time = 11
max_connection = 3
once = true
close_signal = 2
preferences {
    font_size = 5
    background_color = "rgb(16, 16, 32)"
    theme { red = "#f00" }
    palette = ["a", 1, 2.5, [true],]
}
"""


def test_gottys_configuration(tmp_path: Path) -> None:
    file = tmp_path / "gotty"
    file.write_text(CONFIG)
    options = read_options(["--config", str(file), "-p", "9001", *COMMAND])
    assert options.port == 9001, "the command line goes before the file"
    assert options.permit_write
    assert options.once
    assert options.credentials == {"user": "pass"}
    assert (options.reconnect_s, options.max_connection, options.close_signal) == (11, 3, 2)
    assert (options.ping_s, options.quiet, options.ws_query) == (5, True, "")
    assert options.preferences == {
        "enable_webgl": True,
        "font_size": 5,
        "background_color": "rgb(16, 16, 32)",
        "theme": {"red": "#f00"},
        "palette": ["a", 1, 2.5, [True]],
    }


def test_files_of_certificates_in_gottys_configuration(tmp_path: Path) -> None:
    file = tmp_path / "gotty"
    file.write_text(
        'enable_tls = true\ntls_crt_file = "/c"\ntls_key_file = "/k"\n'
        'enable_tls_client_auth = true\ntls_ca_crt_file = "/a"\nhostname = "one.example"\n'
    )
    options = read_options(["--config", str(file), *COMMAND])
    assert (options.tls_certificate, options.tls_key, options.tls_ca) == ("/c", "/k", "/a")
    assert options.hostnames == ("one.example",)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('permit_write = "false"', "permit_write is true or false"),
        ("credental = 1", "there is no credental here"),
        ("enable_totp_auth = true", "there is no enable_totp_auth"),
        ("address = 5", "address is a text"),
        ("port = [1]", "port is a number"),
        ("port = true", "port is a number"),
        ("close_signal = []", "close_signal is a number"),
        ("hostname = [1]", "hostname is a list"),
        ("preferences = 1", "preferences is a block"),
        ("enable_basic_auth = true", "without a credential"),
    ],
)
def test_settings_that_would_be_taken_for_something_else(
    text: str, what: str, tmp_path: Path
) -> None:
    file = tmp_path / "gotty"
    file.write_text(text)
    with pytest.raises(UsageError, match=what):
        read_options(["--config", str(file), *COMMAND])


def test_gottys_variables_are_obeyed_and_taken_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gotty"
    file.write_text('title_format = "file"\nport = 1\n')
    said = {
        "CONFIG": str(file),
        "CREDENTIAL": "ann:secret",
        "PERMIT_WRITE": "true",
        "ONCE": "0",
        "PORT": "9002",
        "WIDTH": "90",
    }
    for name, text in said.items():
        monkeypatch.setenv(f"GOTTY_{name}", text)
    options = read_options(["--width", "100", *COMMAND])
    assert (options.title_format, options.port, options.width) == ("file", 9002, 100)
    assert (options.permit_write, options.once) == (True, False)
    assert options.credentials == {"ann": "secret"}
    assert not any(name.startswith("GOTTY_") for name in os.environ)
    monkeypatch.setenv("GOTTY_PORT", "9002")
    with pytest.raises(UsageError, match="--print-unit"):
        read_options(["--print-unit", *COMMAND])
    monkeypatch.setenv("GOTTY_PERMIT_WRITE", "yes, please")
    with pytest.raises(UsageError, match="GOTTY_PERMIT_WRITE"):
        read_options(COMMAND)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a", "line 1: = is missing"),
        ("a =\n", "value is missing"),
        ("\n= 1", "line 2: a name is missing"),
        ("a = [1 2]", "list"),
        ("a { b = 1", "name is missing"),
        ('a = "x', "not understood"),
        ('a = "\\x"', "no text"),
        ("a = b", "value"),
        (r'a = "\u0000"', "no text"),
        (r'a = "\ud800"', "no text"),
        ("}", "name"),
        ("a { " * 20, "blocks in each other"),
        ("a = " + "[" * 20, "blocks in each other"),
        ("a = $", "not understood"),
    ],
)
def test_what_is_no_configuration(text: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        parse_config(text)


def test_configurations_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "gotty"
    file.write_text("#" * (MAX_FILE + 1))
    with pytest.raises(UsageError, match="more than"):
        read_config(str(file))
    file.write_bytes(b"a = \xff")
    with pytest.raises(UsageError, match="gotty: byte 4 is not UTF-8"):
        read_config(str(file))
    file.write_text("a = ")
    with pytest.raises(UsageError, match=r"gotty, line 1"):
        read_config(str(file))


def test_half_a_second_is_not_none() -> None:
    given = ["--timeout", "0.5", "--linger", "0.25", "--close-timeout", "0.1"]
    options = read_options([*given, *COMMAND])
    assert (options.timeout_s, options.linger_s, options.close_timeout_s) == (0.5, 0.25, 0.1)


@pytest.mark.parametrize("seconds", ["nan", "-1", "inf"])
def test_seconds_that_cannot_be(seconds: str) -> None:
    with pytest.raises(UsageError, match="--timeout"):
        read_options([f"--timeout={seconds}", *COMMAND])


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    try:
        parse_config(text)
    except UsageError:
        return


def test_titles() -> None:
    values = {"command": "sh", "hostname": "h\x1b]0;evil\x07", "pid": 7}
    assert title("{{ .command }}@{{.hostname}} {{ .slave.pid }}", values) == "sh@h]0;evil 7"
    assert title("{{- command -}}", values) == "sh"
    assert len(title("x" * 1000, values)) == 256
    with pytest.raises(UsageError, match="evil"):
        title("{{ .evil }}", values)


def test_an_index_page_of_the_operators_gets_titles_as_text() -> None:
    assert index_page("<title>{{ .title }}</title>", "<script>") == b"<title>&lt;script&gt;</title>"
