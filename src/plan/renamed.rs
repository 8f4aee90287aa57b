//! Names in sources that become signatures.
//!
//! A recorded source names other entries, as in `#include "element_1f3a.h"`, and perhaps itself. If they are
//! built with other flags or by another compiler, they have other signatures, and the source must name those,
//! as it would if the program generated it now.
//!
//! A source that people have written includes a header by the name of its file, or as `NAME.h` after the
//! library. In the cache it has the name of the signature, so the directive gets that.

#![forbid(unsafe_code)]

use std::path::Path;

use crate::signature::name_of;

use super::definition::SourceDefinition;
use super::graph::Plan;
use super::node::{ModuleSource, ModuleWork, NodeId, NodeSpec, Work};

/// Names that sources use for entries, each with the one that it has got.
#[derive(Clone, Debug, Default)]
pub(super) struct RenamedEntries {
    /// Old and new signatures.
    signatures: Vec<(String, String)>,
    /// Paths of headers, and the name of the file in the cache.
    headers: Vec<(Vec<String>, String)>,
}

/// The names that a library has in sources, beside its signature.
#[derive(Clone, Debug, Default)]
pub(super) struct SourceNames {
    /// The signature that it had when its source was recorded.
    recorded: Option<String>,
    /// Paths of its header.
    headers: Vec<String>,
}

impl SourceNames {
    /// Returns the names of a library with this label.
    pub(super) fn new(label: &str, module: &ModuleWork) -> Self {
        let ModuleSource::Defined { code, header, .. } = &module.source else { return Self::default() };
        let is_signature = |label: &&str| *label != module.name && name_of(label) == module.name;
        let recorded = match code {
            SourceDefinition::Entry(signature) => Some(signature.as_str()),
            // The text of an entry was put into the plan.
            SourceDefinition::Text(_) => Some(label).filter(is_signature),
            _ => None,
        };
        let path = match header {
            Some(SourceDefinition::File(path)) => path.to_string_lossy().into_owned(),
            Some(SourceDefinition::Output { file, .. }) => file.clone(),
            Some(SourceDefinition::Text(_)) => String::new(),
            Some(SourceDefinition::Entry(_)) | None => {
                return Self { recorded: recorded.map(str::to_owned), headers: Vec::new() };
            }
        };
        // A recorded source includes no header by such a name.
        let names = [path, format!("{}.h", module.name)].into_iter().filter(|name| !name.is_empty());
        let headers = if recorded.is_none() { names.collect() } else { Vec::new() };
        Self { recorded: recorded.map(str::to_owned), headers }
    }
}

impl RenamedEntries {
    /// Adds a library that has this signature. `header` is the name of its header in the cache.
    pub(super) fn add(&mut self, names: &SourceNames, signature: &str, header: String) {
        if let Some(old) = names.recorded.as_ref().filter(|old| *old != signature) {
            self.signatures.push((old.clone(), signature.to_owned()));
        }
        if !names.headers.is_empty() {
            self.headers.push((names.headers.clone(), header));
        }
    }

    /// Returns a source with the new names. One that is not UTF-8 stays as it is.
    pub(super) fn apply(&self, source: Vec<u8>) -> Vec<u8> {
        if self.signatures.is_empty() && self.headers.is_empty() {
            return source;
        }
        match String::from_utf8(source) {
            Ok(text) => {
                let text = self.signatures.iter().fold(text, |text, (old, new)| text.replace(old, new));
                if self.headers.is_empty() { text } else { self.with_headers(&text) }.into_bytes()
            }
            Err(error) => error.into_bytes(),
        }
    }

    fn with_headers(&self, text: &str) -> String {
        text.split_inclusive('\n').map(|line| self.line(line).unwrap_or_else(|| line.to_owned())).collect()
    }

    /// Returns a line that includes one of the headers, with its new name.
    fn line(&self, line: &str) -> Option<String> {
        let directive = line.trim_start().strip_prefix('#')?.trim_start().strip_prefix("include")?;
        let included = directive.trim_start().strip_prefix('"')?.split_once('"')?.0;
        let path = Path::new(included.trim_start_matches("./"));
        let is_meant = |known: &String| !included.is_empty() && Path::new(known).ends_with(path);
        let (_, header) = self.headers.iter().find(|(known, _)| known.iter().any(is_meant))?;
        Some(line.replacen(&format!("\"{included}\""), &format!("\"{header}\""), 1))
    }
}

impl Plan {
    /// Returns the names of these nodes in sources, and what they have become.
    pub(super) fn renamed(&self, nodes: impl IntoIterator<Item = NodeId>) -> RenamedEntries {
        let cache = self.cache();
        let all = self.nodes();
        let mut renamed = RenamedEntries::default();
        for entry in nodes.into_iter().map(|node| &all.entries[node]) {
            let spec: &NodeSpec = &entry.spec;
            if let (Work::Module(module), Some(signature)) = (&spec.work, &entry.status.signature) {
                let names = SourceNames::new(&spec.label, module);
                renamed.add(&names, signature, cache.layout().inc_basename(signature));
            }
        }
        renamed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(recorded: Option<&str>, headers: &[&str]) -> SourceNames {
        SourceNames {
            recorded: recorded.map(str::to_owned),
            headers: headers.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn old_signatures_become_new_ones() {
        let mut renamed = RenamedEntries::default();
        assert_eq!(renamed.apply(b"f_1".to_vec()), b"f_1");
        renamed.add(&names(Some("f_1"), &[]), "f_2", String::new());
        renamed.add(&names(Some("g_1"), &[]), "g_1", String::new());
        renamed.add(&names(None, &[]), "h_1", String::new());
        assert_eq!(renamed.apply(b"#include \"f_1.h\" f_1 g_1".to_vec()), b"#include \"f_2.h\" f_2 g_1");
        assert_eq!(renamed.apply(b"f_1 \xff".to_vec()), b"f_1 \xff");
    }

    #[test]
    fn headers_are_included_by_their_signatures() {
        let mut renamed = RenamedEntries::default();
        renamed.add(&names(None, &["include/mass.h", "m.h"]), "m_1", "m_1.h".to_owned());
        let of = |line: &str| String::from_utf8(renamed.apply(line.as_bytes().to_vec())).unwrap();
        for path in ["mass.h", "./mass.h", "include/mass.h", "m.h"] {
            assert_eq!(
                of(&format!("int x;\n #  include \"{path}\" // \"m.h\"\n")),
                "int x;\n #  include \"m_1.h\" // \"m.h\"\n"
            );
        }
        for line in [
            "#include <m.h>",
            "#include \"ass.h\"",
            "#include \"x/mass.h\"",
            "\"m.h\"",
            "#include \"\"",
            "#includ",
        ] {
            assert_eq!(of(line), line);
        }
    }
}
