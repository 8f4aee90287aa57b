//! The error of a batch: one that lists every library that failed.

#![forbid(unsafe_code)]

use crate::error::{Error, Result};

use super::library::Library;

/// Returns an error that lists the libraries of a batch that failed, with the kind, rank and path of the
/// first; `None` if none failed. If all have the same error, or one alone failed of one, it is that error.
#[must_use]
pub fn batch_error(names: &[&str], results: &[Result<Library>]) -> Option<Error> {
    let mut failed: Vec<(&Error, Vec<&str>)> = Vec::new();
    for (name, result) in names.iter().zip(results) {
        let Err(error) = result else { continue };
        match failed.iter_mut().find(|(known, _)| *known == error) {
            Some((_, same)) if !same.contains(name) => same.push(name),
            Some(_) => {}
            None => failed.push((error, vec![name])),
        }
    }
    let (first, _) = failed.first()?;
    if results.len() == 1 {
        return Some((*first).clone());
    }
    let count: usize = failed.iter().map(|(_, names)| names.len()).sum();
    let list: Vec<String> =
        failed.iter().map(|(error, names)| format!("{}: {}", names.join(", "), error.message())).collect();
    let logs = failed.iter().filter(|(error, _)| !error.log().is_empty());
    let logs: Vec<String> =
        logs.map(|(error, names)| format!("== {} ==\n{}", names.join(", "), error.log())).collect();
    let text = format!("{count} of {} libraries failed: {}", results.len(), list.join("; "));
    let paths = failed.iter().map(|(error, _)| error.path());
    let path = paths.into_iter().find(|path| !path.is_empty()).unwrap_or_default();
    Some(Error::new(first.kind(), text).with_log(logs.join("\n")).with_path(path).with_rank(first.rank()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::jit::library::Origin;

    fn library() -> Library {
        Library::new("good", std::path::Path::new("/good"), None, Origin::Disk)
    }

    #[test]
    fn every_library_that_failed_is_listed_once() {
        let compile =
            Error::new(Kind::Compile, "no ;").with_log("b.cpp:1").with_path("/b").on_rank(1, 2, "h");
        let cache = Error::new(Kind::Cache, "full");
        let results = [
            Ok(library()),
            Err(compile.clone()),
            Err(cache.clone()),
            Err(cache.clone()),
            Err(compile.clone()),
        ];
        let error = batch_error(&["a", "b", "c", "d", "b"], &results).unwrap();
        assert_eq!(error.message(), "3 of 5 libraries failed: b: rank 1 of 2 on h: no ;; c, d: full");
        assert_eq!((error.kind(), error.rank(), error.path()), (Kind::Compile, 1, "/b"));
        assert_eq!(error.log(), "== b ==\nb.cpp:1");
        assert_eq!(batch_error(&["a"], &results[..1]), None);
        assert_eq!(batch_error(&["b"], &results[1..2]), Some(compile));
    }
}
