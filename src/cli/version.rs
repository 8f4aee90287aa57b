//! `dijitso version`.

#![forbid(unsafe_code)]

/// Writes the version.
pub(super) fn run(out: &mut Vec<u8>) {
    out.extend_from_slice(crate::VERSION.as_bytes());
    out.push(b'\n');
}
