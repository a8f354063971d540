from __future__ import annotations

from itertools import pairwise

import pytest

from trioet.install.tags import Machine, fits, for_pip, for_uv

DEBIAN = Machine(11, "manylinux", (2, 36), "x86_64")
ALPINE = Machine(12, "musllinux", (1, 2), "aarch64")
MAC = Machine(13, "macosx", (14, 0), "arm64")
UNKNOWN = Machine(12, "manylinux", (), "x86_64")


@pytest.mark.parametrize(
    ("tag", "machine"),
    [
        ("py3-none-any", DEBIAN),
        ("py2.py3-none-any", UNKNOWN),
        ("cp311-cp311-manylinux_2_34_x86_64", DEBIAN),
        ("cp38-abi3-manylinux_2_36_x86_64", DEBIAN),
        ("cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64", DEBIAN),
        ("cp310-abi3-manylinux1_x86_64", DEBIAN),
        ("py3-none-manylinux2010_x86_64", DEBIAN),
        ("cp312-cp312-musllinux_1_1_aarch64", ALPINE),
        ("cp313-cp313-macosx_11_0_arm64", MAC),
        ("cp39-abi3-macosx_10_9_universal2", MAC),
    ],
)
def test_what_fits(tag: str, machine: Machine) -> None:
    assert fits(tag, machine)


@pytest.mark.parametrize(
    ("tag", "machine"),
    [
        ("cp312-cp312-manylinux_2_34_x86_64", DEBIAN),  # another Python
        ("cp312-abi3-manylinux_2_34_x86_64", DEBIAN),
        ("cp311-cp311t-manylinux_2_34_x86_64", DEBIAN),  # without the lock
        ("cp311-cp311-manylinux_2_37_x86_64", DEBIAN),  # a newer libc
        ("cp311-cp311-manylinux_3_0_x86_64", DEBIAN),
        ("cp311-cp311-manylinux_2_34_aarch64", DEBIAN),  # another processor
        ("cp311-cp311-musllinux_1_2_x86_64", DEBIAN),
        ("cp311-cp311-linux_x86_64", DEBIAN),  # built for wherever it was built
        ("cp312-cp312-manylinux_2_17_aarch64", ALPINE),
        ("cp312-cp312-manylinux_2_17_x86_64", UNKNOWN),
        ("cp313-cp313-macosx_15_0_arm64", MAC),
        ("cp313-cp313-macosx_11_0_x86_64", MAC),
        ("pp311-pypy311_pp73-manylinux_2_17_x86_64", DEBIAN),
        ("py2-none-any", DEBIAN),
        ("any", DEBIAN),
        ("", DEBIAN),
        ("a-b-c-d", DEBIAN),
    ],
)
def test_what_does_not(tag: str, machine: Machine) -> None:
    assert not fits(tag, machine)


def test_how_uv_is_told() -> None:
    assert for_uv(DEBIAN)[1::2] == ["x86_64-manylinux_2_36", "3.11"]
    assert for_uv(ALPINE)[1::2] == ["aarch64-unknown-linux-musl", "3.12"]
    assert for_uv(MAC)[1::2] == ["aarch64-apple-darwin", "3.13"]


@pytest.mark.parametrize("machine", [DEBIAN, ALPINE, MAC])
def test_pip_is_told_of_nothing_that_does_not_fit(machine: Machine) -> None:
    words = for_pip(machine)
    platforms = [word for flag, word in pairwise(words) if flag == "--platform"]

    assert all(fits(f"py3-none-{platform}", machine) for platform in platforms)
    assert len(platforms) == len(set(platforms)) > 2
    assert platforms[0].endswith(machine.architecture)
