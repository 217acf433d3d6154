//! What the holder of a lease has left on its connection: whether the next one would notice.

use crate::command_table::{StateChange, is_queued};
use resp3_codec::Frame;

/// The state of the connection of one lease, as its replies tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Session {
    watches: bool,
    in_transaction: bool,
    /// Its database, user, name or another setting was changed.
    has_settings: bool,
    /// Something was sent and not answered, or nobody knows what it was.
    is_unsure: bool,
}

impl Session {
    /// A request that makes these `changes` was answered by `replies`.
    pub(super) fn note_replies(&mut self, changes: &[(u32, StateChange)], replies: &[Frame]) {
        let mut changes = changes.iter().peekable();
        for (place, reply) in replies.iter().enumerate() {
            let change = changes.next_if(|(at, _)| *at as usize == place).map(|(_, change)| *change);
            if !change.is_some_and(ends_queue) {
                self.note_inside(reply);
            }
            if let Some(change) = change {
                self.note_reply(change, reply);
            }
        }
        // Replies are missing.
        self.is_unsure |= changes.next().is_some();
    }

    /// The state is not known any more: a request has failed, or its caller has given it up.
    pub(super) fn note_unknown(&mut self) {
        self.is_unsure = true;
    }

    /// Whether the next holder finds the connection as the handshake has left it.
    pub(super) fn is_clean(self) -> bool {
        self == Self::default()
    }

    /// Whether what is sent there is certainly queued, until something ends the transaction.
    pub(super) fn queues(self) -> bool {
        self.in_transaction && !self.is_unsure
    }

    fn note_reply(&mut self, change: StateChange, reply: &Frame) {
        let refused = reply.is_error();
        match change {
            StateChange::Watch => self.watches |= !refused,
            StateChange::Multi => self.in_transaction |= !refused,
            // Inside a transaction it is queued, and EXEC forgets what is watched anyway.
            StateChange::Unwatch => self.watches &= refused || self.in_transaction,
            StateChange::Exec if !refused || is_discarded(reply) => self.end_transaction(),
            StateChange::Discard if !refused => self.end_transaction(),
            // Some errors end the transaction, and others do not: what follows may run.
            StateChange::Exec | StateChange::Discard => self.is_unsure = true,
            // AUTH and SELECT change nothing when they are refused; that is rare, and one more dial. RESET, which is among the
            // settings, ends a transaction; one that a transaction queues is not told from it.
            StateChange::Setting => {
                self.has_settings = true;
                self.in_transaction &= refused;
            }
        }
    }

    /// Inside a transaction everything is queued or refused. Whatever is answered otherwise has run, so that there is none any more.
    fn note_inside(&mut self, reply: &Frame) {
        self.is_unsure |= self.in_transaction && !reply.is_error() && !is_queued(reply);
    }

    fn end_transaction(&mut self) {
        (self.watches, self.in_transaction) = (false, false);
    }
}

/// Whether a command that makes this change may run, or end the transaction, instead of being queued.
pub(super) fn ends_queue(change: StateChange) -> bool {
    match change {
        // RESET is among the settings.
        StateChange::Exec | StateChange::Discard | StateChange::Setting => true,
        StateChange::Watch | StateChange::Unwatch | StateChange::Multi => false,
    }
}

/// Whether EXEC was answered by EXECABORT: the transaction is over, and nothing of it ran.
fn is_discarded(reply: &Frame) -> bool {
    reply.as_error().is_some_and(|text| text.starts_with(b"EXECABORT"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use StateChange::{Discard, Exec, Multi, Setting, Unwatch, Watch};

    fn after(dialogue: &[(StateChange, Frame)]) -> Session {
        let mut session = Session::default();
        for (change, reply) in dialogue {
            session.note_replies(&[(0, *change)], std::slice::from_ref(reply));
        }
        session
    }

    fn ok() -> Frame {
        Frame::simple("OK")
    }

    /// What the server has answered decides, not what was asked for. RULE-203
    #[test]
    fn a_session_is_clean_once_everything_is_undone() {
        let no = || Frame::error("NOPERM no");
        for dialogue in [
            vec![],
            vec![(Watch, ok()), (Unwatch, ok())],
            vec![(Watch, ok()), (Multi, ok()), (Exec, Frame::Array(vec![]))],
            vec![(Watch, ok()), (Multi, ok()), (Exec, Frame::Null)],
            vec![(Multi, ok()), (Exec, Frame::error("EXECABORT Transaction discarded"))],
            vec![(Watch, ok()), (Multi, ok()), (Discard, ok())],
            vec![(Watch, no())],
            vec![(Multi, no())],
        ] {
            assert!(after(&dialogue).is_clean(), "{dialogue:?}");
        }
        for dialogue in [
            vec![(Watch, ok())],
            vec![(Multi, ok())],
            vec![(Watch, ok()), (Unwatch, no())],
            vec![(Watch, ok()), (Multi, ok()), (Unwatch, Frame::simple("QUEUED"))],
            vec![(Watch, ok()), (Multi, no()), (Exec, Frame::error("ERR EXEC without MULTI"))],
            vec![(Watch, ok()), (Discard, Frame::error("ERR DISCARD without MULTI"))],
            vec![
                (Multi, ok()),
                (Exec, Frame::error("ERR Transaction contains write commands. EXEC aborted.")),
            ],
            vec![(Multi, ok()), (Watch, ok()), (Exec, Frame::Null)],
            vec![(Multi, ok()), (Multi, ok()), (Exec, Frame::Null)],
            vec![(Setting, ok())],
            vec![(Setting, Frame::simple("QUEUED")), (Exec, Frame::Array(vec![]))],
        ] {
            assert!(!after(&dialogue).is_clean(), "{dialogue:?}");
        }
    }

    /// What a server says about QUEUED changes nothing. RULE-148, RULE-203
    #[test]
    fn a_queued_command_may_have_attributes() {
        let attributed = |value: Frame| Frame::Attribute {
            attributes: vec![(Frame::bulk("ttl"), Frame::Integer(1))],
            value: value.into(),
        };
        let mut session = Session::default();
        let replies = [ok(), Frame::simple("QUEUED"), Frame::Array(vec![ok()])].map(attributed);
        session.note_replies(&[(0, Multi), (2, Exec)], &replies);
        assert!(session.is_clean());
        session.note_replies(&[(0, Multi)], &[attributed(ok()), attributed(ok())]);
        assert!(!session.is_clean(), "a command has run inside the transaction");
    }

    #[test]
    fn a_batch_is_judged_command_by_command() {
        let changes = [(0, Watch), (1, Multi), (3, Exec)];
        let mut session = Session::default();
        session.note_replies(&changes, &[ok(), ok(), Frame::simple("QUEUED"), Frame::Null]);
        assert!(session.is_clean());
        session.note_replies(&changes, &[ok()]);
        assert!(!session.is_clean(), "replies are missing");
        let mut session = Session::default();
        session.note_replies(&changes, &[ok(), ok(), ok(), Frame::Null]);
        assert!(!session.is_clean(), "a command has run inside the transaction");
        let mut session = Session::default();
        session.note_unknown();
        assert!(!session.is_clean());
    }
}
