"""What the two peers answer on their metrics ports."""

from collections.abc import Mapping
from typing import Final

import msgspec

from mpserve.dialect.dialect import HealthAnswer
from mpserve.dialect.statuses import JSON, TEXT, DialectName


class MetricsAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """Answers besides the metrics themselves.

    Attributes
    ----------
    content_type
        Of the metrics.
    elsewhere
        Answer to any path but that of the metrics.
    wrong_method
        Answer to anything but a GET.
    method_first
        The method is looked at before the path.
    """

    content_type: str
    elsewhere: HealthAnswer
    wrong_method: HealthAnswer
    method_first: bool


METRICS_ANSWERS: Final[Mapping[DialectName, MetricsAnswers]] = {
    DialectName.TRITON: MetricsAnswers(
        content_type="text/plain; charset=utf-8",
        elsewhere=HealthAnswer(http=200, content_type=TEXT, body=b""),
        wrong_method=HealthAnswer(
            http=405, content_type=TEXT, body=b'{"error":"Method Not Allowed"}'
        ),
        method_first=True,
    ),
    DialectName.MLSERVER: MetricsAnswers(
        content_type="text/plain; version=1.0.0; charset=utf-8",
        elsewhere=HealthAnswer(http=404, content_type=JSON, body=b'{"detail":"Not Found"}'),
        wrong_method=HealthAnswer(
            http=405, content_type=JSON, body=b'{"detail":"Method Not Allowed"}'
        ),
        method_first=False,
    ),
}
