# SPDX-License-Identifier: MIT OR Apache-2.0
"""Building of shared libraries."""

import ctypes
import os
import stat
import subprocess
import sys

import pytest

import dijitso
from dijitso import build as builder

SOURCE = 'extern "C" int answer() { return 42; }\n'


def everything(path):
    return sorted(os.path.join(folder, name) for folder, folders, names in os.walk(path) for name in folders + names)


def test_make_unique_keeps_the_order():
    assert builder.make_unique(["b", "a", "b", "c", "a"]) == ("b", "a", "c")
    assert builder.make_unique(()) == ()


def command(place, dependencies=(), cache=None, **build):
    values = dijitso.validate_params({"build": build, "cache": cache or {}})
    return builder.make_compile_command("/in/code.cpp", "/out/liba.so", dependencies, values["build"], values["cache"])


def test_c16_making_a_command_touches_no_file(place):
    command(place)
    assert not (place / "cache").exists()


def test_the_words_of_a_command_have_their_order(place):
    words = command(place, ["needed"], cxx="g++", cxxflags=("-DFIRST", "-DTWO WORDS"), cxxflags_opt=("-O1",), cxxflags_debug=("-g3",),
                    include_dirs=("/inc",), lib_dirs=("/lib1",), rpath_dirs=("/rpath1",), libs=("m",))
    assert all(isinstance(word, str) for word in words) and words[0] == "g++"
    order = ["-DFIRST", "-DTWO WORDS", "-O1", "-I/inc", "/in/code.cpp", "-L/lib1"]
    places = [words.index(word) for word in order]
    assert places == sorted(places), words
    assert "-g3" not in words and "-lm" in words
    assert any("needed" in word for word in words) and any("/rpath1" in word for word in words)
    assert "/out/liba.so" in " ".join(words)
    assert words.index("/in/code.cpp") < words.index("-lm")


def test_debug_chooses_the_flags(place):
    words = command(place, debug=True, cxxflags_opt=("-O1",), cxxflags_debug=("-g3",))
    assert "-g3" in words and "-O1" not in words


def test_a_command_builds_a_library(place):
    (place / "work" / "code.cpp").write_text(SOURCE)
    values = dijitso.validate_params({})
    library = str(place / "work" / "liba.so")
    words = builder.make_compile_command(str(place / "work" / "code.cpp"), library, (), values["build"], values["cache"])
    subprocess.run(words, check=True, timeout=60)
    assert ctypes.CDLL(library).answer() == 42


def test_temp_dir(place):
    (place / "root").mkdir()
    cache = dijitso.validate_params({"cache": {"temp_dir_root": str(place / "root")}})["cache"]
    one, two = builder.temp_dir(cache), builder.temp_dir(cache)
    assert one != two and os.path.dirname(one) == str(place / "root") and stat.S_IMODE(os.stat(one).st_mode) == 0o700


def test_a_library_is_built(place):
    (place / "tmp").mkdir()
    values = dijitso.validate_params({"cache": {"temp_dir_root": str(place / "tmp")}})
    status, output, library, err_info = builder.build_shared_library("answer", "#pragma once\n", SOURCE, (), values)
    assert (status, err_info) == (0, None) and isinstance(output, str)
    assert library == str(place / "cache" / "lib" / "libdijitso-answer.so")
    assert ctypes.CDLL(library).answer() == 42
    cache = values["cache"]
    assert dijitso.cache.read_inc("answer", cache) == "#pragma once\n" and dijitso.cache.read_src("answer", cache) == SOURCE
    # C12: the temporary directory is gone.
    assert os.listdir(place / "tmp") == []
    assert builder.build_shared_library("answer", "", SOURCE.replace("42", "43"), (), values)[0] == 0
    assert "43" in dijitso.cache.read_src("answer", cache)
    assert not (place / "cache" / "quarantine").exists() or os.listdir(place / "cache" / "quarantine") == []


def test_c12_no_temporary_directory_survives_a_failure(place):
    (place / "tmp").mkdir()
    values = dijitso.validate_params({"cache": {"temp_dir_root": str(place / "tmp")}})
    assert builder.build_shared_library("bad", "", "no C++", (), values)[0] != 0
    assert os.listdir(place / "tmp") == []


def test_c13_c14_a_failure_can_be_reproduced(place):
    """C13: its folder is not put into the working directory. C14: its command is the one that was run."""
    values = dijitso.validate_params({"build": {"cxxflags": ("-shared", "-fPIC", "-DTEXT=a b;c")}})
    status, output, library, err_info = builder.build_shared_library("bad", "#pragma once\n", "int f() { return undeclared; }\n", (), values)
    assert status != 0 and "undeclared" in output and library is None
    assert set(err_info) >= {"src_filename", "cmd_filename", "readme_filename", "fail_dir", "log_filename"}
    assert all(os.path.exists(path) for path in err_info.values())
    assert os.listdir(place / "work") == []
    assert "undeclared" in open(err_info["log_filename"], encoding="utf-8").read()
    again = subprocess.run([err_info["cmd_filename"]], cwd=err_info["fail_dir"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           timeout=60, check=False)
    assert again.returncode != 0 and b"undeclared" in again.stdout
    with open(err_info["src_filename"], "w", encoding="utf-8") as file:
        file.write(SOURCE)
    subprocess.run([err_info["cmd_filename"]], cwd=err_info["fail_dir"], timeout=60, check=True)


def test_h1_a_missing_compiler_is_a_status(place):
    values = dijitso.validate_params({"build": {"cxx": "/no/such/compiler"}})
    status, output, library, err_info = builder.build_shared_library("bad", "", SOURCE, (), values)
    assert status != 0 and "/no/such/compiler" in output and library is None and isinstance(err_info, dict)


def test_h1_output_that_is_no_text_is_a_status(place):
    compiler = place / "compiler"
    compiler.write_text("#!%s\nimport os, sys\nos.write(2, b'\\xff\\xfe')\nsys.exit(1)\n" % sys.executable)
    compiler.chmod(0o755)
    values = dijitso.validate_params({"build": {"cxx": str(compiler)}})
    status, output, _, _ = builder.build_shared_library("bad", "", SOURCE, (), values)
    assert status != 0 and isinstance(output, str)


def test_w2_another_source_is_not_the_library_of_before(place):
    values = dijitso.validate_params({})
    for number in 1, 2:
        source = 'extern "C" int answer() { return %d; }\n' % number
        _, _, library, _ = builder.build_shared_library("answer", "", source, (), values)
        program = "import ctypes; print(ctypes.CDLL(%r).answer())" % library
        assert subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, timeout=50, check=True).stdout == b"%d\n" % number


def test_libraries_are_linked_to_others(place):
    values = dijitso.validate_params({})
    assert builder.build_shared_library("first", "extern \"C\" int first();\n", 'extern "C" int first() { return 6; }\n', (), values)[0] == 0
    source = '#include <first.h>\nextern "C" int second() { return first() * 7; }\n'
    status, output, library, _ = builder.build_shared_library("second", "", source, ("first",), values)
    assert status == 0, output
    assert ctypes.CDLL(library).second() == 42


@pytest.mark.parametrize("signature", ["../../evil", "", ".", "a/b"])
def test_c17_a_signature_does_not_leave_the_cache(place, signature):
    values = dijitso.validate_params({})
    with pytest.raises((ValueError, RuntimeError)):
        status = builder.build_shared_library(signature, "", SOURCE, (), values)[0]
        assert status == 0
        raise AssertionError("built")
    assert not [path for path in everything(place) if "evil" in path]
