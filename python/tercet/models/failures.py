"""What the libraries raise for a checkpoint that they cannot load, and what of it says enough."""

from __future__ import annotations

import pickle

__all__ = ["reason", "speaks_for_itself", "unclear_errors"]


def unclear_errors() -> tuple[type[Exception], ...]:
    """Return the classes whose messages need not say of which model they are."""
    from safetensors import SafetensorError

    classes = (TypeError, ValueError, LookupError, AttributeError, RuntimeError, OSError, EOFError)
    return (*classes, pickle.UnpicklingError, SafetensorError)


def speaks_for_itself(error: Exception, name: str) -> bool:
    """Tell whether an error names what is missing, or is about the machine and not the model.

    Args:
        error: that a library raised while it loaded.
        name: of the model.
    """
    if isinstance(error, (OSError, RuntimeError)) and "memory" in str(error).lower():
        return True  # too little of it: torch raises a RuntimeError, by several names
    # The hub's errors are subclasses, and say what to do
    return isinstance(error, OSError) and (type(error) is not OSError or name in str(error))


def reason(error: Exception) -> str:
    """Return the class and the message of an error on one line."""
    text = " ".join(str(error).split())
    if "ignore_mismatched_sizes" in text:  # an argument that would fill the gaps with random numbers
        text = "tensors of other shapes than its config.json asks for; transformers logs which"
    return f"{type(error).__name__}: {text[:300]}"
