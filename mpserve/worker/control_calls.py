"""What a worker asks the supervisor, and the answers, which come on the control thread.

Guarantees
    Each call is answered, or raises when the supervisor is gone. Never used on a request's way, but
    for the first request that a model sends to another one.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count

from mpserve.control.messages import (
    CallDone,
    CallersJoined,
    JoinCallers,
    LoadCall,
    Message,
    UnloadCall,
)
from mpserve.errors import Failure, ShuttingDown


class ControlCalls:
    """Calls of any thread of the model.

    Parameters
    ----------
    send
        Of the control channel; called by one thread at a time.
    """

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._ids = count(1)
        self._waiting: dict[int, Future[Failure | None]] = {}
        self._joining: Future[CallersJoined] | None = None
        self._is_gone = False

    def join(self) -> CallersJoined:
        """Become one of those who are told the routing table.

        Raises
        ------
        ShuttingDown
            The supervisor is gone.
        """
        with self._lock:
            joining = self._joining
            if joining is None:
                self._refuse_when_gone()
                joining = self._joining = Future()
                self._send(JoinCallers())
        return joining.result()

    def load(self, name: str, config: str, files: dict[str, bytes]) -> Failure | None:
        """Load a model; return why that failed. Raises as `join`."""
        return self._call(
            lambda call_id: LoadCall(call_id=call_id, name=name, config=config, files=files)
        )

    def unload(self, name: str, *, unload_dependents: bool) -> Failure | None:
        """Unload a model; return why that failed. Raises as `join`."""
        return self._call(
            lambda call_id: UnloadCall(
                call_id=call_id, name=name, unload_dependents=unload_dependents
            )
        )

    def on_joined(self, message: CallersJoined) -> None:
        """Take the answer to `join`."""
        if self._joining is not None:
            self._joining.set_result(message)

    def on_done(self, message: CallDone) -> None:
        """Take the answer to a load or unload."""
        with self._lock:
            waiting = self._waiting.pop(message.call_id, None)
        if waiting is not None:
            waiting.set_result(message.failure)

    def on_gone(self) -> None:
        """The supervisor is gone: nobody answers any more."""
        with self._lock:
            self._is_gone = True
            waiting = list(self._waiting.values())
            self._waiting.clear()
            joining = self._joining
        for one in waiting:
            one.set_exception(_gone())
        if joining is not None and not joining.done():
            joining.set_exception(_gone())

    def _call(self, make: Callable[[int], Message]) -> Failure | None:
        done: Future[Failure | None] = Future()
        with self._lock:
            self._refuse_when_gone()
            call_id = next(self._ids)
            self._waiting[call_id] = done
            self._send(make(call_id))
        return done.result()

    def _refuse_when_gone(self) -> None:
        if self._is_gone:
            raise _gone()


def _gone() -> ShuttingDown:
    return ShuttingDown("the server is ending")
