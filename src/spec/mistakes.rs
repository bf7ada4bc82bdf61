//! What a parser of TOML finds wrong with a file, in the words of who wrote it, and where a value stands that a room
//! refuses.

use serde::de::DeserializeOwned;
use toml::de::DeTable;

use crate::row::names::most_like;

/// So like must a key be to be the one that was meant.
const MEANT: f64 = 0.6;

/// A parser's message about a file that should be a `T`, in one line.
pub(super) fn plainly<T: DeserializeOwned>(message: &str) -> String {
    let line = message.lines().next().unwrap_or("").trim();
    let mut names = line.split('`').skip(1).step_by(2);
    match names.next() {
        Some(unknown) if line.starts_with("unknown field ") => {
            unknown_key::<T>(unknown, &names.collect::<Vec<_>>())
        }
        Some(unknown) if line.starts_with("unknown variant ") => {
            let known: Vec<String> = names.map(|name| format!("{name:?}")).collect();
            format!("{unknown:?} is no value that is known here; it may be {}", known.join(" or "))
        }
        _ => of_type(line),
    }
}

/// A key that its table does not have: where it stands, the nearest that the table has, and all of them.
fn unknown_key<T: DeserializeOwned>(unknown: &str, known: &[&str]) -> String {
    let meant = match elsewhere::<T>(unknown) {
        Some(place) => format!(": it stands {place}"),
        None => most_like(unknown, known.iter().copied(), MEANT)
            .map_or_else(String::new, |nearest| format!(": did you mean `{nearest}`?")),
    };
    match known.is_empty() {
        true => format!("unknown key `{unknown}`{meant}"),
        false => format!("unknown key `{unknown}`{meant} (known: {})", known.join(", ")),
    }
}

/// Where else in a file that is a `T` a key may stand.
fn elsewhere<T: DeserializeOwned>(key: &str) -> Option<String> {
    // A key of no letters is nobody's: what the parser says of it names all that there are.
    let keys = |head: &str| -> Vec<String> {
        let error = toml::from_str::<T>(&format!("{head}\"\" = 0\n")).err();
        let message = error.map(|error| error.message().to_owned()).unwrap_or_default();
        let known = message.strip_prefix("unknown field ``").unwrap_or_default();
        known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let top = keys("");
    if top.iter().any(|known| known == key) {
        return Some("at the top of the file".to_owned());
    }
    let heads = top.iter().flat_map(|table| [format!("[{table}]"), format!("[[{table}]]")]);
    let heads: Vec<String> =
        heads.filter(|head| keys(&format!("{head}\n")).iter().any(|known| known == key)).collect();
    (!heads.is_empty()).then(|| format!("under {}", heads.join(" and ")))
}

/// What may stand in the place of a value of another type, as a file has it rather than a program.
fn of_type(line: &str) -> String {
    let Some((found, expected)) = line.split_once(", expected ") else { return line.to_owned() };
    let quoted = found.split_once('"').map(|(_, rest)| rest.trim_end_matches('"'));
    let expected = match expected {
        "a duration" => "a duration such as \"10s\" or \"5m\"".to_owned(),
        "a sequence" if found.ends_with(" map") => "a list, in [ ], or one of tables, [[ ]]".to_owned(),
        "a TOML datetime" => "a date, without quotes: 2027-01-31".to_owned(),
        "a sequence" => format!("a list such as [{:?}]", quoted.unwrap_or("service")),
        "u64" | "usize" => "a whole number from 0".to_owned(),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u8" => format!("a whole number from 0 to {}", u8::MAX),
        "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "text in quotes".to_owned(),
        "path string" => "a path in quotes".to_owned(),
        "a map" => "a table".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        other => other.to_owned(),
    };
    // `as i128` is how a number is held that is beyond what any key takes.
    let beyond = found.strip_suffix(" as i128").map(|found| format!("{found}, which 64 bits do not hold"));
    format!("{}, expected {expected}", beyond.as_deref().unwrap_or(found))
}

/// Where in a file's text the value stands that an error of a room is about, in bytes: such an error begins with the table,
/// and the key where it is about one.
pub(super) fn place_of(text: &str, error: &str) -> Option<usize> {
    let (table, rest) = error.strip_prefix('[')?.split_once(']')?;
    let key = rest.trim_start().split([' ', ':', '.']).next().unwrap_or("");
    let file = DeTable::parse(text).ok()?;
    let (head, table) = file.get_ref().get_key_value(table)?;
    let value = table.get_ref().as_table().and_then(|table| table.get(key));
    Some(value.map_or(head.span(), |value| value.span()).start)
}
