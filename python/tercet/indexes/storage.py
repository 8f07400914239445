"""One index, one file (csrc/storage/FORMAT.md): written atomically, and every byte of it has a checksum.

Native code makes and checks the bytes; here are the settings, which are JSON, and how a file is replaced.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

from tercet import _core

if sys.platform == "win32":
    fcntl = None
else:
    import fcntl

__all__ = ["as_name", "is_temporary", "open_file", "read_settings", "replace_file", "sync_directory", "write"]

_Index: TypeAlias = "_core.FlatIndex | _core.HNSWIndex | _core.MultiVectorIndex"


def write(path: str | os.PathLike[str], index: _Index, settings: dict[str, Any]) -> None:
    """Write an index to ``path``, replacing what is there in one step."""
    replace_file(path, lambda file: index.save(file.fileno(), as_json(settings)))


def as_json(settings: dict[str, Any]) -> bytes:
    """Return settings as a file holds them."""
    return json.dumps(settings, sort_keys=True).encode()


def open_file(path: str | os.PathLike[str], mmap: bool) -> _core.Container:
    """Open an index file: mapped, or read into memory.

    Raises:
        ValueError: the file is not an index, is of another version, is cut off or has a damaged directory.
        TypeError: the path is none.
    """
    name = as_name(path)
    with open(name, "rb") as file:
        try:
            return _core.Container(file.fileno(), name, mmap)
        except ValueError as e:
            from tercet.compat.hnswlib_file import dim_in  # which knows this module

            dim = dim_in(file)
            if dim is None:
                raise
            advice = f"tercet.from_hnswlib(path, space, dim={dim}) makes an HNSWIndex of it"
            raise ValueError(f"{e} but one of hnswlib: {advice}") from None


def as_name(path: str | os.PathLike[str]) -> str:
    """Return the name of a file; TypeError for what is none, bytes among it."""
    name = os.fspath(path)
    if not isinstance(name, str):
        raise TypeError(f"path: expected str or os.PathLike[str], got {type(path).__name__}")
    return name


def read_settings(file: _core.Container, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the settings of an index file; ValueError if they are damaged."""
    text = file.settings()
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise ValueError(f"{os.fspath(path)}: damaged index: settings: {e}") from None
    if not isinstance(settings, dict):
        raise ValueError(f"{os.fspath(path)}: damaged index: settings: no JSON object but {settings!r}")
    return settings


def replace_file(path: str | os.PathLike[str], fill: Any) -> None:
    """Write a file through ``fill(file)`` and put it at ``path`` in one step that survives a power cut.

    A file that is there keeps its mode, a link its target. One writer at a time is at work in a directory,
    others wait for it, and readers never do. What a writer that was killed left there is removed.
    """
    name = as_name(path)
    target = os.path.realpath(name)
    folder = os.path.dirname(target)
    if not name or os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, "expected the name of a file, got a directory", name)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "no such directory", folder)
    with _writing_in(folder) as alone:
        if alone:
            _remove_temporaries(folder)
        _replace(target, folder, fill)


def is_temporary(name: str) -> bool:
    """Tell whether a directory entry is a file that a writer has not finished."""
    return name.startswith(".tercet-") and name.endswith(".tmp")


def _remove_temporaries(folder: str) -> None:
    """Remove half-written files. Only for who holds the lock: no writer lives that they could belong to."""
    for name in os.listdir(folder):
        if is_temporary(name):
            with suppress(OSError):  # another user's, in a directory like /tmp
                os.unlink(os.path.join(folder, name))


def _replace(target: str, folder: str, fill: Any) -> None:
    # Not tempfile's: those are private, and giving them the umask means to change it for all threads.
    temporary = os.path.join(folder, f".tercet-{secrets.token_hex(8)}.tmp")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    handle = os.open(temporary, flags, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            with suppress(OSError):
                os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_directory(folder)


def sync_directory(folder: str | os.PathLike[str]) -> None:
    """Make the names in a directory survive a power cut, where the system can: renames, links, removals."""
    if os.name != "posix":
        return
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def _writing_in(folder: str) -> Iterator[bool]:
    """Hold the lock on writing in a directory, and tell whether there are locks; it ends with the process."""
    if fcntl is None:
        yield False
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        locked = False
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
            locked = True
        yield locked
    finally:
        with suppress(OSError):  # by name, since a child that was forked meanwhile keeps the handle open
            fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)
