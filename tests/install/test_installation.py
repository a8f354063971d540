from __future__ import annotations

import pytest

from trioet.errors import StepFailed
from trioet.install.installation import Wish, choose_python, machine, needs_sudo, no_python, ways
from trioet.install.tags import Machine
from trioet.install.words import Answer, Python

OLD = Python("/usr/bin/python3", (3, 9, 2))
GOOD = Python("/usr/bin/python3.12", (3, 12, 1), "CPython", "linux-x86_64", (2, 36))
OWN = GOOD._replace(path="/home/me/.pyenv/bin/python3")
WITH_PIP = GOOD._replace(has_pip=True)


def there(*pythons: Python, **facts: str) -> Answer:
    return Answer(facts=facts, pythons=list(pythons))


@pytest.mark.parametrize(
    ("answer", "wish", "found"),
    [
        (there(WITH_PIP, uv="/bin/uv"), Wish(), ["uv", "pip", "here"]),
        (there(WITH_PIP), Wish(), ["pip", "here"]),
        (there(GOOD), Wish(), ["here"]),
        (there(WITH_PIP, uv="/bin/uv"), Wish(offline=True), ["here"]),
        (there(OLD, uv="/bin/uv"), Wish(), ["uv"]),
        (there(OLD, uv="/bin/uv"), Wish(offline=True), []),
        (there(OLD), Wish(), []),
    ],
)
def test_the_ways_that_there_are(answer: Answer, wish: Wish, found: list[str]) -> None:
    assert ways(answer, choose_python(answer, wish), wish) == found


def test_the_first_python_that_will_do_is_taken() -> None:
    assert choose_python(there(OLD, OWN, GOOD), Wish()) is OWN
    assert choose_python(there(OLD, OWN, GOOD), Wish(system=True)) is GOOD
    assert choose_python(there(OLD), Wish()) is None


def test_why_none_will_do_is_told() -> None:
    told = str(no_python("box", there(OLD, OWN), ["uv could not"]))

    assert told.startswith(
        "box has no Python that can run trioet: Python 3.9.2 (/usr/bin/python3) is older than "
        "3.11; /home/me/.pyenv/bin/python3 is in a home; uv could not\n"
    )
    assert "no python3 is on the PATH" in str(no_python("box", there(), []))


@pytest.mark.parametrize(
    ("python", "facts", "found"),
    [
        (GOOD, {}, Machine(12, "manylinux", (2, 36), "x86_64")),
        (GOOD, {"musl": "1.2.4"}, Machine(12, "musllinux", (1, 2), "x86_64")),
        (
            GOOD._replace(platform="macosx-14.0-arm64"),
            {},
            Machine(12, "macosx", (14, 0), "arm64"),
        ),
        (GOOD._replace(platform="", glibc=()), {}, Machine(12, "manylinux", (), "")),
    ],
)
def test_what_kind_of_machine_it_is(python: Python, facts: dict[str, str], found: Machine) -> None:
    assert machine(python, facts) == found


def test_root_is_asked_for_only_where_it_is_needed() -> None:
    assert needs_sudo("box", there(sudo="asks"), Wish()) == ""
    assert needs_sudo("box", there(root="yes"), Wish(system=True)) == ""
    assert needs_sudo("box", there(sudo="free"), Wish(system=True)) == "free"
    with pytest.raises(StepFailed, match="you are not root on box, and there is no sudo"):
        needs_sudo("box", there(), Wish(system=True))


def test_what_the_scripts_are_told_is_quoted() -> None:
    job = Wish(system=True, root="/a b").job(python="/it's/python3")

    assert job.decode() == "system=yes\nroot='/a b'\npython='/it'\"'\"'s/python3'\n"
