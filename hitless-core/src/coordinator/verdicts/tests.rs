use std::net::SocketAddr;

use super::*;
use crate::endpoint::Peer;
use crate::event::Ignored;
use crate::ids::ConnId;
use crate::notification::Seq;
use crate::timer::epoch;

/// A copy is compared with what waits and counts, not with what was ignored at its arrival.
#[test]
fn only_notifications_that_count_are_compared() {
    let pending = |arrival| {
        let peer = Peer::from(SocketAddr::from(([127, 0, 0, 1], 1)));
        let origin = Origin { conn: ConnId::from_parts(1, 0), peer, at: epoch() };
        let notification =
            Notification::Migrating { seq: Seq(2), starts_in: None, shards: Default::default() };
        Pending { origin, notification, arrival }
    };
    let waits = |arrival, seq| pending(arrival).counts_and(|_, waiting| waiting.seq() == Seq(seq));
    assert!(waits(Ok(Effect::default()), 2));
    assert!(!waits(Ok(Effect::default()), 3));
    assert!(!waits(Err(Ignored::Stale), 2));
}
