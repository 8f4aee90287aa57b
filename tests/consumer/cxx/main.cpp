// Header, wrapper and library of one installation; the wrong key shows that errors of the library arrive.
#include <dijitso.hpp>
#include <iostream>

int main()
{
  std::cout << "dijitso " << dijitso_version() << ", MPI: " << (DIJITSO_HAVE_MPI ? "yes" : "no") << '\n';
  dijitso_params* params = nullptr;
  if (dijitso_params_new(&params, nullptr) != DIJITSO_OK)
    return 1;
  const dijitso_status status = dijitso_params_set(params, "build.no_such_key", "1", nullptr);
  dijitso_params_free(params);
  return status == DIJITSO_ERROR_PARAMS ? 0 : 1;
}
