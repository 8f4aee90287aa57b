//! Maintenance of a cache: check, eviction, statistics.

use std::ffi::{CString, c_char, c_void};
use std::time::Duration;

use crate::cache::gc::Limits;
use crate::cache::integrity::{Finding, RepairMode, RepairOutcome, Severity};
use crate::error::{Error, Kind};
use crate::jit::Session;

use super::boundary;
use super::cache::cache;
use super::convert::{c_string, flag, invalid, optional_text, path_text};
use super::error::dijitso_error;
use super::params::dijitso_params;
use super::status::dijitso_status;
use super::visit::Visitor;

/// The entry cannot be used.
pub const DIJITSO_SEVERITY_BROKEN: i32 = 0;
/// The entry is built again at its next use.
pub const DIJITSO_SEVERITY_STALE: i32 = 1;
/// A file that only takes space.
pub const DIJITSO_SEVERITY_LEFTOVER: i32 = 2;

/// Nothing was done.
pub const DIJITSO_REPAIR_NO: i32 = 0;
/// It was quarantined or removed.
pub const DIJITSO_REPAIR_DONE: i32 = 1;
/// A running program is working on it.
pub const DIJITSO_REPAIR_BUSY: i32 = 2;
/// The repair failed.
pub const DIJITSO_REPAIR_FAILED: i32 = 3;

/// Something in a cache that is wrong.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_finding {
    /// sizeof(dijitso_finding) in the library
    pub struct_size: usize,
    /// One of the DIJITSO_SEVERITY_ values.
    pub severity: i32,
    /// The outcome of the repair: one of the DIJITSO_REPAIR_ values.
    pub repair: i32,
    /// Kind of the finding in one word, such as "library-altered". *Borrowed* for the callback, like all that
    /// follow.
    pub kind: *const c_char,
    /// The entry, "" if it belongs to none.
    pub signature: *const c_char,
    /// The file.
    pub path: *const c_char,
    /// The finding as a sentence.
    pub text: *const c_char,
    /// The advice: what to do about it.
    pub advice: *const c_char,
    /// Which program works on it, or why the repair failed; else "".
    pub reason: *const c_char,
}

/// Visits findings; see VISITORS in the manual.
pub type dijitso_finding_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, finding: *const dijitso_finding) -> i32>;

/// An entry, file or folder that was removed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_removed {
    /// sizeof(dijitso_removed) in the library
    pub struct_size: usize,
    /// The entry, "" if it belongs to none. *Borrowed* for the callback, like path.
    pub signature: *const c_char,
    /// Its library, or the file or folder.
    pub path: *const c_char,
    /// Bytes of the disk that it took.
    pub bytes: u64,
    /// Seconds since its last use.
    pub idle: f64,
}

/// Visits what was removed; see VISITORS in the manual.
pub type dijitso_removed_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, removed: *const dijitso_removed) -> i32>;

/// Statistics of a cache for the programs on one host.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_stats {
    /// sizeof(dijitso_stats) in the library
    pub struct_size: usize,
    /// The name of the host. *Borrowed* for the callback.
    pub host: *const c_char,
    /// Calls that were answered from memory.
    pub memory_hits: u64,
    /// Calls that found the library in the cache.
    pub disk_hits: u64,
    /// Calls that built the library.
    pub builds: u64,
    /// Calls whose build failed.
    pub failures: u64,
    /// Libraries received from another rank.
    pub received: u64,
    /// Calls that waited for another program to build.
    pub waited: u64,
    /// Seconds of compiling.
    pub compile_seconds: f64,
    /// Seconds of compiling that hits have saved.
    pub saved_seconds: f64,
}

/// Visits the statistics of hosts; see VISITORS in the manual.
pub type dijitso_stats_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, stats: *const dijitso_stats) -> i32>;

/// The longest wait for another program that evicts from the same cache.
const EVICTION_WAIT: Duration = Duration::from_secs(60);

/// Shows one finding. Returns true if the visit goes on.
fn show(visitor: &Visitor<dijitso_finding>, finding: &Finding) -> bool {
    let (repair, reason) = match &finding.outcome {
        RepairOutcome::No | RepairOutcome::Would => (DIJITSO_REPAIR_NO, ""),
        RepairOutcome::Done => (DIJITSO_REPAIR_DONE, ""),
        RepairOutcome::Busy(who) => (DIJITSO_REPAIR_BUSY, who.as_str()),
        RepairOutcome::Failed(why) => (DIJITSO_REPAIR_FAILED, why.as_str()),
    };
    let path = finding.path.display().to_string();
    let what = finding.what;
    let texts: [CString; 6] =
        [what.name(), &finding.signature, &path, &finding.text, finding.advice(), reason].map(c_string);
    let [kind, signature, path, text, advice, reason] = texts.each_ref().map(|text: &CString| text.as_ptr());
    visitor.visit(&dijitso_finding {
        struct_size: size_of::<dijitso_finding>(),
        severity: match what.severity() {
            Severity::Broken => DIJITSO_SEVERITY_BROKEN,
            Severity::Stale => DIJITSO_SEVERITY_STALE,
            Severity::Leftover => DIJITSO_SEVERITY_LEFTOVER,
        },
        repair,
        kind,
        signature,
        path,
        text,
        advice,
        reason,
    })
}

/// Checks a cache, and repairs it if asked to.
///
/// It compares digests of libraries and headers, looks for the libraries that entries need and for headers
/// and libraries that have changed since the build, and for leftovers of killed programs.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param signature  One entry, which is checked with all that it needs; NULL for the whole cache. *Copied*.
/// @param repair     1: quarantines broken entries and removes leftovers; 0: changes nothing.
/// @param visitor    Called for each finding, the worst first; may be NULL.
/// @param user_data  Passed to it.
/// @param sound_out  Receives 1 if no entry is broken (any more), else 0; may be NULL.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, whatever is found; DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or
///         DIJITSO_ERROR_CACHE if there is no such entry or the cache cannot be read at all.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_check(
    params: *const dijitso_params,
    signature: *const c_char,
    repair: i32,
    visitor: dijitso_finding_fn,
    user_data: *mut c_void,
    sound_out: *mut i32,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_cache_check", || {
            let signature = optional_text(signature, "signature")?;
            let mode = if flag(repair, "repair")? { RepairMode::On } else { RepairMode::Off };
            let chosen: Vec<String> = signature.iter().map(|signature| (*signature).to_owned()).collect();
            let report = cache(params)?.check(&chosen, mode, &|_, _| ())?;
            if let Some(sound_out) = sound_out.as_mut() {
                *sound_out = i32::from(report.is_sound());
            }
            let visitor = Visitor::optional(visitor, user_data);
            let _ = report.findings.iter().all(|finding| show(&visitor, finding));
            Ok(())
        })
    }
}

/// Removes entries until the cache is within cache.max_size and cache.max_age.
///
/// The least recently used entries go first. A library that they need goes when no remaining entry needs it.
/// Safe beside programs that use the cache. Without a limit nothing is removed.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param min_idle   Seconds: entries that were built or used since then stay. Negative for the default.
/// @param dry_run    1: removes nothing and shows what would be removed; 0: removes it.
/// @param visitor    Called for each removed item, after all have been removed; may be NULL.
/// @param user_data  Passed to it.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE if
///         something could not be removed, or another program is evicting for more than a minute.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_gc(
    params: *const dijitso_params,
    min_idle: f64,
    dry_run: i32,
    visitor: dijitso_removed_fn,
    user_data: *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_cache_gc", || {
            let cache = cache(params)?;
            let mut limits =
                Limits { dry_run: flag(dry_run, "dry_run")?, ..Limits::of(cache.layout().params()) };
            if min_idle.is_nan() {
                return Err(invalid("min_idle is not a number"));
            }
            if min_idle >= 0.0 {
                limits.min_idle =
                    Duration::try_from_secs_f64(min_idle).unwrap_or(Duration::from_secs(u64::from(u32::MAX)));
            }
            let done = cache.evict(&limits, EVICTION_WAIT)?;
            let visitor = Visitor::optional(visitor, user_data);
            let _ = done.removed.iter().all(|removed| {
                let (signature, path) = (c_string(&removed.signature), path_text(&removed.path));
                visitor.visit(&dijitso_removed {
                    struct_size: size_of::<dijitso_removed>(),
                    signature: signature.as_ptr(),
                    path: path.as_ptr(),
                    bytes: removed.bytes,
                    idle: removed.idle.as_secs_f64(),
                })
            });
            done.failures.first().map_or(Ok(()), |first| Err(Error::new(Kind::Cache, first)))
        })
    }
}

/// Lists the statistics of a cache: hits, builds and failures, counted for each host.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param visitor    Called for each host, in the order of the names.
/// @param user_data  Passed to it.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT or DIJITSO_ERROR_PARAMS.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_stats(
    params: *const dijitso_params,
    visitor: dijitso_stats_fn,
    user_data: *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_cache_stats", || {
            let visitor = Visitor::new(visitor, user_data)?;
            let cache = cache(params)?;
            if cache.layout().params().stats {
                Session::of_process().flush_counts(&cache);
            }
            let usage = cache.stats();
            let _ = usage.hosts.iter().all(|(host, counts)| {
                let host = c_string(host);
                let seconds = |milliseconds: u64| Duration::from_millis(milliseconds).as_secs_f64();
                visitor.visit(&dijitso_stats {
                    struct_size: size_of::<dijitso_stats>(),
                    host: host.as_ptr(),
                    memory_hits: counts.memory_hits,
                    disk_hits: counts.disk_hits,
                    builds: counts.builds,
                    failures: counts.failures,
                    received: counts.received,
                    waited: counts.waited,
                    compile_seconds: seconds(counts.compiling_ms),
                    saved_seconds: seconds(counts.saved_ms),
                })
            });
            Ok(())
        })
    }
}

/// Sets the statistics of a cache to zero.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_PARAMS or DIJITSO_ERROR_CACHE.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_reset_stats(
    params: *const dijitso_params,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_cache_reset_stats", || cache(params)?.reset_stats().map(drop))
    }
}
