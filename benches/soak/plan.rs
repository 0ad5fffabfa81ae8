//! What happens on one connection: client and server derive the same from a seed, which is all that the client tells first.

use fastrand::Rng;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    /// Both send, and each ends its own direction when it is through: half-closed for as long as the other takes.
    Exchange,
    /// Small messages, each answered, with pauses.
    Chat,
    /// Nothing for long, then one message.
    Idle,
    /// As an exchange, but the client resets the connection somewhere within.
    ClientResets,
    /// As an exchange, but the server does.
    ServerResets,
    /// As an exchange, but the client does not read for some time.
    ClientStalls,
    /// As an exchange, but the server does not.
    ServerStalls,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) script: Script,
    /// Bytes from the client to the server, and back.
    pub(crate) up: u64,
    pub(crate) down: u64,
    /// After how many of its bytes the side that resets does so.
    pub(crate) cut: u64,
    /// How long the side that stalls does so; how long a chat pauses at most.
    pub(crate) pause: Duration,
    /// Messages of a chat.
    pub(crate) messages: u32,
}

impl Plan {
    /// `haste`: 1 for a long run; pauses are so many times shorter.
    pub(crate) fn of(seed: u64, haste: u32) -> Self {
        let mut random = Rng::with_seed(seed);
        let script = match random.u32(0..100) {
            0..35 => Script::Chat,
            35..65 => Script::Idle,
            65..77 => Script::Exchange,
            77..84 => Script::ClientResets,
            84..91 => Script::ServerResets,
            91..96 => Script::ClientStalls,
            _ => Script::ServerStalls,
        };
        // as many of each order of magnitude, up to 4 MiB
        let mut size = || 1u64 << random.u32(0..22) | random.u64(0..1 << 10);
        let (mut up, mut down) = (size(), size());
        match script {
            Script::ClientStalls => down |= 1 << 20,
            Script::ServerStalls => up |= 1 << 20,
            _ => {}
        }
        let longest = match script {
            Script::Idle => 90_000,
            Script::Chat => 10_000,
            _ => 15_000,
        };
        let pause = Duration::from_millis(random.u64(1_000..longest)) / haste;
        let ours = if script == Script::ServerResets { down } else { up };
        Self { seed, script, up, down, cut: random.u64(0..ours), pause, messages: random.u32(2..10) }
    }

    /// The seeds of the two directions.
    pub(crate) fn seeds(&self) -> (u64, u64) {
        (self.seed, !self.seed)
    }

    /// The size of a message of a chat; both sides know it.
    pub(crate) fn message(&self, number: u32) -> u64 {
        1 + (self.seed.rotate_left(number) & 0x7ff)
    }

    /// How many messages there are.
    pub(crate) fn talks(&self) -> u32 {
        match self.script {
            Script::Chat => self.messages,
            Script::Idle => 1,
            _ => 0,
        }
    }
}
