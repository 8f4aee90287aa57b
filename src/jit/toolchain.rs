//! The toolchains of a process: each compiler is asked at most once per cache what it is, and once more for
//! each kind of processor what its native flags stand for.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use foldhash::fast::FixedState;

use crate::build::toolchain::{self, CompilerKeys, cpu, native};
use crate::cache::Cache;
use crate::error::Result;
use crate::params::resolved::Resolved;
use crate::process::Runner;
use crate::signature::{Toolchain, signature};
use crate::sync::lock;

use super::nested;
use super::polling;
use super::request::{Request, SignedRequest};

/// The toolchains that a process knows.
pub(super) struct Toolchains {
    pub(super) runner: Arc<dyn Runner>,
    /// By the keys of compiler files.
    known: Mutex<HashMap<String, Toolchain, FixedState>>,
    /// True if new answers are written into the cache.
    persists: bool,
}

impl Toolchains {
    pub(super) fn new(runner: Arc<dyn Runner>, persists: bool) -> Self {
        Self { runner, known: Mutex::default(), persists }
    }

    /// Signs a request by what this process knows.
    ///
    /// # Errors
    /// `Kind::InvalidArgument` for a bad name, `Kind::Cancelled` if the call was cancelled meanwhile.
    pub(super) fn sign<'a>(&self, request: Request<'a>) -> Result<SignedRequest<'a>> {
        let mut toolchain = Toolchain::unknown();
        let asked = &mut toolchain;
        let signature = signature(request.name, request.params, move || {
            *asked = match nested::toolchain_of_parent(&request.params.build) {
                Some((toolchain, true)) => toolchain,
                Some((parent, false)) => {
                    // The same compiler with other flags that concern the processor.
                    let plain = Toolchain { isa: String::new(), ..parent };
                    self.resolve_native(request.params, plain, &toolchain::inspect(&request.params.build))
                }
                None => self.get(request.params),
            };
            if polling::is_cancelled() {
                polling::check()?;
            }
            Ok(&*asked)
        })?;
        Ok(SignedRequest { request, signature, toolchain })
    }

    /// Returns the toolchain of these parameters: from memory, from the cache, or by running the compiler.
    /// Never an error, because a hit needs no compiler.
    ///
    /// If there is no compiler, or the cache is frozen, it is what this cache last knew.
    pub(super) fn get(&self, params: &Resolved) -> Toolchain {
        let compiler = toolchain::inspect(&params.build);
        let plain = self.recall_or_ask(params, &compiler, Toolchain::unknown(), || {
            toolchain::probe(&params.build, self.runner.as_ref(), &polling::context())
        });
        self.resolve_native(params, plain, &compiler)
    }

    /// Adds what flags such as `-march=native` stand for on this host, if there are any.
    fn resolve_native(&self, params: &Resolved, plain: Toolchain, compiler: &CompilerKeys) -> Toolchain {
        let Some(flags) = native::flags(&params.build) else { return plain };
        let on_host = compiler.on_machine(&flags, &cpu::key(&params.build));
        let absent = Toolchain { isa: native::unresolved(&params.build), ..plain.clone() };
        // A compiler that does not say what it is will not answer this either, and the ranks are waiting.
        if plain.is_unknown() {
            return absent;
        }
        let found = self.recall_or_ask(params, &on_host, absent, || {
            let isa = native::resolve(&params.build, &flags, self.runner.as_ref(), &polling::context());
            Toolchain { isa, ..plain.clone() }
        });
        Toolchain { isa: found.isa, ..plain }
    }

    /// Returns the toolchain of these parameters from memory or from the cache. Runs no compiler.
    pub(super) fn recall(&self, params: &Resolved) -> Option<Toolchain> {
        let compiler = toolchain::inspect(&params.build);
        let plain = self.recall_keys(params, &compiler)?;
        let Some(flags) = native::flags(&params.build) else { return Some(plain) };
        let on_host = compiler.on_machine(&flags, &cpu::key(&params.build));
        let isa = self.recall_keys(params, &on_host)?.isa;
        Some(Toolchain { isa, ..plain })
    }

    /// Returns what memory or the cache has for the keys of `compiler`, otherwise the answer to `ask`, which
    /// is stored; `absent` if there is no compiler and never was.
    fn recall_or_ask(
        &self,
        params: &Resolved,
        compiler: &CompilerKeys,
        absent: Toolchain,
        ask: impl FnOnce() -> Toolchain,
    ) -> Toolchain {
        if let Some(found) = self.recall_keys(params, compiler) {
            return found;
        }
        let Some(key) = &compiler.file_key else { return absent };
        let found = ask();
        // If the call was cancelled, the compiler was ended before it could answer.
        if polling::is_cancelled() {
            return found;
        }
        let cache = Cache::with_shared_params(&params.cache.cache_dir, &params.cache);
        let record = toolchain::encode(&params.build.compiler, &found);
        for key in [key, &compiler.command_key].into_iter().filter(|_| self.persists) {
            // Without a record the next program asks again.
            let written = cache.write_toolchain(key, &record);
            written.unwrap_or_else(|error| log::info!("{error}"));
        }
        lock(&self.known).insert(key.clone(), found.clone());
        found
    }

    /// Returns what memory or the cache has for the keys of `compiler`.
    fn recall_keys(&self, params: &Resolved, compiler: &CompilerKeys) -> Option<Toolchain> {
        let cache = Cache::with_shared_params(&params.cache.cache_dir, &params.cache);
        let saved =
            |key: &str| cache.read_toolchain(key).ok().flatten().and_then(|data| toolchain::decode(&data));
        // A frozen cache builds nothing: the compiler is the one that built its entries, whatever is
        // installed here.
        if params.cache.frozen
            && let Some(found) = saved(&compiler.command_key)
        {
            return Some(found);
        }
        let Some(key) = &compiler.file_key else { return saved(&compiler.command_key) };
        if let Some(known) = lock(&self.known).get(key) {
            return Some(known.clone());
        }
        let found = saved(key)?;
        lock(&self.known).insert(key.clone(), found.clone());
        Some(found)
    }
}
