# SPDX-License-Identifier: MIT OR Apache-2.0
"""Puts a cache in the place of the one that the original dijitso has left. Not public: ``dijitso migrate``.

The library leaves a cache of the original alone, and keeps its own beside it (``DIR-libraries``) or, if a user has named the
directory, in it (``DIR/libraries``).
"""

import os
import shutil
import stat
from typing import List, Optional, Tuple

#: What the original makes in its cache directory.
_DIRECTORIES = ("include", "src", "lib", "log", "comm")
_MARK = "CACHEDIR.TAG"
_ASIDE = "python-dijitso"


def is_of_original(directory: str) -> bool:
    """Returns True for a cache directory of the original."""
    return not os.path.lexists(os.path.join(directory, _MARK)) and all(
        os.path.isdir(os.path.join(directory, name)) for name in ("lib", "src"))


def _places(cache_dir: str) -> Optional[Tuple[str, str]]:
    """Returns the directory of the original, and that in which the library keeps its cache instead."""
    cache_dir = os.path.abspath(cache_dir)
    if is_of_original(cache_dir):
        # It has been named on the command line.
        for new in cache_dir + "-libraries", os.path.join(cache_dir, "libraries"):
            if os.path.lexists(os.path.join(new, _MARK)):
                return cache_dir, new
        return cache_dir, cache_dir + "-libraries"
    if cache_dir.endswith("-libraries") and is_of_original(cache_dir[:-len("-libraries")]):
        return cache_dir[:-len("-libraries")], cache_dir
    if os.path.basename(cache_dir) == "libraries" and is_of_original(os.path.dirname(cache_dir)):
        return os.path.dirname(cache_dir), cache_dir
    return None


def _free(path: str) -> str:
    """Returns a path that is not taken: this one, or with a number."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = "%s-%d" % (path, number)
    return free


class _Steps:
    """Does what it prints; with ``dryrun`` it only prints."""

    def __init__(self, dryrun: bool):
        self.dryrun = dryrun

    def move(self, source: str, target: str) -> None:
        print("mv %s %s" % (source, target))
        if not self.dryrun:
            os.rename(source, target)

    def remove(self, directory: str) -> None:
        print("rm -r %s" % directory)
        if not self.dryrun:
            shutil.rmtree(directory)


def migrate(cache_dir: str, remove: bool = False, dryrun: bool = False) -> int:
    """Moves the cache of the original away, or removes it, and moves that of this library to its place. Prints each step.

    ``cache_dir`` is the directory that is in use, or that of the original. No program may use either meanwhile. Returns 0,
    also if there is nothing to do.
    """
    places = _places(cache_dir)
    if places is None:
        print("%s needs no migration." % cache_dir)
        return 0
    old, new = places
    steps = _Steps(dryrun)
    if os.path.dirname(new) == old:
        _within(old, new, remove, steps)
    else:
        if remove:
            steps.remove(old)
        else:
            steps.move(old, _free("%s-%s" % (old, _ASIDE)))
        if os.path.isdir(new):
            steps.move(new, old)
    if not dryrun:
        print("The cache is %s." % old)
    return 0


def _within(old: str, new: str, remove: bool, steps: _Steps) -> None:
    present: List[str] = [name for name in _DIRECTORIES if os.path.isdir(os.path.join(old, name))]
    if not remove:
        aside = _free(os.path.join(old, _ASIDE))
        print("mkdir %s" % aside)
        if not steps.dryrun:
            os.mkdir(aside)
    for name in present:
        if remove:
            steps.remove(os.path.join(old, name))
        else:
            steps.move(os.path.join(old, name), os.path.join(aside, name))
    if os.path.isdir(new):
        # The mark last: with it the directory is a whole cache.
        for name in sorted(os.listdir(new), key=lambda name: (name == _MARK, name)):
            steps.move(os.path.join(new, name), os.path.join(old, name))
        if not steps.dryrun:
            os.rmdir(new)
    mode = stat.S_IMODE(os.stat(old).st_mode)
    if mode & 0o022:
        # The library does not build in a directory that others can write.
        print("chmod go-w %s" % old)
        if not steps.dryrun:
            os.chmod(old, mode & ~0o022)
