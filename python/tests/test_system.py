# SPDX-License-Identifier: MIT OR Apache-2.0
"""Files and commands."""

import gzip
import multiprocessing
import os
import stat
import sys
import threading

import pytest

from dijitso import system


def put(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return str(path)


def text_of(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


# --- commands ---------------------------------------------------------------------------------------------------------

def test_a_command_has_a_status_and_an_output():
    assert system.get_status_output([sys.executable, "-c", "print('out')"]) == (0, "out\n")
    status, output = system.get_status_output([sys.executable, "-c", "import sys; sys.stderr.write('bad'); sys.exit(3)"])
    assert (status, output) == (3, "bad")


def test_c15_words_reach_the_command_as_they_are():
    show = [sys.executable, "-c", "import sys; print(sys.argv[1:])"]
    assert system.get_status_output(show + ["a b", "$HOME", "*;"])[1].strip() == "['a b', '$HOME', '*;']"
    status, output = system.get_status_output("printf '%s,' 'a b' $HOME; false")
    assert (status, output) == (0, "a b,$HOME;,false,")


@pytest.mark.parametrize("method", ["SUBPROCESS", "OS_SYSTEM"])
def test_c15_input_directory_and_environment_work_with_each_method(method, monkeypatch, tmp_path):
    monkeypatch.setenv("DIJITSO_SYSTEM_CALL_METHOD", method)
    program = "import os, sys; print(sys.stdin.read(), os.getcwd(), os.environ['VALUE'])"
    status, output = system.get_status_output([sys.executable, "-c", program], input="text", cwd=str(tmp_path), env={"VALUE": "v"})
    assert (status, output) == (0, "text %s v\n" % os.path.realpath(tmp_path))
    assert system.get_status_output(["cat"], input=b"bytes") == (0, "bytes")
    assert system.get_status_output(["cat"]) == (0, "")


def test_c15_another_method_is_an_error(monkeypatch):
    monkeypatch.setenv("DIJITSO_SYSTEM_CALL_METHOD", "FORK")
    with pytest.raises(RuntimeError, match="DIJITSO_SYSTEM_CALL_METHOD is FORK"):
        system.get_status_output(["true"])


def test_h1_a_missing_program_and_foreign_bytes_are_no_exceptions(tmp_path):
    assert system.get_status_output(["/no/such/program"])[0] == 127
    assert system.get_status_output([put(tmp_path / "plain", "")])[0] == 126
    status, output = system.get_status_output([sys.executable, "-c", "import os; os.write(1, b'a\\xffb')"])
    assert status == 0 and output[0] == "a" and output[-1] == "b"


def test_c23_ldd_lists_libraries_with_their_paths(tmp_path):
    found = system.ldd(os.path.realpath(sys.executable))
    libc = [path for name, path in found.items() if name.startswith("libc.so")]
    assert len(libc) == 1 and os.path.isabs(libc[0]) and os.path.exists(libc[0])
    assert not any("vdso" in name for name in found)
    with pytest.raises(RuntimeError, match="ldd"):
        system.ldd(str(tmp_path / "nothing"))


def test_c23_a_library_that_is_missing_is_none(tmp_path):
    needed = tmp_path / "libneeded.so"
    put(tmp_path / "empty.c", "")
    for words in ["-o", str(needed)], ["-o", str(tmp_path / "user.so"), "-Wl,--no-as-needed", "-L%s" % tmp_path, "-lneeded"]:
        status, output = system.get_status_output(["cc", "-shared", str(tmp_path / "empty.c"), *words])
        assert status == 0, output
    needed.unlink()
    assert system.ldd(str(tmp_path / "user.so"))["libneeded.so"] is None


# --- directories and names --------------------------------------------------------------------------------------------

def test_c18_directories_are_made_and_a_file_is_none(tmp_path):
    system.make_dirs(str(tmp_path / "a" / "b"))
    system.make_dirs(str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").is_dir()
    with pytest.raises(FileExistsError):
        system.make_dirs(put(tmp_path / "file", ""))


def test_an_executable_file(tmp_path):
    path = put(tmp_path / "script", "")
    os.chmod(path, 0o640)
    system.make_executable(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o740


def test_c2_a_rename_that_fails_says_why(tmp_path):
    with pytest.raises(FileNotFoundError):
        system.rename_file(str(tmp_path / "no"), str(tmp_path / "other"))
    with pytest.raises(FileNotFoundError):
        system.rename_file(put(tmp_path / "here", ""), str(tmp_path / "no" / "other"))
    put(tmp_path / "there", "")
    with pytest.raises(FileNotFoundError):
        system.rename_file(str(tmp_path / "no"), str(tmp_path / "there"))


def test_a_rename_keeps_what_is_there(tmp_path):
    one, two = put(tmp_path / "one", "1"), put(tmp_path / "two", "2")
    system.rename_file(one, two)
    system.try_rename_file(one, two)
    assert text_of(two) == "2" and text_of(one) == "1"
    system.rename_file(one, str(tmp_path / "three"))
    assert text_of(tmp_path / "three") == "1" and not os.path.exists(one)
    (tmp_path / "folder").mkdir()
    system.rename_file(str(tmp_path / "folder"), str(tmp_path / "renamed"))
    assert (tmp_path / "renamed").is_dir()
    system.try_rename_file(str(tmp_path / "no"), str(tmp_path / "new"))
    assert not os.path.exists(tmp_path / "new")


def test_what_may_fail_without_an_error(tmp_path):
    assert system.try_copy_file(str(tmp_path / "no"), str(tmp_path / "copy")) is False
    assert system.try_copy_file(put(tmp_path / "one", "1"), str(tmp_path / "copy")) is True
    assert text_of(tmp_path / "copy") == "1"
    system.try_delete_file(str(tmp_path / "copy"))
    system.try_delete_file(str(tmp_path / "copy"))
    assert not os.path.exists(tmp_path / "copy")


def test_a_file_is_moved_also_to_another_disk(tmp_path):
    system.move_file(put(tmp_path / "one", "1"), str(tmp_path / "two"))
    (tmp_path / "folder").mkdir()
    system.move_file(str(tmp_path / "two"), str(tmp_path / "folder"))
    assert text_of(tmp_path / "folder" / "two") == "1"
    if not os.access("/dev/shm", os.W_OK) or os.stat("/dev/shm").st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("this machine has no other disk in /dev/shm")
    other = "/dev/shm/dijitso-test-%d" % os.getpid()
    try:
        system.move_file(str(tmp_path / "folder" / "two"), other)
        assert text_of(other) == "1" and not os.path.exists(tmp_path / "folder" / "two")
    finally:
        system.try_delete_file(other)


# --- lockfree_move_file -----------------------------------------------------------------------------------------------

def test_one_file_after_the_other_is_moved(tmp_path):
    target = str(tmp_path / "target")
    for number in range(3):
        source = put(tmp_path / ("source-%d" % number), "same")
        system.lockfree_move_file(source, target)
        assert not os.path.exists(source) and text_of(target) == "same"
    assert os.listdir(tmp_path) and not [name for name in os.listdir(tmp_path) if name.startswith("target.")]


def fill(arguments):
    directory, worker = arguments
    target = os.path.join(directory, "target")
    for number in range(25):
        source = put(os.path.join(directory, "source-%d-%d" % (worker, number)), "text of all\n" * 100)
        system.lockfree_move_file(source, target)
        assert text_of(target) == "text of all\n" * 100
    return worker


def test_many_processes_fill_the_same_place(tmp_path):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert sorted(pool.map(fill, [(str(tmp_path), worker) for worker in range(4)])) == [0, 1, 2, 3]
    assert [name for name in os.listdir(tmp_path) if name not in ("work", "home", "cache")] == ["target"]


@pytest.mark.parametrize("leftover", ["target.pub.0", "target.pub.not-a-number", "target.priv.1"])
def test_w5_what_a_killed_process_has_left_is_not_promoted(tmp_path, leftover):
    put(tmp_path / leftover, "TRUNC")
    system.lockfree_move_file(put(tmp_path / "source", "GOOD"), str(tmp_path / "target"))
    assert text_of(tmp_path / "target") == "GOOD" and text_of(tmp_path / leftover) == "TRUNC"


def test_w6_the_newcomer_wins_and_the_old_file_is_kept(tmp_path):
    target = str(tmp_path / "target")
    for text in "one", "two", "three":
        system.lockfree_move_file(put(tmp_path / "source", text), target)
        assert text_of(target) == text
    assert text_of(target + ".old") == "two"


def test_w6_the_file_is_there_at_any_time(tmp_path):
    target, missing, done = put(tmp_path / "target", "0"), [], threading.Event()

    def look():
        while not done.is_set():
            try:
                assert text_of(target).isdigit()
            except (FileNotFoundError, AssertionError) as problem:
                missing.append(problem)

    watcher = threading.Thread(target=look)
    watcher.start()
    for number in range(200):
        system.lockfree_move_file(put(tmp_path / "source", str(number)), target)
    done.set()
    watcher.join()
    assert missing == []


def test_times_in_compressed_files_do_not_count(tmp_path):
    target = tmp_path / "target.gz"
    target.write_bytes(gzip.compress(b"text", mtime=1))
    source = tmp_path / "source.gz"
    source.write_bytes(gzip.compress(b"text", mtime=2))
    system.lockfree_move_file(str(source), str(target))
    assert not source.exists() and not os.path.exists(str(target) + ".old")
    target.write_bytes(b"damaged")
    source.write_bytes(gzip.compress(b"text"))
    system.lockfree_move_file(str(source), str(target))
    assert gzip.decompress(target.read_bytes()) == b"text"


def test_a_source_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        system.lockfree_move_file(str(tmp_path / "no"), str(tmp_path / "target"))


# --- texts ------------------------------------------------------------------------------------------------------------

def test_a_text_is_written_and_read(tmp_path):
    path = str(tmp_path / "text")
    before = os.umask(0o027)
    try:
        assert system.store_textfile(path, "ä") == path
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
    assert system.read_textfile(path) == "ä"
    system.store_textfile(path, b"\xff")
    assert system.read_textfile(path).encode("utf-8", "surrogateescape") == b"\xff"
    assert system.read_textfile(str(tmp_path / "no")) is None


def test_a_text_is_compressed_and_uncompressed(tmp_path):
    path = put(tmp_path / "text", "contents")
    assert system.gzip_file(path) == path + ".gz" and os.path.exists(path)
    first = (tmp_path / "text.gz").read_bytes()
    assert system.gzip_file(path) == path + ".gz" and (tmp_path / "text.gz").read_bytes() == first
    os.unlink(path)
    assert system.read_textfile(path) == "contents" == system.read_textfile(path + ".gz")
    assert system.gunzip_file(path + ".gz") == path
    assert text_of(path) == "contents" and not os.path.exists(path + ".gz")
    assert system.gzip_file(str(tmp_path / "no")) is None and system.gunzip_file(str(tmp_path / "no.gz")) is None


def test_uncompressing_loses_nothing(tmp_path):
    path = put(tmp_path / "text", "old")
    (tmp_path / "text.gz").write_bytes(gzip.compress(b"new"))
    system.gunzip_file(path + ".gz")
    assert text_of(path) == "new" and text_of(path + ".old") == "old"
    with pytest.raises(ValueError):
        system.gunzip_file(path)
