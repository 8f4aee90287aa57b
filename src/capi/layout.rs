//! The files of a signature, and the libraries of the cache that it needs.

use std::ffi::{CString, c_char, c_void};
use std::path::Path;

use crate::cache::layout::Category;
use crate::elf;
use crate::error::{Error, Kind};
use crate::signature::check_signature;

use super::boundary;
use super::cache::cache;
use super::convert::{c_string, path_text, text};
use super::elf::{self as items, DIJITSO_ELF_NEEDED, dijitso_elf_fn};
use super::error::dijitso_error;
use super::params::dijitso_params;
use super::status::dijitso_status;
use super::visit::Visitor;

/// The names of the files of a signature, which need not exist.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_file_names {
    /// sizeof(dijitso_file_names) in the library
    pub struct_size: usize,
    /// The library as linkers name it after -l: without directory, "lib" and ".so". *Borrowed* for the
    /// callback, like all that follow.
    pub lib_name: *const c_char,
    /// The library without its directory.
    pub lib_basename: *const c_char,
    /// The library.
    pub lib_path: *const c_char,
    /// The header without its directory, as sources include it.
    pub inc_basename: *const c_char,
    /// The header.
    pub inc_path: *const c_char,
    /// The source without its directory, as it is compiled.
    pub src_basename: *const c_char,
    /// The source; ".gz" is added if it is compressed.
    pub src_path: *const c_char,
    /// The log.
    pub log_path: *const c_char,
    /// The folder of a failed build.
    pub fail_dir: *const c_char,
}

/// Visits the names of the files of one signature; see VISITORS in the manual.
pub type dijitso_file_names_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, names: *const dijitso_file_names) -> i32>;

/// Returns the names of the files of a signature. Nothing is read from disk.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param signature  *Copied*.
/// @param visitor    Called once.
/// @param user_data  Passed to it.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, also for a text that is no signature, or
///         DIJITSO_ERROR_PARAMS.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_file_names(
    params: *const dijitso_params,
    signature: *const c_char,
    visitor: dijitso_file_names_fn,
    user_data: *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_cache_file_names", || {
            let signature = text(signature, "signature")?;
            check_signature(signature)?;
            let visitor = Visitor::new(visitor, user_data)?;
            let cache = cache(params)?;
            let layout = cache.layout();
            let lib = layout.lib_basename(signature);
            let name = lib.strip_suffix(layout.params().lib_postfix.as_str()).unwrap_or(&lib);
            let name = name.strip_prefix(layout.params().lib_prefix.as_str()).unwrap_or(name);
            let names = [name, &lib, &layout.inc_basename(signature), &layout.src_basename(signature)];
            let names = names.map(c_string);
            let paths = [
                layout.lib(signature),
                layout.inc(signature),
                layout.src(signature, false),
                layout.log(signature),
                layout.failure(signature),
            ];
            let paths = paths.map(|path| path_text(&path));
            let pointer = |text: &CString| text.as_ptr();
            let [lib_name, lib_basename, inc_basename, src_basename] = names.each_ref().map(pointer);
            let [lib_path, inc_path, src_path, log_path, fail_dir] = paths.each_ref().map(pointer);
            visitor.visit(&dijitso_file_names {
                struct_size: size_of::<dijitso_file_names>(),
                lib_name,
                lib_basename,
                lib_path,
                inc_basename,
                inc_path,
                src_basename,
                src_path,
                log_path,
                fail_dir,
            });
            Ok(())
        })
    }
}

/// Makes the directories of the cache, for this user only. dijitso_jit() does so itself when it builds.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE, also if a file is in the place of one.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_make_dirs(
    params: *const dijitso_params,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::status(error_out, "dijitso_cache_make_dirs", || cache(params)?.ensure_dirs()) }
}

/// Lists the libraries of the cache that an entry is linked to, from its ELF headers. Nothing is run.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param signature  *Copied*.
/// @param visitor    Called for each: kind is DIJITSO_ELF_NEEDED, text its signature, path its file, or "" if
///                   that is missing.
/// @param user_data  Passed to it.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE if there
///         is no such entry.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_dependencies(
    params: *const dijitso_params,
    signature: *const c_char,
    visitor: dijitso_elf_fn,
    user_data: *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_cache_dependencies", || {
            let signature = text(signature, "signature")?;
            check_signature(signature)?;
            let visitor = Visitor::new(visitor, user_data)?;
            let cache = cache(params)?;
            let layout = cache.layout();
            let path = layout.lib(signature);
            if !path.exists() {
                return Err(Error::new(Kind::Cache, format!("{} does not exist", path.display())));
            }
            let _ = elf::read(&path)?.needed.iter().all(|needed| {
                let base = Path::new(&needed.name).file_name().and_then(|name| name.to_str());
                let dependency = layout.signature_of(Category::Lib, base.unwrap_or_default());
                dependency.is_none_or(|dependency| {
                    items::visit(&visitor, DIJITSO_ELF_NEEDED, dependency, needed.path.as_deref())
                })
            });
            Ok(())
        })
    }
}
