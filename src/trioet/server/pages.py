"""Where this user's `trioet web` serve their pages, so that `trioet share` can say so.

Each has a file in the user's private directory that holds its address, and is locked for as long
as it serves: what a page that was killed has left is known by nobody's lock.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from trioet.errors import LocalError
from trioet.server.places import make_runtime_dir, runtime_dir

PREFIX = "web-"
SUFFIX = ".page"
MAX_ADDRESS = 4096


@contextmanager
def published_page() -> Iterator[Callable[[str], None]]:
    """Within it, what is called says where the page is.

    Raises:
      LocalError: there is no place for the file.
    """
    path = os.path.join(make_runtime_dir(), f"{PREFIX}{os.getpid()}{SUFFIX}")
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LocalError(f"cannot make {path}: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        def publish(url: str) -> None:
            file.write(url)
            file.flush()

        try:
            yield publish
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)


def pages() -> list[str]:
    """The addresses of those that serve now, the newest first.

    Raises:
      LocalError: their directory is not ours alone.
    """
    directory = runtime_dir()
    found = []
    for name in os.listdir(directory) if os.path.isdir(directory) else ():
        if name.startswith(PREFIX) and name.endswith(SUFFIX):
            path = os.path.join(directory, name)
            if url := _address(path):
                found.append((os.stat(path).st_mtime, url))
    return [url for _, url in sorted(found, reverse=True)]


def _address(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read(MAX_ADDRESS)
            os.unlink(path)  # who has left it was killed
    except FileNotFoundError:
        pass
    return ""
