"""What `trioet web` answers to plain HTTP: the page, its files, and a small API.

docs/web-protocol.md says what that is.

Every answer says what a browser may do with it. Whoever asks is looked at first: by which name
this server was called, from which page, and whether a login has been.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from trioet import __version__
from trioet.errors import LocalError, StepFailed, UsageError
from trioet.web.headers import environment_of
from trioet.web.limits import Full
from trioet.web.login import LASTS_S, LockedOut, Login
from trioet.web.options import WebOptions
from trioet.web.sessions import Environment
from trioet.web.static_files import NOT_BUILT, StaticFile, static_file
from trioet.web.titles import index_page, title
from trioet.web.visitors import Visitors
from trioet.wire.web_http import BadRequest, Request
from trioet.wire.web_origin import host_name, is_our_host, is_our_origin

log = logging.getLogger(__name__)

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Nothing inline: what xterm.js would write so, ui/sheets.js of the page diverts."""

ALWAYS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)

HSTS: Final = ("Strict-Transport-Security", "max-age=31536000")

MAX_ARGUMENTS: Final = 32
MAX_ARGUMENT: Final = 1024
"""Characters of one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said to a request; ``fields`` beside those that every answer has."""

    status: HTTPStatus
    body: bytes = b""
    fields: tuple[tuple[str, str], ...] = ()


class Refusal(Exception):
    """A request that is answered with an error: what, and what to do about it."""

    def __init__(
        self, status: HTTPStatus, what: str, hint: str = "", retry_after_s: int | None = None
    ) -> None:
        super().__init__(status, what)
        self.what = what
        fields = [] if retry_after_s is None else [("Retry-After", str(retry_after_s))]
        self.answer = json_answer({"error": what, "hint": hint}, status, fields)


class Site:
    """The answers of one `trioet web`."""

    def __init__(
        self,
        options: WebOptions,
        login: Login,
        visitors: Visitors,
        files: Mapping[str, StaticFile],
    ) -> None:
        """Raises:
        UsageError: the title or the index page cannot be made, or a file not be read.
        """
        self._options = options
        self._login = login
        self._visitors = visitors
        self._files = dict(files)
        self._names = {host_name(name) for name in (socket.gethostname(), *options.hostnames)}
        self._cookie = f"trioet-{options.port}"
        self._values = {
            "command": options.name,
            "argv": " ".join(options.command[1:]),
            "hostname": options.far.target.host if options.far else socket.gethostname(),
        }
        self.title = title(options.title_format, {**self._values, "pid": "", "remote_addr": ""})
        if options.index:
            page = index_page(_text("--index", options.index), self.title)
            self._files["index.html"] = static_file("index.html", page)
        if options.favicon:
            icon = _read("--favicon", options.favicon)
            # By the name that pages have for theirs: what it is says its Content-Type.
            self._files["icon.svg"] = static_file(options.favicon, icon)

    def title_for(self, *, pid: int | str = "", remote_addr: str = "") -> str:
        """The title of a visitor's window."""
        values = {**self._values, "pid": pid, "remote_addr": remote_addr}
        return title(self._options.title_format, values)

    async def answer(self, request: Request, body: bytes, source: str) -> Answer:
        """Answer a request that came from ``source``; never raises for what was asked."""
        try:
            self.check_host(request)
            return await self._route(request, body, source)
        except Refusal as refusal:
            return refusal.answer
        except BadRequest as error:
            return json_answer({"error": str(error), "hint": ""}, error.status)

    def place(self, request: Request) -> str | None:
        """What is asked for, below the base path; None for what is not below it."""
        if not request.path.startswith(self._options.path):
            return None
        return request.path.removeprefix(self._options.path)

    # Who asks

    def check_host(self, request: Request) -> None:
        """Raise a Refusal if this server has not the name that it was called by."""
        if self._options.unix_socket or is_our_host(request.fields["host"], self._names):
            return
        raise Refusal(
            HTTPStatus.MISDIRECTED_REQUEST,
            "this server does not go by that name",
            "its operator can change that: trioet web --hostname NAME",
        )

    def check_origin(self, request: Request, *, required: bool) -> None:
        """Raise a Refusal if another site's page asks, or a program where a page has to."""
        origin = request.fields.get("origin")
        if origin is None and not required:
            return
        host, allowed = request.fields["host"], self._options.ws_origin
        if not is_our_origin(origin or "", host, allowed, request.scheme):
            raise Refusal(
                HTTPStatus.FORBIDDEN,
                "a page of another site may not ask that",
                "behind a proxy: have it pass Host on, or use trioet web --ws-origin",
            )

    async def is_logged_in(self, request: Request, source: str) -> bool:
        """True if a login was, or none is needed.

        Raises:
          Refusal: too many were wrong.
        """
        try:
            return await self._login.knows(request, source, self._cookie)
        except LockedOut as locked:
            raise _too_often(locked) from None

    async def may_connect(self, request: Request, source: str) -> bool:
        """True if a browser may connect to a session of which it has the key.

        Raises:
          Refusal: too many logins were wrong.
        """
        if self._login.pass_is_right(request.cookie(self._cookie)):
            return True
        return await self.is_logged_in(request, source)

    async def _check_login(self, request: Request, source: str) -> None:
        if not await self.is_logged_in(request, source):
            raise Refusal(HTTPStatus.UNAUTHORIZED, "log in first")

    # What is asked

    async def _route(self, request: Request, body: bytes, source: str) -> Answer:
        place = self.place(request)
        match request.method, place:
            case "GET" | "HEAD", "healthz":
                return Answer(HTTPStatus.OK, b"ok\n", _uncached("text/plain"))
            case "GET" | "HEAD", "api/config":
                return await self._config(request, source)
            case "GET" | "HEAD", "auth_token.js":  # for GoTTY's clients, which insist on it
                return Answer(
                    HTTPStatus.OK, b"var gotty_auth_token = '';\n", _uncached("text/javascript")
                )
            case "GET" | "HEAD", "token":  # for ttyd's
                return json_answer({"token": ""})
            case "GET" | "HEAD", str():
                return self._file(request, place or "index.html")
            case "GET" | "HEAD", None if f"{request.path}/" == self._options.path:
                return Answer(
                    HTTPStatus.MOVED_PERMANENTLY, b"", (("Location", self._options.path),)
                )
            case "POST", "api/login" | "api/logout" | "api/session" | "api/share":
                self.check_origin(request, required=True)
                return await self._post(place, request, _fields(request, body), source)
            case "GET" | "HEAD" | "POST", _:
                raise Refusal(HTTPStatus.NOT_FOUND, "there is nothing here")
        raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "only GET, HEAD and POST are understood")

    def _file(self, request: Request, name: str) -> Answer:
        found = self._files.get(name)
        if found is None and name == "index.html":
            guarded = (*_uncached("text/html; charset=utf-8"), ("Content-Security-Policy", POLICY))
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, NOT_BUILT, guarded)
        if found is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is nothing here")
        fields = [
            ("Content-Type", found.media_type),
            ("Cache-Control", "no-cache"),
            ("ETag", found.etag),
            ("Vary", "Accept-Encoding"),
        ]
        if found.media_type.startswith("text/html"):
            fields.append(("Content-Security-Policy", POLICY))
        if request.fields.get("if-none-match") == found.etag:
            return Answer(HTTPStatus.NOT_MODIFIED, b"", tuple(fields))
        if found.gzipped is not None and request.has_option("accept-encoding", "gzip"):
            fields.append(("Content-Encoding", "gzip"))
            return Answer(HTTPStatus.OK, found.gzipped, tuple(fields))
        return Answer(HTTPStatus.OK, found.data, tuple(fields))

    async def _config(self, request: Request, source: str) -> Answer:
        options = self._options
        needed = not await self.is_logged_in(request, source)
        login = "needed" if needed else "done" if self._login.is_needed else "no"
        config: dict[str, object] = {"version": __version__, "login": login}
        config["ways"] = self._login.ways
        if not needed:
            config |= {
                "title": self.title,
                "write": options.permit_write,
                "reconnect": options.reconnect_s,
                "columns": options.width,
                "rows": options.height,
                "arguments": options.permit_arguments,
                "query": options.ws_query,
                "preferences": options.preferences,
            }
        return json_answer(config)

    async def _post(
        self, place: str, request: Request, asked: Mapping[str, Any], source: str
    ) -> Answer:
        if place == "api/login":
            return await self._log_in(request, asked, source)
        if place == "api/logout":
            return json_answer({}, fields=[("Set-Cookie", self._set_cookie(request, "", 0))])
        if place == "api/share":
            return await self._take_share(request, asked.get("ticket"), source)
        await self._check_login(request, source)
        return await self._open_session(request, asked.get("arguments", []), source)

    async def _log_in(self, request: Request, asked: Mapping[str, Any], source: str) -> Answer:
        try:
            match asked:
                case {"token": str(token)}:
                    right = self._login.token_is_right(source, token)
                case {"user": str(user), "password": str(password)}:
                    right = await self._login.password_is_right(source, user, password)
                case _:
                    raise Refusal(HTTPStatus.BAD_REQUEST, "no user and password, and no token")
        except LockedOut as locked:
            raise _too_often(locked) from None
        if not right:
            raise Refusal(HTTPStatus.FORBIDDEN, "that is not right")
        cookie = self._set_cookie(request, self._login.new_cookie(), LASTS_S)
        return json_answer({}, fields=[("Set-Cookie", cookie)])

    async def _take_share(self, request: Request, ticket: object, source: str) -> Answer:
        """A link to a shared session is a login of its own, for that session."""
        if not isinstance(ticket, str):
            raise Refusal(HTTPStatus.BAD_REQUEST, "no ticket")
        try:
            told = await self._visitors.take_share(ticket, source)
        except Full:
            what = "too many links were opened from your address"
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, what, "wait a little", 10) from None
        except StepFailed as error:
            raise Refusal(HTTPStatus.NOT_FOUND, error.what, error.hint) from None
        except LocalError as error:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None
        fields = []
        if not await self.is_logged_in(request, source):
            lasts_s = int(str(told["lasts_s"]))
            fields = [
                ("Set-Cookie", self._set_cookie(request, self._login.new_pass(lasts_s), lasts_s))
            ]
        return json_answer({"sealed": told["sealed"]}, fields=fields)

    def _set_cookie(self, request: Request, value: str, lasts_s: int) -> str:
        secure = "; Secure" if request.scheme == "https" else ""
        return (
            f"{self._cookie}={value}; Path={self._options.path}; Max-Age={lasts_s}; "
            f"HttpOnly; SameSite=Strict{secure}"
        )

    def environment(self, request: Request) -> Environment:
        """What a program is told of the request that asked for it."""
        return environment_of(request.fields) if self._options.pass_headers else {}

    async def _open_session(self, request: Request, arguments: object, source: str) -> Answer:
        if self._options.only_shares:
            what = "here are shared sessions only, for who has a link to one"
            raise Refusal(HTTPStatus.NOT_FOUND, what)
        try:
            words = self.permitted(arguments)
            opened = await self._visitors.open_session(words, self.environment(request), source)
        except Full:
            what = "there are as many sessions as there may be"
            raise Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE, what, "come again later", retry_after_s=10
            ) from None
        except StepFailed as error:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, error.what, error.hint) from None
        except LocalError as error:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None
        session = {
            "id": opened.client_id,
            "passkey": opened.passkey,
            "write": self._options.permit_write,
            "title": self.title_for(remote_addr=source),
        }
        return json_answer(session)

    def permitted(self, arguments: object) -> Sequence[str]:
        """The arguments that a visitor gave.

        Raises:
          Refusal: it may give none, or not these.
        """
        if not isinstance(arguments, list) or not all(isinstance(each, str) for each in arguments):
            raise Refusal(HTTPStatus.BAD_REQUEST, "arguments are a list of texts")
        if not arguments:
            return ()
        if not self._options.permit_arguments:
            hint = "its operator can change that: trioet web --permit-arguments"
            raise Refusal(HTTPStatus.BAD_REQUEST, "this command takes no arguments", hint)
        if len(arguments) > MAX_ARGUMENTS:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"more than {MAX_ARGUMENTS} arguments")
        for place, word in enumerate(arguments, 1):
            allowed = self._options.argument_pattern.fullmatch(word)
            if not allowed or len(word) > MAX_ARGUMENT or "\0" in word:
                hint = "its operator says which are: trioet web --argument-pattern"
                raise Refusal(HTTPStatus.BAD_REQUEST, f"argument {place} is not allowed", hint)
        return arguments


def json_answer(
    value: object,
    status: HTTPStatus = HTTPStatus.OK,
    fields: Sequence[tuple[str, str]] = (),
) -> Answer:
    """An answer for the page's scripts, which nobody keeps."""
    body = json.dumps(value, ensure_ascii=False).encode(errors="replace")
    return Answer(status, body, (*_uncached("application/json"), *fields))


def _uncached(media_type: str) -> tuple[tuple[str, str], ...]:
    return (("Content-Type", media_type), ("Cache-Control", "no-store"))


def _fields(request: Request, body: bytes) -> Mapping[str, Any]:
    """The JSON object of a POST. A form of another site's cannot send one without asking first."""
    media_type = request.fields.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "application/json is understood here")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(HTTPStatus.BAD_REQUEST, "that is no JSON") from None
    if not isinstance(value, dict):
        raise Refusal(HTTPStatus.BAD_REQUEST, "that is no JSON object")
    return value


def _read(option: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{option} {path}: {error.strerror}") from error


def _text(option: str, path: str) -> str:
    try:
        return _read(option, path).decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{option} {path}: not UTF-8; save it as UTF-8") from error


def _too_often(locked: LockedOut) -> Refusal:
    return Refusal(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too many wrong passwords from your address",
        f"wait {locked.seconds} s",
        retry_after_s=locked.seconds,
    )
