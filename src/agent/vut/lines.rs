//! `Lines`: the connections of a socket, and which of them a datagram is for.
//!
//! | datagram | goes to |
//! |---|---|
//! | any, on a socket with one connection | that one, which tells for itself what is authentic, and whether the peer has moved |
//! | a packet of the native profile | the connection whose id it names, wherever it comes from |
//! | a hello, a negotiation, a datagram of the 0.8 profile | the connection to the address it comes from, the youngest of several |
//! | any other | nobody |
//!
//! So one address can have several connections of the native profile, begun one after the other. What goes to the wrong one is forged to
//! it, and costs one authentication, no more.

use super::line::{Life, Line, LineId};
use crate::proto::time::Time;
use crate::proto::vut::EcnMark;
use crate::proto::vut::native::packet::{ConnectionId, Kind, classify, connection_id};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

/// The connections of a socket, and when they want to be called.
#[derive(Debug, Default)]
pub(super) struct Lines {
    entries: HashMap<LineId, Entry>,
    by_address: HashMap<SocketAddr, LineId>,
    by_name: HashMap<ConnectionId, LineId>,
    deadlines: BTreeSet<(Time, LineId)>,
    /// To be looked at, each once.
    due: VecDeque<LineId>,
}

#[derive(Debug)]
struct Entry {
    line: Rc<RefCell<Line>>,
    peer: SocketAddr,
    name: ConnectionId,
    deadline: Option<Time>,
    is_due: bool,
}

impl Lines {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn get(&self, id: LineId) -> Option<&Rc<RefCell<Line>>> {
        self.entries.get(&id).map(|entry| &entry.line)
    }

    /// Takes one in. A connection of the 0.8 profile that is over, and that only its address tells, is forgotten.
    pub(super) fn add(&mut self, id: LineId, peer: SocketAddr, line: Rc<RefCell<Line>>) {
        if let Some(&before) = self.by_address.get(&peer)
            && self.get(before).is_some_and(|line| !line.borrow().is_told_by_name())
        {
            self.forget(before);
        }
        let name = line.borrow().endpoint.connection_id();
        self.by_address.insert(peer, id);
        self.by_name.insert(name, id);
        self.entries.insert(id, Entry { line, peer, name, deadline: None, is_due: false });
        self.touch(id);
    }

    /// True if a connection to this address is not over, and only the address tells its datagrams.
    pub(super) fn is_taken(&self, peer: SocketAddr) -> bool {
        let line = self.by_address.get(&peer).and_then(|id| self.get(*id));
        line.is_some_and(|line| line.borrow().holds_address())
    }

    /// It is looked at in this turn.
    pub(super) fn touch(&mut self, id: LineId) {
        if let Some(entry) = self.entries.get_mut(&id)
            && !std::mem::replace(&mut entry.is_due, true)
        {
            self.due.push_back(id);
        }
    }

    /// How many are to be looked at.
    pub(super) fn due(&self) -> usize {
        self.due.len()
    }

    /// The next one that is to be looked at.
    pub(super) fn pop_due(&mut self) -> Option<(LineId, Rc<RefCell<Line>>)> {
        while let Some(id) = self.due.pop_front() {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.is_due = false;
                return Some((id, entry.line.clone()));
            }
        }
        None
    }

    pub(super) fn forget(&mut self, id: LineId) {
        let Some(entry) = self.entries.remove(&id) else { return };
        if let Some(deadline) = entry.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        if self.by_address.get(&entry.peer) == Some(&id) {
            self.by_address.remove(&entry.peer);
        }
        if self.by_name.get(&entry.name) == Some(&id) {
            self.by_name.remove(&entry.name);
        }
        entry.line.borrow_mut().cut();
    }

    /// All of them leave.
    pub(super) fn drain(&mut self) -> Vec<Rc<RefCell<Line>>> {
        std::mem::take(self).entries.into_values().map(|entry| entry.line).collect()
    }

    /// Hands a datagram to the one that it is for.
    pub(super) fn deliver(&mut self, now: Time, from: SocketAddr, mark: Option<EcnMark>, datagram: &mut [u8]) {
        let Some(id) = self.find(from, datagram) else { return };
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.line.borrow_mut().endpoint.handle_marked(now, from, mark, datagram);
        if !std::mem::replace(&mut entry.is_due, true) {
            self.due.push_back(id);
        }
    }

    fn find(&self, from: SocketAddr, datagram: &[u8]) -> Option<LineId> {
        if self.entries.len() == 1 {
            return self.entries.keys().next().copied();
        }
        match classify(datagram)? {
            Kind::Packet => self.by_name.get(&connection_id(datagram)?).copied(),
            Kind::Negotiation | Kind::Legacy => self.by_address.get(&from).copied(),
        }
    }

    // ---- time

    /// When the first wants to be called.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// One whose time has come.
    pub(super) fn pop_late(&mut self, now: Time) -> Option<(LineId, Rc<RefCell<Line>>)> {
        while let Some(&(deadline, id)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.pop_first();
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.deadline = None;
                return Some((id, entry.line.clone()));
            }
        }
        None
    }

    pub(super) fn set_deadline(&mut self, id: LineId, deadline: Option<Time>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.deadline == deadline {
            return;
        }
        if let Some(before) = entry.deadline {
            self.deadlines.remove(&(before, id));
        }
        if let Some(at) = deadline {
            self.deadlines.insert((at, id));
        }
        entry.deadline = deadline;
    }
}

impl Line {
    /// True if packets name it: another connection to the same address does not disturb it.
    fn is_told_by_name(&self) -> bool {
        self.endpoint.native().is_some_and(|native| native.is_connected())
    }

    /// True if another connection to its address could not be told from it.
    pub(super) fn holds_address(&self) -> bool {
        !matches!(self.life, Life::Closed(_)) && !self.is_told_by_name()
    }
}
