//! The ELF headers of a library.

use std::ffi::{c_char, c_void};
use std::path::Path;

use crate::elf;

use super::boundary;
use super::convert::{c_string, path_text, text};
use super::error::dijitso_error;
use super::status::dijitso_status;
use super::visit::Visitor;

/// The name by which others ask for it (DT_SONAME).
pub const DIJITSO_ELF_SONAME: i32 = 0;
/// A library that it needs (DT_NEEDED).
pub const DIJITSO_ELF_NEEDED: i32 = 1;
/// A directory in which the loader searches (DT_RUNPATH, else DT_RPATH).
pub const DIJITSO_ELF_RUNPATH: i32 = 2;
/// The linker's identifier of this build, hexadecimal.
pub const DIJITSO_ELF_BUILD_ID: i32 = 3;

/// A fact about a library.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_elf_item {
    /// sizeof(dijitso_elf_item) in the library
    pub struct_size: usize,
    /// One of the DIJITSO_ELF_ values.
    pub kind: i32,
    /// The value in the file. *Borrowed* for the callback, like path.
    pub text: *const c_char,
    /// Of a needed library: where the loader would find it now, as far as the file, LD_LIBRARY_PATH and the
    /// loader's cache tell. "" if nowhere, and for other kinds.
    pub path: *const c_char,
}

/// Visits the facts about a library; see VISITORS in the manual.
pub type dijitso_elf_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, item: *const dijitso_elf_item) -> i32>;

/// Shows one item. Returns true if the visit goes on.
pub(super) fn visit(visitor: &Visitor<dijitso_elf_item>, kind: i32, text: &str, path: Option<&Path>) -> bool {
    let (text, path) = (c_string(text), path_text(path.unwrap_or(Path::new(""))));
    visitor.visit(&dijitso_elf_item {
        struct_size: size_of::<dijitso_elf_item>(),
        kind,
        text: text.as_ptr(),
        path: path.as_ptr(),
    })
}

/// Lists what any shared library needs, from its ELF headers. Neither the library nor ldd is run.
///
/// The SONAME comes first, then the build id, the directories in their order, and the needed libraries in
/// their order. What those need in their turn is not listed.
///
/// @param path       The library: a plain file of at most 4 GiB, or a link to one. *Copied*.
/// @param visitor    Called for each item.
/// @param user_data  Passed to it.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, or DIJITSO_ERROR_CACHE if the file cannot be read or
///         is no 64-bit ELF file.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_elf_read(
    path: *const c_char,
    visitor: dijitso_elf_fn,
    user_data: *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_elf_read", || {
            let path = text(path, "path")?;
            let visitor = Visitor::new(visitor, user_data)?;
            let headers = elf::read(Path::new(path))?;
            let named = [(DIJITSO_ELF_SONAME, &headers.soname), (DIJITSO_ELF_BUILD_ID, &headers.build_id)];
            let named = named.into_iter().filter(|(_, text)| !text.is_empty());
            let dirs = headers.runpath.iter().map(|dir| (DIJITSO_ELF_RUNPATH, dir));
            let items = named.chain(dirs).map(|(kind, text)| (kind, text, None));
            let needed = headers.needed.iter();
            let needed = needed.map(|needed| (DIJITSO_ELF_NEEDED, &needed.name, needed.path.as_deref()));
            let _ = items.chain(needed).all(|(kind, text, path)| visit(&visitor, kind, text, path));
            Ok(())
        })
    }
}
