//! What the command line asks for.

use crate::means::Means;

/// What a message is at least: its number.
const SIZES: [usize; 5] = [8, 64, 4096, 65_536, 1 << 20];

/// How many produce, and how many consume.
const PARTIES: [u64; 2] = [1, 4];

/// How often each case is run.
const ROUNDS: usize = 7;

/// What is to be measured.
pub(crate) struct Wishes {
    pub(crate) sizes: Vec<usize>,
    pub(crate) parties: Vec<u64>,
    pub(crate) names: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) with_round_trip: bool,
}

impl Wishes {
    /// Reads the arguments; what is not among them is not limited.
    pub(crate) fn read(arguments: impl IntoIterator<Item = String>) -> Self {
        let mut wishes = Self {
            sizes: Vec::new(),
            parties: Vec::new(),
            names: Vec::new(),
            rounds: ROUNDS,
            with_round_trip: false,
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // Cargo says this.
                "--bench" => {}
                "--rounds" => {
                    let rounds = arguments.next().and_then(|rounds| rounds.parse().ok());
                    wishes.rounds = rounds.expect("--rounds is followed by a number");
                }
                "round-trip" => wishes.with_round_trip = true,
                "1x1" => wishes.parties.push(1),
                "4x4" => wishes.parties.push(4),
                name => match name.parse() {
                    Ok(size) => wishes.sizes.push(size),
                    Err(_) => wishes.names.push(name_of(name)),
                },
            }
        }
        wishes.fill_in();
        wishes
    }

    fn fill_in(&mut self) {
        let is_all = self.sizes.is_empty() && self.parties.is_empty();
        if is_all && self.with_round_trip {
            return;
        }
        self.with_round_trip |= is_all;
        if self.sizes.is_empty() {
            self.sizes = SIZES.to_vec();
        }
        if self.parties.is_empty() {
            self.parties = PARTIES.to_vec();
        }
    }

    /// Those of the contestants that are wished for.
    pub(crate) fn among(&self, contestants: Vec<Means>) -> Vec<Means> {
        let is_wished = |means: &Means| {
            self.names.is_empty() || self.names.iter().any(|name| name == means.name())
        };
        contestants.into_iter().filter(is_wished).collect()
    }
}

/// A name of a contestant; it is a mistake if there is none of that name.
fn name_of(name: &str) -> String {
    let known = Means::ALL.iter().any(|means| means.name() == name);
    assert!(
        known,
        "there is no contestant {name}: {:?}",
        Means::ALL
            .iter()
            .map(|means| means.name())
            .collect::<Vec<_>>()
    );
    name.to_owned()
}
