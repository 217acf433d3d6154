//! Which elements of lists the client has read.

use std::collections::{BTreeMap, BTreeSet};

use super::SocketId;

/// Longer than an element with what stands around it.
const LONGEST: usize = 32;

/// Finds elements in what is read, wherever that is cut.
#[derive(Debug, Default)]
pub(in crate::sim) struct Ear {
    pub(in crate::sim) elements: BTreeSet<String>,
    /// The last bytes of each connection.
    last: BTreeMap<SocketId, Vec<u8>>,
}

impl Ear {
    pub(super) fn hear(&mut self, socket: SocketId, bytes: &[u8]) {
        let heard = self.last.entry(socket).or_default();
        heard.extend_from_slice(bytes);
        let end = heard.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        for line in heard[..end].split(|byte| *byte == b'\n').skip(1) {
            let element = line.strip_suffix(b".\r").filter(|element| element.starts_with(b"e"));
            if let Some(element) = element.and_then(|element| std::str::from_utf8(element).ok()) {
                self.elements.insert(format!("{element}."));
            }
        }
        heard.drain(..heard.len().saturating_sub(LONGEST));
    }
}
