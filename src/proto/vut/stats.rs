//! What a connection has counted.

/// Counters of one connection, from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Datagrams handed out.
    pub sent: u64,
    /// Their octets.
    pub sent_octets: u64,
    /// Segments sent for the first time.
    pub segments: u64,
    /// Segments sent again.
    pub repeated: u64,
    /// Pings.
    pub pings: u64,
    /// Datagrams that arrived and were authentic and well-formed.
    pub received: u64,
    /// Their octets.
    pub received_octets: u64,
    /// Datagrams whose MAC was wrong, or that were too short for one or too long.
    pub forged: u64,
    /// Authentic datagrams that made no sense.
    pub malformed: u64,
    /// Datagrams of the one peer that spoils some, and that were read all the same.
    pub repaired: u64,
    /// Segments of the peer that were here before.
    pub old: u64,
    /// Segments of the peer that were dropped: beyond the grant or the end, overlapping, or too many.
    pub refused: u64,
    /// Acknowledgements that fell on no end of a segment, and closes that cannot be.
    pub ignored: u64,
    /// Octets held to be lost.
    pub lost_octets: u64,
    /// Probes of the datagram size and of an address that are held to be lost; their octets are not among the lost ones.
    pub lost_probes: u64,
    /// Packets of ours that arrived marked "congestion experienced".
    pub congested: u64,
    /// Retransmission time-outs.
    pub timeouts: u64,
}
