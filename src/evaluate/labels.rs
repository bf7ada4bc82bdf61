//! Labels: which traffic was an attack, when, between whom.
//!
//! A file of labels is CSV with the columns `start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event`: times
//! are nanoseconds since the Unix epoch, inclusive; an empty field means any (no start: from the beginning of the rows,
//! no end: to theirs); the two addresses may stand in either direction; `attack = ignore` means that the truth is not
//! known. Protocols are named as rows name them, or by their number. Lines that begin with `#` and empty lines are
//! passed over; a field may stand in double quotes.

use std::net::IpAddr;
use std::path::Path;

use super::EvaluateError;
use super::epoch::looks_like;
use crate::flow::names;

const COLUMNS: [&str; 8] = ["start_ns", "end_ns", "src_ip", "dst_ip", "proto", "dst_port", "attack", "event"];

/// What a label's `proto` may be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    /// `tcp`.
    Tcp,
    /// `udp`.
    Udp,
    /// `icmp`: ICMP and ICMPv6.
    Icmp,
    /// Any other by its number; never one of those above.
    Other(u8),
    /// `arp`: no IP, so no row can match.
    Arp,
}

impl Transport {
    fn parse(text: &str) -> Option<Transport> {
        let text = text.to_ascii_lowercase();
        match text.as_str() {
            "arp" => Some(Transport::Arp),
            "icmpv6" | "ipv6-icmp" => Some(Transport::Icmp),
            name => names::protocol_number(name).or_else(|| name.parse().ok()).map(Transport::of),
        }
    }

    /// That of an IP protocol number.
    pub(super) fn of(protocol: u8) -> Transport {
        match protocol {
            6 => Transport::Tcp,
            17 => Transport::Udp,
            1 | 58 => Transport::Icmp,
            // Numbers of one name are one protocol.
            other => Transport::Other(names::protocol_number(&names::protocol(other)).unwrap_or(other)),
        }
    }
}

/// One line: part of an attack.
#[derive(Clone, Debug)]
pub struct Label {
    /// Its line in the file, from 1; the head is line 1.
    pub line: usize,
    /// First nanosecond; 0 where any will do.
    pub start: u64,
    /// Last nanosecond; the last there is where any will do.
    pub end: u64,
    /// The two ends; none where any will do.
    pub ends: [Option<IpAddr>; 2],
    /// Protocol; none where any will do.
    pub transport: Option<Transport>,
    /// One of the two ports; none where any will do.
    pub port: Option<u16>,
    /// The family of the attack.
    pub attack: String,
    /// What belongs together; the family where the file says nothing.
    pub event: String,
}

impl Label {
    /// Whether the truth is not known here.
    pub fn is_ignored(&self) -> bool {
        self.attack.eq_ignore_ascii_case("ignore")
    }

    /// Whether a row is of this label.
    pub fn covers(&self, row: &super::ScoredRow) -> bool {
        let fits = |label: Option<IpAddr>, row: IpAddr| label.is_none_or(|address| address == row);
        let [a, b] = self.ends;
        row.start <= self.end
            && row.end >= self.start
            && self.transport.is_none_or(|transport| Transport::of(row.protocol) == transport)
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
    pub(super) fn parse(text: &str) -> Result<Labels, (usize, String)> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = (1..)
            .zip(text.lines().map(str::trim))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let (number, head) = lines.next().unwrap_or((1, ""));
        let head = fields(head).map_err(|what| (number, what))?;
        let mut places = [0; COLUMNS.len()];
        for (place, column) in places.iter_mut().zip(COLUMNS) {
            *place = head.iter().position(|found| found == column).ok_or_else(|| {
                (number, format!("no column `{column}`; labels have the columns {}", COLUMNS.join(",")))
            })?;
        }
        if let Some(extra) = head.iter().find(|found| !COLUMNS.contains(&found.as_str())) {
            return Err((
                number,
                format!("column `{extra}` is not known, leave it out; labels have {}", COLUMNS.join(",")),
            ));
        }
        if head.len() > COLUMNS.len() {
            return Err((number, format!("a column stands twice; labels have {}", COLUMNS.join(","))));
        }
        let mut labels = Vec::new();
        for (number, line) in lines {
            let fields = fields(line).map_err(|what| (number, what))?;
            if fields.len() != head.len() {
                return Err((number, format!("{} fields, the head has {}", fields.len(), head.len())));
            }
            let fields = places.map(|place| fields[place].as_str());
            labels.push(label(number, fields).map_err(|what| (number, what))?);
        }
        labels.sort_by_key(Label::is_ignored);
        Ok(Labels { labels })
    }
}

/// The fields of a line of CSV (RFC 4180, but a field ends with its line).
fn fields(line: &str) -> Result<Vec<String>, String> {
    if !line.contains('"') {
        return Ok(line.split(',').map(|field| field.trim().to_owned()).collect());
    }
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let field = fields.last_mut().expect("there is a first field");
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    match quoted {
        true => Err("a double quote is never closed".into()),
        false => Ok(fields.into_iter().map(|field| field.trim().to_owned()).collect()),
    }
}

fn label(line: usize, fields: [&str; 8]) -> Result<Label, String> {
    let [start, end, src, dst, proto, port, attack, event] = fields;
    let optional = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let time = |name, text: &str, any: u64| match text {
        "" => Ok(any),
        text => text.parse().map_err(|_| {
            let meant = text.parse().ok().and_then(looks_like).map(|meant| format!("; it {meant}"));
            format!(
                "{name} `{text}` is no whole number of nanoseconds since 1970{}",
                meant.unwrap_or_default()
            )
        }),
    };
    let address = |name, text: &str| match optional(text) {
        None => Ok(None),
        Some(text) => text
            .parse::<IpAddr>()
            .map(|address| Some(address.to_canonical()))
            .map_err(|_| format!("{name} `{text}` is no IP address")),
    };
    let transport = match proto {
        "" => None,
        text => Some(Transport::parse(text).ok_or_else(|| {
            format!("proto `{text}`: it may be arp, a protocol as rows name it (tcp, udp, icmp, ...) or its number")
        })?),
    };
    let port = match port {
        "" => None,
        text => Some(text.parse().map_err(|_| format!("dst_port `{text}` is no port"))?),
    };
    if attack.is_empty() {
        return Err("attack is empty: it names the family, or is `ignore`".into());
    }
    let (start, end) = (time("start_ns", start, 0)?, time("end_ns", end, u64::MAX)?);
    if end < start {
        return Err(format!("end_ns {end} is before start_ns {start}"));
    }
    Ok(Label {
        line,
        start,
        end,
        ends: [address("src_ip", src)?, address("dst_ip", dst)?],
        transport,
        port,
        attack: attack.to_owned(),
        event: if event.is_empty() { attack } else { event }.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::ScoredRow;

    const HEAD: &str = "start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event\n";

    fn row(src: &str, dst: &str, protocol: u8, ports: [u16; 2], start: u64, end: u64) -> ScoredRow {
        ScoredRow { protocol, ports, ..ScoredRow::example(src, dst, start, end, 0.0) }
    }

    #[test]
    fn a_label_covers_either_direction_and_any_where_it_is_empty() {
        let labels = Labels::parse(&format!("{HEAD}10,20,10.0.0.1,,tcp,22,scan,e1\n")).unwrap();
        let covers = |row| labels.labels[0].covers(&row);
        assert!(covers(row("10.0.0.1", "10.0.0.9", 6, [5000, 22], 20, 30)));
        assert!(covers(row("10.0.0.9", "10.0.0.1", 6, [22, 5000], 5, 10)));
        assert!(!covers(row("10.0.0.1", "10.0.0.9", 6, [5000, 22], 21, 30)), "after the end");
        assert!(!covers(row("10.0.0.1", "10.0.0.9", 17, [5000, 22], 15, 16)), "another protocol");
        assert!(!covers(row("10.0.0.1", "10.0.0.9", 6, [5000, 23], 15, 16)), "another port");
        assert!(!covers(row("10.0.0.3", "10.0.0.9", 6, [5000, 22], 15, 16)), "another host");
    }

    #[test]
    fn blanks_around_fields_and_letters_of_ignore_do_not_matter() {
        let text = format!("{HEAD}0,9,, 10.0.0.1 ,\" tcp\", ,\"scan, slow\" , e1 \n0,9,,,,,Ignore,\n");
        let labels = Labels::parse(&text).unwrap().labels;
        assert_eq!((labels[0].transport, labels[0].attack.as_str()), (Some(Transport::Tcp), "scan, slow"));
        assert_eq!(labels[0].event, "e1");
        assert!(labels[1].is_ignored() && !labels[0].is_ignored());
    }

    #[test]
    fn times_that_are_left_out_mean_any() {
        let labels =
            Labels::parse(&format!("{HEAD},20,,,,,scan,\n10,,,,,,scan,\n,,,,,,scan,\n")).unwrap().labels;
        let spans: Vec<_> = labels.iter().map(|label| (label.start, label.end)).collect();
        assert_eq!(spans, [(0, 20), (10, u64::MAX), (0, u64::MAX)]);
    }

    #[test]
    fn protocols_go_by_the_names_that_rows_have_and_by_their_numbers() {
        let named = |proto: &str| {
            Labels::parse(&format!("{HEAD}0,9,,,{proto},,scan,\n")).unwrap().labels[0].transport.unwrap()
        };
        for protocol in 0..=u8::MAX {
            let transport = Transport::of(protocol);
            assert_eq!(named(&protocol.to_string()), transport);
            assert_eq!(named(&names::protocol(protocol)), transport, "{protocol}");
        }
        assert_eq!(named("TCP"), Transport::Tcp);
        assert_eq!([named("icmp6"), named("ICMPv6"), named("58")], [Transport::Icmp; 3]);
        assert_eq!(named("Arp"), Transport::Arp);
        assert_eq!(named("gre"), Transport::Other(47));
    }

    #[test]
    fn attacks_stand_before_what_is_ignored_with_the_lines_they_had() {
        let text = format!("{HEAD}# a remark\n0,99,10.0.0.1,,,,ignore,e0\n\n0,99,,,icmp,,tunnel,\n");
        let labels = Labels::parse(&text).unwrap().labels;
        assert_eq!((labels[0].line, labels[0].event.as_str()), (5, "tunnel"));
        assert_eq!((labels[1].line, labels[1].is_ignored()), (3, true));
    }

    #[test]
    fn columns_may_stand_in_any_order_and_fields_in_quotes() {
        let text = "\u{feff}event,attack,dst_port,proto,dst_ip,src_ip,end_ns,start_ns\r\n\
                    e1,\"scan, \"\"slow\"\"\",,udp,,10.0.0.1,20,10\r\n";
        let label = &Labels::parse(text).unwrap().labels[0];
        assert_eq!((label.attack.as_str(), label.start, label.end), ("scan, \"slow\"", 10, 20));
        assert_eq!(label.transport, Some(Transport::Udp));
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
        assert_eq!(
            error(&format!("{HEAD}1700000000.25,,,,,,scan,e\n")).1,
            "start_ns `1700000000.25` is no whole number of nanoseconds since 1970; it looks like seconds: multiply by 10^9"
        );
        assert!(error(&format!("{HEAD}2024-01-01,,,,,,scan,e\n")).1.ends_with("nanoseconds since 1970"));
        assert!(error(&format!("{HEAD}1,2,,\n")).1.contains("4 fields"));
        assert!(error(&format!("{HEAD}2,1,,,,,scan,e\n")).1.contains("before start_ns"));
        assert!(error(&format!("{HEAD}1,2,,,,,,e\n")).1.contains("attack is empty"));
        assert!(error("start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event,sev\n").1.contains("`sev`"));
        assert!(error(&format!("{HEAD}1,2,,,,,\"scan,e\n")).1.contains("never closed"));
    }
}
