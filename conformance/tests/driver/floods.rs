//! Servers that say too much.

use super::*;

/// A server that has the client dial another address with each word: the dials that are given up before they begin leave no task, however many
/// words arrive before other tasks run. INV-11, RULE-301
#[test]
fn dials_that_are_given_up_before_they_begin_are_not_begun() {
    let mut fixture = fixture();
    let builder = builder(&fixture).maintenance(maintenance::Config::default());
    let client = fixture.block_on(builder.connect()).unwrap();
    let (_, before, _) = fixture.leftovers();
    let announcement =
        |id: u16| format!(">4\r\n$6\r\nMOVING\r\n:{id}\r\n:15\r\n+127.0.0.1:{}\r\n", id + 9_999);
    fixture.say((1..=2_000).map(announcement).collect::<String>().as_bytes());
    let mut most = 0;
    while fixture.step() {
        most = fixture.leftovers().1.max(most);
    }
    assert_eq!(client.stats().coordinator.moves, 1, "that of the last word");
    assert!(most - before <= 4, "{before} tasks, then {most}");
}
