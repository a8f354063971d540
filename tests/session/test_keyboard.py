"""The keyboard: several type, and the owner goes first."""

from __future__ import annotations

from trioet.session.keyboard import Keyboard


class Program:
    """Takes so much, and no more."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.typed = b""

    def write(self, data: bytearray) -> int:
        taken = min(self.room, len(data))
        self.room -= taken
        self.typed += data[:taken]
        return taken


def test_the_owner_goes_first_and_each_is_told_of_ones_own() -> None:
    owner: list[int] = []
    one: list[int] = []
    two: list[int] = []
    keyboard = Keyboard(owner.append)
    keyboard.put_for(b"one", one.append)
    keyboard.put_for(b" more", one.append)
    keyboard.put_for(b"two", two.append)
    keyboard.put(b"\x03")
    program = Program(5)
    keyboard.write(program.write)
    assert program.typed == b"\x03one "
    assert (owner, one, two) == ([1], [4], [])
    assert keyboard
    program.room = 100
    keyboard.write(program.write)
    assert program.typed == b"\x03one moretwo"
    assert (sum(one), sum(two)) == (8, 3)
    assert not keyboard


def test_while_the_program_takes_nothing_of_the_owners_it_gets_nothing_else() -> None:
    keyboard = Keyboard(lambda _: None)
    keyboard.put_for(b"theirs", lambda _: None)
    keyboard.put(b"mine")
    program = Program(2)
    keyboard.write(program.write)
    assert program.typed == b"mi"
    assert keyboard.owners == 2


def test_what_somebody_typed_who_may_no_longer_goes_nowhere() -> None:
    gone: list[int] = []
    stays: list[int] = []
    keyboard = Keyboard(lambda _: None)
    keyboard.put_for(b"rm -rf\n", gone.append)
    keyboard.put_for(b"ls\n", stays.append)
    keyboard.forget(gone.append)
    program = Program(100)
    keyboard.write(program.write)
    assert program.typed == b"ls\n"
    assert gone == []
