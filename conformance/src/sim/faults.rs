//! The faults: what each does to the network or the server, and how it is drawn.

use std::time::Duration;

use hitless_core::rng::Rng;

use crate::server::EndpointId;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FaultKind {
    /// Every way takes longer.
    Latency,
    /// Every way takes longer by another time.
    Jitter,
    /// Bytes travel one by one or in twos and threes, and are read so.
    Splits,
    /// Both directions of one connection carry nothing for a time.
    Stall,
    /// What the server says on one connection is on its way until all faults are over.
    Freeze,
    /// Sockets take no bytes.
    BlockedWrites,
    /// The executor is busy with something else now and then.
    Hiccups,
    /// Dials are answered late.
    SlowDials,
    /// Dials are refused.
    RefusedDials,
    /// Dials are not answered.
    UnansweredDials,
    /// Names are looked up late.
    SlowLookups,
    /// Names cannot be looked up.
    FailedLookups,
    /// Names lead to no address.
    EmptyLookups,
    /// Replies come late.
    SlowServer,
    /// The server's side of one connection ends, and goes on reading.
    HalfClose,
    /// One connection is reset.
    Reset,
    /// The server closes one connection.
    Close,
    /// A request is not executed, and the connection ends.
    CloseUnexecuted,
    /// A request is executed, and the connection ends before the reply.
    CloseUnanswered,
    /// A request is executed and answered, and the connection ends.
    CloseAnswered,
    /// Something that is not RESP arrives.
    Garbage,
    /// A push of another kind arrives.
    UnknownPush,
    /// A maintenance notification that makes no sense arrives.
    MalformedPush,
    /// Opt-ins are refused: the server is not ready.
    OptInLoading,
    /// Opt-ins are refused: the server does not know them.
    OptInRefused,
    /// The link ends at the opt-in.
    OptInClosesLink,
    /// HELLO is not known.
    HelloUnknown,
}

use FaultKind::{
    BlockedWrites, Close, CloseAnswered, CloseUnanswered, CloseUnexecuted, EmptyLookups, FailedLookups,
    Freeze, Garbage, HalfClose, HelloUnknown, Hiccups, Jitter, Latency, MalformedPush, OptInClosesLink,
    OptInLoading, OptInRefused, RefusedDials, Reset, SlowDials, SlowLookups, SlowServer, Splits, Stall,
    UnansweredDials, UnknownPush,
};

impl FaultKind {
    pub(super) const ALL: [Self; 27] = [
        Latency,
        Jitter,
        Splits,
        Stall,
        Freeze,
        BlockedWrites,
        Hiccups,
        SlowDials,
        RefusedDials,
        UnansweredDials,
        SlowLookups,
        FailedLookups,
        EmptyLookups,
        SlowServer,
        HalfClose,
        Reset,
        Close,
        CloseUnexecuted,
        CloseUnanswered,
        CloseAnswered,
        Garbage,
        UnknownPush,
        MalformedPush,
        OptInLoading,
        OptInRefused,
        OptInClosesLink,
        HelloUnknown,
    ];

    /// Those that leave the premise of INV-03 intact, when they are short.
    pub(super) const GENTLE: [Self; 10] = [
        Latency,
        Jitter,
        Splits,
        Stall,
        BlockedWrites,
        Hiccups,
        SlowDials,
        SlowLookups,
        UnknownPush,
        MalformedPush,
    ];

    /// Whether it lasts for a time, rather than strikes once.
    pub(super) fn lasts(self) -> bool {
        match self {
            Latency | Jitter | Splits | BlockedWrites | Hiccups | SlowDials | RefusedDials
            | UnansweredDials | SlowLookups | FailedLookups | EmptyLookups | SlowServer | OptInLoading
            | OptInRefused | OptInClosesLink | HelloUnknown => true,
            Stall | Freeze | HalfClose | Reset | Close | CloseUnexecuted | CloseUnanswered
            | CloseAnswered | Garbage | UnknownPush | MalformedPush => false,
        }
    }
}

/// How much a run has to bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    /// Nothing that could break the premise of INV-03.
    Gentle,
    /// Anything.
    Rough,
}

/// The longest that a gentle fault may keep bytes from travelling.
pub(super) const GENTLE_PAUSE: Duration = Duration::from_millis(60);

/// A fault of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    /// Where; everywhere if it is none.
    pub(super) endpoint: Option<EndpointId>,
    /// From its beginning to its end, if it lasts.
    pub(super) lasts: Duration,
    /// How late it makes things, if it does.
    pub(super) delay: Duration,
}

impl Fault {
    /// Draws a fault that may strike at one of `endpoints`.
    pub(super) fn draw(rng: &mut Rng, weather: Weather, endpoints: &[EndpointId]) -> Self {
        let kinds: &[FaultKind] = match weather {
            Weather::Gentle => &FaultKind::GENTLE,
            Weather::Rough => &FaultKind::ALL,
        };
        let kind = *pick(rng, kinds);
        let endpoint = (rng.below(3) > 0).then(|| *pick(rng, endpoints));
        let (longest, latest) = match (weather, kind) {
            (Weather::Gentle, BlockedWrites) => (GENTLE_PAUSE, Duration::ZERO),
            (Weather::Gentle, Stall) => (Duration::ZERO, GENTLE_PAUSE),
            (Weather::Gentle, _) => (Duration::from_secs(3), Duration::from_millis(20)),
            (Weather::Rough, Stall) => (Duration::ZERO, Duration::from_secs(3)),
            (Weather::Rough, Latency | Jitter | Hiccups) => {
                (Duration::from_secs(4), Duration::from_millis(250))
            }
            (Weather::Rough, _) => (Duration::from_secs(4), Duration::from_secs(2)),
        };
        Self { kind, endpoint, lasts: up_to(rng, longest), delay: up_to(rng, latest) }
    }
}

/// A time between nothing and `longest`.
pub(super) fn up_to(rng: &mut Rng, longest: Duration) -> Duration {
    rng.jitter(longest / 2, 100)
}

/// One of `items`, which are not empty.
pub(super) fn pick<'a, T>(rng: &mut Rng, items: &'a [T]) -> &'a T {
    let at = usize::try_from(rng.below(items.len() as u64)).unwrap_or(0);
    &items[at]
}
