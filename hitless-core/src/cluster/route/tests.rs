use std::num::NonZeroU32;

use bytes::Bytes;
use proptest::prelude::*;
use resp3_codec::cmd;

use super::*;
use crate::request::Pipeline;

fn of_words(words: &str) -> Command {
    let mut words = words.split(' ');
    cmd(words.next().unwrap()).args(words)
}

fn of(words: &str) -> Route {
    route(&of_words(words))
}

fn slot_of(key: &str) -> Route {
    Route::Slot(key_slot(key.as_bytes()))
}

/// The keys of a command, as they are shown to a visitor.
fn keys(words: &str) -> Result<Vec<String>, Malformed> {
    let (command, mut keys) = (of_words(words), Vec::new());
    each_key(Entry::of(&command), &command, |key| keys.push(String::from_utf8(key.to_vec()).unwrap()))?;
    Ok(keys)
}

/// Wherever the keys of a command are, they are found, and nothing else is. RULE-303
#[test]
fn keys_are_where_the_server_finds_them() {
    for (words, expected) in [
        ("GET k", "k"),
        ("get k", "k"),
        ("SET k v EX 60", "k"),
        ("MGET a b c", "a b c"),
        ("mset a 1 b 2", "a b"),
        ("DEL a b", "a b"),
        ("BLPOP a b 0", "a b"),
        ("BLMOVE a b LEFT RIGHT 0", "a b"),
        ("LCS a b IDX", "a b"),
        ("BITOP AND d a b", "d a b"),
        ("COPY a b REPLACE", "a b"),
        ("PFMERGE d", "d"),
        ("PFMERGE d a b", "d a b"),
        ("PFDEBUG ENCODING k", "k"),
        ("EVAL s 2 a b c", "a b"),
        ("evalsha s 1 a c", "a"),
        ("FCALL_RO f 2 a b", "a b"),
        ("EVAL s 0 a", ""),
        ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", "d a b"),
        ("zdiff 1 a WITHSCORES", "a"),
        ("SINTERCARD 2 a b LIMIT 1", "a b"),
        ("LMPOP 2 a b LEFT", "a b"),
        ("BLMPOP 0 1 a LEFT", "a"),
        ("BZMPOP 0 2 a b MIN", "a b"),
        ("GEOSEARCHSTORE d k FROMMEMBER m BYRADIUS 1 km", "d k"),
        ("OBJECT ENCODING k", "k"),
        ("object freq k", "k"),
        ("MEMORY USAGE k SAMPLES 5", "k"),
        ("XINFO STREAM k FULL", "k"),
        ("XGROUP CREATE k g $", "k"),
        ("SPUBLISH c m", "c"),
        ("SSUBSCRIBE c d", "c d"),
        ("MIGRATE h 1 k 0 9", "k"),
        ("RESTORE k 0 x", "k"),
        ("WATCH a b", "a b"),
        ("JSON.SET k . 1", "k"),
        ("MSETEX 2 a 1 b 2 EX 60", "a b"),
        ("COMMANDLOG GET 10 slow", ""),
        ("JSON.DEBUG MEMORY k", "k"),
        ("json.debug memory k .a", "k"),
        ("JSON.DEBUG HELP", ""),
        ("FT._LIST", ""),
        ("FT.CONFIG GET *", ""),
        ("SUNSUBSCRIBE", ""),
        ("SUNSUBSCRIBE c d", "c d"),
        ("OBJECT NEWER k", "k"),
        ("PING k", ""),
        ("CONFIG GET k", ""),
        ("CLIENT NEWER k", ""),
        ("NEWER", ""),
    ] {
        let expected: Vec<String> = expected.split_whitespace().map(str::to_owned).collect();
        assert_eq!(keys(words), Ok(expected), "{words}");
    }
}

/// A cursor is at the node that has made it. RULE-303
#[test]
fn a_cursor_is_looked_for_where_it_was_made() {
    let made = of("FT.AGGREGATE idx * WITHCURSOR");
    assert_eq!(made, slot_of("idx"));
    assert_eq!(of("FT.CURSOR READ idx 42"), made);
    assert_eq!(of("ft.cursor del idx 42"), made);
    assert_eq!(of("FT.CURSOR READ"), Route::Malformed);
}

/// An option's value, a key or an id may be called like the word behind which keys are. PITFALL-40, RULE-303
#[test]
fn keys_behind_options_are_found() {
    for (words, expected) in [
        ("XREAD STREAMS a 0", "a"),
        ("xread count 1 block 0 streams a b 0 $", "a b"),
        ("XREAD STREAMS STREAMS 0", "STREAMS"),
        ("XREADGROUP GROUP STREAMS streams COUNT 1 NOACK STREAMS a b > >", "a b"),
        ("XREADGROUP GROUP g c CLAIM 5 STREAMS a >", "a"),
        ("SORT k", "k"),
        ("SORT k BY STORE GET STORE LIMIT 0 1 ALPHA STORE d", "k d"),
        ("SORT k STORE d STORE e", "k e"),
        ("SORT k STORE STORE", "k STORE"),
        ("SORT_RO k BY w_*", "k"),
        ("GEORADIUS k 1 2 3 km", "k"),
        ("GEORADIUS k 1 2 3 km COUNT 1 ANY STORE d", "k d"),
        ("GEORADIUS k 1 2 3 km STOREDIST STORE", "k STORE"),
        ("GEORADIUS k 1 2 3 km STORE d STOREDIST e", "k e"),
        ("GEORADIUSBYMEMBER k STORE 3 km storedist d", "k d"),
        ("GEORADIUSBYMEMBER_RO k STORE 3 km", "k"),
    ] {
        let expected: Vec<String> = expected.split_whitespace().map(str::to_owned).collect();
        assert_eq!(keys(words), Ok(expected), "{words}");
    }
    let migrate = |more: [&str; 4]| {
        let command = cmd("MIGRATE").args(["h", "1", "", "0", "9", "COPY"]).args(more);
        let mut keys = Vec::new();
        let result = each_key(Entry::of(&command), &command, |key| keys.push(key.to_vec()));
        result.map(|()| keys)
    };
    assert_eq!(migrate(["AUTH", "KEYS", "KEYS", "a"]), Ok(vec![b"a".to_vec()]));
    assert_eq!(migrate(["REPLACE", "keys", "a", "b"]), Ok(vec![b"a".to_vec(), b"b".to_vec()]));
    assert_eq!(migrate(["AUTH2", "KEYS", "KEYS", "KEYS"]), Ok(Vec::new()), "a key is missing");
    assert_eq!(migrate(["AUTH2", "u", "KEYS", "a"]), Ok(vec![Vec::new()]), "an empty key is a key");
}

/// A command that its server refuses is for any node. RULE-303
#[test]
fn what_is_malformed_has_no_slot() {
    for words in [
        "GET",
        "MSET",
        "COPY a",
        "EVAL s",
        "EVAL s x a",
        "EVAL s -1 a",
        "EVAL s 2 a",
        "EVAL s 99999999999999999999 a",
        "ZUNION 3 a b",
        "ZUNIONSTORE d 2 a",
        "XREAD",
        "XREAD STREAMS",
        "XREAD STREAMS a",
        "XREAD COUNT 1",
        "SORT",
        "MIGRATE h 1",
        "OBJECT ENCODING",
        "BLPOP",
        "CLUSTER COUNTKEYSINSLOT",
        "CLUSTER COUNTKEYSINSLOT 16384",
    ] {
        assert_eq!(of(words), Route::Malformed, "{words}");
    }
}

/// The keys of a command share a slot, or the route says which two do not. RULE-304
#[test]
fn keys_of_several_slots_are_told() {
    assert_eq!(of("MGET {a}1 {a}2"), slot_of("a"));
    assert_eq!(of("SUNIONSTORE a a a"), slot_of("a"));
    let (first, other) = (key_slot(b"a"), key_slot(b"b"));
    assert_eq!(of("MGET {a}1 b c"), Route::Across { first, other });
    assert_eq!(of("EVAL s 3 a a b"), Route::Across { first, other });
    assert_eq!(of("EVAL s 2 a a b"), slot_of("a"));
    assert_eq!(of("CLUSTER GETKEYSINSLOT 7 10"), Route::Slot(7));
}

/// Commands without keys go where the documentation says, or the caller has to say where. RULE-305
#[test]
fn commands_without_keys_go_by_their_policies() {
    let shards = |combine| Scope::AllShards(combine);
    for (words, scope) in [
        ("DBSIZE", shards(Combine::Sum)),
        ("dbsize", shards(Combine::Sum)),
        ("KEYS *", shards(Combine::Concatenate)),
        ("FLUSHALL ASYNC", shards(Combine::AllSucceeded)),
        ("FLUSHDB", shards(Combine::AllSucceeded)),
        ("FUNCTION LOAD x", shards(Combine::AllSucceeded)),
        ("function delete x", shards(Combine::AllSucceeded)),
        ("FUNCTION FLUSH", shards(Combine::AllSucceeded)),
        ("SCRIPT EXISTS a b", shards(Combine::And)),
        ("SCRIPT KILL", shards(Combine::OneSucceeded)),
        ("SCRIPT LOAD x", Scope::AllNodes(Combine::AllSucceeded)),
        ("script flush", Scope::AllNodes(Combine::AllSucceeded)),
        ("FUNCTION LIST", Scope::AnyNode),
        ("PING", Scope::AnyNode),
        ("ping", Scope::AnyNode),
        ("ECHO x", Scope::AnyNode),
        ("TIME", Scope::AnyNode),
        ("PUBLISH c m", Scope::AnyNode),
        ("CLUSTER INFO", Scope::AnyNode),
        ("CLUSTER SLOTS", Scope::AnyNode),
        ("COMMAND COUNT", Scope::AnyNode),
        ("EVAL s 0", Scope::AnyNode),
        ("MULTI", Scope::AnyNode),
        ("EXEC", Scope::AnyNode),
    ] {
        assert_eq!(of(words), Route::Keyless(scope), "{words}");
    }
    for words in [
        "SCAN 0",
        "INFO",
        "RANDOMKEY",
        "CONFIG SET a b",
        "CONFIG GET a",
        "CLIENT LIST",
        "CLIENT ID",
        "CLUSTER MYID",
        "CLUSTER FAILOVER",
        "SLOWLOG LEN",
        "MEMORY STATS",
        "DEBUG SLEEP 0",
        "FUNCTION STATS",
        "SAVE",
        "WAIT 1 0",
        "WAITAOF 1 0 0",
        "HOTKEYS GET",
    ] {
        let Route::Keyless(Scope::OneNode { instead }) = of(words) else {
            panic!("{words}: {:?}", of(words))
        };
        assert!(instead.contains("`ClusterClient::"), "{words}");
    }
}

/// The commands of a request, with MULTI and EXEC, and its whole route.
fn routes(request: &Request) -> (Vec<Route>, Route) {
    (commands(request).map(|command| command.route).collect(), route_request(request))
}

/// Each command of a request has its own route and bytes, whoever has encoded it. RULE-309
#[test]
fn commands_of_a_request_have_routes() {
    let all = ["SET a x", "PING", "GET", "MGET b {b}2", "get a"].map(of_words);
    let request = Pipeline::from(all.clone()).into_request().unwrap().unwrap();
    let packed = Request::packed(request.payload().clone()).unwrap();
    for request in [&request, &packed] {
        let found: Vec<Routed> = commands(request).collect();
        assert_eq!(found.len(), all.len());
        for (command, own) in all.iter().zip(&found) {
            assert_eq!(request.payload().slice(own.bytes.clone()), command.clone().into_bytes());
            assert_eq!(own.route, route(command));
        }
        let (first, other) = (key_slot(b"a"), key_slot(b"b"));
        assert_eq!(route_request(request), Route::Across { first, other });
    }
    let atomic = all[..3].iter().cloned().fold(Pipeline::atomic(), Pipeline::command);
    let any = Route::Keyless(Scope::AnyNode);
    let expected = vec![any, slot_of("a"), any, Route::Malformed, any];
    assert_eq!(routes(&atomic.into_request().unwrap().unwrap()), (expected, slot_of("a")));
}

/// What a batch needs as a whole is what the command needs that needs most. RULE-309
#[test]
fn a_batch_goes_where_most_of_it_is_decided() {
    let whole = |words: &[&str]| {
        let pipeline: Pipeline = words.iter().copied().map(of_words).collect();
        route_request(&pipeline.into_request().unwrap().unwrap())
    };
    let across = Route::Across { first: key_slot(b"a"), other: key_slot(b"b") };
    assert_eq!(whole(&["PING", "ECHO x"]), Route::Keyless(Scope::AnyNode));
    assert_eq!(whole(&["PING", "GET"]), Route::Malformed);
    assert_eq!(whole(&["GET", "GET a", "GET {a}2"]), slot_of("a"));
    assert_eq!(whole(&["GET a", "DBSIZE"]), of("DBSIZE"));
    assert_eq!(whole(&["INFO", "GET a"]), of("INFO"));
    assert_eq!(whole(&["GET a", "INFO", "MGET a b"]), across);
    assert_eq!(whole(&["GET a", "GET b", "INFO"]), across);
}

/// The caller's word comes before what a request has in it. RULE-310
#[test]
fn a_key_that_is_named_decides() {
    let module = || Request::command(cmd("X.Y").arg("index").arg("k")).unwrap();
    assert_eq!(route_request(&module()), slot_of("index"));
    let named = module().key("k");
    assert_eq!(routes(&named), (vec![slot_of("k")], slot_of("k")));
    let gets = Pipeline::from(["GET a", "GET b", "DBSIZE"].map(of_words)).into_request().unwrap().unwrap();
    assert_eq!(routes(&gets.key("a").key("k")), (vec![slot_of("k"); 3], slot_of("k")));
    let blocking = Request::command(of_words("BLPOP a 5")).unwrap();
    let time = blocking.blocking();
    assert!(time.is_some());
    assert_eq!(blocking.key("k").blocking(), time, "nothing else of a request changes");
}

/// Bytes in another form are nobody's key. INV-11, RULE-309
#[test]
fn bytes_that_are_no_commands_go_to_any_node() {
    let raw = |bytes: &'static str| Request::raw(Bytes::from_static(bytes.as_bytes()), NonZeroU32::MIN);
    let any = Route::Keyless(Scope::AnyNode);
    for bytes in ["", "GET a\r\n", "*1\r\n", "*0\r\n", "*2\r\n$3\r\nGET\r\n$9\r\na\r\n"] {
        assert_eq!(routes(&raw(bytes)), (vec![], any), "{bytes:?}");
    }
    let one = "*2\r\n$3\r\nGET\r\n$1\r\na\r\nGET b\r\n";
    assert_eq!(routes(&raw(one)), (vec![slot_of("a")], slot_of("a")));
    assert_eq!(routes(&raw("GET b\r\n").key("b")), (vec![], slot_of("b")));
}

/// What the table knows as reads, for whom it does not matter which copy they see; unless the caller says that it is not to be sent again, as a read is by
/// its primary that a replica has not run. RULE-405
#[test]
fn replicas_are_for_reads() {
    let request = |words: &str| Request::command(of_words(words)).unwrap();
    for read in [
        "GET k",
        "get k",
        "MGET a b",
        "HGETALL k",
        "ZRANGE k 0 -1",
        "XREAD STREAMS k 0",
        "EVAL_RO s 1 k",
        "EXISTS k",
    ] {
        assert!(only_reads(&request(read)), "{read}");
        assert!(!only_reads(&request(read).replay(Replay::Never)), "{read}");
    }
    for other in [
        "SET k v",
        "GETDEL k",
        "GETEX k",
        "SORT k",
        "EVAL s 1 k",
        "TOUCH k",
        "touch k",
        "EVALSHA_RO d 1 k",
        "FT.SEARCH k q",
        "XREAD BLOCK 0 STREAMS k 0",
        "BLPOP k 0",
        "XREADGROUP GROUP g c STREAMS k >",
    ] {
        assert!(!only_reads(&request(other)), "{other}");
        assert!(!only_reads(&request(other).replay(Replay::Idempotent)), "{other}");
    }
    let pipeline = |commands: &[&str]| {
        let pipeline: Pipeline = commands.iter().map(|words| of_words(words)).collect();
        only_reads(&pipeline.into_request().unwrap().unwrap())
    };
    assert!(pipeline(&["GET a", "PING", "GET b"]) && !pipeline(&["GET a", "SET a 1", "GET a"]));
    let batch = Pipeline::atomic().command(of_words("GET k"));
    assert!(!only_reads(&batch.into_request().unwrap().unwrap()));
    let get = Bytes::from_static(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    assert!(only_reads(&Request::packed(get.clone()).unwrap()));
    assert!(!only_reads(&Request::raw(get, NonZeroU32::MIN)), "nobody has looked at it");
}

proptest! {
    /// Whatever the arguments, there is a route, and it is the same in lower case. INV-11, RULE-303
    #[test]
    fn every_command_has_a_route(
        name in proptest::sample::select(vec![
            "GET", "MSET", "EVAL", "XREAD", "XREADGROUP", "SORT", "MIGRATE", "GEORADIUS", "ZUNIONSTORE", "LMPOP", "BLMPOP", "BITOP",
            "OBJECT", "XGROUP", "CLUSTER", "SCRIPT", "BLPOP", "LCS", "NEWER", "",
        ]),
        words in proptest::collection::vec("(|0|1|3|-1|99|STREAMS|STORE|KEYS|COUNT|GROUP|AUTH2|FREQ|CREATE|k)", 0..8),
    ) {
        let upper = cmd(name).args(words.clone());
        let lower = cmd(name.to_lowercase()).args(words.iter().map(|word| word.to_lowercase()));
        let keys = |command: &Command| {
            let mut keys = Vec::new();
            each_key(Entry::of(command), command, |key| keys.push(String::from_utf8(key.to_vec()).unwrap())).map(|()| keys)
        };
        let (of_upper, of_lower) = (keys(&upper), keys(&lower));
        let lowered = of_upper.clone().map(|keys| keys.iter().map(|key| key.to_lowercase()).collect::<Vec<_>>());
        prop_assert_eq!(&lowered, &of_lower);
        // A key that is called like an option is another key in lower case.
        if lowered == of_upper {
            prop_assert_eq!(route(&upper), route(&lower));
        }
    }
}
