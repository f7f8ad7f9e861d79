"""Downloads from a server on the loopback that breaks off, lies, refuses, and does as it should."""

import hashlib
import os
import shutil
import ssl
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from urllib3.util import Retry

from core.errors import CancelledError, InputError
from core.weights import fetch as download_module
from core.weights import https, part_file, verified_file
from core.weights.fetch import download
from core.weights.part_file import PartFile

CONTENT = np.random.default_rng(7).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FIVE, TWO = Retry(5), Retry(2)  # without a wait
WRONG = CONTENT[:150_000] + bytes(150_000)  # as long, and another file


def names(place):
    """What lies in the folder, but for the lock, which stays."""
    return [path.name for path in place.parent.iterdir() if path.suffix != ".lock"]


@pytest.fixture
def server(weights_server):
    weights_server.content = CONTENT
    return weights_server


@pytest.fixture
def place(tmp_path):
    return tmp_path / "models ä" / "model.pth"  # the folder is made


@pytest.fixture
def fetch(server, place):
    """Run a script; gives what was asked of the server."""

    def run(*script, retries=FIVE, **more):
        server.script[:] = script or [{}]
        download(server.address, place, len(CONTENT), SHA256, retries=retries, **more)
        assert place.read_bytes() == CONTENT
        assert names(place) == ["model.pth"]
        return [asked.range for asked in server.asked]

    return run


def part_of(place):
    return place.with_name("model.pth.part")


def leave(place, content):
    """What an earlier attempt left."""
    place.parent.mkdir(parents=True)
    part_of(place).write_bytes(content)


# What works


def test_one_answer(fetch, server):
    heard = []
    assert fetch(progress=lambda *told: heard.append(told)) == [None]
    fractions = [fraction for fraction, _ in heard]
    assert fractions == sorted(fractions) and fractions[0] > 0 and fractions[-1] == 1
    assert heard[-1][1] == "300 kB, verified" and heard[-2][1] == "300 kB of 300 kB"
    assert set(server.asked[0].headers) <= {
        "Host",
        "User-Agent",
        "Connection",
        "Accept-Encoding",
        "Accept",
    }  # no more


def test_a_server_that_breaks_off_is_asked_for_the_rest(fetch):
    asked = fetch({"stop": 100_000}, {"stop": 50_000}, {})
    assert asked == [None, "bytes=100000-", "bytes=150000-"]


def test_a_break_is_told(fetch):
    heard = []
    fetch({"stop": 100_000}, {}, progress=lambda *told: heard.append(told))
    assert (1 / 3, "100 kB of 300 kB; the connection broke off, trying again") in heard


def test_an_unknown_length_is_read_to_the_end(fetch):
    assert fetch({"length": None}) == [None]


def test_more_than_was_announced_elsewhere_is_not_read(fetch):
    assert fetch({"length": None, "content": CONTENT + b"more"}) == [None]


def test_ranges_that_are_ignored_cost_a_new_beginning(fetch):
    assert fetch({"stop": 100_000}, {"ranges": False}) == [None, "bytes=100000-"]


@pytest.mark.parametrize("status", [416, 403, 501])
def test_ranges_that_are_refused_cost_a_new_beginning(fetch, status):
    assert fetch({"stop": 100_000}, {"ranges": status}, {}) == [None, "bytes=100000-", None]


@pytest.mark.parametrize("lie", [{"begin": 5}, {"headers": {"Content-Range": "junk"}, "begin": 0}])
def test_another_range_than_the_one_asked_for_is_not_appended(fetch, lie):
    assert fetch({"stop": 100_000}, lie, {}) == [None, "bytes=100000-", None]


def test_the_next_attempt_goes_on_where_the_last_one_was_left(fetch, place):
    leave(place, CONTENT[:200_000])
    assert fetch() == ["bytes=200000-"]


def test_all_of_it_left_by_an_earlier_attempt_needs_no_server(fetch, place):
    leave(place, CONTENT)
    assert fetch() == []


@pytest.mark.parametrize("left", [bytes(200_000), WRONG, CONTENT + b"more", b""])
def test_wrong_bytes_of_an_earlier_attempt_are_thrown_away(fetch, place, left):
    leave(place, left)
    asked = fetch()
    assert asked[-1] is None  # whole, in the end
    assert len(asked) <= 2


def test_a_file_that_changed_between_two_answers_is_fetched_anew(fetch):
    asked = fetch({"stop": 200_000, "content": WRONG}, {}, {})
    assert asked == [None, "bytes=200000-", None]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_in_trouble_is_asked_again(fetch, status):
    assert fetch({"status": status, "content": b""}, {}) == [None, None]


def test_redirects_are_followed(fetch, server):
    there = {"status": 302, "content": b"", "headers": {"Location": "/elsewhere/model.pth"}}
    fetch(there, {})
    assert [asked.path for asked in server.asked] == ["/weights/model.pth", "/elsewhere/model.pth"]


def test_an_older_file_is_replaced_only_by_a_good_one(server, fetch, place):
    place.parent.mkdir(parents=True)
    place.write_bytes(b"older")
    server.script[:] = [{"content": WRONG}]
    with pytest.raises(InputError):
        download(server.address, place, len(CONTENT), SHA256, retries=Retry(0))
    assert place.read_bytes() == b"older"
    fetch()


def test_the_proxy_of_the_environment_is_used(server, place, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    download("http://localhost:9/model.pth", place, len(CONTENT), SHA256, retries=Retry(0))
    assert place.read_bytes() == CONTENT
    assert server.asked[0].path == "http://localhost:9/model.pth"  # as one asks a proxy


# What does not


@pytest.fixture
def refused(server, place):
    """A script fails with a sentence, and nothing is in the file's place."""

    def run(sentence, *script, left, retries=TWO):
        server.script[:] = script
        with pytest.raises(InputError, match=sentence) as caught:
            download(server.address, place, len(CONTENT), SHA256, retries=retries)
        assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
        assert not place.exists()
        assert (part_of(place).stat().st_size if part_of(place).exists() else 0) == left
        return [asked.range for asked in server.asked]

    return run


def test_wrong_bytes_are_refused_and_thrown_away(refused):
    asked = refused(f"sent another file .* not {SHA256}", {"content": WRONG}, left=0)
    assert asked == [None]


def test_wrong_bytes_after_a_break_are_refused_too(refused):
    asked = refused("sent another file", {"stop": 100_000, "content": WRONG}, {"content": WRONG}, left=0)
    assert asked == [None, "bytes=100000-", None]


@pytest.mark.parametrize("lie", [{"length": 299_999}, {"length": 10**12}, {"content": CONTENT + b"more"}])
def test_another_announced_length_is_another_file(refused, lie):
    assert refused("where the published file has 300,000", lie, left=0) == [None]


def test_another_length_of_the_whole_in_a_range_is_another_file(refused):
    lie = {"total": 400_000}
    assert len(refused("offers 400,000 bytes", {"stop": 100_000}, lie, left=100_000)) == 2


@pytest.mark.parametrize("length", [None, len(CONTENT)])
def test_a_sign_in_page_is_told_and_costs_nothing_of_what_is_there(refused, place, length):
    leave(place, CONTENT[:1000])
    page = {"content": b"<html>", "headers": {"Content-Type": "text/html; charset=utf-8"}, "ranges": False}
    refused("offers a web page", page | {"length": length}, left=1000)


def test_a_server_that_always_breaks_off_is_given_up(refused):
    asked = refused(r"broke off after 2 kB of 300 kB \(", {"stop": 700}, left=2100, retries=Retry(2))
    assert asked == [None, "bytes=700-", "bytes=1400-"]


def test_attempts_that_bring_something_do_not_count(fetch):
    assert len(fetch({"stop": 30_000}, retries=Retry(1))) == 10


def test_a_server_without_ranges_that_breaks_off_at_the_same_place_is_given_up(refused):
    asked = refused("broke off after 100 kB", {"stop": 100_000, "ranges": False}, left=100_000)
    assert asked == [None, "bytes=100000-", "bytes=100000-"]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_told_at_once(refused, status):
    asked = refused(f"answered {status} .* for http", {"status": status, "content": b""}, left=0)
    assert asked == [None]


def test_a_refusal_costs_nothing_of_what_is_there(refused, place):
    leave(place, CONTENT[:1000])
    refused("answered 403", {"status": 403, "content": b""}, left=1000)


def test_nobody_at_the_address(place, server):
    server.shutdown()
    server.server_close()
    with pytest.raises(InputError, match="could not be reached"):
        download(server.address, place, len(CONTENT), SHA256, retries=Retry(1))
    assert names(place) == []


def test_a_silent_server_counts_as_broken(refused, monkeypatch):
    monkeypatch.setattr(https, "SILENCE_SECONDS", 0.1)
    assert len(refused("timed out", {"silent": True}, left=0, retries=Retry(1))) == 2


def test_only_web_addresses(tmp_path, place):
    (tmp_path / "local").write_bytes(CONTENT)
    with pytest.raises(InputError, match="no safe web address"):
        download((tmp_path / "local").as_uri(), place, len(CONTENT), SHA256)
    assert not place.exists()


# Cancelling


def test_a_silent_server_does_not_hold_up_a_cancel(server, place):
    server.script[:] = [{"silent": True}]
    with pytest.raises(CancelledError, match="what has arrived is kept"):
        download(server.address, place, len(CONTENT), SHA256, cancelled=lambda: len(server.asked) > 0)
    assert not server.released.is_set()  # it had said nothing yet
    assert not place.exists()


def test_what_has_arrived_before_a_cancel_is_kept(server, place, fetch):
    heard = []
    with pytest.raises(CancelledError):
        download(
            server.address,
            place,
            len(CONTENT),
            SHA256,
            progress=lambda *told: heard.append(told),
            cancelled=lambda: bool(heard),
        )
    kept = part_of(place).stat().st_size
    assert 0 < kept < len(CONTENT)
    assert fetch()[-1] == f"bytes={kept}-"


def test_a_cancel_ends_the_wait_for_the_next_attempt(server, place):
    server.script[:] = [{"status": 503, "content": b"", "headers": {"Retry-After": "60"}}]
    with pytest.raises(CancelledError):
        download(
            server.address,
            place,
            len(CONTENT),
            SHA256,
            cancelled=lambda: len(server.asked) > 0,
        )


def test_a_cancel_while_the_beginning_is_checked_keeps_it(server, place):
    leave(place, CONTENT[:1000])
    with pytest.raises(CancelledError):
        download(server.address, place, len(CONTENT), SHA256, cancelled=lambda: True)
    assert part_of(place).read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize(("asked", "waits"), [("7", 7.0), ("86400", 60.0), ("Tue, 3 Jun", 0), ("", 0)])
def test_a_server_may_ask_for_a_longer_wait(server, place, monkeypatch, asked, waits):
    waited = []
    monkeypatch.setattr(download_module, "_pause", lambda seconds, cancelled: waited.append(seconds))
    server.script[:] = [{"status": 429, "content": b"", "headers": {"Retry-After": asked}}, {}]
    download(server.address, place, len(CONTENT), SHA256, retries=Retry(1))
    assert waited == [waits]


# The disk


class FullDisk:
    """A file on a disk that takes so many bytes and no more."""

    def __init__(self, file, room, error):
        self._file, self._room, self._error = file, room, error

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, data):
        if self._room <= 0:
            raise self._error
        written = self._file.write(data[: self._room])  # the last write before the end is a short one
        self._room -= written
        return written


@pytest.mark.parametrize("code", sorted(verified_file.FULL))
def test_a_full_disk_is_one_sentence_and_gives_its_space_back(server, place, monkeypatch, code):
    fdopen = os.fdopen
    error = OSError(code, os.strerror(code))
    monkeypatch.setattr(part_file.os, "fdopen", lambda *a, **k: FullDisk(fdopen(*a, **k), 100_000, error))
    with pytest.raises(InputError, match=r"is full\. Free some space") as caught:
        download(server.address, place, len(CONTENT), SHA256, retries=Retry(1))
    assert str(place.parent) in str(caught.value)
    assert names(place) == []
    assert len(server.asked) == 1


def test_what_is_there_already_needs_no_space(fetch, place, monkeypatch):
    leave(place, CONTENT[:250_000])
    monkeypatch.setattr(verified_file.shutil, "disk_usage", lambda _: SimpleNamespace(free=50_000))
    fetch()


def test_a_folder_that_can_not_be_is_one_sentence(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"could not be written.*EXEMPLAR_MODELS"):
        download(server.address, tmp_path / "file" / "model.pth", len(CONTENT), SHA256)


def test_two_downloads_of_one_file_do_not_meet(server, place, fetch):
    with PartFile(place), pytest.raises(InputError, match="by another program"):
        download(server.address, place, len(CONTENT), SHA256)
    assert server.asked == []
    fetch()  # afterwards it works


# Certificates


@pytest.fixture
def certificate(weights_server, tmp_path):
    """The server speaks https with a certificate that it has made itself; gives that file."""
    key, made = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    files = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files += ["-keyout", str(key), "-out", str(made)]
    subprocess.run([*command, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    weights_server.socket = context.wrap_socket(weights_server.socket, server_side=True)
    weights_server.content = CONTENT
    return made


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
@pytest.mark.parametrize("known", [True, False])
def test_a_server_has_to_prove_its_name_to_the_certificates_of_the_system(
    place, weights_server, certificate, monkeypatch, known
):
    address = weights_server.address.replace("http:", "https:")
    if known:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        download(address, place, len(CONTENT), SHA256, retries=Retry(0))
        assert place.read_bytes() == CONTENT
        return
    with pytest.raises(InputError, match=r"certificate of 127\.0\.0\.1 could not be verified.*SSL_CERT_FILE"):
        download(address, place, len(CONTENT), SHA256, retries=Retry(0))
    assert weights_server.asked == []
