"""What a worker is told, for tests."""

import msgspec

from mpserve.control.messages import SharedPlaces, WorkerStart
from mpserve.model.config import ModelConfig
from mpserve.model.definition import ConfigFormat
from mpserve.model.identity import Generation, InstanceKey, ModelName, Version
from mpserve.model.log_switches import LogSwitches

PLACES = SharedPlaces(
    server_id="test",
    board_segment="",
    process_index=2,
    epoch=1,
    ring_segments=(),
    wake_fds=(),
    arena_initial_bytes=1 << 20,
    arena_max_bytes=8 << 20,
)


def worker_start(**fields: object) -> WorkerStart:
    """Return the start of instance 0 of version 1 of model `m`."""
    start = WorkerStart(
        instance=InstanceKey(
            name=ModelName("m"), version=Version("1"), generation=Generation(5), index=0
        ),
        instance_name="m_0",
        instance_kind="KIND_CPU",
        instance_slot=0,
        places=PLACES,
        queue_segment="",
        runtime="python",
        format=ConfigFormat.TRITON,
        model_directory="/nowhere/m",
        version_directory="/nowhere/m/1",
        config=ModelConfig(),
        config_json="{}",
        settings_json="",
        complete_config=False,
        log=LogSwitches(),
    )
    return msgspec.structs.replace(start, **fields)
