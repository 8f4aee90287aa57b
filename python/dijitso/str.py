# SPDX-License-Identifier: MIT OR Apache-2.0
"""Texts."""

__all__ = ["as_unicode"]


def as_unicode(s):
    """Returns a str: ``s`` itself, or the text of bytes in UTF-8. Bytes that are no UTF-8 are kept as surrogates."""
    return s.decode("utf-8", "surrogateescape") if isinstance(s, bytes) else s
