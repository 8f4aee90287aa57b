//! The callbacks of a host: generate, and perhaps transport.

#![forbid(unsafe_code)]

use crate::codec::copy;
use crate::error::{Error, Kind, Result};
use crate::process::interrupt::Interrupt;
use crate::signature::SourceText;

/// The source that `generate` sets.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The source code.
    pub code: Option<Vec<u8>>,
    /// The header, which the source and dependants may include as `<signature>.h`.
    pub header: Option<Vec<u8>>,
    /// Signatures of completed calls, to which the library is linked.
    pub dependencies: Vec<String>,
    /// The reason, if the generator fails.
    pub error: Option<String>,
    /// True if the generator has failed because something else has to be made first. That counts as no failure.
    pub deferred: bool,
}

/// The request that `generate` gets.
#[derive(Clone, Copy, Debug)]
pub struct GenerateRequest<'a> {
    /// The name.
    pub name: &'a str,
    /// The signature, which names the files.
    pub signature: &'a str,
    /// Section `generator` as JSON.
    pub generator: &'a str,
}

/// The code that a callback of the host failed with.
pub type Code = i32;

type GenerateFn<'a> = dyn FnMut(GenerateRequest<'_>, &mut Source) -> std::result::Result<(), Code> + 'a;
type SendFn<'a> = dyn FnMut(&[u8]) -> std::result::Result<(), Code> + 'a;
type ReceiveFn<'a> = dyn FnMut() -> std::result::Result<Vec<u8>, Code> + 'a;
type WaitFn<'a> = dyn FnMut() -> std::result::Result<(), Code> + 'a;

/// The callbacks of one call.
#[derive(Default)]
pub struct Callbacks<'a> {
    /// Makes source code; called on builders only and only on a miss.
    pub generate: Option<Box<GenerateFn<'a>>>,
    /// Sends a closure to the receivers.
    pub send: Option<Box<SendFn<'a>>>,
    /// Receives the closure that `send` got.
    pub receive: Option<Box<ReceiveFn<'a>>>,
    /// Returns when all ranks have called it.
    pub wait: Option<Box<WaitFn<'a>>>,
    /// Asked while the call waits, on the thread of the call. Need not be set on all ranks.
    pub poll: Option<Interrupt>,
}

/// The interrupt of a host whose poll callback is `poll`: any value but 0 cancels the call.
#[must_use]
pub fn interrupt_of(poll: impl Fn() -> Code + Send + Sync + 'static) -> Interrupt {
    Interrupt::new(move || (poll() != 0).then(Error::cancelled))
}

impl<'a> Callbacks<'a> {
    /// Makes the callbacks of a call that gives the source text. Its parameters are made by
    /// [`with_text`](crate::params::resolved::Resolved::with_text).
    #[must_use]
    pub fn of_text(text: SourceText<'a>) -> Self {
        let generate = move |_: GenerateRequest<'_>, source: &mut Source| {
            let copies =
                || Some((copy(text.code)?, text.header.map_or(Some(None), |text| copy(text).map(Some))?));
            let Some((code, header)) = copies() else {
                source.error = Some("not enough memory for a copy of the text".to_owned());
                return Err(1);
            };
            (source.code, source.header) = (Some(code), header);
            source.dependencies = text.dependencies.iter().map(|signature| (*signature).to_owned()).collect();
            Ok(())
        };
        Self { generate: Some(Box::new(generate)), ..Self::default() }
    }

    /// Returns the callbacks that are set, as bits that ranks compare.
    pub(super) fn mask(&self) -> u32 {
        let set = [self.generate.is_some(), self.send.is_some(), self.receive.is_some(), self.wait.is_some()];
        set.iter().rev().fold(0, |mask, set| mask << 1 | u32::from(*set))
    }

    /// Returns the names of the callbacks in a mask.
    pub(super) fn names(mask: u32) -> Vec<&'static str> {
        let all = ["generate", "send", "receive", "wait"];
        all.into_iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, name)| name).collect()
    }

    pub(super) fn send(&mut self, closure: &[u8]) -> Result<()> {
        self.send.as_mut().map_or(Ok(()), |send| send(closure)).map_err(|code| failed("send", code))
    }

    pub(super) fn receive(&mut self) -> Result<Vec<u8>> {
        let receive = self.receive.as_mut().expect("callers know that it is set");
        receive().map_err(|code| failed("receive", code))
    }

    pub(super) fn wait(&mut self) -> Result<()> {
        self.wait.as_mut().map_or(Ok(()), |wait| wait()).map_err(|code| failed("wait", code))
    }
}

fn failed(which: &str, code: Code) -> Error {
    Error::new(Kind::Callback, format!("the {which} callback returned {code}"))
}
