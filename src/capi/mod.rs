//! The C interface, and nothing else: arguments are checked and translated, everything else is one layer below.
//!
//! The comments of the exported items are the reference manual: they become `include/dijitso.h`. `export!` is the
//! only way to export a function; a test sees to that.

#![allow(non_camel_case_types, reason = "the names of the C interface")]

pub mod ahead;
#[cfg(not(feature = "mpi"))]
mod alone;
pub mod build;
pub mod bundle;
pub mod care;
pub mod catalog;
mod convert;
mod defaults;
pub mod elf;
pub mod error;
mod exit;
mod guard;
pub mod jit;
pub mod library;
pub mod logging;
pub mod names;
pub mod params;
#[cfg(feature = "mpi")]
mod ranks;
mod recall;
pub mod roles;
pub mod source;
pub mod status;
pub mod text;
pub mod visit;

/// Exports a function to C: the only way to do it.
///
/// With `errors to error_out` the body gives `Result<()>`: errors and panics become a status and an error object.
/// With `otherwise(value)` the body gives the result itself: `value` takes its place if the body panics.
macro_rules! export {
    (
        $(#[$attribute:meta])*
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> dijitso_status, errors to $error_out:ident $body:block
    ) => {
        $(#[$attribute])*
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> $crate::capi::status::dijitso_status {
            // SAFETY: what each pointer has to be is in the function's comment; none is used before it is checked
            // for NULL.
            unsafe { $crate::capi::guard::status($error_out, stringify!($name), || $body) }
        }
    };
    (
        $(#[$attribute:meta])*
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?, otherwise($fallback:expr) $body:block
    ) => {
        $(#[$attribute])*
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) $(-> $result)? {
            #[allow(unused_unsafe, reason = "not every body needs it")]
            // SAFETY: as above.
            $crate::capi::guard::value(|| $fallback, || unsafe { $body })
        }
    };
}
use export;
