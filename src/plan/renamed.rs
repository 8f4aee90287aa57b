//! New signatures in old sources. The source of an entry names other entries, as in `#include
//! "element_1f3a.h"`, and perhaps itself. If they are built with other flags or by another compiler, they
//! have other signatures, and the source must name those, as it would if the program generated it now.

#![forbid(unsafe_code)]

use crate::signature::name_of;

use super::definition::SourceDefinition;
use super::graph::Plan;
use super::node::{ModuleSource, ModuleWork, NodeId, NodeSpec, Work};

/// Signatures of entries, each with the one that it has got.
#[derive(Clone, Debug, Default)]
pub(super) struct RenamedEntries(Vec<(String, String)>);

impl RenamedEntries {
    /// Adds an entry, if its signature has changed.
    pub(super) fn add(&mut self, old: Option<&str>, new: &str) {
        if let Some(old) = old.filter(|old| *old != new) {
            self.0.push((old.to_owned(), new.to_owned()));
        }
    }

    /// Returns a source that names the new signatures. One that is not UTF-8 stays as it is.
    pub(super) fn apply(&self, source: Vec<u8>) -> Vec<u8> {
        if self.0.is_empty() {
            return source;
        }
        match String::from_utf8(source) {
            Ok(text) => {
                self.0.iter().fold(text, |text, (old, new)| text.replace(old.as_str(), new)).into_bytes()
            }
            Err(error) => error.into_bytes(),
        }
    }
}

/// Returns the signature that a library had when its source was recorded: that of its entry, or its label, if
/// its text was put into the plan.
pub(super) fn recorded_signature<'a>(label: &'a str, module: &'a ModuleWork) -> Option<&'a str> {
    match &module.source {
        ModuleSource::Defined { code: SourceDefinition::Entry(signature), .. } => Some(signature),
        ModuleSource::Defined { code: SourceDefinition::Text(_), .. } => {
            Some(label).filter(|label| *label != module.name && name_of(label) == module.name)
        }
        _ => None,
    }
}

impl Plan {
    /// Returns which of these nodes have got other signatures than they were recorded with.
    pub(super) fn renamed(&self, nodes: impl IntoIterator<Item = NodeId>) -> RenamedEntries {
        let all = self.nodes();
        let mut renamed = RenamedEntries::default();
        for entry in nodes.into_iter().map(|node| &all.entries[node]) {
            let spec: &NodeSpec = &entry.spec;
            if let (Work::Module(module), Some(new)) = (&spec.work, &entry.status.signature) {
                renamed.add(recorded_signature(&spec.label, module), new);
            }
        }
        renamed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_signatures_become_new_ones() {
        let mut renamed = RenamedEntries::default();
        assert_eq!(renamed.apply(b"f_1".to_vec()), b"f_1");
        renamed.add(Some("f_1"), "f_2");
        renamed.add(Some("g_1"), "g_1");
        renamed.add(None, "h_1");
        assert_eq!(renamed.apply(b"#include \"f_1.h\" f_1 g_1".to_vec()), b"#include \"f_2.h\" f_2 g_1");
        assert_eq!(renamed.apply(b"f_1 \xff".to_vec()), b"f_1 \xff");
    }
}
