//! Finds the MPI of the process, at the first call with a communicator.
//!
//! Looked at in turn: a table of functions that the program has handed over; the symbols of the program and its
//! libraries; loaded libraries called libmpi*, because Python loads MPI out of the sight of others; the library
//! that `DIJITSO_MPI_LIB` names, which is loaded if the process has no MPI. An MPI that is initialised goes
//! before one that is not.

use std::ffi::{CStr, c_int, c_void};
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY, RTLD_NOW};

use crate::error::{Error, Kind, Result};
use crate::sync::lock;

use super::abi::{
    Constants, FUNCTION_NAMES, Family, FortranIntegers, Functions, Handle, MPICH, STANDARD, STATUS_SIZE,
    open_mpi,
};

/// The environment variable that names the library of MPI.
pub(super) const LIBRARY_VARIABLE: &str = "DIJITSO_MPI_LIB";

/// The MPI of the process.
pub(super) struct Mpi {
    pub(super) family: Family,
    pub(super) constants: Constants,
    pub(super) functions: Functions,
    pub(super) fortran: Option<FortranIntegers>,
    /// The place where it was found, for people.
    pub(super) place: String,
    /// The address of `MPI_Initialized`: one library may be found in several ways.
    address: usize,
}

impl Mpi {
    /// Returns the datatype of bytes.
    pub(super) fn uint8(&self) -> Handle {
        Handle(self.constants.uint8)
    }

    /// Returns the address that stands for no status.
    pub(super) fn status_ignore(&self) -> *mut c_void {
        self.constants.status_ignore as *mut c_void
    }
}

/// The `mpi.h` that a part of the program was compiled with.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// Its family.
    pub family: Family,
    /// Its constants, if they are known without a library.
    pub constants: Option<Constants>,
    /// Bytes of a communicator.
    pub handle_size: usize,
    /// The addresses of [`FUNCTION_NAMES`], or none.
    pub functions: Option<Vec<usize>>,
}

fn declarations() -> std::sync::MutexGuard<'static, Vec<Declaration>> {
    static DECLARATIONS: Mutex<Vec<Declaration>> = Mutex::new(Vec::new());
    lock(&DECLARATIONS)
}

/// Takes the `mpi.h` that a part of the program was compiled with.
///
/// # Errors
/// [`Kind::InvalidArgument`] for sizes that no MPI has, or if it describes an MPI after another has been used.
pub fn declare(declaration: Declaration) -> Result<()> {
    let bad = |text: &str| Err(Error::new(Kind::InvalidArgument, text));
    if ![4, 8].contains(&declaration.handle_size) {
        return bad("handles of MPI have 4 or 8 bytes");
    }
    if let Some(constants) = declaration.constants
        && (constants.status_size > STATUS_SIZE || constants.source_offset + 4 > constants.status_size)
    {
        return bad("this is no layout of an MPI_Status");
    }
    if declaration.functions.is_some() {
        if declaration.constants.is_none() {
            return bad("a table of functions needs the constants of its MPI");
        }
        if FOUND.get().is_some() {
            return bad(
                "a communicator has been used already: hand over the table of MPI before the first call",
            );
        }
    }
    let mut declarations = declarations();
    // Each file of a program declares the same.
    if declaration.functions.is_some() || declarations.iter().all(|other| other.family != declaration.family)
    {
        declarations.push(declaration);
    }
    Ok(())
}

static FOUND: OnceLock<Mpi> = OnceLock::new();

/// Returns the MPI that [`find`] has found.
///
/// # Panics
/// If none was found. A call that has a communicator has found it.
pub(super) fn mpi() -> &'static Mpi {
    FOUND.get().expect("a communicator of MPI was used before")
}

/// Returns the bytes of a handle and the null communicator, as far as they are known without an error.
pub(super) fn handles() -> (usize, usize) {
    if let Ok(mpi) = find() {
        return (mpi.constants.handle_size, mpi.constants.comm_null);
    }
    let declarations = declarations();
    let null = |it: &Declaration| match it.family {
        Family::Mpich => MPICH.comm_null,
        Family::Standard => STANDARD.comm_null,
        Family::OpenMpi | Family::Other => it.constants.map_or(0, |constants| constants.comm_null),
    };
    declarations.first().map_or((8, 0), |first| (first.handle_size, null(first)))
}

/// Returns the MPI of the process.
///
/// # Errors
/// [`Kind::State`] if there is none, with all that was looked for. [`Kind::Mpi`] if it is not the one that the
/// program was compiled for.
pub(super) fn find() -> Result<&'static Mpi> {
    if let Some(found) = FOUND.get() {
        return Ok(found);
    }
    let mpi = look(|| named_library(false))?;
    Ok(FOUND.get_or_init(|| mpi))
}

/// Does as [`find`]; if the process has no MPI, the first library of `names` that can be loaded is loaded.
///
/// # Errors
/// Those of [`find`].
pub(super) fn find_or_load(names: impl FnOnce() -> Vec<String>) -> Result<&'static Mpi> {
    if let Some(found) = FOUND.get() {
        return Ok(found);
    }
    let mpi = look(|| {
        if let Some(named) = named_library(true)? {
            return Ok(Some(named));
        }
        Ok(names().iter().find_map(|name| open(name, RTLD_NOW | RTLD_GLOBAL).ok()))
    })?;
    Ok(FOUND.get_or_init(|| mpi))
}

/// A library in which MPI may be, and its name for people.
struct MpiLibrary {
    library: Library,
    place: String,
}

fn open(name: &str, flags: c_int) -> std::result::Result<MpiLibrary, libloading::Error> {
    // SAFETY: the initialisers of a library of MPI may run; with RTLD_NOLOAD they have run.
    let library = unsafe { Library::open(Some(name), flags) }?;
    Ok(MpiLibrary { library, place: name.to_owned() })
}

/// Opens the library that the environment names. Its initialisers make no communicator: in a process that has
/// no MPI it serves calls that begin MPI themselves.
fn named_library(must_load: bool) -> Result<Option<MpiLibrary>> {
    let Some(name) = std::env::var_os(LIBRARY_VARIABLE).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let name = name.to_string_lossy().into_owned();
    let flags = RTLD_NOW | if must_load { RTLD_GLOBAL } else { 0 };
    open(&name, flags).map(Some).map_err(|error| {
        use std::error::Error as _;
        let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        Error::new(Kind::State, format!("{LIBRARY_VARIABLE} names {name}, which cannot be loaded: {reason}"))
    })
}

fn look(load: impl FnOnce() -> Result<Option<MpiLibrary>>) -> Result<Mpi> {
    let declared = declarations().clone();
    if let Some(table) = declared.iter().find(|declaration| declaration.functions.is_some()) {
        return of_table(table);
    }
    let mut found: Vec<Mpi> = Vec::new();
    let mut problems = Vec::new();
    let mut take = |candidate: MpiLibrary| match of_library(candidate) {
        Ok(Some(mpi)) if found.iter().all(|other| other.address != mpi.address) => found.push(mpi),
        Ok(_) => {}
        Err(problem) => problems.push(problem),
    };
    take(MpiLibrary { library: Library::this(), place: "the program and its libraries".to_owned() });
    loaded_libraries().into_iter().for_each(&mut take);
    if found.is_empty()
        && problems.is_empty()
        && let Some(candidate) = load()?
    {
        match of_library(candidate) {
            Ok(Some(mpi)) => found.push(mpi),
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    let fits = |mpi: &Mpi| {
        declared.is_empty() || declared.iter().any(|declaration| declaration.family == mpi.family)
    };
    // The first of the best: in use, then of the family that the program was compiled for.
    let rank = |mpi: &Mpi| (!is_in_use(mpi), !fits(mpi));
    let best = (0..found.len()).min_by_key(|index| rank(&found[*index]));
    if found.len() > 1 && !found.iter().any(is_in_use) {
        let places: Vec<&str> = found.iter().map(|mpi| mpi.place.as_str()).collect();
        let text = format!(
            "this process has several MPIs, and none of them is initialised ({}): call MPI_Init first, or pass the \
             null communicator",
            places.join(", ")
        );
        return Err(Error::new(Kind::State, text));
    }
    let Some(mpi) = best.map(|index| found.swap_remove(index)) else { return Err(nothing_found(&problems)) };
    if fits(&mpi) {
        return Ok(mpi);
    }
    let families: Vec<&str> = declared.iter().map(|declaration| declaration.family.name()).collect();
    let text = format!(
        "this program was compiled with the mpi.h of {}, and the MPI of this process is {} ({}): compile and link \
         the program with one MPI, and start it with the mpiexec of that MPI",
        families.join(" and of "),
        mpi.family.name(),
        mpi.place
    );
    Err(Error::new(Kind::Mpi, text))
}

fn nothing_found(problems: &[String]) -> Error {
    let named = std::env::var_os(LIBRARY_VARIABLE)
        .map_or_else(|| "is not set".to_owned(), |name| format!("is {}", name.to_string_lossy()));
    let mut text = format!(
        "this process has no MPI whose communicators could be used: the program and its libraries have no symbol \
         MPI_Initialized, no library called libmpi* is loaded, and {LIBRARY_VARIABLE} {named}; link the program \
         with MPI, or pass the null communicator"
    );
    for problem in problems {
        text += "; ";
        text += problem;
    }
    Error::new(Kind::State, text)
}

/// Tells if an MPI has been initialised, also if it has been finalised since.
fn is_in_use(mpi: &Mpi) -> bool {
    let mut flag: c_int = 0;
    // SAFETY: may be called at any time, with a pointer to an int.
    unsafe { mpi.functions.initialized(&raw mut flag) };
    flag != 0
}

/// Checks that MPI is initialised and not finalised.
///
/// # Errors
/// [`Kind::State`] otherwise.
pub(super) fn check_running(mpi: &Mpi) -> Result<()> {
    if !is_in_use(mpi) {
        let text = "MPI is not initialised: call MPI_Init first, or pass the null communicator";
        return Err(Error::new(Kind::State, text));
    }
    let mut finalised: c_int = 0;
    // SAFETY: may be called at any time, with a pointer to an int.
    unsafe { mpi.functions.finalized(&raw mut finalised) };
    if finalised != 0 {
        return Err(Error::new(Kind::State, "MPI is already finalised: pass the null communicator"));
    }
    Ok(())
}

/// Returns the MPI of a table that the program has handed over.
fn of_table(table: &Declaration) -> Result<Mpi> {
    let addresses = table.functions.as_deref().unwrap_or_default();
    let address = |name: &str| {
        let index = FUNCTION_NAMES.iter().position(|other| *other == name)?;
        addresses.get(index).copied().filter(|address| *address != 0)
    };
    // SAFETY: the program says that they are these functions.
    let functions = unsafe { Functions::find(address) }.map_err(|name| {
        Error::new(Kind::Mpi, format!("the table of MPI that the program has handed over has no {name}"))
    })?;
    let constants = table.constants.ok_or_else(|| Error::new(Kind::Mpi, "a table without constants"))?;
    // SAFETY: no function is found, as a table has none of these.
    let fortran = unsafe { FortranIntegers::find(constants.handle_size, |_| None) };
    let place = "a table that the program has handed over".to_owned();
    Ok(Mpi { family: table.family, constants, functions, fortran, place, address: 0 })
}

/// Returns the MPI of a library; `None` if it has none.
fn of_library(candidate: MpiLibrary) -> std::result::Result<Option<Mpi>, String> {
    let MpiLibrary { library, place } = candidate;
    let Some(probe) = address_of(&library, "MPI_Initialized") else { return Ok(None) };
    // A variable of the library may have been copied into the program, which is asked first.
    let global = Library::this();
    let variable = |name: &'static str| address_of(&global, name).or_else(|| address_of(&library, name));
    // The library itself tells its family: the program may have symbols of another MPI as well. Tools wrap the
    // functions MPI_*, and not PMPI_*.
    let file = address_of(&library, "PMPI_Initialized").and_then(file_of);
    let own = file.and_then(|file| open(&file, RTLD_LAZY | libc::RTLD_NOLOAD).ok());
    let own = own.as_ref().map_or(&library, |own| &own.library);
    let (family, constants) = if has_standard_abi(own) {
        (Family::Standard, STANDARD)
    } else if address_of(own, "ompi_mpi_comm_world").is_some() {
        let constants = open_mpi(variable).map_err(|name| format!("{place} has no {name}"))?;
        (Family::OpenMpi, constants)
    } else {
        (Family::Mpich, MPICH)
    };
    // SAFETY: the names are those of MPI, in a library of MPI.
    let functions = unsafe { Functions::find(|name| address_of(&library, name)) }
        .map_err(|name| format!("{place} has no function {name}"))?;
    // SAFETY: as above.
    let fortran = unsafe { FortranIntegers::find(constants.handle_size, |name| address_of(&library, name)) };
    let place = file_of(probe).unwrap_or(place);
    // Its functions are called until the process ends.
    std::mem::forget(library);
    Ok(Some(Mpi { family, constants, functions, fortran, place, address: probe }))
}

fn address_of(library: &Library, name: &str) -> Option<usize> {
    // SAFETY: only the address is taken.
    let symbol = unsafe { library.get::<*const c_void>(name.as_bytes()) }.ok()?;
    Some(symbol.as_raw_ptr() as usize).filter(|address| *address != 0)
}

/// Tells if a library has the standard ABI: others lack the function, or answer -1.
fn has_standard_abi(library: &Library) -> bool {
    let Some(address) = address_of(library, "MPI_Abi_get_version") else { return false };
    let (mut major, mut minor): (c_int, c_int) = (0, 0);
    // SAFETY: the function of this name in MPI 5, which may be called at any time.
    let code = unsafe {
        let ask: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int = std::mem::transmute(address);
        ask(&raw mut major, &raw mut minor)
    };
    code == 0 && major > 0
}

/// Returns the path of the library that has an address.
fn file_of(address: usize) -> Option<String> {
    // SAFETY: the structure is plain data, which dladdr fills in.
    let mut information: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: a pointer to a local; any address may be asked for.
    let found = unsafe { libc::dladdr(address as *const c_void, &raw mut information) };
    if found == 0 || information.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the name of a loaded object, which ends with a zero.
    Some(unsafe { CStr::from_ptr(information.dli_fname) }.to_string_lossy().into_owned())
}

/// Opens the loaded libraries whose file names begin like those of MPI.
fn loaded_libraries() -> Vec<MpiLibrary> {
    unsafe extern "C" fn visit(object: *mut libc::dl_phdr_info, _size: usize, names: *mut c_void) -> c_int {
        // SAFETY: the loader passes a valid object, and the vector below.
        let (name, names) = unsafe { ((*object).dlpi_name, &mut *names.cast::<Vec<String>>()) };
        if !name.is_null() {
            // SAFETY: a string of the loader, which ends with a zero.
            let path = unsafe { CStr::from_ptr(name) }.to_string_lossy();
            let file =
                Path::new(path.as_ref()).file_name().unwrap_or_default().to_string_lossy().into_owned();
            if file.starts_with("libmpi") || file.starts_with("libpmpi") {
                names.push(path.into_owned());
            }
        }
        0
    }
    let mut names: Vec<String> = Vec::new();
    // SAFETY: the callback gets the vector, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut names).cast()) };
    names.iter().filter_map(|name| open(name, RTLD_LAZY | libc::RTLD_NOLOAD).ok()).collect()
}

/// Returns the communicator of an integer of Fortran; `None` if this MPI has no such function.
pub(super) fn of_fortran(mpi: &Mpi, integer: i32) -> Option<Handle> {
    Some(match mpi.fortran? {
        FortranIntegers::Same => Handle(mpi.constants.mask(integer as usize)),
        // SAFETY: MPI gives the null communicator for an integer that it does not know.
        FortranIntegers::By { to_handle, .. } => unsafe { to_handle(integer) },
    })
}

/// Returns the integer of Fortran of a communicator; `None` if this MPI has no such function.
pub(super) fn to_fortran(mpi: &Mpi, comm: Handle) -> Option<i32> {
    Some(match mpi.fortran? {
        FortranIntegers::Same => comm.0 as i32,
        // SAFETY: a communicator of this MPI.
        FortranIntegers::By { to_integer, .. } => unsafe { to_integer(comm) },
    })
}
