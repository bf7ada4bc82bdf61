//! The lists of an [`EncodeSpec`] against a schema: which columns, in which order, by which encoder.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};

use super::values::input_type;
use super::{EncodeError, EncodeSpec, Encoder, MinFrequency, NullPolicy};
use crate::row::names::{matches, nearest};

/// Columns that are left out and named.
const NAMED: usize = 8;

/// A column and what becomes of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Choice {
    pub(crate) column: Input,
    pub(crate) encoder: Encoder,
    pub(crate) null: NullPolicy,
}

/// A column as a model expects it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Input {
    pub(crate) name: String,
    /// One of [`super::values::INPUTS`].
    pub(crate) data_type: DataType,
}

/// Arrow's types have no serde form without a feature; their names serve.
#[derive(Serialize, Deserialize)]
struct Named {
    name: String,
    r#type: String,
}

impl Serialize for Input {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Named { name: self.name.clone(), r#type: self.data_type.to_string() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let named = Named::deserialize(deserializer)?;
        let data_type = type_named(&named.r#type)
            .ok_or_else(|| serde::de::Error::custom(format!("no encoder takes the type {}", named.r#type)))?;
        Ok(Input { name: named.name, data_type })
    }
}

/// The remembered type of that name.
pub(crate) fn type_named(name: &str) -> Option<DataType> {
    super::values::INPUTS.into_iter().find(|input| input.to_string() == name)
}

/// Names of all lists, with the encoders of these.
fn named(spec: &EncodeSpec) -> impl Iterator<Item = (Encoder, &str)> + Clone {
    let lists = [&spec.standard, &spec.log1p, &spec.onehot, &spec.passthrough];
    let lists = Encoder::ALL.into_iter().zip(lists);
    lists.flat_map(|(encoder, list)| list.iter().map(move |name| (encoder, name.as_str())))
}

/// Chooses the columns of a schema as the spec says.
pub(crate) fn choose(spec: &EncodeSpec, schema: &Schema) -> Result<Vec<Choice>, EncodeError> {
    check_settings(spec)?;
    let named = named(spec);
    let mut taken: BTreeMap<&str, Encoder> = BTreeMap::new();
    for (encoder, name) in named.clone().filter(|(_, name)| !name.contains('*')) {
        let field = schema.field_with_name(name).map_err(|_| no_such(encoder.name(), name, schema))?;
        if let Some(first) = taken.insert(field.name(), encoder) {
            return Err(EncodeError::Twice { column: name.to_owned(), first, second: encoder });
        }
    }
    for name in &spec.except {
        if !schema.fields().iter().any(|field| matches(name, field.name())) {
            return Err(no_such("except", name, schema));
        }
    }
    let excepted = |column: &str| spec.except.iter().any(|name| matches(name, column));
    let in_full = taken.clone();

    let mut choices = Vec::new();
    for (encoder, name) in named {
        let before = choices.len();
        if !schema.fields().iter().any(|field| matches(name, field.name())) {
            return Err(no_such(encoder.name(), name, schema));
        }
        for field in schema.fields().iter().filter(|field| matches(name, field.name())) {
            let column = field.name().as_str();
            let wildcard = name.contains('*');
            if wildcard && (in_full.contains_key(column) || excepted(column)) {
                continue;
            }
            let Some(data_type) = input_type(field.data_type()).filter(|input| encoder.takes(input)) else {
                if wildcard {
                    continue;
                }
                return Err(EncodeError::WrongType {
                    list: encoder,
                    column: column.to_owned(),
                    found: field.data_type().clone(),
                    taken: encoder.taken(),
                });
            };
            if wildcard && let Some(first) = taken.insert(column, encoder) {
                return Err(EncodeError::Twice { column: column.to_owned(), first, second: encoder });
            }
            let null = null_policy(spec, column, encoder)?;
            choices.push(Choice { column: Input { name: column.to_owned(), data_type }, encoder, null });
        }
        if choices.len() == before {
            let taken = encoder.taken();
            return Err(EncodeError::NothingLeft { list: encoder, name: name.to_owned(), taken });
        }
    }
    for name in spec.nulls.keys() {
        if !choices.iter().any(|choice| matches(name, &choice.column.name)) {
            let names = choices.iter().map(|choice| choice.column.name.as_str());
            let nearest = nearest(name, names);
            return Err(EncodeError::NoSuchColumn { list: "nulls", name: name.clone(), nearest });
        }
    }
    if choices.is_empty() { Err(EncodeError::NothingNamed) } else { Ok(choices) }
}

/// What of a schema a wildcard of the spec matches, no encoder of such a list takes, and no list names: one line for
/// all, if there is any. Nobody asked for these columns by name, and so they are no error, but somebody may miss them.
pub(crate) fn left_out(spec: &EncodeSpec, schema: &Schema) -> Option<String> {
    let is_left_out = |field: &&Arc<Field>| {
        let matching: Vec<_> = named(spec).filter(|(_, name)| matches(name, field.name())).collect();
        let takes = |(encoder, name): &(Encoder, &str)| {
            !name.contains('*') || input_type(field.data_type()).is_some_and(|input| encoder.takes(&input))
        };
        let excepted = spec.except.iter().any(|name| matches(name, field.name()));
        !matching.is_empty() && !excepted && !matching.iter().any(takes)
    };
    let columns: Vec<String> = schema
        .fields()
        .iter()
        .filter(is_left_out)
        .map(|field| format!("`{}` ({})", field.name(), field.data_type()))
        .collect();
    let more = columns.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let named = columns[..columns.len().min(NAMED)].join(", ");
    (!columns.is_empty())
        .then(|| format!("[encode]: not used, for no list that matches takes such a type: {named}{more}"))
}

fn check_settings(spec: &EncodeSpec) -> Result<(), EncodeError> {
    let wrong = |setting: &str, what: String| Err(EncodeError::Setting { setting: setting.to_owned(), what });
    if spec.max_categories == 0 {
        return wrong("max_categories", "0 leaves no feature; 1 or more".to_owned());
    }
    match spec.min_frequency {
        MinFrequency::Share(share) if !(0.0..=1.0).contains(&share) => wrong(
            "min_frequency",
            format!("{share} is no share; a number of rows, or a share between 0.0 and 1.0"),
        ),
        _ => Ok(()),
    }
}

/// The policy for a column: by its name in full, else by the one wildcard that matches, else the default.
fn null_policy(spec: &EncodeSpec, column: &str, encoder: Encoder) -> Result<NullPolicy, EncodeError> {
    let mut matching = spec.nulls.iter().filter(|(name, _)| name.contains('*') && matches(name, column));
    let setting = format!("nulls.{column}");
    let own = match (spec.nulls.get(column), matching.next(), matching.next()) {
        (Some(policy), ..) => Some(policy),
        (None, Some((first, _)), Some((second, _))) => {
            let what = format!("`{first}` and `{second}` both match; name the column in full");
            return Err(EncodeError::Setting { setting, what });
        }
        (None, first, _) => first.map(|(_, policy)| policy),
    };
    let policy = *own.unwrap_or(&spec.null);
    if let NullPolicy::Value(value) = policy
        && !value.is_finite()
    {
        let what = format!("{value} is no value; a finite number");
        return Err(EncodeError::Setting { setting, what });
    }
    match (encoder, own, policy) {
        (Encoder::Onehot, Some(_), NullPolicy::Mean | NullPolicy::Value(_)) => {
            let what = "a onehot column has neither mean nor number; \"zero\" or \"flag\"".to_owned();
            Err(EncodeError::Setting { setting, what })
        }
        // A default made for numbers: in a onehot column a null is 0 in all features.
        (Encoder::Onehot, _, policy) if policy != NullPolicy::Flag => Ok(NullPolicy::Zero),
        _ => Ok(policy),
    }
}

fn no_such(list: &'static str, name: &str, schema: &Schema) -> EncodeError {
    let nearest = nearest(name, schema.fields().iter().map(|field| field.name().as_str()));
    EncodeError::NoSuchColumn { list, name: name.to_owned(), nearest }
}

/// Whether an encoder that learned from a column of the remembered type reads one that is found: the same type, or
/// numbers as numbers, and categories that are whole numbers as such. What else wrote the same table, or met a null
/// in it, has widths of its own. A column without any value is as good as one with nulls alone.
fn reads(encoder: Encoder, learned: &DataType, found: &DataType) -> bool {
    let Some(found) = input_type(found) else { return *found == DataType::Null };
    let alike = match encoder {
        Encoder::Onehot => DataType::is_integer,
        _ => DataType::is_numeric,
    };
    found == *learned || alike(&found) && alike(learned)
}

/// Finds every input in a schema, or says which is the first that its encoder does not read.
///
/// Columns of more names than the inputs' are passed over; a name that is there twice means its first column.
pub(crate) fn places<'a>(
    inputs: impl Iterator<Item = (&'a Input, Encoder)>,
    schema: &Schema,
) -> Result<Vec<usize>, EncodeError> {
    let fields = schema.fields();
    let mut expected = 0;
    let mut place = |(input, encoder): (&Input, Encoder)| {
        // Most inputs stand in the order of the schema.
        let hit = fields.get(expected).is_some_and(|field| *field.name() == input.name);
        let at = if hit { Some(expected) } else { fields.iter().position(|f| *f.name() == input.name) };
        let found = at.map(|at| fields[at].data_type());
        match at.filter(|at| reads(encoder, &input.data_type, fields[*at].data_type())) {
            Some(at) => {
                expected = at + 1;
                Ok(at)
            }
            None => Err(EncodeError::Differs {
                column: input.name.clone(),
                expected: input.data_type.clone(),
                found: found.cloned(),
                nearest: match found {
                    Some(_) => None,
                    None => nearest(&input.name, fields.iter().map(|field| field.name().as_str())),
                },
            }),
        }
    };
    inputs.map(&mut place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::TimeUnit;

    fn schema() -> Schema {
        let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
        Schema::new(vec![
            Field::new("start", DataType::Timestamp(TimeUnit::Nanosecond, None), false),
            Field::new("fwd_bytes", DataType::UInt64, false),
            Field::new("bwd_bytes", DataType::UInt64, false),
            Field::new("gap_s", DataType::Float32, true),
            Field::new("service", dictionary, false),
        ])
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn chosen(spec: &EncodeSpec) -> Result<Vec<(String, Encoder)>, String> {
        let choices = choose(spec, &schema()).map_err(|error| error.to_string())?;
        Ok(choices.into_iter().map(|choice| (choice.column.name, choice.encoder)).collect())
    }

    #[test]
    fn a_wildcard_takes_what_is_left_in_schema_order() {
        let spec = EncodeSpec {
            standard: list(&["*"]),
            log1p: list(&["fwd_bytes"]),
            except: list(&["gap*"]),
            ..EncodeSpec::default()
        };
        assert_eq!(
            chosen(&spec).unwrap(),
            [("bwd_bytes".to_owned(), Encoder::Standard), ("fwd_bytes".to_owned(), Encoder::Log1p)]
        );
    }

    #[test]
    fn what_a_wildcard_matches_and_nobody_takes_is_said() {
        let said = |standard: &[&str], onehot: &[&str], except: &[&str]| {
            let (standard, onehot, except) = (list(standard), list(onehot), list(except));
            left_out(&EncodeSpec { standard, onehot, except, ..EncodeSpec::default() }, &schema())
        };
        let types = "`start` (Timestamp(ns)), `service` (Dictionary(Int8, Utf8))";
        let line = |what: &str| {
            Some(format!("[encode]: not used, for no list that matches takes such a type: {what}"))
        };
        assert_eq!(said(&["*"], &[], &[]), line(types));
        assert_eq!(said(&["*"], &["serv*"], &[]), line("`start` (Timestamp(ns))"));
        assert_eq!(said(&["*"], &["service"], &["start"]), None);
        assert_eq!(said(&["*_bytes", "gap_s"], &[], &[]), None);
        let many: Vec<Field> =
            (0..9).map(|at| Field::new(format!("c{at}"), DataType::Date32, true)).collect();
        let spec = EncodeSpec { passthrough: list(&["*"]), ..EncodeSpec::default() };
        assert!(left_out(&spec, &Schema::new(many)).unwrap().ends_with("`c7` (Date32) and 1 more"));
    }

    #[test]
    fn a_name_that_cannot_be_is_an_error_in_one_line() {
        let of = |change: fn(&mut EncodeSpec)| {
            let mut spec = EncodeSpec::default();
            change(&mut spec);
            chosen(&spec).unwrap_err()
        };
        assert_eq!(
            of(|spec| spec.log1p = list(&["fwd_byte"])),
            "[encode] log1p: no column `fwd_byte`; nearest is `fwd_bytes`"
        );
        assert_eq!(
            of(|spec| spec.log1p = list(&["ctx_*"])),
            "[encode] log1p: no column `ctx_*`; context columns have to be named under [context] columns, too"
        );
        assert_eq!(
            of(|spec| {
                spec.log1p = list(&["fwd_bytes"]);
                spec.passthrough = list(&["fwd_bytes"]);
            }),
            "[encode]: column `fwd_bytes` is in log1p and again in passthrough; a column takes one encoder"
        );
        assert_eq!(
            of(|spec| {
                spec.standard = list(&["*_bytes"]);
                spec.passthrough = list(&["*wd*"]);
            }),
            "[encode]: column `fwd_bytes` is in standard and again in passthrough; a column takes one encoder"
        );
        assert_eq!(
            of(|spec| spec.standard = list(&["service"])),
            "[encode] standard: column `service` is Dictionary(Int8, Utf8); standard takes numbers and booleans"
        );
        assert!(of(|spec| spec.standard = list(&["start"])).ends_with("use hour_of_day or a duration"));
        assert!(
            of(|spec| spec.onehot = list(&["gap*"])).contains("`gap*` matches no column that onehot takes")
        );
        let none = of(|_| ());
        assert!(none.contains("names no column") && none.contains("detector = \"themes\""), "{none}");
        assert!(
            of(|spec| {
                spec.onehot = list(&["service"]);
                spec.nulls.insert("service".to_owned(), NullPolicy::Mean);
            })
            .contains("\"zero\" or \"flag\"")
        );
        assert!(
            of(|spec| {
                spec.onehot = list(&["service"]);
                spec.nulls.insert("servic".to_owned(), NullPolicy::Flag);
            })
            .contains("nearest is `service`")
        );
    }

    #[test]
    fn a_spec_is_read_from_a_pipeline_file() {
        let spec: EncodeSpec = toml::from_str(
            "standard = ['gap_s']\nmin_frequency = 0.01\nnull = -1\n[nulls]\ngap_s = 'flag'\nfwd_bytes = 2.5\n",
        )
        .unwrap();
        assert_eq!(spec.min_frequency, MinFrequency::Share(0.01));
        assert_eq!(spec.null, NullPolicy::Value(-1.0));
        assert_eq!(spec.nulls["gap_s"], NullPolicy::Flag);
        assert_eq!(spec.nulls["fwd_bytes"], NullPolicy::Value(2.5));
        let error = toml::from_str::<EncodeSpec>("null = 'median'").unwrap_err().to_string();
        assert!(error.contains("\"below\", \"zero\", \"mean\", \"flag\" or a finite number"), "{error}");
        assert!(toml::from_str::<EncodeSpec>("null = inf").is_err());
        assert!(toml::from_str::<EncodeSpec>("robust = []").is_err());
    }
}
