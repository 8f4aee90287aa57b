// The C++ wrapper: visitors as lambdas that may throw, start and finish, texts, and the log.
#include <dijitso.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace
{

int failures = 0;

void check(bool condition, const char* what, int line)
{
  if (condition)
    return;
  std::fprintf(stderr, "wrapper.cpp:%d: failed: %s\n", line, what);
  ++failures;
}
#define CHECK(condition) check((condition), #condition, __LINE__)

struct stopped
{
  int value;
};

dijitso::library build(const dijitso::params& params, const char* name, int value)
{
  return dijitso::jit(name, params, [&](dijitso::source& source) {
    source.set_code("extern \"C\" int value() { return " + std::to_string(value) + "; } // of " + name + "\n");
  });
}

void inspect_cache(const dijitso::params& params, const std::string& work, const dijitso::library& one)
{
  int count = 0;
  dijitso::cache::list(params, [&](const dijitso_entry& entry) {
    ++count;
    CHECK(entry.size > 0);
  });
  CHECK(count == 2);
  count = 0;
  dijitso::cache::list(params, [&](const dijitso_entry&) { return ++count < 1; });
  CHECK(count == 1);
  try
  {
    dijitso::cache::list(params, [&](const dijitso_entry&) { throw stopped{7}; });
    CHECK(!"the exception of a visitor is thrown again");
  }
  catch (const stopped& thrown)
  {
    CHECK(thrown.value == 7);
  }

  const std::string signature = one.signature();
  CHECK(dijitso::signature(params, "one") == signature);
  CHECK(dijitso::build_command(params, "x", {signature}).size() > 5);
  CHECK(dijitso::open(params, signature).symbol<int()>("value")() == 1);
  CHECK(dijitso::cache::dependencies(params, signature).empty());
  CHECK(!dijitso::explain(params, "one").empty());
  int needed = 0;
  dijitso::read_elf(one.path(), [&](const dijitso_elf_item& item) { needed += item.kind == DIJITSO_ELF_NEEDED; });
  CHECK(needed >= 0);
  dijitso::cache::file_names(params, signature, [&](const dijitso_file_names& names) { CHECK(one.path() == names.lib_path); });
  int files = 0;
  dijitso::cache::files(params, DIJITSO_CATEGORY_LIB, [&](const dijitso_file&) { ++files; });
  CHECK(files == 2);
  std::string text;
  dijitso::cache::grep(params, "// of one", DIJITSO_CATEGORY_SRC, [&](const dijitso_line& line) { text = line.text; });
  CHECK(text.find("return 1;") != std::string::npos);
  CHECK(dijitso::cache::read(params, signature, DIJITSO_CATEGORY_SRC) == text + "\n");
  CHECK(dijitso::cache::extract(params, signature, DIJITSO_CATEGORY_SRC, work + "/out").size() == 1);
  CHECK(dijitso::cache::check(params, false, [](const dijitso_finding&) {}));
  dijitso::cache::gc(params, -1.0, true, [](const dijitso_removed&) {});
  int builds = 0;
  dijitso::cache::stats(params, [&](const dijitso_stats& stats) { builds += static_cast<int>(stats.builds); });
  CHECK(builds == 2);
  dijitso::cache::reset_stats(params);
  try
  {
    dijitso::cache::read(params, "no_such", DIJITSO_CATEGORY_SRC);
    CHECK(!"a missing entry is an error");
  }
  catch (const dijitso::error& error)
  {
    CHECK(error.status() == DIJITSO_ERROR_CACHE);
  }
}

void copy_entries(const dijitso::params& params, const std::string& work, const std::string& signature)
{
  const dijitso::params elsewhere{{"cache.cache_dir", work + "/elsewhere"}}, third{{"cache.cache_dir", work + "/third"}};
  dijitso::cache::make_dirs(elsewhere);
  dijitso::cache::write_binary(elsewhere, signature, dijitso::cache::read_binary(params, signature));
  CHECK(dijitso::open(elsewhere, signature).symbol<int()>("value")() == 1);
  dijitso::cache::export_bundle(params, {"one"}, work + "/bundle");
  int imported = 0;
  dijitso::cache::import_bundle(third, work + "/bundle", false,
                                [&](const dijitso_imported& entry) { imported += entry.outcome == DIJITSO_IMPORT_NEW; });
  CHECK(imported == 1);
  dijitso::cache::store(third, "by_hand", DIJITSO_CATEGORY_LOG, "text");
  CHECK(dijitso::cache::read(third, "by_hand", DIJITSO_CATEGORY_LOG) == "text");
  CHECK(dijitso::cache::remove(third, "by_hand").size() == 1);
  CHECK(dijitso::cache::clean(third, DIJITSO_CATEGORY_LIB, true).size() == 1);
}

void start_and_finish(const dijitso::params& params)
{
  std::vector<dijitso::pending> started;
  for (int value = 0; value < 3; ++value)
    started.push_back(dijitso::jit_start("pending_" + std::to_string(value), params, [value](dijitso::source& source) {
      source.set_code("extern \"C\" int value() { return " + std::to_string(value) + "; }");
    }));
  dijitso::pending thrown = dijitso::jit_start("pending_thrown", params, [](dijitso::source&) { throw stopped{5}; });
  dijitso::jit_start("pending_cancelled", params, [](dijitso::source& source) { source.set_code("int x;"); });
  CHECK(dijitso::progress().total >= 3 && dijitso::progress().done <= dijitso::progress().total);
  for (int value = 2; value >= 0; --value)
    CHECK(started[static_cast<std::size_t>(value)].finish().symbol<int()>("value")() == value);
  try
  {
    thrown.finish();
    CHECK(!"finish() throws the exception of generate");
  }
  catch (const stopped& reason)
  {
    CHECK(reason.value == 5);
  }
  try
  {
    thrown.finish();
    CHECK(!"a second finish() is an error");
  }
  catch (const dijitso::error& error)
  {
    CHECK(error.status() == DIJITSO_ERROR_STATE);
  }
}

void handle_log(const dijitso::params& params)
{
  int records = 0;
  dijitso::log::set_handler([&](const dijitso_log_record& record) {
    records += record.level == DIJITSO_LOG_INFO && std::string(record.message).find("\"broken\" failed") != std::string::npos;
    throw stopped{1};
  });
  dijitso::log::set_level(DIJITSO_LOG_INFO);
  try
  {
    dijitso::jit("broken", params, [](dijitso::source& source) { source.set_code("not C++"); });
    CHECK(!"broken code is an error");
  }
  catch (const dijitso::error& error)
  {
    CHECK(error.status() == DIJITSO_ERROR_COMPILE);
  }
  CHECK(records == 1);
  dijitso::log::set_level(DIJITSO_LOG_ERROR);
  CHECK(dijitso::log::level() == DIJITSO_LOG_ERROR);
  dijitso::log::set_handler(nullptr);
}

// The key is the text, and a text may depend on another library.
void jit_texts(const dijitso::params& params)
{
  const auto value = [](const dijitso::library& library) { return library.symbol<int()>("value")(); };
  const auto two = dijitso::jit_source("text", params, "extern \"C\" int value() { return 2; }\n");
  const auto three = dijitso::jit_source("text", params, "extern \"C\" int value() { return 3; }\n", DIJITSO_COMM_NULL);
  CHECK(value(two) == 2 && value(three) == 3 && two.signature() != three.signature());
  const auto base = dijitso::jit_source("base", params, "int base() { return 4; }\n", "int base();\n");
  dijitso::source_text derived;
  const std::string code = "#include \"" + base.signature() + ".h\"\nextern \"C\" int value() { return base(); }\n";
  derived.code = code;
  derived.dependencies = {base.signature()};
  CHECK(value(dijitso::jit_source("text", params, derived)) == 4);
  CHECK(dijitso::jit_source("text", params, derived, DIJITSO_COMM_NULL).origin() == dijitso::origin::memory);
  for (const std::string_view name : {std::string_view("a/b"), std::string_view("a\0b", 3)})
  {
    try
    {
      dijitso::jit_source(name, params, "int i;\n");
      CHECK(!"a bad name is an error");
    }
    catch (const dijitso::error& error)
    {
      CHECK(error.status() == DIJITSO_ERROR_INVALID_ARGUMENT);
    }
  }
}

// An exception of poll cancels the call, and comes out again.
void cancel(const dijitso::params& params)
{
  dijitso::callbacks host;
  bool generated = false;
  host.generate = [&](dijitso::source&) { generated = true; };
  host.poll = []() -> bool { throw stopped{9}; };
  try
  {
    dijitso::jit("cancelled", params, host);
    CHECK(!"the exception of poll is thrown again");
  }
  catch (const stopped& thrown)
  {
    CHECK(thrown.value == 9);
  }
  host.poll = [] { return true; };
  try
  {
    dijitso::jit("cancelled", params, host);
    CHECK(!"poll cancels the call");
  }
  catch (const dijitso::error& reason)
  {
    CHECK(reason.status() == DIJITSO_ERROR_CANCELLED);
  }
  CHECK(!generated);
  host.generate = [](dijitso::source& source) { source.set_code("extern \"C\" int value() { return 4; }"); };
  host.poll = [] { return false; };
  CHECK(dijitso::jit("cancelled", params, host).symbol<int()>("value")() == 4);
}

} // namespace

void many_at_once(const dijitso::params& params)
{
  const std::vector<std::string> names{"many_1", "many_2", "many_3"};
  dijitso::callbacks host;
  bool throws = true;
  host.generate = [&](dijitso::source& source) {
    const std::string name(source.name());
    if (throws && name == "many_2")
      throw stopped{2};
    source.set_code("extern \"C\" int value() { return " + name.substr(5) + "; }\n");
  };
  const dijitso::many_result some = dijitso::jit_many(names, params, host);
  CHECK(some.libraries[0] && !some.libraries[1] && some.libraries[2]);
  CHECK(some.failure && some.failure->status() == DIJITSO_ERROR_GENERATE);
  CHECK(std::string(some.failure->what()).find("1 of 3 libraries failed: many_2: ") != std::string::npos);
  try
  {
    some.all();
    CHECK(!"what the callback threw is thrown again");
  }
  catch (const stopped& thrown)
  {
    CHECK(thrown.value == 2);
  }
  throws = false;
  const std::vector<dijitso::library> all = dijitso::jit_many(names, params, host).all();
  CHECK(all.size() == 3 && all[1].symbol<int()>("value")() == 2 && all[2].symbol<int()>("value")() == 3);
  CHECK(all[0].origin() == dijitso::origin::memory && all[1].origin() == dijitso::origin::built);
  CHECK(dijitso::jit_many({}, params, host).all().empty());
}

int main(int argc, char** argv)
{
  const std::string work = argc > 1 ? argv[1] : ".";
  const dijitso::params params{{"cache.cache_dir", work + "/cache"}, {"build.cxxflags_opt", "-O0"}};
  const dijitso::library one = build(params, "one", 1);
  build(params, "two", 2);
  inspect_cache(params, work, one);
  copy_entries(params, work, one.signature());
  start_and_finish(params);
  jit_texts(params);
  cancel(params);
  many_at_once(params);
  handle_log(params);
  CHECK(dijitso::mpi::create_comms_and_role(DIJITSO_COMM_NULL, work, "root").role == DIJITSO_ROLE_BUILDER);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
