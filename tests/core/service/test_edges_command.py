"""``edges`` as it is asked for: on the command line and through the engine."""

import io
import json
import queue

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from core import protocol
from core.pipeline import edges
from core.protocol import EdgesRequest
from core.service.commands import main
from core.service.engine import Engine
from core.vectors.lines import COLUMNS


@pytest.fixture
def words(noisy_raster, embedded_checkpoint, tmp_path):
    """The command's words, with some changed."""
    (tmp_path / "out").mkdir()

    def say(**changes):
        given = {
            "raster": noisy_raster,
            "output": tmp_path / "out" / "edges.tif",
            "checkpoint": embedded_checkpoint,
            "device": "cpu",
            "progress": "none",
        } | changes
        return [
            "edges",
            *(w for k, v in given.items() for w in [f"--{k.replace('_', '-')}", *str(v).split("|")]),
        ]

    return say


def test_a_raster_and_its_lines(words, tmp_path, capsys):
    lines = tmp_path / "out" / "lines.geojson"
    extent = "500010|5399940|500050|5399990"  # 80 x 100 pixels
    changes = {"lines": lines, "extent": extent, "min_strength": 0.01, "progress": "json"}
    assert main(words(**changes)) == 0
    out, err = capsys.readouterr()
    told = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert told[0]["message"] == "loading the model" and told[-1] == {"fraction": 1.0, "message": "writing"}
    with rasterio.open(tmp_path / "out" / "edges.tif") as dataset:
        assert dataset.shape == (100, 80) and dataset.bounds == (500010, 5399940, 500050, 5399990)
        values = dataset.read(1)
    assert values.min() >= 0 and values.max() <= 1
    table = gpd.read_file(lines)
    assert list(table.columns) == [*COLUMNS, "geometry"]
    assert out.startswith("edges in ") and f" and {len(table)} lines in " in out
    assert {path.name for path in lines.parent.iterdir()} == {"edges.tif", "lines.geojson"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"raster": "/nowhere/absent.tif"}, "There is no file"),
        ({"output": "edges.jpg"}, "no known format"),
        ({"lines": "lines.dwg"}, "no known format"),
        ({"extent": "0|0|1|1"}, "outside the raster"),
        ({"resolution": "nan"}, "from 0.001"),
        ({"min_strength": 2}, "from 0 to 1"),
        ({"bands": "1|2"}, "one or three"),
        ({"model": "gpt"}, "no model"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(words, tmp_path, capsys, changes, says):
    assert main(words(**changes)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("exemplar: ") and says in err
    assert list((tmp_path / "out").iterdir()) == []


def test_a_request_survives_the_way_through_json():
    request = EdgesRequest("a.tif", "b.tif", "c.gpkg", extent=[0.1, 2, 3, 4], bands=[3, 2, 1], resolution=0.2)
    assert EdgesRequest.from_dict(json.loads(json.dumps(request.to_dict()))) == request
    with pytest.raises(ValueError, match="output"):
        EdgesRequest.from_dict({"raster": "a.tif"})
    with pytest.raises(ValueError, match="example"):
        EdgesRequest.from_dict({"raster": "a.tif", "output": "b.tif", "example": "c.gpkg"})


class Replies(io.RawIOBase):
    """What the engine writes, message by message."""

    def __init__(self):
        super().__init__()
        self.messages = queue.Queue()

    def writable(self):
        return True

    def write(self, line):
        self.messages.put(protocol.decode(bytes(line)))
        return len(line)


@pytest.fixture
def engine():
    """An engine in this process, whose job is run by hand."""
    replies = Replies()
    made = Engine(replies)
    made.replies = replies.messages
    return made


def job(request):
    return {"type": "edges", "job": "j", "request": request.to_dict()}


def last(engine):
    return list(engine.replies.queue)[-1]


def test_the_engine_tells_where_the_result_is(engine, noisy_raster, tmp_path, monkeypatch):
    from core.pipeline.edges import Summary

    asked = []

    def find(request, *, segmenter, progress, cancelled):
        asked.append(request)
        progress(0.5, "tile 2 of 4")
        assert not cancelled()
        return Summary(request.output, request.lines, 7, 1.25, 0.5, 4)

    monkeypatch.setattr(edges, "find_edges", find)
    monkeypatch.setattr(Engine, "_segmenter", lambda *_: None)
    request = EdgesRequest(str(noisy_raster), str(tmp_path / "e.tif"), str(tmp_path / "l.gpkg"))
    engine.run_job(job(request))
    told, result = engine.replies.get_nowait(), engine.replies.get_nowait()
    assert told == {"type": "progress", "job": "j", "fraction": 0.5, "message": "tile 2 of 4"}
    assert result == {
        "type": "result", "job": "j", "output": request.output, "lines": request.lines,
        "count": 7, "seconds": 1.25, "resolution": 0.5,
    }  # fmt: skip
    assert asked == [request]


def test_the_engine_says_what_is_wrong(engine, embedded_checkpoint, tmp_path):
    request = EdgesRequest("/nowhere/a.tif", str(tmp_path / "e.tif"), checkpoint=str(embedded_checkpoint))
    engine.run_job(job(request))
    assert last(engine)["type"] == "error" and last(engine)["user_fault"] is True
    assert "There is no file" in last(engine)["message"]
    engine.run_job({"type": "edges", "job": "j", "request": {"raster": "a.tif", "colour": 1}})
    assert last(engine)["type"] == "error" and "colour" in last(engine)["message"]


def test_a_cancel_is_heard_between_batches(engine, noisy_raster, embedded_checkpoint, tmp_path):
    request = EdgesRequest(
        str(noisy_raster), str(tmp_path / "e.tif"), checkpoint=str(embedded_checkpoint), device="cpu"
    )
    send, heard = engine.send, []

    def hear(kind, **fields):
        send(kind, **fields)
        if kind == "progress" and fields["message"].startswith("tile"):
            engine._cancelled.add("j")  # as the reading thread does
            heard.append(fields)

    engine.send = hear
    engine.run_job(job(request))
    assert len(heard) == 1
    assert last(engine) == {"type": "cancelled", "job": "j"}
    assert not (tmp_path / "e.tif").exists() and not list(tmp_path.glob(".exemplar-*"))


def test_a_grey_raster_with_an_alpha_band(words, make_raster, tmp_path):
    """Bands as for detections: one is shown as grey, the mask says where there are data."""
    image = np.random.default_rng(0).integers(50, 90, (1, 40, 48)).astype(np.uint8)
    alpha = np.full((1, 40, 48), 255, np.uint8)
    alpha[:, :, 30:] = 0
    path = make_raster(np.concatenate([image, alpha]), "grey.tif", alpha="yes")
    assert main(words(raster=path)) == 0
    with rasterio.open(tmp_path / "out" / "edges.tif") as dataset:
        assert (dataset.read(1)[:, 30:] == dataset.nodata).all()
        assert (dataset.read(1)[:, :30] >= 0).all()
