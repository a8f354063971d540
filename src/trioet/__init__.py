"""trioet: a remote shell that never loses its session, and streams that never lose a byte.

General layout: imports only ever point down (``tests/test_floors.py``):
``errors`` · ``wire`` · ``link`` · ``session``, ``eternal`` · ``bootstrap`` · ``server``, ``client``
· ``cli``. Nothing is imported here before somebody asks for it, because ``trioet --help`` and
``trioet terminal`` must start quickly.
"""

from __future__ import annotations

TYPE_CHECKING = False  # for type checkers it is True; typing.py is slow to import
if TYPE_CHECKING:
    from trioet.errors import PeerError, StepFailed, TrioetError
    from trioet.eternal.flow import LinkState
    from trioet.eternal.opening import open_eternal_stream
    from trioet.eternal.serving import EternalServer, ServerStatistics, serve_eternal
    from trioet.eternal.stream import EternalStream, StreamStatistics

__version__ = "0.1.0"

__all__ = [
    "EternalServer",
    "EternalStream",
    "LinkState",
    "PeerError",
    "ServerStatistics",
    "StepFailed",
    "StreamStatistics",
    "TrioetError",
    "open_eternal_stream",
    "serve_eternal",
]

_PLACES = {
    "PeerError": "errors",
    "StepFailed": "errors",
    "TrioetError": "errors",
    "LinkState": "eternal.flow",
    "open_eternal_stream": "eternal.opening",
    "EternalServer": "eternal.serving",
    "ServerStatistics": "eternal.serving",
    "serve_eternal": "eternal.serving",
    "EternalStream": "eternal.stream",
    "StreamStatistics": "eternal.stream",
}


def __getattr__(name: str) -> object:
    """Import what is asked for (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module 'trioet' has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"trioet.{_PLACES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*globals(), *__all__]
