"""Files dropped on the page arrive where the shell is; a real Chromium, and a real trz."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from browsing import ALL_TEXT, SHELL, Visit, Wire
from fixtures_web import MakeVisit, MakeWeb
from page_files import skip_or_fail

pytestmark = [pytest.mark.browser, pytest.mark.e2e]

LARGE = 20_000_000
"""Bytes of which there is time to interrupt them."""

DROP = """(files) => {
  const dataTransfer = new DataTransfer();
  for (const { name, text, size } of files) {
    const bytes = size ? Uint8Array.from({ length: size }, () => 256 * Math.random()) : text;
    dataTransfer.items.add(new File([bytes], name));
  }
  const how = { dataTransfer, bubbles: true, cancelable: true };
  document.querySelector("#terminal").dispatchEvent(new DragEvent("dragover", how));
  document.querySelector("#terminal").dispatchEvent(new DragEvent("drop", how));
}"""


@pytest.fixture
def where(tmp_path: Path) -> Path:
    """The directory of the shell."""
    made = tmp_path / "where"
    made.mkdir()
    return made


@pytest.fixture
def shell(where: Path) -> tuple[str, ...]:
    """A shell that knows trz."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if shutil.which("trz", path=path) is None:
        skip_or_fail("needs trz: pip install trzsz-svr")
    return ("env", "-C", str(where), f"PATH={path}", *SHELL[1:])


@pytest.fixture
def seen(make_web: MakeWeb, visit: MakeVisit, shell: tuple[str, ...]) -> Visit:
    """A page with that shell."""
    opened = visit(make_web("-w", command=shell).port)
    opened.until_ready()
    return opened


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file that takes a while."""
    made = tmp_path / "large.bin"
    made.write_bytes(random.Random(7).randbytes(LARGE))
    return made


def drop(seen: Visit, files: Mapping[str, str | int]) -> None:
    """Drop files of these texts; or of random bytes, so many."""
    seen.page.evaluate(
        DROP,
        [
            {"name": name, "text" if isinstance(what, str) else "size": what}
            for name, what in files.items()
        ],
    )


def until_card(seen: Visit, text: str) -> None:
    """Wait until the card of files says that."""
    seen.until(
        "(text) => { const box = document.querySelector('#files');"
        " return !box.hidden && box.innerText.includes(text) }",
        text,
    )


def until_told(seen: Visit, text: str) -> None:
    seen.until("(text) => document.querySelector('#toast').textContent.includes(text)", text)


def until_moving(seen: Visit) -> None:
    """Wait until some of it has arrived."""
    seen.until(
        "() => { const bar = document.querySelector('#files progress');"
        " return !bar.hidden && bar.value > 0.05 }"
    )


def until_prompt(seen: Visit) -> None:
    """Wait until the shell asks for a command."""
    seen.until(f"() => ({ALL_TEXT})().endsWith('$')")


def press(seen: Visit, which: str) -> None:
    seen.page.click(f"#files [data-do={which}]")


def choose(seen: Visit, *files: Path) -> None:
    """Choose files, and have trz typed for them."""
    seen.page.set_input_files("#choose-files", list(files))
    until_card(seen, "$ trz -t 600")
    press(seen, "yes")


def test_what_is_dropped_arrives_where_the_shell_is(seen: Visit, where: Path) -> None:
    drop(seen, {"a note.txt": "grün\n", "empty": "", "noise.bin": 3_000_000})
    until_card(seen, "3 files, 3.0 MB")
    until_card(seen, "$ trz -t 600")
    press(seen, "yes")
    until_told(seen, "3 files have arrived")
    assert (where / "a note.txt").read_text() == "grün\n"
    assert (where / "empty").read_bytes() == b""
    assert (where / "noise.bin").stat().st_size == 3_000_000
    seen.until_shown("\nSaved 3 files")
    until_prompt(seen)
    seen.run("echo still a shell")


def test_a_button_opens_the_chooser(seen: Visit, where: Path, large: Path) -> None:
    with seen.page.expect_file_chooser() as chooser:
        seen.page.click("#send-files")
    assert chooser.value.is_multiple()
    chooser.value.set_files(large)
    until_card(seen, "large.bin, 20.0 MB")
    seen.type("trz\n")  # by the user; nothing is typed then
    until_told(seen, "large.bin has arrived")
    assert (where / "large.bin").read_bytes() == large.read_bytes()


def test_a_link_that_its_server_cannot_read_carries_them(
    make_web: MakeWeb, visit: MakeVisit, shell: tuple[str, ...], where: Path
) -> None:
    web = make_web("-w", "--e2e", command=shell)
    seen = visit(web.port, web.fragment())
    seen.until_ready()
    drop(seen, {"secret.txt": "sealed"})
    press(seen, "yes")
    until_told(seen, "secret.txt has arrived")
    assert (where / "secret.txt").read_text() == "sealed"


def test_the_network_may_break_in_the_middle(
    make_web: MakeWeb,
    visit: MakeVisit,
    make_wire: Callable[[int], Wire],
    shell: tuple[str, ...],
    where: Path,
    large: Path,
) -> None:
    wire = make_wire(make_web("-w", command=shell).port)
    seen = visit(wire.port)
    seen.until_ready()
    choose(seen, large)
    until_moving(seen)
    wire.cut(stay=True)
    seen.until_notice("No reply for")
    wire.mend()
    until_told(seen, "large.bin has arrived")
    assert wire.cutter.cuts >= 1
    assert (where / "large.bin").read_bytes() == large.read_bytes()


@pytest.mark.parametrize("how", ["button", "key"])
def test_what_is_cancelled_leaves_nothing(seen: Visit, where: Path, large: Path, how: str) -> None:
    choose(seen, large)
    until_moving(seen)
    if how == "button":
        press(seen, "no")
    else:
        seen.page.keyboard.press("Control+c")
    until_told(seen, "it was cancelled")
    seen.until_shown("Stopped and deleted")
    assert list(where.iterdir()) == []
    until_prompt(seen)
    seen.run("echo still a shell")


def test_a_reload_ends_it_and_says_so(seen: Visit, large: Path) -> None:
    choose(seen, large)
    until_moving(seen)
    seen.page.reload()
    until_told(seen, "have not arrived whole")
    seen.until_shown("Interrupted")
    until_prompt(seen)
    seen.run("echo still a shell")


def test_a_trz_that_dies_is_told_and_the_shell_lives(
    seen: Visit, tmp_path: Path, large: Path
) -> None:
    seen.page.set_input_files("#choose-files", large)
    seen.type("sh -c 'echo $$ > ../pid; exec trz'\n")
    until_moving(seen)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    until_told(seen, "something else has written into the terminal, or trz has ended")
    seen.type("clear; echo still a she''ll\n")
    seen.until_shown("still a shell")


def test_without_trz_the_page_says_what_to_install(make_web: MakeWeb, visit: MakeVisit) -> None:
    seen = visit(make_web("-w", command=("env", "PATH=/usr/bin:/bin", *SHELL[1:])).port)
    seen.until_ready()
    drop(seen, {"a.txt": "text"})
    press(seen, "yes")
    until_card(seen, "pipx install trzsz-svr")
    press(seen, "no")
    until_prompt(seen)
    seen.run("echo still a shell")


def test_nothing_is_typed_into_an_editor(seen: Visit, where: Path) -> None:
    (where / "text").write_text("as it was\n")
    seen.type("vi -u NONE text\n")
    seen.until_shown("as it was")
    drop(seen, {"a.txt": "text"})
    until_card(seen, "A program fills the screen")
    assert not seen.page.is_visible("#files [data-do=yes]")
    seen.type(":wq\n")
    until_card(seen, "$ trz -t 600")  # once it is left
    assert (where / "text").read_text() == "as it was\n"


def test_in_tmux_the_user_runs_trz(seen: Visit, where: Path, tmp_path: Path) -> None:
    socket = tmp_path / "tmux"
    seen.type(f'tmux -S {socket} -f /dev/null new "env PATH=$PATH PS1=inside: bash --norc"\n')
    seen.until_shown("inside:")
    drop(seen, {"a.txt": "text", "noise.bin": 300_000})
    until_card(seen, "A program fills the screen")
    seen.type("trz -t 600\n")
    until_told(seen, "2 files have arrived")
    assert (where / "noise.bin").stat().st_size == 300_000
    seen.type("exit\n")
    seen.until_shown("[exited]")


def test_nothing_is_typed_before_the_user_says_so(seen: Visit, where: Path) -> None:
    seen.type("echo re''ady; cat > taken\n")
    seen.until_shown("\nready")
    seen.type("half a li")
    seen.until_shown("half a li")
    drop(seen, {"a.txt": "text"})
    until_card(seen, "half a litrz -t 600")
    press(seen, "no")
    seen.type("ne\n")
    seen.page.keyboard.press("Control+d")
    seen.run("echo d''one")
    assert (where / "taken").read_text() == "half a line\n"


def test_names_lead_nowhere_and_are_text(seen: Visit, where: Path) -> None:
    title = seen.page.title()
    (where / "there").write_text("first")
    drop(
        seen,
        {
            "../up.txt": "",
            "/tmp/absolute": "",
            "..": "",
            "-rf": "",
            "\x1b]2;owned\x07.txt": "",
            "two\nlines": "",
            "\u202egpj.exe": "",
            "$(touch ran) `touch ran`; touch ran": "",
            "there": "second",
        },
    )
    press(seen, "yes")
    until_told(seen, "9 files have arrived")
    seen.until_shown("Saved 9 files")
    assert {path.name for path in where.iterdir()} == {
        *(".._up.txt", "_tmp_absolute", "file__", "_rf", "]2;owned .txt", "two lines", "gpj.exe"),
        *("$(touch ran) `touch ran`; touch ran", "there", "there.0"),
    }
    assert (where / "there").read_text() == "first"
    assert (where / "there.0").read_text() == "second"
    assert seen.page.title() == title


def test_trz_that_the_user_runs_asks_for_files(seen: Visit, where: Path) -> None:
    seen.type("trz\n")
    until_card(seen, "asks for files")
    with seen.page.expect_file_chooser() as chooser:
        press(seen, "yes")
    chooser.value.set_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"text"})
    until_told(seen, "a.txt has arrived")
    assert (where / "a.txt").read_text() == "text"
    seen.until_shown("Saved 1 file")
    until_prompt(seen)
    seen.type("clear; trz\n")
    until_card(seen, "asks for files")
    press(seen, "no")
    seen.until_shown("Interrupted")
    until_prompt(seen)
    seen.run("echo still a shell")


def test_who_only_looks_on_sends_nothing(
    make_web: MakeWeb, visit: MakeVisit, shell: tuple[str, ...], where: Path
) -> None:
    seen = visit(make_web(command=(*shell, "-c", "trz; echo ended")).port)
    seen.until_shown("::TRZSZ")
    assert not seen.page.is_visible("#send-files")
    drop(seen, {"a.txt": "text"})
    until_told(seen, "you look on")
    assert not seen.page.is_visible("#files")
    assert list(where.iterdir()) == []


def test_raw_bytes_of_a_file_are_never_typed(seen: Visit, where: Path) -> None:
    drop(seen, {"evil": "\ntouch ran\n" * 9})
    seen.type("trz -b\n")
    until_told(seen, "run it without -b")
    seen.until_shown("Stopped and deleted")
    until_prompt(seen)
    seen.run("echo still a shell")
    assert list(where.iterdir()) == []


def test_what_tsz_sends_is_saved(seen: Visit, where: Path) -> None:
    (where / "a note.txt").write_text("grün\n")
    seen.type("tsz 'a note.txt'\n")
    until_card(seen, "sends files")
    with seen.page.expect_download() as download:
        press(seen, "yes")
    assert download.value.suggested_filename == "a note.txt"
    assert Path(download.value.path()).read_text() == "grün\n"
    until_told(seen, "a note.txt is saved")
    seen.until_shown("Saved 1 file")
    until_prompt(seen)
    seen.run("echo still a shell")


def test_names_that_tsz_sends_lead_nowhere(seen: Visit, where: Path) -> None:
    (where / "..\\..\\\u202etxt.exe").write_text("")
    seen.type("tsz ..*exe\n")
    until_card(seen, "sends files")
    with seen.page.expect_download() as download:
        press(seen, "yes")
    assert download.value.suggested_filename == "_.._ txt.exe"  # so much for the browser


def test_a_folder_from_tsz_is_refused_in_words(seen: Visit, where: Path) -> None:
    (where / "folder").mkdir()
    (where / "folder/a.txt").write_text("text")
    seen.type("tsz -d folder\n")
    until_card(seen, "sends files")
    press(seen, "yes")
    until_told(seen, "folders are not received")
    until_prompt(seen)
    seen.run("echo still a shell")
