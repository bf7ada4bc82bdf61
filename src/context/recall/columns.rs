//! What is remembered beyond any horizon, and the columns that are made from it.

use super::super::definitions::{ENTITIES, element};
use super::super::{Entity, Statistic};
use crate::row::Kind;

/// How much of the port an identity has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::context) enum Part {
    /// Nothing.
    Nothing,
    /// The service: ports from 32768 are one, with them those of UDP from 1024 that have no name.
    Service,
    /// The port itself.
    Port,
}

/// Values that rows share, whose first row ever is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::context) struct Identity {
    /// As it stands in names of columns.
    pub(in crate::context) name: &'static str,
    meaning: &'static str,
    pub(in crate::context) src: bool,
    pub(in crate::context) dst: bool,
    pub(in crate::context) part: Part,
}

const fn identity(
    name: &'static str,
    meaning: &'static str,
    (src, dst, part): (bool, bool, Part),
) -> Identity {
    Identity { name, meaning, src, dst, part }
}

/// Every identity: the entities in their order, and what their distinct counts count beside those.
pub(in crate::context) const IDENTITIES: [Identity; 9] = [
    identity("src", "the source", (true, false, Part::Nothing)),
    identity("dst", "the destination", (false, true, Part::Nothing)),
    identity("pair", "source and destination", (true, true, Part::Nothing)),
    identity("srcsvc", "source and service", (true, false, Part::Service)),
    identity("dstsvc", "destination and service", (false, true, Part::Service)),
    identity("pairsvc", "source, destination and service", (true, true, Part::Service)),
    identity("pairport", "source, destination, protocol and port", (true, true, Part::Port)),
    identity("dstport", "destination, protocol and port", (false, true, Part::Port)),
    identity("srcsvcport", "source, protocol and port", (true, false, Part::Port)),
];

/// Positions in [`IDENTITIES`].
pub(super) const SRC: usize = 0;
pub(super) const PAIR: usize = 2;
const SRCSVC: usize = 3;
const PAIRSVC: usize = 5;
pub(super) const PAIRPORT: usize = 6;

/// Ages from here on are one, in windows.
pub const OLDEST: u64 = 60;

/// How long a new host of one's own joins, in nanoseconds of event time: for five minutes it is new; what it
/// was seen with by then is as old as anything from then on, as if it had always been there, and only what
/// comes later is new to it.
pub(crate) const JOINING: i64 = 300_000_000_000;

/// How regularly flows start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::context) enum Measure {
    /// Deviation by mean of the last 8 gaps.
    Cv8,
    /// Mean of the last 8 gaps.
    Gap8,
    /// Deviation by mean of the last 16 gaps.
    Cv16,
}

/// A column that looks beyond the horizons.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::context) enum Recalled {
    /// Windows since the first row of an identity.
    Age(usize),
    /// The window of that row.
    First(usize),
    /// Regularity of the starts of an identity's flows.
    Regularity(usize, Measure),
    /// Whether the row stands for its entity.
    Lead(usize),
    /// Whether the source is one's own, had no row before the run, and its first one is less than [`JOINING`] ago.
    New,
}

/// The measures of regularity there are, in the order of columns.
pub(super) const MEASURES: [(usize, Measure); 4] =
    [(PAIRSVC, Measure::Cv8), (PAIRSVC, Measure::Gap8), (PAIRSVC, Measure::Cv16), (SRCSVC, Measure::Cv16)];

impl Recalled {
    /// Every such column, in order.
    pub(in crate::context) fn all() -> impl Iterator<Item = Recalled> {
        let ages = (0..IDENTITIES.len()).map(Recalled::Age);
        let regularities = MEASURES.into_iter().map(|(of, measure)| Recalled::Regularity(of, measure));
        // What is remembered of rows is nothing of their shape.
        let leads = (0..ENTITIES.len()).filter(|of| !ENTITIES[*of].shape).map(Recalled::Lead);
        ages.chain([Recalled::First(PAIRSVC)]).chain(regularities).chain(leads).chain([Recalled::New])
    }

    /// Position of the identity in [`IDENTITIES`].
    pub(in crate::context) fn of(self) -> usize {
        match self {
            Recalled::Age(of) | Recalled::First(of) | Recalled::Regularity(of, _) | Recalled::Lead(of) => of,
            Recalled::New => SRC,
        }
    }

    fn identity(self) -> &'static Identity {
        &IDENTITIES[self.of()]
    }

    /// An age has no entity in its name: since when a pair is known does not depend on whether that is held
    /// against the source's past or the destination's.
    pub(in crate::context) fn name(self) -> String {
        let of = self.identity().name;
        match self {
            Recalled::Age(_) => format!("age_{of}"),
            Recalled::First(_) => format!("first_{of}"),
            Recalled::Regularity(_, Measure::Cv8) => format!("reg_{of}_cv8"),
            Recalled::Regularity(_, Measure::Gap8) => format!("reg_{of}_gap8"),
            Recalled::Regularity(_, Measure::Cv16) => format!("reg_{of}_cv16"),
            Recalled::Lead(_) => format!("lead_{of}"),
            Recalled::New => format!("{of}_is_new"),
        }
    }

    pub(in crate::context) fn kind(self) -> Kind {
        match self {
            Recalled::Age(_) => Kind::U8,
            Recalled::First(_) => Kind::Time,
            Recalled::Regularity(..) => Kind::F32,
            Recalled::Lead(_) | Recalled::New => Kind::Bool,
        }
    }

    pub(in crate::context) fn nullable(self) -> bool {
        matches!(self, Recalled::Regularity(..))
    }

    pub(in crate::context) fn unit(self) -> &'static str {
        match self {
            Recalled::Age(_) | Recalled::Regularity(_, Measure::Cv8 | Measure::Cv16) => "1",
            Recalled::Regularity(_, Measure::Gap8) => "s",
            Recalled::First(_) | Recalled::Lead(_) | Recalled::New => "",
        }
    }

    pub(in crate::context) fn meaning(self) -> String {
        let of = self.identity().meaning;
        let cv = |last: usize| format!("population deviation by mean of the last {last} gaps between");
        let starts = |least: usize| {
            format!(
                "starts of flows of {of}, at the flow's own start; null with fewer than {least}, and where their mean is a \
                 millisecond or less"
            )
        };
        match self {
            Recalled::Age(_) => format!("windows since the first row ever of {of}, at most {OLDEST}"),
            Recalled::First(_) => format!("start of the window of the first row ever of {of}"),
            Recalled::Regularity(_, Measure::Cv8) => format!("{} {}", cv(8), starts(4)),
            Recalled::Regularity(_, Measure::Gap8) => {
                format!("mean of the last 8 gaps between {}", starts(4))
            }
            Recalled::Regularity(_, Measure::Cv16) => format!("{} {}", cv(16), starts(8)),
            Recalled::Lead(_) => {
                format!("whether the row has the smallest flow_id of all rows of {of} in the window")
            }
            Recalled::New => {
                format!(
                    "whether {of} lies in a local network, began no flow in what the model learned from (where it may have \
                     answered), and began its first less than 5 minutes ago"
                )
            }
        }
    }

    /// The columns of rows that it is made from.
    pub(in crate::context) fn reads(self) -> Vec<&'static str> {
        let mut columns = self.identity().reads();
        if let Recalled::Regularity(..) = self {
            columns.extend(["row_index", "flow_start"]);
        }
        columns
    }
}

impl Identity {
    /// The columns of rows that it is made from, and the one that orders its rows.
    pub(in crate::context) fn reads(&self) -> Vec<&'static str> {
        let mut columns = vec!["flow_id"];
        columns.extend(self.src.then_some("src_ip"));
        columns.extend(self.dst.then_some("dst_ip"));
        if self.part != Part::Nothing {
            columns.extend(["protocol", "dst_port", "icmp_type"]);
        }
        columns
    }
}

/// The identity that an entity and an element of its distinct counts are together: whether the element is new
/// to the entity is whether that identity is new.
pub(in crate::context) fn with_element(entity: &Entity, statistic: Statistic) -> usize {
    let parts = element(entity, statistic);
    let of = IDENTITIES.iter().position(|identity| (identity.src, identity.dst, identity.part) == parts);
    of.expect("every distinct count that can be new has its identity")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::definitions::{Column, definitions};

    #[test]
    fn what_is_new_to_an_entity_is_an_identity_of_its_own() {
        let mut found = Vec::new();
        for definition in definitions() {
            let Column::Counted(counting) = definition.0 else { continue };
            if counting.statistic.name().starts_with("new_") && counting.horizon == 0 {
                let entity = &ENTITIES[counting.entity];
                let identity = IDENTITIES[with_element(entity, counting.statistic)].name;
                found.push((entity.name, &counting.statistic.name()[4..], identity));
            }
        }
        let expected = [
            ("src", "peers", "pair"),
            ("src", "services", "srcsvc"),
            ("src", "ends", "pairport"),
            ("dst", "peers", "pair"),
            ("dst", "ports", "dstport"),
            ("dst", "services", "dstsvc"),
            ("pair", "ports", "pairport"),
            ("pair", "services", "pairsvc"),
            ("srcsvc", "peers", "pairsvc"),
            ("srcsvc", "ports", "srcsvcport"),
            ("dstsvc", "peers", "pairsvc"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn entities_are_the_first_identities() {
        for (entity, identity) in ENTITIES.iter().filter(|entity| !entity.shape).zip(&IDENTITIES) {
            let part = if entity.service { Part::Service } else { Part::Nothing };
            assert_eq!(
                (entity.name, entity.meaning, entity.src, entity.dst, part),
                (identity.name, identity.meaning, identity.src, identity.dst, identity.part)
            );
        }
        assert_eq!(
            [PAIR, SRCSVC, PAIRSVC, PAIRPORT].map(|at| IDENTITIES[at].name),
            ["pair", "srcsvc", "pairsvc", "pairport"]
        );
    }
}
