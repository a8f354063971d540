"""How trioet is checked. `nox -l` lists the sessions; `nox -s tests` is what CI runs."""

from __future__ import annotations

import filecmp
import os
import re
import shutil
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["tests", "lint", "types", "proto"]

PYTHONS = ["3.11", "3.12", "3.13"]
PROTOS = ("ET", "ETerminal", "trioet")
PB = "trioet/wire/pb"
FUZZERS = sorted(path.stem for path in Path("fuzz").glob("fuzz_*.py"))
GROUPS = nox.project.load_toml("pyproject.toml")


def install(session: nox.Session, *groups: str, project: bool = True) -> None:
    """Install trioet as a user does, and what the session needs besides."""
    packages = [
        package for group in groups for package in nox.project.dependency_groups(GROUPS, group)
    ]
    session.install(*(["."] if project else []), *packages)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Every test, on every Python found; wire/ must be covered to the last branch."""
    install(session, "test")
    session.run("pytest", "-q", *session.posargs)
    if not session.posargs:
        session.env["COVERAGE_FILE"] = os.path.join(session.create_tmp(), ".coverage")
        session.run("coverage", "erase")
        session.run("coverage", "run", "-m", "pytest", "-q", "tests/wire")
        session.run("coverage", "combine", "-q")
        session.run("coverage", "report", "--include=*/trioet/wire/*", "--fail-under=100")


@nox.session
def lint(session: nox.Session) -> None:
    """ruff for style and mistakes, flake8-async for what only it knows of Trio."""
    install(session, "lint", project=False)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    files = [str(path) for place in ("src", "tests", "bench") for path in Path(place).rglob("*.py")]
    session.run("flake8-async", "--enable=ASYNC102,ASYNC112,ASYNC120,ASYNC121", *files)


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strictly, over the sources and the tests."""
    install(session, "types")
    session.run("mypy", "src", "tests", "bench", "noxfile.py")


@nox.session
def proto(session: nox.Session) -> None:
    """The generated code is what the .proto files say. `-- --write` writes it."""
    install(session, "proto", project=False)
    with tempfile.TemporaryDirectory() as made:
        out = "src" if "--write" in session.posargs else made
        sources = [f"{PB}/{name}.proto" for name in PROTOS]
        session.run(
            "protoc", f"-I{PB}=proto", f"--python_out={out}", f"--pyi_out={out}", *sources
        )
        names = [f"{name}_pb2.{kind}" for name in PROTOS for kind in ("py", "pyi")]
        _, differ, missing = filecmp.cmpfiles(f"src/{PB}", f"{out}/{PB}", names, shallow=False)
        if differ or missing:
            session.error(f"not what protoc makes: {differ + missing}; nox -s proto -- --write")


@nox.session
def e2e(session: nox.Session) -> None:
    """Whole sessions: real ptys, sshd, processes."""
    install(session, "test")
    session.run("pytest", "-q", "-m", "e2e", *session.posargs)


@nox.session
def interop(session: nox.Session) -> None:
    """Sessions with the real Eternal Terminal programs, which must be on PATH."""
    install(session, "test")
    session.run("pytest", "-q", "-m", "interop", "-rs", *session.posargs)


@nox.session(python=PYTHONS[0])
def fuzz(session: nox.Session) -> None:
    """Every parser of foreign bytes; `-- MINUTES` for each, a few seconds by default."""
    install(session, "fuzz")
    minutes = float(session.posargs[0]) if session.posargs else 0.1
    for name in FUZZERS:
        corpus = tempfile.mkdtemp()
        kept = Path("fuzz/corpus") / name.removeprefix("fuzz_")
        session.run(
            "python",
            f"fuzz/{name}.py",
            corpus,
            str(kept),
            f"-max_total_time={round(minutes * 60)}",
            "-max_len=4096",
            "-print_final_stats=1",
        )
        shutil.rmtree(corpus)


@nox.session
def bench(session: nox.Session) -> None:
    """One table: trioet beside whichever of ET, ssh and mosh is installed."""
    install(session)
    session.run("python", "-m", "bench", *session.posargs, external=True)


@nox.session
def docs(session: nox.Session) -> None:
    """Links between the documents lead somewhere, and the changelog builds."""
    install(session, "docs")
    broken = [
        f"{page}: {target}"
        for page in [*Path(".").glob("*.md"), *Path("docs").glob("*.md"), Path("bench/README.md")]
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    if broken:
        session.error("links that lead nowhere: " + ", ".join(broken))
    session.run("towncrier", "build", "--draft", "--version", "next", silent=True)
    for command in ("connect", "serve", "demo", "terminal"):
        session.run("trioet", command, "--help", silent=True)
