use std::net::SocketAddr;

use super::*;
use crate::endpoint::{Endpoint, Peer};
use crate::timer::epoch;

const SECOND: Duration = Duration::from_secs(1);

fn keyring() -> Keyring {
    let config = Config::builder(Endpoint::parse("127.0.0.1", 6379).unwrap());
    Keyring::new(&config.ask_for_credentials().build().unwrap(), 7)
}

fn conn(index: u32) -> ConnId {
    ConnId::from_parts(index, 0)
}

fn target() -> Target {
    Target::from(Peer::from(SocketAddr::from(([127, 0, 0, 1], 6379))))
}

fn credentials(password: &str) -> Credentials {
    Credentials::new(None, password)
}

/// A dial waits for half of the time that it has, or 5 s where it has all the time. RULE-220
#[test]
fn a_dial_waits_for_half_of_its_time() {
    for (until, limit) in [(Some(4 * SECOND), 2 * SECOND), (None, 5 * SECOND)] {
        let (mut keyring, now) = (keyring(), epoch());
        keyring.ask(now, conn(1), target(), until.map(|until| now + until));
        assert_eq!(keyring.poll_timeout(), Some(now + limit));
        assert_eq!(keyring.take_overdue(now + limit - SECOND / 1000), None);
        assert_eq!(keyring.take_overdue(now + limit), Some((conn(1), limit)));
        assert_eq!((keyring.take_overdue(now + limit), keyring.poll_timeout()), (None, None));
        assert_eq!(keyring.answer(conn(1), credentials("late")), None);
        assert_eq!(keyring.credentials(conn(1), None), None);
    }
}

/// A dial has the place of one that has failed, before the end of that one is told here. RULE-220
#[test]
fn a_dial_in_the_place_of_another_one_waits_alone() {
    let (mut keyring, now) = (keyring(), epoch());
    let [first, second] = [0, 1].map(|generation| ConnId::from_parts(1, generation));
    keyring.ask(now, first, target(), Some(now + 2 * SECOND));
    keyring.ask(now, second, target(), Some(now + 4 * SECOND));
    keyring.forget(first);
    assert_eq!(keyring.poll_timeout(), Some(now + 2 * SECOND));
    assert_eq!(keyring.take_overdue(now + 2 * SECOND), Some((second, 2 * SECOND)));
    assert_eq!((keyring.take_overdue(now + 9 * SECOND), keyring.poll_timeout()), (None, None));
}

/// What was asked for before a change may be older than the change. RULE-221
#[test]
fn an_answer_from_before_a_change_gives_way_to_the_change() {
    let (mut keyring, now) = (keyring(), epoch());
    keyring.ask(now, conn(1), target(), None);
    assert!(keyring.renew(&credentials("new")).is_empty(), "it has none yet");
    keyring.ask(now, conn(2), target(), None);
    assert!(keyring.answer(conn(1), credentials("old")).is_some());
    assert!(keyring.answer(conn(2), credentials("newer")).is_some());
    assert_eq!(keyring.credentials(conn(1), None), Some(credentials("new")));
    assert_eq!(keyring.credentials(conn(2), None), Some(credentials("newer")));
}

/// A change concerns each connection that was given others, once; and one whose server has refused it, again. RULE-221, RULE-222
#[test]
fn a_change_concerns_who_has_others() {
    let mut keyring = keyring();
    for (index, has) in [(1, Some("old")), (2, Some("new")), (3, None)] {
        keyring.note_connected(conn(index), has.map(credentials));
    }
    assert_eq!(keyring.renew(&credentials("new")), [conn(1), conn(3)]);
    assert!(keyring.renew(&credentials("new")).is_empty());
    keyring.note_refused(conn(2));
    assert_eq!(keyring.renew(&credentials("new")), [conn(2)]);
    keyring.forget(conn(1));
    assert_eq!(keyring.renew(&credentials("newer")), [conn(2), conn(3)]);
}

/// Somebody who says all the time that something has changed is asked once a second. RULE-223
#[test]
fn new_credentials_are_asked_for_once_a_second() {
    let (mut keyring, now) = (keyring(), epoch());
    keyring.note_change(now);
    assert!(keyring.begin_renewal(now));
    keyring.renew(&credentials("a"));
    keyring.note_change(now);
    assert!(!keyring.begin_renewal(now));
    assert_eq!(keyring.poll_timeout(), Some(now + SECOND));
    assert!(keyring.begin_renewal(now + SECOND));
    assert!(!keyring.begin_renewal(now + SECOND), "it is asked already");
}

/// A change that comes while an answer is awaited is asked for again. RULE-221
#[test]
fn a_change_behind_the_question_is_asked_for_again() {
    let (mut keyring, now) = (keyring(), epoch());
    keyring.note_change(now);
    assert!(keyring.begin_renewal(now));
    keyring.note_change(now);
    keyring.renew(&credentials("of the first change"));
    assert!(keyring.begin_renewal(now + SECOND));
}

/// RULE-223
#[test]
fn a_renewal_that_fails_is_repeated_after_pauses_that_grow() {
    let (mut keyring, mut now) = (keyring(), epoch());
    keyring.note_change(now);
    for longest in [2, 4, 8, 16, 30, 30].map(Duration::from_secs) {
        assert!(keyring.begin_renewal(now));
        let retry_at = keyring.fail_renewal(now).unwrap();
        assert_eq!(keyring.fail_renewal(now), None, "it is known");
        assert!(longest / 2 <= retry_at - now && retry_at - now <= longest);
        now = retry_at;
    }
    keyring.renew(&credentials("at last"));
    assert_eq!(keyring.poll_timeout(), None, "nothing is left to ask for");
}

/// The limit is half of the connect timeout: 2.5 s. RULE-223
#[test]
fn an_answer_with_new_credentials_is_awaited_for_half_of_the_connect_timeout() {
    let (mut keyring, now) = (keyring(), epoch());
    keyring.note_change(now);
    assert_eq!(keyring.overdue_renewal(now), None);
    keyring.begin_renewal(now);
    let limit = 5 * SECOND / 2;
    assert_eq!(keyring.poll_timeout(), Some(now + limit));
    assert_eq!(keyring.overdue_renewal(now + limit), Some(limit));
}

/// RULE-224
#[test]
fn nothing_of_what_is_held_is_shown() {
    let mut keyring = keyring();
    keyring.note_connected(conn(1), Some(Credentials::new(Some("s3cret-user"), "s3cret-password")));
    keyring.renew(&Credentials::new(Some("s3cret-user"), "s3cret-token"));
    keyring.note_connected(conn(2), Some(credentials("s3cret-password")));
    assert!(!format!("{keyring:?}").contains("s3cret"), "{keyring:?}");
    for secret in ["s3cret-password", "s3cret-token"] {
        let error = CredentialsError::failed(format!("{secret} has expired"));
        assert_eq!(keyring.without_secrets(error), CredentialsError::Failed { words: None });
    }
}

/// Those that came last are known again although nobody holds them; no more of them than there is use for. RULE-224, INV-14
#[test]
fn the_last_few_are_known_again() {
    let mut keyring = keyring();
    for number in 0..100 {
        keyring.renew(&credentials(&format!("token-{number:04}")));
    }
    let shows =
        |number| keyring.without_secrets(CredentialsError::failed(format!("token-{number:04} has expired")));
    assert!((92..100).all(|number| shows(number) == CredentialsError::Failed { words: None }));
    assert_ne!(shows(91), CredentialsError::Failed { words: None });
    assert_eq!(keyring.known.len(), 8);
}
