"""What a server tells of itself, alone and as one of several workers."""

from __future__ import annotations

import math

from trioet.health.metrics import counter, render
from trioet.scon.counters import Counters
from trioet.scon.management import from_json, metrics, of_workers, to_json
from trioet.wire.scon_handshake import Code


def counted() -> Counters:
    counters = Counters(accepts=5, sessions=2, sessions_waiting=1, bytes_up=10, bytes_down=20)
    counters.handshake_errors[Code.UNKNOWN] += 3
    counters.handshake_errors[501] += 1
    counters.close_reasons["kicked"] += 1
    for value in range(1, 101):
        counters.resends.observe(value)
    return counters


def test_goscons_names_and_ours_are_told() -> None:
    page = render(metrics(counted(), 4096)).splitlines()

    for line in (
        "goscon_connection_accepts 5",
        'goscon_handshake_errors{code="404"} 3',
        'goscon_handshake_errors{code="501"} 1',
        "goscon_connection_resend_sum 5050.0",
        "goscon_connection_resend_count 100",
        "trioet_scon_sessions 2",
        "trioet_scon_sessions_waiting 1",
        "trioet_scon_kept_bytes 4096",
        'trioet_scon_bytes_total{direction="up"} 10',
        'trioet_scon_bytes_total{direction="down"} 20',
        'trioet_scon_sessions_ended_total{reason="kicked"} 1',
    ):
        assert line in page


def test_before_the_first_resume_its_quantiles_are_no_numbers() -> None:
    assert 'goscon_connection_resend{quantile="0.5"} NaN' in render(metrics(Counters(), 0))


def test_a_workers_figures_survive_json() -> None:
    told = metrics(counted(), 1)

    assert from_json(to_json(told)) == told
    again = from_json(to_json(metrics(Counters(), 0)))
    assert any(math.isnan(sample.value) for metric in again for sample in metric.samples)


def test_every_metric_of_several_workers_stands_there_once() -> None:
    page = render(of_workers({"1": metrics(counted(), 1), "2": metrics(Counters(), 2)}))

    assert page.count("# TYPE trioet_scon_kept_bytes") == 1
    assert 'trioet_scon_kept_bytes{worker="1"} 1\ntrioet_scon_kept_bytes{worker="2"} 2\n' in page
    assert 'goscon_handshake_errors{worker="1",code="404"} 3' in page


def test_a_metric_of_one_worker_alone_is_told_too() -> None:
    found = of_workers({"1": [], "2": [counter("a", "", 7)]})

    assert [sample.labels for metric in found for sample in metric.samples] == [{"worker": "2"}]
