"""Where the model of this process lies: `pb_utils.get_model_dir`."""

from typing import Final

_directories: Final[list[str]] = [""]


def set_model_dir(directory: str) -> None:
    """Note the folder of the version that is loaded."""
    _directories[0] = directory


def get_model_dir() -> str:
    """Return the folder of the version that is loaded, "" before."""
    return _directories[0]
