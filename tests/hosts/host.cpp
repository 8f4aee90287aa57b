// SPDX-License-Identifier: MIT OR Apache-2.0
// dijitso_host.hpp without ranks: running programs, files, texts for parameters.
//
// usage: host WORK PHASE; the phase "die" kills itself while a program runs
#include "check.hpp"

#include <csignal>

using namespace std::chrono_literals;
using namespace dijitso::host;
namespace fs = std::filesystem;

namespace
{

run_options with(fs::path directory, std::chrono::duration<double> limit = 30s, std::function<bool()> cancelled = {})
{
  run_options options;
  options.directory = std::move(directory);
  options.time_limit = limit;
  options.cancelled = std::move(cancelled);
  return options;
}

bool runs(const std::string& pid)
{
  std::ifstream stat("/proc/" + pid + "/stat");
  std::string word, state;
  stat >> word >> word >> state;
  return !state.empty() && state != "Z" && state != "X"; // a process without a parent may stay a zombie
}

// Waits until a process whose id is in a file has ended.
bool ends(const fs::path& file)
{
  std::string pid = read_file(file);
  pid.resize(pid.find('\n'));
  for (int i = 0; i < 1000 && runs(pid); ++i)
    std::this_thread::sleep_for(10ms);
  return !runs(pid);
}

void programs(const fs::path& work)
{
  check::context = "output";
  CHECK(run({"sh", "-c", "echo one; echo two >&2; echo three"}) == "one\ntwo\nthree\n");
  CHECK(run({"true"}).empty());
  CHECK(run({"printf", "%s|", "a b", "'", "\"$HOME\"", "", "*"}) == "a b|'|\"$HOME\"||*|");
  CHECK(run({"cat"}).empty()); // its input is empty
  CHECK(run({"sh", "-c", "pwd -P"}, with(work)) == fs::canonical(work).string() + "\n");
  CHECK(run({"sh", "-c", "printf '%100000s' x"}).size() == 100000);

  check::context = "failure";
  CHECK_FAILS([] { run({}); }, "no program to run");
  CHECK_FAILS([] { run({"sh", "-c", "echo output; echo reason >&2; exit 3"}); }, "sh ended with exit code 3:\noutput\nreason");
  CHECK_FAILS([] { run({"false"}); }, "false ended with exit code 1, and printed nothing");
  CHECK_FAILS([] { run({"sh", "-c", "echo output; kill -9 $$"}); }, "sh was ended by signal 9:\noutput");
  CHECK_FAILS([] { run({"no-such-generator-42"}); }, "cannot run no-such-generator-42: No such file or directory");
  CHECK_FAILS([&] { run({"true"}, with(work / "none")); }, "cannot run true in " + (work / "none").string() + ": No such file");
  write_file(work / "text", "no program");
  CHECK_FAILS([&] { run({(work / "text").string()}); }, "cannot run " + (work / "text").string() + ": Permission denied");

  check::context = "long output";
  run_options short_excerpt;
  short_excerpt.longest_excerpt = 20;
  const auto talk = [&] { run({"sh", "-c", "seq 1000; echo the reason; echo; exit 1"}, short_excerpt); };
  CHECK_FAILS(talk, "sh ended with exit code 1:\n...", "1000\nthe reason");
  const auto error = check::error_of(HERE, talk);
  CHECK(std::string(error->what()).size() < 60);
  CHECK(error->log().size() == 3893 + 11 + 1 && error->log().rfind("1\n2\n3\n", 0) == 0);
}

void ended_programs(const fs::path& work, const std::string& self)
{
  // The shell has a child, which must end as well.
  const std::vector<std::string> slow = {"sh", "-c", "echo begun; sleep 100 & echo $! > child; wait"};
  const auto has_begun = [&] { return fs::exists(work / "child") && fs::file_size(work / "child") > 0; };

  check::context = "time limit";
  CHECK_FAILS([&] { run(slow, with(work, 1s)); }, "sh did not end within its time limit:\nbegun");
  CHECK(ends(work / "child"));

  check::context = "cancelled";
  fs::remove(work / "child");
  CHECK_FAILS([&] { run(slow, with(work, 60s, has_begun)); }, "sh was cancelled:\nbegun");
  CHECK(ends(work / "child"));

  check::context = "cancelled by an exception";
  fs::remove(work / "child");
  bool thrown = false;
  try
  {
    run(slow, with(work, 60s, [&]() -> bool { return has_begun() ? throw 7 : false; }));
  }
  catch (int value)
  {
    thrown = value == 7;
  }
  CHECK(thrown);
  CHECK(ends(work / "child"));

  check::context = "no time limit";
  CHECK(run({"sh", "-c", "sleep 0.2; echo done"}, with(work, 0s)) == "done\n");

  check::context = "the host is killed";
  fs::remove(work / "child");
  CHECK_FAILS([&] { run({self, work.string(), "die"}); }, self + " was ended by signal 9, and printed nothing");
  CHECK(ends(work / "child"));

  check::context = "what a program leaves on purpose goes on";
  run({"sh", "-c", "sleep 100 > /dev/null 2>&1 & echo $! > server"}, with(work));
  std::string server = read_file(work / "server");
  server.pop_back();
  std::this_thread::sleep_for(100ms);
  CHECK(runs(server));
  kill(std::stoi(server), SIGKILL);
}

void files(const fs::path& work)
{
  check::context = "files";
  const std::string bytes("a\0b\r\n\xff", 6);
  write_file(work / "bytes", bytes);
  CHECK(read_file(work / "bytes") == bytes);
  write_file(work / "bytes", "");
  CHECK(read_file(work / "bytes").empty());
  CHECK_FAILS([&] { read_file(work / "none"); }, "cannot read " + (work / "none").string() + ": No such file or directory");
  CHECK_FAILS([&] { read_file(work); }, "cannot read " + work.string());
  CHECK_FAILS([&] { write_file(work / "none" / "file", "text"); }, "cannot write " + (work / "none" / "file").string());
  CHECK_FAILS([&] { write_file("/dev/full", "text"); }, "cannot write /dev/full");

  check::context = "temporary directories";
  fs::path path;
  {
    const temporary_directory one, two;
    path = one.path();
    CHECK(one.path() != two.path() && fs::is_directory(path) && one / "x" == path / "x");
    CHECK(fs::status(path).permissions() == fs::perms::owner_all);
    fs::create_directories(one / "deep" / "deeper");
    write_file(one / "deep" / "deeper" / "file", "text");
  }
  CHECK(!fs::exists(path));
  const std::string usual = std::getenv("TMPDIR");
  setenv("TMPDIR", (work / "none").c_str(), 1);
  CHECK_FAILS([] { run({"true"}); }, "the directory for temporary files cannot be used (TMPDIR): ");
  setenv("TMPDIR", usual.c_str(), 1);
}

void texts()
{
  check::context = "texts";
  CHECK(json_string("a\"b\\c\n\x01/\xc3\xa9") == "\"a\\\"b\\\\c\\u000a\\u0001/\xc3\xa9\"");
  CHECK(json_object({}) == "{}");
  CHECK(json_object({{"b", "2"}, {"a", "\t"}}) == "{\"a\": \"\\u0009\", \"b\": \"2\"}");
  dijitso::params params;
  params.set("generator", json_object({{"ufl", "a = 'x'\n\"y\" \\ \x7f\xc3\xa9"}}));
  CHECK(params.get("generator")->find("ufl") != std::string::npos);
  CHECK(list(std::vector<std::string>{}).empty());
  CHECK(list(std::vector<std::string>{"a b", "", "c'd"}) == "'a b' 'c'\\''d'");
  CHECK(lines("one\n\ntwo\none\n three") == (std::vector<std::string>{"one", "two", " three"}));
  set_build_params(params, "/a b\n/c'd\n\n/a b", "X\nTEXT=\"a b\"");
  dijitso::params expected;
  expected.set("build.include_dirs", "\"/a b\" \"/c'd\"").set("build.defines", "X 'TEXT=\"a b\"'");
  CHECK(params.get("build.include_dirs") == expected.get("build.include_dirs"));
  CHECK(params.get("build.defines") == expected.get("build.defines"));
}

} // namespace

int main(int, char** argv)
{
  const fs::path work = argv[1];
  if (std::string(argv[2]) == "die")
    run({"sh", "-c", "sleep 100 & echo $! > child; wait"}, with(work, 60s, [&]
        {
          if (fs::exists(work / "child") && fs::file_size(work / "child") > 0)
            raise(SIGKILL);
          return false;
        }));
  fs::create_directory(work / "tmp");
  setenv("TMPDIR", (work / "tmp").c_str(), 1);
  programs(work);
  files(work);
  texts();
  CHECK(fs::is_empty(work / "tmp"));
  ended_programs(work, fs::absolute(argv[0]).string());
  return check::failures == 0 ? 0 : 1;
}
