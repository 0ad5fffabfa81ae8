//! `Link`: one direction.

use super::Codepoint;
use super::Packet;
use super::loss::Loss;
use super::shape::{Marks, Shape};
use crate::proto::sim::Rng;
use crate::proto::time::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives then.
    Arrives(Time),
    /// The queue was full.
    Full,
    /// Lost on the way.
    Lost,
    /// Sent during a blackout.
    BlackedOut,
    /// Longer than the link takes.
    TooLong,
}

/// What became of all datagrams so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams that were sent.
    pub sent: u64,
    /// Their octets, overhead not counted.
    pub octets: u64,
    /// Those that arrive, second copies not counted.
    pub arrive: u64,
    /// Octets of those.
    pub arrive_octets: u64,
    /// Dropped by a full queue.
    pub full: u64,
    /// Lost on the way, in a blackout, or too long.
    pub lost: u64,
    /// Second copies.
    pub duplicated: u64,
    /// With bits flipped.
    pub corrupted: u64,
    /// Held back.
    pub reordered: u64,
    /// Marked "congestion experienced".
    pub marked: u64,
}

/// One direction of a path: datagrams in, with the time, and out when theirs has come.
#[derive(Debug)]
pub struct Link {
    shape: Shape,
    rng: Rng,
    /// When the last datagram has left the queue.
    free_at: Time,
    /// When the last datagram arrives that was not held back.
    ordered: Time,
    fallen: bool,
    drawn_at: Time,
    blackouts: Vec<(Time, Time)>,
    /// What is under way, by arrival and then by entry.
    under_way: BTreeMap<(Time, u64), (Packet, Codepoint)>,
    entries: u64,
    counts: Counts,
}

impl Link {
    /// A link of this shape; the seed decides all that is drawn.
    pub fn new(seed: u64, shape: Shape) -> Self {
        Self {
            shape,
            rng: Rng::new(seed),
            free_at: Time::ZERO,
            ordered: Time::ZERO,
            fallen: false,
            drawn_at: Time::ZERO,
            blackouts: Vec::new(),
            under_way: BTreeMap::new(),
            entries: 0,
            counts: Counts::default(),
        }
    }

    /// Another shape for what is sent from now on.
    pub fn set_shape(&mut self, shape: Shape) {
        self.shape = shape;
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// What is sent from `from` on is lost, for `length`.
    pub fn black_out(&mut self, from: Time, length: Duration) {
        self.blackouts.push((from, from + length));
    }

    /// What became of all datagrams.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Octets that wait for the rate.
    pub fn backlog(&self, now: Time) -> u64 {
        let waits = (self.free_at - now).as_nanos();
        let octets = waits * u128::from(self.shape.rate.unwrap_or(0)) / 8_000_000_000;
        u64::try_from(octets).unwrap_or(u64::MAX)
    }

    /// Takes a datagram.
    pub fn send(&mut self, now: Time, packet: Packet) -> Fate {
        self.send_marked(now, packet, Codepoint::NotEct)
    }

    /// Takes a datagram with this codepoint.
    pub fn send_marked(&mut self, now: Time, packet: Packet, codepoint: Codepoint) -> Fate {
        self.counts.sent += 1;
        self.counts.octets += packet.data.len() as u64;
        let codepoint = self.marked(now, codepoint);
        let dropped = codepoint != Codepoint::NotEct && self.shape.marks == Marks::Dropped;
        let fate = if dropped { Fate::Lost } else { self.judge(now, packet.data.len()) };
        match fate {
            Fate::Arrives(at) => {
                self.counts.arrive += 1;
                self.counts.arrive_octets += packet.data.len() as u64;
                self.carry(at, packet, codepoint);
            }
            Fate::Full => self.counts.full += 1,
            Fate::Lost | Fate::BlackedOut | Fate::TooLong => self.counts.lost += 1,
        }
        fate
    }

    /// When the next datagram comes out.
    pub fn next_arrival(&self) -> Option<Time> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }

    /// The datagram that is due first, if one is due.
    pub fn poll(&mut self, now: Time) -> Option<Packet> {
        self.poll_marked(now).map(|(packet, _)| packet)
    }

    /// The same, with the codepoint that it comes with.
    pub fn poll_marked(&mut self, now: Time) -> Option<(Packet, Codepoint)> {
        self.next_arrival().filter(|at| *at <= now)?;
        self.under_way.pop_first().map(|(_, packet)| packet)
    }

    fn marked(&mut self, now: Time, codepoint: Codepoint) -> Codepoint {
        match (codepoint, self.shape.marks) {
            (Codepoint::NotEct, _) | (_, Marks::Cleared) => Codepoint::NotEct,
            (Codepoint::Ect0, Marks::Changed) => Codepoint::Ect1,
            _ if self.shape.rate.is_some() && self.backlog(now) >= self.shape.marks_at => {
                self.counts.marked += 1;
                Codepoint::Ce
            }
            _ => codepoint,
        }
    }

    fn judge(&mut self, now: Time, len: usize) -> Fate {
        if self.blackouts.iter().any(|(from, to)| (*from..*to).contains(&now)) {
            return Fate::BlackedOut;
        }
        if len > self.shape.mtu {
            return Fate::TooLong;
        }
        let size = len as u64 + self.shape.overhead;
        let mut left = now;
        if let Some(rate) = self.shape.rate {
            if self.backlog(now).saturating_add(size) > self.shape.queue.max(size) {
                return Fate::Full;
            }
            let takes = u128::from(size) * 8_000_000_000 / u128::from(rate);
            left = self.free_at.max(now) + Duration::from_nanos(u64::try_from(takes).unwrap_or(u64::MAX));
            self.free_at = left;
        }
        self.fallen &= now - self.drawn_at < Loss::LONGEST;
        self.drawn_at = now;
        if self.shape.loss.draw(&mut self.fallen, &mut self.rng) {
            return Fate::Lost;
        }
        let at = left + self.shape.delay;
        if self.shape.reorder.draw(&mut self.rng) {
            self.counts.reordered += 1;
            let more = self.up_to(self.shape.held - self.shape.held_least);
            return Fate::Arrives(at + self.shape.held_least + more);
        }
        self.ordered = self.ordered.max(at + self.up_to(self.shape.jitter));
        Fate::Arrives(self.ordered)
    }

    fn carry(&mut self, at: Time, mut packet: Packet, codepoint: Codepoint) {
        if self.shape.duplicate.draw(&mut self.rng) {
            self.counts.duplicated += 1;
            let later = at + self.up_to(self.shape.held.max(Duration::from_millis(1)));
            self.put(later, packet.clone(), codepoint);
        }
        if self.shape.corrupt.draw(&mut self.rng) && !packet.data.is_empty() {
            self.counts.corrupted += 1;
            for _ in 0..self.rng.between(1, 3) {
                let bit = self.rng.below(packet.data.len() as u64 * 8) as usize;
                packet.data[bit / 8] ^= 1 << (bit % 8);
            }
        }
        self.put(at, packet, codepoint);
    }

    fn put(&mut self, at: Time, packet: Packet, codepoint: Codepoint) {
        self.entries += 1;
        self.under_way.insert((at, self.entries), (packet, codepoint));
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_nanos(self.rng.between(0, u64::try_from(most.as_nanos()).unwrap_or(u64::MAX - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Address, Odds};
    use super::*;

    fn packet(n: u32, len: usize) -> Packet {
        let mut data = vec![0; len.max(4)];
        data[..4].copy_from_slice(&n.to_be_bytes());
        Packet { from: Address { host: 1, port: 1 }, to: Address { host: 2, port: 2 }, data }
    }

    /// What came out: when, and which.
    fn out(link: &mut Link) -> Vec<(Time, u32)> {
        let mut out = Vec::new();
        while let Some(at) = link.next_arrival() {
            assert_eq!(link.poll(Time::from_nanos(at.as_nanos().wrapping_sub(1))), None, "not before its time");
            let data = link.poll(at).expect("due").data;
            out.push((at, u32::from_be_bytes(data[..4].try_into().expect("four"))));
        }
        out
    }

    #[test]
    fn rate_and_delay_add_up() {
        let mut link = Link::new(1, Shape::new(Duration::from_millis(10)).rate(8_000_000).overhead(0));
        for n in 0..3 {
            link.send(Time::from_secs(1), packet(n, 1000)); // 1 ms each
        }
        assert_eq!(link.backlog(Time::from_secs(1)), 3000);
        let at = |ms: u64| Time::from_millis(1000 + ms);
        assert_eq!(out(&mut link), [(at(11), 0), (at(12), 1), (at(13), 2)]);
    }

    #[test]
    fn a_full_queue_drops_what_comes_last() {
        let mut link = Link::new(1, Shape::default().rate(8_000_000).overhead(0).queue(2500));
        let fates = [0, 1, 2].map(|n| link.send(Time::from_secs(1), packet(n, 1000)));
        assert_eq!(fates[2], Fate::Full);
        assert!(matches!(link.send(Time::from_secs(1) + Duration::from_millis(1), packet(3, 1000)), Fate::Arrives(_)));
        assert_eq!(link.counts().full, 1);
        let mut narrow = Link::new(1, Shape::default().rate(8).queue(1));
        assert!(matches!(narrow.send(Time::ZERO, packet(0, 100)), Fate::Arrives(_)), "an empty queue takes any one");
    }

    #[test]
    fn jitter_keeps_the_order_and_holding_back_does_not() {
        let ms = Duration::from_millis;
        let sorted = |link: &mut Link| out(link).windows(2).all(|pair| pair[0].1 < pair[1].1);
        let mut jitter = Link::new(5, Shape::new(ms(5)).jitter(ms(20)));
        let mut held = Link::new(5, Shape::new(ms(5)).reorder(Odds::percent(10.0), ms(20)));
        for n in 0..200 {
            jitter.send(Time::from_millis(u64::from(n)), packet(n, 4));
            held.send(Time::from_millis(u64::from(n)), packet(n, 4));
        }
        assert!(sorted(&mut jitter));
        assert!(!sorted(&mut held));
        assert!((10..40).contains(&held.counts().reordered));
    }

    #[test]
    fn the_same_seed_gives_the_same_run_and_another_seed_another() {
        let run = |seed| {
            let shape = Shape::new(Duration::from_millis(5))
                .losing(Loss::bursts(10.0, 3.0))
                .duplicate(Odds::percent(5.0))
                .corrupt(Odds::percent(5.0))
                .jitter(Duration::from_millis(3));
            let mut link = Link::new(seed, shape);
            for n in 0..500 {
                link.send(Time::from_millis(u64::from(n)), packet(n, 64));
            }
            (link.counts(), out(&mut link))
        };
        let (counts, _) = run(9);
        assert_eq!(run(9), run(9));
        assert_ne!(run(9), run(10));
        assert_eq!(counts.sent, counts.arrive + counts.lost);
        assert!(counts.lost > 10 && counts.duplicated > 5 && counts.corrupted > 5, "{counts:?}");
    }

    #[test]
    fn a_blackout_takes_what_is_sent_in_it() {
        let mut link = Link::new(1, Shape::new(Duration::from_millis(1)));
        link.black_out(Time::from_secs(1), Duration::from_secs(30));
        for n in 0..40 {
            link.send(Time::from_secs(n.into()), packet(n, 4));
        }
        let numbers: Vec<_> = out(&mut link).iter().map(|(_, n)| *n).collect();
        assert_eq!(numbers, [0, 31, 32, 33, 34, 35, 36, 37, 38, 39]);
    }

    #[test]
    fn a_filling_queue_marks_what_may_be_marked() {
        let shape = |marks| Shape::default().rate(8_000_000).overhead(0).marking(2000).marks(marks);
        let got = |marks, sent| {
            let mut link = Link::new(1, shape(marks));
            for n in 0..3 {
                link.send_marked(Time::from_secs(1), packet(n, 1000), sent);
            }
            std::iter::from_fn(|| link.poll_marked(Time::from_secs(2)))
                .map(|(_, codepoint)| codepoint)
                .collect::<Vec<_>>()
        };
        use Codepoint::{Ce, Ect0, Ect1, NotEct};
        assert_eq!(got(Marks::Kept, Ect0), [Ect0, Ect0, Ce]);
        assert_eq!(got(Marks::Kept, NotEct), [NotEct; 3]);
        assert_eq!(got(Marks::Cleared, Ect0), [NotEct; 3]);
        assert_eq!(got(Marks::Changed, Ect0), [Ect1; 3]);
        assert_eq!(got(Marks::Dropped, Ect0), []);
    }

    #[test]
    fn what_is_too_long_is_dropped() {
        let mut link = Link::new(1, Shape::default().mtu(100));
        assert_eq!(link.send(Time::ZERO, packet(0, 101)), Fate::TooLong);
        assert!(matches!(link.send(Time::ZERO, packet(0, 100)), Fate::Arrives(_)));
    }
}
