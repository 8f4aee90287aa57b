//! The parameters of calls without any: what the surroundings say, worked out again when the environment has changed.

use std::cell::RefCell;
use std::ffi::{CStr, c_char};
use std::sync::{Arc, Mutex};

use crate::error::Result;
use crate::params::resolved::Resolved;
use crate::params::{Environment, Params};
use crate::sync::lock;

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// The environment, as it can be compared in a few nanoseconds for each ten variables.
///
/// Whoever sets a variable puts another text in its place, so that it is enough to compare where the texts are; those
/// that matter are compared themselves, in case that somebody writes into one or takes its memory for another.
struct ProcessEnv {
    places: Vec<*const c_char>,
    /// Variables that matter, by their places.
    texts: Vec<(usize, Box<CStr>)>,
}

// SAFETY: the pointers are compared; what they lead to is read only where they are those of the environment of now.
unsafe impl Send for ProcessEnv {}
// SAFETY: as above.
unsafe impl Sync for ProcessEnv {}

impl ProcessEnv {
    fn of_process() -> Self {
        let (mut places, mut texts) = (Vec::new(), Vec::new());
        // SAFETY: an array of texts that ends with NULL, or NULL. As for getenv(), which this stands for, nobody may
        // change it meanwhile.
        unsafe {
            let mut place = environ;
            while !place.is_null() && !(*place).is_null() {
                let text = CStr::from_ptr(*place);
                let matters =
                    |name: &str| text.to_bytes().strip_prefix(name.as_bytes()).is_some_and(is_value);
                if Environment::names().any(matters) {
                    texts.push((places.len(), text.into()));
                }
                places.push(*place);
                place = place.add(1);
            }
        }
        Self { places, texts }
    }

    fn is_that_of_now(&self) -> bool {
        // SAFETY: as above: no place behind the last one is looked at, because none before it was NULL.
        unsafe {
            let now = environ;
            if now.is_null() {
                return self.places.is_empty();
            }
            for (at, place) in self.places.iter().enumerate() {
                if *now.add(at) != *place {
                    return false;
                }
            }
            let ends = (*now.add(self.places.len())).is_null();
            ends && self.texts.iter().all(|(at, text)| libc::strcmp(*now.add(*at), text.as_ptr()) == 0)
        }
    }
}

/// What follows the name of a variable.
fn is_value(rest: &[u8]) -> bool {
    rest.first() == Some(&b'=')
}

/// Parameters with the environment that they were made in.
#[derive(Clone)]
struct Known {
    environment: Arc<ProcessEnv>,
    resolved: Arc<Resolved>,
}

thread_local! {
    /// What this thread was told last: threads do not wait for each other to look at it.
    static LAST: RefCell<Option<Known>> = const { RefCell::new(None) };
}

/// Gives `take` the default parameters, if this thread had them before and the environment is the same. Neither locks
/// nor allocates.
pub(super) fn recall<T>(take: impl FnOnce(&Resolved) -> T) -> Option<T> {
    let look = |last: &RefCell<Option<Known>>| {
        let last = last.try_borrow().ok()?;
        let known = last.as_ref().filter(|known| known.environment.is_that_of_now())?;
        Some(take(&known.resolved))
    };
    LAST.try_with(look).ok().flatten()
}

/// The default parameters. The config file is looked for and read at the first call, and again when the environment
/// has changed.
pub(super) fn defaults() -> Result<Arc<Resolved>> {
    static LATEST: Mutex<Option<Known>> = Mutex::new(None);
    let mut latest = lock(&LATEST);
    let known = match latest.as_ref().filter(|known| known.environment.is_that_of_now()) {
        Some(known) => known.clone(),
        None => {
            let environment = Arc::new(ProcessEnv::of_process());
            let resolved = Params::in_environment(&Environment::of_process()?)?.resolve()?;
            latest.insert(Known { environment, resolved: Arc::new(resolved) }).clone()
        }
    };
    drop(latest);
    let resolved = Arc::clone(&known.resolved);
    // A thread that is ending has nothing to remember.
    let _ = LAST.try_with(|last| last.try_borrow_mut().map(|mut last| *last = Some(known)));
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_the_same_until_something_is_set() {
        let before = ProcessEnv::of_process();
        assert!(before.is_that_of_now());
        let mut shorter = ProcessEnv::of_process();
        assert!(shorter.places.pop().is_some());
        assert!(!shorter.is_that_of_now());
        let mut other = ProcessEnv::of_process();
        if let Some((_, text)) = other.texts.first_mut() {
            *text = c"HOME=/elsewhere".into();
            assert!(!other.is_that_of_now(), "the same place and another text");
        }
    }
}
