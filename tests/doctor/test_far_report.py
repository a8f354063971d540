from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from trioet.cli.check import PREFIX as CHECK_PREFIX
from trioet.doctor.facts import gather
from trioet.doctor.far_report import (
    MAX_LINE,
    MAX_SAID,
    MAX_TEXT,
    PREFIX,
    FarFacts,
    FarReader,
    FarReport,
    read_facts,
)

BEGIN = b"\nTRIOET-CHECK:begin\n"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


def read(*pieces: bytes) -> FarReport:
    reader = FarReader()
    for piece in pieces:
        reader.feed(piece)
    return reader.report


def test_both_sides_agree_on_how_a_line_begins() -> None:
    assert CHECK_PREFIX.encode() == PREFIX


def test_a_silent_host_has_no_noise() -> None:
    report = read(BEGIN, b"TRIOET-CHECK:shell=/bin/bash\nTRIOET-CHECK:end\n")

    assert report.noise == 0
    assert report.one("shell") == "/bin/bash"
    assert report.complete
    assert report.facts is None


def test_noise_is_counted_though_its_last_line_has_no_end() -> None:
    assert read(b"hello" + BEGIN).noise == 5
    assert read(b"hello\n" + BEGIN).noise == 6


def test_without_a_report_the_last_words_of_the_noise_are_kept() -> None:
    report = read(b"x" * 100_000, b"\x1b[31mThis account is not available.\r\n")

    assert not report.began
    assert report.last_words.endswith("This account is not available.")
    assert len(report.last_words) <= MAX_TEXT


def test_what_trioet_check_gathers_is_understood() -> None:
    facts = gather("xterm")
    line = PREFIX + json.dumps(facts).encode() + b"\n"

    report = read(BEGIN + line)

    assert report.complete
    assert report.facts is not None
    assert report.facts.version == facts["version"]
    assert report.facts.term == "xterm"
    assert set(report.facts.took) == {"runtime", "keeper", "linger", "router", "terminfo"}


def test_what_follows_the_end_is_passed_over() -> None:
    assert "shell" not in read(BEGIN, b"TRIOET-CHECK:end\nTRIOET-CHECK:shell=x\n").said


def test_a_host_that_tells_without_end_is_kept_within_bounds() -> None:
    lines = b"".join(b"TRIOET-CHECK:n%d=v\nTRIOET-CHECK:n=v\n" % number for number in range(500))
    report = read(BEGIN, lines, b"x" * (3 * MAX_LINE), b"\nTRIOET-CHECK:end\n")

    assert len(report.said) == MAX_SAID
    assert len(report.said["n"]) == MAX_SAID
    assert report.complete


def test_a_line_that_is_too_long_is_passed_over_to_its_end() -> None:
    report = read(BEGIN, b"x" * (2 * MAX_LINE), b"TRIOET-CHECK:shell=x\nTRIOET-CHECK:end\n")
    assert report.said == {}
    assert report.complete


@given(
    st.dictionaries(
        st.sampled_from(["runtime", "keeper", "linger", "router", "terminfo", "took", "time"]),
        st.dictionaries(
            st.sampled_from(["path", "state", "ports", "routers", "port", "known", "version"]), JSON
        )
        | JSON,
    )
)
def test_values_of_the_wrong_kind_are_as_if_they_were_missing(fields: dict[str, object]) -> None:
    check(read_facts(fields))


def check(facts: FarFacts) -> None:
    assert facts.version.isprintable()
    assert facts.runtime_path.isprintable()
    assert all(0 < port < 65536 for port in facts.keeper_ports)
    assert facts.lingers in (None, True, False)
    assert facts.router_port is None or 0 < facts.router_port < 65536


@given(
    st.lists(
        st.binary(max_size=30)
        | st.sampled_from([BEGIN, b"TRIOET-CHECK:end\n", b"TRIOET-CHECK:a=b\n", b"\r\n"])
        | st.builds(lambda value: PREFIX + json.dumps(value).encode() + b"\n", JSON)
    ),
    st.data(),
)
def test_how_output_is_cut_makes_no_difference(parts: list[bytes], data: st.DataObject) -> None:
    output = b"".join(parts)
    cuts = data.draw(st.lists(st.integers(0, len(output)), max_size=8).map(sorted))
    pieces = [output[a:b] for a, b in zip([0, *cuts], [*cuts, len(output)], strict=True)]

    report = read(*pieces)

    assert report == read(output)
    assert report.last_words.isprintable()
    assert all(word.isprintable() for values in report.said.values() for word in values)
