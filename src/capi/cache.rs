//! The contents of the cache.

use std::ffi::{c_char, c_void};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cache::Cache;
use crate::cache::catalog::{Entry, Existing, Listed};
use crate::cache::layout::Category;
use crate::error::{Error, Kind, Result};

use super::boundary;
use super::convert::{
    bytes, c_string, flag, invalid, optional_text as optional, path_text, reference_mut, text,
};
use super::error::dijitso_error;
use super::params::{dijitso_params, resolved};
use super::source::dijitso_blob;
use super::status::dijitso_status;
use super::visit::{Visitor, dijitso_text_fn};

/// Headers.
pub const DIJITSO_CATEGORY_INC: i32 = 1;
/// Sources.
pub const DIJITSO_CATEGORY_SRC: i32 = 2;
/// Libraries.
pub const DIJITSO_CATEGORY_LIB: i32 = 4;
/// Build logs.
pub const DIJITSO_CATEGORY_LOG: i32 = 8;
/// All files.
pub const DIJITSO_CATEGORY_ALL: i32 = 15;

/// An entry of the cache: all files of one signature.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_entry {
    /// sizeof(dijitso_entry) in the library
    pub struct_size: usize,
    /// *Borrowed* for the callback, like name.
    pub signature: *const c_char,
    /// The name that the signature was made from.
    pub name: *const c_char,
    /// Sum of the DIJITSO_CATEGORY_ values of its files. Without a library it is the rest of an entry.
    pub categories: i32,
    /// Bytes of all files.
    pub size: u64,
    /// Bytes of the disk that the files take.
    pub allocated: u64,
    /// Time of publication: seconds since 1970.
    pub modified: i64,
}

/// A file of the cache.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_file {
    /// sizeof(dijitso_file) in the library
    pub struct_size: usize,
    /// One of the DIJITSO_CATEGORY_ values.
    pub category: i32,
    /// The entry of the file. *Borrowed* for the callback, like path.
    pub signature: *const c_char,
    /// The path of the file.
    pub path: *const c_char,
    /// Bytes.
    pub size: u64,
    /// Time of the last change: seconds since 1970.
    pub modified: i64,
}

/// A line of a file of the cache.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_line {
    /// sizeof(dijitso_line) in the library
    pub struct_size: usize,
    /// One of the DIJITSO_CATEGORY_ values.
    pub category: i32,
    /// The entry of the file. *Borrowed* for the callback, like path and text.
    pub signature: *const c_char,
    /// The path of the file.
    pub path: *const c_char,
    /// Number of the line, from 1.
    pub number: u64,
    /// The line, without its end.
    pub text: *const c_char,
}

/// Visits entries; see VISITORS in the manual.
pub type dijitso_entry_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, entry: *const dijitso_entry) -> i32>;

/// Visits files; see VISITORS in the manual.
pub type dijitso_file_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, file: *const dijitso_file) -> i32>;

/// Visits lines; see VISITORS in the manual.
pub type dijitso_line_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, line: *const dijitso_line) -> i32>;

const CATEGORIES: [(Category, i32); 4] = [
    (Category::Inc, DIJITSO_CATEGORY_INC),
    (Category::Src, DIJITSO_CATEGORY_SRC),
    (Category::Lib, DIJITSO_CATEGORY_LIB),
    (Category::Log, DIJITSO_CATEGORY_LOG),
];

fn bit(category: Category) -> i32 {
    CATEGORIES.iter().find(|(known, _)| *known == category).map_or(0, |(_, bit)| *bit)
}

/// Splits a sum into its categories.
fn categories(sum: i32) -> Result<Vec<Category>> {
    if sum <= 0 || sum > DIJITSO_CATEGORY_ALL {
        let text = "it must be a sum of DIJITSO_CATEGORY_ values, from 1 to 15";
        return Err(invalid(format!("categories is {sum}; {text}")));
    }
    Ok(CATEGORIES.iter().filter(|(_, bit)| sum & bit != 0).map(|(category, _)| *category).collect())
}

fn category(number: i32) -> Result<Category> {
    CATEGORIES.iter().find(|(_, bit)| *bit == number).map(|(category, _)| *category).ok_or_else(|| {
        invalid(format!("category is {number}; it must be one of the DIJITSO_CATEGORY_ values 1, 2, 4 and 8"))
    })
}

/// Opens the cache that the parameters name.
///
/// # Safety
/// `params` is NULL or valid.
pub(super) unsafe fn cache(params: *const dijitso_params) -> Result<Cache> {
    // SAFETY: promised by the caller.
    let params = unsafe { resolved(params) }?;
    Ok(Cache::new(&params.cache.cache_dir, &params.cache))
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Selects files by category and, if given, by signature.
fn files<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    signature: Option<&str>,
    categories: &[Category],
) -> Vec<(&'a Entry, &'a Listed)> {
    entries
        .filter(|entry| signature.is_none_or(|signature| entry.signature == signature))
        .flat_map(|entry| entry.of(categories).map(move |file| (entry, file)))
        .collect()
}

/// Lists the entries of the cache, those with a library first, each part in the order of the signatures.
///
/// No file is opened. Leftovers of killed programs are not listed.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param visitor    Called for each entry.
/// @param user_data  Passed to it.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, also if there is no cache yet; DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS,
///         or DIJITSO_ERROR_CACHE if a directory cannot be read.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_list(
    params: *const dijitso_params,
    visitor: dijitso_entry_fn,
    user_data: *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_cache_list", || {
            let visitor = Visitor::new(visitor, user_data)?;
            let catalog = cache(params)?.catalog()?;
            let _ = catalog.all().all(|entry| {
                let (signature, name) = (c_string(&entry.signature), c_string(entry.name()));
                visitor.visit(&dijitso_entry {
                    struct_size: size_of::<dijitso_entry>(),
                    signature: signature.as_ptr(),
                    name: name.as_ptr(),
                    categories: entry.files.iter().fold(0, |sum, file| sum | bit(file.category)),
                    size: entry.size(),
                    allocated: entry.allocated(),
                    modified: seconds(entry.modified()),
                })
            });
            Ok(())
        })
    }
}

/// Lists the files of the cache.
///
/// @param params      *Borrowed* for the call; NULL for the defaults.
/// @param signature   One entry; NULL for all. *Copied*.
/// @param categories  Sum of DIJITSO_CATEGORY_ values.
/// @param visitor     Called for each file.
/// @param user_data   Passed to it.
/// @param error_out   Receives an error, *owned* by the caller; may be NULL.
/// @return As dijitso_cache_list().
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_files(
    params: *const dijitso_params,
    signature: *const c_char,
    categories: i32,
    visitor: dijitso_file_fn,
    user_data: *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_cache_files", || {
            let signature = optional(signature, "signature")?;
            let categories = self::categories(categories)?;
            let visitor = Visitor::new(visitor, user_data)?;
            let catalog = cache(params)?.catalog()?;
            let _ = files(catalog.all(), signature, &categories).into_iter().all(|(entry, file)| {
                let (signature, path) = (c_string(&entry.signature), path_text(&file.path));
                visitor.visit(&dijitso_file {
                    struct_size: size_of::<dijitso_file>(),
                    category: bit(file.category),
                    signature: signature.as_ptr(),
                    path: path.as_ptr(),
                    size: file.size,
                    modified: seconds(file.modified),
                })
            });
            Ok(())
        })
    }
}

/// Searches headers, sources and logs for lines that contain a text.
///
/// Compressed files are searched uncompressed. Bytes that are not UTF-8 are shown as replacement characters.
///
/// @param params      *Borrowed* for the call; NULL for the defaults.
/// @param pattern     A literal text; "" for every line. *Copied*.
/// @param signature   One entry; NULL for all. *Copied*.
/// @param categories  Sum of DIJITSO_CATEGORY_ values, without DIJITSO_CATEGORY_LIB.
/// @param visitor     Called for each line.
/// @param user_data   Passed to it.
/// @param error_out   Receives an error, *owned* by the caller; may be NULL.
/// @return As dijitso_cache_list().
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_grep(
    params: *const dijitso_params,
    pattern: *const c_char,
    signature: *const c_char,
    categories: i32,
    visitor: dijitso_line_fn,
    user_data: *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_cache_grep", || {
            let (pattern, signature) = (text(pattern, "pattern")?, optional(signature, "signature")?);
            let categories = self::categories(categories)?;
            if categories.contains(&Category::Lib) {
                return Err(invalid("libraries have no lines: leave DIJITSO_CATEGORY_LIB out"));
            }
            let visitor = Visitor::new(visitor, user_data)?;
            let cache = cache(params)?;
            let catalog = cache.catalog()?;
            for (entry, file) in files(catalog.all(), signature, &categories) {
                // Another program may have removed the file meanwhile.
                let Some(data) = cache.read_file(file.category, &entry.signature)? else { continue };
                let (signature, path) = (c_string(&entry.signature), path_text(&file.path));
                let content = String::from_utf8_lossy(&data);
                let goes_on = content.lines().enumerate().filter(|(_, line)| line.contains(pattern)).all(
                    |(at, line)| {
                        let line = c_string(line);
                        visitor.visit(&dijitso_line {
                            struct_size: size_of::<dijitso_line>(),
                            category: bit(file.category),
                            signature: signature.as_ptr(),
                            path: path.as_ptr(),
                            number: at as u64 + 1,
                            text: line.as_ptr(),
                        })
                    },
                );
                if !goes_on {
                    break;
                }
            }
            Ok(())
        })
    }
}

/// Returns the contents of a file of an entry, uncompressed.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param signature  *Copied*.
/// @param category   One of the DIJITSO_CATEGORY_ values. For a library it is the file as it is; use
///                   dijitso_cache_read_binary() to take a library elsewhere.
/// @param blob       Receives the contents. *Borrowed* for the call.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE if the
///         file is missing, cannot be read, can have been written by another user, is longer than 256 MiB, or
///         is not the source that was compiled.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_read(
    params: *const dijitso_params,
    signature: *const c_char,
    category: i32,
    blob: *mut dijitso_blob,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_cache_read", || {
            let (signature, blob) = (text(signature, "signature")?, reference_mut(blob, "blob")?);
            let category = self::category(category)?;
            let cache = cache(params)?;
            let data = cache.read_file(category, signature)?.ok_or_else(|| {
                let (dir, name) = (cache.layout().dir(category), category.name());
                let text = format!("{signature} has no file of category {name} in {}", dir.display());
                Error::new(Kind::Cache, text)
            })?;
            blob.set(data)
        })
    }
}

/// Writes the header, source or log of a signature.
///
/// The file appears in one step and replaces the former one. The header or source of a library that is built
/// cannot be replaced. Libraries come from dijitso_jit() or dijitso_cache_write_binary().
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param signature  *Copied*.
/// @param category   DIJITSO_CATEGORY_INC, DIJITSO_CATEGORY_SRC or DIJITSO_CATEGORY_LOG.
/// @param data       The contents; they are compressed as cache.src_storage says. *Copied*.
/// @param size       Bytes.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS or DIJITSO_ERROR_CACHE.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_store(
    params: *const dijitso_params,
    signature: *const c_char,
    category: i32,
    data: *const u8,
    size: usize,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_cache_store", || {
            let (signature, data) = (text(signature, "signature")?, bytes(data.cast(), size, "data")?);
            let category = self::category(category)?;
            let cache = cache(params)?;
            match category {
                Category::Inc => cache.store_header(signature, data),
                Category::Src => cache.store_source(signature, data),
                Category::Log => cache.store_log(signature, data),
                Category::Lib => {
                    let ways = "dijitso_jit() builds it, dijitso_cache_write_binary() brings it";
                    Err(invalid(format!("a library cannot be stored: {ways}")))
                }
            }
        })
    }
}

/// Copies files of an entry to a directory, uncompressed. Makes the directory if it is missing.
///
/// @param params      *Borrowed* for the call; NULL for the defaults.
/// @param signature   *Copied*.
/// @param categories  Sum of DIJITSO_CATEGORY_ values.
/// @param directory   *Copied*.
/// @param replace     1: replaces files in the directory; 0: such a file is an error, and nothing is written.
/// @param visitor     Called for the path of each copy; may be NULL.
/// @param user_data   Passed to it.
/// @param error_out   Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE, also if
///         the cache has none of the files.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_extract(
    params: *const dijitso_params,
    signature: *const c_char,
    categories: i32,
    directory: *const c_char,
    replace: i32,
    visitor: dijitso_text_fn,
    user_data: *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_cache_extract", || {
            let (signature, directory) = (text(signature, "signature")?, text(directory, "directory")?);
            let categories = self::categories(categories)?;
            let existing = if flag(replace, "replace")? { Existing::Replace } else { Existing::Keep };
            let cache = cache(params)?;
            let copies = cache.extract(signature, &categories, Path::new(directory), existing)?;
            if copies.is_empty() {
                let root = cache.layout().root().display();
                let text = format!("{signature} has no such files in the cache {root}");
                return Err(Error::new(Kind::Cache, text));
            }
            Visitor::optional(visitor, user_data).paths(&copies);
            Ok(())
        })
    }
}

/// Removes files of an entry. The library goes first, so other programs see a complete entry or none.
///
/// Loaded libraries stay loaded. Entries that need this one are built again when they are asked for.
///
/// @param params      *Borrowed* for the call; NULL for the defaults.
/// @param signature   *Copied*.
/// @param categories  Sum of DIJITSO_CATEGORY_ values.
/// @param visitor     Called for the path of each removed file; may be NULL.
/// @param user_data   Passed to it.
/// @param error_out   Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, also if there was no file; DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or
///         DIJITSO_ERROR_CACHE if a file cannot be removed or the library is being built.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_remove(
    params: *const dijitso_params,
    signature: *const c_char,
    categories: i32,
    visitor: dijitso_text_fn,
    user_data: *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_cache_remove", || {
            let signature = text(signature, "signature")?;
            let categories = self::categories(categories)?;
            let removed = cache(params)?.remove(signature, &categories)?;
            Visitor::optional(visitor, user_data).paths(&removed);
            Ok(())
        })
    }
}

/// Removes the files of all entries of the cache, and nothing else.
///
/// @param params      *Borrowed* for the call; NULL for the defaults.
/// @param categories  Sum of DIJITSO_CATEGORY_ values.
/// @param dry_run     1: removes nothing and shows what would be removed; 0: removes it.
/// @param visitor     Called for the path of each file; may be NULL.
/// @param user_data   Passed to it.
/// @param error_out   Receives an error, *owned* by the caller; may be NULL.
/// @return As dijitso_cache_remove(). An error is the first one; everything else has been removed.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_clean(
    params: *const dijitso_params,
    categories: i32,
    dry_run: i32,
    visitor: dijitso_text_fn,
    user_data: *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_cache_clean", || {
            let categories = self::categories(categories)?;
            let dry_run = flag(dry_run, "dry_run")?;
            let cache = cache(params)?;
            let catalog = cache.catalog()?;
            let mut failure = Ok(());
            let mut paths = Vec::new();
            for entry in catalog.all() {
                if dry_run {
                    paths.extend(entry.of(&categories).map(|file| file.path.clone()));
                    continue;
                }
                match cache.remove(&entry.signature, &categories) {
                    Ok(removed) => paths.extend(removed),
                    Err(error) => failure = failure.and(Err(error)),
                }
            }
            Visitor::optional(visitor, user_data).paths(&paths);
            failure
        })
    }
}
