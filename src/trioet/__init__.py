"""trioet: a remote shell that never loses its session.

General layout: imports only ever point down (``tests/test_floors.py``):
``errors`` · ``wire`` · ``link`` · ``session`` · ``bootstrap`` · ``server``, ``client``
· ``cli``. This file stays empty of imports, because ``trioet --help`` and
``trioet terminal`` must start quickly.
"""

__version__ = "0.1.0"
