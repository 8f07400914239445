"""Saving and opening: the same answers to the last bit, or an error; the old file or the new one."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import container
import tercet
from levels import same_bits
from tercet import FlatIndex, HNSWIndex, MultiVectorIndex
from tercet.indexes.storage import as_json

Array = npt.NDArray[Any]
F32 = np.float32
CODECS: list[Any] = ["float32", "bfloat16", "int8", "int4", "int2", "binary"]
posix = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")

NAMES: dict[str, Callable[[int], Any]] = {
    "int": lambda n: [i * 37 + 2**62 for i in range(n)],
    "str": lambda n: ["ä\U0001f600\0x y"[i % 6 :] + str(i) for i in range(n)],
}
KINDS: dict[str, Callable[[Any], Any]] = {
    "cosine": lambda codec: FlatIndex(6, codec=codec),
    "dot": lambda codec: FlatIndex(6, metric="dot", codec=codec),
    "l2": lambda codec: FlatIndex(6, metric="l2", codec=codec),
    "multivector": lambda codec: MultiVectorIndex(6, codec=codec),
}
GRAPHS: dict[str, Callable[[], Any]] = {
    "cosine": lambda: HNSWIndex(6, m=4, ef_construction=20),
    "dot": lambda: HNSWIndex(6, metric="dot", m=4, rescore=None),
    "l2": lambda: HNSWIndex(6, metric="l2", m=4),
    "l2 without vectors": lambda: HNSWIndex(6, metric="l2", m=4, rescore=None),
}


def fill(index: Any, n: int, names: str = "int") -> Any:
    rng = np.random.default_rng(n)
    lengths = rng.integers(0, 4, n)
    documents = [rng.standard_normal((m, 6)).astype(F32) for m in np.maximum(lengths, np.arange(n) == 0)]
    if not isinstance(index, MultiVectorIndex):
        documents = rng.standard_normal((n, 6)).astype(F32)
    index.add(documents, NAMES[names](n))
    return index


def answers(index: Any) -> tuple[Array, Array]:
    queries = np.random.default_rng(0).standard_normal((5, 6)).astype(F32)
    hits = index.search(queries[:, None] if isinstance(index, MultiVectorIndex) else queries, 12)
    return hits.ids, hits.scores


def settings(index: Any) -> dict[str, Any]:
    sizes = ("nbytes", "bytes", "bytes_per_token")  # which depend on how it came about
    return {key: value for key, value in index.stats().items() if key not in sizes}


def same_index(a: Any, b: Any) -> bool:
    return (
        type(a) is type(b)
        and settings(a) == settings(b)
        and a.ids.tolist() == b.ids.tolist()
        and all(map(same_bits, answers(a), answers(b)))
    )


# ---- round trips


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(kind: str, codec: Any, names: str, tmp_path: Path) -> None:
    index = fill(KINDS[kind](codec), 40, names)
    index.remove(index.ids[[3, 0, 21]])
    for path, mmap in ((tmp_path / "an index", True), (str(tmp_path / "ïndex.tercet"), False)):
        index.save(path)
        opened = tercet.open(path, mmap=mmap)
        assert same_index(opened, index)
        opened.verify()
        values, want = opened.get(opened.ids), index.get(index.ids)
        if isinstance(index, MultiVectorIndex):
            assert values.offsets.tolist() == want.offsets.tolist()
            values, want = values.values, want.values
        assert same_bits(values, want)
        opened.save(path)
        assert same_index(tercet.open(path), index)


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("kind", GRAPHS)
def test_graphs(kind: str, names: str, mmap: bool, tmp_path: Path) -> None:
    """With removed and free nodes; what is opened goes on as what was saved."""
    index = fill(GRAPHS[kind](), 300, names)
    index.remove(index.ids[:290:2])  # so many that the graph is repaired
    index.remove(index.ids[5:15])
    index.save(tmp_path / "x")
    opened = tercet.open(tmp_path / "x", mmap=mmap)
    for change in (lambda i: i, lambda i: i.remove(i.ids[[7, 3]]), lambda i: fill(i, 120, names)):
        change(index)
        change(opened)
        assert same_index(opened, index)
        assert same_bits(opened.get(opened.ids), index.get(index.ids))
        for one in (index, opened):  # whatever the way through the graph
            wide = one.search(index.get(index.ids[:9]), 5, ef=9)
            assert same_bits(wide.scores, index.search(index.get(index.ids[:9]), 5, ef=9).scores)
    opened.save(tmp_path / "x")
    assert same_index(tercet.open(tmp_path / "x"), index)


@pytest.mark.parametrize("kind", GRAPHS)
def test_graphs_without_vectors(kind: str, tmp_path: Path) -> None:
    index = GRAPHS[kind]()
    for path in (tmp_path / "new", tmp_path / "emptied"):
        index.save(path)
        opened = tercet.open(path)
        assert same_index(opened, index)
        assert len(fill(opened, 3, "str")) == 3
        fill(index, 200, "str")
        index.remove(index.ids)


@pytest.mark.parametrize("name", ["codes", "originals", "base_rows", "next_id"])
def test_files_are_as_specified(name: str, tmp_path: Path) -> None:
    """A reader in plain Python finds the same, and what it writes is opened."""
    index = fill(HNSWIndex(6, metric="l2", m=4), 40)
    index.save(tmp_path / "x")
    settings_, sections = container.parse((tmp_path / "x").read_bytes())
    assert settings_ == {
        "kind": "HNSWIndex", "dim": 6, "codec": "int8", "metric": "l2", "m": 4, "ef_construction": 100,
        "rescore": "float32",
    }  # fmt: skip
    assert same_bits(sections["originals"], index.get(index.ids))
    assert sections["node_of"].tolist() == list(range(40))
    assert sections["base_rows"].shape == (40, 8)
    assert sections["next_id"].tolist() == [2**62 + 39 * 37 + 1]
    (tmp_path / "y").write_bytes(container.build(settings_, dict(reversed(sections.items()))))
    opened = tercet.open(tmp_path / "y")
    opened.verify()
    assert same_index(opened, index)
    (tmp_path / "z").write_bytes(container.build(settings_, {**sections, "of_later": np.zeros(3, np.uint8)}))
    assert same_index(tercet.open(tmp_path / "z"), index)
    changed = {**sections, name: sections[name].ravel()[1:]}
    (tmp_path / "z").write_bytes(container.build(settings_, changed))
    with pytest.raises(ValueError, match=f"z: damaged index: .*{name}"):
        tercet.open(tmp_path / "z")


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("kind", KINDS)
def test_empty_index(kind: str, codec: Any, tmp_path: Path) -> None:
    index = KINDS[kind](codec)
    for path in (tmp_path / "new", tmp_path / "emptied"):
        index.save(path)
        opened = tercet.open(path)
        assert same_index(opened, index)
        fill(opened, 3, "str")
        assert len(opened) == 3
        fill(index, 5, "str")
        index.remove(index.ids)


@pytest.mark.parametrize("kind", KINDS)
def test_an_opened_index_goes_on(kind: str, tmp_path: Path) -> None:
    index = fill(KINDS[kind]("int8"), 10)
    index.save(tmp_path / "x")
    opened = tercet.open(tmp_path / "x")
    for one in (index, opened):
        one.remove(one.ids[[0, 5]])
        fill(one, 3)
        one.remove([one.ids[-1]])
        fill(one, 12)
    assert same_index(opened, index)
    assert same_index(tercet.open(tmp_path / "x"), fill(KINDS[kind]("int8"), 10))


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_not_given_twice(kind: str, tmp_path: Path) -> None:
    """As before saving, None numbers on from the largest integer ever used."""
    index = KINDS[kind]("float32")
    one = np.ones((1, 1, 6), F32) if kind == "multivector" else np.ones((1, 6), F32)
    for _ in range(3):
        index.add(one)
    index.remove(2)
    index.save(tmp_path / "x")
    assert tercet.open(tmp_path / "x").add(one).tolist() == [3]


def test_a_multivector_index_without_tokens(tmp_path: Path) -> None:
    index = fill(MultiVectorIndex(6), 5)
    index.add([np.ones((2, 6), F32), np.empty((0, 6), F32)], [0, 1])
    index.remove([i for i in index.ids if i != 1])
    index.save(tmp_path / "x")
    opened = tercet.open(tmp_path / "x")
    assert same_index(opened, index)
    assert (len(opened), opened.num_tokens) == (1, 0)


# ---- replacing a file


@pytest.mark.parametrize("step", ["replace", "fsync"])
@pytest.mark.parametrize("kind", ["dot", "multivector"])
def test_a_failed_save_leaves_the_old_file(
    kind: str, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fill(KINDS[kind]("float32"), 5)
    old.save(tmp_path / "x")

    def fail(*_: Any) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as broken:
        broken.setattr(os, step, fail)
        with pytest.raises(OSError, match="no space left"):
            fill(KINDS[kind]("float32"), 9).save(tmp_path / "x")
        with pytest.raises(OSError, match="no space left"):
            fill(KINDS[kind]("float32"), 9).save(tmp_path / "new")
    assert os.listdir(tmp_path) == ["x"]
    assert same_index(tercet.open(tmp_path / "x"), old)


def test_interrupted_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = fill(FlatIndex(6), 5)
    index.save(tmp_path / "x")

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fill(FlatIndex(6), 9).save(tmp_path / "x")
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["x"]
    assert same_index(tercet.open(tmp_path / "x"), index)


WRITER = """if True:
    import os, signal, sys
    import numpy as np, tercet
    index = tercet.FlatIndex(6)
    index.add(np.ones((3, 6), "float32"))
    def stop(*_):  # the file is written, but not in its place
        print("writing", flush=True)
        sys.stdin.readline()
    os.fsync = stop
    index.save(sys.argv[1])
"""


@contextmanager
def writing(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, in the midst of saving."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], text=True, **pipes) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "writing\n"
            yield process
        finally:
            process.kill()


def temporaries(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(".tmp")]


@posix
def test_what_a_killed_writer_leaves_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".tercet-of-mine").write_bytes(b"not ours")
    for _ in range(2):
        with writing(tmp_path / "x") as process:
            process.kill()
        assert len(temporaries(tmp_path)) == 1  # the second removes that of the first
    fill(FlatIndex(6), 2).save(tmp_path / "y")
    assert sorted(os.listdir(tmp_path)) == [".tercet-of-mine", "y"]


@posix
def test_what_a_living_writer_writes_is_not_removed(tmp_path: Path) -> None:
    with writing(tmp_path / "x") as process, ThreadPoolExecutor() as threads:
        (left,) = temporaries(tmp_path)
        saved = threads.submit(fill(FlatIndex(6), 2).save, tmp_path / "y")
        with pytest.raises(TimeoutError):
            saved.result(0.3)  # waits for the other
        assert temporaries(tmp_path) == [left]
        process.communicate("go on\n", timeout=60)
        saved.result(60)
    assert process.returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["x", "y"]
    assert (len(tercet.open(tmp_path / "x")), len(tercet.open(tmp_path / "y"))) == (3, 2)


@posix
def test_nothing_is_removed_where_there_are_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def refuse(*_: Any) -> None:
        raise OSError("no locks on this file system")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / ".tercet-0123456789abcdef.tmp").write_bytes(b"somebody may be writing it")
    fill(FlatIndex(6), 2).save(tmp_path / "x")
    assert len(os.listdir(tmp_path)) == 2


def test_an_open_index_does_not_change_with_its_file(tmp_path: Path) -> None:
    index = fill(FlatIndex(6), 20)
    index.save(tmp_path / "x")
    opened = tercet.open(tmp_path / "x")
    fill(FlatIndex(6), 3).save(tmp_path / "x")
    assert same_index(opened, index)
    os.unlink(tmp_path / "x")
    assert same_index(opened, index)


@posix
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        fill(FlatIndex(6), 2).save(tmp_path / "x")
        assert os.umask(umask) == umask  # as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o666 & ~umask


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    index = fill(FlatIndex(6), 2)
    with pytest.raises(FileNotFoundError, match="missing"):
        index.save(tmp_path / "missing" / "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        index.save(tmp_path / "folder")
    assert os.listdir(tmp_path) == ["folder"]


# ---- damaged and foreign files

SMALL: dict[str, Callable[[], Any]] = {
    "flat": lambda: fill(FlatIndex(6, metric="l2", codec="int8"), 3, "str"),
    "flat of float32": lambda: fill(FlatIndex(6, metric="dot"), 2),
    "multivector": lambda: fill(MultiVectorIndex(6), 3),
    "empty": lambda: FlatIndex(6),
    "empty multivector": lambda: MultiVectorIndex(6),
    "graph": lambda: fill(HNSWIndex(6, m=2, metric="l2"), 5),
}


@pytest.fixture(params=SMALL)
def small(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Path, bytes]:
    index = SMALL[request.param]()
    index.save(tmp_path / "x")
    return index, tmp_path / "x", (tmp_path / "x").read_bytes()


def open_bytes(path: Path, data: bytes) -> Any:
    """The index of these bytes, or the message of the ValueError."""
    path.unlink(missing_ok=True)  # not what an index may have mapped
    path.write_bytes(data)
    try:
        index = tercet.open(path)
        index.verify()
        return index
    except ValueError as e:
        message = str(e)
    assert str(path) in message
    return message


def test_every_changed_byte(small: tuple[Any, Path, bytes]) -> None:
    """Each is detected, not only where it would make a difference."""
    index, path, data = small
    accepted = []
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0xFF if place % 2 else 1 << place % 8
        got = open_bytes(path, bytes(changed))
        if not isinstance(got, str):
            accepted.append(place)
            assert same_index(got, index), place
    assert accepted == []


def test_every_cut(small: tuple[Any, Path, bytes]) -> None:
    _, path, data = small
    accepted = [n for n in range(len(data)) if not isinstance(open_bytes(path, data[:n]), str)]
    assert accepted == []


def test_something_appended(small: tuple[Any, Path, bytes]) -> None:
    _, path, data = small
    for tail in (b"\0", b"x", data, bytes(64), bytes(5000)):
        assert "damaged index" in open_bytes(path, data + tail)


def test_a_hole(small: tuple[Any, Path, bytes]) -> None:
    """A block that a crash left unwritten reads as zeros."""
    index, path, data = small
    for start in range(0, len(data), 16):
        holed = data[:start] + bytes(16) + data[start + 16 :]
        got = open_bytes(path, holed[: len(data)])
        assert isinstance(got, str) or (holed[: len(data)] == data and same_index(got, index))


@pytest.mark.parametrize("section", ["codes", "scales", "centroids", "list_gaps"])
def test_opening_leaves_rows_in_the_file(section: str, tmp_path: Path) -> None:
    """Nobody looks at them before they are used: then damage is an error, of every use."""
    index = MultiVectorIndex(6, codec="residual2")
    rows = np.random.default_rng(1).standard_normal((400, 4, 6)).astype(F32)
    index.train(rows, centroids=16)
    index.add(rows)
    index.save(tmp_path / "x")
    data = bytearray((tmp_path / "x").read_bytes())
    (place,) = (offset for name, offset, _ in container.layout(bytes(data)) if name == section)
    data[place + 5] ^= 16
    (tmp_path / "y").write_bytes(data)
    opened: Any = tercet.open(tmp_path / "y")
    assert len(opened) == 400
    changes: list[Any] = [lambda: opened.add(rows[:1]), lambda: opened.save(tmp_path / "z")]
    for use in (lambda: opened.search(rows[0]), lambda: opened.get([3]), *changes):
        with pytest.raises(ValueError, match=f"y: damaged index: the checksum of section '{section}'"):
            use()
    opened.remove([7])
    assert len(opened) == 399


def test_the_message_names_the_part(tmp_path: Path) -> None:
    path = tmp_path / "x"
    fill(FlatIndex(6, codec="int8"), 40, "str").save(path)
    data = path.read_bytes()
    places = [*range(64), *range(64, len(data), 7)]
    parts = {open_bytes(path, data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :]) for i in places}
    text = "\n".join(map(str, parts))
    for part in (
        "not a tercet index",
        "format version",
        "header",
        "directory",
        "not zero",
        "'settings'",
        "'codes'",
        "'scales'",
        "'id_bytes'",
        "'id_offsets'",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a tercet index"),
        (b"T", "not a tercet index"),
        (b"PK\x03\x04 and so on, a zip file", "not a tercet index"),
        (b"TERCET\0", "damaged index|not a tercet index"),
        (b"TERCET\0\x03", "damaged index: cut off"),
        (b"TERCET\0\x01" + bytes(100), "format version 1, this tercet reads 3; an older one"),
        (b"TERCET\0\x02" + bytes(100), "format version 2, this tercet reads 3; an older one"),
        (b"TERCET\0\xff" + bytes(100), "format version 255, this tercet reads 3; a newer one"),
        (b"TERCET\0\x03" + bytes(100), "header"),
        (container.header_of(b"", 0, 128, flags=2) + bytes(64), "features.*flags 2, known are 0"),
        (container.header_of(b"", 0, 128) + bytes(64), "expected 64 bytes, got 128"),
        (container.header_of(b"", 0, 64), "settings"),
        (container.header_of(b"x" * 95, 1, 192) + b"x" * 128, "directory"),
    ],
)
def test_foreign_files(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ValueError, match=message) as error:
        tercet.open(tmp_path / "x")
    assert "x" in str(error.value)


def test_missing_files_and_directories(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tercet.open(tmp_path / "nothing")
    with pytest.raises(ValueError, match="directory"):
        tercet.open(tmp_path)


@pytest.mark.parametrize("cls", [FlatIndex, HNSWIndex, MultiVectorIndex])
def test_opening_one_kind(cls: Any, tmp_path: Path) -> None:
    path = tmp_path / "x"
    for kind in (FlatIndex, HNSWIndex, MultiVectorIndex):
        index = fill(kind(6), 5)
        index.save(path)
        if kind is cls:
            assert same_index(cls.open(path), index)
            assert same_index(cls.open(str(path), mmap=False), index)
        else:
            with pytest.raises(ValueError, match=f"x: expected a {cls.__name__}, got '{kind.__name__}'"):
                cls.open(path)
    with pytest.raises(ValueError, match=f"expected the file of a {cls.__name__}, got a directory"):
        cls.open(tmp_path)
    with pytest.raises(FileNotFoundError):
        cls.open(tmp_path / "none")


def test_opening_without_mapping_checks_all(tmp_path: Path) -> None:
    fill(FlatIndex(6), 500).save(tmp_path / "x")
    with open(tmp_path / "x", "r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(b"damage")
    FlatIndex.open(tmp_path / "x")
    with pytest.raises(ValueError, match="damaged index: the checksum of section 'codes'"):
        FlatIndex.open(tmp_path / "x", mmap=False)


def test_names_of_files(tmp_path: Path) -> None:
    index = fill(FlatIndex(6), 5)
    for wrong in (bytes(tmp_path / "x"), 5, None):
        for call in (index.save, tercet.open, FlatIndex.open):
            with pytest.raises(TypeError, match="expected str"):
                call(wrong)
    assert os.listdir(tmp_path) == []


def test_an_unknown_kind_of_index(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(container.build({"kind": "TreeIndex"}, {}))
    with pytest.raises(ValueError, match="unknown kind of index 'TreeIndex'"):
        tercet.open(tmp_path / "x")


@pytest.mark.parametrize(
    "settings_", [b"", b"{", b"[]", b"5", b"\xff", b"[" * 100000, b'{"kind": ["FlatIndex"]}']
)
def test_settings_that_are_none(settings_: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(container.build(settings_, {}))
    with pytest.raises(ValueError, match="x: "):
        tercet.open(tmp_path / "x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 7}, "codes: expected"),
        ({"dim": 0}, "dim"),
        ({"dim": None}, "dim"),
        ({"codec": "float16"}, "codec"),
        ({"metric": "L2"}, "metric"),
        ({"codec": "int8"}, "expected"),
        ({"kind": "HNSWIndex"}, "'m'"),
        ({"kind": "MultiVectorIndex"}, "offsets"),
    ],
)
def test_settings_that_do_not_fit(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    index = fill(FlatIndex(6), 4)
    (tmp_path / "x").write_bytes(container.build({**index._header(), **change}, state_of(index)))
    with pytest.raises(ValueError, match=f"x: damaged index: .*{message}"):
        tercet.open(tmp_path / "x")


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("ids", np.array([0, 1, 1, 2])),
        ("ids", np.array([0, 1, -1, 2])),
        ("ids", np.array([0, 1, 2])),
        ("id_offsets", np.array([0, 1, 2, 2, 3])),
        ("id_offsets", np.array([0, 1, 2, 3, 9])),
        ("id_offsets", np.array([0, 3, 2, 3, 3])),
        ("id_offsets", np.array([0, -1, 2, 3, 3])),
        ("id_offsets", np.array([1, 1, 2, 3, 3])),
        ("next_id", np.zeros(0, np.int64)),
        ("codes", np.zeros(3, np.uint8)),
        ("scales", np.zeros(3, np.uint16)),
        ("offsets", np.array([0, 1, 2, 3])),
        ("offsets", np.array([0, 3, 2, 4, 4])),
        ("offsets", np.array([0, 1, 2, 3, 2**60])),
        ("offsets", np.array([0, 0, 0, 0, 2**61])),
        ("offsets", np.array([0, 1, 2, 3, 2**63 - 1])),
        ("offsets", np.array([-1, 1, 2, 3, 4])),
        ("offsets", np.zeros(0, np.int64)),
    ],
)
def test_sections_that_do_not_fit(section: str, value: Any, tmp_path: Path) -> None:
    index = MultiVectorIndex(6)
    index.add(np.ones((4, 1, 6), F32))
    state = {**state_of(index), section: value}
    if section == "id_offsets":
        state["id_bytes"] = np.frombuffer(b"abc", np.uint8)
    (tmp_path / "x").write_bytes(container.build(index._header(), state))
    with pytest.raises(ValueError, match="x: damaged index"):
        tercet.open(tmp_path / "x", mmap=False)


@pytest.mark.parametrize(
    "text", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"a\x80"]
)
def test_ids_that_are_no_text(text: bytes, tmp_path: Path) -> None:
    index = fill(FlatIndex(6), 1, "str")
    state = {
        **state_of(index),
        "id_bytes": np.frombuffer(text, np.uint8),
        "id_offsets": np.array([0, len(text)]),
    }
    (tmp_path / "x").write_bytes(container.build(index._header(), state))
    with pytest.raises(ValueError, match="x: damaged index: id_bytes: id 0 is not UTF-8"):
        tercet.open(tmp_path / "x")


def test_every_character_can_be_in_an_id(tmp_path: Path) -> None:
    ids = [
        chr(c)
        for c in (
            *range(0x0, 0x900),
            *range(0xD700, 0xD800),
            *range(0xE000, 0xE100),
            0xFFFF,
            0x10000,
            0x10FFFF,
        )
    ]
    index = FlatIndex(1)
    index.add(np.ones((len(ids), 1), F32), ids)
    index.save(tmp_path / "x")
    assert tercet.open(tmp_path / "x").ids.tolist() == ids


@pytest.mark.parametrize(
    ("section", "place", "value", "message"),
    [
        ("base_rows", 3, 300, "base_rows: neighbour 300 is no node"),
        ("base_rows", 3, 2**32 - 2, "base_rows: neighbour"),
        ("base_rows", 299 * 8, 2**32 - 1, "base_rows: neighbour .* behind the end of its row"),
        ("upper_rows", 0, 17, "upper_rows: neighbour 17 is no node"),
        ("base_parents", 5, 300, "base_parents: 300"),
        ("upper_parents", 1, 8, "upper_parents: 8"),
        ("base_root", 0, 300, "base_root: 300"),
        ("upper_root", 0, 1, "upper_root: 1"),
        ("node_of", 1, 299, "in use|still|free"),
        ("node_of", 1, 300, "node_of: expected nodes below 300, got 300"),
        ("removed", 0, 300, "removed: expected nodes below"),
        ("removed", 1, None, "removed: node .* is in use already"),
        ("free", 1, None, "free: node .* is in use already"),
        ("node_of", 1, None, "node_of: node .* is in use already"),
    ],
)
def test_graphs_that_do_not_fit(
    section: str, place: int, value: int | None, message: str, tmp_path: Path
) -> None:
    index = fill(HNSWIndex(6, m=4), 300)
    index.remove(index.ids[:290:2])
    index.remove(index.ids[5:15])
    state = state_of(index)
    array = state[section].copy()
    array.ravel()[place] = array.ravel()[0] if value is None else value
    (tmp_path / "x").write_bytes(container.build(index._header(), {**state, section: array}))
    with pytest.raises(ValueError, match=f"x: damaged index: .*({message})"):
        tercet.open(tmp_path / "x")


def state_of(index: Any) -> dict[str, Array]:
    """The arrays that the index saves."""
    return container.parse(index._native.dump(as_json(index._header())))[1]


WHOLE: dict[str, Callable[[], Any]] = {
    **SMALL,
    "rescored": lambda: fill(FlatIndex(6, metric="l2", codec="int4", rescore="float32"), 9),
    "binary": lambda: fill(MultiVectorIndex(6, codec="binary"), 9, "str"),
    "residual2": lambda: fill(MultiVectorIndex(6, codec="residual2"), 40),
    "residual1": lambda: fill(MultiVectorIndex(6, codec="residual1"), 40, "str"),
    "pq16": lambda: fill(MultiVectorIndex(6, codec="pq16"), 40),
    "graph with holes": lambda: holed(HNSWIndex(6, metric="l2", m=4)),
}


def holed(index: Any) -> Any:
    fill(index, 150).remove(index.ids[::2])
    index.remove(index.ids[5:12])
    return index


DTYPES = list(container.TYPES.values())
VALUES = [
    0,
    1,
    2,
    127,
    128,
    255,
    0x7F80,
    0x7FC0,
    0xFF80,
    0xFFFF,
    2**31,
    2**32 - 1,
    2**61,
    2**63 - 1,
    2**64 - 1,
]


@cache
def saved(name: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """What the file of an index holds."""
    index = WHOLE[name]()
    return index._header(), state_of(index)


@st.composite
def changed(draw: st.DrawFn, old: Array) -> Array:
    """A section with a few other values, or another altogether."""
    if old.size and draw(st.booleans()):
        bits = old.ravel().view(f"<u{old.itemsize}").copy()
        for _ in range(draw(st.integers(1, 3))):
            place, value = draw(st.integers(0, old.size - 1)), draw(st.sampled_from(VALUES))
            bits[place] = value % 256**old.itemsize
        return bits.view(old.dtype).reshape(old.shape)
    dtype = draw(st.sampled_from([*[old.dtype] * len(DTYPES), *DTYPES]))
    count = draw(st.sampled_from([old.size, old.size, old.size + 1, max(old.size - 1, 0), 1, 0]))
    raw = draw(st.binary(max_size=40)) or b"\0"
    size = count * dtype.itemsize
    array = np.frombuffer((raw * (size // len(raw) + 1))[:size], dtype)
    return array.reshape(draw(st.sampled_from([(-1,), (-1,), (-1, 1), (1, -1), *[()] * (count == 1)])))


@pytest.mark.filterwarnings("ignore:codec .* is trained once")
@pytest.mark.parametrize("name", WHOLE)
@hypothesis.settings(max_examples=150)
@given(data=st.data())
def test_sections_of_anything(name: str, data: st.DataObject, tmp_path_factory: Any) -> None:
    """With right checksums: a ValueError, or an index that works."""
    header, sections = saved(name)
    sections = dict(sections)
    for part in data.draw(st.lists(st.sampled_from(sorted(sections)), min_size=1, max_size=2, unique=True)):
        if data.draw(st.integers(0, 9)) == 0:
            del sections[part]
        else:
            sections[part] = data.draw(changed(sections[part]))
    index = open_bytes(tmp_path_factory.getbasetemp() / "anything", container.build(header, sections))
    if isinstance(index, str):
        return
    queries = np.ones((2, 6), F32)
    hits = index.search(queries[:, None] if isinstance(index, MultiVectorIndex) else queries, 5)
    assert not np.isnan(hits.scores).any()
    index.get(index.ids)
    fill(index, 2, "int" if "ids" in sections else "str")


@pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX's")
def test_modes_and_links(tmp_path: Path) -> None:
    index = fill(FlatIndex(6), 3)
    before = os.umask(0o027)
    try:
        index.save(tmp_path / "new")
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640
        (tmp_path / "new").chmod(0o600)
        index.save(tmp_path / "new")
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    finally:
        assert os.umask(before) == 0o027
    (tmp_path / "link").symlink_to(tmp_path / "new")
    fill(index, 5).save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert len(tercet.open(tmp_path / "new")) == len(index)
    for bad in ("", tmp_path):
        with pytest.raises(IsADirectoryError):
            index.save(bad)
    with pytest.raises(FileNotFoundError, match=f"no such directory: '{tmp_path}/none'"):
        index.save(tmp_path / "none" / "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "new"]
