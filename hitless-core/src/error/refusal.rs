//! Why a server that is up has not run a command.

use std::fmt;

/// An error reply which says that the server is in no state to run a command, for now: another one may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// `READONLY`: a write, and the server is a replica.
    ReadOnly,
    /// `LOADING`: it reads its data set.
    Loading,
    /// `MASTERDOWN`: it is a replica that has lost its master.
    MasterDown,
}

impl Refusal {
    /// What the text of an error reply says, by its code; also for the EXEC of a transaction that was refused as a whole.
    ///
    /// ```
    /// use hitless_core::error::Refusal;
    ///
    /// let text = b"READONLY You can't write against a read only replica.";
    /// assert_eq!(Refusal::of_error(text), Some(Refusal::ReadOnly));
    /// let text = b"EXECABORT Transaction discarded because of: LOADING Redis is loading the dataset in memory";
    /// assert_eq!(Refusal::of_error(text), Some(Refusal::Loading));
    /// let text = b"ERR Transaction contains write commands but instance is now a read-only replica. EXEC aborted.";
    /// assert_eq!(Refusal::of_error(text), Some(Refusal::ReadOnly));
    /// assert_eq!(Refusal::of_error(b"ERR no such key"), None);
    /// ```
    #[must_use]
    pub fn of_error(text: &[u8]) -> Option<Self> {
        const ABORTED: &[u8] = b"EXECABORT ";
        const REASON: &[u8] = b"because of: ";
        // Redis before 7; the next word is slave or replica.
        const DEMOTED: &[u8] = b"ERR Transaction contains write commands but instance is now a read-only ";
        if let Some(aborted) = text.strip_prefix(ABORTED) {
            let at = aborted.windows(REASON.len()).position(|words| words == REASON)?;
            return Self::of_code(&aborted[at + REASON.len()..]);
        }
        if text.starts_with(DEMOTED) {
            return Some(Self::ReadOnly);
        }
        Self::of_code(text)
    }

    /// What the code at the beginning of `text` says.
    pub(crate) fn of_code(text: &[u8]) -> Option<Self> {
        match text.split(|byte| *byte == b' ').next().unwrap_or_default() {
            b"READONLY" => Some(Self::ReadOnly),
            b"LOADING" => Some(Self::Loading),
            b"MASTERDOWN" => Some(Self::MasterDown),
            _ => None,
        }
    }

    /// Whether an error reply says that another node of the cluster runs the command, or this one later.
    pub(crate) fn concerns_node(text: &[u8]) -> bool {
        let code = text.split(|byte| *byte == b' ').next().unwrap_or_default();
        matches!(code, b"MOVED" | b"ASK" | b"TRYAGAIN" | b"CLUSTERDOWN") || Self::of_code(text).is_some()
    }

    /// The code of the error.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "READONLY",
            Self::Loading => "LOADING",
            Self::MasterDown => "MASTERDOWN",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
/// Whether an error says that somebody has sent the command away, which may run nevertheless. That its stream was deleted is an answer.
pub(crate) fn is_unblocked(text: &[u8]) -> bool {
    const ANSWER: &[u8] = b"no longer exists";
    text.starts_with(b"UNBLOCKED ") && !text.windows(ANSWER.len()).any(|words| words == ANSWER)
}
