//! Messages as bytes, for workers on other machines: the head, the lengths of the lists, and the lists, each padded to
//! eight bytes.

use std::io::Write;

use bytemuck::{Pod, bytes_of, pod_read_unaligned};

use super::{Head, Message};

/// Bytes of a message.
pub(super) fn length(message: &impl Message) -> usize {
    let padded = message.lists().into_iter().map(|list| 8 + list.len().next_multiple_of(8));
    size_of::<Head>() + padded.sum::<usize>()
}

pub(super) fn write(message: &impl Message, writer: &mut impl Write) {
    let mut put = |bytes: &[u8]| writer.write_all(bytes).expect("timely's buffer has the announced length");
    put(bytes_of(message.head()));
    for list in message.lists() {
        put(&(list.len() as u64).to_ne_bytes());
        put(list);
        put(&[0; 8][..list.len().next_multiple_of(8) - list.len()]);
    }
}

/// What [`write`] wrote, list by list.
pub(crate) struct Lists<'a> {
    /// The head.
    pub(crate) head: Head,
    rest: &'a [u8],
}

impl<'a> Lists<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Lists<'a> {
        let (head, rest) = bytes.split_at(size_of::<Head>());
        Lists { head: pod_read_unaligned(head), rest }
    }

    /// The next list.
    pub(crate) fn next<V: Pod>(&mut self) -> Vec<V> {
        let (length, rest) = self.rest.split_at(8);
        let length = pod_read_unaligned::<u64>(length) as usize;
        let (list, rest) = rest.split_at(length.next_multiple_of(8));
        self.rest = rest;
        bytemuck::allocation::pod_collect_to_vec(&list[..length])
    }
}
