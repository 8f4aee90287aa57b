//! The generate callback: asking the host for source code.

#![forbid(unsafe_code)]

use crate::build::toolchain;
use crate::cache::Cache;
use crate::error::{Error, Kind, Result, catch};
use crate::inputs;
use crate::process::exec_context::ExecContext;

use super::callbacks::{Callbacks, GenerateRequest, Source};
use super::lookup::no_generator;
use super::nested::{self, Nested, ParentToolchain};
use super::request::SignedRequest;

/// The message of a generator that is to be called again later.
const DEFERRED: &str = "something else has to be made before this source can be generated";

/// Returns true if the generator is to be called again later.
pub(super) fn is_deferred(error: &Error) -> bool {
    error.kind() == Kind::State && error.message() == DEFERRED
}

/// Calls the generate callback. Also returns what calls within it did. Each dependency is returned once.
///
/// # Errors
/// [`Kind::InvalidArgument`] if there is no callback, [`Kind::Internal`] if it panics, [`Kind::Cancelled`] if
/// the call or one within it was cancelled, [`Kind::State`] if it is deferred, otherwise [`Kind::Generate`].
pub(super) fn generate(
    signed: &SignedRequest<'_>,
    cache: &Cache,
    callbacks: &mut Callbacks<'_>,
    context: &ExecContext,
) -> Result<(Source, Nested)> {
    let (request, signature) = (signed.request, signed.signature.as_str());
    let root = cache.layout().root();
    let Some(generate) = callbacks.generate.as_mut() else { return Err(no_generator(signature, root)) };
    let mut source = Source::default();
    let asked = GenerateRequest { name: request.name, signature, generator: &request.params.generator };
    let by_name = request.params.cache.signature_is_name;
    let toolchain = (!by_name).then(|| ParentToolchain::new(&request.params.build, signed.toolchain.clone()));
    let (result, nested) = nested::within(
        (request.name, signature),
        &request.params.cache.cache_dir,
        cache.layout(),
        toolchain,
        context.deadline,
        || catch("generating", || Ok(generate(asked, &mut source))),
    );
    // The callback may have written headers that a source includes.
    inputs::invalidate();
    toolchain::invalidate();
    context.check(signature)?;
    let Err(code) = result? else {
        if nested.pending > 0 {
            let text = format!(
                "the generate callback for {signature} has started {} builds that it has not finished: \
                 within it call \
                 dijitso_jit_finish or dijitso_pending_free for each dijitso_jit_start",
                nested.pending
            );
            return Err(Error::new(Kind::Generate, text));
        }
        let mut dependencies: Vec<String> = Vec::new();
        for dependency in std::mem::take(&mut source.dependencies) {
            if !dependencies.contains(&dependency) {
                dependencies.push(dependency);
            }
        }
        return Ok((Source { dependencies, ..source }, nested));
    };
    if source.deferred {
        return Err(Error::new(Kind::State, DEFERRED));
    }
    let mut text = format!("the generate callback for {signature} returned {code}");
    if let Some(reason) = &source.error {
        text.push_str(": ");
        text.push_str(reason);
    }
    match nested.failed {
        Some(failed) => {
            // The callback may have given the same reason in its own words.
            if !text.contains(failed.message()) {
                text.push_str("; a call within it failed: ");
                text.push_str(failed.message());
            }
            let is_cancelled = failed.kind() == Kind::Cancelled;
            let kind = if is_cancelled { Kind::Cancelled } else { Kind::Generate };
            Err(Error::new(kind, text).with_log(failed.log()).with_path(failed.path()))
        }
        None => Err(Error::new(Kind::Generate, text)),
    }
}
