"""Starts the engine, talks to it, notices when it dies, and ends it.

No Qt here: a job is driven from the thread of a ``QgsTask``, with plain pipes and two reader threads.
"""

from __future__ import annotations

import collections
import itertools
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable

from ..core import protocol
from . import environment
from .texts import tr

START_SECONDS = 180.0  # importing torch from a cold, slow disk takes minutes, not seconds
CANCEL_SECONDS = 5.0  # between two batches the engine looks; after that it is stuck and is killed
STOP_SECONDS = 2.0
_POLL_SECONDS = 0.05
_END = None  # in the queue: the engine closed its output

# `-I` keeps QGIS's PYTHON* variables, the user's site-packages and the current folder out.
_LAUNCH = "import sys, runpy; sys.path.insert(0, {root!r}); runpy.run_module('core', run_name='__main__')"


class EngineError(Exception):
    """What went wrong, as one sentence for the user.

    Parameters
    ----------
    message : str
        The sentence.
    details : str
        A traceback or the engine's last output, for the log.
    user_fault : bool
        True where the user can mend it: a wrong polygon, a missing file, no environment.
    """

    def __init__(self, message: str, details: str = "", user_fault: bool = False) -> None:
        super().__init__(message)
        self.details = details
        self.user_fault = user_fault


class _Process:
    """One running engine with its two reader threads."""

    def __init__(self, python: Path, root: Path) -> None:
        self.python = python
        self.hello: dict[str, Any] | None = None
        self.stopped = False  # ended by us, so that its end is no news
        self._messages: queue.Queue = queue.Queue()
        self._stderr: collections.deque[str] = collections.deque(maxlen=200)
        self._write = threading.Lock()
        self._popen = subprocess.Popen(
            [str(python), "-I", "-c", _LAUNCH.format(root=str(root)), "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=environment.clean_environment(),
            # Any folder that exists; on Windows a process keeps its current folder from being removed.
            cwd=tempfile.gettempdir(),
            creationflags=subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0,
        )
        self._readers = [
            threading.Thread(target=target, name=f"exemplar-{target.__name__}", daemon=True)
            for target in (self._read_messages, self._drain_stderr)
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    def _read_messages(self) -> None:
        with open(self._popen.stdout.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                try:
                    self._messages.put(protocol.decode(line))
                except ValueError:
                    self._stderr.append(line.decode("utf-8", "replace").rstrip())
        self._messages.put(_END)

    def _drain_stderr(self) -> None:
        # Without a reader the engine would block once the pipe is full.
        with open(self._popen.stderr.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                self._stderr.append(line.decode("utf-8", "replace").rstrip())

    def send(self, kind: str, **fields: Any) -> None:
        """Write one message; an engine that is gone is noticed by :meth:`receive`."""
        with self._write:
            try:
                self._popen.stdin.write(protocol.encode(kind, **fields))
            except (OSError, ValueError):  # broken pipe; closed file
                return

    def receive(self) -> dict[str, Any] | None:
        """The next message, None if there is none yet; :class:`EngineError` if the engine is gone."""
        try:
            message = self._messages.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            return None
        if message is _END:
            self._messages.put(_END)  # for whoever asks next
            raise self._death()
        return message

    def _death(self) -> EngineError:
        try:
            code = self._popen.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:  # it closed its output and lives on: of no use to us
            self.kill()
            code = None
        for reader in self._readers:
            if reader is not threading.current_thread():
                reader.join(timeout=0.5)
        return EngineError(describe_exit(code, self.stderr(), self.python), self.stderr())

    def stderr(self) -> str:
        """The last lines that the engine wrote to standard error."""
        return "\n".join(list(self._stderr))

    def stop(self, seconds: float) -> None:
        """Ask the engine to end; kill it if it hasn't after ``seconds``."""
        self.stopped = True
        if self.alive:
            self.send("shutdown")
        with self._write:
            try:
                self._popen.stdin.close()
            except OSError:  # bytes that could not be flushed to an engine that is gone
                self.stopped = True
        try:
            self._popen.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        self._close_pipes()

    def kill(self) -> None:
        self.stopped = True
        self._popen.kill()
        self._popen.wait()
        self._close_pipes()

    def _close_pipes(self) -> None:
        """Give the pipes back once their readers have seen the end."""
        for reader, pipe in zip(self._readers, (self._popen.stdout, self._popen.stderr)):
            if reader is not threading.current_thread():
                reader.join(timeout=0.5)
            if not reader.is_alive():
                pipe.close()


def describe_exit(code: int | None, stderr: str, python: Path) -> str:
    """Say in one sentence how the engine ended.

    Parameters
    ----------
    code : int or None
        The exit status as ``subprocess`` gives it: negative for a signal.
    stderr : str
        The engine's last output.
    python : Path
        The interpreter it ran on.
    """
    missing = re.findall(r"^ModuleNotFoundError: No module named '([^']+)'", stderr, re.MULTILINE)
    if missing:
        return tr(
            "The engine's environment ({python}) lacks the library {name}: install what "
            "resources/engine-requirements.txt lists into it."
        ).format(python=python, name=missing[-1].split(".")[0])
    if code == -9:
        return tr(
            "The engine was killed, probably because memory ran out; run again on a smaller extent "
            "(it starts by itself)."
        )
    if code is None:
        return tr("The engine stopped answering and was ended; run again (it starts by itself).")
    how = tr("signal {n}").format(n=-code) if code < 0 else tr("exit code {n}").format(n=code)
    return tr("The engine ended unexpectedly ({how}); run again (it starts by itself).").format(how=how)


class EngineClient:
    """The plugin's one engine: started when needed, kept warm between jobs, one job at a time.

    Parameters
    ----------
    root : Path
        The plugin's folder, in which the engine's code is.
    find_python : callable
        Gives the engine's Python or raises ``EnvironmentMissingError``; asked at each start.
    """

    def __init__(self, root: Path, find_python: Callable[[], Path]) -> None:
        self._root = root.resolve()
        self._find_python = find_python
        self._process: _Process | None = None
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
        try:
            process = self._running(cancelled)
            return self._follow(process, kind, request, on_progress, cancelled) if process else None
        finally:
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
        while not self._turn.acquire(timeout=_POLL_SECONDS):
            if cancelled():
                return False
        return True

    def _running(self, cancelled: Callable[[], bool]) -> _Process | None:
        """The engine, started and greeted; None when cancelled meanwhile."""
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

    def _start(self) -> _Process:
        try:
            python = self._find_python()
        except environment.EnvironmentMissingError as error:
            raise EngineError(str(error), user_fault=True) from error
        try:
            process = _Process(python, self._root)
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
        process: _Process,
        asked: str,
        request: dict[str, Any],
        on_progress: Callable[[float, str], None],
        cancelled: Callable[[], bool],
    ) -> dict[str, Any] | None:
        job = f"job-{next(self._job_numbers)}"
        process.send(asked, job=job, request=request)
        deadline = None  # by when a cancelled job must have ended
        while True:
            if deadline is None and cancelled():
                process.send("cancel", job=job)
                deadline = time.monotonic() + CANCEL_SECONDS
            if deadline is not None and time.monotonic() > deadline:
                process.kill()
                return None
            try:
                message = process.receive()
            except EngineError:
                if process.stopped or deadline is not None:
                    return None
                raise
            if not message or message.get("job") != job:
                continue
            kind = message["type"]
            if kind == "progress" and deadline is None:
                on_progress(float(message.get("fraction", 0.0)), str(message.get("message", "")))
            elif kind in ("cancelled", "result", "error") and deadline is not None:
                return None  # whichever came first: the user no longer wants it
            elif kind == "cancelled":
                return None
            elif kind == "result":
                return message
            elif kind == "error":
                raise EngineError(
                    str(message.get("message", "")),
                    str(message.get("details", "")),
                    bool(message.get("user_fault", False)),
                )
