"""The messages: one JSON object per line, whatever they hold."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.protocol import PROTOCOL, DetectRequest, decode, encode

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(min_size=1), st.dictionaries(st.text().filter(lambda k: k not in ("type", "kind")), values))
def test_any_message_is_one_line_and_comes_back(kind, fields):
    line = encode(kind, **fields)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert decode(line) == {"type": kind, **fields}


def test_umlauts_travel_as_utf_8():
    assert "Häuser/Übersicht.tif".encode() in encode("detect", path="Häuser/Übersicht.tif")


@pytest.mark.parametrize(
    "line", [b"", b"junk\n", b"[1]\n", b'"detect"\n', b"{}\n", b'{"type": 3}\n', b"\xff\xfe\n"]
)
def test_anything_else_is_refused(line):
    with pytest.raises(ValueError):
        decode(line)


def test_a_request_survives_the_way_through_json():
    request = DetectRequest(
        "a.tif", "b.gpkg", "c.gpkg", extent=[0.1, 2, 3e6, 4], bands=[3, 2, 1], min_score=0.25
    )
    assert DetectRequest.from_dict(json.loads(json.dumps(request.to_dict()))) == request


def test_a_request_names_what_is_unknown_or_missing():
    with pytest.raises(ValueError, match="colour, size"):
        DetectRequest.from_dict({"raster": "", "example": "", "output": "", "size": 1, "colour": 2})
    with pytest.raises(ValueError, match="example, output"):
        DetectRequest.from_dict({"raster": "a.tif"})


def test_the_protocol_has_a_number():
    assert isinstance(PROTOCOL, int) and PROTOCOL >= 1
