"""HTTP: paths, bodies, headers and statuses around the handlers."""
