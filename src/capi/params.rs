//! Parameters.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::sync::{Arc, OnceLock};

use crate::error::Result;
use crate::params::Params;
use crate::params::resolved::Resolved;
use crate::params::schema::KEYS;

use super::boundary;
use super::convert::{c_string, handle_output, owned, reference_mut, text};
use super::defaults::{defaults, environment};
use super::error::dijitso_error;
use super::status::dijitso_status;

/// A set of parameters. Owned by the caller, freed by dijitso_params_free(). Any thread may read it; while
/// one changes it, no other may use it.
pub struct dijitso_params {
    params: Params,
    /// Value and origin of each key, as C strings that callers borrow. Made on demand; most programs never
    /// ask.
    texts: OnceLock<HashMap<String, (CString, CString)>>,
    json: OnceLock<CString>,
    resolved: OnceLock<Result<Arc<Resolved>>>,
}

impl dijitso_params {
    fn new(params: Params) -> Self {
        Self { params, texts: OnceLock::new(), json: OnceLock::new(), resolved: OnceLock::new() }
    }

    fn json(&self) -> &CStr {
        self.json.get_or_init(|| c_string(&self.params.to_json().to_string()))
    }

    fn all_texts(&self) -> HashMap<String, (CString, CString)> {
        let params = &self.params;
        let members = serde_json::from_str(&params.get("generator").unwrap_or_default());
        let members: Vec<String> = match members {
            Ok(serde_json::Value::Object(members)) => {
                members.keys().map(|member| format!("generator.{member}")).collect()
            }
            _ => Vec::new(),
        };
        let names = KEYS.iter().map(|key| key.name.to_owned()).chain(["generator".to_owned()]).chain(members);
        let texts = |name: String| {
            let value = c_string(&params.get(&name)?);
            let origin = c_string(&params.origin(&name)?.to_string());
            Some((name, (value, origin)))
        };
        names.filter_map(texts).collect()
    }

    /// Applies a change, which changes nothing if it fails.
    fn change(&mut self, change: impl FnOnce(&mut Params) -> Result<()>) -> Result<()> {
        change(&mut self.params)?;
        (self.texts, self.json, self.resolved) = Default::default();
        Ok(())
    }

    /// Returns the parameters as plain structs, which are made at the first use after a change.
    fn resolved(&self) -> Result<Arc<Resolved>> {
        self.resolved.get_or_init(|| self.params.resolve_shared()).clone()
    }

    /// Returns the plain structs if they have been made.
    pub(super) fn resolved_if_ready(&self) -> Option<&Resolved> {
        self.resolved.get()?.as_deref().ok()
    }

    /// Returns value and origin of a key. A key that is NULL or not UTF-8 does not exist.
    ///
    /// # Safety
    /// The same as for [`text`].
    unsafe fn texts(&self, key: *const c_char) -> Option<&(CString, CString)> {
        // SAFETY: promised by the caller.
        let key = (!key.is_null()).then(|| unsafe { CStr::from_ptr(key) })?;
        self.texts.get_or_init(|| self.all_texts()).get(key.to_str().ok()?)
    }
}

/// Returns the parameters of a call; the defaults for NULL.
///
/// # Safety
/// `params` is NULL or valid.
pub(super) unsafe fn resolved(params: *const dijitso_params) -> Result<Arc<Resolved>> {
    // SAFETY: promised by the caller.
    unsafe { params.as_ref() }.map_or_else(defaults, dijitso_params::resolved)
}

/// Copies the parameters of a call; the defaults for NULL.
///
/// # Safety
/// `params` is NULL or valid.
pub(super) unsafe fn settings(params: *const dijitso_params) -> Result<Params> {
    // SAFETY: promised by the caller.
    match unsafe { params.as_ref() } {
        Some(params) => Ok(params.params.clone()),
        None => Params::of_environment(&environment()?),
    }
}

/// Makes a set of parameters: the defaults, overridden by the config file, then by the environment.
///
/// The config file is the first of ./.dijitso.conf, $DIJITSO_CONF/.dijitso.conf (or $DIJITSO_CONF itself),
/// ~/.dijitso.conf and /etc/dijitso/.dijitso.conf. It must belong to this user or root, and no other user may
/// be able to write it. If that does not hold, the file in the working directory is ignored, and any other is
/// an error.
///
/// @param params_out  Receives the parameters, *owned* by the caller, freed by dijitso_params_free().
/// @param error_out   Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, or DIJITSO_ERROR_PARAMS for a config file or variable
///         that cannot be used.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_params_new(
    params_out: *mut *mut dijitso_params,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_params_new", || {
            let params_out = handle_output(params_out, "params_out")?;
            *params_out = owned(dijitso_params::new(Params::of_environment(&environment()?)?));
            Ok(())
        })
    }
}

/// Sets one parameter from text. If it fails, nothing is changed.
///
/// @param params     *Borrowed* for the call.
/// @param key        "section.name", such as "build.cxxflags"; "generator" for any JSON, "generator.NAME" for
///                   one member of it. *Copied*.
/// @param value      Lists are split as a shell splits words; flags are true or false; in directories, ~ at
///                   the beginning is the home directory. *Copied*.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, or DIJITSO_ERROR_PARAMS for an unknown key (the
///         message names the nearest valid one) or a wrong type.
/// @local  @threads one at a time for each set of parameters  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_params_set(
    params: *mut dijitso_params,
    key: *const c_char,
    value: *const c_char,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_params_set", || {
            let params = reference_mut(params, "params")?;
            let (key, value) = (text(key, "key")?, text(value, "value")?);
            params.change(|params| params.set(key, value))
        })
    }
}

/// Sets many parameters from JSON: {"section": {"name": value, ...}, ..., "generator": any}.
///
/// If it fails, nothing is changed. Members of "generator" are merged with those that are set already, at all
/// depths.
///
/// @param params     *Borrowed* for the call.
/// @param json       Lists are arrays of strings, or text as for dijitso_params_set(). *Copied*.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return As dijitso_params_set().
/// @local  @threads one at a time for each set of parameters  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_params_merge_json(
    params: *mut dijitso_params,
    json: *const c_char,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_params_merge_json", || {
            let params = reference_mut(params, "params")?;
            let json = text(json, "json")?;
            params.change(|params| params.merge_json(json))
        })
    }
}

/// Returns the value of a parameter as text that dijitso_params_set() takes.
///
/// @param params  *Borrowed* for the call; NULL gives NULL.
/// @param key     As for dijitso_params_set(); NULL gives NULL.
/// @return *Borrowed* until the parameters are changed or freed; NULL if there is no such key.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_params_get(
    params: *const dijitso_params,
    key: *const c_char,
) -> *const c_char {
    let value = |(value, _): &(CString, CString)| value.as_ptr();
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(params, ptr::null(), |params| params.texts(key).map_or(ptr::null(), value)) }
}

/// Returns the origin of a value: "default", "config file PATH", "environment variable NAME" or "caller".
///
/// @param params  *Borrowed* for the call; NULL gives NULL.
/// @param key     As for dijitso_params_set(); NULL gives NULL.
/// @return *Borrowed* until the parameters are changed or freed; NULL if there is no such key.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_params_origin(
    params: *const dijitso_params,
    key: *const c_char,
) -> *const c_char {
    let origin = |(_, origin): &(CString, CString)| origin.as_ptr();
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(params, ptr::null(), |params| params.texts(key).map_or(ptr::null(), origin)) }
}

/// Returns all parameters as JSON that dijitso_params_merge_json() takes.
///
/// @param params  *Borrowed* for the call; NULL gives NULL.
/// @return *Borrowed* until the parameters are changed or freed.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_params_to_json(params: *const dijitso_params) -> *const c_char {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(params, ptr::null(), |params| params.json().as_ptr()) }
}

/// Frees a set of parameters. Libraries that were built with it stay.
///
/// @param params  *Owned* by the caller until now; NULL is fine.
/// @local  @threads any, once  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_params_free(params: *mut dijitso_params) {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::free(params) }
}
