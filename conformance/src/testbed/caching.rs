//! What caches are told.

use std::panic::resume_unwind;

use hitless_core::client::Invalidation;

use super::{Declined, Testbed};

impl Testbed {
    /// What caches were told so far; declines the case where nobody tells them.
    pub fn invalidations(&mut self) -> Vec<Invalidation> {
        let told = self.world.invalidations();
        told.map(<[_]>::to_vec).unwrap_or_else(|reason| resume_unwind(Box::new(Declined(reason.to_owned()))))
    }

    /// How often caches were told so far that everything is invalid.
    pub fn emptied(&mut self) -> usize {
        self.invalidations().iter().filter(|told| **told == Invalidation::All).count()
    }

    /// How often they were told that this key is.
    pub fn invalidated(&mut self, key: &str) -> usize {
        let told = self.invalidations();
        let keys = told.iter().filter_map(|told| match told {
            Invalidation::Keys(keys) => Some(keys),
            Invalidation::All => None,
        });
        keys.flatten().filter(|told| **told == key).count()
    }
}
