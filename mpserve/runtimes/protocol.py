"""What a worker asks of a runtime, and what a runtime is given.

A runtime never sees a queue, a segment or a socket: it gets a `LoadContext` once, then requests
whose tensors are views of shared memory, and it returns responses.

Guarantees (given by the worker)
    All calls come from one thread, in the order `load`, `execute`*, `unload`. `unload` follows also
    a `load` that raised. `requests` is never empty.

Assumes (asked of the runtime)
    `load` raises to refuse the model. `execute` returns one response for each request, in the order
    of the requests. What it raises fails every request of the call, so an error of one request is a
    response with an error.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec
import numpy.typing as npt

from mpserve.model.config import CompletedConfig, ModelConfig

__all__ = ["CompletedConfig", "LoadContext", "Request", "Response", "Runtime", "Tensor"]


class LoadContext(msgspec.Struct, frozen=True, kw_only=True):
    """All that a runtime may know of the model it loads. Plain values only.

    Attributes
    ----------
    version
        "" for an MLServer model without one.
    instance_name
        Triton's name of the instance, `<group>_<k>`.
    instance_kind
        `KIND_CPU`, `KIND_GPU`, … as the configuration says.
    model_directory, version_directory
        Absolute paths. They are equal for an MLServer model.
    config_json
        Whole configuration with all defaults (Triton), or "" for an MLServer model.
    settings_json
        `model-settings.json` with the environment applied, or "" for a Triton model.
    complete_config
        This instance completes the configuration: true for the first one of a load. The others get
        the result.
    """

    model_name: str
    version: str
    instance_name: str
    instance_kind: str
    model_directory: str
    version_directory: str
    config: ModelConfig
    config_json: str
    settings_json: str
    complete_config: bool


class Tensor(Protocol):
    """One tensor of a request or of a response."""

    def name(self) -> str:
        """Return the tensor's name."""
        ...

    def as_numpy(self) -> npt.NDArray[Any]:  # any of the datatypes
        """Return the elements: a read-only view, or an object array of `bytes` for `BYTES`."""
        ...

    def shape(self) -> Sequence[int]:
        """Return the shape, with the batch dimension."""
        ...

    def datatype_name(self) -> str:
        """Return the datatype as the wire spells it, e.g. `FP32`."""
        ...

    def parameters_json(self) -> str:
        """Return the tensor's parameters as JSON text, "" when there are none."""
        ...


class Request(Protocol):
    """One inference request."""

    def request_id(self) -> str:
        """Return the id the client gave, or ""."""
        ...

    def inputs(self) -> Sequence[Tensor]:
        """Return the input tensors in the order of the request."""
        ...

    def parameters(self) -> str:
        """Return the request's parameters as JSON text, "" when there are none."""
        ...

    def requested_output_names(self) -> Sequence[str]:
        """Return the output names the client listed, in its order; empty when it listed none."""
        ...

    def output_parameters_json(self, name: str) -> str:
        """Return the parameters the client gave a requested output, "" when there are none."""
        ...

    def headers(self) -> bytes:
        """Return what it came with, where `ModelConfig.takes_headers`: name, NUL, value, NUL each.

        Of repeated names the last counts. Binary metadata are marked (`model.binary_metadata`).
        """
        ...

    def likeness(self) -> bytes | None:
        """Return what is equal for requests that differ in nothing but their rows.

        `None` for one without rows of its own: it may not be put together with others.
        """
        ...

    def takes_many(self) -> bool:
        """Say whether the client takes any number of answers."""
        ...

    def has_more_inputs(self) -> bool:
        """Say whether it is the first of a stream of requests, which is answered as one."""
        ...

    def is_handler_call(self) -> bool:
        """Say whether this is no inference, but a request to a path of the model's own."""
        ...


class Response(Protocol):
    """One answer: output tensors, or an error. Made by `mpserve.runtimes.responses`."""

    def output_tensors(self) -> Sequence[Tensor]:
        """Return the output tensors; empty when there is an error."""
        ...

    def has_error(self) -> bool:
        """Say whether the request failed."""
        ...


@runtime_checkable
class Runtime(Protocol):
    """Loads and executes models of one kind.

    Attributes
    ----------
    name
        Entry-point name in the group `mpserve.runtimes`; Triton's `backend` word.
    default_files
        File names looked for in the version directory, first match wins; empty when the runtime
        finds its model otherwise.
    """

    name: str
    default_files: tuple[str, ...]

    def load(self, context: LoadContext) -> CompletedConfig:
        """Load the model; may take long.

        Returns
        -------
        CompletedConfig
            What is served from now on, by this instance and all others. A runtime that changes the
            JSON makes it with `mpserve.model.triton.completion.complete`.

        Raises
        ------
        Exception
            Whatever the model raises: the load fails, and its last line is the reason.
        """
        ...

    def execute(self, requests: Sequence[Request]) -> Sequence[Response | None]:
        """Answer each request, in order; `None` where the runtime answers by other means."""
        ...

    def unload(self) -> None:
        """Let go of the model. Idempotent, and allowed without a `load`."""


@runtime_checkable
class SelfCheckingRuntime(Runtime, Protocol):
    """A runtime whose models may say themselves whether they are ready."""

    @property
    def checks_itself(self) -> bool:
        """Say whether the model that was loaded does."""
        ...

    def complaint(self) -> str:
        """Ask the model; return why it is not ready, "" when it is. Beside executions."""
        ...


@runtime_checkable
class OverlappingRuntime(Runtime, Protocol):
    """A runtime whose model waits for other things, so that several requests may be under way.

    The worker calls `execute_overlapping` and `stream` in place of `execute`, and turns the loop.

    Attributes
    ----------
    loop
        The event loop that the model lives on; there from `load` to `unload`.
    """

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop."""
        ...

    async def execute_overlapping(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Answer each request of a batch, in order, as `execute` does."""
        ...

    def stream(
        self, request: Request, further: AsyncIterator[Request]
    ) -> AsyncGenerator[Response, None]:
        """Answer a request whose client takes any number of answers.

        Parameters
        ----------
        further
            Requests that come after it and are answered together with it; mostly none.
        """
        ...
