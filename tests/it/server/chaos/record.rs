//! What handlers wrote down, compared with what clients were told.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

use super::clients::{End, Told};

/// What a handler wrote down.
#[derive(Clone, Debug)]
struct Note {
    what: String,
    worker: i32,
    request: u64,
}

/// What the test did to the server that explains the end of a connection.
#[derive(Debug, Default)]
pub(super) struct Deeds {
    /// The processes that were killed.
    pub(super) killed: HashSet<i32>,
    /// The clients whose connections the server says that it has lost for want of a descriptor.
    pub(super) lost_in_need: HashSet<Ipv4Addr>,
    /// Whether the main process was out of descriptors at some time.
    pub(super) was_in_need: bool,
    /// Whether workers accept for themselves, so that nobody else knows what one has taken.
    pub(super) workers_accept: bool,
    /// Whether the main process was, and everything with it.
    pub(super) main_is_killed: bool,
}

/// How many connections ended in which way.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) connections: usize,
    pub(super) answers: u64,
    pub(super) closed: usize,
    pub(super) abandoned: usize,
    /// Lost with the worker that had it in hand.
    pub(super) lost: usize,
    /// Lost with a worker that had received it, and whose handler had not begun.
    ///
    /// The front end gives its own copies of these up when it is out of descriptors, and has none
    /// where workers accept for themselves.
    pub(super) given_up: usize,
    /// Parked by a worker that died when the main process had no descriptor left to take it with.
    ///
    /// This is a known gap, and each of them is in the log.
    pub(super) lost_in_need: usize,
}

/// Compares both sides, and returns what is wrong.
pub(super) fn compare(record: &str, clients: &[Told], deeds: &Deeds) -> (Sums, Vec<String>) {
    let mut notes: HashMap<Ipv4Addr, Vec<Note>> = HashMap::new();
    for line in record.lines() {
        let (client, note) = read(line);
        notes.entry(client).or_default().push(note);
    }
    let mut sums = Sums::default();
    let mut faults = Vec::new();
    for told in clients {
        let notes = notes.remove(&told.address).unwrap_or_default();
        sums.connections += 1;
        sums.answers += told.answered;
        let fault = judge(told, &notes, deeds, &mut sums);
        if let Err(fault) = fault.and_then(|()| judge_handlers(&notes, deeds)) {
            faults.push(format!("{fault}: {told:?} {notes:?}"));
        }
    }
    let strangers = notes.keys().map(|it| format!("nobody came from {it}"));
    faults.extend(strangers);
    (sums, faults)
}

fn read(line: &str) -> (Ipv4Addr, Note) {
    let words: Vec<&str> = line.split(' ').collect();
    let [what, worker, client, request] = words[..] else {
        panic!("{line} was not written at once");
    };
    let note = Note {
        what: what.to_owned(),
        worker: worker.parse().expect("it is a pid"),
        request: request.parse().expect("it is a number"),
    };
    (client.parse().expect("it is an address"), note)
}

/// Checks that a client was told what the handlers of its connection did, and its end.
fn judge(told: &Told, notes: &[Note], deeds: &Deeds, sums: &mut Sums) -> Result<(), &'static str> {
    let numbers = |what: &str| {
        let notes = notes.iter().filter(move |note| note.what == what);
        notes.map(|note| note.request).collect::<Vec<u64>>()
    };
    let (got, said) = (numbers("got"), numbers("said"));
    let in_order = |numbers: &[u64]| numbers.iter().copied().eq(0..numbers.len() as u64);
    if !in_order(&got) || !in_order(&said) {
        return Err("a request was read or answered twice, or left out");
    }
    let (got, said) = (got.len() as u64, said.len() as u64);
    if got > told.sent || told.answered > said {
        return Err("there is more than was asked or said");
    }
    match told.end {
        End::Closed => {
            sums.closed += 1;
            let is_complete = [got, said, told.answered].iter().all(|it| *it == told.sent);
            is_complete.then_some(()).ok_or("the counts differ")
        }
        End::Abandoned => {
            sums.abandoned += 1;
            Ok(())
        }
        End::Lost => judge_loss(&told.address, notes, deeds, sums),
        End::Refused if deeds.main_is_killed => Ok(()),
        End::Refused => Err("the client was refused"),
        End::Silent => Err("the client waits in vain"),
        End::Wrong => Err("the answer is another's"),
    }
}

/// Checks that the worker was killed that had a connection in hand when it was lost.
fn judge_loss(
    address: &Ipv4Addr,
    notes: &[Note],
    deeds: &Deeds,
    sums: &mut Sums,
) -> Result<(), &'static str> {
    let last = notes.last();
    let in_hand = last.filter(|it| ["started", "got", "said", "parks"].contains(&&*it.what));
    let was_killed = in_hand.is_some_and(|it| deeds.killed.contains(&it.worker));
    if was_killed || deeds.main_is_killed {
        sums.lost += 1;
        return Ok(());
    }
    if deeds.lost_in_need.contains(address) {
        sums.lost_in_need += 1;
        return Ok(());
    }
    let is_between = last.is_none_or(|it| it.what == "parked");
    let may_have_had_it = deeds.workers_accept && !deeds.killed.is_empty();
    if is_between && (deeds.was_in_need || may_have_had_it) {
        sums.given_up += 1;
        return Ok(());
    }
    Err("it was lost, and nobody had it who was killed")
}

/// Checks that no two handlers had a connection at once, and that each came to an end.
fn judge_handlers(notes: &[Note], deeds: &Deeds) -> Result<(), &'static str> {
    let mut holder: Option<&Note> = None;
    for note in notes {
        let before = holder.filter(|it| it.what != "parks");
        let before = before.filter(|it| !deeds.killed.contains(&it.worker));
        match note.what.as_str() {
            "started" if before.is_some() => return Err("two have it at once"),
            "parked" if holder.is_some_and(|it| it.worker != note.worker) => {}
            "parked" if holder.is_some_and(|it| it.what != "parks") => {}
            "parked" | "ended" | "failed" => holder = None,
            _ => holder = Some(note),
        }
    }
    match holder {
        Some(note) if !deeds.killed.contains(&note.worker) && !deeds.main_is_killed => {
            Err("a handler has it still")
        }
        _ => Ok(()),
    }
}
