"""Turn what a recipe wrote into a folder of the package: float16, hashes, and the file's size.

    python bench/train/export.py STEP FOLDER [--max-length 256]

FOLDER is ``python/tercet/data/NAME``; ``tercet.models.packaged`` says what is in it. The model card is
written by hand, after bench/train/evaluate.py.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tercet.models.loading import PACKAGED, packaged_model

LORA_ALPHA_PER_RANK = 2  # adapters.backbone


def renamed(name: str) -> str:
    """From peft's name of a tensor to the module's own."""
    return re.sub(r"^base_model\.model\.(.*)\.(lora_[AB])\.default\.weight$", r"backbone.\1.\2", name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--max-length", type=int, default=256, help="tokens that the model reads")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    trained = load_file(args.step / "trained.safetensors")
    halves = {renamed(name): tensor.to(torch.float16) for name, tensor in trained.items()}
    updates = args.folder / "updates.safetensors"
    save_file(halves, updates)
    updates.chmod(0o644)
    backbone = Path(packaged_model()) / "model.safetensors"
    about = {
        "name": args.folder.name,
        "backbone": PACKAGED,
        "backbone_sha256": hashlib.sha256(backbone.read_bytes()).hexdigest(),
        "updates_sha256": hashlib.sha256(updates.read_bytes()).hexdigest(),
        "scale": LORA_ALPHA_PER_RANK,
        "max_length": args.max_length,
        "trained_with": json.loads((args.step / "run.json").read_text()),
    }
    about["trained_with"] = {k: v for k, v in about["trained_with"].items() if k not in ("groups", "out")}
    (args.folder / "model.json").write_text(json.dumps(about, indent=2) + "\n")
    print(f"{updates}: {updates.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
