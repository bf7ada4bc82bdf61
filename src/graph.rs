//! The one graph. Training, archive and live differ only in sources, ends, and where the model comes from.

use std::sync::{Arc, Mutex};

use arrow::datatypes::SchemaRef;
use timely::dataflow::operators::{Concatenate, Probe};
use timely::dataflow::{ProbeHandle, Scope};
use timely::scheduling::Activator;

use crate::context::Plan;
use crate::context::operator::{self as context, Lengths, Remembering};
use crate::detect::operator::{self as detect, Thresholds};
use crate::detect::{Detector, Learning};
use crate::flow::operator::{self as flow, Assembly};
use crate::incident::budget::Budget;
use crate::incident::operator::{self as incident, Incidents, Watch};
use crate::packet::operator::{self as packet, Reading};
use crate::row::Without;
use crate::row::operator as row;
use crate::sink::operator::{self as sink, ChangeEnd, End, Joined};
use crate::source::operator::{self as source, RowReading};
use crate::tally::{Fault, Tally};

/// Where the graph begins.
#[derive(Clone)]
pub enum Source {
    /// Frames, from files or an interface, and how flows are assembled.
    Frames(Arc<Reading>, Arc<Assembly>),
    /// Rows.
    Rows(Arc<RowReading>),
}

/// What happens to rows on their way.
#[derive(Clone)]
pub struct Rooms {
    /// Rows that are left out.
    pub without: Option<Arc<Without>>,
    /// Context columns and the window in nanoseconds; `None` where nothing is counted.
    pub context: Option<(Arc<Plan>, u64)>,
    /// What context remembers from before, and where it leaves what it remembers.
    pub remembering: Remembering,
    /// The model that scores, above which scores rows are anomalies and count as many, and the schema of scored rows.
    pub detector: Option<(Arc<dyn Detector>, Thresholds, SchemaRef)>,
    /// How incidents are made of scored rows, and how many a day are reported; `None` where rows are not of flows.
    pub incidents: Option<(Watch, Option<Budget>)>,
    /// How rows of several workers make one order.
    pub joined: Joined,
    /// Counters.
    pub tally: Arc<Tally>,
    /// The first error.
    pub fault: Arc<Fault>,
}

/// Where the graph ends on one worker.
pub struct Ends {
    /// What learns from rows, and where what it learned is merged.
    pub learning: Option<(Learning, Arc<Mutex<Option<Learning>>>)>,
    /// What takes rows, on worker 0 (none on others); `None` where rows go no further.
    pub rows: Option<Vec<Box<dyn End>>>,
    /// What takes scored rows, on worker 0 (none on others).
    pub scored: Vec<Box<dyn End>>,
    /// What takes scored rows with the incidents that they came to, on worker 0; `None` on all where nobody does.
    pub alerts: Option<Vec<Box<dyn End>>>,
    /// What takes changes of incidents, on worker 0 (none on others).
    pub incidents: Vec<Box<dyn ChangeEnd>>,
}

/// Connects the rooms. The returned activator wakes the source when the probe has moved.
pub fn build(
    scope: Scope<'_, u64>,
    source: Source,
    rooms: Rooms,
    mut ends: Ends,
    probe: &ProbeHandle<u64>,
) -> Activator {
    let fault = rooms.fault;
    let slice = match &source {
        Source::Frames(_, how) => how.slice,
        Source::Rows(reading) => reading.slice,
    };
    let (rows, wake) = match source {
        Source::Frames(reading, how) => {
            let (packets, wake) = packet::packets(scope, reading, probe.clone());
            (flow::assemble(packets, how), wake)
        }
        Source::Rows(reading) => source::rows(scope, reading, probe.clone()),
    };
    let rows = match rooms.without {
        Some(without) => row::leave_out(rows, without),
        None => rows,
    };
    let rows = match rooms.context {
        Some((plan, window)) => {
            let lengths = Lengths { window, slice };
            context::count(rows, plan, lengths, rooms.remembering, rooms.tally.clone(), fault.clone())
        }
        None => rows,
    };
    let mut ended = Vec::new();
    if let Some((learning, learned)) = ends.learning {
        ended.push(detect::learn(rows.clone(), Some(learning), learned, fault.clone()));
    }
    if let Some((detector, thresholds, schema)) = rooms.detector {
        let (of_flows, tally) = (rooms.incidents.is_some(), rooms.tally.clone());
        let mut scored =
            detect::score(rows.clone(), detector, (thresholds, schema), of_flows, tally, fault.clone());
        if let Some((watch, budget)) = rooms.incidents {
            // The probe does not wait for it: it is woken by whole windows. What it holds are findings, and until those of
            // a window are known the batches for alerts that have some.
            let Incidents { changes, thresholds } =
                incident::incidents(scored.clone(), &watch, fault.clone());
            if watch.changes.is_some() {
                scored = detect::mark(scored, thresholds, rooms.tally.clone(), fault.clone());
            }
            if let Some(alerts) = ends.alerts.take() {
                let belonging =
                    sink::belonging(scored.clone(), changes.clone(), rooms.tally.clone(), fault.clone());
                sink::write(belonging, alerts, rooms.joined, fault.clone());
            }
            sink::report(changes, ends.incidents, budget, rooms.tally, fault.clone());
        }
        ended.push(sink::write(scored, ends.scored, rooms.joined, fault.clone()));
    }
    if let Some(ends) = ends.rows {
        ended.push(sink::write(rows, ends, rooms.joined, fault));
    }
    scope.concatenate(ended).probe_with(probe);
    wake
}
