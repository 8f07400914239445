"""The directory of a SegmentedIndex: readers beside a writer, locks, kills, damage, and memory."""

from __future__ import annotations

import copy
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import segment_writer
from levels import run_python
from tercet import MultiVectorIndex, SegmentedIndex, _core, directory
from tercet.segments.manifest import read_manifest

Array = npt.NDArray[Any]
F32 = np.float32
DIM = segment_writer.DIM
posix = pytest.mark.skipif(os.name != "posix", reason="signals and locks of POSIX")
pytestmark = pytest.mark.filterwarnings("ignore:codec .* is trained once")  # on few tokens


def texts(n: int, seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [segment_writer.document(rng) for _ in range(n)]


QUERIES = [text for text in texts(9, 50) if len(text)]


def answers(index: Any) -> list[Any]:
    hits = index.search(QUERIES, 7)
    vectors = index.get(index.ids)
    return [hits.ids.tolist(), hits.scores.tolist(), index.ids.tolist(), vectors.values.tolist()]


def made(path: Path, codec: Any = "residual2", kind: type = int) -> SegmentedIndex:
    """An index with all sorts of files: two segments, tombstones, a codebook."""
    with SegmentedIndex.create(path, DIM, codec=codec) as index:
        index.add(texts(40), [kind(i) for i in range(40)])
        index.commit()
        index.add(texts(20, 1), [kind(i) for i in range(30, 50)])
        index.commit()
        index.remove([kind(i) for i in range(5)])
    return SegmentedIndex.open(path)


# ---- several processes


@posix
@pytest.mark.parametrize("kind", [int, str])
def test_a_reader_keeps_what_it_opened(kind: type, tmp_path: Path) -> None:
    """While another process adds, removes, commits, merges and is killed."""
    path = tmp_path / "x"
    first = made(path, "int8", kind)
    want = answers(first)
    process = segment_writer.start(path, kind, 5)
    assert process.stdout is not None
    try:
        seen = 0
        for turn in range(1000):
            if turn >= 25 and seen:
                break
            process.stdout.readline()
            other = SegmentedIndex.open(path)
            mine = answers(other)
            other.verify()
            assert answers(first) == want
            assert answers(other) == mine
            seen += other.refresh()
            assert sorted(other.ids.tolist()) == sorted(set(other.ids.tolist()))
            other.get(other.ids)
    finally:
        segment_writer.kill(process, 0)
    assert seen > 0
    assert answers(first) == want
    first.verify()
    assert first.refresh()
    assert first.generation == SegmentedIndex.open(path).generation
    assert answers(first) == answers(SegmentedIndex.open(path))


def test_what_is_not_committed_is_not_seen(tmp_path: Path) -> None:
    reader = made(tmp_path / "x")
    want = answers(reader)
    with SegmentedIndex.open(tmp_path / "x", mode="r+", memory=500) as index:
        index.add(texts(60, 3), range(100, 160))
        index.remove(range(5, 20))
        assert len(index) == 90
        assert not reader.refresh()
        assert answers(SegmentedIndex.open(tmp_path / "x")) == answers(reader) == want
        index.commit()
        assert len(reader) == 45
        assert reader.refresh()
        assert answers(reader) == answers(index)


def test_refreshing_opens_only_what_is_new(tmp_path: Path) -> None:
    reader = made(tmp_path / "x")
    before = {segment.file.file: segment.index for segment in reader._state.segments}
    with SegmentedIndex.open(tmp_path / "x", mode="r+") as index:
        index.add(texts(3, 8), [6, 70, 71])
    assert reader.refresh()
    after = {segment.file.file: segment.index for segment in reader._state.segments}
    assert len(after) == len(before) + 1
    assert all(after[name] is index for name, index in before.items())


def test_searches_go_on_while_a_reader_refreshes(tmp_path: Path) -> None:
    reader = made(tmp_path / "x")
    errors: list[BaseException] = []
    done = threading.Event()

    def search() -> None:
        try:
            while not done.is_set():
                hits = reader.search(QUERIES, 60)
                sizes = set((hits.ids >= 0).sum(axis=1).tolist())
                assert len(sizes) == 1  # all of one state
                assert all(len(set(ids)) == len(ids) for ids in [[hit.id for hit in query] for query in hits])
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    with SegmentedIndex.open(tmp_path / "x", mode="r+") as index:
        for step in range(40):
            index.add(texts(5, step), range(step, step + 5))
            if step % 8 == 7:
                index.compact()
            index.commit()
            reader.refresh()
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []


def test_threads_share_a_writer(tmp_path: Path) -> None:
    """Some search, some change and commit; each sees whole changes, and its own at once."""
    index = SegmentedIndex.create(tmp_path / "x", DIM, codec="float32", memory=3000)
    index.add([np.ones((1, DIM), F32)] * 20, range(20))
    errors: list[BaseException] = []
    done = threading.Event()

    def running(work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as e:
                errors.append(e)

        return run

    def search() -> None:
        while not done.is_set():
            hits = index.search(QUERIES, 1000, filter=None)
            sizes = (hits.ids >= 0).sum(axis=1)
            assert (sizes == sizes[0]).all()
            assert sizes[0] % 5 == 0  # what one call adds or removes
            assert len(index.get(index.ids[:3])) == 3 or len(index) < 3

    def change(number: int) -> None:
        mine = range(1000 * number, 1000 * number + 5)
        for step in range(25):
            index.add(texts(5, step), mine)
            assert all(i in index for i in mine)
            if step % 3 == number % 3:
                index.commit()
            if step % 10 == 9:
                index.compact()
            index.remove(mine)
            assert not any(i in index for i in mine)

    searching = [threading.Thread(target=running(search)) for _ in range(2)]
    changing = [threading.Thread(target=running(lambda n=n: change(n))) for n in (1, 2, 3)]
    for thread in searching + changing:
        thread.start()
    for thread in changing:
        thread.join()
    done.set()
    for thread in searching:
        thread.join()
    assert errors == []
    index.commit()
    index.close()
    assert sorted(SegmentedIndex.open(tmp_path / "x").ids.tolist()) == list(range(20))


HOLDER = """if True:
    import sys, time
    import tercet
    index = tercet.SegmentedIndex.open(sys.argv[1], mode="r+")
    print("open", flush=True)
    time.sleep(600)
"""


@posix
def test_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "x"
    made(path)
    with SegmentedIndex.open(path, mode="r+"):
        with pytest.raises(BlockingIOError, match=rf"another writer .*process {os.getpid()} on .*x'"):
            SegmentedIndex.open(path, mode="r+")
        assert len(SegmentedIndex.open(path)) == 45
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            for _ in range(2):
                with pytest.raises(BlockingIOError, match=f"process {holder.pid} on "):
                    SegmentedIndex.open(path, mode="r+")
        finally:
            holder.kill()
    SegmentedIndex.open(path, mode="r+").close()
    assert (path / "writer.lock").read_bytes() == b""


@posix
def test_nobody_gets_between_creation_and_the_first_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first commit on the directory is locked: the lock is taken once."""
    taken = []
    real = directory._acquire
    monkeypatch.setattr(directory, "_acquire", lambda file: (taken.append(file), real(file)))
    with SegmentedIndex.create(tmp_path / "x", DIM):
        assert len(taken) == 1
        with pytest.raises(BlockingIOError, match="another writer"):
            SegmentedIndex.open(tmp_path / "x", mode="r+")
    SegmentedIndex.open(tmp_path / "x", mode="r+").close()


FORKED = """if True:
    import io, os, sys
    import numpy as np
    import tercet
    index = tercet.SegmentedIndex.create(sys.argv[1], 3)
    index.add(np.ones((4, 2, 3), np.float32))
    index.commit()
    index.add(np.ones((4, 2, 3), np.float32))
    child = os.fork()
    if child == 0:
        assert index.search(np.ones((1, 3), np.float32), 9).ids[0, 7] == 7
        for change in (lambda: index.add(np.ones((1, 3), np.float32)), index.commit, index.compact):
            try:
                change()
            except io.UnsupportedOperation as e:
                assert "only the process that opened it" in str(e)
            else:
                raise AssertionError
        index.close()
        sys.exit(7)  # and not os._exit: all that there is of the parent is taken down
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    try:
        tercet.SegmentedIndex.open(sys.argv[1], mode="r+")
    except BlockingIOError as e:
        assert f"process {os.getpid()} on" in str(e)
    else:
        raise AssertionError("the child has given up the lock of its parent")
    index.commit()
    index.close()
    print(len(tercet.open(sys.argv[1])))
"""


@posix
def test_a_forked_process_does_not_write(tmp_path: Path) -> None:
    """Nor does its end give up the lock."""
    done = run_python(FORKED, str(tmp_path / "x"))
    assert (done.returncode, done.stdout) == (0, "8\n"), done.stderr


def test_readers_are_pickled_as_their_path(tmp_path: Path) -> None:
    reader = made(tmp_path / "x")
    want = answers(reader)
    data = pickle.dumps(reader)
    assert len(data) < 500
    for twin in (pickle.loads(data), copy.copy(reader), copy.deepcopy(reader)):
        assert isinstance(twin, SegmentedIndex)
        assert answers(twin) == want
        twin.close()
    assert answers(reader) == want  # which is not closed with them
    with SegmentedIndex.open(tmp_path / "x", mode="r+") as writer:
        for use in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="a writer cannot be pickled or copied"):
                use(writer)
        writer.remove(writer.ids)
    assert len(pickle.loads(data)) == 0  # the newest commit
    assert answers(reader) == want
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        pickle.dumps(reader)
    shutil.rmtree(tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        pickle.loads(data)


def test_the_next_writer_removes_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "x"
    made(path)
    mine = set(os.listdir(path))
    index = SegmentedIndex.open(path, mode="r+", memory=500)
    index.add(texts(100, 4), range(200, 300))
    assert set(os.listdir(path)) > mine
    for name in ("segment-0123456789abcdef.tercet", "removed-0123456789abcdef.bits", ".tercet-0123.tmp"):
        (path / name).write_bytes(b"left by somebody who was killed")
    for name in ("segment-mine.tercet", "notes.txt", "removed"):
        (path / name).write_bytes(b"not ours")
    index._lock = None
    index._writer._lock.close()  # as if it had been killed
    SegmentedIndex.open(path, mode="r+").close()
    assert set(os.listdir(path)) == mine | {"segment-mine.tercet", "notes.txt", "removed"}
    SegmentedIndex.open(path).verify()


@posix
def test_a_killed_creation_can_be_made_again(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.mkdir()
    for name in ("codebook-0123456789abcdef.tercet", ".tercet-77.tmp", "writer.lock"):
        (path / name).write_bytes(b"")
    with SegmentedIndex.create(path, DIM) as index:
        index.add(texts(3))
    assert len(os.listdir(path)) == 3


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = made(tmp_path / "x")
    index = SegmentedIndex.open(tmp_path / "x", mode="r+")
    index.add(texts(5, 9), range(100, 105))
    want = answers(index)
    for broken in ("segment", "manifest"):
        with monkeypatch.context() as patch:
            real = os.replace

            def replace(old: Any, new: Any, part: str = broken, real: Any = real) -> None:
                if Path(new).name.startswith(part):
                    raise OSError(28, "No space left on device", str(new))
                real(old, new)

            patch.setattr(os, "replace", replace)
            with pytest.raises(OSError, match="No space left"):
                index.commit()
        assert answers(index) == want
        assert not reader.refresh()
    index.commit()
    assert reader.refresh()
    assert answers(reader) == want


# ---- damage


def outcome(path: Path) -> list[Any] | str:
    """What an index answers, or its error, which has to name the directory or a file in it."""
    try:
        index = SegmentedIndex.open(path)
        index.verify()
        return answers(index)
    except (ValueError, FileNotFoundError) as e:
        message = str(e)
    assert str(path) in message
    return message


@pytest.mark.parametrize("kind", [int, str])
def test_flipped_bits_and_cuts(kind: type, tmp_path: Path) -> None:
    """Of every file: an error that names it."""
    made(tmp_path / "x", kind=kind)
    rng = np.random.default_rng(1)
    checked = set()
    for file in sorted((tmp_path / "x").iterdir()):
        if file.name == "writer.lock":
            continue
        data = file.read_bytes()
        small = len(data) < 3000
        changes = [
            data[: n - 1] for n in (range(1, len(data) + 1) if small else rng.integers(1, len(data), 30))
        ]
        for place in range(8 * len(data)) if len(data) < 100 else rng.integers(0, 8 * len(data), 150):
            changed = bytearray(data)
            changed[place // 8] ^= 1 << place % 8
            changes.append(bytes(changed))
        changes += [data + b"\0", data + data, b"", bytes(len(data))]
        for change in changes:
            file.unlink()  # not what an index may have mapped
            file.write_bytes(change)
            message = outcome(tmp_path / "x")
            assert isinstance(message, str), (file.name, change)
            assert file.name in message or file.name == "manifest.json"
        file.unlink()
        file.write_bytes(data)
        checked.add(file.name.split("-")[0])
    assert checked == {"manifest.json", "segment", "removed", "codebook"}
    assert not isinstance(outcome(tmp_path / "x"), str)


DAMAGED = """if True:
    import sys
    import numpy as np
    import tercet
    refused = 0
    for path in sys.argv[1:]:
        try:
            index = tercet.open(path)
            index.search(np.ones((1, 3), np.float32), 5, filter=index.ids[::2])
            index.get(index.ids)
            index.verify()
            with tercet.SegmentedIndex.open(path, mode="r+") as index:
                index.add([np.ones((2, 3), np.float32)])
                index.compact()
        except (ValueError, FileNotFoundError):
            refused += 1
    print(refused)
"""


def test_a_process_survives_damaged_directories(tmp_path: Path) -> None:
    made(tmp_path / "x")
    rng = np.random.default_rng(2)
    names = [name for name in os.listdir(tmp_path / "x") if name != "writer.lock"]
    copies = []
    for i in range(40):
        copy = tmp_path / f"copy{i}"
        shutil.copytree(tmp_path / "x", copy)
        file = copy / names[i % len(names)]
        data = bytearray(file.read_bytes())
        for place in rng.integers(0, len(data), rng.integers(1, 6)):
            data[place] ^= int(rng.integers(1, 256))
        file.write_bytes(data[: rng.integers(1, len(data))] if i % 3 == 2 else data)
        copies.append(str(copy))
    done = run_python(DAMAGED, *copies)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(copies)


def changed_manifest(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest, and make its checksum right."""
    record = json.loads((path / "manifest.json").read_bytes())
    del record["crc32c"]
    change(record)
    record["crc32c"] = _core.crc32c(json.dumps(record, sort_keys=True).encode())
    (path / "manifest.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def test_files_that_are_missing_or_another(tmp_path: Path) -> None:
    made(tmp_path / "x")
    first, second = (file.file for file in read_manifest(tmp_path / "x").segments)
    for name in os.listdir(tmp_path / "x"):
        if name == "writer.lock":
            continue
        copy = tmp_path / f"without {name}"
        shutil.copytree(tmp_path / "x", copy)
        (copy / name).unlink()
        message = outcome(copy)
        assert name in message
        assert isinstance(message, str)
        for mode in ("r", "r+"):
            with pytest.raises((FileNotFoundError, ValueError), match=name):
                SegmentedIndex.open(copy, mode=mode)  # type: ignore[arg-type]
    os.rename(tmp_path / "x" / first, tmp_path / "x" / "aside")
    os.rename(tmp_path / "x" / second, tmp_path / "x" / first)
    os.rename(tmp_path / "x" / "aside", tmp_path / "x" / second)
    assert f"{first}: not the file that the manifest names: generation" in outcome(tmp_path / "x")
    other = MultiVectorIndex(DIM)
    other.add(texts(40))
    (tmp_path / "x" / first).unlink()
    other.save(tmp_path / "x" / first)
    assert f"{first}: not the file" in outcome(tmp_path / "x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(version=2), "expected format version 1, got 2; a newer tercet wrote it"),
        (lambda m: m.update(version=True), "expected format version 1, got True"),
        (lambda m: m.update(format="other"), "expected format 'tercet-segments', got 'other'"),
        (lambda m: m.update(dim=4), "settings"),
        (lambda m: m.update(dim=0), "manifest.json: damaged"),
        (lambda m: m.update(dim="3"), "manifest.json: damaged"),
        (lambda m: m.update(codec="int8"), "settings"),
        (lambda m: m.update(seed=7), "settings"),
        (lambda m: m.update(more=7), "manifest.json: damaged"),
        (lambda m: m.pop("ids"), "manifest.json: damaged"),
        (lambda m: m.update(segments=7), "manifest.json: damaged"),
        (lambda m: m["segments"][0].pop("file"), "manifest.json: damaged"),
        (lambda m: m["segments"][0].update(file="../x/manifest.json"), "manifest.json: damaged"),
        (
            lambda m: m["segments"][0].update(file="segment-0123456789abcdef.tercet"),
            "segment-0123456789abcdef",
        ),
        (lambda m: m["segments"][0].update(documents=39), "documents 40, not 39"),
        (lambda m: m["segments"][0].update(generation="0" * 32), "generation"),
        (lambda m: m["segments"][0].update(generation="0"), "manifest.json: damaged"),
        (lambda m: m["segments"][0]["removed"].update(documents=3), "damaged tombstones: expected 3, got 15"),
        (lambda m: m["segments"][0]["removed"].update(crc32c=3), "tombstones: the checksum"),
        (lambda m: m["codebook"].update(generation="1" * 32), "codebook-.*not the file"),
    ],
)
def test_manifests_that_say_something_else(
    change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    made(path)
    changed_manifest(path, lambda record: None)
    assert not isinstance(outcome(path), str)
    changed_manifest(path, change)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        SegmentedIndex.open(path)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"5", b"\xff", b"[" * 100_000])
def test_manifests_that_are_none(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(text)
    assert isinstance(outcome(tmp_path), str)


# ---- memory


PEAK = """if True:
    import sys
    import numpy as np
    import tercet
    what, path, megabytes, codec, memory = sys.argv[1], sys.argv[2], *sys.argv[3:]
    dim, options = 64, {"codec": codec, "memory": int(memory) << 20}
    megabytes = int(megabytes)
    def peak():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) >> 10
    def stream(megabytes):
        rng = np.random.default_rng(0)
        for i in range(megabytes * 16):
            yield i, rng.standard_normal((256, dim), dtype=np.float32)  # 64 kB
    tercet.SegmentedIndex.build(path + " warm", stream(1), dim=dim, **options)
    before = peak()
    if what == "build":
        tercet.SegmentedIndex.build(path, stream(megabytes), dim=dim, **options)
    elif what == "open":
        tercet.open(path)
    else:
        with tercet.SegmentedIndex.open(path, mode="r+", memory=64 << 20) as index:
            index.remove(index.ids[::3])
    print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory(tmp_path: Path) -> None:
    """Of a build with 64 MB: what the documentation says, whatever the length of the stream."""

    def peak(what: str, path: str, megabytes: int, codec: str = "float32", memory: int = 64) -> int:
        done = run_python(PEAK, what, path, str(megabytes), codec, str(memory))
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    path = str(tmp_path / "x")
    long = peak("build", path, 500)
    # memory, what the allocator keeps, a tenth of memory for the batch; lists are not trained in segments of
    # 131,072 tokens at most
    assert long <= 64 + 64 + 6 + 2
    assert peak("build", path + "2", 1000) <= 64 + 64 + 6 + 2
    assert len(list((tmp_path / "x").glob("segment-*"))) > 10
    # Segments of 400,000 tokens, in which lists are trained.
    lists = 300 * 400_000**0.5 * 64 / 2**20
    assert peak("build", path + "3", 300, "int4", 32) <= 32 + 64 + 3 + lists
    assert SegmentedIndex.open(path + "3").stats()["per_segment"][0]["tokens"] > 400_000
    assert SegmentedIndex.open(path + "3").stats()["file_bytes"] > 32 << 20
    # Of 534 MB in 16 segments: ids and spans of 8,000 documents, and a few mapped pages of each file, which
    # the kernel counts with those around them, 64 kB at a time.
    assert peak("open", path, 0) <= 12
    assert peak("remove", path, 0) <= 16
