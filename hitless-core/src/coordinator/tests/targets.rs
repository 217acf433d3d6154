//! The policy on targets.

use std::net::IpAddr;

use super::*;
use crate::config::ConfigBuilder;
use crate::target_policy::TargetVerdict;

fn with_policy(policy: impl Fn(&Endpoint) -> TargetVerdict + Send + Sync + 'static) -> (World, Vec<ConnId>) {
    let policy = Arc::new(move |target: &Endpoint, _: &Peer| policy(target));
    let mut world = World::with("127.0.0.1:1", 3, maintenance::Config::builder().target_policy(policy));
    let conns = world.connected(3);
    (world, conns)
}

fn endpoint(port: u16) -> Endpoint {
    Endpoint::parse("127.0.0.1", port).unwrap()
}

/// The policy on targets may veto a move: all connections stay. RULE-83
#[test]
fn a_vetoed_target_is_never_dialled_and_the_old_connections_serve() {
    let (mut world, conns) = with_policy(|_| TargetVerdict::Veto);
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    world.notify(conns[1], &moving(1, 15 * SECOND, 2));
    assert_eq!(world.dials.len(), 0);
    assert_eq!(world.ignored(), [Ignored::Duplicate]);
    let finished = world.events.iter().filter_map(|event| match event {
        Event::MoveFinished { moved, stayed, .. } => Some((*moved, *stayed)),
        _ => None,
    });
    assert_eq!(finished.collect::<Vec<_>>(), [(0, 3)]);
    let vetoed = Event::TargetVetoed { source: peer(1), target: endpoint(2), seq: Seq(1) };
    assert_eq!(world.events.iter().filter(|event| **event == vetoed).count(), 1);
    assert!(world.coordinator.relaxed(world.now, Some(conns[2])).is_some());

    // The server closes them: what is dialled is never the target.
    for _ in 0..3 {
        world.now += 15 * SECOND;
        for conn in &conns {
            world.coordinator.handle_closed(world.now, *conn, CloseCause::ByServer);
        }
        world.coordinator.open(world.now, Role::Shared);
        world.drain();
        assert!(world.dials.iter().all(|(_, address, _)| *address == peer(1)), "{:?}", world.dials);
        world.refuse_dials();
    }
}

/// A late joiner of a vetoed move does not leave either. RULE-83
#[test]
fn a_connection_that_joins_a_vetoed_move_stays() {
    let (mut world, conns) = with_policy(|_| TargetVerdict::Veto);
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    world.connected(1);
    assert_eq!(world.dials.len(), 0);
    let last = world.events.iter().rev().find_map(|event| match event {
        Event::MoveFinished { stayed, .. } => Some(*stayed),
        _ => None,
    });
    assert_eq!(last, Some(4));
}

/// The policy on targets may send a move elsewhere; copies of the MOVING name the server's target. RULE-83
#[test]
fn a_rewritten_target_is_dialled_and_copies_do_not_loop() {
    let (mut world, conns) = with_policy(|_| TargetVerdict::Rewrite(endpoint(7)));
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    assert_eq!(world.dials[0].1, peer(7));
    while world.answer_dials() > 0 {}
    assert_eq!(world.cut_over.len(), 3);
    assert!(world.events.contains(&Event::TargetRewritten {
        source: peer(1),
        announced: endpoint(2),
        target: endpoint(7),
        seq: Seq(1)
    }));
    // Said again at the target, even when the move is long forgotten: it leads to where the connection is.
    let arrived = world.cut_over[0].1;
    for wait in [SECOND, 300 * SECOND] {
        while world.next_timeout(world.now + wait) {}
        world.notify(arrived, &moving(1, 10 * SECOND, 2));
        assert_eq!(world.ignored().last(), Some(&Ignored::AlreadyThere));
    }
    assert!(world.dials.is_empty());
}

#[test]
fn an_allowed_target_is_dialled_as_named_and_no_target_is_not_judged() {
    let (mut world, conns) = with_policy(|target| match target {
        Endpoint::Tcp { port: 2, .. } => TargetVerdict::Allow,
        _ => panic!("the policy is asked for named targets only"),
    });
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    assert_eq!(world.dials[0].1, peer(2));
    let nameless = Notification::Moving { seq: Seq(2), grace: 15 * SECOND, target: MoveTarget::SameName };
    world.notify(conns[0], &nameless);
    assert!(!world.events.iter().any(|event| matches!(event, Event::TargetVetoed { .. })));
}

/// Answers every lookup and every dial; returns what was dialled: the last byte of the address, and the name by which the
/// server there is verified.
fn answer_all(coordinator: &mut Coordinator, now: Instant) -> Vec<(u8, Option<String>)> {
    let mut dialled = Vec::new();
    while let Some(directive) = coordinator.poll_directive() {
        match directive {
            Directive::Resolve { conn, host } => {
                let last = if &*host == "node-2.example.com" { 2 } else { 1 };
                coordinator.handle_resolved(now, conn, Ok(vec![[127, 0, 0, last].into()]));
            }
            Directive::Dial { conn, target, .. } => {
                let Some(IpAddr::V4(ip)) = target.address.ip() else { panic!("{target:?}") };
                dialled.push((ip.octets()[3], target.server_name.as_deref().map(str::to_owned)));
                coordinator.handle_connected(now, conn, target.address);
                coordinator.handle_ready(now, conn, OptIn::Accepted);
            }
            _ => {}
        }
    }
    dialled
}

/// A server that is dialled because of a move is verified by the name of the target if it has one, else by the configured
/// name: by the scout, by those that follow it, and by new connections during the move. RULE-84
#[test]
fn every_dial_says_by_which_name_the_server_is_verified() {
    let (name, node) = (Some("redis.example.com"), Some("node-2.example.com"));
    for (configured, target, verified_by, verified_by_after) in [
        ("redis.example.com", "node-2.example.com", name, node),
        ("redis.example.com", "127.0.0.2", name, name),
        ("127.0.0.1", "node-2.example.com", None, node),
        ("127.0.0.1", "127.0.0.2", None, None),
    ] {
        let config = Config::builder(Endpoint::parse(configured, 6379).unwrap()).pool_size(4);
        let mut coordinator = Coordinator::new(Arc::new(config.build().unwrap()), 7);
        let now = epoch();
        let first = coordinator.open(now, Role::Shared);
        coordinator.open(now, Role::Shared);
        let old = (1, verified_by.map(str::to_owned));
        assert_eq!(answer_all(&mut coordinator, now), [old.clone(), old], "{configured}");

        let endpoint = MoveTarget::Endpoint(Endpoint::parse(target, 6379).unwrap());
        let moving = Notification::Moving { seq: Seq(1), grace: 15 * SECOND, target: endpoint };
        coordinator.handle_notification(now, first, &moving);
        coordinator.open(now, Role::Shared);
        let new = (2, verified_by_after.map(str::to_owned));
        let expected = [new.clone(), new.clone(), new.clone()];
        assert_eq!(answer_all(&mut coordinator, now), expected, "{configured} to {target}");
        coordinator.open(now, Role::Shared);
        assert_eq!(answer_all(&mut coordinator, now), [new], "{configured} to {target}, afterwards");
    }
}

/// Opens two connections over TLS to `configured`, and lets a MOVING name `target`. The last bytes of the addresses that are
/// dialled at once, and what was said of the target.
fn named_over_tls(
    configured: &str,
    target: &str,
    settings: impl FnOnce(ConfigBuilder) -> ConfigBuilder,
) -> (Vec<u8>, Option<String>) {
    named(configured, target, |it| settings(it.encrypted_by_connector()))
}

/// The same without TLS, unless the settings have it.
fn named(
    configured: &str,
    target: &str,
    settings: impl FnOnce(ConfigBuilder) -> ConfigBuilder,
) -> (Vec<u8>, Option<String>) {
    let config = settings(Config::builder(Endpoint::parse(configured, 6379).unwrap()));
    let mut coordinator = Coordinator::new(Arc::new(config.build().unwrap()), 7);
    let now = epoch();
    let first = coordinator.open(now, Role::Shared);
    coordinator.open(now, Role::Shared);
    answer_all(&mut coordinator, now);
    let endpoint = MoveTarget::Endpoint(Endpoint::parse(target, 6379).unwrap());
    let moving = Notification::Moving { seq: Seq(1), grace: 15 * SECOND, target: endpoint };
    coordinator.handle_notification(now, first, &moving);
    coordinator.handle_notification(now, first, &moving);
    let mut said = None;
    let mut dialled = Vec::new();
    while let Some(directive) = coordinator.poll_directive() {
        match directive {
            Directive::Emit(Event::TargetRefused { target, .. }) => {
                assert!(said.replace(target.to_string()).is_none(), "once for each move");
            }
            Directive::Resolve { host, .. } => dialled.push(if *host == *target { 2 } else { 1 }),
            Directive::Dial { target, .. } => {
                let Some(IpAddr::V4(ip)) = target.address.ip() else { panic!("{target:?}") };
                dialled.push(ip.octets()[3]);
            }
            _ => {}
        }
    }
    (dialled, said)
}

/// A certificate proves a name, and not that credentials belong there. RULE-187
#[test]
fn over_tls_a_named_target_must_lie_in_a_domain_that_the_client_knows() {
    let (name, outside) = ("redis.example.com", "node.example.net");
    for (configured, target, is_dialled) in [
        (name, "node-2.example.com", true),
        (name, "a.b.Example.com", true),
        (name, "127.0.0.2", true),
        (name, outside, false),
        (name, "node.badexample.com", false),
        ("127.0.0.1", "node-2.example.com", false),
        ("127.0.0.1", "127.0.0.2", true),
        ("localhost", "node", false),
        ("example.com", "node.com", false),
    ] {
        let (dialled, said) = named_over_tls(configured, target, |it| it);
        assert_eq!(!dialled.is_empty(), is_dialled, "{configured} to {target}: {dialled:?}");
        assert_eq!(said.is_some(), !is_dialled, "{configured} to {target}");
    }
    let (dialled, said) = named_over_tls(name, outside, |it| it.target_domain("example.net"));
    assert_eq!((dialled.as_slice(), said), (&[2][..], None), "a domain is allowed");
    let (dialled, _) = named_over_tls("127.0.0.1", "node-2.example.com", |it| it.server_name(name));
    assert_eq!(dialled, [2], "the name that is set is the configured one");
    let (dialled, _) = named_over_tls(name, outside, |it| it.server_name("redis.example.net"));
    assert_eq!(dialled, [2]);
    let (dialled, said) = named(name, outside, |it| it);
    assert_eq!((dialled.as_slice(), said), (&[2][..], None), "without TLS nothing is proved anyway");
}

/// Who sets a policy on targets decides about names, too. RULE-187
#[test]
fn a_policy_decides_about_names_outside_of_the_domain() {
    for (verdict, dialled) in [
        (TargetVerdict::Allow, &[2][..]),
        (TargetVerdict::Rewrite(Endpoint::parse("127.0.0.7", 6379).unwrap()), &[7]),
        (TargetVerdict::Veto, &[]),
    ] {
        let policy = Arc::new(move |_: &Endpoint, _: &Peer| verdict.clone());
        let maintenance = maintenance::Config::builder().target_policy(policy).build().unwrap();
        let (found, said) =
            named_over_tls("redis.example.com", "node.example.net", |it| it.maintenance(maintenance));
        assert_eq!((found.as_slice(), said), (dialled, None));
    }
}

/// A move whose target was refused waits for the name, as one without an endpoint does, and its copies are duplicates.
/// RULE-187
#[test]
fn a_refused_target_is_never_dialled_and_the_name_is_watched() {
    let config =
        Config::builder(Endpoint::parse("redis.example.com", 6379).unwrap()).encrypted_by_connector();
    let mut coordinator = Coordinator::new(Arc::new(config.build().unwrap()), 7);
    let now = epoch();
    let first = coordinator.open(now, Role::Shared);
    answer_all(&mut coordinator, now);
    let endpoint = MoveTarget::Endpoint(Endpoint::parse("node.example.net", 6379).unwrap());
    let moving = Notification::Moving { seq: Seq(1), grace: 16 * SECOND, target: endpoint };
    coordinator.handle_notification(now, first, &moving);
    assert_eq!(answer_all(&mut coordinator, now), []);

    let mut asked = Vec::new();
    let mut later = now;
    while let Some(at) = coordinator.poll_timeout().filter(|at| *at < now + 16 * SECOND) {
        later = later.max(at);
        coordinator.handle_timeout(later);
        while let Some(directive) = coordinator.poll_directive() {
            if let Directive::Resolve { conn, host } = directive {
                asked.push((host.to_string(), later - now));
                coordinator.handle_resolved(later, conn, Ok(vec![[127, 0, 0, 1].into()]));
            }
        }
    }
    assert!(asked.iter().all(|(host, _)| host == "redis.example.com"), "{asked:?}");
    assert!(asked.first().is_some_and(|(_, after)| (7 * SECOND..9 * SECOND).contains(after)), "{asked:?}");
}
