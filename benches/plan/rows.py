# SPDX-License-Identifier: MIT OR Apache-2.0
"""The rows of build plans: `dijitso make` beside ninja and compmake. suite.py calls build_plans()."""
import contextlib
import gzip
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DIJITSO = ROOT / "build/prefix/bin/dijitso"
COPYING = ROOT / "build/none/benches/memory"
SECTION = "build plans"

# `modules` of FFC and FFCx, and how often all are built; `nodes` of the plan with nothing to do; trivial `tasks` of this library and of
# compmake; `hosts` each with a rank, and how many modules they share.
SIZES = {
    "full": dict(modules=200, builds=3, nodes=10_000, makes=11, tasks=(10_000, 1000), rounds=5, hosts=4, shared=64),
    "quick": dict(modules=20, builds=1, nodes=2000, makes=7, tasks=(2000, 200), rounds=1, hosts=4, shared=16),
    "smoke": dict(modules=4, builds=1, nodes=50, makes=2, tasks=(50, 10), rounds=1, hosts=2, shared=4),
}


def cost(command, env=None, cwd=None, codes=(0,)):
    """Run a command. Return its wall time, and the CPU time of it and its children."""
    begin = time.perf_counter()
    process = subprocess.Popen([str(word) for word in command], env={**os.environ, **(env or {})}, cwd=cwd, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode not in codes:
        sys.exit(f"failed ({process.returncode}): {' '.join(map(str, command))}\n{output.decode(errors='replace')[-4000:]}")
    return seconds, usage.ru_utime + usage.ru_stime


def make(plan, cache, *words, env=None):
    return cost([DIJITSO, "make", plan, *words], env={"DIJITSO_CACHE_DIR": str(cache), **(env or {})})


class Samples:
    """Wall and CPU times of two commands that take turns."""

    def __init__(self):
        self.ours, self.floor, self.cpu = [], [], ([], [])

    def add(self, ours, floor):
        for (seconds, cpu), walls, cpus in ((ours, self.ours, self.cpu[0]), (floor, self.floor, self.cpu[1])):
            walls.append(seconds)
            cpus.append(cpu)

    def row(self, suite, id, label, floor_label, **more):
        return suite.row(id, SECTION, label, "s", self.ours, self.floor, floor_label=floor_label, all_cpu=self.cpu, **more)


# --- modules of FFC and FFCx ---------------------------------------------------------------------------------------------------

def ninja_twin(cache, directory):
    """Write build.ninja, with the commands that have filled a cache, and their sources."""
    (directory / "lib").mkdir(parents=True)
    lines = ["rule build", "  command = $words", ""]
    for log in sorted((cache / "log").glob("*.txt")):
        signature = log.stem
        [command] = [line for line in log.read_text().splitlines() if f"-o libdijitso-{signature}.so" in line]
        [packed] = (cache / "src").glob(f"{signature}.c*.gz")
        (directory / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
        header = cache / "include" / f"{signature}.h"
        if header.exists():
            shutil.copy(header, directory)
        needs = [word.removeprefix("-l:") for word in command.split() if word.startswith("-l:libdijitso-")]
        command = command.replace(f"-I{cache}/include", "").replace(f"-L{cache}/lib", "-Llib")
        command = command.replace(f"-o libdijitso-{signature}.so", f"-o lib/libdijitso-{signature}.so")
        lines.append(f"build lib/libdijitso-{signature}.so: build {packed.stem} | {' '.join('lib/' + need for need in needs)}")
        lines.append(f"  words = {command.replace('$', '$$')}")
    (directory / "build.ninja").write_text("\n".join(lines) + "\n")


def modules(suite, size):
    """Modules of FFC and FFCx into an empty cache, by two compilers at once."""
    sources, cache, twin = suite.work / "plan-sources", suite.work / "plan-modules", suite.work / "plan-ninja"
    suite.output([suite.python, HERE / "sources.py", sources, size["modules"]], limit=1800)
    plan, plain, samples, again = sources / "plan.toml", ["--param", "build.precompile=never"], Samples(), Samples()
    # Learns the commands, and finds out about compilers and linkers once.
    make(plan, cache, "-j2", *plain)
    ninja_twin(cache, twin)

    def by_ninja():
        shutil.rmtree(twin / "lib")
        (twin / "lib").mkdir()
        for left in twin.glob(".ninja_*"):
            left.unlink()
        return cost(["ninja", "-C", twin, "-j2"])

    def cold(*words, keep=("pch",)):
        for child in cache.iterdir():
            if child.is_dir() and child.name not in keep:
                shutil.rmtree(child)
        return make(plan, cache, "-j2", *words)

    # The first make precompiles headers, which later ones use.
    first = cold(keep=())
    suite.settle()
    for number in range(size["builds"]):
        kinds = [by_ninja, lambda: cold(*plain), cold]
        # Other programs come and go: the order changes.
        found = {kind: kind() for kind in (kinds if number % 2 == 0 else reversed(kinds))}
        floor, without, headers = (found[kind] for kind in kinds)
        samples.add(without, floor)
        again.add(headers, floor)
        suite.settle()
    label = f"{size['modules']} modules of FFC and FFCx, -j2"
    samples.row(suite, "plan-modules", f"{label}, without precompiled headers", "ninja -j2, the same commands", picture=True)
    row = again.row(suite, "plan-modules-headers", f"{label}, headers precompiled", "ninja -j2", picture=True)
    row["others"]["the first make, which precompiles them"] = dict(samples=[first[0]])


# --- nothing to do -------------------------------------------------------------------------------------------------------------

def tasks_plan(directory, nodes):
    """A hundred tasks, and layers of a hundred that need two of the layer before."""
    with open(directory / "plan.toml", "w") as plan, open(directory / "build.ninja", "w") as ninja:
        plan.write('[plan]\nname = "tasks"\n')
        ninja.write("rule task\n  command = touch $out\n")
        for node in range(nodes):
            needs = [need for need in (node - 100, node - 99) if need >= 0 and need // 100 == node // 100 - 1]
            plan.write(f'\n[[task]]\nlabel = "t{node}"\ncommand = ["touch", "o{node}"]\noutputs = ["o{node}"]\n')
            plan.write("needs = [" + ", ".join(f'"t{need}"' for need in needs) + "]\n")
            ninja.write(f"build o{node}: task {' '.join(f'o{need}' for need in needs)}\n")


def sources_plan(directory, nodes):
    """Modules without edges, each with a source file; a compiler that copies."""
    with open(directory / "plan.toml", "w") as plan, open(directory / "build.ninja", "w") as ninja:
        plan.write(f'[plan]\nname = "sources"\n\n[params]\n"build.cc" = "{COPYING}/copying-cc"\n')
        ninja.write(f"rule module\n  command = cp {COPYING}/template.so $out\n")
        for node in range(nodes):
            (directory / f"m{node}.c").write_text(f"int f{node}(void) {{ return {node}; }}\n")
            plan.write(f'\n[[module]]\nsource = "m{node}.c"\n')
            ninja.write(f"build m{node}.so: module m{node}.c\n")


def nothing_to_do(suite, size):
    """Plans whose nodes are all in the cache."""
    env = {"COPIED": f"{COPYING}/template.so"}
    for id, label, write in (("plan-noop", "tasks", tasks_plan), ("plan-noop-modules", "modules with a source file each", sources_plan)):
        directory, cache, samples = suite.work / id, suite.work / f"{id}-cache", Samples()
        directory.mkdir()
        write(directory, size["nodes"])
        make(directory / "plan.toml", cache, env=env)
        cost(["ninja", "-C", directory])
        # As in the second make of a day: neither files nor journal are new.
        make(directory / "plan.toml", cache, env=env)
        time.sleep(2)
        for _ in range(size["makes"]):
            samples.add(make(directory / "plan.toml", cache, env=env), cost(["ninja", "-C", directory]))
        samples.row(suite, id, f"{size['nodes']:,} {label}, nothing to do", "ninja", picture=True)
        shutil.rmtree(directory)
        shutil.rmtree(cache)


# --- trivial tasks -------------------------------------------------------------------------------------------------------------

def trivial(suite, size):
    """Tasks that do nothing, beside compmake."""
    (ours, theirs), compmake = size["tasks"], ROOT / "build/bench/compmake/bin/python"
    if not compmake.exists():
        print("compmake cannot be installed here: nothing to compare trivial tasks with", file=sys.stderr)
        return
    found = {key: [] for key in ("host", "any", "command", "make", "parmake")}
    directory = suite.work / "plan-trivial"
    directory.mkdir()
    with open(directory / "plan.toml", "w") as plan:
        for node in range(theirs):
            plan.write(f'[[task]]\nlabel = "t{node}"\ncommand = ["touch", "o{node}"]\noutputs = ["o{node}"]\n\n')
    # Nothing is removed before the end: ext4 searches long for places of new files that were not freed in the last seconds.
    for number in range(size["rounds"]):
        for kind in ("host", "any"):
            cache = suite.work / f"plan-callbacks-{kind}-{number}"
            one = suite.json([suite.program("none", "plan_callbacks"), cache, ours, suite.cores, kind])
            found[kind].append((one["add"] + one["make"]) / ours)
        found["command"].append(make(directory / "plan.toml", suite.work / f"plan-commands-{number}")[0] / theirs)
        for kind, command in (("make", "make"), ("parmake", f"parmake n={suite.cores}")):
            jobs = theirs if kind == "make" else theirs // 5
            one = suite.json([compmake, HERE / "compmake_trivial.py", suite.work / f"{kind}-{number}", jobs, command])
            found[kind].append(one["node"])
    suite.row("plan-trivial", SECTION, "a trivial task: callbacks one after the other", "s", found["host"], found["make"],
              floor_label="compmake make, a Python function", picture=True)
    parallel = dict(floor_label=f"compmake parmake n={suite.cores}, a Python function")
    suite.row("plan-trivial-any", SECTION, f"a trivial task: callbacks on {suite.cores} threads", "s", found["any"], found["parmake"],
              picture=True, **parallel)
    suite.row("plan-trivial-command", SECTION, f"a trivial task: the command `touch`, -j{suite.cores}", "s", found["command"],
              found["parmake"], **parallel)


# --- ranks ---------------------------------------------------------------------------------------------------------------------

ON_HOST = """#!/bin/sh
pids=$1
shift
rank=${OMPI_COMM_WORLD_RANK:-$PMI_RANK}
exec nsenter -t "$(echo "$pids" | cut -d, -f$((rank + 1)))" -m -u "$@"
"""


@contextlib.contextmanager
def virtual_hosts(count, directory, shared):
    """Mount namespaces with host names, in each of which `shared` is a directory of its own. Gives their processes."""
    sleepers = []
    try:
        for host in range(count):
            own = directory / f"host{host}"
            own.mkdir(parents=True)
            script = 'hostname "$1" && mount --bind "$2" "$3" && echo ready && exec sleep 3600'
            sleepers.append(subprocess.Popen(["unshare", "-mu", "sh", "-c", script, "sh", f"host{host}", own, shared],
                                             stdout=subprocess.PIPE, text=True, cwd="/"))
            if sleepers[-1].stdout.readline() != "ready\n":
                sys.exit("a virtual host cannot be made")
        yield ",".join(str(sleeper.pid) for sleeper in sleepers)
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()
            sleeper.stdout.close()


def schedule_of(journals, workers):
    """Seconds from the begin of a make to the end of its last node, and the least that its work could have taken."""
    lines = [json.loads(line) for journal in journals for line in journal.read_text().splitlines() if line]
    begin = min(line["at"] for line in lines if line["event"] == "begin")
    # Each host writes what all of them have made.
    nodes = {(line["label"], line["execution"]["begin"]): line["execution"] for line in lines if line["event"] == "node"}.values()
    waits = ("wait-for-slot", "wait-for-program")
    work = [sum(seconds for phase, seconds in node["phases"] if phase not in waits) for node in nodes]
    end = max(node["begin"] + sum(seconds for _, seconds in node["phases"]) for node in nodes)
    # There are no edges, so the longest node is the critical path.
    return end - begin, max(max(work), sum(work) / workers), len(nodes)


def ranks(suite, size):
    """Modules of half a second each, shared out among ranks that are hosts with a cache each."""
    if subprocess.run(["unshare", "-mu", "true"], stderr=subprocess.DEVNULL).returncode:
        print("there are no virtual hosts here: ranks are left out", file=sys.stderr)
        return
    on_host = suite.work / "on-host"
    on_host.write_text(ON_HOST)
    on_host.chmod(0o755)
    for mpi in suite.mpis[:1] if suite.smoke else suite.mpis:
        directory, cache = suite.work / f"plan-hosts-{mpi}", suite.work / f"plan-hosts-{mpi}-cache"
        directory.mkdir()
        cache.mkdir()
        plan = directory / "plan.toml"
        plan.write_text(f'[params]\n"build.cc" = "{COPYING}/copying-cc"\n' + "".join(
            f'\n[[module]]\nname = "m{node}"\nlanguage = "c"\ntext = "int f{node};"\n' for node in range(size["shared"])))
        # A real host has its own compilers' slots; these share the cores of one, and their compiler sleeps.
        with virtual_hosts(size["hosts"], directory, cache) as pids:
            env = {"DIJITSO_CACHE_DIR": str(cache), "COPIED": f"{COPYING}/template.so", "COPY_SECONDS": "0.5"}
            cost([f"mpiexec.{mpi}", "-n", size["hosts"], on_host, pids, DIJITSO, "make", plan, "-j1", "--param",
                  f"build.slots_dir={cache}/slots"], env=env)
        seconds, least, made = schedule_of(directory.glob("host*/plan/*.jsonl"), size["hosts"])
        if made != size["shared"]:
            sys.exit(f"{made} of {size['shared']} modules were built, by {mpi}")
        label = f"{size['shared']} modules of 0.5 s on {size['hosts']} hosts"
        suite.row(f"plan-ranks-{mpi}", SECTION, f"{label}, {suite.mpi_names[mpi]}", "s", [seconds], [least],
                  floor_label="the best schedule of the same work", picture=True)


# --- recorded programs ---------------------------------------------------------------------------------------------------------

def recorded(suite, _size):
    """The Poisson program of DOLFIN: recorded, built ahead, run."""
    library, cache, plan = ROOT / "build/prefix/lib/libdijitso.so", suite.work / "plan-recording", suite.work / "poisson.toml"

    def run(cache, **env):
        return suite.json([suite.python, HERE.parent / "python/ctypes_host.py", "dolfin", library, cache, suite.sources, *suite.poisson()],
                          env=env, limit=3600)["built"]

    first = run(cache, DIJITSO_RECORD=str(plan))
    # For another machine, the sources are in the plan.
    embedded, empty = suite.work / "embedded.toml", suite.work / "plan-empty"
    cost([DIJITSO, "plan", "from-cache", "--cache-dir", cache, "--embed", "-o", embedded])
    make(embedded, empty)
    # On this one they are in the cache.
    shutil.rmtree(cache / "lib")
    make(plan, cache)
    for id, label, filled in (("plan-ahead", "what it had recorded", cache),
                              ("plan-ahead-empty", "a plan with sources, in an empty cache", empty)):
        suite.row(id, SECTION, f"compiles of DOLFIN's Poisson program after `dijitso make` of {label}", "calls", [run(filled)], [first],
                  floor_label="the first run")
    suite.settle()


def build_plans(suite, size_name):
    size = SIZES[size_name]
    for function in (modules, nothing_to_do, trivial, ranks, recorded):
        with suite.step(f"build plans: {function.__name__}"):
            function(suite, size)
