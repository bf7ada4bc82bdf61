//! What a file is, by its first bytes: for messages about files of another kind than is read.

/// Arrow's own file format.
pub(crate) const ARROW: &str = "an Arrow IPC file";
/// Text that begins as an object of JSON.
pub(crate) const JSON: &str = "JSON text";
/// Any other text.
pub(crate) const TEXT: &str = "text";

/// Bytes that tell kinds apart, at most.
pub(crate) const BEGINNING: usize = 512;

const KINDS: [(&[u8], &str); 15] = [
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", ARROW),
    (b"\xd4\xc3\xb2\xa1", "a pcap capture"),
    (b"\xa1\xb2\xc3\xd4", "a pcap capture"),
    (b"\x4d\x3c\xb2\xa1", "a pcap capture"),
    (b"\xa1\xb2\x3c\x4d", "a pcap capture"),
    (b"\x0a\x0d\x0d\x0a", "a pcapng capture"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"BZh", "a bzip2 file"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"{", JSON),
    (b"\x7fELF", "a program"),
    (b"\x80\x04", "a Python pickle"),
];

/// What a file is that begins so.
pub(crate) fn named(bytes: &[u8]) -> &'static str {
    if bytes.is_empty() {
        return "an empty file";
    }
    if let Some((_, name)) = KINDS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return name;
    }
    let beginning = &bytes[..bytes.len().min(BEGINNING)];
    let text = beginning.iter().all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace());
    if text { TEXT } else { "something else" }
}
