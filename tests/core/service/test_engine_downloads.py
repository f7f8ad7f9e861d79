"""Downloads as jobs of the engine: beside other jobs, with progress, and cancelled at once."""

import hashlib
import queue
import threading

import numpy as np
import pytest

from core import protocol
from core.service.engine import Engine
from core.weights.catalogue import CATALOGUE, Model

CONTENT = np.random.default_rng(11).bytes(120_000)
PATIENCE = 60  # seconds, on a busy machine


class Replies:
    """The engine's standard output."""

    def __init__(self):
        self.lines = queue.Queue()

    def write(self, line):
        self.lines.put(protocol.decode(line))


class Talk:
    """An engine in this process. Nobody works through its queue: what answers has a thread of its own."""

    def __init__(self):
        self.replies, self.requests = Replies(), queue.Queue()
        self.engine = Engine(self.replies)
        lines = iter(self.requests.get, None)  # the end would end this process
        threading.Thread(target=self.engine.read, args=(lines,), daemon=True).start()

    def send(self, kind, **fields):
        self.requests.put(protocol.encode(kind, **fields))

    def answer(self, job):
        """A job's last words, and what it said before."""
        before = []
        while True:
            message = self.replies.lines.get(timeout=PATIENCE)
            assert message["job"] == job, message
            if message["type"] != "progress":
                return message, before
            before.append(message)


@pytest.fixture
def talk(tmp_path, monkeypatch, weights_server):
    weights_server.content = CONTENT
    monkeypatch.setenv("EXEMPLAR_MODELS", str(tmp_path / "models"))
    small = Model(
        "small",
        "A small one",
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        licence="MIT",
        memory=10**9,
        suits="any computer",
        address=weights_server.address,
        sources=("one", "two"),
    )
    monkeypatch.setitem(CATALOGUE, "small", small)
    return Talk()


def test_a_download_runs_beside_the_job_that_computes(talk, weights_server, tmp_path):
    talk.send("detect", job="waiting", request={})  # in the queue, which nobody works through
    talk.send("download", job="d", request={"model": "small"})
    answer, before = talk.answer("d")
    file = tmp_path / "models" / "model.pth"
    assert answer == {"type": "result", "job": "d", "model": "small", "file": str(file)}
    assert file.read_bytes() == CONTENT
    assert before and before[-1]["fraction"] == 1 and "verified" in before[-1]["message"]


def test_a_cancel_is_answered_while_the_server_is_silent(talk, weights_server, tmp_path):
    weights_server.script[:] = [{"silent": True}]
    talk.send("download", job="d", request={"model": "small"})
    talk.send("cancel", job="d")
    assert talk.answer("d") == ({"type": "cancelled", "job": "d"}, [])
    assert not (tmp_path / "models" / "model.pth").exists()
    weights_server.script[:] = [{}]
    talk.send("download", job="e", request={"model": "small"})
    assert talk.answer("e")[0]["type"] == "result"


def test_a_file_that_the_user_has_is_taken(talk, weights_server, tmp_path):
    (tmp_path / "mine.pth").write_bytes(CONTENT)
    talk.send("download", job="d", request={"model": "small", "file": str(tmp_path / "mine.pth")})
    assert talk.answer("d")[0]["file"] == str(tmp_path / "models" / "model.pth")
    assert weights_server.asked == []


@pytest.mark.parametrize(
    ("request_", "sentence", "users"),
    [
        ({"model": "small"}, "sent another file", True),
        ({"model": "small", "file": "/nowhere/x.pth"}, "There is no file", True),
        ({"model": "gpt"}, "There is no model 'gpt'", True),
        ({"wings": 2}, "unknown fields", True),
        (None, "no object", True),
        ({}, "fields missing", True),
    ],
)
def test_what_goes_wrong_is_one_sentence(talk, weights_server, request_, sentence, users):
    weights_server.script[:] = [{"content": bytes(len(CONTENT))}]
    talk.send("download", job="d", request=request_)
    error, _ = talk.answer("d")
    assert error["type"] == "error" and sentence in error["message"] and error["user_fault"] is users
