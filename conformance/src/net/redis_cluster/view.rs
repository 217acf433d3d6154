//! What one node knows of its cluster: the answer to `CLUSTER NODES`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

/// A node as another one, or itself, sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The name that it gave itself.
    pub id: String,
    /// Where its clients dial it.
    pub address: SocketAddr,
    /// The id of the primary that it copies; `None` at a primary.
    pub primary: Option<String>,
    /// Whether it is said to be dead, be it by the asked node alone.
    pub is_failed: bool,
    /// The slots that it serves.
    pub slots: Vec<RangeInclusive<u16>>,
}

impl Member {
    /// Reads a line of the answer: `id address@bus flags primary ping pong epoch link slots..`. Nodes of which no more than an
    /// address is known are left out, and so are those that have none.
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let (&[id, address, flags, primary, ..], slots) = words.split_at_checked(8)? else { return None };
        let flags: Vec<&str> = flags.split(',').collect();
        if flags.contains(&"handshake") || flags.contains(&"noaddr") {
            return None;
        }
        Some(Self {
            id: id.to_owned(),
            address: address.split('@').next()?.parse().ok()?,
            primary: (primary != "-").then(|| primary.to_owned()),
            is_failed: flags.iter().any(|flag| matches!(*flag, "fail" | "fail?")),
            // What is in brackets is a slot on the move.
            slots: slots.iter().filter_map(|slots| range(slots)).collect(),
        })
    }

    /// Whether it serves the slot.
    #[must_use]
    pub fn serves(&self, slot: u16) -> bool {
        self.slots.iter().any(|range| range.contains(&slot))
    }

    /// How many slots it serves.
    #[must_use]
    pub fn slot_count(&self) -> usize {
        self.slots.iter().map(ExactSizeIterator::len).sum()
    }
}

/// The members, in the order of the answer.
pub(super) fn parse(answer: &str) -> Vec<Member> {
    answer.lines().filter_map(Member::parse).collect()
}

fn range(slots: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_a_server_is_read() {
        let members = parse(
            "aa 127.0.0.1:7001@7101 myself,master - 0 0 1 connected 0-2 7 [5->-bb] [9-<-cc]\n\
             bb 127.0.0.1:7002@7102,name slave,fail? aa 0 1 1 connected\n\
             cc 127.0.0.1:7003@7103 handshake - 0 0 0 disconnected\n\
             dd :0@0 master,fail,noaddr - 0 0 0 disconnected\n",
        );
        let [first, second] = &members[..] else { panic!("{members:?}") };
        assert_eq!((&first.id[..], first.primary.as_deref(), first.is_failed), ("aa", None, false));
        assert_eq!(first.slots, [0..=2, 7..=7]);
        assert!(first.serves(7) && !first.serves(5));
        assert_eq!(first.slot_count(), 4);
        assert_eq!((second.primary.as_deref(), second.is_failed), (Some("aa"), true));
        assert_eq!(second.address.port(), 7002);
    }
}
