"""CUDA shared memory, which there is none of. Source: Triton without GPUs, as seen running."""

from mpserve.errors import InvalidRequest, ModelNotFound


def refuse(name: str) -> InvalidRequest:
    """Return why a region can not be registered."""
    return InvalidRequest(
        f"failed to register CUDA shared memory region: '{name}', GPUs not supported"
    )


def check_status(name: str) -> None:
    """Raise `ModelNotFound` when the status of one region is asked for: none was registered."""
    if name:
        raise ModelNotFound(f"Unable to find cuda shared memory region: '{name}'")
