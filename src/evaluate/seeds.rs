//! How much of a figure is the luck of a model's seed: the same training and the same rows under several seeds.

use super::measure::{Detector, RATES};
use super::number::{part, rate, short};

/// A figure under each seed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    pub(super) name: String,
    values: Vec<f64>,
}

impl Figure {
    pub(super) fn mean(&self) -> Option<f64> {
        let sum: f64 = self.values.iter().sum();
        (!self.values.is_empty()).then(|| sum / self.values.len() as f64)
    }

    /// The deviation of single seeds from the mean (sample form); none of a single seed.
    pub(super) fn deviation(&self) -> Option<f64> {
        let mean = self.mean().filter(|_| self.values.len() > 1)?;
        let squares: f64 = self.values.iter().map(|value| (value - mean).powi(2)).sum();
        Some((squares / (self.values.len() - 1) as f64).sqrt())
    }

    /// A value of the figure in words: parts of one, but for what is counted.
    pub(super) fn say(&self, value: f64) -> String {
        if self.name.starts_with("events") { short(value) } else { part(value) }
    }

    /// The least and the greatest.
    pub(super) fn ends(&self) -> Option<[f64; 2]> {
        let least = self.values.iter().copied().min_by(f64::total_cmp)?;
        Some([least, self.values.iter().copied().max_by(f64::total_cmp)?])
    }
}

/// One pipeline under several seeds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seeds {
    pub(super) name: String,
    pub(super) seeds: Vec<u64>,
    pub(super) figures: Vec<Figure>,
}

impl Seeds {
    pub(super) fn new(name: &str) -> Seeds {
        let recalls = RATES.map(|allowed| format!("recall at {}", rate(allowed)));
        let names = ["ROC-AUC".to_owned(), "average precision".into()]
            .into_iter()
            .chain(recalls)
            .chain(["events found at 1e-3".into()]);
        let figures = names.map(|name| Figure { name, values: Vec::new() }).collect();
        Seeds { name: name.to_owned(), seeds: Vec::new(), figures }
    }

    /// Adds the scores of one seed.
    pub(super) fn add(&mut self, seed: u64, detector: &Detector) {
        let recall = |place: usize| detector.points.get(place).and_then(|point| point.macro_recall);
        let found = detector.points.get(1).map(|point| {
            let found = point.found.iter().filter(|event| event.hits > 0);
            found.count() as f64
        });
        let values = [detector.roc_auc, detector.average_precision, recall(0), recall(1), recall(2), found];
        for (figure, value) in self.figures.iter_mut().zip(values) {
            figure.values.extend(value);
        }
        self.seeds.push(seed);
    }

    /// The figures with their ends, as a line says them.
    pub(super) fn words(&self) -> String {
        let figures = self.figures.iter().filter_map(|figure| {
            let [least, most] = figure.ends()?.map(|end| figure.say(end));
            Some(format!("{} {} ({least} to {most})", figure.name, figure.say(figure.mean()?)))
        });
        figures.collect::<Vec<_>>().join(", ")
    }

    /// Whether every figure is the same under all of several seeds.
    pub(super) fn is_one(&self) -> bool {
        let same = |figure: &Figure| figure.ends().is_none_or(|[least, most]| least == most);
        self.seeds.len() > 1 && self.figures.iter().all(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Evaluation;

    #[test]
    fn spread_is_that_made_by_hand() {
        let figure = Figure { name: "x".into(), values: vec![1.0, 2.0, 3.0, 6.0] };
        assert_eq!(
            (figure.say(0.99999), Figure { name: "events".into(), ..figure.clone() }.say(3.0)),
            (">0.999".into(), "3.00".into())
        );
        assert_eq!((figure.mean(), figure.ends()), (Some(3.0), Some([1.0, 6.0])));
        assert!((figure.deviation().unwrap() - (14.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        let one = Figure { name: "x".into(), values: vec![1.0] };
        assert_eq!((one.deviation(), one.mean()), (None, Some(1.0)));
    }

    #[test]
    fn the_same_scores_under_all_seeds_are_called_so() {
        let evaluation = Evaluation::example();
        let mut seeds = Seeds::new("example");
        seeds.add(1, evaluation.own());
        assert!(!seeds.is_one(), "one seed shows no spread");
        seeds.add(2, evaluation.own());
        assert!(seeds.is_one());
        let random = evaluation.detectors.iter().find(|detector| detector.name == "random");
        seeds.add(3, random.unwrap());
        assert!(!seeds.is_one());
        assert_eq!((seeds.figures[0].values.len(), seeds.seeds.as_slice()), (3, [1, 2, 3].as_slice()));
    }
}
