"""What a download may ask, where it may be led on to, and where it writes: nowhere but in its own place."""

import hashlib

import numpy as np
import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from core.errors import InputError
from core.weights.fetch import download
from core.weights.https import SafeAdapter

CONTENT = np.random.default_rng(7).bytes(30_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def names(place):
    """What lies in the folder, but for the lock, which stays."""
    return [path.name for path in place.parent.iterdir() if path.suffix != ".lock"]


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
    download(server.address, place, len(CONTENT), SHA256, retries=Retry(0))
    assert [asked.range for asked in server.asked] == [None]  # nothing of it was taken up
    assert victim.read_bytes() == b"untouched"
    assert place.read_bytes() == CONTENT and not place.is_symlink()


def test_a_link_that_leads_nowhere_makes_no_file_there(server, place, part, tmp_path):
    part.symlink_to(tmp_path / "new")
    download(server.address, place, len(CONTENT), SHA256, retries=Retry(0))
    assert place.read_bytes() == CONTENT and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "address", ["http://models.invalid/a.pth", "http://127.0.0.1.models.invalid/a", "ftp://localhost/a", "/a"]
)
def test_only_https_is_asked_outside_this_computer(place, address):
    with pytest.raises(InputError, match="One with https is needed"):
        download(address, place, len(CONTENT), SHA256, retries=Retry(0))
    assert not place.parent.exists()


def test_a_redirect_may_not_leave_https(server, place):
    server.script[:] = [{"status": 302, "content": b"", "headers": {"Location": "http://models.invalid/a"}}]
    with pytest.raises(InputError, match=r"leads on to http://models\.invalid/a, which is no safe address"):
        download(server.address, place, len(CONTENT), SHA256, retries=Retry(2))
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
def test_where_a_server_may_lead_on_to(monkeypatch, here, there, fine):
    """Each step of a request goes through the adapter; what it lets through is sent by requests' own."""
    sent = []
    monkeypatch.setattr(HTTPAdapter, "send", lambda self, request: sent.append(request.url))
    adapter, steps = SafeAdapter(), [requests.Request("GET", url).prepare() for url in (here, there)]
    adapter.send(steps[0])
    if fine:
        adapter.send(steps[1])
    else:
        with pytest.raises(InputError, match="no safe address"):
            adapter.send(steps[1])
    assert sent == ([here, there] if fine else [here])
