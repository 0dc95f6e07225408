"""Rows of the flags of tracing."""

from typing import Final

from mpserve.settings.flags import Flag, Group, Kind
from mpserve.settings.trace_config import LEVEL_WORDS, check_trace_config, split_assignments

_INSTEAD: Final = "Deprecated: use --trace-config"

TRACING: Final = (
    Flag(
        name="trace-config",
        kind=Kind.STRING,
        group=Group.TRACING,
        repeatable=True,
        check=check_trace_config,
        split=split_assignments,
        help=(
            "What is traced: level=OFF, TIMESTAMPS or TENSORS; rate=<one of so many requests> "
            "(1000); count=<at most so many> (-1: any number); mode=triton or opentelemetry. With "
            "a mode: triton,file=<path>, triton,log-frequency=<traces to a file>, "
            "opentelemetry,url=<collector>, opentelemetry,resource=<key>=<value>, "
            "opentelemetry,bsp_max_queue_size=, bsp_schedule_delay= (milliseconds), "
            "bsp_max_export_batch_size=."
        ),
    ),
    Flag(
        name="trace-file",
        kind=Kind.STRING,
        group=Group.TRACING,
        help=f"{_INSTEAD} triton,file=<path>.",
    ),
    Flag(
        name="trace-level",
        kind=Kind.CHOICE,
        group=Group.TRACING,
        default="off",
        repeatable=True,
        choices=LEVEL_WORDS,
        complaint="invalid value for trace level option",
        help=f"{_INSTEAD} level=<level>.",
    ),
    Flag(
        name="trace-rate",
        kind=Kind.INT,
        group=Group.TRACING,
        default=1000,
        least=0,
        help=f"{_INSTEAD} rate=<number>.",
    ),
    Flag(
        name="trace-count",
        kind=Kind.INT,
        group=Group.TRACING,
        default=-1,
        least=-1,
        help=f"{_INSTEAD} count=<number>.",
    ),
    Flag(
        name="trace-log-frequency",
        kind=Kind.INT,
        group=Group.TRACING,
        default=0,
        least=0,
        help=f"{_INSTEAD} triton,log-frequency=<number>.",
    ),
)
