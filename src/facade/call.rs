//! Calls of hosts in Rust: builders that end in a load.

#![forbid(unsafe_code)]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use crate::capi::defaults;
use crate::capi::jit::jit_batch;
use crate::error::{Error as Failure, Kind, panic_text};
use crate::jit::callbacks::{GenerateRequest, interrupt_of};
use crate::jit::{Batch, Callbacks, batch_error};
use crate::params::Params;
use crate::params::resolved::Resolved;
use crate::signature::SourceText;

use super::comm::Comm;
use super::error::{Cause, Error};
use super::library::Library;
use super::source::Source;

type Generator<'a> = dyn FnMut(&mut Source<'_>) -> Result<(), Cause> + 'a;
type Poll = dyn Fn() -> bool + Send + Sync;

/// Begins a call for the library of a name: 1 to 200 of `A-Z a-z 0-9 _ . + -`, not beginning with `.` or `-`.
///
/// Name and parameters are the key of the cache. If the source depends on more, put it into the name or into
/// `generator` parameters, or give the text itself by [`Jit::source`].
pub fn jit<'a>(name: &str) -> Jit<'a> {
    Jit { name: name.to_owned(), settings: Settings::default(), text: Text::default() }
}

/// Begins a call for many libraries with the same parameters. Those that are missing are built at the same
/// time, and dealt out among the ranks.
pub fn jit_many<'a, N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> JitMany<'a> {
    let names = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
    JitMany { names, settings: Settings::default() }
}

/// A call for one library. [`jit`] makes it, [`Jit::load`] runs it.
#[must_use = "nothing happens before load"]
pub struct Jit<'a> {
    name: String,
    settings: Settings<'a>,
    text: Text,
}

/// A call for many libraries. [`jit_many`] makes it, [`JitMany::load`] runs it.
#[must_use = "nothing happens before load"]
pub struct JitMany<'a> {
    names: Vec<String>,
    settings: Settings<'a>,
}

/// The text of a call that gives it.
#[derive(Default)]
struct Text {
    code: Option<Vec<u8>>,
    header: Option<Vec<u8>>,
    dependencies: Vec<String>,
}

/// The settings that all calls have.
#[derive(Default)]
struct Settings<'a> {
    params: Vec<(String, String)>,
    generate: Option<Box<Generator<'a>>>,
    poll: Option<Box<Poll>>,
    comm: Comm,
}

/// The methods that both kinds of calls have.
macro_rules! settings {
    ($call:ident) => {
        impl<'a> $call<'a> {
            /// Sets a parameter, as `"build.cxxflags"`, `"-O2 -g"`. A key that is unknown or a value that
            /// does not fit is an error of the load. Without it the value is that of the environment, of the
            /// config file or the default.
            ///
            /// `"generator"` takes JSON that the closure gets; `"generator.degree"` sets one member of it.
            pub fn param(mut self, key: &str, value: &str) -> Self {
                self.settings.params.push((key.to_owned(), value.to_owned()));
                self
            }

            /// Sets the closure that generates source code. It runs on builders only, and only on a miss.
            ///
            /// Its error is the [`source`](std::error::Error::source) of the error of the call on the rank on
            /// which it failed. A panic in it goes on when the call has ended; the other ranks get an error.
            ///
            /// It may make further calls without a communicator, whose libraries it can link to.
            pub fn generate<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
                mut self,
                mut generate: impl FnMut(&mut Source<'_>) -> Result<(), E> + 'a,
            ) -> Self {
                self.settings.generate = Some(Box::new(move |source| generate(source).map_err(Into::into)));
                self
            }

            /// Makes the call collective over a communicator: every rank makes it, with the same names and
            /// parameters, and every rank gets the same result.
            pub fn comm(mut self, comm: Comm) -> Self {
                self.settings.comm = comm;
                self
            }

            /// Sets a closure that is asked at least every 50 ms while the call waits. If it returns true on
            /// any rank, the call ends on all ranks with [`Kind::Cancelled`].
            pub fn poll(mut self, poll: impl Fn() -> bool + Send + Sync + 'static) -> Self {
                self.settings.poll = Some(Box::new(poll));
                self
            }
        }

        impl std::fmt::Debug for $call<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let params = &self.settings.params;
                f.debug_struct(stringify!($call)).field("params", params).finish_non_exhaustive()
            }
        }
    };
}

settings!(Jit);
settings!(JitMany);

impl Jit<'_> {
    /// Gives the source text in place of a closure. The text is then a part of the key, so that a changed
    /// text is another library.
    pub fn source(mut self, code: impl Into<Vec<u8>>) -> Self {
        self.text.code = Some(code.into());
        self
    }

    /// Gives the header that belongs to the text of [`Jit::source`].
    pub fn header(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.text.header = Some(text.into());
        self
    }

    /// Links the text of [`Jit::source`] to a library.
    pub fn depend_on(mut self, library: &Library) -> Self {
        self.text.dependencies.push(library.signature().to_owned());
        self
    }

    /// Gets the library: from memory, from disk, or by generating, compiling, sending and loading it.
    /// Collective over the communicator of the call, if it has one.
    ///
    /// # Errors
    /// Any [`Kind`], and the same on every rank.
    ///
    /// # Panics
    /// If the `generate` closure has panicked on this rank: its panic goes on.
    pub fn load(self) -> Result<Library, Error> {
        let Self { name, settings, text } = self;
        let dependencies: Vec<&str> = text.dependencies.iter().map(String::as_str).collect();
        let given = text.code.as_deref().map(|code| SourceText {
            code,
            header: text.header.as_deref(),
            dependencies: &dependencies,
        });
        let unused = given.is_none() && (text.header.is_some() || !dependencies.is_empty());
        let contradiction = match (&given, &settings.generate) {
            (Some(_), Some(_)) => Some("both source and generate are given"),
            (None, _) if unused => Some("a header or a dependency of a text is given without the text"),
            _ => None,
        };
        let results = settings.run(&[&name], given, contradiction)?;
        results.into_iter().next().unwrap_or_else(|| Err(internal()))
    }
}

impl JitMany<'_> {
    /// Gets the libraries, in the order of the names. Collective over the communicator of the call, if it has
    /// one.
    ///
    /// # Errors
    /// Any [`Kind`], and the same on every rank. If some libraries fail, the others are built all the same,
    /// and the error lists every one that failed; [`JitMany::load_each`] returns the others.
    ///
    /// # Panics
    /// If the `generate` closure has panicked on this rank: its panic goes on.
    pub fn load(self) -> Result<Vec<Library>, Error> {
        let Self { names, settings } = self;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (results, cause) = settings.run_inner(&names, None, None)?;
        match batch_error(&names, &results) {
            Some(error) => Err(Error::new(error, cause)),
            None => Ok(results.into_iter().flatten().map(Library::new).collect()),
        }
    }

    /// Gets the libraries, each with its own result, in the order of the names. Collective over the
    /// communicator of the call, if it has one.
    ///
    /// # Errors
    /// Any [`Kind`] if the call as a whole failed.
    ///
    /// # Panics
    /// If the `generate` closure has panicked on this rank: its panic goes on.
    pub fn load_each(self) -> Result<Vec<Result<Library, Error>>, Error> {
        let Self { names, settings } = self;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        settings.run(&names, None, None)
    }
}

/// The results of a call, and the last error of its closure.
type Outcome = (Vec<Result<crate::jit::Library, Failure>>, Option<Cause>);

impl Settings<'_> {
    fn run(
        self,
        names: &[&str],
        text: Option<SourceText<'_>>,
        contradiction: Option<&str>,
    ) -> Result<Vec<Result<Library, Error>>, Error> {
        let (results, mut cause) = self.run_inner(names, text, contradiction)?;
        let convert = |result: Result<_, Failure>| {
            result.map(Library::new).map_err(|error| {
                let cause = if error.kind() == Kind::Generate { cause.take() } else { None };
                Error::new(error, cause)
            })
        };
        Ok(results.into_iter().map(convert).collect())
    }

    fn run_inner(
        self,
        names: &[&str],
        text: Option<SourceText<'_>>,
        contradiction: Option<&str>,
    ) -> Result<Outcome, Error> {
        let Self { params, generate, poll, comm } = self;
        // What is wrong on this rank alone must not keep it away from the others, which wait for it.
        let params = match contradiction {
            Some(why) => Err(Failure::new(Kind::InvalidArgument, why)),
            None => resolve(&params),
        };
        let params = params.map(|params| match &text {
            Some(text) => Arc::new(params.with_text(text.digest())),
            None => params,
        });
        let batch = match &params {
            Ok(params) => Ok(Batch { names, params }),
            Err(error) => Err(error.clone()),
        };
        let (mut cause, mut panic) = (None, None);
        let results = {
            let mut callbacks = match text {
                Some(text) => Callbacks::of_text(text),
                None => callbacks(generate, &mut cause, &mut panic),
            };
            callbacks.poll = poll.map(|poll| interrupt_of(move || i32::from(poll())));
            jit_batch(batch, &mut callbacks, comm.0)
        };
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        match results {
            Ok(results) => Ok((results, cause)),
            Err(error) => Err(Error::new(error, cause)),
        }
    }
}

/// Wraps a closure, which leaves its error or panic in `cause` or `panic`.
fn callbacks<'a>(
    generate: Option<Box<Generator<'a>>>,
    cause: &'a mut Option<Cause>,
    panic: &'a mut Option<Box<dyn Any + Send>>,
) -> Callbacks<'a> {
    let Some(mut generate) = generate else { return Callbacks::default() };
    let call = move |request: GenerateRequest<'_>, inner: &mut crate::jit::Source| {
        let result = catch_unwind(AssertUnwindSafe(|| generate(&mut Source::new(request, &mut *inner))));
        let reason = match result {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => {
                let reason = error.to_string();
                *cause = Some(error);
                reason
            }
            Err(payload) => {
                let reason = format!("it panicked: {}", panic_text(payload.as_ref()));
                *panic = Some(payload);
                reason
            }
        };
        inner.error = Some(reason);
        Err(1)
    };
    Callbacks { generate: Some(Box::new(call)), ..Callbacks::default() }
}

fn resolve(settings: &[(String, String)]) -> Result<Arc<Resolved>, Failure> {
    if settings.is_empty() {
        return defaults::defaults();
    }
    let mut params = Params::of_environment(&defaults::environment()?)?;
    settings.iter().try_for_each(|(key, value)| params.set(key, value))?;
    params.resolve_shared()
}

fn internal() -> Error {
    Failure::new(Kind::Internal, "a call has no result").into()
}
