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
  local command="apt-get update && apt-get install --no-install-recommends -y ${missing[*]}"
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

# Prints the requirements of building the library for a variant: openmpi, mpich, or none (no MPI).
build_requirements() {
  printf '%s\n' cc=build-essential c++=build-essential cmake=cmake pkg-config=pkg-config
  case $1 in
    openmpi) printf '%s\n' clang=clang libclang-dev mpicc.openmpi=libopenmpi-dev mpiexec.openmpi=openmpi-bin ;;
    mpich) printf '%s\n' clang=clang libclang-dev mpicc.mpich=libmpich-dev mpiexec.mpich=mpich ;;
    none) ;;
    *) die "there is no MPI called '$1': it is openmpi, mpich or none." ;;
  esac
}

# --- the choice of an MPI ---------------------------------------------------------------------------------------------

# Open MPI refuses root, and more ranks than cores, unless told otherwise. MPICH does not read these.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe

# Prints the CMake arguments that choose the compilers and the launcher of a variant, one a line.
cmake_mpi_arguments() {
  case $1 in none | quick) return 0 ;; esac
  printf '%s\n' "-DMPI_C_COMPILER=mpicc.$1" "-DMPI_CXX_COMPILER=mpicxx.$1" \
    "-DMPIEXEC_EXECUTABLE=$(command -v "mpiexec.$1")"
}

# --- building ---------------------------------------------------------------------------------------------------------

# Everything of a variant lies below build/VARIANT: the CMake build, cargo/, prefix/, and projects built against it.
prefix_of() { printf '%s/build/%s/prefix' "$PWD" "$1"; }

# Builds and installs the library as its README says. Variants: openmpi, mpich, none, quick (a debug build without MPI).
install_library() { # install_library VARIANT
  local variant=$1 arguments
  mapfile -t arguments < <(cmake_mpi_arguments "$variant")
  case $variant in
    none) arguments=(-DDIJITSO_WITH_MPI=OFF) ;;
    # Shares the debug build of `cargo test` without MPI.
    quick)
      arguments=(-DDIJITSO_WITH_MPI=OFF -DDIJITSO_CARGO_PROFILE=dev "-DDIJITSO_CARGO_TARGET_DIR=$PWD/build/none/cargo")
      ;;
  esac
  cmake -S . -B "build/$variant" "${arguments[@]}"
  cmake --build "build/$variant"
  cmake --install "build/$variant" --prefix "$(prefix_of "$variant")"
}

# Configures and builds a project that uses the installed library.
build_project() { # build_project SOURCE_DIR BUILD_DIR VARIANT
  local source_dir=$1 build_dir=$2 variant=$3 arguments
  mapfile -t arguments < <(cmake_mpi_arguments "$variant")
  cmake -S "$source_dir" -B "$build_dir" "-Ddijitso_ROOT=$(prefix_of "$variant")" "${arguments[@]}"
  cmake --build "$build_dir" --parallel 2
}
