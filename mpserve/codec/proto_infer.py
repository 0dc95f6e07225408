"""`ModelInfer` as the native core speaks it: it takes what is common and declines the rest."""

from mpserve._native import ProtoInfer

__all__ = ["ProtoInfer"]
