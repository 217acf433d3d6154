//! What caches in the application are told.
//!
//! The server vouches on a connection for what was read there, and on no other one. So whatever ends that, everything that was read there may
//! have changed without a word: when the connection is lost or closed, when its link counts as dead, when a move takes the place of its
//! server, and when shards have moved or failed over behind it. It may answer what it owes after its move, so its end is told as well.

use bytes::Bytes;
use resp3_codec::Frame;

use super::{Action, Client, Invalidation};
use crate::connection::Connection;
use crate::ids::ConnId;
use crate::notification::NotificationKind;

impl Client {
    /// A push that is no notification has come on `conn`.
    pub(super) fn note_invalidation(&mut self, conn: ConnId, elements: &[Frame]) {
        let tracks = self.links.connection(conn).is_some_and(Connection::tracks);
        let limit = self.config.invalidation_capacity();
        if let Some(invalidation) = tracks.then(|| of_push(elements, limit)).flatten() {
            self.actions.push_back(Action::Invalidated(invalidation));
        }
    }

    /// A notification of this kind has come on `conn`. Once shards have moved or failed over behind a connection that stays, the servers there
    /// may not know what was read; nothing says whether proxies turn tracking on at them.
    pub(super) fn note_completion(&mut self, conn: ConnId, kind: NotificationKind) {
        if kind.is_completion() {
            self.distrust(conn);
        }
    }

    /// Nobody vouches any more for what was read on `conn`, nor for the replies that it still owes.
    pub(super) fn distrust(&mut self, conn: ConnId) {
        let may_have_read = |it: &Connection| it.vouches() || (it.tracks() && it.awaited() > 0);
        if self.links.connection(conn).is_some_and(may_have_read) {
            self.invalidate_all();
        }
    }

    pub(super) fn invalidate_all(&mut self) {
        self.actions.push_back(Action::Invalidated(Invalidation::All));
    }
}

/// What a push says is invalid, if it is about that. One that makes no sense may have meant any key, so it counts as all, and so does one of
/// more than `limit` keys: no reader has room for them, and others wait while they are copied.
fn of_push(elements: &[Frame], limit: usize) -> Option<Invalidation> {
    let [kind, what @ ..] = elements else { return None };
    if kind.as_bytes()? != b"invalidate" {
        return None;
    }
    let keys = match what {
        [keys] => keys.as_array(),
        _ => None,
    };
    // Null, for one, is what FLUSHALL says. Keys are copied: each would keep the block alive in which it was received.
    let copy = |key: &Frame| key.as_bytes().map(Bytes::copy_from_slice);
    let keys = keys.filter(|keys| keys.len() <= limit).and_then(|keys| keys.iter().map(copy).collect());
    Some(keys.map_or(Invalidation::All, Invalidation::Keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(elements: impl IntoIterator<Item = Frame>) -> Option<Invalidation> {
        of_push(&elements.into_iter().collect::<Vec<_>>(), 2)
    }

    /// RULE-272, PITFALL-44
    #[test]
    fn what_makes_no_sense_leaves_nothing_to_believe_in() {
        let (kind, keys) =
            (Frame::bulk("invalidate"), Frame::Array(vec![Frame::bulk("a"), Frame::bulk("b")]));
        let told = Invalidation::Keys(vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")]);
        assert_eq!(of([kind.clone(), keys.clone()]), Some(told));
        assert_eq!(of([kind.clone(), Frame::Null]), Some(Invalidation::All));
        assert_eq!(of([kind.clone(), Frame::NullArray]), Some(Invalidation::All));
        assert_eq!(of([kind.clone()]), Some(Invalidation::All));
        assert_eq!(of([kind.clone(), keys.clone(), keys.clone()]), Some(Invalidation::All));
        assert_eq!(of([kind.clone(), Frame::Array(vec![Frame::Integer(1)])]), Some(Invalidation::All));
        assert_eq!(of([Frame::bulk("message"), keys.clone()]), None);
        assert_eq!(of([Frame::Integer(1), keys]), None);
        assert_eq!(of([]), None);
    }

    /// RULE-276, INV-14
    #[test]
    fn more_keys_than_a_reader_has_room_for_are_not_copied() {
        let push = |keys: &[&'static str]| {
            of([Frame::bulk("invalidate"), Frame::Array(keys.iter().map(|key| Frame::bulk(*key)).collect())])
        };
        assert!(matches!(push(&["a", "b"]), Some(Invalidation::Keys(keys)) if keys.len() == 2));
        assert_eq!(push(&["a", "b", "c"]), Some(Invalidation::All));
    }

    /// RULE-276
    #[test]
    fn a_key_does_not_keep_what_it_was_received_with() {
        let block = Bytes::from(vec![b'k'; 1 << 16]);
        let told = of([Frame::bulk("invalidate"), Frame::Array(vec![Frame::Bulk(block.slice(..1))])]);
        assert_eq!(told, Some(Invalidation::Keys(vec![Bytes::from_static(b"k")])));
        assert!(block.is_unique());
    }
}
