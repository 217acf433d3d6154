use super::*;

#[test]
fn commands_answer_in_the_words_of_redis() {
    let mut lab = Lab::new();
    let conn = lab.dial(lab.a);
    for (command, answer) in [
        ("PING", "+PONG"),
        ("ECHO x", "$1\r\nx"),
        ("FOO a b", "-ERR unknown command 'FOO', with args beginning with: 'a' 'b' "),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("SELECT 99", "-ERR DB index is out of range"),
        ("SELECT x", "-ERR value is not an integer or out of range"),
        ("SET a 1", "+OK"),
        ("SET a 2 NX", "$-1"),
        ("SET a 2 XX GET", "$1\r\n1"),
        ("SET a 2 NX XX", "-ERR syntax error"),
        ("SET a 2 EX 0", "-ERR invalid expire time in 'set' command"),
        ("SET a 2 EX x", "-ERR value is not an integer or out of range"),
        ("INCR a", ":3"),
        ("DECR a", ":2"),
        ("INCRBY a 40", ":42"),
        ("DECRBY a 2", ":40"),
        ("SET big 9223372036854775807", "+OK"),
        ("INCR big", "-ERR increment or decrement would overflow"),
        ("APPEND a x", ":3"),
        ("INCR a", "-ERR value is not an integer or out of range"),
        ("STRLEN a", ":3"),
        ("MSET k 1 l 2", "+OK"),
        ("MSET k 1 l", "-ERR wrong number of arguments for 'mset' command"),
        ("MGET k none l", "*3\r\n$1\r\n1\r\n$-1\r\n$1\r\n2"),
        ("LPUSH a x", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("RPUSH q a b c d", ":4"),
        ("LPUSH q z", ":5"),
        ("LRANGE q 0 -1", "*5\r\n$1\r\nz\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd"),
        ("LRANGE q -2 9", "*2\r\n$1\r\nc\r\n$1\r\nd"),
        ("LRANGE q 9 9", "*0"),
        ("GET q", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("LPOP q", "$1\r\nz"),
        ("RPOP q 2", "*2\r\n$1\r\nd\r\n$1\r\nc"),
        ("LLEN q", ":2"),
        ("LPOP none 2", "*-1"),
        ("LPOP none -1", "-ERR value is out of range, must be positive"),
        ("EXISTS a k none", ":2"),
        ("DBSIZE", ":5"),
        ("GETDEL k", "$1\r\n1"),
        ("DEL k l none", ":1"),
        ("BLPOP q x", "-ERR timeout is not a float or out of range"),
        ("BLPOP q -1", "-ERR timeout is negative"),
        ("BRPOP none q 0", "*2\r\n$1\r\nq\r\n$1\r\nb"),
        ("HSET h f 1 g 2", ":2"),
        ("HSET h f 3", ":0"),
        ("HSET h f", "-ERR wrong number of arguments for 'hset' command"),
        ("HSET h f 1 g", "-ERR wrong number of arguments for 'hset' command"),
        ("HMSET h g 4", "+OK"),
        ("HGET h f", "$1\r\n3"),
        ("HGET h none", "$-1"),
        ("HMGET h g none", "*2\r\n$1\r\n4\r\n$-1"),
        ("HGETALL h", "*4\r\n$1\r\nf\r\n$1\r\n3\r\n$1\r\ng\r\n$1\r\n4"),
        ("HINCRBY h f 4", ":7"),
        ("HINCRBY h new -1", ":-1"),
        ("HLEN h", ":3"),
        ("GET h", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HGET a f", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HDEL h f g none new", ":3"),
        ("HDEL h f", ":0"),
        ("EXISTS h", ":0"),
        ("HSET h f x", ":1"),
        ("HINCRBY h f 1", "-ERR hash value is not an integer"),
        ("DEL h", ":1"),
        ("EXEC", "-ERR EXEC without MULTI"),
        ("CLIENT FOO", "-ERR unknown subcommand 'FOO'. Try CLIENT HELP."),
        ("CLIENT SETNAME", "-ERR wrong number of arguments for 'client|setname' command"),
        ("CLIENT UNBLOCK 99", ":0"),
        ("CLIENT UNBLOCK x", "-ERR value is not an integer or out of range"),
        ("CLIENT UNBLOCK 1 FOO", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
        ("CLIENT GETNAME", "$-1"),
        ("CLIENT SETNAME me", "+OK"),
        ("CLIENT GETNAME", "$2\r\nme"),
        ("CLIENT SETINFO lib-name x", "+OK"),
        ("CLIENT ID", ":1"),
        ("CONFIG GET save", "*0"),
        ("COMMAND", "*0"),
        ("FLUSHALL", "+OK"),
        ("DBSIZE", ":0"),
        ("RESET", "+RESET"),
        ("QUIT", "+OK"),
    ] {
        assert_eq!(lab.ask(conn, command), format!("{answer}\r\n"), "{command}");
    }
    assert_eq!(lab.closes(), [(conn, CloseHow::Fin)]);
}

#[test]
fn hello_switches_to_resp3_and_back() {
    let mut lab = Lab::new();
    let conn = lab.dial(lab.a);
    assert_eq!(lab.ask(conn, "HELLO 4"), "-NOPROTO unsupported protocol version\r\n");
    assert_eq!(lab.ask(conn, "HELLO x"), "-ERR Protocol version is not an integer or out of range\r\n");
    assert_eq!(lab.ask(conn, "HELLO 3 FOO"), "-ERR Syntax error in HELLO option 'FOO'\r\n");
    let greeting = lab.ask(conn, "HELLO 3 SETNAME me");
    assert!(greeting.starts_with("%7\r\n$6\r\nserver\r\n"), "{greeting}");
    assert!(greeting.contains("$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n"), "{greeting}");
    assert_eq!(lab.ask(conn, "GET none"), "_\r\n");
    assert_eq!(lab.ask(conn, "CLIENT GETNAME"), "$2\r\nme\r\n");
    assert!(lab.ask(conn, "CLIENT LIST ID 1").contains(" name=me "));
    assert!(lab.ask(conn, "HELLO 2").starts_with("*14\r\n"));
    assert_eq!(lab.ask(conn, "GET none"), "$-1\r\n");
}

#[test]
fn accounts_need_their_password() {
    let config = ServerConfig::default()
        .with_password("secret")
        .with_user(User::new("ann", "hers").without("CLIENT UNBLOCK"));
    let mut lab = Lab::with(config);
    let conn = lab.dial(lab.a);
    assert_eq!(lab.ask(conn, "PING"), "-NOAUTH Authentication required.\r\n");
    assert_eq!(lab.ask(conn, "CLIENT MAINT_NOTIFICATIONS ON"), "-NOAUTH Authentication required.\r\n");
    assert!(lab.ask(conn, "HELLO 3").starts_with("-NOAUTH HELLO must be called"));
    for wrong in ["AUTH x", "AUTH ann x", "AUTH nobody x", "HELLO 3 AUTH default x"] {
        assert_eq!(
            lab.ask(conn, wrong),
            "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
        );
    }
    assert!(lab.ask(conn, "HELLO 3 AUTH ann hers").starts_with("%7"));
    assert_eq!(
        lab.ask(conn, "CLIENT UNBLOCK 1"),
        "-NOPERM User ann has no permissions to run the 'client|unblock' command\r\n"
    );
    assert_eq!(lab.ask(conn, "CLIENT MAINT_NOTIFICATIONS ON"), "+OK\r\n");
    let other = lab.dial(lab.a);
    assert_eq!(lab.ask(other, "AUTH secret"), "+OK\r\n");
    assert_eq!(lab.ask(other, "PING"), "+PONG\r\n");
}

#[test]
fn keys_expire() {
    let mut lab = Lab::new();
    let conn = lab.dial(lab.a);
    lab.ask(conn, "SET a 1 PX 1500");
    lab.ask(conn, "INCR a");
    lab.pass(SECOND);
    assert_eq!(lab.ask(conn, "GET a"), "$1\r\n2\r\n");
    lab.ask(conn, "SET a 3 KEEPTTL");
    lab.pass(SECOND);
    assert_eq!(lab.ask(conn, "GET a"), "$-1\r\n");
    assert_eq!(lab.ask(conn, "DBSIZE"), ":0\r\n");
}

#[test]
fn keys_live_as_long_as_they_are_told() {
    let mut lab = Lab::new();
    let conn = lab.dial(lab.a);
    for (command, answer) in [
        ("SETEX a 10 1", "+OK"),
        ("SETEX a 0 1", "-ERR invalid expire time in 'setex' command"),
        ("SET b 1", "+OK"),
        ("TTL a", ":10"),
        ("PTTL a", ":10000"),
        ("TTL b", ":-1"),
        ("TTL none", ":-2"),
        ("EXPIRE b 2", ":1"),
        ("EXPIRE none 2", ":0"),
        ("PEXPIRE b 1500", ":1"),
        ("PTTL b", ":1500"),
        ("EXPIRE a -1", ":1"),
        ("GET a", "$-1"),
    ] {
        assert_eq!(lab.ask(conn, command), format!("{answer}\r\n"), "{command}");
    }
    lab.pass(2 * SECOND);
    assert_eq!(lab.ask(conn, "GET b"), "$-1\r\n");
}

/// Whatever comes and goes between the pages, each key that stays is told.
#[test]
fn a_scan_tells_each_key() {
    let mut lab = Lab::new();
    let conn = lab.dial(lab.a);
    for number in 0..40 {
        lab.ask(conn, &format!("SET key:{number} 1"));
    }
    let (mut cursor, mut pages, mut found) = ("0".to_owned(), 0, Vec::new());
    loop {
        let page = lab.ask(conn, &format!("SCAN {cursor} MATCH key:* COUNT 7"));
        let mut words = page.lines().filter(|line| !line.starts_with(['*', '$'])).map(str::to_owned);
        cursor = words.next().unwrap();
        found.extend(words);
        lab.ask(conn, &format!("DEL key:{}", 2 * pages + 1));
        pages += 1;
        if cursor == "0" {
            break;
        }
    }
    assert!((0..40).step_by(2).all(|number| found.contains(&format!("key:{number}"))));
    assert!((5..=6).contains(&pages), "{pages}");
    for (command, answer) in [
        ("SCAN x", "-ERR invalid cursor"),
        ("SCAN 0 COUNT 0", "-ERR syntax error"),
        ("SCAN 0 MATCH", "-ERR syntax error"),
        ("SCAN 0 MATCH none* COUNT 100", "*2\r\n$1\r\n0\r\n*0"),
    ] {
        assert_eq!(lab.ask(conn, command), format!("{answer}\r\n"), "{command}");
    }
}

#[test]
fn a_watched_key_that_changed_stops_the_transaction() {
    let mut lab = Lab::new();
    let (conn, other) = (lab.dial(lab.a), lab.dial(lab.b));
    for (touch, expected) in [("SET a 2", "*-1\r\n"), ("SET b 2", "*2\r\n+OK\r\n$1\r\n3\r\n")] {
        lab.ask(conn, "WATCH a");
        lab.ask(other, touch);
        assert_eq!(lab.ask(conn, "MULTI"), "+OK\r\n");
        assert_eq!(lab.ask(conn, "SET a 3"), "+QUEUED\r\n");
        assert_eq!(lab.ask(conn, "GET a"), "+QUEUED\r\n");
        assert_eq!(lab.ask(conn, "EXEC"), expected, "{touch}");
    }
    assert_eq!(lab.server.ledger().executions("SET", b"a").count(), 2);
}

#[test]
fn a_refused_command_aborts_the_transaction() {
    let mut lab = Lab::new();
    let conn = lab.dial(lab.a);
    lab.ask(conn, "MULTI");
    assert_eq!(lab.ask(conn, "MULTI"), "-ERR MULTI calls can not be nested\r\n");
    lab.ask(conn, "DISCARD");
    lab.ask(conn, "MULTI");
    lab.ask(conn, "SET a 1");
    lab.ask(conn, "NONSENSE");
    assert_eq!(lab.ask(conn, "EXEC"), "-EXECABORT Transaction discarded because of previous errors.\r\n");
    assert_eq!(lab.ask(conn, "GET a"), "$-1\r\n");
}

#[test]
fn blocked_clients_are_served_in_the_order_in_which_they_came() {
    let mut lab = Lab::new();
    let (first, second, pusher) = (lab.dial(lab.a), lab.dial(lab.b), lab.dial(lab.a));
    assert_eq!(lab.ask(first, "BLPOP p q 0"), "");
    assert_eq!(lab.ask(first, "GET later"), "", "requests wait behind a blocked one");
    assert_eq!(lab.ask(second, "BRPOP q 0"), "");
    assert!(lab.ask(pusher, "CLIENT LIST").contains(" flags=b "));
    assert_eq!(lab.ask(pusher, "RPUSH q x y z"), ":3\r\n");
    assert_eq!(lab.read(first), "*2\r\n$1\r\nq\r\n$1\r\nx\r\n$-1\r\n");
    assert_eq!(lab.read(second), "*2\r\n$1\r\nq\r\n$1\r\nz\r\n");
    assert_eq!(lab.server.backend.list(lab.now, b"q"), ["y"]);
}

#[test]
fn a_transaction_serves_blocked_clients_when_it_is_over() {
    let mut lab = Lab::new();
    let (waiter, pusher) = (lab.dial(lab.a), lab.dial(lab.a));
    lab.ask(waiter, "BLPOP q 0");
    for command in ["MULTI", "RPUSH q x", "DEL q"] {
        lab.ask(pusher, command);
    }
    assert_eq!(lab.ask(pusher, "EXEC"), "*2\r\n:1\r\n:1\r\n");
    assert_eq!(lab.read(waiter), "");
}

#[test]
fn a_blocked_client_ends_by_timeout_by_another_client_or_by_a_demotion() {
    let mut lab = Lab::new();
    let (waiter, other, elsewhere) = (lab.dial(lab.a), lab.dial(lab.a), lab.dial(lab.b));
    lab.ask(waiter, "BLPOP q 1.5");
    lab.pass(SECOND);
    assert_eq!(lab.read(waiter), "");
    lab.pass(SECOND);
    assert_eq!(lab.read(waiter), "*-1\r\n");

    lab.ask(waiter, "BLPOP q 0");
    assert_eq!(lab.ask(elsewhere, "CLIENT UNBLOCK 1 ERROR"), ":0\r\n", "ids are those of an endpoint");
    assert_eq!(lab.ask(other, "CLIENT UNBLOCK 1 ERROR"), ":1\r\n");
    assert_eq!(lab.read(waiter), "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
    assert_eq!(lab.ask(other, "CLIENT UNBLOCK 1 ERROR"), ":0\r\n");

    lab.ask(waiter, "BLPOP q 0");
    lab.server.set_condition(lab.now, lab.a, Condition::ReadOnly);
    assert!(lab.read(waiter).starts_with("-UNBLOCKED force unblock"));
    assert_eq!(lab.ask(waiter, "SET a 1"), "-READONLY You can't write against a read only replica.\r\n");
    assert_eq!(lab.ask(waiter, "GET a"), "$-1\r\n");
    assert_eq!(lab.server.ledger().executions("BLPOP", b"q").count(), 1, "only the one that timed out ran");
}

#[test]
fn a_pause_holds_up_commands_that_block_and_they_run_when_it_is_over() {
    let mut lab = Lab::new();
    let (waiter, other, elsewhere) = (lab.dial(lab.a), lab.dial(lab.a), lab.dial(lab.b));
    lab.server.set_condition(lab.now, lab.a, Condition::Paused);
    lab.ask(other, "RPUSH q x");
    assert_eq!(lab.ask(waiter, "BLPOP q 1"), "", "though there is an element");
    assert_eq!(lab.ask(waiter, "PING"), "", "it waits behind that");
    assert!(lab.ask(other, "CLIENT LIST ID 1").contains(" flags=b "));
    assert_eq!(lab.ask(other, "CLIENT UNBLOCK 1"), ":0\r\n");
    for _ in 0..2 {
        assert_eq!(lab.ask(other, "CLIENT UNBLOCK 1 ERROR"), ":1\r\n");
        assert_eq!(lab.read(waiter), "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
    }
    lab.pass(SECOND * 2);
    assert_eq!(lab.ask(elsewhere, "LLEN q"), ":1\r\n");
    assert_eq!(lab.ask(elsewhere, "BLPOP p 1"), "", "the other endpoint is not paused");
    lab.pass(SECOND);
    assert_eq!(lab.read(elsewhere), "*-1\r\n");
    lab.server.set_condition(lab.now, lab.a, Condition::Serving);
    assert_eq!(lab.read(waiter), "*2\r\n$1\r\nq\r\n$1\r\nx\r\n+PONG\r\n");

    lab.server.set_condition(lab.now, lab.a, Condition::Paused);
    lab.ask(waiter, "BLPOP q 1");
    lab.pass(SECOND * 2);
    lab.server.set_condition(lab.now, lab.a, Condition::Serving);
    assert_eq!(lab.read(waiter), "", "its time begins when it runs");
    lab.pass(SECOND);
    assert_eq!(lab.read(waiter), "*-1\r\n");
    let events = lab.server.ledger().entries().iter().map(|entry| &entry.event);
    let [held_up, resumed] = events.fold([0, 0], |[held_up, resumed], event| match event {
        Event::HeldUp(_) => [held_up + 1, resumed],
        Event::Resumed(_) => [held_up, resumed + 1],
        _ => [held_up, resumed],
    });
    assert_eq!([held_up, resumed], [2, 2]);
    assert_eq!(lab.server.ledger().executions("BLPOP", b"q").count(), 2);

    lab.server.set_condition(lab.now, lab.a, Condition::Paused);
    lab.ask(waiter, "BLPOP q 0");
    lab.server.handle_disconnect(lab.now, waiter);
    lab.server.set_condition(lab.now, lab.a, Condition::Serving);
    assert_eq!(lab.ask(other, "RPUSH q y"), ":1\r\n", "nobody takes it");
}

#[test]
fn ids_of_clients_are_those_of_an_endpoint() {
    let mut lab = Lab::new();
    let (here, there, again) = (lab.dial(lab.a), lab.dial(lab.b), lab.dial(lab.a));
    assert_eq!(lab.ask(here, "CLIENT ID"), lab.ask(there, "CLIENT ID"), "they collide");
    assert_eq!(lab.ask(again, "CLIENT ID"), ":2\r\n");
    assert!(lab.ask(here, "CLIENT LIST ID 2").contains("id=2"));
    assert!(!lab.ask(there, "CLIENT LIST ID 2").contains("id=2"), "a proxy lists its own");
}

#[test]
fn a_proxy_answers_pings_whatever_the_node_behind_it_does() {
    let proxy = |spec: EndpointSpec| spec.answering_pings().with_message_delay(SECOND);
    let mut lab = Lab::new();
    let endpoint = lab.server.add_endpoint(proxy(EndpointSpec::new("10.0.0.3:6379".parse().unwrap())));
    let (conn, publisher) = (lab.dial(endpoint), lab.dial(lab.a));
    lab.ask(conn, "HELLO 3");
    lab.ask(conn, "SUBSCRIBE a");
    lab.ask(publisher, "PUBLISH a x");
    assert_eq!(lab.ask(conn, "PING"), "+PONG\r\n", "the message comes behind it");
    lab.pass(SECOND);
    assert_eq!(lab.read(conn), ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n");
    assert_eq!(lab.ask(conn, "PING hello"), "$5\r\nhello\r\n", "that one is passed on");
    lab.ask(publisher, "PUBLISH a y");
    lab.server.kill(lab.now, conn, CloseHow::Fin);
    lab.pass(SECOND * 2);
    assert_eq!(lab.read(conn), "", "it is nobody's any more");
}

#[test]
fn a_client_that_left_is_served_nothing() {
    let mut lab = Lab::new();
    let (gone, waiter, pusher) = (lab.dial(lab.a), lab.dial(lab.a), lab.dial(lab.a));
    lab.ask(gone, "BLPOP q 0");
    lab.ask(waiter, "BLPOP q 0");
    lab.server.handle_disconnect(lab.now, gone);
    lab.ask(pusher, "RPUSH q x");
    assert_eq!(lab.read(waiter), "*2\r\n$1\r\nq\r\n$1\r\nx\r\n");
    assert_eq!(lab.server.ledger().closed(gone), Some((lab.now, ClosedBy::Client)));
}

#[test]
fn messages_reach_subscribers_of_both_protocols() {
    let mut lab = Lab::new();
    let (old, new, publisher) = (lab.dial(lab.a), lab.dial(lab.b), lab.dial(lab.a));
    lab.ask(new, "HELLO 3");
    assert_eq!(
        lab.ask(old, "SUBSCRIBE a b"),
        "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"
    );
    assert_eq!(lab.ask(new, "PSUBSCRIBE a*"), ">3\r\n$10\r\npsubscribe\r\n$2\r\na*\r\n:1\r\n");
    assert_eq!(lab.ask(publisher, "PUBLISH a x"), ":2\r\n");
    assert_eq!(lab.read(old), "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n");
    assert_eq!(lab.read(new), ">4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$1\r\na\r\n$1\r\nx\r\n");
    assert!(lab.ask(old, "GET a").starts_with("-ERR Can't execute 'get': only (P|S)SUBSCRIBE"));
    assert_eq!(lab.ask(old, "PING"), "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    assert_eq!(lab.ask(new, "GET a"), "_\r\n");
    assert_eq!(lab.ask(new, "PUNSUBSCRIBE"), ">3\r\n$12\r\npunsubscribe\r\n$2\r\na*\r\n:0\r\n");
    assert_eq!(lab.ask(new, "UNSUBSCRIBE"), ">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n");
    lab.server.handle_disconnect(lab.now, old);
    assert_eq!(lab.ask(publisher, "PUBLISH a x"), ":0\r\n");
}

#[test]
fn a_broken_stream_is_answered_and_closed() {
    let mut lab = Lab::new();
    let conn = lab.dial(lab.a);
    lab.server.handle_bytes(lab.now, conn, b"PING\r\n*x\r\nPING\r\n");
    assert_eq!(lab.read(conn), "+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n");
    assert_eq!(lab.closes(), [(conn, CloseHow::Fin)]);
    assert_eq!(lab.ask(conn, "PING"), "", "a stale connection is a no-op");
}
