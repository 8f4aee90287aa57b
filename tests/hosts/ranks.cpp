// SPDX-License-Identifier: MIT OR Apache-2.0
// dijitso_host.hpp on ranks: if a generator or a step fails anywhere, all ranks get the same error, and the next call works.
//
// usage: ranks WORK PHASE
#include "check.hpp"

#include <memory>

using namespace std::chrono_literals;
using namespace dijitso::host;
namespace fs = std::filesystem;

namespace
{

struct failure
{
  const char* name;
  std::function<void()> generate;
  std::string beginning;
};

void run_for(std::vector<std::string> argv, std::chrono::duration<double> limit, bool cancelled)
{
  run_options options;
  options.time_limit = limit;
  options.cancelled = [=] { return cancelled; };
  run(argv, options);
}

const std::vector<failure> failures = {
    {"exit code", [] { run({"sh", "-c", "seq 2000; echo line 3: no such element >&2; exit 3"}); }, "sh ended with exit code 3:\n..."},
    {"missing", [] { run({"no-such-generator-42"}); }, "cannot run no-such-generator-42: No such file or directory"},
    {"signal", [] { run({"sh", "-c", "kill -9 $$"}); }, "sh was ended by signal 9, and printed nothing"},
    {"time limit", [] { run_for({"sleep", "60"}, 200ms, false); }, "sleep did not end within its time limit"},
    {"cancelled", [] { run_for({"sleep", "60"}, 60s, true); }, "sleep was cancelled"},
    {"no output", [] { read_file("/no/such/file.c"); }, "cannot read /no/such/file.c: No such file or directory"},
    {"exception", [] { throw std::runtime_error("no element of\ndegree -1"); }, "no element of\ndegree -1"},
    {"other", [] { throw 7; }, "a function of the program threw something that is not a std::exception"}};

void set_value(dijitso::source& source, int value)
{
  source.set_code(run({"printf", "int value(void) { return %s; }\n", std::to_string(value)}));
}

// Every failure under every strategy, with one cache directory or one for each rank.
void generators(const std::string& work)
{
  for (const std::string strategy : {"root", "node", "process"})
    for (const bool shared : {true, false})
    {
      const std::string setting = strategy + (shared ? "-shared" : "-own");
      dijitso::params params{{"build.language", "c"}, {"parallel.buildon", strategy}};
      params.set("cache.cache_dir", work + "/" + setting + (shared ? "" : "/" + std::to_string(check::rank())));
      for (const failure& one : failures)
      {
        check::context = setting + ": " + one.name;
        CHECK_ALL_FAIL(-1, [&] { dijitso::host::jit("fails", params, [&](dijitso::source&) { one.generate(); }, check::comm); }, one.beginning);
      }
      check::context = setting + ": the next call";
      const auto library = dijitso::host::jit("works", params, [&](dijitso::source& source) { set_value(source, 42); }, check::comm);
      CHECK(library.symbol<int()>("value")() == 42);

      check::context = setting + ": fails on the last rank alone";
      const int last = check::size() - 1;
      const auto generate = [&](dijitso::source& source)
      {
        if (check::rank() == last)
          failures[0].generate();
        set_value(source, 43);
      };
      // Another rank than the last may build for all.
      if (strategy == "process" && !shared)
        CHECK_ALL_FAIL(last, [&] { dijitso::host::jit("last", params, generate, check::comm); }, failures[0].beginning, "line 3: no such element");
    }

  check::context = "log";
  dijitso::params params{{"cache.cache_dir", work + "/log"}};
  const auto call = [&] { dijitso::host::jit("log", params, [](dijitso::source&) { failures[0].generate(); }, check::comm); };
  const auto error = check::error_of(HERE, call);
  CHECK(error && error->log().size() == 8893 + 24 && error->log().rfind("1\n2\n3\n", 0) == 0);

  check::context = "compiler";
  const auto broken = [](dijitso::source& source) { source.set_code("undeclared_42();"); };
  const auto refused = check::error_of(HERE, [&] { dijitso::host::jit("broken", params, broken, check::comm); });
  CHECK(refused && refused->status() == DIJITSO_ERROR_COMPILE);
  check::same(HERE, refused ? refused->what() : "");

  check::context = "poll";
  const auto poll = [] { return check::rank() == check::size() - 1; };
  const auto slow = [](dijitso::source& source)
  {
    run({"sleep", "0.3"});
    set_value(source, 44);
  };
  const auto stopped = check::error_of(HERE, [&] { dijitso::host::jit("poll", params, slow, check::comm, poll); });
  CHECK(stopped && stopped->status() == DIJITSO_ERROR_CANCELLED);
  check::same(HERE, stopped ? stopped->what() : "");
}

void steps()
{
  const int rank = check::rank(), last = check::size() - 1;
  check::context = "steps";
  CHECK(on_every_rank(check::comm, [&] { return rank + 10; }) == rank + 10);
  CHECK(*on_every_rank(check::comm, [&] { return std::make_unique<int>(rank); }) == rank);
  CHECK_ALL_FAIL(last, [&] { on_every_rank(check::comm, [&] { return read_file(rank == last ? "/none/42" : "/dev/null"); }); },
                 "cannot read /none/42: No such file");
  const auto not_first = [&]
  {
    if (rank > 0 || last == 0)
      throw std::out_of_range("rank " + std::to_string(rank));
    return 0;
  };
  const int lowest = std::min(1, last);
  CHECK_ALL_FAIL(lowest, [&] { on_every_rank(check::comm, not_first); }, "rank " + std::to_string(lowest));
  CHECK_ALL_FAIL(0, [&] { on_every_rank(check::comm, []() -> int { throw 7; }); }, "a function of the program threw something");
  const auto other_status = [&]() -> int { throw dijitso::error(DIJITSO_ERROR_LOAD, "text", 5, "log"); };
  const auto error = check::error_of(HERE, [&] { on_every_rank(check::comm, other_status); });
  CHECK(error && error->status() == DIJITSO_ERROR_LOAD && error->log() == "log");

  check::context = "the null communicator";
  if (rank == last) // alone: the others make no call
  {
    CHECK(on_every_rank(DIJITSO_COMM_NULL, [&] { return 3; }) == 3);
    CHECK_FAILS([&] { on_every_rank(DIJITSO_COMM_NULL, []() -> int { throw std::runtime_error("alone"); }); }, "alone");
    CHECK_FAILS([&] { dijitso::host::jit("alone", {}, [](dijitso::source&) { failures[0].generate(); }, DIJITSO_COMM_NULL); },
                failures[0].beginning);
  }
}

} // namespace

int main(int argc, char** argv)
{
  check::start(&argc, &argv);
  generators(argv[1]);
  steps();
  return check::finish();
}
