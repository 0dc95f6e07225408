"""What `auto_complete_config` gets and returns: the model's configuration, with checked changes.

Source: the errors' words are those of Triton's `pb_utils.ModelConfig`.
"""

import json
from typing import Any, Final, cast

import msgspec

ConfigDict = dict[str, Any]  # JSON of `model_config.proto`, the model's to change


class TensorWords(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of tensor may be described.

    Attributes
    ----------
    field
        Name in the configuration, and in the errors.
    required, allowed
        Properties in the order in which they are asked for.
    allowed_text
        `allowed` as the error lists them.
    """

    field: str
    required: tuple[str, ...] = ("name", "data_type", "dims")
    allowed: tuple[str, ...]
    allowed_text: str


_INPUT: Final = TensorWords(
    field="input",
    allowed=("name", "data_type", "dims", "optional"),
    allowed_text="'name', 'data_type', 'dims' and 'optional'",
)
_OUTPUT: Final = TensorWords(
    field="output",
    allowed=("name", "data_type", "dims"),
    allowed_text="'name', 'data_type' and 'dims'",
)
_OTHER_SCHEDULERS: Final = ("sequence_batching", "ensemble_scheduling")


class ModelConfig:
    """The configuration that a model completes; all errors are `ValueError`."""

    def __init__(self, model_config: str) -> None:
        self._config = cast("ConfigDict", json.loads(model_config))

    def as_dict(self) -> ConfigDict:
        """Return the configuration itself: a change of the dict changes it."""
        return self._config

    def set_max_batch_size(self, max_batch_size: int) -> None:
        """Set the batch size unless the configuration asks for a larger one."""
        configured = self._config.get("max_batch_size", 0)
        if configured > max_batch_size:
            raise ValueError(
                f"configuration specified max_batch_size {configured}, but in"
                f" auto-complete-config function for model '{self._name}' specified"
                f" max_batch_size {max_batch_size}"
            )
        self._config["max_batch_size"] = max_batch_size

    def set_dynamic_batching(self) -> None:
        """Ask for batches put together from requests."""
        for choice in _OTHER_SCHEDULERS:
            if choice in self._config:
                raise ValueError(
                    f"Configuration specified scheduling_choice as '{choice}', but"
                    f" auto-complete-config function for model '{self._name}' tries to set"
                    " scheduling_choice as 'dynamic_batching'"
                )
        self._config.setdefault("dynamic_batching", {})

    def set_model_transaction_policy(self, transaction_policy_dict: ConfigDict) -> None:
        """Say whether a request may have other than one response (`decoupled`)."""
        if set(transaction_policy_dict) - {"decoupled"}:
            raise ValueError(
                "model transaction property in auto-complete-config function for model"
                f" '{self._name}' contains property other than 'decoupled'."
            )
        policy = self._config.setdefault("model_transaction_policy", {})
        if "decoupled" not in transaction_policy_dict:
            return
        wanted = transaction_policy_dict["decoupled"]
        if policy.setdefault("decoupled", wanted) != wanted:
            raise ValueError(
                "trying to change decoupled property in auto-complete-config for model"
                f" '{self._name}', which is already set to '{policy['decoupled']}'."
            )

    def add_input(self, input: ConfigDict) -> None:  # noqa: A002  # Triton's name
        """Declare an input: `name`, `data_type` (`TYPE_FP32`), `dims` and perhaps `optional`."""
        self._add(input, _INPUT)

    def add_output(self, output: ConfigDict) -> None:
        """Declare an output: `name`, `data_type` (`TYPE_FP32`) and `dims`."""
        self._add(output, _OUTPUT)

    @property
    def _name(self) -> str:
        return str(self._config.get("name", ""))

    def _add(self, tensor: ConfigDict, words: TensorWords) -> None:
        self._check_properties(tensor, words)
        declared = self._config.setdefault(words.field, [])
        for present in declared:
            if present["name"] == tensor["name"]:
                self._check_agreement(tensor, present, words)
                present.update(tensor)
                return
        declared.append(tensor)

    def _check_properties(self, tensor: ConfigDict, words: TensorWords) -> None:
        place = f"in auto-complete-config function for model '{self._name}'"
        if set(tensor) - set(words.allowed):
            raise ValueError(
                f"{words.field} '{tensor.get('name', '')}' {place} contains property other than"
                f" {words.allowed_text}."
            )
        for wanted in words.required:
            if wanted not in tensor:
                which = f"{words.field} '{tensor['name']}'" if "name" in tensor else words.field
                raise ValueError(f"{which} {place} is missing '{wanted}' property.")

    def _check_agreement(self, tensor: ConfigDict, present: ConfigDict, words: TensorWords) -> None:
        name = tensor["name"]
        configured = present.get("data_type", "TYPE_INVALID")
        if configured not in ("TYPE_INVALID", tensor["data_type"]):
            raise ValueError(
                f"unable to load model '{self._name}', configuration expects datatype {configured}"
                f" for {words.field} '{name}', model provides {tensor['data_type']}"
            )
        for aspect in ("dims", "optional"):
            if not _agree(tensor, present, aspect):
                raise ValueError(
                    f"model '{self._name}', tensor '{name}': the model expects {aspect}"
                    f" {tensor[aspect]} but the model configuration specifies {aspect}"
                    f" {present[aspect]}"
                )


def _agree(tensor: ConfigDict, present: ConfigDict, aspect: str) -> bool:
    """Tell whether an aspect is the same; what is not given, or dims that are empty, fit all."""
    if aspect not in tensor or aspect not in present:
        return True
    if aspect == "dims":
        return not present["dims"] or list(present["dims"]) == list(tensor["dims"])
    return bool(present[aspect] == tensor[aspect])


def get_input_config_by_name(model_config: ConfigDict, name: str) -> ConfigDict | None:
    """Return the properties of an input, `None` when there is none of this name."""
    return _find(model_config, "input", name)


def get_output_config_by_name(model_config: ConfigDict, name: str) -> ConfigDict | None:
    """Return the properties of an output, `None` when there is none of this name."""
    return _find(model_config, "output", name)


def using_decoupled_model_transaction_policy(model_config: ConfigDict) -> bool:
    """Tell whether a request of the model may have other than one response."""
    return bool(model_config.get("model_transaction_policy", {}).get("decoupled", False))


def _find(model_config: ConfigDict, field: str, name: str) -> ConfigDict | None:
    for properties in model_config.get(field, []):
        if properties["name"] == name:
            return cast("ConfigDict", properties)
    return None
