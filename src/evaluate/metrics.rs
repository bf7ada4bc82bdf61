//! The evaluation as JSON: every figure of the page, for other programs. What does not exist is null.

use serde_json::{Map, Value, json};

use super::cases::{Case, Cases, Count, median, windows};
use super::evaluation::Evaluation;
use super::incidents::SEVERITIES;
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
            "benign_hosts": self.head.benign_hosts,
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
            "incidents": self.cases().map(|cases| self.cases_value(cases)),
            "seeds": self.seeds.iter().map(|seeds| json!({
                "name": seeds.name,
                "seeds": seeds.seeds,
                "figures": seeds.figures.iter().map(|figure| json!({
                    "figure": figure.name,
                    "mean": figure.mean(),
                    "standard_deviation": figure.deviation(),
                    "least_and_greatest": figure.ends(),
                })).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
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
            "incidents": detector.cases.as_ref().map(|cases| json!({
                "all": cases.count.all,
                "false": cases.count.wrong,
                "false_of_two_rows_or_more": cases.larger.wrong,
                "events_found": cases.found(),
            })),
            "at_false_positive_rate": detector.points.iter().map(|point| self.point(point)).collect::<Vec<_>>(),
        })
    }

    fn cases_value(&self, cases: &Cases) -> Value {
        let count = |count: Count| json!({ "all": count.all, "false": count.wrong });
        let delay = median(&cases.delays);
        let severities = SEVERITIES.iter().zip(cases.severities);
        json!({
            "all": cases.count.all,
            "false": cases.count.wrong,
            "of_two_rows_or_more": count(cases.larger),
            "held_back": count(cases.held),
            "by_severity": severities.map(|(severity, of)| (severity.name().to_owned(), count(of))).collect::<Map<_, _>>(),
            "false_per_hour": cases.an_hour(cases.count.wrong),
            "false_per_hour_interval": cases.an_hour_between(cases.count.wrong),
            "false_of_two_rows_or_more_per_hour": cases.an_hour(cases.larger.wrong),
            "false_per_day": cases.a_day(cases.count.wrong),
            "false_per_host_and_day": cases.a_host_and_day(cases.count.wrong),
            "without_labelled_event": {
                "seconds": cases.quiet_time as f64 / 1e9,
                "false": cases.quiet_wrong,
                "false_per_day": cases.a_quiet_day(),
            },
            "events_found": cases.found(),
            "most_events_in_one": cases.most_merged,
            "median_time_to_detect_s": delay.map(|delay| delay as f64 / 1e9),
            "median_time_to_detect_windows": delay.and_then(|delay| windows(delay, self.window)),
            "new_hosts": cases.new_hosts.len(),
            "muted_rows": cases.muted,
            "muted_attack_rows": cases.muted_attacks,
            "rows_not_among_the_scores": cases.strange,
            "not_in_the_log": cases.unsaid,
            "list": cases.cases.iter().chain(&cases.new_hosts).map(|case| self.case(case)).collect::<Vec<_>>(),
        })
    }

    fn case(&self, case: &Case) -> Value {
        let incident = &case.incident;
        json!({
            "id": incident.id,
            "kind": incident.kind.name(),
            "address": incident.address,
            "role": incident.role,
            "severity": incident.severity,
            "score": incident.score,
            "created_ns": incident.created,
            "first_ns": incident.first,
            "last_ns": incident.last,
            "peers": incident.peers,
            "ports": incident.ports,
            "attack_rows": case.attacks,
            "benign_rows": case.benign,
            "unknown_rows": case.unknown,
            "is_false": case.is_false(),
            "events": case.events.iter().map(|event| &self.events.events[*event].name).collect::<Vec<_>>(),
            "why": incident.why,
            "hints": incident.hints,
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
        let delay = |place: usize| self.delays().get(place).copied().flatten();
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
                "in_an_incident": self.cases().map(|cases| cases.delays[place].is_some()),
                "time_to_detect_s": delay(place).map(|delay| delay as f64 / 1e9),
                "time_to_detect_windows": delay(place).and_then(|delay| windows(delay, self.window)),
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
        let incidents = &metrics["incidents"];
        assert_eq!((incidents["all"].as_u64(), incidents["false"].as_u64()), (Some(2), Some(1)));
        assert_eq!(incidents["of_two_rows_or_more"]["false"], 0);
        assert_eq!((&incidents["most_events_in_one"], &incidents["events_found"]), (&3.into(), &3.into()));
        assert_eq!(incidents["by_severity"]["low"]["false"], 1);
        assert_eq!(incidents["list"][0]["id"], "1");
        assert_eq!(metrics["label_rows"]["without_rows"].as_array().map(Vec::len), Some(2));
        assert_eq!(metrics.to_string(), Evaluation::example().metrics().to_string());
    }
}
