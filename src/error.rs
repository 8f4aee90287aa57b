//! The error type of the crate.
//!
//! [`crate::parallel::agree`] sends the error of the lowest failing rank to all others. So an error is plain
//! text, and is the same on all ranks.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::advice;
use crate::escape;

/// The kind of a failure. The numbers are the status codes of the C interface and are never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// NULL, an invalid name, an invalid value of an enumeration.
    InvalidArgument = 1,
    /// This build of the library, or this system, cannot do it.
    Unsupported = 2,
    /// MPI is not initialised or already finalised; a handle is in another state than the call needs.
    State = 3,
    /// Unknown key, wrong type, unreadable config file.
    Params = 4,
    /// A file of the cache cannot be read or written, or is not trusted.
    Cache = 10,
    /// The generate callback returned non-zero.
    Generate = 20,
    /// A send, receive or wait callback returned non-zero.
    Callback = 21,
    /// The compiler or linker failed, is missing, or timed out.
    Compile = 30,
    /// The dynamic loader refused the library.
    Load = 40,
    /// The library does not have the symbol.
    Symbol = 41,
    /// Ranks passed different names or parameters.
    RanksDisagree = 50,
    /// An MPI function failed.
    Mpi = 51,
    /// Ranks waited longer than a timeout.
    Timeout = 52,
    /// The host has cancelled the call by its poll callback, on any rank.
    Cancelled = 53,
    /// A caught panic: a bug in this library.
    Internal = 90,
}

impl Kind {
    /// Returns the status code of the C interface.
    #[must_use]
    pub fn code(self) -> i32 {
        self as i32
    }
}

/// A failure: its kind, a message of one paragraph, and the output and files that explain it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    kind: Kind,
    message: String,
    log: String,
    path: String,
    rank: i32,
    /// True if another attempt may succeed, although nothing has changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    passing: bool,
}

/// The result of functions of this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// The largest encoded error: the output of a compiler ([`crate::process::OUTPUT_LIMIT`]) with each byte
/// escaped.
const MAX_SIZE: usize = 64 << 20;

impl Error {
    /// Makes an error. `message` says which operation failed, on which object, and what to do next. Line
    /// breaks in it become blanks, and control characters become escapes.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message: String = message.into();
        // It contains paths, output of compilers and fields of records, and host programs print it on
        // terminals.
        let message = match escape::paragraph(&message) {
            Cow::Borrowed(_) => message,
            Cow::Owned(escaped) => escaped,
        };
        Self { kind, message, log: String::new(), path: String::new(), rank: -1, passing: false }
    }

    /// Makes the error of a call that its host has cancelled.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new(Kind::Cancelled, "the call was cancelled by its poll callback")
    }

    /// Makes the error of a failed operation (`doing`: "cannot read") on a file of the cache or of a build,
    /// with advice.
    #[must_use]
    pub fn io(doing: &str, path: &std::path::Path, cause: &std::io::Error) -> Self {
        let error = Self::file(doing, path, cause).passing_with(cause);
        match advice::of_cause(cause) {
            Some(advice) => error.with_note(advice),
            None => error,
        }
    }

    /// Makes the error of a failed operation on a file that the caller has named.
    #[must_use]
    pub fn file(doing: &str, path: &std::path::Path, cause: &std::io::Error) -> Self {
        let reason = cause.to_string();
        // Removes the path of a temporary file, which means nothing to a reader.
        let reason = reason.split_once(" at path \"").map_or(reason.as_str(), |(reason, _)| reason);
        Self::new(Kind::Cache, format!("{doing} {}: {reason}", path.display()))
    }

    /// Adds the complete output of a compiler.
    #[must_use]
    pub fn with_log(mut self, log: impl Into<String>) -> Self {
        self.log = log.into();
        self
    }

    /// Adds the folder that reproduces the failure.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Marks a failure that has nothing to do with what was to be done: a program was killed or timed out, memory
    /// or a disk was short.
    #[must_use]
    pub fn passing(mut self) -> Self {
        self.passing = true;
        self
    }

    /// Marks the failure as [`Error::passing`] if its cause is: a full disk, short memory, too many processes or
    /// open files, a program that is being written.
    #[must_use]
    pub fn passing_with(self, cause: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let passes = match cause.kind() {
            ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::FileTooLarge
            | ErrorKind::OutOfMemory
            | ErrorKind::WouldBlock
            | ErrorKind::ExecutableFileBusy => true,
            _ => matches!(cause.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)),
        };
        if passes { self.passing() } else { self }
    }

    /// Returns true if another attempt may succeed, although nothing has changed.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.passing
    }

    /// Puts the operation in progress before the message.
    #[must_use]
    pub fn context(mut self, doing: &str) -> Self {
        self.message = format!("{}: {}", escape::paragraph(doing), self.message);
        self
    }

    /// Adds the rank and host on which it happened, unless it has a rank already.
    #[must_use]
    pub fn on_rank(mut self, rank: usize, size: usize, host: &str) -> Self {
        if self.rank < 0 {
            self.rank = i32::try_from(rank).unwrap_or(i32::MAX);
            self.message = format!("rank {rank} of {size} on {host}: {}", self.message);
        }
        self
    }

    /// Sets the rank, of which the message says more than this; -1 for none.
    #[must_use]
    pub fn with_rank(mut self, rank: i32) -> Self {
        self.rank = rank;
        self
    }

    /// Adds a sentence to the end of the message.
    #[must_use]
    pub fn with_note(mut self, note: &str) -> Self {
        self.message.push_str("; ");
        self.message.push_str(note);
        self
    }

    /// Returns the kind of the failure.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the message: the failed operation, its object, the first words of the compiler, and what to do
    /// next.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the message without rank and host at its beginning, for records that have fields for these.
    #[must_use]
    pub fn message_without_place(&self) -> &str {
        let place = format!("rank {} of ", self.rank);
        let rest = self.message.strip_prefix(&place).and_then(|rest| rest.split_once(": "));
        rest.map_or(&self.message, |(_, message)| message)
    }

    /// Returns the complete output of the compiler, empty if none.
    #[must_use]
    pub fn log(&self) -> &str {
        &self.log
    }

    /// Returns the folder that reproduces the failure, empty if none.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the rank in the communicator on which it happened, -1 if none.
    #[must_use]
    pub fn rank(&self) -> i32 {
        self.rank
    }

    /// Encodes the error, to be sent to other ranks.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an error consists of strings and integers")
    }

    /// Decodes an error. Damaged bytes become an error of [`Kind::Internal`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        if bytes.len() > MAX_SIZE {
            let text = format!("another rank failed, and its error of {} bytes is too long", bytes.len());
            return Self::new(Kind::Internal, text);
        }
        serde_json::from_slice(bytes).unwrap_or_else(|cause| {
            Self::new(
                Kind::Internal,
                format!("another rank failed, and its error could not be read: {cause}"),
            )
        })
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Returns the text of a caught panic.
#[must_use]
pub fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

/// Runs `step` and turns a panic in it into an error of [`Kind::Internal`].
///
/// # Errors
/// The error of `step`, or [`Kind::Internal`].
pub fn catch<T>(doing: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(step)).unwrap_or_else(|payload| {
        let text = panic_text(payload.as_ref());
        Err(Error::new(Kind::Internal, format!("{doing}: bug in dijitso, please report it: {text}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each call has many results on its stack, and the stack of a host's thread may be small.
    #[test]
    fn an_error_takes_no_more_room_than_its_texts_and_a_word() {
        assert_eq!(size_of::<Error>(), 3 * size_of::<String>() + size_of::<u64>());
    }

    #[test]
    fn an_error_survives_encoding() {
        let error = Error::new(Kind::Compile, "100 % wrong: {}")
            .with_log("a\nb\0\u{fffd}")
            .with_path("/tmp/jitfailure-x")
            .on_rank(3, 4, "node1");
        assert_eq!(Error::from_bytes(&error.to_bytes()), error);
        assert_eq!(error.rank(), 3);
        assert_eq!(error.clone().on_rank(1, 4, "node2"), error);
        assert_eq!(Error::from_bytes(b"{").kind(), Kind::Internal);
    }

    proptest! {
        #[test]
        fn any_error_survives_encoding_and_any_bytes_are_an_error(
            texts in prop::array::uniform3(any::<String>()),
            rank in 0..9_usize,
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let [message, log, path] = texts;
            let error = Error::new(Kind::Load, message).with_log(log).with_path(path).on_rank(rank, 9, "h");
            prop_assert_eq!(Error::from_bytes(&error.to_bytes()), error);
            prop_assert_eq!(Error::from_bytes(&bytes).kind(), Kind::Internal);
        }
    }

    #[test]
    fn the_message_without_place_has_no_rank() {
        let error = Error::new(Kind::Compile, "rank 7 of our fears: no").on_rank(3, 4, "node1");
        assert_eq!(error.message(), "rank 3 of 4 on node1: rank 7 of our fears: no");
        assert_eq!(error.message_without_place(), "rank 7 of our fears: no");
        let without = Error::new(Kind::Compile, "rank -1 of: no");
        assert_eq!(without.message_without_place(), "rank -1 of: no");
        assert_eq!(without.with_note("look").message(), "rank -1 of: no; look");
    }

    #[test]
    fn a_failed_file_operation_has_advice_and_names_one_path() {
        let path = std::path::Path::new("/nonexistent/x");
        let full = std::io::Error::from_raw_os_error(28);
        let error = Error::io("cannot write", path, &full);
        let start = "cannot write /nonexistent/x: No space left on device (os error 28)";
        assert!(error.message().starts_with(&format!("{start}; ")) && error.message().contains("dijitso gc"));
        assert_eq!(Error::file("cannot write", path, &full).message(), start);
        let staged = tempfile::Builder::new().tempfile_in("/nonexistent").unwrap_err();
        let error = Error::io("cannot write", path, &staged);
        assert_eq!(error.message(), "cannot write /nonexistent/x: No such file or directory (os error 2)");
    }

    #[test]
    fn a_panic_becomes_an_error() {
        let error = catch("testing", || -> Result<()> { panic!("boom {}", 1) }).unwrap_err();
        assert_eq!(error.kind(), Kind::Internal);
        assert!(error.message().contains("boom 1"));
    }
}
