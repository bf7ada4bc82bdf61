//! What to do where an error ends with the system's own sentence.

use std::error::Error;
use std::io::{self, ErrorKind};

/// EMFILE, for which there is no [`ErrorKind`]; another error elsewhere.
const TOO_MANY: i32 = 24;

/// The error as a text, with what to do where it says no more than the system does.
pub fn advised(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(system) = cause.downcast_ref::<io::Error>()
            && text.ends_with(&system.to_string())
            && let Some(advice) = advice(system)
        {
            text = format!("{text}: {advice}");
            break;
        }
        next = cause.source();
    }
    text
}

fn advice(system: &io::Error) -> Option<&'static str> {
    Some(match system.kind() {
        ErrorKind::NotFound => "check the name, and that of its folder",
        ErrorKind::PermissionDenied => "give this user the right to it, or name another",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room, or name another place",
        ErrorKind::ReadOnlyFilesystem => "name a place that can be written to",
        ErrorKind::IsADirectory => "name a file",
        ErrorKind::NotADirectory => "check the name: a part of it is a file, or it ends with a slash",
        ErrorKind::FileTooLarge => "raise the limit for files (ulimit -f), or write less",
        _ if cfg!(unix) && system.raw_os_error() == Some(TOO_MANY) => {
            "raise the limit of open files (ulimit -n)"
        }
        // What is compressed and damaged is such data, too.
        ErrorKind::InvalidData if system.to_string().contains("UTF-8") => "it is no text, or not in UTF-8",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::{Draft, DraftError};
    use crate::run::RunError;
    use crate::spec::Spec;

    #[test]
    fn what_the_system_says_gets_advice_and_what_has_some_gets_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no.toml");
        let said = advised(&Spec::read(&missing).unwrap_err());
        assert!(said.starts_with(&missing.display().to_string()), "{said}");
        assert!(said.ends_with(": check the name, and that of its folder"), "{said}");
        let latin = folder.path().join("latin.toml");
        std::fs::write(&latin, b"name = \"caf\xe9\"\n").unwrap();
        assert!(advised(&Spec::read(&latin).unwrap_err()).ends_with(": it is no text, or not in UTF-8"));
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let said = advised(&Draft::create(folder.path()).unwrap_err());
        assert!(said.ends_with(": is a folder; name a file in it"), "{said}");
        // What a room met on the way is told in the same way.
        let full = io::Error::from(ErrorKind::StorageFull);
        let met = RunError::Met(Box::new(DraftError::Io { path: file.clone(), source: full }));
        assert!(advised(&met).ends_with(": make room, or name another place"), "{}", advised(&met));
        std::fs::write(&latin, "widnow = 1\n").unwrap();
        assert_eq!(advised(&Spec::read(&latin).unwrap_err()), Spec::read(&latin).unwrap_err().to_string());
    }
}
