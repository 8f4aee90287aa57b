//! File systems that fail, for tests: on one thread, hence on one rank, and below one directory.

#![forbid(unsafe_code)]

use std::io;
use std::path::Path;

/// An operation on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Opening to read.
    Read,
    /// Making a file or directory, or removing one.
    Create,
    /// Writing.
    Write,
    /// Giving a file its name.
    Name,
}

/// Allows every operation outside of tests.
#[cfg(not(test))]
#[inline]
#[allow(clippy::unnecessary_wraps, reason = "the tests' variant fails")]
pub(super) fn allow(_op: Op, _path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(super) use rules::allow;
#[cfg(test)]
pub(crate) use rules::{Rule, push, watch, with};

#[cfg(test)]
mod rules {
    use super::{Op, Path, io};
    use std::cell::RefCell;
    use std::path::PathBuf;

    /// Makes each of `ops` fail with `errno` below `root`.
    #[derive(Clone, Debug)]
    pub(crate) struct Rule {
        pub(crate) root: PathBuf,
        pub(crate) ops: &'static [Op],
        pub(crate) errno: i32,
    }

    thread_local! {
        static RULES: RefCell<Vec<Rule>> = const { RefCell::new(Vec::new()) };
        /// A directory, and the number of operations below it.
        static WATCHED: RefCell<(PathBuf, usize)> = const { RefCell::new((PathBuf::new(), 0)) };
    }

    /// Runs `program` and counts its operations below `root`.
    pub(crate) fn watch<T>(root: &Path, program: impl FnOnce() -> T) -> (T, usize) {
        WATCHED.set((root.to_owned(), 0));
        let value = program();
        let (_, count) = WATCHED.take();
        (value, count)
    }

    /// Runs `program` under these rules.
    pub(crate) fn with<T>(rules: Vec<Rule>, program: impl FnOnce() -> T) -> T {
        struct Restore(Vec<Rule>);
        impl Drop for Restore {
            fn drop(&mut self) {
                RULES.set(std::mem::take(&mut self.0));
            }
        }
        let _restore = Restore(RULES.replace(rules));
        program()
    }

    /// Adds a rule until the program of the innermost [`with`] ends.
    pub(crate) fn push(rule: Rule) {
        RULES.with_borrow_mut(|rules| rules.push(rule));
    }

    pub(crate) fn allow(op: Op, path: &Path) -> io::Result<()> {
        WATCHED.with_borrow_mut(|(root, count)| {
            *count += usize::from(!root.as_os_str().is_empty() && path.starts_with(&*root));
        });
        RULES.with_borrow(|rules| {
            let stops = |rule: &&Rule| rule.ops.contains(&op) && path.starts_with(&rule.root);
            rules.iter().find(stops).map_or(Ok(()), |rule| Err(io::Error::from_raw_os_error(rule.errno)))
        })
    }
}
