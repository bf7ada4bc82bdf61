//! Captures to flows: netweir and the flow exporters.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::UdpSocket;
use std::path::Path;

use crate::cost::{spread, spreads};
use crate::generate::{self, Size, Workload};
use crate::programs::{Program, programs};
use crate::{AnyError, Options, lab};

/// Event time of the made-up captures.
const SECONDS: u64 = 100;

/// What a letter stands for; `None` for the capture of the lab.
fn workload(letter: char, options: &Options) -> Result<(Option<Workload>, u64, &'static str), AnyError> {
    Ok(match letter {
        'A' => {
            let flows = options.scaled(1e6);
            (Some(Workload::Scattered { flows }), options.scaled(10e6), "80 B, 1 M flows, random order")
        }
        'B' => (Some(Workload::Mixed), options.scaled(3e6), "mixed sizes, 23 packets a flow"),
        'C' => (Some(Workload::Heavy { flows: 8 }), options.scaled(1e6), "8 heavy flows"),
        'D' => (Some(Workload::Scan), options.scaled(3e6), "a SYN scan"),
        'E' => (Some(Workload::Office { hosts: 1000 }), options.scaled(3e6), "an office of 1,000 hosts"),
        'L' => (None, options.scaled(10.0), "the lab's capture under ten addresses each"),
        other => return Err(format!("there is no workload {other}: A, B, C, D, E, L").into()),
    })
}

/// Runs every program on every workload and prints a table of each, and one of all.
pub(crate) fn measure(options: &Options, folder: &Path) -> Result<(), AnyError> {
    let takes_records = UdpSocket::bind("127.0.0.1:0")?;
    let mut measured = Vec::new();
    for letter in options.workloads.chars() {
        let (workload, amount, words) = workload(letter, options)?;
        let capture = folder.join(format!("{letter}.pcap"));
        let mut to = BufWriter::with_capacity(1 << 20, File::create(&capture)?);
        let packets = match workload {
            Some(workload) => {
                generate::write(workload, Size { packets: amount, seconds: SECONDS, seed: 1 }, &mut to)?;
                amount
            }
            None => lab::write(amount, &mut to)?,
        };
        to.into_inner()?.flush()?;

        let mut programs = programs(&capture.display().to_string(), folder, &takes_records)?;
        for round in 0..options.runs {
            for program in programs.iter_mut().filter(|program| program.failed.is_none()) {
                if round == 0 || !program.slow {
                    program.measure(packets, folder);
                }
            }
        }
        let bytes = std::fs::metadata(&capture)?.len();
        println!(
            "\n{letter}: {words}, {:.1} M packets, {:.2} GB\n",
            packets as f64 / 1e6,
            bytes as f64 / 1e9
        );
        print_workload(packets, &programs);
        std::fs::remove_file(capture)?;
        measured.push((letter, words, packets, programs));
    }
    print_all(&measured);
    Ok(())
}

fn print_workload(packets: u64, programs: &[Program]) {
    let of_softflowd = programs.iter().find(|program| program.name == "softflowd");
    let of_softflowd = of_softflowd.and_then(|program| spread(&program.costs, |cost| cost.cpu));
    println!(
        "| program | yields | CPU s, median (range) | wall s | M packets / CPU s | peak MB | CPU / softflowd's |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|");
    for Program { name, yields, costs, failed, .. } in programs {
        let Some([cpu, wall, memory]) = spreads(costs) else {
            println!("| {name} | {yields} | not measured: {} |", failed.as_deref().unwrap_or("no round"));
            continue;
        };
        println!(
            "| {name} | {yields} | {cpu} | {:.2} | {:.3} | {:.0} | {} |{}",
            wall.median,
            packets as f64 / cpu.median / 1e6,
            memory.most / 1e6,
            of_softflowd.map_or_else(String::new, |peer| format!("{:.2}", cpu.median / peer.median)),
            failed.as_ref().map_or_else(String::new, |failed| format!(" then: {failed}")),
        );
    }
}

/// M packets in a second of processor time, by program and workload.
fn print_all(measured: &[(char, &str, u64, Vec<Program>)]) {
    println!("\nM packets in a second of processor time\n");
    print!("| program | yields |");
    measured.iter().for_each(|(_, words, ..)| print!(" {words} |"));
    print!("\n|---|---|");
    measured.iter().for_each(|_| print!("---:|"));
    println!();
    for (at, Program { name, yields, .. }) in measured
        .iter()
        .flat_map(|first| first.3.iter().enumerate())
        .take(measured.first().map_or(0, |first| first.3.len()))
    {
        print!("| {name} | {yields} |");
        for (_, _, packets, programs) in measured {
            let cpu = spread(&programs[at].costs, |cost| cost.cpu);
            print!(
                " {} |",
                cpu.map_or("-".to_owned(), |cpu| format!("{:.3}", *packets as f64 / cpu.median / 1e6))
            );
        }
        println!();
    }
}
