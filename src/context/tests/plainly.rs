//! Every context column from all rows, in the plainest way.

use super::*;

fn code(row: &Row) -> u32 {
    port(row.protocol.into(), row.port.into(), row.icmp_type.map(u64::from))
}

/// What rows of one identity have in common.
fn parts(row: &Row, (src, dst, part): (bool, bool, Part)) -> (Option<u16>, Option<u16>, u32) {
    let part = match part {
        Part::Nothing => 0,
        Part::Service => service(code(row)),
        Part::Port => code(row),
    };
    (src.then_some(row.src), dst.then_some(row.dst), part)
}

/// A column that looks beyond the horizon, from all rows.
pub(super) fn recalled(rows: &[Row], row: &Row, column: Recalled) -> u64 {
    let identity = &IDENTITIES[column.of()];
    let own = |row: &Row| parts(row, (identity.src, identity.dst, identity.part));
    let all: Vec<&Row> = rows.iter().filter(|other| own(other) == own(row)).collect();
    let first = all.iter().map(|other| other.window).min().unwrap();
    match column {
        Recalled::Age(_) => (row.window - first).min(60),
        Recalled::First(_) => first * WINDOW,
        // Nothing was known before.
        Recalled::New => 0,
        Recalled::Lead(_) => {
            let now = all.iter().filter(|other| other.window == row.window);
            u64::from(now.map(|other| other.flow).min() == Some(row.flow))
        }
        Recalled::Regularity(_, measure) => {
            let (last, least) = if measure == Measure::Cv16 { (16, 8) } else { (8, 4) };
            let of_flow = rows.iter().filter(|other| other.flow == row.flow && other.window <= row.window);
            let of_flow: Vec<&Row> = of_flow.collect();
            let silent = of_flow.windows(2).any(|pair| pair[1].window - pair[0].window > 60);
            if !of_flow[0].first || silent {
                return NULL;
            }
            let mut starts: Vec<(u64, u64)> =
                all.iter().filter(|other| other.first).map(|other| (other.start, other.flow)).collect();
            starts.sort_unstable();
            let at = starts.binary_search(&(of_flow[0].start, row.flow)).unwrap();
            let gaps: Vec<u128> =
                (1..=at).rev().take(last).map(|at| u128::from(starts[at].0 - starts[at - 1].0)).collect();
            let (count, sum) = (gaps.len() as u128, gaps.iter().sum::<u128>());
            if gaps.len() < least || sum <= count * 1_000_000 {
                return NULL;
            }
            let spread = count * gaps.iter().map(|gap| gap * gap).sum::<u128>() - sum * sum;
            let value = match measure {
                Measure::Gap8 => sum as f64 / count as f64 / 1e9,
                _ => (spread as f64).sqrt() / sum as f64,
            };
            u64::from((value as f32).to_bits())
        }
    }
}

/// Every context column of every row by id, from all rows, in the plainest way.
pub(super) fn expected(rows: &[Row]) -> BTreeMap<u64, Vec<u64>> {
    let definitions = definitions();
    let octave = |count: u64| count.checked_ilog2();
    let same = |a: &Row, b: &Row, entity: &Entity| {
        (!entity.src || a.src == b.src)
            && (!entity.dst || a.dst == b.dst)
            && (!entity.service || service(code(a)) == service(code(b)))
            && (!entity.shape || a.state == b.state && a.counts.map(octave) == b.counts.map(octave))
    };
    let parsed = |host| Address::parse(Some(&address(host)));
    let value = |row: &Row, definition: &Definition| {
        let definition = match &definition.0 {
            Column::Counted(counting) => counting,
            Column::Recalled(column) => return recalled(rows, row, *column),
        };
        let entity = &ENTITIES[definition.entity];
        let horizon = HORIZONS[definition.horizon];
        let within = |other: &&Row| other.window <= row.window && other.window + horizon > row.window;
        let others: Vec<&Row> = rows.iter().filter(within).filter(|other| same(row, other, entity)).collect();
        let sum = |of: &dyn Fn(&Row) -> u64| others.iter().fold(0, |sum: u64, r| sum.wrapping_add(of(r)));
        let distinct = |of: &dyn Fn(&Row) -> u64| {
            let mut hashes: Vec<u64> = others.iter().map(|row| of(row)).collect();
            let mut set = Distinct::default();
            let elements = match summarise(&mut hashes) {
                true => Elements::Registers(&hashes),
                false => Elements::Each(&hashes),
            };
            set.add(0, elements, 1);
            u64::from(set.counts(0, &HORIZONS)[0])
        };
        match definition.statistic {
            Statistic::Flows => sum(&|row| row.first.into()),
            Statistic::Rows => others.len() as u64,
            Statistic::Failed => sum(&|row| {
                let tcp = matches!(row.state, Some("S0" | "REJ" | "RSTOS0"));
                let asks = match row.protocol {
                    1 => row.icmp_type == Some(8),
                    17 => true,
                    58 => row.icmp_type == Some(135),
                    _ => false,
                };
                u64::from(tcp || asks && row.counts[1] == 0 && !address(row.dst).starts_with("224."))
            }),
            Statistic::Packets => sum(&|row| row.counts[0]),
            Statistic::FwdBytes => sum(&|row| row.counts[2]),
            Statistic::BwdBytes => sum(&|row| row.counts[3]),
            Statistic::Peers if entity.src => distinct(&|row| parsed(row.dst).element(0)),
            Statistic::Peers => distinct(&|row| parsed(row.src).element(0)),
            Statistic::Ports => distinct(&|row| mix(code(row).into())),
            Statistic::Services => distinct(&|row| mix(service(code(row)).into())),
            Statistic::Ends => distinct(&|row| parsed(row.dst).element(code(row))),
            Statistic::NewPeers | Statistic::NewPorts | Statistic::NewServices | Statistic::NewEnds => {
                let element = |row: &Row| parts(row, definitions::element(entity, definition.statistic));
                let before: BTreeSet<_> = rows
                    .iter()
                    .filter(|other| same(row, other, entity) && other.window + horizon <= row.window)
                    .map(element)
                    .collect();
                let now: BTreeSet<_> = others.iter().map(|other| element(other)).collect();
                now.difference(&before).count() as u64
            }
            Statistic::Active => others.iter().map(|row| row.window).collect::<BTreeSet<u64>>().len() as u64,
        }
    };
    rows.iter().map(|row| (row.id, definitions.iter().map(|d| value(row, d)).collect())).collect()
}
