//! The walk over entries and everything that they need.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

/// Visits entries, dependencies first and each once. It does not recurse, because a chain of dependencies may
/// be long.
#[derive(Debug, Default)]
pub(super) struct DependencyWalk {
    /// The signatures visited so far; true while an entry is on the path from the root.
    visited: BTreeMap<String, bool>,
    /// The signatures on each cycle that was found; the last repeats the first.
    pub(super) cycles: Vec<Vec<String>>,
}

/// The end of a walk at an entry that could not be opened.
#[derive(Debug)]
pub(super) struct Stopped<E> {
    /// The error of `open`.
    pub(super) error: E,
    /// The signatures from the root to the entry.
    pub(super) path: Vec<String>,
}

impl DependencyWalk {
    /// Visits `root` and everything that it needs and that has not been visited before. `open` gives the
    /// contents of an entry and the signatures that it needs. Returns the contents, dependencies first.
    ///
    /// # Errors
    /// The first error of `open`. The entries on the path to it do not count as visited.
    pub(super) fn visit<N, E>(
        &mut self,
        root: &str,
        mut open: impl FnMut(&str) -> Result<(N, Vec<String>), E>,
    ) -> Result<Vec<(String, N)>, Stopped<E>> {
        let mut closed = Vec::new();
        let mut path: Vec<(String, N, std::vec::IntoIter<String>)> = Vec::new();
        let mut next = Some(root.to_owned());
        loop {
            if let Some(signature) = next {
                match self.visited.get(&signature) {
                    Some(false) => {}
                    Some(true) => {
                        let on_cycle = path.iter().skip_while(|(other, ..)| *other != signature);
                        let cycle = on_cycle.map(|(other, ..)| other).chain([&signature]);
                        self.cycles.push(cycle.cloned().collect());
                    }
                    None => match open(&signature) {
                        Ok((contents, needs)) => {
                            self.visited.insert(signature.clone(), true);
                            path.push((signature, contents, needs.into_iter()));
                        }
                        Err(error) => {
                            let mut path: Vec<String> = path.into_iter().map(|(other, ..)| other).collect();
                            self.visited.retain(|other, open| !*open || !path.contains(other));
                            path.push(signature);
                            return Err(Stopped { error, path });
                        }
                    },
                }
            }
            let Some((_, _, needs)) = path.last_mut() else { return Ok(closed) };
            next = needs.next();
            if next.is_none()
                && let Some((signature, contents, _)) = path.pop()
            {
                if let Some(is_open) = self.visited.get_mut(&signature) {
                    *is_open = false;
                }
                closed.push((signature, contents));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opens the entries `a` to `g` of a graph; `g` is an error.
    fn open(signature: &str) -> Result<((), Vec<String>), &'static str> {
        let needs: &[&str] = match signature {
            "a" => &["b", "c"],
            "b" => &["c"],
            "d" => &["e"],
            "e" => &["a", "d"],
            "f" => &["b", "g"],
            "g" => return Err("no"),
            _ => &[],
        };
        Ok(((), needs.iter().map(|need| (*need).to_owned()).collect()))
    }

    fn order(closed: Vec<(String, ())>) -> String {
        closed.into_iter().map(|(signature, ())| signature).collect()
    }

    #[test]
    fn dependencies_come_first_and_each_once() {
        let mut walk = DependencyWalk::default();
        assert_eq!(order(walk.visit("a", open).unwrap()), "cba");
        assert_eq!(order(walk.visit("a", open).unwrap()), "");
        assert_eq!(order(walk.visit("d", open).unwrap()), "ed");
        assert_eq!(walk.cycles, [["d", "e", "d"]]);
    }

    #[test]
    fn an_error_ends_the_walk_and_says_where() {
        let mut walk = DependencyWalk::default();
        let stopped = walk.visit("f", open).unwrap_err();
        assert_eq!((stopped.error, stopped.path), ("no", vec!["f".to_owned(), "g".to_owned()]));
        assert!(walk.visit("f", open).is_err(), "it is opened again");
        assert!(walk.cycles.is_empty());
    }

    #[test]
    fn a_long_chain_needs_no_stack() {
        let open = |signature: &str| {
            let number: u32 = signature.parse().unwrap();
            Ok::<_, ()>((number, (number > 0).then(|| (number - 1).to_string()).into_iter().collect()))
        };
        assert_eq!(DependencyWalk::default().visit("100000", open).unwrap().len(), 100_001);
    }
}
