//! Which detectors there are, and which of them judge the same surprises together.

use super::{DetectError, DetectSpec, ensemble, isolation, themes};

/// How a detector is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Isolation forests by partition, over encoded columns: [`super::Isolation`].
    Forest,
    /// Calibrated sums of surprises: [`super::Themes`].
    Themes,
    /// One member or several over the same surprises: [`super::Ensemble`].
    Ensemble,
}

/// What judges the surprises of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// Groups and themes of columns, as [`super::Themes`] has them.
    Themes,
    /// The sum, each surprise capped.
    Sum,
    /// Isolation forests by partition.
    Forest,
}

impl Member {
    /// All, by name.
    pub const ALL: [(&str, Member); 3] =
        [("themes", Member::Themes), ("sum", Member::Sum), ("forest", Member::Forest)];

    /// As `members` has it.
    pub fn name(self) -> &'static str {
        match self {
            Member::Themes => "themes",
            Member::Sum => "sum",
            Member::Forest => "forest",
        }
    }
}

/// What `forest` and `sum` are given of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inputs {
    /// Columns as `[encode]` makes numbers of them.
    Columns,
    /// The surprise of each judged column.
    Surprise,
    /// The tail of each group of judged columns, as `themes` sums them.
    Groups,
}

const INPUTS: [(&str, Inputs); 3] =
    [("columns", Inputs::Columns), ("surprise", Inputs::Surprise), ("groups", Inputs::Groups)];

fn named<T: Copy>(all: &[(&str, T)], name: &str) -> Option<T> {
    all.iter().find(|(known, _)| *known == name).map(|(_, what)| *what)
}

impl DetectSpec {
    /// How the detector that it names is built.
    pub fn kind(&self) -> Option<Kind> {
        match self.detector.as_str() {
            "forest" if self.inputs() == Some(Inputs::Columns) => Some(Kind::Forest),
            "themes" => Some(Kind::Themes),
            "forest" | "sum" | "ensemble" => Some(Kind::Ensemble),
            _ => None,
        }
    }

    /// What `forest` and `sum` are given.
    pub fn inputs(&self) -> Option<Inputs> {
        match &self.inputs {
            Some(name) => named(&INPUTS, name),
            None if self.detector == "forest" => Some(Inputs::Columns),
            None => Some(Inputs::Surprise),
        }
    }

    /// What judges surprises, each once; none where columns are judged as they are.
    pub fn members(&self) -> Vec<Member> {
        match (self.kind(), self.members.as_slice()) {
            (Some(Kind::Ensemble), _) if self.detector != "ensemble" => {
                named(&Member::ALL, &self.detector).into_iter().collect()
            }
            (Some(Kind::Ensemble), []) => vec![Member::Themes, Member::Forest],
            (Some(Kind::Ensemble), names) => {
                names.iter().filter_map(|name| named(&Member::ALL, name)).collect()
            }
            (Some(Kind::Themes), _) => vec![Member::Themes],
            _ => Vec::new(),
        }
    }

    /// Whether groups of columns are ranked, which takes a scale of calibration rows.
    pub(super) fn has_scale(&self) -> bool {
        self.members().contains(&Member::Themes)
            || self.kind() == Some(Kind::Ensemble) && self.inputs() == Some(Inputs::Groups)
    }

    /// Whether it judges by the pasts of entities, which a model must have learned.
    pub fn keeps_baselines(&self) -> bool {
        self.kind().is_some_and(|kind| kind != Kind::Forest)
    }

    /// The context columns that the detector cannot do without, by name.
    pub fn context_columns(&self) -> Vec<String> {
        if self.keeps_baselines() { themes::context_columns() } else { Vec::new() }
    }

    /// The tables that the detector has in a model file; none if there is no such detector.
    pub fn tables(&self) -> Vec<&'static str> {
        let mut tables: Vec<&str> = match self.kind() {
            None => Vec::new(),
            Some(Kind::Forest) => isolation::TABLES.to_vec(),
            Some(Kind::Themes) => themes::TABLES.to_vec(),
            Some(Kind::Ensemble) => [themes::TABLES.as_slice(), &ensemble::TAILS].concat(),
        };
        if self.has_scale() {
            tables.extend(themes::SCALE);
        }
        if self.kind() == Some(Kind::Ensemble) && self.members().contains(&Member::Forest) {
            tables.extend(ensemble::FOREST.map(|(_, table)| table));
        }
        tables.sort_unstable();
        tables
    }

    /// The table that has a row for each forest, where the detector has forests.
    pub fn table_of_forests(&self) -> Option<&'static str> {
        match self.kind()? {
            Kind::Forest => Some("calibration"),
            Kind::Ensemble if self.members().contains(&Member::Forest) => Some("forest_calibration"),
            _ => None,
        }
    }

    /// Checks `detector`, `inputs` and `members`.
    pub(super) fn check_members(&self) -> Result<Kind, DetectError> {
        let wrong = |key, found: String, allowed| Err(DetectError::Spec { key, found, allowed });
        let kind = self.kind();
        match (&self.inputs, self.detector.as_str()) {
            (Some(inputs), "themes") => {
                return wrong(
                    "inputs",
                    format!("{inputs:?}"),
                    "left out for \"themes\", which judges surprises",
                );
            }
            (Some(inputs), "forest") if self.inputs().is_none() => {
                return wrong("inputs", format!("{inputs:?}"), "\"columns\", \"surprise\" or \"groups\"");
            }
            (Some(inputs), "sum" | "ensemble") if matches!(self.inputs(), None | Some(Inputs::Columns)) => {
                return wrong("inputs", format!("{inputs:?}"), "\"surprise\" or \"groups\"");
            }
            _ => {}
        }
        if !self.members.is_empty() {
            let known = self.members().len() == self.members.len();
            let mut names = self.members.clone();
            names.sort_unstable();
            names.dedup();
            let found = format!("{:?}", self.members);
            if kind.is_some() && self.detector != "ensemble" {
                return wrong("members", found, "left out where detector is not \"ensemble\"");
            }
            if kind.is_some() && (!known || names.len() != self.members.len() || names.len() < 2) {
                return wrong(
                    "members",
                    found,
                    "two or three of \"themes\", \"forest\" and \"sum\", each once",
                );
            }
        }
        let Some(kind) = kind else {
            let allowed = "\"forest\", \"themes\", \"sum\" or \"ensemble\"";
            return wrong("detector", format!("{:?}", self.detector), allowed);
        };
        Ok(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> DetectSpec {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_detector_is_built_of_its_members() {
        let built = |text: &str| {
            let spec = spec(text);
            spec.check().unwrap();
            (spec.kind().unwrap(), spec.members(), spec.tables().len())
        };
        use Member::{Forest, Sum, Themes};
        assert_eq!(built("detector = \"forest\""), (Kind::Forest, vec![], 5));
        assert_eq!(built("detector = \"themes\""), (Kind::Themes, vec![Themes], 5));
        assert_eq!(built("detector = \"sum\""), (Kind::Ensemble, vec![Sum], 5));
        assert_eq!(built("detector = \"sum\"\ninputs = \"groups\""), (Kind::Ensemble, vec![Sum], 7));
        assert_eq!(built("inputs = \"surprise\""), (Kind::Ensemble, vec![Forest], 8));
        assert_eq!(built("detector = \"ensemble\""), (Kind::Ensemble, vec![Themes, Forest], 10));
        let all = "detector = \"ensemble\"\nmembers = [\"sum\", \"themes\", \"forest\"]";
        assert_eq!(built(all), (Kind::Ensemble, vec![Sum, Themes, Forest], 10));
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        let key = |text: &str| match spec(text).check() {
            Err(DetectError::Spec { key, .. }) => key,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(key("detector = \"forests\""), "detector");
        assert_eq!(key("inputs = \"surprises\""), "inputs");
        assert_eq!(key("detector = \"themes\"\ninputs = \"surprise\""), "inputs");
        assert_eq!(key("detector = \"sum\"\ninputs = \"columns\""), "inputs");
        assert_eq!(key("detector = \"sum\"\nmembers = [\"sum\", \"themes\"]"), "members");
        for members in ["[\"themes\"]", "[\"themes\", \"themes\"]", "[\"themes\", \"tree\"]"] {
            assert_eq!(key(&format!("detector = \"ensemble\"\nmembers = {members}")), "members");
        }
    }
}
