//! The same seed gives the same run, event by event and request by request.

use hitless_conformance::direct::Direct;
use hitless_conformance::suite::CASES;
use hitless_conformance::world::Host;

/// INV-13
#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |case: fn(&dyn Host), seed| {
        let direct = Direct::tracing(seed);
        direct.run(case);
        direct.take_trace()
    };
    for case in
        CASES.iter().filter(|case| !["chaos::", "tls::"].iter().any(|group| case.id.starts_with(group)))
    {
        let (first, second) = (run(case.run, 7), run(case.run, 7));
        let differs = first.iter().zip(&second).find(|(one, other)| one != other);
        assert!(differs.is_none(), "{}: {differs:#?}", case.id);
        assert_eq!(first.len(), second.len(), "{}", case.id);
        assert!(first.len() > 1 || case.id == "handshake::nobody_answers", "{}: {first:?}", case.id);
    }
}
