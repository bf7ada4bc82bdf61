//! A campus: laptops and phones that come and go, names of a cloud at ever new addresses, peers, and things on one link.
//!
//! The capture is taken before the address translation, so those on the link stand with their private addresses in what goes
//! out by IPv4, and with public ones of their network in IPv6.

mod attacks;
mod cast;
mod house;
mod peers;
mod people;
mod taken;

use crate::capture::Network;
use crate::wire::{Host, MICRO, MILLI, Pair, Rng, SECOND, Wire};
use cast::{Cast, Person};

/// A Monday at ten, at the beginning of a window.
const START: u64 = 1_767_607_200 * SECOND;
/// What is scored begins here.
const HALF: u64 = START + 1_200 * SECOND;
const END: u64 = HALF + 1_200 * SECOND;

/// By how much more everybody does in what is scored; the rest of its growth is that more are there.
const GROWTH: f64 = 1.2;

pub(crate) fn network(seed: u64) -> Network {
    let mut rng = Rng::new(seed ^ 0xca_9005);
    let cast = Cast::draw(&mut rng);
    let mut life = Life::new(&mut rng, &cast);
    for person in &cast.people {
        life.person(person);
        life.company(person);
    }
    life.share_files();
    life.house();
    let mut wire = attacks::all(life.wire, &cast);
    let labels = wire.take_labels();
    let mut train = wire.finish(START, END);
    let dev = train.split_off(train.partition_point(|frame| frame.time < HALF));
    Network { train, dev, labels }
}

/// What happens among a cast.
struct Life<'a> {
    wire: Wire,
    cast: &'a Cast,
}

impl<'a> Life<'a> {
    fn new(rng: &mut Rng, cast: &'a Cast) -> Life<'a> {
        Life { wire: Wire::new(rng.fork(), &[cast.uplink, cast.router]), cast }
    }

    /// Nanoseconds of about `seconds`, with a heavy tail; shorter where more is done.
    fn pause(&mut self, time: u64, seconds: f64, sigma: f64) -> u64 {
        (self.wire.rng.lognormal(seconds / load(time), sigma) * SECOND as f64) as u64
    }

    /// Nanoseconds until what happens once in `seconds` happens next.
    fn wait(&mut self, time: u64, seconds: f64) -> u64 {
        (self.wire.rng.exponential(seconds / load(time)) * SECOND as f64) as u64
    }

    /// Looks a name up at the resolver, which asks those outside for what it does not know; returns when it is known.
    fn look_up(&mut self, time: u64, client: Host, both: bool) -> u64 {
        if self.wire.rng.chance(0.25) {
            let forwarder = *self.wire.rng.pick(&self.cast.forwarders);
            let pair = Pair::new(self.cast.resolver, forwarder, [self.wire.port(), 53]).six(true);
            let (up, down) =
                (self.wire.rng.between(40, 75) as usize, self.wire.rng.between(60, 420) as usize);
            self.wire.ask(time + 500 * MICRO, &pair, up, MILLI, down);
        }
        self.wire.look_up(time, client, self.cast.resolver, both)
    }

    /// Whether a person is still there.
    fn within(&self, time: u64, person: &Person) -> bool {
        time < person.leaves
    }
}

fn load(time: u64) -> f64 {
    if time < HALF { 1.0 } else { GROWTH }
}

/// Seconds after the start of what is scored.
fn at(seconds: f64) -> u64 {
    HALF + (seconds * SECOND as f64) as u64
}
