//! What a pipeline may end in.

use super::RunError;
use crate::spec::Spec;

/// Checks that what the graph ends in goes together.
///
/// # Errors
/// The first end that has no use, or that another one excludes.
pub(crate) fn check_ends(spec: &Spec) -> Result<(), RunError> {
    let ends = &spec.ends;
    if ends.model.is_none() && (ends.report.is_some() || ends.scores.is_some()) {
        return Err(RunError::Ends("report and scores need model: the file that scores"));
    }
    if ends.rows.is_none() && ends.fit.is_none() && ends.model.is_none() && ends.summary.is_none() {
        return Err(RunError::NoEnd);
    }
    if ends.report.is_some() && ends.scores.is_some() {
        return Err(RunError::Ends(
            "report and scores exclude each other: a report has the scores of all rows",
        ));
    }
    if ends.model.is_some() && ends.report.is_none() && ends.scores.is_none() {
        return Err(RunError::Ends("model needs report, the folder where scores and alerts go, or scores"));
    }
    if !ends.columns.is_empty() && (ends.report.is_some() || ends.rows.is_none() && ends.scores.is_none()) {
        return Err(RunError::Ends("columns are those of a file of rows or scores; a report has all"));
    }
    if !ends.columns.is_empty() && ends.rows.is_some() && ends.scores.is_some() {
        return Err(RunError::Ends("columns of rows and of scores cannot be chosen in one run"));
    }
    if ends.sensor.as_deref() == Some("") {
        return Err(RunError::Ends("sensor is a name: give one, or leave it out"));
    }
    if ends.sensor.is_some() && ends.report.is_none() {
        return Err(RunError::Ends(
            "sensor stands in alerts and incidents: ask for a report, or leave it out",
        ));
    }
    if ends.model.is_some() && ends.fit.is_some() {
        return Err(RunError::Ends("model and fit exclude each other: a run trains or scores"));
    }
    if ends.packets && (ends.model.is_some() || ends.fit.is_some()) {
        return Err(RunError::Ends("packets are rows to be written, not to be learned from or scored"));
    }
    if ends.write_pcap.is_some() && spec.source.interface.is_none() {
        return Err(RunError::Ends("write_pcap is for a live interface: captures are there already"));
    }
    Ok(())
}
