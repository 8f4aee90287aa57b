//! Finds nodes by the beginning of their signature.

#![forbid(unsafe_code)]

use dijitso::plan::view::PlanView;
use dijitso::signature::name_of;

/// The least length of the beginning of a hash without the name before it.
const LEAST: usize = 4;

/// The signatures of a plan.
pub(super) struct SignatureIndex<'a> {
    /// Signatures, and their hashes alone, with their nodes; in order.
    sorted: Vec<Beginning<'a>>,
}

/// A text that begins with the hash of a signature, or ends with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Beginning<'a> {
    text: &'a str,
    /// The shortest beginning that stands for it: the name alone does not.
    least: usize,
    signature: &'a str,
    node: usize,
}

/// The nodes that a word stands for.
pub(super) enum SignatureMatch<'a> {
    /// It is the beginning of no signature.
    None,
    /// It is the beginning of one, which these nodes have.
    One(Vec<usize>),
    /// It is the beginning of several, among them these.
    Several(&'a str, &'a str),
}

impl<'a> SignatureIndex<'a> {
    /// Makes the index of a plan.
    pub(super) fn new(view: &'a PlanView) -> Self {
        let mut sorted = Vec::new();
        for (node, signature) in view.nodes.iter().enumerate() {
            let Some(signature) = signature.signature.as_deref() else { continue };
            let name = name_of(signature).len();
            let has_hash = name < signature.len();
            let least = if has_hash { name + 2 } else { LEAST.max(1) };
            sorted.push(Beginning { text: signature, least, signature, node });
            if has_hash {
                sorted.push(Beginning { text: &signature[name + 1..], least: LEAST, signature, node });
            }
        }
        sorted.sort_unstable();
        Self { sorted }
    }

    /// Returns the nodes that a word stands for.
    pub(super) fn find(&self, word: &str) -> SignatureMatch<'a> {
        let begin = self.sorted.partition_point(|known| known.text < word);
        let known = self.sorted[begin..].iter().take_while(|known| known.text.starts_with(word));
        let mut nodes = Vec::new();
        let mut first: Option<&str> = None;
        for known in known.filter(|known| word.len() >= known.least || word.len() == known.text.len()) {
            match first {
                Some(first) if first != known.signature => {
                    return SignatureMatch::Several(first, known.signature);
                }
                _ => first = Some(known.signature),
            }
            nodes.push(known.node);
        }
        if nodes.is_empty() { SignatureMatch::None } else { SignatureMatch::One(nodes) }
    }
}
