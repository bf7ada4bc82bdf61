//! Incidents to files: a log to follow, and the rows of each.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int8Array, RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::dataset::Dataset;
use super::operator::ChangeEnd;
use super::parquet::ParquetFile;
use super::{AnyError, SinkError};
use crate::draft::{Draft, Drafts};
use crate::incident::Change;
use crate::incident::line::Line;
use crate::row::RowSettings;

/// `incidents.jsonl`: one event a line, in order of event time; the last line of an id is its present state. In a
/// live run it is followed while it grows.
pub struct IncidentLog {
    out: Draft,
    /// Which sensor says it, where it has a name.
    sensor: Option<String>,
    /// Whole ones, written at once: who kills the run cuts none.
    lines: Vec<u8>,
}

/// Bytes of lines that are written at once, if there are so many.
const AT_ONCE: usize = 1 << 16;

impl IncidentLog {
    /// Begins the file, for a sensor of that name.
    pub fn create(draft: Draft, sensor: Option<String>) -> IncidentLog {
        IncidentLog { out: draft, sensor, lines: Vec::new() }
    }

    /// Closes what an earlier run, which was killed, left open in the same file: nobody else would.
    ///
    /// # Errors
    /// [`SinkError`] if the file cannot be written.
    pub(super) fn close(mut self, left_open: &[String]) -> Result<IncidentLog, SinkError> {
        for line in left_open {
            self.lines.extend_from_slice(line.as_bytes());
            self.lines.push(b'\n');
        }
        if !self.lines.is_empty() {
            self.hand_on().map_err(|source| SinkError::Io { path: self.out.path().to_owned(), source })?;
        }
        Ok(self)
    }

    fn write(&mut self, changes: &[Change]) -> std::io::Result<()> {
        for change in changes {
            if let Change::Event(event) = change {
                serde_json::to_writer(&mut self.lines, &Line { event, sensor: self.sensor.as_deref() })?;
                self.lines.push(b'\n');
            }
            if self.lines.len() >= AT_ONCE {
                self.hand_on()?;
            }
        }
        if self.lines.is_empty() { Ok(()) } else { self.hand_on() }
    }

    fn hand_on(&mut self) -> std::io::Result<()> {
        self.out.write_all(&self.lines)?;
        self.lines.clear();
        self.out.flush()
    }
}

impl ChangeEnd for IncidentLog {
    fn take(&mut self, changes: &[Change]) -> Result<(), AnyError> {
        let written = self.write(changes);
        Ok(written.map_err(|source| SinkError::Io { path: self.out.path().to_owned(), source })?)
    }

    fn finish(self: Box<Self>) -> Result<(), AnyError> {
        Ok(self.out.commit()?)
    }
}

/// `incident_rows.parquet`: which anomalous row belongs to which incident, or which rule mutes it. Where `diff` is -1 a
/// later change took the row back; the sum of `diff` is what holds.
pub struct IncidentRows {
    into: Into,
    schema: SchemaRef,
}

/// Where they go.
enum Into {
    File(ParquetFile),
    /// That of the hour in which they are said.
    Hours(Dataset),
}

impl IncidentRows {
    /// Begins the file, for incidents of `rows`.
    ///
    /// # Errors
    /// [`SinkError`] if it cannot be written to.
    pub fn create(draft: Draft, rows: &Schema) -> Result<IncidentRows, SinkError> {
        let schema = Self::schema(rows);
        Ok(IncidentRows { into: Into::File(ParquetFile::create(draft, &schema)?), schema })
    }

    /// Begins a folder of hours: what is said of rows goes to the hour in which it is said, also of those before.
    ///
    /// # Errors
    /// [`SinkError`] if it cannot be written to.
    pub fn by_hours(folder: &Path, rows: &Schema, drafts: &Drafts) -> Result<IncidentRows, SinkError> {
        let schema = Self::schema(rows);
        Ok(IncidentRows { into: Into::Hours(Dataset::create(folder, &schema, drafts)?), schema })
    }

    /// It says how the rows were made: elsewhere the same names may be others' rows.
    fn schema(rows: &Schema) -> SchemaRef {
        let made = RowSettings::of(rows).map(|settings| settings.metadata());
        let time = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        Arc::new(
            Schema::new(vec![
                Field::new("incident", DataType::Utf8, true),
                Field::new("window_start", time, false),
                Field::new("flow_id", DataType::UInt64, false),
                Field::new("muted_by", DataType::Utf8, true),
                Field::new("diff", DataType::Int8, false),
            ])
            .with_metadata(made.unwrap_or_default()),
        )
    }
}

impl ChangeEnd for IncidentRows {
    fn take(&mut self, changes: &[Change]) -> Result<(), AnyError> {
        let rows = || {
            changes.iter().filter_map(|change| match change {
                Change::Row(row) => Some(row),
                Change::Event(_) => None,
            })
        };
        if rows().next().is_none() {
            let said = changes.iter().filter_map(|change| match change {
                Change::Event(event) => i64::try_from(event.time).ok(),
                Change::Row(_) => None,
            });
            if let (Into::Hours(hours), Some(time)) = (&mut self.into, said.max()) {
                // The hour before may be over while no row comes to anything.
                hours.pass(time)?;
            }
            return Ok(());
        }
        let incident: StringArray = rows().map(|row| row.incident.map(|id| format!("{id:016x}"))).collect();
        let windows = rows().map(|row| i64::try_from(row.window).unwrap_or(i64::MAX));
        let windows = TimestampNanosecondArray::from_iter_values(windows).with_timezone("UTC");
        // What a window says at its end is said within it.
        let said = rows().map(|row| row.time.saturating_sub(1)).max().unwrap_or(0);
        let said = i64::try_from(said).unwrap_or(i64::MAX);
        let flows = UInt64Array::from_iter_values(rows().map(|row| row.flow_id));
        let muted_by: StringArray = rows().map(|row| row.muted_by.as_deref()).collect();
        let diffs = Int8Array::from_iter_values(rows().map(|row| row.diff));
        let rows = RecordBatch::try_new(
            self.schema.clone(),
            vec![Arc::new(incident), Arc::new(windows), Arc::new(flows), Arc::new(muted_by), Arc::new(diffs)],
        )?;
        Ok(match &mut self.into {
            Into::File(file) => file.write(&rows),
            Into::Hours(hours) => hours.take_at(said, &rows),
        }?)
    }

    fn finish(self: Box<Self>) -> Result<(), AnyError> {
        Ok(match self.into {
            Into::File(file) => file.commit(),
            Into::Hours(hours) => hours.commit(),
        }?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_taken_back_later_go_to_the_hour_in_which_that_is_said() {
        use crate::incident::RowChange;

        const HOUR: u64 = 3_600_000_000_000;
        let folder = tempfile::tempdir().unwrap();
        let drafts = Drafts::live();
        let mut end = IncidentRows::by_hours(folder.path(), &Schema::empty(), &drafts).unwrap();
        let row = |time: u64, diff: i8| {
            let window = HOUR / 2;
            Change::Row(RowChange { time, window, flow_id: 7, diff, incident: Some(1), muted_by: None })
        };
        // A window that ends with its hour says it within that.
        end.take(&[row(HOUR, 1)]).unwrap();
        end.take(&[row(HOUR + 9, -1)]).unwrap();
        Box::new(end).finish().unwrap();
        drafts.commit().unwrap();
        let hours = [0, 1].map(|hour| folder.path().join(format!("date=1970-01-01/hour=0{hour}")));
        for hour in hours {
            let parts =
                std::fs::read_dir(&hour).unwrap_or_else(|error| panic!("{}: {error}", hour.display()));
            assert_eq!(parts.count(), 1, "{}", hour.display());
        }
    }
}
