#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Prints debian/copyright: the text for the project, then a paragraph for each crate, with its own licence text.

usage: copyright.py COPYRIGHT.IN VENDOR
"""
import pathlib
import re
import sys

# Texts that Debian has in /usr/share/common-licenses.
COMMON = {"Apache-2.0": "Apache-2.0", "MPL-2.0": "MPL-2.0", "CC0-1.0": "CC0-1.0"}


def field(manifest, key):
    """A string or a list of strings of [package], as one list. (tomllib is missing in older Pythons.)"""
    package = re.split(r"(?m)^\[(?!package\])", manifest)[0]
    found = re.search(rf'(?ms)^{key} = (".*?"|\[.*?\])$', package)
    return re.findall(r'"(.*?)"', found.group(1)) if found else []


def expression(text):
    """The licence as Debian writes it: `MIT or Apache-2.0`."""
    text = text.replace("/", " OR ").replace(" WITH LLVM-exception", " with LLVM exception").strip()
    return re.sub(r"[()]", "", text).replace(" OR ", " or ").replace(" AND ", " and ")


def licence_file(crate):
    """The shortest licence text of a crate: the permissive one, if there are several."""
    files = [f for f in crate.iterdir() if f.is_file() and re.match(r"(?i)(licen[cs]e|copying|unlicense)", f.name)]
    files = [f for f in files if f.stat().st_size > 200]
    return min(files, key=lambda f: (f.stat().st_size, f.name), default=None)


def indented(text):
    lines = (line.rstrip() for line in text.strip().splitlines())
    return "\n".join(" " + line if line else " ." for line in lines)


def paragraph(crate):
    manifest = (crate / "Cargo.toml").read_text()
    licence = expression((field(manifest, "license") or ["see-the-file"])[0])
    file = licence_file(crate)
    text = file.read_text(errors="replace") if file else ""
    holders = re.findall(r"(?im)^\W*(copyright (?:\(c\)|©|[0-9]).*?)\s*$", text)
    holders = [re.sub(r"(?i)^copyright (\(c\)|©)? *", "", h) for h in holders]
    authors = [re.sub(r"\\u\{.*?\}", "", a) for a in field(manifest, "authors")]
    holders = holders or authors or ["the authors of the crate " + re.sub(r"-[0-9].*", "", crate.name)]
    if text:
        body = indented(text)
    else:
        names = [COMMON[name] for name in COMMON if name in licence]
        body = indented("\n".join(f"See /usr/share/common-licenses/{name}." for name in names)
                        or f"The crate has no text; its manifest says: {licence}.")
    # A name of its own, since each text has its own holders.
    short = re.sub(r"\s+", "-", licence) + "~" + crate.name
    return (f"Files: vendor/{crate.name}/*\nCopyright: " + "\n           ".join(dict.fromkeys(holders))
            + f"\nLicense: {short}\n{body}\n")


def main():
    print(pathlib.Path(sys.argv[1]).read_text().rstrip() + "\n")
    for crate in sorted(pathlib.Path(sys.argv[2]).iterdir()):
        if (crate / "Cargo.toml").is_file():
            print(paragraph(crate))


main()
