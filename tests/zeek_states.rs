//! `conn_state` of hand-built connections, by Zeek's rules.

mod support;

use std::collections::BTreeMap;

use netweir::flow::FlowSpec;
use support::datagram::{ACK, Datagram, FIN, PSH, RST, SYN, tcp};
use support::memory::{Manner, flow_rows};
use support::table::Cell;

/// Segments as letters, capital ones from the client, small ones from the server: `S` SYN, `H` SYN-ACK, `A` ACK, `D` data
/// of ten bytes, `F` FIN-ACK, `N` FIN alone, `R` RST, `T` RST-ACK, `X` SYN and FIN, `Y` SYN and RST. The client is
/// the initiator: by its SYN, or by its port where there is none.
const CASES: &[(&str, &str, &str)] = &[
    // Attempts.
    ("S", "S0", "a SYN without an answer"),
    ("SSS", "S0", "repeated SYNs without an answer"),
    ("DS", "S0", "a SYN after stray data of a silent server begins the attempt"),
    ("Sa", "S0", "a bare ACK before the SYN-ACK does not count as an answer"),
    ("Sr", "REJ", "RST in answer to SYN"),
    ("St", "REJ", "RST-ACK in answer to SYN"),
    ("SSt", "REJ", "RST-ACK in answer to the second SYN"),
    ("Sar", "REJ", "a bare ACK does not make it more than a rejected attempt"),
    ("ShARr", "REJ", "both reset and neither sent data"),
    ("SR", "RSTOS0", "SYN, then RST from the same side, no SYN-ACK seen"),
    ("SSR", "RSTOS0", "a second SYN changes nothing"),
    ("SDR", "RSTOS0", "data before the handshake changes nothing"),
    ("SaR", "RSTOS0", "a bare ACK of the server changes nothing"),
    ("SAR", "OTH", "between SYN and RST the client went on as if established"),
    ("SdR", "RSTOS0", "the server was heard, but not in a handshake"),
    ("SF", "SH", "SYN, then FIN, no SYN-ACK seen"),
    ("SN", "SH", "the same with a bare FIN"),
    ("SDF", "SH", "the same with data before the handshake"),
    ("SFr", "RSTR", "closed by the client before the server's RST"),
    ("X", "SH", "SYN and FIN in one segment"),
    ("Y", "OTH", "SYN and RST in one segment are no attempt"),
    // Established.
    ("Sh", "S1", "a SYN-ACK establishes both ends"),
    ("ShA", "S1", "the whole handshake"),
    ("SShhA", "S1", "the handshake with repetitions"),
    ("ShADdaA", "S1", "the handshake and data"),
    ("ShdA", "S1", "data with the handshake not yet acknowledged"),
    ("hA", "S1", "the SYN was missed, SYN-ACK and ACK are there"),
    ("hDd", "S1", "the SYN was missed, the client's data acknowledge the SYN-ACK"),
    ("hSA", "S1", "SYN and SYN-ACK captured in the wrong order"),
    ("Ss", "S1", "simultaneous open"),
    // Closing.
    ("ShADdFafA", "SF", "handshake, data, both FINs, client first"),
    ("ShADdfAFa", "SF", "the same, server first"),
    ("ShAFf", "SF", "both FINs suffice, whatever is acknowledged"),
    ("ShAfF", "SF", "the same, server first"),
    ("ShAFfR", "SF", "a RST after both FINs changes nothing"),
    ("ShAFfr", "SF", "nor does the server's"),
    ("ShAFRf", "SF", "FIN, RST, and the server's FIN after all"),
    ("DdFf", "SF", "both FINs end a connection whose begin was missed"),
    ("hAFf", "SF", "the SYN was missed, the rest is whole"),
    ("ShAF", "S2", "only the client closed"),
    ("ShAFad", "S2", "only the client closed, the server goes on sending"),
    ("ShF", "S2", "FIN instead of the last ACK of the handshake"),
    ("ShAf", "S3", "only the server closed"),
    ("ShAfAD", "S3", "only the server closed, the client goes on sending"),
    // Resets.
    ("ShAR", "RSTO", "reset by the client"),
    ("ShADdT", "RSTO", "reset by the client after data"),
    ("ShR", "RSTO", "a half-open scan: RST in answer to SYN-ACK"),
    ("ShAFR", "RSTO", "the client's FIN, then its RST"),
    ("ShAfR", "RSTO", "the server's FIN, answered by RST"),
    ("ShAr", "RSTR", "reset by the server"),
    ("ShADt", "RSTR", "reset by the server after data"),
    ("ShADRr", "RSTR", "both reset, and there were data"),
    ("ShAFr", "RSTR", "the client's FIN, answered by RST"),
    ("Shr", "RSTR", "the server took its SYN-ACK back"),
    // Half of it seen.
    ("hr", "RSTRH", "SYN-ACK, then RST, no SYN seen"),
    ("ht", "RSTRH", "SYN-ACK, then RST-ACK, no SYN seen"),
    ("r", "RSTRH", "the server's RST alone"),
    ("Ddr", "RSTRH", "reset by the server in the middle, the client is but partly known"),
    ("hf", "SHR", "SYN-ACK, then FIN, no SYN seen"),
    ("df", "SHR", "the server's data and FIN alone"),
    ("DF", "SH", "the client's data and FIN alone"),
    ("DdF", "SH", "the middle of a connection that the client closes: the server is but partly known"),
    ("h", "OTH", "a SYN-ACK alone"),
    ("D", "OTH", "data alone"),
    ("A", "OTH", "an ACK alone"),
    ("Dd", "OTH", "the middle of a connection"),
    ("DdA", "OTH", "the middle of a connection, longer"),
    ("R", "OTH", "the client's RST alone"),
    ("DdR", "OTH", "reset by the client in the middle, no SYN seen"),
    ("Sd", "OTH", "the SYN-ACK was missed, the server sends data"),
    ("SdA", "OTH", "the SYN-ACK was missed, both go on"),
];

/// The segments of a script between a client and a server, ten milliseconds apart from `begin` (ns) on.
fn play(script: &str, client: &str, server: &str, begin: u64) -> Vec<Datagram> {
    // What each side sends next: client, server. The first numbers of a side cross zero soon.
    let mut next = [u32::MAX - 3, 5_000];
    let opened_by_client = script.contains(['S', 'X', 'Y']);
    let segments = script.chars().enumerate().map(|(at, letter)| {
        let by = usize::from(letter.is_ascii_lowercase());
        let (flags, payload) = match letter.to_ascii_uppercase() {
            'S' => (SYN, 0),
            'H' => (SYN | ACK, 0),
            'A' => (ACK, 0),
            'D' => (ACK | PSH, 10),
            'F' => (FIN | ACK, 0),
            'N' => (FIN, 0),
            'R' => (RST, 0),
            'T' => (RST | ACK, 0),
            'X' => (SYN | FIN, 0),
            'Y' => (SYN | RST, 0),
            other => panic!("{other} is no segment"),
        };
        // An answer that was captured before what it answers acknowledges it all the same.
        let unseen = by == 1 && opened_by_client && !script[..at].contains(['S', 'X', 'Y']);
        let acknowledged = if flags & ACK != 0 { next[1 - by].wrapping_add(u32::from(unseen)) } else { 0 };
        let again = flags & SYN != 0 && script[..at].ends_with(letter);
        let sequence = if again { next[by].wrapping_sub(1) } else { next[by] };
        let control = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        next[by] = sequence.wrapping_add(payload + control);
        let segment = tcp(client, server).at(begin + at as u64 * 10_000_000);
        let segment = if by == 0 { segment } else { segment.back() };
        segment.flagged(flags).numbered(sequence, acknowledged).carrying(payload)
    });
    segments.collect()
}

/// The letters of each row of each flow, by the client's port.
fn letters(mut datagrams: Vec<Datagram>) -> BTreeMap<u64, Vec<Cell>> {
    datagrams.sort_by_key(|datagram| datagram.time);
    let table = flow_rows(&[datagrams], &FlowSpec::default(), Manner::default());
    let mut letters: BTreeMap<u64, Vec<Cell>> = BTreeMap::new();
    for (port, state) in table.column("src_port").iter().zip(table.column("conn_state")) {
        letters.entry(port.number()).or_default().push(state);
    }
    letters
}

#[test]
fn every_case_has_zeeks_letters_whichever_address_is_smaller() {
    for (client, server) in [("10.0.0.1", "10.0.0.2"), ("10.0.0.2", "10.0.0.1"), ("[fd00::2]", "[fd00::1]")] {
        let mut datagrams = Vec::new();
        for (port, (script, ..)) in (50_000..).zip(CASES) {
            datagrams.extend(play(script, &format!("{client}:{port}"), &format!("{server}:80"), 0));
        }
        let found = letters(datagrams);
        let mut wrong = Vec::new();
        for (port, (script, expected, rule)) in (50_000..).zip(CASES) {
            if found.get(&port) != Some(&vec![Cell::text(*expected)]) {
                wrong.push(format!("{script}: expected {expected} ({rule}), found {:?}", found.get(&port)));
            }
        }
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }
}

#[test]
fn the_cases_show_every_letter() {
    let mut shown: Vec<&str> = CASES.iter().map(|case| case.1).collect();
    shown.sort_unstable();
    shown.dedup();
    let all = ["OTH", "REJ", "RSTO", "RSTOS0", "RSTR", "RSTRH", "S0", "S1", "S2", "S3", "SF", "SH", "SHR"];
    assert_eq!(shown, all);
}

#[test]
fn each_row_has_the_state_that_its_window_ended_with() {
    let mut datagrams = play("SShADdFafA", "10.0.0.1:50000", "10.0.0.2:80", 0);
    for (datagram, second) in datagrams.iter_mut().zip([0, 1, 12, 13, 14, 15, 31, 32, 43, 44]) {
        *datagram = datagram.at_s(second);
    }
    assert_eq!(letters(datagrams)[&50_000], ["S0", "S1", "S2", "SF"].map(Cell::text));
}

#[test]
fn a_new_syn_after_the_close_is_another_connection() {
    let mut datagrams = play("ShAFfA", "10.0.0.1:50000", "10.0.0.2:80", 0);
    datagrams.extend(play("S", "10.0.0.1:50000", "10.0.0.2:80", 1_000_000_000));
    let mut found = letters(datagrams)[&50_000].clone();
    found.sort();
    assert_eq!(found, ["S0", "SF"].map(Cell::text));
}

#[test]
fn only_tcp_has_a_state() {
    let query = support::datagram::udp("10.0.0.1:50000", "10.0.0.2:53");
    assert_eq!(letters(vec![query, query.back().at_ms(5)])[&50_000], [Cell::Null]);
}
