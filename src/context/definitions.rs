//! The table of context columns: which statistic of which entity means something, and what it means.
//!
//! Names, Arrow types, units, meanings, the matching of patterns and the computation derive from
//! [`ENTITIES`], [`HORIZONS`] and [`Statistic`]; there is no second list.

use arrow::datatypes::Field;

use crate::row::Kind;

/// Lengths of the horizons in windows.
pub const HORIZONS: [u64; 3] = [1, 6, 30];

/// What is counted about: the values that a row shares with the other rows of its entity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entity {
    /// As it stands in names of columns.
    pub name: &'static str,
    /// In words.
    pub meaning: &'static str,
    /// Whether the source's address is a part of it.
    pub src: bool,
    /// Whether the destination's address is a part of it.
    pub dst: bool,
    /// Whether the service is a part of it.
    pub service: bool,
    /// The distinct counts that mean something; sums and `active` mean something for every entity.
    distinct: &'static [Statistic],
}

use Statistic::{Active, BwdBytes, Ends, Failed, Flows, FwdBytes, Packets, Peers, Ports, Rows, Services};

/// Every entity, in the order of columns.
///
/// A service is protocol and responder port, ports from 32768 pooled; for ICMP protocol and type.
pub const ENTITIES: [Entity; 6] = [
    Entity {
        name: "src",
        meaning: "the source",
        src: true,
        dst: false,
        service: false,
        distinct: &[Peers, Ports, Services, Ends],
    },
    Entity {
        name: "dst",
        meaning: "the destination",
        src: false,
        dst: true,
        service: false,
        distinct: &[Peers, Ports, Services],
    },
    Entity {
        name: "pair",
        meaning: "source and destination",
        src: true,
        dst: true,
        service: false,
        distinct: &[Ports, Services],
    },
    Entity {
        name: "srcsvc",
        meaning: "source and service",
        src: true,
        dst: false,
        service: true,
        distinct: &[Peers, Ports],
    },
    Entity {
        name: "dstsvc",
        meaning: "destination and service",
        src: false,
        dst: true,
        service: true,
        distinct: &[Peers],
    },
    Entity {
        name: "pairsvc",
        meaning: "source, destination and service",
        src: true,
        dst: true,
        service: true,
        distinct: &[],
    },
];

/// What is counted over the rows of a horizon.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Statistic {
    /// Rows with `row_index` 0: flows that started.
    Flows,
    /// Rows.
    Rows,
    /// Rows of flows that came to nothing, as far as the row tells: `conn_state` S0, REJ or RSTOS0, or
    /// UDP, ICMP or ICMPv6 without a packet back in this row.
    Failed,
    /// Packets, both ways.
    Packets,
    /// Bytes from the initiator.
    FwdBytes,
    /// Bytes from the responder.
    BwdBytes,
    /// Distinct addresses at the other end: destinations of a source, sources of a destination.
    Peers,
    /// Distinct (protocol, responder port), ports not pooled; for ICMP (protocol, type).
    Ports,
    /// Distinct services.
    Services,
    /// Distinct (destination, protocol, responder port).
    Ends,
    /// Windows of the horizon with a row.
    Active,
}

/// How a statistic is put together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Method {
    /// The sum of what each row counts.
    Sum,
    /// The number of distinct elements that rows name.
    Distinct,
    /// The number of windows.
    Windows,
}

/// Every statistic, in the order of columns.
const STATISTICS: [Statistic; 11] =
    [Flows, Rows, Failed, Packets, FwdBytes, BwdBytes, Peers, Ports, Services, Ends, Active];

impl Statistic {
    /// As it stands in names of columns.
    pub fn name(self) -> &'static str {
        match self {
            Flows => "flows",
            Rows => "rows",
            Failed => "failed",
            Packets => "packets",
            FwdBytes => "fwd_bytes",
            BwdBytes => "bwd_bytes",
            Peers => "peers",
            Ports => "ports",
            Services => "services",
            Ends => "ends",
            Active => "active",
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Flows => "flows that started",
            Rows => "rows",
            Failed => {
                "rows whose conn_state is S0, REJ or RSTOS0, or UDP, ICMP, ICMPv6 without a packet back in the row"
            }
            Packets => "packets, both ways",
            FwdBytes => "bytes from the initiators",
            BwdBytes => "bytes from the responders",
            Peers => "distinct addresses at the other end",
            Ports => "distinct (protocol, responder port), for ICMP (protocol, type)",
            Services => "distinct services: (protocol, responder port), ports from 32768 pooled",
            Ends => "distinct (destination, protocol, responder port)",
            Active => "windows with a row",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            FwdBytes | BwdBytes => "B",
            _ => "1",
        }
    }

    /// How it is put together.
    pub(super) fn method(self) -> Method {
        match self {
            Flows | Rows | Failed | Packets | FwdBytes | BwdBytes => Method::Sum,
            Peers | Ports | Services | Ends => Method::Distinct,
            Active => Method::Windows,
        }
    }
}

/// One context column: a statistic of an entity over a horizon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Definition {
    /// Position in [`ENTITIES`].
    pub(super) entity: usize,
    /// Position in [`HORIZONS`].
    pub(super) horizon: usize,
    /// What is counted.
    pub(super) statistic: Statistic,
}

impl Definition {
    /// `ctx_<entity>_w<windows>_<statistic>`.
    pub fn name(&self) -> String {
        let (entity, windows) = (ENTITIES[self.entity].name, HORIZONS[self.horizon]);
        format!("ctx_{entity}_w{windows}_{}", self.statistic.name())
    }

    /// Type of the column; no value is null.
    pub fn kind(&self) -> Kind {
        match self.statistic.method() {
            Method::Sum => Kind::U64,
            Method::Distinct | Method::Windows => Kind::U32,
        }
    }

    /// Unit, `1` for counts.
    pub fn unit(&self) -> &'static str {
        self.statistic.unit()
    }

    /// What it means.
    pub fn meaning(&self) -> String {
        let horizon = match HORIZONS[self.horizon] {
            1 => "in this window".to_owned(),
            windows => format!("in the last {windows} windows"),
        };
        format!("{} of {} {horizon}", self.statistic.meaning(), ENTITIES[self.entity].meaning)
    }

    /// The field of the Arrow schema.
    pub fn field(&self) -> Field {
        Field::new(self.name(), self.kind().data_type(), false)
    }
}

/// Every context column, in the order in which rows carry them: by entity, horizon, statistic.
pub fn definitions() -> Vec<Definition> {
    let mut all = Vec::new();
    for (entity, what) in ENTITIES.iter().enumerate() {
        for (horizon, windows) in HORIZONS.iter().enumerate() {
            for statistic in STATISTICS {
                let means = match statistic.method() {
                    Method::Sum => true,
                    Method::Distinct => what.distinct.contains(&statistic),
                    // In a horizon of one window it would be 1 for every row.
                    Method::Windows => *windows > 1,
                };
                if means {
                    all.push(Definition { entity, horizon, statistic });
                }
            }
        }
    }
    all
}

/// Whether `name` is what `pattern` says, where `*` stands for any run of characters, none included.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let head = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(head) else { return false };
    let Some(tail) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        // The leftmost place leaves the most room for the parts after it.
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_of_the_contract() {
        let mut names: Vec<String> = definitions().iter().map(Definition::name).collect();
        // 6 entities x 3 horizons x 6 sums, 12 distinct counts x 3 horizons, active of w6 and w30.
        assert_eq!(names.len(), 108 + 36 + 12);
        assert!(names.iter().any(|name| name == "ctx_pairsvc_w30_active"));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 156);
    }

    #[test]
    fn a_star_stands_for_any_run() {
        assert!(matches("a*", "a") && matches("*", "") && matches("a*c*e", "abcde") && matches("ab", "ab"));
        assert!(matches("*_peers", "ctx_src_w1_peers") && matches("**", "x"));
        assert!(!matches("a", "ab") && !matches("ab*ba", "aba") && !matches("", "x") && !matches("*b", "a"));
    }
}
