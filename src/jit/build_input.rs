//! A build that needs nothing of the host any more: compile, admit, publish.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::ffi::OsString;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::build::pch::Store;
use crate::build::toolchain::{self, cpu, native};
use crate::build::{self, Built, DependencyCopies, Job, modules};
use crate::cache::build_spec::BuildSpec;
use crate::cache::layout::{Category, Layout};
use crate::cache::negative_cache::FailureRecord;
use crate::cache::record::{EntryRecord, append_record};
use crate::cache::{Cache, EntryView, Lookup, Verify, file_digest};
use crate::codec::{Writer, digest, hex};
use crate::error::{Error, Kind, Result};
use crate::fsutil;
use crate::params::resolved::{BuildParams, SourceStorage};
use crate::process::Runner;
use crate::process::exec_context::ExecContext;
use crate::process::phase::Phase;
use crate::signature::Toolchain;

use super::admission::Admission;
use super::callbacks::Source;
use super::counting::LINK_TOUCH_INTERVAL;
use super::lookup::removed_error;
use super::request::SignedRequest;

/// The input of a build. Any thread may run it.
#[derive(Debug)]
pub(super) struct BuildInput {
    name: String,
    params: BuildParams,
    /// Section `generator` of the parameters as JSON.
    generator: String,
    /// The digest of the source text, if the call gives it.
    text: Option<String>,
    signature: String,
    toolchain: Toolchain,
    cache: Cache,
    code: Vec<u8>,
    /// Everything else that was generated.
    source: Source,
    /// Signatures that calls within `generate` were answered with.
    pub(super) asked: Vec<String>,
}

impl BuildInput {
    /// Makes the input of a build from what was generated: `code`, and the rest in `source`.
    pub(super) fn new(
        signed: &SignedRequest<'_>,
        toolchain: Toolchain,
        cache: &Cache,
        code: Vec<u8>,
        source: Source,
        asked: Vec<String>,
    ) -> Self {
        let request = signed.request;
        Self {
            name: request.name.to_owned(),
            params: request.params.build.clone(),
            generator: request.params.generator.clone(),
            text: request.params.text.map(|text| hex(&text)),
            signature: signed.signature.clone(),
            toolchain,
            cache: cache.clone(),
            code,
            source,
            asked,
        }
    }

    /// Builds the entry, and publishes it if it is admitted. Returns the seconds that the compiler took.
    ///
    /// Another thread may cancel or hurry the build by a clone of `context`.
    ///
    /// # Errors
    /// [`Kind::Generate`] for a bad dependency, [`Kind::Compile`], [`Kind::Load`], [`Kind::Cache`];
    /// [`Kind::Cancelled`] or [`Kind::State`] if the host or another thread has cancelled the build.
    pub(super) fn run(
        self: Box<Self>,
        runner: &dyn Runner,
        admission: &Admission<'_>,
        context: &ExecContext,
    ) -> Result<f64> {
        let Self { name, params, generator, text, signature, toolchain, cache, code, source, asked } = *self;
        let (cache, signature) = (&cache, signature.as_str());
        let dependencies = source.dependencies;
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
            source_dir: &layout.dir(Category::Src),
            cache_dirs: (&layout.dir(Category::Inc), &layout.dir(Category::Lib)),
            copies: copies(cache, order.iter().chain(&asked))?,
            temp_roots: &layout.staging_places(),
            memory_roots: &layout.memory_places(),
            failure_dir: &layout.failure(signature),
            tracks_inputs: layout.params().tracks_inputs(),
            pch_store: pch_store(layout),
            context,
        };
        let built = compile(&job, cache, runner)?;
        context.check(signature)?;

        // A language with modules has them in the place of a header.
        let modules = if source.header.is_some() { None } else { modules::encode(&built.modules) };
        let header = source.header.as_deref().or(modules.as_deref());
        let record = EntryRecord {
            signature: signature.to_owned(),
            name,
            header: header.map(file_digest),
            source_sha256: hex(&digest(&code)),
            text,
            nested: not_linked(asked, &dependencies, signature),
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
        context.enter(Phase::Publish);
        let log = log_text(&record, cache, &built, source.header.is_some());
        let keep_log = layout.params().enable_build_log;
        let stored = stored(&code, layout.params().src_storage);
        let files = EntryView {
            signature,
            library: &append_record(built.image, &record)?,
            header,
            source: stored.as_ref().map(|(data, packed)| (&**data, *packed)),
            log: keep_log.then_some(log.as_bytes()),
        };
        cache.publish_if(files, |staged| {
            admission.admit(cache, files, staged).map_err(|error| match error.kind() {
                Kind::Load if !staged.exists() => removed_error(signature, cache),
                Kind::Load => build::not_loaded(&job, &built.argv, &built.output, &error),
                _ => error,
            })
        })?;
        cache.forget_failure(signature);
        Ok(record.seconds)
    }
}

/// Runs the compiler, unless the negative cache has its failure.
fn compile(job: &Job<'_>, cache: &Cache, runner: &dyn Runner) -> Result<Built> {
    let (signature, params) = (job.signature, job.params);
    let key = failure_key(job, |name| std::env::var_os(name));
    if let Some(error) = cache.remembered_failure(signature, &key) {
        // Not in the error, whose message is the same for all programs.
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
            let record = FailureRecord::new(key, failed.inputs, &dirs, failed.error.clone());
            cache.remember_failure(signature, &record);
        }
        failed.error
    })
}

/// Returns the parameters that the signature depends on, for comparisons.
pub(super) fn build_spec(params: &BuildParams) -> BuildSpec {
    let cpu = native::flags(params).map(|_| cpu::key(params));
    BuildSpec::new(params, cpu.as_deref().unwrap_or_default())
}

/// Returns the key of a failure in the negative cache: a digest of everything that a build is made from,
/// apart from the files that it reads. The signature is no such key, because it comes from the name and the
/// parameters alone.
fn failure_key(job: &Job<'_>, variable: impl Fn(&str) -> Option<OsString>) -> String {
    let mut writer = Writer::new(b"dijitso build");
    // Digests, because sources may be large.
    writer.bytes(&digest(job.source.1));
    writer.bytes(&digest(job.header.map_or(b"", |(_, text)| text)));
    job.dependencies.iter().for_each(|file| writer.bytes(file.as_bytes()));
    job.params.write(&mut writer);
    let compiler = toolchain::inspect(job.params).file_key;
    writer.bytes(compiler.unwrap_or_default().as_bytes());
    for name in SEARCH_VARIABLES {
        let value = variable(name);
        writer.u32(u32::from(value.is_some()));
        writer.bytes(value.unwrap_or_default().as_encoded_bytes());
    }
    hex(&digest(&writer.finish()))
}

/// Environment variables that say where compilers search for headers, libraries and their own parts.
const SEARCH_VARIABLES: [&str; 7] = [
    "PATH",
    "CPATH",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "LIBRARY_PATH",
    "COMPILER_PATH",
    "GCC_EXEC_PREFIX",
];

/// Returns the transitive dependency closure of these dependencies, themselves included.
fn check_dependencies(cache: &Cache, dependencies: &[String]) -> Result<Vec<String>> {
    let mut all: Vec<String> = Vec::new();
    for dependency in dependencies {
        // Signatures become part of paths.
        crate::signature::check_signature(dependency)
            .map_err(|error| error.context("dijitso_source_add_dependency"))?;
        match cache.lookup(dependency, Verify::ForLink)? {
            Lookup::Hit(order) => all.extend(order.libs.into_iter().map(|lib| lib.signature)),
            Lookup::Miss | Lookup::Damaged(_) => {
                let text = format!(
                    "the dependency {dependency} is missing or damaged in {}: build it by dijitso_jit \
                     within generate; \
                     another program may have removed it",
                    cache.layout().root().display()
                );
                return Err(Error::new(Kind::Generate, text));
            }
        }
    }
    Ok(all)
}

/// Reads headers and libraries of these entries and of their closures, if others can rename the path of the
/// cache, so that the compiler must not read there; otherwise returns `None`.
fn copies<'a>(cache: &Cache, wanted: impl Iterator<Item = &'a String>) -> Result<Option<DependencyCopies>> {
    if cache.renamable_reason()?.is_none() {
        return Ok(None);
    }
    let layout = cache.layout();
    let mut copies = DependencyCopies::default();
    let mut seen = Vec::new();
    for signature in wanted {
        // A call within `generate` may have failed.
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

/// Bytes of precompiled headers in the directory for temporary files, which may be in memory, unless
/// `cache.pch_max_size` is set.
const PCH_MAX_TEMPORARY: u64 = 256 << 20;

/// Returns where precompiled headers are kept; `None` if nowhere.
fn pch_store(layout: &Layout) -> Option<Store> {
    let params = layout.params();
    let mut max_size = params.pch_max_size;
    let dir = if max_size > 0 { layout.pch_dir()? } else { return None };
    if !params.pch_max_size_named && !dir.starts_with(layout.root()) {
        max_size = max_size.min(PCH_MAX_TEMPORARY);
    }
    Some(Store { dir, max_size })
}

/// Returns, each once, the entries that `generate` asked for and that are not linked.
fn not_linked(asked: Vec<String>, dependencies: &[String], own: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for signature in asked {
        if signature != own && !dependencies.contains(&signature) && !found.contains(&signature) {
            found.push(signature);
        }
    }
    found
}

/// Returns the source as it is stored, and whether it is compressed.
fn stored(code: &[u8], storage: SourceStorage) -> Option<(Cow<'_, [u8]>, bool)> {
    match storage {
        SourceStorage::Keep => Some((code.into(), false)),
        SourceStorage::Compress => Some((fsutil::gzip(code).into(), true)),
        SourceStorage::Delete => None,
    }
}

/// Returns the build log: a script that builds the library again, with facts of the build in comments.
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
    use crate::jit::tests::test_params;

    /// If the cache is not known to be on a disk of this host, precompiled headers are in the directory for
    /// temporary files.
    #[test]
    fn precompiled_headers_outside_of_the_cache_have_a_lower_limit() {
        let temp = tempfile::tempdir().unwrap();
        let size = |cache: &std::path::Path, settings: &[(&str, &str)]| {
            let mut params = test_params(temp.path(), settings);
            params.set("cache.temp_dir_root", temp.path().to_str().unwrap()).unwrap();
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

    /// A directory in CPATH may have the header that the source lacked.
    #[test]
    fn the_failure_key_has_the_variables_that_the_compiler_searches_by() {
        let nowhere = std::path::Path::new("/nonexistent");
        let params = test_params(nowhere, &[]).resolve().unwrap();
        let job = Job {
            params: &params.build,
            signature: "s",
            source: ("s.cpp", b"source"),
            header: None,
            library: "libs.so",
            dependencies: &[],
            repro_files: Vec::new(),
            source_dir: nowhere,
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
        for changed in SEARCH_VARIABLES {
            for value in ["", "/eigen"] {
                all.push(failure_key(&job, |name| (name == changed).then(|| value.into())));
            }
        }
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }
}
