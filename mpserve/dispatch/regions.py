"""The regions of shared memory that clients registered, as a frontend knows them.

Guarantees
    A region that the supervisor withdraws is told to be in use until the last request that names it
    has ended, also one that was cancelled while its model ran: until then its memory may be read
    and written.
Owner: the frontend. The supervisor makes and removes registrations.
"""

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from mpserve.control.region_messages import (
    PublishRegions,
    RegionsAcknowledged,
)
from mpserve.errors import ArenaFull, InvalidRequest, ModelNotFound, Unsupported
from mpserve.model.region import ClientRegion, RegionId, RegionPiece, RegionUse
from mpserve.model.request import InferRequest, InputTensor
from mpserve.model.tensor import Datatype
from mpserve.shm import client_region

DISABLED = (
    "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to enable."
)


class RegionHold:
    """Keeps regions from being let go of while it lives; the end of a request ends it."""

    def __init__(
        self, ids: Iterable[RegionId], release: Callable[[Iterable[RegionId]], None]
    ) -> None:
        self._ids = tuple(ids)
        self._release = release

    def __del__(self) -> None:
        self._release(self._ids)


class Regions:
    """What clients registered.

    Parameters
    ----------
    allowed
        Clients may register memory at all.
    max_bytes
        Of a tensor that has to be copied out of a region.
    acknowledge
        Tells the supervisor.
    """

    def __init__(
        self,
        *,
        server_id: str,
        allowed: bool,
        max_bytes: int,
        acknowledge: Callable[[RegionsAcknowledged], None],
    ) -> None:
        self._server_id = server_id
        self._allowed = allowed
        self._max_bytes = max_bytes
        self._acknowledge = acknowledge
        self._regions: dict[str, ClientRegion] = {}
        self._known: frozenset[RegionId] = frozenset()
        self._number = 0
        self._holds: Counter[RegionId] = Counter()

    def apply(self, published: PublishRegions) -> None:
        """Know these regions, and no others, from now on."""
        self._number = published.number
        self._regions = {region.name: region for region in published.regions}
        self._known = frozenset(region.id for region in published.regions)
        self.tell()

    def check_allowed(self) -> None:
        """Raise `Unsupported` when clients may not register memory."""
        if not self._allowed:
            raise Unsupported(DISABLED)

    def status(self, name: str) -> tuple[ClientRegion, ...]:
        """Return the region of that name, all for "", by name.

        Raises
        ------
        ModelNotFound
            There is none of that name.
        """
        if not name:
            return tuple(self._regions[one] for one in sorted(self._regions))
        if name not in self._regions:
            raise ModelNotFound(f"Unable to find system shared memory region: '{name}'")
        return (self._regions[name],)

    def place(self, use: RegionUse) -> RegionPiece:
        """Return the memory that a tensor is in, or wanted in.

        Raises
        ------
        Unsupported
            Clients may not register memory.
        ModelNotFound
            There is no such region.
        InvalidRequest
            It would not lie inside the region.
        """
        self.check_allowed()
        region = self._regions.get(use.name)
        if region is None:
            raise ModelNotFound(f"Unable to find shared memory region: '{use.name}'")
        if use.offset >= region.byte_size:
            raise InvalidRequest(f"Invalid offset for shared memory region: '{use.name}'")
        if not 0 < use.byte_size <= region.byte_size - use.offset:
            raise InvalidRequest(
                f"Invalid offset + byte size for shared memory region: '{use.name}'"
            )
        return RegionPiece(id=region.id, offset=region.offset + use.offset, byte_size=use.byte_size)

    def hold(self, request: InferRequest) -> RegionHold:
        """Return what keeps the regions of a request; raises as `place`."""
        ids = [self.place(use).id for use in request.regions]
        self._holds.update(ids)
        return RegionHold(ids, self._let_go)

    def with_copies(self, request: InferRequest, *, of_all: bool) -> InferRequest:
        """Return the request with copies of the tensors that no worker can read in place.

        These are BYTES, whose elements are checked here and could change later; and, with `of_all`,
        those of a request that this process divides into others.

        Raises
        ------
        ArenaFull
            A tensor is larger than any request may be.
        """
        copied = tuple(
            self._copied(tensor)
            if tensor.region is not None and (of_all or tensor.datatype is Datatype.BYTES)
            else tensor
            for tensor in request.inputs
        )
        return msgspec.structs.replace(request, inputs=copied)

    def write(self, use: RegionUse, content: memoryview) -> None:
        """Copy an output into a region; raises as `place` and `client_region.write`."""
        client_region.write(self._server_id, self.place(use), content)

    def _copied(self, tensor: InputTensor) -> InputTensor:
        assert tensor.region is not None
        if tensor.region.byte_size > self._max_bytes:
            raise ArenaFull(
                f"input '{tensor.name}' has {tensor.region.byte_size} bytes in shared memory that "
                f"must be copied, at most {self._max_bytes} can be; raise --arena-max-bytes"
            )
        content = client_region.read(self._server_id, self.place(tensor.region))
        return msgspec.structs.replace(tensor, data=content, region=None)

    def _let_go(self, ids: Iterable[RegionId]) -> None:
        self._holds.subtract(ids)
        gone = {one for one in ids if not self._holds[one]}
        for one in gone:
            del self._holds[one]
        if gone - self._known:
            self.tell()

    def tell(self) -> None:
        """Tell the supervisor what holds here; again, when it is another one."""
        in_use = tuple(sorted(one for one in self._holds if one not in self._known))
        self._acknowledge(RegionsAcknowledged(number=self._number, in_use=in_use))
