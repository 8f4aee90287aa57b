//! The source that a generator fills.

#![forbid(unsafe_code)]

use crate::jit::callbacks::GenerateRequest;

use super::library::Library;

/// The source that a `generate` closure fills, with what it is asked for.
#[derive(Debug)]
pub struct Source<'a> {
    request: GenerateRequest<'a>,
    inner: &'a mut crate::jit::Source,
}

impl<'a> Source<'a> {
    pub(super) fn new(request: GenerateRequest<'a>, inner: &'a mut crate::jit::Source) -> Self {
        Self { request, inner }
    }

    /// Returns the name of the call; of one of its libraries, if it asks for many.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.request.name
    }

    /// Returns the signature. The header is included as `<signature>.h`.
    #[must_use]
    pub fn signature(&self) -> &'a str {
        self.request.signature
    }

    /// Returns the parameters `generator` of the call, as JSON.
    #[must_use]
    pub fn generator(&self) -> &'a str {
        self.request.generator
    }

    /// Sets the source code. It must be set.
    pub fn code(&mut self, text: impl Into<Vec<u8>>) -> &mut Self {
        self.inner.code = Some(text.into());
        self
    }

    /// Sets a header, which this source and those that depend on it may include.
    pub fn header(&mut self, text: impl Into<Vec<u8>>) -> &mut Self {
        self.inner.header = Some(text.into());
        self
    }

    /// Links the library to another one, which a call within the closure may have built.
    pub fn depend_on(&mut self, library: &Library) -> &mut Self {
        self.inner.dependencies.push(library.signature().to_owned());
        self
    }
}
