# SPDX-License-Identifier: MIT OR Apache-2.0
"""Build plans."""

import json
import threading

import pytest
from conftest import square

import dijitso
from dijitso.plan import Plan


def chain(ran):
    """A plan of a task, a module that it makes, and a task that uses both."""
    plan = Plan("chain")

    def tabulate(task):
        ran.append("tabulate")
        task.add_file("table.h", "#define VALUE %d\n" % task.params["value"])
        return json.dumps(task.params)

    def generate(jitable, name, signature, params):
        ran.append(name)
        return None, 'extern "C" int %s() { return %s; }' % (name, jitable), ()

    def use(task):
        ran.append("use")
        assert task.needs == [tables, module] and task.node == used
        value = getattr(task.library(module)[0], "of_chain")()
        return b"%d %s" % (value, task.result("tables", "table.h"))

    tables = plan.add_task("tabulate", tabulate, {"value": 3}, label="tables")
    module = plan.add_module("of_chain", generate, jitable="7", after=[tables])
    used = plan.add_task("use", use, needs=[tables, module])
    return plan, tables, module, used


def test_a_plan_makes_what_is_missing_and_nothing_again():
    for expected in ["tabulate", "of_chain", "use"], []:
        ran = []
        plan, tables, module, used = chain(ran)
        plan.make()
        assert ran == expected
        assert [plan.state(node) for node in (tables, module, used)] == ["done"] * 3
        assert plan.result(used) == b"7 #define VALUE 3\n"
        assert plan.result(tables) == b'{"value": 3}'
        assert plan.signature(module) == "of_chain"
    ran.clear()
    plan.make(force=True)
    assert ran == ["tabulate", "use"]


def test_the_library_of_a_plan_is_that_of_a_call():
    plan = Plan("same")
    node = plan.add_module("same", square)
    plan.make(load=False)
    module, signature = plan.library("same")
    assert dijitso.jit(None, "same", {})[0] is module and signature == "same"
    assert plan.node("same") == node


def test_texts_are_modules_and_link_to_others():
    plan = Plan("texts")
    part = plan.add_module("part", code='extern "C" int part() { return 20; }', header="extern \"C\" int part();\n")
    whole = plan.add_module("whole", code=b'extern "C" int part(); extern "C" int whole() { return part() + 1; }', needs=[part])
    plan.make(targets=[whole])
    assert plan.library(whole)[0].whole() == 21


def test_generators_are_called_with_the_parameters_of_their_module():
    marker, seen = object(), []

    def generate(jitable, name, signature, params):
        seen.append((jitable, params))
        return square(jitable, name, signature, params)

    plan = Plan("params", {"generator": {"of": "plan"}})
    plan.add_module("of_the_plan", generate)
    plan.add_module("of_its_own", generate, jitable=marker, params={"generator": {"marker": marker}})
    plan.make()
    assert sorted(seen, key=str) == sorted([(None, {"of": "plan"}), (marker, {"marker": marker})], key=str)


def test_a_failure_blocks_what_needs_it_and_nothing_else():
    problem = ValueError("of a task")

    def fails(task):
        raise problem

    plan = Plan("failure")
    failed = plan.add_task("fails", fails)
    blocked = plan.add_task("blocked", lambda task: b"", needs=[failed])
    fine = plan.add_module("fine", square)
    with pytest.raises(dijitso.DijitsoError, match="of a task") as caught:
        plan.make()
    assert caught.value.__cause__ is problem
    assert [plan.state(node) for node in (failed, blocked, fine)] == ["failed", "blocked", "done"]
    assert plan.error(failed) is problem
    assert isinstance(plan.error(blocked), dijitso.DijitsoError) and plan.error(fine) is None
    nodes = plan.nodes()
    assert [node.state for node in nodes] == ["failed", "blocked", "done"]
    assert nodes[1].blocked_by == failed and nodes[1].needs == (failed,)
    assert nodes[2].kind == "module" and nodes[2].built and nodes[2].size > 0
    with pytest.raises(dijitso.DijitsoError):
        plan.result(failed)


def test_a_task_may_add_nodes():
    def run(task):
        node = task.plan.node("added") if any(node.label == "added" for node in task.plan.nodes()) else \
            task.plan.add_task("added", lambda task: b"5", label="added")
        task.need(node)
        return task.result("added") + b"1" if node in task.needs else None

    plan = Plan("adds")
    node = plan.add_task("adds", run)
    plan.make()
    assert plan.result(node) == b"51"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_ends_a_make(kind):
    def ends(task):
        raise kind("of a task")

    plan = Plan("ends")
    plan.add_task("ends", ends)
    with pytest.raises(kind, match="of a task"):
        plan.make()


def test_events_come_in_order():
    events = []
    plan = Plan("events")
    plan.add_module("event", square)
    plan.make(event=events.append)
    assert [event.kind for event in events if event.kind != "progress"] == ["started", "done"]
    done = [event for event in events if event.kind == "done"][0]
    assert done.label == "event" and done.built and done.seconds > 0
    assert [event for event in events if event.kind == "progress"][-1].done == 1

    def raises(event):
        raise RuntimeError("of the event")

    with pytest.raises(RuntimeError, match="of the event"):
        plan.make(event=raises)


def test_cancelling_leaves_nodes_to_do():
    plan = Plan("cancel")

    def run(task):
        threading.Thread(target=plan.cancel).start()
        threading.Event().wait(0.2)
        return b""

    plan.add_task("first", run)
    later = plan.add_module("later", square, after=["first"])
    with pytest.raises(dijitso.DijitsoError) as caught:
        plan.make()
    assert caught.value.status == 53
    assert plan.state(later) == "todo"


def test_functions_on_any_thread():
    threads = set()
    barrier = threading.Barrier(2, timeout=30)

    def run(task):
        threads.add(threading.get_ident())
        barrier.wait()
        return b"done"

    plan = Plan("threads")
    nodes = [plan.add_task("thread", run, {"number": number}, any_thread=True) for number in range(2)]
    plan.make(jobs=2)
    assert len(threads) == 2
    assert [plan.result(node) for node in nodes] == [b"done"] * 2


def test_plan_files(place):
    plan = Plan("files")
    plan.add_module("saved", code='extern "C" int saved() { return 9; }')
    plan.save(place / "plan.toml")
    again = Plan.load(place / "plan.toml")
    again.make()
    assert again.library("saved")[0].saved() == 9
    plan.add_module("function", square)
    with pytest.raises(dijitso.DijitsoError, match="function"):
        plan.save(place / "plan.toml")


def test_wrong_nodes_are_errors():
    plan = Plan("wrong")
    node = plan.add_task("task", lambda task: b"")
    for call in plan.state, plan.node:
        with pytest.raises(KeyError):
            call("unknown")
    with pytest.raises(KeyError):
        plan.state(77)
    with pytest.raises(dijitso.DijitsoError):
        plan.need(node, node)
    with pytest.raises(dijitso.DijitsoError):
        plan.add_task("task", lambda task: b"", label="task_label", needs=[99])
