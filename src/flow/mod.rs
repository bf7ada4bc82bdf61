//! Packets of one conversation, both ways, cut by windows: key, table, state, rows.
//!
//! A packet finds its flow in the [`table`], adds to what the flow did in the open window ([`state`],
//! [`tcp`]), and when the window ends every flow that had a packet gives one row ([`closing`], [`rows`]). Nothing
//! here knows a clock: event time is an argument, and what happens depends on the packets and the
//! [`FlowSpec`] alone.

pub mod calendar;
pub mod closing;
mod columns;
mod group;
mod index;
pub mod initiator;
pub mod names;
pub mod operator;
pub mod order;
pub mod packet_rows;
pub(crate) mod probing;
pub mod region;
mod remembered;
pub mod rows;
mod slab;
pub mod span;
pub mod state;
mod sweep;
pub mod table;
#[cfg(test)]
mod table_tests;
pub mod tcp;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::region::NoRoom;
use crate::packet::{PacketSpec, Vlan};
use crate::row::RowSettings;
use crate::row::schema::ROWS;

/// What a row is cut by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cut {
    /// One row for each window in which a flow has a packet.
    #[default]
    Window,
    /// One row a flow (idle, close, or `active`), as flow exporters do it.
    Flow,
}

/// What the pipeline file says about flows (`[flow]`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowSpec {
    /// Tumbling window of event time, aligned to its multiples since the Unix epoch.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// A flow ends after this long without a packet.
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
    /// With `rows = "flow"`: a longer flow gives a row whenever this much time, or 2^31 packets, have passed.
    #[serde(with = "humantime_serde")]
    pub active: Duration,
    /// One row a window (`"window"`) or one row a flow (`"flow"`).
    pub rows: Cut,
    /// Flows held at once, and with them initiators that are remembered of flows that ended within the last ten
    /// minutes, where their ports do not tell who began. Above it what is remembered is forgotten first, then half-open
    /// flows end, then the longest silent.
    pub max_flows: u32,
    /// Whether to write `first_lengths`.
    pub first_lengths: bool,
    /// IANA name of the time zone of hour_of_day, minute_of_hour and day_of_week.
    pub timezone: String,
}

impl Default for FlowSpec {
    fn default() -> Self {
        FlowSpec {
            window: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            active: Duration::from_secs(30 * 60),
            rows: Cut::Window,
            max_flows: 2_000_000,
            first_lengths: true,
            timezone: "UTC".to_owned(),
        }
    }
}

/// A setting that cannot be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlowError {
    /// Outside of what is allowed.
    #[error("[flow] {key} = {found}: must be {allowed}")]
    Setting {
        /// The key.
        key: &'static str,
        /// What the file says.
        found: String,
        /// What may stand there.
        allowed: &'static str,
    },
    /// No address space for the tables of open flows.
    #[error("[flow] max_flows = {max_flows}: {room}")]
    Room {
        /// Flows of all tables.
        max_flows: u32,
        /// What they map at once.
        room: NoRoom,
    },
}

impl FlowSpec {
    /// Checks the settings, so that a table made from them is valid.
    ///
    /// # Errors
    /// [`FlowError::Setting`] for the first one that cannot be.
    pub fn check(&self) -> Result<(), FlowError> {
        let wrong = |key, found: String, allowed| Err(FlowError::Setting { key, found, allowed });
        let between = |duration: Duration| {
            (Duration::from_millis(1)..=Duration::from_secs(7 * 86_400)).contains(&duration)
        };
        for (key, duration) in [("window", self.window), ("idle", self.idle), ("active", self.active)] {
            if !between(duration) {
                return wrong(key, format!("{duration:?}"), "between 1ms and 7d");
            }
        }
        if self.rows == Cut::Window && self.active != FlowSpec::default().active {
            return wrong("active", humantime(self.active), "left out unless rows = \"flow\"");
        }
        if !(1_024..=100_000_000).contains(&self.max_flows) {
            return wrong("max_flows", self.max_flows.to_string(), "between 1024 and 100000000");
        }
        if calendar::Calendar::new(&self.timezone).is_none() {
            return wrong("timezone", format!("{:?}", self.timezone), "an IANA name such as Europe/Berlin");
        }
        Ok(())
    }

    /// Checks that the tables of the workers can be made, as far as can be told beforehand: they are mapped whole, and
    /// take memory as flows come.
    ///
    /// # Errors
    /// [`FlowError::Room`].
    pub fn check_room(&self) -> Result<(), FlowError> {
        let room = region::check_room(table::mapped(self));
        room.map_err(|room| FlowError::Room { max_flows: self.max_flows, room })
    }

    /// The window in nanoseconds.
    pub fn window_ns(&self) -> u64 {
        nanoseconds(self.window)
    }

    /// The settings that rows depend on, as they travel in the schema's metadata and in models.
    pub fn row_settings(&self) -> BTreeMap<String, String> {
        let text = |duration: Duration| humantime(duration);
        let mut settings = BTreeMap::from([
            ("window".to_owned(), text(self.window)),
            ("idle".to_owned(), text(self.idle)),
            ("timezone".to_owned(), self.timezone.clone()),
        ]);
        match self.rows {
            Cut::Window => settings.insert(ROWS.to_owned(), "window".to_owned()),
            Cut::Flow => {
                settings.insert("active".to_owned(), text(self.active));
                settings.insert(ROWS.to_owned(), "flow".to_owned())
            }
        };
        settings
    }
}

/// Row settings of these flows over packets decoded so.
///
/// VLAN ids are mentioned only where they are ignored: rows say what they have always said unless they are others.
pub fn row_settings(spec: &FlowSpec, packet: &PacketSpec) -> RowSettings {
    let mut settings = spec.row_settings();
    settings.insert("tunnels".to_owned(), packet.tunnels.to_string());
    if packet.vlan == Vlan::Ignore {
        settings.insert("vlan".to_owned(), "ignore".to_owned());
    }
    RowSettings { settings }
}

/// The window that rows were cut by, in nanoseconds; `None` where their settings do not say.
pub fn window_of(settings: &RowSettings) -> Option<u64> {
    #[derive(Deserialize)]
    struct Text(#[serde(with = "humantime_serde")] Duration);
    let text = serde_json::Value::String(settings.settings.get("window")?.clone());
    let Text(window) = serde_json::from_value(text).ok()?;
    (!window.is_zero()).then(|| nanoseconds(window))
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A duration as the pipeline file writes it: `10s`, `1m 30s`.
fn humantime(duration: Duration) -> String {
    #[derive(Serialize)]
    struct Text(#[serde(with = "humantime_serde")] Duration);
    match serde_json::to_value(Text(duration)) {
        Ok(serde_json::Value::String(text)) => text,
        _ => format!("{duration:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_written() {
        assert_eq!(humantime(Duration::from_secs(10)), "10s");
        assert_eq!(humantime(Duration::from_millis(1500)), "1s 500ms");
        let settings = row_settings(&FlowSpec::default(), &PacketSpec::default());
        assert_eq!(window_of(&settings), Some(10_000_000_000));
    }

    #[test]
    fn impossible_settings_are_named() {
        let spec = FlowSpec { window: Duration::ZERO, ..FlowSpec::default() };
        assert!(spec.check().unwrap_err().to_string().starts_with("[flow] window"));
        let spec = FlowSpec { timezone: "Mars/Olympus".to_owned(), ..FlowSpec::default() };
        assert!(spec.check().unwrap_err().to_string().contains("Mars/Olympus"));
        assert_eq!(FlowSpec::default().check(), Ok(()));
        // A setting that would do nothing.
        let active = FlowSpec { active: Duration::from_secs(600), ..FlowSpec::default() };
        assert_eq!(
            active.check().unwrap_err().to_string(),
            "[flow] active = 10m: must be left out unless rows = \"flow\""
        );
        assert_eq!(FlowSpec { rows: Cut::Flow, ..active }.check(), Ok(()));
    }

    #[test]
    fn tables_for_which_there_is_no_address_space_are_told_beforehand() {
        let spec = FlowSpec { max_flows: 100_000_000, ..FlowSpec::default() };
        assert_eq!(spec.check_room(), Ok(()));
        // More than 57 bits: no process has that much.
        let room = region::check_room(1 << 60).unwrap_err();
        let told = FlowError::Room { max_flows: spec.max_flows, room }.to_string();
        assert!(told.starts_with("[flow] max_flows = 100000000: the system has no "), "{told}");
        assert!(told.contains("ulimit -v"), "{told}");
    }
}
