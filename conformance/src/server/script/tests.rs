use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);

fn play(dialogue: Dialogue) -> (ScriptedServer, ServerConn, Instant) {
    let now = crate::clock::now();
    let mut server = ScriptedServer::new();
    let endpoint = server.add_endpoint("10.0.0.1:6379".parse().unwrap(), [dialogue]);
    let conn = server.accept(now, endpoint).unwrap();
    assert_eq!(server.accept(now, endpoint), Err(DialRefused::Refused), "not in the script");
    (server, conn, now)
}

fn said(server: &mut ScriptedServer) -> String {
    let mut buf = BytesMut::new();
    while let Some(conn) = server.poll_ready() {
        server.poll_transmit(conn, &mut buf);
    }
    String::from_utf8(buf.to_vec()).unwrap()
}

#[test]
fn a_dialogue_is_played_line_by_line() {
    let dialogue = Dialogue::new()
        .expect("HELLO 3")
        .error("ERR no")
        .expect("GET k")
        .bytes(b"$2\r\na")
        .wait(10 * MILLISECOND)
        .bytes(b"b\r\n")
        .aside("CLIENT SETINFO", &Frame::simple("OK"))
        .close(CloseHow::Reset);
    let (mut server, conn, now) = play(dialogue);
    server.handle_bytes(now, conn, b"HELLO 3\r\nclient setinfo x y\r\nGET");
    assert_eq!(said(&mut server), "-ERR no\r\n+OK\r\n");
    server.handle_bytes(now, conn, b" k\r\n");
    assert_eq!(said(&mut server), "$2\r\na");
    assert_eq!(server.poll_timeout(), Some(now + 10 * MILLISECOND));
    server.handle_timeout(now + 9 * MILLISECOND);
    assert_eq!((said(&mut server), server.poll_close()), (String::new(), None));
    server.handle_timeout(now + 10 * MILLISECOND);
    assert_eq!(server.poll_close(), None, "not before the last word is out");
    assert_eq!(said(&mut server), "b\r\n");
    assert_eq!(server.poll_close(), Some((conn, CloseHow::Reset)));
    assert_eq!(server.poll_timeout(), None);
    assert_eq!(server.verdict(), Ok(()));
}

#[test]
fn a_departure_is_told_and_ends_the_connection() {
    let (mut server, conn, now) = play(Dialogue::new().expect("PING").ok());
    server.handle_bytes(now, conn, b"GET k\r\n");
    assert_eq!(server.poll_close(), Some((conn, CloseHow::Reset)));
    let text = server.verdict().unwrap_err()[0].to_string();
    assert!(text.ends_with("expected PING, got GET k"), "{text}");
}

#[test]
fn what_comes_after_the_end_is_a_departure_unless_it_is_ignored() {
    for (dialogue, departs) in [(Dialogue::new(), true), (Dialogue::new().ignore(), false)] {
        let (mut server, conn, now) = play(dialogue);
        server.handle_bytes(now, conn, b"PING\r\nPING\r\n");
        assert_eq!(server.verdict().is_err(), departs);
    }
}

#[test]
fn what_is_not_played_is_told() {
    let (mut server, conn, now) = play(Dialogue::new().expect("PING"));
    assert!(server.verdict().is_err());
    server.handle_disconnect(now, conn);
    assert!(server.verdict().unwrap_err()[0].to_string().contains("closed before"));

    let (mut server, conn, now) = play(Dialogue::new().expect_close());
    assert!(server.verdict().is_err());
    server.handle_disconnect(now, conn);
    assert_eq!(server.verdict(), Ok(()));
}

#[test]
fn a_refrain_is_played_by_every_further_connection() {
    let (mut server, _, now) = play(Dialogue::new());
    let endpoint = server.endpoints()[0];
    server.set_refrain(endpoint, Dialogue::new().expect("PING").ok());
    for _ in 0..3 {
        let conn = server.accept(now, endpoint).unwrap();
        server.handle_bytes(now, conn, b"PING\r\n");
        assert_eq!(said(&mut server), "+OK\r\n");
    }
}
