use super::*;

fn ask(lab: &mut Lab, conn: ServerConn, words: &[&str]) -> String {
    let mut buf = BytesMut::new();
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    resp3_codec::encode_command(&mut buf, &words);
    lab.server.handle_bytes(lab.now, conn, &buf);
    lab.read(conn)
}

#[test]
fn scripts_answer_as_those_of_redis() {
    let mut lab = Lab::new();
    let conn = lab.dial(lab.a);
    lab.ask(conn, "RPUSH list a");
    for (script, answer) in [
        ("return 7", ":7"),
        ("return -7.9", ":-7"),
        ("return 'x'", "$1\r\nx"),
        ("return true", ":1"),
        ("return false", "$-1"),
        ("return nil", "$-1"),
        (
            "return {1, {'a'}, false, redis.status_reply('FINE'), nil, 9}",
            "*4\r\n:1\r\n*1\r\n$1\r\na\r\n$-1\r\n+FINE",
        ),
        ("return redis.error_reply('MINE no')", "-MINE no"),
        ("return {KEYS[1], ARGV[1], ARGV[2], #KEYS}", "*4\r\n$1\r\nk\r\n$1\r\n1\r\n$1\r\n2\r\n:1"),
        ("return redis.call('SET', KEYS[1], ARGV[1])", "+OK"),
        ("return redis.call('INCRBY', KEYS[1], 2) + 1", ":4"),
        ("return redis.call('GET', 'none')", "$-1"),
        ("return redis.call('HSET', 'h', 'f', 1.0)", ":1"),
        ("return redis.call('HGETALL', 'h')", "*2\r\n$1\r\nf\r\n$1\r\n1"),
        (
            "return redis.call('INCR', 'list')",
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        (
            "return redis.pcall('INCR', 'list').err",
            "$65\r\nWRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        ("return redis.pcall('NOSUCH')", "-ERR unknown command 'NOSUCH', with args beginning with: "),
        ("return redis.call('EVAL', 'return 1', 0)", "-ERR This Redis command is not allowed from script"),
        ("return redis.call('MULTI')", "-ERR This Redis command is not allowed from script"),
        ("return redis.sha1hex('')", "$40\r\nda39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ("return type(os) .. type(io) .. type(dofile)", "$9\r\nnilnilnil"),
        ("error('mine')", "-ERR runtime error: user_script:1: mine"),
        ("while true do end", "-ERR runtime error: the script does not end"),
    ] {
        let reply = ask(&mut lab, conn, &["EVAL", script, "1", "k", "1", "2"]);
        assert_eq!(reply, format!("{answer}\r\n"), "{script}");
    }
    assert!(ask(&mut lab, conn, &["EVAL", "return (", "0"]).starts_with("-ERR syntax error"));
    for (count, why) in [("3", "greater than number of args"), ("-1", "negative"), ("x", "not an integer")] {
        let reply = ask(&mut lab, conn, &["EVAL", "return 1", count, "k"]);
        assert!(reply.starts_with("-ERR") && reply.contains(why), "{reply}");
    }
}

#[test]
fn a_script_is_known_by_its_digest() {
    let mut lab = Lab::new();
    let conn = lab.dial(lab.a);
    let digest = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    let sha = ["EVALSHA", digest, "0"];
    let unknown = "-NOSCRIPT No matching script. Please use EVAL.\r\n";
    assert_eq!(ask(&mut lab, conn, &sha), unknown);
    assert_eq!(ask(&mut lab, conn, &["SCRIPT", "LOAD", "return 1"]), format!("$40\r\n{digest}\r\n"));
    assert_eq!(ask(&mut lab, conn, &sha), ":1\r\n");
    assert_eq!(ask(&mut lab, conn, &["SCRIPT", "EXISTS", digest, "x"]), "*2\r\n:1\r\n:0\r\n");
    let other = lab.dial(lab.b);
    assert_eq!(ask(&mut lab, other, &sha), unknown, "another node does not know it");
    assert_eq!(ask(&mut lab, conn, &["SCRIPT", "FLUSH"]), "+OK\r\n");
    assert_eq!(ask(&mut lab, conn, &sha), unknown);
    ask(&mut lab, conn, &["EVAL", "return 1", "0"]);
    assert_eq!(ask(&mut lab, conn, &sha), ":1\r\n", "EVAL loads it");
    assert_eq!(ask(&mut lab, conn, &["SCRIPT", "NOSUCH"]), "-ERR syntax error\r\n");
}

/// The ledger has the script, and what it did is seen by those who watch.
#[test]
fn a_script_is_one_command() {
    let mut lab = Lab::new();
    let (conn, other) = (lab.dial(lab.a), lab.dial(lab.b));
    lab.ask(conn, "WATCH n");
    assert_eq!(ask(&mut lab, other, &["EVAL", "return redis.call('INCR', KEYS[1])", "1", "n"]), ":1\r\n");
    lab.ask(conn, "MULTI");
    assert_eq!(lab.ask(conn, "EXEC"), "*-1\r\n");
    assert_eq!(lab.server.ledger().executions("INCR", b"n").count(), 0);
    lab.server.set_condition(lab.now, lab.a, Condition::ReadOnly);
    assert!(ask(&mut lab, conn, &["EVAL", "return 1", "0"]).starts_with("-READONLY"));
}
