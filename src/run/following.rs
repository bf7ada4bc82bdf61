//! The file of rules, looked at while a live run goes on.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::judging::check_rules;
use super::{Notice, RunError};
use crate::detect::{Detector, Threshold};
use crate::incident::rules::RulesFile;
use crate::incident::{Changes, InForce, Rules};
use crate::source::interface::wall_clock;
use crate::spec;

/// Bytes of a file of rules at most.
const MOST: u64 = 1 << 20;

/// Where alarms begin in a run, unless its file of rules says otherwise.
#[derive(Clone)]
pub(super) struct Alarms {
    detector: Arc<dyn Detector>,
    /// By the pipeline or a flag.
    asked: Option<Threshold>,
}

impl Alarms {
    pub(super) fn new(detector: Arc<dyn Detector>, asked: Option<Threshold>) -> Alarms {
        Alarms { detector, asked }
    }

    /// What is in force with these rules.
    ///
    /// # Errors
    /// If two say where alarms begin, or the model cannot say it.
    pub(super) fn with(&self, rules: Rules) -> Result<InForce, RunError> {
        let said = match (rules.threshold(), self.asked) {
            (Some(_), Some(asked)) => return Err(RunError::Alarms { asked }),
            (said, asked) => said.or(asked),
        };
        let threshold = match said {
            Some(said) => self.detector.threshold_for(said)?,
            None => self.detector.threshold(),
        };
        let by = said.map_or_else(|| "the model".to_owned(), |said| said.to_string());
        Ok(InForce { threshold, by, rules })
    }

    /// The loosest threshold that the run may be changed to: of `loosest` as a false alarm rate, or of ten
    /// times the share of rows that the one it starts with lets pass.
    pub(super) fn loosest(&self, start: &InForce, loosest: Option<f64>) -> Result<f64, RunError> {
        let rate = match loosest {
            Some(rate) => rate,
            None => {
                let said = start.rules.threshold().or(self.asked);
                let own = || Ok::<_, RunError>(self.detector.settings().0.check()?.threshold());
                (10.0 * said.map_or_else(own, Ok)?.share_above()).min(0.5)
            }
        };
        // A looser one than the model can say is no looser than the one that it started with.
        let threshold = self.detector.threshold_at(rate).unwrap_or(start.threshold);
        Ok(threshold.min(start.threshold))
    }
}

/// Follows a file of rules: what changes in it is put where the graph takes it.
pub(super) struct Following {
    path: PathBuf,
    alarms: Alarms,
    loosest: f64,
    columns: Vec<String>,
    changes: Arc<Changes>,
    /// What was said of the file at the last look, and what it was when it last stood still.
    seen: Result<String, String>,
    used: Result<String, String>,
}

impl Following {
    /// Follows a file that was as `seen` before, and whose rules ask for these columns.
    pub(super) fn new(
        path: &Path,
        seen: String,
        alarms: Alarms,
        loosest: f64,
        columns: Vec<String>,
        changes: Arc<Changes>,
    ) -> Following {
        let (path, seen) = (path.to_owned(), Ok(seen));
        Following { path, alarms, loosest, columns, changes, used: seen.clone(), seen }
    }

    /// Looks at the file. What it says since is asked for when two looks in a row find the same: one who writes it may
    /// be in the middle.
    pub(super) fn look(&mut self) -> Option<Notice> {
        let now = read(&self.path);
        let still = now == self.seen;
        self.seen = now;
        if !still || self.seen == self.used {
            return None;
        }
        self.used.clone_from(&self.seen);
        let file = self.path.display();
        Some(match self.changed() {
            Ok(next) => {
                let rules = next.rules.rules().len();
                let rules = format!("{rules} rule{}", if rules == 1 { "" } else { "s" });
                let InForce { threshold, by, .. } = &next;
                let mut notice = format!("{file}: changed: {rules}, scores above {threshold:.4} by {by}");
                for useless in useless(&next.rules) {
                    notice.push_str("; ");
                    notice.push_str(&useless);
                }
                self.changes.put(next);
                Notice::Changed(notice)
            }
            Err(what) => Notice::Refused(format!("{what}; what {file} said before stays in force")),
        })
    }

    fn changed(&self) -> Result<InForce, String> {
        let text = self.seen.as_ref().map_err(String::clone)?;
        let name = self.path.display().to_string();
        let file: RulesFile = spec::parse(text, &name).map_err(|error| error.to_string())?;
        let rules = check_rules(&self.path, file.check_within(&self.columns));
        let next = rules.and_then(|rules| self.alarms.with(rules));
        let next = next.map_err(|error| error.to_string())?;
        if next.threshold < self.loosest {
            let InForce { threshold, by, .. } = &next;
            return Err(format!(
                "{name}: {by} puts the threshold at {threshold:.4}, and this run was started with {:.4} as the loosest: \
                 a new one with a larger [incident] loosest may go there",
                self.loosest
            ));
        }
        Ok(next)
    }
}

/// Rules that hold for nothing that comes from now on, as their time is over: what is to be done, a line each.
pub(crate) fn useless(rules: &Rules) -> impl Iterator<Item = String> {
    let now = wall_clock();
    rules.rules().iter().filter_map(move |rule| rule.useless_at(now))
}

/// The text of a file of rules, or why there is none.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    // What is no file, such as a pipe, can be read once at most.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(format!("{}: is no file that can be read again", path.display()));
    }
    let mut text = String::new();
    let mut file = File::open(path).map_err(failed)?.take(MOST + 1);
    file.read_to_string(&mut text).map_err(failed)?;
    match text.len() as u64 > MOST {
        true => Err(format!("{}: is longer than {MOST} bytes", path.display())),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{DetectSpec, judged_rows, learned_as};

    fn detector() -> Arc<dyn Detector> {
        let spec: DetectSpec = toml::from_str("detector = 'themes'").unwrap();
        learned_as(&spec, &judged_rows(0..120, true), 1, 4096, false)
    }

    #[test]
    fn a_changed_file_is_asked_for_when_it_stands_still_and_a_wrong_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rules.toml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let rule = "[[allow]]\nsrc = '10.0.0.9'\nwhy = 'a scanner of ours'\n";
        write(rule);
        let alarms = Alarms::new(detector(), None);
        let start =
            alarms.with(super::super::AllowList::read(&path).unwrap().rules.with_more_columns()).unwrap();
        let loosest = alarms.loosest(&start, Some(0.05)).unwrap();
        let changes = Arc::new(Changes::new(start.clone()));
        let columns = start.rules.columns().to_vec();
        let mut following =
            Following::new(&path, read(&path).unwrap(), alarms, loosest, columns, changes.clone());
        // What was asked for, where anything was.
        let mut look = || (following.look(), changes.take());
        assert_eq!((look(), look()), ((None, None), (None, None)));

        write(&format!("{rule}[[allow]]\nport = 53\ncolumn = 'fwd_bytes'\nmax = 500\nwhy = 'names'\n"));
        assert_eq!(look(), (None, None), "it may be in the middle");
        let (notice, next) = look();
        assert!(
            matches!(&notice, Some(Notice::Changed(said)) if said.contains("changed: 2 rules, scores above"))
        );
        assert_eq!(next.map(|next| (next.rules.rules().len(), next.threshold)), Some((2, start.threshold)));
        assert_eq!(look(), (None, None));

        write(&format!("{rule}[threshold]\nfalse_alarm_rate = 0.02\n"));
        look();
        let next = look().1.expect("it is loose, but not too loose");
        assert!((next.threshold, next.rules.rules().len()) == (start.threshold.min(next.threshold), 1));
        assert_eq!(next.by, "false_alarm_rate = 0.02");

        for (text, said) in [
            ("[[allow]]\nprot = 6\n", ":2:1: unknown key `prot`"),
            ("[[allow]]\nport = 6\nwhy = ''\n", "[[allow]] number 1: `why` is empty"),
            ("[[allow]]\ncolumn = 'ttl'\nmax = 6\nwhy = 'x'\n", "`column = \"ttl\"`: no rule named it"),
            ("[threshold]\nfalse_alarm_rate = 0.4\n", "as the loosest"),
            ("[threshold]\nfalse_alarm_rate = 4\n", "must be "),
        ] {
            write(text);
            look();
            let (notice, next) = look();
            let Some(Notice::Refused(line)) = notice else { panic!("{text}: {notice:?}") };
            assert!(line.contains(said) && line.contains("stays in force"), "{line}");
            assert!(!line.contains('\n') && next.is_none(), "{line}");
            assert_eq!(look(), (None, None), "said once");
        }
        std::fs::remove_file(&path).unwrap();
        look();
        assert!(matches!(look(), (Some(Notice::Refused(_)), None)));
        write(rule);
        look();
        assert_eq!(look().1, Some(start), "as it was");
    }

    #[test]
    fn one_place_says_where_alarms_begin() {
        let rules: RulesFile = toml::from_str("[threshold]\npercentile = 99.0\n").unwrap();
        let rules = rules.check().unwrap();
        let asked = Threshold::FalseAlarmRate(0.01);
        let both = Alarms::new(detector(), Some(asked)).with(rules.clone()).unwrap_err().to_string();
        assert!(both.contains("so does false_alarm_rate = 0.01 of the pipeline or a flag"), "{both}");
        let one = Alarms::new(detector(), None).with(rules).unwrap();
        let other = Alarms::new(detector(), Some(asked)).with(Rules::default()).unwrap();
        assert!((one.threshold - other.threshold).abs() < 1e-9, "{} {}", one.threshold, other.threshold);
        assert_eq!(one.by, "percentile = 99");
    }
}
