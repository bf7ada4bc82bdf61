//! What a row says, by the names of its columns: rows may have them or not.

use std::net::IpAddr;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use hashbrown::HashMap;

use crate::context::address::Address;
use crate::context::local::Networks;
use crate::flow::window_of;
use crate::row::RowSettings;

/// Columns that every reason looks at, whatever it says.
macro_rules! places {
    ($($name:ident),*) => {
        /// Where those columns lie that rows have.
        pub(in crate::detect) struct Places {
            $(pub(in crate::detect) $name: Option<usize>,)*
        }

        impl Places {
            fn of(place: impl Fn(&str) -> Option<usize>) -> Places {
                Places { $($name: place(stringify!($name)),)* }
            }
        }
    };
}

places!(
    age_pair,
    age_pairport,
    age_pairsvc,
    bwd_bytes,
    bwd_packets,
    bwd_payload_bytes,
    ctx_dst_w1_ports,
    ctx_dstsvc_w1_bwd_bytes,
    ctx_dstsvc_w1_flows,
    ctx_pair_w1_ports,
    ctx_pairsvc_w6_bwd_bytes,
    ctx_pairsvc_w6_flows,
    ctx_pairsvc_w6_fwd_bytes,
    ctx_src_w1_ends,
    ctx_src_w1_failed,
    ctx_src_w1_flows,
    ctx_src_w1_new_ends,
    ctx_src_w30_ends,
    ctx_src_w30_flows,
    ctx_src_w30_new_ends,
    ctx_src_w6_ends,
    ctx_src_w6_flows,
    ctx_src_w6_new_ends,
    dst_ip,
    dst_port,
    fwd_bytes,
    fwd_packets,
    fwd_payload_bytes,
    icmp_type,
    protocol,
    protocol_name,
    reg_pairsvc_cv8,
    reg_pairsvc_gap8,
    service,
    src_ip
);

/// Rows, looked up by name.
pub(in crate::detect) struct Lookup<'a> {
    columns: Vec<Values<'a>>,
    places: HashMap<&'a str, usize, foldhash::fast::RandomState>,
    at: Places,
    /// Length of windows in nanoseconds, for rows that know it.
    pub(in crate::detect) window: Option<u64>,
    /// Networks that are one's own.
    local: Networks,
}

impl<'a> Lookup<'a> {
    pub(in crate::detect) fn new(rows: &'a RecordBatch) -> Lookup<'a> {
        let schema = rows.schema_ref();
        let fields = schema.fields().iter().enumerate();
        let places: HashMap<&str, usize, foldhash::fast::RandomState> =
            fields.map(|(at, field)| (field.name().as_str(), at)).collect();
        let at = Places::of(|name| places.get(name).copied());
        let window = RowSettings::of(schema).as_ref().and_then(window_of);
        let columns = rows.columns().iter().map(|column| Values::of(column.as_ref())).collect();
        Lookup { columns, places, at, window, local: Networks::of(schema) }
    }

    /// One row of them.
    pub(in crate::detect) fn row(&self, row: usize) -> Facts<'_> {
        Facts { of: self, row }
    }
}

/// A row.
#[derive(Clone, Copy)]
pub(in crate::detect) struct Facts<'a> {
    of: &'a Lookup<'a>,
    row: usize,
}

impl<'a> Facts<'a> {
    /// Where columns lie.
    pub(in crate::detect) fn at(&self) -> &'a Places {
        &self.of.at
    }

    fn column(&self, place: Option<usize>) -> Option<&'a Values<'a>> {
        self.of.columns.get(place?)
    }

    /// A number; `None` where there is no such column, or no value.
    pub(in crate::detect) fn number(&self, name: &str) -> Option<f64> {
        self.number_at(self.of.places.get(name).copied())
    }

    /// The same of a column by its place.
    pub(in crate::detect) fn number_at(&self, place: Option<usize>) -> Option<f64> {
        self.column(place)?.number(self.row)
    }

    /// A text, likewise.
    pub(in crate::detect) fn text(&self, name: &str) -> Option<&'a str> {
        self.text_at(self.of.places.get(name).copied())
    }

    /// The same of a column by its place.
    pub(in crate::detect) fn text_at(&self, place: Option<usize>) -> Option<&'a str> {
        self.column(place)?.text(self.row)
    }

    /// Whether a column has an address of one's own networks ([`is_inside`]).
    pub(in crate::detect) fn is_inside(&self, place: Option<usize>) -> bool {
        self.text_at(place).is_some_and(|address| is_inside(address, &self.of.local))
    }

    /// Seconds of a window.
    pub(in crate::detect) fn window(&self) -> Option<f64> {
        self.of.window.map(|window| window as f64 / 1e9)
    }
}

/// A column of any type as numbers or texts: what it is is found out once, not for each row.
pub(in crate::detect) struct Values<'a> {
    nulls: Option<&'a NullBuffer>,
    form: Form<'a>,
}

enum Form<'a> {
    UInt8(&'a [u8]),
    UInt16(&'a [u16]),
    UInt32(&'a [u32]),
    UInt64(&'a [u64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Texts(&'a StringArray),
    Coded(Codes<'a>, &'a StringArray),
    Other(&'a dyn Array),
}

/// The codes of a dictionary.
enum Codes<'a> {
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
}

impl<'a> Codes<'a> {
    /// With their texts; `None` for what is no such dictionary.
    fn of(column: &'a dyn Array) -> Option<(Codes<'a>, &'a StringArray)> {
        let DataType::Dictionary(code, _) = column.data_type() else { return None };
        let codes = match code.as_ref() {
            DataType::Int8 => Codes::Int8(column.as_dictionary::<Int8Type>().keys().values()),
            DataType::Int16 => Codes::Int16(column.as_dictionary::<Int16Type>().keys().values()),
            DataType::Int32 => Codes::Int32(column.as_dictionary::<Int32Type>().keys().values()),
            _ => return None,
        };
        Some((codes, column.as_any_dictionary().values().as_string_opt()?))
    }

    fn place(&self, row: usize) -> Option<usize> {
        let code = match self {
            Codes::Int8(codes) => i32::from(codes[row]),
            Codes::Int16(codes) => i32::from(codes[row]),
            Codes::Int32(codes) => codes[row],
        };
        usize::try_from(code).ok()
    }
}

impl<'a> Values<'a> {
    pub(in crate::detect) fn of(column: &'a dyn Array) -> Values<'a> {
        let form = match column.data_type() {
            DataType::UInt8 => Form::UInt8(column.as_primitive::<UInt8Type>().values()),
            DataType::UInt16 => Form::UInt16(column.as_primitive::<UInt16Type>().values()),
            DataType::UInt32 => Form::UInt32(column.as_primitive::<UInt32Type>().values()),
            DataType::UInt64 => Form::UInt64(column.as_primitive::<UInt64Type>().values()),
            DataType::Float32 => Form::Float32(column.as_primitive::<Float32Type>().values()),
            DataType::Float64 => Form::Float64(column.as_primitive::<Float64Type>().values()),
            DataType::Utf8 => Form::Texts(column.as_string()),
            _ => match Codes::of(column) {
                Some((codes, texts)) => Form::Coded(codes, texts),
                None => Form::Other(column),
            },
        };
        Values { nulls: column.nulls(), form }
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }

    /// The number of a row; `None` for what is null or no number.
    pub(in crate::detect) fn number(&self, row: usize) -> Option<f64> {
        if self.is_null(row) {
            return None;
        }
        match &self.form {
            Form::UInt8(values) => Some(f64::from(values[row])),
            Form::UInt16(values) => Some(f64::from(values[row])),
            Form::UInt32(values) => Some(f64::from(values[row])),
            Form::UInt64(values) => Some(values[row] as f64),
            Form::Float32(values) => Some(f64::from(values[row])),
            Form::Float64(values) => Some(values[row]),
            Form::Texts(_) | Form::Coded(..) => None,
            Form::Other(column) => {
                let mut one = Vec::with_capacity(1);
                crate::encode::numbers(column.slice(row, 1).as_ref(), &mut one);
                one.first().copied().filter(|value| !value.is_nan())
            }
        }
    }

    /// The text of a row, plain or of a dictionary; `None` for what is null or no text.
    pub(in crate::detect) fn text(&self, row: usize) -> Option<&'a str> {
        if self.is_null(row) {
            return None;
        }
        match &self.form {
            Form::Texts(texts) => Some(texts.value(row)),
            Form::Coded(codes, texts) => {
                codes.place(row).filter(|place| texts.is_valid(*place)).map(|place| texts.value(place))
            }
            Form::Other(column) => match column.data_type() {
                DataType::LargeUtf8 => Some(column.as_string::<i64>().value(row)),
                DataType::Utf8View => Some(column.as_string_view().value(row)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Whether an address is of one's own networks, of this machine, or of many hosts of one network; what is no address is
/// taken for a name in one's own.
fn is_inside(address: &str, local: &Networks) -> bool {
    let address = address.split('%').next().unwrap_or_default();
    let near = match address.parse() {
        Ok(IpAddr::V4(v4)) => v4.is_loopback() || v4.is_broadcast() || v4.is_multicast(),
        Ok(IpAddr::V6(v6)) => v6.is_loopback() || v6.is_multicast(),
        Err(_) => true,
    };
    near || local.hold(&Address::parse(Some(address)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, DictionaryArray, Int16Array, StringArray, UInt64Array};

    #[test]
    fn rows_are_read_by_name_whatever_form_they_have() {
        let dictionary: DictionaryArray<Int8Type> = [Some("b"), None, Some("a")].into_iter().collect();
        let columns: [(&str, ArrayRef); 4] = [
            ("d", Arc::new(dictionary)),
            ("s", Arc::new(StringArray::from(vec![Some("x"), None, Some("y")]))),
            ("n", Arc::new(UInt64Array::from(vec![Some(7), None, Some(9)]))),
            ("i", Arc::new(Int16Array::from(vec![Some(-7), None, Some(9)]))),
        ];
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        let lookup = Lookup::new(&rows);
        assert_eq!(lookup.window, None);
        let row = |row| {
            let facts = lookup.row(row);
            (facts.text("d"), facts.text("s"), facts.number("n"), facts.number("i"))
        };
        assert_eq!(row(0), (Some("b"), Some("x"), Some(7.0), Some(-7.0)));
        assert_eq!(row(1), (None, None, None, None));
        assert_eq!(row(2), (Some("a"), Some("y"), Some(9.0), Some(9.0)));
        assert_eq!(
            (lookup.row(0).number("d"), lookup.row(0).text("n"), lookup.row(0).number("z")),
            (None, None, None)
        );
    }

    #[test]
    fn inside_is_what_rows_say_is_local_else_what_no_public_network_routes() {
        let private = Networks::of(&arrow::datatypes::Schema::empty());
        for (address, inside) in [
            ("10.1.2.3", true),
            ("172.31.0.1", true),
            ("172.32.0.1", false),
            ("8.8.8.8", false),
            ("fe80::1%eth0", true),
            ("fd00::1", true),
            ("2001:db8::1", false),
            ("224.0.0.251", true),
            ("printer", true),
        ] {
            assert_eq!(is_inside(address, &private), inside, "{address}");
        }
        let own = Networks::parse(&["8.8.8.0/24".to_owned()]).unwrap();
        for (address, inside) in [
            ("8.8.8.8", true),
            ("8.8.9.8", false),
            ("10.1.2.3", false),
            ("224.0.0.251", true),
            ("printer", true),
        ] {
            assert_eq!(is_inside(address, &own), inside, "{address}");
        }
    }
}
