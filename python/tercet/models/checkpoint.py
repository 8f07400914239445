"""What a checkpoint is, read from its small files, where sentence-transformers would guess.

Two guesses give random numbers for an answer: a bare encoder loaded as ``MultiVectorEncoder`` gets a new
random projection, and one loaded as ``CrossEncoder`` a new random head. Both are refused here.
"""

from __future__ import annotations

from typing import Any

from tercet.models.layers import layers_left_over
from tercet.models.loading import find_file, hub_options, read_json, require_model

__all__ = ["late_interaction_format", "refuse_incomplete", "refuse_untrained"]


def late_interaction_format(name: str, options: dict[str, Any]) -> str:
    """Return which late-interaction format a checkpoint has.

    ``"sentence-transformers"``: ``modules.json``, and ``config_sentence_transformers.json`` says
    ``"model_type": "MultiVectorEncoder"``. ``"PyLate"``: the same with ``"ColBERT"``, or, in saves older
    than that key, a PyLate module or marker prefix beside a projection. ``"Stanford-NLP"``: ``config.json``
    says ``"architectures": ["HF_ColBERT"]``. ``"transformers"``: an architecture ``*ForRetrieval`` (ColPali,
    ColQwen2, ColModernVBert), which projects by itself.

    Args:
        name: a local directory or a name on the Hugging Face hub (its cached files when offline).
        options: of ``MultiVectorEncoder``; those that say where and which revision are used.

    Raises:
        FileNotFoundError: no model under that name, or one without the settings of its format.
        ValueError: a model, but none of the formats above; names what was found.
    """
    require_model("MultiVectorEncoder", name, options)
    described = read_json(name, "config_sentence_transformers.json", options) or {}
    modules = [str(module.get("type", "")) for module in read_json(name, "modules.json", options) or []]
    config = read_json(name, "config.json", options)
    architectures = [str(a) for a in (config or {}).get("architectures") or []]
    model_type = described.get("model_type")
    if modules:
        projects = any(module.endswith("Dense") for module in modules)
        marked = "query_prefix" in described or any(module.startswith("pylate.") for module in modules)
        if model_type == "MultiVectorEncoder":
            return "sentence-transformers"
        if model_type == "ColBERT" or (model_type is None and projects and marked):
            _require(described, name, "config_sentence_transformers.json", "PyLate")
            return "PyLate"
    if "HF_ColBERT" in architectures and model_type is None:
        path = find_file(name, "artifact.metadata", options)
        _require(path, name, "artifact.metadata", "Stanford-NLP")
        return "Stanford-NLP"
    if not modules and any(architecture.endswith("ForRetrieval") for architecture in architectures):
        return "transformers"
    found = [f"architectures {architectures}"] if architectures else []
    found += [f"model_type {model_type!r}"] if model_type else []
    found += [f"modules {[module.rpartition('.')[2] for module in modules]}"] if modules else []
    raise ValueError(
        f"{name}: found {', '.join(found) or 'a config.json without architectures'}; expected a "
        "late-interaction checkpoint: model_type 'MultiVectorEncoder' (sentence-transformers) or 'ColBERT' "
        "(PyLate), or architectures ['HF_ColBERT'] (Stanford-NLP) or *ForRetrieval (transformers). This one "
        f"would be scored with an untrained projection; ColBERT.from_biencoder({name!r}) uses its own token "
        "vectors instead"
    )


def _require(found: Any, name: str, file: str, by: str) -> None:
    if not found:
        raise FileNotFoundError(
            f"{name}: no {file}, where {by} writes markers and lengths; without it others would be guessed"
        )


def refuse_incomplete(model: Any, name: str, options: dict[str, Any]) -> None:
    """Raise ValueError for an encoder without some of its weights, which would be random numbers.

    Also for one with more layers than its configuration counts, as :func:`refuse_untrained`.
    """
    transformer = getattr(model, "transformers_model", None)
    if transformer is None:
        return
    # Of a pooled output nobody asks, and many checkpoints come without it
    missing = [m for m in _untrained(transformer, name, options) if not m.startswith("pooler.")]
    if missing:
        raise ValueError(
            f"{name}: no weights for {_some(missing)}, which would be random; its files are incomplete, or "
            f"of another architecture than {model[0].config.architectures}"
        )


def refuse_untrained(model: Any, name: str, options: dict[str, Any]) -> None:
    """Raise ValueError for a cross-encoder without some of its weights, its head for one."""
    missing = _untrained(model.transformers_model, name, options)
    if missing:
        raise ValueError(
            f"{name}: no trained weights for {_some(missing)}, its scores would be random; found "
            f"architectures {model.config.architectures}, expected a fine-tuned *ForSequenceClassification"
        )


def _untrained(model: Any, name: str, options: dict[str, Any]) -> list[str]:
    """Return the parameters of a transformers model that its checkpoint does not have.

    Args:
        model: as ``from_pretrained`` returned it, which has filled those parameters with random numbers.
        name: of the checkpoint, for an error.
        options: of the class; those that say where and which revision are used.

    Raises:
        ValueError: the checkpoint has layers that the model does not have.
    """
    stored = _stored_names(model.name_or_path, options)
    unused = layers_left_over(model, stored)
    if unused and not options.get("config_kwargs"):  # with which one may ask for fewer layers
        raise ValueError(
            f"{name}: weights of layers that its config.json does not count: {_some(unused)}; they would not "
            "be used"
        )
    parameters = {parameter for parameter, _ in model.named_parameters()}
    if parameters <= stored:
        return []
    # Names differ: a head is missing, or transformers renamed, tied or converted weights as it loaded them.
    # It alone knows which, and only tells while it loads.
    hub = hub_options(options)
    hub["cache_dir"] = hub.pop("cache_folder", None)
    _, info = type(model).from_pretrained(
        model.name_or_path, config=model.config, output_loading_info=True, **hub
    )
    return sorted(parameters.intersection(info["missing_keys"]))


def _stored_names(name: str, options: dict[str, Any]) -> set[str]:
    """Return the tensor names in the safetensors files of a checkpoint; none when it has another format.

    Of a sharded one those that are in the shards: its index may name others.
    """
    files = ["model.safetensors"]  # which transformers prefers where both are
    if find_file(name, files[0], options) is None:
        index = read_json(name, "model.safetensors.index.json", options) or {}
        files = sorted(set(index.get("weight_map", {}).values()))
    from safetensors import safe_open

    names: set[str] = set()
    for file in files:
        path = find_file(name, file, options)
        if path is None:
            raise FileNotFoundError(f"{name}: no {file}, which model.safetensors.index.json names")
        with safe_open(path, framework="pt") as shard:
            names.update(shard.keys())
    return names


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
