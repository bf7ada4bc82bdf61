//! The dictionary: every column of a flow row, in order.

use arrow::datatypes::{DataType, Field, TimeUnit};

/// The Arrow type of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Nanoseconds since the Unix epoch, UTC.
    Time,
    /// Text by dictionary, keys of 8 bits.
    Name8,
    /// Text by dictionary, keys of 16 bits.
    Name16,
    /// Text by dictionary, keys of 32 bits.
    Name32,
    /// 8 bits unsigned.
    U8,
    /// 16 bits unsigned.
    U16,
    /// 32 bits unsigned.
    U32,
    /// 64 bits unsigned.
    U64,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// A list of 16 bits signed.
    I16List,
    /// True or false.
    Bool,
}

impl Kind {
    /// The type as Arrow has it.
    pub fn data_type(self) -> DataType {
        let name = |key| DataType::Dictionary(Box::new(key), Box::new(DataType::Utf8));
        match self {
            Kind::Time => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
            Kind::Name8 => name(DataType::Int8),
            Kind::Name16 => name(DataType::Int16),
            Kind::Name32 => name(DataType::Int32),
            Kind::U8 => DataType::UInt8,
            Kind::U16 => DataType::UInt16,
            Kind::U32 => DataType::UInt32,
            Kind::U64 => DataType::UInt64,
            Kind::F32 => DataType::Float32,
            Kind::F64 => DataType::Float64,
            Kind::I16List => DataType::List(Field::new_list_field(DataType::Int16, true).into()),
            Kind::Bool => DataType::Boolean,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Time => "Timestamp(ns, UTC)",
            Kind::Name8 => "Dictionary(Int8, Utf8)",
            Kind::Name16 => "Dictionary(Int16, Utf8)",
            Kind::Name32 => "Dictionary(Int32, Utf8)",
            Kind::U8 => "UInt8",
            Kind::U16 => "UInt16",
            Kind::U32 => "UInt32",
            Kind::U64 => "UInt64",
            Kind::F32 => "Float32",
            Kind::F64 => "Float64",
            Kind::I16List => "List(Int16)",
            Kind::Bool => "Boolean",
        })
    }
}

/// One column of the contract.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Name, the same in TOML, Rust, Arrow and prose.
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// Whether a value may not exist. What does not exist is null, never 0 or -1.
    pub nullable: bool,
    /// Unit; empty for what has none, `1` for counts.
    pub unit: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

impl Column {
    /// The field of the Arrow schema.
    pub fn field(&self) -> Field {
        Field::new(self.name, self.kind.data_type(), self.nullable)
    }
}

const fn must(name: &'static str, kind: Kind, unit: &'static str, meaning: &'static str) -> Column {
    Column { name, kind, nullable: false, unit, meaning }
}

const fn may(name: &'static str, kind: Kind, unit: &'static str, meaning: &'static str) -> Column {
    Column { name, kind, nullable: true, unit, meaning }
}

use Kind::{F32, F64, I16List, Name8, Name16, Name32, Time, U8, U16, U32, U64};

/// Every column of a flow row, in the order of the file.
pub const COLUMNS: &[Column] = &[
    must(
        "window_start",
        Time,
        "",
        "start of the row's window; with rows = \"flow\" of the window in which the flow ended, by silence too",
    ),
    must(
        "flow_id",
        U64,
        "",
        "hash of key and flow start: the same in every run; with window_start it names the row",
    ),
    must("flow_start", Time, "", "first packet of the flow"),
    must("row_start", Time, "", "first packet in this row"),
    must("row_end", Time, "", "last packet in this row"),
    must("src_ip", Name32, "", "initiator's address, canonical text"),
    must("dst_ip", Name32, "", "responder's address, canonical text"),
    must("src_port", U16, "", "initiator's port, 0 where the protocol has none"),
    must("dst_port", U16, "", "responder's port, 0 where the protocol has none"),
    must("protocol", U8, "", "IP protocol number"),
    must("protocol_name", Name16, "", "tcp, udp, icmp, icmp6, sctp, gre, esp, ... or the number"),
    must(
        "service",
        Name32,
        "",
        "name of the responder's port, high above 32767, else the number; for ICMP icmp-<type of the flow's first packet>",
    ),
    must("ip_version", U8, "", "4 or 6"),
    may("vlan", U16, "", "outer VLAN id"),
    may("icmp_type", U8, "", "ICMP type of the flow's first packet"),
    may("icmp_code", U8, "", "ICMP code of the flow's first packet"),
    must("hour_of_day", U8, "h", "hour of row_start; UTC unless timezone is set"),
    must("minute_of_hour", U8, "min", "minute of row_start"),
    must("day_of_week", U8, "", "weekday of row_start, Monday = 0"),
    must("row_index", U32, "1", "0 for the flow's first row"),
    must(
        "end_reason",
        U8,
        "",
        "IPFIX flowEndReason: 1 idle, 2 window or active timeout (the flow may go on), 3 end seen, 4 input ended, 5 lack of resources",
    ),
    may(
        "conn_state",
        Name8,
        "",
        "TCP state so far in Zeek's letters: S0 S1 SF REJ S2 S3 RSTO RSTR RSTOS0 RSTRH SH SHR OTH",
    ),
    must("duration_s", F64, "s", "row_end - row_start"),
    must("flow_duration_s", F64, "s", "since flow_start, this row included"),
    must("flow_packets", U64, "1", "packets since flow_start, this row included"),
    must("flow_bytes", U64, "B", "bytes since flow_start, this row included"),
    must("bidir_packets", U64, "1", "packets, both ways"),
    must("fwd_packets", U64, "1", "packets, initiator to responder"),
    must("bwd_packets", U64, "1", "packets, responder to initiator"),
    must("bidir_bytes", U64, "B", "IP datagrams, both ways"),
    must("fwd_bytes", U64, "B", "IP datagrams, initiator to responder"),
    must("bwd_bytes", U64, "B", "IP datagrams, responder to initiator"),
    must("fwd_payload_bytes", U64, "B", "above the transport header, initiator to responder"),
    must("bwd_payload_bytes", U64, "B", "above the transport header, responder to initiator"),
    may("fwd_len_min", U16, "B", "shortest datagram (65535: or longer)"),
    may("fwd_len_max", U16, "B", "longest datagram (65535: or longer)"),
    may("bwd_len_min", U16, "B", "shortest datagram (65535: or longer)"),
    may("bwd_len_max", U16, "B", "longest datagram (65535: or longer)"),
    may("fwd_len_mean", F32, "B", "mean of datagram lengths"),
    may("fwd_len_std", F32, "B", "population deviation of datagram lengths"),
    may("bwd_len_mean", F32, "B", "mean of datagram lengths"),
    may("bwd_len_std", F32, "B", "population deviation of datagram lengths"),
    may("bidir_gap_min_s", F32, "s", "shortest gap between successive packets inside the row"),
    may("bidir_gap_mean_s", F32, "s", "mean gap"),
    may("bidir_gap_std_s", F32, "s", "population deviation of gaps"),
    may("bidir_gap_max_s", F32, "s", "longest gap"),
    may("fwd_gap_min_s", F32, "s", "shortest gap between the initiator's packets inside the row"),
    may("fwd_gap_mean_s", F32, "s", "mean gap"),
    may("fwd_gap_std_s", F32, "s", "population deviation of gaps"),
    may("fwd_gap_max_s", F32, "s", "longest gap"),
    may("bwd_gap_min_s", F32, "s", "shortest gap between the responder's packets inside the row"),
    may("bwd_gap_mean_s", F32, "s", "mean gap"),
    may("bwd_gap_std_s", F32, "s", "population deviation of gaps"),
    may("bwd_gap_max_s", F32, "s", "longest gap"),
    may("fwd_syn", U32, "1", "TCP packets with SYN"),
    may("fwd_ack", U32, "1", "TCP packets with ACK"),
    may("fwd_fin", U32, "1", "TCP packets with FIN"),
    may("fwd_rst", U32, "1", "TCP packets with RST"),
    may("fwd_psh", U32, "1", "TCP packets with PSH"),
    may("fwd_urg", U32, "1", "TCP packets with URG"),
    may("fwd_ece", U32, "1", "TCP packets with ECE"),
    may("fwd_cwr", U32, "1", "TCP packets with CWR"),
    may("bwd_syn", U32, "1", "TCP packets with SYN"),
    may("bwd_ack", U32, "1", "TCP packets with ACK"),
    may("bwd_fin", U32, "1", "TCP packets with FIN"),
    may("bwd_rst", U32, "1", "TCP packets with RST"),
    may("bwd_psh", U32, "1", "TCP packets with PSH"),
    may("bwd_urg", U32, "1", "TCP packets with URG"),
    may("bwd_ece", U32, "1", "TCP packets with ECE"),
    may("bwd_cwr", U32, "1", "TCP packets with CWR"),
    may(
        "fwd_window_first",
        U16,
        "",
        "advertised window of the initiator's first packet in the flow, unscaled",
    ),
    may(
        "bwd_window_first",
        U16,
        "",
        "advertised window of the responder's first packet in the flow, unscaled",
    ),
    may(
        "fwd_retransmits",
        U32,
        "1",
        "segments with payload that start below the highest sequence number seen",
    ),
    may(
        "bwd_retransmits",
        U32,
        "1",
        "segments with payload that start below the highest sequence number seen",
    ),
    may(
        "handshake_rtt_s",
        F32,
        "s",
        "SYN to the initiator's ACK of the SYN-ACK; in the row that completes it",
    ),
    may("fwd_ttl_min", U8, "", "smallest TTL or hop limit of the initiator's packets"),
    may("bwd_ttl_min", U8, "", "smallest TTL or hop limit of the responder's packets"),
    must("fragments", U32, "1", "fragments that are not the first"),
    may(
        "first_lengths",
        I16List,
        "B",
        "first row of a flow: payload lengths of its first 8 packets, backward ones negative; at most 32767",
    ),
];

/// Every column of a packet row, in the order of the file.
pub const PACKET_COLUMNS: &[Column] = &[
    must("timestamp", Time, "", "event time"),
    must("src_ip", Name32, "", "sender's address, canonical text"),
    must("dst_ip", Name32, "", "receiver's address, canonical text"),
    must("src_port", U16, "", "sender's port, 0 where the protocol has none"),
    must("dst_port", U16, "", "receiver's port, 0 where the protocol has none"),
    must("protocol", U8, "", "IP protocol number"),
    must("protocol_name", Name16, "", "tcp, udp, icmp, icmp6, sctp, gre, esp, ... or the number"),
    must("length", U32, "B", "IP datagram, header included"),
    must("payload_bytes", U32, "B", "above the transport header"),
    may("tcp_flags", U8, "", "FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128"),
    must("ttl", U8, "", "TTL or hop limit"),
    may("vlan", U16, "", "outer VLAN id"),
    must("flow_id", U64, "", "the flow that the packet belongs to, as in flow rows"),
];

/// How names of context columns begin: columns that are made from other rows too, and made anew whenever rows
/// are read again.
pub const CONTEXT: [&str; 6] = ["ctx_", "age_", "first_pairsvc", "reg_", "lead_", "src_is_new"];

/// Whether a column is one of context, whoever wrote it.
pub fn is_context(name: &str) -> bool {
    CONTEXT.iter().any(|start| name.starts_with(start))
}

/// The column of that name.
pub fn find(name: &str) -> Option<&'static Column> {
    COLUMNS.iter().find(|column| column.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = COLUMNS.iter().map(|c| c.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), COLUMNS.len());
    }

    #[test]
    fn no_column_of_a_row_itself_passes_for_context() {
        assert!(COLUMNS.iter().chain(PACKET_COLUMNS).all(|column| !is_context(column.name)));
    }
}
