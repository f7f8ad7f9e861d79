"""Proxies on the loopback that make no tunnel to the server: each answer is told as what it is."""

import http.server
import threading

import pytest
from urllib3.util import Retry

from core.errors import InputError
from core.weights.fetch import download


def names(place):
    """What lies in the folder, but for the lock, which stays."""
    return [path.name for path in place.parent.iterdir() if path.suffix != ".lock"]


@pytest.fixture
def place(tmp_path):
    return tmp_path / "models" / "model.pth"


SIZE = 300_000


class Proxy(http.server.BaseHTTPRequestHandler):
    """Refuses to make a tunnel, with the answer that the server holds."""

    def do_CONNECT(self):
        self.server.asked.append(self.path)
        self.send_response(*self.server.answer)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def proxy(weights_server, monkeypatch):
    """A proxy on the loopback that https goes through."""
    server = http.server.HTTPServer(("127.0.0.1", 0), Proxy)
    server.asked = []
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.server_port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            (407, "Proxy Authentication Required"),
            r"407 Proxy Auth.* for models\.invalid\. Check the proxy's name",
        ),
        ((403, "Forbidden"), r"The proxy answered 403 Forbidden when .* try another network"),
        ((404, ""), r"The proxy answered 404 when"),
    ],
)
def test_a_proxy_that_refuses_is_told_at_once(proxy, place, answer, sentence):
    proxy.answer = answer
    with pytest.raises(InputError, match=sentence) as caught:
        download("https://models.invalid/model.pth", place, SIZE, "0" * 64, retries=Retry(2))
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    assert proxy.asked == ["models.invalid:443"]
    assert names(place) == []


@pytest.mark.parametrize("answer", [(503, "Service Unavailable"), (429, "Too Many Requests")])
def test_a_proxy_in_trouble_is_asked_again(proxy, place, answer):
    proxy.answer = answer
    with pytest.raises(InputError, match=rf"could not be reached \(.*{answer[0]}"):
        download("https://models.invalid/model.pth", place, SIZE, "0" * 64, retries=Retry(1))
    assert len(proxy.asked) == 2
