"""Where an endpoint may listen, and what a token must be."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from trioet.errors import LocalError, UsageError
from trioet.health.place import MAX_TOKEN, Place, listen, parse_place, read_token

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "place", "private"),
    [
        ("127.0.0.1:6620", Place("127.0.0.1", 6620), True),
        ("localhost:1", Place("localhost", 1), True),
        ("[::1]:6620", Place("::1", 6620), True),
        ("unix:/run/x.sock", Place(path="/run/x.sock"), True),
        ("0.0.0.0:6620", Place("0.0.0.0", 6620), False),
        ("[::]:6620", Place("::", 6620), False),
        ("proxy.internal:80", Place("proxy.internal", 80), False),
        ("localhost.evil.example:80", Place("localhost.evil.example", 80), False),
    ],
)
def test_a_place_is_read_and_knows_whether_strangers_reach_it(
    text: str, place: Place, private: bool
) -> None:
    assert parse_place(text) == place
    assert str(place) == text
    assert place.private is private


@pytest.mark.parametrize(
    "text", ["", "6620", "127.0.0.1", "::1:6620", "a:65536", "unix:x.sock", "/x\0y", "a b:1"]
)
def test_what_is_no_place_is_told_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="write 127"):
        parse_place(text)


def test_a_place_for_strangers_needs_a_token() -> None:
    with pytest.raises(UsageError, match="reached by strangers"):
        listen(Place("0.0.0.0", 0), None)

    with listen(Place("0.0.0.0", 0), TOKEN) as listener:
        assert listener.getsockname()[0] == "0.0.0.0"


def test_a_unix_socket_is_for_its_user_only_and_a_dead_ones_name_is_taken(
    runtime_dir: Path,
) -> None:
    place = Place(path=str(runtime_dir / "m.sock"))
    listen(place, None).close()

    with listen(place, None):
        assert stat.S_IMODE(os.stat(place.path).st_mode) == 0o600
        with pytest.raises(LocalError, match="in use"):
            listen(place, None)


def test_a_file_in_the_way_is_left_alone(runtime_dir: Path) -> None:
    (runtime_dir / "m.sock").write_text("mine")

    with pytest.raises(LocalError, match="cannot listen"):
        listen(Place(path=str(runtime_dir / "m.sock")), None)

    assert (runtime_dir / "m.sock").read_text() == "mine"


def test_a_port_in_use_is_told() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(LocalError, match=f"127.0.0.1:{taken.getsockname()[1]}"),
    ):
        listen(Place("127.0.0.1", taken.getsockname()[1]), None)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_a_token_is_read_without_its_newline(tmp_path: Path, mode: int) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "token").chmod(mode)

    assert read_token(str(tmp_path / "token")) == TOKEN


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (TOKEN, 0o644, "others can read"),
        (TOKEN, 0o620, "others can read or change"),
        (TOKEN, 0o604, "others can read"),
        (TOKEN[:-1], 0o600, "16 to 1024 bytes"),
        ("x" * (MAX_TOKEN + 1), 0o600, "16 to 1024 bytes"),
        (" " * 10_000, 0o600, "16 to 1024 bytes"),
        (TOKEN + " x", 0o600, "a token is"),
        (TOKEN + "ä", 0o600, "a token is"),
    ],
)
def test_a_poor_token_is_refused(tmp_path: Path, content: str, mode: int, why: str) -> None:
    (tmp_path / "token").write_text(content)
    (tmp_path / "token").chmod(mode)

    with pytest.raises(UsageError, match=why):
        read_token(str(tmp_path / "token"))


def test_a_missing_token_file_is_named() -> None:
    with pytest.raises(UsageError, match="/no/such/token: No such file"):
        read_token("/no/such/token")
