//! Recall without the graph.

use arrow::record_batch::RecordBatch;

use super::super::Plan;
use super::answers::Answers;
use super::flows::Flows;
use super::keeper::Keeper;
use super::memory::Memory;
use super::questions::{Gathering, Question};
use crate::row::asking::Head;

/// What the graph does, without one.
pub(in crate::context) struct Simulated {
    plan: Plan,
    length: u64,
    keepers: Vec<Keeper>,
    flows: Vec<Flows>,
    known: Option<u64>,
}

impl Simulated {
    pub(in crate::context) fn new(plan: &Plan, workers: usize, length: u64) -> Simulated {
        let most = plan.recall.most();
        let keepers = (0..workers).map(|worker| Keeper::new(None, worker, workers, most)).collect();
        let flows = (0..workers).map(|_| Flows::new(length, most)).collect();
        Simulated { plan: plan.clone(), length, keepers, flows, known: None }
    }

    /// Another run, to which is handed over what was seen in this one.
    pub(in crate::context) fn again(self) -> Simulated {
        let (workers, mut memory) = (self.keepers.len(), Memory::default());
        self.keepers.into_iter().for_each(|keeper| keeper.leave(&mut memory));
        let most = self.plan.recall.most();
        let keeper = |worker| Keeper::new(Some(&memory), worker, workers, most);
        let keepers = (0..workers).map(keeper).collect();
        Simulated { known: memory.last(), keepers, ..Simulated::new(&self.plan, workers, self.length) }
    }

    /// The batches of a window by worker, with what was recalled.
    pub(in crate::context) fn window(
        &mut self,
        window: u64,
        parts: Vec<Vec<RecordBatch>>,
    ) -> Vec<Vec<RecordBatch>> {
        let plan = &self.plan;
        if !plan.remembers() {
            return parts;
        }
        let mut held = Vec::new();
        let mut messages = Vec::new();
        for (from, batches) in parts.into_iter().enumerate() {
            let mut gathering = Gathering::default();
            let cells: Vec<_> = batches.iter().map(|rows| gathering.add(plan, rows).unwrap()).collect();
            let questions = gathering.close(plan);
            for number in 0..questions.count() {
                let target = questions.owner(number, self.keepers.len()) as u32;
                let head = Head { window, from: from as u32, target, group: 0, reserved: 0 };
                let mut message = Question { head, ..Question::default() };
                questions.ask(number, &mut message);
                messages.push(message);
            }
            let answers = Answers::new(&questions);
            held.push((batches, cells, questions, answers));
        }
        messages.reverse();
        let taken: Vec<_> = messages
            .into_iter()
            .map(|message| {
                (message.head.target as usize, self.keepers[message.head.target as usize].take(message))
            })
            .collect();
        self.keepers.iter_mut().for_each(|keeper| keeper.settle(window));
        for (owner, taken) in taken {
            let answer = self.keepers[owner].answer(taken);
            let (_, _, questions, answers) = &mut held[answer.head.target as usize];
            answers.put(questions, &answer);
        }
        for keeper in &mut self.keepers {
            keeper.close();
        }
        let recalled =
            held.into_iter().zip(&mut self.flows).map(|((batches, cells, questions, answers), flows)| {
                let columns =
                    answers.columns(&plan.recall, &questions, flows, window, self.length, self.known);
                flows.close(window);
                let mut from = 0;
                let rows = batches.iter().zip(cells).map(|(rows, cells)| {
                    let schema = plan.recall.schema(rows.schema_ref());
                    let rows = columns.attach(&plan.recall, &questions, rows, &cells, from, &schema);
                    from += cells.len();
                    rows
                });
                rows.collect()
            });
        recalled.collect()
    }

    /// Identities remembered now.
    pub(in crate::context) fn len(&self) -> usize {
        self.keepers.iter().map(Keeper::len).sum()
    }
}
