# SPDX-License-Identifier: MIT OR Apache-2.0
"""Hashes of Python objects, for names."""

import hashlib

__all__ = ["canonicalize_params_for_hashing", "hash_params", "hashit"]


def hashit(data):
    """Returns a hash of the ``repr`` of an object: 32 hexadecimal digits."""
    return hashlib.sha256(repr(data).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def canonicalize_params_for_hashing(params):
    """Returns nested tuples for a nested dictionary: its items in the order of their keys, other values as ``repr``.

    Raises TypeError for a key that is no text.
    """
    items = []
    for key in sorted(params or ()):
        if not isinstance(key, str):
            raise TypeError("keys of parameters are texts, not %r" % (key,))
        value = params[key]
        items.append((key, canonicalize_params_for_hashing(value) if isinstance(value, dict) else repr(value)))
    return tuple(items)


def hash_params(params):
    """Returns a hash of a nested dictionary, which does not depend on the order of its keys."""
    return hashit(canonicalize_params_for_hashing(params))
