# SPDX-License-Identifier: MIT OR Apache-2.0
"""Calls on ranks: collective ones, and the roles and transport of dijitso 2019.2."""

import os

import pytest

BEGIN = """
import os
import dijitso
calls = []
def generate(jitable, name, signature, params):
    calls.append(name)
    return "", 'extern "C" int %s() { return %d; }' % (name, jitable), ()
"""

# Each rank has a directory, as on machines without a shared disk.
OWN = """
import os
os.environ["DIJITSO_CACHE_DIR"] += str(comm.rank)
"""


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_one_rank_generates(ranks, count, own, place):
    said = ranks(count, OWN * own + BEGIN + """
for attempt in range(3):
    module, signature = dijitso.jit(42, "collective", {}, generate, comm=comm)
    say(module.collective(), signature, dijitso.jit(42, "collective", {}, generate, comm=comm)[0] is module)
say(sum(comm.allgather(len(calls))))
""")
    assert said == [["42 collective True"] * 3 + [str(count if own else 1)]] * count


def test_root_builds_for_all(ranks):
    said = ranks(4, OWN + BEGIN + """
params = {"parallel": {"buildon": "root"}}
say(dijitso.jit(42, "by_root", params, generate, comm=comm)[0].by_root(), len(calls))
""")
    assert said == [["42 1"], ["42 0"], ["42 0"], ["42 0"]]


def test_nested_calls_of_a_collective_call_are_local(ranks):
    said = ranks(4, OWN + BEGIN + """
def outer(jitable, name, signature, params):
    dependency = dijitso.jit(20, "inner", {}, generate, comm=comm)[1]
    return "", 'extern "C" { int inner(); int outer() { return inner() + 1; } }', [dependency]
say(dijitso.jit(None, "outer", {"parallel": {"buildon": "root"}}, outer, comm=comm)[0].outer(), calls)
""")
    assert said == [["21 ['inner']"]] + [["21 []"]] * 3


@pytest.mark.parametrize("kind", ["ValueError", "KeyboardInterrupt", "SystemExit"])
def test_an_exception_of_the_generator_is_an_error_on_all_ranks(ranks, kind):
    said = ranks(4, BEGIN + """
def fails(*_):
    raise %s("of the generator")
try:
    dijitso.jit(1, "fails", {}, fails, comm=comm)
except dijitso.DijitsoError as problem:
    say("other", problem.rank, problem)
except BaseException as problem:
    say("own", repr(problem))
say(dijitso.jit(42, "works", {}, generate, comm=comm)[0].works())
""" % kind)
    own = [lines for lines in said if lines[0].startswith("own")]
    assert own == [["own %s('of the generator')" % kind, "42"]]
    other = [lines for lines in said if lines[0].startswith("other")]
    assert len(other) == 3 and other[0] == other[1] == other[2]
    assert "of the generator" in other[0][0] and other[0][0].split()[1] == str(said.index(own[0]))


def test_a_compiler_error_has_the_same_text_on_all_ranks(ranks):
    said = ranks(4, BEGIN + """
try:
    dijitso.jit(1, "bad", {}, lambda *_: ("", "no_such_type x;", ()), comm=comm)
except dijitso.DijitsoError as problem:
    say(problem.status, str(problem).splitlines()[0], "no_such_type" in problem.log)
    say(sorted(key for key, path in problem.err_info.items() if os.path.exists(path)))
""")
    assert said == [said[0]] * 4
    assert said[0][0].startswith("30 ") and said[0][0].endswith("True")
    assert "fail_dir" in said[0][1] and "src_filename" in said[0][1]


def test_a_library_that_cannot_be_loaded_is_none_on_all_ranks(ranks):
    said = ranks(2, BEGIN + """
code = 'extern "C" { extern int missing; int *undefined() { return &missing; } }'
say(dijitso.jit(1, "undefined", {}, lambda *_: ("", code, ()), comm=comm))
""")
    assert said == [["(None, 'undefined')"]] * 2


# What one rank does wrong before it makes the call of C.
WRONG = """
def wrong_params(wrong):
    dijitso.jit(42, "a", {"cache": {"unknown": 1}} if wrong else {}, generate, comm=comm)
def wrong_name(wrong):
    dijitso.jit(42, 3 if wrong else "b", {}, generate, comm=comm)
def wrong_generator(wrong):
    params = {"cache": {"signature": "hash"}, "generator": {"o": object() if wrong else 1}}
    dijitso.jit(42, "c", params, generate, comm=comm)
def wrong_many(wrong):
    dijitso.jit_many([42] if wrong else [42, 43], ["d", "e"], {}, generate, comm=comm)
def wrong_params_of_many(wrong):
    dijitso.jit_many([42], ["f"], {"unknown": {}} if wrong else {}, generate, comm=comm)
def wrong_targets(wrong):
    plan = dijitso.Plan("ranks")
    plan.add_module("g", generate, jitable=42)
    plan.make(comm=comm, targets=["unknown"] if wrong else None)
"""


def test_a_rank_that_fails_before_the_call_stops_the_others(ranks):
    said = ranks(2, BEGIN + WRONG + """
for call in wrong_params, wrong_name, wrong_generator, wrong_many, wrong_params_of_many, wrong_targets:
    try:
        call(comm.rank == 1)
    except dijitso.DijitsoError as problem:
        say("other", problem.status, problem.rank)
    except Exception as problem:
        say("own", type(problem).__name__)
    # The communicator is as good as before.
    call(False)
say(sorted(sum(comm.allgather(calls), [])))
""")
    assert said[0] == ["other 1 1"] * 6 + [str(list("abcdefg"))]
    assert said[1] == ["own RuntimeError", "own AttributeError", "own TypeError", "own ValueError", "own RuntimeError",
                       "own KeyError", said[0][-1]]


def test_a_rank_that_fails_while_others_have_it_in_memory_stops_their_next_call(ranks):
    # A library that is in memory on all ranks needs no message, so they learn it at the next call that needs one.
    said = ranks(2, BEGIN + WRONG + """
wrong_params(False)
try:
    wrong_params(comm.rank == 1)
    say("hit")
    dijitso.jit(42, "next", {}, generate, comm=comm)
except dijitso.DijitsoError as problem:
    say("other", problem.status, problem.rank)
except Exception as problem:
    say("own", type(problem).__name__)
say(dijitso.jit(42, "next", {}, generate, comm=comm)[0].next())
""")
    assert said == [["hit", "other 1 1", "42"], ["own RuntimeError", "42"]]


def test_ctrl_c_on_one_rank_stops_all(ranks, place):
    compiler = place / "slow"
    compiler.write_text("#!/bin/sh\ncase \"$*\" in *--version*|*-v*|*-dump*|*-print*|*-E*) exec c++ \"$@\";; esac\nsleep 60\n")
    compiler.chmod(0o755)
    said = ranks(4, BEGIN + """
import signal, threading, time
if comm.rank == 3:
    def interrupt():
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=interrupt).start()
try:
    dijitso.jit(1, "slow", {"build": {"cxx": %r}}, generate, comm=comm)
except KeyboardInterrupt:
    say("interrupt")
except dijitso.DijitsoError as problem:
    say(problem.status, problem.rank)
say(dijitso.jit(42, "after", {}, generate, comm=comm)[0].after())
""" % str(compiler))
    assert said == [["53 3", "42"]] * 3 + [["interrupt", "42"]]


def test_many_are_dealt_out(ranks):
    said = ranks(4, BEGIN + """
names = ["many_%d" % number for number in range(8)]
found = dijitso.jit_many(range(8), names, {}, generate, comm=comm)
say([getattr(module, name)() for (module, _), name in zip(found, names)])
say(sum(comm.allgather(len(calls))))
""")
    assert said == [[str(list(range(8))), "8"]] * 4


def test_a_plan_is_made_by_all_ranks(ranks):
    said = ranks(4, BEGIN + """
plan = dijitso.Plan("ranks")
task = plan.add_task("number", lambda task: calls.append("task") or b"17")
nodes = [plan.add_module("of_plan_%d" % number, generate, jitable=number, after=[task]) for number in range(4)]
plan.make(comm=comm)
say([getattr(plan.library(node)[0], "of_plan_%d" % number)() for number, node in enumerate(nodes)], plan.result(task))
say(sorted(sum(comm.allgather(calls), [])))
""")
    assert said == [["[0, 1, 2, 3] b'17'", str(["of_plan_0", "of_plan_1", "of_plan_2", "of_plan_3", "task"])]] * 4


def test_jit_on_makes_calls_collective(ranks):
    said = ranks(2, BEGIN + """
with dijitso.jit_on(comm):
    say(dijitso.jit(42, "in_with", {}, generate)[0].in_with())
    with dijitso.jit_on(MPI.COMM_SELF):
        dijitso.jit(1, "alone_%d" % comm.rank, {}, generate)
if comm.rank == 1:
    dijitso.jit(2, "outside", {}, generate)
say(comm.allgather(calls))
""")
    assert sorted(sum(eval(said[0][1]), [])) == ["alone_0", "alone_1", "in_with", "outside"]
    assert said == [["42", said[0][1]]] * 2


def test_something_else_is_no_communicator():
    import dijitso
    with pytest.raises(TypeError, match="communicator"):
        dijitso.jit(None, "no_comm", {}, comm="world")


# The host's own pattern: roles, and a transport by its own communicators.
PATTERN = BEGIN + """
from dijitso.mpi import create_comms_and_role, receive_binary, send_binary
cache = dijitso.validate_params({})["cache"]
comm_dir = os.path.join(cache["cache_dir"], cache["comm_dir"])
copy_comm, wait_comm, role = create_comms_and_role(comm, comm_dir, "BUILDON")
functions = {}
if role == "builder":
    functions["generate"] = generate
    if copy_comm is not None:
        functions["send"] = lambda data: send_binary(copy_comm, data)
elif role == "receiver":
    functions["receive"] = lambda: receive_binary(copy_comm)
if wait_comm is not None:
    functions["wait"] = wait_comm.Barrier
"""

PATTERN_CALL = """
name = "pattern_BUILDON"
module, signature = dijitso.jit(42, name, {}, **functions)
say(role, getattr(module, name)(), signature, calls.count(name))
"""


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_the_pattern_of_hosts(ranks, count, own):
    strategies = ["root", "node", "process"]
    said = ranks(count, OWN * own + "".join((PATTERN + PATTERN_CALL).replace("BUILDON", name) for name in strategies))
    # Ranks that share a directory and all build may find what another one has built.
    roles = {"root": "receiver" if own else "waiter", "node": "builder" if own else "waiter", "process": "builder"}
    for rank, lines in enumerate(said):
        for strategy, line in zip(strategies, lines):
            role, result, signature, built = line.split()
            assert role == (roles[strategy] if rank else "builder")
            assert (result, signature) == ("42", "pattern_" + strategy)
            if own or strategy != "process":
                assert built == ("1" if role == "builder" else "0")


@pytest.mark.parametrize("own", [False, True], ids=["waiters", "receivers"])
def test_the_pattern_with_a_builder_that_fails(ranks, own):
    said = ranks(4, OWN * own + PATTERN.replace("BUILDON", "root") + """
def fails(*_):
    raise ValueError("of the generator")
if role == "builder":
    functions["generate"] = fails
try:
    say(dijitso.jit(42, "pattern", {}, **functions))
except Exception as problem:
    say(type(problem).__name__, "of the generator" in str(problem))
""")
    assert said[0] == ["ValueError True"]
    assert [lines[0].split()[0] for lines in said[1:]] == ["DijitsoError"] * 3
    if own:
        assert said[1:] == [["DijitsoError True"]] * 3


def test_the_functions_of_mpi(ranks):
    said = ranks(4, """
import os
import numpy
from dijitso import mpi
directory = os.environ["DIJITSO_CACHE_DIR"] + "/comm"
uuid = mpi.bcast_uuid(comm)
say(comm.allgather(uuid) == [uuid] * 4, 0 <= uuid < 2**64)
say(mpi.discover_path_access_ranks(comm, directory), mpi.discover_path_access_ranks(comm, directory + str(comm.rank % 2)))
say(mpi.gather_global_partitions(comm, comm.rank // 2 + 5))
node_comm, node_root = mpi.create_node_comm(comm, directory + str(comm.rank % 2))
say(node_comm.size, node_root)
roots = mpi.create_node_roots_comm(comm, node_root)
say(None if roots is None else (roots.size, roots.rank))
for strategy in "root", "node", "process":
    copy_comm, wait_comm, role = getattr(mpi, "create_comms_and_role_" + strategy)(comm, node_comm, node_root)
    say(strategy, copy_comm.size if copy_comm else None, wait_comm.size if wait_comm else None, role)
sub = mpi.create_subcomm(comm, [3, 1])
say(None if sub is None else (sub.size, sub.rank))
if comm.rank == 0:
    mpi.send_binary(comm, numpy.arange(256, dtype=numpy.uint8))
else:
    data = mpi.receive_binary(comm)
    assert data.dtype == numpy.uint8 and data.tolist() == list(range(256))
    data[0] = 1
say(mpi.create_comms_and_role(None, directory, "root"))
try:
    mpi.create_comms_and_role(comm, directory, "unknown")
except RuntimeError as problem:
    say("unknown" in str(problem))
""")
    for rank, lines in enumerate(said):
        assert lines[0] == "True True"
        assert lines[1] == "[0, 1, 2, 3] %s" % [rank % 2, rank % 2 + 2]
        assert lines[2] == "[5, 6]"
        assert lines[3] == "2 %d" % (rank % 2)
        assert lines[4] == (str((2, rank)) if rank < 2 else "None")
        root = "builder" if rank == 0 else "receiver" if rank == 1 else "waiter"
        assert lines[5] == "root %s 2 %s" % (2 if rank < 2 else None, root)
        assert lines[6] == "node None 2 %s" % ("builder" if rank < 2 else "waiter")
        assert lines[7] == "process None None builder"
        assert lines[8] == {3: "(2, 0)", 1: "(2, 1)"}.get(rank, "None")
        assert lines[9:] == ["(None, None, 'builder')", "True"]


def test_without_ranks_the_role_is_builder():
    from dijitso import mpi
    assert mpi.create_comms_and_role(None, os.devnull, "node") == (None, None, "builder")
