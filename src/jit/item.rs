//! The libraries of a call, each with its state between two agreed steps.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::cache::VerifiedEntry;
use crate::error::{Error, Kind, Result};

use super::build_pool::StartedBuild;
use super::build_roles::BuildRoles;
use super::library::{Library, Origin};
use super::lookup::MAX_LOOKUPS;
use super::refusal::LoadRefusal;
use super::request::SignedRequest;

/// A library that a call asks for.
pub(super) struct Item<'a> {
    pub(super) signed: SignedRequest<'a>,
    pub(super) state: ItemState,
    /// The origin of what this call has built or received.
    pub(super) fresh: Option<Origin>,
    /// The origin of what this call has loaded before the ranks agreed on what to load.
    pub(super) loaded_early: Option<Origin>,
    /// The roles of the ranks, once they are assigned.
    pub(super) roles: Option<BuildRoles>,
    /// The build that this process has started.
    pub(super) started: StartedBuild,
    /// True if it can be built again if the dynamic loader refuses it.
    pub(super) rebuilds: bool,
    /// The lookups that are left if other programs remove what was found.
    pub(super) lookups_left: usize,
}

/// The state of a library; the variant is the same on all ranks.
pub(super) enum ItemState {
    /// To be looked up.
    Unknown,
    /// All ranks have it.
    Loaded(Library),
    /// All ranks have this error.
    Failed(Error),
    /// Not all ranks have found it. Contains what this rank has found.
    Missing(Option<VerifiedEntry>),
    /// A rank has lost what it had found.
    Evicted,
    /// The loader of a rank has refused an entry that is itself at fault. Contains the refusal of this rank.
    Refused(Option<LoadRefusal>),
}

impl<'a> Item<'a> {
    /// Makes an item that is to be looked up.
    pub(super) fn new(signed: SignedRequest<'a>, rebuilds: bool) -> Self {
        let (state, lookups_left) = (ItemState::Unknown, MAX_LOOKUPS);
        let (roles, started) = (None, StartedBuild::Nothing);
        Self { signed, state, fresh: None, loaded_early: None, roles, started, rebuilds, lookups_left }
    }

    pub(super) fn signature(&self) -> &str {
        &self.signed.signature
    }

    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.state, ItemState::Unknown)
    }

    pub(super) fn is_missing(&self) -> bool {
        matches!(self.state, ItemState::Missing(_))
    }

    pub(super) fn is_settled(&self) -> bool {
        matches!(self.state, ItemState::Loaded(_) | ItemState::Failed(_))
    }

    /// Returns the ranks that build it.
    pub(super) fn builders(&self) -> &[usize] {
        self.roles.as_ref().map_or(&[], |roles| &roles.plan.builders)
    }

    /// Ends the item with an error that all ranks have.
    pub(super) fn fail(&mut self, error: Error) {
        self.state = ItemState::Failed(error);
    }

    /// Returns the result of a settled item.
    pub(super) fn result(&self) -> Result<Library> {
        match &self.state {
            ItemState::Loaded(library) => Ok(library.clone()),
            ItemState::Failed(error) => Err(error.clone()),
            _ => Err(Error::new(Kind::Internal, format!("{} was not settled", self.signature()))),
        }
    }
}

/// Returns the items for which `wanted` is true.
pub(super) fn select<'i, 'a>(
    items: &'i mut [Item<'a>],
    wanted: impl Fn(&Item<'a>) -> bool,
) -> Vec<&'i mut Item<'a>> {
    items.iter_mut().filter(|item| wanted(item)).collect()
}

/// Returns the results of the names of a batch: those that memory had, and those of `items`.
pub(super) fn results_by_name(
    names: &[&str],
    known: &BTreeMap<&str, Library>,
    items: &[Item<'_>],
) -> Vec<Result<Library>> {
    let by_name: BTreeMap<&str, &Item<'_>> =
        items.iter().map(|item| (item.signed.request.name, item)).collect();
    let result = |name: &&str| match (known.get(name), by_name.get(name)) {
        (Some(library), _) => Ok(library.clone()),
        (None, Some(item)) => item.result(),
        (None, None) => Err(Error::new(Kind::Internal, format!("{name} was not looked up"))),
    };
    names.iter().map(result).collect()
}
