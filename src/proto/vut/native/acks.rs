//! What to acknowledge, and when.
//!
//! | an authentic packet comes | its acknowledgement is due |
//! |---|---|
//! | only ACK and PAD | never by itself; it is told with the next one |
//! | out of order: below the highest, or leaving a gap | at once (RFC 9000 section 13.2.1), so that the peer finds out soon |
//! | marked "congestion experienced" | at once (RFC 9000 section 13.2.1) |
//! | with PING, CHALLENGE, FIN, STOP, DONE or ABORT | at once |
//! | any of the first hundred that elicit | at once: the peer measures the path by how they are spread, and its timer is a guess at first |
//! | the tenth in order | at once |
//! | any other in order | a quarter of the round trip after the first that waits, between 1 and 25 ms |
//!
//! RFC 9000 section 13.2.1 leaves it to the receiver to tell more often than every second packet. A sender that begins has nothing
//! else to go by: an acknowledgement that waits 25 ms makes its first train look slow (measured at 80 ms). After a hundred packets it has left its start; ten, and four a round trip, are what
//! draft-ietf-quic-ack-frequency has in mind where fewer acknowledgements save work: at 100,000 packets a second 10,000
//! acknowledgements instead of 50,000. 25 ms is the `max_ack_delay` of RFC 9000 section 18.2.

use super::frames::{EcnCounts, Frame, FrameWriter, NoRoom};
use crate::proto::time::Time;
use std::collections::VecDeque;
use std::time::Duration;

/// The longest that an acknowledgement is held back.
pub const MAX_ACK_DELAY: Duration = Duration::from_millis(25);
/// The shortest: below it a timer costs more than the acknowledgement.
const MIN_ACK_DELAY: Duration = Duration::from_millis(1);
/// How many ranges are remembered and told. At 3 % loss they reach back 2,000 packets, and each is told in many
/// acknowledgements before it is forgotten.
pub const MAX_RANGES: usize = 64;
/// So many packets that elicit are told one by one.
const START: u64 = 100;
const EVERY: u32 = 10;

/// The numbers received, as ranges that do not touch. At most [`MAX_RANGES`]; the lowest are forgotten first.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// `(lowest, highest)`, ascending.
    ranges: VecDeque<(u64, u64)>,
}

impl Received {
    /// The highest number.
    pub fn largest(&self) -> Option<u64> {
        self.ranges.back().map(|range| range.1)
    }

    /// The ranges from the highest down, each `(lowest, highest)`.
    pub fn descending(&self) -> impl Iterator<Item = (u64, u64)> + Clone + '_ {
        self.ranges.iter().rev().copied()
    }

    /// Notes a number. One that is there already, or lies below all that are remembered when there is no room, changes nothing.
    pub fn insert(&mut self, number: u64) {
        // from the back: almost every number is the next one
        let mut at = self.ranges.len();
        while at > 0 && self.ranges[at - 1].0 > number {
            at -= 1;
        }
        let below = at.checked_sub(1).map(|i| self.ranges[i].1);
        if below.is_some_and(|highest| number <= highest) {
            return;
        }
        let joins_below = below.is_some_and(|highest| highest + 1 == number);
        let joins_above = self.ranges.get(at).is_some_and(|above| number + 1 == above.0);
        match (joins_below, joins_above) {
            (true, true) => {
                self.ranges[at - 1].1 = self.ranges[at].1;
                self.ranges.remove(at);
            }
            (true, false) => self.ranges[at - 1].1 = number,
            (false, true) => self.ranges[at].0 = number,
            (false, false) => {
                self.ranges.insert(at, (number, number));
                if self.ranges.len() > MAX_RANGES {
                    self.ranges.pop_front();
                }
            }
        }
    }

    /// Forgets what is at or below `number`, but not the range of the highest.
    pub fn forget_through(&mut self, number: u64) {
        while self.ranges.len() > 1 && self.ranges[0].1 <= number {
            self.ranges.pop_front();
        }
    }
}

/// How a packet presses for an acknowledgement: as the most pressing of its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Press {
    /// Only ACK and PAD.
    Silent,
    /// Elicits one.
    Eliciting,
    /// Elicits one at once.
    Urgent,
}

impl Press {
    /// How one frame presses. The peer waits for news of what it probes with and of what ends a direction.
    pub const fn of(frame: &Frame<'_>) -> Self {
        match frame {
            Frame::Ack(_) | Frame::Pad(_) => Self::Silent,
            Frame::Window(_) | Frame::Response(_) | Frame::Stream { .. } => Self::Eliciting,
            Frame::Ping | Frame::Challenge(_) | Frame::Fin(_) | Frame::Abort(_) | Frame::Stop | Frame::Done(_) => {
                Self::Urgent
            }
        }
    }
}

/// The mark that the network put on a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EcnMark {
    /// ECT(0).
    Ect0,
    /// ECT(1).
    Ect1,
    /// Congestion experienced.
    Ce,
}

/// The acknowledgements that this side owes.
///
/// # Invariants
///
/// * `due` is set if and only if something that elicits waits.
/// * `news` is set if anything came since the last acknowledgement.
#[derive(Clone, Debug)]
pub struct Acks {
    received: Received,
    largest_at: Time,
    marks: Option<EcnCounts>,
    delay: Duration,
    eliciting: u64,
    waiting: u32,
    due: Option<Time>,
    news: bool,
}

impl Default for Acks {
    fn default() -> Self {
        Self {
            received: Received::default(),
            largest_at: Time::ZERO,
            marks: None,
            delay: MAX_ACK_DELAY,
            eliciting: 0,
            waiting: 0,
            due: None,
            news: false,
        }
    }
}

impl Acks {
    /// Nothing received.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was received.
    pub fn received(&self) -> &Received {
        &self.received
    }

    /// Sets the time that an acknowledgement is held back from the smoothed round trip time.
    pub fn set_round_trip(&mut self, smoothed: Duration) {
        self.delay = (smoothed / 4).clamp(MIN_ACK_DELAY, MAX_ACK_DELAY);
    }

    /// A packet has opened (so it is no duplicate).
    pub fn on_packet(&mut self, number: u64, now: Time, press: Press, mark: Option<EcnMark>) {
        let expected = self.received.largest().map_or(0, |largest| largest + 1);
        self.received.insert(number);
        if number >= expected {
            self.largest_at = now;
        }
        self.news = true;
        if let Some(mark) = mark {
            let marks = self.marks.get_or_insert_default();
            match mark {
                EcnMark::Ect0 => marks.ect0 += 1,
                EcnMark::Ect1 => marks.ect1 += 1,
                EcnMark::Ce => marks.ce += 1,
            }
        }
        if press == Press::Silent {
            return;
        }
        self.eliciting += 1;
        self.waiting += 1;
        let at_once = press == Press::Urgent
            || number != expected
            || mark == Some(EcnMark::Ce)
            || self.eliciting <= START
            || self.waiting >= EVERY;
        let due = if at_once { now } else { now + self.delay };
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// When an acknowledgement must be sent at the latest; none if none is owed.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.due
    }

    /// True if it must be sent now.
    pub fn is_due(&self, now: Time) -> bool {
        self.due.is_some_and(|due| now >= due)
    }

    /// True if anything came since the last one: worth telling in a packet that is sent anyway.
    pub fn has_news(&self) -> bool {
        self.news
    }

    /// Writes an ACK frame, and takes it that the packet is sent. Returns the largest number that it tells, to be given to
    /// [`on_acknowledged`](Self::on_acknowledged) when that packet is acknowledged.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] if not even one range fits, or nothing was received; then nothing changes.
    pub fn write(&mut self, writer: &mut FrameWriter<'_>, now: Time) -> Result<u64, NoRoom> {
        let largest = self.received.largest().ok_or(NoRoom)?;
        let delay = u64::try_from(now.since(self.largest_at).as_micros()).unwrap_or(u64::MAX).min(MAX_TOLD_DELAY);
        writer.ack(self.received.descending(), delay, self.marks)?;
        self.waiting = 0;
        self.due = None;
        self.news = false;
        Ok(largest)
    }

    /// The peer knows what an ACK up to `largest` told: that needs no telling any more (RFC 9000 section 13.2.4).
    pub fn on_acknowledged(&mut self, largest: u64) {
        self.received.forget_through(largest);
    }
}

/// A told delay takes at most four octets: 17 minutes.
const MAX_TOLD_DELAY: u64 = (1 << 30) - 1;

#[cfg(test)]
mod tests {
    use super::super::frames::{Frame, Frames};
    use super::*;
    use std::collections::BTreeSet;

    const MS: fn(u64) -> Time = Time::from_millis;

    fn sent(acks: &mut Acks, now: Time) -> (Vec<(u64, u64)>, u64) {
        let mut buffer = [0; 400];
        let mut writer = FrameWriter::new(&mut buffer);
        acks.write(&mut writer, now).expect("room");
        let length = writer.len();
        let frame = Frames::checked(&buffer[..length]).expect("well formed").next();
        let Some(Frame::Ack(ack)) = frame else { panic!("{frame:?}") };
        (ack.ranges().collect(), ack.delay)
    }

    /// In order and past the first hundred, which are told at once.
    fn begun() -> Acks {
        let mut acks = Acks::new();
        for number in 0..START {
            acks.on_packet(number, Time::ZERO, Press::Eliciting, None);
            assert!(acks.is_due(Time::ZERO));
            sent(&mut acks, Time::ZERO);
        }
        assert_eq!((acks.poll_timeout(), acks.has_news()), (None, false));
        acks
    }

    #[test]
    fn a_packet_alone_is_told_after_25_ms_or_a_quarter_of_the_round_trip() {
        let mut acks = begun();
        acks.on_packet(START, MS(10), Press::Eliciting, None);
        assert_eq!(acks.poll_timeout(), Some(MS(35)));
        acks.on_packet(START + 1, MS(12), Press::Eliciting, None);
        assert_eq!(acks.poll_timeout(), Some(MS(35)), "from the first that waits");
        assert_eq!(sent(&mut acks, MS(35)), (vec![(0, START + 1)], 23_000));
        acks.set_round_trip(Duration::from_millis(20));
        acks.on_packet(START + 2, MS(40), Press::Eliciting, None);
        assert_eq!(acks.poll_timeout(), Some(MS(45)));
    }

    #[test]
    fn what_cannot_wait_is_told_at_once() {
        for (skipped, press, mark) in
            [(1, Press::Eliciting, None), (0, Press::Urgent, None), (0, Press::Eliciting, Some(EcnMark::Ce))]
        {
            let mut acks = begun();
            acks.on_packet(START + skipped, MS(5), press, mark);
            assert!(acks.is_due(MS(5)), "{skipped} {press:?} {mark:?}");
        }
        let mut acks = begun();
        acks.on_packet(START + 5, MS(1), Press::Silent, None);
        sent(&mut acks, MS(1));
        acks.on_packet(START + 3, MS(2), Press::Eliciting, Some(EcnMark::Ect0));
        assert!(acks.is_due(MS(2)), "late");
    }

    #[test]
    fn a_packet_presses_as_its_most_pressing_frame() {
        for (payload, press) in [
            (&[0, 0][..], Press::Silent),
            (&[0, 4, 9], Press::Eliciting),
            (&[13, 0, 1, 5, 2, 0, 0, 0, 0], Press::Eliciting),
            (&[7, 5, 13, 0, 1, 5], Press::Urgent),
            (&[1, 0, 0], Press::Urgent),
        ] {
            let frames = Frames::checked(payload).expect("well formed");
            assert_eq!(frames.map(|frame| Press::of(&frame)).max(), Some(press), "{payload:?}");
        }
    }

    #[test]
    fn a_silent_packet_is_told_only_with_another() {
        let mut acks = begun();
        acks.on_packet(START, MS(1), Press::Silent, None);
        assert_eq!((acks.poll_timeout(), acks.has_news()), (None, true));
        acks.on_packet(START + 1, MS(2), Press::Eliciting, None);
        assert_eq!(acks.poll_timeout(), Some(MS(27)));
        assert_eq!(sent(&mut acks, MS(27)), (vec![(0, START + 1)], 25_000));
    }

    #[test]
    fn a_hundred_packets_on_every_tenth_is_told() {
        let mut acks = Acks::new();
        let mut told = Vec::new();
        for number in 0..140 {
            acks.on_packet(number, MS(number), Press::Eliciting, None);
            if acks.is_due(MS(number)) {
                sent(&mut acks, MS(number));
                told.push(number);
            }
        }
        assert!(told[..100].iter().copied().eq(0..100));
        assert_eq!(told[100..], [109, 119, 129, 139]);
    }

    #[test]
    fn what_the_peer_knows_is_forgotten() {
        let mut acks = Acks::new();
        for number in [0, 2, 4, 5, 8] {
            acks.on_packet(number, MS(1), Press::Eliciting, None);
        }
        assert_eq!(sent(&mut acks, MS(1)).0, [(8, 8), (4, 5), (2, 2), (0, 0)]);
        acks.on_acknowledged(4);
        assert_eq!(sent(&mut acks, MS(1)).0, [(8, 8), (4, 5)]);
        acks.on_acknowledged(8);
        assert_eq!(sent(&mut acks, MS(1)).0, [(8, 8)], "the highest stays");
    }

    #[test]
    fn ranges_agree_with_a_set_and_are_bounded() {
        for seed in 0..10 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut received, mut set) = (Received::default(), BTreeSet::new());
            let spread = if seed % 2 == 0 { 100 } else { 100_000 };
            for _ in 0..500 {
                let number = random.u64(..spread);
                received.insert(number);
                set.insert(number);
                let ranges: Vec<_> = received.descending().collect();
                assert!(ranges.len() <= MAX_RANGES);
                assert!(ranges.windows(2).all(|pair| pair[0].0 > pair[1].1 + 1), "seed {seed}: {ranges:?}");
                assert!(ranges.iter().all(|r| (r.0..=r.1).all(|number| set.contains(&number))));
                assert_eq!(received.largest(), set.last().copied());
            }
            if spread == 100 {
                let told: u64 = received.descending().map(|r| r.1 - r.0 + 1).sum();
                assert_eq!(told, set.len() as u64, "nothing was forgotten where 64 ranges suffice");
            }
        }
    }
}
