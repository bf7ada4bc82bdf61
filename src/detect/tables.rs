//! Forests as tables of the model file, and back.
//!
//! `forest`, a row for each node, in preorder, trees and partitions in order, the fallback first:
//!
//! | column | type | meaning |
//! |---|---|---|
//! | `partition` | text | its name; null for the fallback |
//! | `tree`, `node` | u32 | both from 0 |
//! | `feature` | u16 | index of the encoded column; null for leaves |
//! | `threshold` | f32 | the greatest value that goes left; null for leaves |
//! | `left`, `right` | u32 | nodes of the same tree; null for leaves |
//! | `rows` | u32 | rows of the tree's sample in the node |
//!
//! `calibration`, a row for all partitions together, then one for each, by name:
//!
//! | column | type | meaning |
//! |---|---|---|
//! | `partition` | text | its name; null for all |
//! | `rows`, `kept` | u64 | rows in training, and those kept of them |
//! | `sample` | u32 | rows of each tree of its forest; null if it has none of its own |
//! | `threshold` | f64 | scores above it are anomalies |
//!
//! `tail`, a row for each step of the share of kept rows that score as high:
//!
//! | column | type | meaning |
//! |---|---|---|
//! | `by` | text | `own`: the forest that was grown from them; then, `others`: forests grown from other times |
//! | `score` | f64 | in growing order |
//! | `reached` | f64 | kept rows of that score or a higher one; of partitions by the rows that they stand for |
//!
//! What is read is not trusted: a table that no fit can have written is an error, whatever it holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Float32Array, Float64Array, RecordBatch, StringArray, UInt16Array, UInt32Array,
    UInt64Array,
};
use arrow::array::{DictionaryArray, StringDictionaryBuilder};
use arrow::datatypes::{Float32Type, Float64Type, Int32Type, UInt16Type, UInt32Type, UInt64Type};

use super::calibration::Steps;
use super::tree::{Node, Tree};
use super::{DetectError, Forest, PartitionSummary};
use crate::reading::{Damage, Table, Tables};

const FOREST: &str = "forest";
const CALIBRATION: &str = "calibration";
const TAIL: &str = "tail";
/// By whom kept rows are scored.
const OWN: &str = "own";
const OTHERS: &str = "others";

pub(super) struct Read {
    pub(super) partitions: Vec<PartitionSummary>,
    pub(super) forests: BTreeMap<Arc<str>, Forest>,
    pub(super) fallback: Forest,
    pub(super) threshold: f64,
    pub(super) trained: Steps,
    pub(super) tail: Option<Steps>,
}

pub(super) fn write(
    partitions: &[PartitionSummary],
    forests: &BTreeMap<Arc<str>, Forest>,
    fallback: &Forest,
    threshold: f64,
    (trained, tail): (&Steps, Option<&Steps>),
) -> Result<Vec<(String, RecordBatch)>, DetectError> {
    let named = forests.iter().map(|(name, forest)| (Some(name.as_ref()), forest));
    let forests: Vec<(Option<&str>, &Forest)> = std::iter::once((None, fallback)).chain(named).collect();
    let nodes = || {
        forests.iter().flat_map(|(name, forest)| {
            (0u32..).zip(forest.trees()).flat_map(move |(tree, nodes)| {
                (0u32..).zip(nodes.nodes()).map(move |(index, node)| (*name, tree, index, node))
            })
        })
    };
    let mut names = StringDictionaryBuilder::<Int32Type>::new();
    nodes().for_each(|(name, ..)| names.append_option(name));
    let names: DictionaryArray<Int32Type> = names.finish();
    let split = |node: &Node| !node.is_leaf();
    let forest: Vec<(&str, ArrayRef, bool)> = vec![
        ("partition", Arc::new(names), true),
        ("tree", Arc::new(UInt32Array::from_iter_values(nodes().map(|(_, tree, ..)| tree))), false),
        ("node", Arc::new(UInt32Array::from_iter_values(nodes().map(|(_, _, index, _)| index))), false),
        (
            "feature",
            Arc::new(UInt16Array::from_iter(nodes().map(|(.., node)| split(node).then_some(node.feature)))),
            true,
        ),
        (
            "threshold",
            Arc::new(Float32Array::from_iter(
                nodes().map(|(.., node)| split(node).then_some(node.threshold)),
            )),
            true,
        ),
        (
            "left",
            Arc::new(UInt32Array::from_iter(
                nodes().map(|(_, _, index, node)| split(node).then_some(index + 1)),
            )),
            true,
        ),
        (
            "right",
            Arc::new(UInt32Array::from_iter(nodes().map(|(.., node)| split(node).then_some(node.right)))),
            true,
        ),
        ("rows", Arc::new(UInt32Array::from_iter_values(nodes().map(|(.., node)| node.rows))), false),
    ];

    let all = (
        None,
        partitions.iter().map(|p| p.rows).sum(),
        partitions.iter().map(|p| p.kept).sum(),
        Some(fallback.sample()),
    );
    let each = partitions.iter().map(|p| (Some(p.partition.as_ref()), p.rows, p.kept, p.sample));
    let lines: Vec<(Option<&str>, u64, u64, Option<u32>)> = std::iter::once(all).chain(each).collect();
    let calibration: Vec<(&str, ArrayRef, bool)> = vec![
        ("partition", Arc::new(StringArray::from_iter(lines.iter().map(|line| line.0))), true),
        ("rows", Arc::new(UInt64Array::from_iter_values(lines.iter().map(|line| line.1))), false),
        ("kept", Arc::new(UInt64Array::from_iter_values(lines.iter().map(|line| line.2))), false),
        ("sample", Arc::new(UInt32Array::from_iter(lines.iter().map(|line| line.3))), true),
        ("threshold", Arc::new(Float64Array::from(vec![threshold; lines.len()])), false),
    ];
    let each: Vec<(&str, &Steps)> =
        [(OWN, trained)].into_iter().chain(tail.map(|tail| (OTHERS, tail))).collect();
    let mut by = StringDictionaryBuilder::<Int32Type>::new();
    each.iter().for_each(|(name, steps)| steps.values.iter().for_each(|_| by.append_value(name)));
    let floats = |of: fn(&Steps) -> &[f64]| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(each.iter().flat_map(|(_, steps)| of(steps).iter().copied())))
    };
    let steps: Vec<(&str, ArrayRef, bool)> = vec![
        ("by", Arc::new(by.finish()), false),
        ("score", floats(|steps| &steps.values), false),
        ("reached", floats(|steps| &steps.reached), false),
    ];
    Ok(vec![
        (FOREST.to_owned(), RecordBatch::try_from_iter_with_nullable(forest)?),
        (CALIBRATION.to_owned(), RecordBatch::try_from_iter_with_nullable(calibration)?),
        (TAIL.to_owned(), RecordBatch::try_from_iter_with_nullable(steps)?),
    ])
}

pub(super) fn read(tables: &Tables, trees: usize, features: usize) -> Result<Read, Damage> {
    let calibration = Table::find(tables, CALIBRATION)?;
    let names = calibration.optional_texts("partition")?;
    let rows = calibration.numbers::<UInt64Type>("rows")?;
    let kept = calibration.numbers::<UInt64Type>("kept")?;
    let sample = calibration.optional::<UInt32Type>("sample")?;
    let thresholds = calibration.numbers::<Float64Type>("threshold")?;
    if names.is_empty() || names.is_valid(0) || sample.is_null(0) {
        return Err(calibration.damaged("the row of all partitions is missing"));
    }
    let threshold = thresholds.value(0);
    if !threshold.is_finite() || thresholds.values().iter().any(|t| t.to_bits() != threshold.to_bits()) {
        return Err(calibration.damaged("the threshold is not one number"));
    }
    let mut nodes = Nodes::find(tables)?;
    let fallback = nodes.forest(None, trees, features, sample.value(0))?;
    let (mut partitions, mut forests) = (Vec::<PartitionSummary>::new(), BTreeMap::new());
    for row in 1..names.len() {
        let name: Arc<str> = names.value(row).into();
        if names.is_null(row) || partitions.last().is_some_and(|before| before.partition >= name) {
            return Err(calibration.damaged("partitions are not in order"));
        }
        let sample = sample.is_valid(row).then(|| sample.value(row));
        if let Some(sample) = sample {
            forests.insert(name.clone(), nodes.forest(Some(&name), trees, features, sample)?);
        }
        partitions.push(PartitionSummary {
            partition: name,
            rows: rows.value(row),
            kept: kept.value(row),
            sample,
        });
    }
    if nodes.at != nodes.tree.len() {
        return Err(nodes.table.damaged("there are nodes that belong to no forest"));
    }
    let (trained, tail) = read_tail(Table::find(tables, TAIL)?)?;
    Ok(Read { partitions, forests, fallback, threshold, trained, tail })
}

fn read_tail(table: Table<'_>) -> Result<(Steps, Option<Steps>), Damage> {
    let by = table.texts("by")?;
    let (scores, reached) = (table.floats("score")?, table.floats("reached")?);
    let own = by.iter().take_while(|name| *name == Some(OWN)).count();
    if by.iter().skip(own).any(|name| name != Some(OTHERS)) {
        return Err(table.damaged("its rows are out of order"));
    }
    let read = |range: std::ops::Range<usize>| {
        let steps = Steps::from_parts(scores[range.clone()].to_vec(), reached[range].to_vec());
        steps.damage().map_or(Ok(steps), |what| Err(table.damaged(what)))
    };
    let others = (own < by.len()).then(|| read(own..by.len())).transpose()?;
    Ok((read(0..own)?, others))
}

/// The table of nodes, read from its first row to its last.
struct Nodes<'a> {
    table: Table<'a>,
    at: usize,
    partition: StringArray,
    tree: &'a UInt32Array,
    node: &'a UInt32Array,
    feature: &'a UInt16Array,
    threshold: &'a Float32Array,
    left: &'a UInt32Array,
    right: &'a UInt32Array,
    rows: &'a UInt32Array,
}

impl<'a> Nodes<'a> {
    fn find(tables: &'a Tables) -> Result<Nodes<'a>, Damage> {
        let table = Table::find(tables, FOREST)?;
        Ok(Nodes {
            table,
            at: 0,
            partition: table.optional_texts("partition")?,
            tree: table.numbers::<UInt32Type>("tree")?,
            node: table.numbers::<UInt32Type>("node")?,
            feature: table.optional::<UInt16Type>("feature")?,
            threshold: table.optional::<Float32Type>("threshold")?,
            left: table.optional::<UInt32Type>("left")?,
            right: table.optional::<UInt32Type>("right")?,
            rows: table.numbers::<UInt32Type>("rows")?,
        })
    }

    /// The next rows, as the forest of this partition.
    fn forest(
        &mut self,
        partition: Option<&str>,
        trees: usize,
        features: usize,
        sample: u32,
    ) -> Result<Forest, Damage> {
        let mut grown = Vec::new();
        for number in 0..trees {
            let what = |what: &str| match partition {
                Some(name) => format!("partition {name:?}, tree {number}: {what}"),
                None => format!("fallback, tree {number}: {what}"),
            };
            let mut nodes = Vec::new();
            while self.is_next(partition, number, nodes.len()) {
                let node = self.node(nodes.len() as u32).map_err(|error| self.table.damaged(what(error)))?;
                nodes.push(node);
                self.at += 1;
            }
            let tree = Tree::from_nodes(nodes, features).map_err(|error| self.table.damaged(what(&error)))?;
            if tree.rows() != sample {
                return Err(self.table.damaged(what("it was grown from another number of rows")));
            }
            grown.push(tree);
        }
        Ok(Forest::of(grown, features, sample))
    }

    fn is_next(&self, partition: Option<&str>, tree: usize, node: usize) -> bool {
        let at = self.at;
        at < self.tree.len()
            && self.partition.is_valid(at).then(|| self.partition.value(at)) == partition
            && self.tree.value(at) as usize == tree
            && self.node.value(at) as usize == node
    }

    fn node(&self, index: u32) -> Result<Node, &'static str> {
        let (at, rows) = (self.at, self.rows.value(self.at));
        let valid = [
            self.feature.is_valid(at),
            self.threshold.is_valid(at),
            self.left.is_valid(at),
            self.right.is_valid(at),
        ];
        match valid {
            [false, false, false, false] => Ok(Node::leaf(rows)),
            [true, true, true, true] if index.checked_add(1) != Some(self.left.value(at)) => {
                Err("a left child is not the next node")
            }
            [true, true, true, true] if self.right.value(at) == 0 => Err("a right child is the root"),
            [true, true, true, true] => Ok(Node {
                right: self.right.value(at),
                rows,
                threshold: self.threshold.value(at),
                feature: self.feature.value(at),
            }),
            _ => Err("a node is neither split nor leaf"),
        }
    }
}
