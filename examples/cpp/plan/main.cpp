// SPDX-License-Identifier: MIT OR Apache-2.0
// A build plan: tables of Gauss quadrature, libraries that are generated from them, and a report on all of them. Tables
// and libraries are made in parallel, on the ranks of MPI_COMM_WORLD if there are any.
//
// usage: plan [bad]    with "bad" the table of four points fails
#include <dijitso.hpp>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace
{

constexpr int most_points = 6;

// The plan that Ctrl-C stops.
dijitso_plan* running = nullptr;

extern "C" void stop(int)
{
  dijitso_plan_cancel(running, DIJITSO_CANCEL_FINISH);
}

// Returns the points and weights of a rule on [-1, 1], one pair a line. Newton's method finds the roots of the Legendre
// polynomial.
std::string gauss_rule(int points)
{
  std::string table;
  for (int i = 0; i < points; ++i)
  {
    double x = std::cos(3.14159265358979323846 * (i + 0.75) / (points + 0.5)), slope = 1;
    for (int step = 0; step < 50; ++step)
    {
      double value = x, before = 1;
      for (int degree = 2; degree <= points; ++degree)
      {
        const double next = ((2 * degree - 1) * x * value - (degree - 1) * before) / degree;
        before = value;
        value = next;
      }
      slope = points * (x * value - before) / (x * x - 1);
      x -= value / slope;
    }
    char line[80];
    std::snprintf(line, sizeof line, "%.17g, %.17g\n", x, 2 / ((1 - x * x) * slope * slope));
    table += line;
  }
  return table;
}

// Generates a function that integrates by a rule.
std::string integrator(std::string_view table)
{
  std::string code = "extern \"C\" double integrate(double (*f)(double))\n{\n  double sum = 0;\n";
  while (!table.empty())
  {
    const std::size_t end = table.find('\n'), comma = table.find(',');
    const std::string x(table.substr(0, comma)), weight(table.substr(comma + 1, end - comma - 1));
    code += "  sum += " + weight + " * f(" + x + ");\n";
    table.remove_prefix(end + 1);
  }
  return code + "  return sum;\n}\n";
}

double integrand(double x) { return std::exp(x); }

int run(dijitso::communicator comm, int rank, bool bad)
{
  dijitso::plan plan("gauss");
  std::vector<dijitso::node> tables, rules;
  for (int points = 1; points <= most_points; ++points)
  {
    const std::string number = std::to_string(points);

    // A task. Its result is kept under its name, its parameters and what it needs.
    dijitso::node_options of_table;
    of_table.label = "table_" + number;
    of_table.params_json = number;
    of_table.any_thread = true;
    tables.push_back(plan.add_task(
        "gauss",
        [points, bad](dijitso::task& task) {
          if (bad && points == 4)
            throw std::runtime_error("this table is to fail");
          task.set_result(gauss_rule(points));
        },
        of_table));

    // A library that is generated from the table. As with jit(), its key is its name.
    dijitso::node_options of_rule;
    of_rule.needs = {tables.back()};
    rules.push_back(plan.add_module(
        "gauss_rule_" + number,
        [&plan, table = tables.back()](dijitso::source& source) { source.set_code(integrator(plan.result(table))); },
        of_rule));
  }

  // A task that uses the results of all others.
  dijitso::node_options of_report;
  of_report.needs = tables;
  const dijitso::node report = plan.add_task(
      "report",
      [](dijitso::task& task) {
        std::ptrdiff_t lines = 0;
        for (std::size_t i = 0; i < task.needs().size(); ++i)
        {
          const std::string_view table = task.result_of(i);
          lines += std::count(table.begin(), table.end(), '\n');
        }
        task.set_result(std::to_string(task.needs().size()) + " rules, " + std::to_string(lines) + " points");
      },
      of_report);

  // Ctrl-C: what runs is finished, and the next run goes on.
  running = plan.handle();
  std::signal(SIGINT, stop);

  int built = 0, failures = 0;
  dijitso::make_options options;
  options.event = [&built](const dijitso_event& event) { built += event.kind == DIJITSO_EVENT_DONE && event.built; };
  try
  {
    // Every rank makes the same plan. They share the work, and all have the results.
    plan.make(options, comm);
  }
  catch (const std::exception& reason)
  {
    ++failures;
    if (rank == 0)
      std::printf("%s\n", reason.what());
  }
  std::signal(SIGINT, SIG_DFL);

  // What a failed node does not block is there all the same.
  for (int points = 1; points <= most_points; ++points)
  {
    const dijitso::node rule = rules[points - 1];
    if (rank != 0)
      continue;
    if (plan.state(rule) != dijitso::state::done)
    {
      std::printf("%d points: %s\n", points, plan.failure(rule)->what());
      continue;
    }
    const auto integrate = plan.library(rule).symbol<double(double (*)(double))>("integrate");
    std::printf("%d points: error %.1e\n", points, std::fabs(integrate(integrand) - 2 * std::sinh(1.0)));
  }
  if (rank == 0 && plan.state(report) == dijitso::state::done)
    std::printf("%s, %d nodes built\n", plan.result(report).c_str(), built);
  return failures;
}

} // namespace

int main(int argc, char** argv)
{
  const bool bad = argc > 1 && std::string_view(argv[1]) == "bad";
  int failures = 0;
#if DIJITSO_HAVE_MPI
  int rank = 0;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  failures = run(MPI_COMM_WORLD, rank, bad);
  MPI_Finalize();
#else
  failures = run(DIJITSO_COMM_NULL, 0, bad);
#endif
  return failures == 0 ? 0 : 1;
}
