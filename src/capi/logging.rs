//! The log.

use std::ffi::{CString, c_char, c_void};
use std::sync::Arc;

use crate::error::{Error, Kind};
use crate::logging::{self, Handler, LogRecord};
use crate::sync::lock;

use super::boundary;
use super::convert::{c_string, output};
use super::error::dijitso_error;
use super::status::dijitso_status;

/// Details for those who look for a fault in the library.
pub const DIJITSO_LOG_DEBUG: i32 = 10;
/// What the library does.
pub const DIJITSO_LOG_INFO: i32 = 20;
/// Something is not as it should be, and the library has found a way. The level at first.
pub const DIJITSO_LOG_WARNING: i32 = 30;
/// Something has failed: a compiler has refused a source.
pub const DIJITSO_LOG_ERROR: i32 = 40;
/// Above everything: as a level it means silence.
pub const DIJITSO_LOG_OFF: i32 = 50;

/// What a log handler is told. Later versions may have further fields at the end.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_log_record {
    /// sizeof(dijitso_log_record) in the library.
    pub struct_size: usize,
    /// One of the DIJITSO_LOG_ values.
    pub level: i32,
    /// The rank in the communicator that is in use on this thread, or was last in this process; -1 where none is known.
    pub rank: i32,
    /// The number of ranks of that communicator, 0 where none is known.
    pub ranks: i32,
    /// One paragraph; with a failed build, the compiler's first error is in it. *Borrowed* for the call, as the following.
    pub message: *const c_char,
    /// The name of this host.
    pub host: *const c_char,
    /// The part of the library that speaks, as "dijitso::cache".
    pub target: *const c_char,
}

/// Takes a record of the log, on any thread, during a call of the library. It must not call the library.
///
/// @param user_data  That of dijitso_log_set_handler().
/// @param record     *Borrowed* for the call.
pub type dijitso_log_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, record: *const dijitso_log_record)>;

/// The host's pointer, which any thread may be given: the host says so by setting a handler.
struct UserData(*mut c_void);

// SAFETY: the pointer is passed through and never followed here.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

impl UserData {
    fn get(&self) -> *mut c_void {
        self.0
    }
}

fn handler(
    of_host: unsafe extern "C" fn(*mut c_void, *const dijitso_log_record),
    user_data: UserData,
) -> Handler {
    Arc::new(move |record: &LogRecord<'_>| {
        let texts = [record.message, record.host, record.target].map(c_string);
        let [message, host, target] = texts.each_ref().map(|text: &CString| text.as_ptr());
        let number = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let told = dijitso_log_record {
            struct_size: size_of::<dijitso_log_record>(),
            level: record.level,
            rank: record.rank.map_or(-1, |(rank, _)| number(rank)),
            ranks: record.rank.map_or(0, |(_, size)| number(size)),
            message,
            host,
            target,
        };
        // SAFETY: the host's function, called as its type says; all pointers live until it returns.
        unsafe { of_host(user_data.get(), &raw const told) };
    })
}

/// Sets the level of the log: records below it are not shown.
///
/// Without a handler, records go to standard error: of several ranks only rank 0 shows warnings and what is below
/// them, every rank shows errors. The environment variable DIJITSO_LOG, read at the first call of the library, says
/// otherwise: words with commas between them, of which a level (debug, info, warning, error, off, a number) takes the
/// place of DIJITSO_LOG_WARNING, "ranks=all" lets every rank speak, "file=PATH" adds the records to a file instead,
/// and "json=PATH" besides adds records and finished calls to a file, as a line of JSON each, for tools.
///
/// @param level      One of the DIJITSO_LOG_ values, or any number between them.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT for a negative number, or DIJITSO_ERROR_STATE in a Rust program
///         that has a logger of its own, which then gets the records.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_log_set_level(
    level: i32,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_log_set_level", || {
            if level < 0 {
                return Err(Error::new(
                    Kind::InvalidArgument,
                    format!("level is {level}, and levels are from 0 to 50"),
                ));
            }
            logging::set_level(level)
        })
    }
}

/// The level of the log.
///
/// @return One of the DIJITSO_LOG_ values, or whatever else it has been set to.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_log_level() -> i32 {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    boundary::value(|| DIJITSO_LOG_WARNING, logging::level)
}

/// Lets a function of yours have the records, on every rank, in place of standard error or a file.
///
/// When this returns, the former handler is not running any more and will not be called again.
///
/// @param handler    The function; NULL for none, as at first.
/// @param user_data  Passed to it. It has to live until the handler is replaced.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK; DIJITSO_ERROR_STATE within a handler, or in a Rust program that has a logger of its own.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_log_set_handler(
    handler: dijitso_log_fn,
    user_data: *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_log_set_handler", || {
            let mut given = given();
            logging::set_handler(handler.map(|of_host| self::handler(of_host, UserData(user_data))))?;
            *given = Given(handler, UserData(user_data));
            Ok(())
        })
    }
}

/// The handler that was set last, so that another one may pass records on to it, or put it back.
///
/// @param handler_out    Receives the function, NULL for none.
/// @param user_data_out  Receives what is passed to it; may be NULL.
/// @param error_out      Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_log_get_handler(
    handler_out: *mut dijitso_log_fn,
    user_data_out: *mut *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_log_get_handler", || {
            let handler_out = output(handler_out, None, "handler_out")?;
            let given = given();
            *handler_out = given.0;
            if let Some(user_data_out) = user_data_out.as_mut() {
                *user_data_out = given.1.get();
            }
            Ok(())
        })
    }
}

/// The handler as it was set.
struct Given(dijitso_log_fn, UserData);

fn given() -> std::sync::MutexGuard<'static, Given> {
    static GIVEN: std::sync::Mutex<Given> =
        std::sync::Mutex::new(Given(None, UserData(std::ptr::null_mut())));
    lock(&GIVEN)
}
