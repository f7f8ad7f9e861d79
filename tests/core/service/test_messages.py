"""Whatever is sent to the engine gets an answer; a stream that is closed gets none, and no traceback."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import protocol
from core.service import engine as engine_module
from core.service.progress import write_progress

ROOT = Path(__file__).resolve().parents[3]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
KINDS = st.sampled_from(["detect", "evaluate", "edges", "download"])


@settings(deadline=None)  # the first one loads what a download needs
@given(KINDS, anything.filter(lambda job: job is not None), anything)
def test_any_request_that_is_none_is_refused_as_the_users(kind, job, request):
    replies = io.BytesIO()
    engine_module.Engine(replies).run_job({"type": kind, "job": job, "request": request})
    (line,) = replies.getvalue().splitlines()
    answer = protocol.decode(line)
    assert answer["type"] == "error" and answer["user_fault"] is True and answer["details"] == ""


@given(st.binary() | anything.map(lambda message: json.dumps(message).encode()) | st.builds(
    lambda kind, fields: json.dumps({**fields, "type": kind}).encode(),
    st.text().filter(lambda kind: kind not in engine_module.KINDS),
    st.dictionaries(st.text(), anything, max_size=3),
))  # fmt: skip
def test_any_line_that_is_no_message_gets_one_answer(line):
    replies = io.BytesIO()
    assert engine_module.Engine(replies).sort(line)
    (reply,) = replies.getvalue().splitlines()
    answer = protocol.decode(reply)
    assert answer["type"] == "error" and answer["message"].startswith("Not understood")


@pytest.mark.parametrize("kind", ["detect", "evaluate", "edges", "download", "cancel"])
@pytest.mark.parametrize("fields", [{}, {"job": None}])
def test_a_message_without_a_job_is_answered(kind, fields):
    replies = io.BytesIO()
    assert engine_module.Engine(replies).sort(protocol.encode(kind, request={}, **fields))
    answer = protocol.decode(replies.getvalue())
    assert answer["job"] is None and "has no job" in answer["message"]


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
@pytest.mark.parametrize(
    "command", ["strategies", "models list", "serve", "detect", "evaluate --truth a --detections b"]
)
def test_a_standard_stream_that_is_closed_gives_no_traceback(closed, command):
    if os.name == "nt":
        pytest.skip("a shell of another kind")
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$1" -m core {command} {closed}', "sh", sys.executable],
        cwd=ROOT, capture_output=True, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert b"Traceback" not in done.stderr + done.stdout and b"Error" not in done.stderr
    assert done.returncode == (2 if command.startswith(("detect", "evaluate")) else 0)


@pytest.mark.parametrize("kind", ["text", "json"])
def test_a_run_goes_on_when_nobody_reads_its_progress(kind, monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w", buffering=1)
    monkeypatch.setattr(sys, "stderr", stream)
    write_progress(kind, 0.5, "halfway")
    monkeypatch.undo()
    with pytest.raises(BrokenPipeError):  # so that the pipe is one that nobody reads
        stream.close()


def test_answers_that_nobody_reads_end_the_jobs_without_an_error():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as replies:
        engine = engine_module.Engine(replies)
        engine.run_job({"type": "detect", "job": "j", "request": {}})
        assert engine._closing.is_set() and engine._jobs.get_nowait() is None
