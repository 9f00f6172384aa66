"""Lines that are read while they are written: whole-line append, and a tail that yields each whole line once."""

from __future__ import annotations

import errno
import itertools
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmnist_tui.runs.files import LineWriter, Tail, replace_bytes

on_disk = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
numbers = itertools.count()


numbers = itertools.count()


def fresh(tmp_path: Path) -> Path:
    """A path no other example of a hypothesis test has used."""
    return tmp_path / f"file-{next(numbers)}"


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


# --- LineWriter --------------------------------------------------------------------------------------------------


def test_lines_are_appended_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"first\n")
    writer = LineWriter(path)
    writer.write("second\n")
    assert path.read_bytes() == b"first\nsecond\n", "readable at once, without sync or close"
    writer.write("third ü\nfourth\n")
    writer.sync()
    writer.close()
    assert path.read_text("utf-8") == "first\nsecond\nthird ü\nfourth\n"


def test_half_lines_are_not_accepted(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        LineWriter(tmp_path / "x").write("no newline")


@on_disk
@given(old=st.binary(max_size=200))
def test_a_line_torn_by_a_crash_is_cut_off(old: bytes, tmp_path: Path) -> None:
    path = fresh(tmp_path)
    path.write_bytes(old)
    LineWriter(path).close()
    assert path.read_bytes() == old[: old.rfind(b"\n") + 1]


@pytest.mark.parametrize("torn", [65_535, 65_536, 65_537, 200_000])
@pytest.mark.parametrize("whole", [b"", b"\n", b"whole\n"])
def test_a_long_torn_line_is_found_over_block_borders(whole: bytes, torn: int, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(whole + b"x" * torn)
    writer = LineWriter(path)
    writer.write("next\n")
    writer.close()
    assert path.read_bytes() == whole + b"next\n"


class SmallDisk:
    """Stands in for os.pwrite on a disk with a number of bytes left, taken in pieces of at most 7."""

    def __init__(self, free: int, error: BaseException) -> None:
        self.free, self.error, self.pwrite = free, error, os.pwrite

    def __call__(self, fd: int, data: bytes, offset: int) -> int:
        if self.free == 0:
            raise self.error
        written = self.pwrite(fd, data[: min(7, self.free)], offset)
        self.free -= written
        return written


@on_disk
@given(free=st.integers(0, 80), lines=st.lists(st.text("abcü", max_size=20), min_size=1, max_size=5))
def test_a_line_that_does_not_fit_is_taken_back(free: int, lines: list[str], tmp_path: Path) -> None:
    path = fresh(tmp_path)
    path.write_bytes(b"kept\n")
    writer = LineWriter(path)
    expected = b"kept\n"
    disk = SmallDisk(free, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.pwrite", disk)
        for line in lines:
            data = f"{line}\n".encode()
            fits = len(data) <= disk.free
            try:
                writer.write(f"{line}\n")
                assert fits
                expected += data
            except OSError:
                assert not fits
                disk.free = 0
            assert path.read_bytes() == expected, "the file always ends in a newline"
    writer.write("after\n")  # there is space again
    writer.close()
    assert path.read_bytes() == expected + b"after\n"


def test_a_line_cut_by_an_interrupt_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = LineWriter(path)
    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", SmallDisk(7, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            writer.write("a line longer than seven bytes\n")
    writer.write("ok\n")
    writer.close()
    assert path.read_bytes() == b"ok\n"


# --- Tail --------------------------------------------------------------------------------------------------------


@on_disk
@given(
    chunks=st.lists(
        st.one_of(st.binary(max_size=12), st.sampled_from([b"\n", b"a\r\nb", b"\xc3", b"\xbc\n"])), max_size=12
    )
)
def test_a_tail_yields_whole_lines_only_and_all_of_them(chunks: list[bytes], tmp_path: Path) -> None:
    path = fresh(tmp_path)
    tail, seen, written = Tail(path), [], b""
    for chunk in chunks:
        append(path, chunk)
        written += chunk
        seen += tail.read()
        assert seen == written.split(b"\n")[:-1]
        assert not tail.restarted
        assert tail.read() == []


@on_disk
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=1, max_size=6),
    size=st.integers(1, 9),
)
def test_json_lines_survive_any_split_of_their_bytes(texts: list[str], size: int, tmp_path: Path) -> None:
    path = fresh(tmp_path)
    data = "".join(json.dumps(text, ensure_ascii=False) + "\n" for text in texts).encode()
    tail = Tail(path)
    seen = []
    for start in range(0, len(data), size):  # cuts characters of several bytes in the middle
        append(path, data[start : start + size])
        seen += tail.read()
    assert [json.loads(line) for line in seen] == texts


def test_a_missing_file_has_no_lines_yet(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "none" / "metrics.jsonl")
    assert tail.read() == []
    assert not tail.restarted
    tail.path.parent.mkdir()
    tail.path.write_bytes(b"a\n")
    assert tail.read() == [b"a"]
    assert not tail.restarted, "the first sight of a file is no restart"
    assert Tail(tmp_path).read() == [], "nor has a directory"


def test_a_shortened_file_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"one\ntwo\n")
    tail = Tail(path)
    assert tail.read() == [b"one", b"two"]
    os.truncate(path, 0)
    append(path, b"new\n")
    assert (tail.read(), tail.restarted) == ([b"new"], True)
    append(path, b"more\n")
    assert (tail.read(), tail.restarted) == ([b"more"], False)


def test_a_replaced_file_is_read_from_its_start_even_if_it_is_longer(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"one\n")
    tail = Tail(path)
    tail.read()
    replace_bytes(path, b"another file\nthat is longer\n")
    assert (tail.read(), tail.restarted) == ([b"another file", b"that is longer"], True)
    assert (tail.read(), tail.restarted) == ([], False)


def test_a_file_that_was_away_is_another_file_whatever_its_inode(tmp_path: Path) -> None:
    path, aside = tmp_path / "metrics.jsonl", tmp_path / "aside"
    path.write_bytes(b"one\n")
    tail = Tail(path)
    assert tail.read() == [b"one"]
    path.rename(aside)
    assert (tail.read(), tail.restarted) == ([], False)
    aside.rename(path)  # the same inode, as a file system may give it to a new file
    assert (tail.read(), tail.restarted) == ([b"one"], True)


def test_a_limited_read_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [f"line {i}".encode() for i in range(100)]
    path.write_bytes(b"\n".join(lines) + b"\n")
    tail, seen = Tail(path), []
    while got := tail.read(limit=50):
        assert sum(map(len, got)) + len(got) <= 50
        seen += got
    assert seen == lines


@pytest.mark.parametrize("length", [10, 11, 25, 30, 31])
def test_a_line_longer_than_the_limit_is_passed_over_whole(length: int, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"a\n" + b"x" * length + b"\nb\nc\n")
    tail = Tail(path)
    seen = [line for _ in range(12) for line in tail.read(limit=10)]
    assert seen == [b"a", b"b", b"c"]
    append(path, b"d\n")
    assert tail.read(limit=10) == [b"d"]


@on_disk
@given(
    actions=st.lists(
        st.one_of(
            st.text("abc", max_size=9).map(lambda text: ("write", text)),
            st.just(("crash", "torn li")),
            st.just(("reopen", "")),
        ),
        max_size=12,
    )
)
def test_writer_and_tail_together(actions: list[tuple[str, str]], tmp_path: Path) -> None:
    path = fresh(tmp_path)
    writer, tail = LineWriter(path), Tail(path)
    written: list[bytes] = []
    seen: list[bytes] = []
    for action, text in actions:
        if action == "write":
            writer.write(f"{text}\n")
            written.append(text.encode())
        else:
            writer.close()
            if action == "crash":
                append(path, text.encode())
                seen += tail.read()  # a reader that looks before the next worker has cut the line off
            writer = LineWriter(path)
        seen += tail.read()
        assert seen == written
        assert not tail.restarted
    writer.close()
