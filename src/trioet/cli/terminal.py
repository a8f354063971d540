"""`trioet terminal`: what ssh runs on the far side; also installed as `etterminal`.

Reads `id/passkey_TERM` from stdin, has the user's keeper open a session, prints
`IDPASSKEY:id/passkey` and ends (Eternal Terminal specification 2.3). With ``--term`` it reads
nothing: the id would be a placeholder, and what ssh is given for stdin comes a round trip after
the command, since ssh leaves Nagle's algorithm on without a terminal. With ``--relay`` it reads
`host port` instead, and has the keeper relay connections to there; with ``--guest`` whom the web
has let in, and what that one may do. Standard library only:
this is on every user's path to a prompt.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys

# The half of `socket` that is written in C: the other imports enum, selectors and more, which
# takes as long as all that this program does.
from _socket import AF_UNIX, SHUT_WR, socket

from trioet.bootstrap.credentials import (
    PLACEHOLDER,
    TRIOET_IS_HERE,
    Credentials,
    clean_term,
    new_real_credentials,
    parse_bootstrap_line,
)
from trioet.bootstrap.guest_line import MAX_GUEST_LINE, GuestLine, parse_guest_line
from trioet.bootstrap.relay_line import parse_relay_line
from trioet.cli.coercion import undo_coercion
from trioet.errors import LocalError, StepFailed, TrioetError
from trioet.server.places import keeper_socket, make_runtime_dir
from trioet.server.request import (
    HOSTING,
    INVITED,
    REFUSED,
    RELAYING,
    OpenRequest,
    RelayRequest,
    encode_guest,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

STDIN_PATIENCE_S = 10.0
"""How long the line may take. ssh sends it at once; ET waits 1 s, too short for a slow one."""

MAX_LINE = 4096
TERM = "--term="
ANSWER_DEADLINE_S = 15.0
"""For the keeper's answer; a keeper that has to start takes a quarter of a second."""

MAX_LOG = 1024 * 1024


class Options:
    """What argparse would say of an empty command line, without importing it."""

    term: str | None = None
    serverfifo = ""
    port: str | None = None
    kill_other_sessions = False
    relay = False
    guest = False
    jump = False
    dsthost = ""
    dstport = "2022"
    for_et = False
    """With ``jump``: a real `et` has asked."""


def main(argv: list[str]) -> int:
    """Run `trioet terminal`; return its exit status."""
    options = Options()
    rest = _take_term(argv, options)
    if rest:
        # Other versions' flags are no reason to fail.
        _parser().parse_known_args(rest, options)
    try:
        if options.relay:
            answer = _open_relay(options)
        elif options.guest:
            answer = _open_for_guest()
        else:
            credentials, answer = _open_session(options)
    except TrioetError as error:
        answer = _refusal(error)
    invited = answer.startswith(INVITED)
    if options.for_et and not invited:
        _say_to_et(answer)
        return 1
    if invited:
        answer = f"IDPASSKEY:{credentials.client_id}/{credentials.passkey}\n".encode() + answer
    sys.stdout.buffer.write(answer)
    sys.stdout.flush()
    return 1 if answer.startswith(REFUSED) else 0


def etterminal() -> int:
    """The console script of the same name, for `et` clients: the same, by ET's name."""
    undo_coercion()
    return main(sys.argv[1:])


def _take_term(argv: list[str], options: Options) -> list[str]:
    """Take note of ``--term=``, which `trioet connect` gives, without argparse; return the rest."""
    for word in argv:
        if word.startswith(TERM):
            options.term = word.removeprefix(TERM)
    return [word for word in argv if not word.startswith(TERM)]


def _parser() -> argparse.ArgumentParser:
    import argparse

    from trioet import __version__

    parser = argparse.ArgumentParser(
        prog="trioet terminal",
        description="Open a session for a client that ssh brought here. Reads "
        "`id/passkey_TERM` from stdin, prints `IDPASSKEY:id/passkey`.",
    )
    parser.add_argument("--version", action="version", version=f"trioet {__version__}")
    parser.add_argument(
        "--term",
        metavar="NAME",
        help="read nothing, make up id and passkey here; the session's TERM is NAME",
    )
    parser.add_argument(
        "--serverfifo", metavar="PATH", default="", help="socket of the server to register with"
    )
    parser.add_argument(
        "--port", metavar="N[-M]", help="without a server: listen on this port, or one of these"
    )
    parser.add_argument(
        "-x",
        "--kill-other-sessions",
        action="store_true",
        help="end all other sessions of this user first",
    )
    parser.add_argument(
        "--relay",
        action="store_true",
        help="open no session, but pass connections on to the `host port` that stdin names",
    )
    parser.add_argument(
        "--guest",
        action="store_true",
        help="open a session that can do no more than stdin says, for a visitor of `trioet web`",
    )
    parser.add_argument(
        "--jump",
        action="store_true",
        help="be Eternal Terminal's jumphost: the session with this id is at --dsthost",
    )
    parser.add_argument("--dsthost", metavar="HOST", default="", help="with --jump: where it is")
    parser.add_argument("--dstport", metavar="N", default="2022", help="with --jump: its port")
    parser.add_argument("--verbose", "-v", help=argparse.SUPPRESS)
    parser.add_argument("--logdir", "-l", help=argparse.SUPPRESS)
    return parser


def _open_session(options: Options) -> tuple[Credentials, bytes]:
    """Return the session's credentials, and the keeper's answer."""
    if options.term is not None:
        credentials, term = new_real_credentials(), clean_term(options.term)
    else:
        asked, term = parse_bootstrap_line(_read_line())
        options.for_et = options.jump and term != TRIOET_IS_HERE
        is_new = asked.client_id.startswith(PLACEHOLDER) and not options.jump
        credentials = new_real_credentials() if is_new else asked
    request = OpenRequest(
        credentials,
        term,
        os.environb,
        router_socket=options.serverfifo,
        ports=_port_range(options.port),
        kill_others=options.kill_other_sessions,
        destination=_destination(options),
    )
    return credentials, ask_keeper(request.encode())


def _open_relay(options: Options) -> bytes:
    """Return the keeper's answer."""
    host, port = parse_relay_line(_read_line())
    request = RelayRequest(
        host, port, router_socket=options.serverfifo, ports=_port_range(options.port)
    )
    answer = ask_keeper(request.encode())
    _check_age(answer, "relay", "cannot relay")
    return answer


def _open_for_guest() -> bytes:
    """Return the keeper's answer. The session's credentials are the asker's own, and not said."""
    guest = parse_guest_line(_read_line(MAX_GUEST_LINE))
    fields = {**guest.fields, "directory": os.path.expanduser("~"), "remote": "yes"}
    answer = ask_keeper(encode_guest(fields, _guests_program(guest), os.environb))
    _check_age(answer, "guest", "knows no guests")
    return HOSTING + answer.removeprefix(INVITED) if answer.startswith(INVITED) else answer


def _guests_program(guest: GuestLine) -> list[bytes]:
    """What is to run, by its path; without a command, the user's login shell."""
    if not guest.argv:
        import pwd

        shell = pwd.getpwuid(os.getuid()).pw_shell or "/bin/sh"
        return [os.fsencode(shell), b"-l"]
    import shutil

    name = guest.argv[0]
    path = shutil.which(name)
    if path is None:
        raise StepFailed("command", f"{name}: there is no such command on PATH there")
    return [os.fsencode(os.path.abspath(path)), *map(os.fsencode, guest.argv[1:])]


def _check_age(answer: bytes, step: str, lack: str) -> None:
    """Raises:
    StepFailed: the keeper that runs is older than this program.
    """
    if answer.startswith(REFUSED) and b"a request that this keeper does not know" in answer:
        raise StepFailed(
            step,
            f"the keeper that runs here is an older trioet's, which {lack}",
            "end this user's sessions here (trioet connect -x), and wait for its end",
        )


def _read_line(limit: int = MAX_LINE) -> bytes:
    line = b""
    while b"\n" not in line and len(line) < limit:
        ready, _, _ = select.select([0], [], [], STDIN_PATIENCE_S)
        if not ready:
            raise StepFailed("terminal", "nothing came on stdin; `trioet connect` runs this by ssh")
        data = os.read(0, MAX_LINE)
        if not data:
            break
        line += data
    return line


def _destination(options: Options) -> tuple[str, int] | None:
    if not options.jump:
        return None
    if not options.dsthost:
        raise StepFailed("terminal", "--jump: where to? --dsthost is missing")
    if not (options.dstport.isascii() and options.dstport.isdigit()):
        raise StepFailed("terminal", f"--dstport {options.dstport}: not a port")
    return options.dsthost, int(options.dstport)


def _port_range(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, _, last = text.partition("-")
    try:
        ports = int(first), int(last or first)
    except ValueError:
        raise StepFailed("terminal", f"--port {text}: not a port, nor a range N-M") from None
    if not 0 < ports[0] <= ports[1] < 65536:
        raise StepFailed("terminal", f"--port {text}: ports go from 1 to 65535")
    return ports


def ask_keeper(request: bytes) -> bytes:
    """Send a request to the user's keeper, started if need be; return its answer.

    Raises:
      LocalError: no keeper answers.
    """
    path = keeper_socket()
    for _ in range(3):
        answer = _exchange(_connect(path) or _start_keeper(path), request)
        if answer.startswith((INVITED, RELAYING, REFUSED)):
            return answer
    raise LocalError(f"the keeper at {path} does not answer; its log is keeper.log beside it")


def _exchange(connection: socket, request: bytes) -> bytes:
    """Send a request, and return what is answered before the keeper, or this, hangs up."""
    answer = b""
    try:
        connection.settimeout(ANSWER_DEADLINE_S)
        connection.sendall(request)
        connection.shutdown(SHUT_WR)
        while part := connection.recv(65536):
            answer += part
    except OSError:
        return b""
    finally:
        connection.close()
    return answer


def connect_keeper() -> int:
    """Connect to the user's keeper, started if need be; return the descriptor, which is the
    caller's. For processes that go on: it is started by one that ends at once, so that nobody
    has to wait for its end.

    Raises:
      LocalError: it cannot be started.
    """
    path = keeper_socket()
    if connection := _connect(path):
        return connection.detach()
    import subprocess

    code = "from trioet.cli.terminal import start_keeper; start_keeper()"
    command = [sys.executable, "-P", "-c", code]
    starter = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if connection := _connect(path):
        return connection.detach()
    why = starter.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    raise LocalError(f"cannot start a keeper at {path}: {why}")


def start_keeper() -> None:
    """Start the user's keeper, unless it runs."""
    _start_keeper(keeper_socket()).close()


def _connect(path: str) -> socket | None:
    connection = socket(AF_UNIX)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        return None
    return connection


def _start_keeper(path: str) -> socket:
    """Listen in the keeper's place, start it with that socket, and connect.

    So nobody waits for it to be ready: the request lies in its backlog until it is.
    """
    make_runtime_dir()
    lock = os.open(path + ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if connection := _connect(path):
            return connection
        listener = socket(AF_UNIX)
        try:
            if os.path.lexists(path):
                os.unlink(path)  # in our private directory, and nobody serves it
            listener.bind(path)
            os.chmod(path, 0o600)
            listener.listen(64)
            _spawn_keeper(path, listener)
        finally:
            listener.close()
        connection = socket(AF_UNIX)
        connection.connect(path)
        return connection
    except OSError as error:
        raise LocalError(f"cannot start a keeper at {path}: {error.strerror}") from error
    finally:
        os.close(lock)


def _spawn_keeper(path: str, listener: socket) -> None:
    command = [sys.executable, "-P", "-m", "trioet.cli.main", "keeper", "--listen-fd"]
    command.append(str(listener.fileno()))
    if _lingers():
        # A scope of the user's own manager outlives the ssh session even where logind
        # kills what a session leaves behind; without linger it would die with the last one.
        scope = "systemd-run --user --scope --quiet --collect"
        command = ["/bin/sh", "-c", f'{scope} -- "$@" 2>/dev/null || exec "$@"', "sh", *command]
    home = os.path.expanduser("~")
    log = os.open(
        os.path.join(os.path.dirname(path), "keeper.log"),
        os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC,
        0o600,
    )
    with os.fdopen(log, "ab") as log_file:
        if log_file.tell() > MAX_LOG:
            log_file.truncate(0)
        import subprocess

        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            pass_fds=[listener.fileno()],
            start_new_session=True,
            cwd=home if os.path.isdir(home) else "/",
        )


def _lingers() -> bool:
    user = os.environ.get("USER") or os.environ.get("LOGNAME") or ""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return (
        bool(user)
        and os.path.exists(os.path.join("/var/lib/systemd/linger", user))
        and os.path.exists(os.path.join(runtime, "bus"))
    )


def _say_to_et(refusal: bytes) -> None:
    """Say it where ssh brings it to the user. On stdout `et` would take it for an id and a key,
    and crash, or hang with them; of nothing it says that the jumphost failed."""
    import json

    fields = json.loads(refusal.removeprefix(REFUSED))
    print(f"trioet on the jumphost: {fields['what']}", file=sys.stderr)


def _refusal(error: TrioetError) -> bytes:
    import json

    fields = {"step": "terminal", "what": str(error), "hint": ""}
    if isinstance(error, StepFailed):
        fields = {"step": error.step, "what": error.what, "hint": error.hint}
    return REFUSED + json.dumps(fields).encode() + b"\n"
