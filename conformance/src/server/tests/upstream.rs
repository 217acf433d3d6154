use super::*;

/// A front, and the real server's side of each connection played by the test.
fn front() -> (Server<Upstream>, ServerConn, EndpointId, Instant) {
    let now = Lab::new().now;
    let real = "127.0.0.1:6379".parse().unwrap();
    let mut server = Server::in_front_of(ServerConfig::default(), real);
    let endpoint = server.add_endpoint(EndpointSpec::new("10.0.0.1:6379".parse().unwrap()));
    let conn = server.accept(now, endpoint).unwrap();
    assert_eq!(server.upstream(), Some(real));
    (server, conn, endpoint, now)
}

fn to_real(server: &mut Server<Upstream>, conn: ServerConn) -> String {
    let mut buf = BytesMut::new();
    server.poll_upstream_transmit(conn, &mut buf);
    String::from_utf8(buf.to_vec()).unwrap()
}

fn to_client(server: &mut Server<Upstream>, conn: ServerConn) -> String {
    let mut buf = BytesMut::new();
    server.poll_transmit(conn, &mut buf);
    String::from_utf8(buf.to_vec()).unwrap()
}

const GREETING: &[u8] = b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n\
    :4\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n";
const PIPELINE: &[u8] =
    b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*3\r\n$6\r\nCLIENT\r\n$19\r\nMAINT_NOTIFICATIONS\r\n$2\r\nON\r\n\
    *1\r\n$4\r\nPING\r\n";
const MARKER: &str = "*1\r\n$15\r\nHITLESS.TURN.1.\r\n";
const MARKED: &[u8] = b"-ERR unknown command 'HITLESS.TURN.1.', with args beginning with: \r\n";

#[test]
fn the_front_answers_the_opt_in_in_its_place_among_the_replies_of_the_real_server() {
    let replies = [GREETING, MARKED, b"+PONG\r\n"].concat();
    for split in 0..replies.len() {
        let (mut server, conn, _, now) = front();
        server.handle_bytes(now, conn, PIPELINE);
        let sent = to_real(&mut server, conn);
        assert_eq!(sent, format!("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n{MARKER}*1\r\n$4\r\nPING\r\n"));
        server.handle_upstream_bytes(now, conn, &replies[..split]);
        server.handle_upstream_bytes(now, conn, &replies[split..]);
        let answer = [GREETING, b"+OK\r\n+PONG\r\n"].concat();
        assert_eq!(to_client(&mut server, conn).as_bytes(), answer, "split at {split}");
        assert!(server.is_opted_in(conn));
    }
}

#[test]
fn a_push_never_falls_into_a_frame_of_the_real_server() {
    let (mut server, conn, endpoint, now) = front();
    server.handle_bytes(now, conn, PIPELINE);
    server.handle_upstream_bytes(now, conn, &[GREETING, MARKED, b"+PO"].concat());
    to_client(&mut server, conn);
    server.moving(now, endpoint, Moving::new(Target::Null, SECOND).with_seq(1));
    server.handle_upstream_bytes(now, conn, b"NG\r\n");
    assert_eq!(to_client(&mut server, conn), ">4\r\n$6\r\nMOVING\r\n:1\r\n:1\r\n_\r\n+PONG\r\n");
}

#[test]
fn without_resp3_the_opt_in_is_refused_and_other_errors_pass() {
    let (mut server, conn, _, now) = front();
    server.handle_bytes(now, conn, PIPELINE);
    server.handle_upstream_bytes(now, conn, &[b"-NOAUTH x\r\n", MARKED, b"-NOAUTH y\r\n"].concat());
    let answer = "-NOAUTH x\r\n-ERR maintenance notifications require RESP3\r\n-NOAUTH y\r\n";
    assert_eq!(to_client(&mut server, conn), answer);
}

#[test]
fn when_the_real_server_closes_the_client_is_closed_behind_the_last_reply() {
    let (mut server, conn, _, now) = front();
    server.handle_upstream_bytes(now, conn, b"+OK\r\n");
    server.handle_upstream_disconnect(now, conn);
    assert_eq!(server.poll_close(), None, "not before the reply is out");
    assert_eq!(to_client(&mut server, conn), "+OK\r\n");
    assert_eq!(server.poll_close(), Some((conn, CloseHow::Fin)));
}

#[test]
fn what_is_no_resp_ends_the_connection() {
    let (mut server, conn, _, now) = front();
    server.handle_upstream_bytes(now, conn, b"hello\r\n");
    assert_eq!(server.poll_close(), Some((conn, CloseHow::Reset)));
}
