# -*- shell-script -*-
# SPDX-License-Identifier: MIT OR Apache-2.0

# OMPI_MPIEXT_dijitso_CONFIG([action-if-built], [action-if-not-built])
#
# The macro OMPI_MPIEXT_dijitso_NEED_INIT is not defined: MPI_Init has nothing to do for this extension.
AC_DEFUN([OMPI_MPIEXT_dijitso_CONFIG],[
    AC_CONFIG_FILES([ompi/mpiext/dijitso/Makefile])
    AC_CONFIG_FILES([ompi/mpiext/dijitso/c/Makefile])
    AC_CONFIG_FILES([ompi/mpiext/dijitso/mpif-h/Makefile])
    AC_CONFIG_FILES([ompi/mpiext/dijitso/use-mpi/Makefile])
    AC_CONFIG_FILES([ompi/mpiext/dijitso/use-mpi-f08/Makefile])

    # Nothing is checked here. The library is looked for when a program makes its first call.
    AC_ARG_WITH([dijitso],
        [AS_HELP_STRING([--with-dijitso=DIR],
            [Look for libdijitso in DIR, DIR/lib and DIR/lib64 at run time, before the default search of the loader])])
    AS_CASE([$with_dijitso],
        [yes|no|""], [ompi_dijitso_dir=],
        [ompi_dijitso_dir=$with_dijitso])
    AC_SUBST([ompi_dijitso_dir])

    AS_IF([test "$ENABLE_dijitso" = "1" || test "$ENABLE_EXT_ALL" = "1"],
          [$1],
          [$2])
])
