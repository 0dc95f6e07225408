"""Headers of a request that its model gets to see: some as parameters, or all as headers.

Source: triton.md 3.5 (`--http-header-forward-pattern`); MLServer 1.7.1 (`parameters.headers`).
"""

from collections.abc import Iterable
from typing import Final

import msgspec
import orjson

from mpserve.codec.header_pairs import to_pairs
from mpserve.errors import InvalidRequest
from mpserve.model.config import ModelConfig
from mpserve.model.request import InferRequest
from mpserve.settings.header_pattern import MAX_NAME_BYTES, compile_header_pattern

RESERVED: Final = frozenset(
    {
        "sequence_id",
        "sequence_start",
        "sequence_end",
        "priority",
        "timeout",
        "headers",
        "binary_data_output",
    }
)
RESERVED_PREFIX: Final = "triton_"


class HeaderForwarding:
    """Forwards the headers whose names a pattern finds, and all to models that take them.

    Parameters
    ----------
    pattern
        As `--http-header-forward-pattern`; "" forwards nothing.
    events
        What models that take headers see besides (`codec.cloud_events.request_events`).
    """

    def __init__(self, pattern: str, *, events: bytes = b"") -> None:
        self._pattern = compile_header_pattern(pattern) if pattern else None
        self.events = events

    @property
    def forwards(self) -> bool:
        """Whether any header may be forwarded."""
        return self._pattern is not None

    def apply(self, request: InferRequest, headers: Iterable[tuple[bytes, bytes]]) -> InferRequest:
        """Return the request with its headers among its parameters.

        A header goes before a parameter of its name: it may come from a proxy that knows better.

        Parameters
        ----------
        headers
            Names as the client spelled them; of repeated ones the last counts.

        Raises
        ------
        InvalidRequest
            A header has a name that means something else among the parameters.
        """
        found = dict(self._found(headers))
        if not found:
            return request
        own = orjson.loads(request.parameters_json) if request.parameters_json else {}
        return msgspec.structs.replace(
            request, parameters_json=orjson.dumps({**own, **found}).decode()
        )

    def carry(
        self, request: InferRequest, headers: Iterable[tuple[bytes, bytes]], config: ModelConfig
    ) -> InferRequest:
        """Return the request with its headers, where the model takes them.

        Parameters
        ----------
        headers
            Of repeated ones the last counts.
        """
        if not config.takes_headers:
            return request
        return msgspec.structs.replace(request, headers=self.events + to_pairs(headers))

    def _found(self, headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[str, str]]:
        if self._pattern is None:
            return
        for sent_name, value in headers:
            if len(sent_name) > MAX_NAME_BYTES:
                continue
            name = sent_name.decode("latin-1")
            if self._pattern.search(name) is None:
                continue
            if name in RESERVED or name.startswith(RESERVED_PREFIX):
                raise InvalidRequest(
                    f"Header '{name}' is reserved for Triton usage and cannot be forwarded."
                )
            yield name, value.decode("latin-1")
