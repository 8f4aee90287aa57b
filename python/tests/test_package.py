# SPDX-License-Identifier: MIT OR Apache-2.0
"""The wheel and the source archive, as pip gets them. The library is the one that DIJITSO_LIBRARY names."""

import base64
import csv
import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import zipfile

import pytest
from conftest import PACKAGE

ROOT = os.path.dirname(PACKAGE)
BACKEND = os.path.join(PACKAGE, "backend", "dijitso_backend.py")
VERSION = r"2019\.2\.0\+[0-9.]+"

pytestmark = pytest.mark.skipif(not os.environ.get("DIJITSO_LIBRARY"), reason="DIJITSO_LIBRARY is not set")


@pytest.fixture
def backend():
    spec = importlib.util.spec_from_file_location("dijitso_backend", BACKEND)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel_of(backend, folder, **settings):
    folder.mkdir()
    return str(folder / backend.build_wheel(str(folder), settings or None))


def test_a_wheel_has_the_package_and_the_library(backend, place):
    path = wheel_of(backend, place / "wheels")
    assert re.fullmatch(r"fenics_dijitso-%s-py3-none-manylinux_\d+_\d+_\w+\.whl" % VERSION, os.path.basename(path))
    with zipfile.ZipFile(path) as wheel:
        assert wheel.testzip() is None
        names = wheel.namelist()
        assert len(names) == len(set(names))
        modules = sorted(name for name in os.listdir(os.path.join(PACKAGE, "dijitso")) if name.endswith(".py"))
        assert sorted(name[len("dijitso/"):] for name in names if re.fullmatch(r"dijitso/\w+\.py", name)) == modules
        assert "dijitso/py.typed" in names
        libraries = [name for name in names if name.startswith("dijitso/lib/")]
        assert len(libraries) == 1 and re.fullmatch(r"dijitso/lib/libdijitso\.so\.\d+", libraries[0])
        info = [name for name in names if name.endswith(".dist-info/RECORD")][0].rpartition("/")[0]
        rows = list(csv.reader(wheel.read(info + "/RECORD").decode().splitlines()))
        assert sorted(row[0] for row in rows) == sorted(names)
        for name, digest, size in rows[:-1]:
            data = wheel.read(name)
            assert digest == "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert int(size) == len(data)
        metadata = wheel.read(info + "/METADATA").decode()
        assert "\nName: fenics-dijitso\n" in metadata and "\nRequires-Dist: numpy\n" in metadata
        assert "dijitso = dijitso.__main__:main" in wheel.read(info + "/entry_points.txt").decode()


def test_the_tag_of_a_wheel_is_that_of_its_newest_symbol(backend, place):
    path = wheel_of(backend, place / "wheels")
    newest = (0, 0)
    with zipfile.ZipFile(path) as wheel:
        for name in wheel.namelist():
            if name.startswith(("dijitso/lib/", "dijitso/bin/")):
                symbols = subprocess.run(["objdump", "-T", wheel.extract(name, place)], stdout=subprocess.PIPE, timeout=60, check=True).stdout
                newest = max([newest, *[tuple(map(int, found)) for found in re.findall(rb"GLIBC_(\d+)\.(\d+)", symbols)]])
    assert "manylinux_%d_%d_" % newest in path


def test_equal_contents_make_equal_wheels(backend, place):
    paths = [wheel_of(backend, place / name, command="no") for name in ("one", "two")]
    contents = [open(path, "rb").read() for path in paths]
    assert contents[0] == contents[1] and b"dijitso/bin/dijitso" not in contents[0]


def test_a_wheel_may_have_the_name_that_dolfin_requires(backend, place):
    path = wheel_of(backend, place / "wheels", name="dev-fenics-dijitso", command="no")
    assert os.path.basename(path).startswith("dev_fenics_dijitso-2019.2")
    with zipfile.ZipFile(path) as wheel:
        metadata = [name for name in wheel.namelist() if name.endswith("/METADATA")]
        assert "\nName: dev-fenics-dijitso\n" in wheel.read(metadata[0]).decode()
    with pytest.raises(ValueError):
        backend.build_wheel(str(place), {"name": "../evil"})


def test_a_library_that_is_not_there_is_an_error(backend, place, monkeypatch):
    monkeypatch.setenv("DIJITSO_LIBRARY", "/no/such/libdijitso.so")
    with pytest.raises(RuntimeError, match="/no/such/libdijitso.so"):
        backend.build_wheel(str(place))
    monkeypatch.delenv("DIJITSO_LIBRARY")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RuntimeError, match="cargo is missing"):
        backend.build_wheel(str(place))


CARGO = '''#!/bin/sh
echo "$@" >> "%(place)s/calls"
target=$(echo "$@" | sed 's/.*--target-dir \\([^ ]*\\).*/\\1/')
mkdir -p "$target/release"
case "$*" in
  *--lib*) cp "%(library)s" "$target/release/libdijitso.so" ;;
  *--bin*) echo "that of the command" > "$target/release/libdijitso.so"; cp /bin/true "$target/release/dijitso" ;;
esac
'''


def test_cargo_builds_the_library_without_what_the_command_needs(backend, place, monkeypatch):
    library = os.path.realpath(os.environ["DIJITSO_LIBRARY"])
    (place / "bin").mkdir()
    (place / "bin" / "cargo").write_text(CARGO % {"place": place, "library": library})
    (place / "bin" / "cargo").chmod(0o755)
    monkeypatch.setenv("PATH", "%s:%s" % (place / "bin", os.environ["PATH"]))
    monkeypatch.setenv("CARGO_TARGET_DIR", str(place / "target"))
    named = wheel_of(backend, place / "named", command="no")
    monkeypatch.delenv("DIJITSO_LIBRARY")
    built = wheel_of(backend, place / "built")
    calls = (place / "calls").read_text().splitlines()
    assert len(calls) == 2 and all("--release --locked --target-dir" in call and "--no-default-features" in call for call in calls)
    assert calls[0].endswith(" --lib") and calls[1].endswith(" --features cli --bin dijitso")
    with zipfile.ZipFile(named) as one, zipfile.ZipFile(built) as two:
        name = [name for name in one.namelist() if name.startswith("dijitso/lib/")][0]
        assert one.read(name) == two.read(name) and "dijitso/bin/dijitso" in two.namelist()


def test_a_source_archive_has_what_the_wheel_is_built_from(backend, place):
    name = backend.build_sdist(str(place))
    assert re.fullmatch(r"fenics_dijitso-%s\.tar\.gz" % VERSION, name)
    with tarfile.open(place / name) as archive:
        names = [member.split("/", 1)[1] for member in archive.getnames()]
        archive.extractall(place / "unpacked")
    for needed in "PKG-INFO", "pyproject.toml", "Cargo.toml", "Cargo.lock", "build.rs", "src/lib.rs", "python/dijitso/jit.py", \
            "python/backend/dijitso_backend.py", "LICENSE-MIT":
        assert needed in names
    sources = [os.path.relpath(os.path.join(folder, name), ROOT) for folder, _, files in os.walk(os.path.join(ROOT, "src")) for name in files]
    assert set(sources) < set(names) and "src/build/mod.rs" in names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("build/", "python/dijitso/lib/"))]
    if not [folder for folder in os.environ["PATH"].split(":") if os.access(os.path.join(folder, "cargo"), os.X_OK)]:
        pytest.skip("cargo is not installed")
    # cargo finds every file that the manifest names.
    root = os.path.join(str(place / "unpacked"), name[:-len(".tar.gz")])
    subprocess.run(["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"], cwd=root, stdout=subprocess.DEVNULL,
                   timeout=60, check=True, env={**os.environ, "HOME": os.path.expanduser("~root" if os.getuid() == 0 else "~")})


def test_types_of_the_package_itself_are_not_evaluated():
    """dijitso.str hides the type, and typing of Python 3.10 and older refuses a module."""
    import dijitso
    for function in dijitso.main, dijitso.__getattr__, dijitso.__dir__:
        assert all(isinstance(kind, str) for kind in function.__annotations__.values())


SMOKE = '''
import dijitso, os
module, signature = dijitso.jit(None, "square", {}, lambda *a: ("", 'extern "C" int square(int x) { return x * x; }', ()))
assert module.square(7) == 49 and signature == "square"
assert os.path.dirname(dijitso._native.library()._name) == os.path.join(os.path.dirname(dijitso.__file__), "lib")
print(dijitso.__file__)
'''


def test_a_fresh_environment_installs_and_runs_the_wheel(backend, place):
    wheel = wheel_of(backend, place / "wheels")
    environment = str(place / "environment")
    run = lambda *words: subprocess.run(words, env={"PATH": os.environ["PATH"], "HOME": str(place / "home")}, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=90, check=False)
    made = run(sys.executable, "-m", "venv", environment)
    if made.returncode != 0:
        pytest.skip("no venv: %s" % made.stdout.decode())
    python = os.path.join(environment, "bin", "python")
    # numpy is not needed for this, and there may be no network.
    installed = run(python, "-m", "pip", "install", "--no-index", "--no-deps", "--disable-pip-version-check", wheel)
    assert installed.returncode == 0, installed.stdout.decode()
    smoke = run(python, "-c", SMOKE)
    assert smoke.returncode == 0 and smoke.stdout.decode().startswith(environment), smoke.stdout.decode()
    script = os.path.join(environment, "bin", "dijitso")
    shown = run(script, "show", "--no-summary", "--signatures")
    assert (shown.returncode, shown.stdout) == (0, b"\tsquare\n")
    assert run(script, "clean").returncode == 0 and run(script, "show", "--no-summary", "--signatures").stdout == b""
    with zipfile.ZipFile(wheel) as archive:
        if "dijitso/bin/dijitso" in archive.namelist():
            # As a script it is replaced by the command of the library.
            assert b"0 entries" in run(script, "stats").stdout
    assert run(python, "-m", "pip", "uninstall", "--yes", "fenics-dijitso").returncode == 0
    assert run(python, "-c", "import dijitso").returncode != 0
