//! Alerts for people: one line each. Rows of tables end here; those of flows are incidents first.

use std::io::{ErrorKind, Write};

use arrow::array::{Array, RecordBatch};

use super::alert::{Alerts, Flows, time};
use super::operator::End;
use super::{AnyError, SinkError};
use crate::incident::Severity;
use crate::terminal::safe;

/// How lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// Text alone: for files and pipes.
    Plain,
    /// With colours: for terminals.
    Colour,
}

/// Writes a line for each anomalous row: when, score and severity, who with whom, how much, how long.
/// Rows of tables go by their number, from 1. Nobody reading any more (a closed pipe) ends the lines, not
/// the run.
pub struct Console<W> {
    out: W,
    style: Style,
    threshold: f64,
    rows: u64,
    closed: bool,
}

impl<W: Write> Console<W> {
    /// Lines to `out`; severities are reckoned from `threshold`.
    pub fn new(out: W, style: Style, threshold: f64) -> Console<W> {
        Console { out, style, threshold, rows: 0, closed: false }
    }

    fn write(&mut self, alerts: &Alerts) -> std::io::Result<()> {
        for row in 0..alerts.numbers.len() {
            let score = alerts.scores.value(row);
            let severity = Severity::of_row(score, self.threshold);
            let grade = format!("{score:.3} {:<6}", severity.name());
            let grade = match (self.style, severity) {
                (Style::Colour, Severity::High) => format!("\x1b[31m{grade}\x1b[0m"),
                (Style::Colour, Severity::Medium) => format!("\x1b[33m{grade}\x1b[0m"),
                _ => grade,
            };
            let line = match &alerts.flows {
                Some(flows) => flow(flows, row, &grade),
                None => {
                    let partition = safe(alerts.partitions.value(row));
                    format!("row {:<12} {grade} {partition}", alerts.numbers[row])
                }
            };
            writeln!(self.out, "{}", line.trim_end())?;
        }
        self.out.flush()
    }
}

impl<W: Write + Send> End for Console<W> {
    fn take(&mut self, rows: &RecordBatch) -> Result<(), AnyError> {
        if self.closed {
            return Ok(());
        }
        let output = || std::path::PathBuf::from("output");
        let alerts = Alerts::of(rows, self.rows).map_err(|error| SinkError::rows(&output(), &error))?;
        self.rows += rows.num_rows() as u64;
        let Some(alerts) = alerts else { return Ok(()) };
        match self.write(&alerts) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.closed = true,
            Err(source) => return Err(SinkError::Io { path: output(), source }.into()),
            Ok(()) => {}
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), AnyError> {
        Ok(())
    }
}

fn flow(flows: &Flows, row: usize, grade: &str) -> String {
    let when = time(flows.row_end.value(row)).strftime("%Y-%m-%d %H:%M:%SZ");
    let protocol = flows.protocol.value(row);
    let with_ports =
        !matches!(protocol, 1 | 58) && flows.src_port.value(row) | flows.dst_port.value(row) != 0;
    let end = |address: &str, port: u16| match (address.contains(':'), with_ports) {
        (true, true) => format!("[{}]:{port}", safe(address)),
        (false, true) => format!("{}:{port}", safe(address)),
        (_, false) => safe(address),
    };
    let source = end(flows.src_ip.value(row), flows.src_port.value(row));
    let destination = end(flows.dst_ip.value(row), flows.dst_port.value(row));
    let state = if flows.conn_state.is_valid(row) { flows.conn_state.value(row) } else { "-" };
    let packets = format!("{}/{} packets", flows.fwd_packets.value(row), flows.bwd_packets.value(row));
    format!(
        "{when}  {grade} {:<5} {source:>21} -> {destination:<21} {:<9} {:<6} {packets:<15} {:<14} {}",
        safe(flows.protocol_name.value(row)),
        safe(flows.service.value(row)),
        safe(state),
        amounts(flows.fwd_bytes.value(row), flows.bwd_bytes.value(row)),
        duration(flows.duration_s.value(row)),
    )
}

/// Two numbers of bytes in the unit of the larger.
fn amounts(forward: u64, backward: u64) -> String {
    let (divisor, unit) = unit(forward.max(backward));
    let part = |bytes: u64| {
        if divisor == 1 || bytes == 0 {
            bytes.to_string()
        } else {
            format!("{:.1}", bytes as f64 / divisor as f64)
        }
    };
    format!("{}/{} {unit}", part(forward), part(backward))
}

/// The unit of a number of bytes, and its size.
pub(super) fn unit(bytes: u64) -> (u64, &'static str) {
    match bytes {
        0..1_000 => (1, "B"),
        1_000..1_000_000 => (1_000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        1_000_000_000..1_000_000_000_000 => (1_000_000_000, "GB"),
        _ => (1_000_000_000_000, "TB"),
    }
}

pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        0.0 => "0s".to_owned(),
        s if s < 0.001 => format!("{:.0}us", s * 1e6),
        s if s < 1.0 => format!("{:.0}ms", s * 1e3),
        s if s < 60.0 => format!("{s:.1}s"),
        s if s < 3600.0 => format!("{:.0}m", s / 60.0),
        s => format!("{:.1}h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Float64Array, StringArray};

    use super::*;
    use crate::sink::samples;

    fn lines(rows: &[RecordBatch], style: Style) -> String {
        let mut out = Vec::new();
        let mut console = Console::new(&mut out, style, 0.5);
        rows.iter().for_each(|rows| console.take(rows).unwrap());
        Box::new(console).finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_says_when_who_and_how_much() {
        let lines = lines(&[samples::alerts()], Style::Plain);
        assert_eq!(
            lines,
            "2026-11-22 09:30:00Z  0.760 high   tcp         10.0.5.23:51514 -> 198.51.100.7:443      https     S0     41/39 packets   8.2/11.7 kB    5m\n\
             2026-11-22 09:30:00Z  0.510 low    icmp6           2001:db8::1 -> 2001:db8::2           icmp-129  -      1/0 packets     70/0 B         0s\n\
             2026-11-22 09:30:00Z  0.640 medium udp        [fe80::1%eth]:53 -> [2001:db8::2]:5353    dns       -      2/0 packets     1.5/0 MB       1.5s\n"
        );
    }

    #[test]
    fn lines_are_the_same_for_any_batches() {
        let all = samples::scored(300, 8);
        assert_eq!(
            lines(std::slice::from_ref(&all), Style::Plain),
            lines(&samples::cut(&all, vec![10, 11, 200], 3), Style::Plain)
        );
        let anomalies =
            all.column_by_name("is_anomaly").unwrap().as_any().downcast_ref::<BooleanArray>().unwrap();
        assert_eq!(lines(std::slice::from_ref(&all), Style::Plain).lines().count(), anomalies.true_count());
    }

    fn table(partitions: Vec<&str>, anomalous: Vec<bool>) -> RecordBatch {
        RecordBatch::try_from_iter([
            ("score", Arc::new(Float64Array::from(vec![0.9; anomalous.len()])) as _),
            ("is_anomaly", Arc::new(BooleanArray::from(anomalous)) as _),
            ("partition", Arc::new(StringArray::from(partitions)) as _),
        ])
        .unwrap()
    }

    #[test]
    fn rows_of_tables_go_by_their_number() {
        let batches = [
            table(vec!["a", "a"], vec![false, true]),
            table(vec!["b"], vec![false]),
            table(vec!["b", "c"], vec![true, true]),
        ];
        let lines = lines(&batches, Style::Plain);
        let numbers: Vec<_> = lines.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
        assert_eq!(numbers, ["2", "4", "5"]);
    }

    #[test]
    fn data_cannot_move_the_cursor() {
        let batch = table(vec!["\x1b[2J\r\n\u{202e}ok"], vec![true]);
        assert!(
            !lines(std::slice::from_ref(&batch), Style::Plain)
                .trim_end()
                .contains(|c: char| c.is_control() || c == '\u{202e}')
        );
        let coloured = lines(&[batch], Style::Colour);
        assert_eq!(coloured.matches('\x1b').count(), 2, "one on, one off: {coloured:?}");
    }

    struct Closed(io::ErrorKind);

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_ends_the_lines_and_a_full_disk_the_run() {
        let batch = table(vec!["a"], vec![true]);
        let take = |kind| Console::new(Closed(kind), Style::Plain, 0.5).take(&batch);
        assert!(take(io::ErrorKind::BrokenPipe).is_ok());
        assert!(take(io::ErrorKind::StorageFull).is_err());
    }

    #[test]
    fn rows_that_were_never_scored_are_an_error() {
        let rows = table(vec!["a"], vec![true]).project(&[0, 2]).unwrap();
        let error = Console::new(Vec::new(), Style::Plain, 0.5).take(&rows).unwrap_err().to_string();
        assert!(error.contains("never scored"), "{error}");
    }
}
