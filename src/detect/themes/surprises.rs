//! Rows to surprises: what `themes` and every other detector over surprises begins with.

use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use ndarray::Array2;
use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::columns::{Column, columns};
use super::newcomers;
use super::resolve::{self, Resolved, Resolver, Rows};
use super::scale::Batch;
use super::tables;
use crate::detect::isolation::differs;
use crate::detect::outline::{Line, grouped};
use crate::detect::{AnyError, DetectError};
use crate::encode::bucket::{ABSENT, bucket};
use crate::encode::{Blocks, Crowd, EncodeError, FEWEST, Kept, Known, Past, SHORTEST, Side, Since, Subject};
use crate::reading::{Damage, Tables};

/// What is usual, and what rows are that can be held against it.
#[derive(Debug)]
pub(in crate::detect) struct Surprises {
    /// Length of windows in nanoseconds.
    pub(super) window: u64,
    /// Columns that rows must have.
    pub(in crate::detect) fields: Vec<Field>,
    pub(in crate::detect) blocks: Blocks,
    pub(in crate::detect) past: Past,
    /// Where the columns of the last rows lay.
    pub(super) resolver: RwLock<Option<Arc<Resolver>>>,
    /// What was found of this past.
    pub(super) known: Kept<Known>,
}

/// Rows that are judged at once: what is looked up for them stays near.
pub(in crate::detect) const AT_ONCE: usize = 256;

/// Places for surprises of a column that were met, as powers of two: where a past is asked for a while, and where for a
/// moment.
const MANY: u32 = 9;
const FEW: u32 = 3;

/// The surprises of rows of a crowd: -ln p of each column, times the row's part in it. What follows from them is given
/// column by column.
fn surprises(
    (past, blocks): (&Past, &Blocks),
    (rows, crowd): (&mut Resolved, &Crowd),
    follow: impl Fn(usize, f32) -> f64,
    known: &mut Known,
    mut give: impl FnMut(&Column, &[f64]),
) -> Batch {
    let struck = crowd.is_struck();
    let ages = rows.firsts.iter().zip(&rows.windows);
    let young: Vec<bool> = ages.map(|(first, window)| struck || is_young(blocks, *first, *window)).collect();
    // Nothing where there is none, as nearly everywhere.
    let which = |is: fn(&Crowd, &Resolved, usize) -> bool| {
        let which: Vec<bool> = (0..rows.parties.len()).map(|row| is(crowd, rows, row)).collect();
        which.contains(&true).then_some(which)
    };
    // That a new server is new is no news of each of its clients; which services a new host uses nobody knows.
    let (served, joined) = (which(is_served), which(has_joined));
    for (at, column) in columns().iter().enumerate() {
        if matches!(column.judged.since, Since::Young(_)) {
            rows.weigh_only(at, |row| young[row]);
        }
        if let Some(served) = served.as_ref().filter(|_| column.is_of_news()) {
            rows.weigh_only(at, |row| !served[row]);
        }
        if let Some(joined) = joined.as_ref().filter(|_| column.judged.side == Side::Any) {
            rows.weigh_only(at, |row| !joined[row]);
        }
    }
    let count = rows.parties.len();
    let mut surprises = vec![0.0; count * columns().len()];
    let give = |at: usize, follows: &[f64]| give(&columns()[at], follows);
    past.judge(crowd, |at| rows.column(at), follow, known, &mut surprises, give);
    Batch::new(count, surprises)
}

/// So many sources within the longest horizon make a server. One or two may be led to a stranger by an attack.
const CLIENTS: f64 = 3.0;

/// Whether a row's source is a host of one's own that began no flow in training.
fn has_joined(crowd: &Crowd, rows: &Resolved, row: usize) -> bool {
    let party = &rows.parties[row];
    crowd.found(row).from_stranger
        && !party.is_from_nobody()
        && rows.local.as_ref().is_some_and(|local| local.hold(&party.src))
}

/// Whether a row's destination is a new server of one's own, a host that training never saw, that answers and that several
/// use.
fn is_served(crowd: &Crowd, rows: &Resolved, row: usize) -> bool {
    static READ: LazyLock<[usize; 2]> = LazyLock::new(|| {
        let place = |name: &str| columns().iter().position(|column| column.name == name);
        ["bwd_packets|srcsvc", "ctx_dst_w30_peers"].map(|name| place(name).expect("it is judged"))
    });
    let reaches = |at: usize, least: f64| {
        let found = rows.bucket(row, at);
        found != ABSENT && found >= bucket(least)
    };
    crowd.found(row).to_stranger
        && reaches(READ[0], 1.0)
        && reaches(READ[1], CLIENTS)
        && rows.local.as_ref().is_some_and(|local| local.hold(&rows.parties[row].dst))
}

/// For each row whether its source is a host of one's own that began no flow in training, and whether its destination is a
/// new server: newcomers. What one host alone talks to is none, as it may be an attacker's.
pub(super) fn newcomers(crowd: &Crowd, rows: &Resolved) -> impl Iterator<Item = [bool; 2]> {
    (0..rows.parties.len()).map(move |row| [has_joined(crowd, rows, row), is_served(crowd, rows, row)])
}

/// Whether what was first seen in a window is young in another one: since the late blocks of training, or since a run
/// began on rows from before training.
fn is_young(blocks: &Blocks, first: u64, window: u64) -> bool {
    let before = blocks.starts.first().is_some_and(|start| window < *start);
    first >= blocks.late_starts() || (before && first <= window)
}

/// The surprises of some rows, a line each: as they are, or as if their sources had just joined.
pub(super) fn matrix(
    past: &Past,
    blocks: &Blocks,
    rows: &Resolved,
    which: &[usize],
    joining: bool,
) -> Array2<f32> {
    let width = columns().len();
    let mut all = vec![0.0f32; which.len() * width];
    all.par_chunks_mut(AT_ONCE * width).zip(which.par_chunks(AT_ONCE)).for_each_init(
        || Known::new(width, FEW),
        |known, (into, which)| {
            let mut rows = rows.some(which);
            let mut crowd = past.find_all(rows.parties.iter());
            if joining {
                newcomers::join(&mut rows);
                crowd = crowd.struck();
            }
            surprises((past, blocks), (&mut rows, &crowd), |_, _| 0.0, known, |_, _| {}).lines(into);
        },
    );
    Array2::from_shape_vec((which.len(), width), all).expect("a line for each row")
}

impl Surprises {
    /// Reads its tables.
    ///
    /// # Errors
    /// What is damaged of them, or of what the manifest says.
    pub(in crate::detect) fn read(fields: &[Field], tables: &Tables) -> Result<Surprises, Damage> {
        // What is read from rows is asked for by name; types that cannot be read are refused here.
        let again = resolve::fields(&Schema::new(fields.to_vec())).map_err(Damage::of_settings)?;
        if again != fields {
            return Err(Damage::of_settings("its columns are not those that are judged"));
        }
        let (window, blocks, past) = tables::read_past(tables)?;
        Ok(Surprises {
            window,
            fields: fields.to_vec(),
            blocks,
            past,
            resolver: RwLock::default(),
            known: Kept::default(),
        })
    }

    /// Its tables.
    ///
    /// # Errors
    /// None that a fitted past causes.
    pub(in crate::detect) fn tables(&self) -> Result<Vec<(String, RecordBatch)>, DetectError> {
        tables::write_past(self.window, &self.blocks, &self.past)
    }

    /// Where the columns of rows lie.
    ///
    /// # Errors
    /// [`DetectError`] for rows that lack a column.
    pub(super) fn resolver(&self, rows: &RecordBatch) -> Result<Arc<Resolver>, DetectError> {
        let known = self.resolver.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(resolver) = known.filter(|resolver| resolver.fits(rows.schema_ref())) {
            return Ok(resolver);
        }
        let new = Arc::new(Resolver::new(rows.schema_ref())?);
        *self.resolver.write().unwrap_or_else(PoisonError::into_inner) = Some(new.clone());
        Ok(new)
    }

    /// Rows of one batch, to be judged some at a time.
    ///
    /// # Errors
    /// As [`Surprises::resolver`].
    pub(super) fn read_rows<'a>(&self, rows: &'a RecordBatch) -> Result<Rows<'a>, DetectError> {
        Rows::new(rows, self.resolver(rows)?, self.window)
    }

    /// The surprises of rows of a crowd, with what follows from them.
    pub(super) fn follow(
        &self,
        (rows, crowd): (&mut Resolved, &Crowd),
        follow: impl Fn(usize, f32) -> f64,
        known: &Kept<Known>,
        give: impl FnMut(&Column, &[f64]),
    ) -> Batch {
        let nothing = || Known::new(columns().len(), MANY);
        let of = (&self.past, &self.blocks);
        known.with(nothing, |known| surprises(of, (rows, crowd), follow, known, give))
    }

    /// The surprises of rows.
    pub(super) fn of(&self, mut rows: Resolved) -> Batch {
        let crowd = self.past.find_all(rows.parties.iter());
        self.follow((&mut rows, &crowd), |_, _| 0.0, &self.known, |_, _| {})
    }

    /// The surprises of rows, a line each.
    ///
    /// # Errors
    /// As [`Surprises::resolver`].
    pub(in crate::detect) fn matrix(&self, rows: &RecordBatch) -> Result<Array2<f32>, AnyError> {
        let width = columns().len();
        let count = rows.num_rows();
        let mut all = vec![0.0f32; count * width];
        let rows = self.read_rows(rows)?;
        for (at, into) in all.chunks_mut(AT_ONCE * width).enumerate() {
            let from = at * AT_ONCE;
            self.of(rows.resolve(from..from + into.len() / width)).lines(into);
        }
        Ok(Array2::from_shape_vec((count, width), all)?)
    }

    /// Whether rows of this schema can be judged.
    ///
    /// # Errors
    /// The first column that is missing or of another type.
    pub(in crate::detect) fn check(&self, schema: &Schema) -> Result<(), EncodeError> {
        for expected in &self.fields {
            let found = schema.field_with_name(expected.name()).ok().map(Field::data_type);
            if found.map(resolve::remembered).as_ref() != Some(expected.data_type()) {
                return Err(differs(expected, found, schema));
            }
        }
        Ok(())
    }

    /// What training was too short for, in one line.
    pub(in crate::detect) fn note(&self) -> Option<String> {
        const MORE: &str = "false alarms are more than promised; train on more";
        let (total, enough) = (self.blocks.total(), FEWEST * SHORTEST);
        let few = match total {
            1 => format!("1 window is fewer than {enough}, three blocks"),
            total => format!("{} windows are fewer than {enough}, three blocks", grouped(total)),
        };
        match (self.blocks.apart, self.blocks.short()) {
            (true, false) => None,
            (true, true) => {
                Some(format!("{few}: {}, each judged by the others, tell of one another; {MORE}", self.cut()))
            }
            (false, _) => Some(format!("{few}: rows are judged by themselves too; {MORE}")),
        }
    }

    fn cut(&self) -> String {
        let windows = self.blocks.windows.iter().map(|windows| grouped(*windows)).collect::<Vec<_>>();
        format!("{} blocks of {} windows", windows.len(), windows.join(", "))
    }

    /// Which columns are read, for people.
    pub(in crate::detect) fn outline_columns(&self) -> Vec<Line> {
        let names = self.fields.iter().map(|field| field.name().clone()).collect();
        vec![
            Line::Title(format!("Columns: {} read, {} judged", self.fields.len(), columns().len())),
            Line::Names("read".to_owned(), names),
        ]
    }

    /// How training was cut and what is known of it, for people.
    pub(in crate::detect) fn outline_past(&self) -> Vec<Line> {
        let apart = self.note().unwrap_or_else(|| format!("{}, each judged by the others", self.cut()));
        let entities: Vec<String> = Subject::ALL
            .iter()
            .map(|subject| format!("{} {}", grouped(self.past.entities(*subject) as u64), subject.name()))
            .collect();
        vec![
            Line::Field("training".to_owned(), apart),
            Line::Names("entities".to_owned(), entities),
            Line::Field("baselines".to_owned(), format!("{} counts", grouped(self.past.counts() as u64))),
        ]
    }

    /// The same for programs.
    pub(in crate::detect) fn describe_json(&self) -> Map<String, Value> {
        let entities: Map<String, Value> = Subject::ALL
            .iter()
            .map(|subject| (subject.name().to_owned(), json!(self.past.entities(*subject))))
            .collect();
        let all = json!({
            "features": columns().iter().map(|column| column.name.as_str()).collect::<Vec<_>>(),
            "blocks": { "windows": self.blocks.windows, "apart": self.blocks.apart },
            "entities": entities,
            "counts": self.past.counts(),
        });
        all.as_object().cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn young_is_what_training_saw_late_or_a_run_from_before_it_saw_first() {
        let blocks = Blocks { starts: vec![100, 110, 120], windows: vec![10; 3], late: 1, apart: true };
        let young = |first: u64, window: u64| is_young(&blocks, first, window);
        // In training and after it.
        assert!(!young(105, 125) && young(112, 125) && young(140, 150) && !young(105, 150));
        // Before it: what training saw early is known, what it never saw is young.
        assert!(!young(105, 60) && young(50, 60) && young(60, 60));
    }
}
