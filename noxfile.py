"""How trioet is checked. `nox -l` lists the sessions; `nox -s tests` is what must pass."""

from __future__ import annotations

import filecmp
import os
import re
from pathlib import Path

import nox

nox.needs_version = ">=2025.11.12"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
# Every Python that is there, in CI too: none is fetched, a missing one is named and skipped.
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["tests", "lint", "types", "proto", "docs"]

PYTHONS = ["3.11", "3.12", "3.13"]
CORE = ("wire", "link", "session")
NEAR_PYTHON = ("bootstrap", "client", "eternal", "examples", "scon", "server")
FEWER = {
    "3.12": [*(f"tests/{name}" for name in CORE), "-m", "not proof and not e2e"],
    "3.13": [*(f"tests/{name}" for name in CORE + NEAR_PYTHON), "-m", "not proof and not e2e"],
}
"""What is run where all would take long and tell little: on the newest Python the core and what
stands closest to Python's own library, without whole sessions and what depends on no version; on
the one between the two the core. With arguments of its own a session leaves nothing out:
`nox -s tests-3.13 -- tests`."""
CODE = ("src", "tests", "bench", "examples", "fuzz", "proof")
PROTOS = ("ET", "ETerminal", "trioet")
PB = "trioet/wire/pb"
COMMANDS = (
    *("connect", "doctor", "install", "uninstall", "serve", "web", "share"),
    *("terminal", "check", "keeper", "demo", "scon serve", "scon connect"),
)
GROUPS = nox.project.load_toml("pyproject.toml")


def install(session: nox.Session, *groups: str, project: bool = True) -> None:
    """Install trioet as a user does, and what the session needs besides."""
    packages = nox.project.dependency_groups(GROUPS, *groups)
    # uv would take the wheel of an earlier run: it looks at pyproject.toml only.
    anew = ["--reinstall-package=trioet"] if session.venv_backend == "uv" else []
    session.install(*([*anew, "."] if project else []), *packages)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Every test on the oldest Python, fewer on the others (FEWER); then wire/'s coverage."""
    install(session, "test")
    others = [] if session.posargs else FEWER.get(str(session.python), [])
    # Most tests wait, most of the time. A file's stay together: some sum up what those before
    # them have seen. In the order of their names: xdist would begin with the files of many tests,
    # and end with one process at the last of the few that take long.
    workers = str(2 * (os.cpu_count() or 1) + 1)
    parallel = ["-n", workers, "--dist", "loadfile", "--no-loadscope-reorder"]
    session.run("pytest", "-q", "-rs", *parallel, *others, *session.posargs)
    if not session.posargs:
        session.notify("coverage")


@nox.session
def coverage(session: nox.Session) -> None:
    """wire/ is covered to the last branch by its own tests."""
    install(session, "test")
    session.env["COVERAGE_FILE"] = os.path.join(session.create_tmp(), "coverage")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "-q", "tests/wire")
    session.run("coverage", "combine", "-q")
    session.run(
        "coverage", "report", "--include=*/trioet/wire/*", "--show-missing", "--fail-under=100"
    )


@nox.session
def lint(session: nox.Session) -> None:
    """ruff for style and mistakes, flake8-async for what only it knows of Trio."""
    install(session, "lint", project=False)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    # It takes files, no directories; and a fifth of a second for each, so only for what people run.
    tops = ("src", "examples", "proof")
    files = [
        str(path) for top in tops for path in Path(top).rglob("*.py") if "pb" not in path.parts
    ]
    session.log(f"flake8-async on {len(files)} files")
    session.run("flake8-async", "--enable=ASYNC102,ASYNC112,ASYNC120,ASYNC121", *files, log=False)


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strictly, over the sources, the tests and everything else."""
    install(session, "types")
    session.run("mypy", *CODE, "noxfile.py")


@nox.session
def proto(session: nox.Session) -> None:
    """The generated code is what the .proto files say. `-- --write` writes it."""
    install(session, "proto", project=False)
    out = "src" if "--write" in session.posargs else session.create_tmp()
    sources = [f"{PB}/{name}.proto" for name in PROTOS]
    session.run("protoc", f"-I{PB}=proto", f"--python_out={out}", f"--pyi_out={out}", *sources)
    names = [f"{name}_pb2.{kind}" for name in PROTOS for kind in ("py", "pyi")]
    _, differ, missing = filecmp.cmpfiles(f"src/{PB}", f"{out}/{PB}", names, shallow=False)
    if differ or missing:
        session.error(f"not what protoc makes: {differ + missing}; nox -s proto -- --write")


@nox.session
def e2e(session: nox.Session) -> None:
    """Whole sessions: real ptys, sshd, processes."""
    install(session, "test")
    session.run("pytest", "-q", "-rs", "tests/e2e", *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """The page of trioet web in Chromium, with npm to build it; skipped where they are not."""
    install(session, "test")
    session.run("pytest", "-q", "-rs", "-m", "browser", *session.posargs)


@nox.session
def interop(session: nox.Session) -> None:
    """Sessions with the real Eternal Terminal programs; skipped where they are not on PATH."""
    install(session, "test")
    session.run("pytest", "-q", "-rs", "-m", "interop", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Every parser of foreign bytes: `-- MINUTES` for each; by default the same short run."""
    install(session, "fuzz")
    limits = (
        [f"-max_total_time={round(60 * float(session.posargs[0]))}"]
        if session.posargs
        else ["-runs=5000", "-max_total_time=5", "-seed=1"]
    )
    found = Path("fuzz/found")
    found.mkdir(exist_ok=True)
    for fuzzer in sorted(Path("fuzz").glob("fuzz_*.py")):
        corpus = Path(session.create_tmp()) / fuzzer.stem
        corpus.mkdir(exist_ok=True)
        session.run(
            "python",
            str(fuzzer),
            str(corpus),
            f"fuzz/corpus/{fuzzer.stem}",
            *limits,
            "-max_len=4096",
            "-verbosity=0",
            "-print_final_stats=1",
            f"-artifact_prefix={found}/{fuzzer.stem}-",
        )


@nox.session
def bench(session: nox.Session) -> None:
    """One table: trioet beside whichever of ET, ssh and mosh is installed."""
    install(session)
    session.run("python", "-m", "bench", *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """1,000 cuts during 1 GiB both ways, compared byte by byte; options after `--`."""
    prove(session, "chaos")


@nox.session
def tunnels(session: nox.Session) -> None:
    """Eight tunnels and the agent through 100 cuts; then one application does not read."""
    prove(session, "tunnels")


@nox.session
def siege(session: nox.Session) -> None:
    """A real user works while strangers do what they can."""
    prove(session, "siege")


@nox.session
def roaming(session: nox.Session) -> None:
    """The network changes in every way: how soon is the first echo there? Needs root."""
    prove(session, "roaming")


@nox.session
def soak(session: nox.Session) -> None:
    """An hour of use, faults and router restarts: does anything grow?"""
    prove(session, "soak")


def prove(session: nox.Session, what: str) -> None:
    """Run one of proof/, on trioet as users have it."""
    install(session)
    session.run("python", "-m", f"proof.{what}", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Links lead somewhere, options exist, examples do what they say; builds the changelog and
    the pages of the API (`-- DIRECTORY` keeps them)."""
    install(session, "docs")
    tops = (".", "docs", "bench", "examples", "proof")
    pages = [path for top in tops for path in Path(top).glob("*.md")]
    session.run("python", "-m", "doctest", "docs/library.md")
    into = session.posargs[0] if session.posargs else os.path.join(session.create_tmp(), "api")
    session.run("python", "docs/api.py", into)
    wrong = [f"{page}: {target}" for page in pages for target in dead_links(page)]
    for command in COMMANDS:
        usage = session.run("trioet", *command.split(), "--help", silent=True)
        known = options_in(str(usage))
        for page in pages:
            wrong += [
                f"{page}: trioet {command} {option}"
                for option in sorted(options_of(command, page.read_text()) - known)
            ]
    if wrong:
        session.error("what is not there: " + ", ".join(wrong))
    session.run("towncrier", "build", "--draft", "--version", "next", silent=True)


def dead_links(page: Path) -> list[str]:
    """Targets in this repository that do not exist, or have no such heading."""
    dead = []
    for target, heading in re.findall(r"\]\(([^)#:]*)(#[^)]*)?\)", page.read_text()):
        found = page.parent / target if target else page
        if not found.exists() or (heading and heading not in headings(found)):
            dead.append(target + heading)
    return dead


def headings(page: Path) -> set[str]:
    """The anchors that the headings of a page become."""
    titles = re.findall(r"^#+ +(.*)$", page.read_text(), re.MULTILINE)
    return {"#" + re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def options_of(command: str, text: str) -> set[str]:
    """The options that a page gives to a command: on its lines, and in its chapter."""
    lines = re.findall(rf"\btrioet {command}\b([^`\n#|;&]*)", text)
    chapters = re.findall(rf"^## .*\btrioet {command}\b.*\n((?:(?!## ).*\n)*)", text, re.MULTILINE)
    # What stands behind `--` alone is another command's.
    own = [re.split(r" -- ", line)[0] for line in lines]
    return {option for part in (*own, *chapters) for option in options_in(part)}


def options_in(text: str) -> set[str]:
    """Long options, however they are set off from the rest."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
