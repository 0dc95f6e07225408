"""Names in a model repository: what is a version, what is a configuration, what never counts.

Source: Triton's repository layout; MLServer finds `model-settings.json` at any depth, but not in
hidden folders.
"""

import fnmatch
import re
from collections.abc import Iterable
from typing import Final

import msgspec

CONFIG_FILE: Final = "config.pbtxt"
CUSTOM_CONFIGS: Final = "configs"
MODEL_SETTINGS_FILE: Final = "model-settings.json"
SERVER_SETTINGS_FILE: Final = "settings.json"

WARM_UP_FOLDER: Final = "warmup"

RESERVED_DIRECTORIES: Final = frozenset({WARM_UP_FOLDER, "initial_state", CUSTOM_CONFIGS})
"""Directories of a model that are not versions, without a warning."""

IGNORED_DIRECTORIES: Final = frozenset(
    {"__pycache__", ".ipynb_checkpoints", ".git", ".hg", ".svn", "__MACOSX"}
)
"""Directories inside a model that are written by tools, the model's own interpreter among them."""

IGNORED_FILES: Final = (
    "*~",  # backups of emacs, vim and others
    "#*#",  # autosave of emacs
    ".#*",  # lock of emacs
    ".*.sw?",  # swap of vim and nano
    ".*.kate-swp",
    "4913",  # vim asks by this file whether it may write
    ".goutputstream-*",  # gedit and all that save by GIO
    "*___jb_tmp___",
    "*___jb_old___",
    ".~lock.*#",
    "*.tmp",
    ".DS_Store",
    "._*",
    ".nfs*",  # deleted on NFS, still open somewhere
    ".fuse_hidden*",
)
"""Files that editors and file systems leave behind for a while."""

_ignored_file = re.compile("|".join(fnmatch.translate(pattern) for pattern in IGNORED_FILES)).match
_version = re.compile(r"0|[1-9][0-9]{0,18}").fullmatch
MAX_VERSION: Final = 2**63 - 1  # Triton's versions are int64


class VersionNames(msgspec.Struct, frozen=True, kw_only=True):
    """Versions among the directories of a model, ascending, and warnings about the others."""

    versions: tuple[int, ...]
    notes: tuple[str, ...]


def is_ignored_file(name: str) -> bool:
    """Tell whether a file of this name never counts as part of a model."""
    return _ignored_file(name) is not None


def is_version_name(name: str) -> bool:
    """Tell whether a directory of this name holds a version."""
    return _version(name) is not None and int(name) <= MAX_VERSION


def version_names(directory_names: Iterable[str]) -> VersionNames:
    """Sort the direct sub-directories of a model into versions and others.

    Notes
    -----
    Triton reads the leading digits only, so that it takes `1_old` for version 1 and then looks for
    the files in `1`. Here it is no version.
    """
    versions: list[int] = []
    notes: list[str] = []
    for name in directory_names:
        if name in RESERVED_DIRECTORIES:
            continue
        if is_version_name(name):
            versions.append(int(name))
        elif len(name) > 1 and name.startswith("0"):
            notes.append(
                f"ignore version directory '{name}' which contains leading zeros in its directory "
                "name"
            )
        else:
            notes.append(
                f"ignore version directory '{name}' which fails to convert to integral number"
            )
    return VersionNames(versions=tuple(sorted(versions)), notes=tuple(notes))
