//! Leases.

use std::panic::resume_unwind;

use hitless_core::error::{CloseCause, LeaseError};
use hitless_core::request::{Request, SendError};
use resp3_codec::{Command, Frame};

use super::{Declined, Testbed};
use crate::world::{Holder, LeaseState, Ticket};

impl Testbed {
    /// Wants a lease; declines the case where there is none.
    pub fn wish(&mut self) -> Holder {
        self.lends = true;
        self.world.lease().unwrap_or_else(|reason| resume_unwind(Box::new(Declined(reason.to_owned()))))
    }

    /// Connections that the client may have beside the pool.
    #[must_use]
    pub fn dedicated(&self) -> u32 {
        if self.has_dedicated() { self.config().max_dedicated() } else { 0 }
    }

    /// Whether the client may have connections beside the pool.
    pub(crate) fn has_dedicated(&self) -> bool {
        self.lends || self.blocks
    }

    /// Waits for a lease, which must come.
    pub fn lease(&mut self) -> Holder {
        let holder = self.wish();
        self.run_until_soon("the lease is there", |bed| bed.lease_state(holder).outcome.is_some());
        assert_eq!(self.lease_state(holder).outcome, Some(Ok(())));
        holder
    }

    /// What has become of a lease so far.
    pub fn lease_state(&mut self, holder: Holder) -> LeaseState {
        self.world.lease_state(holder)
    }

    /// Waits until a wish for a lease has failed.
    pub fn lease_error(&mut self, holder: Holder) -> LeaseError {
        self.run_until_soon("it fails", |bed| bed.lease_state(holder).outcome.is_some());
        match self.lease_state(holder).outcome {
            Some(Err(error)) => error,
            other => panic!("no lease, not: {other:?}"),
        }
    }

    /// Waits until a lease has lost its connection.
    pub fn lease_lost(&mut self, holder: Holder) -> CloseCause {
        self.run_until_soon("it is lost", |bed| bed.lease_state(holder).lost.is_some());
        self.lease_state(holder).lost.expect("it is lost")
    }

    /// Sends a request on a lease.
    ///
    /// # Errors
    /// The client does not accept it.
    pub fn try_send_on(&mut self, holder: Holder, request: Request) -> Result<Ticket, SendError> {
        self.world.send_on(holder, request)
    }

    /// Sends a command on a lease, which must be accepted.
    pub fn send_on(&mut self, holder: Holder, command: Command) -> Ticket {
        let request = Request::leased(command).expect("a command for a lease");
        self.try_send_on(holder, request).unwrap_or_else(|error| panic!("the client accepts it: {error}"))
    }

    /// Sends a command on a lease and waits for its reply, which must come.
    pub fn call_on(&mut self, holder: Holder, command: Command) -> Frame {
        let ticket = self.send_on(holder, command);
        self.reply(ticket)
    }

    /// Returns a lease, or gives it up that is awaited.
    pub fn return_lease(&mut self, holder: Holder) {
        self.world.return_lease(holder);
    }
}
