"""The same verbs on a CUDA device.

``index.to_device()`` copies a :class:`tercet.FlatIndex` or :class:`tercet.MultiVectorIndex` to a device, byte
for byte as it is stored; :func:`maxsim` scores tensors that are there already. CUDA tensors of torch, cupy,
jax and others are taken by DLPack or ``__cuda_array_interface__``, and results are given back the same way;
work goes to the caller's stream, and nothing waits for it. None of these libraries is imported. Memory that
calls need is kept for later ones; :func:`release_memory` gives it back.

The kernels are in a library of their own, which a build with ``-Ccmake.define.TERCET_CUDA=ON`` has:
:func:`is_available` tells whether there is one and a device to run it on, :func:`why_unavailable` why not.

No one has run them on a device yet: they are compiled for it, and tested by an emulator of a warp.
"""

from tercet.cuda.indexes import DeviceFlatIndex, DeviceMultiVectorIndex
from tercet.cuda.library import why_unavailable
from tercet.cuda.memory import release_memory
from tercet.cuda.scoring import maxsim
from tercet.cuda.search import DeviceHits
from tercet.cuda.tensors import DeviceArray

__all__ = [
    "DeviceArray",
    "DeviceFlatIndex",
    "DeviceHits",
    "DeviceMultiVectorIndex",
    "is_available",
    "maxsim",
    "release_memory",
    "why_unavailable",
]


def is_available() -> bool:
    """Tell whether there is a CUDA device here, and the library of kernels for it."""
    return why_unavailable() is None


def __dir__() -> list[str]:
    """List what is public: completion shows this, not the modules it comes from."""
    return __all__
