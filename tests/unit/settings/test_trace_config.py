"""`--trace-config` and its deprecated kin, read."""

import pytest

from mpserve.model.trace_setting import SpanExport, TraceMode, TraceSetting
from mpserve.settings.arguments import UsageError
from mpserve.settings.extras import check_spans
from mpserve.settings.reading import read_serve
from mpserve.settings.settings import Settings
from mpserve.settings.trace_config import split_assignments


def read(*arguments, environment=None):
    flags = ["--model-repository=/r", "--allow-metrics=false", *arguments]
    return read_serve(flags, environment=environment or {}, version="0")


def test_nothing_is_traced_by_default():
    settings = read().settings
    assert settings.trace == TraceSetting()
    assert not settings.trace.is_on


def test_settings_of_the_server_and_of_a_mode_come_together():
    settings = read(
        "--trace-config=level=timestamps",
        "--trace-config=level=TENSORS",
        "--trace-config=rate=5",
        "--trace-config=count=7",
        "--trace-config=triton,file=/t/x.json",
        "--trace-config=triton,log-frequency=3",
    ).settings
    assert settings.trace == TraceSetting(
        levels=("TIMESTAMPS", "TENSORS"), rate=5, count=7, log_frequency=3, file="/t/x.json"
    )


def test_one_off_switches_all_levels_off():
    assert not read("--trace-config=level=MAX", "--trace-config=level=off").settings.trace.is_on


def test_spans_go_where_flags_and_then_the_environment_say():
    settings = read(
        "--trace-config=mode=opentelemetry",
        "--trace-config=opentelemetry,url=http://c:1/v1/traces",
        "--trace-config=opentelemetry,resource=a=b=c",
        "--trace-config=opentelemetry,resource=d=e",
        "--trace-config=opentelemetry,bsp_max_queue_size=9",
        environment={"OTEL_BSP_MAX_QUEUE_SIZE": "8", "OTEL_BSP_SCHEDULE_DELAY": "70"},
    ).settings
    assert settings.trace.mode is TraceMode.OPENTELEMETRY
    assert settings.span_export == SpanExport(
        url="http://c:1/v1/traces", resource={"a": "b=c", "d": "e"}, queue_size=9, delay_ms=70
    )


def test_deprecated_flags_act_warn_and_give_way():
    reading = read(
        "--trace-file=/t/old", "--trace-level=TIMESTAMPS", "--trace-rate=2", "--trace-count=3",
        "--trace-log-frequency=4", "--trace-config=rate=9",
    )  # fmt: skip
    assert reading.settings.trace == TraceSetting(
        levels=("TIMESTAMPS",), rate=9, count=3, log_frequency=4, file="/t/old"
    )
    assert len([one for one in reading.warnings if "deprecated" in one]) == 5
    overridden = read("--trace-level=TENSORS", "--trace-config=level=TIMESTAMPS").settings.trace
    assert overridden.levels == ("TIMESTAMPS",)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("level=bogus", "invalid value for trace level option: bogus"),
        ("mode=bogus", 'invalid value for trace mode option: bogus. Available options are "triton"'
         ' and "opentelemetry"'),
        ("bogus,file=x", "invalid value for trace mode option: bogus."),
        ("rate", "--trace-config option format is '<trace mode>,<setting>=<value>'. Got rate"),
        ("rate=-1", "rate must be 0 to 4294967295, got -1"),
        ("count=-2", "count must be -1 to 2147483647, got -2"),
        ("speed=1", "unknown trace setting 'speed'"),
        ("triton,speed=1", "unknown trace setting 'speed' of mode triton; use one of: file, "
         "log-frequency"),
        ("opentelemetry,resource=a", "'a' is no resource attribute; give it as <key>=<value>"),
        ("opentelemetry,bsp_schedule_delay=0", "bsp_schedule_delay must be 1 to"),
    ],
)  # fmt: skip
def test_what_can_not_be_read_is_refused(value, text):
    with pytest.raises(UsageError) as caught:
        read(f"--trace-config={value}")
    assert text in str(caught.value)


def test_a_variable_holds_settings_between_commas():
    assert split_assignments("rate=1,triton,file=x,level=OFF") == (
        "rate=1",
        "triton,file=x",
        "level=OFF",
    )
    settings = read(environment={"MPSERVE_TRACE_CONFIG": "rate=4,triton,file=/x"}).settings
    assert (settings.trace.rate, settings.trace.file) == (4, "/x")


def test_spans_without_their_packages_are_refused():
    settings = Settings(trace=TraceSetting(mode=TraceMode.OPENTELEMETRY))
    check_spans(settings)
    with pytest.raises(UsageError, match=r"pip install 'mpserve\[otel\]'"):
        check_spans(settings, libraries=("no_such_package.at_all",))
    check_spans(Settings(), libraries=("no_such_package.at_all",))
