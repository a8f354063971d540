from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import trioet
from installed import describe
from trioet.errors import StepFailed
from trioet.install import parcel
from trioet.install.tags import Machine

HERE = sys.version_info[1]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where trioet seems to be installed, before all others."""
    place = describe(tmp_path / "site")
    monkeypatch.syspath_prepend(place)
    return place


def put(
    site: Path, name: str, tag: str = "py3-none-any", requires: tuple[str, ...] = ()
) -> dict[str, bytes]:
    """Install a package by hand."""
    info = f"{name}-1.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    files = {
        f"{name}/__init__.py": b"# it",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{needs}".encode(),
        f"{info}/WHEEL": f"Tag: {tag}\n".encode(),
    }
    record = [*files, f"{info}/RECORD", f"{name}/__pycache__/x.pyc", "../../bin/program"]
    files[f"{info}/RECORD"] = "".join(f"{each},,\n" for each in record).encode()
    for path, data in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(data)
    return files


def need(site: Path, *requires: str) -> None:
    """Let trioet need these alone."""
    (path,) = site.glob("trioet-*.dist-info/METADATA")
    lines = [line for line in path.read_text().splitlines() if "Requires-Dist" not in line]
    path.write_text("\n".join([*lines, *(f"Requires-Dist: {each}" for each in requires)]) + "\n")


def test_trioet_itself_is_sent_as_it_runs_here(site: Path) -> None:
    files = parcel.own_files()

    assert files["trioet/__init__.py"] == Path(trioet.__file__).read_bytes()
    assert "trioet/install/far/install.sh" in files
    assert not [name for name in files if "__pycache__" in name]
    assert f"trioet-{trioet.__version__}.dist-info/entry_points.txt" in files


def test_what_runs_from_its_source_tree_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])

    with pytest.raises(StepFailed, match="not installed") as failure:
        parcel.own_files()

    assert failure.value.hint == "install it here first: pip install ."


def test_what_is_needed_is_found_to_its_roots(site: Path) -> None:
    need(site, "one>=1", "Two_Words[fast]; python_version > '3'", "never; extra == 'test'")
    one = put(site, "one", requires=("three", "absent; os_name == 'nt'"))
    two = put(site, "two_words", requires=("four; extra == 'fast'", "never; extra == 'slow'"))
    three = put(site, "three", requires=("one",))
    four = put(site, "four")
    put(site, "never")

    files = parcel.installed_here(Machine(HERE, "manylinux", (2, 17), "x86_64"))

    assert files == {**one, **two, **three, **four}


def test_requirements_are_those_of_everybody(site: Path) -> None:
    need(site, "one>=1", "two; python_version < '3.14'", "never; extra == 'test'")

    assert parcel.requirements() == ["one>=1", "two; python_version < '3.14'"]


@pytest.mark.parametrize(
    ("tag", "machine", "reason"),
    [
        ("py3-none-any", Machine(HERE + 1, "manylinux", (2, 40), "x86_64"), "is for cpython 3."),
        (
            f"cp3{HERE}-cp3{HERE}-manylinux_2_34_x86_64",
            Machine(HERE, "manylinux", (2, 28), "x86_64"),
            "one as installed here is for cp3",
        ),
        ("", Machine(HERE, "manylinux", (2, 40), "x86_64"), "for something that is no wheel"),
    ],
)
def test_what_would_not_run_there_is_not_sent(
    site: Path, tag: str, machine: Machine, reason: str
) -> None:
    need(site, "one")
    put(site, "one", tag)

    with pytest.raises(parcel.NotHere, match=reason):
        parcel.installed_here(machine)


def test_what_is_no_longer_whole_is_not_sent(site: Path) -> None:
    need(site, "one")
    put(site, "one")
    (site / "one" / "__init__.py").unlink()

    with pytest.raises(parcel.NotHere, match="is missing here"):
        parcel.installed_here(Machine(HERE, "manylinux", (2, 40), "x86_64"))


def test_what_is_not_known_file_by_file_is_not_sent(site: Path) -> None:
    need(site, "one")
    put(site, "one")
    (site / "one-1.dist-info" / "RECORD").unlink()

    with pytest.raises(parcel.NotHere, match="the files of one are not known here"):
        parcel.installed_here(Machine(HERE, "manylinux", (2, 40), "x86_64"))


async def test_a_machine_that_nothing_is_known_of_gets_nothing(site: Path) -> None:
    need(site, "one")
    put(site, "one", "cp39-abi3-manylinux_2_17_x86_64")

    with pytest.raises(parcel.NotHere, match=r"one as installed.*; which ready-made"):
        await parcel.dependencies(Machine(HERE, "manylinux", (), "riscv64"))


async def test_what_does_not_fit_is_fetched_for_that_machine(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a uv that notes its command line."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    uv = bin_ / "uv"
    uv.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/said\n'
        'while [ "$1" != --target ]; do shift; done\n'
        'mkdir -p "$2/one/__pycache__" "$2/bin"\n'
        'touch "$2/one/__init__.py" "$2/one/__pycache__/x.pyc" "$2/bin/program" "$2/.lock"\n'
    )
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", str(bin_), prepend=":")
    need(site, "one>=1")

    files, how = await parcel.fetch(Machine(12, "musllinux", (1, 2), "aarch64"))

    assert files == {"one/__init__.py": b""}
    assert how == "fetched here by uv"
    said = (tmp_path / "said").read_text().split()
    assert said[-1] == "one>=1"
    assert "--only-binary=:all:" in said
    assert said[said.index("--python-platform") + 1] == "aarch64-unknown-linux-musl"

    uv.write_text("#!/bin/sh\necho working; echo no such package >&2; exit 1\n")
    with pytest.raises(parcel.NotHere, match="uv here cannot fetch them: no such package"):
        await parcel.fetch(Machine(12, "musllinux", (1, 2), "aarch64"))


def test_archives_are_what_went_in() -> None:
    files = {"a/b.py": b"x" * 1000, "c": b""}

    with zipfile.ZipFile(io.BytesIO(parcel.pack(files))) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files
    with tarfile.open(fileobj=io.BytesIO(parcel.tar(files))) as tar:
        members = {member.name: tar.extractfile(member) for member in tar}
        assert {name: file.read() for name, file in members.items() if file} == files


def test_a_change_of_one_byte_or_name_is_another_digest() -> None:
    digests = {
        parcel.digest_of(files)
        for files in ({"a": b"b"}, {"a": b"c"}, {"b": b"b"}, {"a": b"", "b": b""}, {"ab": b""}, {})
    }

    assert len(digests) == 6
    assert parcel.digest_of({"a": b"1", "b": b"2"}) == parcel.digest_of({"b": b"2", "a": b"1"})
