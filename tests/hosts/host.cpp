// SPDX-License-Identifier: MIT OR Apache-2.0
// dijitso_host.hpp on any number of ranks: what fails on one of them fails on all, with the same message.
#include <dijitso_host.hpp>

#include <cstdio>
#include <cstdlib>

namespace host = dijitso::host;

namespace
{

#define CHECK(condition)                                                                                                       \
  do                                                                                                                           \
    if (!(condition))                                                                                                          \
    {                                                                                                                          \
      std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                     \
      std::abort();                                                                                                            \
    }                                                                                                                          \
  while (0)

int rank = 0, size = 1;

// Returns the error of a step that has to fail.
template <class Step>
dijitso::error failure_of(Step step)
{
  try
  {
    step();
  }
  catch (const dijitso::error& error)
  {
    return error;
  }
  CHECK(!"the step has to fail");
  std::abort();
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Checks that all ranks have the same text.
void check_same(const std::string& text)
{
  std::string first = text;
  int length = static_cast<int>(first.size());
  MPI_Bcast(&length, 1, MPI_INT, 0, MPI_COMM_WORLD);
  first.resize(static_cast<std::size_t>(length));
  MPI_Bcast(first.data(), length, MPI_CHAR, 0, MPI_COMM_WORLD);
  if (first != text)
    std::fprintf(stderr, "rank %d: %s\nrank 0: %s\n", rank, text.c_str(), first.c_str());
  CHECK(first == text);
}

void programs()
{
  CHECK(host::run({"printf", "%s", "two words"}) == "two words");
  CHECK(host::run({"sh", "-c", "echo out; echo err >&2"}) == "out\nerr\n");

  dijitso::error error = failure_of([] { host::run({"no-such-program"}); });
  CHECK(error.status() == DIJITSO_ERROR_GENERATE && contains(error.what(), "cannot run no-such-program: No such file"));
  error = failure_of([] { host::run({"sh", "-c", "echo the reason; exit 3"}); });
  CHECK(contains(error.what(), "sh ended with exit code 3:\nthe reason") && error.log() == "the reason\n");
  error = failure_of([] { host::run({"sh", "-c", "kill -9 $$"}); });
  CHECK(contains(error.what(), "sh was ended by signal 9, and printed nothing"));
  error = failure_of([] { host::run({"sh", "-c", "yes | head -n 5000; exit 1"}); });
  CHECK(std::string(error.what()).size() < 1500 && error.log().size() == 10000);

  host::run_options limited;
  limited.time_limit = std::chrono::milliseconds(100);
  error = failure_of([&] { host::run({"sleep", "100"}, limited); });
  CHECK(contains(error.what(), "sleep did not end within its time limit"));
  host::run_options cancelled;
  cancelled.cancelled = [] { return true; };
  error = failure_of([&] { host::run({"sleep", "100"}, cancelled); });
  CHECK(contains(error.what(), "sleep was cancelled"));
}

void files()
{
  std::filesystem::path kept;
  {
    const host::temporary_directory directory;
    kept = directory.path();
    host::write_file(directory / "empty", "");
    host::write_file(directory / "bytes", std::string("a\0b", 3));
    CHECK(host::read_file(directory / "empty").empty() && host::read_file(directory / "bytes").size() == 3);
    host::run_options there;
    there.directory = directory.path();
    CHECK(host::run({"ls"}, there) == "bytes\nempty\n");
    CHECK(contains(failure_of([&] { host::read_file(directory / "none"); }).what(), "none: No such file"));
    CHECK(contains(failure_of([&] { host::write_file(directory / "no/file", ""); }).what(), "cannot write"));
  }
  CHECK(!std::filesystem::exists(kept));
}

void texts()
{
  CHECK(host::json_string("a\"b\\c\n") == "\"a\\\"b\\\\c\\u000a\"");
  CHECK(host::json_object({{"b", "2"}, {"a", "1"}}) == "{\"a\": \"1\", \"b\": \"2\"}");
  CHECK(host::list(std::vector<std::string>{"/a b", "", "/it's"}) == "'/a b' '/it'\\''s'");
  CHECK(host::lines("a\n\nb\na\n") == (std::vector<std::string>{"a", "b"}));
  dijitso::params params;
  host::set_build_params(params, "/one dir\n/two", "NAME=\"text\"\nOTHER");
  CHECK(params.get("build.include_dirs") == "'/one dir' /two");
  CHECK(contains(params.get("build.defines").value_or(""), "OTHER"));
}

// A generator fails on the builder: all ranks get what it printed.
void generators()
{
  const auto compile = [](const std::string& script)
  {
    return dijitso::jit("hosts", dijitso::params(),
                        [&](dijitso::source& source) { source.set_code(host::run({"sh", "-c", script})); }, MPI_COMM_WORLD);
  };
  const dijitso::error error = failure_of([&] { compile("echo form.ufl:3: no such element; exit 1"); });
  CHECK(error.status() == DIJITSO_ERROR_GENERATE);
  CHECK(contains(error.what(), "form.ufl:3: no such element"));
  const dijitso::error refused = failure_of([&] { compile("echo no code"); });
  CHECK(refused.status() == DIJITSO_ERROR_COMPILE && contains(refused.what(), "'no' does not name a type"));
  check_same(refused.what());
  const dijitso::library library = compile("echo 'extern \"C\" int seven() { return 7; }'");
  CHECK(library.symbol<int()>("seven")() == 7);
}

// One rank fails before a collective: all fail, with its text.
void agreement()
{
  CHECK(host::on_every_rank(MPI_COMM_WORLD, [] { return rank * 2; }) == rank * 2);
  for (int failing = 0; failing < size; ++failing)
  {
    const dijitso::error error = failure_of(
        [&]
        {
          host::on_every_rank(MPI_COMM_WORLD,
                              [&]
                              {
                                if (rank == failing)
                                  throw std::runtime_error("rank " + std::to_string(failing) + " cannot read it");
                                return 0;
                              });
        });
    CHECK(error.rank() == failing && error.what() == "rank " + std::to_string(failing) + " cannot read it");
    check_same(error.what());
  }
}

} // namespace

int main(int argc, char** argv)
{
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  programs();
  files();
  texts();
  agreement();
  generators();
  MPI_Finalize();
}
