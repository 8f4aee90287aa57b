//! What the compiler is, asked at most once per compiler and cache; and what its native flags stand for, asked once
//! more for each kind of processor.

#![forbid(unsafe_code)]

use crate::build::toolchain::{self, CompilerKeys, cpu, native};
use crate::cache::Cache;
use crate::params::resolved::Resolved;
use crate::signature::Toolchain;

use super::{Session, lock};

impl Session {
    /// From memory, from the cache, or by running the compiler; never an error, because a hit needs no compiler.
    ///
    /// When the compiler is not there, or the cache is frozen, it is taken for what it was when this cache last saw it.
    pub(super) fn toolchain(&self, params: &Resolved) -> Toolchain {
        let compiler = toolchain::inspect(&params.build);
        let plain = self.recorded(params, &compiler, Toolchain::unknown(), || {
            toolchain::probe(&params.build, self.runner.as_ref())
        });
        self.on_this_machine(params, plain, &compiler)
    }

    /// The toolchain of a call within the `generate` of one with this toolchain and the same compiler, but other flags
    /// that concern the machine.
    pub(super) fn nested_toolchain(&self, params: &Resolved, parent: &Toolchain) -> Toolchain {
        let plain = Toolchain { isa: String::new(), ..parent.clone() };
        self.on_this_machine(params, plain, &toolchain::inspect(&params.build))
    }

    /// Adds what flags such as `-march=native` stand for on this machine, if there are any.
    fn on_this_machine(&self, params: &Resolved, plain: Toolchain, compiler: &CompilerKeys) -> Toolchain {
        let Some(flags) = native::flags(&params.build) else { return plain };
        let of_machine = compiler.on_machine(&flags, &cpu::key(&params.build));
        let absent = Toolchain { isa: native::unresolved(&params.build), ..plain.clone() };
        // A compiler that did not even say what it is has nothing to say, and the ranks are waiting.
        if plain.is_unknown() {
            return absent;
        }
        let found = self.recorded(params, &of_machine, absent, || {
            let isa = native::resolve(&params.build, &flags, self.runner.as_ref());
            Toolchain { isa, ..plain.clone() }
        });
        Toolchain { isa: found.isa, ..plain }
    }

    /// What memory or the cache knows by the keys of `compiler`, else the answer to `ask`, which is then recorded;
    /// `absent` for a compiler that is not there and never was.
    fn recorded(
        &self,
        params: &Resolved,
        compiler: &CompilerKeys,
        absent: Toolchain,
        ask: impl FnOnce() -> Toolchain,
    ) -> Toolchain {
        let cache = Cache::sharing(&params.cache.cache_dir, &params.cache);
        let saved =
            |key: &str| cache.read_toolchain(key).ok().flatten().and_then(|data| toolchain::decode(&data));
        // Where nothing is built, the compiler is the one that built what is there, whatever is installed here.
        if params.cache.frozen
            && let Some(found) = saved(&compiler.command_key)
        {
            return found;
        }
        let Some(key) = &compiler.file_key else {
            return saved(&compiler.command_key).unwrap_or(absent);
        };
        if let Some(known) = lock(&self.toolchains).get(key) {
            return known.clone();
        }
        let found = saved(key).unwrap_or_else(|| {
            let found = ask();
            let record = toolchain::encode(&params.build.compiler, &found);
            let keys = [key, &compiler.command_key];
            for key in keys.into_iter().filter(|_| self.takes_notes) {
                // Without a record the next program asks again.
                let written = cache.write_toolchain(key, &record);
                written.unwrap_or_else(|error| log::info!("{error}"));
            }
            found
        });
        lock(&self.toolchains).insert(key.clone(), found.clone());
        found
    }
}
