# SPDX-License-Identifier: MIT OR Apache-2.0
"""The cache on disk, as programs use it beside calls."""

import ctypes
import logging
import os
import re
import shutil
import subprocess
import sys

import numpy
import pytest
from conftest import PACKAGE, square

import dijitso
from dijitso import cache


@pytest.fixture
def params():
    return dijitso.validate_params({})["cache"]


def forget():
    """Lets the next call look into the cache on disk."""
    dijitso.jit.__globals__["_hits"].clear()


def test_names_of_files(params, place):
    root = str(place / "cache")
    assert cache.create_lib_filename("s", params) == root + "/lib/libdijitso-s.so"
    assert cache.create_inc_filename("s", params) == root + "/include/s.h"
    assert cache.create_src_filename("s", params) == root + "/src/s.cpp"
    assert cache.create_log_filename("s", params) == root + "/log/s.txt"
    assert [cache.create_lib_basename("s", params), cache.create_inc_basename("s", params),
            cache.create_src_basename("s", params)] == ["libdijitso-s.so", "s.h", "s.cpp"]
    assert cache.create_libname("s", params) == "dijitso-s"
    params["fail_dir_root"] = "/fails"
    assert cache.create_fail_dir_path("s", params) == "/fails/jitfailure-s"


@pytest.mark.parametrize("signature", ["../../evil", "", ".", "..", "a/b"])
def test_c17_a_signature_stays_in_the_cache(params, signature):
    with pytest.raises(ValueError):
        cache.create_lib_filename(signature, params)


def test_directories(params, place):
    cache.ensure_dirs(params)
    assert sorted(path.name for path in (place / "cache").iterdir() if path.is_dir())[-4:] == ["include", "lib", "log", "src"]
    for kind, name in ("inc", "include"), ("src", "src"), ("lib", "lib"), ("log", "log"):
        shutil.rmtree(place / "cache" / name)
        # They are made again, if another program has removed them.
        assert getattr(cache, "make_%s_dir" % kind)(params) == str(place / "cache" / name)
        assert (place / "cache" / name).is_dir()


def test_what_a_build_leaves_can_be_read(params, build):
    build("read")
    assert "double read(double x)" in cache.read_src("read", params)
    assert cache.read_inc("read", params) == "#pragma once\n"
    assert "read" in cache.read_log("read", params)
    assert cache.read_src("unknown", params) is cache.read_inc("unknown", params) is cache.read_log("unknown", params) is None
    assert cache.extract_lib_signatures(params) == ["read"]


def test_load_library_gives_a_real_cdll(params, python):
    # As generated Python code does, in another process.
    dijitso.jit(None, "loaded", {}, square)
    output = python("import ctypes, dijitso\nparams = dijitso.validate_params(dijitso.params.default_params())['cache']\n"
                    "module = dijitso.cache.load_library('loaded', params)\nassert type(module) is ctypes.CDLL\n"
                    "module.loaded.argtypes, module.loaded.restype = [ctypes.c_double], ctypes.c_double\n"
                    "print(module.loaded(3.0), dijitso.cache.lookup_lib('loaded', params) is module)\n"
                    "print(dijitso.cache.load_library('unknown', params))")
    assert output.split() == ["9.0", "True", "None"]


def test_lookup_gives_the_object_of_the_call(params):
    module = dijitso.jit(None, "looked_up", {}, square)[0]
    assert cache.lookup_lib("looked_up", params) is module
    assert cache.load_library("looked_up", params) is module


def test_a_damaged_library_is_none_or_built_again(params, caplog):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([PACKAGE, os.path.join(PACKAGE, "tests")])}
    code = "import dijitso\nfrom conftest import square\ndijitso.jit(None, 'damaged', {}, square)"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    path = cache.create_lib_filename("damaged", params)
    with open(path, "r+b") as file:
        file.truncate(100)
    assert cache.load_library("damaged", params) is None
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and path in warnings[0]
    module = dijitso.jit(None, "damaged", {}, square)[0]
    module.damaged.restype, module.damaged.argtypes = ctypes.c_double, [ctypes.c_double]
    assert module.damaged(2.0) == 4.0


def test_files_of_clients_stay(params, build, place):
    build("client")
    (place / "cache" / "client.py").write_text("mine")
    (place / "cache" / "lib" / "other.txt").write_text("mine")
    forget()
    dijitso.jit(None, "client", {}, square)
    cache.clean_cache(params, dryrun=False)
    assert (place / "cache" / "client.py").read_text() == "mine"


def test_clean_cache_prints_or_removes(params, build, capsys):
    build("one", "two")
    cache.clean_cache(params)
    printed = capsys.readouterr().out.splitlines()
    assert all(line.startswith("rm ") and os.path.exists(line[3:]) for line in printed)
    assert {os.path.basename(line) for line in printed} >= {"libdijitso-one.so", "two.h", "two.cpp.gz", "one.txt"}
    cache.clean_cache(params, dryrun=False, categories=("inc", "log"))
    assert sorted(cache.extract_lib_signatures(params)) == ["one", "two"]
    assert cache.read_inc("one", params) is None
    cache.clean_cache(params, dryrun=False)
    assert cache.extract_lib_signatures(params) == []
    # What is loaded stays in memory.
    assert dijitso.jit(None, "one", {})[0] is not None
    with pytest.raises(RuntimeError, match="unknown"):
        cache.clean_cache(params, categories=("unknown",))


def test_binaries_go_to_other_directories(params, build, place):
    part = dijitso.jit(None, "part_of_it", {}, square)[1]
    dijitso.jit(None, "binary", {}, lambda *_: ("", 'extern "C" double part_of_it(double); '
                                               'extern "C" double binary(double x) { return part_of_it(x); }', [part]))
    data = cache.read_library_binary(cache.create_lib_filename("binary", params))
    assert data.dtype == numpy.uint8 and data.ndim == 1
    other = {**params, "cache_dir": str(place / "other")}
    cache.write_library_binary(data, "binary", other)
    # What it needs comes with it.
    assert sorted(cache.extract_lib_signatures(other)) == ["binary", "part_of_it"]
    assert cache.load_library("binary", other).binary is not None
    with pytest.raises(dijitso.DijitsoError):
        cache.write_library_binary(data[:100], "binary", {**params, "cache_dir": str(place / "third")})
    with pytest.raises(FileNotFoundError):
        cache.read_library_binary(cache.create_lib_filename("unknown", params))
    (place / "file").write_bytes(b"bytes")
    assert cache.read_library_binary(str(place / "file")).tobytes() == b"bytes"


def test_grep(params, build):
    build("grep_one", "grep_two")
    found = cache.grep_cache(re.compile(".*x \\* x"), params, linenumbers=True)
    assert sorted(os.path.basename(path) for path in found) == ["grep_one.cpp.gz", "grep_two.cpp.gz"]
    assert all(lines == [(3, "  return x * x;")] for lines in found.values())
    assert cache.grep_cache(re.compile("nothing"), params) == {}
    counted = cache.grep_cache(re.compile(".*pragma"), params, countonly=True, signature="grep_one", categories=["inc"])
    assert list(counted.values()) == [1]
    part = dijitso.jit(None, "grep_part", {}, square)[1]
    dijitso.jit(None, "grep_whole", {}, lambda *_: ("", 'extern "C" double grep_part(double); '
                                                   'extern "C" double grep_whole() { return grep_part(2); }', [part]))
    libraries = cache.grep_cache(re.compile(".*libdijitso-"), params, categories=["lib"])
    path = cache.create_lib_filename("grep_part", params)
    assert libraries == {cache.create_lib_filename("grep_whole", params): ["libdijitso-grep_part.so => " + path]}


def test_extract(params, build, place):
    build("extracted")
    directory = cache.extract_files("extracted", params, prefix="checkout-", path=str(place / "work"))
    assert directory == str(place / "work" / "checkout-extracted")
    assert sorted(os.listdir(directory)) == ["extracted.cpp", "extracted.h", "extracted.txt", "libdijitso-extracted.so"]
    with pytest.raises(dijitso.DijitsoError):
        cache.extract_files("unknown", params, path=str(place / "work"))
    assert not (place / "work" / "unknown").exists()


def test_c9_functions_are_found_by_their_braces():
    lines = ["int f() { if (1) { return 2; }", "  return 3; }", "int g() {}"]
    assert cache.extract_function(lines) == "int f() { if (1) { return 2; }\n  return 3; }"


def test_w15_missing_dependencies_are_reported(params):
    part = dijitso.jit(None, "part_of", {}, square)[1]
    dijitso.jit(None, "whole_of", {}, lambda *_: ("", 'extern "C" double part_of(double); '
                                                 'extern "C" double whole_of(double x) { return part_of(x); }', [part]))
    assert cache.check_cache_integrity(params) == {}
    os.unlink(cache.create_lib_filename(part, params))
    missing = cache.check_cache_integrity(params)
    assert missing == {cache.create_lib_filename("whole_of", params): ["libdijitso-part_of.so"]}
    said = []
    cache.report_cache_integrity(missing, said.append)
    assert len(said) == 1 and "libdijitso-part_of.so" in said[0]
    cache.report_cache_integrity({}, said.append)
    assert len(said) == 1


def test_texts_of_load_errors(params, place):
    path = cache.create_lib_filename("s", params)
    assert "missing" in cache.analyse_load_error(OSError("reason"), path, params)
    cache.make_lib_dir(params)
    with open(path, "w"):
        pass
    text = cache.analyse_load_error(OSError("reason"), path, params)
    assert "existing" in text and path in text and "reason" in text
    text = cache.analyse_load_error(OSError("libdijitso-other.so: cannot open shared object file"), path, params)
    assert cache.create_lib_filename("other", params) in text and "is missing" in text


def test_stored_texts_can_be_read(params):
    for kind in "inc", "src", "log":
        path = getattr(cache, "store_" + kind)("stored", "text of %s" % kind, params)
        assert path == getattr(cache, "create_%s_filename" % kind)("stored", params)
        assert getattr(cache, "read_" + kind)("stored", params) == "text of %s" % kind


def test_sources_are_kept_compressed_or_deleted(params, place):
    path = str(place / "source.cpp")
    for storage, left in ("keep", path), ("compress", path + ".gz"), ("delete", None):
        with open(path, "w") as file:
            file.write("text")
        assert cache.compress_source_code(path, {**params, "src_storage": storage}) == left
        assert left is None or os.path.exists(left)
    with pytest.raises(RuntimeError):
        cache.compress_source_code(path, {**params, "src_storage": "unknown"})
