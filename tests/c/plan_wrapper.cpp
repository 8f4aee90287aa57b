// The plans of the C++ wrapper: results and libraries, functions that throw on the thread of the make and on others,
// events that cancel, a plan that a callback destroys, and ranks. usage: plan_wrapper WORK run
#include <dijitso.hpp>

#include <atomic>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace
{

int failures = 0;

void check(bool condition, const char* what, int line)
{
  if (condition)
    return;
  std::fprintf(stderr, "plan_wrapper.cpp:%d: failed: %s\n", line, what);
  ++failures;
}
#define CHECK(condition) check((condition), #condition, __LINE__)

struct stopped
{
  int value;
};

constexpr const char* code = "extern \"C\" int value() { return 11; }\n";

void results(const dijitso::params& params)
{
  dijitso::plan plan("wrapper", params);
  const dijitso::node mesh = plan.add_task("mesh", [](dijitso::task& task) {
    task.set_result("12 cells");
    task.add_file("mesh/points", "0 1 2");
  });
  dijitso::node_options options;
  options.label = "a table";
  options.needs = {mesh};
  options.any_thread = true;
  options.params_json = "{\"degree\": 3}";
  const dijitso::node table = plan.add_task(
      "table",
      [](dijitso::task& task) {
        CHECK(task.needs().size() == 1 && task.params() == "{\"degree\": 3}");
        task.set_result(std::string(task.result_of(0)) + ", " + std::string(task.result_of(0, "mesh/points")));
      },
      options);
  const dijitso::node text = plan.add_module("text", dijitso::source_text{code});
  options = {};
  options.needs = {text};
  options.after = {table};
  const dijitso::node form = plan.add_module(
      "form",
      [&](dijitso::source& source) {
        CHECK(source.name() == "form" && plan.label(plan.current()) == "form");
        source.set_code("extern \"C\" int value();\nextern \"C\" int more() { return value() + "
                        + std::to_string(plan.result(table).size()) + "; }\n");
      },
      options);
  dijitso::plan moved = std::move(plan);
  plan = std::move(moved);
  plan.make();
  CHECK(plan.result(table) == "12 cells, 0 1 2" && plan.result(mesh, "mesh/points") == "0 1 2");
  CHECK(plan.library(form).symbol<int()>("more")() == 26);
  CHECK(plan.state(form) == dijitso::state::done && !plan.failure(form));
  CHECK(plan.find("a table") == table && !plan.signature(text).empty());
  int nodes = 0;
  plan.visit([&](const dijitso_node_info& info) { nodes += info.state == DIJITSO_NODE_DONE; });
  CHECK(nodes == 4);
  try
  {
    plan.save("/nonexistent/plan.toml");
    CHECK(!"a plan with callbacks is not written");
  }
  catch (const dijitso::error& reason)
  {
    CHECK(std::string_view(reason.what()).find("\"mesh\" has a callback") != std::string_view::npos);
  }
}

void exceptions(const dijitso::params& params, bool any_thread)
{
  dijitso::plan plan("throws", params);
  bool throws = true;
  dijitso::node_options options;
  options.any_thread = any_thread;
  const dijitso::node bad = plan.add_task(
      any_thread ? "bad_any" : "bad",
      [&](dijitso::task& task) {
        if (throws)
          throw stopped{5};
        task.set_result("");
      },
      options);
  const dijitso::node good = plan.add_module("good", dijitso::source_text{code});
  try
  {
    plan.make();
    CHECK(!"the exception of a callback is thrown again");
  }
  catch (const stopped& thrown)
  {
    CHECK(thrown.value == 5);
  }
  CHECK(plan.state(bad) == dijitso::state::failed && plan.state(good) == dijitso::state::done);
  const std::optional<dijitso::error> failure = plan.failure(bad);
  CHECK(failure && failure->status() == DIJITSO_ERROR_GENERATE);
  throws = false;
  plan.make();
  CHECK(plan.result(bad).empty());

  plan.add_module("refused", dijitso::source_text{"int x = there_is_no_such_name;\n"});
  try
  {
    plan.make();
    CHECK(!"an error is thrown");
  }
  catch (const dijitso::error& reason)
  {
    CHECK(reason.status() == DIJITSO_ERROR_COMPILE && reason.log().find("no_such_name") != std::string::npos);
  }
}

void events(const dijitso::params& params)
{
  dijitso::plan plan("events", params);
  const dijitso::node node = plan.add_task("watched", [](dijitso::task& task) { task.set_result("x"); });
  dijitso::make_options options;
  int done = 0;
  options.event = [&](const dijitso_event& event) { done += event.kind == DIJITSO_EVENT_DONE; };
  plan.make(options);
  CHECK(done == 1);
  options.event = [](const dijitso_event&) { throw stopped{6}; };
  try
  {
    plan.make(options);
    CHECK(!"the exception of an event callback is thrown again");
  }
  catch (const stopped& thrown)
  {
    CHECK(thrown.value == 6);
  }
  plan.make();
  CHECK(plan.result(node) == "x");
}

void destroyed_by_a_callback(const dijitso::params& params)
{
  auto plan = std::make_unique<dijitso::plan>("destroyed", params);
  std::atomic<int> calls{0};
  const std::string large(100, 'x');
  plan->add_task("destroys", [&plan, &calls, large](dijitso::task& task) {
    plan.reset();
    ++calls;
    task.set_result(large);
  });
  plan->make();
  CHECK(!plan && calls == 1);
}

#if DIJITSO_HAVE_MPI
/// What a callback throws comes out on the rank that threw; the others get an error with its text.
void ranks(const dijitso::params& params)
{
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  dijitso::plan plan("ranks", params);
  bool threw = false;
  plan.add_task("throws", [&](dijitso::task&) {
    threw = true;
    throw std::runtime_error("no mesh");
  });
  const dijitso::node text = plan.add_module("text", dijitso::source_text{code});
  try
  {
    plan.make(MPI_COMM_WORLD);
    CHECK(!"it fails on every rank");
  }
  catch (const dijitso::error& reason)
  {
    CHECK(!threw && std::string_view(reason.what()).find("no mesh") != std::string_view::npos);
  }
  catch (const std::runtime_error& reason)
  {
    CHECK(threw && std::string_view(reason.what()) == "no mesh");
  }
  CHECK(plan.library(text).symbol<int()>("value")() == 11);
}
#endif

} // namespace

int main(int argc, char** argv)
{
#if DIJITSO_HAVE_MPI
  MPI_Init(&argc, &argv);
#endif
  try
  {
    const dijitso::params params{{"cache.cache_dir", std::string(argv[argc > 1 ? 1 : 0]) + "/cache"}};
#if DIJITSO_HAVE_MPI
    ranks(params);
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0)
#endif
    {
      results(params);
      exceptions(params, false);
      exceptions(params, true);
      events(params);
      destroyed_by_a_callback(params);
    }
  }
  catch (const std::exception& reason)
  {
    std::fprintf(stderr, "plan_wrapper: %s\n", reason.what());
    ++failures;
  }
#if DIJITSO_HAVE_MPI
  MPI_Allreduce(MPI_IN_PLACE, &failures, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  MPI_Finalize();
#endif
  return failures == 0 ? 0 : 1;
}
