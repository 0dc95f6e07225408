"""The regions of shared memory that clients registered, as a frontend knows them.

The native core has the table, for all wires: it finds the pieces that requests name, and keeps what
requests use. Here is what it leaves to Python: refusals in words, and copies.

Guarantees
    A region that the supervisor withdraws is told to be in use until the last request that names it
    has ended, also one that was cancelled while its model ran: until then its memory may be read
    and written.
Owner: the frontend. The supervisor makes and removes registrations.
"""

from collections.abc import Callable

import msgspec

from mpserve.control.region_messages import (
    PublishRegions,
    RegionsAcknowledged,
)
from mpserve.errors import ArenaFull, ModelNotFound, Unsupported
from mpserve.model.region import ClientRegion, RegionId, RegionPiece, RegionUse
from mpserve.model.request import InferRequest, InputTensor
from mpserve.model.tensor import Datatype
from mpserve.shm import client_region
from mpserve.shm.client_region import RegionHold, RegionTable

DISABLED = (
    "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to enable."
)


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
        self._number = 0
        self._table = RegionTable(on_free=self.tell)

    @property
    def table(self) -> RegionTable:
        """Return what the wires look into."""
        return self._table

    def apply(self, published: PublishRegions) -> None:
        """Know these regions, and no others, from now on."""
        self._number = published.number
        self._regions = {region.name: region for region in published.regions}
        self._table.publish(
            (region.name, region.id, region.offset, region.byte_size)
            for region in published.regions
        )
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
        region_id, offset, byte_size = self._table.place(use.name, use.offset, use.byte_size)
        return RegionPiece(id=RegionId(region_id), offset=offset, byte_size=byte_size)

    def hold(self, request: InferRequest) -> RegionHold:
        """Return what keeps the regions of a request; raises as `place`."""
        return self._table.hold([self.place(use).id for use in request.regions])

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

    def write(self, piece: RegionPiece, content: memoryview) -> None:
        """Copy an output into memory that is held; raises as `client_region.write`."""
        client_region.write(self._server_id, piece, content)

    def _copied(self, tensor: InputTensor) -> InputTensor:
        assert tensor.region is not None
        if tensor.region.byte_size > self._max_bytes:
            raise ArenaFull(
                f"input '{tensor.name}' has {tensor.region.byte_size} bytes in shared memory that "
                f"must be copied, at most {self._max_bytes} can be; raise --arena-max-bytes"
            )
        content = client_region.read(self._server_id, self.place(tensor.region))
        return msgspec.structs.replace(tensor, data=content, region=None)

    def tell(self) -> None:
        """Tell the supervisor what holds here; again, when it is another one."""
        in_use = tuple(RegionId(one) for one in self._table.in_use())
        self._acknowledge(RegionsAcknowledged(number=self._number, in_use=in_use))
