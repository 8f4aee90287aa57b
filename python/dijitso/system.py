# SPDX-License-Identifier: MIT OR Apache-2.0
"""Files and commands."""

import gzip
import os
import shutil
import stat
import subprocess
import tempfile

from dijitso.log import warning

__all__ = ["get_status_output", "gunzip_file", "gzip_file", "ldd", "lockfree_move_file", "make_dirs", "make_executable",
           "move_file", "read_textfile", "rename_file", "store_textfile", "try_copy_file", "try_delete_file",
           "try_rename_file"]


def get_status_output(cmd, input=None, cwd=None, env=None):
    """Runs a command. Returns its exit status and its output, standard error included, as text.

    ``cmd`` is a list of words, or a line for the shell. ``input`` is text or bytes for its standard input. A program that
    is not there has status 127, as in a shell.
    """
    if isinstance(input, str):
        input = input.encode("utf-8", "surrogateescape")
    try:
        done = subprocess.run(cmd, shell=isinstance(cmd, str), input=input, cwd=cwd, env=env, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, **({} if input is not None else {"stdin": subprocess.DEVNULL}))
    except FileNotFoundError as problem:
        return 127, str(problem)
    except PermissionError as problem:
        return 126, str(problem)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def make_dirs(path):
    """Makes a directory and those above it. Nothing happens if it is there; a file there is FileExistsError."""
    os.makedirs(path, exist_ok=True)


def make_executable(filename):
    """Lets the owner of a file execute it."""
    os.chmod(filename, os.stat(filename).st_mode | stat.S_IXUSR)


def rename_file(src, dst):
    """Renames a file, unless ``dst`` exists."""
    try:
        os.link(src, dst)
    except FileExistsError:
        return
    except OSError:
        # A disk without links: there is a moment between the check and the renaming.
        if not os.path.lexists(dst):
            os.rename(src, dst)
        return
    os.unlink(src)


def try_rename_file(src, dst):
    """Renames a file. Nothing happens if ``src`` is not there or ``dst`` exists."""
    try:
        rename_file(src, dst)
    except FileNotFoundError:
        pass


def try_delete_file(filename):
    """Removes a file, if it is there."""
    try:
        os.unlink(filename)
    except FileNotFoundError:
        pass


def try_copy_file(src, dst):
    """Copies a file to a file or into a directory. Returns False if that fails."""
    try:
        shutil.copy(src, dst)
    except OSError:
        return False
    return True


def move_file(srcfilename, dstfilename):
    """Moves a file, also to another disk. ``dstfilename`` appears in one step."""
    _publish(srcfilename, dstfilename)
    os.unlink(srcfilename)


def lockfree_move_file(src, dst):
    """Moves a file to a place that several processes want to fill. Readers see a whole file at any time.

    If ``dst`` exists with other contents, it is kept as ``dst.old``, and a warning is logged.
    """
    if not os.path.exists(src):
        raise FileNotFoundError("there is no file %s to move" % src)
    try:
        same = _contents(src) == _contents(dst)
    except FileNotFoundError:
        same = None
    if same is False:
        warning("%s exists with other contents, which are kept in %s.old", dst, dst)
        _publish(dst, dst + ".old")
    if not same:
        _publish(src, dst)
    os.unlink(src)


def _contents(filename):
    with open(filename, "rb") as file:
        return file.read()


def _publish(src, dst):
    """Copies a file next to its new place, and renames it there."""
    directory = os.path.dirname(os.path.abspath(dst))
    number, new = tempfile.mkstemp(prefix=os.path.basename(dst) + ".", suffix=".new", dir=directory)
    os.close(number)
    try:
        shutil.copy2(src, new)
        os.replace(new, dst)
    except BaseException:
        try_delete_file(new)
        raise


def gzip_file(filename):
    """Compresses a file to ``filename.gz``, unless that exists, and keeps it. Returns the new name; None if there is no
    such file."""
    if not os.path.exists(filename):
        return None
    compressed = filename + ".gz"
    if not os.path.exists(compressed):
        # Without a time, so that equal files stay equal.
        _store(compressed, gzip.compress(_contents(filename), mtime=0))
    return compressed


def gunzip_file(gz_filename):
    """Uncompresses ``NAME.gz`` to ``NAME``, unless that exists, and removes it. Returns the new name; None if there is no
    such file."""
    if not os.path.exists(gz_filename):
        return None
    if not gz_filename.endswith(".gz"):
        raise ValueError("the name of %s does not end in .gz" % gz_filename)
    filename = gz_filename[:-len(".gz")]
    if not os.path.exists(filename):
        _store(filename, gzip.decompress(_contents(gz_filename)))
    try_delete_file(gz_filename)
    return filename


def read_textfile(filename):
    """Returns the text of a file, or of ``filename.gz``; None if there is neither."""
    try:
        data = _contents(filename)
        if filename.endswith(".gz"):
            data = gzip.decompress(data)
    except FileNotFoundError:
        try:
            data = gzip.decompress(_contents(filename + ".gz"))
        except FileNotFoundError:
            return None
    return data.decode("utf-8", "surrogateescape")


def store_textfile(filename, content):
    """Writes a text or bytes to a file, which appears in one step."""
    _store(filename, content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape"))


def _store(filename, data):
    directory = os.path.dirname(os.path.abspath(filename))
    number, new = tempfile.mkstemp(prefix=os.path.basename(filename) + ".", suffix=".new", dir=directory)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(new, 0o666 & ~mask)
        os.replace(new, filename)
    except BaseException:
        try_delete_file(new)
        raise


def ldd(libname):
    """Returns a dictionary of the libraries that a library needs: names, and paths or None if they are not found.

    Only for libraries that are trusted: the program ``ldd`` may run their code.
    """
    status, output = get_status_output(["ldd", libname])
    if status != 0:
        raise RuntimeError("ldd %s failed: %s" % (libname, output.strip()))
    found = {}
    for line in output.splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        path = (rest if arrow else name).split(" (")[0].strip()
        name = name.split(" (")[0].strip()
        if name and name != "statically linked":
            found[os.path.basename(name)] = None if path == "not found" else path
    return found
