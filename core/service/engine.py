"""The engine: serves jobs over JSON lines on standard input and output.

See :mod:`core.protocol` for the messages. One job runs at a time, in the main
thread; a second thread reads standard input, so that a cancel is seen between
two batches. The network stays loaded between jobs. Downloads, which wait more
than they work, have threads of their own beside the job that runs.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
import traceback
from typing import Any, BinaryIO

from core import __version__, protocol, runtime
from core.errors import OUT_OF_MEMORY, CancelledError, ExemplarError, is_out_of_memory

JOBS = ("detect", "evaluate", "edges", "download")  # messages with a request
KINDS = (*JOBS, "cancel", "shutdown")
GRACE_SECONDS = 3.0  # between the end of standard input and the end of the process


def _private_stdout() -> BinaryIO:
    """Keep standard output for the protocol alone; point descriptor 1 at standard error.

    Done before torch is imported, so that no library's print can corrupt a message.
    """
    private = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return os.fdopen(private, "wb", buffering=0)


def _private_stdin() -> BinaryIO:
    """Keep standard input for the protocol alone; point descriptor 0 at nothing.

    On Windows a library that looks at descriptor 0 while it is loaded, as numpy's and
    scipy's do, waits until a read of it in another thread is over: for good.
    """
    private = os.dup(sys.stdin.fileno())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    return os.fdopen(private, "rb")


class Engine:
    """Runs jobs that a reader thread puts into its queue."""

    def __init__(self, replies: BinaryIO):
        self._replies = replies
        self._lock = threading.Lock()
        self._jobs: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._cancelled: set[str] = set()
        self._segmenters: dict[tuple, Any] = {}
        self._cache: Any = None
        self._closing = threading.Event()

    def send(self, kind: str, **fields: Any) -> None:
        with self._lock:
            try:
                self._replies.write(protocol.encode(kind, **fields))
            except OSError:  # who read the answers has gone: nobody wants the jobs any longer
                self._closing.set()
                self._jobs.put(None)

    def read(self, requests: BinaryIO) -> None:
        """Sort incoming messages until the other side closes; then end the process."""
        for line in requests:
            if not self.sort(line):
                break
        # Whoever asked is gone or wants an end. A job that is being written may finish or
        # clean up; one that goes on computing is cut off: an orphan would only burn the processor.
        self._closing.set()
        self._jobs.put(None)
        time.sleep(GRACE_SECONDS)
        os._exit(0)

    def sort(self, line: bytes) -> bool:
        """Put a message where it belongs, or answer that it is none; False where it asks for the end."""
        try:
            message = protocol.decode(line)
        except (ValueError, RecursionError) as error:
            self._not_understood(None, str(error))
            return True
        kind, job = message["type"], message.get("job")
        if kind == "shutdown":
            return False
        if kind not in (*JOBS, "cancel"):
            self._not_understood(job, f"there is no message {kind[:40]!r}; there are {', '.join(KINDS)}")
        elif job is None:
            self._not_understood(job, f"the message {kind!r} has no job, the name that its answers bear")
        elif kind == "cancel":
            self._cancelled.add(str(job))  # as text: a name of another kind must not end this thread
        elif kind == "download":
            threading.Thread(target=self.run_job, args=(message,), daemon=True).start()
        else:
            self._jobs.put(message)
        return True

    def _not_understood(self, job: Any, reason: str) -> None:
        self.send("error", job=job, message=f"Not understood: {reason}.", user_fault=False, details="")

    def run(self) -> None:
        """Greet, then run jobs until the process ends."""
        from core.pipeline.cache import code_digest

        code_digest()  # of the code that runs, not of what an update may put in its place later
        self.send("hello", **greeting())
        while (message := self._jobs.get()) is not None:
            self.run_job(message)

    def run_job(self, message: dict[str, Any]) -> None:
        """Run one job and say how it ended, whatever happens."""
        job, given = message.get("job"), message.get("request")
        run = {
            "detect": self._detect,
            "evaluate": self._evaluate,
            "edges": self._edges,
            "download": self._download,
        }[message["type"]]
        try:
            run(job, given)
        except CancelledError:
            self.send("cancelled", job=job)
        except ExemplarError as error:
            self.send("error", job=job, message=str(error), user_fault=True, details="")
        except Exception as error:  # noqa: BLE001  the engine must answer and live on
            failed = f"The engine failed: {type(error).__name__}: {error}."
            self._fail(job, OUT_OF_MEMORY if is_out_of_memory(error) else failed)
        finally:
            self._cancelled.discard(str(job))
            runtime.give_memory_back()

    def _fail(self, job: str, message: str) -> None:
        self.send("error", job=job, message=message, user_fault=False, details=traceback.format_exc())

    def _evaluate(self, job: str, given: Any) -> None:
        from core.metrics import evaluate_files

        self.send("result", job=job, figures=evaluate_files(protocol.EvaluateRequest.from_dict(given)))

    def _detect(self, job: str, given: Any) -> None:
        from core.pipeline.cache import users_cache
        from core.pipeline.detect import detect

        request = protocol.DetectRequest.from_dict(given)
        self._cache = self._cache or users_cache()
        summary = detect(
            request, segmenter=self._segmenter(job, request), cache=self._cache, **self._ears(job)
        )
        self.send(
            "result",
            job=job,
            output=summary.output,
            count=summary.count,
            seconds=summary.seconds,
            resolution=summary.resolution,
            min_score=summary.min_score,
        )

    def _edges(self, job: str, given: Any) -> None:
        from core.pipeline.edges import find_edges

        request = protocol.EdgesRequest.from_dict(given)
        summary = find_edges(request, segmenter=self._segmenter(job, request), **self._ears(job))
        self.send(
            "result",
            job=job,
            output=summary.output,
            lines=summary.lines,
            count=summary.count,
            seconds=summary.seconds,
            resolution=summary.resolution,
        )

    def _download(self, job: str, given: Any) -> None:
        from core.weights.catalogue import download_model, import_model

        request = protocol.DownloadRequest.from_dict(given)
        if request.file is None:
            path = download_model(request.model, **self._ears(job))
        else:
            path = import_model(request.model, request.file, **self._ears(job))
        self.send("result", job=job, model=request.model, file=str(path))

    def _ears(self, job: str) -> dict[str, Any]:
        """How a job tells how far it is, and hears that it is no longer wanted."""
        return {
            "progress": lambda fraction, message: self.send(
                "progress", job=job, fraction=fraction, message=message
            ),
            "cancelled": lambda: self._closing.is_set() or str(job) in self._cancelled,
        }

    def _segmenter(self, job: str, request: protocol.DetectRequest | protocol.EdgesRequest) -> Any:
        """The network of a request, kept from one job to the next; only one is kept."""
        from core.sam.segmenter import Segmenter
        from core.weights.catalogue import weights_file

        asked = request.network()
        # before it is read: a file that is replaced meanwhile is another one to the next job
        status = weights_file(request.model, request.checkpoint).stat()
        key = (*asked, status.st_size, status.st_mtime_ns)
        if key not in self._segmenters:
            self.send("progress", job=job, fraction=0.0, message="loading the model")
            self._segmenters.clear()  # first: the two together may be more than there is memory for
            runtime.give_memory_back()
            self._segmenters[key] = Segmenter.load(*asked)
        return self._segmenters[key]


def greeting() -> dict[str, Any]:
    """What ``hello`` tells, so that the user interface needs no copy of it.

    Whatever a job needs is imported here: a library that is missing is found out at the start.
    """
    from core import metrics  # noqa: F401
    from core.canvas.prompts import DEFAULT, STRATEGIES
    from core.sam.device import choose_device
    from core.targets import TARGETS
    from core.weights.catalogue import CATALOGUE, EMBEDDED

    return {
        "protocol": protocol.PROTOCOL,
        "version": __version__,
        "device": choose_device("auto").type,
        "strategies": [_entry(strategy, DEFAULT) for strategy in STRATEGIES.values()],
        "targets": [_entry(target, "building") for target in TARGETS.values()],
        "models": [_entry(model, EMBEDDED.name) | model.describe() for model in CATALOGUE.values()],
    }


def _entry(listed: Any, default: str) -> dict[str, Any]:
    return {"name": listed.name, "title": listed.title, "default": listed.name == default}


def serve() -> None:
    """Serve until standard input closes."""
    replies, asked = _private_stdout(), _private_stdin()
    engine = Engine(replies)
    threading.Thread(target=engine.read, args=(asked,), daemon=True).start()
    engine.run()
