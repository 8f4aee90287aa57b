# SPDX-License-Identifier: MIT OR Apache-2.0
"""Hashes and texts."""

import os
import subprocess
import sys

import pytest
from conftest import PACKAGE

from dijitso.signatures import canonicalize_params_for_hashing, hash_params, hashit
from dijitso.str import as_unicode


def test_w3_parameters_that_differ_have_different_hashes():
    values = [{}, {"a": 1}, {"a": 2}, {"b": 1}, {"a": {"b": 1}}, {"a": {"b": 2}}, {"a": "1"}, {"a": (1,)}, {"a": None}]
    assert len({hash_params(value) for value in values}) == len(values)


def test_w3_no_parameters_have_a_hash():
    assert hash_params(None) == hash_params({}) and canonicalize_params_for_hashing(None) == ()


def test_the_order_of_keys_does_not_count():
    one, two = {"a": {"x": 1, "y": 2}, "b": 3}, {"b": 3, "a": {"y": 2, "x": 1}}
    assert list(one) != list(two) and hash_params(one) == hash_params(two)
    assert canonicalize_params_for_hashing(two) == (("a", (("x", "1"), ("y", "2"))), ("b", "3"))


def test_keys_are_texts():
    with pytest.raises(TypeError, match="keys"):
        hash_params({1: 2, "a": 3})


def test_w4_hashes_have_128_bits_and_are_names():
    assert len(hashit(5)) == 32 and set(hashit("x")) <= set("0123456789abcdef")
    hashes = {hashit(number) for number in range(10000)}
    assert len(hashes) == 10000


def test_hashes_are_the_same_in_every_process():
    program = "from dijitso.signatures import hashit, hash_params; print(hashit(('a', 1)), hash_params({'b': 1, 'a': 'x'}))"
    runs = {subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, timeout=50, check=True,
                           env={**os.environ, "PYTHONPATH": PACKAGE, "PYTHONHASHSEED": seed}).stdout for seed in "012"}
    assert runs == {b"%s %s\n" % (hashit(("a", 1)).encode(), hash_params({"a": "x", "b": 1}).encode())}


def test_what_cannot_be_encoded_has_a_hash():
    assert hashit("\ud800") != hashit("\udc80")


def test_as_unicode():
    assert as_unicode("ä") == "ä" and as_unicode("ä".encode()) == "ä"
    assert as_unicode(b"\xff").encode("utf-8", "surrogateescape") == b"\xff"
