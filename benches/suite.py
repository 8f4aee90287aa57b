# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs the workloads of benches/ in turns and writes results.json, from which report.py makes the table and the picture. Started by
benches/run, which builds the programs.

Each row has samples of this library, of a floor that is measured in between, and of what users would otherwise use.
"""
import argparse
import contextlib
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time

from plan.rows import build_plans

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
PYTHON = "/usr/bin/python3"  # the Python of the distribution, which has the packages to compare with

# Numbers of repetitions and ranks. `chunks` are samples within a process, `processes` new processes, `builds` cold builds, `warm` the
# rounds of hits and sets of 30 libraries of a warm start, `waits` the ranks that wait and how often, `programs` warm programs in Python.
# `hosts` are simulated ones, and the ranks on them. `busy`: measure warm starts and waiting also while other programs keep all cores busy.
SIZES = {
    "full": dict(chunks=15, calls=50_000, processes=31, builds=5, ranks=[1, 2, 4, 16, 64], rank_builds=2, python_ranks=[1, 2, 4],
                 sets=3, hit_rounds=2, warm=(2, 1), warm_runs=3, hosts=([1, 2, 4, 8], 64), waits=([1, 2, 4, 16, 64], 2), programs=9,
                 modules_at_ranks=True, modules=[100, 1000, 10000], busy=True),
    "quick": dict(chunks=7, calls=20_000, processes=11, builds=1, ranks=[1, 4, 16], rank_builds=1, python_ranks=[1, 4],
                  sets=1, hit_rounds=1, warm=(2, 1), warm_runs=1, hosts=([1, 4], 8), waits=([1, 64], 1), programs=3,
                  modules_at_ranks=False, modules=[100, 1000], busy=False),
    "smoke": dict(chunks=2, calls=500, processes=2, builds=1, ranks=[1, 2], rank_builds=1, python_ranks=[1, 2],
                  sets=1, hit_rounds=1, warm=(1, 1), warm_runs=1, hosts=([1, 2], 2), waits=([2], 1), programs=1,
                  modules_at_ranks=False, modules=[100], busy=True),
}
LABELS = {"one": "a function of one line", "element": "FFC, P1 element", "form": "FFC, Poisson form", "ffcx": "FFCx, Poisson form (C)",
          "expression": "DOLFIN, Expression"}
MPIS = {"openmpi": "Open MPI", "mpich": "MPICH"}


class Suite:
    python, mpi_names = PYTHON, MPIS

    def __init__(self, size, mpis, work, only, busy):
        self.size_name = size
        self.size, self.mpis, self.work, self.only = SIZES[size], mpis, work, only
        self.loads = (False, True) if busy or self.size["busy"] else (False,)
        self.smoke = size == "smoke"
        self.sources = ROOT / "build/bench/sources"
        self.names = json.loads((self.sources / "names.json").read_text())
        self.rows, self.times, self.caches = [], {}, set()
        self.cores = len(os.sched_getaffinity(0))
        # All temporary files are in this directory, by which settle() recognises processes that still run.
        (work / "tmp").mkdir(exist_ok=True)
        os.environ["TMPDIR"] = str(work / "tmp")
        # For the first build before others: waits for its precompiled header.
        self.before = {"BENCH_SET": "build.precompile=always"}

    # --- tools ---------------------------------------------------------------------------------------------------------------


    @staticmethod
    def program(variant, name):
        return str(ROOT / "build" / variant / "benches" / name)

    def output(self, command, env=None, limit=600, **named):
        done = subprocess.run([str(word) for word in command], env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=limit, **named)
        if done.returncode != 0:
            sys.exit(f"failed ({done.returncode}): {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
        return done

    def json(self, command, **named):
        lines = [line for line in self.output(command, **named).stdout.splitlines() if line.startswith(("{", "[")) or line[:1].isdigit()]
        return json.loads(lines[-1])

    def at_ranks(self, mpi, ranks, command, **named):
        """The JSON of a program under mpiexec; programs of benches/ need --comm as first argument."""
        return self.json([f"mpiexec.{mpi}", "-n", ranks, *command], **named)

    def row(self, id, section, label, unit, ours, floor, **more):
        self.rows.append(dict(id=id, section=section, label=label, unit=unit, ours=ours, floor=floor, others={}, **more))
        return self.rows[-1]

    def cache(self, name):
        return self.work / name

    @contextlib.contextmanager
    def step(self, name):
        start = time.monotonic()
        print(f"==> {name}", file=sys.stderr, flush=True)
        yield
        self.times[name] = time.monotonic() - start

    @contextlib.contextmanager
    def load(self, busy):
        """Keeps all cores busy by other programs meanwhile, if `busy`; gives the end of the label of a row."""
        loops = [subprocess.Popen(["sh", "-c", "while :; do :; done"], cwd="/") for _ in range(self.cores if busy else 0)]
        try:
            yield ", cores busy" if busy else ""
        finally:
            for loop in loops:
                loop.kill()
                loop.wait()

    def collected(self, function, command, launcher=()):
        """Instructions within a function and what it calls, by callgrind."""
        with tempfile.TemporaryDirectory() as directory:
            done = self.output([*launcher, "valgrind", "--tool=callgrind", f"--toggle-collect={function}",
                                f"--callgrind-out-file={directory}/%p", *command])
        return int(re.search(r"Collected : (\d+)", done.stderr).group(1))

    def system_calls(self, command):
        """The system calls between the two marks of disk_hit, for its first and its second call."""
        with tempfile.NamedTemporaryFile("r") as file:
            self.output(["strace", "-f", "-o", file.name, *command])
            lines = file.read().splitlines()
        calls, counts, inside = [], [], False
        for line in lines:
            if "/bench-begin" in line:
                inside, calls = True, []
            elif "/bench-end" in line:
                inside = False
                counts.append(calls)
            elif inside and (match := re.match(r"\d+ +(\w+)\(", line)):
                calls.append(match.group(1))
        return counts

    def alone(self):
        """An environment with an empty home directory, in which nothing has been built before."""
        home = tempfile.mkdtemp(prefix="home-", dir=self.work)
        return {"HOME": home}

    def settle(self):
        """Waits until background processes, such as compilers of precompiled headers, have ended."""
        mine = str(self.work).encode()
        end = time.monotonic() + 120
        while time.monotonic() < end:
            for process in pathlib.Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    if process.name != str(os.getpid()) and (mine in (process / "cmdline").read_bytes()
                                                             or mine in bytes((process / "cwd").readlink())):
                        break
            else:
                return
            time.sleep(0.1)

    # --- memory hits ---------------------------------------------------------------------------------------------------------

    def memory_hits(self):
        size, section = self.size, "memory hit"
        command = lambda threads: [self.program("none", "memory_hit"), self.cache("memory"), size["calls"], size["chunks"], threads]
        python = [PYTHON, HERE / "python/pydijitso.py", "memory", self.cache("py-memory"), self.sources, max(size["calls"] // 50, 10)]
        counts = [1, 2] if self.smoke else [1, 2, 4]
        found = {threads: self.json(command(threads)) for threads in counts}
        for threads in counts:
            key = "jit_cpu" if threads == 1 else "jit_wall"
            row = self.row(f"memory-{threads}", section, f"{threads} thread{'s' * (threads > 1)}", "ns", found[threads]["jit_" + key[4:]],
                           found[threads]["map_" + key[4:]], floor_label="hash map", threads=threads, picture=True)
            if threads == 1:
                measured = self.json([*python, size["chunks"]])
                row["others"]["Python dijitso"] = dict(samples=measured["jit_cpu"], floor=measured["map_wall"])
                cffi = self.ffcx_cffi("cffi-memory")
                row["others"]["FFCx's cffi"] = dict(samples=[1e9 * cffi["again"]])
        program, cache = self.program("none", "memory_hit"), self.cache("memory")
        calls = 200 if self.smoke else 2000
        each = lambda function: [self.collected(function, [program, cache, calls, 1, 1]) / calls]
        self.row("memory-instructions", section, "instructions", "instr", each("measured_jit"), floor := each("measured_map"),
                 floor_label="hash map")
        for mpi in self.mpis:
            found = self.collected("measured_jit", [self.program(mpi, "memory_hit"), "--comm", self.cache(f"memory-{mpi}"), calls, 1, 1],
                                   [f"mpiexec.{mpi}", "-n", "2"])
            self.row(f"memory-instructions-{mpi}", section, f"instructions, on a communicator of {MPIS[mpi]}", "instr",
                     [found / calls], floor, floor_label="hash map")

    def memory_hits_at_ranks(self):
        size = self.size
        for _ in range(size["hit_rounds"]):
            for ranks in size["ranks"]:
                for mpi in self.mpis:
                    calls = max(size["calls"] // ranks, 100)
                    found = self.at_ranks(mpi, ranks, [self.program(mpi, "memory_hit"), "--comm", self.cache(f"memory-{mpi}"), calls,
                                                       max(size["chunks"] // 5, 1), 1])
                    self.add_cell("memory-ranks", "memory hit", MPIS[mpi], ranks, "ns", found["jit_cpu"], found["map_cpu"], "hash map",
                                  wall=found["jit_wall"])
                if ranks in size["python_ranks"]:
                    found = self.at_ranks("openmpi", ranks, [PYTHON, HERE / "python/pydijitso.py", "--comm", "memory",
                                                             self.cache("py-memory-mpi"), self.sources, max(size["calls"] // 100, 10), 3])
                    self.add_cell("memory-ranks", "memory hit", "Python dijitso, Open MPI", ranks, "ns", found["jit_cpu"],
                                  found["map_wall"], "dict", wall=found["jit_wall"])

    def add_cell(self, grid, section, label, column, unit, ours, floor, floor_label, **more):
        """Samples of a cell in a table whose columns are numbers of ranks."""
        for row in self.rows:
            if row.get("grid") == grid and row["label"] == label and row["column"] == column:
                row["ours"] += ours
                row["floor"] += floor
                for key, value in more.items():
                    row[key] += value
                return
        self.row(f"{grid}/{label}/{column}", section, label, unit, list(ours), list(floor), floor_label=floor_label, grid=grid,
                 column=column, **{key: list(value) for key, value in more.items()})

    # --- disk hits -----------------------------------------------------------------------------------------------------------

    def fill(self, variant):
        """Builds two modules and copies them for the loader alone; returns the arguments of both programs."""
        cache = self.cache(f"disk-{variant}")
        paths = self.output([self.program(variant, "disk_hit"), "fill", cache, "bench_a", "bench_b"]).stdout.split()
        copies = []
        for name, path in zip("ab", paths):
            copies.append(self.work / f"copy-{variant}-{name}.so")
            shutil.copy(path, copies[-1])
        return ["jit", cache, "bench_a", "bench_b"], ["dlopen", "-", *copies]

    def disk_hits(self):
        size, section, program = self.size, "disk hit", self.program("none", "disk_hit")
        jit, dlopen = self.fill("none")
        py_cache = self.cache("py") / "disk"
        py_cache.parent.mkdir(exist_ok=True)
        python = lambda mode: self.json([PYTHON, HERE / "python/pydijitso.py", mode, py_cache, self.sources])
        python("fill")
        shutil.copy(next(py_cache.rglob("*bench_disk_hit.so")), py_cache.parent / "dlopen-copy.so")
        self.ffcx_cffi("cffi-disk")
        found = {"jit": [], "dlopen": [], "python": [], "cffi": []}
        for i in range(size["processes"]):
            found["jit"].append(self.json([program, *jit]))
            found["dlopen"].append(self.json([program, *dlopen]))
            if i % 5 == 0:
                found["python"].append(python("disk"))
                found["cffi"].append(self.ffcx_cffi("cffi-disk"))
        column = lambda name, key: [1e9 * one[key] for one in found[name]]
        row = self.row("disk-first", section, "first call of a process", "ns", column("jit", "first"), column("dlopen", "first"),
                       floor_label="dlopen", picture=True)
        row["others"]["Python dijitso"] = dict(samples=column("python", "first"), floor=column("python", "dlopen"))
        row["others"]["FFCx's cffi"] = dict(samples=column("cffi", "first"))
        self.row("disk-second", section, "second call, another library", "ns", column("jit", "second"), column("dlopen", "second"),
                 floor_label="dlopen", picture=True)
        self.row("disk-params", section, "making the parameters, before the first call", "ns", column("jit", "parameters"),
                 column("dlopen", "first"), floor_label="dlopen")
        whole = self.json([self.program("none", "stopwatch"), size["processes"], program, *jit[:3], "bench_a", "--", program, *dlopen[:3],
                           dlopen[2], "--", self.program("none", "bare_dlopen"), dlopen[2]])
        whole = [[1e9 * one for one in samples] for samples in whole]
        self.row("disk-process", section, "whole process", "ns", whole[0], whole[1], floor_label="the same program with dlopen",
                 picture=True)
        self.row("disk-process-bare", section, "whole process, linked to this library or not", "ns", whole[0], whole[2],
                 floor_label="a program that only calls dlopen")
        self.row("disk-instructions", section, "instructions, both calls", "instr",
                 [self.collected("measured_jit", [program, *jit])], [self.collected("measured_dlopen", [program, *dlopen])],
                 floor_label="dlopen")
        ours, floor = self.system_calls([program, *jit]), self.system_calls([program, *dlopen])
        for i, label in enumerate(("system calls, first call", "system calls, second call")):
            self.row(f"disk-calls-{i}", section, label, "calls", [len(ours[i])], [len(floor[i])], floor_label="dlopen",
                     names=[ours[i], floor[i]])

    # --- warm starts on ranks ------------------------------------------------------------------------------------------------

    def small_modules(self):
        """Sources of 22 modules of one line, in the form of benches/sources; returns their directory and names."""
        directory = self.work / "small"
        directory.mkdir(exist_ok=True)
        names = [f"bench_small_{number}" for number in range(22)]
        for name in names:
            (directory / f"{name}.c").write_text(f"double {name}(double x) {{ return 3.0 * x + 1.0; }}\n")
        (directory / "modules").write_text("".join(f"{name} c .c\n" for name in names))
        (directory / "c.params").write_text("build.language=c\nbuild.cflags=-Wall -shared -fPIC\n")
        return directory, names

    def warm_starts(self):
        """All ranks ask for libraries that are in the cache: the first call, later ones, and 30 at once."""
        size, section = self.size, "warm start"
        rounds, sets = size["warm"]
        cache, copies = self.cache("warm"), self.work / "copies"
        copies.mkdir()
        words = [cache, copies, rounds, sets]
        self.output([self.program("none", "warm_start"), "fill", *words])
        run = lambda mpi, ranks, mode: self.at_ranks(mpi, ranks, [self.program(mpi, "warm_start"), "--comm", mode, *words])
        run(self.mpis[0], 1, "jit")  # notes the first use of each library
        small, names = self.small_modules()
        python = [PYTHON, HERE / "python/pydijitso.py"]
        py_arguments = ["hits", self.cache("py-warm"), small, *names]
        self.json([*python, *py_arguments])
        ns = lambda values: [1e9 * value for value in values]
        for _ in range(size["warm_runs"]):
            for ranks in size["ranks"]:
                for mpi in self.mpis:
                    for busy in self.loads:
                        with self.load(busy) as end:
                            found, floor = run(mpi, ranks, "jit"), run(mpi, ranks, "dlopen")
                        label = MPIS[mpi] + end
                        least = [alone + reduce for alone, reduce in zip(found["alone"], found["reduce"])]
                        self.add_cell("hit-ranks", section, label, ranks, "ns", ns(found["hit"]), ns(least),
                                      "the same without a communicator, and MPI_Allreduce", alone=ns(found["alone"]))
                        self.add_cell("first-ranks", section, label, ranks, "ns", ns([found["first"]]), ns([floor["first"]]),
                                      "MPI_Comm_dup and dlopen")
                        self.add_cell("many-ranks", section, label, ranks, "ns", ns(found["many"]), ns(found["open"]),
                                      "dlopen of 30 files")
                if ranks in size["python_ranks"]:
                    found = self.at_ranks("openmpi", ranks, [*python, "--comm", *py_arguments])
                    for grid, seconds in (("hit-ranks", found["others"] / (len(names) - 1)), ("first-ranks", found["first"])):
                        floor = self.cell(grid, "Open MPI", ranks)["floor"][-1:]
                        self.add_cell(grid, section, "Python dijitso, Open MPI", ranks, "ns", ns([seconds]), floor, "as Open MPI")

    def accesses(self):
        """Runs benches/warm: system calls on the shared directory, for 30 libraries on simulated hosts."""
        hosts, ranks = self.size["hosts"]

        def counted(mpi, ranks, hosts, ways):
            env = dict(SKIP="1", MPIS=mpi, HOSTS=" ".join(map(str, hosts)), MODULES="30", WAYS=ways)
            for line in self.output([HERE / "warm/run", ranks], env=env, limit=3600).stdout.splitlines():
                words = [word.strip() for word in line.strip("|").split("|")]
                if words[0] == mpi:
                    yield int(words[2]), *(int(word) for word in words[4:] if word.isdigit())

        for mpi in self.mpis[:1] if self.smoke else self.mpis:
            [(_, floor)] = counted(mpi, 1, [1], "every")
            for host, first, last in counted(mpi, ranks, hosts, "first last"):
                for label, found in (("rank 0 reads", first), ("rank 0 sends what the last run used", last)):
                    self.add_cell("accesses", "warm start", f"{label}, {MPIS[mpi]}", host, "calls", [found], [floor], "a single process",
                                  ranks=[ranks])

    # --- warm programs in Python ---------------------------------------------------------------------------------------------

    def programs(self):
        """Programs of DOLFIN whose libraries are all in the cache, beside Python dijitso."""
        library = ROOT / "build/prefix/lib/libdijitso.so"
        ours = lambda names: [PYTHON, HERE / "python/ctypes_host.py", "dolfin", library, self.cache("programs"), self.sources, *names]
        python = lambda names: [PYTHON, HERE / "python/pydijitso.py", "dolfin", self.cache("py-programs"), self.sources, *names]
        many = self.names["libraries"]
        short = lambda names: [name for name in names if name.startswith("ffc_element")] if self.smoke else names
        for id, label, fill, names, shared in (
                ("program", "five hits of DOLFIN's Poisson program", self.poisson(), self.names["program"], 1),
                ("libraries", f"{len(many)} libraries of FFC and DOLFIN, each", many, many, len(many))):
            fill, names = short(fill), short(names)
            found = {ours: [], python: []}
            for command in found:
                self.json(command(fill), limit=3600)
                self.settle()
            for _ in range(self.size["programs"]):
                for command, samples in found.items():
                    one = self.json(command(names))
                    if one["built"]:
                        sys.exit(f"{label}: this was not a hit")
                    samples.append(1e9 * (one["first"] + sum(one["each"])) / shared)
            self.row(id, "warm program", label, "ns", found[ours], found[python], floor_label="Python dijitso", picture=True)

    # --- cold builds ---------------------------------------------------------------------------------------------------------

    def ffcx_cffi(self, cache):
        return self.json([PYTHON, HERE / "python/ffcx_cffi.py", self.cache(cache), self.sources / f"{self.names['ffcx']}.py", "-O2"])

    def cold(self, variant, cache, mode, modules, ranks=None, env=None):
        """dijitso and, with mode "both", the bare compiler; on ranks of an MPI, or without one."""
        work = self.work / "bare"
        work.mkdir(exist_ok=True)
        command = [self.program(variant, "cold"), cache, self.sources, work, mode, *modules]
        if ranks is None:
            return self.json(command, env=env)
        return self.at_ranks(variant, ranks, [command[0], "--comm", *command[1:]], env=env)

    def warmed(self, variant, what, name=None):
        """A cache in which another module with the same first lines has been built."""
        cache = self.cache(name or f"cold-{variant}-{what}")
        if (cache, what) not in self.caches:
            self.caches.add((cache, what))
            self.cold("none", cache, "jit", self.names["before"][what], env=self.before)
        return cache

    def ccache_commands(self, what):
        """The bare compiler's command through ccache, in two steps as ccache needs it: for a miss, and for a hit."""
        lines = self.output([self.program("none", "cold"), self.warmed("none", what), self.sources, self.work / "bare", "command",
                             self.names[what]]).stdout.splitlines()
        directory, words = lines[0], lines[1:]
        source = next(word for word in words if word.endswith((".c", ".cpp")))
        out = words[words.index("-o") + 1]
        link = [w for i, w in enumerate(words) if w.startswith(("-L", "-l", "-Wl,", "-shared"))]
        compile = [w for w in words[1:words.index("-o")] if w not in link and w != source]
        quote = lambda words: " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
        ccache = f"cd {quote([directory])} && ccache {quote([words[0], *compile, '-c', source, '-o', 'object.o'])} && " \
                 f"{quote([words[0], '-shared', 'object.o', *(w for w in link if w != '-shared'), '-o', out])}"
        return ["sh", "-c", "export CCACHE_RECACHE=1; " + ccache], ["sh", "-c", ccache]

    def cold_builds(self):
        os.environ["CCACHE_DIR"] = str(self.work / "ccache")
        for what, label in LABELS.items():
            module = self.names[what]
            found = {"first": [], "again": [], "bare": [], "cpu": [], "bare_cpu": [], "python": [], "miss": [], "hit": [], "cffi": []}
            cache, commands = self.warmed("none", what), self.ccache_commands(what)
            py_cache = self.cache(f"py-cold-{what}")
            py = lambda names: self.json([PYTHON, HERE / "python/pydijitso.py", "cold", py_cache, self.sources, *names])
            if what == "form" and not self.smoke:
                py(self.names["before"][what])
            first = LABELS if what != "form" else ()  # a form needs its elements in the cache
            # Short builds are repeated more often.
            for i in range(self.size["builds"] * (2 if what in ("one", "ffcx") and not self.smoke else 1)):
                one = self.cold("none", cache, "both", [module])[module]
                found["again"].append(one["jit"])
                found["bare"].append(one["bare"])
                found["cpu"].append(one["jit_cpu"])
                found["bare_cpu"].append(one["bare_cpu"])
                if self.smoke and what in ("form", "expression"):
                    continue  # the other modules try the programs to compare with
                found["python"].append(py([module])[module]["jit"])
                miss, hit = self.json([self.program("none", "stopwatch"), 1, *commands[0], "--", *commands[1]])
                found["miss"] += miss
                found["hit"] += hit
                if what in first:
                    env = self.alone()
                    found["first"].append(self.cold("none", self.cache(f"cold-first-{what}-{i}"), "jit", [module], env=env)[module]["jit"])
                    self.settle()
                if what == "ffcx":
                    found["cffi"].append(self.ffcx_cffi(f"cffi-cold-{i}")["first"])
            row = self.row(f"cold-{what}", "cold build", label, "s", found["again"], found["bare"], floor_label="bare compiler",
                           cpu=[found["cpu"], found["bare_cpu"]], picture=True)
            if found["first"]:
                row["others"]["this library, first build in an empty cache"] = dict(samples=found["first"])
            for key, other in (("python", "Python dijitso"), ("miss", "ccache, miss"), ("hit", "ccache, hit (then link)"),
                               ("cffi", "FFCx's cffi")):
                if found[key]:
                    row["others"][other] = dict(samples=found[key])

    def cold_builds_at_ranks(self):
        size = self.size
        whats = ["one", "element"] if self.smoke else [w for w in LABELS if w != "form"]
        for _ in range(size["rank_builds"]):
            for ranks in size["ranks"]:
                for mpi in self.mpis:
                    for what in whats:
                        cache = self.warmed(mpi, what, "cold-" + mpi)
                    found = self.cold(mpi, cache, "both", [self.names[what] for what in whats], ranks)
                    for what in whats:
                        one = found[self.names[what]]
                        self.add_cell("cold-ranks", "cold build", f"{LABELS[what]}, {MPIS[mpi]}", ranks, "s", [one["jit"]],
                                      [one["bare"]], "bare compiler", waiters=[one["waiters"]])
                if ranks in size["python_ranks"]:
                    names = [self.names[what] for what in whats if what != "expression"]
                    found = self.at_ranks("openmpi", ranks, [PYTHON, HERE / "python/pydijitso.py", "--comm", "cold",
                                                             self.cache("py-cold-mpi"), self.sources, *names])
                    for what in whats:
                        if what != "expression":
                            floor = self.cell("cold-ranks", f"{LABELS[what]}, Open MPI", ranks)["floor"][-1:]
                            self.add_cell("cold-ranks", "cold build", f"{LABELS[what]}, Python dijitso, Open MPI", ranks, "s",
                                          [found[self.names[what]]["jit"]], floor, "bare compiler",
                                          waiters=[found[self.names[what]]["waiters"]])

    def cell(self, grid, label, column):
        return next(row for row in self.rows if (row.get("grid"), row["label"], row.get("column")) == (grid, label, column))

    # --- nine modules --------------------------------------------------------------------------------------------------------

    def poisson(self):
        return [n for n in self.names["poisson"] if n.startswith("ffc_element")] if self.smoke else self.names["poisson"]

    def modules(self, variant, mode, ranks=None, env=None, processes=1, keep=False):
        """All modules, in an empty cache unless `keep`; the bare compiler links to the libraries of the run before."""
        work = self.work / "bare"
        work.mkdir(exist_ok=True)
        cache = self.cache(f"modules-{variant}-{ranks or 1}")
        if mode != "bare" and not keep:
            shutil.rmtree(cache, ignore_errors=True)
        command = [self.program(variant, "modules"), cache, self.sources, work, mode, processes, *self.poisson()]
        if ranks is None:
            seconds = self.json(command, env=env)
        else:
            seconds = self.at_ranks(variant, ranks, [command[0], "--comm", *command[1:]], env=env)
        self.settle()
        return [seconds]

    def nine_modules(self):
        # The target is the gain of building at the same time, without precompiled headers.
        plain = {"BENCH_SET": "build.precompile=never"}
        kinds = ("sequence", "pending", "bare", "bare_n", "sequence_new", "pending_new", "sequence_headers", "pending_headers", "python")
        found = {kind: [] for kind in kinds}
        for i in range(self.size["sets"]):
            found["sequence"] += self.modules("none", "sequence", env=plain)
            found["bare"] += self.modules("none", "bare", env=plain)
            found["bare_n"] += self.modules("none", "bare", env=plain, processes=self.cores)
            found["pending"] += self.modules("none", "pending", env=plain)
            found["sequence_new"] += self.modules("none", "sequence", env=self.alone())
            found["pending_new"] += self.modules("none", "pending", env=self.alone())
            self.modules("none", "sequence", env=self.before)
            found["sequence_headers"] += self.modules("none", "sequence", keep=True)
            found["pending_headers"] += self.modules("none", "pending", keep=True)
            if i == 0 and not self.smoke:
                # The expressions come last: once one of them is built, this program loads nothing more.
                names = sorted(self.poisson(), key=lambda name: not name.startswith("ffc"))
                python = self.json([PYTHON, HERE / "python/pydijitso.py", "cold", self.cache("py-modules"), self.sources, *names])
                found["python"].append(sum(one["jit"] for one in python.values()))
        bare = "bare compiler, one after the other"
        row = self.row("modules", "nine modules", "one after the other", "s", found["sequence"], found["bare"], floor_label=bare,
                       picture=True)
        if found["python"]:
            row["others"]["Python dijitso"] = dict(samples=found["python"])
        row["others"][f"bare compiler, {self.cores} at once"] = dict(samples=found["bare_n"])
        self.row("modules-pending", "nine modules", "at the same time", "s", found["pending"], found["sequence"],
                 floor_label="this library, one after the other", picture=True)
        for kind, label in (("sequence_new", "one after the other, the first program that precompiles headers"),
                            ("pending_new", "at the same time, the first program that precompiles headers"),
                            ("sequence_headers", "one after the other, headers precompiled"),
                            ("pending_headers", "at the same time, headers precompiled")):
            self.row(f"modules-{kind}", "nine modules", label, "s", found[kind], found["bare"], floor_label=bare,
                     picture="headers" in kind)

    def nine_modules_at_ranks(self):
        if not self.size["modules_at_ranks"]:
            return
        plain = {"BENCH_SET": "build.precompile=never"}
        floor = next(row for row in self.rows if row["id"] == "modules")["floor"]
        for ranks in self.size["ranks"]:
            for mpi in self.mpis:
                for mode, label in (("sequence", "one after the other"), ("pending", "at the same time")):
                    seconds = self.modules(mpi, mode, ranks, env=plain)
                    self.add_cell("modules-ranks", "nine modules", f"{label}, {MPIS[mpi]}", ranks, "s", seconds, floor,
                                  "bare compiler on one process, one after the other")

    # --- waiting, memory -----------------------------------------------------------------------------------------------------

    def waiting(self):
        """Runs benches/ranks on one and on many ranks, with a compiler that takes a second of CPU time."""
        counts, times = self.size["waits"]
        for _ in range(times):
            for mpi in self.mpis[:1] if self.smoke else self.mpis:
                directory = ROOT / "build" / mpi / "benches/ranks"
                for ranks in counts:
                    for busy in self.loads if ranks in (counts[0], counts[-1]) else (False,):
                        with tempfile.TemporaryDirectory(dir=self.work) as cache, self.load(busy) as end:
                            done = self.output([f"mpiexec.{mpi}", "-n", ranks, directory / "ranks", directory / "slow-c++", cache,
                                                "without-barrier"])
                        wall, waiters, _, _, alone, sleeps = map(float, done.stdout.split())
                        self.add_cell("waiting", "waiting", MPIS[mpi] + end, ranks, "s", [wall], [alone], "the compiler alone",
                                      waiters=[waiters], sleeps=[sleeps])

    def memory_of_modules(self):
        """Runs benches/memory: memory and loading time of each of many modules."""
        done = self.output([HERE / "memory/run", "--no-build", "--json", *self.size["modules"]], limit=3600)
        for line in done.stdout.splitlines():
            if line.startswith("{"):
                found = json.loads(line)
                modules = f"{found['modules']:,} modules loaded"
                self.row(f"resident-{found['modules']}", "memory", f"{modules}: resident bytes of each", "bytes", [found["jit"]],
                         [found["dlopen"]], floor_label="dlopen", beyond=found["jit"] - found["dlopen"])
                self.row(f"loading-{found['modules']}", "memory", f"{modules}: CPU time of loading each", "ns", [1e3 * found["jit_us"]],
                         [1e3 * found["dlopen_us"]], floor_label="dlopen")

    def build_plans(self):
        build_plans(self, self.size_name)

    def run(self):
        for name in ("memory_hits", "memory_hits_at_ranks", "disk_hits", "warm_starts", "accesses", "programs", "cold_builds",
                     "cold_builds_at_ranks", "nine_modules", "nine_modules_at_ranks", "build_plans", "waiting", "memory_of_modules"):
            if not self.only or any(word in name for word in self.only):
                with self.step(name):
                    getattr(self, name)()


def first_line(*command):
    with contextlib.suppress(OSError, IndexError):
        done = subprocess.run(command, capture_output=True, text=True)
        return (done.stdout + done.stderr).splitlines()[0]
    return "not there"


def facts(size):
    text = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", text)
    memory = int(re.search(r"MemTotal: +(\d+)", pathlib.Path("/proc/meminfo").read_text()).group(1)) / 2**20
    system = dict(re.findall(r'^(\w+)="?(.*?)"?$', pathlib.Path("/etc/os-release").read_text(), re.M)).get("PRETTY_NAME", "?")
    packages = {}
    for package in ("python3-dijitso", "python3-ffc", "python3-ffcx", "libdolfin-dev", "openmpi-bin", "mpich", "ccache"):
        packages[package] = first_line("dpkg-query", "-W", "-f", "${Version}", package)
    return dict(size=size, date=time.strftime("%Y-%m-%d"), processor=model.group(1) if model else platform.machine(),
                cores=len(os.sched_getaffinity(0)), memory=f"{memory:.0f} GiB", system=system, kernel=platform.release(),
                compiler=first_line("c++", "--version"), library=first_line(ROOT / "build/prefix/bin/dijitso", "--version"),
                packages=packages, load_before=os.getloadavg()[0])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--mpis", default=",".join(MPIS))
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--busy", action="store_true", help="measure also while other programs keep all cores busy")
    options = parser.parse_args()
    start = time.monotonic()
    machine = facts(options.size)
    with tempfile.TemporaryDirectory(prefix="dijitso-bench-") as work:
        # Keep the user's caches and settings out.
        os.environ["HOME"] = work
        for name in [n for n in os.environ if n.startswith(("DIJITSO_", "CCACHE_")) or n in ("CXX", "CC", "VIRTUAL_ENV", "CONDA_PREFIX")]:
            del os.environ[name]
        suite = Suite(options.size, options.mpis.split(","), pathlib.Path(work), options.only, options.busy)
        suite.run()
    machine.update(load_after=os.getloadavg()[0], seconds=time.monotonic() - start, steps=suite.times)
    # Every workload must have left samples.
    for name in () if options.only else ("memory hit", "disk hit", "warm start", "warm program", "cold build", "nine modules", "build plans", "waiting", "memory"):
        of_section = [row for row in suite.rows if row["section"] == name]
        if not of_section or not all(row["ours"] and row["floor"] for row in of_section):
            sys.exit(f"nothing was measured of: {name}")
    options.results.write_text(json.dumps(dict(machine=machine, rows=suite.rows), indent=1))


if __name__ == "__main__":
    main()
