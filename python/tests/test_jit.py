# SPDX-License-Identifier: MIT OR Apache-2.0
"""The call on one process, and what its users rely on."""

import ctypes
import glob
import logging
import os
import subprocess
import sys
import sysconfig

import pytest
from conftest import square

import dijitso


class Counted:
    """A generator that counts its calls."""

    def __init__(self, code='extern "C" int %s() { return 42; }', header=None, dependencies=()):
        self.made = header, code, dependencies
        self.calls = []

    def __call__(self, jitable, name, signature, params):
        self.calls.append((jitable, name, signature, params))
        header, code, dependencies = self.made
        return header, code % name if isinstance(code, str) and "%s" in code else code, dependencies


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.DEBUG, logger="dijitso")
    return lambda level: [record.getMessage() for record in caplog.records if record.levelno == level]


def forget():
    """Lets the next call look into the cache on disk, as a new process would."""
    from dijitso import _modules
    dijitso.jit.__globals__["_hits"].clear()
    _modules._modules.clear()


def test_the_signature_is_the_name():
    generate = Counted()
    module, signature = dijitso.jit(None, "create_it", {}, generate)
    assert signature == "create_it"
    assert module.create_it() == 42
    assert generate.calls == [(None, "create_it", "create_it", {})]


def test_a_name_may_be_bytes():
    assert dijitso.jit(None, b"bytes_name", {}, Counted())[1] == "bytes_name"


def test_each_hit_gives_the_same_object():
    first = dijitso.jit(None, "same", {}, Counted())[0]
    for params in {}, None, dijitso.params.default_params(), dijitso.validate_params({}), {"build": {"debug": True}}:
        assert dijitso.jit(None, "same", params, Counted())[0] is first


def test_a_hit_calls_no_function():
    dijitso.jit(None, "hit", {}, Counted())
    generate, waited = Counted(), []
    for clear in (lambda: None), forget:
        clear()
        dijitso.jit(None, "hit", {}, generate, wait=lambda: waited.append(1))
    assert generate.calls == []
    assert waited == []


def test_the_module_is_a_real_cdll():
    module, _ = dijitso.jit(None, "real", {}, Counted(
        'extern "C" { double real(double x) { return 2 * x; } int number = 7; void *address() { return &number; } }'))
    assert type(module) is ctypes.CDLL
    module.real.restype, module.real.argtypes = ctypes.c_double, [ctypes.c_double]
    again = dijitso.jit(None, "real", {}, Counted())[0]
    assert again.real(1.5) == 3.0
    number = ctypes.c_int.in_dll(module, "number")
    number.value = 8
    factory = dijitso.extract_factory_function(module, "address")
    assert isinstance(factory(), int)
    assert ctypes.c_int.from_address(factory()).value == 8


def test_the_handle_of_the_loader_makes_another_object():
    module, _ = dijitso.jit(None, "handle", {}, Counted())
    handle = dijitso.loader_handle(module)
    assert isinstance(handle, int) and handle
    assert ctypes.CDLL(None, handle=handle).handle() == 42
    assert ctypes.PyDLL("any name", handle=handle).handle() == 42


def test_a_missing_factory_is_a_dijitso_error():
    module, _ = dijitso.jit(None, "factory", {}, Counted())
    with pytest.raises(dijitso.DijitsoError, match="no_such"):
        dijitso.extract_factory_function(module, "no_such")


def test_parameters_may_change_after_a_call(tmp_path):
    params = dijitso.params.default_params()
    assert params["cache"]["cache_dir"] is None
    params["build"]["cxxflags"] += ("-DVALUE=1",)
    params["build"]["cxxflags_opt"] = tuple("-O1 -DOTHER=2".split())
    code = 'extern "C" int %s() { return 10 * VALUE + OTHER; }'
    assert dijitso.jit(None, "first", params, Counted(code))[0].first() == 12
    params["build"]["cxxflags"] += ("-UVALUE", "-DVALUE=3")
    assert dijitso.jit(None, "second", params, Counted(code))[0].second() == 32
    # Another cache directory has another library of the same name.
    params["cache"]["cache_dir"] = str(tmp_path / "other")
    assert dijitso.jit(None, "first", params, Counted(code))[0].first() == 32
    params["cache"]["cache_dir"] = None
    assert dijitso.jit(None, "first", params, Counted(code))[0].first() == 12


def test_the_variable_of_the_cache_directory_may_change(tmp_path, monkeypatch):
    dijitso.jit(None, "variable", {}, Counted())
    monkeypatch.setenv("DIJITSO_CACHE_DIR", str(tmp_path / "other"))
    generate = Counted()
    dijitso.jit(None, "variable", {}, generate)
    assert len(generate.calls) == 1
    assert os.listdir(tmp_path / "other" / "lib")


def test_parameters_of_the_generator_are_any_object():
    for number, generator in enumerate([object(), {"key": object(), 3: [len]}, [1, 2], "text", 5]):
        generate = Counted()
        dijitso.jit("jitable", "object_%d" % number, {"generator": generator}, generate)
        assert generate.calls[0][3] is generator


def test_the_jitable_is_handed_through():
    jitable, generate = object(), Counted()
    dijitso.jit(jitable, "jitable", {}, generate)
    assert generate.calls[0][0] is jitable


def test_with_hash_the_generator_is_part_of_the_key():
    found = set()
    for degree in 1, 2, 1:
        params = {"cache": {"signature": "hash"}, "generator": {"degree": degree}}
        module, signature = dijitso.jit(None, "hashed", params, Counted('extern "C" int hashed() { return %d; }' % degree))
        assert module.hashed() == degree
        found.add(signature)
    assert len(found) == 2
    with pytest.raises(TypeError, match="JSON"):
        dijitso.jit(None, "hashed", {"cache": {"signature": "hash"}, "generator": {"any": object()}}, Counted())


@pytest.mark.parametrize("header", [None, "", b"", "#define HEADER 1\n", b"#define HEADER 1\n"])
@pytest.mark.parametrize("kind", [str, str.encode])
def test_texts_are_str_or_bytes(header, kind):
    name = "text"
    code = kind('#ifdef EXPECT\n#include "text.h"\n#endif\nextern "C" int text() { return 1; }')
    params = {"build": {"cxxflags": ("-fPIC", "-shared", *(["-DEXPECT"] if header else []))}}
    assert dijitso.jit(None, name, params, Counted(code, header, []))[0].text() == 1
    text = dijitso.cache.read_inc(name, dijitso.validate_params({})["cache"])
    assert text == ("#define HEADER 1\n" if header else None)


def test_dependencies_are_made_in_generate_and_linked():
    made = []

    def part(_jitable, name, signature, _params):
        made.append(name)
        return "int part();\n", "int part() { return 20; }", ()

    def whole(_jitable, name, signature, _params):
        made.append(name)
        dependency = dijitso.jit(None, "part", {}, part)[1]
        return "", '#include "part.h"\nextern "C" int whole() { return 1 + part(); }', [dependency]

    assert dijitso.jit(None, "whole", {}, whole)[0].whole() == 21
    assert made == ["whole", "part"]
    forget()
    assert dijitso.jit(None, "whole", {}, whole)[0].whole() == 21
    assert made == ["whole", "part"]
    params = dijitso.validate_params({})["cache"]
    library = dijitso.cache.create_lib_filename("whole", params)
    assert list(dijitso.cache.get_dijitso_dependencies(library, params)) == ["libdijitso-part.so"]


class Own(Exception):
    pass


@pytest.mark.parametrize("kind", [Own, ZeroDivisionError, KeyboardInterrupt, SystemExit, GeneratorExit, UnicodeError])
def test_an_exception_comes_out_as_itself(kind):
    problem = kind("of the generator")

    def raise_it(*_):
        raise problem

    with pytest.raises(kind) as caught:
        dijitso.jit(None, "raises", {}, raise_it)
    assert caught.value is problem
    assert "raise_it" in [entry.name for entry in caught.traceback]
    # Nothing is remembered.
    assert dijitso.jit(None, "raises", {}, Counted())[0].raises() == 42


def test_an_exception_of_a_nested_call_comes_out_as_itself():
    def inner(*_):
        raise Own("inner")

    with pytest.raises(Own, match="inner"):
        dijitso.jit(None, "outer", {}, lambda *_: dijitso.jit(None, "inner", {}, inner))


@pytest.mark.parametrize("made", [None, ("", ""), ("", 3, ()), ("", "code", 7), ("", "code", ["../no"])])
def test_a_wrong_result_of_the_generator_is_an_error(made):
    with pytest.raises((TypeError, ValueError, AttributeError)):
        dijitso.jit(None, "wrong", {}, lambda *_: made)


def test_a_failed_build_says_where_it_can_be_reproduced():
    code = 'extern "C" int fails() { return no_such_name; }'
    for attempt in range(2):
        with pytest.raises(dijitso.DijitsoError, match="no_such_name") as caught:
            dijitso.jit(None, "fails", {}, Counted(code, "#define H\n"))
        info = caught.value.err_info
        assert set(info) == {"fail_dir", "src_filename", "inc_filename", "cmd_filename", "readme_filename", "log_filename"}
        assert all(os.path.exists(path) for path in info.values())
        with open(info["src_filename"]) as file:
            assert "no_such_name" in file.read()
        with open(info["log_filename"]) as file:
            assert "no_such_name" in file.read()
        with open(info["inc_filename"]) as file:
            assert file.read() == "#define H\n"
        found = glob.glob(os.path.join(info["fail_dir"], "**"), recursive=True)
        assert sorted(caught.value.files) == sorted(path for path in found if os.path.isfile(path))
    repeated = subprocess.run(["sh", info["cmd_filename"]], cwd=info["fail_dir"], capture_output=True, text=True, timeout=60)
    assert repeated.returncode != 0
    assert "no_such_name" in repeated.stdout + repeated.stderr


def test_a_missing_compiler_is_a_dijitso_error():
    with pytest.raises(dijitso.DijitsoError, match="no-such-compiler"):
        dijitso.jit(None, "missing", {"build": {"cxx": "no-such-compiler"}}, Counted())


def test_a_library_that_cannot_be_loaded_is_none_with_a_warning(logged):
    code = 'extern "C" { extern int missing; int *undefined() { return &missing; } }'
    module, signature = dijitso.jit(None, "undefined", {}, Counted(code))
    assert (module, signature) == (None, "undefined")
    warnings = logged(logging.WARNING)
    assert len(warnings) == 1 and "undefined" in warnings[0] and "missing" in warnings[0]
    # A later call builds it again.
    assert dijitso.jit(None, "undefined", {}, Counted())[0].undefined() == 42


def test_c_sources():
    params = dijitso.params.default_params()
    params["build"]["cxx"] = "cc"
    params["build"]["cxxflags"] = ("-Wall", "-shared", "-fPIC", "-std=c11")
    params["cache"]["src_postfix"] = ".c"
    # No C++: class is a name.
    module, _ = dijitso.jit(None, "plain_c", params, Counted("int plain_c(void) { int class = 3; return class; }"))
    assert module.plain_c() == 3
    assert os.listdir(os.path.join(dijitso.validate_params(params)["cache"]["cache_dir"], "src")) == ["plain_c.c.gz"]


EXTENSION = """
#include <Python.h>
static PyObject *answer(PyObject *, PyObject *) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, ""}, {nullptr, nullptr, 0, nullptr}};
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "NAME", "", -1, methods, nullptr, nullptr, nullptr, nullptr};
PyMODINIT_FUNC PyInit_NAME() { return PyModule_Create(&module); }
"""


def extension_params():
    params = dijitso.params.default_params()
    params["cache"].update(lib_prefix="", lib_basename="", lib_loader="import")
    params["build"]["include_dirs"] += (sysconfig.get_paths()["include"],)
    return params


def test_extensions_are_imported():
    module, signature = dijitso.jit(None, "an_extension", extension_params(), Counted(EXTENSION.replace("NAME", "an_extension")))
    assert signature == "an_extension"
    assert module.__name__ == "an_extension" and module.answer() == 42
    assert sys.modules["an_extension"] is module
    assert dijitso.jit(None, "an_extension", extension_params(), Counted())[0] is module
    assert os.path.basename(module.__file__) == "an_extension.so"


def test_an_extension_that_cannot_be_imported_raises():
    with pytest.raises(ImportError):
        dijitso.jit(None, "no_extension", extension_params(), Counted())
    assert "no_extension" not in sys.modules


def test_two_roles_are_an_error():
    with pytest.raises(RuntimeError, match="only one of generate or receive"):
        dijitso.jit(None, "roles", {}, Counted(), receive=lambda: None)


def test_a_miss_without_a_function_is_an_error():
    with pytest.raises(RuntimeError, match="provide wait"):
        dijitso.jit(None, "nothing", {})


@pytest.mark.parametrize("params", [{"unknown": {}}, {"cache": {"unknown": 1}}, {"build": {"debug": "perhaps"}}])
def test_unknown_parameters_are_errors(params):
    with pytest.raises(RuntimeError):
        dijitso.jit(None, "params", params, Counted())


def test_the_working_directory_may_be_gone(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert dijitso.jit(None, "no_directory", {}, Counted())[0].no_directory() == 42


def test_a_relative_cache_directory_belongs_to_its_working_directory(tmp_path, monkeypatch):
    params = {"cache": {"cache_dir": "here"}}
    for folder in "one", "two":
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        dijitso.jit(None, "relative_" + folder, params, Counted())
        assert os.listdir(tmp_path / folder / "here" / "lib") == ["libdijitso-relative_%s.so" % folder]


def test_paths_are_parameters_too(tmp_path):
    params = {"cache": {"cache_dir": tmp_path / "path"}}
    module = dijitso.jit(None, "paths", params, Counted())[0]
    assert os.listdir(tmp_path / "path" / "lib") == ["libdijitso-paths.so"]
    assert dijitso.jit(None, "paths", params, Counted())[0] is module


def test_many_at_once():
    jitables = list(range(4))
    names = ["many_%d" % number for number in jitables]

    def generate(jitable, name, signature, params):
        return "", 'extern "C" int %s() { return %d; }' % (name, jitable), ()

    found = dijitso.jit_many(jitables, names, {}, generate)
    assert [signature for _, signature in found] == names
    assert [getattr(module, name)() for (module, _), name in zip(found, names)] == jitables
    assert dijitso.jit(None, "many_2", {})[0] is found[2][0]
    with pytest.raises(ValueError):
        dijitso.jit_many([1], names, {}, generate)


def test_one_of_many_fails():
    def generate(jitable, name, signature, params):
        return "", 'extern "C" int %s() { return %s; }' % (name, jitable), ()

    with pytest.raises(dijitso.DijitsoError, match="some_1"):
        dijitso.jit_many(["0", "no_such_name", "2"], ["some_0", "some_1", "some_2"], {}, generate)
    assert dijitso.jit(None, "some_2", {})[0].some_2() == 2


def test_the_signature_of_a_call():
    assert dijitso.jit.__globals__["jit_signature"]("the_name", {}) == "the_name"
    hashed = dijitso.jit.__globals__["jit_signature"]("the_name", {"cache": {"signature": "hash"}})
    assert hashed.startswith("the_name_") and len(hashed) > 20


def test_threads_build_at_the_same_time():
    import threading
    found = {}

    def work(number):
        name = "thread_%d" % (number // 2)
        found[number] = dijitso.jit(None, name, {}, square)[0]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 6
    assert all(found[number] is found[number + 1] for number in (0, 2, 4))


def test_import_loads_little(python):
    code = "import sys, dijitso; print([m for m in ('numpy', 'pkg_resources', 'mpi4py', 'subprocess') if m in sys.modules])"
    assert python(code).strip() == "[]"


def test_plain_import_gives_the_modules(python):
    python("import dijitso; assert dijitso.params.default_params()['cache']['cache_dir'] is None\n"
           "dijitso.cache.load_library, dijitso.system.make_dirs, dijitso.mpi.bcast_uuid, dijitso.plan.Plan, dijitso.Plan\n"
           "assert dijitso.__version__.startswith('2019.2')\n"
           "import dijitso.jit; from dijitso.jit import jit; assert dijitso.jit is jit")


def test_send_gets_what_receive_gives(tmp_path):
    """A builder and a receiver with directories of their own."""
    sent, order = [], []
    module, _ = dijitso.jit(None, "sent", {}, Counted(), send=sent.append, wait=lambda: order.append("builder"))
    assert module.sent() == 42
    assert len(sent) == 1 and sent[0].dtype == "uint8" and sent[0].ndim == 1
    params = {"cache": {"cache_dir": str(tmp_path / "receiver")}}
    module, _ = dijitso.jit(None, "sent", params, receive=lambda: sent[0], wait=lambda: order.append("receiver"))
    assert module.sent() == 42
    assert order == ["builder", "receiver"]


def test_a_failed_builder_still_sends_and_waits(tmp_path):
    sent, waited = [], []
    with pytest.raises(Own):
        dijitso.jit(None, "unsent", {}, lambda *_: (_ for _ in ()).throw(Own("generate")), send=sent.append,
                    wait=lambda: waited.append(1))
    assert waited == [1] and len(sent) == 1
    params = {"cache": {"cache_dir": str(tmp_path / "receiver")}}
    with pytest.raises(dijitso.DijitsoError, match="generate"):
        dijitso.jit(None, "unsent", params, receive=lambda: sent[0], wait=lambda: waited.append(2))
    assert waited == [1, 2]


@pytest.mark.parametrize("role", ["send", "receive", "wait"])
def test_an_exception_of_a_transport_comes_out_as_itself(role):
    def raise_it(*_):
        raise Own(role)

    functions = {"send": {"generate": Counted(), "send": raise_it}, "receive": {"receive": raise_it},
                 "wait": {"generate": Counted(), "wait": raise_it}}[role]
    with pytest.raises(Own, match=role):
        dijitso.jit(None, "transport_" + role, {}, **functions)
