"""What a download may ask, where it may be led on to, and where it writes: nowhere but in its own place."""

import hashlib
from urllib.request import Request

import numpy as np
import pytest

from core.errors import InputError
from core.weights.fetch import _SafeRedirects, download

CONTENT = np.random.default_rng(7).bytes(30_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(weights_server):
    weights_server.content = CONTENT
    return weights_server


@pytest.fixture
def place(tmp_path):
    return tmp_path / "models" / "model.pth"


@pytest.fixture
def part(place):
    """Where what is arriving lies."""
    place.parent.mkdir()
    return place.with_name("model.pth.part")


def test_a_link_in_the_parts_place_is_not_written_through(server, place, part, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    part.symlink_to(victim)
    download(server.address, place, len(CONTENT), SHA256, waits=())
    assert [asked.range for asked in server.asked] == [None]  # nothing of it was taken up
    assert victim.read_bytes() == b"untouched"
    assert place.read_bytes() == CONTENT and not place.is_symlink()


def test_a_link_that_leads_nowhere_makes_no_file_there(server, place, part, tmp_path):
    part.symlink_to(tmp_path / "new")
    download(server.address, place, len(CONTENT), SHA256, waits=())
    assert place.read_bytes() == CONTENT and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "address", ["http://models.invalid/a.pth", "http://127.0.0.1.models.invalid/a", "ftp://localhost/a", "/a"]
)
def test_only_https_is_asked_outside_this_computer(place, address):
    with pytest.raises(InputError, match="One with https is needed"):
        download(address, place, len(CONTENT), SHA256, waits=())
    assert list(place.parent.iterdir()) == []


def test_a_redirect_may_not_leave_https(server, place):
    server.script[:] = [{"status": 302, "content": b"", "headers": {"Location": "http://models.invalid/a"}}]
    with pytest.raises(InputError, match=r"leads on to http://models\.invalid/a, which is no safe address"):
        download(server.address, place, len(CONTENT), SHA256, waits=(0, 0))
    assert len(server.asked) == 1 and not place.exists()


@pytest.mark.parametrize(
    ("here", "there", "fine"),
    [
        ("https://a.org/x", "https://b.org/x", True),
        ("https://a.org/x", "http://a.org/x", False),
        ("https://a.org/x", "http://127.0.0.1/x", False),  # the web has no business on this computer
        ("http://127.0.0.1/x", "http://localhost/x", True),
        ("http://127.0.0.1/x", "https://a.org/x", True),
    ],
)
def test_where_a_server_may_lead_on_to(here, there, fine):
    asked = Request(here)  # noqa: S310  (nothing is opened)
    follow = _SafeRedirects().redirect_request
    if fine:
        assert follow(asked, None, 302, "Found", {}, there).full_url == there
    else:
        with pytest.raises(InputError, match="no safe address"):
            follow(asked, None, 302, "Found", {}, there)
