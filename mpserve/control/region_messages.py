"""Messages about the shared memory that clients register."""

from mpserve.control.message import Message
from mpserve.model.region import ClientRegion, RegionId


class PublishRegions(Message, frozen=True, kw_only=True):
    """The shared memory that clients have registered; answered by `RegionsAcknowledged`."""

    number: int = 0
    regions: tuple[ClientRegion, ...] = ()


class RegionsAcknowledged(Message, frozen=True, kw_only=True):
    """Requests go by the regions of this number.

    `in_use` are withdrawn ones that requests still use; told again when there are fewer.
    """

    number: int
    in_use: tuple[RegionId, ...] = ()


class RegisterRegionCall(Message, frozen=True, kw_only=True):
    """Request of a client to use its shared memory from now on."""

    call_id: int
    name: str
    key: str
    offset: int
    byte_size: int


class UnregisterRegionsCall(Message, frozen=True, kw_only=True):
    """Request of a client to forget a region, or ("") all."""

    call_id: int
    name: str


RegionCall = RegisterRegionCall | UnregisterRegionsCall
