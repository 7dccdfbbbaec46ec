"""A store holds what was put, whole, whatever happens while it is put."""

import logging
import os
import resource
import socket
import threading
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch
from urllib.request import Request, urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import ConfigError, StorageFailed
from detector.state import stores
from detector.state.stores import Access, FolderStore, ObjectStore, Stored, store_of
from tests.state.killed import dies_at, half_written, killed

SECRET = "s3cret-of-the-bucket-0123456789"
KEY_ID = "AKIAEXAMPLE123456789"


@pytest.fixture(scope="session")
def s3() -> str:
    """URL of a server that speaks S3 on this host, with an empty bucket named `bucket`."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with urlopen(Request(f"http://{host}:{port}/bucket", method="PUT")) as answer:
        assert answer.status == 200
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def access(s3, tmp_path, monkeypatch) -> Access:
    """By files alone: the environment holds nothing."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    key_id, secret = tmp_path / "key-id", tmp_path / "secret"
    key_id.write_text(KEY_ID + "\n")
    secret.write_text(SECRET + "\n")
    return Access(endpoint=s3, region="us-east-1", access_key_file=key_id, secret_key_file=secret)


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path):
    if request.param == "folder":
        return FolderStore(tmp_path / "deep" / "store")
    return store_of(f"s3://bucket/{tmp_path.name}", request.getfixturevalue("access"))


def test_what_was_put_is_there(store):
    assert store.entries("a") == []
    store.put("a/two", b"22")
    store.put("a/one", b"1")
    store.put("a/b/three", b"333")
    assert store.entries("a") == [Stored("a/one", 1), Stored("a/two", 2)]
    assert store.get("a/two", 10) == b"22"
    assert store.get("a/two", 1) == b"2"
    store.put("a/two", b"second")
    assert store.get("a/two", 1 << 40) == b"second"
    store.delete("a/two")
    store.delete("a/two")
    assert store.entries("a") == [Stored("a/one", 1)]
    with pytest.raises(FileNotFoundError):
        store.get("a/two", 1)


def test_a_large_object_goes_up_in_parts(store):
    content = os.urandom(1 << 20) * 17  # more than the 5 MB (S3's least part) that go in one request
    store.put("a/large", content)
    assert store.entries("a") == [Stored("a/large", len(content))]
    assert store.get("a/large", len(content)) == content


@pytest.mark.parametrize("name", ["", "/a", "a/", "../a", "a/../b", "a//b", ".hidden", "a/.tmp", "a\nb", "ä", "a\0"])
def test_a_name_leads_nowhere_else(store, name):
    for act in (lambda: store.put(name, b""), lambda: store.get(name, 1), lambda: store.delete(name)):
        with pytest.raises(ValueError, match="no name"):
            act()


@given(content=st.binary(max_size=300), limit=st.integers(0, 400))
def test_get_gives_the_first_bytes(tmp_path_factory, content, limit):
    store = FolderStore(tmp_path_factory.getbasetemp() / "first")
    store.put("x", content)
    assert store.get("x", limit) == content[:limit]


# --- a folder ---


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


STEPS = {
    "half": (half_written, b"old"),
    "before fsync": (lambda: dies_at("os.fsync"), b"old"),
    "before rename": (lambda: dies_at("pathlib.Path.replace"), b"old"),
    "after rename": (lambda: dies_at("detector.state.stores.sync_folder"), b"new" * 1000),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_writer_leaves_the_old_or_the_new(tmp_path, step):
    make, expected = STEPS[step]
    store = FolderStore(tmp_path)
    store.put("a", b"old")
    assert killed(lambda: store.put("a", b"new" * 1000), make())
    assert len(files(tmp_path)) == (1 if step == "after rename" else 2)
    again = FolderStore(tmp_path)
    assert again.get("a", 9999) == expected
    assert files(tmp_path) == ["a"]


def test_a_living_writers_file_is_not_swept(tmp_path):
    """Another process opens the store in the middle of a put."""
    store = FolderStore(tmp_path)
    real = os.fsync

    def opened_meanwhile(descriptor):
        FolderStore(tmp_path)
        real(descriptor)

    with patch("os.fsync", opened_meanwhile):
        store.put("a", b"whole")
    assert store.get("a", 9) == b"whole"


def test_the_file_is_on_disk_before_it_has_its_name(tmp_path):
    calls = []
    store = FolderStore(tmp_path)
    real_sync, real_replace, real_folder = os.fsync, Path.replace, stores.sync_folder
    with (
        patch("os.fsync", lambda fd: (calls.append("fsync"), real_sync(fd))),
        patch.object(Path, "replace", lambda path, to: (calls.append("rename"), real_replace(path, to))),
        patch.object(
            stores, "sync_folder", lambda folder: (calls.append(f"folder {folder.name}"), real_folder(folder))
        ),
    ):
        store.put("b/a", b"x")
    assert calls == [f"folder {tmp_path.name}", "fsync", "fsync", "rename", "folder b", "fsync"]


def test_a_full_disk_is_told_and_leaves_the_old(tmp_path):
    store = FolderStore(tmp_path)
    store.put("a", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageFailed, match=r"cannot write .*a: File too large"):
            store.put("a", b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.get("a", 9999) == b"old"
    assert files(tmp_path) == ["a"]
    store.put("a", b"x" * 5000)
    assert store.get("a", 9999) == b"x" * 5000


def test_a_write_that_takes_less_is_gone_on_with(tmp_path):
    real = os.write
    store = FolderStore(tmp_path)
    with patch("os.write", lambda fd, content: real(fd, content[:7])):
        store.put("a", b"0123456789" * 10)
    assert store.get("a", 9999) == b"0123456789" * 10


def test_files_are_not_for_everybody(tmp_path):
    FolderStore(tmp_path).put("a", b"x")
    assert (tmp_path / "a").stat().st_mode & 0o007 == 0


def test_a_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageFailed, match=r"cannot use the folder .*file"):
        FolderStore(tmp_path / "file" / "below")


# --- a bucket ---


def test_a_bucket_that_is_missing_is_told_without_secrets(access):
    store = store_of("s3://elsewhere/a", access)
    with pytest.raises(StorageFailed, match="cannot write s3://elsewhere/a/x") as caught:
        store.put("x", b"1")
    for text in (str(caught.value), repr(store), repr(caught.value), repr(access)):
        assert SECRET not in text
        assert KEY_ID not in text


def test_the_environment_is_used_where_nothing_is_given(s3, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    store = store_of(f"s3://bucket/{tmp_path.name}")
    store.put("x", b"1")
    assert store.get("x", 1) == b"1"


def test_a_service_that_is_away_is_given_up(access, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        store = store_of("s3://bucket/a", Access(f"http://127.0.0.1:{unused.getsockname()[1]}", "x", *_files(access)))
        with pytest.raises(StorageFailed, match="cannot list"):
            store.entries("x")


def test_a_service_that_says_nothing_is_given_up(access, monkeypatch):
    monkeypatch.setattr(stores, "STALLED_SECONDS", 1.0)
    monkeypatch.setattr(stores, "ATTEMPTS", 1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        store = store_of("s3://bucket/a", Access(f"http://127.0.0.1:{mute.getsockname()[1]}", "x", *_files(access)))
        with pytest.raises(StorageFailed, match=r"cannot write .*imeout"):
            store.put("x", b"1")


@pytest.mark.parametrize("size", [1_000, 12_000_000])
def test_an_upload_that_is_cut_leaves_the_old(access, s3, size):
    """A line that breaks after some bytes of the new object; the next put through it is whole."""
    store_of("s3://bucket/cut", access).put("a", b"old")
    with Breaking(s3) as line:
        through = store_of("s3://bucket/cut", Access(line.url, "us-east-1", *_files(access)))
        line.budget = size // 2
        with pytest.raises(StorageFailed, match="cannot write"):
            through.put("a", b"n" * size)
        assert store_of("s3://bucket/cut", access).get("a", 99) == b"old"
        line.budget = 10 * size
        through.put("a", b"n" * size)
    assert store_of("s3://bucket/cut", access).entries("cut") == []
    assert store_of("s3://bucket/cut", access).get("a", size + 1) == b"n" * size


def _files(access: Access) -> tuple[Path | None, Path | None]:
    return access.access_key_file, access.secret_key_file


class Breaking:
    """A relay to a server that takes `budget` bytes and then closes every connection."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._to = (host, int(port))
        self.budget = 0
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        self._server.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in [self._server, *self._sockets]:
            each.close()

    def _start(self, work, *args) -> None:
        self._threads.append(threading.Thread(target=work, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = socket.create_connection(self._to)
            self._sockets += [near, far]
            self._start(self._relay, near, far, True)
            self._start(self._relay, far, near, False)

    def _relay(self, source: socket.socket, to: socket.socket, counted: bool) -> None:
        try:
            while content := source.recv(65536):
                if counted:
                    self.budget -= len(content)
                    if self.budget < 0:
                        break
                to.sendall(content)
        except OSError:
            pass
        for each in (source, to):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


# --- which one ---


def test_the_url_says_which(tmp_path, access):
    assert repr(store_of("s3://bucket/a/b", access)) == "ObjectStore('s3://bucket/a/b')"
    assert isinstance(store_of("s3://bucket", access), ObjectStore)
    assert repr(store_of(f"file://{tmp_path}/x")) == f"FolderStore('{tmp_path}/x')"
    assert repr(store_of(f"{tmp_path}/y")) == f"FolderStore('{tmp_path}/y')"


@pytest.mark.parametrize(
    "url", ["", "s3://", "s3:///a", "http://bucket/a", "gs://b/a", "s3://b/a?x=1", "file://host/a"]
)
def test_other_urls_are_refused(url):
    with pytest.raises(ConfigError, match="is neither"):
        store_of(url)


def test_a_url_with_a_password_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="holds a password") as caught:
        store_of("s3://me:geheim@bucket/a")
    assert "geheim" not in str(caught.value)
