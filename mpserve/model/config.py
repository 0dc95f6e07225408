"""The part of a model's configuration that decides how mpserve runs it.

The whole configuration travels as JSON text beside it (`ModelDefinition.config_json`); this Struct
holds what the server itself reads. Source: Triton `model_config.proto`; MLServer `ModelSettings`.
"""

import enum
from typing import Final

import msgspec

from mpserve.model.ensemble import Ensemble
from mpserve.model.sequence import SequencePolicy
from mpserve.model.signature import Signature

MAX_INSTANCES: Final = 64  # as many as a queue in shared memory holds (model_queue.hpp)
SHARE_WEIGHTS_PARAMETER: Final = "MPSERVE_SHARE_WEIGHTS"
"""Parameter of a model: `true` lets its instances be forks of one load."""


class InstanceKind(enum.Enum):
    """Where an instance runs. mpserve runs all on the CPU; the word is passed to the model."""

    AUTO = "KIND_AUTO"
    GPU = "KIND_GPU"
    CPU = "KIND_CPU"
    MODEL = "KIND_MODEL"


class ResourceNeed(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a shared resource one execution takes.

    Attributes
    ----------
    is_global
        The resource is the server's; else each device has one of that name.
    """

    name: str
    count: int
    is_global: bool = False


class InstanceGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A number of equal instances.

    Attributes
    ----------
    name
        Group name; instance `k` of it is called `<name>_<k>`.
    count
        At least 1.
    passive
        Loaded, but given no request.
    resources, priority
        What each execution takes under the rate limiter, and how much later than others the group
        comes; 0 is as 1.
    host_policy
        Name of the policy that says on which CPUs they run, "" for the default one.
    """

    name: str
    kind: InstanceKind = InstanceKind.CPU
    count: int = 1
    passive: bool = False
    host_policy: str = ""
    resources: tuple[ResourceNeed, ...] = ()
    priority: int = 0


class QueuePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one level of a model queue; 0 means none.

    Attributes
    ----------
    max_queue_size
        Requests of the level that may wait.
    default_timeout_us
        How long a request may wait, in microseconds.
    allow_timeout_override
        A request may bring a shorter time-out of its own.
    delay_on_timeout
        A request that waited too long comes behind all others of its level; else it is refused.
    """

    max_queue_size: int = 0
    default_timeout_us: int = 0
    allow_timeout_override: bool = False
    delay_on_timeout: bool = False


class QueuePolicies(msgspec.Struct, frozen=True, kw_only=True):
    """The levels of a model queue and the policy of each.

    Attributes
    ----------
    priority_levels
        Level 1 is the most urgent of so many; 0: there are no levels.
    default_level
        Of a request whose priority is 0 or beyond the levels.
    general
        Of all levels but those in `by_level`.
    """

    priority_levels: int = 0
    default_level: int = 0
    general: QueuePolicy = QueuePolicy()
    by_level: dict[int, QueuePolicy] = {}


class BatchingPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How requests are put together for one execution.

    Attributes
    ----------
    preferred_sizes
        Rows at which a batch is sent without further waiting; the largest possible one when empty.
    max_delay_us
        How long the first request may wait for company, in microseconds.
    max_requests
        Bound of the requests of one batch (MLServer counts requests); 0 means that the rows of
        `max_batch_size` are the bound (Triton).
    """

    max_requests: int = 0
    preferred_sizes: tuple[int, ...] = ()
    max_delay_us: int = 0
    preserve_ordering: bool = False


class HandlerRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A path of the model's own, which its code answers (MLServer's `custom_handler`).

    Attributes
    ----------
    path
        With a leading slash; `{name}` stands for one part of it, `{name:path}` for the rest.
    method
        The only one that is answered.
    """

    path: str
    method: str


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the server reads of a model's configuration.

    Attributes
    ----------
    backend
        Triton's backend word or "" for an MLServer model.
    platform
        As the metadata shows it.
    ensemble
        Graph of an ensemble, which has no workers; `None` for a model that has.
    batching
        `None` when requests are executed one by one, or belong to sequences.
    sequences
        `None` when requests belong to no sequences.
    default_model_filename
        File in the version directory that the runtime loads.
    parameters
        String parameters of the configuration.
    """

    platform: str = ""
    backend: str = ""
    ensemble: Ensemble | None = None
    signature: Signature = Signature()
    instance_groups: tuple[InstanceGroup, ...] = ()
    batching: BatchingPolicy | None = None
    queue_policies: QueuePolicies = QueuePolicies()
    sequences: SequencePolicy | None = None
    decoupled: bool = False
    default_model_filename: str = ""
    parameters: dict[str, str] = {}
    label_files: dict[str, str] = {}
    """Output name -> label file, relative to the model directory."""
    environment: str = ""
    """Python environment of the workers: folder or packed archive, relative to the model directory
    or with Triton's word for it; "" for the server's own."""
    max_execution_seconds: float = 0.0
    """A worker that holds a request for longer is killed and replaced; 0 for no limit."""
    memory_limit_mib: int = 0
    """Private memory that a worker may have; 0 for no limit."""
    allocator: str = ""
    """Memory allocator of the workers, "" for the server's choice."""
    handlers: tuple[HandlerRoute, ...] = ()
    """Paths of the model's own; known when it is loaded."""
    first_response_bounds_ms: tuple[float, ...] = ()
    """Buckets of the histogram of first responses; none for those of every model."""
    takes_headers: bool = False
    """Its requests carry the headers that they came with; known when it is loaded."""
    answers_streams: bool = False
    """It answers a stream of requests as a whole (MLServer's `predict_stream`); known when it is
    loaded."""
    metadata_json: str = ""
    """What an MLServer model says of itself (`metadata`), "" for what its settings say; known when
    it is loaded."""


class CompletedConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration as the model completed it; what was given when nothing was completed.

    Attributes
    ----------
    config_json
        The whole of it with all defaults (Triton), or "" for an MLServer model.
    """

    config: ModelConfig
    config_json: str
