"""Registers of CUDA kernels by architecture, as a table, from the output of ptxas -v.

    python tests/cuda/registers.py < build/cuda/ptxas.log

Fails if a kernel spills: what no longer fits into registers is written to memory and read again in the loop.
"""

from __future__ import annotations

import re
import subprocess
import sys

COMPILED = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for '(?P<arch>\w+)'.*?"
    r"(?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers",
    re.DOTALL,
)
FORMATS = ("float32", "bfloat16", "int8", "int4", "int2", "int1")


def kernel_of(symbol: str) -> str:
    """The name of a kernel, with its format and whether its panel stays in registers, and centroids."""
    name = subprocess.run(["c++filt", symbol], capture_output=True, text=True, check=True).stdout
    kernel = re.search(r"(\w+)_kernel(?:<(.*?)>)?\(", name)
    assert kernel, name
    options = re.findall(r"\(tercet::Format\)(\d)|(true|false)", kernel[2] or "")
    words = [FORMATS[int(number)] for number, _ in options if number]
    flags = [flag == "true" for _, flag in options if flag]
    words += [word for word, on in zip(("resident", "residual"), flags, strict=False) if on]
    return " ".join([kernel[1], *words])


def main() -> int:
    found: dict[str, dict[str, int]] = {}
    spilled = []
    for match in COMPILED.finditer(sys.stdin.read()):
        kernel, arch = kernel_of(match["name"]), match["arch"]
        found.setdefault(kernel, {})[arch] = int(match["registers"])
        if int(match["stores"]) or int(match["loads"]):
            spilled.append(f"{kernel} for {arch} spills {match['stores']} bytes")
    if not found:
        print("no kernels in the input", file=sys.stderr)
        return 1
    archs = sorted({arch for own in found.values() for arch in own}, key=lambda a: int(re.sub(r"\D", "", a)))
    print(f"| kernel | {' | '.join(archs)} |")
    print(f"|---|{'---|' * len(archs)}")
    for kernel in sorted(found):
        print(f"| {kernel} | {' | '.join(str(found[kernel].get(arch, '')) for arch in archs)} |")
    for line in spilled:
        print(line, file=sys.stderr)
    return 1 if spilled else 0


if __name__ == "__main__":
    sys.exit(main())
