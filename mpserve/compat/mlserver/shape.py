# ruff: noqa: ANN401  # values are the users'
"""Base of the data classes that MLServer models see: checked construction, dumping, copying.

MLServer builds these on pydantic. Here they are plain classes with the part of pydantic's surface
that model code uses, so that a worker needs neither pydantic nor its import time. Both spellings of
each method (`dict` and `model_dump`, `parse_obj` and `model_validate`, …) are there.

Guarantees
    Attributes live in the instance's `__dict__`; names that start with `_` are private: never
    dumped, compared or printed.
"""

import copy
import enum
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Self, get_origin, get_type_hints

import orjson

from mpserve.compat.mlserver.conversion import Problem, converter
from mpserve.compat.mlserver.selection import EVERYTHING, Rule, Selection

MISSING: Final = object()

Members = dict[str, Any]  # name -> value of the declared type; `Shape.dict` hides the builtin below


_EVERYTHING: Final = {"by_alias": False, "exclude_unset": False, "exclude_none": False}


class Extra(enum.Enum):
    """What happens to a member the class does not declare."""

    IGNORE = "ignore"
    ALLOW = "allow"


class ValidationError(ValueError):
    """Members are missing or of the wrong type; `errors()` lists them."""

    def __init__(self, title: str, problems: list[Problem]) -> None:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} for {title}"
        super().__init__("\n".join([count, *(str(problem) for problem in problems)]))
        self.title = title
        self._problems = problems

    def errors(self) -> list[dict[str, Any]]:  # pydantic's form
        """Return the problems as dictionaries with `loc`, `msg` and `type`."""
        return [
            {"loc": problem.location, "msg": problem.message, "type": problem.kind}
            for problem in self._problems
        ]


class Field:
    """One declared member: its conversion and its default."""

    __slots__ = ("alias", "convert", "default")

    def __init__(self, *, alias: str, convert: Callable[[Any], Any], default: object) -> None:
        self.alias = alias
        self.convert = convert
        self.default = default

    @property
    def is_required(self) -> bool:
        """Say whether construction needs the member."""
        return self.default is MISSING

    def fresh_default(self) -> Any:  # any declared type
        """Return the default; lists and dicts are copied."""
        return copy.copy(self.default) if isinstance(self.default, list | dict) else self.default


class Shape:
    """A data class with declared, converted members."""

    _extra: ClassVar[Extra] = Extra.IGNORE
    _aliases: ClassVar[Mapping[str, str]] = {}
    model_fields: ClassVar[dict[str, Field]] = {}

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls.model_fields = {
            name: Field(
                alias=cls._aliases.get(name, name),
                convert=converter(hint),
                default=getattr(cls, name, MISSING),
            )
            for name, hint in get_type_hints(cls).items()
            if not name.startswith("_") and get_origin(hint) is not ClassVar
        }

    def __init__(self, **values: Any) -> None:
        problems: list[Problem] = []
        attributes = self.__dict__
        fields_set = attributes["_fields_set"] = set()
        for name, field in self.model_fields.items():
            value = values.pop(field.alias, MISSING)
            if value is not MISSING:
                fields_set.add(name)
                try:
                    attributes[name] = field.convert(value)
                except Problem as problem:
                    problems.append(problem.inside(field.alias))
            elif field.is_required:
                missing = Problem("Field required", kind="missing")
                problems.append(missing.inside(field.alias))
            else:
                attributes[name] = field.fresh_default()
        if problems:
            raise ValidationError(type(self).__name__, problems)
        if self._extra is Extra.ALLOW:
            attributes.update(values)
            fields_set.update(values)

    @classmethod
    def model_construct(cls, **values: Any) -> Self:
        """Return an instance of values that are known to fit: nothing is checked or converted."""
        instance = cls.__new__(cls)
        attributes = instance.__dict__
        for name, field in cls.model_fields.items():
            if name not in values and not field.is_required:
                attributes[name] = field.fresh_default()
        attributes.update(values)
        attributes["_fields_set"] = set(values)
        return instance

    @classmethod
    def model_validate(cls, value: Any) -> Self:
        """Return `value` when it is an instance, or an instance built of a mapping.

        Raises
        ------
        ValidationError
            With every member that is missing or of the wrong type.
        """
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            message = f"Input should be a valid dictionary or instance of {cls.__name__}"
            problem = Problem(message, value=value, kind="model_type")
            raise ValidationError(cls.__name__, [problem])
        return cls(**value)

    @classmethod
    def model_validate_json(cls, text: str | bytes) -> Self:
        """Return an instance built of a JSON object."""
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise ValidationError(cls.__name__, [Problem(f"Invalid JSON: {error}")]) from error
        return cls.model_validate(value)

    @classmethod
    def parse_file(cls, path: str | Path) -> Self:
        """Return an instance built of a JSON file."""
        return cls.model_validate_json(Path(path).read_bytes())

    def model_dump(
        self,
        *,
        include: Rule = None,
        exclude: Rule = None,
        by_alias: bool = True,
        exclude_unset: bool = True,
        exclude_none: bool = True,
        **_ignored: object,  # options of pydantic that change nothing here
    ) -> Members:
        """Return the members as a dictionary, nested shapes too, without what was not set."""
        options = {
            "by_alias": by_alias,
            "exclude_unset": exclude_unset,
            "exclude_none": exclude_none,
        }
        selection = Selection(include, exclude)
        dumped = {}
        for name, value in self._public().items():
            unset = exclude_unset and name not in self._fields_set
            part = selection.part(name)
            if part is None or unset or (exclude_none and value is None):
                continue
            shown = self._aliases.get(name, name) if by_alias else name
            dumped[shown] = dump(value, part, **options)
        return dumped

    def model_dump_json(self, *, indent: int | None = None, **options: Any) -> str:
        """Return the members as JSON; `bytes` become text, arrays become lists."""
        layout = orjson.OPT_INDENT_2 if indent else 0
        return to_json(self.model_dump(**options), layout=layout).decode()

    def dict(self, **options: Any) -> Members:
        """Return the members as a dictionary, nested shapes too, with what was not set."""
        return self.model_dump(**{**_EVERYTHING, **options})

    def json(self, **options: Any) -> str:
        """Return the members as JSON, with what was not set."""
        return self.model_dump_json(**{**_EVERYTHING, **options})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some members replaced, unchecked."""
        twin = copy.deepcopy(self) if deep else copy.copy(self)
        twin.__dict__["_fields_set"] = set(self._fields_set) | set(update or ())
        twin.__dict__.update(update or {})
        return twin

    # The spelling of pydantic 1, which MLServer's documentation still uses.
    parse_obj = model_validate
    parse_raw = model_validate_json
    construct = model_construct
    copy = model_copy

    @property
    def model_fields_set(self) -> set[str]:
        """Names of the members that were given."""
        return self._fields_set

    @property
    def model_extra(self) -> Members | None:
        """Members that are not declared; `None` when the class takes none."""
        if self._extra is Extra.IGNORE:
            return None
        return {n: value for n, value in self._public().items() if n not in self.model_fields}

    @property
    def _fields_set(self) -> set[str]:
        fields_set: set[str] = self.__dict__.setdefault("_fields_set", set())
        return fields_set

    def _public(self) -> Members:
        attributes = self.__dict__
        public = {name: attributes[name] for name in self.model_fields if name in attributes}
        if self._extra is Extra.ALLOW:
            public |= {name: attributes[name] for name in attributes if not name.startswith("_")}
        return public

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
            return
        if name not in self.model_fields and self._extra is Extra.IGNORE:
            raise ValueError(f'"{type(self).__name__}" object has no field "{name}"')
        self.__dict__[name] = value
        self._fields_set.add(name)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self._public().items())

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._public() == other._public()

    __hash__ = None  # type: ignore[assignment]  # mutable, as pydantic's

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._members_text(', ')})"

    def __str__(self) -> str:
        return self._members_text(" ")

    def _members_text(self, separator: str) -> str:
        return separator.join(f"{name}={value!r}" for name, value in self._public().items())


class RootShape(Shape):
    """A shape with one anonymous member, `root`, which is also what it dumps to."""

    def __init__(self, root: Any = MISSING, **values: Any) -> None:
        super().__init__(**({} if root is MISSING else {"root": root}), **values)

    @classmethod
    def model_validate(cls, value: Any) -> Self:
        """Return `value` when it is an instance, or an instance around it."""
        return value if isinstance(value, cls) else cls(value)

    parse_obj = model_validate

    def model_dump(self, **options: Any) -> Any:
        """Return the root, nested shapes dumped."""
        selection = Selection(options.pop("include", None), options.pop("exclude", None))
        return dump(self.root, selection, **options)

    def dict(self, **options: Any) -> Any:
        """Return the root, nested shapes dumped."""
        return self.model_dump(**options)

    def __len__(self) -> int:
        return len(self.root)

    def __getitem__(self, index: Any) -> Any:
        return self.root[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.root)

    root: Any


def dump(value: Any, selection: Selection = EVERYTHING, **options: Any) -> Any:
    """Return `value` with all shapes in it replaced by plain Python values."""
    if isinstance(value, Shape):
        return value.model_dump(include=selection.include, exclude=selection.exclude, **options)
    if isinstance(value, list | tuple):
        if selection.is_whole:  # the elements of a tensor, mostly
            return [dump(item, **options) for item in value]
        parts = [(item, selection.part(place)) for place, item in enumerate(value)]
        return [dump(item, part, **options) for item, part in parts if part is not None]
    if isinstance(value, dict):
        members = [(key, item, selection.part(key)) for key, item in value.items()]
        return {key: dump(item, part, **options) for key, item, part in members if part is not None}
    return value


def to_json(value: Any, *, layout: int = 0) -> bytes:
    """Return dumped values as JSON; `bytes` must be UTF-8."""
    return orjson.dumps(
        value, default=_plain, option=layout | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    )


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode()
    if hasattr(value, "tolist"):  # arrays and scalars of dtypes orjson leaves to us
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")
