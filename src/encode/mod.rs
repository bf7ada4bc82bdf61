//! Columns to numbers: every row becomes a vector of `f32`, by encoders fitted on the training rows.
//!
//! [`EncodeSpec`] says which column takes which encoder; [`Fit`] counts rows, on any number of workers and
//! in any order, exactly; [`Encoders`] is what was learned: it encodes batches and refuses rows of another
//! make. Arithmetic is `f64`, rounded once to `f32`.
//!
//! Beside them, columns to surprise: [`Histograms`] counts, in one pass, what values are like for each entity
//! ([`Subject`]), [`Past`] says how unlikely a value is there.

mod blocks;
pub mod bucket;
mod choose;
mod counts;
mod crowd;
mod encoders;
mod exact;
mod fit;
mod histograms;
mod judging;
mod learned;
mod met;
mod past;
mod past_table;
pub(crate) mod subject;
#[cfg(test)]
mod surprise_tests;
mod table;
mod tails;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::fmt;

use arrow::datatypes::DataType;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::row::columns::is_context;

pub use blocks::{Blocks, FEWEST, SHORTEST};
pub use encoders::Encoders;
pub use exact::{ExactSum, Moments};
pub use fit::Fit;
pub use histograms::{Histograms, Judgement, Limits, Side, Since};
pub use learned::Learned;
pub use past::Past;
pub use subject::Subject;

pub(crate) use choose::{left_out, type_named};
pub(crate) use crowd::{Crowd, Found};
pub(crate) use histograms::Observed;
pub(crate) use judging::Known;
pub(crate) use met::{Kept, Met};
pub(crate) use subject::parties;
pub(crate) use values::{Which, input_type, numbers, numbers_of};

/// Most values one column may show in fitting to be encoded by category.
pub const MOST_CATEGORIES: usize = 65_536;

/// The table `[encode]` of a pipeline file: which column takes which encoder.
///
/// In the lists a name may hold `*` for any run of characters (`ctx_*`): it stands for every column of that
/// name, in the order of the schema, that the encoder takes, that no list names in full and that `except`
/// does not name. The features stand in the order of the lists as they are here, and in a list as it names them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncodeSpec {
    /// Columns less their mean, divided by their population standard deviation; scikit-learn's `StandardScaler`.
    pub standard: Vec<String>,
    /// Columns as `sign(x) * ln(1 + |x|)`.
    pub log1p: Vec<String>,
    /// Columns as a 0/1 feature for each of their most frequent values and one for all others.
    pub onehot: Vec<String>,
    /// Columns as they are.
    pub passthrough: Vec<String>,
    /// Columns that no `*` takes.
    pub except: Vec<String>,
    /// Values of a `onehot` column seen in fewer training rows are not told apart.
    pub min_frequency: MinFrequency,
    /// Most features of a `onehot` column, the one for all other values included.
    pub max_categories: usize,
    /// What a column reads as where it is null, NaN or infinite.
    pub null: NullPolicy,
    /// The same for single columns; names may hold `*`, a name in full goes before.
    pub nulls: BTreeMap<String, NullPolicy>,
}

impl Default for EncodeSpec {
    fn default() -> Self {
        EncodeSpec {
            standard: Vec::new(),
            log1p: Vec::new(),
            onehot: Vec::new(),
            passthrough: Vec::new(),
            except: Vec::new(),
            min_frequency: MinFrequency::Count(0),
            max_categories: 32,
            null: NullPolicy::Below,
            nulls: BTreeMap::new(),
        }
    }
}

/// How often a value must be seen to have a feature of its own; as scikit-learn's `OneHotEncoder` reads it.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged, expecting = "min_frequency is a number of rows, or a share of them between 0 and 1")]
pub enum MinFrequency {
    /// In that many rows.
    Count(u64),
    /// In that share of all rows, `0.0..=1.0`.
    Share(f64),
}

/// What a column reads as where it has no value: null, NaN or infinite.
///
/// The default is `below`: what does not exist is neither an ordinary value nor the mean of them, and an
/// isolation forest can cut off a value outside the range, so that absence is visible without being loud.
/// In a `onehot` column a null is 0 in all its features, which no value is.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum NullPolicy {
    /// The least encoded training value less 1 (less a thousandth of its size where that is more).
    #[default]
    Below,
    /// As a 0 in the column.
    Zero,
    /// As the column's mean over its training values.
    Mean,
    /// As the mean, and a further feature `<column>_is_null` is 1.
    Flag,
    /// As this number in the column, in its own unit.
    Value(f64),
}

impl Serialize for NullPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            NullPolicy::Below => serializer.serialize_str("below"),
            NullPolicy::Zero => serializer.serialize_str("zero"),
            NullPolicy::Mean => serializer.serialize_str("mean"),
            NullPolicy::Flag => serializer.serialize_str("flag"),
            NullPolicy::Value(value) => serializer.serialize_f64(*value),
        }
    }
}

impl<'de> Deserialize<'de> for NullPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Policy;

        impl Visitor<'_> for Policy {
            type Value = NullPolicy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"below\", \"zero\", \"mean\", \"flag\" or a finite number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<NullPolicy, E> {
                match text {
                    "below" => Ok(NullPolicy::Below),
                    "zero" => Ok(NullPolicy::Zero),
                    "mean" => Ok(NullPolicy::Mean),
                    "flag" => Ok(NullPolicy::Flag),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<NullPolicy, E> {
                match value.is_finite() {
                    true => Ok(NullPolicy::Value(value)),
                    false => Err(E::invalid_value(de::Unexpected::Float(value), &self)),
                }
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<NullPolicy, E> {
                self.visit_f64(value as f64)
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<NullPolicy, E> {
                self.visit_f64(value as f64)
            }
        }

        deserializer.deserialize_any(Policy)
    }
}

/// How a column becomes features.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoder {
    /// [`EncodeSpec::standard`].
    Standard,
    /// [`EncodeSpec::log1p`].
    Log1p,
    /// [`EncodeSpec::onehot`].
    Onehot,
    /// [`EncodeSpec::passthrough`].
    Passthrough,
}

impl Encoder {
    /// All, in the order of features.
    pub const ALL: [Encoder; 4] = [Encoder::Standard, Encoder::Log1p, Encoder::Onehot, Encoder::Passthrough];

    /// The name in pipeline files and models.
    pub fn name(self) -> &'static str {
        match self {
            Encoder::Standard => "standard",
            Encoder::Log1p => "log1p",
            Encoder::Onehot => "onehot",
            Encoder::Passthrough => "passthrough",
        }
    }

    /// Whether it takes columns of this remembered type.
    fn takes(self, input: &DataType) -> bool {
        match self {
            Encoder::Onehot => values::is_category(input),
            _ => values::is_number(input),
        }
    }

    /// What it takes, in words.
    fn taken(self) -> &'static str {
        match self {
            Encoder::Onehot => "text, whole numbers and booleans",
            _ => "numbers and booleans",
        }
    }
}

impl fmt::Display for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why columns could not be chosen, fitted or encoded.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The spec names nothing.
    #[error(
        "[encode] names no column; list some under standard, log1p, onehot or passthrough, or name a detector that needs \
         none: [detect] detector = \"themes\" is the default of train"
    )]
    NothingNamed,
    /// A name in the spec matches no column.
    #[error("[encode] {list}: no column `{name}`{}{}", context_hint(.name), nearest_hint(.nearest))]
    NoSuchColumn {
        /// List or table of the spec.
        list: &'static str,
        /// The name as written.
        name: String,
        /// The column most like it.
        nearest: Option<String>,
    },
    /// A wildcard matches columns, but none that the encoder takes and that is not named elsewhere.
    #[error(
        "[encode] {list}: `{name}` matches no column that {list} takes ({taken}) and that is not named in another list"
    )]
    NothingLeft {
        /// List of the spec.
        list: Encoder,
        /// The name as written.
        name: String,
        /// What the encoder takes.
        taken: &'static str,
    },
    /// A column is in two lists, or twice in one.
    #[error("[encode]: column `{column}` is in {first} and again in {second}; a column takes one encoder")]
    Twice {
        /// The column.
        column: String,
        /// List that has it first.
        first: Encoder,
        /// List that has it again.
        second: Encoder,
    },
    /// A column named in full has a type its encoder does not take.
    #[error("[encode] {list}: column `{column}` is {found}; {list} takes {taken}{}", time_hint(.found))]
    WrongType {
        /// List of the spec.
        list: Encoder,
        /// The column.
        column: String,
        /// Its type.
        found: DataType,
        /// What the encoder takes.
        taken: &'static str,
    },
    /// A setting that cannot be.
    #[error("[encode] {setting}: {what}")]
    Setting {
        /// Key of the spec.
        setting: String,
        /// What is wrong and what is allowed.
        what: String,
    },
    /// Rows of another make.
    #[error("column `{column}`: model expects {expected}, rows have {}{}", type_found(.found), nearest_hint(.nearest))]
    Differs {
        /// The first column that differs.
        column: String,
        /// The type at fitting.
        expected: DataType,
        /// The type in the rows; `None` where they have no such column.
        found: Option<DataType>,
        /// The column of the rows most like it, where there is no such column.
        nearest: Option<String>,
    },
    /// More different values than can be counted exactly.
    #[error(
        "column `{column}` has more than {MOST_CATEGORIES} different values: onehot would tell few of them apart; use another encoder or leave the column out"
    )]
    TooManyCategories {
        /// The column.
        column: String,
    },
    /// Nothing to learn from.
    #[error("the training set is empty: no row was read; check the input and its time range")]
    NoRows,
    /// Two fits that do not belong together.
    #[error("fits of different columns cannot be merged")]
    OtherFit,
    /// A table of encoders that no training wrote.
    #[error("the table of encoders is damaged: {0}")]
    Damaged(String),
}

fn nearest_hint(name: &Option<String>) -> String {
    name.as_ref().map(|name| format!("; nearest is `{name}`")).unwrap_or_default()
}

/// Context is made where it is asked for, and a pipeline's own encoders do not ask.
fn context_hint(name: &str) -> &'static str {
    if is_context(name) { "; context columns have to be named under [context] columns, too" } else { "" }
}

fn type_found(found: &Option<DataType>) -> String {
    found.as_ref().map_or_else(|| "no such column".to_owned(), DataType::to_string)
}

fn time_hint(found: &DataType) -> &'static str {
    match found.is_temporal() {
        true => {
            ", and every later time would be odd to a model that learned times; use hour_of_day or a duration"
        }
        false => "",
    }
}
