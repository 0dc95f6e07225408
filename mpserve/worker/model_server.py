"""What the model of a worker may ask of its server, put together: `compat.triton_bls.Server`."""

import time
from functools import partial

from mpserve.compat.triton_bls import DecoupledModel
from mpserve.control.messages import CallDone, CallersJoined, PublishTable, WorkerStart
from mpserve.dispatch.ensemble_answer import OnAnswer
from mpserve.dispatch.model_calls import ModelCalls
from mpserve.dispatch.routing_table import RoutedModel
from mpserve.errors import Failure, MpserveError, QueueFull, ShuttingDown
from mpserve.model.request import InferRequest
from mpserve.worker.control_calls import ControlCalls
from mpserve.worker.inner_calls import InnerCalls


class ModelServer:
    """Joins the callers at the model's first need of the routing table."""

    def __init__(self, calls: ControlCalls, start: WorkerStart) -> None:
        self._control = calls
        self._start = start
        self._inner: InnerCalls | None = None

    def on_message(self, message: CallersJoined | PublishTable | CallDone) -> None:
        """Take what the supervisor says; on the control thread."""
        match message:
            case CallersJoined():
                if message.failure is None and self._inner is None:
                    # Here, before the next message: it is the table.
                    self._open(message)
                self._control.on_joined(message)
            case PublishTable():
                if self._inner is not None:
                    self._inner.apply(message)
            case CallDone():
                self._control.on_done(message)

    def on_replaced(self) -> None:
        """Another supervisor answers from now on, and knows nothing of what was asked."""
        self._control.repeat()

    def on_gone(self) -> None:
        """The server is gone: nobody answers any more."""
        self._control.on_gone()

    # --- what models ask --------------------------------------------------------------------------

    def start(
        self,
        request: InferRequest,
        *,
        name: str,
        version: str,
        takes_many: bool,
        blocks: bool,
        on_answer: OnAnswer,
    ) -> int:
        """Send a request; see `compat.triton_bls.Server`."""
        find = partial(_find, name=name, version=version, takes_many=takes_many)
        return self._joined().start(request, find=find, on_answer=on_answer, blocks=blocks)

    def cancel(self, number: int) -> None:
        """Take a request back."""
        if self._inner is not None:
            self._inner.cancel(number)

    def close(self) -> None:
        """Finish what goes on beside requests; nothing is asked any more."""
        if self._inner is not None:
            self._inner.close()

    def is_ready(self, name: str, version: str) -> bool:
        """Tell whether a model takes requests."""
        return self._joined().is_ready(name, version)

    def load(self, name: str, config: str, files: dict[str, bytes]) -> Failure | None:
        """Load a model; return why that failed."""
        try:
            return self._control.load(name, config, files)
        except MpserveError as error:
            return error.failure()

    def unload(self, name: str, *, unload_dependents: bool) -> Failure | None:
        """Unload a model; return why that failed."""
        try:
            return self._control.unload(name, unload_dependents=unload_dependents)
        except MpserveError as error:
            return error.failure()

    def _open(self, joined: CallersJoined) -> None:
        self._inner = InnerCalls(joined, self._start, now_ns=time.monotonic_ns)

    def _joined(self) -> InnerCalls:
        inner = self._inner
        if inner is None:
            failure = self._control.join().failure
            if failure is not None:
                raise QueueFull(failure.message)
            inner = self._inner
            assert inner is not None, "it is opened before the join is answered"
        if not inner.wait_for_table():
            raise ShuttingDown("the server did not tell its models in time")
        return inner


def _find(calls: ModelCalls, *, name: str, version: str, takes_many: bool) -> RoutedModel:
    routed = calls.find(name, version)
    if routed.version.config.decoupled and not takes_many:
        raise DecoupledModel(name)
    return routed
