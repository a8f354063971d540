"""The configuration of `trioet scon serve`: goscon's own keys, and what is said of mistakes."""

from __future__ import annotations

import re
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from harness import check_text
from hypothesis import given
from hypothesis import strategies as st

from trioet.config_file import MAX_FILE
from trioet.errors import UsageError
from trioet.scon import config_keys
from trioet.scon.config import (
    MAX_HOSTS,
    Host,
    Resolver,
    build,
    dump,
    parse_toml,
    parse_yaml,
    read_config,
    read_key,
)
from trioet.scon.policy import Policy, Secure

GOSCONS = """\
manager: 127.0.0.1:6620
tcp: 0.0.0.0:1248
kcp: ""
scp:
  handshake_timeout: 30
  reuse_time: 60
  reuse_buffer: 65536
tcp_option:
  read_timeout: 0
  keepalive: true
  keepalive_interval: 60
kcp_option:
  reuseport: 8
  opt_nodelay: 1
upstream_option:
  net: tcp
  resolv:
    prefix: game-
    suffix: .internal
    port: 8000
    pattern: "^[a-z]+$"
hosts:
  - name: test1
    addr: 127.0.0.1:11248
    weight: 100
  - name: test2
    addr: "[::1]:11249"
    weight: 0
"""
"""With goscon's own keys (its description, 5.2)."""

SAME_IN_TOML = """\
manager = "127.0.0.1:6620"
tcp = "0.0.0.0:1248"
kcp = ""
scp = { handshake_timeout = 30, reuse_time = 60.0, reuse_buffer = "64K" }
tcp_option = { read_timeout = 0, keepalive = true, keepalive_interval = 60 }
[upstream_option]
net = "tcp"
resolv = { prefix = "game-", suffix = ".internal", port = 8000, pattern = "^[a-z]+$" }
[[hosts]]
name = "test1"
addr = "127.0.0.1:11248"
[[hosts]]
name = "test2"
addr = "[::1]:11249"
weight = 0
"""

LEAST = 'hosts = [{ addr = "h:1" }]\n'


def test_goscons_own_file_is_read() -> None:
    config = parse_yaml(GOSCONS, "goscon.yaml")

    assert config.tcp == (("0.0.0.0", 1248),)
    assert config.scp.reuse_time == 60
    assert config.upstream_option.resolv == Resolver("game-", ".internal", 8000, "^[a-z]+$")
    assert config.hosts == (
        Host("test1", ("127.0.0.1", 11248), 100),
        Host("test2", ("::1", 11249), 0),
    )


def test_toml_says_the_same_with_the_same_keys() -> None:
    assert parse_toml(SAME_IN_TOML, "x.toml") == parse_yaml(GOSCONS, "x.yaml")


def test_defaults_are_goscons() -> None:
    config = parse_toml(LEAST, "x.toml")

    assert config.policy() == Policy()
    assert config.manager == "127.0.0.1:6620"
    assert config.hosts[0].weight == 100


def test_capitals_make_no_difference_as_in_goscon() -> None:
    assert parse_toml(LEAST + "[SCP]\nReuse_Time = 5\n", "x").scp.reuse_time == 5


@pytest.mark.parametrize("text", [SAME_IN_TOML, LEAST])
def test_what_dump_says_can_be_read_again(text: str) -> None:
    config = parse_toml(text, "x")

    assert parse_toml(dump(config), "dumped") == config


def test_dump_shows_no_password() -> None:
    config = parse_toml(LEAST, "x")
    config = replace(config, cluster=replace(config.cluster, redis="rediss://me:s3cret@h:1/0"))

    assert "s3cret" not in dump(config)
    assert '"rediss://me:***@h:1/0"' in dump(config)


@pytest.mark.parametrize(
    ("line", "where", "why"),
    [
        ("scp = 3", "scp: ", "keys and values belong here"),
        ("scp.reuse_tiem = 3", "scp.'reuse_tiem'", "is 'reuse_time' meant"),
        ("nonsense = 3", "'nonsense'", "known are tcp, manager"),
        ('scp.reuse_time = "3"', "scp.reuse_time = '3'", "a number of seconds from 0.1 to 86400"),
        ("scp.reuse_time = 0", "scp.reuse_time = 0", "a number of seconds"),
        ("scp.reuse_time = true", "scp.reuse_time = True", "a number of seconds"),
        ("scp.reuse_time = nan", "scp.reuse_time = nan", "a number of seconds"),
        ("scp.reuse_buffer = 1", "scp.reuse_buffer", "bytes from 1024"),
        ('scp.reuse_buffer = "many"', "scp.reuse_buffer", '"16M"'),
        ("scp.max_sessions = 0", "scp.max_sessions", "whole number from 1"),
        ('scp.secure = "yes"', "scp.secure", "'off', 'offered', 'required'"),
        ('scp.psk_file = "key"', "scp.psk_file", "begins with /"),
        ("tcp_option.keepalive = 1", "tcp_option.keepalive", "true or false"),
        ("tcp_option.read_timeout = -1", "tcp_option.read_timeout", "or 0 for never"),
        ('tcp = "1248"', "tcp = '1248'", "0.0.0.0:1248"),
        ('tcp = "0.0.0.0:65536"', "tcp", "0.0.0.0:1248"),
        ("tcp = []", "tcp: ", "nothing to listen at"),
        ('manager = "6620"', "manager = '6620'", "127.0.0.1:6620"),
        ('manager = "0.0.0.0:6620"', "manager = ", "manager_option.token_file"),
        ('kcp = "1248"', "kcp = '1248'", "0.0.0.0:1248"),
        ("kcp_option.fec_parity_shards = 3", "kcp_option.fec_parity_shards = 3", "not served"),
        ("kcp_option.opt_mtu = 9000", "kcp_option.opt_mtu", "1500"),
        ('upstream_option.net = "scp"', "upstream_option.net", "'tcp'"),
        (
            'upstream_option.resolv.pattern = "("',
            "upstream_option.resolv.pattern",
            "no regular expr",
        ),
        ('upstream_option.resolv.prefix = "x"', "upstream_option.resolv.port", "is missing"),
        ("upstream_option.proxy_protocol = 3", "upstream_option.proxy_protocol", "from 0 to 2"),
        ('upstream_option.hook = "os.system"', "upstream_option.hook", "our_hooks:announce"),
        ('manager_option.names = ["a b"]', "manager_option.names", "host's name"),
        ('cluster.redis = "redis://h"', "cluster.listen", "is missing"),
        ('cluster.redis = "http://:s3cret@h"', "cluster.redis = 'http://:***@h'", "redis://"),
        ("workers = 65", "workers", "from 1 to 64"),
        ("x\x00y = 1", "scon.toml", ""),
        ("x" * 10 + " = 1" * 9, "scon.toml", ""),
        ("scp.reuse_time = " + "9" * 5000, "scon.toml", ""),
        ("workers = " + "[" * 5000, "scon.toml", ""),
    ],
)
def test_a_mistake_is_named_with_its_path_and_what_would_be_right(
    line: str, where: str, why: str
) -> None:
    with pytest.raises(UsageError) as caught:
        parse_toml(f"{line}\n{LEAST}", "scon.toml")

    assert str(caught.value).startswith("scon.toml: ")
    assert where in str(caught.value)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "there is no backend"),
        ("hosts = 3", "hosts = 3: a list"),
        ("hosts = [3]", "hosts[0]: keys and values"),
        ('hosts = [{addr = "h:1"}, {addr = "h"}]', "hosts[1].addr = 'h': a host and a port"),
        ('hosts = [{addr = "h:0"}]', "hosts[0].addr"),
        ('hosts = [{name = "x"}]', "hosts[0].addr is missing"),
        ('hosts = [{addr = "h:1", wait = 3}]', "hosts[0].'wait'; is 'weight' meant"),
        ('hosts = [{addr = "h:1", weight = 1.5}]', "hosts[0].weight"),
        ("hosts = [" + '{addr="h:1"},' * (MAX_HOSTS + 1) + "]", f"{MAX_HOSTS} hosts at most"),
    ],
)
def test_a_mistake_in_hosts_is_named_with_its_number(text: str, where: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_toml(text, "scon.toml")

    assert where in str(caught.value)


def test_one_key_in_two_spellings_is_told() -> None:
    with pytest.raises(UsageError, match="stands there twice"):
        parse_toml(f"Workers = 1\nworkers = 2\n{LEAST}", "x")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("hosts: [", "line 1, column"),
        ("a: &a [*a]\n", "'a'"),
        ("hosts: 2001-99-99", "no YAML"),
        ("- 1", "keys and values belong here"),
        ("? [a, b]\n: 1", ""),
        ("x: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
    ],
)
def test_broken_yaml_is_told_with_its_line(text: str, where: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_yaml(text, "scon.yaml")

    assert str(caught.value).startswith("scon.yaml:")
    assert where in str(caught.value)


def test_a_value_that_yaml_leaves_away_is_the_default() -> None:
    assert parse_yaml("hosts: [{addr: 'h:1'}]\nscp:\nworkers:\n", "x") == parse_toml(LEAST, "x")


def test_without_pyyaml_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)

    with pytest.raises(UsageError, match=r"pip install 'trioet\[scon\]'"):
        parse_yaml(GOSCONS, "x.yaml")


@pytest.mark.parametrize("name", ["a.yaml", "a.yml", "a.toml"])
def test_the_files_name_says_the_format(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(SAME_IN_TOML if name.endswith("toml") else GOSCONS)

    assert read_config(str(tmp_path / name)).hosts[0].name == "test1"


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"#" * (MAX_FILE + 1))
    (tmp_path / "latin").write_bytes(b"# \xff")

    for name, why in (("none", "No such file"), ("large", "more than"), ("latin", "not UTF-8")):
        with pytest.raises(UsageError, match=why):
            read_config(str(tmp_path / name))


def test_the_pre_shared_key_is_read_from_a_private_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("0123456789abcdef\n")
    (tmp_path / "key").chmod(0o600)
    config = parse_toml(f'scp.psk_file = "{tmp_path}/key"\nscp.secure = "required"\n{LEAST}', "x")

    assert config.policy().psk == b"0123456789abcdef"
    assert config.policy().secure is Secure.REQUIRED
    assert "0123" not in dump(config)


@pytest.mark.parametrize(("content", "mode"), [("x" * 16, 0o644), ("x" * 15, 0o600), ("", 0o600)])
def test_a_poor_key_is_refused(tmp_path: Path, content: str, mode: int) -> None:
    (tmp_path / "key").write_text(content)
    (tmp_path / "key").chmod(mode)

    with pytest.raises(UsageError, match=f"{tmp_path}/key"):
        read_key(str(tmp_path / "key"))
    with pytest.raises(UsageError, match="No such file"):
        read_key(str(tmp_path / "none"))


PAGE = (Path(__file__).parents[2] / "docs" / "scon-operations.md").read_text()


def test_the_manuals_examples_can_be_followed(tmp_path: Path) -> None:
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE, re.MULTILINE)
    examples = [textwrap.dedent(block) for block in blocks]
    least = next(example for example in examples if "[[hosts]]" in example)
    cluster = next(example for example in examples if "[cluster]" in example)

    config = parse_toml(f"{least}\n{cluster}", "the page")

    assert config.hosts == (Host("game", ("10.0.0.7", 8000)),)
    assert config.cluster.advertise == ("10.0.0.5", 1249)


def test_the_manual_knows_every_key() -> None:
    every = dump(parse_toml(f"{LEAST}upstream_option.resolv.port = 1", "x")).splitlines()
    keys = {line.partition(" = ")[0] for line in every if " = " in line}
    named = set(re.findall(r"\w+(?=`| =)", PAGE))

    assert {key.rpartition(".")[2] for key in keys} - named == set()


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["scp", "hosts", "addr", "reuse_time", "x"]), inner, max_size=3
        )
    ),
)


@given(st.dictionaries(st.sampled_from(["tcp", "scp", "hosts", "workers", "cluster"]), _VALUES))
def test_whatever_a_file_says_is_read_or_refused(table: dict[str, object]) -> None:
    try:
        config = build(table, "file")
    except UsageError as error:
        check_text(str(error))
        return
    assert parse_toml(dump(config), "dumped") == config


def test_without_its_library_kcp_is_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(config_keys, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"kcp = '0\.0\.0\.0:1248': .*pip install 'trioet\[kcp\]'"):
        parse_toml('kcp = "0.0.0.0:1248"\n' + LEAST, "x")
    assert parse_toml('kcp = ""\n' + LEAST, "x").kcp == ()
