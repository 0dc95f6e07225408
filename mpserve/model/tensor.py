"""Datatypes of the Open Inference Protocol.

Source: KServe V2 "Tensor Data Types"; Triton's `model_config.proto` for the enum numbers, which the
native core (`datatype.hpp`) shares.
"""

import enum


class Datatype(enum.IntEnum):
    """Element type of a tensor; the numbers are Triton's `DataType`."""

    BOOL = 1
    UINT8 = 2
    UINT16 = 3
    UINT32 = 4
    UINT64 = 5
    INT8 = 6
    INT16 = 7
    INT32 = 8
    INT64 = 9
    FP16 = 10
    FP32 = 11
    FP64 = 12
    BYTES = 13
    BF16 = 14

    @property
    def config_name(self) -> str:
        """Name in `config.pbtxt`, e.g. `TYPE_FP32`; `BYTES` is `TYPE_STRING` there."""
        return "TYPE_STRING" if self is Datatype.BYTES else f"TYPE_{self.name}"

    @property
    def item_bytes(self) -> int:
        """Bytes of one element, 0 for `BYTES`, whose elements vary."""
        return _ITEM_BYTES[self]

    @classmethod
    def from_config_name(cls, name: str) -> "Datatype":
        """Return the datatype of a `TYPE_*` word; raises `KeyError` for an unknown one."""
        return _BY_CONFIG_NAME[name]


_ITEM_BYTES = {
    Datatype.BOOL: 1,
    Datatype.UINT8: 1,
    Datatype.UINT16: 2,
    Datatype.UINT32: 4,
    Datatype.UINT64: 8,
    Datatype.INT8: 1,
    Datatype.INT16: 2,
    Datatype.INT32: 4,
    Datatype.INT64: 8,
    Datatype.FP16: 2,
    Datatype.FP32: 4,
    Datatype.FP64: 8,
    Datatype.BYTES: 0,
    Datatype.BF16: 2,
}
_BY_CONFIG_NAME = {datatype.config_name: datatype for datatype in Datatype}
