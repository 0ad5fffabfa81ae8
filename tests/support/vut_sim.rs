//! Two VUT connections with simple applications, over a simulated network in virtual time.
//!
//! An application sends a pattern that only its position decides, so each octet is checked as it arrives.
#![allow(dead_code, reason = "each test file uses its own part")]

use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;
use versile_io::proto::sim::net::{Net, Side};
use versile_io::proto::time::Time;
use versile_io::proto::vut::wire::Secrets;
use versile_io::proto::vut::{CloseReason, Config, Connection, Event};

/// When an application ends its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// When all is written.
    Written,
    /// When all is written and the peer's stream has ended.
    AfterPeer,
    /// Not by itself.
    Never,
}

/// What an application does.
#[derive(Clone, Debug)]
pub(crate) struct App {
    /// Octets that it sends.
    pub(crate) sends: u64,
    /// At most so many at a time.
    pub(crate) chunk: usize,
    /// Its window as a reader.
    pub(crate) window: u64,
    /// It reads at most `window` octets, then waits so long.
    pub(crate) pause: Duration,
    pub(crate) ends: Ends,
    /// Aborts when it has read so much.
    pub(crate) aborts_at: Option<u64>,
    /// Stops reading when it has read so much.
    pub(crate) stops_at: Option<u64>,
}

impl App {
    pub(crate) fn new(sends: u64) -> Self {
        Self {
            sends,
            chunk: 16_384,
            window: 262_144,
            pause: Duration::ZERO,
            ends: Ends::Written,
            aborts_at: None,
            stops_at: None,
        }
    }
}

/// One side.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) connection: Connection,
    pub(crate) app: App,
    pub(crate) events: Vec<Event>,
    pub(crate) read: u64,
    pub(crate) peer_ended: bool,
    pub(crate) closed: Option<(Time, CloseReason)>,
    pub(crate) connected_at: Option<Time>,
    /// Datagrams it sent after it was closed or its output was done.
    pub(crate) datagrams: u64,
    read_at: Time,
    granted: u64,
    seed: u64,
    stopped: bool,
}

/// The octet of side `seed`'s stream at `at`.
pub(crate) fn octet(seed: u64, at: u64) -> u8 {
    (at.wrapping_mul(7).wrapping_add(seed).wrapping_add(at >> 8)) as u8
}

fn pattern(seed: u64, at: u64, len: usize) -> Bytes {
    (at..at + len as u64).map(|at| octet(seed, at)).collect()
}

impl End {
    fn new(config: Config, secrets: &Secrets, app: App, seed: u64) -> Self {
        Self {
            connection: Connection::new(config, secrets, Time::ZERO),
            app,
            events: Vec::new(),
            read: 0,
            peer_ended: false,
            closed: None,
            connected_at: None,
            datagrams: 0,
            read_at: Time::ZERO,
            granted: 0,
            seed,
            stopped: false,
        }
    }

    /// The application's turn.
    fn run(&mut self, now: Time) {
        while let Some(event) = self.connection.poll_event() {
            assert!(self.closed.is_none(), "an event after the last one: {event:?}");
            match event {
                Event::Connected => self.connected_at = Some(now),
                Event::PeerEnded(_) => self.peer_ended = true,
                Event::Closed(reason) => self.closed = Some((now, reason)),
                _ => {}
            }
            self.events.push(event);
        }
        if self.closed.is_some() {
            return;
        }
        if now >= self.read_at && !self.stopped {
            let mut taken = 0;
            while let Some(data) = self.connection.read(now, 10_000) {
                let same = data.iter().zip(self.read..).all(|(got, at)| *got == octet(self.seed ^ 1, at));
                assert!(same, "what arrived is what was sent, from {} on", self.read);
                self.read += data.len() as u64;
                taken += data.len() as u64;
            }
            if taken > 0 {
                self.read_at = now + self.app.pause;
            }
            if self.app.stops_at.is_some_and(|at| self.read >= at) {
                self.stopped = true;
                self.connection.stop_reading(now);
            } else if self.read + self.app.window > self.granted {
                self.granted = self.read + self.app.window;
                self.connection.set_read_limit(now, self.granted);
            }
        }
        let least = self.granted.max(Connection::LEAST_READ_LIMIT);
        assert!(
            self.stopped || self.connection.held() <= least - self.read + 1,
            "holds at most one octet beyond the grant"
        );
        if self.app.aborts_at.is_some_and(|at| self.read >= at) {
            self.connection.abort(now);
            return;
        }
        loop {
            let written = self.connection.written();
            let len = (self.app.sends - written.min(self.app.sends)).min(self.connection.credit());
            let len = len.min(self.app.chunk as u64) as usize;
            if len == 0 {
                break;
            }
            self.connection.write(pattern(self.seed, written, len)).expect("credit was looked at");
        }
        let all = self.connection.written() >= self.app.sends && self.connection.is_connected();
        let ends = match self.app.ends {
            Ends::Written => all,
            Ends::AfterPeer => all && self.peer_ended,
            Ends::Never => false,
        };
        if ends {
            self.connection.finish(now);
        }
    }

    fn wakes_at(&mut self, now: Time) -> Option<Time> {
        let reads = (self.connection.readable() > 0 && self.closed.is_none() && !self.stopped).then_some(self.read_at);
        self.connection.poll_timeout(now).into_iter().chain(reads).min()
    }
}

/// Both sides and the network.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) net: Net,
    pub(crate) ends: [End; 2],
    pub(crate) steps: u64,
    /// A line for each datagram, if wanted.
    pub(crate) ladder: Option<Vec<String>>,
    late: VecDeque<String>,
}

pub(crate) fn secrets() -> Secrets {
    Secrets::new([0xA1; 32], [0xB2; 32]).expect("safe")
}

impl World {
    pub(crate) fn new(net: Net, a: App, b: App) -> Self {
        Self::with(Config::default(), net, a, b)
    }

    pub(crate) fn with(config: Config, net: Net, a: App, b: App) -> Self {
        let secrets = secrets();
        Self {
            now: Time::ZERO,
            net,
            ends: [End::new(config.clone(), &secrets, a, 2), End::new(config, &secrets.swapped(), b, 3)],
            steps: 0,
            ladder: None,
            late: VecDeque::new(),
        }
    }

    pub(crate) fn a(&mut self) -> &mut End {
        &mut self.ends[0]
    }

    pub(crate) fn b(&mut self) -> &mut End {
        &mut self.ends[1]
    }

    /// Lets both sides do what they can at this time.
    pub(crate) fn pump(&mut self) {
        for side in Side::BOTH {
            let peer = self.net.address(side.other());
            let end = &mut self.ends[side as usize];
            end.run(self.now);
            let mut buf = [0; 508];
            let mut burst = 0;
            while let Some(len) = end.connection.poll_transmit(self.now, &mut buf) {
                burst += 1;
                assert!(burst < 100_000, "it does not stop sending");
                end.datagrams += 1;
                let fate = self.net.send(self.now, side, peer, buf[..len].to_vec());
                if let Some(ladder) = &mut self.ladder {
                    ladder.push(line(self.now, side, &buf[..len], &format!("{fate:?}")));
                }
            }
            end.run(self.now);
        }
    }

    /// Goes on to the next thing that happens. False if nothing does.
    pub(crate) fn step(&mut self) -> bool {
        self.pump();
        let mut next = self.net.next_arrival().unwrap_or(Time::NEVER);
        for end in &mut self.ends {
            next = next.min(end.wakes_at(self.now).unwrap_or(Time::NEVER));
        }
        if next == Time::NEVER {
            return false;
        }
        self.steps += 1;
        // a timer that is due at once and changes nothing would turn for ever
        let stuck = next <= self.now && self.net.next_arrival().is_none_or(|at| at > self.now);
        self.now = self.now.max(next);
        if stuck {
            self.now += Duration::from_micros(1);
        }
        for end in &mut self.ends {
            end.connection.handle_timeout(self.now);
        }
        while let Some(arrival) = self.net.poll(self.now) {
            self.ends[arrival.side as usize].connection.handle_datagram(self.now, &arrival.packet.data);
        }
        true
    }

    /// Runs until `done`, or `limit` of virtual time has passed. False then.
    pub(crate) fn run_until(&mut self, limit: Time, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            if self.now > limit || !self.step() {
                return done(self);
            }
        }
    }

    /// Runs until both are closed. Panics with all that is known if that takes longer than `limit`.
    pub(crate) fn run_to_end(&mut self, limit: Time) -> [CloseReason; 2] {
        let done = self.run_until(limit, |world| world.ends.iter().all(|end| end.closed.is_some()));
        assert!(done, "not closed at {}: {}", self.now, self.summary());
        [0, 1].map(|n| self.ends[n].closed.expect("closed").1)
    }

    pub(crate) fn summary(&self) -> String {
        let mut text = String::new();
        for (n, end) in self.ends.iter().enumerate() {
            let c = &end.connection;
            text.push_str(&format!(
                "\n{n}: read {} written {} acknowledged {} credit {} events {:?} {:?}\n{c:?}",
                end.read,
                c.written(),
                c.acknowledged(),
                c.credit(),
                end.events.last(),
                c.stats()
            ));
        }
        text
    }
}

fn line(now: Time, side: Side, datagram: &[u8], fate: &str) -> String {
    use versile_io::proto::vut::wire::{Header, View};
    let View { header, data } = View::checked(&datagram[..datagram.len() - 20]).expect("ours");
    let Header { flags, seq, ack, win } = header;
    format!("{now} {side:?} {flags:?} s{seq} a{ack} w{win} d{} {fate}", data.len())
}
