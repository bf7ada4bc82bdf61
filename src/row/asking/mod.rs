//! What rows of a window have in common with rows elsewhere: workers ask whoever keeps it, and are answered.
//!
//! ```text
//! rows -- gather --------------- what is held of each window --------------- attach -- rows with more
//!            +- asks -(the keeper's worker)- keep -(who asked)- answers -------+
//! ```
//!
//! A [`Gatherer`] holds rows of a window where they are until all of them came, and says and asks what is to be known
//! about them. A [`Keeper`] takes in what all workers say of a window, and then answers. An [`Attacher`] gives the rows
//! with what was answered. Windows come in order; in which order workers speak of one does not matter.

pub(crate) mod operator;
mod wire;

use bytemuck::{Pod, Zeroable};

pub(crate) use wire::Lists;

use super::RowBatch;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Size of a message, as its sender counts it, from which on it should be sent.
pub(crate) const MESSAGE: usize = 65_536;

/// Whose message it is, and about what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Head {
    /// The window, as its gatherer names it.
    pub(crate) window: u64,
    /// The worker that asked.
    pub(crate) from: u32,
    /// The worker that the message goes to.
    pub(crate) target: u32,
    /// What it is about, where there are several things.
    pub(crate) group: u32,
    /// Keeps eight bytes.
    pub(crate) reserved: u32,
}

/// What is sent between workers: a head and lists of numbers.
pub(crate) trait Message: Clone + Default + Send + 'static {
    /// Whose it is, where it goes.
    fn head(&self) -> &Head;

    /// How much is in it: any number that is zero only for an empty one.
    fn count(&self) -> usize;

    /// Its lists, as bytes.
    fn lists(&self) -> Vec<&[u8]>;

    /// From its head and lists.
    fn read(lists: &mut Lists<'_>) -> Self;
}

/// Makes a struct with a `head` a [`Message`] of these lists, in this order on the wire; the first is empty only where
/// all are.
macro_rules! message {
    ($message:ident: $first:ident $(, $list:ident)*) => {
        impl $crate::row::asking::Message for $message {
            fn head(&self) -> &$crate::row::asking::Head {
                &self.head
            }

            fn count(&self) -> usize {
                self.$first.len()
            }

            fn lists(&self) -> Vec<&[u8]> {
                vec![bytemuck::cast_slice(&self.$first) $(, bytemuck::cast_slice(&self.$list))*]
            }

            fn read(lists: &mut $crate::row::asking::Lists<'_>) -> $message {
                $message { head: lists.head, $first: lists.next() $(, $list: lists.next())* }
            }
        }
    };
}
pub(crate) use message;

/// Makes asks of the rows of a worker.
pub(crate) trait Gatherer: 'static {
    /// Rows of a window while they come.
    type Gathered: 'static;
    /// What waits for the answers.
    type Held: 'static;
    /// A window that is being asked about.
    type Asking: 'static;
    /// What is asked.
    type Ask: Message;

    /// The window of a batch: as many as come in one order.
    fn window(&self, batch: &RowBatch) -> u64;

    /// Begins a window.
    fn begin(&mut self) -> Self::Gathered;

    /// Takes in rows.
    ///
    /// # Errors
    /// Whatever keeps them from being read.
    fn add(&mut self, gathered: &mut Self::Gathered, batch: RowBatch) -> Result<(), AnyError>;

    /// All rows of the window came.
    fn close(&mut self, gathered: Self::Gathered, window: u64) -> (Self::Held, Self::Asking);

    /// The next ask; `None` when all was asked.
    fn ask(&mut self, asking: &mut Self::Asking) -> Option<Self::Ask>;
}

/// Keeps something from window to window, and answers what workers ask about it.
pub(crate) trait Keeper: 'static {
    /// What a worker says and asks.
    type Ask: Message;
    /// An ask that was taken in, to be answered when all of its window were.
    type Taken: 'static;
    /// What the worker is told.
    type Answer: Message;

    /// Begins a window, later than all before.
    fn open(&mut self, window: u64);

    /// Takes in what a worker says of the open window. In which order does not matter.
    fn take(&mut self, ask: Self::Ask) -> Self::Taken;

    /// All of the window was taken in.
    fn settle(&mut self, window: u64);

    /// Answers an ask of the settled window.
    fn answer(&mut self, taken: Self::Taken) -> Self::Answer;

    /// All of the window was answered. Returns how much was forgotten for lack of room.
    fn close(&mut self) -> u64;
}

/// Gives rows with what was answered.
pub(crate) trait Attacher: 'static {
    /// What waits for the answers.
    type Held: 'static;
    /// What was answered.
    type Answer: Message;
    /// A window whose answers are all there.
    type Settled: 'static;

    /// Takes in an answer about a window.
    fn put(&mut self, held: &mut Self::Held, answer: Self::Answer);

    /// All answers about a window came.
    fn settle(&mut self, held: Self::Held, window: u64) -> Self::Settled;

    /// The next batch of the window; `None` when all were given.
    fn rows(&mut self, settled: &mut Self::Settled) -> Option<Result<RowBatch, AnyError>>;
}
