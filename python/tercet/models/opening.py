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
    if _by_torch(backend, model, threads):
        from tercet.models.loading import packaged_model
        from tercet.models.torch_runners import TorchVectors

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
    own = COLBERT if is_trained(model, COLBERT) else None
    if _by_torch(backend, model, threads, own):
        from tercet.models.torch_runners import TorchTokens

        source = colbert(device) if own else model
        runner = TorchTokens(source, device=device, precision=precision, options=options)
        runner.name = own or runner.name
        return runner
    from tercet.models.onnx.runners import OnnxTokens

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
    own = RERANKER if is_trained(model, RERANKER) else None
    if _by_torch(backend, model, threads, own):
        from tercet.models.torch_pairs import TorchPairs

        source = cross_encoder(device) if own else model
        runner = TorchPairs(source, device=device, precision=precision, options=options)
        runner.name = own or runner.name
        return runner
    from tercet.models.onnx.runners import OnnxPairs

    return OnnxPairs(_exported(model, device, precision, threads, options))


def _by_torch(backend: Backend | None, model: Any, threads: int | None, own: str | None = None) -> bool:
    """Tell whether torch runs a model, or ``own``, one that comes with tercet; refuse what it cannot have."""
    if choose_backend(backend, own or model) == "torch":
        if threads is not None:
            raise TypeError(
                "threads: only with backend='onnx'; torch has one number for the process: "
                "torch.set_num_threads"
            )
        return True
    if own:
        raise ValueError(
            f"{own} needs torch: pip install 'tercet[demo]'; backend='onnx' takes a directory with an export"
        )
    return False


def _exported(
    model: Any, device: str | None, precision: Any, threads: int | None, options: dict[str, Any]
) -> Any:
    from tercet.models.onnx.model import open_model

    return open_model(model, device=device, precision=precision, threads=threads, options=options)
