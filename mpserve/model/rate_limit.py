"""Limits of the resources that executions share, and whether a model can ever be executed. Pure.

Source: Triton's rate limiter: a resource that the command line does not limit has as much of it as
any instance needs. All instances are on the CPU, which is device 0 to the flag.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from mpserve.errors import InvalidRequest
from mpserve.model.config import InstanceGroup, ResourceNeed

MOST_NEEDS: Final = 8  # resources of one group
_DEVICE: Final = "0"


class RateLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says of resources.

    Attributes
    ----------
    shared
        Limits without a device: of global resources, and of each device's that has none of its own.
    of_device
        Limits of resources of the CPU.
    """

    shared: dict[str, int] = {}
    of_device: dict[str, int] = {}

    def limit(self, need: ResourceNeed) -> int:
        """Return the limit of a resource, 0 when none is set."""
        if not need.is_global and need.name in self.of_device:
            return self.of_device[need.name]
        return self.shared.get(need.name, 0)


def read_limits(texts: Iterable[str]) -> RateLimits:
    """Return the limits that `<name>:<count>[:<device>]` each say."""
    shared: dict[str, int] = {}
    of_device: dict[str, int] = {}
    for text in texts:
        name, count, *device = text.split(":")
        if not device:
            shared[name] = int(count)
        elif device[0] == _DEVICE:
            of_device[name] = int(count)
    return RateLimits(shared=shared, of_device=of_device)


def check_resources(
    groups: Iterable[InstanceGroup], limits: RateLimits, *, model_name: str
) -> None:
    """Check that each instance can be executed.

    Raises
    ------
    InvalidRequest
        In Triton's words, where it has some.
    """
    needs = [need for group in groups for need in group.resources]
    kinds = {(need.name, need.is_global) for need in needs}
    for need in needs:
        if (need.name, not need.is_global) in kinds:
            raise InvalidRequest(
                f'Resource "{need.name}" is present as both global and device-specific resource in '
                "the model configuration."
            )
        limit = limits.limit(need)
        if limit and need.count > limit:
            least = max(one.count for one in needs if one.name == need.name)
            raise InvalidRequest(
                f'Resource count for "{need.name}" is limited to {limit} which will prevent '
                "scheduling of one or more model instances, the minimum required count is "
                f"{least}"
            )
    for group in groups:
        if len({need.name for need in group.resources}) > MOST_NEEDS:
            raise InvalidRequest(
                f"instance group {group.name} of model {model_name} needs "
                f"{len(group.resources)} resources; at most {MOST_NEEDS} are supported"
            )
