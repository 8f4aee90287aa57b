# SPDX-License-Identifier: MIT OR Apache-2.0
"""Files and commands."""

import errno
import gzip
import os
import shlex
import shutil
import stat
import subprocess
import tempfile
import uuid
from typing import Dict, Mapping, Optional, Sequence, Tuple, Union

from dijitso.log import warning

__all__ = ["get_status_output", "gunzip_file", "gzip_file", "ldd", "lockfree_move_file", "make_dirs", "make_executable",
           "move_file", "read_textfile", "rename_file", "store_textfile", "try_copy_file", "try_delete_file",
           "try_rename_file"]


# --- commands ---------------------------------------------------------------------------------------------------------

def get_status_output(cmd: Union[str, Sequence[str]], input: Union[str, bytes, None] = None, cwd: Optional[str] = None,
                      env: Optional[Mapping[str, str]] = None) -> Tuple[int, str]:
    """Runs a command. Returns its exit status and its output, standard error included, as text.

    ``cmd`` is a list of words, or a line that is split as a shell splits it; no shell runs. ``input`` is text or bytes for
    its standard input. A program that is not there has status 127, and one that may not be run 126, as in a shell.

    The variable ``DIJITSO_SYSTEM_CALL_METHOD`` may be SUBPROCESS or OS_SYSTEM, which now are the same; anything else is
    RuntimeError.
    """
    method = os.environ.get("DIJITSO_SYSTEM_CALL_METHOD") or "SUBPROCESS"
    if method not in ("SUBPROCESS", "OS_SYSTEM"):
        raise RuntimeError("DIJITSO_SYSTEM_CALL_METHOD is %s: it is SUBPROCESS or OS_SYSTEM" % method)
    words = shlex.split(cmd) if isinstance(cmd, str) else list(cmd)
    if isinstance(input, str):
        input = input.encode("utf-8", "surrogateescape")
    try:
        done = subprocess.run(words, input=b"" if input is None else input, cwd=cwd, env=env, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
    except (FileNotFoundError, NotADirectoryError) as problem:
        return 127, str(problem)
    except PermissionError as problem:
        return 126, str(problem)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def ldd(libname: str) -> Dict[str, Optional[str]]:
    """Returns a dictionary of the libraries that a library needs: names, and paths or None if they are not found.

    Only for libraries that are trusted: the program ``ldd`` may run their code. Raises RuntimeError for what is no library.
    """
    status, output = get_status_output(["ldd", libname], env={**os.environ, "LC_ALL": "C"})
    if status != 0 and "not a dynamic executable" not in output:
        raise RuntimeError("ldd %s failed: %s" % (libname, output.strip()))
    found: Dict[str, Optional[str]] = {}
    for line in output.splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        path = (rest if arrow else name).split(" (")[0].strip()
        name = os.path.basename(name.split(" (")[0].strip())
        if arrow and path == "not found":
            found[name] = None
        elif "/" in path:
            # Not what the kernel brings along, and no message.
            found[name] = path
    return found


# --- files ------------------------------------------------------------------------------------------------------------

def make_dirs(path: str) -> None:
    """Makes a directory and those above it. Nothing happens if it is there; a file there is FileExistsError."""
    os.makedirs(path, exist_ok=True)


def make_executable(filename: str) -> None:
    """Lets the owner of a file execute it."""
    os.chmod(filename, stat.S_IMODE(os.stat(filename).st_mode) | stat.S_IXUSR)


def rename_file(src: str, dst: str) -> None:
    """Renames a file. Nothing happens if ``dst`` exists. Raises OSError for any other failure."""
    try:
        os.link(src, dst, follow_symlinks=False)
    except (FileExistsError, FileNotFoundError) as problem:
        if isinstance(problem, FileExistsError):
            return
        raise
    except OSError:
        # A directory, or a disk without links: there is a moment between the check and the renaming.
        if not os.path.lexists(dst):
            os.rename(src, dst)
        return
    os.unlink(src)


def try_rename_file(src: str, dst: str) -> None:
    """Renames a file. Nothing happens if ``src`` is not there or ``dst`` exists."""
    try:
        rename_file(src, dst)
    except FileNotFoundError:
        pass


def try_delete_file(filename: str) -> None:
    """Removes a file, if it is there."""
    try:
        os.unlink(filename)
    except FileNotFoundError:
        pass


def try_copy_file(src: str, dst: str) -> bool:
    """Copies a file to a file or into a directory. Returns False if that fails."""
    try:
        shutil.copy(src, dst)
    except OSError:
        return False
    return True


def move_file(srcfilename: str, dstfilename: str) -> None:
    """Moves a file to a file or into a directory, also to another disk. It appears there in one step."""
    if os.path.isdir(dstfilename):
        dstfilename = os.path.join(dstfilename, os.path.basename(srcfilename))
    try:
        os.replace(srcfilename, dstfilename)
    except OSError as problem:
        if problem.errno != errno.EXDEV:
            raise
        _publish_copy(srcfilename, dstfilename)
        os.unlink(srcfilename)


def lockfree_move_file(src: str, dst: str) -> None:
    """Moves a file to a place that several processes want to fill. Readers see a whole file at any time.

    If ``dst`` exists with other contents, it is kept as ``dst.old``, and a warning is logged. Of compressed files (``.gz``)
    the uncompressed contents count. What a process that was killed has left beside ``dst`` is not touched.
    """
    compressed = src.endswith(".gz")
    new = _contents(src, compressed)
    try:
        same = _contents(dst, compressed) == new
    except FileNotFoundError:
        same = None
    except (OSError, EOFError):
        # Damaged, or not compressed.
        same = False
    if same:
        os.unlink(src)
        return
    if same is False:
        warning("%s exists with other contents, which are kept in %s.old", dst, dst)
        # A copy, so that the file does not vanish for a moment.
        _publish_copy(dst, dst + ".old")
    move_file(src, dst)


def _contents(filename: str, compressed: bool = False) -> bytes:
    with open(filename, "rb") as file:
        data = file.read()
    return gzip.decompress(data) if compressed else data


def _publish_copy(src: str, dst: str) -> None:
    """Copies a file next to its new place, and renames it there."""
    new = "%s.%s.new" % (dst, uuid.uuid4().hex)
    try:
        shutil.copy2(src, new)
        os.replace(new, dst)
    except BaseException:
        try_delete_file(new)
        raise


def _store(filename: str, data: bytes) -> None:
    """Writes a file next to its place, and renames it there."""
    new = "%s.%s.new" % (filename, uuid.uuid4().hex)
    try:
        with open(new, "xb") as file:
            file.write(data)
        os.replace(new, filename)
    except BaseException:
        try_delete_file(new)
        raise


def gzip_file(filename: str) -> Optional[str]:
    """Compresses a file to ``filename.gz``, unless that exists, and keeps it. Returns the new name; None if there is no
    such file."""
    if not os.path.exists(filename):
        return None
    compressed = filename + ".gz"
    if not os.path.exists(compressed):
        # Without a time, so that equal files stay equal.
        _store(compressed, gzip.compress(_contents(filename), mtime=0))
    return compressed


def gunzip_file(gz_filename: str) -> Optional[str]:
    """Uncompresses ``NAME.gz`` to ``NAME``, and removes it. Returns the new name; None if there is no such file.

    If ``NAME`` exists with other contents, it is kept as ``NAME.old``, and a warning is logged.
    """
    if not gz_filename.endswith(".gz"):
        raise ValueError("the name of %s does not end in .gz" % gz_filename)
    if not os.path.exists(gz_filename):
        return None
    filename = gz_filename[:-len(".gz")]
    with tempfile.TemporaryDirectory(prefix=".gunzip-", dir=os.path.dirname(os.path.abspath(filename))) as work:
        new = os.path.join(work, "file")
        _store(new, _contents(gz_filename, True))
        lockfree_move_file(new, filename)
    try_delete_file(gz_filename)
    return filename


def read_textfile(filename: str) -> Optional[str]:
    """Returns the text of a file, or of ``filename.gz``; None if there is neither. Bytes that are no UTF-8 are kept as
    surrogates."""
    for name in filename, filename + ".gz":
        try:
            return _contents(name, name.endswith(".gz")).decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            continue
    return None


def store_textfile(filename: str, content: Union[str, bytes]) -> str:
    """Writes a text or bytes to a file, which appears in one step. Returns its name."""
    _store(filename, content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape"))
    return filename
