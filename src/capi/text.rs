//! Calls that give the source text itself: no callback, and no name that has to stand for it.

use std::ffi::c_char;
use std::ptr;

use crate::error::Result;
use crate::jit::{Callbacks, Request};
use crate::signature::{SourceText, check_signature};

use super::boundary;
use super::comm::MPI_Comm;
use super::convert::{self, bytes, handle_output, invalid, reference, structure, texts};
use super::error::dijitso_error;
use super::jit::jit;
use super::library::dijitso_library;
use super::params::{dijitso_params, resolved};
use super::status::dijitso_status;

/// A text for dijitso_jit_text(). Initialise it by DIJITSO_TEXT_INIT and set what you need. All of it is
/// *borrowed* for the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_text {
    /// sizeof(dijitso_text)
    pub struct_size: usize,
    /// C or C++, as build.language says; any bytes. May be NULL if code_length is 0.
    pub code: *const c_char,
    /// Bytes of code.
    pub code_length: usize,
    /// A header that code and dependants may include as "SIGNATURE.h"; NULL for none.
    pub header: *const c_char,
    /// Bytes of header.
    pub header_length: usize,
    /// Signatures of libraries to link to, see dijitso_library_signature(); NULL for none.
    pub dependencies: *const *const c_char,
    /// Number of dependencies.
    pub dependency_count: usize,
}

/// Returns the library of a source text: from memory, from the disk cache, or compiled now.
///
/// It is dijitso_jit() with a generate callback that sets this text, but the text is part of the signature:
/// code, header, and all that the build depends on. Another text is another library. That holds with
/// cache.signature "name" too: the signature is then the name and a hash of the text. No callback is called.
/// Within a generate callback the call is local to the builder, as dijitso_jit() is.
///
/// With a communicator every rank passes the text, and that of the builder is compiled. If ranks pass
/// different texts, all return DIJITSO_ERROR_RANKS_DISAGREE.
///
/// @param name            Used in file names and messages; as for dijitso_jit(). Equal names with different
///                        texts are different libraries. *Copied*.
/// @param params          *Borrowed* for the call; NULL for the defaults.
/// @param code            C or C++, as build.language says; any bytes. *Borrowed* for the call. May be NULL
///                        if code_length is 0.
/// @param code_length     Bytes, without a terminating NUL.
/// @param header_or_null  A header that code and dependants may include as "SIGNATURE.h". *Borrowed* for the
///                        call; NULL for none.
/// @param header_length   Bytes; 0 if there is no header.
/// @param comm            As for dijitso_jit().
/// @param library_out     Receives the library, *owned* by the caller, freed by dijitso_library_free().
/// @param error_out       Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK or any status.
/// @collective over comm  @threads as dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_jit_source(
    name: *const c_char,
    params: *const dijitso_params,
    code: *const c_char,
    code_length: usize,
    header_or_null: *const c_char,
    header_length: usize,
    comm: MPI_Comm,
    library_out: *mut *mut dijitso_library,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_jit_source", || {
            let text = dijitso_text { code, code_length, header: header_or_null, header_length, ..NO_TEXT };
            jit_text(name, params, &raw const text, comm, library_out)
        })
    }
}

/// Does dijitso_jit_source() for a text that is linked to other libraries of the cache.
///
/// @param name         As for dijitso_jit_source(). *Copied*.
/// @param params       *Borrowed* for the call; NULL for the defaults.
/// @param text         *Borrowed* for the call.
/// @param comm         As for dijitso_jit().
/// @param library_out  Receives the library, *owned* by the caller, freed by dijitso_library_free().
/// @param error_out    Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK or any status.
/// @collective over comm  @threads as dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_jit_text(
    name: *const c_char,
    params: *const dijitso_params,
    text: *const dijitso_text,
    comm: MPI_Comm,
    library_out: *mut *mut dijitso_library,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_jit_text", || jit_text(name, params, text, comm, library_out))
    }
}

const NO_TEXT: dijitso_text = dijitso_text {
    struct_size: size_of::<dijitso_text>(),
    code: ptr::null(),
    code_length: 0,
    header: ptr::null(),
    header_length: 0,
    dependencies: ptr::null(),
    dependency_count: 0,
};

/// The checked fields of a text.
struct Parts<'a> {
    code: &'a [u8],
    header: Option<&'a [u8]>,
    dependencies: Vec<&'a str>,
}

/// # Safety
/// The arguments are those of `dijitso_jit_text`.
unsafe fn jit_text(
    name: *const c_char,
    params: *const dijitso_params,
    text: *const dijitso_text,
    comm: MPI_Comm,
    library_out: *mut *mut dijitso_library,
) -> Result<()> {
    // An argument that is bad on this rank alone must not keep it away from the others.
    // SAFETY: promised by the caller.
    let arguments = unsafe {
        handle_output(library_out, "library_out").and_then(|library_out| {
            Ok((library_out, convert::text(name, "name")?, resolved(params)?, read(text)?))
        })
    };
    let read = arguments.as_ref().map_err(Clone::clone).map(|(_, name, params, parts)| {
        let text = SourceText { code: parts.code, header: parts.header, dependencies: &parts.dependencies };
        (*name, params.with_text(text.digest()), text)
    });
    let request = match &read {
        Ok((name, params, _)) => Ok(Request { name, params }),
        Err(error) => Err(error.clone()),
    };
    let text = read.as_ref().map_or_else(|_| SourceText::default(), |(.., text)| *text);
    let library = jit(request, &mut Callbacks::of_text(text), comm)?;
    // A call that succeeded had good arguments on every rank.
    let (library_out, ..) = arguments?;
    *library_out = dijitso_library::handle(library);
    Ok(())
}

/// Checks the fields of a text.
///
/// # Safety
/// `text` is NULL, or has `struct_size` bytes whose pointers are as the header says for `'a`.
unsafe fn read<'a>(text: *const dijitso_text) -> Result<Parts<'a>> {
    // SAFETY: promised by the caller.
    unsafe {
        let text = structure(reference(text, "text")?, NO_TEXT, "text")?;
        if text.header.is_null() && text.header_length > 0 {
            return Err(invalid(format!("the header is NULL and has {} bytes", text.header_length)));
        }
        let header = bytes(text.header, text.header_length, "the header")?;
        let dependencies = texts(text.dependencies, text.dependency_count, "dependencies")?;
        dependencies.iter().try_for_each(|signature| check_signature(signature))?;
        Ok(Parts {
            code: bytes(text.code, text.code_length, "the code")?,
            header: (!text.header.is_null()).then_some(header),
            dependencies,
        })
    }
}
