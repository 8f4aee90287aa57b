//! Visitors: functions of the host that are called for one thing after the other.

use std::ffi::{CString, c_char, c_void};

use crate::error::{Error, Kind, Result};

use super::convert::c_string;

/// Takes one text after the other.
///
/// @param user_data  That of the call.
/// @param text       *Borrowed* for the callback.
/// @return 0 to go on; any other value ends the visit, which is no error.
pub type dijitso_text_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, text: *const c_char) -> i32>;

/// A function of the host that is there, with its pointer.
pub(super) struct Visitor<T> {
    function: unsafe extern "C" fn(*mut c_void, *const T) -> i32,
    user_data: *mut c_void,
}

impl<T> Visitor<T> {
    pub(super) fn new(
        function: Option<unsafe extern "C" fn(*mut c_void, *const T) -> i32>,
        user_data: *mut c_void,
    ) -> Result<Self> {
        let function = function.ok_or_else(|| Error::new(Kind::InvalidArgument, "visitor is NULL"))?;
        Ok(Self { function, user_data })
    }

    /// Whether to go on.
    pub(super) fn visit(&self, thing: &T) -> bool {
        // SAFETY: the host's function, called as its type says, with a pointer that lives until it returns.
        unsafe { (self.function)(self.user_data, thing) == 0 }
    }
}

impl Visitor<c_char> {
    /// Whether to go on.
    pub(super) fn text(&self, text: &str) -> bool {
        let text: CString = c_string(text);
        // SAFETY: as above.
        unsafe { (self.function)(self.user_data, text.as_ptr()) == 0 }
    }
}
