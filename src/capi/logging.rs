//! The log.

use std::ffi::{CString, c_char, c_void};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::logging::{self, Handler, LogRecord};
use crate::sync::lock;

use super::boundary;
use super::convert::{c_string, invalid, output};
use super::error::dijitso_error;
use super::status::dijitso_status;

/// Details for finding a fault in the library.
pub const DIJITSO_LOG_DEBUG: i32 = 10;
/// Normal progress.
pub const DIJITSO_LOG_INFO: i32 = 20;
/// Something is wrong and the library goes on. The level at first.
pub const DIJITSO_LOG_WARNING: i32 = 30;
/// Something has failed, for example a compiler.
pub const DIJITSO_LOG_ERROR: i32 = 40;
/// Silence, as a level.
pub const DIJITSO_LOG_OFF: i32 = 50;

/// A record of the log.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_log_record {
    /// sizeof(dijitso_log_record) in the library
    pub struct_size: usize,
    /// One of the DIJITSO_LOG_ values.
    pub level: i32,
    /// The rank in the communicator that is in use on this thread, or was last in this process; -1 if none is
    /// known.
    pub rank: i32,
    /// The size of that communicator, 0 if none is known.
    pub ranks: i32,
    /// One paragraph; of a failed build it has the compiler's first error. *Borrowed* for the call, like the
    /// next two.
    pub message: *const c_char,
    /// The name of this host.
    pub host: *const c_char,
    /// The part of the library, such as "dijitso::cache".
    pub target: *const c_char,
}

/// Takes a record of the log, on any thread, during a call of the library. It must not call the library.
///
/// @param user_data  The user_data of dijitso_log_set_handler().
/// @param record     *Borrowed* for the call.
pub type dijitso_log_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, record: *const dijitso_log_record)>;

/// The host's pointer. By setting a handler the host allows any thread to pass it on.
struct UserData(*mut c_void);

// SAFETY: the pointer is passed on and never followed here.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

impl UserData {
    fn get(&self) -> *mut c_void {
        self.0
    }
}

fn handler(
    function: unsafe extern "C" fn(*mut c_void, *const dijitso_log_record),
    user_data: UserData,
) -> Handler {
    Arc::new(move |record: &LogRecord<'_>| {
        let texts = [record.message, record.host, record.target].map(c_string);
        let [message, host, target] = texts.each_ref().map(|text: &CString| text.as_ptr());
        let number = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let record = dijitso_log_record {
            struct_size: size_of::<dijitso_log_record>(),
            level: record.level,
            rank: record.rank.map_or(-1, |(rank, _)| number(rank)),
            ranks: record.rank.map_or(0, |(_, size)| number(size)),
            message,
            host,
            target,
        };
        // SAFETY: the host's function, called as its type says; all pointers live until it returns.
        unsafe { function(user_data.get(), &raw const record) };
    })
}

/// Sets the level of the log. Records below it are not shown.
///
/// Without a handler, records go to standard error. Of several ranks only rank 0 shows warnings and lower
/// levels; every rank shows errors. The environment variable DIJITSO_LOG, read at the first call of the
/// library, changes that. It is a list of words with commas between them: a level (debug, info, warning,
/// error, off, a number) replaces DIJITSO_LOG_WARNING; "ranks=all" shows the records of every rank;
/// "file=PATH" appends them to a file instead; "json=PATH" also appends records and finished calls to a file,
/// one line of JSON each.
///
/// A build that takes longer than 2 s is reported at DIJITSO_LOG_WARNING, by one rank of a host; on a
/// terminal in one line that is updated in place. The environment variable DIJITSO_PROGRESS=0 silences that.
///
/// @param level      One of the DIJITSO_LOG_ values, or any number between them.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT for a negative number, or DIJITSO_ERROR_STATE in a Rust
///         program with a logger of its own, which then gets the records.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_log_set_level(
    level: i32,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_log_set_level", || {
            if level < 0 {
                return Err(invalid(format!("level is {level}; levels are from 0 to 50")));
            }
            logging::set_level(level)
        })
    }
}

/// Returns the level of the log.
///
/// @return The number that was set; DIJITSO_LOG_WARNING at first.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_log_level() -> i32 {
    boundary::value(DIJITSO_LOG_WARNING, logging::level)
}

/// Sets a function that gets the records, on every rank, instead of standard error or a file.
///
/// When this returns, the former handler is not running and will not be called again.
///
/// @param handler    The function; NULL for none, as at first.
/// @param user_data  Passed to it. It has to live until the handler is replaced.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK; DIJITSO_ERROR_STATE within a handler, or in a Rust program with a logger of its own.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_log_set_handler(
    handler: dijitso_log_fn,
    user_data: *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_log_set_handler", || {
            let mut current = current_handler();
            let wrapped = handler.map(|function| self::handler(function, UserData(user_data)));
            logging::set_handler(wrapped)?;
            *current = CurrentHandler(handler, UserData(user_data));
            Ok(())
        })
    }
}

/// Returns the handler that was set last, so that another handler can pass records on to it, or put it back.
///
/// @param handler_out    Receives the function, NULL for none.
/// @param user_data_out  Receives its user_data; may be NULL.
/// @param error_out      Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_log_get_handler(
    handler_out: *mut dijitso_log_fn,
    user_data_out: *mut *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_log_get_handler", || {
            let handler_out = output(handler_out, None, "handler_out")?;
            let current = current_handler();
            *handler_out = current.0;
            if let Some(user_data_out) = user_data_out.as_mut() {
                *user_data_out = current.1.get();
            }
            Ok(())
        })
    }
}

/// The handler as the host has set it.
struct CurrentHandler(dijitso_log_fn, UserData);

fn current_handler() -> MutexGuard<'static, CurrentHandler> {
    static CURRENT: Mutex<CurrentHandler> = Mutex::new(CurrentHandler(None, UserData(ptr::null_mut())));
    lock(&CURRENT)
}
