"""What a model version takes and gives: the part of its configuration that requests are checked
against.
"""

import msgspec

from mpserve.model.tensor import Datatype


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One input or output.

    Attributes
    ----------
    name
        Tensor name.
    datatype
        Element type; `None` when any is taken (an MLServer model without declared inputs).
    shape
        Full shape as the metadata shows it: with a leading -1 when the model batches. -1 stands for
        any size. `None` when any shape is taken.
    optional
        The input may be left out.
    ragged
        Requests of a batch may differ in the input's shape.
    model_shape
        Full shape as the model knows it, its free sizes in the order of `shape`'s; `None` when that
        is `shape`.
    """

    name: str
    datatype: Datatype | None
    shape: tuple[int, ...] | None
    optional: bool = False
    ragged: bool = False
    model_shape: tuple[int, ...] | None = None


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """Inputs and outputs of one model version.

    Attributes
    ----------
    inputs, outputs
        In the order of the configuration.
    max_batch_size
        0 when the first dimension is not a batch.
    open_inputs
        Inputs are not declared: any name, datatype and shape is taken (MLServer's runtimes).
    open_outputs
        Outputs are not declared: any requested name is passed to the runtime.
    """

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    max_batch_size: int = 0
    open_inputs: bool = False
    open_outputs: bool = False
