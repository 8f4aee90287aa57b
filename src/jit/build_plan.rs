//! Assigning roles to the ranks on a miss.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::cache::Verify;
use crate::error::Result;
use crate::parallel::agree_gather_bytes;
use crate::parallel::cache_domains::CacheDomains;
use crate::parallel::roles::{self, RoleInput};
use crate::params::resolved::BuildOn;

use super::build_roles::BuildRoles;
use super::call::{Call, RankGroups};
use super::callbacks::Callbacks;
use super::item::Item;
use super::lookup::is_present;

/// Assigns roles for libraries that not all ranks have. `in_turn` assigns the builds of a directory to the
/// ranks that share it, one after the other. Collective.
pub(super) fn assign_roles(
    call: &Call<'_>,
    ranks: &RankGroups<'_>,
    items: &[&mut Item<'_>],
    callbacks: &Callbacks<'_>,
    in_turn: bool,
) -> Result<Vec<BuildRoles>> {
    let buildon = call.params.buildon;
    let declared = ranks.domains(call.comm, call.params)?;
    let domains = match buildon {
        BuildOn::Process => Arc::new(CacheDomains::separate(call.comm.size())),
        BuildOn::Node | BuildOn::Root => Arc::clone(&declared),
    };
    let leaders: Arc<[usize]> = ranks.group.divide(domains.leaders()).into();
    let own_transport = callbacks.send.is_some() && ranks.group.is_only_one();
    if callbacks.send.is_some() && !own_transport {
        // The callbacks transport one library from rank 0 to all, and here there are several.
        log::warn!(
            "send and receive are not used for {}: ranks with different processors need different libraries",
            items.first().map_or("", |item| item.signature())
        );
    }
    let groups: Vec<usize> = (0..call.comm.size()).map(|rank| ranks.group.of(rank)).collect();
    let hosts: Arc<[usize]> = declared.hosts().into();
    let assign = |had_entry: Vec<bool>| {
        let (leaders, groups) = (&leaders, &groups);
        let input = RoleInput { leaders, groups, on_disk: &had_entry, buildon, own_transport };
        let mut plan = roles::plan(&input);
        if in_turn && buildon == BuildOn::Node && !plan.builders.is_empty() {
            let turn = ranks.state.next_builder.fetch_add(1, Ordering::Relaxed);
            plan.builders = roles::assign_round_robin(&plan.builders, leaders, domains.hosts(), turn);
        }
        let (reporters, hosts) = (Arc::default(), Arc::clone(&hosts));
        BuildRoles { leaders: Arc::clone(leaders), had_entry, plan, reporters, hosts }
    };
    let mut all: Vec<BuildRoles> = gather_presence(call, ranks, items)?.into_iter().map(assign).collect();
    let builders = all.iter().flat_map(|roles| roles.plan.builders.iter().copied());
    let reporters: Arc<[usize]> = roles::reporters(builders, &hosts).into();
    all.iter_mut().for_each(|roles| roles.reporters = Arc::clone(&reporters));
    Ok(all)
}

/// Returns for each item, and for each rank, whether the whole entry is on the disk of the rank. Collective.
pub(super) fn gather_presence(
    call: &Call<'_>,
    ranks: &RankGroups<'_>,
    items: &[&mut Item<'_>],
) -> Result<Vec<Vec<bool>>> {
    let has = |item: &&mut Item<'_>| {
        // An entry that cannot be read is not there; the next lookup reports the error.
        !ranks.is_follower(call.comm.rank()) && is_present(&call.cache, item.signature(), Verify::ForLink)
    };
    let bits = agree_gather_bytes(call.comm, "looking into the cache", items.len().div_ceil(8), || {
        let mut bits = vec![0; items.len().div_ceil(8)];
        for (index, _) in items.iter().enumerate().filter(|(_, item)| has(item)) {
            bits[index / 8] |= 1 << (index % 8);
        }
        Ok(bits)
    })?;
    let reader = |rank: usize| ranks.nodes.as_ref().map_or(rank, |nodes| nodes.leaders[rank]);
    let is_set = |rank: usize, index: usize| bits[reader(rank)][index / 8] >> (index % 8) & 1 == 1;
    let of_item = |index: usize| (0..bits.len()).map(|rank| is_set(rank, index)).collect();
    Ok((0..items.len()).map(of_item).collect())
}
