"""What a worker asks the supervisor, and the answers, which come on the control thread.

Guarantees
    Each call is answered, or raises when the server is gone. One that met the death of a supervisor
    is made again, once. Never used on a request's way, but
    for the first request that a model sends to another one.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count

import msgspec

from mpserve.control.message import Message
from mpserve.control.messages import (
    CallDone,
    CallersJoined,
    JoinCallers,
    LoadCall,
    UnloadCall,
)
from mpserve.errors import Failure, ShuttingDown


class _Waiting(msgspec.Struct, kw_only=True):
    done: Future[Failure | None]
    call: Message
    is_repeated: bool = False


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
        self._waiting: dict[int, _Waiting] = {}
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
        if self._joining is not None and not self._joining.done():
            self._joining.set_result(message)

    def on_done(self, message: CallDone) -> None:
        """Take the answer to a load or unload."""
        with self._lock:
            waiting = self._waiting.pop(message.call_id, None)
        if waiting is not None:
            waiting.done.set_result(message.failure)

    def repeat(self) -> None:
        """Ask the next supervisor what waits; a call that met two deaths may be their cause."""
        with self._lock:
            if self._joining is not None and not self._joining.done():
                self._send(JoinCallers())
            lost = [one for one in self._waiting.values() if one.is_repeated]
            self._waiting = {
                call_id: one for call_id, one in self._waiting.items() if not one.is_repeated
            }
            for one in self._waiting.values():
                one.is_repeated = True
                self._send(one.call)
        for one in lost:
            one.done.set_exception(ShuttingDown("the supervisor died twice on this call"))

    def on_gone(self) -> None:
        """The server is gone: nobody answers any more."""
        with self._lock:
            self._is_gone = True
            waiting = list(self._waiting.values())
            self._waiting.clear()
            joining = self._joining
        for one in waiting:
            one.done.set_exception(_gone())
        if joining is not None and not joining.done():
            joining.set_exception(_gone())

    def _call(self, make: Callable[[int], Message]) -> Failure | None:
        done: Future[Failure | None] = Future()
        with self._lock:
            self._refuse_when_gone()
            call_id = next(self._ids)
            waiting = self._waiting[call_id] = _Waiting(done=done, call=make(call_id))
            self._send(waiting.call)
        return done.result()

    def _refuse_when_gone(self) -> None:
        if self._is_gone:
            raise _gone()


def _gone() -> ShuttingDown:
    return ShuttingDown("the server is ending")
