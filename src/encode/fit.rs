//! Fitting: what the encoders must know of the training rows, counted exactly and merged in any order.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use serde::{Deserialize, Serialize};

use super::choose::{Choice, choose, places};
use super::encoders::{Code, Column, Encoders, OTHER};
use super::exact::Moments;
use super::values::{Category, Codes, numbers};
use super::{EncodeError, EncodeSpec, Encoder, MOST_CATEGORIES, MinFrequency, NullPolicy};

/// Counts training rows for the encoders.
///
/// Workers count their own rows; what they counted is merged, here or on another machine (serde), and
/// [`Fit::finish`] gives the same encoders, bit for bit, for any order and split of the rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fit {
    choices: Vec<Choice>,
    counts: Vec<Count>,
    rows: u64,
    min_frequency: MinFrequency,
    max_categories: usize,
}

/// What is counted of one column.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Count {
    Numbers(Numbers),
    Categories(Categories),
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Numbers {
    absent: u64,
    least: Least,
    /// Where a mean or a deviation is asked for.
    moments: Option<Box<Moments>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Categories {
    absent: u64,
    #[serde(with = "pairs")]
    rows: BTreeMap<Category, u64>,
}

/// The least finite value seen. It travels as bits: text forms of numbers may lose the last one.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Option<u64>", into = "Option<u64>")]
struct Least(Option<f64>);

impl From<Option<u64>> for Least {
    fn from(bits: Option<u64>) -> Self {
        Least(bits.map(f64::from_bits).filter(|value| value.is_finite()))
    }
}

impl From<Least> for Option<u64> {
    fn from(least: Least) -> Self {
        least.0.map(f64::to_bits)
    }
}

impl Least {
    fn observe(&mut self, value: f64) {
        // By total order, for 0 and -0 to come out the same in every order.
        if self.0.is_none_or(|least| value.total_cmp(&least).is_lt()) {
            self.0 = Some(value);
        }
    }
}

/// A map as a list of pairs: formats whose keys are text alone can hold it.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Category;

    pub(super) fn serialize<S: Serializer>(rows: &BTreeMap<Category, u64>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(rows)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<Category, u64>, D::Error> {
        Ok(Vec::<(Category, u64)>::deserialize(from)?.into_iter().collect())
    }
}

impl Fit {
    /// Nothing counted yet, for rows of this schema.
    ///
    /// # Errors
    /// A name in the spec that stands for no column, a column that two lists name, a type its encoder does
    /// not take, a setting that cannot be.
    pub fn new(spec: &EncodeSpec, schema: &Schema) -> Result<Fit, EncodeError> {
        let choices = choose(spec, schema)?;
        let count = |choice: &Choice| match (choice.encoder, choice.null) {
            (Encoder::Onehot, _) => Count::Categories(Categories::default()),
            (Encoder::Standard, _) | (_, NullPolicy::Mean | NullPolicy::Flag) => {
                Count::Numbers(Numbers { moments: Some(Box::default()), ..Numbers::default() })
            }
            _ => Count::Numbers(Numbers::default()),
        };
        let counts = choices.iter().map(count).collect();
        Ok(Fit {
            choices,
            counts,
            rows: 0,
            min_frequency: spec.min_frequency,
            max_categories: spec.max_categories,
        })
    }

    /// Names of the columns that are read, in the order of the features.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.choices.iter().map(|choice| choice.column.name.as_str())
    }

    /// Rows counted so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Counts rows.
    ///
    /// # Errors
    /// [`EncodeError::Differs`] where a column is missing or of another type than in the schema of
    /// [`Fit::new`], [`EncodeError::TooManyCategories`].
    pub fn observe(&mut self, rows: &RecordBatch) -> Result<(), EncodeError> {
        let inputs = self.choices.iter().map(|choice| (&choice.column, choice.encoder));
        let places = places(inputs, rows.schema_ref())?;
        let mut values = Vec::with_capacity(rows.num_rows());
        for ((choice, count), place) in self.choices.iter().zip(&mut self.counts).zip(places) {
            let array = rows.column(place).as_ref();
            match count {
                Count::Numbers(count) => {
                    numbers(array, &mut values);
                    count.observe(&values);
                }
                Count::Categories(count) => {
                    count.observe(&Codes::read(array));
                    count.check(choice)?;
                }
            }
        }
        self.rows += rows.num_rows() as u64;
        Ok(())
    }

    /// Adds what another worker counted.
    ///
    /// # Errors
    /// [`EncodeError::OtherFit`] where it counted other columns or by other settings,
    /// [`EncodeError::TooManyCategories`].
    pub fn merge(&mut self, other: Fit) -> Result<(), EncodeError> {
        let same = self.choices == other.choices
            && self.min_frequency == other.min_frequency
            && self.max_categories == other.max_categories;
        if !same || self.counts.len() != other.counts.len() {
            return Err(EncodeError::OtherFit);
        }
        for ((choice, count), more) in self.choices.iter().zip(&mut self.counts).zip(other.counts) {
            match (count, more) {
                (Count::Numbers(count), Count::Numbers(more)) => count.merge(more)?,
                (Count::Categories(count), Count::Categories(more)) => {
                    count.merge(more);
                    count.check(choice)?;
                }
                _ => return Err(EncodeError::OtherFit),
            }
        }
        self.rows = self.rows.saturating_add(other.rows);
        Ok(())
    }

    /// The encoders of the rows counted.
    ///
    /// # Errors
    /// [`EncodeError::NoRows`] where there was none.
    pub fn finish(self) -> Result<Encoders, EncodeError> {
        if self.rows == 0 {
            return Err(EncodeError::NoRows);
        }
        // As scikit-learn compares: a share of all rows, those without a value included.
        let enough = |rows: u64| match self.min_frequency {
            MinFrequency::Count(least) => rows >= least,
            MinFrequency::Share(share) => rows as f64 >= self.rows as f64 * share,
        };
        let column = |(choice, count): (Choice, Count)| match count {
            Count::Numbers(count) => count.column(choice),
            Count::Categories(count) => count.column(choice, enough, self.max_categories),
        };
        Ok(Encoders::new(self.choices.into_iter().zip(self.counts).map(column).collect()))
    }
}

impl Numbers {
    fn observe(&mut self, values: &[f64]) {
        let mut absent = 0;
        let mut least = f64::INFINITY;
        for &value in values {
            let there = value.is_finite();
            absent += u64::from(!there);
            least = if there { least.min(value) } else { least };
        }
        self.absent += absent;
        if least.is_finite() {
            // 0 and -0 are one value here: which of them `min` keeps depends on the order.
            self.least.observe(least + 0.0);
        }
        if let Some(moments) = &mut self.moments {
            moments.observe(values);
        }
    }

    fn merge(&mut self, other: Numbers) -> Result<(), EncodeError> {
        self.absent = self.absent.saturating_add(other.absent);
        if let Some(least) = other.least.0 {
            self.least.observe(least);
        }
        match (&mut self.moments, other.moments) {
            (Some(moments), Some(more)) => moments.merge(*more),
            (None, None) => {}
            _ => return Err(EncodeError::OtherFit),
        }
        Ok(())
    }

    fn column(self, choice: Choice) -> Column {
        let moments = self.moments.unwrap_or_default();
        let code = match choice.encoder {
            Encoder::Log1p => Code::Log1p,
            Encoder::Standard => Code::Standard { mean: moments.mean(), scale: scale(&moments) },
            Encoder::Passthrough | Encoder::Onehot => Code::Passthrough,
        };
        let null = match choice.null {
            NullPolicy::Below => {
                let least = code.number(self.least.0.unwrap_or_default());
                least - (least.abs() / 1000.0).max(1.0)
            }
            NullPolicy::Zero => code.number(0.0),
            NullPolicy::Mean | NullPolicy::Flag => code.number(moments.mean()),
            NullPolicy::Value(value) => code.number(value),
        };
        // A value that `f64` cannot hold is the caller's number far out of the column's range.
        let null = null.clamp(f64::MIN, f64::MAX);
        Column {
            input: choice.column,
            code,
            null,
            flag: choice.null == NullPolicy::Flag,
            absent: self.absent,
        }
    }
}

/// The divisor of [`Encoder::Standard`]: the population standard deviation, or 1 for a column whose variance
/// is what rounding alone could give, `var <= n eps var + (n mean eps)^2` (scikit-learn's rule, after Chan,
/// Golub, LeVeque, "Algorithms for computing the sample variance", 1983).
fn scale(moments: &Moments) -> f64 {
    let (n, variance) = (moments.count as f64, moments.variance());
    let bound = n * f64::EPSILON * variance + (n * moments.mean() * f64::EPSILON).powi(2);
    // A variance above the range of f64 is no rounding.
    if variance <= bound && variance.is_finite() { 1.0 } else { moments.deviation() }
}

impl Categories {
    fn observe(&mut self, codes: &Codes<'_>) {
        let mut rows = vec![0_u64; codes.values.len()];
        for &code in &codes.codes {
            match rows.get_mut(code as usize) {
                Some(rows) => *rows += 1,
                None => self.absent += 1,
            }
        }
        for (value, rows) in codes.values.iter().zip(rows).filter(|(_, rows)| *rows > 0) {
            if let Some(value) = value {
                *self.rows.entry(value.category()).or_default() += rows;
            }
        }
    }

    fn merge(&mut self, other: Categories) {
        self.absent = self.absent.saturating_add(other.absent);
        for (category, rows) in other.rows {
            let sum = self.rows.entry(category).or_default();
            *sum = sum.saturating_add(rows);
        }
    }

    fn check(&self, choice: &Choice) -> Result<(), EncodeError> {
        match self.rows.len() > MOST_CATEGORIES {
            true => Err(EncodeError::TooManyCategories { column: choice.column.name.clone() }),
            false => Ok(()),
        }
    }

    fn column(self, choice: Choice, enough: impl Fn(u64) -> bool, max_categories: usize) -> Column {
        let seen: u64 = self.rows.values().sum();
        // A value spelled as the feature of all other values is one of them.
        let mut kept: Vec<(Category, u64)> = self
            .rows
            .into_iter()
            .filter(|(category, rows)| enough(*rows) && *category != Category::Text(OTHER.to_owned()))
            .collect();
        // One of max_categories is the feature of all others; of values as frequent the greater stay, as
        // scikit-learn has it.
        kept.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| b.0.cmp(&a.0)));
        kept.truncate(max_categories.saturating_sub(1));
        kept.sort();
        let other = seen - kept.iter().map(|(_, rows)| rows).sum::<u64>();
        let code = Code::Onehot { kept, other };
        Column {
            input: choice.column,
            code,
            null: 0.0,
            flag: choice.null == NullPolicy::Flag,
            absent: self.absent,
        }
    }
}
