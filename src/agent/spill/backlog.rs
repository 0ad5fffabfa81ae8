//! What waits, and what is to be done with it: no file, no actor.
//!
//! ```text
//!   in ──▶ tail ──Write──▶ file, a ring ──Read──▶ front ──▶ out        oldest in front, newest in the tail
//!            └──────── while the file is empty ─────▲
//! ```
//!
//! Half of the memory is for the front; the other half is what may wait for a write. One job runs at a time. A read goes first while the
//! front has room, so the file is written only while the consumer is slow.

use crate::proto::link::{Count, Payload, Window};
use bytes::Bytes;
use std::collections::VecDeque;

/// How much one job reads or writes; as regular files do.
const CHUNK: u64 = 256 * 1024;

/// What is to be done with the file. Positions count from the first byte ever; the place is the position modulo the capacity.
#[derive(Debug)]
pub(super) enum Job {
    Write { at: u64, items: Vec<Bytes> },
    Read { at: u64, len: u64 },
}

/// The job that runs.
#[derive(Debug)]
enum Running {
    Write { written: Count },
    Read { len: u64 },
}

#[derive(Debug)]
pub(super) struct Backlog {
    /// Half of the memory.
    half: Window,
    capacity: u64,
    /// True for what the inlet counts as held.
    front: VecDeque<(Bytes, bool)>,
    front_bytes: u64,
    read_at: u64,
    write_at: u64,
    tail: VecDeque<Bytes>,
    running: Option<Running>,
}

impl Backlog {
    /// At most `memory` in memory, and `capacity` bytes in the file.
    pub(super) fn new(memory: Window, capacity: u64) -> Self {
        Self {
            half: Window { quantity: (memory.quantity / 2).max(1), messages: (memory.messages / 2).max(1) },
            capacity: capacity.max(1),
            front: VecDeque::new(),
            front_bytes: 0,
            read_at: 0,
            write_at: 0,
            tail: VecDeque::new(),
            running: None,
        }
    }

    /// Nothing waits, and no job runs.
    pub(super) fn is_empty(&self) -> bool {
        self.front.is_empty() && self.in_file() == 0 && self.tail.is_empty() && self.running.is_none()
    }

    /// What lies in the file.
    pub(super) fn in_file(&self) -> u64 {
        self.write_at - self.read_at
    }

    /// True if the file is of no use at the moment.
    pub(super) fn is_file_idle(&self) -> bool {
        self.in_file() == 0 && self.running.is_none()
    }

    fn has_room(&self) -> bool {
        self.front.is_empty()
            || (self.front_bytes < self.half.quantity && (self.front.len() as u64) < self.half.messages)
    }

    /// An item comes. It counts as held by the inlet until [`give`](Self::give) or [`done`](Self::done) says otherwise.
    pub(super) fn take(&mut self, item: Bytes) {
        self.tail.push_back(item);
        self.promote();
    }

    /// What need not go through the file does not.
    fn promote(&mut self) {
        while self.is_file_idle() && self.has_room() {
            let Some(item) = self.tail.pop_front() else { break };
            self.front_bytes += item.quantity();
            self.front.push_back((item, true));
        }
    }

    /// The oldest, and whether the inlet counts it as held.
    pub(super) fn give(&mut self) -> Option<(Bytes, bool)> {
        let (item, held) = self.front.pop_front()?;
        self.front_bytes -= item.quantity();
        self.promote();
        Some((item, held))
    }

    /// What is to be done now, unless a job runs.
    pub(super) fn next_job(&mut self) -> Option<Job> {
        if self.running.is_some() {
            return None;
        }
        self.promote();
        let in_file = self.in_file();
        // by whole chunks or quarters of the memory, not by what the consumer took just now
        let room = self.half.quantity.saturating_sub(self.front_bytes).min(CHUNK);
        let worth = room >= CHUNK || room >= self.half.quantity.div_ceil(2);
        if in_file > 0 && worth && self.has_room() {
            let len = in_file.min(room);
            self.running = Some(Running::Read { len });
            return Some(Job::Read { at: self.read_at, len });
        }
        let mut room = (self.capacity - in_file).min(CHUNK);
        let mut items = Vec::new();
        let mut written = Count::ZERO;
        while room > 0 {
            let Some(first) = self.tail.front_mut() else { break };
            // the rest of a piece that is split is still the piece, and is finished with when it is
            let (part, whole) = match Payload::split_to(first, room) {
                Some(part) => (part, 0),
                None => (self.tail.pop_front().unwrap_or_default(), 1),
            };
            room -= part.quantity();
            written.quantity += part.quantity();
            written.messages += whole;
            items.push(part);
        }
        if items.is_empty() {
            return None;
        }
        self.running = Some(Running::Write { written });
        Some(Job::Write { at: self.write_at, items })
    }

    /// The job is done; `read` is what it read. What the inlet is to count as finished with.
    pub(super) fn done(&mut self, read: Option<Bytes>) -> Count {
        let finished = match (self.running.take(), read) {
            (Some(Running::Write { written }), _) => {
                self.write_at += written.quantity;
                written
            }
            (Some(Running::Read { len }), Some(bytes)) => {
                debug_assert_eq!(bytes.quantity(), len);
                self.read_at += len;
                self.front_bytes += len;
                self.front.push_back((bytes, false));
                Count::ZERO
            }
            _ => Count::ZERO,
        };
        self.promote();
        finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::sim::Rng;

    /// A file by position, as the real one is by place.
    struct Ring(Vec<u8>);

    impl Ring {
        fn run(&mut self, job: Job) -> Option<Bytes> {
            let capacity = self.0.len() as u64;
            match job {
                Job::Write { at, items } => {
                    for (n, byte) in items.iter().flat_map(|item| item.iter()).enumerate() {
                        self.0[((at + n as u64) % capacity) as usize] = *byte;
                    }
                    None
                }
                Job::Read { at, len } => Some((at..at + len).map(|at| self.0[(at % capacity) as usize]).collect()),
            }
        }
    }

    fn seeds() -> u64 {
        std::env::var("VERSILE_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(200)
    }

    #[test]
    fn what_comes_out_is_what_went_in_and_memory_and_file_are_bounded() {
        for seed in 0..seeds() {
            let mut rng = Rng::new(seed);
            let memory = Window { quantity: 1 + rng.below(500), messages: 1 + rng.below(20) };
            let capacity = 1 + rng.below(2000);
            let mut ring = Ring(vec![0; capacity as usize]);
            let mut backlog = Backlog::new(memory, capacity);
            let mut job = None;
            let (mut sent, mut got, mut held, mut most) = (0_u64, 0_u64, Count::ZERO, 0);
            for _ in 0..600 {
                match rng.below(4) {
                    // what the inlet's window allows
                    0 if held.quantity < memory.quantity && held.messages < memory.messages => {
                        let size = 1 + rng.below(memory.quantity - held.quantity);
                        let item: Bytes = (sent..sent + size).map(|at| (at * 31) as u8).collect();
                        sent += size;
                        held.add(size);
                        backlog.take(item);
                    }
                    1 => {
                        if let Some((item, was_held)) = backlog.give() {
                            assert!(item.iter().zip(got..).all(|(b, at)| *b == (at * 31) as u8), "seed {seed}");
                            got += item.quantity();
                            if was_held {
                                assert!(held.sub(item.quantity(), 1).is_zero(), "seed {seed}");
                            }
                        }
                    }
                    2 => job = job.or_else(|| backlog.next_job()),
                    _ => {
                        if let Some(job) = job.take() {
                            let finished = backlog.done(ring.run(job));
                            assert!(held.sub(finished.quantity, finished.messages).is_zero(), "seed {seed}");
                        }
                    }
                }
                most = most.max(backlog.in_file());
                let in_memory = sent - got - backlog.in_file();
                assert!(
                    in_memory <= memory.quantity + memory.quantity / 2 + 1,
                    "seed {seed}: {in_memory} of {memory:?}"
                );
            }
            // worked off to the end
            while !backlog.is_empty() {
                if let Some(job) = job.take().or_else(|| backlog.next_job()) {
                    let finished = backlog.done(ring.run(job));
                    assert!(held.sub(finished.quantity, finished.messages).is_zero());
                }
                while let Some((item, was_held)) = backlog.give() {
                    assert!(item.iter().zip(got..).all(|(b, at)| *b == (at * 31) as u8), "seed {seed}");
                    got += item.quantity();
                    if was_held {
                        assert!(held.sub(item.quantity(), 1).is_zero());
                    }
                }
            }
            assert_eq!((got, held), (sent, Count::ZERO), "seed {seed}");
            assert!(most <= capacity, "seed {seed}");
        }
    }

    #[test]
    fn empty_a_quick_consumer_needs_no_file() {
        let mut backlog = Backlog::new(Window { quantity: 100, messages: 10 }, 1000);
        for _ in 0..50 {
            backlog.take(Bytes::from_static(b"abc"));
            assert!(backlog.next_job().is_none());
            assert!(matches!(backlog.give(), Some((item, true)) if item == "abc"));
        }
        assert!(backlog.is_empty());
    }

    #[test]
    fn full_nothing_more_is_written_and_what_waits_stays_held() {
        let mut backlog = Backlog::new(Window { quantity: 8, messages: 8 }, 6);
        backlog.take(Bytes::from_static(b"abcd"));
        backlog.take(Bytes::from_static(b"efghijkl"));
        let Some(Job::Write { at: 0, items }) = backlog.next_job() else { panic!("a write") };
        assert_eq!(items, ["efghij"]);
        assert_eq!(backlog.done(None), Count { quantity: 6, messages: 0 });
        assert!(backlog.next_job().is_none(), "full, and the front too");
        assert!(matches!(backlog.give(), Some((item, true)) if item == "abcd"));
        assert!(matches!(backlog.next_job(), Some(Job::Read { at: 0, len: 4 })));
    }
}
