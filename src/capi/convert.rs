//! Checked conversions between C values and Rust values.

use std::ffi::{CStr, CString, c_char};
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::human;

/// An error about an argument.
pub(super) fn invalid(text: impl Into<String>) -> Error {
    Error::new(Kind::InvalidArgument, text)
}

fn null(what: &str) -> Error {
    invalid(format!("{what} is NULL"))
}

/// Makes a reference from a pointer that must not be NULL.
///
/// # Safety
/// `pointer` is NULL, or valid for `'a`.
pub(super) unsafe fn reference<'a, T>(pointer: *const T, what: &str) -> Result<&'a T> {
    // SAFETY: promised by the caller.
    unsafe { pointer.as_ref() }.ok_or_else(|| null(what))
}

/// Makes a mutable reference from a pointer that must not be NULL.
///
/// # Safety
/// `pointer` is NULL, or valid for `'a` and not used by anything else meanwhile.
pub(super) unsafe fn reference_mut<'a, T>(pointer: *mut T, what: &str) -> Result<&'a mut T> {
    // SAFETY: promised by the caller.
    unsafe { pointer.as_mut() }.ok_or_else(|| null(what))
}

/// Sets an output to `empty`, and returns it so that it can be written on success.
///
/// # Safety
/// `pointer` is NULL, or points to a value that may be written, initialised or not.
pub(super) unsafe fn output<'a, T>(pointer: *mut T, empty: T, what: &str) -> Result<&'a mut T> {
    if pointer.is_null() {
        return Err(null(what));
    }
    // SAFETY: promised by the caller; after the write it is initialised.
    unsafe {
        pointer.write(empty);
        Ok(&mut *pointer)
    }
}

/// Sets the output for a handle to NULL, and returns it.
///
/// # Safety
/// The same as for [`output`].
pub(super) unsafe fn handle_output<'a, T>(pointer: *mut *mut T, what: &str) -> Result<&'a mut *mut T> {
    // SAFETY: promised by the caller.
    unsafe { output(pointer, std::ptr::null_mut(), what) }
}

/// Gives an object to the caller, who frees it.
pub(super) fn owned<T>(object: T) -> *mut T {
    Box::into_raw(Box::new(object))
}

/// Copies the fields of a structure of the caller. Fields that it does not have yet are those of `defaults`,
/// in which all of them are zero. Refuses fields that this version of the library does not know. `what` is
/// the name of the structure in the header, without its prefix.
///
/// # Safety `given` points to a structure that begins with its size, and has as many bytes. Every field is as
/// wide as a pointer, and all-zero fields are valid in `T`.
pub(super) unsafe fn structure<T: Copy>(given: *const T, defaults: T, what: &str) -> Result<T> {
    // SAFETY: promised by the caller.
    let size = unsafe { given.cast::<usize>().read_unaligned() };
    let known = size_of::<T>();
    // No version has a structure that ends within a field.
    if size < size_of::<usize>() || size > 1 << 16 || size % size_of::<usize>() != 0 {
        let init = what.to_ascii_uppercase();
        return Err(invalid(format!("{what}.struct_size is {size}: initialise it by DIJITSO_{init}_INIT")));
    }
    let mut fields = defaults;
    // SAFETY: the caller's structure has `size` bytes, ours has `known`.
    unsafe {
        let copied = size.min(known);
        std::ptr::copy_nonoverlapping(given.cast::<u8>(), (&raw mut fields).cast::<u8>(), copied);
    }
    if size > known {
        // SAFETY: as above.
        let tail = unsafe { std::slice::from_raw_parts(given.cast::<u8>().add(known), size - known) };
        if tail.iter().any(|byte| *byte != 0) {
            let text = format!("{what} uses fields that this version of the library does not know");
            return Err(Error::new(Kind::Unsupported, text));
        }
    }
    Ok(fields)
}

/// The longest text in bytes. Parameters and names are parsed and copied by code that ends the program if
/// memory is short. Sources and headers may be longer: they come with their lengths.
const LONGEST_TEXT: usize = 16 << 20;

/// Borrows the text of a NUL-terminated UTF-8 string.
///
/// # Safety
/// `pointer` is NULL, or a NUL-terminated string that does not change for `'a`.
pub(super) unsafe fn text<'a>(pointer: *const c_char, what: &str) -> Result<&'a str> {
    if pointer.is_null() {
        return Err(null(what));
    }
    // SAFETY: promised by the caller.
    let text = unsafe { CStr::from_ptr(pointer) }.to_bytes();
    if text.len() > LONGEST_TEXT {
        return Err(invalid(format!("{what} has {} bytes; at most {LONGEST_TEXT} are allowed", text.len())));
    }
    std::str::from_utf8(text).map_err(|_| {
        let start = String::from_utf8_lossy(&text[..text.len().min(80)]);
        invalid(format!("{what} is not UTF-8: \"{start}\""))
    })
}

/// Borrows a text that may be NULL.
///
/// # Safety
/// The same as for [`text`].
pub(super) unsafe fn optional_text<'a>(pointer: *const c_char, what: &str) -> Result<Option<&'a str>> {
    // SAFETY: promised by the caller.
    if pointer.is_null() { Ok(None) } else { unsafe { text(pointer, what) }.map(Some) }
}

/// Borrows the texts of an array, which may be NULL if it is empty.
///
/// # Safety
/// `pointers` is NULL, or has `count` pointers that are as those of [`text`].
pub(super) unsafe fn texts<'a>(
    pointers: *const *const c_char,
    count: usize,
    what: &str,
) -> Result<Vec<&'a str>> {
    if pointers.is_null() && count > 0 {
        return Err(null(what));
    }
    // SAFETY: promised by the caller.
    (0..count).map(|at| unsafe { text(*pointers.add(at), &format!("{what}[{at}]")) }).collect()
}

/// Reads a flag: 0 or 1.
pub(super) fn flag(number: i32, what: &str) -> Result<bool> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(invalid(format!("{what} is {other}; it must be 0 or 1"))),
    }
}

/// Copies bytes, which may be NULL if there are none.
///
/// # Safety
/// `pointer` is NULL, or has `size` bytes.
pub(super) unsafe fn copied(pointer: *const c_char, size: usize, what: &str) -> Result<Vec<u8>> {
    // SAFETY: promised by the caller.
    let bytes = unsafe { bytes(pointer, size, what) }?;
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len())
        .map_err(|_| invalid(format!("not enough memory for {what} of {}", human::length(size))))?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// Borrows an array, which may be NULL if it is empty.
///
/// # Safety
/// `pointer` is NULL, or has `count` items that do not change for `'a`.
pub(super) unsafe fn slice<'a, T>(pointer: *const T, count: usize, what: &str) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(null(what));
    }
    if count.checked_mul(size_of::<T>()).is_none_or(|size| isize::try_from(size).is_err()) {
        return Err(invalid(format!("{what} has {count} items, more than fit into memory")));
    }
    // SAFETY: promised by the caller.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
}

/// Borrows bytes, which may be NULL if there are none.
///
/// # Safety
/// `pointer` is NULL, or has `size` bytes that do not change for `'a`.
pub(super) unsafe fn bytes<'a>(pointer: *const c_char, size: usize, what: &str) -> Result<&'a [u8]> {
    // SAFETY: promised by the caller.
    unsafe { slice(pointer.cast(), size, what) }
}

/// Makes a C string. C could not see beyond a NUL, so each NUL becomes a replacement character.
pub(super) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

/// Makes a C string of a path. Bytes that are not UTF-8 become replacement characters.
pub(super) fn path_text(path: &Path) -> CString {
    c_string(&path.display().to_string())
}
