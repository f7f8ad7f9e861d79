"""One answer of a web server: asked safely, fetched by a thread, its failures told in the user's words."""

from __future__ import annotations

import queue
import re
import ssl
import threading
from collections.abc import Generator
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import IncompleteRead

from core.errors import CancelledError, InputError
from core.weights.verified_file import Cancelled

CHUNK = 1 << 18  # bytes
SILENCE_SECONDS = 30.0  # without a byte from the server; then the connection counts as broken
POLL_SECONDS = 0.1
THIS_COMPUTER = {"127.0.0.1", "::1", "localhost"}
TEMPORARY = {408, 425, 429, 500, 502, 503, 504}  # answers that may differ a little later
PROXY_WANTS_A_NAME = "Check the proxy's name and password."
CANCELLED = "The download was cancelled; what has arrived is kept, and the next one goes on from there."


class BrokenError(Exception):
    """An attempt failed; another one may not, after ``wait`` seconds."""

    def __init__(self, reason: str, wait: float = 0.0):
        super().__init__(reason)
        self.wait = wait


def host_of(address: str) -> str:
    """The server's name, or the address where it has none."""
    return urlsplit(address).hostname or address


def is_safe(address: str) -> bool:
    """Whether nobody on the way sees what is asked for, or puts something else in its place."""
    parts = urlsplit(address)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in THIS_COMPUTER)


class SafeAdapter(HTTPAdapter):
    """Asks safe addresses only, and after one of https no other; knows the system's certificates, too."""

    _before = ""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send a request, the first or one that a server led on to; ``InputError`` where it may not be."""
        address = request.url or ""
        leaves_https = urlsplit(self._before).scheme == "https" != urlsplit(address).scheme
        if leaves_https or not is_safe(address):
            raise InputError(
                f"{host_of(self._before)} leads on to {address}, which is no safe address, so nothing was "
                "taken. Try again later or on another network."
            )
        self._before = address
        return super().send(request, *args, **options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the connections' pool with the system's certificates; requests adds its own."""
        super().init_poolmanager(*args, ssl_context=ssl.create_default_context(), **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Likewise, of connections through a proxy."""
        return super().proxy_manager_for(proxy, ssl_context=ssl.create_default_context(), **options)


def answer(address: str, offset: int, cancelled: Cancelled) -> Generator[Any, None, None]:
    """Give a server's response, then its bytes from an offset on, and raise what went wrong.

    A thread fetches them, so that a cancel is seen at once, even while the server is silent.
    """
    box: queue.Queue[Any] = queue.Queue(maxsize=8)
    left = threading.Event()

    def put(item: object) -> None:
        while not left.is_set():
            try:
                box.put(item, timeout=POLL_SECONDS)
                break
            except queue.Full:
                continue

    def fetch() -> None:
        headers = {"User-Agent": "Exemplar", "Accept": "*/*", "Accept-Encoding": "identity"}
        headers |= {"Range": f"bytes={offset}-"} if offset else {}
        try:
            with requests.Session() as session:
                adapter = SafeAdapter()  # one for both, so that it sees each step
                session.mount("https://", adapter)
                session.mount("http://", adapter)
                with session.get(address, headers=headers, stream=True, timeout=SILENCE_SECONDS) as response:
                    put(response)
                    while not left.is_set() and (chunk := response.raw.read1(CHUNK, decode_content=False)):
                        put(chunk)
            put(None)
        except Exception as error:  # noqa: BLE001  (the caller's thread tells it)
            put(error)

    threading.Thread(target=fetch, daemon=True).start()
    try:
        while True:
            if cancelled():
                raise CancelledError(CANCELLED)
            try:
                item = box.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if isinstance(item, Exception):
                raise item
            if item is None:
                return
            yield item
    finally:
        left.set()  # the thread ends at its next byte, or when the server's silence has lasted too long


def failure_of(error: Exception, address: str) -> Exception:
    """What an error of the network means: one that another attempt may mend, or one for the user."""
    reason: Any = error
    while (inner := _wrapped(reason)) is not None:
        reason = inner
    if isinstance(reason, ssl.SSLCertVerificationError):
        return InputError(
            f"The certificate of {host_of(address)} could not be verified ({reason.verify_message}). Where a "
            "company's proxy has its own, name the file of its certificates with SSL_CERT_FILE."
        )
    # What a proxy answers to CONNECT, which every address of https needs, is only in the error's text.
    tunnel = re.match(r"Tunnel connection failed: (4\d\d)\b", str(reason))
    if tunnel and int(tunnel[1]) not in TEMPORARY:
        advice = PROXY_WANTS_A_NAME if tunnel[1] == "407" else "Ask who runs it, or try another network."
        told = " ".join(str(reason).partition(": ")[2].split())
        return InputError(f"The proxy answered {told} when it was asked for {host_of(address)}. {advice}")
    if isinstance(reason, IncompleteRead):
        return BrokenError("the connection broke off")
    return BrokenError(str(getattr(reason, "strerror", None) or reason or type(reason).__name__))


def _wrapped(error: BaseException) -> BaseException | None:
    """The error that one of requests or urllib3 wraps, if any."""
    wrapped = (getattr(error, "reason", None), getattr(error, "original_error", None), error.__cause__)
    return next((each for each in (*wrapped, *error.args) if isinstance(each, BaseException)), None)
