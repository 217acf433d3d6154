//! A command whose keys are in several slots, as commands of one slot each.

use std::collections::BTreeMap;

use resp3_codec::{Command, Frame, cmd};

use super::Combine;
use crate::slots::key_slot;

/// A command as parts of one slot each, and how their replies are one. The parts are not atomic: others may see some of them done and some
/// not, and where one fails, the others have run.
#[derive(Clone, Debug)]
pub struct Split {
    join: Join,
    parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug)]
enum Join {
    /// The values of the keys, in the order of the caller.
    InOrder,
    By(Combine),
}

#[derive(Clone, Debug)]
struct Part {
    slot: u16,
    command: Command,
    /// Which of the keys it has.
    places: Vec<usize>,
}

/// Splits MGET, MSET, DEL, UNLINK, EXISTS and TOUCH by the slots of their keys; the parts are in the order of their first keys. `None` for
/// every other command, and for one that its server will refuse: without a key, or MSET of a key without a value.
///
/// ```
/// use hitless_core::cluster::{key_slot, split};
/// use hitless_core::{Frame, cmd};
///
/// let split = split(&cmd("MGET").args(["a", "b", "{a}2"])).expect("can be split");
/// let slots: Vec<u16> = split.parts().map(|(slot, _)| slot).collect();
/// assert_eq!(slots, [key_slot(b"a"), key_slot(b"b")]);
///
/// let [a, b, a2] = [1, 2, 3].map(Frame::Integer);
/// let replies = vec![Frame::Array(vec![a, a2]), Frame::Array(vec![b])];
/// assert_eq!(split.join(replies), Some(Frame::Array([1, 2, 3].map(Frame::Integer).into())));
/// ```
#[must_use]
pub fn split(command: &Command) -> Option<Split> {
    let is = |name: &str| command.name().eq_ignore_ascii_case(name.as_bytes());
    let (join, step) = match () {
        () if is("MGET") => (Join::InOrder, 1),
        () if is("MSET") => (Join::By(Combine::AllSucceeded), 2),
        () if ["DEL", "UNLINK", "EXISTS", "TOUCH"].into_iter().any(is) => (Join::By(Combine::Sum), 1),
        () => return None,
    };
    let arguments: Vec<&[u8]> = command.iter().skip(1).collect();
    if arguments.is_empty() || !arguments.len().is_multiple_of(step) {
        return None;
    }
    let mut parts: Vec<Part> = Vec::new();
    let mut by_slot = BTreeMap::new();
    for (place, words) in arguments.chunks_exact(step).enumerate() {
        let slot = key_slot(words.first()?);
        let number = *by_slot.entry(slot).or_insert(parts.len());
        if number == parts.len() {
            parts.push(Part { slot, command: cmd(command.name()), places: Vec::new() });
        }
        parts.get_mut(number)?.add(place, words);
    }
    Some(Split { join, parts })
}

impl Part {
    fn add(&mut self, place: usize, words: &[&[u8]]) {
        // Commands are built by value.
        let command = std::mem::replace(&mut self.command, cmd(""));
        self.command = command.args(words.iter().copied());
        self.places.push(place);
    }
}

impl Split {
    /// The parts, each with the slot of its keys.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = (u16, &Command)> {
        self.parts.iter().map(|part| (part.slot, &part.command))
    }

    /// The reply to the whole out of those to the parts, which are given in their order.
    ///
    /// Of MGET, each key of a part that has failed has its error. Of the others, the first error is the reply, though other parts
    /// have run. `None` if there is not one reply for each part, or one is not what the command answers.
    #[must_use]
    pub fn join(&self, replies: Vec<Frame>) -> Option<Frame> {
        if replies.len() != self.parts.len() {
            return None;
        }
        match self.join {
            Join::By(combine) => combine.join(replies),
            Join::InOrder => {
                let mut values: BTreeMap<usize, Frame> = BTreeMap::new();
                for (part, reply) in self.parts.iter().zip(replies) {
                    let part_values = part.values(reply)?;
                    values.extend(part.places.iter().copied().zip(part_values));
                }
                Some(Frame::Array(values.into_values().collect()))
            }
        }
    }
}

impl Part {
    /// A value for each of its keys.
    fn values(&self, reply: Frame) -> Option<Vec<Frame>> {
        if reply.is_error() {
            return Some(vec![reply; self.places.len()]);
        }
        reply.into_array().filter(|values| values.len() == self.places.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(words: &str) -> Option<Vec<String>> {
        let mut words = words.split(' ');
        let split = split(&cmd(words.next().unwrap()).args(words))?;
        let shown = split.parts().map(|(slot, command)| {
            let words: Vec<_> = command.iter().map(String::from_utf8_lossy).collect();
            assert!(
                command
                    .iter()
                    .skip(1)
                    .step_by(1 + usize::from(words[0] == "MSET"))
                    .all(|key| key_slot(key) == slot)
            );
            words.join(" ")
        });
        Some(shown.collect())
    }

    /// Keys of one slot stay together and in order, each with its value; other commands are not split. RULE-307
    #[test]
    fn commands_are_split_by_slot() {
        for (words, expected) in [
            ("MGET a b {a}2", &["MGET a {a}2", "MGET b"][..]),
            ("mget b b", &["mget b b"]),
            ("MSET a 1 b 2 {a}2 3 a 4", &["MSET a 1 {a}2 3 a 4", "MSET b 2"]),
            ("DEL a b", &["DEL a", "DEL b"]),
            ("UNLINK a b", &["UNLINK a", "UNLINK b"]),
            ("EXISTS a a b", &["EXISTS a a", "EXISTS b"]),
            ("touch a", &["touch a"]),
        ] {
            assert_eq!(parts(words).unwrap(), expected, "{words}");
        }
        for words in ["GET a", "MSETNX a 1 b 2", "MGET", "MSET a 1 b", "SINTER a b", "PFCOUNT a b"] {
            assert_eq!(parts(words), None, "{words}");
        }
    }

    /// The whole is what one server would have answered; what has failed is told. RULE-307
    #[test]
    fn replies_are_joined_as_one_server_would_answer() {
        let join = |words: &str, replies: Vec<Frame>| {
            let mut words = words.split(' ');
            split(&cmd(words.next().unwrap()).args(words)).unwrap().join(replies)
        };
        let (ok, error) = (|| Frame::simple("OK"), || Frame::error("OOM no memory"));
        let array = |items: &[&'static str]| Frame::Array(items.iter().copied().map(Frame::bulk).collect());
        let mget = |replies| join("MGET a b {a}2", replies);
        assert_eq!(mget(vec![array(&["1", "3"]), array(&["2"])]), Some(array(&["1", "2", "3"])));
        let failed = Frame::Array(vec![error(), Frame::bulk("2"), error()]);
        assert_eq!(mget(vec![error(), array(&["2"])]), Some(failed));
        assert_eq!(mget(vec![array(&["1"]), array(&["2"])]), None, "a value is missing");
        assert_eq!(mget(vec![array(&["1", "3"])]), None, "a reply is missing");
        assert_eq!(mget(vec![ok(), array(&["2"])]), None);
        assert_eq!(join("MSET a 1 b 2", vec![ok(), ok()]), Some(ok()));
        assert_eq!(join("MSET a 1 b 2", vec![ok(), error()]), Some(error()));
        assert_eq!(join("DEL a b", vec![Frame::Integer(1), Frame::Integer(0)]), Some(Frame::Integer(1)));
        assert_eq!(join("EXISTS a b", vec![error(), Frame::Integer(1)]), Some(error()));
        assert_eq!(join("TOUCH a b", vec![Frame::Integer(1), ok()]), None);
    }

    proptest! {
        /// Whatever the keys, MGET's values are those of its keys, in their order. RULE-307
        #[test]
        fn values_come_back_in_order(keys in proptest::collection::vec("(\\{[ab]\\})?[a-z]{0,2}", 1..20)) {
            let split = split(&cmd("MGET").args(&keys)).unwrap();
            let values = |command: &Command| command.iter().skip(1).map(|key| Frame::bulk(key.to_vec())).collect();
            let replies = split.parts().map(|(_, command)| Frame::Array(values(command))).collect();
            let whole = keys.iter().map(|key| Frame::bulk(key.clone())).collect();
            prop_assert_eq!(split.join(replies), Some(Frame::Array(whole)));
        }
    }
}
