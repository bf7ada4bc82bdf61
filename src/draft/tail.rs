//! The end of a file of lines that an earlier run has left.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::de::IgnoredAny;

/// Bytes that are read at once.
const AT_ONCE: u64 = 1 << 16;

/// Makes what `file`, open to be written behind its end, holds end with a whole line. What stands behind the last one was
/// cut where a run was killed, and goes: who follows the file has not taken it for a line. It stays, and is ended, where it
/// is whole but for that. What nobody may read stays as it is.
pub(super) fn mend(path: &Path, mut file: &File) -> io::Result<()> {
    let Ok(mut there) = File::open(path) else { return Ok(()) };
    let mut from = there.metadata()?.len();
    let mut open_line = Vec::new();
    while from > 0 {
        let length = from.min(AT_ONCE);
        from -= length;
        let mut piece = vec![0; length as usize];
        there.seek(SeekFrom::Start(from))?;
        there.read_exact(&mut piece)?;
        let end = memchr::memrchr(b'\n', &piece);
        piece.drain(..end.map_or(0, |end| end + 1));
        let found = end.is_some();
        from += if found { length - piece.len() as u64 } else { 0 };
        piece.append(&mut open_line);
        open_line = piece;
        if found {
            break;
        }
    }
    match serde_json::from_slice::<IgnoredAny>(&open_line) {
        _ if open_line.is_empty() => Ok(()),
        Ok(_) => file.write_all(b"\n"),
        Err(_) => cut(path, file, from),
    }
}

/// Cuts a file that is open to be written behind its end, also where the system lets nobody cut it who may only append.
pub(super) fn cut(path: &Path, file: &File, length: u64) -> io::Result<()> {
    let by_name = |_| File::options().write(true).open(path)?.set_len(length);
    file.set_len(length).or_else(by_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_goes_and_what_is_whole_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let long = format!("\"{}\"", "x".repeat(3 * AT_ONCE as usize));
        let cases = [
            (String::new(), ""),
            ("{}\n{\"a\":1}\n".to_owned(), "{}\n{\"a\":1}\n"),
            ("{}\n{\"a\":".to_owned(), "{}\n"),
            ("{}\n{\"a\":1}".to_owned(), "{}\n{\"a\":1}\n"),
            ("{\"a\":".to_owned(), ""),
            (format!("{{}}\n{}", &long[..long.len() - 1]), "{}\n"),
            (long.clone(), &format!("{long}\n")),
            // The line before ends where a piece begins, or before it.
            (format!("{{}}\n{}", "y".repeat(AT_ONCE as usize)), "{}\n"),
            (format!("{{}}\n{}", "y".repeat(AT_ONCE as usize - 1)), "{}\n"),
        ];
        for (held, expected) in cases {
            std::fs::write(&path, &held).unwrap();
            mend(&path, &File::options().append(true).open(&path).unwrap()).unwrap();
            assert!(std::fs::read_to_string(&path).unwrap() == expected, "{}", &held[..held.len().min(20)]);
        }
    }
}
