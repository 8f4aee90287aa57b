# SPDX-License-Identifier: MIT OR Apache-2.0
"""The command ``dijitso``, also as ``python -m dijitso``.

It has the subcommands of dijitso 2019.2. If the command of the library is there (in wheels, or beside an installed library),
it gets everything else: ``dijitso stats``, ``dijitso check``, ``dijitso make``, and options that are not known here.
"""

import argparse
import os
import subprocess
import sys
from typing import Any, Callable, Dict, List, NoReturn, Optional, Sequence, Tuple

from dijitso import _native, cmdline
from dijitso._errors import DijitsoError
from dijitso.log import set_log_level
from dijitso.params import validate_params

__all__ = ["main"]


class _Unknown(Exception):
    """A command line that is not understood here: the parser that says so, and its message."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _Unknown(self, message)


def _add_common(parser: argparse.ArgumentParser, **default: Any) -> None:
    # After the subcommand they only count if they are given: what stands before it is kept.
    parser.add_argument("--cache-dir", "-r", metavar="DIR", help="the cache directory, instead of the configured one",
                        **(default or {"default": None}))
    parser.add_argument("--dry-run", "-n", action="store_true", help="print what would be done, and change nothing",
                        **default)
    parser.add_argument("--verbose", "-v", action="count", help="print more messages; given twice, all",
                        **(default or {"default": 0}))


def _commands() -> Dict[str, Tuple[Callable[[Any], Any], Callable[[Any, Any], int]]]:
    names = sorted(name[len("cmd_"):] for name in vars(cmdline) if name.startswith("cmd_"))
    return {name: (getattr(cmdline, "args_" + name), getattr(cmdline, "cmd_" + name)) for name in names}


def _parser(native: Optional[str]) -> argparse.ArgumentParser:
    more = "" if native is None else "Further commands, such as stats, check, gc and make: %s --help" % native
    parser = _Parser(prog="dijitso", description="Looks after the cache of libraries that were built just in time.",
                     epilog=more)
    _add_common(parser)
    subparsers = parser.add_subparsers(dest="cmd_name", metavar="COMMAND", required=True)
    for name, (add_arguments, command) in _commands().items():
        subparser = subparsers.add_parser(name, help=command.__doc__, description=command.__doc__)
        _add_common(subparser, default=argparse.SUPPRESS)
        add_arguments(subparser)
    return parser


def _hand_over(native: str, args: List[str], in_place: bool) -> int:
    """Runs the command of the library. As the script ``dijitso``, it replaces this process: a terminal and signals are its
    own."""
    if in_place:
        sys.stdout.flush()
        os.execv(native, [native, *args])
    return subprocess.run([native, *args], check=False).returncode


def main(args: Optional[Sequence[str]] = None) -> int:
    """Runs the command with the words of ``args``, by default those of the process. Returns the exit status.

    It is 0 if all went well, 1 if the user has refused, 2 if the command line is wrong, 3 for an error of the cache or
    the parameters.
    """
    words = list(sys.argv[1:] if args is None else args)
    native = _native.command()
    try:
        parsed = _parser(native).parse_args(words)
    except _Unknown as unknown:
        if native is not None and words:
            return _hand_over(native, words, in_place=args is None)
        parser, message = unknown.args
        parser.print_usage(sys.stderr)
        print("%s: error: %s" % (parser.prog, message), file=sys.stderr)
        return 2
    if parsed.verbose:
        set_log_level("INFO" if parsed.verbose == 1 else "DEBUG")
    _, command = _commands()[parsed.cmd_name]
    try:
        given = {"cache": {"cache_dir": parsed.cache_dir}} if parsed.cache_dir else {}
        status = command(parsed, validate_params(given))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader has seen enough, as head does. Nothing more can be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (DijitsoError, RuntimeError, ValueError, OSError) as problem:
        print("dijitso: error: %s" % problem, file=sys.stderr)
        return 2 if isinstance(problem, ValueError) else 3


if __name__ == "__main__":
    sys.exit(main())
