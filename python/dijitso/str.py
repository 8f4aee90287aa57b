# SPDX-License-Identifier: MIT OR Apache-2.0
"""Texts."""

from typing import Any

__all__ = ["as_unicode"]


def as_unicode(s: Any) -> Any:
    """Returns a str for a str or for bytes in UTF-8. Bytes that are no UTF-8 are kept as surrogates."""
    return s.decode("utf-8", "surrogateescape") if isinstance(s, bytes) else s
