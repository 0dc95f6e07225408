"""Methods of a model that are served at paths of their own (`custom_handler`).

What a method takes is what its arguments say, as with MLServer, which leaves that to FastAPI: parts
of the path, the query (numbers, text), the body (one argument: the whole of it; several: its
members), or the request itself (a class named `Request`, of Starlette). It returns what becomes
JSON, or a response of Starlette.
"""

import importlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
import numpy as np
import orjson

from mpserve.codec.handler_call import BODY, HandlerAnswer, HandlerCall
from mpserve.compat.mlserver.conversion import Problem, converter
from mpserve.errors import InternalError
from mpserve.model.config import HandlerRoute
from mpserve.runtimes.protocol import Request
from mpserve.runtimes.responses import Answer, Output

JSON: Final = "application/json"
_SCALARS: Final = (int, float, str, bool)
_REQUEST_CLASS: Final = "Request"
_UNPROCESSABLE: Final = 422
_OK: Final = 200


class _Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a call, in FastAPI's form."""

    type: str
    loc: list[str | int]
    msg: str
    input: Any = None


class _Refused(Exception):
    """The call does not fit the method."""

    def __init__(self, faults: list[_Fault]) -> None:
        super().__init__(faults)
        self.faults = faults


class HandlerMethods:
    """The marked methods of a loaded model; of `None` there are none."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401  # the user's
        self._methods: dict[HandlerRoute, _Method] = {}
        if model is None:
            return
        handlers = importlib.import_module("mlserver.handlers")
        for handler, method in handlers.get_custom_handlers(model):
            route = HandlerRoute(path=handler.rest_path, method=handler.rest_method.upper())
            self._methods[route] = _Method(method)

    @property
    def routes(self) -> tuple[HandlerRoute, ...]:
        """Where the methods are served."""
        return tuple(self._methods)

    async def answer(self, request: Request) -> Answer:
        """Answer a call; what the method raises with a status is an answer, too."""
        call = msgspec.json.decode(request.parameters(), type=HandlerCall)
        method = self._methods.get(HandlerRoute(path=call.route, method=call.method))
        if method is None:
            raise InternalError(f"the model has no handler of {call.method} {call.route}")
        body = request.inputs()[0].as_numpy().tobytes()
        try:
            result = await method.call(call, body)
        except _Refused as refused:
            return _json({"detail": refused.faults}, status=_UNPROCESSABLE)
        except Exception as error:
            status = getattr(error, "status_code", None)
            if not isinstance(status, int):
                raise
            detail = getattr(error, "detail", None)  # an HTTPException of Starlette
            told = {"error": str(error)} if detail is None else {"detail": detail}
            return _json(told, status=status)
        return _answered(result)


class _Method:
    """One method, and how its arguments are found."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        try:
            hints = typing.get_type_hints(method)
        except Exception:  # noqa: BLE001  # an annotation may name what only a type checker sees
            hints = {}
        self._arguments = {
            name: (hints.get(name, Any), parameter.default)
            for name, parameter in inspect.signature(method).parameters.items()
        }

    async def call(self, call: HandlerCall, body: bytes) -> Any:  # noqa: ANN401
        """Return what the method returns; raises `_Refused`, or what it raises."""
        result = self._method(**self._values(call, body))
        return await result if inspect.isawaitable(result) else result

    def _values(self, call: HandlerCall, body: bytes) -> dict[str, Any]:
        values: dict[str, Any] = {}
        faults: list[_Fault] = []
        query = {name: given[-1] for name, given in parse_qs(call.query).items()}
        of_body = []
        for name, (hint, default) in self._arguments.items():
            if name in call.parts:
                _take(values, faults, name, hint, call.parts[name], ("path", name))
            elif getattr(hint, "__name__", "") == _REQUEST_CLASS:
                values[name] = _starlette_request(hint, call, body)
            elif not _is_scalar(hint):
                of_body.append(name)
            elif name in query:
                _take(values, faults, name, hint, query[name], ("query", name))
            elif default is inspect.Parameter.empty:
                faults.append(_missing("query", name))
        self._take_body(values, faults, of_body, body)
        if faults:
            raise _Refused(faults)
        return values

    def _take_body(
        self, values: dict[str, Any], faults: list[_Fault], names: list[str], body: bytes
    ) -> None:
        needed = [name for name in names if self._arguments[name][1] is inspect.Parameter.empty]
        if not names or (not body and not needed):
            return
        if not body:
            faults.append(_missing(BODY))
            return
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            faults.append(
                _Fault(
                    type="json_invalid", loc=[BODY, error.pos], msg="JSON decode error", input={}
                )
            )
            return
        if len(names) == 1:
            _take(values, faults, names[0], self._arguments[names[0]][0], content, (BODY,))
            return
        members: Mapping[str, Any] = content if isinstance(content, dict) else {}
        for name in names:
            if name in members:
                hint = self._arguments[name][0]
                _take(values, faults, name, hint, members[name], (BODY, name))
            elif name in needed:
                faults.append(_missing(BODY, name))


def _take(
    values: dict[str, Any],
    faults: list[_Fault],
    name: str,
    hint: Any,  # noqa: ANN401
    given: Any,  # noqa: ANN401
    place: tuple[str, ...],
) -> None:
    """Put the value of an argument with the others, or what is wrong with it."""
    try:
        values[name] = converter(hint)(given)
    except Problem as problem:
        faults.append(
            _Fault(
                type=problem.kind,
                loc=[*place, *problem.location],
                msg=problem.message,
                input=problem.value_in(given),
            )
        )
    except ValueError as error:  # a class of pydantic
        faults.append(_Fault(type="value_error", loc=list(place), msg=str(error), input=given))


def _missing(*place: str) -> _Fault:
    return _Fault(type="missing", loc=list(place), msg="Field required")


def _is_scalar(hint: Any) -> bool:  # noqa: ANN401
    """Say whether an argument is looked for in the query; `X | None` as `X`."""
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        return all(arm in (*_SCALARS, type(None)) for arm in typing.get_args(hint))
    return hint in _SCALARS


def _starlette_request(kind: Any, call: HandlerCall, body: bytes) -> Any:  # noqa: ANN401
    """Return the request as an object of the class that the method names."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": call.method,
        "path": call.path,
        "raw_path": call.path.encode("latin-1"),
        "root_path": "",
        "query_string": call.query.encode("latin-1"),
        "path_params": dict(call.parts),
        "headers": [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in call.headers
        ],
    }
    return kind(scope, receive)


def _answered(result: Any) -> Answer:  # noqa: ANN401
    if not hasattr(result, "status_code") or not hasattr(result, "raw_headers"):
        return _json(result, status=_OK)
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1")
        for name, value in result.raw_headers
    }
    headers.pop("content-length", None)  # the connection's business
    told = HandlerAnswer(
        status=result.status_code,
        content_type=headers.pop("content-type", ""),
        headers=tuple(headers.items()),
    )
    return _answer(told, bytes(result.body))


def _json(value: Any, *, status: int) -> Answer:  # noqa: ANN401
    body = orjson.dumps(value, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)
    return _answer(HandlerAnswer(status=status, content_type=JSON), body)


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Return what JSON has for a value that it does not know."""
    if hasattr(value, "model_dump"):
        return value.model_dump()
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    if isinstance(value, np.ndarray | np.generic | set | frozenset):
        return list(value) if isinstance(value, set | frozenset) else value.tolist()
    raise TypeError(f"{type(value).__name__} can not be sent as JSON")


def _answer(told: HandlerAnswer, body: bytes) -> Answer:
    array = np.frombuffer(body, dtype=np.uint8)
    return Answer(
        outputs=[Output(name=BODY, array=array)],
        parameters_json=msgspec.json.encode(told).decode(),
    )
