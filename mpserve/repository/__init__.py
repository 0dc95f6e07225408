"""Repository: disks to wanted state.

`scan` reads the model folders of all roots, `scan_model` those of one model for an explicit load,
`settle` says which changes may be taken, `wakes` when to look again. Decisions are made on
snapshots; only the walk, the settings files and `override` touch the disk.
"""

from mpserve.repository.found import Override, ScanOptions, ScanResult
from mpserve.repository.listing import Listing, list_models, listing_of
from mpserve.repository.override import discard
from mpserve.repository.private_folder import (
    PrivateFolder,
    share_folder,
    sweep_private_folders,
)
from mpserve.repository.refusal import Refusal, VersionsRefused
from mpserve.repository.scan import scan
from mpserve.repository.single import scan_model
from mpserve.repository.stillness import Settled, Sighting, settle
from mpserve.repository.triton.pbtxt import forget_texts, prepare_parsing
from mpserve.repository.watch import Wake, wakes

__all__ = [
    "Listing",
    "Override",
    "PrivateFolder",
    "Refusal",
    "ScanOptions",
    "ScanResult",
    "Settled",
    "Sighting",
    "VersionsRefused",
    "Wake",
    "discard",
    "forget_texts",
    "list_models",
    "listing_of",
    "prepare_parsing",
    "scan",
    "scan_model",
    "settle",
    "share_folder",
    "sweep_private_folders",
    "wakes",
]
