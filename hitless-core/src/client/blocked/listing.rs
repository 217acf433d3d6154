//! What servers answer to CLIENT LIST and CLIENT UNBLOCK.
//!
//! Source: `networking.c` of Redis 7 (`catClientInfoString`), and `CLIENT LIST ID` as a redis-server 7.0 answers it.

use resp3_codec::Frame;

use super::Answer;

/// The connection that is asked about, as its server should show it.
#[derive(Clone, Copy, Debug)]
pub(in crate::client) struct Wanted<'a> {
    /// The id of its HELLO.
    pub(in crate::client) client_id: i64,
    /// The name of the command that it has sent.
    pub(in crate::client) command: &'a str,
    pub(in crate::client) client_name: &'a str,
    pub(in crate::client) database: u32,
}

/// Whether the server shows our command waiting on our connection. Ids belong to one proxy, and behind one address there may be several:
/// whatever differs is somebody else.
pub(in crate::client) fn judge_listing(reply: &Frame, wanted: Wanted<'_>) -> Answer {
    let id = wanted.client_id.to_string();
    let text = if reply.is_error() { None } else { reply.as_str() };
    let mut lines = text.into_iter().flat_map(str::lines);
    let Some(line) = lines.find(|line| field(line, "id") == Some(&id)) else { return Answer::Impossible };
    let fields = ["flags", "cmd", "name", "db"].map(|name| field(line, name));
    let [Some(flags), Some(command), Some(name), Some(database)] = fields else {
        return Answer::Impossible;
    };
    if name != wanted.client_name || database != wanted.database.to_string() {
        return Answer::Impossible;
    }
    match flags.contains('b') {
        false => Answer::NotYet,
        true if command.eq_ignore_ascii_case(wanted.command) => Answer::Waits,
        true => Answer::Impossible,
    }
}

/// Whether UNBLOCK has hit.
pub(in crate::client) fn judge_unblocking(reply: &Frame) -> Answer {
    match reply.as_int() {
        Some(1) => Answer::Unblocked(true),
        Some(0) => Answer::Unblocked(false),
        _ => Answer::Impossible,
    }
}

fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted<'static> = Wanted { client_id: 7, command: "BLPOP", client_name: "me", database: 2 };
    const LINE: &str = "id=7 addr=127.0.0.1:5 laddr=127.0.0.1:6379 fd=8 name=me age=1 idle=1 flags=b db=2 sub=0 cmd=blpop user=default";

    fn judge(text: &str) -> Answer {
        let bulk = judge_listing(&Frame::Bulk(text.to_owned().into()), WANTED);
        let verbatim = Frame::Verbatim { format: *b"txt", text: format!("{text}\n").into() };
        assert_eq!(judge_listing(&verbatim, WANTED), bulk);
        bulk
    }

    /// Only our own command, on our own connection, is sent away: whatever else has the same id is somebody else's. RULE-249,
    /// PITFALL-37
    #[test]
    fn a_stranger_with_our_id_is_left_alone() {
        assert_eq!(judge(LINE), Answer::Waits);
        assert_eq!(judge(&format!("{}\n{LINE}", LINE.replace("id=7", "id=17"))), Answer::Waits);
        assert_eq!(judge(&LINE.replace("flags=b", "flags=N")), Answer::NotYet);
        assert_eq!(
            judge(&LINE.replace("flags=b", "flags=N").replace("blpop", "client|setinfo")),
            Answer::NotYet
        );
        for (ours, theirs) in [
            ("cmd=blpop", "cmd=brpop"),
            ("name=me", "name="),
            ("db=2", "db=0"),
            ("id=7", "id=77"),
            (" flags=b", ""),
        ] {
            assert_eq!(judge(&LINE.replace(ours, theirs)), Answer::Impossible, "{theirs}");
        }
        assert_eq!(judge(""), Answer::Impossible);
        for odd in [Frame::error("NOPERM no"), Frame::Null, Frame::Integer(1), Frame::simple("OK")] {
            assert_eq!(judge_listing(&odd, WANTED), Answer::Impossible);
        }
    }

    /// RULE-249
    #[test]
    fn unblock_has_hit_or_not_or_is_odd() {
        assert_eq!(judge_unblocking(&Frame::Integer(1)), Answer::Unblocked(true));
        assert_eq!(judge_unblocking(&Frame::Integer(0)), Answer::Unblocked(false));
        for odd in [Frame::Integer(2), Frame::simple("OK"), Frame::error("NOPERM no"), Frame::Null] {
            assert_eq!(judge_unblocking(&odd), Answer::Impossible);
        }
    }
}
