//! What the core must know of commands: which are read-only by name *and arguments* (they may be repeated), which
//! a shared connection cannot carry, and which block, for how long (`blocking.rs`). Everything else may write. Where the keys are
//! (`keys.rs`) comes out of a table that is made of a server's own (`generated.rs`).
//!
//! Source: the `readonly`, `blocking` and `noscript` flags and the key specifications of Redis 7 (`COMMAND INFO`).
//! Commands that are read-only by flag but write with certain arguments are not flagged `readonly` there either
//! (SORT, GEORADIUS, GETEX, XREADGROUP), and so are not in this table.

mod blocking;
mod entry;
mod generated;
mod keys;
mod newer;

use resp3_codec::{Command, Frame};

use self::blocking::block_value;
pub(crate) use self::blocking::{Blocker, Blocking, Takes, beyond, blocking};
pub(crate) use self::entry::{Answer, Ask, Entry, Policy};
pub(crate) use self::keys::{Malformed, each_key};

/// What the table looks at: the words of a command, however they are held.
pub(crate) trait Words {
    /// The name.
    fn name(&self) -> &[u8];

    /// The name and the arguments.
    fn words(&self) -> impl Iterator<Item = &[u8]>;

    /// How many words there are.
    fn count(&self) -> usize {
        self.words().count()
    }
}

impl Words for Command {
    fn name(&self) -> &[u8] {
        Self::name(self)
    }

    fn words(&self) -> impl Iterator<Item = &[u8]> {
        self.iter()
    }

    fn count(&self) -> usize {
        self.len()
    }
}

/// What the table says of one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    ReadOnly,
    MayWrite,
    Refused { command: &'static str, instead: &'static str },
}

const LEASE: &str = "it needs a connection of its own: `client.lease()` lends one";
const WAIT: &str = "it answers for the writes of its own connection: end a pipeline of writes with it, or send it on the connection \
                    that wrote, which `client.lease()` lends; of a cluster, always on that of `client.lease(key)`";
const SUBSCRIBE: &str =
    "use `client.subscribe` (or `psubscribe`, `ssubscribe`), whose stream receives what is published";
const UNSUBSCRIBE: &str = "use `Subscription::unsubscribe`, or drop the subscription";
const ELSEWHERE: &str = "this version has nothing for it yet; use another library for it, such as redis-rs";
const WATCH: &str = "use `client.transaction`, which watches keys and runs a batch, or `client.lease()` for a connection of its own";
const BATCH: &str = "use an atomic pipeline, which sends MULTI .. EXEC as one batch, `client.transaction`, or `client.lease()` for a \
                     connection of its own";
const DATABASE: &str = "set `database` when the client is built (`Builder::database`), for all of its connections, or use `client.lease()`";
const CREDENTIALS: &str = "set `credentials` when the client is built (`Builder::credentials`), for all of its connections, or use `client.lease()`";
const HELLO: &str =
    "the client sends it; set `protocol`, `credentials` and `client_name` when the client is built";
const NAME: &str = "set `client_name` when the client is built (`Builder::client_name`)";
const SETUP: &str =
    "have every connection run it: give it to `setup` when the client is built (`Builder::setup`)";
const READ_ONLY: &str = "have every connection run it: give it to `setup` when the client is built (`Builder::setup`); the client of a cluster reads \
                         from replicas by `ClusterBuilder::read_from`";
const TRACKING: &str = "set `tracking` when the client is built (`Builder::tracking`)";
const OPT_IN: &str =
    "the client sends it; set `maintenance` when the client is built (`Builder::maintenance`)";
const RESET: &str =
    "the connection belongs to everybody; build another client for other settings, or use `client.lease()`";
const BLOCKING: &str = "it would hold up the commands behind it: send it alone (`client.call`), which gives it a connection of its own, or \
                        in an atomic pipeline, where nothing blocks; on `client.lease()` it holds up nobody else; or use a form that does \
                        not block, such as LPOP for BLPOP";

/// What a command changes on the connection that runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum StateChange {
    Watch,
    Unwatch,
    Multi,
    Exec,
    Discard,
    /// What the next user of the connection relies on: its database, user, dialect, name or another setting.
    Setting,
}

/// What the table says of one command on a connection that one caller has for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnLease {
    Plain,
    Changes(StateChange),
    /// It has no reply by which it could be matched, or what follows belongs to no request.
    Refused {
        command: &'static str,
        instead: &'static str,
    },
}

/// No command name is longer than this, so a longer one is in no table.
const LONGEST: usize = 20;

pub(crate) fn verdict(command: &impl Words) -> Verdict {
    let name = command.name();
    if name.len() > LONGEST {
        return Verdict::MayWrite;
    }
    // Nearly all are written in capitals, and this is every command's way.
    if !name.iter().any(u8::is_ascii_lowercase) {
        return by_name(name, command);
    }
    let mut upper = [0; LONGEST];
    let upper = &mut upper[..name.len()];
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();
    by_name(upper, command)
}

/// What `command` does on a lease. Source: the commands that change `client` structures in Redis 7 (multi.c, db.c, networking.c,
/// tracking.c, cluster.c); everything else leaves the connection as it is.
pub(crate) fn on_lease(command: &impl Words) -> OnLease {
    match verdict(command) {
        Verdict::MayWrite if may_set_client(command) => OnLease::Changes(StateChange::Setting),
        Verdict::ReadOnly | Verdict::MayWrite => OnLease::Plain,
        Verdict::Refused { command, instead } => match command {
            "WATCH" => OnLease::Changes(StateChange::Watch),
            "UNWATCH" => OnLease::Changes(StateChange::Unwatch),
            "MULTI" => OnLease::Changes(StateChange::Multi),
            "EXEC" => OnLease::Changes(StateChange::Exec),
            "DISCARD" => OnLease::Changes(StateChange::Discard),
            // RESET takes away what the handshake has set: the database, the user, the dialect and the name.
            "SELECT"
            | "AUTH"
            | "HELLO"
            | "RESET"
            | "READONLY"
            | "READWRITE"
            | "ASKING"
            | "CLIENT TRACKING"
            | "CLIENT CACHING"
            | "CLIENT SETNAME"
            | "CLIENT SETINFO"
            | "CLIENT CAPA"
            | "CLIENT IMPORT-SOURCE"
            | "CLIENT NO-EVICT"
            | "CLIENT NO-TOUCH" => OnLease::Changes(StateChange::Setting),
            "CLIENT REPLY"
            | "CLIENT MAINT_NOTIFICATIONS"
            | "QUIT"
            | "REPLCONF"
            | "SCRIPT DEBUG"
            | "MONITOR"
            | "SYNC"
            | "PSYNC"
            | "SUBSCRIBE"
            | "UNSUBSCRIBE"
            | "PSUBSCRIBE"
            | "PUNSUBSCRIBE"
            | "SSUBSCRIBE"
            | "SUNSUBSCRIBE" => OnLease::Refused { command, instead },
            // WAIT, WAITAOF, and those that block: nobody else waits.
            _ => OnLease::Plain,
        },
    }
}

/// The name of `command` if a transaction cannot contain it: it is refused there, or ends it. Source: multi.c and server.c of Redis 7.
pub(crate) fn ends_batch(command: &impl Words) -> Option<&'static str> {
    let is_named = |name: &&str| command.name().eq_ignore_ascii_case(name.as_bytes());
    ["MULTI", "EXEC", "DISCARD", "WATCH", "RESET"].into_iter().find(is_named)
}

/// Whether `command` runs a script or a function that may write. What it answers is what its author chose, also behind a write.
pub(crate) fn is_script(command: &impl Words) -> bool {
    let name = command.name();
    [&b"EVAL"[..], b"EVALSHA", b"FCALL"].iter().any(|script| name.eq_ignore_ascii_case(script))
}

/// Whether a replica may run `command` in its primary's place. TOUCH is called for the mark that it leaves at the primary, and the script of
/// EVALSHA_RO is known where it was sent, which is the primary.
pub(crate) fn may_read_copy(command: &impl Words) -> bool {
    let is_named = |name: &[u8]| command.name().eq_ignore_ascii_case(name);
    verdict(command) == Verdict::ReadOnly && !is_named(b"TOUCH") && !is_named(b"EVALSHA_RO")
}

/// Why a connection cannot run `command` before it serves, with its name: settings of the connection it can, but for those
/// that the client makes itself.
pub(crate) fn unfit_for_setup(command: &Command) -> Option<(&'static str, &'static str)> {
    match verdict(command) {
        Verdict::ReadOnly | Verdict::MayWrite => None,
        Verdict::Refused {
            command:
                "READONLY"
                | "READWRITE"
                | "CLIENT TRACKING"
                | "CLIENT SETINFO"
                | "CLIENT CAPA"
                | "CLIENT IMPORT-SOURCE"
                | "CLIENT NO-EVICT"
                | "CLIENT NO-TOUCH",
            ..
        } => None,
        Verdict::Refused { command, instead } => Some((command, instead)),
    }
}

fn by_name(name: &[u8], command: &impl Words) -> Verdict {
    if is_read_only(name) {
        return Verdict::ReadOnly;
    }
    let refused = |command, instead| Verdict::Refused { command, instead };
    match name {
        b"XREAD" if block_value(command).is_some() => refused("XREAD BLOCK", BLOCKING),
        b"XREAD" => Verdict::ReadOnly,
        b"XREADGROUP" if block_value(command).is_some() => refused("XREADGROUP BLOCK", BLOCKING),
        b"BLPOP" => refused("BLPOP", BLOCKING),
        b"BRPOP" => refused("BRPOP", BLOCKING),
        b"BLMOVE" => refused("BLMOVE", BLOCKING),
        b"BRPOPLPUSH" => refused("BRPOPLPUSH", BLOCKING),
        b"BLMPOP" => refused("BLMPOP", BLOCKING),
        b"BZPOPMIN" => refused("BZPOPMIN", BLOCKING),
        b"BZPOPMAX" => refused("BZPOPMAX", BLOCKING),
        b"BZMPOP" => refused("BZMPOP", BLOCKING),
        // WAIT answers for the writes of its own connection only: elsewhere it would be a false promise.
        b"WAIT" => refused("WAIT", WAIT),
        b"WAITAOF" => refused("WAITAOF", WAIT),
        b"WATCH" => refused("WATCH", WATCH),
        b"UNWATCH" => refused("UNWATCH", WATCH),
        b"MULTI" => refused("MULTI", BATCH),
        b"EXEC" => refused("EXEC", BATCH),
        b"DISCARD" => refused("DISCARD", BATCH),
        b"SELECT" => refused("SELECT", DATABASE),
        b"AUTH" => refused("AUTH", CREDENTIALS),
        b"HELLO" => refused("HELLO", HELLO),
        b"READONLY" => refused("READONLY", READ_ONLY),
        b"READWRITE" => refused("READWRITE", SETUP),
        b"RESET" => refused("RESET", RESET),
        b"ASKING" => refused("ASKING", "`ClusterClient` sends it where a slot is on the move"),
        b"QUIT" => refused("QUIT", "shut the client down instead; a lease is given back by dropping it"),
        b"MONITOR" => refused("MONITOR", ELSEWHERE),
        b"SYNC" => refused("SYNC", ELSEWHERE),
        b"PSYNC" => refused("PSYNC", ELSEWHERE),
        b"SUBSCRIBE" => refused("SUBSCRIBE", SUBSCRIBE),
        b"UNSUBSCRIBE" => refused("UNSUBSCRIBE", UNSUBSCRIBE),
        b"PSUBSCRIBE" => refused("PSUBSCRIBE", SUBSCRIBE),
        b"PUNSUBSCRIBE" => refused("PUNSUBSCRIBE", UNSUBSCRIBE),
        b"SSUBSCRIBE" => refused("SSUBSCRIBE", SUBSCRIBE),
        b"SUNSUBSCRIBE" => refused("SUNSUBSCRIBE", UNSUBSCRIBE),
        // Some of its forms have no reply: every later one would be taken for that of the request before.
        b"REPLCONF" => refused("REPLCONF", "it belongs to replication"),
        b"SCRIPT" if has_subcommand(command, b"DEBUG") => refused("SCRIPT DEBUG", "use `redis-cli --ldb`"),
        b"CLIENT" => client_subcommand(command),
        _ => Verdict::MayWrite,
    }
}

fn has_subcommand(command: &impl Words, name: &[u8]) -> bool {
    command.words().nth(1).is_some_and(|word| word.eq_ignore_ascii_case(name))
}

fn client_subcommand(command: &impl Words) -> Verdict {
    let refused = |command, instead| Verdict::Refused { command, instead };
    let Some(subcommand) = command.words().nth(1) else { return Verdict::MayWrite };
    match subcommand.to_ascii_uppercase().as_slice() {
        b"REPLY" => refused("CLIENT REPLY", "replies are what requests are matched by"),
        b"TRACKING" => refused("CLIENT TRACKING", TRACKING),
        b"CACHING" => refused("CLIENT CACHING", LEASE),
        b"SETNAME" => refused("CLIENT SETNAME", NAME),
        b"SETINFO" => refused("CLIENT SETINFO", SETUP),
        // Of Valkey, as is IMPORT-SOURCE.
        b"CAPA" => refused("CLIENT CAPA", SETUP),
        b"IMPORT-SOURCE" => refused("CLIENT IMPORT-SOURCE", SETUP),
        b"NO-EVICT" => refused("CLIENT NO-EVICT", SETUP),
        b"NO-TOUCH" => refused("CLIENT NO-TOUCH", SETUP),
        b"MAINT_NOTIFICATIONS" => refused("CLIENT MAINT_NOTIFICATIONS", OPT_IN),
        _ => Verdict::MayWrite,
    }
}

/// Whether `command` is a subcommand of CLIENT that is not known to leave its own connection as it is.
fn may_set_client(command: &impl Words) -> bool {
    const HARMLESS: [&[u8]; 11] = [
        b"GETNAME",
        b"GETREDIR",
        b"HELP",
        b"ID",
        b"INFO",
        b"KILL",
        b"LIST",
        b"PAUSE",
        b"TRACKINGINFO",
        b"UNBLOCK",
        b"UNPAUSE",
    ];
    let is_harmless = |word: &[u8]| HARMLESS.iter().any(|name| word.eq_ignore_ascii_case(name));
    command.name().eq_ignore_ascii_case(b"CLIENT")
        && command.words().nth(1).is_some_and(|word| !is_harmless(word))
}

#[rustfmt::skip]
fn is_read_only(name: &[u8]) -> bool {
    matches!(
        name,
        b"GET" | b"MGET" | b"STRLEN" | b"GETRANGE" | b"SUBSTR" | b"LCS" | b"GETBIT" | b"BITCOUNT" | b"BITPOS" | b"BITFIELD_RO"
            | b"EXISTS" | b"TYPE" | b"TTL" | b"PTTL" | b"EXPIRETIME" | b"PEXPIRETIME" | b"DUMP" | b"KEYS" | b"SCAN" | b"RANDOMKEY"
            | b"DBSIZE" | b"TOUCH" | b"SORT_RO"
            | b"HGET" | b"HMGET" | b"HGETALL" | b"HKEYS" | b"HVALS" | b"HLEN" | b"HEXISTS" | b"HSTRLEN" | b"HRANDFIELD" | b"HSCAN"
            | b"LLEN" | b"LRANGE" | b"LINDEX" | b"LPOS"
            | b"SMEMBERS" | b"SISMEMBER" | b"SMISMEMBER" | b"SCARD" | b"SRANDMEMBER" | b"SINTER" | b"SINTERCARD" | b"SUNION" | b"SDIFF"
            | b"SSCAN"
            | b"ZRANGE" | b"ZRANGEBYSCORE" | b"ZRANGEBYLEX" | b"ZREVRANGE" | b"ZREVRANGEBYSCORE" | b"ZREVRANGEBYLEX" | b"ZCARD"
            | b"ZCOUNT" | b"ZLEXCOUNT" | b"ZRANK" | b"ZREVRANK" | b"ZSCORE" | b"ZMSCORE" | b"ZRANDMEMBER" | b"ZSCAN" | b"ZDIFF"
            | b"ZINTER" | b"ZINTERCARD" | b"ZUNION"
            | b"XLEN" | b"XRANGE" | b"XREVRANGE" | b"XPENDING" | b"XINFO"
            | b"GEOPOS" | b"GEODIST" | b"GEOHASH" | b"GEOSEARCH" | b"GEORADIUS_RO" | b"GEORADIUSBYMEMBER_RO"
            | b"PFCOUNT" | b"EVAL_RO" | b"EVALSHA_RO" | b"FCALL_RO" | b"PING" | b"ECHO" | b"TIME" | b"INFO"
    )
}

/// Whether a reply says that the command was not run, but queued in the transaction that is open.
pub(crate) fn is_queued(reply: &Frame) -> bool {
    matches!(reply.value(), Frame::Simple(text) if text == "QUEUED")
}

#[cfg(test)]
mod tests {
    use resp3_codec::cmd;

    use super::*;

    /// A name alone does not make a command repeatable. PITFALL-40, RULE-86
    #[test]
    fn commands_that_write_with_certain_arguments_are_writes() {
        for command in [
            cmd("SORT").arg("k").arg("STORE").arg("d"),
            cmd("GETEX").arg("k").arg("PERSIST"),
            cmd("GETDEL").arg("k"),
            cmd("XREADGROUP").arg("GROUP").arg("g").arg("c").arg("STREAMS").arg("s").arg(">"),
            cmd("GEORADIUS").arg("k").arg(0).arg(0).arg(1).arg("km").arg("STORE").arg("d"),
            cmd("SET").arg("k").arg("v"),
            cmd("INCR").arg("k"),
            cmd("EVAL").arg("return 1").arg(0),
            cmd("NOSUCHCOMMAND"),
            cmd("A-COMMAND-WITH-A-NAME-LONGER-THAN-ANY"),
        ] {
            assert_eq!(verdict(&command), Verdict::MayWrite, "{command:?}");
        }
    }

    /// RULE-86
    #[test]
    fn reads_are_recognised_in_any_case() {
        for command in [
            cmd("GET").arg("k"),
            cmd("get").arg("k"),
            cmd("zRangeByScore").arg("k"),
            cmd("XREAD").arg("STREAMS"),
        ] {
            assert_eq!(verdict(&command), Verdict::ReadOnly, "{command:?}");
        }
    }

    /// WAIT on another connection than the writer's is a false promise. PITFALL-38, RULE-93
    #[test]
    fn commands_that_would_break_a_shared_connection_are_refused() {
        for command in [
            cmd("WAIT").arg(1).arg(0),
            cmd("select").arg(1),
            cmd("BLPOP").arg("q").arg(0),
            cmd("XREAD").arg("BLOCK").arg(0).arg("STREAMS").arg("s").arg("$"),
            cmd("xread").args(["count", "1", "block", "0", "streams", "s", "$"]),
            cmd("XREAD").args(["COUNT", "STREAMS", "BLOCK", "0", "STREAMS", "s", "$"]),
            cmd("XREADGROUP").args(["GROUP", "g", "c", "NOACK", "BLOCK", "0", "STREAMS", "s", ">"]),
            cmd("XREADGROUP").args(["GROUP", "streams", "streams", "BLOCK", "0", "STREAMS", "s", ">"]),
            cmd("XREADGROUP").args(["BLOCK", "0", "GROUP", "g", "c", "STREAMS", "s", ">"]),
            cmd("CLIENT").arg("reply").arg("OFF"),
            cmd("client").args(["setinfo", "lib-name", "x"]),
            cmd("CLIENT").args(["CAPA", "redirect"]),
            cmd("CLIENT").args(["IMPORT-SOURCE", "ON"]),
            cmd("SUBSCRIBE").arg("c"),
        ] {
            assert!(matches!(verdict(&command), Verdict::Refused { .. }), "{command:?}");
        }
        assert_eq!(verdict(&cmd("CLIENT").arg("ID")), Verdict::MayWrite);
    }

    /// Each refusal says what to do instead; what has a setting names it. RULE-135
    #[test]
    fn a_refusal_names_the_setting() {
        for (command, help) in [
            (cmd("SELECT").arg(1), "`Builder::database`"),
            (cmd("AUTH").arg("p"), "`Builder::credentials`"),
            (cmd("HELLO").arg(3), "`credentials`"),
            (cmd("CLIENT").arg("SETNAME").arg("x"), "`Builder::client_name`"),
            (cmd("READONLY"), "`Builder::setup`"),
            (cmd("CLIENT").args(["SETINFO", "LIB-NAME", "x"]), "`Builder::setup`"),
            (cmd("CLIENT").args(["CAPA", "redirect"]), "`Builder::setup`"),
            (cmd("CLIENT").args(["IMPORT-SOURCE", "ON"]), "`Builder::setup`"),
            (cmd("CLIENT").arg("MAINT_NOTIFICATIONS").arg("ON"), "`Builder::maintenance`"),
            (cmd("BLPOP").arg("q").arg(0), "LPOP"),
            (cmd("MONITOR"), "another library"),
            (cmd("SUBSCRIBE").arg("c"), "`client.subscribe`"),
            (cmd("BLPOP").arg("q").arg(0), "`client.lease()`"),
            (cmd("WAIT").arg(1).arg(0), "`client.lease()`"),
            (cmd("SELECT").arg(1), "`client.lease()`"),
            (cmd("MULTI"), "`client.transaction`"),
            (cmd("REPLCONF").args(["ACK", "1"]), "replication"),
            (cmd("script").args(["Debug", "YES"]), "redis-cli --ldb"),
            (cmd("WATCH").arg("k"), "`client.transaction`"),
            (cmd("MULTI"), "atomic pipeline"),
        ] {
            let Verdict::Refused { instead, .. } = verdict(&command) else { panic!("{command:?}") };
            assert!(instead.contains(help), "{command:?}: {instead}");
        }
    }

    /// Each command that a shared connection cannot carry is allowed on a lease, allowed and recorded, or refused there, too: what
    /// has no reply of its own would shift every later one. RULE-203
    #[test]
    fn a_lease_records_what_changes_its_connection() {
        use StateChange::{Discard, Exec, Multi, Setting, Unwatch, Watch};
        for (words, change) in [
            ("WATCH k", Watch),
            ("unwatch", Unwatch),
            ("MULTI", Multi),
            ("EXEC", Exec),
            ("DISCARD", Discard),
            ("SELECT 1", Setting),
            ("AUTH p", Setting),
            ("HELLO 2", Setting),
            ("RESET", Setting),
            ("READONLY", Setting),
            ("READWRITE", Setting),
            ("ASKING", Setting),
            ("client tracking on", Setting),
            ("CLIENT CACHING yes", Setting),
            ("CLIENT SETNAME x", Setting),
            ("CLIENT NO-EVICT on", Setting),
            ("CLIENT NO-TOUCH on", Setting),
            ("client setinfo lib-name x", Setting),
            ("CLIENT CAPA redirect", Setting),
            ("CLIENT IMPORT-SOURCE on", Setting),
            ("CLIENT SOMETHING-NEW on", Setting),
        ] {
            assert_eq!(on_lease(&of_words(words)), OnLease::Changes(change), "{words}");
        }
        for words in [
            "GET k",
            "SET k v",
            "BLPOP q 0",
            "XREAD BLOCK 0 STREAMS s $",
            "BZMPOP 1 1 z MIN",
            "WAIT 1 0",
            "WAITAOF 1 0 0",
            "CLIENT",
            "CLIENT ID",
            "client list",
            "CLIENT KILL SETNAME",
            "CLIENT TRACKINGINFO",
            "CLIENT UNPAUSE",
        ] {
            assert_eq!(on_lease(&of_words(words)), OnLease::Plain, "{words}");
        }
        for words in [
            "SUBSCRIBE c",
            "PSUBSCRIBE c",
            "SSUBSCRIBE c",
            "MONITOR",
            "SYNC",
            "QUIT",
            "CLIENT REPLY OFF",
            "CLIENT MAINT_NOTIFICATIONS ON",
            "REPLCONF ACK 1",
            "SCRIPT DEBUG YES",
        ] {
            assert!(matches!(on_lease(&of_words(words)), OnLease::Refused { .. }), "{words}");
        }
    }

    /// What a connection may run before it serves is not refused there. RULE-135
    #[test]
    fn settings_of_connections_are_fit_for_setup() {
        for words in [
            "CLIENT TRACKING ON",
            "CLIENT NO-EVICT ON",
            "CLIENT SETINFO LIB-NAME x",
            "CLIENT CAPA redirect",
            "CLIENT IMPORT-SOURCE ON",
        ] {
            assert_eq!(unfit_for_setup(&of_words(words)), None, "{words}");
        }
        assert!(unfit_for_setup(&of_words("CLIENT REPLY OFF")).is_some());
    }

    fn of_words(words: &str) -> Command {
        let mut words = words.split(' ');
        cmd(words.next().unwrap()).args(words)
    }

    /// A key, a value, a group or an id may be called like an option, a subcommand or a command: only what stands in the place
    /// of one is one. PITFALL-40, RULE-123
    #[test]
    fn what_is_called_like_an_option_is_none() {
        let of = |words: &str| {
            let mut words = words.split(' ');
            verdict(&cmd(words.next().unwrap()).args(words))
        };
        for read in [
            "XREAD STREAMS block 0",
            "XREAD STREAMS BLOCK block 0 0",
            "XREAD COUNT 1 STREAMS s block",
            "xread count 1 streams block 0",
            "XREAD COUNT block STREAMS s 0",
            "GET store",
            "MGET block store watch",
            "EXISTS multi",
            "SORT_RO store BY store GET store",
            "GEORADIUS_RO store 0 0 1 km",
            "GEOSEARCH store FROMMEMBER storedist BYRADIUS 1 km",
            "ZRANGE store 0 1",
            "ZUNION 2 store block",
            "BITFIELD_RO set GET u8 0",
            "EVAL_RO script 1 block",
            "FCALL_RO block 1 store",
            "ECHO subscribe",
        ] {
            assert_eq!(of(read), Verdict::ReadOnly, "{read}");
        }
        for write in [
            "XREADGROUP GROUP block c STREAMS s >",
            "XREADGROUP GROUP g block STREAMS s >",
            "XREADGROUP GROUP block block NOACK STREAMS block >",
            "XREADGROUP GROUP g c COUNT 1 STREAMS block >",
            "XREADGROUP GROUP g c CLAIM block STREAMS s >",
            "SORT get BY get",
            "SORT k GET store",
            "GEORADIUS k 0 0 1 km STOREDIST get",
            "GETEX get",
            "BITFIELD get GET u8 0",
            "EVAL get 1 get",
            "EVALSHA get 1 get",
            "FCALL get 1 get",
            "SET k block",
            "CLIENT GETNAME",
            "CLIENT KILL SETNAME",
            "CLIENT UNBLOCK 1 reply",
            "CLIENT LIST tracking",
            "CONFIG SET reply on",
            "CONFIG GET tracking",
            "OBJECT ENCODING get",
            "DEBUG get",
        ] {
            assert_eq!(of(write), Verdict::MayWrite, "{write}");
        }
    }
}
