"""What a name server answers: link/srv.py, behind dnspython's own parser."""

from __future__ import annotations

import random

from harness import Target, instrumented

with instrumented("dns"):
    import dns.message
    import dns.rrset
    from dns.rdtypes.IN.SRV import SRV

    from trioet.link.srv import NAME, NOWHERE, in_order, read_record


def take(data: bytes) -> None:
    try:
        message = dns.message.from_wire(data)
    except Exception:  # its resolver takes any for an answer that is none
        return
    found = []
    for rdata in (rdata for rrset in message.answer for rdata in rrset):
        if isinstance(rdata, SRV):
            record = read_record(rdata)
            if record is not None:
                assert record.target == NOWHERE or (record.port and NAME.fullmatch(record.target))
                found.append(record)
    ordered = in_order(found, random.Random(len(data)))
    assert sorted(ordered) == sorted(found)
    assert [record.priority for record in ordered] == sorted(record.priority for record in found)


def answer(*records: str) -> bytes:
    reply = dns.message.make_response(
        dns.message.make_query("_trioet._tcp.db1.example.", "SRV", id=1)
    )
    if records:
        name = reply.question[0].name
        reply.answer.append(dns.rrset.from_text(name, 300, "IN", "SRV", *records))
    return reply.to_wire()


TARGET = Target(
    take,
    seeds=[
        answer(),
        answer("0 0 0 ."),
        answer("1 10 2022 a.example.", "1 0 443 b.example.", "2 0 2022 192.0.2.7."),
        answer(r"0 0 1 \027[2J.example.", "0 0 0 a.example."),
    ],
    refusals=(),
)

if __name__ == "__main__":
    TARGET.run()
