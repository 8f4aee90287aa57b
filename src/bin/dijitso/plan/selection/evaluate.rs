//! Selects the nodes of a plan. Each word takes time for each node at most, and a label none.

#![forbid(unsafe_code)]

use std::cell::OnceCell;
use std::collections::HashMap;

use dijitso::error::Result;
use dijitso::plan::analysis::layers;
use dijitso::plan::view::{NodeKind, NodeView, PlanView, ResultOrigin, State};

use super::levels::levels;
use super::mistake::{mistake, shown, unknown_label, unknown_name, unknown_word};
use super::node_set::NodeSet;
use super::parser::{SelectionItem, SelectionTree};
use super::pattern::LabelPattern;
use super::signatures::{SignatureIndex, SignatureMatch};
use super::words::SelectionWord;

/// A plan with what makes it quick to find nodes. Everything is made when it is asked for.
pub(super) struct PlanIndex<'a> {
    view: &'a PlanView,
    /// The labels of the nodes of the last command; `None` before the first one.
    last: Option<&'a [String]>,
    labels: OnceCell<HashMap<&'a str, usize>>,
    names: OnceCell<HashMap<&'a str, Vec<usize>>>,
    signatures: OnceCell<SignatureIndex<'a>>,
    /// True for the nodes that another one needs.
    needed: OnceCell<Vec<bool>>,
    /// True for the nodes that have added others.
    definers: OnceCell<Vec<bool>>,
    levels: OnceCell<Vec<usize>>,
    layers: OnceCell<Vec<usize>>,
}

impl<'a> PlanIndex<'a> {
    /// Makes the index of a plan.
    pub(super) fn new(view: &'a PlanView, last: Option<&'a [String]>) -> Self {
        Self {
            view,
            last,
            labels: OnceCell::new(),
            names: OnceCell::new(),
            signatures: OnceCell::new(),
            needed: OnceCell::new(),
            definers: OnceCell::new(),
            levels: OnceCell::new(),
            layers: OnceCell::new(),
        }
    }

    /// Returns the nodes that a selection stands for.
    ///
    /// # Errors
    /// `Kind::InvalidArgument` for a word that is no label and no word of the language, and for one that is
    /// both.
    pub(super) fn select(&self, tree: &SelectionTree) -> Result<NodeSet> {
        let mut set = NodeSet::empty(self.view.nodes.len());
        match tree {
            SelectionTree::Item(item, column) => self.add(item, *column, &mut set)?,
            SelectionTree::Union(parts) => {
                for part in parts {
                    match part {
                        SelectionTree::Item(item, column) => self.add(item, *column, &mut set)?,
                        part => set.add(&self.select(part)?),
                    }
                }
            }
            SelectionTree::Not(part) => {
                set = self.select(part)?;
                set.complement();
            }
            SelectionTree::Except(parts) => {
                set = self.select(&parts[0])?;
                for part in &parts[1..] {
                    set.subtract(&self.select(part)?);
                }
            }
            SelectionTree::In(parts) => {
                set = self.select(&parts[0])?;
                for part in &parts[1..] {
                    set.retain(&self.select(part)?);
                }
            }
        }
        Ok(set)
    }

    /// Returns the node of a label.
    pub(super) fn node(&self, label: &str) -> Option<usize> {
        self.labels().get(label).copied()
    }

    fn labels(&self) -> &HashMap<&'a str, usize> {
        self.labels.get_or_init(|| {
            self.view.nodes.iter().enumerate().map(|(at, node)| (node.label.as_str(), at)).collect()
        })
    }

    fn names(&self) -> &HashMap<&'a str, Vec<usize>> {
        self.names.get_or_init(|| {
            let mut names: HashMap<&str, Vec<usize>> = HashMap::new();
            for (at, node) in self.view.nodes.iter().enumerate() {
                names.entry(&node.name).or_default().push(at);
            }
            names
        })
    }

    fn levels(&self) -> &[usize] {
        self.levels.get_or_init(|| levels(self.view))
    }

    /// Adds the nodes that a function chooses.
    fn add_where(&self, set: &mut NodeSet, is_wanted: impl Fn(usize, &NodeView) -> bool) {
        for (at, node) in self.view.nodes.iter().enumerate() {
            if is_wanted(at, node) {
                set.insert(at);
            }
        }
    }

    fn add(&self, item: &SelectionItem, column: usize, set: &mut NodeSet) -> Result<()> {
        let is_label = |is: bool| if is { Ok(()) } else { self.check_no_label(item, column) };
        match item {
            SelectionItem::Word(word, is) => {
                is_label(*is)?;
                self.add_word(*word, set);
            }
            SelectionItem::Level(level, is) => {
                is_label(*is)?;
                let levels = self.levels();
                self.add_where(set, |at, _| levels[at] == *level);
            }
            SelectionItem::Layer(layer, is) => {
                is_label(*is)?;
                let layers = self.layers.get_or_init(|| layers(self.view));
                self.add_where(set, |at, _| layers[at] == *layer);
            }
            SelectionItem::Rank(rank) => {
                self.add_where(set, |_, node| node.last.as_ref().is_some_and(|last| last.rank == *rank));
            }
            SelectionItem::Host(host) => {
                let is_on = |node: &NodeView| node.last.as_ref().is_some_and(|last| host.matches(&last.host));
                self.add_where(set, |_, node| is_on(node));
            }
            SelectionItem::Text(text) => self.add_text(text, column, set)?,
            SelectionItem::Label(pattern) => {
                self.labelled(pattern, column)?.into_iter().for_each(|at| set.insert(at));
            }
            SelectionItem::Name(pattern) => self.add_named(pattern, column, set)?,
            SelectionItem::Generator(pattern) => self.add_generated(pattern, column, set)?,
        }
        Ok(())
    }

    /// Refuses a word of the language that a node is called by.
    fn check_no_label(&self, item: &SelectionItem, column: usize) -> Result<()> {
        let word = item.to_string();
        if self.node(&word).is_none() {
            return Ok(());
        }
        let text = format!("\"{word}\" is a word of selections, and a node is called so");
        Err(mistake(column, &format!("{text}: write label:{word} for the node, or is:{word} for the word")))
    }

    fn add_word(&self, word: SelectionWord, set: &mut NodeSet) {
        let state = |node: &NodeView| match word {
            SelectionWord::Done => node.state == State::Done,
            SelectionWord::Failed => node.state == State::Failed,
            SelectionWord::Blocked => node.state == State::Blocked,
            SelectionWord::Todo => node.state == State::Todo,
            SelectionWord::Running => node.state == State::Running,
            SelectionWord::Stale => node.stale,
            SelectionWord::Interrupted => node.interrupted,
            SelectionWord::UpToDate => node.state == State::Done && !node.stale,
            SelectionWord::Hit => node.origin == Some(ResultOrigin::Hit),
            SelectionWord::Built => node.origin == Some(ResultOrigin::Built),
            SelectionWord::Bottom => node.predecessors().next().is_none(),
            SelectionWord::Root => node.definer.is_none(),
            SelectionWord::Generated => node.definer.is_some(),
            SelectionWord::Modules => node.kind == NodeKind::Module,
            SelectionWord::Tasks => node.kind == NodeKind::Task,
            _ => true,
        };
        match word {
            SelectionWord::Ready => self.add_where(set, |at, _| self.view.is_ready(at)),
            SelectionWord::Top => {
                let needed = self.needed.get_or_init(|| {
                    marked(self.view.nodes.len(), self.view.nodes.iter().flat_map(NodeView::predecessors))
                });
                self.add_where(set, |at, _| !needed[at]);
            }
            SelectionWord::Dynamic => {
                let definers = self.definers.get_or_init(|| {
                    marked(self.view.nodes.len(), self.view.nodes.iter().filter_map(|node| node.definer))
                });
                self.add_where(set, |at, _| definers[at]);
            }
            SelectionWord::Last => match self.last {
                Some(last) => last.iter().filter_map(|label| self.node(label)).for_each(|at| set.insert(at)),
                None => self.add_where(set, |_, _| true),
            },
            _ => self.add_where(set, |_, node| state(node)),
        }
    }

    /// Adds the node of a label, or else the nodes whose signature begins so.
    fn add_text(&self, text: &str, column: usize, set: &mut NodeSet) -> Result<()> {
        if let Some(at) = self.node(text) {
            set.insert(at);
            return Ok(());
        }
        let signatures = self.signatures.get_or_init(|| SignatureIndex::new(self.view));
        match signatures.find(text) {
            SignatureMatch::None => Err(unknown_word(column, text, self.view)),
            SignatureMatch::One(nodes) => {
                nodes.into_iter().for_each(|at| set.insert(at));
                Ok(())
            }
            SignatureMatch::Several(one, other) => {
                let text = format!("\"{}\" is the beginning of several signatures", shown(text));
                Err(mistake(column, &format!("{text}, such as {one} and {other}")))
            }
        }
    }

    /// Returns the nodes of a pattern of labels, at least one.
    fn labelled(&self, pattern: &LabelPattern, column: usize) -> Result<Vec<usize>> {
        if let Some(label) = pattern.exact() {
            let node = self.node(label).ok_or_else(|| unknown_label(column, label, self.view))?;
            return Ok(vec![node]);
        }
        let nodes = self.view.nodes.iter().enumerate();
        let found: Vec<usize> =
            nodes.filter(|(_, node)| pattern.matches(&node.label)).map(|(at, _)| at).collect();
        // A single star is the same as "all", which may be empty.
        if found.is_empty() && !self.view.nodes.is_empty() {
            return Err(mistake(column, &format!("\"{}\" matches no label", shown(&pattern.to_string()))));
        }
        Ok(found)
    }

    fn add_named(&self, pattern: &LabelPattern, column: usize, set: &mut NodeSet) -> Result<()> {
        let names = self.names();
        let mut found = 0;
        let mut add = |nodes: &Vec<usize>| {
            found += 1;
            nodes.iter().for_each(|at| set.insert(*at));
        };
        match pattern.exact() {
            Some(name) => names.get(name).into_iter().for_each(&mut add),
            None => names.iter().filter(|(name, _)| pattern.matches(name)).for_each(|(_, nodes)| add(nodes)),
        }
        if found == 0 {
            return Err(unknown_name(column, &pattern.to_string(), self.view));
        }
        Ok(())
    }

    /// Adds the nodes that the callbacks of these nodes have added, and those that were added by them.
    fn add_generated(&self, pattern: &LabelPattern, column: usize, set: &mut NodeSet) -> Result<()> {
        let generators = marked(self.view.nodes.len(), self.labelled(pattern, column)?.into_iter());
        // A node is added by one of a level less, so that its definer is known before it is.
        let mut order: Vec<usize> = (0..self.view.nodes.len()).collect();
        order.sort_by_key(|at| self.levels()[*at]);
        let mut is_generated = vec![false; self.view.nodes.len()];
        for at in order {
            let definer = self.view.nodes[at].definer;
            is_generated[at] = definer.is_some_and(|definer| generators[definer] || is_generated[definer]);
        }
        self.add_where(set, |at, _| is_generated[at]);
        Ok(())
    }
}

/// Returns for each node if it is among these.
fn marked(length: usize, nodes: impl Iterator<Item = usize>) -> Vec<bool> {
    let mut marked = vec![false; length];
    nodes.for_each(|at| marked[at] = true);
    marked
}
