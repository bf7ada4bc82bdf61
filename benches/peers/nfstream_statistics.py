"""All flows of a capture by NFStream, with its statistics and without its look into payload."""

import sys

from nfstream import NFStreamer


def main() -> None:
    streamer = NFStreamer(sys.argv[1], statistical_analysis=True, n_dissections=0, n_meters=1, accounting_mode=1)
    flows = packets = 0
    for flow in streamer:
        flows += 1
        packets += flow.bidirectional_packets
    if packets == 0:
        sys.exit("no packets")
    print(flows, packets)


if __name__ == "__main__":
    main()
