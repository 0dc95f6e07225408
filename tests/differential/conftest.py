"""The differential suite runs by `make differential`, which sets the variable."""

import os

from tests.protocol.conftest import nothing_is_left_behind

__all__ = ["nothing_is_left_behind"]  # servers outlive tests here, too

collect_ignore_glob = [] if os.environ.get("MPSERVE_DIFFERENTIAL") else ["test_*.py"]
