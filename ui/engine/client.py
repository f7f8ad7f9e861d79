"""Runs jobs on the engine: started when needed, kept warm between jobs, replaced when it dies.

No Qt here: a job is driven from the thread of a ``QgsTask``, with plain pipes.
"""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path
from typing import Any, Callable

from ...core import protocol
from ..errors import EngineError
from ..translation import tr
from .process import POLL_SECONDS, STOP_SECONDS, EngineProcess

START_SECONDS = 180.0  # importing torch from a cold, slow disk takes minutes, not seconds
CANCEL_SECONDS = 5.0  # between two batches the engine looks; after that it is stuck and is killed
_LAST_WORDS = ("cancelled", "result", "error")  # about a job


class EngineClient:
    """Starts the engine when needed, keeps it warm between jobs and runs one job at a time.

    Parameters
    ----------
    root : Path
        The plugin's folder, in which the engine's code is.
    find_python : callable
        Gives the engine's Python or raises ``EngineError``; asked at each start.
    """

    def __init__(self, root: Path, find_python: Callable[[], Path]) -> None:
        self._root = root.resolve()
        self._find_python = find_python
        self._process: EngineProcess | None = None
        self._turn = threading.Lock()  # held by the thread whose job runs
        self._closed = False
        self._job_numbers = itertools.count(1)

    @property
    def pid(self) -> int | None:
        """The engine's process id, None while there is no engine."""
        process = self._process
        return process.pid if process and process.alive else None

    def hello(self, cancelled: Callable[[], bool]) -> dict[str, Any] | None:
        """Start the engine where it isn't running and return what it said of itself.

        Blocks, so not for the main thread. None when cancelled; :class:`EngineError` when it can't start.
        """
        if not self._take_turn(cancelled):
            return None
        try:
            process = self._running(cancelled)
            return process.hello if process else None
        finally:
            self._turn.release()

    def detect(
        self,
        request: protocol.DetectRequest,
        on_progress: Callable[[float, str], None],
        cancelled: Callable[[], bool],
    ) -> dict[str, Any] | None:
        """Run one detection and return the engine's ``result`` message.

        Blocks, so not for the main thread. None when cancelled; :class:`EngineError` when it failed.
        """
        return self._run("detect", request.to_dict(), on_progress, cancelled)

    def evaluate(
        self, request: protocol.EvaluateRequest, cancelled: Callable[[], bool]
    ) -> dict[str, Any] | None:
        """Compare two files and return the figures; blocks and fails as :meth:`detect` does."""
        result = self._run("evaluate", request.to_dict(), lambda fraction, message: None, cancelled)
        return None if result is None else result["figures"]

    def download(
        self,
        request: protocol.DownloadRequest,
        on_progress: Callable[[float, str], None],
        cancelled: Callable[[], bool],
    ) -> dict[str, Any] | None:
        """Have the engine fetch a model's weights, while another job may run.

        Blocks and fails as :meth:`detect` does. Where the engine is ended for another job's sake, the
        download goes on in the next one.
        """
        while not (cancelled() or self._closed):
            if request.file is None:
                self._drop_old_proxy()
            process = self._process
            if process is None or not process.alive or process.hello is None:
                if self.hello(cancelled) is None:
                    continue
                process = self._process
            result = self._follow_side_job(process, request, on_progress, cancelled) if process else None
            if result is not None:
                return result
        return None

    def _drop_old_proxy(self) -> None:
        """End an idle engine that has another proxy than QGIS: it learns of one at its start only.

        So a proxy that was corrected after a failed download counts for the next one. An engine with a
        job is left alone; whoever waits for that would not see why.
        """
        process = self._process
        if process is None or not process.alive or process.has_side_jobs or not process.proxy_is_old:
            return
        if self._turn.acquire(blocking=False):
            try:
                if process is self._process:
                    self.stop()
            finally:
                self._turn.release()

    def _follow_side_job(
        self,
        process: EngineProcess,
        request: protocol.DownloadRequest,
        on_progress: Callable[[float, str], None],
        cancelled: Callable[[], bool],
    ) -> dict[str, Any] | None:
        job = f"job-{next(self._job_numbers)}"
        process.add_side_job(job)
        try:
            process.send("download", job=job, request=request.to_dict())
            result = self._follow(process, job, on_progress, cancelled)
            if result is None:
                process.send("cancel", job=job)  # it ends by itself; nobody has to wait for that
            return result
        finally:
            process.remove_side_job(job)

    def edges(
        self,
        request: protocol.EdgesRequest,
        on_progress: Callable[[float, str], None],
        cancelled: Callable[[], bool],
    ) -> dict[str, Any] | None:
        """Find edges and return the engine's ``result`` message; blocks and fails as :meth:`detect` does."""
        return self._run("edges", request.to_dict(), on_progress, cancelled)

    def _run(
        self,
        kind: str,
        request: dict[str, Any],
        on_progress: Callable[[float, str], None],
        cancelled: Callable[[], bool],
    ) -> dict[str, Any] | None:
        """Run one job of a kind, when it is its turn."""
        if not self._take_turn(cancelled):
            return None
        kept = False  # the turn goes on after we have returned
        try:
            process = self._running(cancelled)
            if process is None:
                return None
            job = f"job-{next(self._job_numbers)}"
            process.send(kind, job=job, request=request)
            result = self._follow(process, job, on_progress, cancelled)
            if result is None:
                # Stopping takes the engine seconds. Only the next job has to wait for that: a task that
                # waited would stand in the way of closing QGIS.
                kept = True
                threading.Thread(target=self._wind_down, args=(process, job), daemon=True).start()
            return result
        finally:
            if not kept:
                self._turn.release()

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End the engine; the next job starts a new one. A job under way ends as cancelled."""
        process, self._process = self._process, None
        if process:
            process.stop(seconds)

    def close(self, seconds: float = STOP_SECONDS) -> None:
        """End the engine for good."""
        self._closed = True
        self.stop(seconds)

    def _take_turn(self, cancelled: Callable[[], bool]) -> bool:
        while not self._turn.acquire(timeout=POLL_SECONDS):
            if cancelled():
                return False
        return True

    def _running(self, cancelled: Callable[[], bool]) -> EngineProcess | None:
        """Return the engine, started and with its ``hello`` read; None when cancelled meanwhile."""
        if self._closed or cancelled():
            return None
        process = self._process
        if process is None or not process.alive:
            process = self._process = self._start()
        deadline = time.monotonic() + START_SECONDS
        while process.hello is None:
            if cancelled() or process.stopped:
                return None  # it goes on starting; the next job finds it warm
            if time.monotonic() > deadline:
                process.kill()
                raise EngineError(
                    tr("The engine did not start within {n} s.").format(n=int(START_SECONDS)),
                    process.stderr(),
                )
            try:
                message = process.receive()
            except EngineError:
                if process.stopped:
                    return None
                raise
            if message and message["type"] == "hello":
                self._check(message)
                process.hello = message
        return process

    def _start(self) -> EngineProcess:
        python = self._find_python()
        try:
            process = EngineProcess(python, self._root)
        except OSError as error:
            raise EngineError(
                tr("The engine's Python could not be started: {path} ({reason}).").format(
                    path=python, reason=error.strerror or error
                ),
                user_fault=True,
            ) from error
        if self._closed:  # closed while it was being started: it must not outlive the plugin
            process.kill()
        return process

    def _check(self, hello: dict[str, Any]) -> None:
        if hello.get("protocol") != protocol.PROTOCOL:
            self.stop()
            raise EngineError(
                tr(
                    "The engine speaks another protocol ({theirs}) than the plugin ({ours}): "
                    "restart QGIS to finish the plugin's upgrade."
                ).format(theirs=hello.get("protocol"), ours=protocol.PROTOCOL),
                user_fault=True,
            )

    def _follow(
        self,
        process: EngineProcess,
        job: str,
        on_progress: Callable[[float, str], None],
        cancelled: Callable[[], bool],
    ) -> dict[str, Any] | None:
        """Listen until the job has ended or is no longer wanted."""
        while not cancelled():
            try:
                message = process.receive(job)
            except EngineError:
                if process.stopped:
                    return None
                raise
            if not message or message.get("job") != job:
                continue
            kind = message["type"]
            if kind == "progress":
                on_progress(float(message.get("fraction", 0.0)), str(message.get("message", "")))
            elif kind == "result":
                return message
            elif kind == "error":
                raise EngineError(
                    str(message.get("message", "")),
                    str(message.get("details", "")),
                    bool(message.get("user_fault", False)),
                )
        return None

    def _wind_down(self, process: EngineProcess, job: str) -> None:
        """Have the engine stop a job; kill it if it doesn't. Then it is the next job's turn."""
        try:
            process.send("cancel", job=job)
            deadline = time.monotonic() + CANCEL_SECONDS
            while time.monotonic() < deadline:
                try:
                    message = process.receive()
                except EngineError:
                    return  # it is gone
                if message and message.get("job") == job and message["type"] in _LAST_WORDS:
                    return
            process.kill()
        finally:
            self._turn.release()
