//! The faults: what each does to the network or the server, and how it is drawn.

use std::time::Duration;

use hitless_core::guide::Rng;

use crate::server::EndpointId;

/// How long a fault is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// For a time.
    Lasts,
    /// Once.
    Strikes,
    /// Until the end of the run: it is not over when all other faults are.
    Stays,
}

/// Makes the kinds of fault from a list: what it does, its course, and how much a run must bear for it to be drawn.
macro_rules! fault_kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident: $course:ident, $weather:ident;)+) => {
        /// One kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum FaultKind {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl FaultKind {
            pub(super) const ALL: &[Self] = &[$(Self::$kind,)+];

            fn course(self) -> Course {
                match self {
                    $(Self::$kind => Course::$course,)+
                }
            }

            fn weather(self) -> Weather {
                match self {
                    $(Self::$kind => Weather::$weather,)+
                }
            }
        }
    };
}

fault_kinds! {
    /// Every way takes longer.
    Latency: Lasts, Gentle;
    /// Every way takes longer by another time.
    Jitter: Lasts, Gentle;
    /// Bytes travel one by one or in twos and threes, and are read so.
    Splits: Lasts, Gentle;
    /// Both directions of one connection carry nothing for a time.
    Stall: Strikes, Gentle;
    /// What the server says on one connection is on its way until all faults are over.
    Freeze: Strikes, Rough;
    /// Sockets take no bytes.
    BlockedWrites: Lasts, Gentle;
    /// The executor is busy with something else now and then.
    Hiccups: Lasts, Gentle;
    /// Dials are answered late.
    SlowDials: Lasts, Gentle;
    /// Dials are refused.
    RefusedDials: Lasts, Rough;
    /// Dials are not answered.
    UnansweredDials: Lasts, Rough;
    /// Names are looked up late.
    SlowLookups: Lasts, Gentle;
    /// Names cannot be looked up.
    FailedLookups: Lasts, Rough;
    /// Names lead to no address.
    EmptyLookups: Lasts, Rough;
    /// Names lead to where they led before.
    StaleLookups: Lasts, Rough;
    /// Names lead to all nodes there are, and to one that is gone.
    CrowdedLookups: Lasts, Rough;
    /// Replies come late.
    SlowServer: Lasts, Rough;
    /// The server's side of one connection ends, and goes on reading.
    HalfClose: Strikes, Rough;
    /// The server announces something on one connection and closes it: both are there to be read at once.
    LastWords: Strikes, Rough;
    /// One connection is reset.
    Reset: Strikes, Rough;
    /// The server closes one connection.
    Close: Strikes, Rough;
    /// A request is not executed, and the connection ends.
    CloseUnexecuted: Strikes, Rough;
    /// A request is executed, and the connection ends before the reply.
    CloseUnanswered: Strikes, Rough;
    /// A request is executed and answered, and the connection ends.
    CloseAnswered: Strikes, Rough;
    /// Something that is not RESP arrives.
    Garbage: Strikes, Rough;
    /// A push of another kind arrives.
    UnknownPush: Strikes, Gentle;
    /// A maintenance notification that makes no sense arrives.
    MalformedPush: Strikes, Gentle;
    /// Opt-ins are refused: the server is not ready.
    OptInLoading: Lasts, Rough;
    /// Opt-ins are refused: the server does not know them.
    OptInRefused: Lasts, Rough;
    /// The link ends at the opt-in.
    OptInClosesLink: Lasts, Rough;
    /// HELLO is not known.
    HelloUnknown: Lasts, Rough;
    /// The process does not run for a time. Networks and servers go on: what arrives meanwhile lies in the sockets.
    ProcessStops: Strikes, Gentle;
    /// The clock jumps, and nothing has happened anywhere: all of it was suspended.
    ClockJumps: Strikes, Rough;
    /// Connections are closed a few milliseconds after they were accepted: long enough for a handshake.
    ShortLives: Lasts, Rough;
    /// A node is demoted, announces nothing and keeps its links: it refuses writes.
    Demotion: Stays, Rough;
    /// A node loads its data, and has announced nothing.
    Loading: Lasts, Rough;
    /// A node has lost its master, and has announced nothing.
    MasterLost: Lasts, Rough;
    /// A node holds up commands that wait for elements, as CLIENT PAUSE makes it do, and runs them later.
    Pause: Lasts, Rough;
    /// HELLO is refused, in words of a proxy's own.
    HelloRefused: Lasts, Rough;
    /// The link ends at HELLO.
    HelloClosesLink: Lasts, Rough;
    /// CLIENT is refused, in words of a proxy's own.
    ClientRefused: Lasts, Rough;
    /// The link ends at CLIENT.
    ClientClosesLink: Lasts, Rough;
    /// The link ends at CLIENT SETINFO.
    SetInfoClosesLink: Lasts, Rough;
    /// Every node stands behind a proxy that knows neither HELLO nor CLIENT, and refuses them or hangs up.
    PlainProxy: Stays, Rough;
    /// Attributes stand before what one node or all of them say, and inside.
    Attributes: Stays, Gentle;
    /// The name leads to one more address, which refuses dials.
    AddressRefuses: Stays, Gentle;
    /// The name leads to one more address, where dials are never answered.
    AddressSwallows: Stays, Gentle;
    /// Some requests kill the link that carries them.
    Poison: Stays, Gentle;
    /// Some replies are as deep, as long or as large as the limits allow.
    EdgeReplies: Stays, Gentle;
    /// Callers drop their requests when a time of their own is over.
    ImpatientCallers: Stays, Gentle;
}

/// What users of other clients have met. Drawn apart from the other faults, one or two in a run.
const UNKIND: &[FaultKind] = &[
    ProcessStops,
    ClockJumps,
    FaultKind::ShortLives,
    FaultKind::Demotion,
    FaultKind::Loading,
    FaultKind::MasterLost,
    FaultKind::HelloRefused,
    FaultKind::HelloClosesLink,
    FaultKind::ClientRefused,
    FaultKind::ClientClosesLink,
    FaultKind::SetInfoClosesLink,
    FaultKind::PlainProxy,
    FaultKind::Attributes,
    FaultKind::AddressRefuses,
    FaultKind::AddressSwallows,
    FaultKind::Poison,
    FaultKind::EdgeReplies,
    FaultKind::ImpatientCallers,
];

use FaultKind::{BlockedWrites, ClockJumps, Hiccups, Jitter, Latency, ProcessStops, Stall};

impl FaultKind {
    /// Whether it lasts for a time, rather than strikes once.
    pub(super) fn lasts(self) -> bool {
        self.course() == Course::Lasts
    }

    /// Whether it is there to the end of the run.
    pub(super) fn stays(self) -> bool {
        self.course() == Course::Stays
    }

    /// Those that a run in this weather may meet: in gentle weather, what leaves the premise of INV-03 intact when it is
    /// short. Some are drawn apart: what users of other clients have met, and pauses, which only consumers notice.
    fn of(weather: Weather) -> Vec<Self> {
        let is_apart = |kind: &Self| UNKIND.contains(kind) || *kind == Self::Pause;
        Self::ALL.iter().copied().filter(|kind| !is_apart(kind) && kind.fits(weather)).collect()
    }

    fn fits(self, weather: Weather) -> bool {
        weather == Weather::Rough || self.weather() == Weather::Gentle
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
        let kind = *pick(rng, &FaultKind::of(weather));
        Self::of_kind(kind, rng, weather, endpoints)
    }

    /// Draws one of those that users of other clients have met.
    pub(super) fn draw_unkind(rng: &mut Rng, weather: Weather, endpoints: &[EndpointId]) -> Self {
        let kinds: Vec<FaultKind> = UNKIND.iter().copied().filter(|kind| kind.fits(weather)).collect();
        let kind = *pick(rng, &kinds);
        Self::of_kind(kind, rng, weather, endpoints)
    }

    /// Draws a fault of one of these kinds.
    pub(super) fn draw_of(
        kinds: &[FaultKind],
        rng: &mut Rng,
        weather: Weather,
        endpoints: &[EndpointId],
    ) -> Self {
        Self::of_kind(*pick(rng, kinds), rng, weather, endpoints)
    }

    fn of_kind(kind: FaultKind, rng: &mut Rng, weather: Weather, endpoints: &[EndpointId]) -> Self {
        let endpoint = (rng.below(3) > 0).then(|| *pick(rng, endpoints));
        let (longest, latest) = match (weather, kind) {
            (Weather::Gentle, BlockedWrites) => (GENTLE_PAUSE, Duration::ZERO),
            (Weather::Gentle, Stall) => (Duration::ZERO, GENTLE_PAUSE),
            (Weather::Gentle, ProcessStops) => (Duration::ZERO, Duration::from_millis(900)),
            (Weather::Gentle, _) => (Duration::from_secs(3), Duration::from_millis(20)),
            (Weather::Rough, Stall | ProcessStops) => (Duration::ZERO, Duration::from_secs(3)),
            (Weather::Rough, ClockJumps) => (Duration::ZERO, Duration::from_secs(20)),
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
