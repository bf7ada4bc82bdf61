//! Encoders as they were fitted: batches of rows to matrices of features.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Field, Schema};
use ndarray::Array2;
use serde_json::{Value, json};

use super::choose::{Input, places};
use super::values::{Category, Codes, numbers};
use super::{EncodeError, Encoder};

/// Ends the name of the feature of all values that have none of their own.
pub(crate) const OTHER: &str = "other";

/// Fitted encoders: what a model knows of its input columns.
#[derive(Clone, PartialEq, Debug)]
pub struct Encoders {
    columns: Vec<Column>,
    fields: Vec<Field>,
    features: Vec<String>,
}

/// One input column and how it becomes features.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Column {
    pub(crate) input: Input,
    pub(crate) code: Code,
    /// What a row without a value is encoded as.
    pub(crate) null: f64,
    /// Whether a further feature says that there is no value.
    pub(crate) flag: bool,
    /// Training rows without a value.
    pub(crate) absent: u64,
}

/// An encoder with what it learned.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Code {
    Standard {
        mean: f64,
        scale: f64,
    },
    Log1p,
    /// Values with a feature of their own, ascending, with their training rows; and the rows of all others.
    Onehot {
        kept: Vec<(Category, u64)>,
        other: u64,
    },
    Passthrough,
}

impl Code {
    pub(crate) fn encoder(&self) -> Encoder {
        match self {
            Code::Standard { .. } => Encoder::Standard,
            Code::Log1p => Encoder::Log1p,
            Code::Onehot { .. } => Encoder::Onehot,
            Code::Passthrough => Encoder::Passthrough,
        }
    }

    /// A number encoded.
    pub(crate) fn number(&self, value: f64) -> f64 {
        match self {
            Code::Standard { mean, scale } => (value - mean) / scale,
            Code::Log1p => log1p(value),
            Code::Onehot { .. } | Code::Passthrough => value,
        }
    }
}

/// `sign(x) ln(1 + |x|)`, the same bits on every platform.
fn log1p(value: f64) -> f64 {
    libm::log1p(value.abs()).copysign(value)
}

/// Rounds a feature to `f32`; what lies beyond its range is held at the ends, so that every feature is finite.
fn feature(value: f64) -> f32 {
    value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

impl Column {
    fn features(&self) -> Vec<String> {
        let name = &self.input.name;
        let mut features = match &self.code {
            Code::Onehot { kept, .. } => {
                let mut features: Vec<String> =
                    kept.iter().map(|(kept, _)| format!("{name}={kept}")).collect();
                features.push(format!("{name}={OTHER}"));
                features
            }
            _ => vec![name.clone()],
        };
        if self.flag {
            features.push(format!("{name}_is_null"));
        }
        features
    }

    fn width(&self) -> usize {
        let own = if let Code::Onehot { kept, .. } = &self.code { kept.len() + 1 } else { 1 };
        own + usize::from(self.flag)
    }

    /// Writes the features of a column into the matrix's columns from `first` on; `scratch` is room for numbers.
    fn encode(
        &self,
        array: &dyn Array,
        cells: &mut [f32],
        width: usize,
        first: usize,
        scratch: &mut Vec<f64>,
    ) {
        let flag = self.flag.then(|| first + self.width() - 1);
        if let Code::Onehot { kept, .. } = &self.code {
            let codes = Codes::read(array);
            let place = |value: &Option<_>| match value {
                Some(value) => kept.binary_search_by(|(kept, _)| kept.compare(value)).unwrap_or(kept.len()),
                None => kept.len(),
            };
            let places: Vec<usize> = codes.values.iter().map(place).collect();
            for (row, code) in cells.chunks_exact_mut(width).zip(&codes.codes) {
                match (places.get(*code as usize), flag) {
                    (Some(place), _) => row[first + place] = 1.0,
                    (None, Some(flag)) => row[flag] = 1.0,
                    (None, None) => {}
                }
            }
            return;
        }
        numbers(array, scratch);
        let rows = cells.chunks_exact_mut(width).zip(scratch.iter().copied());
        match self.code {
            // One loop for each encoder: the compiler sees what it does to every value.
            Code::Standard { mean, scale } => self.fill(rows, first, flag, |value| (value - mean) / scale),
            Code::Log1p => self.fill(rows, first, flag, log1p),
            Code::Passthrough | Code::Onehot { .. } => self.fill(rows, first, flag, |value| value),
        }
    }

    fn fill<'a>(
        &self,
        rows: impl Iterator<Item = (&'a mut [f32], f64)>,
        first: usize,
        flag: Option<usize>,
        number: impl Fn(f64) -> f64,
    ) {
        let null = feature(self.null);
        for (row, value) in rows {
            if value.is_finite() {
                row[first] = feature(number(value));
            } else {
                row[first] = null;
                if let Some(flag) = flag {
                    row[flag] = 1.0;
                }
            }
        }
    }
}

impl Encoders {
    pub(crate) fn new(columns: Vec<Column>) -> Encoders {
        let field = |column: &Column| Field::new(&column.input.name, column.input.data_type.clone(), true);
        let fields = columns.iter().map(field).collect();
        let features = columns.iter().flat_map(Column::features).collect();
        Encoders { columns, fields, features }
    }

    pub(crate) fn parts(&self) -> &[Column] {
        &self.columns
    }

    /// Names of the features, in the order of the matrix's columns: the column's name, `<column>=<value>`,
    /// `<column>=other`, `<column>_is_null`.
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// For each feature the position of its input column.
    pub(crate) fn origins(&self) -> Vec<usize> {
        let columns = self.columns.iter().enumerate();
        columns.flat_map(|(at, column)| std::iter::repeat_n(at, column.width())).collect()
    }

    /// The input columns with their types; text is `Utf8`, in whatever form rows hold it.
    pub fn columns(&self) -> &[Field] {
        &self.fields
    }

    /// Whether rows of this schema can be encoded.
    ///
    /// # Errors
    /// [`EncodeError::Differs`] naming the first column that is missing or that its encoder does not read.
    pub fn check(&self, schema: &Schema) -> Result<(), EncodeError> {
        self.places(schema).map(drop)
    }

    fn places(&self, schema: &Schema) -> Result<Vec<usize>, EncodeError> {
        places(self.columns.iter().map(|column| (&column.input, column.code.encoder())), schema)
    }

    /// Encodes rows.
    ///
    /// # Shapes and units
    /// Returns `[rows, features]`, row-major, dimensionless and finite: values beyond `f32` are held at its
    /// ends. Row order is kept; columns the encoders do not know are passed over.
    ///
    /// # Errors
    /// [`EncodeError::Differs`] as [`Encoders::check`].
    pub fn encode(&self, rows: &RecordBatch) -> Result<Array2<f32>, EncodeError> {
        let places = self.places(rows.schema_ref())?;
        let width = self.features.len();
        let mut matrix = Array2::zeros((rows.num_rows(), width));
        let cells = matrix.as_slice_mut().expect("a new matrix is contiguous");
        let mut scratch = Vec::with_capacity(rows.num_rows());
        let mut first = 0;
        for (column, place) in self.columns.iter().zip(places) {
            column.encode(rows.column(place).as_ref(), cells, width, first, &mut scratch);
            first += column.width();
        }
        Ok(matrix)
    }

    /// What was learned, for people: one object a column.
    pub fn describe_json(&self) -> Value {
        let describe = |column: &Column| {
            let mut object = json!({
                "column": column.input.name,
                "type": column.input.data_type.to_string(),
                "encoder": column.code.encoder().name(),
            });
            match &column.code {
                Code::Standard { mean, scale } => {
                    object["mean"] = json!(mean);
                    object["scale"] = json!(scale);
                }
                Code::Onehot { kept, other } => {
                    let values = kept.iter().map(|(value, rows)| json!([value.to_string(), rows]));
                    object["values"] = values.collect();
                    object["other"] = json!(other);
                }
                Code::Log1p | Code::Passthrough => {}
            }
            if column.code.encoder() != Encoder::Onehot {
                object["null"] = json!(column.null);
            }
            object["absent"] = json!(column.absent);
            object
        };
        self.columns.iter().map(describe).collect()
    }
}
