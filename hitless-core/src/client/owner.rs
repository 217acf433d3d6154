//! Whom a connection belongs to.

use crate::coordinator::Role;

/// The part of the client that uses a connection and asks for another one when it is lost. It is the same for a connection
/// and its successor.
///
/// | owner | role | switches to a successor |
/// |---|---|---|
/// | slot of the pool | shared | at once: requests move one by one |
/// | seat, idle | held | at once: nobody has it |
/// | seat, lent | held | when the lease is returned |
/// | subscriptions | held | when it is known where the successor goes on |
///
/// Each part of the client that has to treat owners differently matches on this type exhaustively, so that an owner of
/// another kind cannot be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// The slot of the pool that has this number.
    Slot(usize),
    /// The seat that has this number: the room for one dedicated connection.
    Seat(usize),
    /// The subscriptions, which have one connection together.
    Subscriptions,
}

impl Owner {
    /// What the coordinator does when a successor of the owner's connection is ready.
    pub(super) fn role(self) -> Role {
        match self {
            Self::Slot(_) => Role::Shared,
            Self::Seat(_) | Self::Subscriptions => Role::Held,
        }
    }
}
