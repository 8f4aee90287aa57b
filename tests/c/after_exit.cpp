// Calls the library at the end of the program: from an exit handler and from a static destructor, which run after the
// exit handlers of the library, and from the destructor of a thread_local variable.
//
// usage: after_exit WORK build|end, each in a new process
#include <dijitso.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <unistd.h>

namespace
{

std::string work;
bool ends = false;
int failures = 0;

void check(bool condition, const std::string& what, const char* when)
{
  if (condition)
    return;
  std::fprintf(stderr, "after_exit.cpp, %s: failed: %s\n", when, what.c_str());
  ++failures;
}

dijitso::params params()
{
  dijitso::params params;
  params.set("cache.cache_dir", work + "/cache");
  params.set("build.cxxflags_opt", "-O0");
  return params;
}

int32_t generate(void* name, const char*, const char*, const char*, dijitso_source* source)
{
  const std::string code = "extern \"C\" int value() { return 42; } // of " + *static_cast<std::string*>(name) + "\n";
  return dijitso_source_set_code(source, code.data(), code.size());
}

// Gets a library, by dijitso_jit or by dijitso_jit_start and dijitso_jit_finish, and returns its origin.
int32_t origin_of(std::string name, bool in_two_parts, const char* when)
{
  dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
  callbacks.user_data = &name;
  callbacks.generate = generate;
  dijitso_library* library = nullptr;
  dijitso_error* error = nullptr;
  const dijitso::params given = params();
  if (in_two_parts)
  {
    dijitso_pending* pending = nullptr;
    if (dijitso_jit_start(name.c_str(), given.handle(), &callbacks, DIJITSO_COMM_NULL, &pending, &error) == DIJITSO_OK)
      dijitso_jit_finish(pending, &library, &error);
  }
  else
    dijitso_jit(name.c_str(), given.handle(), &callbacks, DIJITSO_COMM_NULL, &library, &error);
  check(error == nullptr, error == nullptr ? "" : dijitso_error_message(error), when);
  dijitso_error_free(error);
  const int32_t origin = dijitso_library_origin(library);
  dijitso_fn value = nullptr;
  check(dijitso_library_symbol(library, "value", &value, nullptr) == DIJITSO_OK, "the symbol is found", when);
  check(value == nullptr || reinterpret_cast<int (*)()>(value)() == 42, "the function works", when);
  dijitso_library_free(library);
  return origin;
}

void call_everything(const char* when)
{
  if (!ends)
    return;
  const std::string cold = std::string("cold_") + when;
  check(origin_of("before", false, when) == DIJITSO_ORIGIN_MEMORY, "a memory hit", when);
  check(origin_of("on_disk", false, when) <= DIJITSO_ORIGIN_DISK, "a disk hit", when);
  check(origin_of(cold, false, when) == DIJITSO_ORIGIN_BUILT, "a library is built", when);
  check(origin_of(cold + "_in_two", true, when) == DIJITSO_ORIGIN_BUILT, "a library is built by start and finish", when);
  check(origin_of(cold, true, when) == DIJITSO_ORIGIN_MEMORY, "a memory hit after a build", when);
  dijitso_error* error = nullptr;
  dijitso_library* library = nullptr;
  const dijitso::params given = params();
  const dijitso_status status
      = dijitso_jit("missing", given.handle(), nullptr, DIJITSO_COMM_NULL, &library, &error);
  check(status == DIJITSO_ERROR_INVALID_ARGUMENT, dijitso_error_message(error), when);
  dijitso_error_free(error);
  check(dijitso_log_set_level(DIJITSO_LOG_INFO, nullptr) == DIJITSO_OK, "the level is set", when);
  int entries = 0;
  dijitso::cache::list(given, [&](const dijitso_entry&) { ++entries; });
  check(entries >= 4, "the cache is listed", when);
}

struct at_end
{
  const char* when;
  ~at_end()
  {
    call_everything(when);
    // The only way for an exit handler to change the exit status.
    if (failures > 0)
      _exit(1);
  }
};

// Constructed before the first call of the library, so destroyed after its exit handlers have run.
at_end static_object{"static_destructor"};

} // namespace

int main(int argc, char** argv)
{
  work = argc > 1 ? argv[1] : ".";
  // Also registered before the first call.
  std::atexit([] { call_everything("exit_handler"); });
  ends = argc > 2 && std::string(argv[2]) == "end";
  if (!ends)
    return origin_of("on_disk", false, "main") == DIJITSO_ORIGIN_BUILT ? 0 : 1;
  check(origin_of("before", false, "main") == DIJITSO_ORIGIN_BUILT, "a library is built", "main");
  std::thread([] {
    // Constructed before the library's thread_local variables, so destroyed after them.
    thread_local at_end of_thread{"thread_destructor"};
    (void)of_thread.when;
    origin_of("before", false, "thread");
  }).join();
  return failures;
}
