"""GoTTY's configuration file and variables, as settings of `trioet web`.

They go by GoTTY's keys, or the options' names. A name that is not known is refused, and so is a
value of another kind: a misspelled password would otherwise be none, and a "false" be true.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

from trioet.errors import UsageError
from trioet.web.gotty_config import read_config

GOTTYS: Final = {
    "enable_basic_auth": "basic_auth",
    "enable_random_url": "random_url",
    "enable_reconnect": "reconnect",
    "enable_tls": "tls",
    "enable_tls_client_auth": "tls_client_auth",
    "index_file": "index",
    "tls_ca_crt_file": "tls_ca_crt",
    "tls_crt_file": "tls_crt",
    "tls_key_file": "tls_key",
}
"""Its keys that are no names of options (sorenisanerd/gotty, server/options.go)."""

_FLAGS: Final = frozenset(
    (
        *("basic_auth", "random_url", "reconnect", "tls", "tls_client_auth"),
        *("e2e", "enable_webgl", "once", "pass_headers", "permit_arguments", "permit_write"),
        *("quiet", "token"),
    )
)
_TEXTS: Final = frozenset(
    (
        *("address", "argument_pattern", "credential", "credential_file", "favicon", "index"),
        *("path", "title_format", "tls_ca_crt", "tls_crt", "tls_key", "unix_socket", "ws_origin"),
        "ws_query_args",
    )
)
_NUMBERS: Final = frozenset(
    (
        *("close_timeout", "height", "linger", "max_connection", "ping_interval", "port"),
        *("random_url_length", "reconnect_time", "timeout", "width"),
    )
)
_LISTS: Final = frozenset(("hostname", "trusted_proxy"))

_YES, _NO = ("true", "t", "1"), ("false", "f", "0", "")

PREFIX: Final = "GOTTY_"


def take_variables(environment: MutableMapping[str, str]) -> dict[str, Any]:
    """GoTTY's variables (``GOTTY_CREDENTIAL``), by the names of options.

    They are taken out: what runs for visitors would have them else, with the password.

    Raises:
      UsageError: one makes no sense.
    """
    found: dict[str, Any] = {}
    for name in ("config", "close_signal", *_FLAGS, *_TEXTS, *_NUMBERS):
        variable = PREFIX + name.upper()
        text = environment.pop(variable, None)
        if text is None:
            continue
        if name in _FLAGS and text.lower() not in _YES + _NO:
            raise UsageError(f"{variable} is true or false")
        found[name] = text.lower() in _YES if name in _FLAGS else text
    return found


def read_settings(path: str) -> dict[str, Any]:
    """Read such a file; what it says by the names of options, with underscores.

    Raises:
      UsageError: it cannot be read, or says what makes no sense here.
    """
    found = {}
    for key, value in read_config(path).items():
        name = GOTTYS.get(key, key)
        try:
            found[name] = _setting(name, value)
        except KeyError:
            if value:  # GoTTY's for what is not here, turned off
                raise UsageError(f"--config {path}: there is no {key} here") from None
        except TypeError as error:
            raise UsageError(f"--config {path}: {key} is {error}") from None
    return found


def _setting(name: str, value: object) -> object:
    """A value of the kind that the setting has.

    Raises:
      KeyError: there is no such setting.
      TypeError: it is of another kind; says of which it has to be.
    """
    if name in _FLAGS:
        if not isinstance(value, bool):
            raise TypeError("true or false")
    elif name in _TEXTS:
        if not isinstance(value, str):
            raise TypeError('a text: "…"')
    elif name in _NUMBERS or name == "close_signal":
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise TypeError("a number")
    elif name in _LISTS:
        value = [value] if isinstance(value, str) else value
        if not (isinstance(value, list) and all(isinstance(each, str) for each in value)):
            raise TypeError('a list: ["…"]')
    elif name == "preferences":
        if not isinstance(value, dict):
            raise TypeError("a block: { … }")
    else:
        raise KeyError(name)
    return value
