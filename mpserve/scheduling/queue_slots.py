"""How many requests the shared memory of a model's queue holds. Pure."""

from typing import Final

from mpserve.model.config import ModelConfig

MOST: Final = 1 << 16


def queue_slots(config: ModelConfig, *, default: int) -> int:
    """Return the slots of a model's queue.

    All that a policy lets wait lies in the queue itself, together with what the instances hold, so
    that the limit is exact over all frontends. What has no limit needs no more than the default:
    the rest waits in the frontends.
    """
    bound = _most_waiting(config)
    if not bound:
        return default
    held = sum(group.count for group in config.instance_groups) * batch_requests(config)
    return min(max(default, bound + held), MOST)


def _most_waiting(config: ModelConfig) -> int:
    """Return the sum of the levels' limits, 0 when one has none."""
    policies = config.queue_policies
    limits = [policy.max_queue_size for policy in policies.by_level.values()]
    others = max(policies.priority_levels, 1) - len(limits)
    if others:
        limits.append(policies.general.max_queue_size * others)
    return sum(limits) if all(limits) else 0


def batch_requests(config: ModelConfig) -> int:
    """Return how many requests one execution may take."""
    if config.batching is None:
        return 1
    return config.batching.max_requests or max(config.signature.max_batch_size, 1)
