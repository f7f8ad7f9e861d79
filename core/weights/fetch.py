"""Large files from the web: whole and verified in their place, or not there at all.

What has arrived waits beside its place as ``NAME.part``, so that a later attempt goes on from there.
"""

from __future__ import annotations

import re
import time
from contextlib import closing
from pathlib import Path

import requests
from urllib3.exceptions import HTTPError, MaxRetryError
from urllib3.util import Retry

from core.errors import CancelledError, InputError
from core.weights import https
from core.weights.https import CANCELLED, BrokenError, host_of
from core.weights.part_file import PartFile
from core.weights.verified_file import Cancelled, Progress, in_words

RETRIES = Retry(total=5, backoff_factor=1, backoff_max=16)
LONGEST_WAIT = 60.0  # seconds, whatever the server asks for


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
    retries: Retry = RETRIES,
) -> None:
    """Fetch a file whose size (bytes) and SHA-256 are known, going on from what an earlier attempt left.

    Parameters
    ----------
    address : str
        An address of ``https``; ``http`` of this computer alone. Proxies are the environment's.
    path : Path
        Where the file goes, with one move, once its size and hash are right.
    progress, cancelled : callable
        Told the share that has arrived, 0 to 1, and a message; asked ten times a second.
    retries : urllib3.util.Retry
        How many breaks in a row are made good, and after what waits. One that brought a
        hundredth of the file begins a new row.

    Raises
    ------
    InputError
        Where the server does not give the file, gives another one, or nothing can be written.
    CancelledError
        What has arrived is kept.
    """
    if not https.is_safe(address):
        raise InputError(f"{address} is no safe web address. One with https is needed.")
    with PartFile(path) as part:
        part.take_up(size, progress, cancelled)
        part.check_space(size)
        joined = part.length > 0
        joined |= _fill(part, address, size, progress, cancelled, retries)
        if part.sha256 != sha256 and joined:
            # Pieces of two versions may have met, or an earlier attempt left wrong bytes: once more, whole.
            part.restart()
            _fill(part, address, size, progress, cancelled, retries)
        if part.sha256 != sha256:
            found = part.sha256
            part.restart()
            raise InputError(
                f"{host_of(address)} sent another file than the published one (its SHA-256 is {found}, not "
                f"{sha256}), so it was thrown away. Try again later or on another network."
            )
        progress(1.0, f"{in_words(size)}, verified")
        part.put_in_place()


def _fill(
    part: PartFile, address: str, size: int, progress: Progress, cancelled: Cancelled, retries: Retry
) -> bool:
    """Fetch until the part is as long as the file; True if it was put together from several answers."""
    joined, ranges, left, most = False, True, retries, part.length
    while part.length < size:
        failure = BrokenError("the connection broke off")
        try:
            joined |= _receive(part, address, size, ranges, progress, cancelled)
        except _NoRangesError:
            ranges = False  # what has arrived stays until the server does give the file from its start
            continue
        except BrokenError as error:
            failure = error
        if part.length == size:
            break
        if part.length - most >= size / 100:
            left, most = retries, part.length
        try:
            left = left.increment("GET", address, error=failure)
        except MaxRetryError as error:
            broke_off = f"broke off after {in_words(part.length)} of {in_words(size)}"
            raise InputError(
                f"{host_of(address)} {broke_off if part.length else 'could not be reached'} ({failure}). "
                "Try again later: what has arrived is kept."
            ) from error
        progress(part.length / size, f"{in_words(part.length)} of {in_words(size)}; {failure}, trying again")
        _pause(max(left.get_backoff_time(), failure.wait), cancelled)
    return joined


def _receive(
    part: PartFile, address: str, size: int, ranges: bool, progress: Progress, cancelled: Cancelled
) -> bool:
    """Append one answer of the server to the part; True if there was something before it."""
    offset, told = part.length if ranges else 0, -1
    try:
        with closing(https.answer(address, offset, cancelled)) as answer:
            _check(next(answer), part, offset, address, size)
            joined = part.length > 0
            for chunk in answer:
                part.write(chunk[: size - part.length])
                if told != (told := 1000 * part.length // size):
                    progress(part.length / size, f"{in_words(part.length)} of {in_words(size)}")
                if part.length == size:
                    break
    except (OSError, HTTPError) as error:
        raise https.failure_of(error, address) from error
    return joined


def _check(response: requests.Response, part: PartFile, offset: int, address: str, size: int) -> None:
    """Refuse an answer that is another file; begin anew where a server gives all instead of the rest."""
    status, code = response.status_code, f"{response.status_code} {response.reason}"
    after, length = (response.headers.get(name, "") for name in ("Retry-After", "Content-Length"))
    announced = int(length) if length.isdigit() else size
    if status in https.TEMPORARY:
        wait = float(after) if after.isdigit() else 0.0
        raise BrokenError(f"it answered {code}", min(wait, LONGEST_WAIT))
    if status >= 400 and offset:
        raise _NoRangesError  # 416 says so, others mean it; without a range the answer is told
    if status >= 400:
        advice = https.PROXY_WANTS_A_NAME if status == 407 else "Try again later."
        raise InputError(f"{host_of(address)} answered {code} for {address}. {advice}")
    if status == 206 and offset:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not span or int(span[1]) != offset:
            raise _NoRangesError
        announced = size if span[2] == "*" else int(span[2])
    elif status != 200:
        raise BrokenError(f"it answered {code}")
    page = response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html"
    if announced != size or page:
        offer = "a web page" if page else f"{announced:,} bytes"
        raise InputError(
            f"{host_of(address)} offers {offer} where the published file has {size:,} bytes, so nothing was "
            f"taken. A network's sign-in page may stand in between: open {address} in a browser."
        )
    if status == 200 and part.length:
        part.restart()


def _pause(seconds: float, cancelled: Cancelled) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if cancelled():
            raise CancelledError(CANCELLED)
        time.sleep(min(https.POLL_SECONDS, left))
