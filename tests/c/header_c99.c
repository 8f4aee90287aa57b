/* Compiles the header alone, as strict C99. */
#include <dijitso.h>

dijitso_callbacks header_c99_callbacks = DIJITSO_CALLBACKS_INIT;
dijitso_status header_c99_status = DIJITSO_OK;
