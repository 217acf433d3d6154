//! What happens to the nodes while the load goes on.

use std::time::{Duration, Instant};

use tokio::time;

use super::figures::{Mark, Span};
use super::world::{Address, Connections, Start, World};
use crate::measure::now;

/// The load alone, before the event.
const LEAD_IN: Duration = Duration::from_millis(1500);
/// The load alone, once everything has happened.
const LEAD_OUT: Duration = Duration::from_millis(1500);
/// How long nothing happens in the control.
const NOTHING: Duration = Duration::from_secs(4);
/// From MOVING to the close of the old node.
const GRACE: Duration = Duration::from_secs(3);
/// The same for a target that does not serve at first.
const LONG_GRACE: Duration = Duration::from_secs(6);
/// How long such a target does not serve.
const DEAD: Duration = Duration::from_secs(2);
/// How long the address of the old node refuses dials before it leads to the new one. Names of managed servers were seen to
/// follow from seconds before the close of the old node to three seconds after it.
const FOLLOWS_LATE: Duration = Duration::from_secs(1);
/// How often connections are lost, and how far apart.
const LOSSES: usize = 4;
const LOSSES_APART: Duration = Duration::from_millis(500);

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Scenario {
    /// Nothing.
    Control,
    /// MOVING to a node that serves. The address of the old node leads to the new one as soon as it is closed: the best case for who
    /// does not hear of the move.
    Moving,
    /// The same, where the address refuses dials for a second first.
    MovingLate,
    /// MOVING to a node that refuses dials for two seconds.
    TargetRefuses,
    /// MOVING to a node that does not answer dials for two seconds.
    TargetSwallows,
    /// Every connection is closed while replies are on their way, four times.
    ConnectionLost,
    /// MOVING while consumers wait with BLPOP; the old address refuses dials for a second.
    Blpop,
    /// MOVING while a subscriber receives 200 messages a second.
    PubSub,
}

/// What is brought besides the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feed {
    Items,
    Messages,
}

/// A move, as the servers make it.
#[derive(Debug, Clone, Copy)]
struct Move {
    grace: Duration,
    start: Start,
    address: Address,
}

/// What was noted while a scenario was played.
pub(super) struct Played {
    pub(super) span: Span,
    pub(super) marks: Vec<Mark>,
    /// Those of the old node when the move began, if there was one.
    pub(super) connections: Option<Connections>,
}

impl Scenario {
    /// All of them, in the order of the tables.
    pub(super) const ALL: [Self; 8] = [
        Self::Control,
        Self::Moving,
        Self::MovingLate,
        Self::TargetRefuses,
        Self::TargetSwallows,
        Self::ConnectionLost,
        Self::Blpop,
        Self::PubSub,
    ];

    /// Those that are drawn.
    pub(super) const DRAWN: [Self; 2] = [Self::Moving, Self::MovingLate];

    /// In programs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Moving => "moving",
            Self::MovingLate => "moving-late",
            Self::TargetRefuses => "target-refuses",
            Self::TargetSwallows => "target-swallows",
            Self::ConnectionLost => "connection-lost",
            Self::Blpop => "blpop",
            Self::PubSub => "pub-sub",
        }
    }

    /// In tables.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Control => "nothing happens",
            Self::Moving => "MOVING; the old address leads on at once",
            Self::MovingLate => "MOVING; the old address leads on 1 s after the close",
            Self::TargetRefuses => "MOVING; the target refuses dials for 2 s",
            Self::TargetSwallows => "MOVING; the target does not answer for 2 s",
            Self::ConnectionLost => "all connections closed after the server executed, 4 times",
            Self::Blpop => "MOVING, BLPOP in flight; the old address refuses for 1 s",
            Self::PubSub => "MOVING, 200 messages a second",
        }
    }

    pub(super) fn feed(self) -> Option<Feed> {
        match self {
            Self::Blpop => Some(Feed::Items),
            Self::PubSub => Some(Feed::Messages),
            _ => None,
        }
    }

    /// The move that it is about.
    fn moves(self) -> Option<Move> {
        let healthy = Move { grace: GRACE, start: Start::Healthy, address: Address::Follows };
        match self {
            Self::Control | Self::ConnectionLost => None,
            Self::Moving | Self::PubSub => Some(healthy),
            Self::MovingLate | Self::Blpop => Some(Move { address: Address::Refuses, ..healthy }),
            Self::TargetRefuses => Some(Move { grace: LONG_GRACE, start: Start::Refuses(DEAD), ..healthy }),
            Self::TargetSwallows => Some(Move { grace: LONG_GRACE, start: Start::Swallows(DEAD), ..healthy }),
        }
    }

    /// Plays it, under a load that runs already.
    pub(super) async fn play(self, world: &World) -> Played {
        let from = now();
        time::sleep(LEAD_IN).await;
        let mut stage = Stage { world, event: None, marks: Vec::new(), connections: None };
        match (self.moves(), self) {
            (Some(one), _) => stage.play_move(one).await,
            (None, Self::ConnectionLost) => stage.lose_connections().await,
            (None, _) => time::sleep(NOTHING).await,
        }
        time::sleep(LEAD_OUT).await;
        let Stage { event, marks, connections, .. } = stage;
        Played { span: Span { from, event, to: now() }, marks, connections }
    }
}

struct Stage<'a> {
    world: &'a World,
    event: Option<Instant>,
    marks: Vec<Mark>,
    connections: Option<Connections>,
}

impl Stage<'_> {
    async fn play_move(&mut self, Move { grace, start, address }: Move) {
        let connections = self.world.connections();
        self.mark("MOVING", connections.since);
        self.connections = Some(connections);
        self.world.announce_move(grace, start, address);
        let announced = now();
        if let Start::Refuses(time) | Start::Swallows(time) = start {
            time::sleep(time).await;
            self.mark("the target serves", now());
        }
        time::sleep((announced + grace).saturating_duration_since(now())).await;
        self.mark("the old node closes", now());
        if address == Address::Refuses {
            time::sleep(FOLLOWS_LATE).await;
            self.world.lead_address_on();
            self.mark("its address leads on", now());
        }
    }

    async fn lose_connections(&mut self) {
        for _ in 0..LOSSES {
            self.mark("all connections closed", now());
            self.world.close_connections();
            time::sleep(LOSSES_APART).await;
        }
    }

    fn mark(&mut self, what: &'static str, at: Instant) {
        let event = *self.event.get_or_insert(at);
        self.marks.push(Mark { at: at.saturating_duration_since(event), what });
    }
}
