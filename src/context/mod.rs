//! What an entity (a host, a pair of hosts, a service of theirs) did in its last windows, beside each row.
//!
//! A context column is a statistic over all rows of the row's entity in the windows of a horizon that ends
//! with the row's own window: `ctx_<entity>_<horizon>_<statistic>`. Other columns look beyond any horizon:
//! since when something is known, how regularly it comes. [`definitions`] is the table of all.
//!
//! Rows of a window are counted where they are ([`window`]), what was counted goes to the worker that owns
//! the entity, which keeps it for the horizon ([`horizon`]) and answers what the columns of those rows
//! are made from ([`attach`]). All of it is sums of integers and mergeable sets ([`distinct`]), so the
//! values depend neither on the number of workers nor on how rows are cut into batches. Before that,
//! [`recall`] asks and answers in the same way what was seen before, which is a [`Memory`] that outlives a run.

pub(crate) mod address;
mod asking;
mod attach;
mod cells;
mod definitions;
mod distinct;
pub(crate) mod entity;
mod horizon;
pub(crate) mod local;
pub mod operator;
mod places;
mod recall;
mod shape;
mod sums;
mod window;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

pub(crate) use definitions::parts;
pub use definitions::{Definition, ENTITIES, Entity, HORIZONS, Statistic, definitions};
pub use distinct::{EXACT, STANDARD_ERROR};
pub(crate) use local::OwnHosts;
pub(crate) use recall::{Busy, JOINING, OnLink};
pub use recall::{Memory, OLDEST};

use crate::row::columns::is_context;
use crate::row::names::matches;
use definitions::{Column, Counting, Method};
use entity::SHARDS;
use local::Networks;
use recall::{IDENTITIES, Recall};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// What the pipeline file says about context (`[context]`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContextSpec {
    /// Names of context columns, or patterns with `*` for any run of characters. Nothing else is computed.
    pub columns: Vec<String>,
    /// How many sources, destinations, pairs, services and ports of theirs are remembered beyond the horizons,
    /// in all; where there are more, those that came and went are forgotten first, the last seen longest ago of them,
    /// and last what has been there for ten minutes or more. Only columns that look that far remember any.
    pub remember: u64,
    /// Networks that are one's own, like `10.0.0.0/8`: a source of theirs that began no flow in training is a new
    /// host (`src_is_new`). `link` among them stands for those of which training finds several hosts on the captured
    /// link. The private ranges of IPv4 and IPv6, link-local addresses and `link` when not given.
    pub local: Vec<String>,
    /// How many entities of each kind (sources, pairs, services of theirs) are counted over horizons; of more than
    /// that those last seen longest ago are forgotten, and counted anew when they come again.
    pub entities: u64,
}

impl Default for ContextSpec {
    fn default() -> Self {
        ContextSpec {
            columns: Vec::new(),
            remember: 1_000_000,
            entities: 2_000_000,
            local: local::PRIVATE.into_iter().chain([local::LINK]).map(str::to_owned).collect(),
        }
    }
}

/// What `remember` and `entities` may be.
const ROOM: std::ops::RangeInclusive<u64> = 256..=100_000_000;

/// Columns that cannot be computed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContextError {
    /// No column has that name.
    #[error("[context] columns: unknown column `{name}`: did you mean `{nearest}`?")]
    Unknown {
        /// What the file says.
        name: String,
        /// The known name that is most like it.
        nearest: String,
    },
    /// A pattern that no column has.
    #[error("[context] columns: pattern `{pattern}` matches no column; names are like `{example}`")]
    NoMatch {
        /// What the file says.
        pattern: String,
        /// A known name.
        example: String,
    },
    /// A number of identities or entities that makes no sense.
    #[error("[context] {key} = {found}: allowed are {} to {}", ROOM.start(), ROOM.end())]
    Room {
        /// The key.
        key: &'static str,
        /// What the file says.
        found: u64,
    },
    /// A network that is none.
    #[error(
        "[context] local: `{found}` is no network; it must be like `10.0.0.0/8` or `fd00::/8`, or `link`"
    )]
    Network {
        /// What the file says.
        found: String,
    },
    /// Rows lack a column that context is counted from.
    #[error("column `{column}` is missing in the rows: context column `{wanted}` is counted from it")]
    Missing {
        /// The missing column.
        column: &'static str,
        /// A context column that needs it.
        wanted: String,
    },
    /// Rows have such a column with a type that cannot be read.
    #[error("column `{column}` is {found}, context needs {expected}")]
    Type {
        /// The column.
        column: &'static str,
        /// Its type.
        found: DataType,
        /// What can be read.
        expected: &'static str,
    },
}

/// The context columns of a pipeline, checked, and what must be counted for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    names: Vec<String>,
    fields: Vec<Arc<Field>>,
    groups: Vec<Group>,
    /// Entities of a kind that a share of keys has room for.
    most: usize,
    /// What rows say of the networks that are one's own; nothing where they are the private ones.
    local: Option<String>,
    recall: Recall,
    reads: Vec<Read>,
}

/// What each row adds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sum {
    /// A statistic.
    Of(Statistic),
    /// The number of identities, of a position in [`IDENTITIES`], whose first row ever is of the window.
    New(usize),
}

/// What is counted about one entity.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    entity: Entity,
    /// The sums that are needed.
    sums: Vec<Sum>,
    /// The distinct counts that are needed.
    sets: Vec<Set>,
    /// The longest horizon in windows: what is older is forgotten.
    horizon: u64,
    /// Its columns, in order: an answer holds one value for each.
    values: Vec<Value>,
}

/// A distinct count of an entity, and the horizons that it is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Set {
    statistic: Statistic,
    /// Those of [`HORIZONS`] that are asked for, 0 in the place of others.
    horizons: [u64; 3],
    /// The longest of them.
    longest: u64,
}

/// Where the value of a column is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Value {
    /// Position in [`HORIZONS`].
    horizon: usize,
    source: Counted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    /// Position among the group's sums.
    Sum(usize),
    /// Position among the group's sets.
    Set(usize),
    /// Windows with a row.
    Active,
}

/// A column of the rows that must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Read {
    column: &'static str,
    /// A context column that is counted from it.
    wanted: String,
}

impl Plan {
    /// The plan of a pipeline: its columns in the order of [`definitions`], each once.
    ///
    /// # Errors
    /// [`ContextError`] for a name or pattern that no column has, and for a number out of its range.
    pub fn new(spec: &ContextSpec) -> Result<Plan, ContextError> {
        for (key, found) in [("remember", spec.remember), ("entities", spec.entities)] {
            if !ROOM.contains(&found) {
                return Err(ContextError::Room { key, found });
            }
        }
        let recall = Recall::new(spec.remember, Networks::parse(&spec.local)?);
        let all: Vec<(String, Definition)> = definitions().into_iter().map(|d| (d.name(), d)).collect();
        let mut chosen = vec![false; all.len()];
        for pattern in &spec.columns {
            let mut met = false;
            for ((name, _), chosen) in all.iter().zip(&mut chosen) {
                if matches(pattern, name) {
                    (met, *chosen) = (true, true);
                }
            }
            if met {
                continue;
            }
            let likeness = |name: &String| strsim::jaro_winkler(name, pattern);
            let names = all.iter().map(|(name, _)| name);
            let nearest = names.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
            let nearest = nearest.cloned().unwrap_or_default();
            let pattern = pattern.clone();
            return Err(match pattern.contains('*') {
                true => ContextError::NoMatch { pattern, example: nearest },
                false => ContextError::Unknown { name: pattern, nearest },
            });
        }
        let chosen = all.into_iter().zip(chosen).filter(|(_, chosen)| *chosen);
        let most = (spec.entities / SHARDS as u64) as usize;
        let plan = Plan::of(chosen.map(|(definition, _)| definition), recall, most);
        let named: Vec<&str> = local::named(&spec.local).map(String::as_str).collect();
        Ok(Plan { local: (named != local::PRIVATE).then(|| named.join(" ")), ..plan })
    }

    /// Of columns in the order of the table; each share of keys has room for so many entities.
    fn of(columns: impl Iterator<Item = (String, Definition)>, recall: Recall, most: usize) -> Plan {
        let (names, fields) = (Vec::new(), Vec::new());
        let mut plan =
            Plan { names, fields, groups: Vec::new(), most, local: None, recall, reads: Vec::new() };
        for (name, definition) in columns {
            let read = match definition.0 {
                Column::Counted(counting) => plan.count(counting),
                Column::Recalled(recalled) => {
                    plan.recall.column(recalled);
                    recalled.reads()
                }
            };
            for column in read {
                if plan.reads.iter().all(|read| read.column != column) {
                    plan.reads.push(Read { column, wanted: name.clone() });
                }
            }
            plan.fields.push(Arc::new(definition.field()));
            plan.names.push(name);
        }
        plan
    }

    /// One more value of an entity, the last one's or the next one's; the columns that it is counted from.
    fn count(&mut self, Counting { entity, horizon, statistic }: Counting) -> Vec<&'static str> {
        let entity = ENTITIES[entity];
        if self.groups.last().is_none_or(|group| group.entity != entity) {
            let (sums, sets, values) = (Vec::new(), Vec::new(), Vec::new());
            self.groups.push(Group { entity, sums, sets, horizon: 1, values });
        }
        let group = self.groups.last_mut().expect("a group was pushed");
        group.horizon = group.horizon.max(HORIZONS[horizon]);
        let mut read = reads(&entity, statistic);
        let source = match statistic.method() {
            Method::Sum => Counted::Sum(group.sum(Sum::Of(statistic))),
            Method::Distinct => Counted::Set(group.set(statistic, horizon)),
            Method::New => {
                let identity = recall::with_element(&entity, statistic);
                self.recall.count_new(identity);
                read = IDENTITIES[identity].reads();
                Counted::Sum(group.sum(Sum::New(identity)))
            }
            Method::Windows => Counted::Active,
        };
        group.values.push(Value { horizon, source });
        read
    }

    /// The names of the columns, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether columns are made from what is remembered beyond the horizons.
    pub fn remembers(&self) -> bool {
        !self.recall.is_empty()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The schema of rows with these columns behind their own, metadata kept; it says which networks are one's own
    /// where those are not the private ones. Context columns that the rows have already are left out: they are computed
    /// anew.
    pub fn schema(&self, rows: &Schema) -> SchemaRef {
        if self.is_empty() {
            return Arc::new(rows.clone());
        }
        let own = rows.fields().iter().filter(|field| !is_context(field.name()));
        let fields: Vec<Arc<Field>> = own.chain(&self.fields).cloned().collect();
        let mut metadata = rows.metadata().clone();
        metadata.remove(local::LOCAL);
        metadata.extend(self.local.iter().map(|local| (local::LOCAL.to_owned(), local.clone())));
        Arc::new(Schema::new_with_metadata(fields, metadata))
    }

    /// Checks that rows of this schema have what the columns are counted from.
    ///
    /// # Errors
    /// [`ContextError::Missing`] or [`ContextError::Type`] for the first column that is not as needed.
    pub fn check(&self, rows: &Schema) -> Result<(), ContextError> {
        for Read { column, wanted } in &self.reads {
            let Ok(field) = rows.field_with_name(column) else {
                return Err(ContextError::Missing { column, wanted: wanted.clone() });
            };
            entity::readable(column, field.data_type())?;
        }
        Ok(())
    }

    /// Whether entities are made of the shape of rows.
    fn has_shapes(&self) -> bool {
        self.groups.iter().any(|group| group.entity.shape)
    }

    /// Whether a column of the rows is needed.
    pub(crate) fn reads(&self, column: &str) -> bool {
        self.reads.iter().any(|read| read.column == column)
    }
}

impl Group {
    /// Whether its values are told by the rows of one window and worker alone, where there are so many workers.
    fn told_by_rows(&self, peers: usize) -> bool {
        peers == 1 && self.horizon == 1
    }

    /// The position of a sum, which is put in once.
    fn sum(&mut self, sum: Sum) -> usize {
        self.sums.iter().position(|other| *other == sum).unwrap_or_else(|| {
            self.sums.push(sum);
            self.sums.len() - 1
        })
    }

    /// The position of a set, which is put in once, with one more horizon.
    fn set(&mut self, statistic: Statistic, horizon: usize) -> usize {
        let known = self.sets.iter().position(|set| set.statistic == statistic);
        let at = known.unwrap_or_else(|| {
            self.sets.push(Set { statistic, horizons: [0; 3], longest: 0 });
            self.sets.len() - 1
        });
        let set = &mut self.sets[at];
        set.horizons[horizon] = HORIZONS[horizon];
        set.longest = set.longest.max(HORIZONS[horizon]);
        at
    }
}

/// The columns of rows that a statistic of an entity is counted from.
fn reads(entity: &Entity, statistic: Statistic) -> Vec<&'static str> {
    const SERVICE: [&str; 3] = ["protocol", "dst_port", "icmp_type"];
    let mut columns = Vec::new();
    if entity.src || statistic == Statistic::Peers {
        columns.push("src_ip");
    }
    if entity.dst || matches!(statistic, Statistic::Peers | Statistic::Ends) {
        columns.push("dst_ip");
    }
    if entity.service || matches!(statistic, Statistic::Ports | Statistic::Services | Statistic::Ends) {
        columns.extend(SERVICE);
    }
    if entity.shape {
        columns.extend(shape::COLUMNS);
    }
    match statistic {
        Statistic::Flows => columns.push("row_index"),
        Statistic::Failed => columns.extend(["conn_state", "protocol", "icmp_type", "dst_ip", "bwd_packets"]),
        Statistic::Packets => columns.push("bidir_packets"),
        Statistic::FwdBytes => columns.push("fwd_bytes"),
        Statistic::BwdBytes => columns.push("bwd_bytes"),
        // Rows are there, and what elements are made of is above.
        Statistic::Rows
        | Statistic::Peers
        | Statistic::Ports
        | Statistic::Services
        | Statistic::Ends
        | Statistic::NewPeers
        | Statistic::NewPorts
        | Statistic::NewServices
        | Statistic::NewEnds
        | Statistic::Active => {}
    }
    columns
}
