"""Defaults of a configuration: backend fields by the files, scheduling, instance groups. Pure.

Source: Triton's fill of backend fields and normalization; its tables, in its order.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from mpserve.errors import InvalidRequest
from mpserve.model.config import InstanceKind
from mpserve.model.triton.config import (
    InstanceGroupConfig,
    LatestVersions,
    OptimizationPolicy,
    PinnedMemoryBuffer,
    TransactionPolicy,
    TritonConfig,
    VersionPolicy,
)

ENSEMBLE: Final = "ensemble"
DEFAULT_SEQUENCE_IDLE_US: Final = 1_000_000
DEFAULT_INSTANCES: Final = {"tensorflow": 2, "onnxruntime": 2}
"""Instances on the CPU of a group without a count; 1 for all other backends."""


class BackendRule(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the fill table.

    Attributes
    ----------
    backend, platform
        What is filled in. An empty `platform` is left alone.
    file_name
        The row applies when the version directory has it; also `default_model_filename` then.
    platforms
        The row applies when the configuration says one of these.
    """

    backend: str
    file_name: str
    platform: str = ""
    platforms: frozenset[str] = frozenset()


BACKEND_RULES: Final = (
    BackendRule(
        backend="tensorflow",
        platform="tensorflow_savedmodel",
        file_name="model.savedmodel",
        platforms=frozenset({"tensorflow_savedmodel"}),
    ),
    BackendRule(
        backend="tensorflow",
        platform="tensorflow_graphdef",
        file_name="model.graphdef",
        platforms=frozenset({"tensorflow_graphdef"}),
    ),
    BackendRule(
        backend="tensorrt",
        platform="tensorrt_plan",
        file_name="model.plan",
        platforms=frozenset({"tensorrt_plan"}),
    ),
    BackendRule(
        backend="onnxruntime",
        platform="onnxruntime_onnx",
        file_name="model.onnx",
        platforms=frozenset({"onnxruntime_onnx"}),
    ),
    BackendRule(backend="openvino", file_name="model.xml"),
    BackendRule(
        backend="pytorch",
        platform="torch_aoti",
        file_name="model.pt2",
        platforms=frozenset({"torch_aoti"}),
    ),
    BackendRule(
        backend="pytorch",
        platform="pytorch_libtorch",
        file_name="model.pt",
        platforms=frozenset({"pytorch_libtorch", "libtorch"}),
    ),
    BackendRule(backend="python", file_name="model.py"),
    # runtimes that Triton does not have
    BackendRule(backend="sklearn", file_name="model.joblib"),
    BackendRule(backend="sklearn", file_name="model.pickle"),
    BackendRule(backend="sklearn", file_name="model.pkl"),
    BackendRule(backend="xgboost", file_name="model.ubj"),
    BackendRule(backend="xgboost", file_name="model.bst"),
    BackendRule(backend="lightgbm", file_name="model.bst"),
    BackendRule(backend="lightgbm", file_name="model.txt"),
    BackendRule(backend="xgboost", file_name="model.json"),
)
"""First match wins; files count only where backend and platform are empty or the row's own."""

_OWN_FILE: Final = {"python": "model.py", "onnxruntime": "model.onnx", "openvino": "model.xml"}
"""File of a backend that is named in the configuration, but has no file in the version directory:
the load then says which one is missing."""


def fill_backend(config: TritonConfig, *, version_entries: Iterable[str]) -> TritonConfig:
    """Fill `backend`, `platform` and `default_model_filename`.

    Parameters
    ----------
    version_entries
        Names of files and directories in the first version directory, in the order of names.

    Raises
    ------
    InvalidRequest
        When nothing says what the model is.
    """
    if config.platform == ENSEMBLE or config.ensemble_scheduling is not UNSET:
        return config
    entries = frozenset(version_entries)
    for rule in BACKEND_RULES:
        if _applies(rule, config, entries):
            return replace(
                config,
                backend=rule.backend,
                platform=config.platform or rule.platform,
                default_model_filename=config.default_model_filename or rule.file_name,
            )
    if config.backend:
        default = _OWN_FILE.get(config.backend, "")
        return replace(config, default_model_filename=config.default_model_filename or default)
    if config.platform or config.default_model_filename:
        return config
    return _fill_by_name(config)


def normalize(config: TritonConfig) -> TritonConfig:
    """Write the defaults that Triton writes into a configuration; a second time changes nothing."""
    for step in _STEPS:
        config = step(config)
    return config


def normalize_instance_groups(config: TritonConfig, *, gpus: tuple[int, ...]) -> TritonConfig:
    """Name the groups, resolve kinds and counts. Needs the backend; not for ensembles.

    Parameters
    ----------
    gpus
        Device ids of the machine.
    """
    if config.platform == ENSEMBLE:
        return config
    groups = tuple(
        replace(group, name=group.name or f"{config.name}_{index}")
        for index, group in enumerate(config.instance_group)
    ) or (InstanceGroupConfig(name=config.name),)
    return replace(
        config,
        instance_group=tuple(
            _resolved(group, backend=config.backend, gpus=gpus) for group in groups
        ),
    )


def _applies(rule: BackendRule, config: TritonConfig, entries: frozenset[str]) -> bool:
    if config.backend not in {"", rule.backend}:
        return False
    if config.platform:
        return config.platform in rule.platforms
    return rule.file_name == config.default_model_filename or rule.file_name in entries


def _fill_by_name(config: TritonConfig) -> TritonConfig:
    """Take the backend from a model name of the form `<x>.<backend>`."""
    _, dot, backend = config.name.partition(".")
    if not dot or not backend:
        raise InvalidRequest(
            f"Invalid model name: Could not determine backend for model '{config.name}' with no "
            "backend in model configuration. Expected model name of the form "
            "'model.<backend_name>'."
        )
    return replace(config, backend=backend, default_model_filename=f"model.{backend}")


def _with_version_policy(config: TritonConfig) -> TritonConfig:
    policy = config.version_policy
    if policy is not UNSET and any(
        choice is not UNSET for choice in (policy.latest, policy.all, policy.specific)
    ):
        return config
    return replace(config, version_policy=VersionPolicy(latest=LatestVersions(num_versions=1)))


def _with_preferred_sizes(config: TritonConfig) -> TritonConfig:
    batching = config.dynamic_batching
    if batching is UNSET or batching.preferred_batch_size or config.max_batch_size < 1:
        return config
    return replace(
        config,
        dynamic_batching=replace(batching, preferred_batch_size=(config.max_batch_size,)),
    )


def _with_sequence_defaults(config: TritonConfig) -> TritonConfig:
    sequence = config.sequence_batching
    if sequence is UNSET:
        return config
    if not sequence.max_sequence_idle_microseconds:
        sequence = replace(sequence, max_sequence_idle_microseconds=DEFAULT_SEQUENCE_IDLE_US)
    oldest = sequence.oldest
    if oldest is not UNSET and not oldest.preferred_batch_size and config.max_batch_size > 0:
        oldest = replace(oldest, preferred_batch_size=(config.max_batch_size,))
        sequence = replace(sequence, oldest=oldest)
    return replace(config, sequence_batching=sequence)


def _with_pinned_memory(config: TritonConfig) -> TritonConfig:
    if config.platform == ENSEMBLE:
        return config
    policy = OptimizationPolicy() if config.optimization is UNSET else config.optimization
    enabled = PinnedMemoryBuffer(enable=True)
    given_in, given_out = policy.input_pinned_memory, policy.output_pinned_memory
    return replace(
        config,
        optimization=replace(
            policy,
            input_pinned_memory=enabled if given_in is UNSET else given_in,
            output_pinned_memory=enabled if given_out is UNSET else given_out,
        ),
    )


def _with_transaction_policy(config: TritonConfig) -> TritonConfig:
    if config.platform != ENSEMBLE or config.model_transaction_policy is not UNSET:
        return config
    return replace(config, model_transaction_policy=TransactionPolicy())


_STEPS: Final[tuple[Callable[[TritonConfig], TritonConfig], ...]] = (
    _with_version_policy,
    _with_preferred_sizes,
    _with_sequence_defaults,
    _with_pinned_memory,
    _with_transaction_policy,
)


def _resolved(
    group: InstanceGroupConfig, *, backend: str, gpus: tuple[int, ...]
) -> InstanceGroupConfig:
    kind = group.kind
    if kind is InstanceKind.AUTO:
        has_gpus = bool(gpus) and set(group.gpus) <= set(gpus)
        kind = InstanceKind.GPU if has_gpus else InstanceKind.CPU
    default_count = DEFAULT_INSTANCES.get(backend, 1) if kind is InstanceKind.CPU else 1
    return replace(
        group,
        kind=kind,
        count=group.count if group.count >= 1 else default_count,
        gpus=gpus if kind is InstanceKind.GPU and not group.gpus else group.gpus,
    )
