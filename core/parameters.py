"""Declares a run's parameters: what each is called, holds, defaults to and may be.

A parameter is declared once, as a field of a request in :mod:`core.protocol`. The command line, the
Processing algorithms, the dock and ``docs/guide/parameters.md`` read the declaration, and
:func:`check_values` checks what is given against it.

Standard library only, in the syntax of Python 3.9, since QGIS imports this module from its own Python.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import os
import reprlib
from typing import Any

from .errors import InputError  # QGIS loads the plugin as a package, so `core` has another name there

BASIC, ADVANCED = "basic", "advanced"
_NOUNS = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}
_COUNTS = {1: "one", 3: "three", 4: "four"}


class ParameterError(InputError, ValueError):
    """A request's value is none that its declaration allows."""


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter as it is declared.

    Attributes
    ----------
    name : str
    kind : {"str", "int", "float", "bool"}
        Of the value, or of a list's items.
    is_list, is_optional, is_required : bool
        Optional: it may be None. Required: it has no default.
    default : object
        None where it is required.
    title : str
        A few words, for dialogs.
    help : str
        What it means, for the command line, for dialogs and for the documentation.
    group : {"basic", "advanced"}
    metavar : tuple of str
        What the command line's help calls a list's items, where each has its name.
    lengths : tuple of int
        How many items a list may have.
    choices : tuple of str
        All that there is to choose from; empty where anything of its kind is allowed.
    listed_by : str
        The key of ``hello`` whose entries are the choices, where only the engine knows them.
    minimum, maximum : float, optional
        Bounds, both allowed.
    bound : str
        Why these are the bounds.
    is_path : bool
    """

    name: str
    kind: str
    is_list: bool
    is_optional: bool
    is_required: bool
    default: Any
    title: str
    help: str
    group: str = BASIC
    metavar: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()
    choices: tuple[str, ...] = ()
    listed_by: str = ""
    minimum: float | None = None
    maximum: float | None = None
    bound: str = ""
    is_path: bool = False

    @property
    def flag(self) -> str:
        """The command line's name for it."""
        return "--" + self.name.replace("_", "-")

    @property
    def allowed(self) -> str:
        """What may be given, in words."""
        if self.is_path:
            return "a path"
        if self.kind == "bool":
            return _NOUNS["bool"]
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.is_list:
            counts = " or ".join(_COUNTS[length] for length in self.lengths)
            return f"{counts} {_NOUNS[self.kind]}s{self._range()}"
        return f"a {_NOUNS[self.kind]}{self._range()}"

    def _range(self) -> str:
        return "" if self.minimum is None else f" from {self.minimum:g} to {_in_digits(self.maximum)}"

    def check(self, value: Any) -> None:
        """Raise :class:`ParameterError` where the value is none that is allowed."""
        if value is None:
            if not self.is_optional:
                raise self._error(value)
            return
        if self.is_list:
            if not isinstance(value, (list, tuple)) or len(value) not in self.lengths:
                raise self._error(value)
            items = list(value)
        else:
            items = [value]
        if not all(self._is_of_kind(item) for item in items):
            raise self._error(value)
        if self.choices and not all(item in self.choices for item in items):
            raise ParameterError(
                f"There is no {self.name} {_shown(value)}. Choose one of: {', '.join(self.choices)}."
            )
        if self.minimum is not None and not all(self.minimum <= item <= self.maximum for item in items):
            raise self._error(value, self.bound)

    def _is_of_kind(self, item: Any) -> bool:
        if self.kind == "bool":
            return isinstance(item, bool)
        if self.kind == "int":
            return isinstance(item, numbers.Integral) and not isinstance(item, bool)
        if self.kind == "float":
            is_number = isinstance(item, numbers.Real) and not isinstance(item, bool)
            return is_number and (isinstance(item, numbers.Integral) or math.isfinite(item))
        if self.is_path:
            return isinstance(item, (str, os.PathLike)) and str(item) != "" and "\0" not in str(item)
        return isinstance(item, str)

    def _error(self, value: Any, reason: str = "") -> ParameterError:
        left_out = ", or leave it out" if self.is_optional or not self.is_required else ""
        because = f" ({reason})" if reason else ""
        return ParameterError(
            f"The parameter {self.name} is {_shown(value)}. Give {self.allowed}{because}{left_out}."
        )


def parameter(default: Any = dataclasses.MISSING, *, title: str, help: str, **declared: Any) -> Any:
    """Declare a field of a request; the keywords are the attributes of :class:`Parameter`."""
    return dataclasses.field(default=default, metadata={"title": title, "help": help, **declared})


def parameters_of(request: Any) -> dict[str, Parameter]:
    """Read the parameters that a request, or its class, declares, by name and in their order."""
    found = {}
    for field in dataclasses.fields(request):
        kind = str(field.type)
        is_optional = kind.endswith(" | None")
        kind = kind[: -len(" | None")] if is_optional else kind
        is_list = kind.startswith("list[")
        is_required = field.default is dataclasses.MISSING
        found[field.name] = Parameter(
            name=field.name,
            kind=kind[len("list[") : -1] if is_list else kind,
            is_list=is_list,
            is_optional=is_optional,
            is_required=is_required,
            default=None if is_required else field.default,
            **field.metadata,
        )
    return found


def check_values(request: Any, values: dict[str, Any]) -> None:
    """Raise :class:`ParameterError` for the first value that its declaration does not allow.

    Parameters
    ----------
    request : type
        The class that declares the parameters.
    values : dict
        Values by name; names that it does not declare are passed over.
    """
    for name, declared in parameters_of(request).items():
        if name in values:
            declared.check(values[name])


def _in_digits(bound: float | None) -> str:
    """A bound without an exponent, with all its digits."""
    return str(int(bound)) if bound == int(bound) else str(bound)


def _shown(value: Any) -> str:
    """What was given, as JSON has it where that is another word, and cut where it is long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return reprlib.repr(value)
