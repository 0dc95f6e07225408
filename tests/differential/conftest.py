"""The differential suite runs by `make differential`, which sets the variable."""

import os

collect_ignore_glob = [] if os.environ.get("MPSERVE_DIFFERENTIAL") else ["test_*.py"]
