# SPDX-License-Identifier: MIT OR Apache-2.0
"""Builds the wheel and the source archive of the Python package (PEP 517 and PEP 660). Needs the standard library alone.

The wheel has the shared library inside, so it is for one kind of machine and for every Python 3. The library is

* the one that the variable ``DIJITSO_LIBRARY`` names, with the command ``../bin/dijitso`` beside it if there is one,
* or is built with cargo from the sources, with the command, in the directory ``CARGO_TARGET_DIR`` or build/python.

Settings, as in ``pip wheel . --config-settings name=dev-fenics-dijitso``:

* ``name``: the name of the distribution, for programs whose metadata ask for the original under another name;
* ``command``: "no" leaves the command of the library out.
"""

import base64
import gzip
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from typing import Dict, List, Optional, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACKAGE = os.path.join(ROOT, "python", "dijitso")

#: What a source archive has: what cargo and this file need, the tests of the package, and the texts.
SOURCES = ["Cargo.toml", "Cargo.lock", "build.rs", "src", "include", "python", "pyproject.toml", "README.md", "CHANGELOG.md",
           "LICENSE", "LICENSE-APACHE", "LICENSE-MIT", "docs/python-package.md", "vendor", ".cargo"]
SKIPPED = {"__pycache__", ".pytest_cache", ".mypy_cache"}

Settings = Optional[Dict[str, str]]


# --- what the project says --------------------------------------------------------------------------------------------

def _read(*path: str) -> str:
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def _found(pattern: str, text: str, what: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        raise RuntimeError("cannot find %s" % what)
    return match.group(1)


def _version() -> str:
    return _found(r'^__version__ = "(.*)"$', _read("python", "dijitso", "__init__.py"), "the version")


def _project(key: str) -> str:
    return _found(r'^%s = "(.*)"$' % key, _read("pyproject.toml"), key)


def _list(key: str) -> List[str]:
    return re.findall(r'"([^"]+)"', _found(r"^%s = \[(.*)\]$" % key, _read("pyproject.toml"), key))


def _name(settings: Settings) -> str:
    name = (settings or {}).get("name") or _project("name")
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
        raise ValueError("%r is no name of a distribution" % name)
    return name


def _file_name(name: str) -> str:
    return "%s-%s" % (re.sub(r"[-_.]+", "_", name).lower(), _version())


def _metadata(settings: Settings) -> str:
    lines = ["Metadata-Version: 2.1", "Name: " + _name(settings), "Version: " + _version(),
             "Summary: " + _project("description"), "License: MIT OR Apache-2.0",
             "Requires-Python: " + _project("requires-python"),
             "Classifier: Operating System :: POSIX :: Linux", "Classifier: Programming Language :: Python :: 3",
             "Classifier: Topic :: Scientific/Engineering :: Mathematics", "Classifier: Typing :: Typed"]
    lines += ["Requires-Dist: " + requirement for requirement in _list("dependencies")]
    for extra in "mpi", "test":
        lines.append("Provides-Extra: " + extra)
        lines += ["Requires-Dist: %s; extra == '%s'" % (requirement, extra) for requirement in _list(extra)]
    lines.append("Description-Content-Type: text/markdown")
    return "\n".join(lines) + "\n\n" + _read("docs", "python-package.md")


# --- the library ------------------------------------------------------------------------------------------------------

def _library(settings: Settings) -> Tuple[str, Optional[str]]:
    """Returns the paths of the library and of its command, which may be None. Builds both if no library is named."""
    with_command = (settings or {}).get("command", "yes") != "no"
    named = os.environ.get("DIJITSO_LIBRARY")
    if named:
        library = os.path.realpath(named)
        if not os.path.isfile(library):
            raise RuntimeError("DIJITSO_LIBRARY is %s, which is not there" % named)
        command = os.path.join(os.path.dirname(os.path.dirname(library)), "bin", "dijitso")
        return library, command if with_command and os.path.isfile(command) else None
    if shutil.which("cargo") is None:
        raise RuntimeError("cargo is missing: install Rust, or set DIJITSO_LIBRARY to the path of libdijitso.so")
    target = os.path.abspath(os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "build", "python"))
    cargo = ["cargo", "build", "--release", "--locked", "--target-dir", target,
             "--manifest-path", os.path.join(ROOT, "Cargo.toml"), "--no-default-features"]
    # The library without what the command needs.
    subprocess.run(cargo + ["--lib"], check=True, stdout=sys.stderr)
    library = os.path.join(target, "release", "libdijitso.so")
    if not with_command:
        return library, None
    kept = library + ".python"
    shutil.copyfile(library, kept)
    subprocess.run(cargo + ["--features", "cli", "--bin", "dijitso"], check=True, stdout=sys.stderr)
    return kept, os.path.join(target, "release", "dijitso")


def _stripped(path: str) -> bytes:
    """Returns the bytes of a program or library without the names of local symbols, if ``strip`` is there."""
    with open(path, "rb") as file:
        whole = file.read()
    if shutil.which("strip") is None:
        return whole
    import tempfile
    with tempfile.TemporaryDirectory() as work:
        copy = os.path.join(work, "copy")
        shutil.copyfile(path, copy)
        if subprocess.run(["strip", "--strip-unneeded", copy], check=False).returncode != 0:
            return whole
        with open(copy, "rb") as file:
            return file.read()


def _platform_tag(binaries: List[bytes]) -> str:
    """Returns the oldest manylinux on which these run: that of the newest version of glibc among their symbols."""
    machine = platform.machine()
    if sys.platform != "linux":
        raise RuntimeError("dijitso is for Linux")
    versions = [tuple(map(int, found)) for data in binaries for found in re.findall(rb"\0GLIBC_(\d+)\.(\d+)[.\d]*(?=\0)", data)]
    if not versions:
        return "linux_" + machine
    # There is no manylinux below these.
    first = {"x86_64": (2, 5), "i686": (2, 5)}.get(machine, (2, 17))
    newest = max(first, *versions)
    return "manylinux_%d_%d_%s" % (newest[0], newest[1], machine)


def _soname() -> str:
    return "libdijitso.so." + _found(r"^abi = (\d+)$", _read("Cargo.toml"), "the number of the library")


# --- the archives -----------------------------------------------------------------------------------------------------

def _epoch() -> int:
    # Not before 1980, where the time of a zip begins.
    return max(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), 315532800)


class _Wheel:
    """A zip with a list of its files and their hashes. Equal contents give equal bytes."""

    def __init__(self, path: str, info: str):
        self.zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
        self.record: List[str] = []
        self.info = info

    def add(self, name: str, data: bytes, executable: bool = False) -> None:
        entry = zipfile.ZipInfo(name, time.gmtime(_epoch())[:6])
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = (0o100755 if executable else 0o100644) << 16
        self.zip.writestr(entry, data)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        self.record.append("%s,sha256=%s,%d" % (name, digest, len(data)))

    def close(self, settings: Settings, tag: str) -> None:
        for name, text in _info_files(settings, tag).items():
            self.add("%s/%s" % (self.info, name), text.encode())
        record = self.info + "/RECORD"
        entry = zipfile.ZipInfo(record, time.gmtime(_epoch())[:6])
        entry.external_attr = 0o100644 << 16
        self.zip.writestr(entry, "\n".join(self.record + [record + ",,", ""]))
        self.zip.close()


def _info_files(settings: Settings, tag: str) -> Dict[str, str]:
    pure = "true" if tag.endswith("-any") else "false"
    return {
        "METADATA": _metadata(settings),
        "WHEEL": "Wheel-Version: 1.0\nGenerator: dijitso_backend\nRoot-Is-Purelib: %s\nTag: %s\n" % (pure, tag),
        "entry_points.txt": "[console_scripts]\ndijitso = %s\n" % _project("dijitso"),
        "top_level.txt": "dijitso\n",
        "licenses/LICENSE-MIT": _read("LICENSE-MIT"),
        "licenses/LICENSE-APACHE": _read("LICENSE-APACHE"),
    }


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: Optional[str] = None) -> str:
    """Writes a wheel with package, library and command. Returns its name."""
    library, command = _library(config_settings)
    binaries = {"dijitso/lib/" + _soname(): _stripped(library)}
    if command is not None:
        binaries["dijitso/bin/dijitso"] = _stripped(command)
    tag = "py3-none-" + _platform_tag(list(binaries.values()))
    stem = _file_name(_name(config_settings))
    name = "%s-%s.whl" % (stem, tag)
    wheel = _Wheel(os.path.join(wheel_directory, name), stem + ".dist-info")
    for path in sorted(os.listdir(PACKAGE)):
        if path.endswith(".py") or path == "py.typed":
            with open(os.path.join(PACKAGE, path), "rb") as file:
                wheel.add("dijitso/" + path, file.read())
    for path, data in binaries.items():
        wheel.add(path, data, executable=True)
    wheel.close(config_settings, tag)
    return name


def build_editable(wheel_directory: str, config_settings: Settings = None, metadata_directory: Optional[str] = None) -> str:
    """Writes a wheel that leads to the package in this tree. The library is put into ``python/dijitso/lib``."""
    library, _ = _library(config_settings)
    folder = os.path.join(PACKAGE, "lib")
    os.makedirs(folder, exist_ok=True)
    shutil.copyfile(library, os.path.join(folder, _soname() + ".new"))
    os.replace(os.path.join(folder, _soname() + ".new"), os.path.join(folder, _soname()))
    stem = _file_name(_name(config_settings))
    name = stem + "-py3-none-any.whl"
    wheel = _Wheel(os.path.join(wheel_directory, name), stem + ".dist-info")
    wheel.add("fenics_dijitso_editable.pth", (os.path.dirname(PACKAGE) + "\n").encode())
    wheel.close(config_settings, "py3-none-any")
    return name


def _source_files() -> List[str]:
    files = []
    for name in SOURCES:
        path = os.path.join(ROOT, name)
        if os.path.isfile(path):
            files.append(name)
        for folder, folders, names in os.walk(path):
            inside = os.path.relpath(folder, ROOT)
            folders[:] = sorted(set(folders) - SKIPPED - ({"lib", "bin"} if inside == os.path.join("python", "dijitso") else set()))
            files += [os.path.join(inside, name) for name in sorted(names) if not name.endswith(".pyc")]
    return files


def _manifest() -> str:
    """Returns Cargo.toml without tests and examples, whose files are not in the archive. cargo would ask for them."""
    blocks = re.split(r"^(?=\[)", _read("Cargo.toml"), flags=re.MULTILINE)
    return "".join(block for block in blocks if not block.startswith(("[[test]]", "[[example]]")))


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """Writes an archive of the sources from which the wheel can be built. Returns its name."""
    stem = _file_name(_name(config_settings))
    name = stem + ".tar.gz"
    contents = io.BytesIO()
    with tarfile.open(fileobj=contents, mode="w", format=tarfile.PAX_FORMAT) as archive:

        def add(path: str, data: bytes, mode: int) -> None:
            entry = tarfile.TarInfo("%s/%s" % (stem, path))
            entry.size, entry.mtime, entry.mode = len(data), _epoch(), mode
            archive.addfile(entry, io.BytesIO(data))

        add("PKG-INFO", _metadata(config_settings).encode(), 0o644)
        for path in _source_files():
            full = os.path.join(ROOT, path)
            with open(full, "rb") as file:
                data = _manifest().encode() if path == "Cargo.toml" else file.read()
            add(path, data, 0o755 if os.access(full, os.X_OK) else 0o644)
    with open(os.path.join(sdist_directory, name), "wb") as packed:
        packed.write(gzip.compress(contents.getvalue(), 9, mtime=_epoch()))
    return name
