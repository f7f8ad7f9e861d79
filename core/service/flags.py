"""Makes a command's flags from what its request declares."""

from __future__ import annotations

import argparse
import re
from typing import Any

from core.parameters import Parameter, parameters_of

# argparse's own takes a small longitude, which is written as -1e-05, for a flag
NUMBER = re.compile(r"^-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")
_TYPES = {"str": str, "int": int, "float": float}


def add_flags(command: argparse.ArgumentParser, request: Any) -> None:
    """Add a flag for each parameter that a request's class declares."""
    for parameter in parameters_of(request).values():
        command.add_argument(parameter.flag, **_keywords(parameter))
    command._negative_number_matcher = NUMBER


def add_progress(command: argparse.ArgumentParser) -> None:
    """Add the flag that says how progress is told."""
    command.add_argument("--progress", choices=("text", "json", "none"), default="text")


def request_from(request: Any, options: argparse.Namespace) -> Any:
    """Build a request of that class from a command's flags; raises ``ParameterError``."""
    return request.from_dict({name: getattr(options, name) for name in parameters_of(request)})


def _keywords(parameter: Parameter) -> dict[str, Any]:
    """What argparse takes for a parameter. Bounds and choices are checked with the request."""
    told = parameter.help
    if not parameter.is_required and parameter.default is not None and parameter.kind != "bool":
        told += f" Default: {parameter.default}."
    keywords: dict[str, Any] = {"help": told.replace("%", "%%")}
    if parameter.kind == "bool":
        return {**keywords, "action": "store_true"}
    keywords.update(type=_TYPES[parameter.kind], default=parameter.default, required=parameter.is_required)
    if parameter.is_list:
        keywords["nargs"] = parameter.lengths[0] if len(parameter.lengths) == 1 else "+"
    if parameter.metavar:
        keywords["metavar"] = parameter.metavar
    return keywords
