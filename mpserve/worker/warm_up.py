"""Warm-up: requests that an instance makes for itself before it takes any other.

Guarantees
    The requests go through no queue, so they are in no statistics. A sample that fails fails the
    load.
Source: Triton's `model_warmup` and its messages. Random data is finite here: Triton's are random
    bytes, so that one float in some hundred is not a number.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET

from mpserve._native import InstanceContext, LoopbackAnswer, LoopbackRequest, Tensor
from mpserve.compat.triton_datatypes import deserialize_bytes_tensor, triton_to_numpy_type
from mpserve.control.messages import WorkerStart
from mpserve.dispatch.validation import validate
from mpserve.errors import ErrorCode, InvalidRequest, MpserveError, RepositoryError, Unsupported
from mpserve.model.config import CompletedConfig
from mpserve.model.request import InferRequest, InputTensor
from mpserve.model.tensor import Datatype
from mpserve.model.triton.config import Warmup, WarmupInput
from mpserve.runtimes.model_trace import describe_exception
from mpserve.runtimes.protocol import Request, Runtime
from mpserve.shm.instance_port import native_controls
from mpserve.worker.instance_rule import instance_rule
from mpserve.worker.sequence_states import FOLDER as STATE_FOLDER
from mpserve.worker.sequence_states import first_tensors

FOLDER: Final = "warmup"
_LENGTH_BYTES: Final = 4  # before each element of a BYTES tensor
_Array = npt.NDArray[Any]  # any of the datatypes


class _Samples(msgspec.Struct):
    """The part of a configuration that is read here."""

    model_warmup: tuple[Warmup, ...] = ()


_DECODER: Final = msgspec.json.Decoder(_Samples)


def warm_up(runtime: Runtime, completed: CompletedConfig, start: WorkerStart) -> None:
    """Run every sample of the configuration on a model that has just been loaded.

    Raises
    ------
    MpserveError
        A sample can not be made, or its execution failed; with Triton's words.
    """
    if not completed.config_json:
        return
    samples = _DECODER.decode(completed.config_json).model_warmup
    rule = instance_rule(start, completed.config)
    context = InstanceContext(
        instance_name=rule.instance_name,
        output_names=list(rule.output_names),
        open_outputs=rule.open_outputs,
        absent_parameters=rule.absent_parameters,
        controls=native_controls(rule.controls, batches=rule.batches),
        state_outputs=list(rule.state_outputs),
        input_reshapes=list(rule.input_reshapes),
        output_reshapes=list(rule.output_reshapes),
    )
    sequences = completed.config.sequences
    states = first_tensors(
        sequences.states if sequences is not None else (),
        Path(start.model_directory, STATE_FOLDER),
    )
    begun = list(states)  # of a sequence that has just started
    for sample in samples:
        if sample.batch_size > 0:
            inputs = sample_inputs(
                sample,
                folder=Path(start.model_directory, FOLDER),
                batches=completed.config.signature.max_batch_size > 0,
            )
            validate(
                InferRequest(inputs=inputs),
                signature=completed.config.signature,
                model_name=start.instance.name,
            )
            tensors = [*(Tensor(tensor.name, _array_of(tensor)) for tensor in inputs), *begun]
            blocks = [LoopbackRequest(tensors, context) for _ in range(sample.batch_size)]
            for _ in range(max(sample.count, 1)):
                _run(runtime, sample.name, blocks)


def sample_inputs(sample: Warmup, *, folder: Path, batches: bool) -> tuple[InputTensor, ...]:
    """Return the inputs of one request of a sample.

    Parameters
    ----------
    folder
        Where data files are.
    batches
        The model has a batch dimension, which the sample's `dims` leave out.

    Raises
    ------
    InvalidRequest, RepositoryError, Unsupported
        With Triton's words where it has some.
    """
    return tuple(
        InputTensor(
            name=name,
            datatype=_datatype(name, wanted),
            shape=(1, *wanted.dims) if batches else wanted.dims,
            data=_data(name, wanted, folder=folder),
        )
        for name, wanted in sample.inputs.items()
    )


def _datatype(name: str, wanted: WarmupInput) -> Datatype:
    try:
        datatype = Datatype.from_config_name(wanted.data_type)
    except KeyError:
        raise InvalidRequest(f"warmup setting expects input '{name}' to have data_type") from None
    if datatype is Datatype.BF16:
        raise Unsupported(f"warmup of input '{name}': BF16 is not supported")
    return datatype


def _data(name: str, wanted: WarmupInput, *, folder: Path) -> bytes:
    if any(size < 0 for size in wanted.dims):
        raise InvalidRequest(
            f"warmup setting expects all variable-size dimensions are specified for input '{name}'"
        )
    datatype = _datatype(name, wanted)
    count = math.prod(wanted.dims)
    if wanted.input_data_file is not UNSET:
        return _file_data(wanted.input_data_file, folder, wanted_bytes=count * datatype.item_bytes)
    if wanted.random_data is UNSET and wanted.zero_data is UNSET:
        raise InvalidRequest(f"warmup setting expects input '{name}' to have input_data_type set")
    if datatype is Datatype.BYTES:
        return bytes(count * _LENGTH_BYTES)  # empty texts
    if wanted.random_data is not UNSET:
        return _random(datatype, count).tobytes()
    return bytes(count * datatype.item_bytes)


def _file_data(file_name: str, folder: Path, *, wanted_bytes: int) -> bytes:
    """Return as many bytes of a file as the tensor has; all of it when that is not known."""
    if file_name.startswith("/") or ".." in file_name.split("/"):
        raise InvalidRequest(f"warmup data file '{file_name}' is outside the folder '{FOLDER}'")
    try:
        content = (folder / file_name).read_bytes()
    except OSError as error:
        raise RepositoryError(
            f"failed to read warmup data file {folder / file_name}: {error.strerror}"
        ) from error
    if len(content) < wanted_bytes:
        raise InvalidRequest(
            f"warmup setting expects {wanted_bytes} bytes, but the data provided from "
            f"{file_name}only has {len(content)} bytes"
        )
    return content[:wanted_bytes] if wanted_bytes else content


def _random(datatype: Datatype, count: int) -> _Array:
    draw = np.random.default_rng()
    scalar: np.dtype[Any] = np.dtype(triton_to_numpy_type(datatype))
    if scalar.kind == "f":
        return draw.random(count).astype(scalar)
    if scalar.kind == "b":
        return draw.integers(0, 2, count).astype(scalar)
    limits = np.iinfo(scalar)
    return draw.integers(limits.min, limits.max, count, dtype=scalar, endpoint=True)


def _array_of(tensor: InputTensor) -> _Array:
    if tensor.datatype is Datatype.BYTES:
        return deserialize_bytes_tensor(bytes(tensor.data)).reshape(tensor.shape)
    scalar = np.dtype(triton_to_numpy_type(tensor.datatype))
    return np.frombuffer(tensor.data, dtype=scalar).reshape(tensor.shape)


def _run(runtime: Runtime, name: str, blocks: Sequence[LoopbackRequest]) -> None:
    """Execute one batch; what fails in it fails the load."""
    requests = [block.request() for block in blocks]
    try:
        # The native objects satisfy the protocol; the stub can not say so.
        responses = list(runtime.execute(cast("Sequence[Request]", requests)))
        faults = list(_faults(requests, responses))
    except MpserveError as error:
        faults = [error.message]
    except BaseException as error:  # noqa: BLE001  # a model's sys.exit() is a failed sample
        faults = [describe_exception(error, outside=__file__)]
    if faults:
        told = "".join(f"{fault}; " for fault in faults)
        raise InvalidRequest(f"failed to run warmup sample '{name}': {told}")


def _faults(requests: Sequence[Any], responses: Sequence[Any]) -> Iterator[str]:
    """Read the answers as a client would; `None` was answered by other means."""
    if len(responses) != len(requests):
        yield f"{len(responses)} answers to {len(requests)} requests"
        return
    for request, response in zip(requests, responses, strict=True):
        if response is None:
            continue
        answer = LoopbackAnswer(request, response)
        if answer.status != ErrorCode.OK:
            yield answer.error
