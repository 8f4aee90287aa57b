#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The recipes in packaging/ name the version, the Rust and the ABI of Cargo.toml, and their Python compiles."""
import pathlib
import re

root = pathlib.Path(__file__).resolve().parents[2]
packaging = root / "packaging"
manifest = (root / "Cargo.toml").read_text()
version, rust, abi = (
    re.search(rf'(?m)^{key} = "?([0-9.]+)"?$', manifest).group(1) for key in ("version", "rust-version", "abi")
)


def expect(file, *patterns):
    """Each pattern matches, and so has the value of Cargo.toml in it."""
    (path,) = packaging.glob(file)
    text = path.read_text()
    if path.suffix in (".py", ".eb"):
        compile(text, str(path), "exec")
    for pattern in patterns:
        assert re.search(pattern, text, re.M), f"{path.relative_to(root)} has no line {pattern}"


v, r = re.escape(version), re.escape(rust)
expect("spack/package.py", rf'^    version\("{v}"', rf'depends_on\("rust@{r}:"')
expect("conda/recipe.yaml", rf'^  version: "{v}"$', rf"lib/libdijitso\.so\.{abi}$")
expect("easybuild/dijitso-*.eb", rf"^version = '{v}'$", rf"\('Rust', '{r}[.0-9]*'\)", rf"libdijitso\.%s\.{abi}'")
expect("apptainer/dijitso.def", rf"^    VERSION={v}$")
expect("debian/changelog", rf"\Adijitso \({v}-[0-9]+\) ")
expect("debian/control", rf"rustc \(>= {r}\)", rf"cargo \(>= {r}\)", rf"^Package: libdijitso{abi}$")
expect("debian/rules", rf"libdijitso\.so\.{abi} libdijitso{abi} ")
expect("debian/copyright.py")
assert (packaging / f"debian/libdijitso{abi}.install").exists()
print(f"the recipes agree with Cargo.toml: version {version}, Rust {rust}, ABI {abi}")
