from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import pytest

from descriptors import descriptors
from ports import free_ports
from trioet.errors import LocalError
from trioet.server.listeners import Place, find_places, open_again, open_listeners

ELSEWHERE = "203.0.113.1"
"""An address of nobody's (RFC 5737)."""


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors() == before


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that the name ``several`` has, for a test to fill in."""
    addresses: list[str] = []
    resolve = socket.getaddrinfo

    def found(host: str, port: int, **wishes: int) -> list[object]:
        names = addresses if host == "several" else [host]
        return [place for name in names for place in resolve(name, port, **wishes)]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    return addresses


def served(*hosts: str, port: int = 0) -> list[tuple[str, int]]:
    """Where these lead, if they can be opened."""
    opened = open_listeners(find_places(hosts, port))
    names = [listener.getsockname()[:2] for listener in opened.values()]
    assert [(place.address[0], place.port) for place in opened] == names
    for listener in opened.values():
        listener.close()
    return names


def test_a_name_is_listened_on_at_all_its_addresses(several: list[str]) -> None:
    several += ["127.0.0.1", "127.0.0.2", "127.0.0.1"]
    (port,) = free_ports(1)
    assert served("several", port=port) == [("127.0.0.1", port), ("127.0.0.2", port)]


def test_any_port_is_the_same_for_all(several: list[str]) -> None:
    several += ["127.0.0.1", "127.0.0.2"]
    (_, first), (_, second), (_, third) = served("several", "127.0.0.3")
    assert first == second == third != 0


def test_an_address_asked_for_twice_is_opened_once(several: list[str]) -> None:
    several += ["127.0.0.1", "127.0.0.2"]
    (port,) = free_ports(1)
    hosts = [host for host, _ in served("127.0.0.2", "several", port=port)]
    assert hosts == ["127.0.0.2", "127.0.0.1"]


def test_what_the_machine_lacks_of_a_name_is_passed_over_and_told(
    several: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    several += [ELSEWHERE, "127.0.0.1"]
    (port,) = free_ports(1)
    caplog.set_level(logging.INFO)
    assert served("several", port=port) == [("127.0.0.1", port)]
    assert f"not listening on {ELSEWHERE}: Cannot assign requested address" in caplog.text


def test_a_family_that_the_machine_lacks_is_passed_over() -> None:
    lacking = Place(socket.AF_APPLETALK, ("127.0.0.1", 0))
    present = Place(socket.AF_INET, ("127.0.0.1", 0))
    (listener,) = open_listeners({"both": [lacking, present]}).values()
    listener.close()
    with pytest.raises(LocalError, match="Address family not supported"):
        open_listeners({"one": [lacking]})


def test_a_name_of_which_the_machine_has_nothing_is_an_error(several: list[str]) -> None:
    several += [ELSEWHERE, "203.0.113.2"]
    (port,) = free_ports(1)
    with pytest.raises(LocalError, match=f"^cannot listen on several port {port}: Cannot assign"):
        served("127.0.0.1", "several", port=port)


def test_somebody_at_one_address_of_a_name_is_an_error(several: list[str]) -> None:
    several += ["127.0.0.1", "127.0.0.2"]
    (port,) = free_ports(1)
    with (
        socket.create_server(("127.0.0.2", port)),
        pytest.raises(LocalError, match="Address already in use"),
    ):
        served("several", port=port)


@pytest.mark.parametrize("name", ["nobody.invalid", "a..b", "x" * 70])
def test_a_name_that_is_none_is_an_error_that_says_what_to_do(name: str) -> None:
    with pytest.raises(LocalError, match=f"^cannot listen on {name} port 7: .*; choose another"):
        find_places([name], 7)


def test_what_is_kept_is_not_opened_again() -> None:
    (port,) = free_ports(1)
    first = open_listeners(find_places(["127.0.0.1"], port))
    both = open_listeners(find_places(["127.0.0.1", "127.0.0.2"], port), first)
    assert [place.address for place in both] == [("127.0.0.2", port)]
    for listener in (first | both).values():
        listener.close()


def test_without_a_host_it_is_all_of_both_families() -> None:
    ((host, port),) = served()
    assert host == ("::" if socket.has_dualstack_ipv6() else "0.0.0.0")
    assert port


PLACES = [
    Place(socket.AF_INET, ("0.0.0.0", 0)),
    Place(socket.AF_INET, ("127.0.0.1", 0)),
    Place(socket.AF_INET, ("127.0.0.2", 0)),
    *([Place(socket.AF_INET6, ("::", 0, 0, 0), both=True)] * socket.has_dualstack_ipv6()),
    *([Place(socket.AF_INET6, ("::", 0, 0, 0))] * socket.has_dualstack_ipv6()),
]


@pytest.mark.parametrize("first", PLACES)
@pytest.mark.parametrize("second", PLACES)
def test_places_exclude_each_other_where_the_kernel_says_so(first: Place, second: Place) -> None:
    if first == second:
        return
    (port,) = free_ports(1)
    with first.at(port).listen():
        try:
            second.at(port).listen().close()
        except OSError:
            excluded = True
        else:
            excluded = False
    assert first.at(port).excludes(second.at(port)) is excluded
    assert not first.at(port).excludes(second.at(port + 1))


def test_a_place_that_somebody_has_taken_meanwhile_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    port, other = free_ports(2)
    places = [Place(socket.AF_INET, ("127.0.0.1", number)) for number in (port, other)]
    with socket.create_server(("127.0.0.1", port)):
        opened = open_again(places)
    assert [place.port for place in opened] == [other]
    assert f"nobody listens on 127.0.0.1 port {port} any more: Address already" in caplog.text
    for listener in opened.values():
        listener.close()
