//! Incidents that somebody names, and their rows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hashbrown::HashSet;

use super::{Left, ReportError, choose, left, members};
use crate::incident::Kind;
use crate::row::{RowKey, RowSettings};

/// Rows of incidents that are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) rows: HashSet<RowKey>,
    /// Rows that the log counts and that are not known by name: a live run writes those of an hour when it is over.
    pub(crate) unknown: u64,
}

impl Named {
    /// The rows of what is named: of all incidents of a report, as the folder that it lies in, or of some, as `folder:id,id`
    /// with the first digits of their ids. Where all are meant new hosts are not: those go by their ids alone. A log that was
    /// rotated since does not say which incidents there were: their rows do.
    ///
    /// They are named among rows that are `made` so.
    ///
    /// # Errors
    /// [`ReportError`] if a report has no incidents or cannot be read, is of rows of another make, or has none of an id with
    /// rows.
    pub(crate) fn read(names: &[String], made: Option<&RowSettings>) -> Result<Named, ReportError> {
        let mut named = Named::default();
        for name in names {
            let (folder, ids) = parts(name);
            let Left { incidents, members } = match left(&folder)? {
                Some(left) => left,
                None => Left { members: members(&folder)?, ..Left::default() },
            };
            if let (Some(theirs), Some(made)) = (&members.made, made)
                && let Some(what) = theirs.names_differ(made)
            {
                return Err(ReportError::OtherRows { folder, what });
            }
            let newcomers = incidents.iter().filter(|incident| incident.kind != Kind::Anomaly);
            let newcomers: BTreeSet<&str> = newcomers.map(|incident| &incident.id[..]).collect();
            let knocks = incidents.iter().filter(|incident| incident.knock);
            let knocks: BTreeSet<&str> = knocks.map(|incident| &incident.id[..]).collect();
            let logged = incidents.iter().map(|incident| &incident.id[..]);
            let all: BTreeSet<&str> = logged.chain(members.of_incident.keys().map(|id| &id[..])).collect();
            let chosen: BTreeSet<&str> = match &ids[..] {
                // What was never said may well come again: it is learned.
                [] => all.difference(&newcomers).copied().filter(|id| !knocks.contains(id)).collect(),
                ids => ids.iter().map(|id| choose(&folder, &all, id)).collect::<Result<_, _>>()?,
            };
            for id in chosen {
                let rows = members.of_incident.get(id);
                if rows.is_none() && !ids.is_empty() {
                    let is_new_host = newcomers.contains(id);
                    let id = id.to_owned();
                    return Err(match is_new_host {
                        true => ReportError::NewHost { folder, id },
                        false => ReportError::NoRows { folder, id },
                    });
                }
                let counted = incidents.iter().find(|incident| incident.id == id);
                let counted = counted.map_or(0, |incident| incident.alerts);
                named.unknown += counted.saturating_sub(rows.map_or(0, |rows| rows.len() as u64));
                named.rows.extend(rows.into_iter().flatten());
            }
        }
        Ok(named)
    }
}

/// The folder of the report that a name stands for.
pub(crate) fn folder_of(name: &str) -> PathBuf {
    parts(name).0
}

/// The folder of a report and the ids that stand behind it, or what stands there in their place.
fn parts(name: &str) -> (PathBuf, Vec<String>) {
    let is_id = |id: &str| !id.is_empty() && id.bytes().all(|digit| digit.is_ascii_hexdigit());
    let may_be = |folder: &str, ids: &str| {
        !Path::new(name).exists() && (ids.split(',').all(|id| is_id(id.trim())) || Path::new(folder).is_dir())
    };
    match name.rsplit_once(':') {
        Some((folder, ids)) if may_be(folder, ids) => {
            (folder.into(), ids.split(',').map(|id| id.trim().to_owned()).collect())
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
        assert_eq!(of("out:3f9A, 41"), pair("out", "3f9A 41"));
        assert_eq!(of("C:\\out"), pair("C:\\out", ""));
        assert_eq!(of("C:\\out:3f"), pair("C:\\out", "3f"));
        assert_eq!(of("out:3f,"), pair("out:3f,", ""));
        let there = tempfile::tempdir().unwrap();
        let there = there.path().to_str().unwrap();
        assert_eq!(of(&format!("{there}:zz")), pair(there, "zz"), "a report is there");
    }
}
