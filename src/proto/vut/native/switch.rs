//! Which profile a connection speaks, and that nobody can talk it down.
//!
//! A side says "I understand the native profile" by the bit 0x10 of its 0.8 hello (H). The hello's MAC covers the bit, so who
//! does not know the secrets cannot strip it; who has recorded a hello from another connection with the same secrets can
//! replay one without it, and what he gains by that is in the table.
//!
//! | mode | state | H with bit | H without bit | valid N | P opens | other 0.8 datagram |
//! |---|---|---|---|---|---|---|
//! | native | greeting | to native | drop | to native | - | drop |
//! | auto | greeting | to native | to compat | to native | - | drop |
//! | compat | greeting | to compat | to compat | drop | - | drop |
//! | any | native | answer | drop | take | to proven | drop |
//! | any | proven | drop | drop | take | take | drop |
//! | auto | compat | take | take | abort | - | take |
//! | compat | compat | take | take | drop | - | take |
//!
//! * "-": cannot be, for there are no keys. It is dropped.
//! * A side in mode native does not wait: it is in state native once its first hello has left, so its N follows at once.
//! * A side in mode native that hears only H without the bit waits until the handshake times out, and then says why
//!   ([`Switch::peer_is_legacy`]). It does not give up at once: the H may be recorded.
//! * In auto and compat state a valid N shows that the peer is native, so the H without the bit was not from this
//!   connection: an attack, and the connection is aborted. That is the price of auto; secrets that are used again belong to
//!   mode native.
//! * "answer" in native: the peer repeats its hello, so it has neither our hello nor our N. Send the N again, by its timer.
//! * No row lets stream data of a 0.8 datagram in once the state is native.

use std::fmt;

/// The bit of the hello's flags by which a side says that it understands the native profile.
pub const NATIVE_BIT: u8 = 0x10;

/// What the owner of a connection allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Native or nothing. For secrets that are used more than once.
    #[default]
    Native,
    /// Native if the peer says so, else 0.8.
    Auto,
    /// 0.8 only; the hello has no bit.
    Compat,
}

impl Mode {
    /// The flags of every hello that this side sends, first or repeated: never without the bit once with it.
    pub const fn hello_flags(self) -> u8 {
        match self {
            Self::Native | Self::Auto => NATIVE_BIT,
            Self::Compat => 0,
        }
    }
}

/// What has come. Every one of these is authentic: hello and other 0.8 datagrams by the 0.8 MAC, N by its tag, P by its AEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// The whole hello at position 0, with [`NATIVE_BIT`].
    HelloWithBit,
    /// The whole hello at position 0, without.
    HelloWithout,
    /// A negotiation.
    Negotiation,
    /// A packet.
    Packet,
    /// Any other 0.8 datagram.
    Legacy,
}

/// How far the choice has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Only our hello was sent.
    Greeting,
    /// Native for good; our N is repeated.
    Native,
    /// Native, and a packet of the peer has opened.
    Proven,
    /// 0.8.
    Compat,
    /// Somebody tried to talk us down.
    Aborted,
}

/// What to do with what has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Verdict {
    /// Use it, in the state that now holds.
    Take,
    /// Drop and count it.
    Drop,
    /// Native from now on: send our N at once, and repeat it. If it was an N, use it.
    BecomeNative,
    /// 0.8 from now on: use it.
    BecomeCompat,
    /// A packet has opened for the first time: stop repeating, settle the handshake, use it.
    Proven,
    /// Send our N again if its timer allows.
    SendNegotiation,
    /// End the connection: [`Downgrade`].
    Abort,
}

/// The reason of [`Verdict::Abort`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer is native, but somebody answered in its place as if it were not; use mode native, or new secrets")]
pub struct Downgrade;

/// The choice of the profile for one connection.
#[derive(Clone, Copy, Debug)]
pub struct Switch {
    mode: Mode,
    state: State,
    legacy_hello: bool,
}

impl Switch {
    /// Before anything has come.
    pub const fn new(mode: Mode) -> Self {
        Self { mode, state: State::Greeting, legacy_hello: false }
    }

    /// How far it is.
    pub const fn state(&self) -> State {
        self.state
    }

    /// True if a hello without the bit has come to a side that does not speak 0.8: the likely reason when the handshake times
    /// out.
    pub const fn peer_is_legacy(&self) -> bool {
        self.legacy_hello
    }

    /// True if packets of the native profile, and nothing else but our N, may be sent.
    pub const fn is_native(&self) -> bool {
        matches!(self.state, State::Native | State::Proven)
    }

    /// The first hello has left. A side that speaks nothing else is native without having heard anything; says whether it is.
    pub fn on_hello_sent(&mut self) -> bool {
        let commits = self.mode == Mode::Native && self.state == State::Greeting;
        if commits {
            self.state = State::Native;
        }
        commits
    }

    /// Something authentic has come.
    pub fn handle(&mut self, input: Input) -> Verdict {
        if input == Input::HelloWithout && (self.mode == Mode::Native || self.is_native()) {
            self.legacy_hello = true;
        }
        let (state, verdict) = next(self.mode, self.state, input);
        self.state = state;
        verdict
    }
}

/// The table.
const fn next(mode: Mode, state: State, input: Input) -> (State, Verdict) {
    match (state, mode, input) {
        (State::Greeting, Mode::Native | Mode::Auto, Input::HelloWithBit | Input::Negotiation) => {
            (State::Native, Verdict::BecomeNative)
        }
        (State::Greeting, Mode::Auto, Input::HelloWithout)
        | (State::Greeting, Mode::Compat, Input::HelloWithBit | Input::HelloWithout) => {
            (State::Compat, Verdict::BecomeCompat)
        }
        (State::Native, _, Input::HelloWithBit) => (State::Native, Verdict::SendNegotiation),
        (State::Native, _, Input::Packet) => (State::Proven, Verdict::Proven),
        (State::Native, _, Input::Negotiation) | (State::Proven, _, Input::Negotiation | Input::Packet) => {
            (state, Verdict::Take)
        }
        (State::Compat, Mode::Auto, Input::Negotiation) => (State::Aborted, Verdict::Abort),
        (State::Compat, _, Input::HelloWithBit | Input::HelloWithout | Input::Legacy) => (state, Verdict::Take),
        _ => (state, Verdict::Drop),
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Auto => "auto",
            Self::Compat => "compat",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUTS: [Input; 5] =
        [Input::HelloWithBit, Input::HelloWithout, Input::Negotiation, Input::Packet, Input::Legacy];
    const STATES: [State; 5] = [State::Greeting, State::Native, State::Proven, State::Compat, State::Aborted];

    #[test]
    fn the_table_is_the_one_on_file() {
        let mut table = String::new();
        for mode in [Mode::Native, Mode::Auto, Mode::Compat] {
            for state in STATES {
                for input in INPUTS {
                    let (after, verdict) = next(mode, state, input);
                    table += &format!("{mode:<7} {state:<9?} {input:<13?} -> {after:<9?} {verdict:?}\n",);
                }
            }
        }
        insta::with_settings!({ snapshot_path => "../../../../tests/golden", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!("vut_native_switch", table);
        });
    }

    fn after(mode: Mode, inputs: &[Input]) -> (State, Vec<Verdict>) {
        let mut switch = Switch::new(mode);
        let verdicts = inputs.iter().map(|input| switch.handle(*input)).collect();
        (switch.state(), verdicts)
    }

    #[test]
    fn two_native_sides_meet_whatever_is_lost() {
        for first in [Input::HelloWithBit, Input::Negotiation] {
            for mode in [Mode::Native, Mode::Auto] {
                let (state, verdicts) = after(mode, &[first, Input::Negotiation, Input::Packet]);
                assert_eq!((state, verdicts[0]), (State::Proven, Verdict::BecomeNative));
            }
        }
    }

    #[test]
    fn a_stripped_bit_gains_nothing() {
        // stripping it breaks the MAC, so this is a recorded hello of a 0.8 connection with the same secrets
        let attack = [Input::HelloWithout, Input::HelloWithBit, Input::Negotiation, Input::Packet];
        let (state, verdicts) = after(Mode::Native, &attack);
        assert_eq!((state, verdicts[0]), (State::Proven, Verdict::Drop));
        let (state, verdicts) = after(Mode::Auto, &attack);
        assert_eq!((state, verdicts[2]), (State::Aborted, Verdict::Abort));
        assert_eq!(verdicts[3], Verdict::Drop);
        // and after the bit was seen it is just dropped
        let (state, verdicts) = after(Mode::Auto, &[Input::HelloWithBit, Input::HelloWithout, Input::Legacy]);
        assert_eq!((state, &verdicts[1..]), (State::Native, &[Verdict::Drop, Verdict::Drop][..]));
    }

    #[test]
    fn no_stream_data_of_0_8_is_taken_once_native_is_possible() {
        for mode in [Mode::Native, Mode::Auto, Mode::Compat] {
            for state in STATES {
                let taken = next(mode, state, Input::Legacy).1 != Verdict::Drop;
                assert_eq!(taken, state == State::Compat, "{mode} {state:?}");
            }
        }
        // and from native no way leads to compat
        for mode in [Mode::Native, Mode::Auto, Mode::Compat] {
            for state in [State::Native, State::Proven, State::Aborted] {
                for input in INPUTS {
                    assert_ne!(next(mode, state, input).0, State::Compat);
                }
            }
        }
    }

    #[test]
    fn a_side_that_waits_for_native_in_vain_knows_why() {
        let mut switch = Switch::new(Mode::Native);
        assert!(!switch.peer_is_legacy());
        assert_eq!(switch.handle(Input::HelloWithout), Verdict::Drop);
        assert!(switch.peer_is_legacy());
    }

    #[test]
    fn the_hello_never_goes_without_the_bit_but_in_compat() {
        assert_eq!([Mode::Native, Mode::Auto, Mode::Compat].map(Mode::hello_flags), [0x10, 0x10, 0]);
    }
}
