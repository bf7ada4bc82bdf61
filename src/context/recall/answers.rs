//! Columns made from what was recalled, beside the rows that they are about.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float32Array, TimestampNanosecondArray, UInt8Array, UInt16Array};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::super::address::Address;
use super::super::entity::Texts;
use super::columns::{JOINING, MEASURES};
use super::flows::{Flows, NOTHING, Values};
use super::keeper::Answer;
use super::questions::Questions;
use super::starts::Regularity;
use super::{Measure, OLDEST, Recall, Recalled};
use crate::row::columns::is_context;

/// What is known of a window's identities, as answers bring it.
pub(super) struct Answers {
    firsts: Vec<u64>,
    /// Whether the worker has the row that stands for the identity.
    leads: Vec<bool>,
    /// Whether it was learned before the run.
    learned: Vec<bool>,
    regularities: Vec<Regularity>,
}

impl Answers {
    pub(super) fn new(questions: &Questions) -> Answers {
        Answers {
            firsts: vec![0; questions.count()],
            leads: vec![false; questions.count()],
            learned: vec![false; questions.count()],
            regularities: vec![Regularity::NONE; questions.starts.len()],
        }
    }

    /// Puts an answer where it belongs.
    pub(super) fn put(&mut self, questions: &Questions, answer: &Answer) {
        let mut regularities = answer.regularities.iter();
        let told = answer.numbers.iter().zip(answer.firsts.iter().zip(&answer.leads));
        for (at, (number, (first, lead))) in told.enumerate() {
            let number = *number as usize;
            self.learned[number] = answer.learned.get(at) == Some(&1);
            self.firsts[number] = *first;
            self.leads[number] = *lead == questions.leads[number].0;
            for (own, value) in
                self.regularities[questions.starts_of(number)].iter_mut().zip(&mut regularities)
            {
                *own = *value;
            }
        }
    }

    /// All answers are there. `window` is its start, `length` its length in nanoseconds, `known` the last window that was
    /// known before the run.
    pub(super) fn columns(
        self,
        recall: &Recall,
        questions: &Questions,
        flows: &mut Flows,
        window: u64,
        length: u64,
        known: Option<u64>,
    ) -> Columns {
        let rows = questions.rows as usize;
        // To a window that lies before the end of what was learned all of it is known: rows of last week, or those that
        // were learned from, may be held against a model of today.
        let before = known.is_some_and(|known| window <= known);
        let mut firsts = vec![0u16; if recall.news { rows } else { 0 }];
        let mut leads: Vec<Vec<bool>> = vec![Vec::new(); recall.identities.len()];
        for (place, identity) in recall.identities.iter().enumerate() {
            let led = recall.columns.iter().any(|(column, _)| *column == Recalled::Lead(*identity));
            leads[place] = vec![false; if led { rows } else { 0 }];
        }
        for (number, _) in self.leads.iter().enumerate().filter(|(_, lead)| **lead) {
            let identity = questions.identity(number);
            let row = questions.leads[number].1 as usize;
            if let Some(lead) = leads[recall.place(identity)].get_mut(row) {
                *lead = true;
            }
            if self.firsts[number] == window
                && !(before && self.learned[number])
                && let Some(firsts) = firsts.get_mut(row)
            {
                *firsts |= 1 << identity;
            }
        }
        let age = |(first, learned): (&u64, &bool)| match window.checked_sub(*first) {
            Some(since) if !(before && *learned) => (since / length).min(OLDEST) as u8,
            _ => OLDEST as u8,
        };
        let regularities = self.regularities(recall, questions, flows, window);
        let times = self.firsts.iter().map(|first| i64::try_from(*first).unwrap_or(i64::MAX)).collect();
        let ages = self.firsts.iter().zip(&self.learned).map(age).collect();
        let window = i64::try_from(window).unwrap_or(i64::MAX);
        let learned = known.map(|_| self.learned);
        Columns { ages, times, leads, firsts, regularities, window, learned }
    }

    /// For each row the values at its flow's start.
    fn regularities(
        &self,
        recall: &Recall,
        questions: &Questions,
        flows: &mut Flows,
        window: u64,
    ) -> Vec<Values> {
        if !recall.regularities() {
            return Vec::new();
        }
        let mut values = vec![NOTHING; questions.rows as usize];
        for (began, found) in questions.starts.iter().zip(&self.regularities) {
            for (value, (identity, measure)) in values[began.row as usize].iter_mut().zip(MEASURES) {
                if identity == began.identity {
                    *value = match measure {
                        Measure::Cv8 => found.cv8,
                        Measure::Gap8 => found.gap8,
                        Measure::Cv16 => found.cv16,
                    };
                }
            }
        }
        for (row, flow) in &questions.later {
            values[*row as usize] = flows.go_on(*flow, window);
        }
        for began in &questions.starts {
            flows.begin(began.start.flow, window, values[began.row as usize]);
        }
        values
    }
}

/// The values of a window.
pub(super) struct Columns {
    /// By number of the identity.
    ages: Vec<u8>,
    times: Vec<i64>,
    /// By place of the identity and row.
    leads: Vec<Vec<bool>>,
    /// By row.
    firsts: Vec<u16>,
    regularities: Vec<Values>,
    /// The window.
    window: i64,
    /// By number of the identity whether it was learned before the run; none where nothing was.
    learned: Option<Vec<bool>>,
}

/// A host of one's own that was not known before, when it was seen first.
#[derive(Clone, Copy)]
struct Newcomer(i64);

impl Newcomer {
    /// Whether a window is of the time in which it joins.
    fn joins(self, window: i64) -> bool {
        window < self.0.saturating_add(JOINING)
    }
}

impl Columns {
    /// For each row whether its source is a host of one's own that was not known before; nothing where none is.
    fn newcomers(
        &self,
        recall: &Recall,
        questions: &Questions,
        rows: &RecordBatch,
        cells: &[u32],
    ) -> Vec<Option<Newcomer>> {
        let Some(learned) = self.learned.as_ref().filter(|_| recall.tells_new()) else { return Vec::new() };
        let of_cell = &questions.of_cell[recall.place(Recalled::New.of())];
        let sources: Vec<usize> = cells.iter().map(|cell| of_cell[*cell as usize] as usize).collect();
        if sources.iter().all(|source| learned[*source]) {
            return Vec::new();
        }
        let local = Texts::new(rows, "src_ip");
        let local = local.map(|texts| texts.map(|text| recall.local.hold(&Address::parse(text))));
        let local = local.unwrap_or_else(|_| vec![false; cells.len()]);
        let new = |(source, local): (usize, bool)| {
            (local && !learned[source]).then(|| Newcomer(self.times[source]))
        };
        sources.into_iter().zip(local).map(new).collect()
    }

    /// Rows with what was recalled. `cells` are those of the rows, which are those of the window from `from` on.
    pub(super) fn attach(
        &self,
        recall: &Recall,
        questions: &Questions,
        rows: &RecordBatch,
        cells: &[u32],
        from: usize,
        schema: &SchemaRef,
    ) -> RecordBatch {
        let to = from + cells.len();
        let fields = rows.schema_ref().fields().iter().zip(rows.columns());
        let own = fields.filter(|(field, _)| !is_context(field.name())).map(|(_, column)| column.clone());
        let mut columns: Vec<ArrayRef> = own.collect();
        let newcomers = self.newcomers(recall, questions, rows, cells);
        for (column, _) in &recall.columns {
            let place = recall.place(column.of());
            let of_cell = &questions.of_cell[place];
            let numbers = cells.iter().map(|cell| of_cell[*cell as usize] as usize);
            columns.push(match *column {
                // What a newcomer began with is usual for it from then on.
                Recalled::Age(_) if !newcomers.is_empty() => {
                    let age = |(number, newcomer): (usize, &Option<Newcomer>)| match newcomer {
                        Some(newcomer)
                            if !newcomer.joins(self.window) && newcomer.joins(self.times[number]) =>
                        {
                            OLDEST as u8
                        }
                        _ => self.ages[number],
                    };
                    Arc::new(UInt8Array::from_iter_values(numbers.zip(&newcomers).map(age)))
                }
                Recalled::Age(_) => {
                    Arc::new(UInt8Array::from_iter_values(numbers.map(|number| self.ages[number])))
                }
                Recalled::First(_) => {
                    let times = numbers.map(|number| self.times[number]);
                    Arc::new(TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC"))
                }
                Recalled::Regularity(of, measure) => {
                    let at = MEASURES.iter().position(|known| *known == (of, measure));
                    let at = at.expect("columns of regularity are made of the measures");
                    let values = self.regularities[from..to].iter().map(|values| values[at]);
                    let values = values.map(|value| (!value.is_nan()).then_some(value));
                    Arc::new(values.collect::<Float32Array>())
                }
                Recalled::New => {
                    let joins =
                        |newcomer: &Option<Newcomer>| newcomer.is_some_and(|new| new.joins(self.window));
                    let mut new: Vec<bool> = newcomers.iter().map(joins).collect();
                    new.resize(cells.len(), false);
                    Arc::new(BooleanArray::from(new))
                }
                Recalled::Lead(_) => Arc::new(BooleanArray::from(self.leads[place][from..to].to_vec())),
            });
        }
        if recall.news {
            columns.push(Arc::new(UInt16Array::from(self.firsts[from..to].to_vec())));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(schema.clone(), columns, &options)
            .expect("columns are made by the plan that made the schema, one value for each row")
    }
}
