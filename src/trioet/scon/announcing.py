"""What a backend is told first about a new session: a PROXY header, sproto's message, a hook's.

The hook is the place for what an application of one's own wants to know: a function that
the configuration names as ``module:function`` (``upstream_option.hook``). It is called in
the proxy's own process with the :class:`trioet.scon.server.Call` of each new session, and
returns the bytes that go to the backend before the client's; so it must be quick, and does
no I/O. If it raises, that session ends and the log says why. The file that names it is the
administrator's, and so is the code::

    def announce(call):
        return b"" if call.hides_address else b"HELLO %s\\n" % call.client[0].encode()
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from typing import Final, TypeAlias

from trioet.errors import LocalError, UsageError
from trioet.scon.server import Call
from trioet.wire import proxy_protocol, sproto

log = logging.getLogger(__name__)

MAX_HOOKED: Final = 64 * 1024
"""Bytes of a hook's announcement."""

Hook: TypeAlias = Callable[[Call], bytes]

Announce: TypeAlias = Callable[[Call, int], bytes]
"""Makes all that a backend is told, from a call and the version of the PROXY protocol (0: none).

Raises:
  LocalError: it cannot be made.
"""


def announcing(sproto_type: int = -1, hook: Hook | None = None) -> Announce:
    """What makes announcements: a PROXY header, then sproto's, then the hook's.

    ``sproto_type`` is goscon's ``-sproto``; -1: none. A client that hides its address is
    told of as unknown by PROXY, and not at all by sproto, as goscon has it.
    """

    def announce(call: Call, version: int) -> bytes:
        client = None if call.hides_address else call.client
        said = b""
        if version:
            make = proxy_protocol.version_1 if version == 1 else proxy_protocol.version_2
            said += make(client, call.local)
        if sproto_type >= 0 and client is not None:
            said += sproto.announcement(sproto_type, client, call.local)
        return said + _hooked(hook, call) if hook else said

    return announce


def _hooked(hook: Hook, call: Call) -> bytes:
    try:
        said = hook(call)
    except Exception as error:
        log.exception("the hook failed; its session ends")
        raise LocalError(f"the hook failed: {error!r}") from error
    if not isinstance(said, bytes) or len(said) > MAX_HOOKED:
        log.error("the hook returned no bytes, or more than %d; its session ends", MAX_HOOKED)
        raise LocalError("the hook returned no announcement")
    return said


def load_hook(name: str) -> Hook:
    """Import ``module:function``.

    Raises:
      UsageError: it is not there, or cannot be called.
    """
    module, _, function = name.partition(":")
    try:
        hook = getattr(import_module(module), function)
    except Exception as error:  # whatever the module does when it is imported
        raise UsageError(
            f"upstream_option.hook = {name!r}: {type(error).__name__}: {error}; the module must be "
            "where Python finds it (PYTHONPATH)"
        ) from error
    if not callable(hook):
        raise UsageError(f"upstream_option.hook = {name!r}: that is no function")
    found: Hook = hook
    return found
