"""An ONNX file, ready to run: inputs and output by what they mean, errors that name the file."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet import _core
from tercet.models.backend import Columns

__all__ = ["Graph"]

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_DTYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_FLOATS = {"tensor(float)": "float32", "tensor(float16)": "float16"}


class Graph:
    """A session of ONNX Runtime on the CPU.

    Args:
        path: the file; its external data lies beside it.
        outputs: names of which one is wanted, the best first.
        axes: of that output.
        threads: of a run; None is what tercet uses: ``TERCET_NUM_THREADS``, or what the machine has.

    Attributes:
        path: as given.
        threads: of a run.
        precision: dtype of what it gives.

    Raises:
        ImportError: onnxruntime is not installed.
        ValueError: the file cannot be loaded, or has other inputs or outputs; says which.
    """

    def __init__(self, path: Path, outputs: tuple[str, ...], axes: int, threads: int | None) -> None:
        self.path = path
        self.threads = _core.cpu_info()["threads"] if threads is None else threads
        self._session = _session(path, self.threads)
        self._inputs = {i.name: _DTYPES.get(i.type) for i in self._session.get_inputs()}
        found = {o.name: o for o in self._session.get_outputs()}
        wanted = [name for name in outputs if name in found]
        if not wanted:
            raise ValueError(f"{path}: expected an output {' or '.join(outputs)}, found {list(found)}")
        if "input_ids" not in self._inputs or not self._inputs.keys() <= set(_INPUTS):
            raise ValueError(f"{path}: expected inputs of {list(_INPUTS)}, found {list(self._inputs)}")
        self._output = found[wanted[0]]
        if len(self._output.shape) != axes:
            raise ValueError(
                f"{path}: expected {axes} axes of {self._output.name}, found shape {self._output.shape}"
            )
        if None in self._inputs.values() or self._output.type not in _FLOATS:
            types = {i.name: i.type for i in self._session.get_inputs()}
            raise ValueError(
                f"{path}: expected int64 or int32 inputs and a float output, found {types} and "
                f"{self._output.type}"
            )
        self.precision = _FLOATS[self._output.type]

    @cached_property
    def width(self) -> int:
        """Size of the last axis of what it gives."""
        stated = self._output.shape[-1]
        if isinstance(stated, int):
            return stated
        one = {name: [[1]] for name in _INPUTS}  # an export may only name the axis
        return int(self.run(one, [0], 0).shape[-1])

    def run(self, columns: Columns, batch: list[int], pad_id: int) -> npt.NDArray[np.float32]:
        """Return the output for the texts at the given places, padded on the right to the longest of them.

        Args:
            columns: ``input_ids`` and the other inputs, a list for each text.
            batch: places in these.
            pad_id: what ``input_ids`` are filled with; the others with zeros.
        """
        width = max(1, *(len(columns["input_ids"][i]) for i in batch))
        feeds = {}
        for name, dtype in self._inputs.items():
            feeds[name] = np.full((len(batch), width), pad_id if name == "input_ids" else 0, dtype)
            for row, i in zip(feeds[name], batch, strict=True):
                row[: len(columns[name][i])] = columns[name][i]
        (output,) = self._session.run([self._output.name], feeds)
        values: npt.NDArray[np.float32] = np.asarray(output, np.float32)
        return values

    def digest(self) -> str:
        """Return a SHA-256 of the file and its external data."""
        data = self.path.read_bytes()
        total = hashlib.sha256(data)
        for file in sorted(self.path.parent.iterdir()):
            # A graph names the files that hold its tensors
            if file.is_file() and file != self.path and file.name.encode() in data:
                with file.open("rb") as stream:
                    while chunk := stream.read(1 << 24):
                        total.update(chunk)
        return total.hexdigest()


def _session(path: Path, threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as e:
        raise ImportError("the onnx backend needs onnxruntime: pip install 'tercet[onnx]'") from e
    if threads < 1:
        raise ValueError(f"threads: expected at least 1, got {threads}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors, which are raised as well
    # Threads that wait by spinning take a core from the search beside them: with two, a query of MiniLM took
    # 11 ms of processor time, and 6 without, 48 documents a fifth more
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as e:  # its errors have no common class
        raise ValueError(f"{path}: ONNX Runtime cannot load it: {str(e).splitlines()[0]}") from e
