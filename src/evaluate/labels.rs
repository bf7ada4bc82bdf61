//! Labels: which traffic was an attack, when, between whom.
//!
//! A file of labels is CSV with the columns `start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event`: times
//! are nanoseconds since the Unix epoch, inclusive; an empty field means any; the two addresses may stand
//! in either direction; `attack = ignore` means that the truth is not known.

use std::net::IpAddr;
use std::path::Path;

use super::EvaluateError;

const COLUMNS: [&str; 8] = ["start_ns", "end_ns", "src_ip", "dst_ip", "proto", "dst_port", "attack", "event"];

/// What a label's `proto` may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// `tcp`.
    Tcp,
    /// `udp`.
    Udp,
    /// `icmp`: ICMP and ICMPv6.
    Icmp,
    /// `arp`: no IP, so no row can match.
    Arp,
}

impl Transport {
    fn parse(text: &str) -> Option<Transport> {
        match text {
            "tcp" => Some(Transport::Tcp),
            "udp" => Some(Transport::Udp),
            "icmp" => Some(Transport::Icmp),
            "arp" => Some(Transport::Arp),
            _ => None,
        }
    }

    fn is(self, protocol: u8) -> bool {
        match self {
            Transport::Tcp => protocol == 6,
            Transport::Udp => protocol == 17,
            Transport::Icmp => protocol == 1 || protocol == 58,
            Transport::Arp => false,
        }
    }
}

/// One line: part of an attack.
#[derive(Clone, Debug)]
pub struct Label {
    /// First nanosecond.
    pub start: u64,
    /// Last nanosecond.
    pub end: u64,
    /// The two ends; none where any will do.
    pub ends: [Option<IpAddr>; 2],
    /// Protocol; none where any will do.
    pub transport: Option<Transport>,
    /// One of the two ports; none where any will do.
    pub port: Option<u16>,
    /// The family of the attack.
    pub attack: String,
    /// What belongs together.
    pub event: String,
}

impl Label {
    /// Whether the truth is not known here.
    pub fn is_ignored(&self) -> bool {
        self.attack == "ignore"
    }

    /// Whether a row is of this label.
    pub fn covers(&self, row: &super::ScoredRow) -> bool {
        let fits = |label: Option<IpAddr>, row: IpAddr| label.is_none_or(|address| address == row);
        let [a, b] = self.ends;
        row.start <= self.end
            && row.end >= self.start
            && self.transport.is_none_or(|transport| transport.is(row.protocol))
            && self.port.is_none_or(|port| row.ports.contains(&port))
            && (fits(a, row.src) && fits(b, row.dst) || fits(a, row.dst) && fits(b, row.src))
    }
}

/// A file of labels.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// Attacks first, then what is to be ignored; else as in the file.
    pub labels: Vec<Label>,
}

impl Labels {
    /// Reads a file.
    ///
    /// # Errors
    /// [`EvaluateError`] with the line, what stands there and what may.
    pub fn read(path: &Path) -> Result<Labels, EvaluateError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| EvaluateError::Io { path: path.to_owned(), source })?;
        Labels::parse(&text).map_err(|(line, what)| EvaluateError::Label {
            path: path.to_owned(),
            line,
            what,
        })
    }

    /// Reads text; an error has the number of its line.
    fn parse(text: &str) -> Result<Labels, (usize, String)> {
        let mut lines = (1..).zip(text.lines());
        let head: Vec<&str> = lines.next().map_or(Vec::new(), |(_, line)| line.trim().split(',').collect());
        let mut places = [0; COLUMNS.len()];
        for (place, column) in places.iter_mut().zip(COLUMNS) {
            *place = head.iter().position(|found| *found == column).ok_or_else(|| {
                (1, format!("no column `{column}`; labels have the columns {}", COLUMNS.join(",")))
            })?;
        }
        if let Some(extra) = head.iter().find(|found| !COLUMNS.contains(found)) {
            return Err((1, format!("column `{extra}` is not known; labels have {}", COLUMNS.join(","))));
        }
        let mut labels = Vec::new();
        for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let fields: Vec<&str> = line.trim().split(',').collect();
            if fields.len() != head.len() {
                return Err((number, format!("{} fields, the head has {}", fields.len(), head.len())));
            }
            labels.push(label(places.map(|place| fields[place])).map_err(|what| (number, what))?);
        }
        labels.sort_by_key(Label::is_ignored);
        Ok(Labels { labels })
    }

    /// The label that a row is of: an attack before what is to be ignored.
    pub fn of(&self, row: &super::ScoredRow) -> Option<usize> {
        self.labels.iter().position(|label| label.covers(row))
    }
}

fn label(fields: [&str; 8]) -> Result<Label, String> {
    let [start, end, src, dst, proto, port, attack, event] = fields;
    let optional = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let time = |name, text: &str| {
        text.parse().map_err(|_| format!("{name} `{text}` is no number of nanoseconds since 1970"))
    };
    let address = |name, text: &str| match optional(text) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| format!("{name} `{text}` is no IP address")),
    };
    let transport = match proto {
        "" => None,
        text => Some(
            Transport::parse(text).ok_or_else(|| format!("proto `{text}`: it may be tcp, udp, icmp, arp"))?,
        ),
    };
    let port = match port {
        "" => None,
        text => Some(text.parse().map_err(|_| format!("dst_port `{text}` is no port"))?),
    };
    Ok(Label {
        start: time("start_ns", start)?,
        end: time("end_ns", end)?,
        ends: [address("src_ip", src)?, address("dst_ip", dst)?],
        transport,
        port,
        attack: attack.to_owned(),
        event: event.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::ScoredRow;

    const HEAD: &str = "start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event\n";

    fn row(src: &str, dst: &str, protocol: u8, ports: [u16; 2], start: u64, end: u64) -> ScoredRow {
        let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
        ScoredRow { start, end, src, dst, protocol, ports, score: 0.0, is_anomaly: false }
    }

    #[test]
    fn a_label_covers_either_direction_and_any_where_it_is_empty() {
        let labels = Labels::parse(&format!("{HEAD}10,20,10.0.0.1,,tcp,22,scan,e1\n")).unwrap();
        let covers = |row| labels.of(&row).is_some();
        assert!(covers(row("10.0.0.1", "10.0.0.9", 6, [5000, 22], 20, 30)));
        assert!(covers(row("10.0.0.9", "10.0.0.1", 6, [22, 5000], 5, 10)));
        assert!(!covers(row("10.0.0.1", "10.0.0.9", 6, [5000, 22], 21, 30)), "after the end");
        assert!(!covers(row("10.0.0.1", "10.0.0.9", 17, [5000, 22], 15, 16)), "another protocol");
        assert!(!covers(row("10.0.0.1", "10.0.0.9", 6, [5000, 23], 15, 16)), "another port");
        assert!(!covers(row("10.0.0.3", "10.0.0.9", 6, [5000, 22], 15, 16)), "another host");
    }

    #[test]
    fn attacks_go_before_what_is_ignored() {
        let text = format!("{HEAD}0,99,10.0.0.1,,,,ignore,e0\n0,99,10.0.0.1,,icmp,,tunnel,e1\n");
        let labels = Labels::parse(&text).unwrap();
        let of = |protocol| {
            let row = row("10.0.0.1", "10.0.0.2", protocol, [0, 0], 1, 2);
            labels.of(&row).map(|at| labels.labels[at].attack.as_str())
        };
        assert_eq!((of(58), of(6)), (Some("tunnel"), Some("ignore")));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let error = |text: &str| Labels::parse(text).unwrap_err();
        assert_eq!(error("start,end\n").0, 1);
        assert!(error("start,end\n").1.contains("no column `start_ns`"));
        assert_eq!(
            error(&format!("{HEAD}1,2,nowhere,,,,scan,e\n")),
            (2, "src_ip `nowhere` is no IP address".into())
        );
        assert_eq!(error(&format!("{HEAD}\n1,2,,,ip,,scan,e\n")).0, 3);
        assert!(error(&format!("{HEAD}1,2,,\n")).1.contains("4 fields"));
        assert!(error("start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event,sev\n").1.contains("`sev`"));
    }
}
