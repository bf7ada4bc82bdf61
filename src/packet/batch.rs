//! Packets on their way to the worker that owns their flow.

use super::Packet;

/// Packets of one block for one worker, in order of event time: the unit that timely moves.
#[derive(Default, Debug, Clone)]
pub struct Batch {
    /// The worker that it goes to.
    pub target: u32,
    /// Number of the input.
    pub input: u32,
    /// Number of the block within its input: ties of event time are in the order of (input, block,
    /// position).
    pub block: u64,
    /// The packets.
    pub packets: Vec<Packet>,
    /// At the end of the input, instead of packets: the newest event time of all.
    pub newest: Option<u64>,
}
