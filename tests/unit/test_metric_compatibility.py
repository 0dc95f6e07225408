"""The page about the peers' metrics says what the code tells, and leaves nothing out."""

import pytest

from tests.fixtures.compatibility.metrics import METRICS, MLSERVER, TRITON, labels_of, told

ROWS = [(dialect, metric) for dialect, metrics in METRICS.items() for metric in metrics]
OWN = ("mpserve_",)


@pytest.mark.parametrize(
    ("dialect", "metric"), ROWS, ids=lambda value: getattr(value, "name", "").lower()
)
def test_a_family_of_a_peer_is_told_as_it_tells_it_or_has_a_reason(dialect, metric):
    family = told(dialect).get(metric.name)
    if family is None:
        assert metric.reason
    else:
        assert (family.kind, labels_of(family)) == (metric.kind, metric.labels)


@pytest.mark.parametrize("dialect", [TRITON, MLSERVER])
def test_what_no_peer_has_bears_our_name(dialect):
    known = {metric.name for metric in METRICS[dialect]}
    assert not [name for name in told(dialect).keys() - known if not name.startswith(OWN)]


def test_a_name_is_listed_once():
    for metrics in METRICS.values():
        assert len({metric.name for metric in metrics}) == len(metrics)
