"""The declaration of parameters: what it allows, and that the documentation's table is made from it."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from core.parameters import ParameterError, parameters_of
from core.protocol import DetectRequest, DownloadRequest, EdgesRequest, EvaluateRequest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "guide" / "parameters.md"
REQUESTS = (DetectRequest, EdgesRequest, EvaluateRequest)
NEEDED = {"raster": "a.tif", "example": "b.gpkg", "output": "c.gpkg"}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def kind_of(parameter):
    words = {"str": "text", "int": "whole number", "float": "number", "bool": "yes or no"}
    if parameter.is_path:
        return "path"
    return f"{words[parameter.kind]}s" if parameter.is_list else words[parameter.kind]


def table(request):
    """A request's parameters as a table in Markdown."""
    rows = ["| parameter | kind | default | allowed | meaning |", "|---|---|---|---|---|"]
    for parameter in parameters_of(request).values():
        default = "needed" if parameter.is_required else ""
        if parameter.default is not None:
            default = f"`{json.dumps(parameter.default).strip(chr(34))}`"
        allowed = "" if parameter.is_path or parameter.kind == "bool" else parameter.allowed
        if parameter.listed_by:
            allowed = f"names as `hello` lists them under `{parameter.listed_by}`"
        if parameter.minimum is not None:
            allowed += f" ({parameter.bound})"
        rows.append(
            f"| `{parameter.name}` | {kind_of(parameter)} | {default} | {allowed} | {parameter.help} |"
        )
    return "\n".join(rows)


def page():
    """``docs/guide/parameters.md`` as the declaration has it."""
    text = (
        "# Parameters of a run\n\n"
        "The same names serve the command line (`--example-raster` for `example_raster`), the messages to "
        "the engine and the requests in Python. Processing writes them in capitals. They are declared in "
        "`core/protocol.py`, from which this page is made.\n"
    )
    for request in REQUESTS:
        command = request.__name__.removesuffix("Request").lower()
        text += f"\n## {command}\n{table(request)}\n"
    return text + (
        "\n`target`, `strategy` and `model`: the commands `strategies` and `models list` print what there "
        "is; targets are `building`, `vehicle` and `other`.\n"
    )


def test_the_documentations_table_is_the_declarations():
    if os.environ.get("EXEMPLAR_WRITE_PARAMETERS"):
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "Write the page anew: EXEMPLAR_WRITE_PARAMETERS=1 .venv/bin/python -m pytest "
        "tests/core/test_parameters.py"
    )


@pytest.mark.parametrize("request_class", [*REQUESTS, DownloadRequest])
def test_every_declaration_is_whole_and_allows_its_own_default(request_class):
    for parameter in parameters_of(request_class).values():
        assert parameter.title and parameter.help.endswith((".", ")."))
        assert parameter.kind in ("str", "int", "float", "bool")
        assert (parameter.minimum is None) == (parameter.maximum is None) == (not parameter.bound)
        if parameter.kind in ("int", "float"):  # every number has bounds, and a reason for them
            assert parameter.minimum < parameter.maximum
        assert bool(parameter.lengths) == parameter.is_list
        if not parameter.is_required:
            parameter.check(parameter.default)


@pytest.mark.parametrize(
    ("name", "value", "said", "allowed"),
    [
        ("runs", "many", "'many'", "a whole number from 1 to 10000"),
        ("runs", "64", "'64'", "a whole number"),
        ("runs", 10**30, "1000", "hours"),
        ("runs", 2.5, "2.5", "a whole number"),
        ("runs", None, "null", "a whole number"),
        ("seed", True, "true", "a whole number from 0 to 2147483647"),
        ("seed", -1, "-1", "from 0"),
        ("regularize", "no", "'no'", "true or false"),
        ("regularize", 1, "1", "true or false"),
        ("resolution", True, "true", "a number from 0.001 to 100000"),
        ("resolution", float("nan"), "nan", "a number"),
        ("resolution", 0, "0", "from 0.001"),
        ("min_score", float("inf"), "inf", "from 0 to 1"),
        ("min_score", 10**400, "1000", "from 0 to 1"),
        ("extent", [0, 0, 1], "[0, 0, 1]", "four numbers"),
        ("extent", [0, 0, 1, None], "None", "four numbers"),
        ("extent", [0, 0, 1, float("nan")], "nan", "four numbers"),
        ("extent", "0 0 1 1", "'0 0 1 1'", "four numbers"),
        ("bands", [1, 2], "[1, 2]", "one or three whole numbers from 1 to 65535"),
        ("bands", [0], "[0]", "from 1"),
        ("bands", [], "[]", "one or three"),
        ("bands", 1, "1", "one or three"),
        ("raster", "", "''", "a path"),
        ("raster", 5, "5", "a path"),
        ("mask", "a\0.tif", "x00", "a path"),
        ("output", None, "null", "a path"),
        ("encode", "both", "'both'", "together, apart"),
        ("precision", 3, "3", "text"),
    ],
)
def test_what_is_not_allowed_is_one_sentence_with_the_name_what_was_given_and_what_may_be(
    name, value, said, allowed
):
    with pytest.raises(ParameterError) as caught:
        DetectRequest.from_dict({**NEEDED, name: value})
    sentence = str(caught.value)
    assert name in sentence and said in sentence and (allowed in sentence or name == "precision")
    assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 300


def test_bands_of_an_example_without_its_raster_are_refused():
    with pytest.raises(InputError, match="example_raster"):
        DetectRequest.from_dict({**NEEDED, "example_bands": [1]})
    DetectRequest.from_dict({**NEEDED, "example_bands": [1], "example_raster": "d.tif"})


@given(st.sampled_from([*REQUESTS, DownloadRequest]), anything)
def test_any_object_is_a_request_or_refused_in_one_sentence(request_class, given_object):
    try:
        request_class.from_dict(given_object)
    except ParameterError as error:
        assert str(error).endswith(".")


@given(st.sampled_from(sorted(parameters_of(DetectRequest))), anything)
def test_any_value_is_kept_as_it_is_or_refused_by_its_name(name, value):
    given_values = {**NEEDED, "example_raster": "d.tif", name: value}
    try:
        request = DetectRequest.from_dict(given_values)
    except ParameterError as error:
        assert name in str(error)
    else:
        assert getattr(request, name) == value
        assert DetectRequest.from_dict(json.loads(json.dumps(request.to_dict()))) == request
