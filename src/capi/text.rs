//! Calls that give the text itself: no callback, and no name that has to stand for what it is about.

use std::ffi::c_char;

use crate::error::{Error, Kind, Result};
use crate::jit::{Callbacks, Request};
use crate::params::resolved::Resolved;
use crate::signature::{Text, check_signature};

use super::boundary;
use super::convert::{bytes, output, reference, structure, text, texts};
use super::defaults::defaults;
use super::error::dijitso_error;
use super::jit::{MPI_Comm, jit};
use super::library::dijitso_library;
use super::params::dijitso_params;
use super::status::dijitso_status;

/// A text for dijitso_jit_text(). Initialise it by DIJITSO_TEXT_INIT and set what you need; all of it is *borrowed* for
/// the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_text {
    /// sizeof(dijitso_text), by which an older or newer library knows which fields are there.
    pub struct_size: usize,
    /// The source code, C or C++ as build.language says; any bytes. May be NULL when code_length is 0.
    pub code: *const c_char,
    /// Bytes of it.
    pub code_length: usize,
    /// A header that code and dependants may include as "SIGNATURE.h"; NULL for none.
    pub header: *const c_char,
    /// Bytes of it.
    pub header_length: usize,
    /// Signatures of libraries to be linked to, see dijitso_library_signature(); NULL for none.
    pub dependencies: *const *const c_char,
    /// How many.
    pub dependency_count: usize,
}

/// Gives the library of a text, with a communicator or without: compiled the first time that this text is asked for,
/// else from memory or the disk cache.
///
/// As dijitso_jit() with a generate callback that hands over this text, but the text is part of the signature: code,
/// header, and all that the build depends on. Another text is another library, also with cache.signature = "name",
/// where the signature is the name and a hash of the text. No callback is called; within a generate callback the
/// call is local to the builder, as dijitso_jit() is.
///
/// With a communicator every rank passes the text, and it is that of the builder that is compiled. If ranks pass
/// different texts, all return DIJITSO_ERROR_RANKS_DISAGREE.
///
/// @param name            What files and messages are called by: as for dijitso_jit(). Equal names with different texts
///                        are different libraries. *Copied*.
/// @param params          *Borrowed* for the call; NULL for the defaults, the config file and the environment.
/// @param code            C or C++, as build.language says; any bytes. *Borrowed* for the call. May be NULL when
///                        code_length is 0.
/// @param code_length     Bytes, without a terminating NUL.
/// @param header_or_null  A header that code and dependants may include as "SIGNATURE.h". *Borrowed* for the call. NULL
///                        for none.
/// @param header_length   Bytes of it; 0 when it is NULL.
/// @param comm            As for dijitso_jit().
/// @param library_out     Receives the library, *owned* by the caller, freed by dijitso_library_free().
/// @param error_out       Receives an error, *owned* by the caller, freed by dijitso_error_free(); may be NULL.
/// @return DIJITSO_OK or any status; see the codes.
/// @collective over comm  @threads as for dijitso_jit()  @since 0.1.0
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
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_jit_source", || {
            let given = dijitso_text { code, code_length, header: header_or_null, header_length, ..NO_TEXT };
            call(name, params, &raw const given, comm, library_out)
        })
    }
}

/// As dijitso_jit_source(), for a text that is linked to other libraries of the cache.
///
/// @param name         As for dijitso_jit_source(). *Copied*.
/// @param params       *Borrowed* for the call; NULL for the defaults, the config file and the environment.
/// @param text         *Borrowed* for the call.
/// @param comm         As for dijitso_jit().
/// @param library_out  Receives the library, *owned* by the caller, freed by dijitso_library_free().
/// @param error_out    Receives an error, *owned* by the caller, freed by dijitso_error_free(); may be NULL.
/// @return DIJITSO_OK or any status; see the codes.
/// @collective over comm  @threads as for dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_jit_text(
    name: *const c_char,
    params: *const dijitso_params,
    text: *const dijitso_text,
    comm: MPI_Comm,
    library_out: *mut *mut dijitso_library,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe { boundary::status(error_out, "dijitso_jit_text", || call(name, params, text, comm, library_out)) }
}

const NO_TEXT: dijitso_text = dijitso_text {
    struct_size: size_of::<dijitso_text>(),
    code: std::ptr::null(),
    code_length: 0,
    header: std::ptr::null(),
    header_length: 0,
    dependencies: std::ptr::null(),
    dependency_count: 0,
};

/// What a text consists of, checked.
struct Parts<'a> {
    code: &'a [u8],
    header: Option<&'a [u8]>,
    dependencies: Vec<&'a str>,
}

/// # Safety
/// The arguments of `dijitso_jit_text`.
unsafe fn call(
    name: *const c_char,
    params: *const dijitso_params,
    given: *const dijitso_text,
    comm: MPI_Comm,
    library_out: *mut *mut dijitso_library,
) -> Result<()> {
    // SAFETY: promised by the caller.
    let library_out = unsafe { output(library_out, std::ptr::null_mut(), "library_out") };
    // An argument that is bad on this rank alone must not keep it away from the others.
    let arguments = library_out.and_then(|library_out| {
        // SAFETY: promised by the caller.
        let (name, params, parts) = unsafe { (text(name, "name")?, params.as_ref(), read(given)?) };
        let params = params.map_or_else(defaults, dijitso_params::resolved)?;
        Ok((library_out, name, params, parts))
    });
    let read = arguments.as_ref().map(|(_, name, params, parts)| {
        let text = Text { code: parts.code, header: parts.header, dependencies: &parts.dependencies };
        (*name, params.with_text(text.digest()), text)
    });
    let request: Result<(&str, &Resolved)> = match &read {
        Ok((name, params, _)) => Ok((name, params)),
        Err(error) => Err((*error).clone()),
    };
    let request = request.map(|(name, params)| Request { name, params });
    let text = read.as_ref().map_or_else(|_| Text::default(), |(.., text)| *text);
    let library = jit(request, &mut Callbacks::of_text(text), comm)?;
    // A call that succeeded had good arguments on every rank.
    let (library_out, ..) = arguments?;
    *library_out = Box::into_raw(Box::new(dijitso_library::new(library)));
    Ok(())
}

/// Reads what the caller gives.
///
/// # Safety
/// NULL, or `struct_size` bytes whose pointers are what their comments say, for `'a`.
unsafe fn read<'a>(given: *const dijitso_text) -> Result<Parts<'a>> {
    // SAFETY: promised by the caller.
    unsafe {
        let given = structure(reference(given, "text")?, NO_TEXT, "text")?;
        if given.header.is_null() && given.header_length > 0 {
            let text = format!("the header is NULL and has {} bytes", given.header_length);
            return Err(Error::new(Kind::InvalidArgument, text));
        }
        let header = bytes(given.header, given.header_length, "the header")?;
        let dependencies = texts(given.dependencies, given.dependency_count, "dependencies")?;
        dependencies.iter().try_for_each(|signature| check_signature(signature))?;
        Ok(Parts {
            code: bytes(given.code, given.code_length, "the code")?,
            header: (!given.header.is_null()).then_some(header),
            dependencies,
        })
    }
}
