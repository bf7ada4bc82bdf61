//! The capture of benign office traffic that ships, laid over itself under other addresses: real conversations, many hosts.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;

use pcap_file::pcap::{PcapHeader, PcapReader, PcapWriter, RawPcapPacket};

use crate::AnyError;

/// Writes each frame so many times at the same time, from and to other addresses each time. Returns the frames written.
/// Checksums are left as they were; nobody that is measured checks them.
pub(crate) fn write(copies: u64, to: &mut impl Write) -> Result<u64, AnyError> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/lab/train.pcap.zst");
    let inflated = zstd::Decoder::new(File::open(shipped)?)?;
    let mut reader = PcapReader::new(BufReader::new(inflated))?;
    let header: PcapHeader = reader.header();
    let mut writer = PcapWriter::with_header(to, header)?;
    let mut frames = 0;
    while let Some(packet) = reader.next_raw_packet() {
        let mut packet: RawPcapPacket<'_> = packet?;
        for copy in 0..copies {
            if copy > 0 {
                readdress(packet.data.to_mut());
            }
            writer.write_raw_packet(&packet)?;
            frames += 1;
        }
    }
    Ok(frames)
}

/// Moves both addresses of a frame to the next network over.
fn readdress(frame: &mut [u8]) {
    let second_bytes: &[usize] = match frame.get(12..14) {
        Some([0x08, 0x00]) => &[27, 31],
        // The second half of the prefix: link-local and multicast stay what they are.
        Some([0x86, 0xDD]) => &[29, 45],
        _ => &[],
    };
    for &at in second_bytes {
        if let Some(byte) = frame.get_mut(at) {
            *byte = byte.wrapping_add(1);
        }
    }
}
