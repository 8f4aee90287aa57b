// Compiles the C header alone, as strict C++17.
#include <dijitso.h>

dijitso_callbacks header_cxx17_callbacks = DIJITSO_CALLBACKS_INIT;
static_assert(sizeof(dijitso_status) == 4, "a status is an int32_t or an enum of its size");
