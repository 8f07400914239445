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
from tercet.models.packaged import COLBERT, RERANKER, colbert, cross_encoder, is_trained
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
    own = is_trained(model, COLBERT)
    if choose_backend(backend, COLBERT if own else model) == "torch":
        from tercet.models.torch_runners import TorchTokens

        _refuse_threads(threads)
        source = colbert(device) if own else model
        runner = TorchTokens(source, device=device, precision=precision, options=options)
        runner.name = COLBERT if own else runner.name
        return runner
    from tercet.models.onnx.runners import OnnxTokens

    _refuse_trained(own, COLBERT)
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
    own = is_trained(model, RERANKER)
    if choose_backend(backend, RERANKER if own else model) == "torch":
        from tercet.models.torch_runners import TorchPairs

        _refuse_threads(threads)
        source = cross_encoder(device) if own else model
        runner = TorchPairs(source, device=device, precision=precision, options=options)
        runner.name = RERANKER if own else runner.name
        return runner
    from tercet.models.onnx.runners import OnnxPairs

    _refuse_trained(own, RERANKER)
    return OnnxPairs(_exported(model, device, precision, threads, options))


def _exported(
    model: Any, device: str | None, precision: Any, threads: int | None, options: dict[str, Any]
) -> Any:
    from tercet.models.onnx.model import open_model

    return open_model(model, device=device, precision=precision, threads=threads, options=options)


def _refuse_trained(own: bool, name: str) -> None:
    if own:
        raise ValueError(
            f"{name} needs torch: pip install 'tercet[demo]'; backend='onnx' takes a directory with an export"
        )


def _refuse_threads(threads: int | None) -> None:
    if threads is not None:
        raise TypeError(
            "threads: only with backend='onnx'; torch has one number for the process: torch.set_num_threads"
        )
