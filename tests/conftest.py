from __future__ import annotations

import gc
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import quiet_home
from keepers import end_keepers
from ports import free_ports

pytest_plugins = [
    *("fixtures_sshd", "farside", "agents", "tunnelled"),
    *("real_et", "untouched", "networks", "jumps", "served", "fixtures_web"),
]

# "fast" in every run, the same examples each time in CI; "deep" by hand, for hours.
settings.register_profile("fast", deadline=None, derandomize="CI" in os.environ)
settings.register_profile("deep", deadline=None, max_examples=20_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


def pytest_configure() -> None:
    quiet_home.enter()
    # Names that do not exist are asked of this machine's name server, which may never answer.
    os.environ["RES_OPTIONS"] = "timeout:1 attempts:1"


@pytest.fixture(autouse=True, scope="module")
def only_young_objects_are_looked_at() -> None:
    """Tests collect before they count descriptors, and need not look at all that was imported
    and reported since the beginning each time: it was four fifths of what they took."""
    with warnings.catch_warnings():
        # What earlier modules have left of coredis's is no fault of this one's, even where that
        # takes every warning for an error.
        warnings.filterwarnings("ignore", "Unclosed <MemoryObject", ResourceWarning)
        gc.collect()
    gc.freeze()


@pytest.fixture
def free_tcp_port() -> int:
    """A port of this machine that nobody listens on. Plugins have one of that name, of those
    that the kernel gives to whoever asks for any: another test has it soon."""
    (port,) = free_ports(1)
    return port


@pytest.fixture
def runtime_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A private directory for sockets, with a name short enough for them (unix(7)).

    Not pytest's tmp_path, whose names are long, and not in /tmp. Keepers that were started
    in it end with it.
    """
    place = "/dev/shm" if os.path.isdir("/dev/shm") else os.path.expanduser("~")
    path = Path(tempfile.mkdtemp(prefix="te-", dir=place))
    monkeypatch.setenv("TRIOET_RUNTIME_DIR", str(path))
    yield path
    if (path / "keeper.sock").exists():
        end_keepers(path)
    shutil.rmtree(path)
