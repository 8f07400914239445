"""From what a class was given to its runner: the one place that knows both backends."""

from __future__ import annotations

from typing import Any

from tercet.models.backend import (
    Backend,
    PairRunner,
    TokenRunner,
    VectorRunner,
    choose_backend,
    is_packaged,
)
from tercet.models.precision import Precision

__all__ = ["pair_runner", "token_runner", "vector_runner"]


def vector_runner(
    model: Any,
    backend: Backend | None,
    *,
    device: str | None,
    precision: Precision | None,
    max_length: int | None,
    threads: int | None,
    options: dict[str, Any],
) -> VectorRunner:
    """Return what runs a :class:`~tercet.models.BiEncoder`; arguments and errors are its own."""
    if choose_backend(backend, model) == "torch":
        from tercet.models.loading import packaged_model
        from tercet.models.torch_runners import TorchVectors

        _refuse_threads(threads)
        source = packaged_model() if is_packaged(model) else model
        return TorchVectors(
            source, device=device, precision=precision, max_length=max_length, options=options
        )
    from tercet.models.onnx.runners import OnnxVectors

    return OnnxVectors(_exported(model, device, precision, threads, options), max_length=max_length)


def token_runner(
    model: Any,
    backend: Backend | None,
    *,
    device: str | None,
    precision: Precision | None,
    threads: int | None,
    options: dict[str, Any],
) -> TokenRunner:
    """Return what runs a :class:`~tercet.models.ColBERT`; arguments and errors are its own."""
    if choose_backend(backend, model) == "torch":
        from tercet.models.torch_runners import TorchTokens

        _refuse_threads(threads)
        return TorchTokens(model, device=device, precision=precision, options=options)
    from tercet.models.onnx.runners import OnnxTokens

    if model is None:
        raise TypeError("model: expected a path, got NoneType")
    return OnnxTokens.of_checkpoint(_exported(model, device, precision, threads, options))


def pair_runner(
    model: Any,
    backend: Backend | None,
    *,
    device: str | None,
    precision: Precision | None,
    threads: int | None,
    options: dict[str, Any],
) -> PairRunner:
    """Return what runs a :class:`~tercet.models.CrossEncoder`; arguments and errors are its own."""
    if choose_backend(backend, model) == "torch":
        from tercet.models.torch_runners import TorchPairs

        _refuse_threads(threads)
        return TorchPairs(model, device=device, precision=precision, options=options)
    from tercet.models.onnx.runners import OnnxPairs

    if model is None:
        raise TypeError("model: expected a path, got NoneType")
    return OnnxPairs(_exported(model, device, precision, threads, options))


def _exported(
    model: Any, device: str | None, precision: Any, threads: int | None, options: dict[str, Any]
) -> Any:
    from tercet.models.onnx.model import open_model

    return open_model(model, device=device, precision=precision, threads=threads, options=options)


def _refuse_threads(threads: int | None) -> None:
    if threads is not None:
        raise TypeError(
            "threads: only with backend='onnx'; torch has one number for the process: torch.set_num_threads"
        )
