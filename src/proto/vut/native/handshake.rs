//! The handshake: our N is repeated, the peer's N become candidates, and the one that opens a packet is final.
//!
//! ```text
//!   Negotiating ── N of the peer, authentic ──▶ a candidate, the newest; packets are sealed under it
//!        │      ── the same again ────────────▶ the newest again; nothing is derived twice
//!        │      ── a fifth one ───────────────▶ the one that was heard longest ago is forgotten
//!        └── a packet opens under a candidate ─▶ Settled: no other N counts any more
//! ```
//!
//! With secrets that are used again, recorded N of earlier connections verify. They do no harm: no packet of an earlier
//! connection opens, because our own N is new, and the peer repeats its true N until a packet of ours opens there.
//!
//! A settled side stops repeating its N. Should the peer repeat its own, it has lost ours (five recorded ones drove it
//! out), and gets it again, as one datagram for one datagram and at most one per [`FIRST_REPEAT`].

use super::keys::{ConnectionKeys, Ephemeral, Exporter, HandshakeKeys};
use super::negotiation::{Offer, Refusal};
use super::packet::{ConnectionId, OpenError, Opened, Opener, Sealer};
use super::role::{Role, Secrets};
use crate::proto::time::Time;
use std::collections::VecDeque;
use std::time::Duration;

/// How many different N of the peer are kept until one has opened a packet.
pub const CANDIDATES: usize = 4;
/// The time from our first N to its first repetition; it doubles from there to [`LAST_REPEAT`]. A quarter of a second is above
/// most round trips, so that most N are sent once.
pub const FIRST_REPEAT: Duration = Duration::from_millis(250);
/// The longest time between two repetitions.
pub const LAST_REPEAT: Duration = Duration::from_secs(5);
/// The handshake fails this long after it began.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many datagrams, 0.8 hellos and N together, go to an address that has never answered.
pub const HANDSHAKE_DATAGRAMS: u32 = 20;

/// What becomes of an N.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Heard {
    /// A candidate that is new, or newest again after another was: rekey the sealer ([`Handshake::rekey`]), and take all that
    /// is not acknowledged as lost.
    Newest,
    /// The candidate that already was the newest. Nothing changes.
    Again,
    /// Dropped.
    Refused(Refusal),
}

#[derive(Debug)]
struct Candidate {
    datagram: Vec<u8>,
    offer: Offer,
    keys: ConnectionKeys,
    opener: Opener,
}

/// A connection before a packet of the peer has opened.
#[derive(Debug)]
pub struct Handshake {
    secrets: Secrets,
    keys: HandshakeKeys,
    ephemeral: Ephemeral,
    offer: Offer,
    datagram: Vec<u8>,
    /// Newest last.
    candidates: VecDeque<Candidate>,
    scratch: Vec<u8>,
    /// The candidate that opened a packet was not the newest.
    older_opened: bool,
}

/// What a side brings of its own. All random octets are new for each connection, from the system's generator.
#[derive(Debug)]
pub struct Own {
    /// 32 random octets as the private key.
    pub ephemeral: Ephemeral,
    /// The rest of the offer. Its public key is set from the private one.
    pub offer: Offer,
}

impl Handshake {
    /// Begins. `keys` were derived from the same `secrets`.
    pub fn new(secrets: Secrets, keys: HandshakeKeys, own: Own) -> Self {
        let offer = Offer { public: own.ephemeral.public(), ..own.offer };
        let datagram = offer.encode(&keys, secrets.role());
        Self {
            secrets,
            keys,
            ephemeral: own.ephemeral,
            offer,
            datagram,
            candidates: VecDeque::new(),
            scratch: Vec::new(),
            older_opened: false,
        }
    }

    /// Our role.
    pub fn role(&self) -> Role {
        self.secrets.role()
    }

    /// Our N, the same whenever it is sent.
    pub fn datagram(&self) -> &[u8] {
        &self.datagram
    }

    /// An N has come.
    pub fn handle_negotiation(&mut self, datagram: &[u8]) -> Heard {
        if let Some(at) = self.candidates.iter().position(|candidate| candidate.datagram == datagram) {
            let again = at + 1 == self.candidates.len();
            if let Some(candidate) = self.candidates.remove(at) {
                self.candidates.push_back(candidate);
            }
            return if again { Heard::Again } else { Heard::Newest };
        }
        match self.candidate(datagram) {
            Ok(candidate) => {
                if self.candidates.len() == CANDIDATES {
                    self.candidates.pop_front();
                }
                self.candidates.push_back(candidate);
                Heard::Newest
            }
            Err(refusal) => Heard::Refused(refusal),
        }
    }

    fn candidate(&self, datagram: &[u8]) -> Result<Candidate, Refusal> {
        let offer = Offer::decode(datagram, &self.keys, self.role().other())?;
        let aead = self.offer.aeads.common(offer.aeads).ok_or(Refusal::Cipher)?;
        let dh = self.ephemeral.agree(offer.public).ok_or(Refusal::PublicKey)?;
        let keys = ConnectionKeys::derive(&self.secrets, &self.datagram, datagram, &dh, aead);
        let opener = Opener::new(&keys, self.role().other(), self.offer.id);
        Ok(Candidate { datagram: datagram.to_vec(), offer, keys, opener })
    }

    /// What the newest candidate offers; none before there is one, and nothing can be sealed then.
    pub fn newest(&self) -> Option<&Offer> {
        self.candidates.back().map(|candidate| &candidate.offer)
    }

    /// A sealer under the newest candidate's keys; none before there is one.
    pub fn sealer(&self) -> Option<Sealer> {
        self.candidates.back().map(|candidate| Sealer::new(&candidate.keys, self.role()))
    }

    /// Moves `sealer` to the newest candidate's keys.
    pub fn rekey(&self, sealer: &mut Sealer) {
        if let Some(candidate) = self.candidates.back() {
            sealer.rekey(&candidate.keys, self.role());
        }
    }

    /// Tries a packet under each candidate, newest first. After success call [`settle`](Self::settle).
    ///
    /// # Errors
    ///
    /// As [`Opener::open`]; the datagram is unchanged then.
    pub fn open(&mut self, datagram: &mut [u8], now: Time, pto: Duration) -> Result<Opened, OpenError> {
        let mut error = OpenError::NotAPacket;
        for at in (0..self.candidates.len()).rev() {
            self.scratch.clear();
            self.scratch.extend_from_slice(datagram);
            match self.candidates[at].opener.open(&mut self.scratch, now, pto) {
                Ok(opened) => {
                    datagram.copy_from_slice(&self.scratch);
                    self.older_opened = at + 1 < self.candidates.len();
                    // the last one is the one that settle takes
                    self.candidates.truncate(at + 1);
                    return Ok(opened);
                }
                Err(refused) => error = refused,
            }
        }
        Err(error)
    }

    /// Ends the handshake with the candidate under which a packet has opened.
    ///
    /// # Errors
    ///
    /// None has: the handshake comes back unchanged.
    pub fn settle(mut self) -> Result<Settled, Box<Self>> {
        match self.candidates.pop_back() {
            Some(candidate) if candidate.opener.highest().is_some() => Ok(Settled {
                own: self.datagram,
                peer: candidate.datagram,
                answered: None,
                rekey: self.older_opened,
                id: candidate.offer.id,
                offer: candidate.offer,
                opener: candidate.opener,
                keys: candidate.keys,
                role: self.secrets.role(),
            }),
            Some(candidate) => {
                self.candidates.push_back(candidate);
                Err(Box::new(self))
            }
            None => Err(Box::new(self)),
        }
    }
}

/// A connection whose peer is proven: it knows both secrets, our N and the private key of its own N.
#[derive(Debug)]
pub struct Settled {
    own: Vec<u8>,
    peer: Vec<u8>,
    answered: Option<Time>,
    rekey: bool,
    /// What packets to the peer are named by.
    pub id: ConnectionId,
    /// What the peer offers.
    pub offer: Offer,
    /// For the peer's packets.
    pub opener: Opener,
    keys: ConnectionKeys,
    role: Role,
}

impl Settled {
    /// Moves a sealer that was under the newest candidate's keys to the final ones. True if they are others; then all that it
    /// sealed is lost.
    pub fn rekey(&mut self, sealer: &mut Sealer) -> bool {
        let others = std::mem::take(&mut self.rekey);
        if others {
            sealer.rekey(&self.keys, self.role);
        }
        others
    }

    /// For keys of the layer above.
    pub const fn exporter(&self) -> &Exporter {
        self.keys.exporter()
    }

    /// An N has come after the end of the handshake: our own N, if it is to be sent in answer.
    pub fn answer(&mut self, datagram: &[u8], now: Time) -> Option<&[u8]> {
        let due = self.answered.is_none_or(|at| now.since(at) >= FIRST_REPEAT);
        if datagram != self.peer || !due {
            return None;
        }
        self.answered = Some(now);
        Some(&self.own)
    }
}

/// When our N (or hello) is sent again, and when that ends.
#[derive(Clone, Copy, Debug)]
pub struct Repeats {
    next: Option<Time>,
    wait: Duration,
    end: Time,
}

impl Repeats {
    /// The first is due at once. `began` is when the handshake began, with the first hello.
    pub fn new(now: Time, began: Time) -> Self {
        Self { next: Some(now), wait: FIRST_REPEAT, end: began + HANDSHAKE_TIMEOUT }
    }

    /// When to call [`take`](Self::take); none once it is over.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.next
    }

    /// True if one is to be sent now; the next one is then set.
    pub fn take(&mut self, now: Time) -> bool {
        let due = self.next.is_some_and(|next| now >= next) && now < self.end;
        if due {
            self.next = Some(now + self.wait).filter(|next| *next < self.end);
            self.wait = (self.wait * 2).min(LAST_REPEAT);
        }
        due
    }

    /// A packet has authenticated: no more.
    pub fn stop(&mut self) {
        self.next = None;
    }
}

/// What may go to the configured address before it has proven anything: so many datagrams, so long.
#[derive(Clone, Copy, Debug)]
pub struct HandshakeBudget {
    left: u32,
    end: Time,
}

impl HandshakeBudget {
    /// Begins with the first hello.
    pub fn new(now: Time) -> Self {
        Self { left: HANDSHAKE_DATAGRAMS, end: now + HANDSHAKE_TIMEOUT }
    }

    /// Takes one datagram off; false if it must not be sent.
    #[must_use]
    pub fn take(&mut self, now: Time) -> bool {
        if self.left == 0 || now >= self.end {
            return false;
        }
        self.left -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::negotiation::AeadMask;
    use super::super::packet::{HEADER, OVERHEAD};
    use super::*;

    const PTO: Duration = Duration::from_millis(100);

    /// A side of connection number `run` between two peers with the same secrets for ever.
    fn side(role: Role, run: u8) -> Handshake {
        let (lo, hi) = ([1; 16], [2; 16]);
        let (own, peer) = role.ordered(lo, hi);
        let secrets = Secrets::new(&own, &peer).expect("safe");
        let keys = HandshakeKeys::new(&secrets, b"").expect("short");
        let seed = if role == Role::Lo { run } else { run + 100 };
        let offer = Offer {
            public: [0; 32],
            random: [seed; 16],
            id: ConnectionId([if role == Role::Lo { 0xaa } else { 0xbb }; 8]),
            aeads: AeadMask::new(true),
            largest: 1452,
            window: 1 << 20,
            idle: 60,
        };
        Handshake::new(secrets, keys, Own { ephemeral: Ephemeral::new([seed; 32]), offer })
    }

    fn packet(from: &Handshake, sealer: &mut Sealer, frames: &[u8]) -> Vec<u8> {
        let mut datagram = vec![0; OVERHEAD + frames.len()];
        datagram[HEADER..HEADER + frames.len()].copy_from_slice(frames);
        let to = from.newest().expect("a candidate").id;
        sealer.seal(to, &mut datagram).expect("sealed");
        datagram
    }

    #[test]
    fn two_sides_settle_on_the_same_keys() {
        let (mut lo, mut hi) = (side(Role::Lo, 1), side(Role::Hi, 1));
        assert!(lo.sealer().is_none());
        assert_eq!(hi.handle_negotiation(lo.datagram()), Heard::Newest);
        assert_eq!(lo.handle_negotiation(hi.datagram()), Heard::Newest);
        assert_eq!(lo.handle_negotiation(hi.datagram()), Heard::Again);
        let (mut to_hi, mut to_lo) = (lo.sealer().expect("keys"), hi.sealer().expect("keys"));
        let (mut one, mut other) = (packet(&lo, &mut to_hi, b"one"), packet(&hi, &mut to_lo, b"other"));
        assert_eq!(hi.open(&mut one, Time::ZERO, PTO).map(|opened| one[opened.frames].to_vec()), Ok(b"one".to_vec()));
        assert!(lo.open(&mut other, Time::ZERO, PTO).is_ok());
        let (lo, hi) = (lo.settle().expect("opened"), hi.settle().expect("opened"));
        let (mut at_lo, mut at_hi) = ([0; 16], [1; 16]);
        lo.exporter().export(b"x", b"", &mut at_lo).expect("short");
        hi.exporter().export(b"x", b"", &mut at_hi).expect("short");
        assert_eq!(at_lo, at_hi);
        assert_eq!((lo.id, hi.id), (ConnectionId([0xbb; 8]), ConnectionId([0xaa; 8])));
    }

    #[test]
    fn a_handshake_without_a_packet_does_not_settle() {
        let mut lo = side(Role::Lo, 1);
        let _ = lo.handle_negotiation(side(Role::Hi, 1).datagram());
        let lo = lo.settle().expect_err("nothing opened");
        assert!(lo.newest().is_some());
    }

    #[test]
    fn eight_recorded_n_before_the_true_one_do_no_harm() {
        let (mut lo, mut hi) = (side(Role::Lo, 9), side(Role::Hi, 9));
        for run in 1..=8 {
            assert_eq!(lo.handle_negotiation(side(Role::Hi, run).datagram()), Heard::Newest);
        }
        let mut sealer = lo.sealer().expect("a recorded one");
        let wasted = packet(&lo, &mut sealer, b"nobody reads this");
        assert_eq!(lo.handle_negotiation(hi.datagram()), Heard::Newest);
        lo.rekey(&mut sealer);
        let _ = hi.handle_negotiation(lo.datagram());
        assert_eq!(hi.open(&mut wasted.clone(), Time::ZERO, PTO), Err(OpenError::Forged));

        let mut real = packet(&lo, &mut sealer, b"again");
        assert_eq!(hi.open(&mut real, Time::ZERO, PTO).map(|opened| opened.number), Ok(1), "numbers go on");
        let mut answer = packet(&hi, &mut hi.sealer().expect("keys"), b"answer");
        // three more recorded ones come between, and the true one is still among the four
        for run in 1..=3 {
            let _ = lo.handle_negotiation(side(Role::Hi, run).datagram());
        }
        assert!(lo.open(&mut answer, Time::ZERO, PTO).is_ok());
        lo.rekey(&mut sealer);
        let mut settled = lo.settle().expect("opened");
        assert_eq!(settled.offer.random, [109; 16]);
        assert!(settled.rekey(&mut sealer), "was under the third recorded one");
        assert!(!settled.rekey(&mut sealer), "once");
        let mut last = vec![0; OVERHEAD];
        assert_eq!(sealer.seal(settled.id, &mut last), Ok(2));
        assert_eq!(hi.open(&mut last, Time::ZERO, PTO).map(|opened| opened.number), Ok(2));
    }

    #[test]
    fn a_fifth_n_drives_out_the_oldest_until_that_is_repeated() {
        let (mut lo, mut hi) = (side(Role::Lo, 9), side(Role::Hi, 9));
        let _ = hi.handle_negotiation(lo.datagram());
        let packet = packet(&hi, &mut hi.sealer().expect("keys"), b"x");
        let _ = lo.handle_negotiation(hi.datagram());
        for run in 1..=4 {
            let _ = lo.handle_negotiation(side(Role::Hi, run).datagram());
        }
        assert_eq!(lo.candidates.len(), CANDIDATES);
        let mut copy = packet.clone();
        assert_eq!(lo.open(&mut copy, Time::ZERO, PTO), Err(OpenError::Forged));
        assert_eq!(copy, packet, "unchanged");
        assert_eq!(lo.handle_negotiation(hi.datagram()), Heard::Newest);
        assert!(lo.open(&mut copy, Time::ZERO, PTO).is_ok());
    }

    #[test]
    fn a_repeated_n_is_the_newest_again() {
        let (mut lo, hi) = (side(Role::Lo, 9), side(Role::Hi, 9));
        let _ = lo.handle_negotiation(hi.datagram());
        let _ = lo.handle_negotiation(side(Role::Hi, 1).datagram());
        assert_eq!(lo.newest().map(|offer| offer.random), Some([101; 16]));
        assert_eq!(lo.handle_negotiation(hi.datagram()), Heard::Newest);
        assert_eq!(lo.newest().map(|offer| offer.random), Some([109; 16]));
    }

    #[test]
    fn a_reflected_n_and_a_reflected_packet_are_refused() {
        let (mut lo, hi) = (side(Role::Lo, 1), side(Role::Hi, 1));
        let own = lo.datagram().to_vec();
        assert_eq!(lo.handle_negotiation(&own), Heard::Refused(Refusal::Tag));
        let _ = lo.handle_negotiation(hi.datagram());
        let mut reflected = packet(&lo, &mut lo.sealer().expect("keys"), b"mine");
        // even where the connection id were the same
        reflected[1..9].copy_from_slice(&[0xaa; 8]);
        assert_eq!(lo.open(&mut reflected, Time::ZERO, PTO), Err(OpenError::Forged));
    }

    #[test]
    fn an_n_without_a_shared_secret_or_cipher_is_refused() {
        let mut lo = side(Role::Lo, 1);
        let hi = side(Role::Hi, 1);
        let offer = Offer { public: [0; 32], ..hi.offer };
        assert_eq!(lo.handle_negotiation(&offer.encode(&hi.keys, Role::Hi)), Heard::Refused(Refusal::PublicKey));
        let offer = Offer { aeads: AeadMask::from_bits(0xf0), ..hi.offer };
        assert_eq!(lo.handle_negotiation(&offer.encode(&hi.keys, Role::Hi)), Heard::Refused(Refusal::Cipher));
        assert!(lo.newest().is_none());
    }

    #[test]
    fn a_settled_side_answers_the_repeated_n_of_its_peer_and_no_other() {
        let (mut lo, mut hi) = (side(Role::Lo, 1), side(Role::Hi, 1));
        let _ = hi.handle_negotiation(lo.datagram());
        let _ = lo.handle_negotiation(hi.datagram());
        let mut first = packet(&hi, &mut hi.sealer().expect("keys"), b"x");
        lo.open(&mut first, Time::ZERO, PTO).expect("opens");
        let own = lo.datagram().to_vec();
        let mut lo = lo.settle().expect("opened");
        assert_eq!(lo.answer(hi.datagram(), Time::ZERO), Some(&own[..]));
        assert_eq!(lo.answer(hi.datagram(), Time::from_millis(249)), None);
        assert_eq!(lo.answer(hi.datagram(), Time::from_millis(250)), Some(&own[..]));
        assert_eq!(lo.answer(side(Role::Hi, 2).datagram(), Time::from_secs(9)), None);
    }

    #[test]
    fn repetitions_back_off_and_end_after_30_s() {
        let mut repeats = Repeats::new(Time::ZERO, Time::ZERO);
        let mut sent = Vec::new();
        while let Some(at) = repeats.poll_timeout() {
            assert!(repeats.take(at));
            assert!(!repeats.take(at));
            sent.push(at.since_start().as_millis());
        }
        assert_eq!(sent, [0, 250, 750, 1750, 3750, 7750, 12750, 17750, 22750, 27750]);
        let mut repeats = Repeats::new(Time::ZERO, Time::ZERO);
        repeats.stop();
        assert!(!repeats.take(Time::from_secs(1)));
    }

    #[test]
    fn an_address_that_never_answers_gets_20_datagrams() {
        let mut budget = HandshakeBudget::new(Time::from_secs(5));
        assert_eq!((0..100).filter(|_| budget.take(Time::from_secs(6))).count(), 20);
        assert!(!HandshakeBudget::new(Time::ZERO).take(Time::from_secs(30)));
    }
}
