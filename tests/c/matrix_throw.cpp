#include "matrix.h"

#include <dijitso.hpp>

#include <cstdio>
#include <stdexcept>

static thrown caught(thrown_kind kind, dijitso_status status, const char *message)
{
    thrown result{kind, status, ""};
    std::snprintf(result.message, sizeof result.message, "%s", message);
    return result;
}

thrown jit_throwing(const char *name, const char *cache_dir, const char *compiler, const char *strategy, MPI_Comm comm)
{
    try {
        const dijitso::params params{{"cache.cache_dir", cache_dir},     {"build.language", "c"},
                                     {"build.cc", compiler},             {"build.cflags_opt", "-O0"},
                                     {"parallel.buildon", strategy},     {"build.cxxflags_opt", "-O0"}};
        dijitso::jit(name, params, [](dijitso::source &) { throw std::runtime_error("thrown on purpose"); }, comm);
        return caught(THROWN_NOTHING, DIJITSO_OK, "");
    } catch (const dijitso::error &error) {
        return caught(THROWN_BY_DIJITSO, static_cast<dijitso_status>(error.status()), error.what());
    } catch (const std::runtime_error &error) {
        return caught(THROWN_BY_GENERATE, DIJITSO_OK, error.what());
    }
}
