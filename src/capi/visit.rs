//! Visitors: functions of the host that are called for one item after the other.

use std::ffi::{c_char, c_void};
use std::path::PathBuf;

use crate::error::{Error, Kind, Result};

use super::convert::{c_string, path_text};

/// Visits texts; see VISITORS in the manual.
pub type dijitso_text_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, text: *const c_char) -> i32>;

type VisitFn<T> = unsafe extern "C" fn(*mut c_void, *const T) -> i32;

/// A function of the host with its pointer.
pub(super) struct Visitor<T> {
    function: Option<VisitFn<T>>,
    user_data: *mut c_void,
}

impl<T> Visitor<T> {
    /// Takes a visitor that must not be NULL.
    pub(super) fn new(function: Option<VisitFn<T>>, user_data: *mut c_void) -> Result<Self> {
        if function.is_none() {
            return Err(Error::new(Kind::InvalidArgument, "visitor is NULL"));
        }
        Ok(Self { function, user_data })
    }

    /// Takes a visitor that may be NULL: it ends every visit at once.
    pub(super) fn optional(function: Option<VisitFn<T>>, user_data: *mut c_void) -> Self {
        Self { function, user_data }
    }

    /// Shows one item. Returns true if the visit goes on.
    pub(super) fn visit(&self, item: *const T) -> bool {
        // SAFETY: the host's function, called as its type says, with a pointer that lives until it returns.
        self.function.is_some_and(|function| unsafe { function(self.user_data, item) } == 0)
    }
}

impl Visitor<c_char> {
    /// Shows texts until the visitor ends the visit.
    pub(super) fn texts<'a>(&self, texts: impl IntoIterator<Item = &'a str>) {
        let _ = texts.into_iter().all(|text| self.visit(c_string(text).as_ptr()));
    }

    /// Shows paths until the visitor ends the visit.
    pub(super) fn paths(&self, paths: &[PathBuf]) {
        let _ = paths.iter().all(|path| self.visit(path_text(path).as_ptr()));
    }
}
