//! What the clients of the nodes tell the control task. Nothing of it is lost: a slot move that was missed would be found out by errors.

use std::sync::{Arc, Mutex, PoisonError};

use super::super::signals::{self, Signals};
use crate::error::ConnectError;
use crate::ids::NodeId;
use crate::notification::Notification;

/// Something that has happened to one node's client.
#[derive(Debug)]
pub(in super::super) enum NodeFact {
    /// Its pool is open.
    Open,
    /// Its pool could not be opened. The client goes on trying.
    NotOpened(ConnectError),
    /// One of its connections does not take READONLY.
    ReadonlyRefused,
    /// Its last connection is gone, and the first attempt to get another one has failed.
    CutOff,
    /// There is a connection again.
    Back,
    /// The server announces maintenance.
    Notified(Box<Notification>),
    /// The client shuts down: it takes no requests.
    Closing,
    /// The client has ended; it has told before that it shuts down.
    Ended,
}

/// Which client tells something: a node may have one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) node: NodeId,
    /// Grows from client to client.
    pub(super) number: u64,
}

/// Where the client of one node reports.
#[derive(Debug)]
pub(in super::super) struct Report {
    from: Sender,
    inbox: Arc<Inbox>,
}

impl Report {
    pub(super) fn new(from: Sender, inbox: &Arc<Inbox>) -> Self {
        Self { from, inbox: Arc::clone(inbox) }
    }

    /// Leaves `fact` for the control task. The caller raises the signal once it holds no lock.
    pub(in super::super) fn tell(&self, fact: NodeFact) -> (Arc<Signals>, u8) {
        self.inbox.facts.lock().unwrap_or_else(PoisonError::into_inner).push((self.from, fact));
        (Arc::clone(&self.inbox.signals), signals::WORK)
    }
}

/// The facts that the control task has not seen. They are few, and it takes all of them at once.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    facts: Mutex<Vec<(Sender, NodeFact)>>,
    /// Wakes the control task.
    pub(super) signals: Arc<Signals>,
}

impl Inbox {
    /// Takes the facts, in the order in which each client has told them.
    pub(super) fn take(&self) -> Vec<(Sender, NodeFact)> {
        std::mem::take(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
