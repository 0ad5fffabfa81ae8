//! Two VUT endpoints with simple applications, over a simulated network in virtual time: either profile, any mode on either side.
//!
//! An application sends a pattern that only its position decides, so each octet is checked as it arrives.

use bytes::Bytes;
use std::time::Duration;
use versile_io::proto::sim::Rng;
use versile_io::proto::sim::net::{Address, Fate, Net, Side};
use versile_io::proto::time::Time;
use versile_io::proto::vut::native::switch::Mode;
use versile_io::proto::vut::wire::Secrets;
use versile_io::proto::vut::{CloseReason, Config, Endpoint, Event, Fresh, Profile, Setup};

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
    /// It reads, then waits so long.
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

    /// Sends, and does not end.
    pub(crate) fn idle(sends: u64) -> Self {
        Self { ends: Ends::Never, ..Self::new(sends) }
    }
}

/// One side.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) endpoint: Endpoint<Address>,
    pub(crate) app: App,
    pub(crate) events: Vec<Event>,
    pub(crate) read: u64,
    pub(crate) read_last: Time,
    pub(crate) peer_ended: bool,
    pub(crate) closed: Option<(Time, CloseReason)>,
    pub(crate) connected_at: Option<Time>,
    /// Datagrams that it sent.
    pub(crate) datagrams: u64,
    /// While true it neither reads nor grants.
    pub(crate) paused: bool,
    pub(crate) granted: u64,
    read_at: Time,
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
    pub(crate) fn new(endpoint: Endpoint<Address>, app: App, seed: u64) -> Self {
        Self {
            endpoint,
            app,
            events: Vec::new(),
            read: 0,
            read_last: Time::ZERO,
            peer_ended: false,
            closed: None,
            connected_at: None,
            datagrams: 0,
            paused: false,
            granted: 0,
            read_at: Time::ZERO,
            seed,
            stopped: false,
        }
    }

    /// The application's turn.
    fn run(&mut self, now: Time) {
        while let Some(event) = self.endpoint.poll_event() {
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
        if now >= self.read_at && !self.stopped && !self.paused {
            self.read(now);
        }
        let least = self.granted.max(self.endpoint.least_read_limit());
        assert!(
            self.stopped || self.endpoint.held() <= least - self.read + 1,
            "holds at most one octet beyond the grant"
        );
        if self.app.aborts_at.is_some_and(|at| self.read >= at) {
            return self.endpoint.abort(now);
        }
        loop {
            let written = self.endpoint.written();
            let len = (self.app.sends - written.min(self.app.sends)).min(self.endpoint.credit());
            let len = len.min(self.app.chunk as u64) as usize;
            if len == 0 {
                break;
            }
            self.endpoint.write(pattern(self.seed, written, len)).expect("credit was looked at");
        }
        let all = self.endpoint.written() >= self.app.sends && self.endpoint.is_connected();
        let ends = match self.app.ends {
            Ends::Written => all,
            Ends::AfterPeer => all && self.peer_ended,
            Ends::Never => false,
        };
        if ends {
            self.endpoint.finish(now);
        }
    }

    fn read(&mut self, now: Time) {
        let mut taken = 0;
        while let Some(data) = self.endpoint.read(now, 10_000) {
            let same = data.iter().zip(self.read..).all(|(got, at)| *got == octet(self.seed ^ 1, at));
            assert!(same, "what arrived is what was sent, from {} on", self.read);
            self.read += data.len() as u64;
            taken += data.len() as u64;
            self.read_last = now;
        }
        if taken > 0 {
            self.read_at = now + self.app.pause;
        }
        if self.app.stops_at.is_some_and(|at| self.read >= at) {
            self.stopped = true;
            self.endpoint.stop_reading(now);
        } else if self.read + self.app.window > self.granted {
            self.granted = self.read + self.app.window;
            self.endpoint.set_read_limit(now, self.granted);
        }
    }

    fn wakes_at(&mut self, now: Time) -> Option<Time> {
        let reads = self.endpoint.readable() > 0 && self.closed.is_none() && !self.stopped && !self.paused;
        self.endpoint.poll_timeout(now).into_iter().chain(reads.then_some(self.read_at)).min()
    }
}

/// A datagram as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Time,
    pub(crate) side: Side,
    pub(crate) to: Address,
    pub(crate) data: Vec<u8>,
    pub(crate) fate: Fate,
}

/// Both sides and the network.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) net: Net,
    pub(crate) ends: [End; 2],
    /// All datagrams, if wanted.
    pub(crate) log: Option<Vec<Sent>>,
    /// Invariants that cost more are looked at.
    pub(crate) strict: bool,
    buf: Vec<u8>,
}

pub(crate) fn secrets() -> Secrets {
    Secrets::new([0xA1; 32], [0xB2; 32]).expect("safe")
}

/// Random octets of connection `run`, side `side`.
pub(crate) fn fresh(run: u64, side: Side) -> Fresh {
    let mut rng = Rng::new(run * 2 + side as u64 + 77);
    let mut octets = [0; Fresh::LEN];
    octets.fill_with(|| rng.bits() as u8);
    Fresh::new(octets)
}

fn mode(profile: Profile) -> Mode {
    match profile {
        Profile::Compat => Mode::Compat,
        Profile::Native => Mode::Native,
    }
}

pub(crate) fn setup(net: &Net, run: u64, side: Side, mode: Mode) -> Setup<Address> {
    let secrets = if side == Side::A { secrets() } else { secrets().swapped() };
    Setup { mode, ..Setup::new(secrets, net.address(side.other()), fresh(run, side)) }
}

impl World {
    /// Both speak this profile.
    pub(crate) fn new(profile: Profile, net: Net, a: App, b: App) -> Self {
        Self::modes(net, [mode(profile); 2], a, b)
    }

    pub(crate) fn modes(net: Net, modes: [Mode; 2], a: App, b: App) -> Self {
        let setups = Side::BOTH.map(|side| setup(&net, 1, side, modes[side as usize]));
        Self::with(net, setups, a, b)
    }

    pub(crate) fn config(profile: Profile, config: Config, net: Net, a: App, b: App) -> Self {
        let setups = Side::BOTH.map(|side| Setup { config: config.clone(), ..setup(&net, 1, side, mode(profile)) });
        Self::with(net, setups, a, b)
    }

    pub(crate) fn with(net: Net, setups: [Setup<Address>; 2], a: App, b: App) -> Self {
        let [first, second] = setups.map(|setup| Endpoint::new(setup, Time::ZERO).expect("safe"));
        Self {
            now: Time::ZERO,
            net,
            ends: [End::new(first, a, 2), End::new(second, b, 3)],
            log: None,
            strict: false,
            buf: vec![0; 65_535],
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
            let end = &mut self.ends[side as usize];
            end.run(self.now);
            let mut burst = 0;
            while let Some(transmit) = end.endpoint.poll_transmit(self.now, &mut self.buf) {
                burst += 1;
                assert!(burst < 100_000, "it does not stop sending");
                for datagram in self.buf[..transmit.octets].chunks(transmit.segment) {
                    end.datagrams += 1;
                    let codepoint = transmit.ecn.into();
                    let fate = self.net.send_marked(self.now, side, transmit.to, datagram.to_vec(), codepoint);
                    if let Some(log) = &mut self.log {
                        log.push(Sent { at: self.now, side, to: transmit.to, data: datagram.to_vec(), fate });
                    }
                }
            }
            end.run(self.now);
            if self.strict {
                end.endpoint.check_all();
            }
        }
    }

    /// Goes on to the next thing that happens. False if nothing does.
    pub(crate) fn step(&mut self) -> bool {
        self.pump();
        // a datagram may have made something due at once
        for end in &mut self.ends {
            end.endpoint.handle_timeout(self.now);
        }
        self.pump();
        let mut next = self.net.next_arrival().unwrap_or(Time::NEVER);
        for end in &mut self.ends {
            let timer = end.endpoint.poll_timeout(self.now);
            assert!(timer.is_none_or(|at| at > self.now), "due at {timer:?} and left undone: {:?}", end.endpoint);
            next = next.min(end.wakes_at(self.now).unwrap_or(Time::NEVER));
        }
        if next == Time::NEVER {
            return false;
        }
        self.now = self.now.max(next);
        for end in &mut self.ends {
            end.endpoint.handle_timeout(self.now);
        }
        while let Some(arrival) = self.net.poll(self.now) {
            let (mut packet, mark) = (arrival.packet, arrival.codepoint.into());
            self.ends[arrival.side as usize].endpoint.handle_marked(self.now, packet.from, mark, &mut packet.data);
        }
        true
    }

    /// Runs until `done`, or `limit` of virtual time has passed. False then.
    pub(crate) fn run_until(&mut self, limit: Time, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let (mut steps, mut since) = (0u64, self.now);
        loop {
            if done(self) {
                return true;
            }
            if self.now > limit || !self.step() {
                return done(self);
            }
            steps += 1;
            if steps.is_multiple_of(100_000) {
                assert!(self.now - since > Duration::from_millis(10), "it turns in a circle: {}", self.summary());
                since = self.now;
            }
        }
    }

    pub(crate) fn connect(&mut self) {
        let limit = self.now + Duration::from_secs(30);
        let done = self.run_until(limit, |world| world.ends.iter().all(|end| end.endpoint.is_connected()));
        assert!(done, "not connected: {}", self.summary());
    }

    /// Runs until both are closed. Panics with all that is known if that takes longer than `limit`.
    pub(crate) fn run_to_end(&mut self, limit: Time) -> [CloseReason; 2] {
        let done = self.run_until(limit, |world| world.ends.iter().all(|end| end.closed.is_some()));
        assert!(done, "not closed at {}: {}", self.now, self.summary());
        [0, 1].map(|n| self.ends[n].closed.expect("closed").1)
    }

    /// What was sent from the start of the log on, a line each.
    pub(crate) fn ladder(&self) -> Vec<String> {
        self.log.iter().flatten().map(line).collect()
    }

    pub(crate) fn summary(&self) -> String {
        let mut text = String::new();
        for (n, end) in self.ends.iter().enumerate() {
            let c = &end.endpoint;
            text.push_str(&format!(
                "\n{n}: read {} written {} acknowledged {} credit {} window {:?} rtt {:?} events {:?} {:?}",
                end.read,
                c.written(),
                c.acknowledged(),
                c.credit(),
                c.congestion(),
                c.round_trip(),
                &end.events[end.events.len().saturating_sub(8)..],
                c.stats()
            ));
            let mut debug = format!("{c:?}");
            debug.truncate(4000);
            text.push_str(&debug);
        }
        text
    }
}

/// A datagram as a line of a ladder. Of one of the native profile everybody sees its kind and its size, and nothing else.
fn line(sent: &Sent) -> String {
    use versile_io::proto::vut::native::packet::{Kind, classify};
    let Sent { at, side, data: datagram, fate, .. } = sent;
    let what = match classify(datagram) {
        Some(Kind::Negotiation) => format!("N  {} octets", datagram.len()),
        Some(Kind::Packet) => format!("P  {} octets", datagram.len()),
        Some(Kind::Legacy) | None => legacy_line(datagram),
    };
    let lost = if matches!(fate, Fate::Arrives(_)) { "" } else { "  LOST" };
    let arrow = if *side == Side::A { "A > B" } else { "B > A" };
    let ms = at.as_nanos() as f64 / 1e6;
    format!("{ms:8.1} ms  {arrow}  {what}{lost}").trim_end().to_owned()
}

/// A datagram of the 0.8 profile.
fn legacy_line(datagram: &[u8]) -> String {
    use versile_io::proto::vut::wire::{Header, View};
    let View { header, data } = View::checked(&datagram[..datagram.len() - 20]).expect("ours");
    let Header { flags, seq, ack, win } = header;
    let what = match (data.len(), seq) {
        (0, _) => String::new(),
        (17, 0) => "hello".to_owned(),
        (1, _) => "1 octet".to_owned(),
        (len, _) => format!("{len} octets"),
    };
    format!("{flags:?}  seq {seq:<6} ack {ack:<6} win {win:<6}  {what}")
}
