use std::net::SocketAddr;

use super::*;
use crate::timer::epoch;

const SECOND: Duration = Duration::from_secs(1);

fn peer(port: u16) -> Peer {
    Peer::from(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn demotions() -> Demotions {
    Demotions::new(Rng::new(7))
}

/// The pauses between tries are 1 s, 2 s and so on up to 60 s, give or take a quarter, however often something is refused, at
/// whatever address; when nothing was refused for a minute they begin anew. RULE-153
#[test]
fn tries_are_paced() {
    let mut demotions = demotions();
    let mut now = epoch();
    let mut tries = Vec::new();
    for port in (1..=2).cycle().take(4_000) {
        if demotions.handle_refusal(now, &peer(port), &peer(port), Refusal::ReadOnly) {
            tries.push(now);
        }
        now += SECOND / 10;
    }
    let pauses: Vec<f64> = tries.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    for (pause, expected) in pauses.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]) {
        assert!((expected * 0.75..=expected * 1.25 + 0.1).contains(pause), "{pauses:?}");
    }
    assert!((9..=12).contains(&tries.len()), "{pauses:?}");
    now += 61 * SECOND;
    assert!(demotions.handle_refusal(now, &peer(1), &peer(1), Refusal::Loading));
    assert!(!demotions.handle_refusal(now + SECOND / 2, &peer(1), &peer(1), Refusal::Loading));
    assert!(demotions.handle_refusal(now + 2 * SECOND, &peer(1), &peer(1), Refusal::Loading));
}

/// Who refuses until it is known where the name leads shares the answer; READONLY weighs more than LOADING. RULE-153
#[test]
fn one_lookup_is_for_all() {
    let mut demotions = demotions();
    assert!(demotions.handle_refusal(epoch(), &peer(1), &peer(9), Refusal::Loading));
    assert!(demotions.handle_refusal(epoch(), &peer(2), &peer(2), Refusal::MasterDown));
    assert!(demotions.handle_refusal(epoch(), &peer(1), &peer(9), Refusal::ReadOnly));
    assert!(!demotions.handle_refusal(epoch(), &peer(1), &peer(9), Refusal::Loading));
    assert!(!demotions.handle_refusal(epoch(), &peer(3), &peer(3), Refusal::Loading), "not yet again");
    let suspects = demotions.take_suspects();
    let refusals: Vec<_> = suspects.iter().map(|(peer, suspect)| (peer.clone(), suspect.refusal())).collect();
    let all = [(1, Refusal::ReadOnly), (2, Refusal::MasterDown), (3, Refusal::Loading)];
    assert_eq!(refusals, all.map(|(port, refusal)| (peer(port), refusal)));
    assert!(suspects[&peer(1)].was_dialled_at(&peer(9)));
    assert!(demotions.take_suspects().is_empty());
    // Between two tries nothing is kept.
    assert!(!demotions.handle_refusal(epoch() + SECOND / 2, &peer(1), &peer(1), Refusal::Loading));
    assert!(demotions.take_suspects().is_empty());
}

/// A server that loads for long says nothing of one that was demoted: that one is left at once. RULE-153
#[test]
fn each_kind_of_refusal_has_a_pace_of_its_own() {
    let mut demotions = demotions();
    let mut now = epoch();
    for _ in 0..60 {
        demotions.handle_refusal(now, &peer(1), &peer(1), Refusal::Loading);
        demotions.take_suspects();
        now += SECOND;
    }
    assert!(demotions.handle_refusal(now, &peer(2), &peer(2), Refusal::ReadOnly));
}
