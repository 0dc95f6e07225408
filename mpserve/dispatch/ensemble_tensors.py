"""Tensors on their way through an ensemble. Pure.

A tensor is handed on as the memory it came in: that of the client's request, or of the answer of a
step, which goes back when the last step has read it.
"""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from mpserve.dispatch.validation import fits
from mpserve.model.request import Bytes, InputTensor
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype


class EnsembleTensor(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor, under its name in the ensemble."""

    datatype: Datatype
    shape: tuple[int, ...]
    data: Bytes
    parameters_json: str = ""

    def as_input(self, name: str, signature: Signature) -> InputTensor:
        """Return the tensor as input `name` of a model."""
        spec = next((spec for spec in signature.inputs if spec.name == name), None)
        return InputTensor(
            name=name,
            datatype=self.datatype,
            shape=shape_for(self.shape, spec, signature),
            data=self.data,
            parameters_json=self.parameters_json,
        )


def shape_for(
    shape: tuple[int, ...], spec: TensorSpec | None, signature: Signature
) -> tuple[int, ...]:
    """Return a shape as a model, or the ensemble itself, wants it.

    A tensor of a model that does not batch is a batch of one for a model that does, and the other
    way round. Any other shape is left as it is: the model says what is wrong with it.
    """
    if spec is None or spec.shape is None or fits(shape, spec.shape):
        return shape
    if signature.max_batch_size > 0 and fits((1, *shape), spec.shape):
        return (1, *shape)
    if signature.max_batch_size == 0 and shape[:1] == (1,) and fits(shape[1:], spec.shape):
        return shape[1:]
    return shape


class Pass:
    """Tensors that came with one answer of a decoupled step, or with the request itself.

    What an outer pass has, an inner one sees.

    Attributes
    ----------
    beat
        Decoupled step whose answer this is; `None` for the request itself.
    waiting
        Steps of this pass that have not begun.
    """

    def __init__(self, *, beat: int | None, outer: "Pass | None", waiting: Iterable[int]) -> None:
        self.beat = beat
        self.outer = outer
        self.waiting = set(waiting)
        self._tensors: dict[str, EnsembleTensor | None] = {}

    def settle(self, tensors: Mapping[str, EnsembleTensor | None]) -> None:
        """Know tensors from now on; `None` for one that will not come."""
        self._tensors.update(tensors)

    def is_settled(self, names: Iterable[str]) -> bool:
        """Whether it is known of all these tensors what they are, or that they will not come."""
        return all(
            name in self._tensors or (self.outer is not None and self.outer.is_settled((name,)))
            for name in names
        )

    def tensor(self, name: str) -> EnsembleTensor | None:
        """Return a tensor; `None` when it did not come."""
        if name in self._tensors:
            return self._tensors[name]
        return self.outer.tensor(name) if self.outer is not None else None

    def forget(self, is_needed: Callable[[str], bool]) -> None:
        """Give back the memory of tensors that nobody will read any more."""
        for name, tensor in self._tensors.items():
            if tensor is not None and not is_needed(name):
                self._tensors[name] = None
