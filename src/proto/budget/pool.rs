//! `Pool`: the members of a budget and what each has. The rule stands in the module above.

use std::collections::VecDeque;

/// What a member may have from its start on: a small item joined to its largest (rule C1), and enough for a reader's smallest
/// buffer. 1,000 chains that never move hold 16 MiB.
const START: u64 = 16 * 1024;

/// How much of what is not reserved all greedy members together come to: u = 32 (1 - u)², so 84 %. At 4 it would be 61 %, and at
/// 256 94 %, with hardly more than their guarantees for those who come later.
const SHARE: f64 = 32.0;

/// The guarantees of all members together are at most this part of the total: at 64 MiB 2 KiB for each of 1,000.
const GUARANTEED: u64 = 32;

/// This part of the total is only for guarantees. Those of members who come later are smaller the more there are: with each
/// doubling of their number another 64th of the total. So it lasts for seven doublings, from 8 members to 1,000, though all be stuck with
/// all they could get; and from then on for what is left of the rest.
const RESERVED: u64 = 8;

/// Half of the total finished with, by all together, is an epoch.
const EPOCH: u64 = 2;

/// A member that turns what it has over so many times in an epoch is given as much more than one that does so once, or less. The
/// bound keeps a fast one from having all.
const FASTEST: u64 = 16;

/// The name of a member in its pool. Used again after the member has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberId(usize);

impl MemberId {
    /// The place of the member: small numbers, for a table beside the pool.
    pub fn index(self) -> usize {
        self.0
    }
}

/// How the budget has served a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It has what it wished for, or as much as its own use earns it.
    Served,
    /// It has less than that, since too little is free.
    Short,
    /// It has nothing, and is in the queue.
    Waiting,
}

#[derive(Clone, Debug)]
struct Member {
    priority: u64,
    /// What it is given is a multiple of this.
    unit: u64,
    out: u64,
    /// The part of `out` that it was given while it waited, and does not know of yet.
    gift: u64,
    wish: u64,
    earned: u64,
    /// What it has finished with in this epoch, and the most it had.
    used: u64,
    most: u64,
    epoch: u64,
    /// How many times it turned over what it had in its last epoch, from 1 to [`FASTEST`].
    speed: u64,
    standing: Standing,
}

impl Member {
    fn round(&self, quantity: u64) -> u64 {
        quantity / self.unit * self.unit
    }

    /// What it needs to have in any case, and what of that is set aside for it.
    fn guarantee(&self, base: u64) -> u64 {
        base.max(self.unit)
    }

    fn aside(&self, base: u64) -> u64 {
        self.guarantee(base).saturating_sub(self.out)
    }

    /// Of two that want more, the one of twice the weight is given up to twice as much.
    fn weight(&self) -> u64 {
        self.priority * self.speed
    }

    /// Brings its use up to the present epoch.
    fn enter(&mut self, epoch: u64) {
        if self.epoch != epoch {
            let used = if self.epoch + 1 == epoch { self.used } else { 0 };
            self.earned = self.earned.min(used.saturating_mul(2 * EPOCH)).max(START);
            self.speed = (used / self.most.max(1)).clamp(1, FASTEST);
            (self.used, self.most, self.epoch) = (0, self.out, epoch);
        }
    }
}

/// The budget's members. See [the rule](super).
///
/// # Invariants
///
/// * The sum of what the members have is `outstanding`, and at most `total`.
/// * `aside` is the sum of what is set aside for members that have less than their guarantee.
///
/// # Drain rule
///
/// After [`take`](Self::take), [`settle`](Self::settle) and [`leave`](Self::leave), call [`poll_wake`](Self::poll_wake) until it
/// returns `None`, and have those members take again.
#[derive(Clone, Debug)]
pub struct Pool {
    total: u64,
    outstanding: u64,
    peak: u64,
    aside: u64,
    /// The guarantee of a member whose unit is not larger.
    base: u64,
    /// A power of two: the guarantees are made for so many members.
    places: u64,
    count: u64,
    weights: u64,
    members: Vec<Option<Member>>,
    vacant: Vec<usize>,
    queue: VecDeque<MemberId>,
    woken: VecDeque<MemberId>,
    /// What was finished with in this epoch, by all.
    turnover: u64,
    epoch: u64,
}

impl Pool {
    /// A pool of `total` bytes, at least 1, and no members.
    pub fn new(total: u64) -> Self {
        let total = total.max(1);
        Self {
            total,
            outstanding: 0,
            peak: 0,
            aside: 0,
            base: base(total, 1),
            places: 1,
            count: 0,
            weights: 0,
            members: Vec::new(),
            vacant: Vec::new(),
            queue: VecDeque::new(),
            woken: VecDeque::new(),
            turnover: 0,
            epoch: 0,
        }
    }

    // ---- questions

    /// What may be outstanding at most.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What is outstanding of all members, as far as they have said what they finished with.
    pub fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// The most that was ever outstanding.
    pub fn peak(&self) -> u64 {
        self.peak
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.count as usize
    }

    /// How many members have nothing and wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// What is outstanding of this member.
    pub fn outstanding_of(&self, id: MemberId) -> u64 {
        self.member(id).out
    }

    /// How this member was served last.
    pub fn standing(&self, id: MemberId) -> Standing {
        self.member(id).standing
    }

    // ---- what members want

    /// A new member that has nothing. What it is given is a multiple of `unit` bytes, and of two that want more one of twice the
    /// `priority` is given up to twice as much. Both are at least 1.
    pub fn join(&mut self, priority: u32, unit: u64) -> MemberId {
        let unit = unit.clamp(1, self.total);
        let member = Member {
            priority: u64::from(priority.max(1)),
            unit,
            out: 0,
            gift: 0,
            wish: 0,
            earned: START,
            used: 0,
            most: 0,
            epoch: self.epoch,
            speed: 1,
            standing: Standing::Served,
        };
        self.count += 1;
        self.weights += member.weight();
        self.aside += member.aside(self.base);
        let id = match self.vacant.pop() {
            Some(place) => {
                self.members[place] = Some(member);
                MemberId(place)
            }
            None => {
                self.members.push(Some(member));
                MemberId(self.members.len() - 1)
            }
        };
        if self.count > self.places {
            self.resize(self.count.next_power_of_two());
        }
        self.check();
        id
    }

    /// The member is gone, and all it had is free again.
    pub fn leave(&mut self, id: MemberId) {
        let member = self.member(id);
        let (aside, weight) = (member.aside(self.base), member.weight());
        self.outstanding -= member.out;
        self.aside -= aside;
        self.weights -= weight;
        self.count -= 1;
        self.members[id.0] = None;
        self.vacant.push(id.0);
        self.queue.retain(|other| *other != id);
        self.woken.retain(|other| *other != id);
        // a quarter, so that one who comes and goes does not make all be counted again each time
        if self.count * 4 <= self.places && self.places > 1 {
            self.resize((self.count * 2).next_power_of_two());
        }
        self.serve_queue();
        self.check();
    }

    /// Of two that want more, one of twice the priority is given up to twice as much. At least 1.
    pub fn set_priority(&mut self, id: MemberId, priority: u32) {
        let priority = u64::from(priority.max(1));
        self.reweigh(id, |member| member.priority = priority);
        self.check();
    }

    /// Of what the member had, `outstanding` is left. A higher figure than before changes nothing: see [`take`](Self::take).
    pub fn settle(&mut self, id: MemberId, outstanding: u64) {
        let epoch = self.epoch;
        self.reweigh(id, |member| member.enter(epoch));
        let member = self.member_mut(id);
        let known = member.out - member.gift;
        let finished = known.saturating_sub(outstanding);
        if finished > 0 {
            let left = member.out - finished;
            member.used = member.used.saturating_add(finished);
            member.earned = member.earned.saturating_add(finished).min(member.wish.max(START));
            self.set_out(id, left);
            self.turnover = self.turnover.saturating_add(finished);
            if self.turnover >= self.total / EPOCH {
                self.turnover = 0;
                self.epoch += 1;
            }
            self.serve_queue();
        }
        self.check();
    }

    /// The member has `outstanding` left, and would have `wish` outstanding. Returns what it may have now: at least what it
    /// has, and no more than it wishes beyond that. If that is nothing it waits, and is woken.
    pub fn take(&mut self, id: MemberId, outstanding: u64, wish: u64) -> u64 {
        self.settle(id, outstanding);
        self.member_mut(id).wish = wish;
        if self.member(id).standing == Standing::Waiting {
            if self.member(id).round(wish) == 0 {
                self.queue.retain(|other| *other != id);
                self.member_mut(id).standing = Standing::Served;
            }
            self.serve_queue();
            if self.member(id).standing == Standing::Waiting {
                return self.member(id).out;
            }
        }
        let gift = std::mem::take(&mut self.member_mut(id).gift);
        let member = self.member(id);
        let free = self.total - self.outstanding;
        // what is set aside for the others is not there for this one
        let room = free.saturating_sub(self.aside - member.aside(self.base));
        let fair = self.fair((room + member.out).saturating_sub(self.total / RESERVED), member.weight());
        let due = wish.min(member.earned.max(member.guarantee(self.base)));
        let target = due.min(fair.max(member.guarantee(self.base)));
        let out = match target.checked_sub(member.out) {
            // those in the queue come first
            Some(more) if self.queue.is_empty() => member.out + member.round(more.min(free)),
            Some(_) => member.out,
            // of what it knows nothing is taken back, but of a gift that it does not want any more
            None => member.round(target).max(member.out - gift),
        };
        let standing = match (out, member.round(wish)) {
            (0, 1..) => Standing::Waiting,
            _ if member.round(due) > out => Standing::Short,
            _ => Standing::Served,
        };
        self.member_mut(id).standing = standing;
        if standing == Standing::Waiting {
            self.queue.push_back(id);
        }
        self.set_out(id, out);
        if gift > 0 {
            self.serve_queue();
        }
        self.check();
        self.member(id).out
    }

    /// A member that waited and was given something; it should [`take`](Self::take) it.
    pub fn poll_wake(&mut self) -> Option<MemberId> {
        self.woken.pop_front()
    }

    // ---- how it is shared out

    /// The root of y = k (a - y)², without the cancellation of the textbook's form.
    fn fair(&self, a: u64, weight: u64) -> u64 {
        let a = a as f64;
        let ka = SHARE * a * weight as f64 / (self.total as f64 * self.weights as f64);
        (a * 2.0 * ka / (2.0 * ka + 1.0 + (4.0 * ka + 1.0).sqrt())) as u64
    }

    /// Those in the queue are given what is free, each up to its guarantee.
    fn serve_queue(&mut self) {
        while let Some(id) = self.queue.front().copied() {
            let member = self.member(id);
            let free = self.total - self.outstanding;
            let give = member.round(member.guarantee(self.base).min(member.wish).min(free));
            if give == 0 {
                return;
            }
            let out = member.out + give;
            self.queue.pop_front();
            let member = self.member_mut(id);
            member.gift = give;
            member.standing = Standing::Short;
            self.set_out(id, out);
            self.woken.push_back(id);
        }
    }

    fn reweigh(&mut self, id: MemberId, change: impl FnOnce(&mut Member)) {
        let member = self.member_mut(id);
        let was = member.weight();
        change(member);
        let now = member.weight();
        self.weights = self.weights - was + now;
    }

    fn set_out(&mut self, id: MemberId, out: u64) {
        let base = self.base;
        let member = self.member_mut(id);
        let (was, aside) = (member.out, member.aside(base));
        member.out = out;
        member.most = member.most.max(out);
        let now = member.aside(base);
        self.outstanding = self.outstanding - was + out;
        self.aside = self.aside - aside + now;
        self.peak = self.peak.max(self.outstanding);
    }

    /// Guarantees for another number of members; larger ones only if they fit.
    fn resize(&mut self, places: u64) {
        let base = base(self.total, places);
        let aside = self.members.iter().flatten().map(|member| member.aside(base)).sum();
        if base <= self.base || aside <= self.total - self.outstanding {
            (self.places, self.base, self.aside) = (places, base, aside);
        }
    }

    fn member(&self, id: MemberId) -> &Member {
        match &self.members[id.0] {
            Some(member) => member,
            None => unreachable!("{id:?} has left"),
        }
    }

    fn member_mut(&mut self, id: MemberId) -> &mut Member {
        match &mut self.members[id.0] {
            Some(member) => member,
            None => unreachable!("{id:?} has left"),
        }
    }

    fn check(&self) {
        debug_assert!(self.outstanding <= self.total, "M1: {} outstanding of {}", self.outstanding, self.total);
        // the sums are compared in the tests: here they would make each step as long as there are members
    }

    /// Compares the sums that are kept with the members. For tests: it looks at each member.
    #[cfg(test)]
    fn check_sums(&self) {
        let members = || self.members.iter().flatten();
        assert_eq!(self.outstanding, members().map(|member| member.out).sum::<u64>());
        assert_eq!(self.aside, members().map(|member| member.aside(self.base)).sum::<u64>());
        assert_eq!(self.weights, members().map(Member::weight).sum::<u64>());
        assert_eq!(self.count, members().count() as u64);
        assert!(self.outstanding <= self.total);
    }
}

fn base(total: u64, places: u64) -> u64 {
    (total / GUARANTEED / places).clamp(1, START)
}

#[cfg(test)]
mod tests;
