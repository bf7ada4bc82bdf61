#!/usr/bin/env python3
"""Cuts `lab/` from the recorded lab captures: `cut.py LAB_FOLDER OUTPUT_FOLDER`.

File header and records are copied byte for byte; records outside of the wanted minutes are left out.
Needs the `zstd` command and nothing else.
The same input and the same release of zstd give the same files; the checksums of the unpacked captures,
which the script prints too, do not depend on zstd.
"""

import collections
import csv
import hashlib
import ipaddress
import pathlib
import struct
import subprocess
import sys

SECOND = 1_000_000_000
TRAIN_MINUTES = 20  # all of lab1-train, which ends where lab1-dev begins
ATTACK_MINUTES = 12  # the first ones of lab1-dev
LITTLE_ENDIAN_NANOSECONDS = 0xA1B23C4D


def records(path):
    """File header and (time, record with its header) of a packed classic capture."""
    unpacked = subprocess.run(
        ["zstd", "-dcq", "--long=25", path], check=True, stdout=subprocess.PIPE
    ).stdout
    if struct.unpack_from("<I", unpacked)[0] != LITTLE_ENDIAN_NANOSECONDS:
        sys.exit(f"{path}: not a little-endian capture with nanoseconds")
    found, at = [], 24
    while at < len(unpacked):
        seconds, nanoseconds, captured, _ = struct.unpack_from("<IIII", unpacked, at)
        end = at + 16 + captured
        found.append((seconds * SECOND + nanoseconds, unpacked[at:end]))
        at = end
    return unpacked[:24], found


def write(path, header, kept):
    """Packs a capture and says what its unpacked bytes hash to."""
    unpacked = header + b"".join(record for _, record in kept)
    # A window of 32 MiB: readers that take zstd's defaults read it.
    packed = subprocess.run(
        ["zstd", "-19", "--long=25", "-T1", "-cq"], check=True, input=unpacked, stdout=subprocess.PIPE
    ).stdout
    path.write_bytes(packed)
    return len(packed), len(unpacked), hashlib.sha256(packed).hexdigest(), hashlib.sha256(unpacked).hexdigest()


def ends(record):
    """(protocol, source, destination, ports) of a frame; None if it is neither IP nor ARP."""
    frame = record[16:]
    kind = struct.unpack_from(">H", frame, 12)[0]
    body = frame[14:]
    if kind == 0x0806:
        return "arp", body[14:18], body[24:28], ()
    if kind == 0x0800:
        protocol, source, destination = body[9], body[12:16], body[16:20]
        transport = body[(body[0] & 15) * 4 :]
    elif kind == 0x86DD:
        protocol, source, destination = body[6], body[8:24], body[24:40]
        transport = body[40:]
    else:
        return None
    name = {1: "icmp", 58: "icmp", 6: "tcp", 17: "udp"}.get(protocol, str(protocol))
    ports = struct.unpack_from(">HH", transport) if name in ("tcp", "udp") else ()
    return name, source, destination, ports


def labelled(kept, rows):
    """Packets by family, and how many are of none; a packet counts once, for the first row that it fits."""

    def address(text):
        return ipaddress.ip_address(text).packed if text else None

    wanted = [
        (
            int(row["start_ns"]),
            int(row["end_ns"]),
            address(row["src_ip"]),
            address(row["dst_ip"]),
            row["proto"],
            int(row["dst_port"]) if row["dst_port"] else None,
            row["attack"],
        )
        for row in rows
    ]

    def fits(row, time, found):
        start, end, source, destination, protocol, port, _ = row
        if not start <= time <= end or protocol not in ("", found[0]) or port is not None and port not in found[3]:
            return False
        pairs = ((found[1], found[2]), (found[2], found[1]))
        return any(source in (None, a) and destination in (None, b) for a, b in pairs)

    counts = collections.Counter()
    for time, record in kept:
        found = ends(record)
        row = next((row for row in wanted if found and fits(row, time, found)), None)
        counts[row[-1] if row else None] += 1
    return counts


def describe(name, kept, sizes, rows):
    packed, unpacked, packed_hash, unpacked_hash = sizes
    kinds = collections.Counter(struct.unpack_from(">H", record, 28)[0] for _, record in kept)
    packets = kinds[0x0800] + kinds[0x86DD]
    print(f"{name}: {packed} bytes packed, {unpacked} unpacked")
    print(f"  frames {len(kept)}, IP packets {packets}, of them IPv6 {kinds[0x86DD]}")
    print(f"  first {kept[0][0]}, last {kept[-1][0]}, seconds {(kept[-1][0] - kept[0][0]) / SECOND:.1f}")
    print(f"  sha256 packed {packed_hash}\n  sha256 unpacked {unpacked_hash}")
    if rows:
        counts = labelled(kept, rows)
        for family in dict.fromkeys(row["attack"] for row in rows):
            print(f"  {family}: {counts[family]}")
        print(f"  labelled {sum(counts.values()) - counts[None]}, rows {len(rows)}, "
              f"families {len(set(row['attack'] for row in rows))}")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.splitlines()[0])
    lab, out = map(pathlib.Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)

    header, before = records(lab / "lab1-train.pcap.zst")
    _, after = records(lab / "lab1-dev.pcap.zst")
    cut = after[0][0]
    train = [r for r in before if cut - TRAIN_MINUTES * 60 * SECOND <= r[0]]
    attacks = [r for r in after if r[0] < cut + ATTACK_MINUTES * 60 * SECOND]

    describe("train.pcap.zst", train, write(out / "train.pcap.zst", header, train), [])

    with open(lab / "lab1-dev.labels.csv", newline="") as text:
        reader = csv.DictReader(text)
        columns, last = reader.fieldnames, attacks[-1][0]
        rows = [row for row in reader if int(row["start_ns"]) <= last]
    with open(out / "attacks.labels.csv", "w", newline="") as text:
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    describe("attacks.pcap.zst", attacks, write(out / "attacks.pcap.zst", header, attacks), rows)
    digest = hashlib.sha256((out / "attacks.labels.csv").read_bytes()).hexdigest()
    print(f"attacks.labels.csv: {len(rows)} rows\n  sha256 {digest}")


if __name__ == "__main__":
    main()
