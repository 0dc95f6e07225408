"""Measures mpserve beside the servers it replaces: `python -m bench --help`.

Rounds alternate the servers, so that drift of the machine cancels; CPU is counted for a server's
whole process tree, the load generator apart. Method and caveats: `bench/README.md`.
"""
