from __future__ import annotations

import pytest

from trioet.cli.proxy_options import ProxyOptions, parse
from trioet.errors import UsageError


def described(*arguments: str) -> ProxyOptions:
    options = parse(arguments)
    assert isinstance(options, ProxyOptions)
    return options


def test_a_gateway_is_logged_in_to() -> None:
    options = described("--listen", "1", "--to", "db:2", "--via", "me@gw", "--way", "direct")
    assert options.session is not None
    assert (options.session.host, options.session.user) == ("gw", "me")
    assert not options.listen.eternal
    assert not options.to.eternal


def test_between_two_proxies_nobody_logs_in() -> None:
    options = described("--listen", "1", "--to", "eternal:x:2", "--key-file", "k")
    assert options.session is None
    assert options.key_file == "k"


def test_a_new_key_is_all_that_is_asked_for() -> None:
    assert parse(["--new-key", "k"]) == "k"
    with pytest.raises(UsageError):
        parse(["--new-key", "k", "--listen", "1"])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--listen", "1"],
        ["--to", "db:1"],
        ["--listen", "1", "--to", "db:2"],
        ["--listen", "1", "--to", "db:2", "--key-file", "k", "--via", "gw"],
        ["--listen", "1", "--to", "eternal:db:2"],
        ["--listen", "1", "--to", "eternal:db:2", "--key-file", "k", "--via", "gw"],
        ["--listen", "1", "--to", "db:2", "--via", "direct"],
        ["--listen", "1", "--listen", "2", "--to", "db:2", "--via", "gw"],
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        parse(arguments)
