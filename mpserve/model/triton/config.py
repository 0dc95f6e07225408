"""Triton's whole `ModelConfig`, message by message. Shapes only.

Encoded with `msgspec.json`, a `TritonConfig` is the text of `GET /v2/models/M/config`: fields in
the order of the declarations here, scalars always printed, messages only when set (else `UNSET`).

Source: Triton `model_config.proto`; the field numbers are in
`mpserve/model/proto/model_config.proto`.
"""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from mpserve.model.config import InstanceKind
from mpserve.model.triton.config_message import ConfigMessage, DataTypeName
from mpserve.model.triton.scheduling_config import (
    DynamicBatching,
    EnsembleScheduling,
    SequenceBatching,
)


class TensorReshape(ConfigMessage, frozen=True, kw_only=True):
    """Shape that the model sees in place of `dims`."""

    shape: tuple[int, ...] = ()


class ModelInput(ConfigMessage, frozen=True, kw_only=True):
    """A declared input; `dims` without the batch dimension."""

    name: str = ""
    data_type: DataTypeName = "TYPE_INVALID"
    format: Literal["FORMAT_NONE", "FORMAT_NHWC", "FORMAT_NCHW"] = "FORMAT_NONE"
    dims: tuple[int, ...] = ()
    reshape: TensorReshape | UnsetType = UNSET
    is_shape_tensor: bool = False
    allow_ragged_batch: bool = False
    optional: bool = False
    is_non_linear_format_io: bool = False

    @property
    def model_dims(self) -> tuple[int, ...]:
        """The dims as the model knows them."""
        return self.dims if self.reshape is UNSET else self.reshape.shape


class ModelOutput(ConfigMessage, frozen=True, kw_only=True):
    """A declared output; `dims` without the batch dimension."""

    name: str = ""
    data_type: DataTypeName = "TYPE_INVALID"
    dims: tuple[int, ...] = ()
    reshape: TensorReshape | UnsetType = UNSET
    label_filename: str = ""
    is_shape_tensor: bool = False
    is_non_linear_format_io: bool = False

    @property
    def model_dims(self) -> tuple[int, ...]:
        """The dims as the model knows them."""
        return self.dims if self.reshape is UNSET else self.reshape.shape


class BatchInput(ConfigMessage, frozen=True, kw_only=True):
    """An input that the server adds to a batch."""

    kind: Literal[
        "BATCH_ELEMENT_COUNT",
        "BATCH_ACCUMULATED_ELEMENT_COUNT",
        "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO",
        "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE",
        "BATCH_ITEM_SHAPE",
        "BATCH_ITEM_SHAPE_FLATTEN",
    ] = "BATCH_ELEMENT_COUNT"
    target_name: tuple[str, ...] = ()
    data_type: DataTypeName = "TYPE_INVALID"
    source_input: tuple[str, ...] = ()


class BatchOutput(ConfigMessage, frozen=True, kw_only=True):
    """An output that the server spreads over the requests of a batch."""

    target_name: tuple[str, ...] = ()
    kind: Literal["BATCH_SCATTER_WITH_INPUT_SHAPE"] = "BATCH_SCATTER_WITH_INPUT_SHAPE"
    source_input: tuple[str, ...] = ()


class LatestVersions(ConfigMessage, frozen=True, kw_only=True):
    """The highest versions."""

    num_versions: int = 0


class AllVersions(ConfigMessage, frozen=True, kw_only=True):
    """All versions."""


class SpecificVersions(ConfigMessage, frozen=True, kw_only=True):
    """The listed versions."""

    versions: tuple[int, ...] = ()


class VersionPolicy(ConfigMessage, frozen=True, kw_only=True):
    """Which versions are served; one of the fields."""

    latest: LatestVersions | UnsetType = UNSET
    all: AllVersions | UnsetType = UNSET
    specific: SpecificVersions | UnsetType = UNSET


class RateLimiterResource(ConfigMessage, frozen=True, kw_only=True):
    """What an execution takes of a resource."""

    name: str = ""
    global_: bool = msgspec.field(default=False, name="global")
    count: int = 0


class RateLimiter(ConfigMessage, frozen=True, kw_only=True):
    """Resources and priority of an instance."""

    resources: tuple[RateLimiterResource, ...] = ()
    priority: int = 0


class SecondaryDevice(ConfigMessage, frozen=True, kw_only=True):
    """A device beside the main one."""

    kind: Literal["KIND_NVDLA"] = "KIND_NVDLA"
    device_id: int = 0


class InstanceGroupConfig(ConfigMessage, frozen=True, kw_only=True):
    """A number of equal instances, as configured."""

    name: str = ""
    kind: InstanceKind = InstanceKind.AUTO
    count: int = 0
    rate_limiter: RateLimiter | UnsetType = UNSET
    gpus: tuple[int, ...] = ()
    secondary_devices: tuple[SecondaryDevice, ...] = ()
    profile: tuple[str, ...] = ()
    passive: bool = False
    host_policy: str = ""


class GraphOptimization(ConfigMessage, frozen=True, kw_only=True):
    """Level of graph optimization."""

    level: int = 0


class GraphShape(ConfigMessage, frozen=True, kw_only=True):
    """Shape of an input of a captured graph."""

    dim: tuple[int, ...] = ()


class GraphLowerBound(ConfigMessage, frozen=True, kw_only=True):
    """Smallest request a captured graph is used for."""

    batch_size: int = 0
    input: dict[str, GraphShape] = msgspec.field(default_factory=dict)


class GraphSpec(ConfigMessage, frozen=True, kw_only=True):
    """A graph to capture."""

    batch_size: int = 0
    input: dict[str, GraphShape] = msgspec.field(default_factory=dict)
    graph_lower_bound: GraphLowerBound | UnsetType = UNSET


class CudaOptimization(ConfigMessage, frozen=True, kw_only=True):
    """Options of CUDA."""

    graphs: bool = False
    busy_wait_events: bool = False
    graph_spec: tuple[GraphSpec, ...] = ()
    output_copy_stream: bool = False


class Accelerator(ConfigMessage, frozen=True, kw_only=True):
    """An execution accelerator of a backend."""

    name: str = ""
    parameters: dict[str, str] = msgspec.field(default_factory=dict)


class ExecutionAccelerators(ConfigMessage, frozen=True, kw_only=True):
    """Execution accelerators by device."""

    gpu_execution_accelerator: tuple[Accelerator, ...] = ()
    cpu_execution_accelerator: tuple[Accelerator, ...] = ()


class PinnedMemoryBuffer(ConfigMessage, frozen=True, kw_only=True):
    """Use of pinned memory."""

    enable: bool = False


class OptimizationPolicy(ConfigMessage, frozen=True, kw_only=True):
    """Optimization of the execution."""

    graph: GraphOptimization | UnsetType = UNSET
    priority: Literal["PRIORITY_DEFAULT", "PRIORITY_MAX", "PRIORITY_MIN"] = "PRIORITY_DEFAULT"
    cuda: CudaOptimization | UnsetType = UNSET
    execution_accelerators: ExecutionAccelerators | UnsetType = UNSET
    input_pinned_memory: PinnedMemoryBuffer | UnsetType = UNSET
    output_pinned_memory: PinnedMemoryBuffer | UnsetType = UNSET
    gather_kernel_buffer_threshold: int = 0
    eager_batching: bool = False


# --- the rest -----------------------------------------------------------------------------------


class ModelParameter(ConfigMessage, frozen=True, kw_only=True):
    """A parameter of the model's own."""

    string_value: str = ""


class WarmupInput(ConfigMessage, frozen=True, kw_only=True):
    """Data of a warmup input; one of the last three fields."""

    data_type: DataTypeName = "TYPE_INVALID"
    dims: tuple[int, ...] = ()
    zero_data: bool | UnsetType = UNSET
    random_data: bool | UnsetType = UNSET
    input_data_file: str | UnsetType = UNSET


class Warmup(ConfigMessage, frozen=True, kw_only=True):
    """A request sent to each new instance."""

    name: str = ""
    batch_size: int = 0
    inputs: dict[str, WarmupInput] = msgspec.field(default_factory=dict)
    count: int = 0


class ModelOperations(ConfigMessage, frozen=True, kw_only=True):
    """Libraries of custom operations."""

    op_library_filename: tuple[str, ...] = ()


class TransactionPolicy(ConfigMessage, frozen=True, kw_only=True):
    """Whether a request may have other than one response."""

    decoupled: bool = False


class RepositoryAgent(ConfigMessage, frozen=True, kw_only=True):
    """A library that may rewrite the model's location."""

    name: str = ""
    parameters: dict[str, str] = msgspec.field(default_factory=dict)


class RepositoryAgents(ConfigMessage, frozen=True, kw_only=True):
    """Repository agents, in order."""

    agents: tuple[RepositoryAgent, ...] = ()


class ResponseCache(ConfigMessage, frozen=True, kw_only=True):
    """Use of the response cache."""

    enable: bool = False


class MetricIdentifier(ConfigMessage, frozen=True, kw_only=True):
    """A metric family."""

    family: str = ""


class HistogramOptions(ConfigMessage, frozen=True, kw_only=True):
    """Buckets of a histogram."""

    buckets: tuple[float, ...] = ()


class MetricControl(ConfigMessage, frozen=True, kw_only=True):
    """Options of one metric family."""

    metric_identifier: MetricIdentifier | UnsetType = UNSET
    histogram_options: HistogramOptions | UnsetType = UNSET


class ModelMetrics(ConfigMessage, frozen=True, kw_only=True):
    """Options of the model's metrics."""

    metric_control: tuple[MetricControl, ...] = ()


class TritonConfig(ConfigMessage, frozen=True, kw_only=True):
    """The configuration of a model; at most one of the three scheduling fields is set."""

    name: str = ""
    platform: str = ""
    backend: str = ""
    runtime: str = ""
    version_policy: VersionPolicy | UnsetType = UNSET
    max_batch_size: int = 0
    input: tuple[ModelInput, ...] = ()
    output: tuple[ModelOutput, ...] = ()
    batch_input: tuple[BatchInput, ...] = ()
    batch_output: tuple[BatchOutput, ...] = ()
    optimization: OptimizationPolicy | UnsetType = UNSET
    dynamic_batching: DynamicBatching | UnsetType = UNSET
    sequence_batching: SequenceBatching | UnsetType = UNSET
    ensemble_scheduling: EnsembleScheduling | UnsetType = UNSET
    instance_group: tuple[InstanceGroupConfig, ...] = ()
    default_model_filename: str = ""
    cc_model_filenames: dict[str, str] = msgspec.field(default_factory=dict)
    metric_tags: dict[str, str] = msgspec.field(default_factory=dict)
    parameters: dict[str, ModelParameter] = msgspec.field(default_factory=dict)
    model_warmup: tuple[Warmup, ...] = ()
    model_operations: ModelOperations | UnsetType = UNSET
    model_transaction_policy: TransactionPolicy | UnsetType = UNSET
    model_repository_agents: RepositoryAgents | UnsetType = UNSET
    response_cache: ResponseCache | UnsetType = UNSET
    model_metrics: ModelMetrics | UnsetType = UNSET
