"""The shared memory that clients register, and who knows of it.

Guarantees
    A call is answered when every living frontend goes by what it changed. The link to the memory of
    a withdrawn registration is removed when no frontend's requests use it any more. Registrations
    survive the supervisor: the next one reads them from the checkpoint.
Owner: the supervisor. Workers find the memory by the registration's id (`shm/client_region.py`).
"""

from collections.abc import Callable
from typing import Final

import msgspec

from mpserve.control.messages import (
    CallDone,
)
from mpserve.control.region_messages import (
    PublishRegions,
    RegionCall,
    RegisterRegionCall,
)
from mpserve.errors import AlreadyExists, InvalidRequest, MpserveError
from mpserve.model.region import ClientRegion, RegionId
from mpserve.shm import client_region
from mpserve.supervisor.checkpoint import Checkpoint
from mpserve.telemetry import log

REGIONS: Final = "regions"

Reply = Callable[[CallDone], None]


class _Registry(msgspec.Struct, kw_only=True):
    """What the next supervisor must know.

    Attributes
    ----------
    number
        Of what was published last.
    last_id
        Taken before its link is made.
    leaving
        Withdrawn registrations, with the number that withdrew them.
    unanswered
        Names whose registration was not answered yet: the client may ask again.
    """

    number: int = 0
    last_id: int = 0
    regions: dict[str, ClientRegion] = {}
    leaving: dict[int, int] = {}
    unanswered: set[str] = set()


class _Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is answered when all frontends have acknowledged a number."""

    number: int
    call: RegionCall
    reply: Reply


class RegionApi:
    """Answers the calls that frontends pass on.

    Parameters
    ----------
    publish
        Tells all frontends; they acknowledge the number by way of `settled`.
    """

    def __init__(
        self,
        *,
        server_id: str,
        publish: Callable[[PublishRegions], None],
        checkpoint: Checkpoint,
    ) -> None:
        self._server_id = server_id
        self._publish = publish
        self._checkpoint = checkpoint
        self._waiting: list[_Waiting] = []
        self._registry = checkpoint.read(REGIONS, _Registry) or _Registry()
        kept = {region.id for region in self._registry.regions.values()}
        kept |= {RegionId(one) for one in self._registry.leaving}
        client_region.remove_all_but(server_id, kept)

    def published(self) -> PublishRegions:
        """Return what is registered."""
        return PublishRegions(
            number=self._registry.number, regions=tuple(self._registry.regions.values())
        )

    def call(self, call: RegionCall, reply: Reply) -> None:
        """Carry out `call`; its answer goes to `reply`, now or when all frontends know."""
        try:
            if isinstance(call, RegisterRegionCall):
                self._register(call)
            else:
                self._unregister(call.name)
        except MpserveError as error:
            reply(CallDone(call_id=call.call_id, failure=error.failure()))
            return
        self._registry.number += 1
        self._note()
        self._waiting.append(_Waiting(number=self._registry.number, call=call, reply=reply))
        self._publish(self.published())

    def settled(self, number: int, in_use: frozenset[RegionId]) -> None:
        """Every living frontend goes by `number`; their requests use these withdrawn regions."""
        done = [one for one in self._waiting if one.number <= number]
        self._waiting = [one for one in self._waiting if one.number > number]
        leaving = self._registry.leaving
        gone = [one for one, left in leaving.items() if left <= number and one not in in_use]
        for region_id in gone:
            client_region.remove(self._server_id, RegionId(region_id))
            del self._registry.leaving[region_id]
        self._registry.unanswered -= {one.call.name for one in done}
        if done or gone:
            self._note()
        for one in done:
            one.reply(CallDone(call_id=one.call.call_id, failure=None))

    def _register(self, call: RegisterRegionCall) -> None:
        if not call.name:
            raise InvalidRequest(
                "'region name' is necessary to register system shared memory region"
            )
        known = self._registry.regions.get(call.name)
        if known is not None:
            if self._is_repeated(call, known):
                return
            raise AlreadyExists(f"shared memory region '{call.name}' already in manager")
        self._registry.last_id += 1
        self._note()
        region = ClientRegion(
            id=RegionId(self._registry.last_id),
            name=call.name,
            key=call.key,
            offset=call.offset,
            byte_size=call.byte_size,
        )
        client_region.link(self._server_id, region)
        self._registry.regions[region.name] = region
        self._registry.unanswered.add(region.name)
        log.info("region.registered", region=region.name, key=region.key, bytes=region.byte_size)

    def _is_repeated(self, call: RegisterRegionCall, known: ClientRegion) -> bool:
        """The supervisor that carried this out died before it answered."""
        asked = (call.key, call.offset, call.byte_size)
        is_same = asked == (known.key, known.offset, known.byte_size)
        is_waited_for = any(one.call.name == call.name for one in self._waiting)
        return is_same and call.name in self._registry.unanswered and not is_waited_for

    def _unregister(self, name: str) -> None:
        gone = [one for one in self._registry.regions.values() if name in {"", one.name}]
        for region in gone:
            del self._registry.regions[region.name]
            self._registry.leaving[region.id] = self._registry.number + 1
            log.info("region.unregistered", region=region.name)

    def _note(self) -> None:
        self._checkpoint.put(REGIONS, self._registry)
