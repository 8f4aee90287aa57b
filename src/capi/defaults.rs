//! The parameters of calls that pass NULL, made again when the environment has changed.

use std::cell::RefCell;
use std::ffi::{CStr, c_char};
use std::sync::{Arc, Mutex};

use crate::error::Result;
use crate::params::resolved::Resolved;
use crate::params::{Environment, PREFIX, Params};
use crate::sync::lock;

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// A copy of the environment that is compared in a few nanoseconds for each ten variables.
///
/// Setting a variable puts another text in its place, so it is enough to compare the addresses of the texts.
/// The texts of variables that the library reads are compared too: a program may write into one, or reuse its
/// memory.
struct ProcessEnv {
    addresses: Vec<*const c_char>,
    /// Variables that the library reads, with their index in `addresses`.
    texts: Vec<(usize, Box<CStr>)>,
    /// The names of the variables that begin with [`PREFIX`] and are not empty.
    ours: Vec<String>,
}

// SAFETY: the pointers are compared; they are followed only if they are those of the present environment.
unsafe impl Send for ProcessEnv {}
// SAFETY: as above.
unsafe impl Sync for ProcessEnv {}

impl ProcessEnv {
    /// Copies the environment of the process.
    fn of_process() -> Self {
        let (mut addresses, mut texts, mut ours) = (Vec::new(), Vec::new(), Vec::new());
        let names: Vec<&str> = Environment::names().collect();
        // SAFETY: an array of texts that ends with NULL, or NULL. As with getenv(), no thread may change it
        // meanwhile.
        unsafe {
            let mut place = environ;
            while !place.is_null() && !(*place).is_null() {
                let text = CStr::from_ptr(*place);
                ours.extend(name_of_ours(text.to_bytes()));
                let is_named =
                    |name: &&str| text.to_bytes().strip_prefix(name.as_bytes()).is_some_and(is_value);
                if names.iter().any(is_named) {
                    texts.push((addresses.len(), text.into()));
                }
                addresses.push(*place);
                place = place.add(1);
            }
        }
        Self { addresses, texts, ours }
    }

    /// Reads what parameters depend on.
    fn read(&self) -> Result<Environment> {
        Environment::of_process_with(|| self.ours.clone())
    }

    fn is_current(&self) -> bool {
        // SAFETY: as above. Nothing behind the final NULL is read, because no address before it was NULL.
        unsafe {
            let now = environ;
            if now.is_null() {
                return self.addresses.is_empty();
            }
            for (at, address) in self.addresses.iter().enumerate() {
                if *now.add(at) != *address {
                    return false;
                }
            }
            let ends = (*now.add(self.addresses.len())).is_null();
            ends && self.texts.iter().all(|(at, text)| libc::strcmp(*now.add(*at), text.as_ptr()) == 0)
        }
    }
}

/// Returns the name of a variable that begins with [`PREFIX`] and is not empty.
fn name_of_ours(text: &[u8]) -> Option<String> {
    let end = text.strip_prefix(PREFIX.as_bytes())?.iter().position(|byte| *byte == b'=')? + PREFIX.len();
    let name = std::str::from_utf8(&text[..end]).ok()?;
    (end + 1 < text.len()).then(|| name.to_owned())
}

/// Returns true if the name of a variable ends here.
fn is_value(rest: &[u8]) -> bool {
    rest.first() == Some(&b'=')
}

/// Parameters with the environment that they were made from.
#[derive(Clone)]
struct CachedDefaults {
    environment: Arc<ProcessEnv>,
    resolved: Arc<Resolved>,
}

thread_local! {
    /// The last answer to this thread, so that threads do not wait for each other.
    static LAST: RefCell<Option<CachedDefaults>> = const { RefCell::new(None) };
}

/// Passes the default parameters to `take` if this thread has had them before and the environment is the
/// same. Neither locks nor allocates.
pub(super) fn with_cached<T>(take: impl FnOnce(&Resolved) -> T) -> Option<T> {
    let find = |last: &RefCell<Option<CachedDefaults>>| {
        let last = last.try_borrow().ok()?;
        let cached = last.as_ref().filter(|cached| cached.environment.is_current())?;
        Some(take(&cached.resolved))
    };
    LAST.try_with(find).ok().flatten()
}

/// Returns the environment of this process. Variables are read at the first call, and again when the
/// environment has changed.
pub(crate) fn environment() -> Result<Arc<Environment>> {
    static LATEST: Mutex<Option<(ProcessEnv, Arc<Environment>)>> = Mutex::new(None);
    let mut latest = lock(&LATEST);
    let fresh = match latest.as_mut().filter(|(process, _)| process.is_current()) {
        Some((_, known)) => {
            if let Some(moved) = known.moved() {
                *known = Arc::new(moved);
            }
            return Ok(Arc::clone(known));
        }
        None => {
            let process = ProcessEnv::of_process();
            let read = Arc::new(process.read()?);
            (process, read)
        }
    };
    Ok(Arc::clone(&latest.insert(fresh).1))
}

/// Returns the default parameters. Reads the config file at the first call, and again when the environment
/// has changed.
pub(crate) fn defaults() -> Result<Arc<Resolved>> {
    static LATEST: Mutex<Option<CachedDefaults>> = Mutex::new(None);
    let mut latest = lock(&LATEST);
    let cached = match latest.as_ref().filter(|cached| cached.environment.is_current()) {
        Some(cached) => cached.clone(),
        None => {
            let environment = Arc::new(ProcessEnv::of_process());
            let resolved = Params::in_environment(&environment.read()?)?.resolve()?;
            latest.insert(CachedDefaults { environment, resolved: Arc::new(resolved) }).clone()
        }
    };
    drop(latest);
    let resolved = Arc::clone(&cached.resolved);
    // A thread that is ending stores nothing.
    let _ = LAST.try_with(|last| last.try_borrow_mut().map(|mut last| *last = Some(cached)));
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_the_same_until_something_is_set() {
        let before = ProcessEnv::of_process();
        assert!(before.is_current());
        let mut shorter = ProcessEnv::of_process();
        assert!(shorter.addresses.pop().is_some());
        assert!(!shorter.is_current());
        let mut other = ProcessEnv::of_process();
        if let Some((_, text)) = other.texts.first_mut() {
            *text = c"HOME=/elsewhere".into();
            assert!(!other.is_current(), "the same address and another text");
        }
    }
}
