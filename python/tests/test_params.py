# SPDX-License-Identifier: MIT OR Apache-2.0
"""Parameters."""

import json
import os
import pathlib
import subprocess

import pytest
from conftest import forget_config, square

import dijitso
from dijitso import params

CACHE_KEYS = ["cache_dir", "inc_dir", "src_dir", "lib_dir", "fail_dir_root", "temp_dir_root", "comm_dir", "log_dir",
              "enable_build_log", "src_storage", "src_postfix", "log_postfix", "inc_postfix", "lib_postfix", "lib_prefix",
              "lib_basename", "lib_loader"]
BUILD_KEYS = ["cxx", "cxxflags", "cxxflags_debug", "cxxflags_opt", "include_dirs", "lib_dirs", "rpath_dirs", "libs", "debug"]


def write_config(place, text, monkeypatch):
    (place / "home" / ".dijitso.conf").write_text(text)
    forget_config(monkeypatch)


def shape(values):
    return [(section, [(key, type(value).__name__) for key, value in keys.items()]) for section, keys in values.items()]


def test_defaults_have_the_documented_keys_in_their_order():
    defaults = params.default_params()
    assert list(defaults) == ["cache", "build", "generator"]
    assert list(defaults["cache"]) == CACHE_KEYS and list(defaults["build"]) == BUILD_KEYS and defaults["generator"] == {}
    assert defaults["cache"]["cache_dir"] is None
    assert defaults["build"]["cxx"] == "c++" and defaults["build"]["debug"] is False
    assert isinstance(defaults["build"]["cxxflags"], tuple)


def test_defaults_are_those_of_the_original():
    program = ("import sys, json; sys.path.insert(0, '/usr/lib/python3/dist-packages'); import dijitso.params as p; d = p.default_params();"
               "print(json.dumps([d, [(s, [(k, type(v).__name__) for k, v in x.items()]) for s, x in d.items()]]))")
    if not os.path.exists("/usr/lib/python3/dist-packages/dijitso/__main__.py"):
        pytest.skip("the original is not installed")
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(["/usr/bin/python3", "-W", "ignore", "-c", program], env=env, stdout=subprocess.PIPE, timeout=60, check=True)
    original, types = json.loads(done.stdout)
    ours = params.default_params()
    assert json.loads(json.dumps(shape(ours))) == types
    # The one difference: NaN and infinity keep their meaning.
    original["build"]["cxxflags_opt"].remove("-ffinite-math-only")
    assert json.loads(json.dumps(ours)) == original


def test_defaults_need_only_the_package(python):
    output = python("import dijitso; p = dijitso.params.default_params(); p['build']['cxxflags'] += ('-DX',); print(p['build']['cxxflags'][-1])")
    assert output.strip() == "-DX"


def test_defaults_are_copies():
    params.default_params()["build"]["cxx"] = "changed"
    assert params.default_params()["build"]["cxx"] == "c++"


def test_c1_session_defaults_can_be_had(place):
    values = params.session_default_params()
    assert values["cache"]["cache_dir"] == str(place / "cache")
    values["build"]["cxx"] = "changed"
    assert params.session_default_params()["build"]["cxx"] == "c++"


def test_w1_the_cache_directory_of_the_caller_counts(place):
    given = str(place / "other")
    assert dijitso.validate_params({"cache": {"cache_dir": given}})["cache"]["cache_dir"] == given
    _, signature = dijitso.jit(None, "square", {"cache": {"cache_dir": given}}, square)
    assert os.path.exists(os.path.join(given, "lib", "libdijitso-%s.so" % signature))
    assert not (place / "cache").exists()


def test_w1_the_cache_directory_of_the_config_file_counts(place, monkeypatch):
    write_config(place, "[cache]\ncache_dir = ~/from-config\n", monkeypatch)
    monkeypatch.delenv("DIJITSO_CACHE_DIR")
    assert dijitso.validate_params({})["cache"]["cache_dir"] == str(place / "home" / "from-config")
    monkeypatch.setenv("DIJITSO_CACHE_DIR", str(place / "from-environment"))
    assert dijitso.validate_params({})["cache"]["cache_dir"] == str(place / "from-environment")
    given = {"cache": {"cache_dir": "/from/caller"}}
    assert dijitso.validate_params(given)["cache"]["cache_dir"] == "/from/caller"


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_cache_directory_is_the_default(nothing, place):
    assert dijitso.validate_params({"cache": {"cache_dir": nothing}})["cache"]["cache_dir"] == str(place / "cache")


def test_the_default_is_in_the_home_directory(place, monkeypatch):
    monkeypatch.delenv("DIJITSO_CACHE_DIR")
    assert dijitso.validate_params(None)["cache"]["cache_dir"] == str(place / "home" / ".cache" / "dijitso")


def test_c3_percent_signs_and_config_files_work(place, monkeypatch):
    write_config(place, "[build]\ncxxflags = -DRATE=50%\n", monkeypatch)
    assert dijitso.validate_params({})["build"]["cxxflags"] == ("-DRATE=50%",)


def test_c4_values_of_the_config_file_have_their_types(place, monkeypatch):
    write_config(place, "[build]\ncxxflags = -O2 -g '-DTEXT=a b'\ndebug = yes\n[cache]\nenable_build_log = off\n"
                        "temp_dir_root = ~/tmp\nfail_dir_root = ~/failed\nmax_size = 2G\n", monkeypatch)
    values = dijitso.validate_params({})
    assert values["build"]["cxxflags"] == ("-O2", "-g", "-DTEXT=a b")
    assert values["build"]["debug"] is True and values["cache"]["enable_build_log"] is False
    for key, name in ("temp_dir_root", "tmp"), ("fail_dir_root", "failed"):
        assert os.path.expanduser(values["cache"][key]) == str(place / "home" / name)
    assert params.discover_config_filename() == str(place / "home" / ".dijitso.conf")
    assert params.read_config_file()["build"]["debug"] is True


def test_the_config_file_is_read_once(place, monkeypatch):
    write_config(place, "[build]\ncxx = one\n", monkeypatch)
    assert dijitso.validate_params({})["build"]["cxx"] == "one"
    (place / "home" / ".dijitso.conf").write_text("[build]\ncxx = two\n")
    assert dijitso.validate_params({})["build"]["cxx"] == "one"
    assert dijitso.validate_params({"build": {"cxx": "three"}})["build"]["cxx"] == "three"


def test_a_compiler_of_the_config_file_is_a_text(place, monkeypatch):
    write_config(place, "[build]\ncxx = env 'A=b c' c++\n", monkeypatch)
    assert dijitso.validate_params({})["build"]["cxx"] == "env 'A=b c' c++"
    assert dijitso.jit(None, "square", {}, square)[0] is not None


def test_no_config_file():
    assert params.discover_config_filename() is None and params.read_config_file() == {}


def test_c20_a_config_file_that_others_can_write_is_not_used(place, monkeypatch):
    config = place / "work" / ".dijitso.conf"
    config.write_text("[build]\ncxx = /evil/compiler\n")
    config.chmod(0o666)
    forget_config(monkeypatch)
    try:
        assert dijitso.validate_params({})["build"]["cxx"] == "c++"
    except dijitso.DijitsoError as problem:
        assert ".dijitso.conf" in str(problem)


def test_a_wrong_config_file_is_named(place, monkeypatch):
    write_config(place, "[build]\nno_such_key = 1\n", monkeypatch)
    with pytest.raises(RuntimeError, match="no_such_key"):
        dijitso.validate_params({})


@pytest.mark.parametrize("wrong", [{"buidl": {}}, {"build": {"cxxflag": ()}}, {"cache": {"lib": "x"}}])
def test_unknown_names_are_errors(wrong):
    with pytest.raises(RuntimeError, match="Invalid parameter"):
        dijitso.validate_params(wrong)


def test_parameters_of_the_library_are_known():
    values = dijitso.validate_params({"cache": {"max_size": "4G"}, "parallel": {"buildon": "node"}})
    assert values["cache"]["max_size"] == "4G" and values["parallel"]["buildon"] == "node"


@pytest.mark.parametrize("wrong", [5, [1, 2], {"a": 1}])
def test_flags_are_texts(wrong):
    with pytest.raises(RuntimeError, match="string"):
        dijitso.validate_params({"build": {"cxxflags": wrong}})


def test_values_get_their_types(place):
    values = dijitso.validate_params({"build": {"cxxflags": ["-O1"], "libs": "m", "debug": "True"},
                                      "cache": {"cache_dir": pathlib.Path("/x"), "lib_prefix": b"lib"}})
    assert values["build"]["cxxflags"] == ("-O1",) and values["build"]["libs"] == ("m",)
    assert values["build"]["debug"] is True
    assert values["cache"]["cache_dir"] == "/x" and values["cache"]["lib_prefix"] == "lib"
    home = dijitso.validate_params({"cache": {"cache_dir": "~/c"}})["cache"]["cache_dir"]
    assert home == str(place / "home" / "c")


def test_c22_the_generator_may_be_anything_and_arguments_are_not_changed():
    thing = object()
    given = {"generator": {"thing": thing}, "build": {"debug": "yes"}, "cache": None}
    values = dijitso.validate_params(given)
    assert values["generator"]["thing"] is thing
    assert given == {"generator": {"thing": thing}, "build": {"debug": "yes"}, "cache": None}
    values["build"]["cxx"] = "x"
    assert "cxx" not in given["build"]
    assert dijitso.validate_params({"generator": thing})["generator"] is thing
    assert dijitso.validate_params({"generator": None})["generator"] == {}


def test_merge_copy_and_check():
    default = {"a": {"x": 1, "y": 2}, "b": {}}
    assert params.merge_params(default, {"a": {"y": 3}, "b": None}) == {"a": {"x": 1, "y": 3}, "b": {}}
    copy = params.copy_params(default)
    copy["a"]["x"] = 5
    assert default["a"]["x"] == 1
    params.check_params_keys(params.default_params(), {"generator": {"anything": 1}, "build": {"cxx": "x"}})


@pytest.mark.parametrize("text, value", [("True", True), ("true", True), ("1", True), ("yes", True), ("on", True),
                                         ("False", False), ("false", False), ("0", False), ("no", False), ("off", False),
                                         (True, True), (False, False)])
def test_as_bool(text, value):
    assert params.as_bool(text) is value


def test_what_is_no_boolean_is_an_error():
    with pytest.raises(RuntimeError, match="maybe"):
        params.as_bool("maybe")


def test_as_str_tuple():
    assert params.as_str_tuple("a b") == ("a b",)
    assert params.as_str_tuple(["a", "b"]) == ("a", "b")
    with pytest.raises(RuntimeError):
        params.as_str_tuple(["a", 1])


def test_a_compiler_may_have_words(monkeypatch):
    monkeypatch.setenv("CXX", "env LANG=C c++")
    assert params.default_cxx_compiler() == "env LANG=C c++"
    module, _ = dijitso.jit(None, "square", {}, square)
    assert module.square is not None


@pytest.mark.parametrize("named", [True, False])
def test_a_cache_of_the_original_stops_no_program(place, python, named):
    old = place / "home" / ".cache" / "dijitso"
    for folder in "include", "lib", "src", "log":
        (old / folder).mkdir(parents=True)
    (old / "lib" / "libdijitso-square.so").write_bytes(b"\x7fELF of another program")
    for folder in [old, *old.iterdir()]:
        folder.chmod(0o775)
    program = ("import dijitso; p = dijitso.validate_params({}); print(p['cache']['cache_dir']); m, s = dijitso.jit(None, 'square', {}, "
               "lambda *a: ('', 'extern \"C\" int square() { return 7; }', ())); print(m.square())")
    output = python(program, env={"DIJITSO_CACHE_DIR": str(old) if named else ""})
    used = str(old / "libraries") if named else str(old) + "-libraries"
    lines = output.splitlines()
    assert [line for line in lines if line in (used, "7")] == [used, "7"], output
    assert len([line for line in lines if "Python dijitso" in line]) == 1, output
    assert (old / "lib" / "libdijitso-square.so").read_bytes() == b"\x7fELF of another program"
