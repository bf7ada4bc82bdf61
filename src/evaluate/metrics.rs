//! The evaluation as JSON: every figure of the page, for other programs. What does not exist is null.

use serde_json::{Value, json};

use super::evaluation::Evaluation;
use super::measure::{Detector, FamilyRecall, Kind, Point};

impl Evaluation {
    /// All figures as JSON (`metrics.json`); the same for the same scores, labels and seed.
    ///
    /// Times are nanoseconds since the Unix epoch, durations seconds, rates and recalls parts of one.
    pub fn metrics(&self) -> Value {
        let [first, last] = self.head.span.map_or([None; 2], |span| span.map(Some));
        json!({
            "scores": self.head.scores,
            "labels": self.head.labels,
            "seed": self.head.seed,
            "rows": {
                "all": self.head.rows,
                "benign": self.own().benign,
                "attack": self.own().attacks,
                "unknown": self.whole.unknown,
            },
            "hosts": self.head.hosts,
            "first_packet_ns": first,
            "last_packet_ns": last,
            "notes": self.notes,
            "detectors": self.detectors.iter().map(|detector| self.detector(detector)).collect::<Vec<_>>(),
            "events": self.event_values(),
            "partitions": self.partitions.iter().map(|partition| json!({
                "partition": partition.name,
                "benign_rows": partition.benign,
                "attack_rows": partition.attacks,
                "unknown_rows": partition.unknown,
                "hits": partition.hits,
                "false_alarms": partition.false_alarms,
                "highest_score_without_alarm": partition.edge[0],
                "lowest_score_with_alarm": partition.edge[1],
            })).collect::<Vec<_>>(),
            "alert_groups": {
                "rule": "by source host, 60 s of silence closes",
                "groups": self.own().shipped.as_ref().map(|point| point.groups),
                "false": self.own().shipped.as_ref().map(|point| point.false_groups),
                "benign_alone": self.benign_groups,
                "benign_alone_per_day": self.benign_groups_per_day(),
                "benign_alone_per_host_and_day": self.benign_groups_per_day()
                    .map(|groups| groups / self.benign_hosts as f64),
            },
            "calibration": self.calibration.as_ref().map(|calibration| json!({
                "benign_rows": calibration.rows,
                "points": calibration.points.iter().map(|(nominal, rows)| json!({
                    "nominal": nominal,
                    "empirical": *rows as f64 / calibration.rows as f64,
                    "rows": rows,
                })).collect::<Vec<_>>(),
            })),
            "label_rows": {
                "all": self.head.label_rows,
                "without_rows": self.idle.iter().map(|idle| json!({
                    "line": idle.label.line,
                    "event": idle.label.event,
                    "attack": idle.label.attack,
                    "why": idle.why.name(),
                })).collect::<Vec<_>>(),
            },
        })
    }

    fn detector(&self, detector: &Detector) -> Value {
        json!({
            "name": detector.name,
            "kind": detector.kind.name(),
            "benign_rows": detector.benign,
            "attack_rows": detector.attacks,
            "roc_auc": detector.roc_auc,
            "average_precision": detector.average_precision,
            "evaluated_leads_at_1e-3_interval_95": (detector.kind != Kind::Own)
                .then(|| self.lead(detector))
                .flatten(),
            "shipped": detector.shipped.as_ref().map(|point| self.point(point)),
            "at_false_positive_rate": detector.points.iter().map(|point| self.point(point)).collect::<Vec<_>>(),
        })
    }

    fn point(&self, point: &Point) -> Value {
        json!({
            "allowed_false_positive_rate": point.rate,
            "threshold": point.threshold,
            "false_positive_rate": point.false_positive_rate,
            "true_positives": point.hits,
            "false_positives": point.false_alarms,
            "false_negatives": point.misses,
            "precision": point.precision,
            "recall": point.recall,
            "f1": point.f1,
            "macro_recall": point.macro_recall,
            "macro_recall_interval_95": point.interval,
            "events_found": point.found.iter().filter(|event| event.hits > 0).count(),
            "events_with_rows": point.found.iter().filter(|event| event.rows > 0).count(),
            "alert_groups": point.groups,
            "false_alert_groups": point.false_groups,
            "false_alert_groups_per_hour": point.false_groups_per_hour,
            "precision_at_base_rate": point.precision_at.iter().map(|at| json!({
                "base_rate": at.base_rate,
                "precision": at.precision,
                "is_lower_bound": at.is_bound,
            })).collect::<Vec<_>>(),
            "families": point.families.iter().map(|family| self.family(family)).collect::<Vec<_>>(),
        })
    }

    fn family(&self, family: &FamilyRecall) -> Value {
        json!({
            "family": self.events.families[family.family],
            "events": family.events,
            "rows": family.rows,
            "hits": family.hits,
            "recall": family.recall(),
            "recall_interval_95": family.interval,
        })
    }

    fn event_values(&self) -> Vec<Value> {
        let own = self.own();
        let recall = |point: &Point, place: usize| {
            let rows = self.event_rows[place];
            (rows > 0).then(|| point.found[place].hits as f64 / rows as f64)
        };
        let event = |(place, event): (usize, &super::truth::KnownEvent)| {
            json!({
                "event": event.name,
                "family": self.events.families[event.family],
                "start_ns": event.start,
                "end_ns": event.end,
                "label_rows": event.labels,
                "is_arp_alone": event.not_ip,
                "rows": self.event_rows[place],
                "highest_score": self.event_tops[place],
                "alerts": own.shipped.as_ref().map(|point| point.found[place].hits),
                "found": own.shipped.as_ref().map(|point| point.found[place].hits > 0),
                "time_to_detect_s": own.shipped.as_ref()
                    .and_then(|point| point.delays[place])
                    .map(|delay| delay as f64 / 1e9),
                "recall": own.points.iter().map(|point| json!({
                    "allowed_false_positive_rate": point.rate,
                    "recall": recall(point, place),
                    "time_to_detect_s": point.delays[place].map(|delay| delay as f64 / 1e9),
                })).collect::<Vec<_>>(),
            })
        };
        self.events.events.iter().enumerate().map(event).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_evaluation_and_the_same_each_time() {
        let evaluation = Evaluation::example();
        let metrics = evaluation.metrics();
        assert_eq!(metrics["rows"]["unknown"], 1);
        assert_eq!(metrics["events"][0]["event"], "e1");
        assert_eq!(metrics["events"][0]["recall"][0]["recall"], 1.0);
        assert_eq!(metrics["detectors"][0]["shipped"]["events_found"], 3);
        assert_eq!(metrics["detectors"][0]["shipped"]["events_with_rows"], 4);
        assert_eq!(metrics["detectors"][1]["kind"], "baseline");
        assert_eq!(metrics["label_rows"]["without_rows"].as_array().map(Vec::len), Some(2));
        assert_eq!(metrics.to_string(), Evaluation::example().metrics().to_string());
    }
}
