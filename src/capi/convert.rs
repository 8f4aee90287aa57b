//! From C values to Rust values and back, checked.

use std::ffi::{CStr, CString, c_char};

use crate::error::{Error, Kind, Result};
use crate::human;

fn null(what: &str) -> Error {
    Error::new(Kind::InvalidArgument, format!("{what} is NULL"))
}

/// A reference from a pointer that must not be NULL.
///
/// # Safety
/// NULL, or valid for `'a`.
pub(super) unsafe fn reference<'a, T>(pointer: *const T, what: &str) -> Result<&'a T> {
    // SAFETY: promised by the caller.
    unsafe { pointer.as_ref() }.ok_or_else(|| null(what))
}

/// A mutable reference from a pointer that must not be NULL.
///
/// # Safety
/// NULL, or valid for `'a` and used by nobody else.
pub(super) unsafe fn reference_mut<'a, T>(pointer: *mut T, what: &str) -> Result<&'a mut T> {
    // SAFETY: promised by the caller.
    unsafe { pointer.as_mut() }.ok_or_else(|| null(what))
}

/// An output: set to `empty` now, written by the caller on success.
///
/// # Safety
/// NULL, or points to a value that may be written, initialised or not.
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

/// The fields that the caller's structure has, and for those that it has not `none`, in which they are all zero; refuses
/// fields that this version of the library does not know. `what` is the structure in the header, without its prefix.
///
/// # Safety
/// `given` points to a structure that begins with its size, and has as many bytes; every field is as wide as a pointer,
/// and all-zero fields are valid in `T`.
pub(super) unsafe fn structure<T: Copy>(given: *const T, none: T, what: &str) -> Result<T> {
    // SAFETY: promised by the caller.
    let size = unsafe { given.cast::<usize>().read_unaligned() };
    let known = size_of::<T>();
    // A size that ends within a field is no version's.
    if size < size_of::<usize>() || size > 1 << 16 || size % size_of::<usize>() != 0 {
        let init = what.to_ascii_uppercase();
        let text = format!("{what}.struct_size is {size}: initialise it by DIJITSO_{init}_INIT");
        return Err(Error::new(Kind::InvalidArgument, text));
    }
    let mut fields = none;
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

/// The longest text that is taken: parameters and names are parsed and copied, which has no way to fail but to end the
/// program. Sources and headers, which may be longer, come with their lengths.
const LONGEST_TEXT: usize = 16 << 20;

/// A text from a NUL-terminated UTF-8 string.
///
/// # Safety
/// NULL, or a NUL-terminated string that stays as it is for `'a`.
pub(super) unsafe fn text<'a>(pointer: *const c_char, what: &str) -> Result<&'a str> {
    if pointer.is_null() {
        return Err(null(what));
    }
    // SAFETY: promised by the caller.
    let text = unsafe { CStr::from_ptr(pointer) }.to_bytes();
    if text.len() > LONGEST_TEXT {
        let message = format!("{what} has {} bytes, and {LONGEST_TEXT} are allowed", text.len());
        return Err(Error::new(Kind::InvalidArgument, message));
    }
    std::str::from_utf8(text).map_err(|_| {
        let shown = String::from_utf8_lossy(&text[..text.len().min(80)]);
        Error::new(Kind::InvalidArgument, format!("{what} is not UTF-8: \"{shown}\""))
    })
}

/// Texts from an array; NULL is fine for none.
///
/// # Safety
/// NULL, or `count` pointers that are as those of [`text`].
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

/// A yes or no.
pub(super) fn flag(number: i32, what: &str) -> Result<bool> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Error::new(Kind::InvalidArgument, format!("{what} is {other}, and is 0 or 1"))),
    }
}

/// A copy of bytes from a pointer and a length; NULL is fine for none.
///
/// # Safety
/// NULL, or `size` bytes.
pub(super) unsafe fn copied(pointer: *const c_char, size: usize, what: &str) -> Result<Vec<u8>> {
    // SAFETY: promised by the caller.
    let bytes = unsafe { bytes(pointer, size, what) }?;
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).map_err(|_| {
        Error::new(Kind::InvalidArgument, format!("not enough memory for {what} of {}", human::length(size)))
    })?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// Bytes from a pointer and a length; NULL is fine for none.
///
/// # Safety
/// NULL, or `size` bytes that stay as they are for `'a`.
pub(super) unsafe fn bytes<'a>(pointer: *const c_char, size: usize, what: &str) -> Result<&'a [u8]> {
    if size == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(null(what));
    }
    if isize::try_from(size).is_err() {
        return Err(Error::new(
            Kind::InvalidArgument,
            format!("{what} of {size} bytes is no object of this machine"),
        ));
    }
    // SAFETY: promised by the caller.
    Ok(unsafe { std::slice::from_raw_parts(pointer.cast(), size) })
}

/// A C string; NUL characters in the text, which C could not see beyond, become replacement characters.
pub(super) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}
