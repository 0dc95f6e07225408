"""Headers of a request that its model gets to see as parameters.

Source: triton.md 3.5 (`--http-header-forward-pattern`).
"""

from collections.abc import Iterable
from typing import Final

import msgspec
import orjson

from mpserve.errors import InvalidRequest
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
    """Forwards the headers whose names a pattern finds.

    Parameters
    ----------
    pattern
        As `--http-header-forward-pattern`; "" forwards nothing.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = compile_header_pattern(pattern) if pattern else None

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
