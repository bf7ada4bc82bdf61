//! Incidents that somebody names, and their rows.

use std::path::{Path, PathBuf};

use hashbrown::HashSet;

use super::{ReportError, choose, log, members};
use crate::incident::Kind;
use crate::row::RowKey;

/// The rows of what is named: of all incidents of a report, as the folder that it lies in, or of some, as
/// `folder:id,id` with the first digits of their ids. Where all are meant new hosts are not: those go by their ids alone.
///
/// # Errors
/// [`ReportError`] if a report has no incidents, cannot be read, or has none of an id.
pub(crate) fn rows_of(names: &[String]) -> Result<HashSet<RowKey>, ReportError> {
    let mut rows = HashSet::new();
    for name in names {
        let (folder, ids) = parts(name);
        let incidents = log(&folder)?.incidents;
        let chosen = match &ids[..] {
            [] => incidents.iter().filter(|incident| incident.kind == Kind::Anomaly).collect(),
            ids => ids.iter().map(|id| choose(&folder, &incidents, id)).collect::<Result<Vec<_>, _>>()?,
        };
        let members = members(&folder)?;
        rows.extend(chosen.iter().filter_map(|incident| members.of_incident.get(&incident.id)).flatten());
    }
    Ok(rows)
}

/// The folder of a report and the ids that stand behind it.
fn parts(name: &str) -> (PathBuf, Vec<String>) {
    let is_id = |id: &str| !id.is_empty() && id.bytes().all(|digit| digit.is_ascii_hexdigit());
    match name.rsplit_once(':') {
        Some((folder, ids)) if ids.split(',').all(is_id) && !Path::new(name).exists() => {
            (folder.into(), ids.split(',').map(str::to_owned).collect())
        }
        _ => (name.into(), Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stand_behind_the_folder_and_a_folder_may_have_a_colon() {
        let of = |name: &str| {
            let (folder, ids) = parts(name);
            (folder.display().to_string(), ids.join(" "))
        };
        let pair = |folder: &str, ids: &str| (folder.to_owned(), ids.to_owned());
        assert_eq!(of("out"), pair("out", ""));
        assert_eq!(of("out:3f9A,41"), pair("out", "3f9A 41"));
        assert_eq!(of("C:\\out"), pair("C:\\out", ""));
        assert_eq!(of("C:\\out:3f"), pair("C:\\out", "3f"));
        assert_eq!(of("out:3f,"), pair("out:3f,", ""));
    }
}
