"""A job's folder: written by one, read by many, whole at any moment."""

from pathlib import Path

from gateway.tuning.contract import Happened, Saved
from gateway.tuning.worker.events import EventLog, read_events
from gateway.tuning.worker.folder import (
    Folder,
    publish,
    published_file,
    read_published,
    replace_file,
    unpublish,
    whole_folder,
)
from gateway.tuning.worker.job import Published, State


def told(text: str) -> Happened:
    return Happened(0, 1.0, "info", text)


def test_a_torn_line_is_not_read_and_taken_away_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    assert log.tell("a", told("one"))
    assert log.tell("b", told("two"))
    log.close()
    whole = path.read_bytes()
    for cut in range(len(whole.splitlines(keepends=True)[0]), len(whole)):
        path.write_bytes(whole[:cut])
        assert [event.message for event in read_events(path, 0)] == ["one"]
        log = EventLog(path)
        assert not log.tell("a", told("one again"))
        assert log.tell("b", told("two"))
        log.close()
        assert path.read_bytes() == whole
    assert [(event.number, event.message) for event in read_events(path, 1)] == [(1, "two")]


def test_a_folder_stands_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "7"
    killed = whole_folder(place)
    (killed.__enter__() / "half").write_text("x")
    assert not place.exists()
    for content in ("first", "second"):
        with whole_folder(place) as partial:
            (partial / content).write_text("x")
    assert [path.name for path in place.iterdir()] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] == ["7"]


def test_a_checkpoint_without_its_record_is_none(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for number, step in ((1, 20), (0, 3)):
        folder.checkpoint(step).mkdir(parents=True)
        record = f'{{"number":{number},"at":1.0,"step":{step},"model":"m"}}'
        replace_file(folder.checkpoint(step) / "checkpoint.json", record.encode())
    folder.checkpoint(40).mkdir()
    assert folder.saved() == (Saved(0, 1.0, 3, "m"), Saved(1, 1.0, 20, "m"))


def test_a_job_that_was_told_to_go_on_waits_no_more(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.ask("pause")
    folder.write_state(State("paused", step=3))
    assert folder.progress(0).status == "paused"
    folder.ask("")
    assert folder.progress(0).status == "queued"
    assert folder.control() == ""


def test_names_that_a_file_system_does_not_take_are_kept_apart(tmp_path: Path) -> None:
    names = ["ft:tiny:a::1", "ft:tiny:a:::1", "ft-tiny-a--1", "ft:tiny:a/b::1", "ft%3a%"]
    for name in names:
        publish(tmp_path, Published(name, "tiny", "base", f"of {name}"))
    assert len({published_file(tmp_path, name) for name in names}) == len(names)
    assert {name: entry.path for name, entry in read_published(tmp_path).items()} == {n: f"of {n}" for n in names}
    assert unpublish(tmp_path, names[3])
    assert not unpublish(tmp_path, names[3])
    assert len(read_published(tmp_path)) == len(names) - 1
