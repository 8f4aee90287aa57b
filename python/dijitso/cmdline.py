# SPDX-License-Identifier: MIT OR Apache-2.0
"""The subcommands of ``dijitso``.

For each subcommand NAME there is ``args_NAME(parser)``, which adds its options to a parser of argparse, and
``cmd_NAME(args, params)``, which runs it with the parsed options and validated parameters. ``cmd_NAME`` prints results
and returns the exit status.
"""

import argparse
import os
import re
import sys
from typing import Any, Dict, Tuple

from dijitso import _migrate
from dijitso.cache import (clean_cache, extract_files, extract_function, extract_lib_signatures, glob_cache,
                           grep_cache)
from dijitso.system import read_textfile

__all__ = ["args_checkout", "args_clean", "args_config", "args_grep", "args_grepfunction", "args_migrate", "args_show",
           "args_version", "cmd_checkout", "cmd_clean", "cmd_config", "cmd_grep", "cmd_grepfunction", "cmd_migrate",
           "cmd_show", "cmd_version", "parse_categories"]

_CATEGORIES = ("inc", "src", "lib", "log")


def parse_categories(categories: str) -> Tuple[str, ...]:
    """Returns the categories of a list such as "inc,src"; all four for "all". Raises ValueError for another one."""
    if categories == "all":
        return _CATEGORIES
    chosen = tuple(word.strip() for word in categories.split(","))
    for word in chosen:
        if word not in _CATEGORIES:
            raise ValueError("unknown category '%s': categories are %s, or all" % (word, ",".join(_CATEGORIES)))
    return chosen


def _add_categories(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--categories", default=default, metavar="LIST",
                        help="kinds of files: %s or all (default: %s)" % (",".join(_CATEGORIES), default))


def _add_signature(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--signature", default="", help="only the files of this library (default: all)")


def args_version(parser: argparse.ArgumentParser) -> None:
    """Adds no option."""


def cmd_version(args: argparse.Namespace, params: Dict[str, Any]) -> int:
    """print the version of dijitso"""
    from dijitso import __version__
    print(__version__)
    return 0


def args_config(parser: argparse.ArgumentParser) -> None:
    """Adds ``--key``."""
    parser.add_argument("--key", default="", metavar="SECTION.NAME", help="show this value only, as build.cxxflags")


def _shown(value: Any) -> str:
    # Flags can be copied to a command line.
    return " ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def cmd_config(args: argparse.Namespace, params: Dict[str, Any]) -> int:
    """show the parameters"""
    if args.key:
        section, _, name = args.key.partition(".")
        values = params.get(section)
        if not isinstance(values, dict) or name not in values:
            raise ValueError("unknown key '%s': 'dijitso config' shows all" % args.key)
        print("    %s: %s" % (args.key, _shown(values[name])))
        return 0
    print("Parameters of dijitso:")
    for section in sorted(params):
        values = params[section]
        if values and isinstance(values, dict):
            print("%s:" % section)
            for name in sorted(values):
                print("    %s: %s" % (name, _shown(values[name])))
    return 0


def args_show(parser: argparse.ArgumentParser) -> None:
    """Adds ``--categories``, ``--no-summary``, ``--files`` and ``--signatures``."""
    _add_categories(parser, "all")
    parser.add_argument("--no-summary", action="store_true", help="leave out the number of files")
    parser.add_argument("--files", action="store_true", help="list the files")
    parser.add_argument("--signatures", action="store_true", help="list the signatures of libraries")


def cmd_show(args: argparse.Namespace, params: Dict[str, Any]) -> int:
    """show what is in the cache"""
    categories = parse_categories(args.categories)
    files = glob_cache(params["cache"], categories)
    if args.signatures:
        for signature in extract_lib_signatures(params["cache"]):
            print("\t" + signature)
    if args.files:
        for category in categories:
            for path in files[category]:
                print("\t" + path)
    if not args.no_summary:
        print("Number of files in %s:" % params["cache"]["cache_dir"])
        for category in categories:
            print("%s: %d" % (category, len(files[category])))
    return 0


def args_clean(parser: argparse.ArgumentParser) -> None:
    """Adds ``--categories`` and ``--yes``."""
    _add_categories(parser, "inc,src,lib,log")
    parser.add_argument("--yes", "-y", action="store_true",
                        help="remove without asking; without a terminal nothing is asked in any case")


def cmd_clean(args: argparse.Namespace, params: Dict[str, Any]) -> int:
    """remove files from the cache"""
    cache = params["cache"]
    categories = parse_categories(args.categories)
    count = sum([len(files) for files in glob_cache(cache, categories).values()])
    if count and not args.dry_run and not getattr(args, "yes", False) and sys.stdin and sys.stdin.isatty():
        try:
            answer = input("Remove %d files from %s? [y/N] " % (count, cache["cache_dir"]))
        except EOFError:
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            print("Nothing is removed.")
            return 1
    if count:
        clean_cache(cache, dryrun=bool(args.dry_run), categories=categories)
    return 0


def args_grep(parser: argparse.ArgumentParser) -> None:
    """Adds ``--pattern`` and what is searched and shown."""
    _add_categories(parser, "inc,src")
    parser.add_argument("--pattern", default="", help="the text to find in a line (default: every line)")
    parser.add_argument("--regexmode", action="store_true",
                        help="the pattern is a regular expression of Python that matches from the beginning of a line")
    parser.add_argument("--linenumbers", action="store_true", help="show the numbers of the lines, from 1")
    parser.add_argument("--countonly", action="store_true", help="show only the number of lines of each file")
    parser.add_argument("--filesonly", action="store_true", help="show only the names of the files")
    _add_signature(parser)


def cmd_grep(args: argparse.Namespace, params: Dict[str, Any]) -> int:
    """search the text of headers and sources in the cache"""
    pattern = args.pattern if args.regexmode else ".*" + re.escape(args.pattern)
    try:
        regex = re.compile(pattern)
    except re.error as problem:
        raise ValueError("the pattern '%s' is no regular expression: %s" % (args.pattern, problem)) from None
    found = grep_cache(regex, params["cache"], linenumbers=args.linenumbers, countonly=args.countonly,
                       signature=args.signature or None, categories=parse_categories(args.categories))
    for path, matches in sorted(found.items()):
        if args.filesonly:
            print(path)
        elif args.countonly:
            print("%s: %d" % (path, matches))
        else:
            print("\nFile '%s' matches:" % path)
            for match in matches:
                print("%5d:\t%s" % match if args.linenumbers else "\t" + match)
    return 0


def args_grepfunction(parser: argparse.ArgumentParser) -> None:
    """Adds ``--name``, ``--categories``, ``--signature`` and ``--no-body``."""
    _add_categories(parser, "src")
    parser.add_argument("--name", default="", help="the name of the function (default: every function)")
    _add_signature(parser)
    parser.add_argument("--no-body", action="store_true", help="show the first lines alone")


def cmd_grepfunction(args: argparse.Namespace, params: Dict[str, Any]) -> int:
    """find a function in sources of the cache, and show it"""
    begin = r"(?<![\w~])" if re.match(r"[\w~]", args.name) else ""
    regex = re.compile(r".*%s%s\s*\(" % (begin, re.escape(args.name) if args.name else r"\b[A-Za-z_]\w*"))
    found = grep_cache(regex, params["cache"], linenumbers=True, signature=args.signature or None,
                       categories=parse_categories(args.categories))
    for path, matches in sorted(found.items()):
        if args.no_body:
            print("\nFile '%s' matches:" % path)
            for number, line in matches:
                print("%5d: %s" % (number, line))
        else:
            lines = (read_textfile(path) or "").splitlines()
            for number, _ in matches:
                print("%s:%d" % (path, number))
                print(extract_function(lines[number - 1:]))
                print()
    return 0


def args_checkout(parser: argparse.ArgumentParser) -> None:
    """Adds ``--signature`` and ``--categories``."""
    _add_categories(parser, "inc,src,lib,log")
    parser.add_argument("--signature", required=True, help="the signature of the library")


def cmd_checkout(args: argparse.Namespace, params: Dict[str, Any]) -> int:
    """copy the files of a library to a directory"""
    directory = extract_files(args.signature, params["cache"], prefix="jitcheckout-", path=os.curdir,
                              categories=parse_categories(args.categories))
    print("The files are in '%s'." % directory)
    return 0


def args_migrate(parser: argparse.ArgumentParser) -> None:
    """Adds ``--remove``."""
    parser.add_argument("--remove", action="store_true", help="remove the old cache, instead of keeping it aside")


def cmd_migrate(args: argparse.Namespace, params: Dict[str, Any]) -> int:
    """put the cache in the place of the one of the original dijitso"""
    return _migrate.migrate(params["cache"]["cache_dir"], remove=args.remove, dryrun=bool(args.dry_run))
