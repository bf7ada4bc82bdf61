//! Rows to an end on a thread of its own: the worker that has them goes on with packets while they are written.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use arrow::record_batch::RecordBatch;

use super::AnyError;
use super::operator::End;
use crate::threads::{self, NoThread};

/// Batches that may wait: enough for a worker that gives a burst of them, few enough to take little memory.
const WAITING: usize = 8;

/// An end that works beside whoever hands it rows. What keeps it from writing is told with later rows, or at the
/// latest when it is finished.
pub struct Beside {
    /// `None` when no more rows come.
    give: Option<SyncSender<RecordBatch>>,
    /// Gives the end back when no more rows come.
    thread: Option<JoinHandle<Result<Box<dyn End>, AnyError>>>,
}

impl Beside {
    /// Lets `end` work on a thread of its own.
    ///
    /// # Errors
    /// [`NoThread`].
    pub fn new(end: Box<dyn End>) -> Result<Beside, NoThread> {
        let (give, rows) = sync_channel(WAITING);
        let thread = threads::start("rows", move || take_all(end, &rows))?;
        Ok(Beside { give: Some(give), thread: Some(thread) })
    }

    /// The end, once it has taken everything.
    fn ended(&mut self) -> Result<Option<Box<dyn End>>, AnyError> {
        self.give = None;
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(None),
            Some(Ok(end)) => end.map(Some),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}

fn take_all(mut end: Box<dyn End>, rows: &Receiver<RecordBatch>) -> Result<Box<dyn End>, AnyError> {
    for rows in rows {
        end.take(&rows)?;
    }
    Ok(end)
}

impl End for Beside {
    fn take(&mut self, rows: &RecordBatch) -> Result<(), AnyError> {
        match self.give.as_ref().map(|give| give.send(rows.clone())) {
            Some(Ok(())) => Ok(()),
            // It takes no more: it has met an error, which is told once.
            _ => self.ended().map(|_| ()),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<(), AnyError> {
        match self.ended()? {
            Some(end) => end.finish(),
            None => Ok(()),
        }
    }
}

impl Drop for Beside {
    /// Waits for the end, so that what it leaves behind unfinished is gone with it.
    fn drop(&mut self) {
        self.give = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use arrow::array::UInt32Array;

    use super::*;

    /// Remembers what it took, fails at a row number.
    struct Remembers {
        taken: Arc<Mutex<Vec<u32>>>,
        fails_at: u32,
    }

    impl End for Remembers {
        fn take(&mut self, rows: &RecordBatch) -> Result<(), AnyError> {
            let values = rows.column(0).as_any().downcast_ref::<UInt32Array>().unwrap().values();
            if values.contains(&self.fails_at) {
                return Err("it is full".into());
            }
            self.taken.lock().unwrap().extend_from_slice(values);
            Ok(())
        }

        fn finish(self: Box<Self>) -> Result<(), AnyError> {
            self.taken.lock().unwrap().push(u32::MAX);
            Ok(())
        }
    }

    fn rows(number: u32) -> RecordBatch {
        RecordBatch::try_from_iter([("n", Arc::new(UInt32Array::from(vec![number])) as _)]).unwrap()
    }

    #[test]
    fn rows_are_taken_in_order_and_all_before_the_end_is_finished() {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let mut beside =
            Box::new(Beside::new(Box::new(Remembers { taken: taken.clone(), fails_at: 1000 })).unwrap());
        (0..100).for_each(|number| beside.take(&rows(number)).unwrap());
        beside.finish().unwrap();
        assert_eq!(*taken.lock().unwrap(), (0..100).chain([u32::MAX]).collect::<Vec<_>>());
    }

    #[test]
    fn an_error_is_told_once_and_nothing_after_it_is_taken() {
        for given in [3, 100] {
            let taken = Arc::new(Mutex::new(Vec::new()));
            let mut beside =
                Box::new(Beside::new(Box::new(Remembers { taken: taken.clone(), fails_at: 2 })).unwrap());
            let told = (0..given).filter(|number| beside.take(&rows(*number)).is_err()).count();
            let told = told + usize::from(beside.finish().is_err());
            assert_eq!((told, &taken.lock().unwrap()[..2]), (1, &[0, 1][..]));
            assert!(!taken.lock().unwrap().contains(&3));
        }
    }
}
