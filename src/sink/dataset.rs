//! Rows to a folder of hours: `date=2026-11-22/hour=09/part-0.parquet`, as readers of Hive partitions
//! know them (date and hour in UTC).

use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch, TimestampNanosecondArray};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampNanosecondType};

use super::operator::End;
use super::parquet::ParquetFile;
use super::{AnyError, SinkError, check_folder};
use crate::draft::{Drafts, clear};

/// Nanoseconds of an hour.
const HOUR: i64 = 3600 * 1_000_000_000;

/// Columns that say which hour a row belongs to: of flow rows, of packet rows.
const TIMES: [&str; 2] = ["window_start", "timestamp"];

/// The file of a part of an hour, in the folder of that.
fn part(number: u64) -> String {
    format!("part-{number}.parquet")
}

/// The number of such a file.
pub(super) fn part_number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("part-")?.strip_suffix(".parquet")?.parse().ok()
}

/// The number behind all parts that a folder has.
fn next_part(hour: &Path) -> u64 {
    let names = std::fs::read_dir(hour).into_iter().flatten().flatten();
    let numbers = names.filter_map(|entry| part_number(Path::new(&entry.file_name())));
    numbers.max().map_or(0, |last| last.saturating_add(1))
}

/// Folders of a folder, whose names begin so.
fn folders(of: &Path, start: &str) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(of).into_iter().flatten().flatten();
    let named =
        entries.filter(move |entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(start)));
    named.map(|entry| entry.path())
}

/// A file with rows that an hour has already, whoever wrote it and whatever its name.
fn with_rows(hour: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(hour).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut visible = entries.filter(|path| {
        path.extension().is_some_and(|end| end == "parquet")
            && path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."))
    });
    visible.next()
}

/// A folder with a Parquet file for each hour. They appear together at the end, and one that is there already is an error.
/// In a live run that of an hour appears when rows move on to the next one, so that a run which is cut short leaves the
/// hours before its last one whole; what an earlier run has left of the same hour stays, and that of this run is a further
/// part of it.
pub struct Dataset {
    folder: PathBuf,
    schema: SchemaRef,
    time: usize,
    drafts: Drafts,
    open: Option<ParquetFile>,
    /// The hour of the last row.
    last: Option<i64>,
}

impl Dataset {
    /// Begins a dataset in `folder`, which is made if need be and kept from other runs.
    ///
    /// # Errors
    /// [`SinkError`] if it cannot be made, another run writes there, or the rows have no time.
    pub fn create(folder: &Path, schema: &SchemaRef, drafts: &Drafts) -> Result<Dataset, SinkError> {
        check_folder(folder)?;
        let hours = |what: String| SinkError::Hours { path: folder.to_owned(), what };
        let Some(time) = TIMES.iter().find_map(|name| schema.index_of(name).ok()) else {
            return Err(hours("the rows have no column window_start or timestamp".to_owned()));
        };
        let field = schema.field(time);
        if !matches!(field.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _)) {
            return Err(hours(format!("column `{}` is no time in nanoseconds", field.name())));
        }
        drafts.folder(folder)?;
        for hour in folders(folder, "date=").flat_map(|date| folders(&date, "hour=").collect::<Vec<_>>()) {
            clear(&hour, |name| part_number(Path::new(name)).is_some());
        }
        let (folder, schema, drafts) = (folder.to_owned(), schema.clone(), drafts.clone());
        Ok(Dataset { folder, schema, time, drafts, open: None, last: None })
    }

    /// The file of an hour: that of the hour before is finished first.
    fn file(&mut self, hour: i64) -> Result<&mut ParquetFile, SinkError> {
        if let Some(last) = self.last
            && hour < last
        {
            // Its file stands finished; another one would take its place, and its rows with it.
            let (path, from, to) = (self.folder.clone(), name(last), name(hour));
            return Err(SinkError::Order { path, from, to });
        }
        self.check_open()?;
        if self.last != Some(hour)
            && let Some(file) = self.open.take()
        {
            file.commit()?;
        }
        self.last = Some(hour);
        match &mut self.open {
            Some(file) => Ok(file),
            none => {
                let hour = self.folder.join(name(hour));
                let number = match (self.drafts.is_live(), with_rows(&hour)) {
                    (false, Some(path)) => return Err(SinkError::Hour { path }),
                    (false, None) => 0,
                    (true, _) => next_part(&hour),
                };
                let path = hour.join(part(number));
                Ok(none.insert(ParquetFile::create(self.drafts.part(&path)?, &self.schema)?))
            }
        }
    }
}

impl Dataset {
    /// In a live run, that the open file was not removed: nobody would notice until the hour is over.
    fn check_open(&self) -> Result<(), SinkError> {
        match &self.open {
            Some(file) if self.drafts.is_live() && !file.is_there() => {
                Err(SinkError::Gone { path: file.path().to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Takes rows that are said at a time, whatever their own: they go to the file of its hour, or of a later one to which
    /// others went before.
    ///
    /// # Errors
    /// [`SinkError`] if they cannot be written.
    pub(super) fn take_at(&mut self, time: i64, rows: &RecordBatch) -> Result<(), SinkError> {
        let hour = time.div_euclid(HOUR);
        self.file(self.last.map_or(hour, |last| last.max(hour)))?.write(rows)
    }

    /// Nothing more is said before a time: the hour of the rows before is whole where that lies in a later one.
    ///
    /// # Errors
    /// [`SinkError`] if its file cannot be finished.
    pub(super) fn pass(&mut self, time: i64) -> Result<(), SinkError> {
        if self.last.is_some_and(|last| time.div_euclid(HOUR) > last)
            && let Some(file) = self.open.take()
        {
            file.commit()?;
        }
        Ok(())
    }

    /// All rows were taken: the last hour is whole.
    ///
    /// # Errors
    /// [`SinkError`] if its file cannot be finished.
    pub(super) fn commit(self) -> Result<(), SinkError> {
        self.check_open()?;
        self.open.map_or(Ok(()), ParquetFile::commit)
    }
}

impl End for Dataset {
    fn take(&mut self, rows: &RecordBatch) -> Result<(), AnyError> {
        let Some(times) = rows.column(self.time).as_primitive_opt::<TimestampNanosecondType>() else {
            let what = format!("column {} is no time in nanoseconds", self.time + 1);
            return Err(SinkError::Hours { path: self.folder.clone(), what }.into());
        };
        if times.null_count() > 0 {
            let what = format!("column `{}` has rows without a time", self.schema.field(self.time).name());
            return Err(SinkError::Hours { path: self.folder.clone(), what }.into());
        }
        let mut from = 0;
        while from < rows.num_rows() {
            let (hour, to) = run(times, from);
            self.file(hour)?.write(&rows.slice(from, to - from))?;
            from = to;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), AnyError> {
        Ok(self.commit()?)
    }
}

/// The hour of row `from`, and the first row after it that lies in another.
fn run(times: &TimestampNanosecondArray, from: usize) -> (i64, usize) {
    let hour = times.value(from).div_euclid(HOUR);
    let same = times.values()[from..].iter().take_while(|time| time.div_euclid(HOUR) == hour);
    (hour, from + same.count())
}

/// The folder of an hour since the epoch.
fn name(hour: i64) -> String {
    let start = i128::from(hour) * i128::from(HOUR);
    let start =
        jiff::Timestamp::from_nanosecond(start).expect("hours of 64 bits of nanoseconds are in range");
    start.strftime("date=%Y-%m-%d/hour=%H").to_string()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;

    use arrow::array::UInt64Array;
    use arrow::datatypes::{Field, Schema};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;
    use crate::row::Kind;
    use crate::sink::samples;

    fn schema(time: &str) -> SchemaRef {
        let fields =
            vec![Field::new(time, Kind::Time.data_type(), false), Field::new("n", DataType::UInt64, false)];
        Arc::new(Schema::new(fields))
    }

    fn rows(schema: &SchemaRef, times: &[i64]) -> RecordBatch {
        let numbers = UInt64Array::from_iter_values(0..times.len() as u64);
        let times = TimestampNanosecondArray::from(times.to_vec()).with_timezone("UTC");
        RecordBatch::try_new(schema.clone(), vec![Arc::new(times), Arc::new(numbers)]).unwrap()
    }

    /// The end of that name; its files stand at once, as those of a live run do.
    fn rows_end(path: &Path, schema: &SchemaRef) -> Result<Box<dyn End>, SinkError> {
        crate::sink::rows_end(path, schema, &Drafts::live())
    }

    fn count(path: &Path) -> i64 {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
        reader.metadata().file_metadata().num_rows()
    }

    /// Files below a folder, in order, with their rows; those still being written are not there yet.
    fn files(folder: &Path) -> Vec<(String, i64)> {
        let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().map(Result::unwrap);
        let hidden = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with('.');
        let files = entries.filter(|entry| entry.file_type().is_file() && !hidden(entry.file_name()));
        let name = |path: &Path| path.strip_prefix(folder).unwrap().display().to_string();
        files.map(|entry| (name(entry.path()), count(entry.path()))).collect()
    }

    #[test]
    fn rows_go_to_the_file_of_their_hour() {
        for time in TIMES {
            let folder = tempfile::tempdir().unwrap();
            let schema = schema(time);
            let mut end = rows_end(folder.path(), &schema).unwrap();
            let start = samples::START - samples::START % HOUR;
            end.take(&rows(&schema, &[start - 1, start, start + 5, start + HOUR - 1, start + HOUR])).unwrap();
            let names: Vec<_> = files(folder.path()).into_iter().map(|(name, _)| name).collect();
            let whole = ["08", "09"].map(|hour| format!("date=2026-11-22/hour={hour}/part-0.parquet"));
            assert_eq!(names, whole, "the last hour is still to come");
            end.take(&rows(&schema, &[start + HOUR, start + 16 * HOUR])).unwrap();
            end.finish().unwrap();
            let expected = [
                ("date=2026-11-22/hour=08/part-0.parquet", 1),
                ("date=2026-11-22/hour=09/part-0.parquet", 3),
                ("date=2026-11-22/hour=10/part-0.parquet", 2),
                ("date=2026-11-23/hour=01/part-0.parquet", 1),
            ];
            assert_eq!(files(folder.path()), expected.map(|(name, rows)| (name.to_owned(), rows)));
        }
    }

    /// Writes rows at these times; gives what the files wait for.
    fn take(folder: &Path, times: &[i64], drafts: Drafts) -> (Result<(), AnyError>, Box<dyn End>, Drafts) {
        let schema = schema("window_start");
        let mut end = crate::sink::rows_end(folder, &schema, &drafts).unwrap();
        (end.take(&rows(&schema, times)), end, drafts)
    }

    #[test]
    fn a_live_run_cut_short_leaves_whole_hours() {
        let folder = tempfile::tempdir().unwrap();
        drop(take(folder.path(), &[0, 1, 2, HOUR, HOUR + 1, 2 * HOUR], Drafts::live()));
        let expected = [("00", 3), ("01", 2)];
        let expected =
            expected.map(|(hour, rows)| (format!("date=1970-01-01/hour={hour}/part-0.parquet"), rows));
        assert_eq!(files(folder.path()), expected);
        let entries = walkdir::WalkDir::new(folder.path()).into_iter().map(Result::unwrap);
        assert_eq!(
            entries.filter(|entry| entry.depth() == 2).count(),
            2,
            "nothing half-written, no empty folder"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_live_run_notices_that_its_folder_is_gone_when_it_writes_next() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = folder.path().join("scores");
        let (taken, mut end, _drafts) = take(&dataset, &[0, 1], Drafts::live());
        taken.unwrap();
        let more = rows(&schema("window_start"), &[2]);
        end.take(&more).unwrap();
        std::fs::rename(&dataset, folder.path().join("moved")).unwrap();
        let error = end.take(&more).unwrap_err().to_string();
        assert!(error.contains("hour=00/part-0.parquet: was removed or moved away"), "{error}");
    }

    #[test]
    fn hours_of_a_batch_run_stand_together_or_leave_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = folder.path().join("deep/rows");
        let times = [0, HOUR, 24 * HOUR, 25 * HOUR, 48 * HOUR];
        let (taken, end, drafts) = take(&dataset, &times, Drafts::default());
        taken.unwrap();
        assert!(files(&dataset).is_empty());
        drop((end, drafts));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no empty folder");
        let (_, end, drafts) = take(&dataset, &times, Drafts::default());
        end.finish().unwrap();
        drafts.commit().unwrap();
        assert_eq!(files(&dataset).len(), 5);
    }

    #[test]
    fn an_hour_that_has_rows_is_an_error_and_keeps_them() {
        let folder = tempfile::tempdir().unwrap();
        let (_, end, first) = take(folder.path(), &[0, 1], Drafts::default());
        end.finish().unwrap();
        first.commit().unwrap();
        drop(first);
        let (taken, end, second) = take(folder.path(), &[2, HOUR], Drafts::default());
        let error = taken.unwrap_err().to_string();
        assert!(
            error.contains("hour=00/part-0.parquet: is there already") && !error.contains('\n'),
            "{error}"
        );
        drop((end, second));
        assert_eq!(files(folder.path()), [("date=1970-01-01/hour=00/part-0.parquet".to_owned(), 2)]);
        // Whoever wrote them: others name their files otherwise.
        let hour = folder.path().join("date=1970-01-01/hour=00");
        std::fs::rename(hour.join("part-0.parquet"), hour.join("data_0.parquet")).unwrap();
        let (taken, ..) = take(folder.path(), &[2], Drafts::default());
        let error = taken.unwrap_err().to_string();
        assert!(error.contains("hour=00/data_0.parquet: is there already"), "{error}");
    }

    #[test]
    fn what_a_killed_run_left_of_any_hour_goes() {
        let folder = tempfile::tempdir().unwrap();
        let [left, empty] = ["hour=03/.part-1.parquet.tmp-77", "hour=04/.part-0.parquet.tmp-78-2"]
            .map(|name| folder.path().join("date=2020-01-01").join(name));
        let whole = left.with_file_name("part-0.parquet");
        for path in [&left, &empty, &whole] {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let (taken, ..) = take(folder.path(), &[2], Drafts::default());
        taken.unwrap();
        assert!(whole.exists() && !left.exists() && !empty.parent().unwrap().exists());
    }

    #[test]
    fn a_live_run_adds_a_part_to_an_hour_that_has_rows() {
        let folder = tempfile::tempdir().unwrap();
        let hour = |number: u64| format!("date=1970-01-01/hour=00/part-{number}.parquet");
        for run in 0..3 {
            let times: Vec<i64> = (0..=run).collect();
            let (taken, end, _drafts) = take(folder.path(), &times, Drafts::live());
            taken.unwrap();
            end.finish().unwrap();
        }
        assert_eq!(files(folder.path()), [(hour(0), 1), (hour(1), 2), (hour(2), 3)]);
        // Behind the last one, also where others were removed.
        std::fs::remove_file(folder.path().join(hour(1))).unwrap();
        let (_, end, _drafts) = take(folder.path(), &[7, HOUR], Drafts::live());
        end.finish().unwrap();
        let next = "date=1970-01-01/hour=01/part-0.parquet".to_owned();
        assert_eq!(files(folder.path()), [(hour(0), 1), (hour(2), 3), (hour(3), 1), (next, 1)]);
    }

    #[test]
    fn what_is_said_later_of_rows_before_goes_to_the_hour_in_which_it_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let schema = schema("window_start");
        let mut hours = Dataset::create(folder.path(), &schema, &Drafts::live()).unwrap();
        for (said, own) in [(5, 5), (HOUR + 1, HOUR), (HOUR - 1, HOUR - 9)] {
            hours.take_at(said, &rows(&schema, &[own])).unwrap();
        }
        hours.commit().unwrap();
        let name = |hour: &str| format!("date=1970-01-01/hour={hour}/part-0.parquet");
        assert_eq!(files(folder.path()), [(name("00"), 1), (name("01"), 2)]);
    }

    #[test]
    fn an_hour_is_whole_when_a_later_one_is_spoken_of() {
        let folder = tempfile::tempdir().unwrap();
        let schema = schema("window_start");
        let mut hours = Dataset::create(folder.path(), &schema, &Drafts::live()).unwrap();
        let name = |part: u64| format!("date=1970-01-01/hour=00/part-{part}.parquet");
        hours.take_at(5, &rows(&schema, &[5])).unwrap();
        hours.pass(HOUR - 1).unwrap();
        assert_eq!(files(folder.path()), []);
        hours.pass(HOUR).unwrap();
        assert_eq!(files(folder.path()), [(name(0), 1)]);
        // What is said of it afterwards is a further part.
        hours.take_at(6, &rows(&schema, &[6])).unwrap();
        hours.commit().unwrap();
        assert_eq!(files(folder.path()), [(name(0), 1), (name(1), 1)]);
    }

    #[test]
    fn rows_that_go_back_replace_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let schema = schema("window_start");
        let mut end = rows_end(folder.path(), &schema).unwrap();
        end.take(&rows(&schema, &[0, 1, HOUR])).unwrap();
        let error = end.take(&rows(&schema, &[HOUR + 1, 5])).unwrap_err().to_string();
        assert!(
            error.contains("back from hour date=1970-01-01/hour=01 to hour date=1970-01-01/hour=00"),
            "{error}"
        );
        drop(end);
        assert_eq!(files(folder.path()), [("date=1970-01-01/hour=00/part-0.parquet".to_owned(), 2)]);
    }

    #[test]
    fn a_run_without_rows_leaves_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        let (_, end, drafts) = take(&path, &[], Drafts::default());
        end.finish().unwrap();
        drafts.commit().unwrap();
        drop(drafts);
        assert!(path.is_dir() && files(&path).is_empty());
    }

    #[test]
    fn names_choose_the_end_and_what_has_no_time_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let error = |name: &str, schema: &SchemaRef| rows_end(&path(name), schema).err().unwrap().to_string();
        for name in ["a.parquet", "b.Arrow", "c.feather", "d.CSV"] {
            let drafts = Drafts::default();
            let mut end = crate::sink::rows_end(&path(name), &schema("x"), &drafts).unwrap();
            end.take(&rows(&schema("x"), &[7])).unwrap();
            end.finish().unwrap();
            assert!(!path(name).exists(), "{name}");
            drafts.commit().unwrap();
            assert!(path(name).is_file(), "{name}");
        }
        std::fs::write(path("rows.7"), "").unwrap();
        let message = error("rows.7", &schema("timestamp"));
        assert!(message.contains("rows.7: ") && message.contains(".parquet"), "{message}");
        for name in ["rows.json", "rows.csv.gz", "rows.TSV", "seen.pcap"] {
            let message = error(name, &schema("timestamp"));
            assert!(message.contains("nothing is written as .") && !path(name).exists(), "{message}");
        }
        let message = error("hours", &schema("x"));
        assert!(message.contains("no column window_start or timestamp"), "{message}");
        let text = Arc::new(Schema::new(vec![Field::new("timestamp", DataType::Utf8, false)]));
        assert!(error("hours", &text).contains("`timestamp` is no time"));
        assert!(!path("hours").exists());
    }
}
