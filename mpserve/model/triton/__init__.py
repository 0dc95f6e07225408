"""Triton's model configuration: its messages, defaults, checks and completion.

Pure, and on JSON shapes only: a worker completes a configuration without protobuf. Reading files of
the repository is `mpserve.repository.triton`'s.
"""
