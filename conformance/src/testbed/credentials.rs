//! Credentials that change.

use std::panic::resume_unwind;
use std::sync::Arc;

use super::{Declined, Testbed};
use crate::vault::Vault;

impl Testbed {
    /// Has the client that is to be opened ask `vault` for its credentials; declines the case where that is not possible.
    pub fn ask(&mut self, vault: &Arc<Vault>) {
        if let Err(reason) = self.world.ask(vault) {
            resume_unwind(Box::new(Declined(reason.to_owned())));
        }
    }

    /// Replaces the password of an account at the server: connections stay who they are, as at a real one.
    pub fn set_password(&mut self, user: &str, password: &str) {
        self.server(|server, _| server.set_password(user, password));
    }
}
