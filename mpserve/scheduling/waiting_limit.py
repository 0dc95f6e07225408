"""How many requests may wait for a model that does not say so itself. Pure."""

import msgspec

from mpserve.model.config import ModelConfig, QueuePolicy
from mpserve.scheduling.queue_slots import batch_requests
from mpserve.settings import Settings


def with_waiting_limit(config: ModelConfig, settings: Settings) -> ModelConfig:
    """Return `config` with a `max_queue_size` at each level that has none.

    Notes
    -----
    `max_waiting_per_instance` bounds the wait as a multiple of what an execution takes, whatever
    that is. Sequences keep their own rules (a step that is refused would break its sequence), and
    an ensemble waits in the queues of its models.
    """
    per_instance = settings.max_waiting_per_instance
    if not per_instance or config.ensemble is not None or config.sequences is not None:
        return config
    instances = sum(group.count for group in config.instance_groups if not group.passive)
    most = per_instance * max(instances, 1) * batch_requests(config)
    policies = config.queue_policies
    limited = msgspec.structs.replace(
        policies,
        general=_limited(policies.general, most),
        by_level={level: _limited(one, most) for level, one in policies.by_level.items()},
    )
    return msgspec.structs.replace(config, queue_policies=limited)


def _limited(policy: QueuePolicy, most: int) -> QueuePolicy:
    if policy.max_queue_size:
        return policy
    return msgspec.structs.replace(policy, max_queue_size=most)
