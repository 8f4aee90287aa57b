//! Looking after a cache: is it sound, what has it been good for, making room.

use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use std::time::Duration;

use crate::cache::gc::Limits;
use crate::cache::integrity::{Finding, RepairMode, RepairOutcome, Severity};
use crate::error::{Error, Kind};
use crate::jit::Session;

use super::boundary;
use super::cache::{cache, optional};
use super::convert::{c_string, flag};
use super::error::dijitso_error;
use super::params::dijitso_params;
use super::status::dijitso_status;
use super::visit::Visitor;

/// It cannot be used.
pub const DIJITSO_SEVERITY_BROKEN: i32 = 0;
/// It is built again at its next use.
pub const DIJITSO_SEVERITY_STALE: i32 = 1;
/// It takes room.
pub const DIJITSO_SEVERITY_LEFTOVER: i32 = 2;

/// It was left as it is.
pub const DIJITSO_REPAIR_NO: i32 = 0;
/// It has been set aside or removed.
pub const DIJITSO_REPAIR_DONE: i32 = 1;
/// A living program is working on it.
pub const DIJITSO_REPAIR_BUSY: i32 = 2;
/// It could not be.
pub const DIJITSO_REPAIR_FAILED: i32 = 3;

/// Something in a cache that is not as it should be. Later versions may have further fields at the end.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_finding {
    /// sizeof(dijitso_finding) in the library.
    pub struct_size: usize,
    /// One of the DIJITSO_SEVERITY_ values.
    pub severity: i32,
    /// What has become of it: one of the DIJITSO_REPAIR_ values.
    pub mended: i32,
    /// What it is, in one word, as "library-altered". *Borrowed* for the callback, as the following.
    pub what: *const c_char,
    /// The entry, "" for what belongs to none.
    pub signature: *const c_char,
    /// The file.
    pub path: *const c_char,
    /// What it is, in words.
    pub text: *const c_char,
    /// What to do about it.
    pub advice: *const c_char,
    /// Who is busy with it, or why it could not be mended; "" else.
    pub reason: *const c_char,
}

/// Takes one finding after the other.
///
/// @param user_data  That of the call.
/// @param finding    *Borrowed* for the callback.
/// @return 0 to go on; any other value ends the visit, which is no error.
pub type dijitso_finding_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, finding: *const dijitso_finding) -> i32>;

/// Something that was removed to make room. Later versions may have further fields at the end.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_removed {
    /// sizeof(dijitso_removed) in the library.
    pub struct_size: usize,
    /// The entry, "" for what belongs to none. *Borrowed* for the callback, as the following.
    pub signature: *const c_char,
    /// Its library, or the file or folder.
    pub path: *const c_char,
    /// Bytes of the disk.
    pub bytes: u64,
    /// Seconds since it was last used.
    pub idle: f64,
}

/// Takes what was removed, one thing after the other.
///
/// @param user_data  That of the call.
/// @param removed    *Borrowed* for the callback.
/// @return 0 to go on; any other value ends the visit, which is no error: it was removed before.
pub type dijitso_removed_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, removed: *const dijitso_removed) -> i32>;

/// What programs on one host have been answered by a cache. Later versions may have further fields at the end.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_stats {
    /// sizeof(dijitso_stats) in the library.
    pub struct_size: usize,
    /// The host. *Borrowed* for the callback.
    pub host: *const c_char,
    /// Calls that were answered from memory.
    pub memory_hits: u64,
    /// Calls for which the library was in the cache.
    pub disk_hits: u64,
    /// Calls that built.
    pub builds: u64,
    /// Calls that could not build.
    pub failures: u64,
    /// Libraries that came from another rank.
    pub received: u64,
    /// Calls for which another program built.
    pub waited: u64,
    /// Seconds that compilers took.
    pub compiling: f64,
    /// Seconds that compilers once took for what was found in the cache.
    pub saved: f64,
}

/// Takes the numbers of one host after the other.
///
/// @param user_data  That of the call.
/// @param stats      *Borrowed* for the callback.
/// @return 0 to go on; any other value ends the visit, which is no error.
pub type dijitso_stats_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, stats: *const dijitso_stats) -> i32>;

/// For how long to wait for another program that makes room in the same cache.
const PATIENCE: Duration = Duration::from_secs(60);

fn show(visitor: &Visitor<dijitso_finding>, finding: &Finding) -> bool {
    let (mended, reason) = match &finding.mended {
        RepairOutcome::No | RepairOutcome::Would => (DIJITSO_REPAIR_NO, ""),
        RepairOutcome::Done => (DIJITSO_REPAIR_DONE, ""),
        RepairOutcome::Busy(who) => (DIJITSO_REPAIR_BUSY, who.as_str()),
        RepairOutcome::Failed(why) => (DIJITSO_REPAIR_FAILED, why.as_str()),
    };
    let path = finding.path.display().to_string();
    let what = finding.what;
    let texts: [CString; 6] =
        [what.name(), &finding.signature, &path, &finding.text, finding.advice(), reason].map(c_string);
    let [what_name, signature, path, text, advice, reason] =
        texts.each_ref().map(|text: &CString| text.as_ptr());
    visitor.visit(&dijitso_finding {
        struct_size: size_of::<dijitso_finding>(),
        severity: match what.severity() {
            Severity::Broken => DIJITSO_SEVERITY_BROKEN,
            Severity::Stale => DIJITSO_SEVERITY_STALE,
            Severity::Leftover => DIJITSO_SEVERITY_LEFTOVER,
        },
        mended,
        what: what_name,
        signature,
        path,
        text,
        advice,
        reason,
    })
}

/// Checks a cache: digests of libraries and headers, what they need, headers and libraries that have changed since,
/// what programs that were killed have left.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param signature  One entry, which is checked with all that it needs; NULL for the whole cache. *Copied*.
/// @param repair     1: what is broken is set aside, and leftovers are removed; 0: nothing is changed.
/// @param visitor    Called for each finding, the worst first; may be NULL.
/// @param user_data  Passed to it.
/// @param sound_out  Receives 1 if nothing is broken, or is any more; else 0. May be NULL.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, whatever is found; DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or
///         DIJITSO_ERROR_CACHE for an entry that is not there, and when the cache cannot be read at all.
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
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_cache_check", || {
            let signature = optional(signature, "signature")?;
            let mend = if flag(repair, "repair")? { RepairMode::Do } else { RepairMode::No };
            let chosen: Vec<String> = signature.iter().map(|signature| (*signature).to_owned()).collect();
            let report = cache(params)?.check(&chosen, mend, &|_, _| ())?;
            if let Some(sound_out) = sound_out.as_mut() {
                *sound_out = i32::from(report.is_sound());
            }
            if visitor.is_some() {
                let visitor = Visitor::new(visitor, user_data)?;
                let _ = report.findings.iter().all(|finding| show(&visitor, finding));
            }
            Ok(())
        })
    }
}

/// Makes room in a cache, as "cache.max_size" and "cache.max_age" say: the least recently used entries go first, and
/// what they need goes when nothing that stays needs it. Safe beside programs that use the cache.
///
/// @param params     *Borrowed* for the call; NULL for the defaults. Without any limit nothing is removed.
/// @param spared     Seconds: what was built or used since then stays. Negative for the default.
/// @param dry_run    1: nothing is removed, the visitor is told what would be; 0: it is removed.
/// @param visitor    Called for each thing that was removed; may be NULL.
/// @param user_data  Passed to it.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE when something
///         could not be removed, or another program makes room for more than a minute.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_gc(
    params: *const dijitso_params,
    spared: f64,
    dry_run: i32,
    visitor: dijitso_removed_fn,
    user_data: *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_cache_gc", || {
            let cache = cache(params)?;
            let mut limits =
                Limits { dry_run: flag(dry_run, "dry_run")?, ..Limits::of(cache.layout().params()) };
            if spared.is_nan() {
                return Err(Error::new(Kind::InvalidArgument, "spared is not a number"));
            }
            if spared >= 0.0 {
                limits.spared =
                    Duration::try_from_secs_f64(spared).unwrap_or(Duration::from_secs(u64::from(u32::MAX)));
            }
            let done = cache.evict(&limits, PATIENCE)?;
            if visitor.is_some() {
                let visitor = Visitor::new(visitor, user_data)?;
                let _ = done.removed.iter().all(|removed| {
                    let shown = |path: &Path| c_string(&path.display().to_string());
                    let (signature, path) = (c_string(&removed.signature), shown(&removed.path));
                    visitor.visit(&dijitso_removed {
                        struct_size: size_of::<dijitso_removed>(),
                        signature: signature.as_ptr(),
                        path: path.as_ptr(),
                        bytes: removed.bytes,
                        idle: removed.idle.as_secs_f64(),
                    })
                });
            }
            done.failures.first().map_or(Ok(()), |first| Err(Error::new(Kind::Cache, first)))
        })
    }
}

/// Tells what a cache has been good for: hits, builds and failures, counted by each host for itself.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param visitor    Called for each host, in the order of their names.
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
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
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
                    compiling: seconds(counts.compiling_ms),
                    saved: seconds(counts.saved_ms),
                })
            });
            Ok(())
        })
    }
}

/// Forgets what has been counted in a cache.
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
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_cache_reset_stats", || cache(params)?.reset_stats().map(drop))
    }
}
