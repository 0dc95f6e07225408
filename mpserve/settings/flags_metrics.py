"""Rows of the flags of the metrics: those that act, and those that mpserve understands only."""

from typing import Final

from mpserve.settings import formats
from mpserve.settings.flags import Flag, Group, Kind, Standing
from mpserve.settings.flags_grpc import MAX_PORT
from mpserve.settings.metrics_config import check_metrics_config, split_metrics_config

_NO_GPU: Final = "mpserve keeps tensors in host memory and looks at no GPU"

METRICS_ACTING: Final = (
    Flag(
        name="allow-metrics",
        kind=Kind.BOOL,
        group=Group.METRICS,
        field="allow_metrics",
        default=True,
        help="Serve metrics in Prometheus' text format.",
    ),
    Flag(
        name="metrics-address",
        kind=Kind.STRING,
        group=Group.METRICS,
        field="metrics_address",
        help="Address of the metrics, by default that of HTTP.",
    ),
    Flag(
        name="metrics-port",
        kind=Kind.INT,
        group=Group.METRICS,
        field="metrics_port",
        default=8002,
        start_default=8082,
        least=1,
        most=MAX_PORT,
        help="Port of the metrics.",
    ),
    Flag(
        name="metrics-endpoint",
        kind=Kind.STRING,
        group=Group.METRICS,
        field="metrics_endpoint",
        default="/metrics",
        check=formats.check_path,
        help="mpserve: path of the metrics on their port.",
    ),
    Flag(
        name="metrics-interval-ms",
        kind=Kind.INT,
        group=Group.METRICS,
        field="metrics_interval_ms",
        default=2000,
        least=0,
        help="How long one look at the processor and the memory of the machine is told again.",
    ),
    Flag(
        name="allow-cpu-metrics",
        kind=Kind.BOOL,
        group=Group.METRICS,
        field="allow_cpu_metrics",
        default=True,
        help="Tell nv_cpu_* among Triton's metrics.",
    ),
    Flag(
        name="metrics-config",
        kind=Kind.STRING,
        group=Group.METRICS,
        field="metrics_counter_latencies",
        repeatable=True,
        check=check_metrics_config,
        split=split_metrics_config,
        help=(
            "<setting>=<value>: 'counter_latencies=false' leaves the five durations of "
            "nv_inference_* out; 'summary_latencies=true' tells quantiles of them, those of "
            "'summary_quantiles=<quantile>:<error>,...'; 'histogram_latencies=true' a histogram "
            "of the first responses of decoupled models."
        ),
    ),
)

METRICS_INERT: Final = (
    Flag(
        name="allow-gpu-metrics",
        kind=Kind.BOOL,
        group=Group.METRICS,
        default=True,
        standing=Standing.NO_EFFECT,
        reason=_NO_GPU,
        help=f"Changes nothing: {_NO_GPU}.",
    ),
)
