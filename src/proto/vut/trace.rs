//! What happens in a connection, for who wants to look: one record per event, in words near those of qlog.

use super::wire::Header;
use crate::proto::time::Time;
use std::fmt;

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// A datagram was handed out.
    Sent {
        /// All but its data.
        header: Header,
        /// Octets of its data.
        data: usize,
        /// The segment was sent before.
        again: bool,
    },
    /// An authentic datagram came in.
    Received {
        /// All but its data.
        header: Header,
        /// Octets of its data.
        data: usize,
    },
    /// A packet of the native profile was handed out.
    PacketSent {
        /// Its number.
        number: u64,
        /// Octets of the datagram.
        octets: usize,
        /// Octets of stream data.
        data: u64,
        /// It asks for an acknowledgement.
        eliciting: bool,
    },
    /// A packet of the native profile was opened.
    PacketReceived {
        /// Its number.
        number: u64,
        /// Octets of the datagram.
        octets: usize,
    },
    /// A datagram was dropped.
    Dropped {
        /// Why, in a word.
        why: &'static str,
        /// Its octets.
        octets: usize,
    },
    /// Octets are held to be lost.
    Lost {
        /// How many.
        octets: u64,
        /// How that came to light, in a word.
        how: &'static str,
    },
    /// Congestion control changed.
    Window {
        /// Octets that may be in flight.
        window: u64,
        /// Octets in flight.
        in_flight: u64,
        /// Smoothed round trip in microseconds; 0 if there is none.
        smoothed: u64,
        /// What the controller is doing.
        phase: &'static str,
    },
    /// The connection, or one of its directions, is in another state.
    State {
        /// Which.
        of: &'static str,
        /// The state.
        state: &'static str,
    },
}

/// Takes records as they are made. It must not block.
pub trait Tracer: fmt::Debug + Send {
    /// Something happened at `now`.
    fn record(&mut self, now: Time, record: &Record);
}

impl Record {
    /// One line of JSON, with the time in milliseconds.
    pub fn to_json(&self, now: Time) -> String {
        let ms = now.as_nanos() as f64 / 1e6;
        let datagram = |header: &Header, data: usize| {
            let Header { flags, seq, ack, win } = header;
            format!(r#"{{"flags":"{flags:?}","seq":{seq},"ack":{ack},"win":{win},"length":{data}"#)
        };
        let (name, data) = match self {
            Self::Sent { header, data, again } => {
                ("transport:packet_sent", format!(r#"{},"again":{again}}}"#, datagram(header, *data)))
            }
            Self::Received { header, data } => ("transport:packet_received", format!("{}}}", datagram(header, *data))),
            Self::PacketSent { number, octets, data, eliciting } => (
                "transport:packet_sent",
                format!(r#"{{"packet_number":{number},"length":{octets},"data":{data},"eliciting":{eliciting}}}"#),
            ),
            Self::PacketReceived { number, octets } => {
                ("transport:packet_received", format!(r#"{{"packet_number":{number},"length":{octets}}}"#))
            }
            Self::Dropped { why, octets } => {
                ("transport:packet_dropped", format!(r#"{{"trigger":"{why}","length":{octets}}}"#))
            }
            Self::Lost { octets, how } => {
                ("recovery:packet_lost", format!(r#"{{"length":{octets},"trigger":"{how}"}}"#))
            }
            Self::Window { window, in_flight, smoothed, phase } => (
                "recovery:metrics_updated",
                format!(
                    r#"{{"congestion_window":{window},"bytes_in_flight":{in_flight},"smoothed_rtt":{},"phase":"{phase}"}}"#,
                    *smoothed as f64 / 1e3
                ),
            ),
            Self::State { of, state } => {
                ("connectivity:connection_state_updated", format!(r#"{{"of":"{of}","new":"{state}"}}"#))
            }
        };
        format!(r#"{{"time":{ms},"name":"{name}","data":{data}}}"#)
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::Flags;
    use super::*;

    #[test]
    fn a_record_is_a_line_of_json() {
        let header = Header { flags: Flags::CLOSE, seq: 20, ack: 17, win: 111 };
        let line = Record::Sent { header, data: 0, again: false }.to_json(Time::from_millis(1500));
        assert_eq!(
            line,
            r#"{"time":1500,"name":"transport:packet_sent","data":{"flags":"80","seq":20,"ack":17,"win":111,"length":0,"again":false}}"#
        );
    }
}
