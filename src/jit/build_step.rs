//! The work of a builder: generate, compile, publish; or wait for another program that does.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use crate::cache::lease::{self, Acquire};
use crate::cache::{Cache, Verify};
use crate::error::{Error, Kind, Result, catch};
use crate::fsutil::FileStamp;
use crate::logging;
use crate::process::exec_context::ExecContext;
use crate::process::phase::Phase;
use crate::process::slots;
use crate::sync::lock;

use super::admission::Admission;
use super::build_input::BuildInput;
use super::build_pool::{BuildTask, InFlightBuild, StartedBuild};
use super::callbacks::Callbacks;
use super::counting::count_build;
use super::explain::log_miss_reason;
use super::generate::{generate, is_deferred};
use super::lookup::{first_removed, is_present, removed_error};
use super::nested;
use super::progress;
use super::request::{Request, SignedRequest};
use super::session::Session;

/// The longest wait of a call within `generate` for another program that builds the same.
const MAX_NESTED_WAIT: Duration = Duration::from_secs(60);

/// Starts a build, without waiting for any program: the source is generated at once, by this thread, and the
/// rest is left to other threads. `rank_and_size` are those of the call, for the log.
pub(super) fn start_build(
    session: &Session,
    signed: &SignedRequest<'_>,
    cache: &Cache,
    callbacks: &mut Callbacks<'_>,
    rank_and_size: Option<(usize, usize)>,
) -> StartedBuild {
    let Request { name, params } = signed.request;
    if params.cache.frozen || callbacks.generate.is_none() {
        return StartedBuild::Nothing;
    }
    let signature = signed.signature.as_str();
    if let Err(error) = nested::check_chain(name, signature, cache.layout()) {
        return StartedBuild::Failed(error);
    }
    let path = cache.layout().lib(signature);
    if let Some(build) = session.in_flight.get(&path) {
        return StartedBuild::InFlight(build);
    }
    let failed = |error: Error| {
        count_build(&session.counter, cache, signature, &Err(error.clone()));
        StartedBuild::Failed(error)
    };
    let lease = if params.build.lease_timeout.is_zero() {
        None
    } else {
        let tree = match cache.open_or_make() {
            Ok(tree) => Arc::new(tree),
            Err(error) => return failed(error),
        };
        match lease::try_take(&tree, &cache.layout().lease(signature)) {
            Some(Acquire::Acquired(lease)) => Some(lease),
            Some(_) => None,
            None => return StartedBuild::ElsewhereInProgress,
        }
    };
    // The last holder of the lease may have built it.
    if is_present(cache, signature, Verify::ForLink) {
        return StartedBuild::Nothing;
    }
    let (context, clock) = signed.context().with_clock();
    let counted = session.progress.begin(name, &clock);
    let prepared = catch("generating", || prepare(session, signed, cache, callbacks, &context));
    let input = match prepared {
        Ok(input) => input,
        Err(error) if is_deferred(&error) => return StartedBuild::Failed(error),
        Err(error) => return failed(error),
    };
    if let Some(lease) = &lease {
        lease.leave_thread();
    }
    clock.enter(Phase::WaitForSlot);
    let task = BuildTask {
        input,
        lease,
        counted,
        runner: Arc::clone(&session.toolchains.runner),
        loader: Arc::clone(&session.libraries.loader),
        rank_and_size,
        speaks: logging::is_chosen(),
        reports: logging::progress::reports(),
    };
    let max_threads = slots::choices(params.build.max_compilers, params.build.cores).len();
    let context = ExecContext::new(params.build.cores, None).timed_by(Some(clock));
    let build = InFlightBuild::submit(task, context, max_threads);
    session.in_flight.insert(path, &build);
    StartedBuild::InFlight(build)
}

/// Completes what was started, so that the entry is in `cache`. Returns true if this call has built it, false
/// if another program or call has.
pub(super) fn complete(
    session: &Session,
    started: StartedBuild,
    signed: &SignedRequest<'_>,
    cache: &Cache,
    callbacks: &mut Callbacks<'_>,
    context: &ExecContext,
) -> Result<bool> {
    let build = match started {
        StartedBuild::Nothing | StartedBuild::ElsewhereInProgress => {
            return build_or_wait(session, signed, cache, callbacks, context);
        }
        StartedBuild::Failed(error) => return Err(error),
        StartedBuild::InFlight(build) => build,
    };
    let built = build.wait(context).map(Some);
    if let Err(reason) = context.check(&signed.signature) {
        InFlightBuild::abandon(build);
        return Err(reason);
    }
    if built.is_err()
        && callbacks.generate.is_some()
        && let Some(removed) = first_removed(cache, &build.asked)
    {
        log::info!("{}: generating again: {removed} has been removed", signed.signature);
        cache.forget_failure(&signed.signature);
        return build_or_wait(session, signed, cache, callbacks, context);
    }
    if !build.is_first_to_count() {
        return built.map(|_| false);
    }
    record_outcome(session, cache, &signed.signature, built)
}

/// Builds the entry, or waits while another program builds it. Returns true if this call has built it.
fn build_or_wait(
    session: &Session,
    signed: &SignedRequest<'_>,
    cache: &Cache,
    callbacks: &mut Callbacks<'_>,
    context: &ExecContext,
) -> Result<bool> {
    let (Request { name, params }, signature) = (signed.request, signed.signature.as_str());
    // Before the lease: this thread holds it if it is generating the same entry.
    nested::check_chain(name, signature, cache.layout())?;
    let is_built = || is_present(cache, signature, Verify::ForLink);
    if params.cache.frozen {
        return if is_built() { Ok(false) } else { Err(session.frozen_misses.error(signed, cache, true)) };
    }
    let path = cache.layout().lib(signature);
    let mut last_stamp = None;
    // A damaged library is not verified again and again.
    let appeared = || {
        let stamp = FileStamp::of(&path).ok();
        std::mem::replace(&mut last_stamp, stamp) != stamp && is_built()
    };
    let mut max_wait = context.patience(params.build.lease_timeout);
    if nested::is_nested() {
        // The other builder may be waiting for what this thread generates.
        max_wait = max_wait.min(MAX_NESTED_WAIT);
    }
    // Without a callback nothing is built, and the call fails below.
    let lease = if callbacks.generate.is_none() || max_wait.is_zero() {
        Acquire::Unavailable(String::new())
    } else {
        // A directory that is no cache is an error before anything is generated.
        let tree = Arc::new(cache.open_or_make()?);
        lease::take_to_build(name, &tree, &cache.layout().lease(signature), max_wait, context, appeared)
    };
    context.check(signature)?;
    // The last holder of the lease may have built it.
    let built = if matches!(lease, Acquire::AlreadyBuilt) || is_built() {
        Ok(None)
    } else {
        generate_and_build(session, signed, cache, callbacks, context).map(Some)
    };
    record_outcome(session, cache, signature, built)
}

/// Counts the outcome of a build. Returns true if this process has built the entry.
fn record_outcome(
    session: &Session,
    cache: &Cache,
    signature: &str,
    built: Result<Option<f64>>,
) -> Result<bool> {
    count_build(&session.counter, cache, signature, &built);
    if matches!(built, Ok(Some(_))) {
        cache.evict_if_due();
    }
    built.map(|seconds| seconds.is_some())
}

/// Generates and builds; once more if an entry that `generate` had asked for is removed before the build uses
/// it.
fn generate_and_build(
    session: &Session,
    signed: &SignedRequest<'_>,
    cache: &Cache,
    callbacks: &mut Callbacks<'_>,
    context: &ExecContext,
) -> Result<f64> {
    let (context, clock) = context.clone().with_clock();
    let context = &context;
    let mut counted = session.progress.begin(signed.request.name, &clock);
    let mut retries = 1;
    loop {
        let input = prepare(session, signed, cache, callbacks, context)?;
        let asked = input.asked.clone();
        let runner = session.toolchains.runner.as_ref();
        // Debuggers and profilers read a library by the name under which it was loaded. So one with debug
        // information is loaded once it has its name, as any other that is found on disk.
        let admission = if signed.request.params.build.has_debug_info() {
            Admission::Resolved(session.libraries.loader.as_ref())
        } else {
            Admission::Loaded(&session.libraries)
        };
        let built = {
            let _waiting = progress::wait_in_call();
            input.run(runner, &admission, context)
        };
        if built.is_ok() {
            counted.succeed();
        }
        context.check(&signed.signature)?;
        let Some(removed) = built.as_ref().err().and_then(|_| first_removed(cache, &asked)) else {
            return built;
        };
        // The failure says nothing about the source.
        cache.forget_failure(&signed.signature);
        let error = removed_error(&removed, cache);
        if retries == 0 {
            return Err(error.context(&format!("cannot build {}", signed.signature)));
        }
        retries -= 1;
        log::info!("{}: generating again: {error}", signed.signature);
    }
}

/// The part of a build that needs the host. The rest needs a compiler only. What it returns is large, and the
/// stack of a host's thread may be small.
fn prepare(
    session: &Session,
    signed: &SignedRequest<'_>,
    cache: &Cache,
    callbacks: &mut Callbacks<'_>,
    context: &ExecContext,
) -> Result<Box<BuildInput>> {
    log_miss_reason(signed, cache);
    context.enter(Phase::Generate);
    let (mut source, nested) = generate(signed, cache, callbacks, context)?;
    let code = source.code.take().ok_or_else(|| {
        let text = "the generate callback returned 0 and set no code (dijitso_source_set_code)";
        Error::new(Kind::Generate, text)
    })?;
    cache.ensure_dirs()?;
    if lock(&session.swept).insert(cache.layout().root().to_owned()) {
        cache.sweep();
    }
    // If the signature is the name, the compiler has not been asked yet.
    let toolchain = match &signed.toolchain {
        unknown if unknown.is_unknown() => session.toolchains.get(signed.request.params),
        known => known.clone(),
    };
    Ok(Box::new(BuildInput::new(signed, toolchain, cache, code, source, nested.asked)))
}
