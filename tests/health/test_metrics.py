"""Prometheus' text format, against its own page of rules."""

from __future__ import annotations

import math

import pytest

from trioet.health.metrics import Metric, Sample, counter, gauge, render


def test_a_counter_and_a_gauge_are_three_lines_each() -> None:
    page = render([counter("a_total", "How many.", 3), gauge("b", "Now.", 0.5, {"of": "x"})])

    assert page == (
        "# HELP a_total How many.\n# TYPE a_total counter\na_total 3\n"
        '# HELP b Now.\n# TYPE b gauge\nb{of="x"} 0.5\n'
    )


def test_a_summary_has_quantiles_a_sum_and_a_count() -> None:
    samples = (
        Sample(7.0, {"quantile": "0.5"}),
        Sample(9, suffix="_sum"),
        Sample(2, suffix="_count"),
    )

    assert render([Metric("s", "summary", "Bytes.", samples)]).splitlines()[2:] == [
        's{quantile="0.5"} 7.0',
        "s_sum 9",
        "s_count 2",
    ]


def test_what_would_end_a_line_or_a_label_is_escaped() -> None:
    page = render([counter("a", 'one\ntwo \\ "', 1, {"l": 'x"\n\\'})])

    assert page.splitlines() == [
        '# HELP a one\\ntwo \\\\ "',
        "# TYPE a counter",
        'a{l="x\\"\\n\\\\"} 1',
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
        (2**63, str(2**63)),
        (1e300, "1e+300"),
        (True, "1"),
    ],
)
def test_numbers_are_written_as_prometheus_reads_them(value: float, shown: str) -> None:
    assert render([gauge("a", "", value)]).endswith(f"\na {shown}\n")


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a\nb"])
def test_a_name_that_prometheus_does_not_know_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name of a metric"):
        counter(name, "", 1)
    with pytest.raises(ValueError, match="label of a metric"):
        counter("a", "", 1, {name: "x"})
