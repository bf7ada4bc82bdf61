//! The allow-list: what is known, wanted, and not to be reported.
//!
//! ```toml
//! [[allow]]
//! src = "10.20.0.90"          # any of: net (either end), src, dst, port (the responder's), protocol, column with min, max
//! protocol = "icmp"
//! until = 2027-01-31          # through that day; or a time, UTC where it names no zone
//! why = "the monitor pings all hosts"
//!
//! [threshold]                 # another one than the model's: one of false_alarm_rate, contamination, percentile
//! false_alarm_rate = 0.0005
//! ```
//!
//! A rule holds for findings that all of its conditions hold for. Of several that hold the first one of the
//! file is named.

use std::fmt;

use arrow::datatypes::{DataType, Schema};
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::value::Datetime;

use super::finding::{Finding, Real};
use super::net::Net;
use crate::detect::{DetectError, DetectSpec, Threshold};
use crate::flow::names;
use crate::row::names::nearest;

/// A file of rules, as it is written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesFile {
    /// The rules in their order.
    #[serde(default)]
    allow: Vec<Written>,
    /// Where alarms begin.
    threshold: Option<WrittenThreshold>,
}

/// Where alarms begin, by the keys of `[detect]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenThreshold {
    false_alarm_rate: Option<f64>,
    contamination: Option<f64>,
    percentile: Option<f64>,
}

/// One rule, as it is written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    net: Option<Net>,
    src: Option<Net>,
    dst: Option<Net>,
    port: Option<Port>,
    protocol: Option<Protocol>,
    column: Option<Spanned<String>>,
    min: Option<f64>,
    max: Option<f64>,
    until: Option<Datetime>,
    why: String,
}

/// A port as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged, expecting = "`port` is one number, 0 to 65535: of several, each has a rule of its own")]
enum Port {
    Number(u16),
}

/// A protocol by a number, or by a name that rows have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged, try_from = "WrittenProtocol")]
enum Protocol {
    Number(u8),
    Name(String),
}

/// A protocol as it is written.
#[derive(Deserialize)]
#[serde(untagged, expecting = "`protocol` is a name such as \"tcp\", or a number")]
enum WrittenProtocol {
    Number(i64),
    Name(String),
}

impl TryFrom<WrittenProtocol> for Protocol {
    type Error = String;

    fn try_from(written: WrittenProtocol) -> Result<Protocol, String> {
        let numbered = |number: u8| Protocol::Number(number);
        let name = match written {
            WrittenProtocol::Number(number) => {
                let wrong = |_| format!("`protocol = {number}`: numbers of IP protocols are 0 to 255");
                return u8::try_from(number).map(numbered).map_err(wrong);
            }
            WrittenProtocol::Name(name) => name,
        };
        if let Ok(number) = name.parse() {
            return Ok(Protocol::Number(number));
        }
        // Several numbers may have one name.
        let known = || (0..=u8::MAX).map(names::protocol).filter(|name| name.parse::<u8>().is_err());
        if known().any(|known| known.eq_ignore_ascii_case(&name)) {
            return Ok(Protocol::Name(name));
        }
        let known: Vec<_> = known().collect();
        let meant = nearest(&name.to_lowercase(), known.iter().map(|name| &name[..]));
        let meant = meant.map_or(String::new(), |meant| format!(": did you mean `{meant}`?"));
        Err(format!("no protocol is named {name:?}{meant} (or write its number, 0 to 255)"))
    }
}

/// What of a file of rules cannot be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// A rule: which one, and what is wrong.
    #[error("[[allow]] number {number}: {what}")]
    Rule {
        /// Its place in the file, from 1.
        number: usize,
        /// What is wrong.
        what: String,
    },
    /// A column that no row has, or whose values are no numbers.
    #[error("{what}")]
    Column {
        /// Where it is named: bytes of the file before it.
        at: usize,
        /// What is wrong.
        what: String,
    },
    /// The threshold.
    #[error("[threshold]: {0}")]
    Threshold(String),
}

/// A range of a column's values. What is null lies in none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
struct Range {
    /// Place of the column among [`Rules::columns`].
    column: usize,
    name: String,
    min: Option<Real>,
    max: Option<Real>,
}

/// A rule that was checked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// Its place in the file, from 1.
    number: u32,
    net: Option<Net>,
    src: Option<Net>,
    dst: Option<Net>,
    port: Option<u16>,
    protocol: Option<Protocol>,
    range: Option<Range>,
    /// End of event time that it holds for, nanoseconds.
    until: Option<i64>,
    /// The same as it is written: a day, or a time.
    written_until: Option<String>,
    why: String,
}

/// The rules of a file, checked.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    columns: Vec<String>,
    /// Where rules of the file name those columns, bytes of the file before them; none for what nobody named yet.
    named_at: Vec<usize>,
    threshold: Option<Threshold>,
}

/// Columns that rules may come to name while a run goes on, beside those that they named when it began.
pub const COLUMNS: [&str; 8] = [
    "duration_s",
    "fwd_packets",
    "bwd_packets",
    "fwd_bytes",
    "bwd_bytes",
    "fwd_payload_bytes",
    "bwd_payload_bytes",
    "score",
];

impl RulesFile {
    /// Checks the rules.
    ///
    /// # Errors
    /// The first rule that cannot be.
    pub fn check(self) -> Result<Rules, RulesError> {
        let mut rules = Rules { threshold: self.alarms()?, ..Rules::default() };
        for (number, written) in (1..).zip(self.allow) {
            rules.named_at.extend(written.new_column(&rules.columns));
            let rule = written.check(number, &mut rules.columns);
            rules.rules.push(rule.map_err(|what| RulesError::Rule { number: number as usize, what })?);
        }
        Ok(rules)
    }

    /// Checks rules that take the place of others while a run goes on: findings have the values of `columns` and of no
    /// others.
    ///
    /// # Errors
    /// The first rule that cannot be, or names another column.
    pub fn check_within(self, columns: &[String]) -> Result<Rules, RulesError> {
        let mut rules = Rules { threshold: self.alarms()?, columns: columns.to_vec(), ..Rules::default() };
        for (number, written) in (1..).zip(self.allow) {
            let mut rule = written.check(number, &mut rules.columns);
            if let (Ok(_), Some(column)) = (&rule, rules.columns.get(columns.len())) {
                rule = Err(format!(
                    "`column = {column:?}`: no rule named it when this run began; it counts in a new run (these count \
                     in this one: {})",
                    columns.join(", ")
                ));
            }
            rules.rules.push(rule.map_err(|what| RulesError::Rule { number: number as usize, what })?);
        }
        Ok(rules)
    }

    /// Where alarms begin, if the file says it.
    fn alarms(&self) -> Result<Option<Threshold>, RulesError> {
        let Some(WrittenThreshold { false_alarm_rate, contamination, percentile }) = self.threshold else {
            return Ok(None);
        };
        let spec = DetectSpec { false_alarm_rate, contamination, percentile, ..DetectSpec::default() };
        match (spec.check_asked(), spec.threshold()) {
            (Ok(_), Some(threshold)) => Ok(Some(threshold)),
            (Ok(_), None) => {
                let what =
                    "it says nothing: name false_alarm_rate, contamination or percentile, or leave it out";
                Err(RulesError::Threshold(what.to_owned()))
            }
            (Err(DetectError::Spec { key, found, allowed }), _) => {
                Err(RulesError::Threshold(format!("{key} = {found}: must be {allowed}")))
            }
            (Err(error), _) => Err(RulesError::Threshold(error.to_string())),
        }
    }
}

impl Written {
    /// Where it names a column that is not among these.
    fn new_column(&self, columns: &[String]) -> Option<usize> {
        let column = self.column.as_ref().filter(|column| !columns.contains(column.get_ref()));
        column.map(|column| column.span().start)
    }

    fn check(self, number: u32, columns: &mut Vec<String>) -> Result<Rule, String> {
        let Written { net, src, dst, port, protocol, column, min, max, until, why } = self;
        let port = port.map(|Port::Number(port)| port);
        let column = column.map(Spanned::into_inner);
        if why.trim().is_empty() {
            return Err("`why` is empty: say whom or what it is for".to_owned());
        }
        let range = match (column, min, max) {
            (None, None, None) => None,
            (None, ..) => return Err("`min` and `max` are of a `column`: name it".to_owned()),
            (Some(column), None, None) => return Err(format!("`column = {column:?}` needs `min` or `max`")),
            (Some(name), min, max) => {
                if let Some(none) = [min, max].into_iter().flatten().find(|end| end.is_nan()) {
                    return Err(format!("`column = {name:?}`: {none} is no end of a range"));
                }
                if min.zip(max).is_some_and(|(min, max)| min > max) {
                    return Err(format!("`column = {name:?}`: `min` is greater than `max`"));
                }
                let column = columns.iter().position(|known| *known == name).unwrap_or_else(|| {
                    columns.push(name.clone());
                    columns.len() - 1
                });
                Some(Range { column, name, min: min.map(Real::new), max: max.map(Real::new) })
            }
        };
        if net.is_none()
            && src.is_none()
            && dst.is_none()
            && port.is_none()
            && protocol.is_none()
            && range.is_none()
        {
            return Err("it would allow everything: name net, src, dst, port, protocol or column".to_owned());
        }
        let written_until = until.map(|until| until.to_string());
        let until = until.map(|until| end_of(&until)).transpose()?;
        let why = why.trim().to_owned();
        Ok(Rule { number, net, src, dst, port, protocol, range, until, written_until, why })
    }
}

/// The event time, in nanoseconds, that a date or time ends: a day ends with it. No row is later than what 64 bits hold.
fn end_of(until: &Datetime) -> Result<i64, String> {
    let wrong = || format!("`until = {until}` is no time; write a date, or a date and a time");
    let time = match (until.date, until.time, until.offset) {
        (Some(_), None, _) => {
            let date: jiff::civil::Date = until.to_string().parse().map_err(|_| wrong())?;
            match date.tomorrow().and_then(|next| Offset::UTC.to_timestamp(next.at(0, 0, 0, 0))) {
                Ok(next) => next,
                Err(_) => return Ok(i64::MAX),
            }
        }
        (Some(_), Some(_), Some(_)) => until.to_string().parse::<jiff::Timestamp>().map_err(|_| wrong())?,
        (Some(_), Some(_), None) => {
            let time: jiff::civil::DateTime = until.to_string().parse().map_err(|_| wrong())?;
            Offset::UTC.to_timestamp(time).map_err(|_| wrong())?
        }
        (None, ..) => return Err(wrong()),
    };
    Ok(i64::try_from(time.as_nanosecond()).unwrap_or(if time.as_second() < 0 { i64::MIN } else { i64::MAX }))
}

impl Rules {
    /// The rules in the order of the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Names of the columns that rules ask for.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Checks that rows with this schema have the columns that rules name, as numbers.
    ///
    /// # Errors
    /// [`RulesError::Column`]: a rule that names another can never hold.
    pub fn check_columns(&self, rows: &Schema) -> Result<(), RulesError> {
        for (name, at) in self.columns.iter().zip(&self.named_at) {
            let wrong = |what: String| Err(RulesError::Column { at: *at, what });
            let numbers = |kind: &DataType| kind.is_numeric() || *kind == DataType::Boolean;
            match rows.field_with_name(name) {
                Ok(field) if numbers(field.data_type()) => {}
                Ok(field) => {
                    let kind = field.data_type();
                    return wrong(format!(
                        "`column = {name:?}` is {kind}, and `min` and `max` are of numbers"
                    ));
                }
                Err(_) => {
                    let fields = rows.fields().iter().filter(|field| numbers(field.data_type()));
                    let meant = nearest(name, fields.map(|field| &field.name()[..]));
                    let meant = meant.map_or(String::new(), |meant| format!(": did you mean `{meant}`?"));
                    return wrong(format!(
                        "rows have no column {name:?}{meant} (netweir features lists them)"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Where alarms begin, if the file says it.
    pub fn threshold(&self) -> Option<Threshold> {
        self.threshold
    }

    /// The same with the columns that later rules may ask for ([`COLUMNS`]).
    #[must_use]
    pub fn with_more_columns(mut self) -> Rules {
        for column in COLUMNS {
            if self.columns.iter().all(|known| known != column) {
                self.columns.push(column.to_owned());
            }
        }
        self
    }
}

impl Rule {
    /// Whether another one says the same, wherever it stands in its file.
    pub(super) fn is_again(&self, other: &Rule) -> bool {
        *self == Rule { number: self.number, ..other.clone() }
    }

    /// Whether it holds for a finding whose window ends at `end`, nanoseconds.
    pub(super) fn holds(&self, finding: &Finding, end: u64) -> bool {
        let in_range = |range: &Range| match finding.values.get(range.column) {
            Some(Some(value)) => {
                range.min.is_none_or(|min| *value >= min) && range.max.is_none_or(|max| *value <= max)
            }
            _ => false,
        };
        !self.expired(end)
            && self.net.is_none_or(|net| net.contains(finding.src) || net.contains(finding.dst))
            && self.src.is_none_or(|net| net.contains(finding.src))
            && self.dst.is_none_or(|net| net.contains(finding.dst))
            && self.port.is_none_or(|port| finding.dst_port == port)
            && self.protocol.as_ref().is_none_or(|protocol| match protocol {
                Protocol::Number(number) => finding.protocol == *number,
                Protocol::Name(name) => finding.protocol_name.eq_ignore_ascii_case(name),
            })
            && self.range.as_ref().is_none_or(in_range)
    }

    /// That its time is over, if at this time it is: what is to be done.
    pub fn useless_at(&self, end: u64) -> Option<String> {
        let until = self.until().unwrap_or_default();
        let said = || format!("allow-list rule {self}: expired (until {until}); remove it or move `until`");
        self.expired(end).then(said)
    }

    /// Whether its time is over for windows that end at `end`, nanoseconds.
    pub fn expired(&self, end: u64) -> bool {
        self.until.is_some_and(|until| i64::try_from(end).is_ok_and(|end| end > until))
    }

    /// When its time is over, as it is written: a day ends with it.
    pub fn until(&self) -> Option<&str> {
        self.written_until.as_deref()
    }
}

/// What people call it: its place in the file and what it is for.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.number, self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::finding;
    use super::*;

    fn rules(text: &str) -> Rules {
        toml::from_str::<RulesFile>(text).unwrap().check().unwrap()
    }

    fn error(text: &str) -> String {
        match toml::from_str::<RulesFile>(text) {
            Ok(file) => file.check().unwrap_err().to_string(),
            Err(error) => error.message().to_owned(),
        }
    }

    #[test]
    fn a_rule_holds_where_all_its_conditions_do() {
        let finding = Finding {
            values: vec![Some(Real::new(500.0)), None],
            ..finding(7, 1, [10, 0, 0, 9], [10, 0, 1, 1], 9.0)
        };
        let holds =
            |text: &str| rules(&format!("[[allow]]\nwhy = 'x'\n{text}")).rules[0].holds(&finding, 1_000);
        for (yes, no) in [
            ("net = '10.0.1.0/24'", "net = '10.0.2.0/24'"),
            ("src = '10.0.0.9'", "src = '10.0.1.1'"),
            ("dst = '10.0.1.1'", "dst = '10.0.0.9'"),
            ("port = 80", "port = 81"),
            ("protocol = 'TCP'", "protocol = 'udp'"),
            ("protocol = 6", "protocol = 17"),
            ("protocol = '6'", "protocol = '253'"),
            ("column = 'fwd_bytes'\nmax = 500", "column = 'fwd_bytes'\nmax = 499.5"),
            ("column = 'fwd_bytes'\nmin = 500\nmax = 600", "column = 'fwd_bytes'\nmin = 501"),
            ("port = 80\nuntil = 1970-01-01", "port = 80\nuntil = 1969-12-31"),
        ] {
            assert!(holds(yes), "{yes}");
            assert!(!holds(no), "{no}");
        }
        assert!(!holds("src = '10.0.0.9'\nport = 81"));
    }

    #[test]
    fn a_day_ends_at_its_end_and_a_time_at_once() {
        let until =
            |text: &str| rules(&format!("[[allow]]\nport = 1\nwhy = 'x'\nuntil = {text}")).rules[0].until;
        assert_eq!(until("1970-01-01"), Some(86_400_000_000_000));
        assert_eq!(until("1970-01-01T00:00:01"), Some(1_000_000_000));
        assert_eq!([until("9999-12-31"), until("2300-01-01T00:00:00")], [Some(i64::MAX); 2]);
        assert_eq!(until("1970-01-01T01:00:01+01:00"), Some(1_000_000_000));
    }

    #[test]
    fn a_column_that_rows_have_not_is_named_with_its_place_and_the_nearest() {
        use arrow::datatypes::Field;
        let rows = Schema::new(vec![
            Field::new("fwd_bytes", DataType::UInt64, false),
            Field::new("src_is_new", DataType::Boolean, false),
            Field::new("service", DataType::Utf8, false),
        ]);
        let check = |column: &str| {
            let known = "[[allow]]\nwhy = 'x'\ncolumn = 'fwd_bytes'\nmax = 1\n";
            let text = format!("{known}{known}[[allow]]\nwhy = 'x'\nmin = 1\ncolumn = '{column}'\n");
            let place = text.rfind(&format!("'{column}'")).unwrap();
            let wrong = rules(&text).with_more_columns().check_columns(&rows).err()?;
            assert!(matches!(wrong, RulesError::Column { at, .. } if at == place), "{wrong:?} {place}");
            Some(wrong.to_string())
        };
        assert_eq!(check("src_is_new"), None);
        assert!(check("fwd_byte").unwrap().contains("no column \"fwd_byte\": did you mean `fwd_bytes`?"));
        assert!(check("nope").unwrap().contains("no column \"nope\""));
        assert!(check("service").unwrap().contains("is Utf8"));
    }

    #[test]
    fn what_is_wrong_with_a_rule_is_said() {
        for (text, said) in [
            ("[[allow]]\nport = 1\n", "missing field `why`"),
            ("[[allow]]\nport = '1-1024'\nwhy = 'x'\n", "`port` is one number, 0 to 65535"),
            ("[[allow]]\nport = 65536\nwhy = 'x'\n", "`port` is one number, 0 to 65535"),
            ("[[allow]]\nport = 1\nwhy = ' '\n", "number 1: `why` is empty"),
            ("[[allow]]\nwhy = 'x'\n", "it would allow everything"),
            ("[[allow]]\nwhy = 'x'\nmin = 1\n", "name it"),
            ("[[allow]]\nwhy = 'x'\ncolumn = 'a'\n", "needs `min` or `max`"),
            ("[[allow]]\nwhy = 'x'\ncolumn = 'a'\nmin = 2\nmax = 1\n", "greater"),
            ("[[allow]]\nwhy = 'x'\ncolumn = 'a'\nmin = nan\n", "NaN is no end of a range"),
            ("[[allow]]\nwhy = 'x'\nport = 1\nuntil = 10:00:00\n", "is no time"),
            ("[[allow]]\nwhy = 'x'\nnet = '10/8'\n", "is no network"),
            ("[[allow]]\nwhy = 'x'\nprot = 1\n", "unknown field `prot`"),
            ("[[allow]]\nwhy = 'x'\nprotocol = 'udpp'\n", "named \"udpp\": did you mean `udp`?"),
            ("[[allow]]\nwhy = 'x'\nprotocol = 256\n", "are 0 to 255"),
            ("[[allow]]\nwhy = 'x'\nprotocol = 'frob'\n", "no protocol is named \"frob\""),
            ("[threshold]\n", "[threshold]: it says nothing"),
            ("[threshold]\nfalse_alarm_rate = 2\n", "[threshold]: false_alarm_rate = 2: must be "),
            ("[threshold]\nfalse_alarm_rate = 0.1\npercentile = 99\n", "left out when"),
            ("[threshold]\npercentile = 0.99\n", "[threshold]: percentile = 0.99: must be 50 to 100; "),
            ("[threshold]\nscore = 7\n", "unknown field `score`"),
        ] {
            assert!(error(text).contains(said), "{text}: {}", error(text));
        }
    }

    #[test]
    fn a_rule_that_moved_within_its_file_is_the_same_and_stays_known_as_used() {
        let one = rules("[[allow]]\nport = 53\nwhy = \"dns\"\n");
        let two = rules("[[allow]]\nport = 80\nwhy = \"web\"\n[[allow]]\nport = 53\nwhy = \"dns\"\n");
        let [web, dns] = two.rules() else { panic!("two rules") };
        assert!(dns.is_again(&one.rules()[0]) && !web.is_again(&one.rules()[0]) && *dns != one.rules()[0]);
    }
}
