use resp3_codec::Frame;

use super::*;

fn moving(to: EndpointId, seconds: u64) -> Moving {
    Moving::new(Target::Endpoint(to), Duration::from_secs(seconds))
}

#[test]
fn a_move_is_told_to_those_who_opted_in_at_its_source() {
    let mut lab = Lab::new();
    let (told, silent, elsewhere) = (lab.opted_in(lab.a), lab.dial(lab.a), lab.opted_in(lab.b));
    let seq = lab.server.moving(lab.now, lab.a, moving(lab.b, 15).with_seq(7));
    assert_eq!(seq, 7);
    assert_eq!(lab.server.poll_ready(), Some(told));
    assert_eq!(lab.read(told), ">4\r\n$6\r\nMOVING\r\n:7\r\n:15\r\n$13\r\n10.0.0.2:6379\r\n");
    assert_eq!((lab.read(silent), lab.read(elsewhere)), (String::new(), String::new()));
    assert_eq!(lab.server.ledger().notified(told).collect::<Vec<_>>(), [("MOVING", 7)]);
    assert!(lab.server.moving(lab.now, lab.b, moving(lab.a, 15)) > 7, "ids grow");
}

#[test]
fn what_is_left_is_closed_and_newcomers_are_refused_when_the_time_is_over() {
    let mut lab = Lab::new();
    let (left, silent, elsewhere) = (lab.opted_in(lab.a), lab.dial(lab.a), lab.dial(lab.b));
    lab.server.moving(lab.now, lab.a, moving(lab.b, 15).closing_late_by(SECOND));
    lab.pass(Duration::from_millis(15_999));
    assert_eq!(lab.ask(silent, "PING"), "+PONG\r\n");
    lab.dial(lab.a);
    assert_eq!(lab.server.connections(lab.a).len(), 3);
    lab.pass(Duration::from_millis(1));
    assert_eq!(lab.server.connections(lab.a), []);
    assert_eq!(lab.server.accept(lab.now, lab.a), Err(DialRefused::Refused));
    assert_eq!(lab.ask(elsewhere, "PING"), "+PONG\r\n");
    lab.read(left);
    assert_eq!(lab.closes().len(), 3);
    assert_eq!(lab.server.ledger().accepted(lab.a), 3);
    lab.server.restore(lab.a);
    lab.dial(lab.a);
}

#[test]
fn a_move_closes_and_retires_as_it_is_told_to() {
    for (closes, left) in [(Closes::Everyone, 0), (Closes::Recipients, 1), (Closes::Nobody, 2)] {
        let mut lab = Lab::new();
        let (told, other) = (lab.opted_in(lab.a), lab.opted_in(lab.a));
        let subset =
            moving(lab.b, 1).told_to(Recipients::Only(vec![told])).closing(closes).retiring(Retires::Never);
        lab.server.moving(lab.now, lab.a, subset.closing_by(CloseHow::Reset));
        assert_eq!(lab.read(other), "");
        lab.pass(SECOND);
        assert_eq!(lab.server.connections(lab.a).len(), left, "{closes:?}");
        assert!(lab.closes().iter().all(|(_, how)| *how == CloseHow::Reset));
        lab.dial(lab.a);
    }
    let mut lab = Lab::new();
    lab.server.moving(lab.now, lab.a, moving(lab.b, 1).retiring(Retires::AtOnce));
    assert_eq!(lab.server.accept(lab.now, lab.a), Err(DialRefused::Refused));
}

#[test]
fn an_address_may_move_before_its_connections_are_closed() {
    let mut lab = Lab::new();
    let left = lab.opted_in(lab.a);
    lab.server.moving(
        lab.now,
        lab.a,
        moving(lab.b, 15).retiring(Retires::After(Duration::from_millis(8600))),
    );
    lab.pass(Duration::from_millis(8599));
    lab.dial(lab.a);
    lab.pass(Duration::from_millis(1));
    assert_eq!(lab.server.accept(lab.now, lab.a), Err(DialRefused::Refused));
    lab.read(left);
    assert_eq!(lab.ask(left, "PING"), "+PONG\r\n", "who is there stays");
    lab.pass(Duration::from_millis(6400));
    assert_eq!(lab.closes().len(), 2);
}

#[test]
fn slots_that_migrate_are_told_to_all_and_again_to_late_joiners() {
    let mut lab = Lab::new();
    let told = [lab.opted_in(lab.a), lab.opted_in(lab.b)];
    lab.server.slots_migrating(lab.now, Notice::of_slots("1,7-9", SECOND * 30).with_seq(4));
    for conn in told {
        assert_eq!(lab.read(conn), ">3\r\n$10\r\nSMIGRATING\r\n:4\r\n$5\r\n1,7-9\r\n");
    }
    let late = lab.opted_in(lab.a);
    assert_eq!(lab.server.ledger().notified(late).collect::<Vec<_>>(), [("SMIGRATING", 4)]);
    lab.server.slots_migrated(lab.now, lab.a, lab.b, Notice::of_slots("1,7-9", SECOND).with_seq(6));
    for conn in told {
        let sent = lab.read(conn);
        let moved = "*3\r\n$13\r\n10.0.0.1:6379\r\n$13\r\n10.0.0.2:6379\r\n$5\r\n1,7-9\r\n";
        assert_eq!(sent, format!(">3\r\n$9\r\nSMIGRATED\r\n:6\r\n*1\r\n{moved}"));
    }
    let later = lab.opted_in(lab.a);
    assert_eq!(lab.server.ledger().notified(later).count(), 0, "it is not retained");
}

#[test]
fn every_opener_is_told_again_with_the_time_that_is_left() {
    for operation in ["MIGRATING", "FAILING_OVER"] {
        let mut lab = Lab::new();
        let notice = Notice::new(SECOND * 30).with_seq(4);
        match operation {
            "MIGRATING" => lab.server.migrating(lab.now, notice),
            _ => lab.server.failing_over(lab.now, notice),
        };
        lab.pass(Duration::from_millis(28_500));
        let conn = lab.dial(lab.b);
        lab.ask(conn, "HELLO 3");
        let told = lab.ask(conn, "CLIENT MAINT_NOTIFICATIONS ON");
        assert!(told.contains(&format!("{operation}\r\n:4\r\n:2\r\n")), "{told}");
        lab.pass(Duration::from_millis(1500));
        let late = lab.opted_in(lab.b);
        assert_eq!(lab.server.ledger().notified(late).count(), 0, "the time is over");
    }
}

#[test]
fn late_joiners_are_told_right_behind_their_ok() {
    let mut lab = Lab::new();
    lab.server.failed_over(lab.now, Notice::default().with_seq(3));
    lab.server.migrating(lab.now, Notice::new(Duration::from_secs(30)).with_seq(4).with_shards(&["1", "2"]));
    lab.server.moving(lab.now, lab.a, moving(lab.b, 15).with_seq(5));
    lab.pass(Duration::from_millis(4500));
    let conn = lab.dial(lab.a);
    lab.ask(conn, "HELLO 3");
    assert_eq!(
        lab.ask(conn, "CLIENT MAINT_NOTIFICATIONS ON"),
        "+OK\r\n>3\r\n$11\r\nFAILED_OVER\r\n:3\r\n$5\r\n[\"1\"]\r\n\
         >4\r\n$9\r\nMIGRATING\r\n:4\r\n:26\r\n$9\r\n[\"1\",\"2\"]\r\n\
         >4\r\n$6\r\nMOVING\r\n:5\r\n:11\r\n$13\r\n10.0.0.2:6379\r\n",
    );
    let elsewhere = lab.opted_in(lab.b);
    assert_eq!(lab.server.ledger().notified(elsewhere).count(), 2, "the move is not theirs");

    lab.server.migrated(lab.now, Notice::default().without_shards());
    lab.pass(Duration::from_secs(60));
    let later = lab.opted_in(lab.b);
    let told: Vec<_> = lab.server.ledger().notified(later).map(|(name, _)| name).collect();
    assert_eq!(told, ["MIGRATED"], "only the last completion is kept");
}

#[test]
fn completions_are_replayed_only_if_configured() {
    let mut lab = Lab::with(ServerConfig::default().without_replayed_completions());
    lab.server.migrated(lab.now, Notice::default());
    let conn = lab.opted_in(lab.a);
    assert_eq!(lab.server.ledger().notified(conn).count(), 0);
}

#[test]
fn a_target_is_named_as_the_connection_asked() {
    for (kind, named) in [
        ("internal-ip", "$13\r\n10.0.0.2:6379\r\n"),
        ("external-fqdn", "$14\r\nb.example:6379\r\n"),
        ("none", "_\r\n"),
    ] {
        let mut lab = Lab::new();
        let conn = lab.dial(lab.a);
        lab.ask(conn, "HELLO 3");
        lab.ask(conn, &format!("CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type {kind}"));
        lab.server.moving(lab.now, lab.a, moving(lab.b, 15));
        let told = lab.read(conn);
        assert!(told.ends_with(named), "{kind}: {told}");
    }
}

#[test]
fn every_form_of_a_target_can_be_sent() {
    for (target, sent) in [
        (Target::Null, ">4\r\n$6\r\nMOVING\r\n:1\r\n:2\r\n_\r\n"),
        (Target::Absent, ">3\r\n$6\r\nMOVING\r\n:1\r\n:2\r\n"),
        (Target::Address("[::1]:6379".into()), ">4\r\n$6\r\nMOVING\r\n:1\r\n:2\r\n$10\r\n[::1]:6379\r\n"),
        (Target::Frame(Frame::NullBulk), ">4\r\n$6\r\nMOVING\r\n:1\r\n:2\r\n$-1\r\n"),
    ] {
        let mut lab = Lab::new();
        let conn = lab.opted_in(lab.a);
        lab.server.moving(lab.now, lab.a, Moving::new(target, Duration::from_secs(2)).with_seq(1));
        assert_eq!(lab.read(conn), sent);
    }
}

#[test]
fn the_opt_in_is_refused_in_every_known_way() {
    for (opt_in, answer) in [
        (OptIn::UnknownSubcommand, "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n"),
        (OptIn::Loading, "-LOADING Redis is loading the dataset in memory\r\n"),
        (OptIn::OtherError, "-ERR maintenance notifications are not available now\r\n"),
        (
            OptIn::NoPermission,
            "-NOPERM User default has no permissions to run the 'client|maint_notifications' command\r\n",
        ),
        (OptIn::ClosesLink(CloseHow::Fin), ""),
    ] {
        let mut lab = Lab::new();
        lab.server.set_opt_in(lab.a, opt_in);
        let conn = lab.dial(lab.a);
        lab.ask(conn, "HELLO 3");
        assert_eq!(lab.ask(conn, "CLIENT MAINT_NOTIFICATIONS ON"), answer);
        assert_eq!(lab.closes().len(), usize::from(answer.is_empty()));
        assert!(!lab.server.is_opted_in(conn));
        assert_eq!(lab.server.ledger().opt_ins(lab.a).collect::<Vec<_>>(), [(conn, &OptInOutcome::Refused)]);
        lab.server.moving(lab.now, lab.a, moving(lab.b, 15));
        assert_eq!(lab.read(conn), "");
    }
}

#[test]
fn an_old_server_echoes_the_password_in_its_refusal() {
    let mut lab = Lab::new();
    lab.server.set_hello(lab.a, Hello::Unknown);
    let conn = lab.dial(lab.a);
    assert_eq!(
        lab.ask(conn, "HELLO 3 AUTH default secret"),
        "-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' 'secret' \r\n"
    );
    assert_eq!(lab.ask(conn, "PING"), "+PONG\r\n");
    lab.server.set_hello(lab.a, Hello::NoProto);
    assert_eq!(lab.ask(conn, "HELLO 3"), "-NOPROTO unsupported protocol version\r\n");
    assert!(lab.ask(conn, "HELLO 2").starts_with("*14"));
    assert!(lab.ask(conn, "CLIENT MAINT_NOTIFICATIONS ON").starts_with("-ERR"), "not without RESP3");
}

#[test]
fn turning_notifications_off_ends_them() {
    for end in ["CLIENT MAINT_NOTIFICATIONS OFF", "RESET"] {
        let mut lab = Lab::new();
        let conn = lab.opted_in(lab.a);
        lab.ask(conn, end);
        lab.server.migrating(lab.now, Notice::new(SECOND));
        assert_eq!(lab.read(conn), "");
    }
}

#[test]
fn user_requests_after_a_moment_are_told_from_handshakes() {
    let mut lab = Lab::new();
    let conn = lab.opted_in(lab.a);
    let cut_over = lab.now;
    lab.pass(SECOND);
    lab.ask(conn, "CLIENT SETINFO lib-name x");
    assert_eq!(lab.server.ledger().user_requests_after(lab.a, cut_over).count(), 0);
    lab.ask(conn, "INCR a");
    assert_eq!(lab.server.ledger().user_requests_after(lab.a, cut_over).count(), 1);
    assert_eq!(lab.server.ledger().last_request(conn), Some(lab.now));
    let names: Vec<&[u8]> = lab.server.ledger().received_on(conn).map(Request::name).collect();
    assert_eq!(names, [&b"HELLO"[..], b"CLIENT", b"CLIENT", b"INCR"]);
}

#[test]
fn the_same_seed_and_inputs_give_the_same_ledger() {
    let run = |origin: Option<Instant>| {
        let mut lab = Lab::with(ServerConfig::default().with_seed(42));
        lab.now = origin.unwrap_or(lab.now);
        let origin = lab.now;
        for round in 1..5 {
            let conn = lab.opted_in(lab.a);
            lab.ask(conn, "INCR a");
            lab.server.migrating(lab.now, Notice::new(SECOND * round));
            lab.pass(SECOND);
            lab.server.migrated(lab.now, Notice::default());
        }
        (lab.server.ledger().entries().to_vec(), origin)
    };
    let (first, origin) = run(None);
    assert_eq!(first, run(Some(origin)).0);
}
