# SPDX-License-Identifier: MIT OR Apache-2.0
"""Makes the table and the picture from results.json.

    report.py RESULTS DIRECTORY [docs]

Writes performance.md and performance.svg in DIRECTORY; with "docs", also the figures between the marks of docs/performance.md, and
docs/img/performance.svg.
"""
import html
import json
import math
import pathlib
import re
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
BEGIN, END = "<!-- measured: benches/run -->\n", "<!-- end of what was measured -->\n"


# --- numbers -------------------------------------------------------------------------------------------------------------------

def three_digits(value):
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def amount(value, unit):
    """A quantity with a unit that suits its size."""
    if unit == "s":
        value, unit = 1e9 * value, "ns"
    if unit == "ns":
        for limit, name in ((1e3, "ns"), (1e6, "µs"), (1e9, "ms")):
            if value < limit:
                return f"{three_digits(value / (limit / 1e3))} {name}"
        return f"{three_digits(value / 1e9)} s"
    return f"{value:,.0f}" if unit in ("instr", "calls") else f"{three_digits(value)} {unit}"


def spread(samples, unit):
    middle = amount(statistics.median(samples), unit)
    if len(samples) < 2:
        return middle
    return f"{middle} ({amount(min(samples), unit)} … {amount(max(samples), unit)})"


def ratio_of(samples, floor):
    base = statistics.median(floor)
    return statistics.median(samples) / base if base else math.nan


def times(value):
    if 0 < value < 0.095:
        return f"{value:.2g}"
    return f"{value:.2f}" if value < 10 else three_digits(value)


# --- targets -------------------------------------------------------------------------------------------------------------------

class Target:
    """A target and its measured value; `met` is None if it was not measured in this run."""

    def __init__(self, key, wanted, measured=None, met=None):
        self.key, self.wanted, self.measured, self.met = key, wanted, measured, met


def targets(rows, machine):
    by_id = {row["id"]: row for row in rows}
    cells = lambda grid: [row for row in rows if row.get("grid") == grid]
    ours = lambda row: statistics.median(row["ours"])
    made = []

    def ratio(key, wanted, id, limit):
        row = by_id.get(id)
        value = ratio_of(row["ours"], row["floor"]) if row else None
        made.append(Target(key, wanted) if row is None else Target(key, wanted, f"{value:.2f}", value <= limit))

    row = by_id.get("memory-1")
    made.append(Target("memory-hit", "memory hit: at most 100 ns a call",
                       *((amount(ours(row), "ns"), ours(row) <= 100) if row else ())))
    found = [row for row in cells("memory-ranks") if not row["label"].startswith("Python")]
    worst = max(found, key=ours, default=None)
    made.append(Target("memory-hit-ranks", "memory hit on a communicator of any size: at most 150 ns a call (CPU time)",
                       *((f"{amount(ours(worst), 'ns')} on {worst['column']} ranks, {worst['label']}", ours(worst) <= 150) if worst else ())))
    threads = sorted((row for row in rows if "threads" in row), key=lambda row: row["threads"])
    if len(threads) > 1:
        # Calls per second of all threads, relative to one thread; the number of cores limits it. The hash map, whose threads share
        # no written memory, shows the scaling of this machine.
        gain = lambda row, which: statistics.median(threads[0][which]) / statistics.median(row[which]) * row["threads"]
        row = max(threads[1:], key=lambda row: min(row["threads"], machine["cores"]))
        wanted = 0.8 * min(row["threads"], machine["cores"], gain(row, "floor"))
        made.append(Target("memory-hit-threads", "memory hit: scales with threads (at least 0.8 of what the machine gives)",
                           f"{gain(row, 'ours'):.2f} times the calls with {row['threads']} threads; the hash map {gain(row, 'floor'):.2f}",
                           gain(row, "ours") >= wanted))
    else:
        made.append(Target("memory-hit-threads", "memory hit: scales with threads (at least 0.8 of what the machine gives)"))
    ratio("disk-hit", "disk hit, the first call of a process: at most 3.0 of `dlopen`", "disk-first", 3.0)
    ratio("disk-hit-second", "disk hit, the second call: at most 1.5 of `dlopen`", "disk-second", 1.5)
    made += warm_targets(cells)
    ratio("program", "five hits of DOLFIN's Poisson program: at most 0.7 of Python dijitso", "program", 0.7)
    ratio("libraries", "many libraries of FFC and DOLFIN: at most 0.7 of Python dijitso", "libraries", 0.7)
    ratio("cold-expression", "DOLFIN Expression after the first build: at most 0.25 of the bare compiler", "cold-expression", 0.25)
    ratio("cold-form", "FFC form after the first build: at most 0.55 of the bare compiler", "cold-form", 0.55)
    ratio("cold-element", "FFC element after the first build: at most 0.75 of the bare compiler", "cold-element", 0.75)
    row = by_id.get("modules-pending")
    wanted = "nine modules on 2 cores: at least 1.8 times faster than one after the other"
    if row is None:
        made.append(Target("modules-pending", wanted))
    else:
        gain = 1 / ratio_of(row["ours"], row["floor"])
        made.append(Target("modules-pending", wanted, f"{gain:.2f} times", gain >= 1.8))
    made += plan_targets(by_id)
    waiting = cells("waiting")
    for label in sorted({row["label"] for row in waiting}):
        of_label = sorted((row for row in waiting if row["label"] == label), key=lambda row: row["column"])
        one, many = of_label[0], of_label[-1]
        if many is not one:
            value = ours(many) / ours(one)
            made.append(Target("ranks-cold", f"a cold build on {many['column']} ranks, {label}: at most 1.10 of its time on one",
                               f"{value:.2f}", value <= 1.10))
        if many["column"] > 1:
            each = of_each_waiter(many, "waiters") / ours(many)
            made.append(Target("ranks-waiters", f"the ranks that wait, {label}: at most 0.3 % of a core each", f"{100 * each:.2f} %",
                               each <= 0.003))
            sleeps, needed = of_each_waiter(many, "sleeps"), wake_ups_needed(ours(many))
            made.append(Target("ranks-wakeups", f"the ranks that wait, {label}: wake only to let MPI move and at the end of a step",
                               f"{sleeps:.0f} times each; {needed:.0f} are needed", sleeps <= needed))
    if not waiting:
        made.append(Target("ranks-cold", "a cold build on 64 ranks: at most 1.10 of its time on one"))
        made.append(Target("ranks-waiters", "the ranks that wait: at most 0.3 % of a core each"))
        made.append(Target("ranks-wakeups", "the ranks that wait: wake only to let MPI move and at the end of a step"))
    return made


def plan_targets(by_id):
    """Build plans, beside ninja, compmake and the best schedule."""
    made = []
    for key, wanted, limit in (
            ("plan-modules", "modules of FFC and FFCx by `dijitso make`: at most 1.03 of ninja", 1.03),
            ("plan-modules-headers", "the same with precompiled headers: at most 0.6 of ninja", 0.6),
            ("plan-noop", "a plan of tasks with nothing to do: at most 1.0 of ninja", 1.0),
            ("plan-noop-modules", "a plan of modules with nothing to do: at most 1.0 of ninja", 1.0),
            ("plan-trivial", "a trivial task, one after the other: at most 0.01 of compmake", 0.01),
            ("plan-trivial-any", "a trivial task, several at once: at most 0.01 of compmake", 0.01),
            ("plan-ranks-openmpi", "half-second modules on ranks, Open MPI: at most 1.1 of the best schedule", 1.1),
            ("plan-ranks-mpich", "half-second modules on ranks, MPICH: at most 1.1 of the best schedule", 1.1),
            ("plan-ahead", "DOLFIN's Poisson program after `dijitso make` of its record: compiles nothing", 0),
            ("plan-ahead-empty", "the same from a plan with sources, in an empty cache: compiles nothing", 0)):
        row = by_id.get(key)
        if row is None:
            made.append(Target(key, wanted))
        elif row["unit"] == "calls":
            made.append(Target(key, wanted, f"{row['ours'][0]} of {row['floor'][0]}", row["ours"][0] == 0 < row["floor"][0]))
        else:
            value = ratio_of(row["ours"], row["floor"])
            made.append(Target(key, wanted, times(value), value <= limit))
    return made


def of_each_waiter(row, key):
    return statistics.median(row[key]) / (row["column"] - 1)


def wake_ups_needed(seconds):
    """How often a rank that waits calls MPI: after 4 ms, then each time that it has waited a quarter longer. And ten times for start-up
    and the ends of the steps of a first cold build."""
    return 10 + math.log(max(seconds / 0.004, 1)) / math.log(1.25)


def warm_targets(cells):
    """Each kind of call on ranks, for the number of ranks with the greatest ratio; quiet, and with busy cores."""
    made = []
    for grid, key, wanted, limit in (
            ("hit-ranks", "hit", "a hit on a communicator: at most 1.3 of the same alone and an `MPI_Allreduce`", 1.3),
            ("first-ranks", "first", "the first call on a communicator, a hit: at most 2.0 of `MPI_Comm_dup` and `dlopen`", 2.0),
            ("many-ranks", "many", "`dijitso_jit_many` of 30 libraries on disk: at most 1.3 of `dlopen` of 30 files", 1.3)):
        rows = [row for row in cells(grid) if not row["label"].startswith("Python")]
        if not rows:
            made.append(Target(key, wanted))
        for label in dict.fromkeys(row["label"] for row in rows):
            worst = max((row for row in rows if row["label"] == label), key=lambda row: ratio_of(row["ours"], row["floor"]))
            value = ratio_of(worst["ours"], worst["floor"])
            made.append(Target(key, f"{wanted}; {label}", f"{value:.2f} on {ranks_of(worst)}", value <= limit))
    reads = "system calls on the shared directory, 30 libraries: "
    for begin, key, wanted in (("rank 0 reads", "accesses-hosts", "as many on one host as on more"),
                               ("rank 0 sends", "accesses-prefetch", "under 20 with what the last run used")):
        rows = [row for row in cells("accesses") if row["label"].startswith(begin)]
        if not rows:
            made.append(Target(key, reads + wanted))
        for label in dict.fromkeys(row["label"] for row in rows):
            counts = {row["column"]: row["ours"][0] for row in rows if row["label"] == label}
            one, many = counts[min(counts)], max(counts.values())
            met = many <= one if key == "accesses-hosts" else many < 20
            made.append(Target(key, f"{reads}{wanted}; {label.split(', ')[1]}", f"{one} on {min(counts)}, {counts[max(counts)]} on "
                               f"{max(counts)} hosts", met))
    wanted = "a hit on a communicator: ahead of Python dijitso on any number of ranks"
    python = [row for row in cells("hit-ranks") if row["label"].startswith("Python")]
    pairs = [(next(row for row in cells("hit-ranks") if (row["label"], row["column"]) == ("Open MPI", one["column"])), one) for one in python]
    worst = max(pairs, key=lambda pair: ratio_of(pair[0]["ours"], pair[1]["ours"]), default=None)
    if worst is None:
        made.append(Target("hit-python", wanted))
    else:
        value = ratio_of(worst[0]["ours"], worst[1]["ours"])
        made.append(Target("hit-python", wanted, f"{value:.2f} of its time on {ranks_of(worst[0])}", value < 1))
    return made


def ranks_of(row):
    return f"{row['column']} rank{'s' * (row['column'] > 1)}"


def reasons():
    """The reasons for missed targets, written by hand in missed.md, a section for each key."""
    parts = re.split(r"^## +(\S+)\n", (HERE / "missed.md").read_text(), flags=re.M)
    return {key: " ".join(text.split()) for key, text in zip(parts[1::2], parts[2::2])}


# --- the page ------------------------------------------------------------------------------------------------------------------

def table(heads, lines):
    return "\n".join(["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *("| " + " | ".join(line) + " |" for line in lines)]) + "\n"


def target_table(made):
    known = reasons()
    lines = []
    for target in made:
        verdict = {None: "not measured", True: "met", False: "**missed**"}[target.met]
        lines.append([target.wanted, target.measured or "–", verdict])
    text = table(["wanted", "measured", ""], lines)
    missed = dict.fromkeys(target.key for target in made if target.met is False)
    for key in missed:
        name = next(target.wanted for target in made if target.key == key)
        text += f"\n**Missed: {name}.** {known.get(key, 'No reason has been written down yet.')}\n"
    return text


def single_table(rows):
    lines = []
    for row in rows:
        if not row["ours"]:
            continue
        others = []
        for label, other in row["others"].items():
            part = f"{label}: {amount(statistics.median(other['samples']), row['unit'])}"
            floor = other.get("floor", row["floor"])
            others.append(f"{part} ({times(ratio_of(other['samples'], floor))})")
        if "cpu" in row:
            others.append(f"CPU time of the compiler: {times(ratio_of(*row['cpu']))} of the bare one's")
        if "all_cpu" in row:
            others.append(f"CPU time: {times(ratio_of(*row['all_cpu']))} of the floor's")
        if "beyond" in row:
            others.append(f"beyond the floor: {row['beyond']:,} bytes each")
        lines.append([row["label"], spread(row["ours"], row["unit"]), f"{row['floor_label']}: {spread(row['floor'], row['unit'])}",
                      f"**{times(ratio_of(row['ours'], row['floor']))}**", "; ".join(others) or "–"])
    return table(["", "this library", "floor", "ratio", "others (ratio to their floor)"], lines)


def grid_table(rows):
    columns = sorted({row["column"] for row in rows})
    lines = []
    for label in dict.fromkeys(row["label"] for row in rows):
        line = [label]
        for column in columns:
            cell = next((row for row in rows if row["label"] == label and row["column"] == column), None)
            if cell is None:
                line.append("–")
                continue
            text = f"**{times(ratio_of(cell['ours'], cell['floor']))}** {amount(statistics.median(cell['ours']), cell['unit'])}"
            if column > 1 and "waiters" in cell:
                text += f", {100 * of_each_waiter(cell, 'waiters') / statistics.median(cell['ours']):.1f} %"
            if column > 1 and "sleeps" in cell:
                text += f", {of_each_waiter(cell, 'sleeps'):.0f} times"
            if "alone" in cell:
                text += f", {times(ratio_of(cell['ours'], cell['alone']))} of alone"
            line.append(text)
        lines.append(line)
    return table(["hosts" if rows[0]["grid"] == "accesses" else "ranks", *map(str, columns)], lines)


GRIDS = {
    "memory-ranks": "On a communicator: CPU time of a call, as ranks share the cores. The floor is the hash map, for Python a dict.",
    "hit-ranks": "A hit on a communicator, after the first: a tenth of ten calls for ten libraries on disk. The floor is the same without "
                 "a communicator, in as many processes at the same time, and one `MPI_Allreduce` of 128 bytes; the last figure "
                 "is the ratio to such a call alone. The ranks of Python dijitso read the cache each for itself and do not agree.",
    "first-ranks": "The first call on a communicator, in new processes; the time of the last rank. The floor is `MPI_Comm_dup` and `dlopen` "
                   "on every rank at one point in time.",
    "accesses": "System calls on the shared directory for 30 libraries, one after the other, on one to many hosts (mount namespaces). The "
                "floor is a program of one process. What the last run used comes at the first call (`cache.prefetch_max_size`).",
    "many-ranks": "`dijitso_jit_many` for 30 libraries on disk. The floor is `dlopen` of 30 equal files on every rank.",
    "cold-ranks": "One rank builds, the others wait; beside the time, what each waiting rank takes of a core. The floor is the bare "
                  "compiler while all others sleep.",
    "modules-ranks": "On ranks, without precompiled headers. The floor is the bare compiler without ranks, one module after the "
                     "other.",
    "waiting": "A compiler that takes one second of CPU time and then runs the real one, as in `benches/ranks`; beside the time, what each "
               "waiting rank takes of a core, and how often it falls asleep (voluntary context switches). The floor is that compiler alone.",
}
TITLES = {"memory hit": "Memory hit", "disk hit": "Disk hit", "warm start": "Warm start on ranks", "warm program": "Warm program in Python",
          "cold build": "Cold build, after another module with the same first lines",
          "nine modules": "Nine modules", "build plans": "Build plans", "waiting": "Waiting", "memory": "Memory"}


def page(results):
    machine, rows = results["machine"], results["rows"]
    if machine["size"] == "smoke":
        text = "*A run that only tries whether everything works: the figures mean nothing.*\n\n"
    else:
        text = ""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    text += (f"Measured {machine['date']} on {machine['cores']} cores of {machine['processor']}, {machine['memory']}, "
             f"{machine['system']}, Linux {machine['kernel']}; {machine['compiler']}; {machine['library']}; {packages}. "
             f"`benches/run{'' if machine['size'] == 'full' else ' --' + machine['size']}` took {machine['seconds'] / 60:.1f} minutes; "
             f"load average {machine['load_before']:.1f} before, {machine['load_after']:.1f} after.\n\n")
    text += "![Ratios to the floors, on a logarithmic scale](img/performance.svg)\n\n"
    text += "### Targets\n\n" + target_table(targets(rows, machine)) + "\n"
    for section, title in TITLES.items():
        of_section = [row for row in rows if row["section"] == section]
        if not of_section:
            continue
        text += f"### {title}\n\n"
        single = [row for row in of_section if "grid" not in row]
        if single:
            text += single_table(single) + "\n"
        for grid in dict.fromkeys(row["grid"] for row in of_section if "grid" in row):
            text += f"{GRIDS[grid]}\n\n" + grid_table([row for row in of_section if row.get("grid") == grid]) + "\n"
        calls = [row for row in single if "names" in row]
        for row in calls:
            text += f"{row['label'].capitalize()}: {counted(row['names'][0])}. {row['floor_label']}: {counted(row['names'][1])}.\n\n"
    return text.rstrip("\n") + "\n"


def counted(names):
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    return ", ".join(f"`{name}`" + (f" × {count}" if count > 1 else "") for name, count in counts.items())


# --- the picture ---------------------------------------------------------------------------------------------------------------

COLOURS = {"ours": "#1f6f8b", "Python dijitso": "#c05746", "ccache, hit (then link)": "#d9a441", "ccache, miss": "#e8cf9a",
           "FFCx's cffi": "#7a5195"}
NAMES = {"ours": "this library", "ccache, hit (then link)": "ccache: hit, then link", "ccache, miss": "ccache: miss"}
LIMITS = {"memory-1": ("value", 100), "disk-first": ("ratio", 3.0), "disk-second": ("ratio", 1.5), "cold-expression": ("ratio", 0.25), "cold-form": ("ratio", 0.55),
          "cold-element": ("ratio", 0.75), "modules-pending": ("ratio", 1 / 1.8), "memory-ranks": ("value", 150), "waiting": ("ratio", 1.10),
          "hit-ranks": ("ratio", 1.3), "first-ranks": ("ratio", 2.0), "many-ranks": ("ratio", 1.3), "program": ("ratio", 0.7),
          "libraries": ("ratio", 0.7), "plan-modules": ("ratio", 1.03), "plan-modules-headers": ("ratio", 0.6), "plan-noop": ("ratio", 1.0),
          "plan-noop-modules": ("ratio", 1.0), "plan-trivial": ("ratio", 0.01), "plan-trivial-any": ("ratio", 0.01), "plan-ranks-openmpi": ("ratio", 1.1),
          "plan-ranks-mpich": ("ratio", 1.1)}


def with_most_ranks(rows):
    """Rows for the picture: the last column of each line of the tables whose columns are ranks."""
    calls = {"hit-ranks": "a hit, ", "first-ranks": "first call, ", "many-ranks": "30 at once, "}
    for grid in ("memory-ranks", *calls, "waiting"):
        cells = [row for row in rows if row.get("grid") == grid and not row["label"].startswith("Python") and "busy" not in row["label"]]
        for row in cells:
            same = [one for one in cells if one["label"] == row["label"]]
            first, last = (pick(same, key=lambda one: one["column"]) for pick in (min, max))
            if row is not last:
                continue
            made = dict(row, id=grid, label=f"{calls.get(grid, '')}{ranks_of(row)}, {row['label']}", picture=True)
            if grid == "waiting" and first is not last:
                made.update(label=f"a cold build on {made['label']}", floor=first["ours"], floor_label="on one rank")
            yield made


def bars_of(rows):
    """The groups of the picture: (section, label, floor, [(kind, ratio, text)], target)."""
    rows = [row for row in rows if row.get("picture") and row["ours"]] + list(with_most_ranks(rows))
    order = list(TITLES)
    for row in sorted(rows, key=lambda row: order.index(row["section"])):
        bars = [("ours", ratio_of(row["ours"], row["floor"]), amount(statistics.median(row["ours"]), row["unit"]))]
        for label, other in row["others"].items():
            if label in COLOURS and other["samples"]:
                bars.append((label, ratio_of(other["samples"], other.get("floor", row["floor"])),
                             amount(statistics.median(other["samples"]), row["unit"])))
        kind, limit = LIMITS.get(row["id"], (None, None))
        if kind == "value":
            limit /= statistics.median(row["floor"])
        yield row["section"], row["label"], f"{row['floor_label']}, {amount(statistics.median(row['floor']), row['unit'])}", bars, limit


def picture(results):
    groups = list(bars_of(results["rows"]))
    if not groups:
        return '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>\n'
    every = [bar[1] for group in groups for bar in group[3]] + [group[4] for group in groups if group[4]]
    low = math.floor(math.log10(min(min(every), 0.5)) * 2) / 2
    high = math.ceil(math.log10(max(max(every), 2)) + 0.1)
    left, wide, room, bar, gap = 270, 560, 130, 13, 9
    x = lambda ratio: left + wide * (math.log10(ratio) - low) / (high - low)
    made, y, section = [], 78, None

    def write(x, y, text, size=12, anchor="start", fill="#222", weight="normal"):
        made.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}" font-weight="{weight}">'
                    f"{html.escape(text)}</text>")

    for group_section, label, floor, bars, limit in groups:
        if group_section != section:
            section = group_section
            y += 8
            write(12, y + 12, TITLES[section].split(",")[0], 13, weight="bold")
            y += 22
        height = max(bar * len(bars), 28)
        write(left - 10, y + 11, label, 12, "end")
        write(left - 10, y + 24, f"1 = {floor}", 9.5, "end", "#777")
        for i, (kind, ratio, text) in enumerate(bars):
            begin, end = sorted((x(1), x(ratio)))
            top = y + i * bar
            made.append(f'<rect x="{begin:.1f}" y="{top:.1f}" width="{max(end - begin, 1.5):.1f}" height="{bar - 2}" fill="{COLOURS[kind]}"/>')
            # The mark of the target is on this library's bar, or beyond its end.
            mark = x(limit) if limit and kind == "ours" else 0
            write(max(end, x(1), mark) + 6, top + 9.5, f"{times(ratio)}  ({text})", 10, fill="#222" if kind == "ours" else "#666")
        if limit:
            made.append(f'<path d="M{x(limit):.1f} {y - 5:.1f} v{bar + 6}" stroke="#111" stroke-width="2.4"/>')
            made.append(f'<path d="M{x(limit) - 4:.1f} {y - 7:.1f} h8 l-4 5 z" fill="#111"/>')
        y += height + gap
    bottom, total = y + 4, left + wide + room
    lines = []
    for power in range(math.ceil(low), math.floor(high) + 1):
        at = x(10**power)
        lines.append(f'<path d="M{at:.1f} 66 V{bottom}" stroke="{"#333" if power == 0 else "#ddd"}" stroke-width="{1.4 if power == 0 else 1}"/>')
        lines.append(f'<text x="{at:.1f}" y="{bottom + 15}" font-size="11" text-anchor="middle" fill="#444">{10**power:g}</text>')
    head, at = [], left
    head.append(f'<text x="12" y="24" font-size="16" font-weight="bold" fill="#222">Times as ratios to the floor (logarithmic; shorter is better, '
                "left of 1 is faster than the floor)</text>")
    for kind, colour in COLOURS.items():
        if any(kind == bar_kind for group in groups for bar_kind, _, _ in group[3]):
            name = NAMES.get(kind, kind)
            head.append(f'<rect x="{at}" y="39" width="12" height="12" fill="{colour}"/>'
                        f'<text x="{at + 17}" y="49" font-size="12" fill="#222">{html.escape(name)}</text>')
            at += 36 + 6.3 * len(name)
    head.append(f'<path d="M{at + 4} 37 h8 l-4 5 z M{at + 8} 40 v13" fill="#111" stroke="#111" stroke-width="2"/>'
                f'<text x="{at + 19}" y="49" font-size="12" fill="#222">target</text>')
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {bottom + 24:.0f}" width="{total}" '
                      f'height="{bottom + 24:.0f}" font-family="DejaVu Sans, Helvetica, Arial, sans-serif">',
                      "<title>This library beside its floors and what else there is</title>",
                      '<rect width="100%" height="100%" fill="#fff"/>', *head, *lines, *made, "</svg>"]) + "\n"


def main(results, directory, *docs):
    results = json.loads(pathlib.Path(results).read_text())
    text, svg = page(results), picture(results)
    directory = pathlib.Path(directory)
    (directory / "performance.md").write_text(text)
    (directory / "performance.svg").write_text(svg)
    if docs:
        file = DOCS / "performance.md"
        before, rest = file.read_text().split(BEGIN)
        file.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")
        (DOCS / "img/performance.svg").write_text(svg)
    print(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
