use std::net::SocketAddr;

use super::*;
use crate::timer::epoch;

fn peer(port: u16) -> Peer {
    Peer::from(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn peers(ports: impl IntoIterator<Item = u16>) -> Vec<Peer> {
    ports.into_iter().map(peer).collect()
}

/// What has left an answer of these addresses, while all are in use.
fn withdrawn(advertised: &mut Advertised, answer: &[u16]) -> Vec<Peer> {
    advertised.note(&peers(answer.iter().copied()), |_| true)
}

/// After a completion the name is looked up four times: at once, and then every six seconds, give or take a quarter. RULE-40
#[test]
fn a_check_looks_the_name_up_four_times() {
    let mut now = epoch();
    let mut advertised = Advertised::new(7);
    assert!(!advertised.handle_timeout(now) && advertised.poll_timeout().is_none());
    advertised.begin_check(now, Seq(1));
    for lookup in 1..=4 {
        assert_eq!(advertised.poll_timeout(), Some(now));
        assert!(advertised.handle_timeout(now), "{lookup}");
        let next = advertised.poll_timeout().unwrap();
        let pause = (next - now).as_millis();
        assert!((4500..=7500).contains(&pause), "{lookup}: {pause}");
        assert!(!advertised.handle_timeout(next - Duration::from_nanos(1)), "{lookup}");
        now = next;
    }
    assert!(!advertised.handle_timeout(now));
    assert_eq!(advertised.poll_timeout(), None);
}

/// An address in use that was in an earlier answer and is in this one no longer is withdrawn, until it is back or out of use. RULE-40
#[test]
fn an_address_that_leaves_the_answers_is_withdrawn() {
    let mut advertised = Advertised::new(7);
    assert_eq!(withdrawn(&mut advertised, &[1, 2]), []);
    assert_eq!(withdrawn(&mut advertised, &[2, 3]), [peer(1)]);
    assert_eq!(withdrawn(&mut advertised, &[3]), [peer(1), peer(2)], "the first one is still in use");
    assert_eq!(withdrawn(&mut advertised, &[1, 2, 3]), []);
    let answer = [peer(3)];
    assert_eq!(advertised.note(&answer, |at| *at != peer(1)), [peer(2)]);
    assert_eq!(withdrawn(&mut advertised, &[3]), [peer(2)], "what was out of use is forgotten");
}

/// The number of addresses that are remembered is bounded: 64 of an answer, and those in use. INV-14
#[test]
fn remembered_addresses_are_bounded() {
    let mut advertised = Advertised::new(7);
    for from in [1, 1000, 2000] {
        advertised.note(&peers(from..from + 200), |_| false);
        assert_eq!(advertised.seen.len(), 64);
    }
    advertised.note(&peers(1..201), |at| *at == peer(2000));
    assert_eq!(advertised.seen.len(), 65);
}
