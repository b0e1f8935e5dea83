//! A file whose tensors are a network of a family ([`crate::families`]): by names and shapes, all of them and no other.

use std::collections::BTreeMap;

use network::Topology;

use super::candidates::{candidate, dictionaries};
use super::differences::TRACKED;
use super::entries::{Stored, entries};
use super::reading::Reading;
use super::select::Failure;
use super::source::Listing;
use crate::error::quoted;
use crate::families;

/// The network of a family that a file holds.
pub(super) struct Found {
    pub family: &'static str,
    pub topology: Topology,
    /// PyTorch's name to what is read for it.
    pub tensors: BTreeMap<String, Stored>,
}

/// The one network of a family among the dictionaries of a file; none where there is none.
///
/// # Errors
/// Several are such networks.
pub(super) fn find(listing: &Listing, reading: &Reading) -> Result<Option<Found>, Failure> {
    let Ok(entries) = entries(&listing.infos, reading) else {
        return Ok(None);
    };
    let places = dictionaries(&entries, 1);
    let mut found = Vec::new();
    for place in &places {
        let candidate = candidate(&entries, place, &places);
        let is_counter = |name: &str| name.ends_with(TRACKED);
        let own = candidate
            .shapes
            .iter()
            .filter(|(name, _)| !is_counter(name));
        let shapes = own
            .map(|(name, shape)| (name.clone(), shape.clone()))
            .collect();
        if let Some((family, topology)) = families::recognise(&shapes) {
            let mut tensors = candidate.tensors;
            tensors.retain(|name, _| !is_counter(name));
            let network = Found {
                family,
                topology,
                tensors,
            };
            found.push((candidate.key, network));
        }
    }
    if found.len() > 1 {
        let named = found.iter().map(|(key, network)| match key.as_str() {
            "" => format!("'.' ({})", network.family),
            key => format!("{} ({})", quoted(key), network.family),
        });
        return Err(Failure::Ambiguous(named.collect()));
    }
    Ok(found.pop().map(|(_, network)| network))
}
