# shellcheck shell=bash
# Checks of plans under a batch system: tests/slurm/run and tests/sge/run. Source it after tests/engines.sh with the
# repository as the current directory, and set `prefix`, where dijitso is installed, and `work`, an empty directory.

repository=$PWD
dijitso=${prefix:?}/bin/dijitso
: "${work:?}"
checks=0

# Shows the files that may say why a check has failed, and stops.
fail() {
  tail -n 20 -- "$PWD"/*.jobs/*.log "$PWD"/*.jobs/*.status "$work/out" "$work/err" >&2 2> /dev/null || true
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

check() { # check WHAT COMMAND...
  local what=$1
  shift
  "$@" || fail "$what: $*"
  checks=$((checks + 1))
  printf '  ok: %s\n' "$what"
}

equal() { # equal EXPECTED FOUND
  [ "$1" = "$2" ] || { printf 'expected: %s\nfound:    %s\n' "$1" "$2" >&2; return 1; }
}

contains() { # contains TEXT PART
  case $1 in *"$2"*) ;; *) printf 'no "%s" in: %s\n' "$2" "$1" >&2; return 1 ;; esac
}

# Prints the exit code of a command.
code_of() { # code_of COMMAND...
  local code=0
  "$@" > "$work/out" 2> "$work/err" || code=$?
  printf '%s' "$code"
}

# Prints a field of a JSON document on the standard input.
field() { sed -n 's/^ *"'"$1"'": "\{0,1\}\([^",]*\)"\{0,1\},\{0,1\}$/\1/p'; }

# Submits a plan, and prints the id of the job.
submit() { # submit PLAN OPTION...
  "$dijitso" --json make "$@" | field job
}

# Prints the state of each node of a plan as "label=state", in one line.
states() { # states PLAN
  "$dijitso" plan ls "$1" --json | tr -d ' \n' | grep -oE '"(label|state)":"[^"]*"' \
    | sed -e 's/^"label":"\(.*\)"$/\1/' -e 's/^"state":"\(.*\)"$/=\1/' | tr '\n' ' ' | sed 's/ =/=/g; s/ $//'
}

# Makes a directory with its own cache, and goes there.
enter() { # enter NAME
  mkdir -p "$work/$1"
  cd "$work/$1" || exit
  export DIJITSO_CACHE_DIR="$work/$1/cache"
}

# Writes a plan of modules in C that do not need each other.
write_modules() { # write_modules PLAN COUNT
  local at
  : > "$1"
  for at in $(seq "$2"); do
    printf 'int m%s(void) { return %s; }\n' "$at" "$at" > "m$at.c"
    printf '[[module]]\nlabel = "m%s"\nsource = "m%s.c"\n\n' "$at" "$at" >> "$1"
  done
}

# Adds a task that runs a script of the shell, which writes LABEL.txt.
add_task() { # add_task PLAN LABEL SCRIPT [LINE...]
  local plan=$1 label=$2 script=$3
  shift 3
  printf '[[task]]\nlabel = "%s"\ncommand = ["sh", "-c", """%s"""]\noutputs = ["%s.txt"]\n' "$label" "$script" "$label" \
    >> "$plan"
  printf '%s\n' "$@" '' >> "$plan"
}

# Prints a script of docs/clusters.md: the block that has its name in a comment.
page_script() { # page_script NAME
  awk -v name="# $1" '
    /^```/ { if (found) { printf "%s", text; exit }; text = ""; found = 0; next }
    { text = text $0 "\n" }
    $0 == name { found = 1 }' "$repository/docs/clusters.md"
}

# Adds a module for the command `module`.
write_module() { # write_module NAME LINE
  mkdir -p "$work/modules/$1"
  printf '#%%Module\n%s\n' "$2" > "$work/modules/$1/1.0"
  export MODULEPATH="$work/modules"
}

# Records the plan of a program of ranks, has a job make it, and runs the scripts of docs/clusters.md as they stand.
check_page() { # check_page SYSTEM SCRIPT...
  local system=$1 script job
  shift
  enter "page of $system"
  need_packages modulecmd=environment-modules
  write_module gcc "setenv CC cc"
  write_module mpich "prepend-path PATH {$PWD/mpich}"
  write_module dijitso "prepend-path PATH {$prefix/bin}"
  mkdir mpich
  # Finds its helpers beside itself, and so is no link.
  printf '#!/bin/sh\nexec mpiexec.mpich "$@"\n' > mpich/mpiexec
  chmod +x mpich/mpiexec
  set +u
  # shellcheck source=/dev/null
  . /etc/profile.d/modules.sh
  module load gcc mpich dijitso
  set -u
  mpicc.mpich -std=c99 -I "$prefix/include" "$repository/examples/c/02_ranks/main.c" -o simulation \
    -L "$prefix/lib" -ldijitso "-Wl,-rpath,$prefix/lib"
  dijitso plan record -o kernels.toml -- mpiexec -n 2 ./simulation > recorded.log
  check "a run builds and records" contains "$(cat recorded.log)" 'rank 0 of 2: evaluate(2) = 7, built here'
  # The job has to build the libraries again; the sources are in the cache.
  rm "$DIJITSO_CACHE_DIR"/lib/*
  job=$(submit kernels.toml --submit "$system")
  for script in "$@"; do
    page_script "$script" > "./$script"
    check "the page has $script" test -s "$script"
    job=$(run_script "$script" "$job")
    check "$script succeeds" equal 0 "$(code_of "$dijitso" plan wait "$job" --system "$system" --timeout 60)"
    check "its ranks have worked" contains "$(cat ./*imulation*"$job"*)" 'rank 1 of '
    check "it has compiled nothing" equal 0 "$(cat ./*imulation*"$job"* | grep -c 'built here')"
  done
}

# Makes a plan by a job, and one that depends on it by another.
check_chain() { # check_chain SYSTEM [SUBMIT_ARGS...]
  local system=$1 first second
  shift
  enter "chain of $system"
  write_modules "first plan.toml" 3
  add_task 'first plan.toml' slow "sleep 2; date +%s%N > slow.txt; cp slow.txt '$PWD/first'"
  add_task second.toml begin "date +%s%N > begin.txt; cp begin.txt '$PWD/second'"
  first=$(submit 'first plan.toml' --submit "$system" "$@")
  check "a job is submitted" contains "$first" "${first//[^0-9]/}"
  second=$(submit second.toml --submit "$system" --submit-args "$(dependency "$first")" "$@")
  check "waiting for the second job succeeds" equal 0 "$(code_of "$dijitso" plan wait second.toml --timeout 60)"
  check "waiting for the first job needs no time" equal 0 "$(code_of timeout 5 "$dijitso" plan wait 'first plan.toml')"
  check "the second job began after the first" test "$(cat first)" -lt "$(cat second)"
  check "its log ends with the counts" \
    contains "$(tail -n 1 "first plan.toml.jobs/$system-$first.log")" '4 done, 0 failed, 0 blocked'
  check "there is nothing left to do" contains "$("$dijitso" make 'first plan.toml' 2>&1)" '0 built'
  printf '%s %s\n' "$first" "$second" > ids
}

# A node that fails is the exit code of the job.
check_failure() { # check_failure SYSTEM [SUBMIT_ARGS...]
  local system=$1 job
  shift
  enter "failure of $system"
  write_modules plan.toml 1
  printf 'int wrong(void) { return }\n' > wrong.c
  printf '[[module]]\nlabel = "wrong"\nsource = "wrong.c"\n\n[[module]]\nlabel = "needs"\nsource = "m1.c"\n%s\n' \
    'needs = ["wrong"]' >> plan.toml
  job=$(submit plan.toml --submit "$system" "$@")
  check "a failed node is exit code 113" equal 113 "$(code_of "$dijitso" plan wait plan.toml --timeout 60)"
  rm "plan.toml.jobs/$system-$job.status"
  check "the batch system has the same exit code" equal 113 "$(code_of "$dijitso" plan wait plan.toml --timeout 60)"
  check "its states are known" equal 'm1=done wrong=failed needs=blocked' "$(states plan.toml)"
  printf '%s\n' "$job" > id
}

# An array makes the parts of a plan without edges.
check_array() { # check_array SYSTEM [SUBMIT_ARGS...]
  local system=$1 job
  shift
  enter "array of $system"
  write_modules plan.toml 5
  job=$(submit plan.toml --submit "$system" --array 2 "$@")
  check "an array ends" equal 0 "$(code_of "$dijitso" plan wait plan.toml --timeout 60)"
  check "the first part has three nodes" \
    contains "$(tail -n 1 "plan.toml.jobs/$system-$job.1.log")" '3 done, 0 failed, 0 blocked'
  check "the second part has two nodes" \
    contains "$(tail -n 1 "plan.toml.jobs/$system-$job.2.log")" '2 done, 0 failed, 0 blocked'
  check "together they are the plan" contains "$("$dijitso" make plan.toml 2>&1)" '0 built'
  printf '[[module]]\nlabel = "last"\nsource = "m1.c"\nneeds = ["m1"]\n' >> plan.toml
  check "a plan with edges is refused" \
    test 0 -ne "$(code_of "$dijitso" make plan.toml --submit "$system" --array 2)"
}

# What a job has not finished is still to do after it was cancelled, and nothing is lost.
check_cancel() { # check_cancel SYSTEM [SUBMIT_ARGS...]
  local system=$1 job
  shift
  enter "cancel of $system"
  add_task plan.toml quick "echo x >> '$PWD/count'; echo > quick.txt"
  add_task plan.toml slow \
    "test -e '$PWD/again' || { touch '$PWD/running'; sleep 60; }; echo > slow.txt" 'needs = ["quick"]'
  add_task plan.toml last "echo > last.txt" 'needs = ["slow"]'
  # Without further attempts, a node that is killed is not taken for one that has failed.
  job=$(submit plan.toml --retries 0 --submit "$system" "$@")
  check "the job runs" wait_until 30 test -e running
  cancel "$job"
  check "waiting for a cancelled job ends with an exit code" \
    equal 1 "$(code_of "$dijitso" plan wait plan.toml --timeout 60)"
  wait_until 20 ended "$job" || true
  # A job that is killed leaves the state "ready", one that could still end "interrupted".
  check "what was running is still to do, and nothing has failed" \
    equal 'quick=done slow=ready last=todo' "$(states plan.toml | sed 's/=interrupted/=ready/')"
  touch again
  submit plan.toml --submit "$system" "$@" > again.id
  check "a second job finishes the plan" equal 0 "$(code_of "$dijitso" plan wait plan.toml --timeout 60)"
  check "what was done is not done again" equal 1 "$(wc -l < count)"
}
