//! Clients of every kind, each of which knows what it asked and what it was told.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use fastrand::Rng;

use super::super::client::{Client, Heard};
use super::pass;

/// How often a client waits for as long as the others do before it gives up.
const ATTEMPTS: usize = 5;

/// How a connection ended, as its client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By the client, who had all its answers, and then by the server.
    Closed,
    /// By the client, who did not wait for answers.
    Abandoned,
    /// By the server, before the client had all its answers.
    Lost,
    /// Before it was one.
    Refused,
    /// Never: nothing came.
    Silent,
    /// With an answer that is not the one to the question.
    Wrong,
}

/// What a client knows of its connection.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) address: Ipv4Addr,
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) end: End,
}

/// Where clients go, and the number of the next.
#[derive(Debug)]
pub(super) struct Door {
    address: String,
    next: AtomicU32,
    is_closed: AtomicBool,
}

/// A client in the middle of its visit.
struct Visit {
    client: Client,
    told: Told,
}

impl Door {
    pub(super) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            next: AtomicU32::new(0),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Has no more clients come, and those who stay leave.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }
}

/// Lets one client after the other come until told to stop, and returns what they know.
pub(super) fn come_and_go(door: &Door, mut random: Rng) -> Vec<Told> {
    let mut all = Vec::new();
    while !door.is_closed() {
        match Visit::new(door) {
            Ok(mut visit) => {
                visit.told.end = visit.make(&mut random).err().unwrap_or(End::Closed);
                all.push(visit.told);
            }
            Err(refused) => {
                all.push(refused);
                break;
            }
        }
    }
    all
}

/// Has clients ask something now and then, all the time, and returns what they know.
///
/// Where handlers block, whoever comes asks at once: those who are silent would keep all workers from
/// the one who is not.
pub(super) fn stay(door: &Door, mut random: Rng, asks_at_once: bool) -> Vec<Told> {
    let mut over = Vec::new();
    let mut staying: Vec<Visit> = Vec::new();
    while !door.is_closed() {
        if staying.len() < STAYING {
            match Visit::new(door) {
                Ok(visit) => staying.push(visit),
                Err(refused) => {
                    over.push(refused);
                    break;
                }
            }
        }
        let last = staying.len() - 1;
        let one = if asks_at_once && staying[last].told.sent == 0 {
            last
        } else {
            random.usize(..=last)
        };
        if let Err(end) = staying[one].ask(0) {
            let mut visit = staying.swap_remove(one);
            visit.told.end = end;
            over.push(visit.told);
        }
        pass(random_time(&mut random, 20));
    }
    for mut visit in staying {
        visit.told.end = visit.leave().err().unwrap_or(End::Closed);
        over.push(visit.told);
    }
    over
}

/// How many clients stay at once.
const STAYING: usize = 30;

impl Visit {
    /// Connects; fails with what is known of a client who is refused.
    fn new(door: &Door) -> Result<Self, Told> {
        // Each has an address of its own, by which the handlers know it.
        let number = door.next.fetch_add(1, Ordering::Relaxed);
        let [_, high, middle, low] = number.to_be_bytes();
        let address = [127, high + 1, middle, low];
        let told = Told {
            address: address.into(),
            sent: 0,
            answered: 0,
            end: End::Refused,
        };
        match Client::try_connect_from(address, &door.address) {
            Ok(client) => Ok(Self { client, told }),
            Err(_) => Err(told),
        }
    }

    /// Does what some kind of client does; fails with the end of the connection if it is not [`End::Closed`].
    fn make(&mut self, random: &mut Rng) -> Result<(), End> {
        match random.u32(..10) {
            0..3 => self.ask(0)?,
            3..5 => {
                for _ in 0..random.u32(2..6) {
                    self.ask(random.u64(..3))?;
                    pass(random_time(random, 30));
                }
            }
            5 => {
                self.client.begin(&self.told.sent.to_string());
                pass(random_time(random, 100));
                self.told.sent += 1;
                self.client.say(" 1");
                self.hear()?;
            }
            6 => {
                pass(random_time(random, 200));
                self.ask(1)?;
            }
            7 => self.ask(random.u64(50..300))?,
            8 => return self.ask_at_once(random),
            _ => return self.break_off(random),
        }
        self.leave()
    }

    fn say(&mut self, milliseconds: u64) {
        self.client
            .say(&format!("{} {milliseconds}", self.told.sent));
        self.told.sent += 1;
    }

    fn ask(&mut self, milliseconds: u64) -> Result<(), End> {
        self.say(milliseconds);
        self.hear()
    }

    /// Sends several requests and the end, and then listens.
    fn ask_at_once(&mut self, random: &mut Rng) -> Result<(), End> {
        let count = random.u32(1..5);
        (0..count).for_each(|_| self.say(0));
        self.client.hang_up();
        for _ in 0..count {
            self.hear()?;
        }
        self.leave()
    }

    /// Hangs up before there can be an answer.
    fn break_off(&mut self, random: &mut Rng) -> Result<(), End> {
        match random.u32(..4) {
            0 => {}
            1 => self.client.begin("0"),
            2 => self.say(20),
            _ => {
                self.ask(0)?;
                self.say(0);
            }
        }
        pass(random_time(random, 30));
        Err(End::Abandoned)
    }

    /// Hangs up, and waits for the end.
    fn leave(&mut self) -> Result<(), End> {
        self.client.hang_up();
        match self.next()? {
            Heard::End => Ok(()),
            Heard::Reset => Err(End::Lost),
            Heard::Line(_) => Err(End::Wrong),
        }
    }

    fn hear(&mut self) -> Result<(), End> {
        let Told {
            address, answered, ..
        } = self.told;
        match self.next()? {
            Heard::Line(line) if line == format!("{address} {answered} {answered}") => {
                self.told.answered += 1;
                Ok(())
            }
            Heard::Line(_) => Err(End::Wrong),
            Heard::End | Heard::Reset => Err(End::Lost),
        }
    }

    fn next(&mut self) -> Result<Heard, End> {
        let heard = (0..ATTEMPTS).find_map(|_| self.client.try_hear());
        heard.ok_or(End::Silent)
    }
}

fn random_time(random: &mut Rng, milliseconds_max: u64) -> Duration {
    Duration::from_millis(random.u64(..=milliseconds_max))
}
