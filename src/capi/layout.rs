//! Where the files of a signature lie, and what a library of the cache needs.

use std::ffi::{CString, c_char, c_void};
use std::path::Path;

use crate::cache::layout::Category;
use crate::elf;
use crate::error::{Error, Kind};
use crate::signature::check_signature;

use super::boundary;
use super::cache::cache;
use super::convert::{c_string, text};
use super::elf::{DIJITSO_ELF_NEEDED, dijitso_elf_fn, pass};
use super::error::dijitso_error;
use super::params::dijitso_params;
use super::status::dijitso_status;
use super::visit::Visitor;

/// The names of the files of a signature, whether they are there or not. Later versions may have further fields at the
/// end.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_file_names {
    /// sizeof(dijitso_file_names) in the library.
    pub struct_size: usize,
    /// The library as linkers name it after -l: without directory, "lib" and ".so". *Borrowed* for the callback, as the
    /// following.
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
    /// The source; compressed, ".gz" is added.
    pub src_path: *const c_char,
    /// The log.
    pub log_path: *const c_char,
    /// The folder of a failed build.
    pub fail_dir: *const c_char,
}

/// Takes the names of a signature's files.
///
/// @param user_data  That of the call.
/// @param names      *Borrowed* for the callback.
/// @return Not used; 0.
pub type dijitso_file_names_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, names: *const dijitso_file_names) -> i32>;

/// Gives the names of the files of a signature. No file is looked at.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param signature  *Copied*.
/// @param visitor    Called once.
/// @param user_data  Passed to it.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, also for what is no signature, or DIJITSO_ERROR_PARAMS.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_file_names(
    params: *const dijitso_params,
    signature: *const c_char,
    visitor: dijitso_file_names_fn,
    user_data: *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_cache_file_names", || {
            let signature = text(signature, "signature")?;
            check_signature(signature)?;
            let visitor = Visitor::new(visitor, user_data)?;
            let cache = cache(params)?;
            let layout = cache.layout();
            let shown = |path: &Path| c_string(&path.display().to_string());
            let lib = layout.lib_basename(signature);
            let name = lib.strip_suffix(layout.params().lib_postfix.as_str()).unwrap_or(&lib);
            let names: [CString; 9] = [
                c_string(name.strip_prefix(layout.params().lib_prefix.as_str()).unwrap_or(name)),
                c_string(&lib),
                shown(&layout.lib(signature)),
                c_string(&layout.inc_basename(signature)),
                shown(&layout.inc(signature)),
                c_string(&layout.src_basename(signature)),
                shown(&layout.src(signature, false)),
                shown(&layout.log(signature)),
                shown(&layout.failure(signature)),
            ];
            let [
                lib_name,
                lib_basename,
                lib_path,
                inc_basename,
                inc_path,
                src_basename,
                src_path,
                log_path,
                fail_dir,
            ] = names.each_ref().map(|name: &CString| name.as_ptr());
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

/// Makes the directories of the cache, for this user only. dijitso_jit() does so by itself when it builds.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE, also where a file stands in the place of one.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_make_dirs(
    params: *const dijitso_params,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe { boundary::status(error_out, "dijitso_cache_make_dirs", || cache(params)?.ensure_dirs()) }
}

/// Tells which libraries of the cache an entry is linked to, read from its ELF headers; neither it nor ldd is run.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param signature  *Copied*.
/// @param visitor    Called for each: kind is DIJITSO_ELF_NEEDED, text its signature, path its file, or "" where
///                   that is not there.
/// @param user_data  Passed to it.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE when the entry is
///         not there.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_dependencies(
    params: *const dijitso_params,
    signature: *const c_char,
    visitor: dijitso_elf_fn,
    user_data: *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_cache_dependencies", || {
            let signature = text(signature, "signature")?;
            check_signature(signature)?;
            let visitor = Visitor::new(visitor, user_data)?;
            let cache = cache(params)?;
            let layout = cache.layout();
            let path = layout.lib(signature);
            if !path.exists() {
                return Err(Error::new(Kind::Cache, format!("{} is not there", path.display())));
            }
            let facts = elf::read(&path)?;
            let _ = facts.needed.iter().all(|needed| {
                let base =
                    Path::new(&needed.name).file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let dependency = layout.signature_of(Category::Lib, base);
                dependency.is_none_or(|dependency| {
                    pass(&visitor, DIJITSO_ELF_NEEDED, dependency, needed.path.as_deref())
                })
            });
            Ok(())
        })
    }
}
