"""Turn what a recipe wrote into a folder of the package: matrices as int8, and hashes.

    python bench/train/export.py STEP FOLDER [--max-length 256]

FOLDER is ``python/tercet/data/NAME``; ``tercet.models.updates`` says what is in it. The model card is
written by hand, after bench/train/evaluate.py.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from adapters import SCALE
from safetensors.torch import load_file, save_file

from tercet.models.loading import PACKAGED, packaged_model

KEPT = ("kind", "step", "steps", "dim", "rank", "batch", "size", "rate", "seed")  # of a run's settings


def rounded(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return matrices as int8 with a float16 ``NAME.scale [rows, 1]``, and the rest as it is."""
    made = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 2:
            scale = (tensor.float().abs().amax(1, keepdim=True) / 127).clamp_min(1e-7).half()
            made[f"{name}.scale"] = scale
            tensor = (tensor / scale.float()).round().clamp(-127, 127).to(torch.int8)
        made[name] = tensor
    return made


def sealed(folder: Path, tensors: dict[str, torch.Tensor], about: dict[str, Any]) -> None:
    """Write tensors, and what is said about them with the hash that belongs to them."""
    updates = folder / "updates.safetensors"
    save_file(tensors, updates)
    updates.chmod(0o644)
    about = {**about, "updates_sha256": hashlib.sha256(updates.read_bytes()).hexdigest()}
    (folder / "model.json").write_text(json.dumps(about, indent=2) + "\n")
    print(f"{updates}: {updates.stat().st_size:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--max-length", type=int, default=256, help="tokens that the model reads")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    run = json.loads((args.step / "run.json").read_text())
    about = {
        "name": args.folder.name,
        "backbone": PACKAGED,
        "backbone_sha256": hashlib.sha256(
            (Path(packaged_model()) / "model.safetensors").read_bytes()
        ).hexdigest(),
        "scale": SCALE,
        "max_length": args.max_length,
        "trained_with": {name: run[name] for name in KEPT if name in run},
    }
    sealed(args.folder, rounded(load_file(args.step / "updates.safetensors")), about)


if __name__ == "__main__":
    main()
