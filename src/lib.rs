//! Network anomaly detection in one dataflow graph: the same features and scores from capture files and
//! from the wire.
//!
//! This page is the map. A packet walks through the house in one direction; each folder is a room.
//!
//! ```text
//!  captures --+                                                    +-- Parquet rows, packet rows
//!  interface -+- source -- packet --(to the flow's owner)-- flow --+
//!                                                                  rows -- context -- encode -- detect -- sink: scores, alerts, summary
//!  Parquet rows ---------------------------------------------------+                    |  |
//!                                                                                       |  +-- incident -- sink: incidents
//!                                                                                       +-- fit: model
//! ```
//!
//! | room | what it does to what passes |
//! |---|---|
//! | [`source`] | bytes with a capture time: capture files, compressed, many merged by time; interfaces; Parquet rows |
//! | [`packet`] | a frame decoded to a small fixed-size packet, or refused with a cause; to the workers in batches |
//! | [`flow`] | packets of one conversation, both ways, cut by windows |
//! | [`row`] | the noun that everything after speaks: the dictionary of columns, the Arrow schema, batches |
//! | [`context`] | what an entity did in its windows |
//! | [`encode`] | columns to numbers, fitted in the graph |
//! | [`detect`] | numbers to scores: a detector learns what is usual and says how odd a row is |
//! | [`model`] | the model file: what was learned, of which columns |
//! | [`incident`] | anomalous rows that belong together, as one thing to look at; the allow-list |
//! | [`sink`] | Parquet, Arrow, CSV, alerts, the console, the summary |
//! | [`report`] | what a run left of incidents, read again |
//! | [`evaluate`] | results held against labels |
//!
//! Around them:
//!
//! | module | what it does |
//! |---|---|
//! | [`cli`] | the command line: each verb is a pipeline with other ends |
//! | [`spec`] | the pipeline file, checked: each room's own settings, and the ends |
//! | [`run`] | opens what is read and written, starts workers and stops them |
//! | [`graph`] | connects the rooms, once |
//! | [`apart`] | holds what is written against what is read: nothing is written over an input |
//! | [`draft`] | files that appear whole or not at all, those of a run together |
//! | [`reading`] | Parquet and tables that may be damaged |
//! | [`tally`] | counters at the doorways, the first error of a run, and what ends it |
//! | [`threads`] | threads beside the workers, which the system may refuse |
//! | `terminal` | foreign text that does nothing to a terminal, and a terminal that does nothing to a run |
//!
//! # From a program
//!
//! A pipeline is a [`spec::Spec`], which [`run::run`] runs to its end, as the verbs of the command line do:
//!
//! ```no_run
//! use netweir::run::{Controls, run};
//! use netweir::spec::Spec;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut spec = Spec::built_in("train");
//! spec.source.inputs = vec!["quiet.pcap".into()];
//! spec.ends.fit = Some("office.netweir".into());
//! let trained = run(&spec, Controls::default())?;
//! println!("{} rows", trained.summary.rows);
//!
//! let mut spec = Spec::built_in("detect");
//! spec.source.inputs = vec!["today.pcap".into()];
//! spec.ends.model = Some("office.netweir".into());
//! spec.ends.report = Some("out".into());
//! let found = run(&spec, Controls::default())?;
//! println!("{} incidents", found.summary.incidents.unwrap_or(0));
//! # Ok(())
//! # }
//! ```
//!
//! A pipeline is checked before anything is touched, and whatever is wrong is a [`run::RunError`] of one line, also where
//! a worker panics. [`run::run`] and [`run::Controls`] say what else a run does to the process that it runs in. Two things
//! are the process's own, which the command line sees to and a program must:
//!
//! - Encoding Parquet and growing trees go on in the global pool of rayon, which has a thread for each core unless
//!   `RAYON_NUM_THREADS` or `rayon::ThreadPoolBuilder::build_global` says otherwise before the first run. The command line
//!   gives it as many threads as there are workers.
//! - Captures that overlap in time are open at once. Where there are more than the limit of open files allows (often 1024)
//!   the run ends with an error; the command line raises its own limit as far as it may.
//!
//! # Rules of the house
//!
//! In each room `mod.rs` holds the noun, its spec and its error; `operator.rs` is the only file that names
//! timely; the rest knows no clock and no graph. A room imports only rooms above it in the table, `row`, and of what
//! is around them `draft`, `reading`, `tally`, `terminal` and `threads`. `tests/tidy.rs` keeps that.
//!
//! What every run promises: rows, model and scores depend on the packets and the pipeline alone; not on the
//! number of workers, the length of slices, the split into files, or whether the wire was live. Arrival
//! order is never event order: an operator keeps what it gets until the frontier has passed, and applies it in
//! the order of (event time, input, record). What is summed across workers is whole or exact; random choices
//! descend from the seed and a row's identity.
//!
//! # Glossary
//!
//! - *Event time*: when a frame was captured, nanoseconds since the Unix epoch; the only time there is.
//! - *Frontier*: the time before which nothing more will come. *Slice*: event time of one timely timestamp.
//! - *Flow*: the packets of one (VLAN, protocol, address and port, address and port), both ways, until it
//!   closes or is idle. *Initiator* and *responder*: who began it, and the other; *forward* is from the initiator.
//! - *Window*: a tumbling stretch of event time. *Row*: what one flow did in one window.
//! - *Refused*: a frame that is no packet, counted by cause. *Late*: a packet behind its input's lateness, used
//!   at the watermark and counted.
//! - *Score*: how odd a row is, higher is odder. *Finding*: an anomalous row, as incidents are made of it.
//!   *Incident*: findings about one host with little silence between them. *Partition*: rows that have a forest of their own.

pub mod apart;
pub mod cli;
pub mod context;
pub mod detect;
pub mod draft;
pub mod encode;
pub mod evaluate;
pub mod flow;
pub mod graph;
pub mod incident;
pub mod model;
pub mod packet;
pub mod reading;
pub mod report;
pub mod row;
pub mod run;
pub mod sink;
pub mod source;
pub mod spec;
pub mod tally;
mod terminal;
pub mod threads;
