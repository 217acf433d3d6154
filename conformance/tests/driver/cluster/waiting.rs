//! Commands that wait at their server, while nodes redirect them, are closed, and go from address to address.

use std::sync::{Arc, Mutex};

use hitless_conformance::server::{CloseHow, Fault, Rule};
use hitless_core::driver::Runtime as _;

use super::*;

type Popped = Arc<Mutex<Option<Result<Frame, Error>>>>;

fn pop(fixture: &Fixture, client: &ClusterClient<Executor>, time: u32) -> Popped {
    let popped = Popped::default();
    let (waiting, result) = (client.clone(), Arc::clone(&popped));
    fixture.runtime().spawn(async move {
        let outcome = waiting.call(cmd("BLPOP").arg("foo").arg(time)).await;
        *result.lock().unwrap() = Some(outcome);
    });
    popped
}

fn has_element(popped: &Popped) -> bool {
    matches!(&*popped.lock().unwrap(), Some(Ok(frame)) if !frame.is_null())
}

/// Two nodes send it to each other, however short the lease timeout is. RULE-444
#[test]
fn a_circle_of_redirects_ends() {
    for lease_timeout in [Duration::from_millis(1), 5 * SECOND] {
        let (mut fixture, nodes) = nodes();
        let builder = cluster_builder(&fixture, &[6379]).lease_timeout(Some(lease_timeout));
        let client = fixture.block_on(builder.connect()).unwrap();
        fixture.pass(SECOND);
        // There are connections for it at both.
        for key in ["foo", "bar"] {
            drop(fixture.block_on(client.lease(key)));
        }
        let moved =
            |port| Fault::Refuse(Frame::error(format!("MOVED {} 127.0.0.1:{port}", key_slot(b"foo"))));
        fixture.with_server(|server, _| {
            for (node, port) in [(nodes[2], 6379), (nodes[0], 3)] {
                server.add_rule(Rule::new(moved(port)).on("BLPOP").at(node).always());
                server.set_reply_delay(node, Duration::from_millis(2), None);
            }
        });
        let popped = pop(&fixture, &client, 0);
        fixture.pass(60 * SECOND);
        assert!(matches!(&*popped.lock().unwrap(), Some(Err(Error::Server(_)))), "{lease_timeout:?}");
    }
}

/// The last server that was there has said ASK, and is gone: that another one has nothing is for that one to say. RULE-439
#[test]
fn nil_is_for_a_server_to_say_behind_ask() {
    for is_moved in [true, false] {
        let (mut fixture, nodes, client) = cluster();
        fixture.block_on(client.call(cmd("RPUSH").arg("foo").arg("x"))).unwrap();
        fixture.with_server(|server, now| {
            server.open_slots(now, [key_slot(b"foo")], nodes[0]);
            server.carry_key(b"foo");
        });
        let popped = pop(&fixture, &client, 1);
        fixture.pass(SECOND / 2);
        fixture.with_server(|server, now| {
            server.refuse_dials(now, nodes[2], None);
            server.kill_all(now, nodes[2], CloseHow::Fin);
        });
        fixture.pass(SECOND * 3 / 2);
        assert!(popped.lock().unwrap().is_none());
        fixture.with_server(|server, now| {
            if is_moved {
                server.assign_slots(now, [key_slot(b"foo")], nodes[0]);
            } else {
                server.close_slots(now, [key_slot(b"foo")]);
                server.restore(nodes[2]);
            }
        });
        fixture.pass(6 * SECOND);
        assert!(has_element(&popped), "{is_moved}: {popped:?}");
    }
}

/// Its node's client is replaced again and again, also for whoever does not wait for connections. RULE-385
#[test]
fn a_node_that_wanders_ends_nobody() {
    for when in [WhenDisconnected::Wait, WhenDisconnected::Fail] {
        let mut server = Server::new(ServerConfig::default());
        let address = |port| EndpointSpec::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let nodes = [6379, 2, 3, 4, 5, 6, 7].map(|port| server.add_endpoint(address(port)));
        server.form_cluster(&nodes[..3]);
        let mut fixture = Fixture::new(server);
        let builder = cluster_builder(&fixture, &[6379]).when_disconnected(when);
        let client = fixture.block_on(builder.connect()).unwrap();
        fixture.pass(SECOND);
        let popped = pop(&fixture, &client, 0);
        for at in 2..6 {
            fixture.pass(100 * SECOND);
            fixture.with_server(|server, now| server.relocate(now, nodes[at], nodes[at + 1]));
        }
        fixture.pass(100 * SECOND);
        fixture.block_on(client.call(cmd("RPUSH").arg("foo").arg("x"))).unwrap();
        fixture.pass(SECOND);
        assert!(has_element(&popped), "{when:?}: {popped:?}");
    }
}

/// The application closes the client of a node through its own handle, and gives it time: another one is there at once. RULE-384
#[test]
fn a_node_that_is_closed_with_a_grace_is_opened_again() {
    for (has_lease, is_busy) in [(false, false), (true, false), (false, true)] {
        let (mut fixture, nodes) = nodes();
        let builder = cluster_builder(&fixture, &[6379]).pool_size(1);
        let client = fixture.block_on(builder.connect()).unwrap();
        let lease = has_lease.then(|| fixture.block_on(client.lease("foo")).unwrap());
        let node = client.node_for("foo").unwrap();
        // Its only connection owes a reply, and the next alarm is that of the request.
        let owed = is_busy.then(|| {
            let silent = Rule::new(Fault::Unanswered).on("ECHO").always();
            fixture.with_server(|server, _| server.add_rule(silent));
            node.client().send(echo("x")).unwrap()
        });
        fixture.run();
        let mut end = Box::pin(async move { node.client().shutdown(60 * SECOND).await });
        assert!(poll_once(end.as_mut()).is_pending());
        let began_at = fixture.now();
        fixture.block_on(client.call(set("foo", "x"))).unwrap();
        assert!(fixture.now() - began_at < SECOND, "{has_lease} {is_busy}");
        drop((lease, nodes, owed));
    }
}
