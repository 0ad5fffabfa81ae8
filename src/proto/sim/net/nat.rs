//! A NAT: one outside port for the inside address, for as long as it is used.

use super::Address;
use crate::proto::time::Time;
use std::time::Duration;

/// What a binding that is made anew looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The same outside port again.
    SamePort,
    /// Another one: the peer sees another address.
    NewPort,
}

/// Translates one inside address. It lets in only what comes from an address that was sent to, through a binding that is
/// still alive; either direction keeps it so.
#[derive(Debug)]
pub struct Nat {
    life: Duration,
    renewal: Renewal,
    port: u16,
    binding: Option<Binding>,
}

#[derive(Debug)]
struct Binding {
    peer: Address,
    used: Time,
}

impl Nat {
    const HOST: u32 = 100;
    const FIRST_PORT: u16 = 40_000;

    /// Bindings that are forgotten `life` after they were last used.
    pub fn new(life: Duration, renewal: Renewal) -> Self {
        Self { life, renewal, port: Self::FIRST_PORT, binding: None }
    }

    /// The outside address of the binding that is there, or of the next one if the port stays.
    pub fn outside(&self) -> Address {
        Address { host: Self::HOST, port: self.port }
    }

    /// Forgets the binding, as when the device restarts.
    pub fn rebind(&mut self) {
        if self.binding.take().is_some() && self.renewal == Renewal::NewPort {
            self.port = self.port.wrapping_add(1).max(1024);
        }
    }

    pub(super) fn outbound(&mut self, now: Time, to: Address) -> Address {
        self.expire(now);
        self.binding = Some(Binding { peer: to, used: now });
        self.outside()
    }

    pub(super) fn inbound(&mut self, now: Time, from: Address, to: Address) -> bool {
        self.expire(now);
        let outside = self.outside();
        let Some(binding) = self.binding.as_mut().filter(|binding| binding.peer == from && to == outside) else {
            return false;
        };
        binding.used = now;
        true
    }

    fn expire(&mut self, now: Time) {
        if self.binding.as_ref().is_some_and(|binding| now - binding.used >= self.life) {
            self.rebind();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Address = Address { host: 2, port: 2 };

    #[test]
    fn nothing_comes_in_before_something_went_out() {
        let mut nat = Nat::new(Duration::from_secs(30), Renewal::SamePort);
        let outside = nat.outside();
        assert!(!nat.inbound(Time::ZERO, PEER, outside));
        assert_eq!(nat.outbound(Time::ZERO, PEER), outside);
        assert!(nat.inbound(Time::ZERO, PEER, outside));
        assert!(!nat.inbound(Time::ZERO, Address { host: 3, port: 2 }, outside), "a stranger");
    }

    #[test]
    fn a_binding_dies_when_it_is_idle_and_lives_when_it_is_not() {
        for renewal in [Renewal::SamePort, Renewal::NewPort] {
            let mut nat = Nat::new(Duration::from_secs(30), renewal);
            let outside = nat.outbound(Time::ZERO, PEER);
            assert!(nat.inbound(Time::from_secs(29), PEER, outside), "and is used by it");
            assert!(nat.inbound(Time::from_secs(58), PEER, outside));
            assert!(!nat.inbound(Time::from_secs(88), PEER, outside), "30 s later");
            let again = nat.outbound(Time::from_secs(89), PEER);
            assert_eq!(again == outside, renewal == Renewal::SamePort);
        }
    }
}
