//! The table of context columns: which statistic of which entity means something, and what it means.
//!
//! Names, Arrow types, units, meanings, the matching of patterns and the computation derive from
//! [`ENTITIES`], [`HORIZONS`] and [`Statistic`], and for what looks beyond the horizon from
//! [`recall::columns`](super::recall); there is no second list.

use arrow::datatypes::Field;

use super::distinct::{EXACT, STANDARD_ERROR};
use super::recall::{IDENTITIES, Part, Recalled};
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
    /// Whether the shape of the row is a part of it: state, and packets and bytes either way to an octave. Then it has one
    /// end, and nothing is counted of it but the rows of a window.
    pub shape: bool,
    /// The distinct counts that mean something; sums and `active` mean something for every entity without
    /// a shape.
    distinct: &'static [Statistic],
}

use Statistic::{
    Active, BwdBytes, Ends, Failed, Flows, FwdBytes, NewEnds, NewPeers, NewPorts, NewServices, Packets,
    Peers, Ports, Rows, Services,
};

/// Every entity, in the order of columns.
///
/// A service is protocol and responder port, those without a name pooled from 32768, of UDP from 1024;
/// for ICMP protocol and type.
pub const ENTITIES: [Entity; 8] = [
    Entity {
        name: "src",
        meaning: "the source",
        src: true,
        dst: false,
        service: false,
        shape: false,
        distinct: &[Peers, Ports, Services, Ends, NewPeers, NewServices, NewEnds],
    },
    Entity {
        name: "dst",
        meaning: "the destination",
        src: false,
        dst: true,
        service: false,
        shape: false,
        distinct: &[Peers, Ports, Services, NewPeers, NewPorts, NewServices],
    },
    Entity {
        name: "pair",
        meaning: "source and destination",
        src: true,
        dst: true,
        service: false,
        shape: false,
        distinct: &[Ports, Services, NewPorts, NewServices],
    },
    Entity {
        name: "srcsvc",
        meaning: "source and service",
        src: true,
        dst: false,
        service: true,
        shape: false,
        distinct: &[Peers, Ports, NewPeers, NewPorts],
    },
    Entity {
        name: "dstsvc",
        meaning: "destination and service",
        src: false,
        dst: true,
        service: true,
        shape: false,
        distinct: &[Peers, NewPeers],
    },
    Entity {
        name: "pairsvc",
        meaning: "source, destination and service",
        src: true,
        dst: true,
        service: true,
        shape: false,
        distinct: &[],
    },
    Entity {
        name: "srcshape",
        meaning: "the same source, service, conn_state, and packets and bytes either way to an octave",
        src: true,
        dst: false,
        service: true,
        shape: true,
        distinct: &[],
    },
    Entity {
        name: "dstshape",
        meaning: "the same destination, service, conn_state, and packets and bytes either way to an octave",
        src: false,
        dst: true,
        service: true,
        shape: true,
        distinct: &[],
    },
];

/// Whether source, destination and service are parts of what has this name in columns: of an entity, or of what is remembered
/// beyond the horizons, where a port is of a service. `None` for other names.
pub(crate) fn parts(name: &str) -> Option<[bool; 3]> {
    let entity = ENTITIES.iter().find(|entity| entity.name == name);
    let identity = || IDENTITIES.iter().find(|identity| identity.name == name);
    entity
        .map(|entity| [entity.src, entity.dst, entity.service])
        .or_else(|| identity().map(|of| [of.src, of.dst, of.part != Part::Nothing]))
}

/// What is counted over the rows of a horizon.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Statistic {
    /// Rows with `row_index` 0: flows that started.
    Flows,
    /// Rows.
    Rows,
    /// Rows of flows that came to nothing, as far as the row tells: `conn_state` S0, REJ or RSTOS0, or
    /// UDP, or a request of ICMP or ICMPv6, to one host and without a packet back in this row.
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
    /// Those of `Peers` that the entity had no row with before the horizon, as far back as is remembered.
    NewPeers,
    /// Those of `Ports`.
    NewPorts,
    /// Those of `Services`.
    NewServices,
    /// Those of `Ends`.
    NewEnds,
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
    /// The number of elements whose first row ever lies in the horizon: the sum of those of each window.
    New,
    /// The number of windows.
    Windows,
}

/// Every statistic, in the order of columns.
const STATISTICS: [Statistic; 15] = [
    Flows,
    Rows,
    Failed,
    Packets,
    FwdBytes,
    BwdBytes,
    Peers,
    Ports,
    Services,
    Ends,
    NewPeers,
    NewPorts,
    NewServices,
    NewEnds,
    Active,
];

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
            NewPeers => "new_peers",
            NewPorts => "new_ports",
            NewServices => "new_services",
            NewEnds => "new_ends",
            Active => "active",
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Flows => "flows that started",
            Rows => "rows",
            Failed => {
                "rows whose conn_state is S0, REJ or RSTOS0, or UDP and requests of ICMP to one host without a packet back"
            }
            Packets => "packets, both ways",
            FwdBytes => "bytes from the initiators",
            BwdBytes => "bytes from the responders",
            Peers => "distinct addresses at the other end",
            Ports => "distinct (protocol, responder port), for ICMP (protocol, type)",
            Services => {
                "distinct services: (protocol, responder port), ports without a name from 32768, of UDP from 1024 pooled"
            }
            Ends => "distinct (destination, protocol, responder port)",
            NewPeers => "those of peers that were met for the first time ever",
            NewPorts => "those of ports that were met for the first time ever",
            NewServices => "those of services that were met for the first time ever",
            NewEnds => "those of ends that were met for the first time ever",
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
            NewPeers | NewPorts | NewServices | NewEnds => Method::New,
            Active => Method::Windows,
        }
    }
}

/// What the element that a row is in a distinct count of an entity has, the entity's own values included:
/// whether the source, whether the destination, and how much of the port.
pub(super) fn element(entity: &Entity, statistic: Statistic) -> (bool, bool, Part) {
    let peers = matches!(statistic, Peers | NewPeers);
    let ends = matches!(statistic, Ends | NewEnds);
    let part = match statistic {
        Ports | NewPorts | Ends | NewEnds => Part::Port,
        _ if entity.service || matches!(statistic, Services | NewServices) => Part::Service,
        _ => Part::Nothing,
    };
    (entity.src || peers, entity.dst || peers || ends, part)
}

/// One context column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Definition(pub(super) Column);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Column {
    /// What an entity did in a horizon.
    Counted(Counting),
    /// What is known beyond any horizon.
    Recalled(Recalled),
}

/// A statistic of an entity over a horizon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Counting {
    /// Position in [`ENTITIES`].
    pub(super) entity: usize,
    /// Position in [`HORIZONS`].
    pub(super) horizon: usize,
    /// What is counted.
    pub(super) statistic: Statistic,
}

impl Definition {
    /// The name of the column: `ctx_<entity>_w<windows>_<statistic>`, `age_<id>`, `first_pairsvc`,
    /// `reg_<entity>_<measure>`, `lead_<entity>`, `src_is_new`.
    pub fn name(&self) -> String {
        match &self.0 {
            Column::Counted(counting) => {
                let (entity, windows) = (ENTITIES[counting.entity].name, HORIZONS[counting.horizon]);
                format!("ctx_{entity}_w{windows}_{}", counting.statistic.name())
            }
            Column::Recalled(recalled) => recalled.name(),
        }
    }

    /// Type of the column.
    pub fn kind(&self) -> Kind {
        match &self.0 {
            Column::Counted(counting) => match counting.statistic.method() {
                Method::Sum => Kind::U64,
                Method::Distinct | Method::New | Method::Windows => Kind::U32,
            },
            Column::Recalled(recalled) => recalled.kind(),
        }
    }

    /// Whether a value may not exist.
    pub fn nullable(&self) -> bool {
        match &self.0 {
            Column::Counted(_) => false,
            Column::Recalled(recalled) => recalled.nullable(),
        }
    }

    /// Unit, `1` for counts, empty for what has none.
    pub fn unit(&self) -> &'static str {
        match &self.0 {
            Column::Counted(counting) => counting.statistic.unit(),
            Column::Recalled(recalled) => recalled.unit(),
        }
    }

    /// What it means.
    pub fn meaning(&self) -> String {
        let counting = match &self.0 {
            Column::Counted(counting) => counting,
            Column::Recalled(recalled) => return recalled.meaning(),
        };
        let horizon = match HORIZONS[counting.horizon] {
            1 => "in this window".to_owned(),
            windows => format!("in the last {windows} windows"),
        };
        let exact = match counting.statistic.method() {
            Method::Distinct => {
                format!(
                    "; exact up to {EXACT}, above an estimate of standard error {:.1} %",
                    100.0 * STANDARD_ERROR
                )
            }
            Method::Sum | Method::New | Method::Windows => String::new(),
        };
        let meaning = counting.statistic.meaning();
        format!("{meaning} of {} {horizon}{exact}", ENTITIES[counting.entity].meaning)
    }

    /// The field of the Arrow schema.
    pub fn field(&self) -> Field {
        Field::new(self.name(), self.kind().data_type(), self.nullable())
    }
}

/// Every context column, in the order in which rows carry them: first by entity, horizon, statistic, then what
/// looks beyond the horizons.
pub fn definitions() -> Vec<Definition> {
    let mut all = Vec::new();
    for (entity, what) in ENTITIES.iter().enumerate() {
        for (horizon, windows) in HORIZONS.iter().enumerate() {
            for statistic in STATISTICS {
                let means = match statistic.method() {
                    // How many are alike now is what shapes are for.
                    _ if what.shape => statistic == Rows && *windows == 1,
                    Method::Sum => true,
                    Method::Distinct | Method::New => what.distinct.contains(&statistic),
                    // In a horizon of one window it would be 1 for every row.
                    Method::Windows => *windows > 1,
                };
                if means {
                    all.push(Definition(Column::Counted(Counting { entity, horizon, statistic })));
                }
            }
        }
    }
    all.extend(Recalled::all().map(|recalled| Definition(Column::Recalled(recalled))));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::columns::is_context;

    #[test]
    fn an_estimate_says_that_it_is_one() {
        let said = |name: &str| {
            let all = definitions();
            all.iter().find(|definition| definition.name() == name).unwrap().meaning()
        };
        assert!(
            said("ctx_src_w1_peers").ends_with("; exact up to 64, above an estimate of standard error 2.3 %")
        );
        for exact in ["ctx_src_w1_flows", "ctx_src_w1_new_peers", "ctx_src_w6_active", "age_src"] {
            assert!(!said(exact).contains("estimate"), "{exact}");
        }
    }

    #[test]
    fn entities_and_what_is_remembered_of_the_same_name_have_the_same_parts() {
        for of in &IDENTITIES {
            assert_eq!(parts(of.name), Some([of.src, of.dst, of.part != Part::Nothing]), "{}", of.name);
        }
        assert_eq!(parts("srcshape"), Some([true, false, true]));
        assert_eq!(parts("pairport"), Some([true, true, true]));
        assert_eq!(parts("len"), None);
    }

    #[test]
    fn names_are_unique_and_of_the_contract() {
        let mut names: Vec<String> = definitions().iter().map(Definition::name).collect();
        // 6 entities x 3 horizons x 6 sums, 12 distinct counts and 11 new ones x 3 horizons, active of w6 and
        // w30; rows of two shapes; 9 ages, the first row, 4 measures of regularity, 6 leads, whether the source is new.
        let all = 108 + 36 + 33 + 12 + 2 + 9 + 1 + 4 + 6 + 1;
        assert_eq!(names.len(), all);
        for name in ["ctx_pairsvc_w30_active", "ctx_src_w1_new_ends", "age_dstport", "lead_dstsvc"] {
            assert!(names.iter().any(|other| other == name), "{name}");
        }
        assert!(names.iter().all(|name| is_context(name)));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
