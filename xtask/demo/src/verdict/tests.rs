use super::*;

const MS: Duration = Duration::from_millis(1);

fn expectation() -> Expectation {
    let handoffs = Handoffs { failed_dials: 1..=3, within: 5000 * MS };
    Expectation {
        accepted: &[(Node::B, 10)],
        handoffs: Some(handoffs),
        gap: Gap::Limited,
        slowness: None,
        loses_connections: false,
    }
}

fn hitless() -> Figures {
    Figures {
        operations: 100_000,
        gap: 100 * MS,
        transactions: Transactions { completed: 1000, gap: 300 * MS, ..Transactions::default() },
        items: Items::new(250, 0, 0, 0),
        messages: Messages { received: 2000, ..Messages::default() },
        emptied: Some(2600 * MS),
        dials: Dials { accepted: [0, 10, 0, 0], made: 12, failed: 2 },
        ..Figures::default()
    }
}

fn broken(expected: &Expectation, found: &Figures) -> Vec<&'static str> {
    let checks = judge(expected, found, 100 * MS);
    checks.into_iter().filter(|check| !check.holds).map(|check| check.what).collect()
}

/// Changes figures that are hitless, and returns the criteria that the result breaks.
fn spoiled(spoil: impl FnOnce(&mut Figures)) -> Vec<&'static str> {
    let mut figures = hitless();
    spoil(&mut figures);
    broken(&expectation(), &figures)
}

#[test]
fn what_nobody_notices_is_hitless() {
    assert_eq!(spoiled(|_| {}), [""; 0]);
}

#[test]
fn each_defect_breaks_its_own_criterion() {
    assert_eq!(spoiled(|figures| figures.operations = 0), ["operations"]);
    assert_eq!(spoiled(|figures| figures.errors = 1), ["errors"]);
    assert_eq!(spoiled(|figures| figures.counted.lost = 1), ["INCRs lost"]);
    assert_eq!(spoiled(|figures| figures.counted.twice = 1), ["INCRs executed twice"]);
    assert_eq!(spoiled(|figures| figures.gap = 101 * MS), ["longest gap"]);
    assert_eq!(spoiled(|figures| figures.transactions.completed = 0), ["transactions"]);
    assert_eq!(spoiled(|figures| figures.transactions.counted.lost = 1), ["updates lost"]);
    assert_eq!(spoiled(|figures| figures.transactions.counted.twice = 1), ["updates executed twice"]);
    assert_eq!(spoiled(|figures| figures.transactions.gap = 301 * MS), ["transactions' gap"]);
    assert_eq!(spoiled(|figures| figures.items = Items::default()), ["items"]);
    assert_eq!(spoiled(|figures| figures.items.counted.lost = 1), ["items lost"]);
    assert_eq!(spoiled(|figures| figures.items.counted.twice = 1), ["items taken twice"]);
    assert_eq!(spoiled(|figures| figures.items.uncertain = 1), ["uncertain BLPOPs"]);
    assert_eq!(spoiled(|figures| figures.messages.received = 0), ["messages"]);
    assert_eq!(spoiled(|figures| figures.messages.counted.lost = 1), ["messages lost"]);
    assert_eq!(spoiled(|figures| figures.messages.counted.twice = 1), ["messages received twice"]);
    assert_eq!(spoiled(|figures| figures.messages.gaps = 1), ["gaps in messages"]);
    assert_eq!(spoiled(|figures| figures.emptied = None), ["old node empty"]);
    assert_eq!(spoiled(|figures| figures.emptied = Some(5000 * MS)), ["old node empty"]);
}

#[test]
fn dials_are_as_many_as_connections_and_scouts_need() {
    assert_eq!(spoiled(|figures| figures.dials.accepted[1] = 11), ["dials accepted by B"]);
    assert_eq!(spoiled(|figures| figures.dials.accepted[3] = 1), ["dials accepted elsewhere"]);
    assert_eq!(spoiled(|figures| figures.dials.made = 13), ["dials made for handoffs"]);
    let storm = spoiled(|figures| figures.dials = Dials { failed: 40, made: 50, ..figures.dials });
    assert_eq!(storm, ["dials that failed"]);
    let never_dead = spoiled(|figures| figures.dials = Dials { failed: 0, made: 10, ..figures.dials });
    assert_eq!(never_dead, ["dials that failed"]);
}

#[test]
fn a_pool_that_stays_dials_nobody() {
    let expected = Expectation { accepted: &[], handoffs: None, ..expectation() };
    let quiet = Figures { dials: Dials::default(), ..hitless() };
    assert_eq!(broken(&expected, &quiet), [""; 0]);
    for (dials, what) in [
        (Dials { accepted: [1, 0, 0, 0], ..Dials::default() }, "dials accepted elsewhere"),
        (Dials { made: 1, ..Dials::default() }, "dials made for handoffs"),
    ] {
        assert_eq!(broken(&expected, &Figures { dials, ..quiet.clone() }), [what]);
    }
}

#[test]
fn connections_that_are_replaced_after_a_loss_are_not_handed_off() {
    let expected = Expectation { handoffs: None, ..expectation() };
    let dials = Dials { accepted: [0, 10, 0, 0], ..Dials::default() };
    let replaced = Figures { dials, emptied: None, ..hitless() };
    assert_eq!(broken(&expected, &replaced), [""; 0]);
    let one_is_missing = Dials { accepted: [0, 9, 0, 0], ..dials };
    assert_eq!(broken(&expected, &Figures { dials: one_is_missing, ..replaced }), ["dials accepted by B"]);
}

#[test]
fn the_gap_counts_only_where_the_server_is_not_slow_itself() {
    let stalled = Figures { gap: 1300 * MS, slowest: Some(1400 * MS), ..hitless() };
    let expected = Expectation { gap: Gap::ServerIsSlow, slowness: Some(1300 * MS), ..expectation() };
    assert_eq!(broken(&expected, &stalled), [""; 0]);
    assert_eq!(broken(&Expectation { gap: Gap::Reference, ..expectation() }, &stalled), [""; 0]);
    let never_slow = Figures { slowest: Some(20 * MS), ..hitless() };
    assert_eq!(broken(&expected, &never_slow), ["slowest reply"]);
}

#[test]
fn an_outage_of_the_server_lengthens_the_gap_by_twice_its_length_at_most() {
    let expected = Expectation { gap: Gap::Outage(1000 * MS), ..expectation() };
    let found = |gap| broken(&expected, &Figures { gap, ..hitless() });
    assert_eq!(found(2100 * MS), [""; 0]);
    assert_eq!(found(2101 * MS), ["longest gap"]);
}

#[test]
fn transactions_outlast_an_outage_as_commands_do() {
    let expected = Expectation { gap: Gap::Outage(1000 * MS), ..expectation() };
    let found = |gap| {
        let transactions = Transactions { gap, ..hitless().transactions };
        broken(&expected, &Figures { transactions, ..hitless() })
    };
    assert_eq!(found(2300 * MS), [""; 0]);
    assert_eq!(found(2301 * MS), ["transactions' gap"]);
}

/// What may have been on its way to a connection that was lost is not lost, and no more than that.
#[test]
fn a_loss_of_connections_is_told() {
    let expected = Expectation { loses_connections: true, ..expectation() };
    let found = |missing, uncertain, gaps| {
        let messages = Messages { gaps, ..hitless().messages };
        let items = Items::new(250, missing, 0, uncertain);
        broken(&expected, &Figures { items, messages, ..hitless() })
    };
    assert_eq!(found(0, 0, 2), [""; 0]);
    assert_eq!(found(3, 3, 2), [""; 0]);
    assert_eq!(found(2, 1, 2), ["items lost"]);
    assert_eq!(found(0, LENT as u64, 2), [""; 0]);
    assert_eq!(found(0, LENT as u64 + 1, 2), ["uncertain BLPOPs"]);
    assert_eq!(found(0, 0, 1), ["gaps in messages"]);
}

#[test]
fn the_limit_of_a_gap_follows_the_control_phase_above_a_floor() {
    assert_eq!(gap_limit(10 * MS), 100 * MS);
    assert_eq!(gap_limit(50 * MS), 150 * MS);
}
