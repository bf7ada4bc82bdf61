//! The state of a TCP connection in Zeek's letters, by Zeek's own rules.
//!
//! Each end has a state that its own segments move (Zeek's `TCPSessionAdapter::UpdateStateMachine`); the letters
//! are read from the pair of states (`conn_state` in `base/protocols/conn/main.zeek`). The one thing
//! taken from elsewhere is who the originator is.

use crate::support::datagram::{ACK, FIN, RST, SYN};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Inactive,
    SynSent,
    SynAckSent,
    Partial,
    Established,
    Closed,
    Reset,
}

#[derive(Clone, Copy, Default)]
struct Endpoint {
    state: State,
    before: State,
    payload: u64,
    /// The number of its SYN, as the peer's acknowledgements say before it is seen.
    begins: Option<u32>,
}

impl Endpoint {
    fn enter(&mut self, state: State) {
        if state != self.state {
            self.before = self.state;
            self.state = state;
        }
    }

    fn silent(&self) -> bool {
        matches!(self.state, State::Inactive | State::Partial)
    }
}

/// A segment as the rules see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) by_originator: bool,
    pub(crate) flags: u8,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) payload: u32,
}

/// A connection so far.
#[derive(Clone, Default)]
pub(crate) struct Connection {
    originator: Endpoint,
    responder: Endpoint,
    /// What the originator did first, as far as `RSTOS0` asks: SYN, and then nothing but SYN and data until RST.
    history: Vec<char>,
}

impl Connection {
    pub(crate) fn see(&mut self, segment: Seen) {
        let Seen { by_originator, flags, acknowledgement, payload, .. } = segment;
        let has = |flag: u8| flags & flag != 0;
        let (mut own, mut peer) = match by_originator {
            true => (self.originator, self.responder),
            false => (self.responder, self.originator),
        };
        self.note(segment);
        if has(ACK) && peer.state == State::Inactive {
            peer.begins = Some(acknowledgement.wrapping_sub(1));
        }
        own.payload += u64::from(payload);
        match own.state {
            State::Inactive => inactive(&mut own, &mut peer, segment),
            State::SynSent | State::SynAckSent => {
                if has(FIN) {
                    own.enter(State::Closed);
                }
                if has(RST) {
                    own.enter(State::Reset);
                }
            }
            State::Established | State::Partial => {
                let again = own.state == State::Partial && peer.state == State::Inactive;
                if has(SYN) && !has(ACK) && again {
                    own.enter(State::SynSent);
                }
                if has(FIN) && !has(RST) {
                    own.enter(State::Closed);
                    if peer.state == State::Reset && peer.before == State::Closed {
                        peer.enter(State::Closed);
                    }
                }
                if has(RST) {
                    own.enter(State::Reset);
                }
            }
            State::Closed => {
                if has(RST) && peer.state != State::Closed {
                    own.enter(State::Reset);
                }
            }
            State::Reset => {}
        }
        match by_originator {
            true => (self.originator, self.responder) = (own, peer),
            false => (self.responder, self.originator) = (own, peer),
        }
    }

    /// Zeek's history letters of the originator: S, H, F, R; I and Q for several of them; D, A for none.
    fn note(&mut self, segment: Seen) {
        let has = |flag: u8| segment.flags & flag != 0;
        if !segment.by_originator {
            // The responder's letters are small ones, which no rule asks for, except as what came first.
            self.history.push('.');
            return;
        }
        let letter = match (has(SYN), has(FIN), has(RST)) {
            (_, true, true) => 'I',
            (true, true, _) | (true, _, true) => 'Q',
            (true, ..) if has(ACK) => 'H',
            (true, ..) => 'S',
            (_, true, _) => 'F',
            (.., true) => 'R',
            _ if segment.payload > 0 => 'D',
            _ if has(ACK) => 'A',
            _ => return,
        };
        self.history.push(letter);
    }

    fn reset_after_a_mere_syn(&self) -> bool {
        let until = self.history.iter().position(|letter| *letter == 'R');
        self.history.first() == Some(&'S')
            && until.is_some_and(|until| !self.history[1..until].iter().any(|c| "HAFGIQ".contains(*c)))
    }

    /// Whether the originator asked for a connection, and was told no, before anybody sent anything.
    pub(crate) fn was_refused(&self) -> bool {
        let (o, r) = (&self.originator, &self.responder);
        (o.state, r.state, o.payload, r.payload) == (State::SynSent, State::Reset, 0, 0)
    }

    pub(crate) fn letters(&self) -> &'static str {
        let (o, r) = (&self.originator, &self.responder);
        match (o.state, r.state) {
            (State::SynSent | State::SynAckSent, State::Reset) => "REJ",
            (State::Reset, State::Reset) if o.payload == 0 && r.payload == 0 => "REJ",
            (_, State::Reset) if o.silent() => "RSTRH",
            (_, State::Reset) => "RSTR",
            (State::Reset, _) if r.silent() && self.reset_after_a_mere_syn() => "RSTOS0",
            (State::Reset, _) if r.silent() => "OTH",
            (State::Reset, _) => "RSTO",
            (State::Closed, State::Closed) => "SF",
            (State::Closed, _) if r.silent() => "SH",
            (State::Closed, _) => "S2",
            (_, State::Closed) if o.silent() => "SHR",
            (_, State::Closed) => "S3",
            (State::SynSent, State::Inactive) => "S0",
            (State::Established, State::Established) => "S1",
            _ => "OTH",
        }
    }
}

/// What the first segment of an end does.
fn inactive(own: &mut Endpoint, peer: &mut Endpoint, segment: Seen) {
    let has = |flag: u8| segment.flags & flag != 0;
    if has(SYN) && segment.by_originator {
        // A SYN that was captured behind the SYN-ACK that answers it establishes both ends. (Zeek means to compare
        // the numbers too, but has overwritten one of them by then.)
        let reversed = !has(ACK)
            && peer.state == State::Established
            && peer.before == State::Inactive
            && own.begins == Some(segment.sequence);
        own.enter(match (reversed, has(ACK)) {
            (true, _) => State::Established,
            (_, true) => State::SynAckSent,
            _ => State::SynSent,
        });
    } else if has(SYN) {
        if peer.state == State::SynSent {
            peer.enter(State::Established);
        }
        own.enter(State::Established);
    }
    if has(FIN) {
        own.enter(State::Closed);
    }
    if has(RST) {
        own.enter(State::Reset);
    }
    if own.state == State::Inactive {
        if !segment.by_originator && segment.payload == 0 && peer.state == State::SynSent {
            // Some stacks acknowledge a SYN before they answer it.
        } else if has(ACK) && peer.state == State::Established {
            own.enter(State::Established);
        } else {
            own.enter(State::Partial);
        }
    }
}
