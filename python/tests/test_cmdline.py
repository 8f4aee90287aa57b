# SPDX-License-Identifier: MIT OR Apache-2.0
"""The command, as scripts and people call it."""

import argparse
import os
import pty
import select
import subprocess
import sys
import time

import pytest
from conftest import PACKAGE

import dijitso
from dijitso import _native, cmdline

FILES = {"inc": "include/square.h", "src": "src/square.cpp.gz", "lib": "lib/libdijitso-square.so", "log": "log/square.txt"}


def paths(place, *categories):
    return [str(place / "cache" / FILES[category]) for category in categories or FILES]


def there(place):
    return [category for category, name in FILES.items() if (place / "cache" / name).exists()]


def test_parse_categories():
    assert cmdline.parse_categories("all") == ("inc", "src", "lib", "log")
    assert list(cmdline.parse_categories("inc, src")) == ["inc", "src"]
    with pytest.raises(ValueError, match="unknown category 'bin'"):
        cmdline.parse_categories("inc,bin")


def test_each_subcommand_has_its_functions_and_help(command):
    names = sorted(name[len("cmd_"):] for name in dir(cmdline) if name.startswith("cmd_"))
    assert names == ["checkout", "clean", "config", "grep", "grepfunction", "migrate", "show", "version"]
    status, output, _ = command("--help")
    assert status == 0
    for name in names:
        getattr(cmdline, "args_" + name)(argparse.ArgumentParser())
        assert getattr(cmdline, "cmd_" + name).__doc__ and name in output
        assert command(name, "--help")[0] == 0


def test_version(command):
    assert command("version") == (0, dijitso.__version__ + "\n", "")
    assert dijitso.__version__.startswith("2019.2")


def test_config_shows_all_and_one_value(command, place):
    status, output, _ = command("config")
    assert status == 0 and "    cxxflags: -Wall -shared -fPIC -std=c++11\n" in output
    assert "build:\n" in output and "cache:\n" in output
    assert command("config", "--key", "build.cxxflags") == (0, "    build.cxxflags: -Wall -shared -fPIC -std=c++11\n", "")
    assert command("config", "--key", "cache.cache_dir")[1] == "    cache.cache_dir: %s\n" % (place / "cache")


def test_w1_the_named_cache_directory_is_used(command, place, build):
    build("square")
    other = str(place / "other")
    for words in ["-r", other, "config"], ["config", "--cache-dir", other], ["--cache-dir=" + other, "config"]:
        assert command(*words, "--key", "cache.cache_dir")[1] == "    cache.cache_dir: %s\n" % other
    assert command("-r", other, "clean")[0] == 0
    assert there(place) == list(FILES)


def test_c8_mistakes_are_errors_that_help(command, build):
    build("square")
    for words, message in [((), "COMMAND"), (("config", "--key", "build.nothing"), "unknown key 'build.nothing'"),
                           (("config", "--key", "nothing"), "unknown key"), (("config", "--key", "build.cxx.y"), "unknown key"),
                           (("show", "--categories", "bin"), "unknown category 'bin'"),
                           (("grep", "--regexmode", "--pattern", "("), "regular expression")]:
        status, output, error = command(*words)
        assert status == 2 and message in error and "Traceback" not in error and not output, (words, error)


def test_show(command, place, build):
    build("square", "other")
    status, output, _ = command("show")
    assert status == 0 and output.splitlines()[-4:] == ["inc: 2", "src: 2", "lib: 2", "log: 2"]
    assert command("show", "--no-summary", "--signatures")[1] == "\tother\n\tsquare\n"
    listed = command("show", "--no-summary", "--files", "--categories", "lib,inc")[1].splitlines()
    assert set(listed) > {"\t" + path for path in paths(place, "inc", "lib")} and len(listed) == 4


def test_c6_a_script_may_clean_without_a_terminal(command, place, build):
    """C6: without a terminal nothing is asked, as before; with one the command asks."""
    build("square")
    assert os.system("PYTHONPATH='%s' '%s' -m dijitso clean < /dev/null" % (PACKAGE, sys.executable)) == 0
    assert there(place) == []
    assert command("clean") == (0, "", "")


def test_some_categories_are_cleaned(command, place, build):
    build("square")
    assert command("clean", "--categories", "log,src")[0] == 0
    assert there(place) == ["inc", "lib"]


def test_c5_flags_are_flags_before_and_after_the_subcommand(command, place, build):
    build("square")
    for words in ["-n", "clean"], ["clean", "-n"], ["--dry-run", "clean"], ["-v", "-n", "clean"], ["clean", "--dry-run", "--verbose"]:
        status, output, _ = command(*words)
        assert status == 0 and sorted(output.splitlines()) == sorted("rm " + path for path in paths(place)), words
        assert there(place) == list(FILES), words


def on_terminal(words, answer):
    """Runs the command on a terminal, answers its question, and returns status and output."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["PYTHONPATH"] = PACKAGE
        os.execv(sys.executable, [sys.executable, "-m", "dijitso", *words])
    output, end = b"", time.monotonic() + 50
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            data = os.read(terminal, 4096)
        except OSError:
            break
        if not data:
            break
        output += data
        if answer and b"[y/N]" in output:
            os.write(terminal, answer)
            answer = b""
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output.decode()


def test_c6_on_a_terminal_clean_asks(place, build):
    build("square")
    status, output = on_terminal(["clean"], b"n\n")
    assert status == 1 and "4 files" in output and str(place / "cache") in output and there(place) == list(FILES)
    status, output = on_terminal(["clean"], b"\x04")
    assert status == 1 and there(place) == list(FILES)
    assert on_terminal(["clean", "-n"], b"")[0] == 0 and there(place) == list(FILES)
    assert on_terminal(["clean"], b"y\n")[0] == 0 and there(place) == []
    build("other")
    assert on_terminal(["clean", "--yes"], b"")[0] == 0
    assert not (place / "cache" / "lib" / "libdijitso-other.so").exists()


def test_c10_patterns_are_literal_unless_regexmode_is_on(command, place, build):
    build("square")
    source = paths(place, "src")[0]
    assert command("grep", "--pattern", "square(double") == (0, "\nFile '%s' matches:\n\textern \"C\" double square(double x)\n" % source, "")
    assert command("grep", "--pattern", "sq.*re") == (0, "", "")
    assert command("grep", "--pattern", ".*sq.*re", "--regexmode", "--filesonly")[1] == source + "\n"
    assert command("grep", "--pattern", "x", "--countonly")[1] == source + ": 2\n"
    assert "    3:\t  return x * x;\n" in command("grep", "--pattern", "x", "--linenumbers")[1]


def test_grep_knows_categories_and_signatures(command, place, build):
    build("square", "square2")
    only = command("grep", "--pattern", "return", "--signature", "square2", "--filesonly")[1].splitlines()
    assert [os.path.basename(path) for path in only] == ["square2.cpp.gz"]
    assert command("grep", "--pattern", "pragma", "--filesonly", "--categories", "inc")[1].splitlines()[0] == paths(place, "inc")[0]
    assert command("grep", "--pattern=-shared", "--categories", "log", "--filesonly")[1].splitlines()[0] == paths(place, "log")[0]
    dijitso.jit(None, "prints", {}, lambda *a: ("", '#include <cstdio>\nextern "C" void f() { std::puts("x"); }\n', ()))
    status, output, _ = command("grep", "--pattern", "libc.so", "--categories", "lib")
    assert status == 0 and "libdijitso-prints.so' matches" in output and "libc.so.6 => /" in output


def test_c9_functions_come_out_as_they_are_with_their_line(command, place):
    def generate(*_):
        return "", ("// first\nint other(int x) { if (x) { return 1; } return 2; }\n\nint %s(int x)\n{\n  if (x) { return 1; }\n"
                    "  return other(x);\n}\nint last() { return 0; }\n" % "chosen"), ()

    dijitso.jit(None, "functions", {}, generate)
    source = str(place / "cache" / "src" / "functions.cpp.gz")
    status, output, _ = command("grepfunction", "--name", "chosen")
    assert status == 0
    assert output == "%s:4\nint chosen(int x)\n{\n  if (x) { return 1; }\n  return other(x);\n}\n\n" % source
    assert command("grepfunction", "--name", "chosen", "--no-body")[1] == "\nFile '%s' matches:\n    4: int chosen(int x)\n" % source
    assert command("grepfunction", "--name", "cho.*n") == (0, "", "")
    assert command("grepfunction", "--name", "hosen") == (0, "", "")
    assert "int last() { return 0; }" in command("grepfunction")[1]


def test_c7_checkout_copies_or_says_why_not(command, place, build):
    build("square")
    status, output, _ = command("checkout", "--signature", "square")
    assert status == 0 and "jitcheckout-square" in output
    copies = sorted(os.listdir(place / "work" / "jitcheckout-square"))
    assert copies == ["libdijitso-square.so", "square.cpp", "square.h", "square.txt"]
    assert command("checkout", "--signature", "square", "--categories", "src")[0] == 0
    for words in ["checkout", "--signature", "unknown"], ["checkout"], ["checkout", "--signature", "../../evil"]:
        status, _, error = command(*words)
        assert status != 0 and error and "Traceback" not in error, words
    assert sorted(os.listdir(place / "work")) == ["jitcheckout-square"]


def test_functions_can_be_called_by_programs(capsys, build, place):
    build("square")
    values = dijitso.validate_params({})
    assert cmdline.cmd_show(argparse.Namespace(categories="all", no_summary=True, files=False, signatures=True), values) == 0
    assert capsys.readouterr().out == "\tsquare\n"
    assert cmdline.cmd_clean(argparse.Namespace(categories="all", dry_run=True), values) == 0
    assert there(place) == list(FILES)
    assert dijitso.main(["version"]) == 0


def test_a_reader_that_has_seen_enough_is_no_error(build):
    build("square")
    show = subprocess.Popen([sys.executable, "-m", "dijitso", "show", "--files"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**os.environ, "PYTHONPATH": PACKAGE})
    show.stdout.close()
    assert show.stderr.read() == b"" and show.wait(50) == 0
    show.stderr.close()


def test_what_is_not_utf_8_is_printed(place, command):
    dijitso.jit(None, "square", {}, lambda *a: ("", b'extern "C" int square() { return 1; } // \xe4\n', ()))
    done = subprocess.run([sys.executable, "-m", "dijitso", "grep", "--pattern", "square"], stdout=subprocess.PIPE, timeout=50, check=True,
                          env={**os.environ, "PYTHONPATH": PACKAGE})
    assert b"// \xe4\n" in done.stdout


def test_other_commands_go_to_that_of_the_library(command, build):
    if _native.command() is None:
        pytest.skip("the command of the library is not there")
    build("square")
    status, output, _ = command("stats")
    assert status == 0 and "1 entry" in output
    assert command("show", "--json")[0] == 0 and command("no-such-command")[0] == 2
    assert dijitso.main(["stats", "--json"]) == 0


def test_without_that_of_the_library_they_are_errors(monkeypatch, capsys):
    monkeypatch.setattr(_native, "command", lambda: None)
    for words in ["stats"], ["show", "--json"], []:
        assert dijitso.main(words) == 2
        assert "error:" in capsys.readouterr().err


# --- migration --------------------------------------------------------------------------------------------------------

def old_cache(directory):
    for folder, name in ("include", "f.h"), ("src", "f.cpp.gz"), ("lib", "libdijitso-f.so"), ("log", "f.txt"):
        (directory / folder).mkdir(parents=True)
        (directory / folder / name).write_text("old")
    directory.chmod(0o775)
    return directory


BUILD = "import dijitso; print(dijitso.jit(None, 'f', {}, lambda *a: ('', 'extern \"C\" int f() { return 1; }', ()))[0]._name)"


@pytest.mark.parametrize("remove", [True, False])
def test_the_default_cache_is_migrated(place, python, command, remove):
    old = old_cache(place / "home" / ".cache" / "dijitso")
    env = {"DIJITSO_CACHE_DIR": ""}
    assert "dijitso-libraries" in python(BUILD, env=env)
    before = sorted(os.listdir(old.parent))
    status, output, _ = command("migrate", "-n", env=env)
    assert status == 0 and "mv " in output and sorted(os.listdir(old.parent)) == before
    status, output, error = command("migrate", *["--remove"] * remove, env=env)
    assert status == 0, error
    caches = [name for name in sorted(os.listdir(old.parent)) if name != "dijitso-slots"]
    assert caches == ["dijitso"] + ["dijitso-python-dijitso"] * (not remove)
    # The library is found in its new place, and nothing is said about another cache.
    assert python(BUILD.replace("return 1", "is no C++"), env=env) == "%s/lib/libdijitso-f.so\n" % old
    status, output, _ = command("migrate", env=env)
    assert status == 0 and "no migration" in output


@pytest.mark.parametrize("remove", [True, False])
def test_a_named_cache_is_migrated(place, python, command, remove):
    old = old_cache(place / "cache")
    assert "/cache/libraries/" in python(BUILD)
    status, output, error = command("migrate", *["--remove"] * remove)
    assert status == 0, error
    assert python(BUILD.replace("return 1", "is no C++")) == "%s/lib/libdijitso-f.so\n" % old
    assert old.stat().st_mode & 0o022 == 0
    aside = old / "python-dijitso"
    assert aside.exists() is not remove and (remove or (aside / "lib" / "libdijitso-f.so").read_text() == "old")
    assert command("migrate")[1].endswith("needs no migration.\n")


def test_an_old_cache_alone_is_migrated(place, python, command):
    old = old_cache(place / "cache")
    assert command("-r", str(old), "migrate", "--remove")[0] == 0
    assert python(BUILD) == "%s/lib/libdijitso-f.so\n" % old


def test_a_cache_of_this_library_is_left_alone(place, command, build):
    build("square")
    status, output, _ = command("migrate", "--remove")
    assert status == 0 and "no migration" in output and there(place) == list(FILES)
