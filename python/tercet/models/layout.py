"""What a directory that sentence-transformers 6 wrote must have, as its libraries guess what is missing.

Without the settings of a module they take defaults, which often are others than those it was saved with. An
older save may lack some of these files by right: ``Normalize`` had none until version 6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["check_layout"]

# Of the modules that would load without their settings; others need them to be made at all
_SETTINGS = {
    "Transformer": "sentence_bert_config.json",
    **dict.fromkeys(("Normalize", "MultiVectorMask", "HierarchicalTokenPooling"), "config.json"),
}
_DESCRIBED = "config_sentence_transformers.json"


def check_layout(name: str, read: Callable[[str], Any]) -> None:
    """Look for the settings of a model and its modules.

    Args:
        name: of the model.
        read: returns what a JSON file of it holds, None when there is none.

    Raises:
        FileNotFoundError: one that version 6 writes is missing; names it.
    """
    modules, described = read("modules.json"), read(_DESCRIBED)
    if described is None:
        # An old save need not have it; these settings are newer
        if modules is not None and "modality_config" in (read(_SETTINGS["Transformer"]) or {}):
            raise _missing(name, _DESCRIBED)
        return
    if _version(described) < 6:
        return
    if modules is None and described.get("model_type") == "SentenceTransformer":
        raise _missing(name, "modules.json")
    for module in modules or []:
        library, _, kind = str(module.get("type", "")).rpartition(".")
        if library.startswith("sentence_transformers") and kind in _SETTINGS:
            folder = str(module.get("path", ""))
            file = f"{folder}/{_SETTINGS[kind]}" if folder else _SETTINGS[kind]
            if read(file) is None:
                raise _missing(name, file)


def _version(described: dict[str, Any]) -> int:
    versions = described.get("__version__")
    stated = str(versions.get("sentence_transformers")) if isinstance(versions, dict) else ""
    major = stated.partition(".")[0]
    return int(major) if major.isdigit() else 0


def _missing(name: str, file: str) -> FileNotFoundError:
    return FileNotFoundError(
        f"{name}: no {file}, which sentence-transformers 6 writes; without it other settings would be guessed"
    )
