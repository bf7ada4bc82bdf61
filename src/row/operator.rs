//! Rows as a timely container: one batch is one message, moved whole.

use std::io::{Cursor, Write};
use std::sync::Arc;

use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use timely::bytes::arc::Bytes;
use timely::communication::Push;
use timely::container::{Accountable, NoopBuilder};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::channels::{ContainerBytes, Message};
use timely::dataflow::operators::Operator;
use timely::progress::Stamp;

use super::{Place, RowBatch, Without};

/// Timely counts records to know what is in flight: any number will do that is zero only for an empty
/// container and that no exchange changes.
impl Accountable for RowBatch {
    fn record_count(&self) -> i64 {
        i64::try_from(self.rows.num_rows()).expect("a batch holds less than 2^63 rows")
    }
}

/// Between machines a batch crosses as its place and an Arrow IPC stream.
impl ContainerBytes for RowBatch {
    fn from_bytes(bytes: Bytes) -> Self {
        let head: [u64; 3] = bytemuck::pod_read_unaligned(&bytes[..24]);
        let rows = StreamReader::try_new(Cursor::new(&bytes[24..]), None)
            .and_then(|mut stream| stream.next().unwrap_or(Ok(RecordBatch::new_empty(stream.schema()))))
            .expect("a peer of the same build sends whole Arrow streams");
        let last = head[2] >> 32 != 0;
        let place = Place { window: head[0], worker: (head[1] >> 32) as u32, number: head[1] as u32, last };
        RowBatch { place, target: head[2] as u32, rows }
    }

    fn length_in_bytes(&self) -> usize {
        // Arrow pads its messages to eight bytes; timely asks for a multiple of eight.
        (24 + stream(&self.rows).len()).next_multiple_of(8)
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        let place = self.place;
        let head = [
            place.window,
            u64::from(place.worker) << 32 | u64::from(place.number),
            u64::from(place.last) << 32 | u64::from(self.target),
        ];
        let mut body = stream(&self.rows);
        body.resize((24 + body.len()).next_multiple_of(8) - 24, 0);
        writer.write_all(bytemuck::bytes_of(&head)).expect("timely's buffer has the announced length");
        writer.write_all(&body).expect("timely's buffer has the announced length");
    }
}

fn stream(rows: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    StreamWriter::try_new(&mut bytes, &rows.schema())
        .and_then(|mut writer| {
            writer.write(rows)?;
            writer.finish()
        })
        .expect("rows are plain Arrow types, memory does not fail");
    bytes
}

/// Leaves some rows out.
pub fn leave_out(rows: Stream<'_, u64, RowBatch>, without: Arc<Without>) -> Stream<'_, u64, RowBatch> {
    rows.unary::<NoopBuilder<RowBatch>, _, _, _>(Pipeline, "leave out", move |_, _| {
        move |input, output| {
            input.for_each(|time, batch| {
                without.leave(batch);
                output.session_with_builder(&time).give_container(batch);
            });
        }
    })
}

/// Moves a batch whole to the worker it names.
pub struct ToTarget;

impl Distributor<RowBatch> for ToTarget {
    fn partition<T: Clone, P: Push<Message<T, RowBatch>>>(
        &mut self,
        batch: &mut RowBatch,
        stamp: &Stamp<T>,
        pushers: &mut [P],
    ) {
        let target = batch.target as usize % pushers.len();
        Message::push_at(batch, stamp.clone(), &mut pushers[target]);
    }

    fn flush<T: Clone, P: Push<Message<T, RowBatch>>>(&mut self, _: &Stamp<T>, _: &mut [P]) {}
}

/// The way of batches that change workers.
pub fn to_target() -> DistributorPact<fn(usize) -> ToTarget> {
    DistributorPact(|_| ToTarget)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, DictionaryArray, UInt64Array};
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn a_batch_crosses_machines_unchanged() {
        let names: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
        let columns: Vec<(&str, ArrayRef)> =
            vec![("n", Arc::new(UInt64Array::from(vec![1, 2, 3]))), ("s", Arc::new(names))];
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        let batch =
            RowBatch { place: Place { window: 7, worker: 2, number: 9, last: true }, target: 5, rows };
        let mut bytes = Vec::new();
        batch.into_bytes(&mut bytes);
        assert_eq!(bytes.len(), batch.length_in_bytes());
        assert_eq!(bytes.len() % 8, 0);
        let back = RowBatch::from_bytes(timely::bytes::arc::BytesMut::from(bytes).freeze());
        assert_eq!((back.place, back.target, back.rows), (batch.place, batch.target, batch.rows));
    }
}
