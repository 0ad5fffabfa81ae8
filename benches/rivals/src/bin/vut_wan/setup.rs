//! The transports by name, and the paths.

use crate::world::Peer;
use crate::{ours, quic, tcp};
use std::fmt;
use std::time::Duration;
use versile_io::proto::sim::net::{Odds, Shape};
use versile_io::proto::time::Time;
use versile_io::proto::vut::Config;
use versile_io::proto::vut::congestion::{Cubic, MakeController, Model, NewReno};
use versile_io::proto::vut::native::switch::Mode;

/// What carries a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// VUT's native profile with each controller.
    Model,
    Cubic,
    NewReno,
    /// Its 0.8 profile, with the default controller.
    Compat,
    QuinnCubic,
    QuinnBbr,
    SmoltcpCubic,
}

impl Transport {
    pub const ALL: [Self; 7] =
        [Self::Model, Self::Cubic, Self::NewReno, Self::Compat, Self::QuinnCubic, Self::QuinnBbr, Self::SmoltcpCubic];
    pub const NATIVE: [Self; 3] = [Self::Model, Self::Cubic, Self::NewReno];
    pub const RIVALS: [Self; 3] = [Self::QuinnCubic, Self::QuinnBbr, Self::SmoltcpCubic];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Cubic => "cubic",
            Self::NewReno => "newreno",
            Self::Compat => "compat",
            Self::QuinnCubic => "quinn-cubic",
            Self::QuinnBbr => "quinn-bbr",
            Self::SmoltcpCubic => "smoltcp-cubic",
        }
    }

    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|transport| transport.name() == name)
    }

    /// Octets that are added to each datagram: smoltcp makes IP packets.
    pub const fn overhead(self) -> u64 {
        if matches!(self, Self::SmoltcpCubic) { 0 } else { 28 }
    }

    /// Both ends. `window` is what a receiver takes ahead of its reader; none: what the rivals have by themselves.
    pub fn pair(self, window: Option<u64>, seed: u64, start: Time) -> [Box<dyn Peer>; 2] {
        let quinn = |controller| quic::pair(quic::Settings { controller, window, largest: LARGEST }, seed, start);
        let given = window.unwrap_or(4 << 20);
        let ours = |mode, make| ours::pair(mode, make, LARGEST, given, seed, start);
        let native = |make: MakeController| ours(Mode::Native, make);
        match self {
            Self::Model => native(Model::make),
            Self::Cubic => native(Cubic::make),
            Self::NewReno => native(NewReno::make),
            Self::Compat => ours(Mode::Compat, Config::default().controller),
            Self::QuinnCubic => quinn(quic::Controller::Cubic),
            Self::QuinnBbr => quinn(quic::Controller::Bbr),
            Self::SmoltcpCubic => tcp::pair(usize::try_from(given).unwrap_or(usize::MAX)),
        }
    }
}

/// The largest datagram for quinn and for VUT, which finds it by a search. It is what quinn searches up to by itself.
pub const LARGEST: u16 = 1452;

/// A path: one cell of the grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    pub mbit: f64,
    /// Milliseconds.
    pub rtt: f64,
    /// Percent, each way.
    pub loss: f64,
    /// Percent held back by a quarter of the round trip.
    pub reorder: f64,
    /// Bandwidth-delay products, and at least 48 KB.
    pub queue: f64,
}

impl Cell {
    pub const fn new(mbit: f64, rtt: f64, loss: f64, reorder: f64) -> Self {
        Self { mbit, rtt, loss, reorder, queue: 1.0 }
    }

    /// Three or four numbers between slashes.
    pub fn of(text: &str) -> Option<Self> {
        let numbers: Vec<f64> = text.split('/').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [mbit, rtt, loss, ref rest @ ..] = numbers[..] else { return None };
        Some(Self::new(mbit, rtt, loss, rest.first().copied().unwrap_or(0.0)))
    }

    pub fn round_trip(self) -> Duration {
        Duration::from_secs_f64(self.rtt / 1e3)
    }

    /// The bandwidth-delay product in octets.
    pub fn product(self) -> f64 {
        self.mbit * 1e6 / 8.0 * self.rtt / 1e3
    }

    pub fn queued(self) -> u64 {
        (self.product() * self.queue).max(48_000.0) as u64
    }

    pub fn shape(self) -> Shape {
        Shape::new(self.round_trip() / 2)
            .rate((self.mbit * 1e6) as u64)
            .queue(self.queued())
            .loss(Odds::percent(self.loss))
            .reorder_by(Odds::percent(self.reorder), self.round_trip() / 4)
    }

    /// A window that fits the path: what is in flight with its queue nearly full. With a larger one quinn closes connections of
    /// its own accord: it bears 1024 gaps in a stream.
    pub fn window(self) -> u64 {
        (self.product() + self.queued() as f64 * 0.9).max(1_250_000.0) as u64
    }

    /// A sender that knows the path: a round trip for the handshake, half of one for the way, and each octet at the full rate, the
    /// lost ones again.
    pub fn ideal(self, octets: u64) -> f64 {
        let wire = octets as f64 * 1480.0 / 1416.0 / (1.0 - self.loss / 100.0);
        self.rtt * 1.5e-3 + wire * 8.0 / (self.mbit * 1e6)
    }

    /// Chance has nothing to decide.
    pub fn is_certain(self) -> bool {
        self.loss == 0.0 && self.reorder == 0.0
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.mbit, self.rtt, self.loss, self.reorder)
    }
}

/// The grid: all rates, round trips and losses, then reordering.
pub fn grid() -> Vec<Cell> {
    let paths = || [10.0, 100.0, 1000.0].into_iter().flat_map(|mbit| [1.0, 20.0, 80.0, 200.0].map(|rtt| (mbit, rtt)));
    let lossy = paths().flat_map(|(mbit, rtt)| [0.0, 0.1, 1.0, 3.0].map(|loss| Cell::new(mbit, rtt, loss, 0.0)));
    lossy.chain(paths().map(|(mbit, rtt)| Cell::new(mbit, rtt, 0.0, 1.0))).collect()
}

/// A few cells of it.
pub fn quick() -> Vec<Cell> {
    [(100.0, 20.0, 0.0, 0.0), (100.0, 80.0, 1.0, 0.0), (10.0, 20.0, 3.0, 0.0), (100.0, 20.0, 0.0, 1.0)]
        .map(|(mbit, rtt, loss, reorder)| Cell::new(mbit, rtt, loss, reorder))
        .to_vec()
}

/// Cells that nothing was tuned on.
pub fn others() -> Vec<Cell> {
    let paths = [(30.0, 50.0), (300.0, 10.0), (5.0, 120.0), (60.0, 150.0), (400.0, 40.0)];
    let lossy = paths.into_iter().flat_map(|(mbit, rtt)| [0.0, 0.5, 2.0].map(|loss| Cell::new(mbit, rtt, loss, 0.0)));
    lossy.chain(paths.map(|(mbit, rtt)| Cell::new(mbit, rtt, 0.0, 1.0))).collect()
}
