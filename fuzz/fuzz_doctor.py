"""What the doctor reads: doctor/far_report.py, doctor/ssh_words.py, doctor/probe.py."""

from __future__ import annotations

from harness import Target, check_text, instrumented, sliced

with instrumented():
    from trioet.doctor import judge
    from trioet.doctor.far_report import FarReader
    from trioet.doctor.finding import Finding
    from trioet.doctor.judge import Place
    from trioet.doctor.ports import Goal, judge_next, probe_of_hop
    from trioet.doctor.probe import read_answer
    from trioet.doctor.ssh_words import SshWords

BEGIN = b"noise\nTRIOET-CHECK:begin\nTRIOET-CHECK:stdin=1\nTRIOET-CHECK:shell=/bin/fish\n"
PLACE = Place("far", "ssh far")
GOAL = Goal(2022, "the router", seen=True, needed=True, start="trioet serve")


def take(data: bytes) -> None:
    kind, data = data[:1], data[1:]
    if kind == b"S":
        take_words(data)
    elif kind == b"P":
        if (verdict := read_answer(data)) is not None:
            check_text(verdict[1])
    else:
        take_report(data)


def take_words(data: bytes) -> None:
    whole, pieces = SshWords("far.example"), SshWords("far.example")
    whole.feed(data)
    for piece in sliced(data):
        pieces.feed(piece)
    assert whole.login == pieces.login
    cause = whole.cause("far", "ssh far")
    assert cause == pieces.cause("far", "ssh far")
    check_text(cause.what)
    check_text(cause.fix)
    check_text(cause.command)


def take_report(data: bytes) -> None:
    whole, pieces = FarReader(), FarReader()
    whole.feed(data)
    for piece in sliced(data):
        pieces.feed(piece)
    report = whole.report
    assert report == pieces.report
    found: list[Finding] = [
        judge.shell(report, PLACE),
        judge.no_shell(report, 1, "", PLACE),
        judge.program(report, PLACE),
        judge.version(report, 6, PLACE),
        judge.terminfo(report, "xterm", known_here=True, place=PLACE),
        judge.relay(report, PLACE),
        judge_next("h", probe_of_hop(report.facts), GOAL),
    ]
    if (facts := report.facts) is not None:
        found += [
            judge.runtime(facts, PLACE),
            judge.linger(facts, PLACE),
            judge.keeper(facts, PLACE),
            judge.router(facts, None, PLACE),
            judge.clock(facts.time, PLACE),
        ]
    for finding in found:
        check_text(finding.what)
        check_text(finding.fix)
        check_text(finding.command)


TARGET = Target(
    take,
    seeds=[
        b"R" + BEGIN + b"TRIOET-CHECK:program=/x/etterminal\nTRIOET-CHECK:version=et 6\n"
        b"TRIOET-CHECK:end\n",
        b"R" + BEGIN + b"TRIOET-CHECK:elsewhere=/x\nTRIOET-CHECK:python=Python 3.9.2\n"
        b"TRIOET-CHECK:installer=pip\nTRIOET-CHECK:end\n",
        b"R" + BEGIN + b'TRIOET-CHECK:{"version":"0.1.0","protocol":6,"time":17.5,"user":"me",'
        b'"runtime":{"path":"/r","exists":true,"owner":0,"mode":"0755","problem":"x is open to '
        b'others; y"},"keeper":{"state":"runs","version":"1","sessions":2,"ports":[1],"routers":'
        b'[{"socket":"/s","port":2,"connected":false}]},"linger":{"logind":true,"kills":true},'
        b'"router":{"state":"denied","socket":"/s","port":2},"stand_in":null,"terminfo":{"term":'
        b'"xterm","known":false},"took":{"runtime":0.1}}\n',
        b"R" + BEGIN + b'TRIOET-CHECK:{"version":"0.1.0","router":{"state":"serves","port":2022,'
        b'"relaying":"none"},"reach":{"state":"connected","answer":"02000000000000000803"}}\n',
        b"R" + BEGIN + b'TRIOET-CHECK:{"reach":{"state":"unreachable","words":"no route"}}\n',
        b"R" + b"This account is currently not available.\n",
        b"S@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nOffending ED25519 key in /k h:3\n"
        b"Host key for [h]:22 has changed and\nHost key verification failed.\n",
        b'SAuthenticated to far.example ([192.0.2.1]:22) using "publickey".\n',
        b"Sme@far: Permission denied (publickey,password).\n",
        b"Sssh: connect to host h port 22: Connection refused\r\n",
        b"P\x02\x00\x00\x00\x00\x00\x00\x00\x08\x03",
        b"PHTTP/1.1 400 Bad Request\r\n",
    ],
)

if __name__ == "__main__":
    TARGET.run()
