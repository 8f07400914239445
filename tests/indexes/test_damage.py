"""Files that are damaged, old, mapped, or being written while the process is killed."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import container
import golden
import tercet
from levels import same_bits
from tercet import FlatIndex, HNSWIndex, MultiVectorIndex

F32 = np.float32
posix = pytest.mark.skipif(os.name != "posix", reason="signals and locks of POSIX")

EVERY: dict[str, Callable[[], Any]] = {
    **{
        f"flat {metric} {codec} {rescore}": lambda m=metric, c=codec, r=rescore: FlatIndex(
            8, metric=m, codec=c, rescore=r
        )
        for metric, codec, rescore in [
            ("dot", "float32", None),
            ("l2", "float32", None),
            ("cosine", "bfloat16", None),
            ("l2", "int8", "float32"),
            ("dot", "int4", "float32"),
            ("cosine", "int2", None),
            ("l2", "binary", None),
        ]
    },
    "lists": lambda: MultiVectorIndex(8),
    **{
        codec: lambda c=codec: MultiVectorIndex(8, codec=c)
        for codec in (
            "float32",
            "bfloat16",
            "int8",
            "int4",
            "int2",
            "binary",
            "residual2",
            "residual1",
            "pq16",
        )
    },
    "graph": lambda: HNSWIndex(8, m=4, metric="l2"),
    "graph of codes": lambda: HNSWIndex(8, m=4, rescore=None),
}

pytestmark = pytest.mark.filterwarnings("ignore:codec .* is trained once")  # on few tokens


def filled(name: str) -> Any:
    index = EVERY[name]()
    rng = np.random.default_rng(3)
    if isinstance(index, MultiVectorIndex):
        if name == "lists":
            index.train(rng.standard_normal((1, 40, 8)).astype(F32), centroids=4)
        index.add([rng.standard_normal((1 + i % 4, 8)).astype(F32) for i in range(30)])
        index.remove([4, 9])
    else:
        index.add(rng.standard_normal((60, 8)).astype(F32), [f"n{i}" for i in range(60)])
        index.remove(index.ids[:8])
    return index


def answers(index: Any) -> list[Any]:
    queries = np.random.default_rng(0).standard_normal((4, 8)).astype(F32)
    given = queries[:, None] if isinstance(index, MultiVectorIndex) else queries
    some = {"candidates": 12} if isinstance(index, MultiVectorIndex) else {}
    hits = index.search(given, 9, **some)
    graph = isinstance(index, HNSWIndex)
    exact = index.search(given, 9, exact=True) if graph and index.rescore else hits
    values = index.get(index.ids)
    values = values.values if isinstance(index, MultiVectorIndex) else values
    return [hits.ids, hits.scores, exact.ids, exact.scores, values, index.ids]


def same_answers(a: list[Any], b: list[Any]) -> bool:
    return all(
        x.tolist() == y.tolist() if x.dtype == object else same_bits(x, y) for x, y in zip(a, b, strict=True)
    )


# ---- old files


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("name", golden.MAKE)
def test_golden_files(name: str, mmap: bool, tmp_path: Path) -> None:
    path = golden.DATA / f"{name}.tercet"
    want = json.loads(path.with_suffix(".json").read_text())
    index = tercet.open(path, mmap=mmap)
    index.verify()
    got = golden.results(index)
    assert got["ids"] == want["ids"]
    assert got["size"] == want["size"]
    np.testing.assert_allclose(got["scores"], want["scores"], rtol=1e-6)
    settings, sections = container.parse(path.read_bytes())
    again = container.parse(golden.MAKE[name]()._native.dump(json.dumps(settings).encode()))
    assert again[0] == settings
    assert list(again[1]) == list(sections)
    assert {n: (a.shape, a.dtype) for n, a in again[1].items()} == {
        n: (a.shape, a.dtype) for n, a in sections.items()
    }


# ---- damage


@pytest.mark.parametrize("name", EVERY)
def test_flipped_bits(name: str, tmp_path: Path) -> None:
    """Whatever bit it is: an error when it is opened or first used, or nothing has changed."""
    index = filled(name)
    path = tmp_path / "x"
    index.save(path)
    data, want = path.read_bytes(), answers(index)
    rng = np.random.default_rng(len(data))
    for place in rng.integers(0, 8 * len(data), -(-500 // len(EVERY))).tolist():
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        path.unlink()
        path.write_bytes(changed)
        with pytest.raises(ValueError, match="x: "):
            tercet.open(path).verify()
        try:
            got = answers(tercet.open(path, mmap=bool(place & 8)))
        except ValueError as e:
            assert str(path) in str(e)  # noqa: PT017
        else:
            assert same_answers(got, want), place


@pytest.mark.parametrize("name", EVERY)
def test_cut_and_padded_at_every_border(name: str, tmp_path: Path) -> None:
    filled(name).save(tmp_path / "x")
    data = (tmp_path / "x").read_bytes()
    borders = {0, 8, 64, len(data)} | {
        place for _, offset, size in container.layout(data) for place in (offset, offset + size)
    }
    for border in sorted(borders):
        for length in {max(border - 1, 0), border, border + 1, border + 64} - {len(data)}:
            path = tmp_path / f"{length}"
            path.write_bytes(data[:length] + bytes(max(length - len(data), 0)))
            with pytest.raises(ValueError, match=f"{length}: "):
                tercet.open(path)


DAMAGED = """if True:
    import sys
    import numpy as np
    import tercet
    folder, n = sys.argv[1], int(sys.argv[2])
    refused = 0
    for i in range(n):
        try:
            index = tercet.open(f"{folder}/{i}", mmap=bool(i % 2))
            one = np.ones((1, 8), np.float32)
            index.search(one[:, None] if isinstance(index, tercet.MultiVectorIndex) else one)
            index.get(index.ids)
            index.verify()
        except ValueError:
            refused += 1
    print(refused)
"""


def test_a_process_survives_damaged_files(tmp_path: Path) -> None:
    """By its exit status: a crash of this process would not be a failed test, but the end of all."""
    rng = np.random.default_rng(5)
    count = 0
    for name in EVERY:
        filled(name).save(tmp_path / "x")
        data = (tmp_path / "x").read_bytes()
        for _ in range(6):
            changed = bytearray(data)
            for place in rng.integers(0, len(data), int(rng.integers(1, 9))).tolist():
                changed[place] ^= int(rng.integers(1, 256))
            (tmp_path / f"{count}").write_bytes(
                changed[: int(rng.integers(1, len(data)))] if count % 3 == 2 else changed
            )
            count += 1
    command = [sys.executable, "-c", DAMAGED, str(tmp_path), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == count


@pytest.mark.parametrize("section", ["codes", "originals"])
@pytest.mark.parametrize("name", ["flat l2 int8 float32", "graph"])
def test_damage_of_the_payload_is_found_at_first_use(name: str, section: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    filled(name).save(path)
    data = bytearray(path.read_bytes())
    offset = {n: o for n, o, _ in container.layout(bytes(data))}[section]
    data[offset + 9] ^= 1
    path.unlink()
    path.write_bytes(data)
    index = tercet.open(path)  # the payload has not been looked at
    assert len(index) == 52
    message = f"x: damaged index: the checksum of section '{section}' does not match"
    one = np.ones((1, 8), F32)
    uses: list[Callable[[], Any]] = [
        lambda: index.search(one),
        lambda: index.get(["n20"]),
        lambda: index.add(one, ["new"]),
        lambda: index.save(tmp_path / "y"),
        lambda: index.remove(["n20"]),
        lambda: copy.copy(index),
        index.verify,
    ]
    for use in uses * 2:
        with pytest.raises(ValueError, match=message):
            use()
    assert len(index) == 52
    assert os.listdir(tmp_path) == ["x"]
    with pytest.raises(ValueError, match=message):
        tercet.open(path, mmap=False)


@pytest.mark.parametrize("name", EVERY)
def test_what_follows_a_change_is_in_memory(name: str, tmp_path: Path) -> None:
    """The file stays as it is, and so do others who have it open."""
    index = filled(name)
    index.save(tmp_path / "x")
    data = (tmp_path / "x").read_bytes()
    one, two = tercet.open(tmp_path / "x"), tercet.open(tmp_path / "x")
    want = answers(index)
    for change in (
        lambda i: i.remove(i.ids[:3]),
        lambda i: i.remove(i.ids[5:30]),
        lambda i: i.add(i.get(i.ids[:2]), i.ids[:2]),
    ):
        change(index)
        change(one)
        assert same_answers(answers(one), answers(index))
        assert same_answers(answers(two), want)
    one.verify()
    assert (tmp_path / "x").read_bytes() == data
    one.save(tmp_path / "x")
    assert same_answers(answers(two), want)
    assert same_answers(answers(tercet.open(tmp_path / "x")), answers(index))
    for twin in (pickle.loads(pickle.dumps(two)), copy.deepcopy(two)):
        assert same_answers(answers(twin), want)


@posix
def test_opening_reads_no_payload(tmp_path: Path) -> None:
    """A file of a gigabyte, most of it a hole, opens at once."""
    index = FlatIndex(1024, metric="dot")
    index.add(np.ones((2, 1024), F32))
    _, state = container.parse(index._native.dump(json.dumps(index._header()).encode()))
    n = 1 << 18
    ids = np.arange(n)
    rest = {"ids": ids, "next_id": state["next_id"]}
    whole = container.build(index._header(), rest)
    layout = container.layout(whole)
    zeros = container.crc32c(bytes(container.BLOCK))
    entries, sums = b"", b""
    count, size = len(layout) + 1, n * 4096
    blocks = sum(-(-s // container.BLOCK) for _, _, s in layout) + size // container.BLOCK
    place = 64 + container.ENTRY.size * count + 4 * blocks
    pieces = []
    for name, offset, length in layout:
        raw = whole[offset : offset + length]
        place = container.aligned(place)
        element = 1 if name == "settings" else 4
        entries += container.entry_of(
            name.encode(), element, [length // (1 if element == 1 else 8)], place, length
        )
        sums += b"".join(c.to_bytes(4, "little") for c in container.checksums(raw))
        pieces.append((place, raw))
        place += length
    place = container.aligned(place)
    entries += container.entry_of(b"codes", 1, [n, 4096], place, size)
    sums += zeros.to_bytes(4, "little") * (size // container.BLOCK)
    with open(tmp_path / "large", "wb") as file:
        file.truncate(place + size)
        file.write(container.header_of(entries + sums, count, place + size) + entries + sums)
        for offset, raw in pieces:
            file.seek(offset)
            file.write(raw)
    start = time.process_time()  # other processes may be busy
    opened = tercet.open(tmp_path / "large")
    seconds = time.process_time() - start
    assert len(opened) == n
    assert seconds < 1.0  # most of it for the table of ids


# ---- writers


SAVER = """if True:
    import sys
    import numpy as np
    import tercet
    path, kind = sys.argv[1:]
    index = tercet.HNSWIndex(64, m=4) if kind == "graph" else tercet.MultiVectorIndex(64, codec="int8")
    rows = np.random.default_rng(0).standard_normal((4000, 64)).astype(np.float32)
    index.add(rows if kind == "graph" else list(rows[:, None]))
    for step in range(100000):
        index.save(path)
        print(step, flush=True)
        index.remove([step % 4000])
        index.add(rows[[step % 4000]] if kind == "graph" else [rows[[step % 4000]]], [step % 4000])
"""


@posix
@pytest.mark.parametrize("kind", ["graph", "multivector"])
def test_killed_while_saving(kind: str, tmp_path: Path) -> None:
    """TERCET_TEST_KILLS says how often."""
    rng = np.random.default_rng(int(time.time()))
    path = tmp_path / "x"
    for _ in range(int(os.environ.get("TERCET_TEST_KILLS", "15")) // 2 + 1):
        command = [sys.executable, "-c", SAVER, str(path), kind]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()  # one is there
            time.sleep(rng.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
            process.wait()
        for mmap in (True, False):
            index = tercet.open(path, mmap=mmap)
            index.verify()
            assert len(index) == 4000
    assert all(name == "x" or name.startswith(".tercet-") for name in os.listdir(tmp_path))


def _save_often(path: str, value: int, times: int) -> None:
    index = FlatIndex(8)
    index.add(np.full((200, 8), value, F32))
    for _ in range(times):
        index.save(path)


@posix
def test_several_writers_and_readers(tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    _save_often(path, 1, 1)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_save_often, args=(path, v, 40)) for v in (1, 2, 3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        index = tercet.open(path)
        index.verify()
        assert len(index) == 200
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert os.listdir(tmp_path) == ["x"]


@posix
def test_a_writer_waits_for_the_other(tmp_path: Path) -> None:
    import fcntl

    index = FlatIndex(8)
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        thread = threading.Thread(target=index.save, args=(tmp_path / "x",))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        assert os.listdir(tmp_path) == []
        fcntl.flock(handle, fcntl.LOCK_UN)
        thread.join(30)
        assert len(tercet.open(tmp_path / "x")) == 0
    finally:
        os.close(handle)


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_an_os_error() -> None:
    index = FlatIndex(8)
    index.add(np.ones((3, 8), F32))
    with open("/dev/full", "wb") as file, pytest.raises(OSError, match="No space left"):
        index._native.save(file.fileno(), b"{}")


def test_searches_go_on_while_it_is_saved(tmp_path: Path) -> None:
    index = filled("graph")
    done = threading.Event()

    def search() -> None:
        while not done.is_set():
            index.search(np.ones((1, 8), F32))

    thread = threading.Thread(target=search)
    thread.start()
    try:
        for _ in range(20):
            index.save(tmp_path / "x")
            index.add(np.ones((1, 8), F32), ["n1"])
    finally:
        done.set()
        thread.join()
    assert len(tercet.open(tmp_path / "x")) >= 52
