"""Large files from the web: whole and verified in their place, or not there at all.

The bytes are fetched by a thread that does nothing else; the caller's thread
writes, hashes, tells the progress and sees a cancel at once, even while a server
is silent. What has arrived waits beside its place as ``NAME.part``, so that a
later attempt goes on from there.
"""

from __future__ import annotations

import functools
import http.client
import queue
import re
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from core.errors import CancelledError, InputError
from core.weights.verified_file import Cancelled, PartFile, Progress, in_words

CHUNK = 1 << 18  # bytes
SILENCE_SECONDS = 30.0  # without a byte from the server; then the connection counts as broken
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before each further attempt
LONGEST_WAIT = 60.0  # seconds, whatever the server asks for
POLL_SECONDS = 0.1
THIS_COMPUTER = {"127.0.0.1", "::1", "localhost"}
TEMPORARY = {408, 425, 429, 500, 502, 503, 504}  # answers that may differ a little later
PROXY_WANTS_A_NAME = "Check the proxy's name and password."
CANCELLED = "The download was cancelled; what has arrived is kept, and the next one goes on from there."


class _TemporaryError(Exception):
    """An attempt failed; another one may not."""

    def __init__(self, reason: str, wait: float = 0.0):
        super().__init__(reason)
        self.wait = wait


class _NoRangesError(Exception):
    """The server does not give the rest of a file, only all of it."""


def download(
    address: str,
    path: Path,
    size: int,
    sha256: str,
    *,
    progress: Progress = lambda fraction, message: None,
    cancelled: Cancelled = lambda: False,
    waits: Sequence[float] = WAITS,
) -> None:
    """Fetch a file whose size and hash are known, going on from what an earlier attempt left.

    Proxies are those of the environment (``HTTPS_PROXY`` and its like) or of the system.

    Parameters
    ----------
    address : str
        An address of ``https``; ``http`` of this computer alone.
    path : Path
        Where the file goes, with one move, once its size and hash are right.
    size : int
        Its length in bytes.
    sha256 : str
        Its SHA-256, 64 hexadecimal digits.
    progress : callable
        Told the share that has arrived, 0 to 1, and a message.
    cancelled : callable
        Asked ten times a second.
    waits : sequence of float
        Seconds before each further attempt after a break. An attempt that brought a
        hundredth of the file starts the row anew.

    Raises
    ------
    InputError
        Where the server does not give the file, gives another one, or nothing can be written.
    CancelledError
        What has arrived is kept.
    """
    with PartFile(path) as part:
        part.take_up(size, progress, cancelled)
        part.check_space(size)
        joined = part.length > 0
        joined |= _fill(part, address, size, progress, cancelled, waits)
        if part.sha256 != sha256 and joined:
            # Pieces of two versions may have met, or an earlier attempt left wrong bytes: once more, whole.
            part.restart()
            _fill(part, address, size, progress, cancelled, waits)
        if part.sha256 != sha256:
            found = part.sha256
            part.discard()
            raise InputError(
                f"{_host(address)} sent another file than the published one (its SHA-256 is {found}, not "
                f"{sha256}), so it was thrown away. Try again later or on another network."
            )
        progress(1.0, f"{in_words(size)}, verified")
        part.put_in_place()


def _is_safe(address: str) -> bool:
    """Whether nobody on the way sees what is asked for, or puts something else in its place."""
    parts = urlsplit(address)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in THIS_COMPUTER)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a server that names another address only to a safe one, and from the web only into the web."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        """Return the request to follow with; ``InputError`` where it would leave https."""
        onward = urlsplit(newurl).scheme == "https" or urlsplit(req.full_url).scheme == "http"
        if not (onward and _is_safe(newurl)):
            raise InputError(
                f"{_host(req.full_url)} leads on to {newurl}, which is no safe address, so nothing was "
                "taken. Try again later or on another network."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Stream:
    """A server's answer as a thread fetches it: first the response, then its bytes."""

    def __init__(self, address: str, offset: int):
        headers = {"User-Agent": "Exemplar"} | ({"Range": f"bytes={offset}-"} if offset else {})
        self._request = urllib.request.Request(address, headers=headers)  # noqa: S310  (`_is_safe`)
        self._box: queue.Queue = queue.Queue(maxsize=8)
        self._left = threading.Event()
        threading.Thread(target=self._fetch, daemon=True).start()

    def _fetch(self) -> None:
        try:
            https = urllib.request.HTTPSHandler(context=_certificates())
            opener = urllib.request.build_opener(https, _SafeRedirects)
            with opener.open(self._request, timeout=SILENCE_SECONDS) as response:
                self._put(response)
                while not self._left.is_set() and (chunk := response.read1(CHUNK)):
                    self._put(chunk)
            self._put(None)
        except Exception as error:  # noqa: BLE001  (the caller's thread tells it)
            self._put(error)

    def _put(self, item: object) -> None:
        """Hand something over, unless nobody waits for it any more."""
        handed = False
        while not (handed or self._left.is_set()):
            try:
                self._box.put(item, timeout=POLL_SECONDS)
                handed = True
            except queue.Full:
                continue

    def next(self, cancelled: Cancelled) -> http.client.HTTPResponse | bytes | None:
        """The response, then chunks, then None; raises what the thread met."""
        while True:
            if cancelled():
                raise CancelledError(CANCELLED)
            try:
                item = self._box.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if isinstance(item, Exception):
                raise item
            return item

    def leave(self) -> None:
        """Let the thread end, at its next byte or when the server's silence has lasted too long."""
        self._left.set()


def _fill(part: PartFile, address: str, size: int, progress: Progress, cancelled: Cancelled, waits) -> bool:
    """Fetch until the part is as long as the file; True if it was put together from several answers."""
    if not _is_safe(address):
        raise InputError(f"{address} is no safe web address. One with https is needed.")
    joined, ranges, failures, most = False, True, 0, part.length
    while part.length < size:
        try:
            joined |= _receive(part, address, size, ranges, progress, cancelled)
            failure = _TemporaryError("the connection broke off")
        except _NoRangesError:
            ranges = False  # what has arrived stays until the server does give the file from its start
            continue
        except _TemporaryError as error:
            failure = error
        if part.length == size:
            break
        if part.length - most >= size / 100:
            failures, most = 0, part.length
        if failures == len(waits):
            broke_off = f"broke off after {in_words(part.length)} of {in_words(size)}"
            raise InputError(
                f"{_host(address)} {broke_off if part.length else 'could not be reached'} ({failure}). "
                "Try again later: what has arrived is kept."
            )
        progress(part.length / size, f"{in_words(part.length)} of {in_words(size)}; {failure}, trying again")
        _pause(max(waits[failures], failure.wait), cancelled)
        failures += 1
    return joined


def _receive(
    part: PartFile, address: str, size: int, ranges: bool, progress: Progress, cancelled: Cancelled
) -> bool:
    """Append one answer of the server to the part; True if there was something before it."""
    offset = part.length if ranges else 0
    stream = _Stream(address, offset)
    try:
        try:
            _check(stream.next(cancelled), part, offset, address, size)
            joined = part.length > 0
            told = -1
            while part.length < size and (chunk := stream.next(cancelled)):
                part.write(chunk[: size - part.length])
                if told != (told := 1000 * part.length // size):
                    progress(part.length / size, f"{in_words(part.length)} of {in_words(size)}")
        except urllib.error.HTTPError as error:
            raise _from_status(error, offset, address) from error
        except (OSError, http.client.HTTPException) as error:
            raise _from_network(error, address) from error
        return joined
    finally:
        stream.leave()


def _check(response: http.client.HTTPResponse, part: PartFile, offset: int, address: str, size: int) -> None:
    """Refuse an answer that is another file; begin anew where a server gives all instead of the rest."""
    if response.status == 206 and offset:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not span or int(span[1]) != offset:
            raise _NoRangesError
        announced = size if span[2] == "*" else int(span[2])
    elif response.status == 200:
        length = response.headers.get("Content-Length", "")
        announced = int(length) if length.isdigit() else size
    else:
        raise _TemporaryError(f"it answered {response.status} {response.reason}")
    page = response.headers.get_content_type() == "text/html"
    if announced != size or page:
        offer = "a web page" if page else f"{announced:,} bytes"
        raise InputError(
            f"{_host(address)} offers {offer} where the published file has {size:,} bytes, so nothing was "
            f"taken. A network's sign-in page may stand in between: open {address} in a browser."
        )
    if response.status == 200 and part.length:
        part.restart()


def _from_status(error: urllib.error.HTTPError, offset: int, address: str) -> Exception:
    with error:
        if error.code in TEMPORARY:
            after = error.headers.get("Retry-After", "") if error.headers else ""
            wait = min(float(after), LONGEST_WAIT) if after.isdigit() else 0.0
            return _TemporaryError(f"it answered {error.code} {error.reason}", wait)
        if offset:
            return _NoRangesError()  # 416 says so, others mean it; without a range the answer is told
        advice = PROXY_WANTS_A_NAME if error.code == 407 else "Try again later."
        return InputError(f"{_host(address)} answered {error.code} {error.reason} for {address}. {advice}")


def _from_network(error: Exception, address: str) -> Exception:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return InputError(
            f"The certificate of {_host(address)} could not be verified ({reason.verify_message}). Where a "
            "company's proxy has its own, name the file of its certificates with SSL_CERT_FILE."
        )
    # What a proxy answers to CONNECT, which every address of https needs, is only in the error's text.
    tunnel = re.match(r"Tunnel connection failed: (4\d\d)\b", str(reason))
    if tunnel and int(tunnel[1]) not in TEMPORARY:
        advice = PROXY_WANTS_A_NAME if tunnel[1] == "407" else "Ask who runs it, or try another network."
        answer = " ".join(str(reason).partition(": ")[2].split())
        return InputError(f"The proxy answered {answer} when it was asked for {_host(address)}. {advice}")
    return _TemporaryError(str(getattr(reason, "strerror", None) or reason or type(reason).__name__))


@functools.cache
def _certificates() -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:  # some Pythons, on macOS above all, bring none
        import certifi

        context.load_verify_locations(certifi.where())
    return context


def _pause(seconds: float, cancelled: Cancelled) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if cancelled():
            raise CancelledError(CANCELLED)
        time.sleep(min(POLL_SECONDS, max(end - time.monotonic(), 0)))


def _host(address: str) -> str:
    return urlsplit(address).hostname or address
