//! What a library needs.

use std::ffi::{CString, c_char, c_void};
use std::path::Path;

use crate::elf;

use super::boundary;
use super::convert::{c_string, text};
use super::error::dijitso_error;
use super::status::dijitso_status;
use super::visit::Visitor;

/// The name by which others ask for it (DT_SONAME).
pub const DIJITSO_ELF_SONAME: i32 = 0;
/// A library that it needs (DT_NEEDED).
pub const DIJITSO_ELF_NEEDED: i32 = 1;
/// A directory in which the loader looks for what it needs (DT_RUNPATH, else DT_RPATH).
pub const DIJITSO_ELF_RUNPATH: i32 = 2;
/// The identifier that the linker gave this very build, hexadecimal.
pub const DIJITSO_ELF_BUILD_ID: i32 = 3;

/// What a library says of itself. Later versions may have further fields at the end.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_elf_item {
    /// sizeof(dijitso_elf_item) in the library.
    pub struct_size: usize,
    /// One of the DIJITSO_ELF_ values.
    pub kind: i32,
    /// As the file has it. *Borrowed* for the callback, as the following.
    pub text: *const c_char,
    /// For a needed library: where the loader would find it now, as far as the file, LD_LIBRARY_PATH and the loader's
    /// cache tell; "" if nowhere, and for other kinds.
    pub path: *const c_char,
}

/// Takes one item after the other.
///
/// @param user_data  That of the call.
/// @param item       *Borrowed* for the callback.
/// @return 0 to go on; any other value ends the visit, which is no error.
pub type dijitso_elf_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, item: *const dijitso_elf_item) -> i32>;

/// Passes one item on; whether to go on.
pub(super) fn pass(visitor: &Visitor<dijitso_elf_item>, kind: i32, text: &str, path: Option<&Path>) -> bool {
    let path = path.map_or_else(String::new, |path| path.display().to_string());
    let (text, path): (CString, CString) = (c_string(text), c_string(&path));
    visitor.visit(&dijitso_elf_item {
        struct_size: size_of::<dijitso_elf_item>(),
        kind,
        text: text.as_ptr(),
        path: path.as_ptr(),
    })
}

/// Tells what any shared library needs, from its ELF headers; nothing of it is run, and neither is ldd.
///
/// Its name comes first, then its identifier, its directories in their order, and what it needs in its order. What
/// these need in their turn, asking for them tells.
///
/// @param path       The library: a plain file of at most 4 GiB, or a link to one. *Copied*.
/// @param visitor    Called for each item.
/// @param user_data  Passed to it.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, or DIJITSO_ERROR_CACHE when the file cannot be read or is no
///         ELF file of 64 bits.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_elf_read(
    path: *const c_char,
    visitor: dijitso_elf_fn,
    user_data: *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_elf_read", || {
            let path = text(path, "path")?;
            let visitor = Visitor::new(visitor, user_data)?;
            let facts = elf::read(Path::new(path))?;
            let named = [(DIJITSO_ELF_SONAME, &facts.soname), (DIJITSO_ELF_BUILD_ID, &facts.build_id)];
            let named =
                named.into_iter().filter(|(_, text)| !text.is_empty()).map(|(kind, text)| (kind, text, None));
            let dirs = facts.runpath.iter().map(|dir| (DIJITSO_ELF_RUNPATH, dir, None));
            let needed =
                facts.needed.iter().map(|needed| (DIJITSO_ELF_NEEDED, &needed.name, needed.path.as_deref()));
            // Stops where the visitor says so.
            let _ =
                named.chain(dirs).chain(needed).all(|(kind, text, path)| pass(&visitor, kind, text, path));
            Ok(())
        })
    }
}
