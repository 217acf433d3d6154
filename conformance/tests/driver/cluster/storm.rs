//! Redirects from a hundred nodes at once.

use hitless_conformance::server::{Fault, Rule, ServerMachine as _};
use hitless_core::cluster::SLOTS;
use hitless_core::driver::ClusterReply;

use super::*;

/// A hundred nodes, some keys all over their slots, and a client that knows them all for a while.
fn hundred_nodes() -> (Fixture, Vec<EndpointId>, ClusterClient<Executor>, Vec<String>) {
    let mut server = Server::new(ServerConfig::default());
    let nodes: Vec<EndpointId> = (1..=100)
        .map(|port| server.add_endpoint(EndpointSpec::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))))
        .collect();
    server.form_cluster(&nodes);
    let mut fixture = Fixture::new(server);
    let client = fixture.block_on(cluster_builder(&fixture, &[1]).connect()).unwrap();
    fixture.pass(10 * SECOND);
    (fixture, nodes, client, (0..400).map(|number| format!("key.{number}")).collect())
}

/// Every slot but the first hundred goes to the next node, and nobody says so.
fn rotate(fixture: &Fixture, nodes: &[EndpointId]) {
    fixture.with_server(|server, now| {
        let next = |owner| nodes[(nodes.iter().position(|node| *node == owner).unwrap() + 1) % nodes.len()];
        let owners: Vec<EndpointId> =
            (100..SLOTS).map(|slot| next(server.slot_owner(slot).expect("all slots are served"))).collect();
        let mut first = 100;
        for part in owners.chunk_by(|one, other| one == other) {
            let after = first + part.len() as u16;
            server.assign_slots(now, first..after, part[0]);
            first = after;
        }
    });
}

/// Raises all counters at the same time, and sees that each is raised once.
fn raise_all(fixture: &mut Fixture, client: &ClusterClient<Executor>, keys: &[String], expected: i64) {
    let incr = |key: &String| client.send(Request::command(cmd("INCR").arg(key)).unwrap()).unwrap();
    let replies: Vec<ClusterReply<Executor>> = keys.iter().map(incr).collect();
    for reply in replies {
        assert_eq!(fixture.block_on(reply).unwrap()[..], [Frame::Integer(expected)]);
    }
}

/// The keys whose node the client does not know.
fn misled<'k>(fixture: &Fixture, client: &ClusterClient<Executor>, keys: &'k [String]) -> Vec<&'k String> {
    let is_misled = |key: &&String| {
        let known = client.node_for(key).unwrap().endpoint().to_string();
        fixture.with_server(|server, _| {
            known != server.address(server.slot_owner(key_slot(key.as_bytes())).unwrap()).to_string()
        })
    };
    keys.iter().filter(is_misled).collect()
}

/// Nearly all slots of a hundred nodes move without a word, and move on while the topology is read, whose answer is an old one then: one read for all
/// redirects of a storm, the next one not before the least interval is over, and none is lost. What was heard later than the answer was
/// asked for stands: redirects as well as what was announced. RULE-320, RULE-332, RULE-421
#[test]
fn a_storm_of_redirects_from_a_hundred_nodes_is_one_read() {
    let (mut fixture, nodes, client, keys) = hundred_nodes();
    let strange: Vec<String> = (0..2_000).map(|number| format!("strange.{number}")).collect();
    let before = client.stats();
    rotate(&fixture, &nodes);
    fixture.with_server(|server, _| server.add_rule(Rule::new(Fault::Delay(SECOND / 2)).on("CLUSTER")));
    raise_all(&mut fixture, &client, &keys, 1);
    let moved = client.stats().moved - before.moved;
    assert!(moved > 350, "all but those that share a slot, or have not moved: {moved}");
    assert_eq!(misled(&fixture, &client, &keys), [""; 0]);

    // The question is asked once, and its answer is on its way for half a second.
    let mut asked_at = Vec::new();
    let mut note = |fixture: &Fixture| {
        let asked = client.stats().topology_reads - before.topology_reads;
        asked_at.resize(asked as usize, fixture.now());
        asked_at.clone()
    };
    while note(&fixture).is_empty() {
        fixture.pass(Duration::from_millis(1));
    }
    fixture.pass(Duration::from_millis(1));
    rotate(&fixture, &nodes);
    let announced: Vec<String> =
        strange.iter().filter(|key| key_slot(key.as_bytes()) < 100).cloned().collect();
    assert!(announced.len() > 5, "{announced:?}");
    fixture.with_server(|server, now| {
        server.assign_slots(now, 0..100, nodes[50]);
        server.slots_migrated(now, nodes[0], nodes[50], Notice::of_slots("0-99", Duration::ZERO));
    });
    raise_all(&mut fixture, &client, &keys, 2);
    assert_eq!(note(&fixture).len(), 1, "one question at a time");
    let known = client.stats().moved;
    assert!(known - before.moved > 2 * 350 - 100, "{known}");

    // The answer is there: it shows what was there before the second storm.
    fixture.pass(SECOND * 6 / 10);
    assert_eq!(note(&fixture).len(), 1, "the least interval is not over");
    assert!(misled(&fixture, &client, &strange).len() > 1_000, "the answer was an old one");
    assert_eq!(misled(&fixture, &client, &keys), [""; 0], "what redirects have said since stands");
    assert_eq!(misled(&fixture, &client, &announced), [""; 0], "what was announced since stands");
    raise_all(&mut fixture, &client, &keys, 3);
    assert_eq!(client.stats().moved, known);

    // The second storm has led to one more read, which shows all.
    for _ in 0..5_000 {
        fixture.pass(Duration::from_millis(1));
        note(&fixture);
    }
    let [first, second] = note(&fixture)[..] else { panic!("so many reads: {:?}", client.stats()) };
    assert!(second >= first + SECOND, "{:?}", second - first);
    assert_eq!(misled(&fixture, &client, &strange), [""; 0]);
    raise_all(&mut fixture, &client, &keys, 4);
    assert_eq!(client.stats().moved, known);
}
