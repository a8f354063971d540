"""The head of a visitor's request in the environment of his program (``--pass-headers``), as a CGI
has it (RFC 3875, 4.1.18).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LEFT_OUT: Final = ("authorization", "connection", "cookie", "proxy", "upgrade")
"""Secrets, what is between browser and us, and what would be HTTP_PROXY, which programs obey."""


def environment_of(fields: Mapping[str, str]) -> dict[bytes, bytes]:
    """The variables for the fields of a head.

    A name with a line below in it is left out: it would pass for one with a hyphen, which a proxy
    in front may have made, or taken away.
    """
    return {
        f"HTTP_{name.upper().replace('-', '_')}".encode(): value.encode()
        for name, value in fields.items()
        if name not in LEFT_OUT and "_" not in name and not name.startswith("sec-websocket-")
    }
