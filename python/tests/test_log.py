# SPDX-License-Identifier: MIT OR Apache-2.0
"""The log. Most tests run in a new process: handlers are those of a process."""

import logging

import pytest

import dijitso
from dijitso import log

SQUARE = '''
import dijitso, logging
def build(name="square"):
    return dijitso.jit(None, name, {}, lambda *a: ("", 'extern "C" int %s() { return 1; }' % name, ()))
class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []
    def emit(self, record):
        self.records.append((record.levelname, record.getMessage()))
'''


def test_c11_messages_come_through_as_they_are(caplog):
    log.get_logger().setLevel(logging.DEBUG)
    try:
        with pytest.raises(RuntimeError, match="100% of %d and %s"):
            log.error("100% of %d and %s")
        with pytest.raises(RuntimeError, match="^5 of 100%$"):
            log.error("%d of %s", 5, "100%")
        for function in log.debug, log.info, log.warning:
            function("50% done")
            function("%s done", "50%")
    finally:
        log.get_logger().setLevel(logging.WARNING)
    assert [record.getMessage() for record in caplog.records if record.levelname != "ERROR"] == ["50% done"] * 6


@pytest.mark.parametrize("level, number", [("DEBUG", 10), ("debug", 10), ("Info", 20), ("WARNING", 30), ("ERROR", 40),
                                           ("CRITICAL", 50), (40, 40), (15, 15), (logging.WARNING, 30)])
def test_levels_have_names_and_numbers(level, number):
    try:
        dijitso.set_log_level(level)
        assert log.get_logger().level == number
    finally:
        dijitso.set_log_level("WARNING")


@pytest.mark.parametrize("level, kind", [("LOUD", ValueError), (None, TypeError), (True, TypeError), (1.5, TypeError),
                                         (-1, dijitso.DijitsoError)])
def test_other_levels_are_errors(level, kind):
    with pytest.raises(kind):
        dijitso.set_log_level(level)
    assert log.get_logger().level == logging.WARNING


def test_the_logger_is_that_of_the_original():
    assert log.get_logger() is logging.getLogger("dijitso")


def test_c19_import_and_build_say_nothing_and_need_no_metadata(python):
    assert python("import sys, dijitso; assert 'pkg_resources' not in sys.modules and 'numpy' not in sys.modules" + SQUARE + "build()") == ""


def test_a_handler_gets_the_records_of_the_library(python):
    output = python(SQUARE + '''
first = dijitso.log.get_log_handler()
assert isinstance(first, logging.StreamHandler)
kept = Kept()
dijitso.log.set_log_handler(kept)
assert dijitso.log.get_log_handler() is kept and first not in dijitso.log.get_logger().handlers
dijitso.set_log_level("DEBUG")
build()
assert any("square" in message for level, message in kept.records), kept.records
assert {level for level, message in kept.records} & {"INFO", "DEBUG"}
count = len(kept.records)
dijitso.set_log_level("ERROR")
build("other")
assert len(kept.records) == count, kept.records[count:]
dijitso.log.set_log_handler(None)
assert dijitso.log.get_log_handler() is None
print("end")
''')
    assert output == "end\n"


def test_a_handler_that_fails_stops_no_build(python):
    output = python(SQUARE + '''
class Bad(logging.Handler):
    def emit(self, record):
        raise RuntimeError("a bad handler")
dijitso.set_log_level("DEBUG")
dijitso.log.set_log_handler(Bad())
dijitso.log._log.propagate = False
import dijitso._native as n
try:
    module, _ = build()
except RuntimeError as problem:
    # This package logs as well: its own records come out in the program.
    assert "a bad handler" in str(problem)
''')
    assert "a handler of the log fails" in output


def test_the_environment_chooses_the_level(python):
    assert python("import dijitso, logging; print(logging.getLogger('dijitso').level)", env={"DIJITSO_LOG": "info,ranks=all"}) == "20\n"
    assert "square" in python(SQUARE + "dijitso.log.get_logger(); build()", env={"DIJITSO_LOG": "info"})
