# SPDX-License-Identifier: MIT OR Apache-2.0
"""Hashes of Python objects, for names."""

import hashlib
from typing import Any, Mapping, Optional, Tuple

__all__ = ["canonicalize_params_for_hashing", "hash_params", "hashit"]


def hashit(data: Any) -> str:
    """Returns a hash of the ``repr`` of an object: 32 hexadecimal digits."""
    return hashlib.sha256(repr(data).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def canonicalize_params_for_hashing(params: Optional[Mapping[str, Any]]) -> Tuple[Tuple[str, Any], ...]:
    """Returns nested tuples for a nested dictionary: its items in the order of their keys, other values as ``repr``.

    Raises TypeError for a key that is no text.
    """
    items = []
    for key in params or ():
        if not isinstance(key, str):
            raise TypeError("keys of parameters are texts, not %r" % (key,))
    for key in sorted(params or ()):
        value = params[key]  # type: ignore[index]
        items.append((key, canonicalize_params_for_hashing(value) if isinstance(value, dict) else repr(value)))
    return tuple(items)


def hash_params(params: Optional[Mapping[str, Any]]) -> str:
    """Returns a hash of a nested dictionary, which does not depend on the order of its keys."""
    return hashit(canonicalize_params_for_hashing(params))
