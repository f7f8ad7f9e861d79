"""Runs one engine process: its pipes, its two reader threads, its end."""

from __future__ import annotations

import collections
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from ...core import protocol
from ..errors import EngineError
from . import environment, proxy
from .ending import LAUNCH, VERSION, describe_end

STOP_SECONDS = 2.0
POLL_SECONDS = 0.05
_END = None  # in the queue: the engine closed its output


class EngineProcess:
    """A running engine with its two reader threads."""

    def __init__(self, python: Path, root: Path) -> None:
        self.python = python
        self._root = root
        self._version = ""  # the line in which its Python tells its version
        self.hello: dict[str, Any] | None = None
        self.stopped = False  # ended by us, so that its end is no news
        self._proxy = proxy.variables()
        self._messages: queue.Queue = queue.Queue()
        self._side_jobs: dict[str, queue.Queue] = {}  # of the jobs that run beside the one whose turn it is
        self._stderr: collections.deque[str] = collections.deque(maxlen=200)
        self._write = threading.Lock()
        # No shell, a full path, and no word of it from a project or a file.
        self._popen = subprocess.Popen(  # nosec B603
            [str(python), "-I", "-c", LAUNCH.format(root=str(root)), "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=proxy.with_proxy(environment.clean_environment(), self._proxy),
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

    @property
    def proxy_is_old(self) -> bool:
        """True where QGIS's proxy has changed since the process was started."""
        return self._proxy != proxy.variables()

    @property
    def has_side_jobs(self) -> bool:
        """True while jobs run beside the one whose turn it is."""
        return bool(self._side_jobs)

    def _read_messages(self) -> None:
        with open(self._popen.stdout.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                try:
                    message = protocol.decode(line)
                    self._side_jobs.get(str(message.get("job")), self._messages).put(message)
                except ValueError:
                    self._stderr.append(line.decode("utf-8", "replace").rstrip())
        for box in (self._messages, *list(self._side_jobs.values())):
            box.put(_END)

    def _drain_stderr(self) -> None:
        # Without a reader the engine would block once the pipe is full.
        with open(self._popen.stderr.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                text = line.decode("utf-8", "replace").rstrip()
                if not self._version and VERSION.match(text):
                    self._version = text
                self._stderr.append(text)

    def send(self, kind: str, **fields: Any) -> None:
        """Write one message; an engine that is gone is noticed by :meth:`receive`."""
        with self._write:
            try:
                self._popen.stdin.write(protocol.encode(kind, **fields))
            except (OSError, ValueError):  # broken pipe; closed file
                return

    def add_side_job(self, job: str) -> None:
        """Keep a job's messages apart: it runs beside the one whose turn it is."""
        self._side_jobs[job] = queue.Queue()

    def remove_side_job(self, job: str) -> None:
        """Drop the messages of such a job from now on."""
        self._side_jobs.pop(job, None)

    def receive(self, job: str | None = None) -> dict[str, Any] | None:
        """Return the next message, None if there is none yet; :class:`EngineError` if the engine is gone.

        Parameters
        ----------
        job : str, optional
            A side job; by default all other jobs.
        """
        box = self._side_jobs.get(job, self._messages)
        try:
            message = box.get(timeout=POLL_SECONDS)
        except queue.Empty:
            if box is self._messages or self._readers[0].is_alive() or not box.empty():
                return None
            message = _END  # it had ended before anyone listened
        if message is _END:
            box.put(_END)  # for whoever asks next
            raise self._death()
        return message

    def _death(self) -> EngineError:
        try:
            code = self._popen.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:  # it closed its output and lives on: of no use to us
            self.kill()
            code = None
        self._join_readers()
        greeted = self.hello is not None
        return describe_end(code, self.stderr(), self.python, self._root, greeted, self._version)

    def stderr(self) -> str:
        """Return the last lines that the engine wrote to standard error."""
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

    def _join_readers(self) -> None:
        """Let them read what is left; one that hangs is not waited for."""
        for reader in self._readers:
            if reader is not threading.current_thread():
                reader.join(timeout=0.5)

    def _close_pipes(self) -> None:
        """Give the pipes back once their readers have seen the end."""
        self._join_readers()
        for reader, pipe in zip(self._readers, (self._popen.stdout, self._popen.stderr)):
            if not reader.is_alive():
                pipe.close()
