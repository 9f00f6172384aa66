"""Fetching the data set from a mirror on the loopback that can be made to fail like real ones."""

from __future__ import annotations

import gzip
import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from torchvision.datasets import FashionMNIST

from fmnist_tui import paths
from fmnist_tui.data import files, source
from fmnist_tui.data.source import DataError

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES = [spec.name for spec in files.FULL_FILES]
Answer = Callable[["Handler", bytes], None]


class Mirror(http.server.ThreadingHTTPServer):
    """Serves the sample's files; `answers` says for a file how to answer otherwise."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"
        self.requests: list[str] = []
        self.answers: dict[str, Answer] = {}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Mirror)
        name = self.path.strip("/").removesuffix(".gz")
        self.server.requests.append(name)
        content = (source.SAMPLE_DIR / f"{name}.gz").read_bytes()
        self.server.answers.get(name, send)(self, content)

    def log_message(self, *_: object) -> None:
        pass


def send(handler: Handler, content: bytes, announced: int | None = None) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content) if announced is None else announced))
    handler.end_headers()
    handler.wfile.write(content)


def close_early(handler: Handler, content: bytes) -> None:
    send(handler, content[: len(content) // 2], announced=len(content))


def close_early_unannounced(handler: Handler, content: bytes) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(content[: len(content) // 2])


def not_found(handler: Handler, _: bytes) -> None:
    handler.send_error(404)


def login_page(handler: Handler, _: bytes) -> None:
    send(handler, b"<html>please log in</html>")


def other_content(handler: Handler, content: bytes) -> None:
    content = gzip.decompress(content)
    send(handler, gzip.compress(content[:-1] + bytes([content[-1] ^ 1]), 1))


def nonsense(handler: Handler, _: bytes) -> None:
    handler.wfile.write(b"what?\r\n\r\n")


@pytest.fixture(autouse=True)
def small_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    contents = json.loads((source.SAMPLE_DIR / source.SAMPLE_CONTENTS).read_text())
    monkeypatch.setattr(files, "FULL_FILES", tuple(files.FileSpec(name, **contents[name]) for name in NAMES))
    monkeypatch.delenv("FMNIST_TUI_DATA_DIR", raising=False)
    monkeypatch.setenv("FMNIST_TUI_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(paths, "DEBIAN_DATA_DIR", tmp_path / "debian")
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    with Mirror() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(FashionMNIST, "mirrors", [server.url])
        yield server
        server.shutdown()
        thread.join()


def left_over(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name != ".download.lock")


def test_a_download_is_whole_verified_and_reported(mirror: Mirror, tmp_path: Path) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}
    target = tmp_path / "new" / "data"
    assert source.fetch(target, lambda name, done, total: seen.setdefault(name, []).append((done, total))) == target
    assert left_over(target) == sorted(NAMES)
    assert source.find(target) == target
    assert [record.state for record in source.verify(target)] == ["present"] * 4
    assert len(source.load_full(target).train_images) == 6000
    for name in NAMES:
        size = (source.SAMPLE_DIR / f"{name}.gz").stat().st_size
        done, total = zip(*seen[name], strict=True)
        assert list(done) == sorted(done) and done[-1] == size and set(total) == {size}
    mirror.requests.clear()
    source.fetch(target)
    assert mirror.requests == []  # nothing to do


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (close_early, "connection closed after [0-9,]+ of [0-9,]+ bytes"),
        (close_early_unannounced, "what arrived is damaged"),
        (not_found, "404"),
        (login_page, "what arrived is damaged"),
        (other_content, "what arrived is damaged.*SHA-256"),
        (nonsense, "what"),
    ],
)
def test_a_failed_download_is_never_taken_for_a_whole_one(
    mirror: Mirror, tmp_path: Path, answer: Answer, told: str
) -> None:
    mirror.answers[TEST_IMAGES] = answer
    with pytest.raises(DataError, match=told) as caught:
        source.fetch(tmp_path / "data")
    text = str(caught.value)
    assert f"{mirror.url}{TEST_IMAGES}.gz" in text
    assert "apt-get install dataset-fashion-mnist" in text and "--data sample" in text
    assert left_over(tmp_path / "data") == [TRAIN_IMAGES, TRAIN_LABELS]  # whole files, and no scraps
    with pytest.raises(DataError, match=f"lacks {TEST_IMAGES}, {TEST_LABELS}"):
        source.find(tmp_path / "data")
    mirror.answers.clear()
    mirror.requests.clear()
    source.fetch(tmp_path / "data")
    assert mirror.requests == [TEST_IMAGES, TEST_LABELS]  # goes on where it stopped
    source.verify(tmp_path / "data")


def test_the_next_mirror_is_tried(mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mirror.answers[TRAIN_IMAGES] = close_early
    monkeypatch.setattr(FashionMNIST, "mirrors", [mirror.url, source.SAMPLE_DIR.as_uri() + "/"])
    source.fetch(tmp_path / "data")
    source.verify(tmp_path / "data")
    assert mirror.requests == NAMES


def test_ctrl_c_in_the_middle_leaves_nothing_half_made(mirror: Mirror, tmp_path: Path) -> None:
    def interrupt(name: str, done: int, total: int) -> None:
        if name == TRAIN_IMAGES and done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        source.fetch(tmp_path / "data", interrupt)
    assert left_over(tmp_path / "data") == []
    source.fetch(tmp_path / "data")  # the lock is free again
    source.verify(tmp_path / "data")


def test_a_killed_download_is_cleared_away_and_done_again(mirror: Mirror, tmp_path: Path) -> None:
    specs = [tuple(spec) for spec in files.FULL_FILES]
    code = f"""
import os, signal
from pathlib import Path
from torchvision.datasets import FashionMNIST
from fmnist_tui.data import files, source
FashionMNIST.mirrors = [{mirror.url!r}]
files.FULL_FILES = tuple(files.FileSpec(*spec) for spec in {specs!r})
def kill(name, done, total):
    if name == {TEST_IMAGES!r} and done > total // 2:
        os.kill(os.getpid(), signal.SIGKILL)
source.fetch(Path({str(tmp_path / "data")!r}), kill)
"""
    process = subprocess.run([sys.executable, "-c", code], timeout=120, check=False)
    assert process.returncode == -signal.SIGKILL
    assert any(name.startswith(".download-") for name in left_over(tmp_path / "data"))
    with pytest.raises(DataError, match=f"lacks {TEST_IMAGES}"):
        source.find(tmp_path / "data")
    source.fetch(tmp_path / "data")
    assert left_over(tmp_path / "data") == sorted(NAMES)
    source.verify(tmp_path / "data")


def test_damaged_files_are_replaced_whatever_their_form(mirror: Mirror, tmp_path: Path) -> None:
    raw = tmp_path / "data" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in NAMES:
        (raw / f"{name}.gz").write_bytes((source.SAMPLE_DIR / f"{name}.gz").read_bytes())
    (raw / f"{TEST_IMAGES}.gz").write_bytes(b"damaged")
    (raw / TEST_LABELS).write_bytes(b"damaged")
    source.fetch(tmp_path / "data")
    assert mirror.requests == [TEST_IMAGES, TEST_LABELS]
    source.verify(tmp_path / "data")


def test_two_at_once_download_every_file_once(mirror: Mirror, tmp_path: Path) -> None:
    first_is_in = threading.Event()
    second_started = threading.Event()

    def hold(name: str, done: int, total: int) -> None:
        first_is_in.set()
        assert second_started.wait(10)

    errors: list[BaseException] = []

    def fetch(progress: source.Progress | None) -> None:
        try:
            source.fetch(tmp_path / "data", progress)
        except BaseException as error:
            errors.append(error)

    first = threading.Thread(target=fetch, args=(hold,))
    first.start()
    assert first_is_in.wait(30)  # holds the lock, with a file half there
    second = threading.Thread(target=fetch, args=(None,))
    second.start()
    second_started.set()
    first.join(30)
    second.join(30)
    assert not errors and not first.is_alive() and not second.is_alive()
    assert mirror.requests == NAMES
    source.verify(tmp_path / "data")


def test_loading_downloads_only_when_told_and_only_into_the_cache(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        source.load_full()
    with pytest.raises(DataError, match="mine"):
        source.load_full(tmp_path / "mine", download=True)
    assert mirror.requests == [] and not (tmp_path / "mine").exists()
    images = source.load_full(download=True)
    assert images.directory == paths.cache_data_dir() == source.find()
    assert images.source == "full" and mirror.requests == NAMES


def test_no_network_says_every_place_and_mirror_tried(mirror: Mirror, tmp_path: Path) -> None:
    mirror.answers[TRAIN_IMAGES] = not_found
    with pytest.raises(DataError) as caught:
        source.load_full(download=True)
    text = str(caught.value)
    for tried in (paths.cache_data_dir(), tmp_path / "debian", f"{mirror.url}{TRAIN_IMAGES}.gz"):
        assert f"tried {tried}: " in text
    assert "apt-get install dataset-fashion-mnist" in text


def test_why_a_mirror_can_not_be_reached_is_said_in_plain_words(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/"
    monkeypatch.setattr(FashionMNIST, "mirrors", [nobody])
    with pytest.raises(DataError) as caught:
        source.fetch(tmp_path / "data")
    assert f"tried {nobody}{TRAIN_IMAGES}.gz: Connection refused\n" in str(caught.value)


def test_a_target_that_cannot_be_a_directory_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataError, match=r"cannot be written: [A-Z][a-z ]+\.\n.* or name another with --data-dir\."):
            source.fetch(target)
    assert mirror.requests == []
