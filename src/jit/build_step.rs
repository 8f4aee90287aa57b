//! What a builder does: generate, compile, publish.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::build::pch::Store;
use crate::build::toolchain::{self, cpu, native};
use crate::build::{self, Built, DependencyCopies, Job};
use crate::cache::build_spec::BuildSpec;
use crate::cache::layout::{Category, Layout};
use crate::cache::lease::{self, Acquire};
use crate::cache::negative_cache::FailureRecord;
use crate::cache::record::{EntryRecord, append_record};
use crate::cache::{Cache, EntryView, Lookup, Verify, file_digest};
use crate::codec::{Writer, digest, hex};
use crate::error::{Error, Kind, Result, catch};
use crate::fsutil::{self, FileStamp};
use crate::inputs;
use crate::logging::progress;
use crate::params::resolved::{BuildParams, SourceStorage};
use crate::process::Runner;
use crate::process::exec_context::ExecContext;
use crate::signature::{Toolchain, signature};

use super::admission::Admission;
use super::callbacks::{Callbacks, GenerateRequest, Source};
use super::counting::LINK_TOUCH_INTERVAL;
use super::nested::{self, Nested, ParentToolchain};
use super::removed::removed;
use super::{Request, Session, lock, no_generator};

/// A request whose signature is known.
pub(super) struct SignedRequest<'a> {
    pub(super) request: Request<'a>,
    pub(super) signature: String,
    /// The compiler that the signature names.
    pub(super) toolchain: Toolchain,
}

impl SignedRequest<'_> {
    /// The execution context of its build: a call within `generate` has the deadline of the build that it is for.
    pub(super) fn context(&self) -> ExecContext {
        ExecContext::new(self.request.params.build.cores, nested::deadline())
    }
}

impl Session {
    /// The signature of a request, as far as this process can tell.
    pub(super) fn ticket<'a>(&self, request: Request<'a>) -> Result<SignedRequest<'a>> {
        let mut toolchain = Toolchain::unknown();
        let signature = signature(request.name, request.params, || {
            toolchain = match nested::toolchain_of_parent(&request.params.build) {
                Some((toolchain, true)) => toolchain,
                Some((toolchain, false)) => self.nested_toolchain(request.params, &toolchain),
                None => self.toolchain(request.params),
            };
            Ok(toolchain.clone())
        })?;
        Ok(SignedRequest { request, signature, toolchain })
    }

    /// Sees to it that the entry of a ticket is in `cache`. True when this call built it, false when another program
    /// has done so meanwhile.
    pub(super) fn build_or_wait(
        &self,
        ticket: &SignedRequest<'_>,
        cache: &Cache,
        callbacks: &mut Callbacks<'_>,
        context: &ExecContext,
    ) -> Result<bool> {
        let signature = ticket.signature.as_str();
        // Before the lease, which this thread has if it generates just this.
        nested::check_chain(ticket.request.name, signature, cache.layout())?;
        let there = || matches!(cache.lookup(signature, Verify::ForLink), Ok(Lookup::Hit(..)));
        if ticket.request.params.cache.frozen {
            return if there() { Ok(false) } else { Err(self.frozen(ticket, cache, true)) };
        }
        let name = ticket.request.name;
        let path = cache.layout().lib(signature);
        let mut seen = None;
        // A library that is there and damaged is not read again and again.
        let appeared = || {
            let now = FileStamp::of(&path).ok();
            std::mem::replace(&mut seen, now) != now && there()
        };
        let patience = ticket.request.params.build.lease_timeout;
        // Without a callback to build it there is nothing to wait for: the call fails below.
        let patience = if callbacks.generate.is_some() { context.patience(patience) } else { Duration::ZERO };
        // Whoever builds it may be waiting in turn for what is generated here.
        let patience = if nested::is_nested() { patience.min(NESTED_PATIENCE) } else { patience };
        let lease = if patience.is_zero() {
            Acquire::Unavailable(String::new())
        } else {
            // What is no cache is told before anything is generated.
            let tree = Arc::new(cache.open_or_make()?);
            lease::take_to_build(name, &tree, &cache.layout().lease(signature), patience, appeared)
        };
        // Whoever had the lease before us may have built it.
        let made = if matches!(lease, Acquire::AlreadyBuilt) || there() {
            Ok(None)
        } else {
            self.generate_and_build(ticket, cache, callbacks, context).map(Some)
        };
        self.record_outcome(cache, signature, made)
    }

    /// Counts what has become of a build. True when this process did it.
    pub(super) fn record_outcome(
        &self,
        cache: &Cache,
        signature: &str,
        made: Result<Option<f64>>,
    ) -> Result<bool> {
        self.count_made(cache, signature, &made);
        if matches!(made, Ok(Some(_))) {
            cache.evict_if_due();
        }
        made.map(|seconds| seconds.is_some())
    }

    /// The part of a build that needs the host: what is left needs nothing but a compiler.
    pub(super) fn prepare(
        &self,
        ticket: &SignedRequest<'_>,
        cache: &Cache,
        callbacks: &mut Callbacks<'_>,
        context: &ExecContext,
    ) -> Result<BuildInput> {
        self.log_miss_reason(ticket, cache);
        let (mut source, nested) = generate(ticket, cache, callbacks, context)?;
        let code = source.code.take().ok_or_else(|| {
            let text = "the generate callback returned 0 and set no code (dijitso_source_set_code)";
            Error::new(Kind::Generate, text)
        })?;
        cache.ensure_dirs()?;
        if lock(&self.swept).insert(cache.layout().root().to_owned()) {
            cache.sweep();
        }
        let request = ticket.request;
        // With the name alone for a signature it has not been asked yet.
        let toolchain = match &ticket.toolchain {
            unknown if unknown.is_unknown() => self.toolchain(request.params),
            known => known.clone(),
        };
        Ok(BuildInput {
            name: request.name.to_owned(),
            params: request.params.build.clone(),
            generator: request.params.generator.clone(),
            text: request.params.text.map(|text| hex(&text)),
            signature: ticket.signature.clone(),
            toolchain,
            cache: cache.clone(),
            code,
            source,
            asked: nested.asked,
        })
    }
}

/// What a build is made from, generated; any thread may do it.
#[derive(Debug)]
pub(super) struct BuildInput {
    name: String,
    params: BuildParams,
    generator: String,
    text: Option<String>,
    signature: String,
    toolchain: Toolchain,
    cache: Cache,
    code: Vec<u8>,
    /// All but the code.
    source: Source,
    /// Signatures that nested calls were answered with.
    pub(super) asked: Vec<String>,
}

impl BuildInput {
    /// Builds the entry, and publishes it if it is admitted. Gives the seconds that the compiler took.
    ///
    /// Another thread may cancel or hurry it by a clone of `context`.
    pub(super) fn run(
        self,
        runner: &dyn Runner,
        admission: &Admission<'_>,
        context: &ExecContext,
    ) -> Result<f64> {
        let Self { name, params, generator, text, signature, toolchain, cache, code, source, asked } = self;
        let (cache, signature) = (&cache, signature.as_str());
        let mut dependencies: Vec<String> = Vec::new();
        for dependency in source.dependencies {
            if !dependencies.contains(&dependency) {
                dependencies.push(dependency);
            }
        }
        let order = check_dependencies(cache, &dependencies)?;
        order.iter().for_each(|needed| cache.note_use(needed, LINK_TOUCH_INTERVAL));

        let layout = cache.layout();
        let (src, inc) = (layout.src_basename(signature), layout.inc_basename(signature));
        let files: Vec<String> = dependencies.iter().map(|name| layout.lib_basename(name)).collect();
        let mut with_statics = params.clone();
        with_statics.flags.splice(0..0, toolchain::own_statics(&params, &toolchain).map(str::to_owned));
        let job = Job {
            params: &with_statics,
            signature,
            source: (&src, &code),
            header: source.header.as_deref().map(|text| (inc.as_str(), text)),
            library: &layout.lib_basename(signature),
            dependencies: &files,
            repro_files: order
                .iter()
                .chain(&asked)
                .flat_map(|name| [layout.inc(name), layout.lib(name)])
                .collect(),
            cache_dirs: (&layout.dir(Category::Inc), &layout.dir(Category::Lib)),
            copies: copies(cache, order.iter().chain(&asked))?,
            temp_roots: &layout.staging_places(),
            memory_roots: &layout.memory_places(),
            failure_dir: &layout.failure(signature),
            tracks_inputs: layout.params().tracks_inputs(),
            pch_store: pch_store(layout),
            context,
        };
        let doing = format!("compiling \"{name}\"");
        let built = progress::during(doing, || compile(&job, cache, runner))?;

        let record = EntryRecord {
            signature: signature.to_owned(),
            name,
            header: source.header.as_deref().map(file_digest),
            source_sha256: hex(&digest(&code)),
            text,
            nested: others(asked, &dependencies, signature),
            dependencies,
            inputs: built.inputs.clone(),
            toolchain,
            command: built.argv.clone(),
            build_spec: build_spec(&params),
            generator,
            built_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
            seconds: built.seconds,
            host: crate::host_name(),
            dijitso: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let log = log_text(&record, cache, &built, source.header.is_some());
        let keep_log = layout.params().enable_build_log;
        let source = stored(&code, layout.params().src_storage);
        let files = EntryView {
            signature,
            library: &append_record(built.image, &record)?,
            header: job.header.map(|(_, text)| text),
            source: source.as_ref().map(|(data, packed)| (&**data, *packed)),
            log: keep_log.then_some(log.as_bytes()),
        };
        cache.publish_if(files, |staged| {
            admission.admit(cache, files, staged).map_err(|error| match error.kind() {
                Kind::Load if !staged.exists() => removed(signature, cache),
                Kind::Load => build::not_loaded(&job, &built.argv, &built.output, &error),
                _ => error,
            })
        })?;
        cache.forget_failure(signature);
        Ok(record.seconds)
    }
}

/// How long a call within `generate` waits for another that builds the same.
const NESTED_PATIENCE: Duration = Duration::from_secs(60);

/// Runs the compiler, unless it has refused exactly this a moment ago.
fn compile(job: &Job<'_>, cache: &Cache, runner: &dyn Runner) -> Result<Built> {
    let (signature, params) = (job.signature, job.params);
    let of = failure_key(job, |name| std::env::var_os(name));
    if let Some(error) = cache.remembered_failure(signature, &of) {
        // The message is the same for all who ask.
        log::info!(
            "{signature} is not compiled again: the compiler refused the same source less than {} s ago \
             (cache.failure_ttl)",
            cache.layout().params().failure_ttl.as_secs_f64()
        );
        return Err(error);
    }
    build::build(job, runner).map_err(|failed| {
        if failed.deterministic {
            let dirs = [&*params.include_dirs, &params.lib_dirs].concat();
            let note = FailureRecord::new(of, failed.inputs, &dirs, failed.error.clone());
            cache.remember_failure(signature, &note);
        }
        failed.error
    })
}

/// What of these parameters the signature depends on, for comparisons.
pub(super) fn build_spec(params: &BuildParams) -> BuildSpec {
    let cpu = native::flags(params).map(|_| cpu::key(params));
    BuildSpec::new(params, cpu.as_deref().unwrap_or_default())
}

/// Asks the host for the source.
pub(super) fn generate(
    ticket: &SignedRequest<'_>,
    cache: &Cache,
    callbacks: &mut Callbacks<'_>,
    context: &ExecContext,
) -> Result<(Source, Nested)> {
    let (request, signature) = (ticket.request, ticket.signature.as_str());
    let root = cache.layout().root();
    let Some(generate) = callbacks.generate.as_mut() else { return Err(no_generator(signature, root)) };
    let mut source = Source::default();
    let asked = GenerateRequest { name: request.name, signature, generator: &request.params.generator };
    let by_name = request.params.cache.signature_is_name;
    let toolchain = (!by_name).then(|| ParentToolchain::new(&request.params.build, ticket.toolchain.clone()));
    let (result, nested) = nested::within(
        (request.name, signature),
        &request.params.cache.cache_dir,
        cache.layout(),
        toolchain,
        context.deadline,
        || catch("generating", || Ok(generate(asked, &mut source))),
    );
    // It may have written headers that the source, or another one, includes.
    inputs::invalidate();
    toolchain::invalidate();
    let Err(code) = result? else {
        if nested.pending > 0 {
            let text = format!(
                "the generate callback for {signature} has started {} builds that it has not finished: within it call \
                 dijitso_jit_finish or dijitso_pending_free for each dijitso_jit_start",
                nested.pending
            );
            return Err(Error::new(Kind::Generate, text));
        }
        return Ok((source, nested));
    };
    let mut text = format!("the generate callback for {signature} returned {code}");
    if let Some(reason) = &source.error {
        text.push_str(": ");
        text.push_str(reason);
    }
    match nested.failed {
        Some(failed) => {
            // A callback may have given the same reason in its own words.
            if !text.contains(failed.message()) {
                text.push_str("; a library that it asked for could not be had: ");
                text.push_str(failed.message());
            }
            Err(Error::new(Kind::Generate, text).with_log(failed.log()).with_path(failed.path()))
        }
        None => Err(Error::new(Kind::Generate, text)),
    }
}

/// What a build is made from, apart from what it reads: a failure is one of exactly this. The signature does not tell,
/// because it comes from the name and the parameters alone.
fn failure_key(job: &Job<'_>, variable: impl Fn(&str) -> Option<OsString>) -> String {
    let mut writer = Writer::new(b"dijitso build");
    // Digests, since sources may be large.
    writer.bytes(&digest(job.source.1));
    writer.bytes(&digest(job.header.map_or(b"", |(_, text)| text)));
    job.dependencies.iter().for_each(|file| writer.bytes(file.as_bytes()));
    job.params.write(&mut writer);
    let compiler = toolchain::inspect(job.params).file_key;
    writer.bytes(compiler.unwrap_or_default().as_bytes());
    for name in SEARCHED {
        let value = variable(name);
        writer.u32(u32::from(value.is_some()));
        writer.bytes(value.unwrap_or_default().as_encoded_bytes());
    }
    hex(&digest(&writer.finish()))
}

/// Environment variables that say where compilers look for headers, libraries and their own parts.
const SEARCHED: [&str; 7] = [
    "PATH",
    "CPATH",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "LIBRARY_PATH",
    "COMPILER_PATH",
    "GCC_EXEC_PREFIX",
];

/// All that the dependencies need, themselves included.
fn check_dependencies(cache: &Cache, dependencies: &[String]) -> Result<Vec<String>> {
    let mut all: Vec<String> = Vec::new();
    for dependency in dependencies {
        // They become part of paths.
        crate::signature::check_signature(dependency)
            .map_err(|error| error.context("dijitso_source_add_dependency"))?;
        match cache.lookup(dependency, Verify::ForLink)? {
            Lookup::Hit(order) => all.extend(order.into_iter().map(|whole| whole.signature)),
            Lookup::Miss | Lookup::Damaged(_) => {
                let text = format!(
                    "the dependency {dependency} is not whole in {}: build it by dijitso_jit within generate, unless \
                     another program has removed it",
                    cache.layout().root().display()
                );
                return Err(Error::new(Kind::Generate, text));
            }
        }
    }
    Ok(all)
}

/// Headers and libraries of these entries and of all that they need, out of a cache to which the compiler must not be
/// led; `None` where it may.
fn copies<'a>(cache: &Cache, wanted: impl Iterator<Item = &'a String>) -> Result<Option<DependencyCopies>> {
    if cache.is_loose()?.is_none() {
        return Ok(None);
    }
    let layout = cache.layout();
    let mut copies = DependencyCopies::default();
    let mut seen = Vec::new();
    for signature in wanted {
        // What was asked for and could not be had is not there.
        if seen.contains(signature) || !layout.lib(signature).exists() {
            continue;
        }
        for files in cache.read_closure(signature)? {
            if seen.contains(&files.signature) {
                continue;
            }
            copies.headers.extend(files.header.map(|text| (layout.inc_basename(&files.signature), text)));
            copies.libraries.push((layout.lib_basename(&files.signature), files.library));
            seen.push(files.signature);
        }
    }
    Ok(Some(copies))
}

/// What precompiled headers take at most in the directory for temporary files, which may be kept in memory, unless
/// another limit is set.
const ELSEWHERE: u64 = 256 << 20;

/// Where precompiled headers are kept.
fn pch_store(layout: &Layout) -> Option<Store> {
    let params = layout.params();
    let mut max_size = params.pch_max_size;
    let dir = if max_size > 0 { layout.pch_dir()? } else { return None };
    if !params.pch_max_size_named && !dir.starts_with(layout.root()) {
        max_size = max_size.min(ELSEWHERE);
    }
    Some(Store { dir, max_size })
}

/// What was asked for within `generate` and is not linked.
fn others(asked: Vec<String>, dependencies: &[String], own: &str) -> Vec<String> {
    let mut others: Vec<String> = Vec::new();
    for signature in asked {
        if signature != own && !dependencies.contains(&signature) && !others.contains(&signature) {
            others.push(signature);
        }
    }
    others
}

fn stored(code: &[u8], storage: SourceStorage) -> Option<(Cow<'_, [u8]>, bool)> {
    match storage {
        SourceStorage::Keep => Some((code.into(), false)),
        SourceStorage::Compress => Some((fsutil::gzip(code).into(), true)),
        SourceStorage::Delete => None,
    }
}

/// The log: a script that builds the same again, with what is known of the build in comments.
fn log_text(record: &EntryRecord, cache: &Cache, built: &Built, has_header: bool) -> String {
    let layout = cache.layout();
    let signature = &record.signature;
    let quote = |path: std::path::PathBuf| shell_words::quote(&path.display().to_string()).into_owned();
    let source = shell_words::quote(&layout.src_basename(signature)).into_owned();
    let fetch_source = match layout.params().src_storage {
        SourceStorage::Compress => format!("gunzip -c {} > {source}", quote(layout.src(signature, true))),
        SourceStorage::Keep => format!("cp {} {source}", quote(layout.src(signature, false))),
        SourceStorage::Delete => format!("# the source was not kept: put {source} here"),
    };
    let fetch_header =
        if has_header { format!("cp {} .\n", quote(layout.inc(signature))) } else { String::new() };
    let retried = built.retried.as_ref().map_or_else(String::new, |why| format!("# retried:   {why}\n"));
    let output: String = built.output.lines().map(|line| format!("#   {line}\n")).collect();
    format!(
        "#!/bin/sh\n\
         # dijitso build log 1\n\
         # signature: {signature}\n\
         # compiler:  {identity} ({target})\n\
         # host:      {host}\n\
         # seconds:   {seconds:.3}\n\
         {retried}\
         # To build it again, run these lines in an empty folder:\n\
         {fetch_source}\n{fetch_header}{command}\n\
         # The compiler said:\n{output}",
        identity = record.toolchain.identity,
        target = record.toolchain.target,
        host = record.host,
        seconds = record.seconds,
        command = crate::process::join(&built.argv),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{Environment, Params};

    /// What is no disk of this host, as far as is known, has its precompiled headers in the directory for temporary files.
    #[test]
    fn less_is_kept_of_precompiled_headers_where_the_cache_is_on_another_disk() {
        let temp = tempfile::tempdir().unwrap();
        let size = |cache: &std::path::Path, settings: &[(&str, &str)]| {
            let around = Environment {
                variables: [("HOME", "/h".to_owned())].into(),
                cwd: "/c".into(),
                uid: 0,
                system_dir: "/nonexistent".into(),
            };
            let mut params = Params::in_environment(&around).unwrap();
            params.set("cache.temp_dir_root", temp.path().to_str().unwrap()).unwrap();
            settings.iter().for_each(|(key, value)| params.set(key, value).unwrap());
            let params = params.resolve().unwrap().cache;
            pch_store(&Layout::new(cache, params)).map(|store| (store.dir.starts_with(cache), store.max_size))
        };
        let (near, far) = (temp.path(), std::path::Path::new("/nonexistent/cache"));
        assert_eq!(size(near, &[]), Some((true, 1 << 30)));
        assert_eq!(size(far, &[]), Some((false, 256 << 20)));
        assert_eq!(size(far, &[("cache.pch_max_size", "2G")]), Some((false, 2 << 30)));
        assert_eq!(size(far, &[("cache.pch_max_size", "1G")]), Some((false, 1 << 30)));
        assert_eq!(size(far, &[("cache.pch_max_size", "0")]), None);
    }

    /// A directory in CPATH may have what the source lacked.
    #[test]
    fn a_failure_is_one_of_the_surroundings_in_which_the_compiler_searched() {
        let around = Environment {
            variables: [("HOME", "/h".to_owned())].into(),
            cwd: "/c".into(),
            uid: 0,
            system_dir: "/nonexistent".into(),
        };
        let params = Params::in_environment(&around).unwrap().resolve().unwrap();
        let nowhere = std::path::Path::new("/nonexistent");
        let job = Job {
            params: &params.build,
            signature: "s",
            source: ("s.cpp", b"source"),
            header: None,
            library: "libs.so",
            dependencies: &[],
            repro_files: Vec::new(),
            cache_dirs: (nowhere, nowhere),
            temp_roots: &[],
            copies: None,
            failure_dir: nowhere,
            tracks_inputs: true,
            memory_roots: &[],
            pch_store: None,
            context: &ExecContext::default(),
        };
        let plain = failure_key(&job, |_| None);
        assert_eq!(plain, failure_key(&job, |name| (name == "EDITOR").then(|| "vi".into())));
        let mut all = vec![plain];
        for changed in SEARCHED {
            for value in ["", "/eigen"] {
                all.push(failure_key(&job, |name| (name == changed).then(|| value.into())));
            }
        }
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }
}
