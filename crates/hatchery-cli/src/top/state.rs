//! What is shown, and what a key changes: plain code, without a terminal or a socket.

use std::cmp::Ordering;
use std::collections::VecDeque;

use serde_json::{Value, json};

/// How many rates are kept for the sparkline.
const RATES_MAX: usize = 240;

/// A server and its workers at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sample {
    pub(super) phase: String,
    pub(super) addresses: String,
    pub(super) pid: u64,
    pub(super) uptime_ms: u64,
    pub(super) wanted: u32,
    pub(super) ready: u64,
    pub(super) connections: u64,
    pub(super) waiting: u64,
    /// In the front end, for one reason or another.
    pub(super) kept: u64,
    pub(super) accepted: u64,
    pub(super) workers: Vec<Worker>,
    /// As the server said it, for the plain table.
    pub(super) said: Value,
}

/// A worker at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Worker {
    pub(super) worker: u32,
    pub(super) generation: u32,
    pub(super) pid: Option<u64>,
    pub(super) state: String,
    pub(super) connections: u64,
    pub(super) served: u64,
    pub(super) age_ms: u64,
    pub(super) memory_bytes: Option<u64>,
    /// Connections a second, since the sample before.
    pub(super) rate: f64,
}

impl Sample {
    /// Takes a sample out of two answers, if they are that.
    pub(super) fn read(status: &Value, workers: &Value) -> Option<Self> {
        let number = |name: &str| status[name].as_u64();
        let addresses = status["addresses"].as_array()?.iter();
        let addresses: Vec<&str> = addresses.filter_map(Value::as_str).collect();
        let workers_read = workers.as_array()?.iter().map(Worker::read);
        Some(Self {
            phase: status["phase"].as_str()?.to_owned(),
            addresses: addresses.join(", "),
            pid: number("pid")?,
            uptime_ms: number("uptime_ms")?,
            wanted: u32::try_from(number("wanted")?).ok()?,
            ready: number("ready")?,
            connections: number("connections")?,
            waiting: number("waiting")?,
            kept: number("silent").unwrap_or(0) + number("parked").unwrap_or(0),
            accepted: number("accepted")?,
            workers: workers_read.collect::<Option<Vec<_>>>()?,
            said: workers.clone(),
        })
    }

    /// All connections that were ever begun; where workers accept, they know.
    fn begun(&self) -> u64 {
        let served = self.workers.iter().map(|worker| worker.served);
        if self.accepted > 0 {
            self.accepted
        } else {
            served.sum()
        }
    }
}

impl Worker {
    fn read(value: &Value) -> Option<Self> {
        let number = |name: &str| value[name].as_u64();
        Some(Self {
            worker: u32::try_from(number("worker")?).ok()?,
            generation: u32::try_from(number("generation")?).ok()?,
            pid: number("pid"),
            state: value["state"].as_str()?.to_owned(),
            connections: number("connections")?,
            served: number("served")?,
            age_ms: number("age_ms")?,
            memory_bytes: number("memory_bytes"),
            rate: 0.0,
        })
    }
}

/// By what workers are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Column {
    #[default]
    Id,
    Connections,
    Served,
    Rate,
    Age,
    Memory,
}

impl Column {
    const ALL: [Self; 6] = [
        Self::Id,
        Self::Connections,
        Self::Served,
        Self::Rate,
        Self::Age,
        Self::Memory,
    ];

    fn next(self) -> Self {
        let here = Self::ALL.iter().position(|&column| column == self);
        Self::ALL[here.map_or(0, |here| here + 1) % Self::ALL.len()]
    }

    fn compare(self, one: &Worker, two: &Worker) -> Ordering {
        match self {
            Self::Id => one.worker.cmp(&two.worker),
            // What is large is of interest.
            Self::Connections => two.connections.cmp(&one.connections),
            Self::Served => two.served.cmp(&one.served),
            Self::Rate => two.rate.total_cmp(&one.rate),
            Self::Age => two.age_ms.cmp(&one.age_ms),
            Self::Memory => two.memory_bytes.cmp(&one.memory_bytes),
        }
    }
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    Sort,
    Reverse,
    More,
    Fewer,
    Recycle,
    Reload,
    Quit,
}

/// What the server is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Scale(u32),
    Recycle { worker: u32, generation: u32 },
    Reload,
}

impl Wish {
    pub(super) fn request(self) -> Value {
        match self {
            Self::Scale(workers) => json!({ "v": 1, "do": "scale", "workers": workers }),
            Self::Recycle { worker, generation } => {
                json!({ "v": 1, "do": "recycle", "worker": worker, "generation": generation })
            }
            Self::Reload => json!({ "v": 1, "do": "reload" }),
        }
    }

    /// What is being done, in words.
    pub(super) fn words(self) -> String {
        match self {
            Self::Scale(workers) => format!("scale to {workers}"),
            Self::Recycle { worker, .. } => format!("recycle worker {worker}"),
            Self::Reload => "reload".to_owned(),
        }
    }
}

/// What comes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Nothing,
    Wish(Wish),
    Quit,
}

/// What is shown.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) sample: Sample,
    /// Connections a second, the oldest first.
    pub(super) rates: VecDeque<u64>,
    pub(super) sort: Column,
    pub(super) is_reversed: bool,
    /// The generation of the worker that is selected.
    selected: Option<u32>,
    /// What was done last, or what went wrong.
    pub(super) message: String,
}

impl State {
    /// Takes in how the server is, so many seconds after it was seen last.
    pub(super) fn update(&mut self, mut sample: Sample, seconds: f64) {
        let before = &self.sample;
        for worker in &mut sample.workers {
            let generation = worker.generation;
            let known = before.workers.iter().find(|it| it.generation == generation);
            let served = known.map_or(0, |known| known.served);
            worker.rate = rate(served, worker.served, seconds);
        }
        if before.pid == sample.pid {
            let rate = rate(before.begun(), sample.begun(), seconds);
            self.rates.push_back(rate.round() as u64);
        } else {
            self.rates.clear();
        }
        while self.rates.len() > RATES_MAX {
            self.rates.pop_front();
        }
        self.sample = sample;
        if self.selected_row().is_none() {
            self.selected = self.rows().first().map(|worker| worker.generation);
        }
    }

    /// The workers in the order in which they are shown.
    pub(super) fn rows(&self) -> Vec<&Worker> {
        let mut rows: Vec<&Worker> = self.sample.workers.iter().collect();
        rows.sort_by(|one, two| {
            let order = self.sort.compare(one, two);
            let order = if self.is_reversed {
                order.reverse()
            } else {
                order
            };
            order.then(one.generation.cmp(&two.generation))
        });
        rows
    }

    /// Which row is selected.
    pub(super) fn selected_row(&self) -> Option<usize> {
        let selected = self.selected?;
        let rows = self.rows();
        rows.iter().position(|row| row.generation == selected)
    }

    /// Does what a key says.
    pub(super) fn press(&mut self, key: Key) -> Outcome {
        match key {
            Key::Quit => return Outcome::Quit,
            Key::Up => self.select(|row| row.saturating_sub(1)),
            Key::Down => self.select(|row| row + 1),
            Key::Sort => self.sort = self.sort.next(),
            Key::Reverse => self.is_reversed = !self.is_reversed,
            Key::More => return self.wish(Wish::Scale(self.sample.wanted.saturating_add(1))),
            Key::Fewer if self.sample.wanted > 1 => {
                return self.wish(Wish::Scale(self.sample.wanted - 1));
            }
            Key::Fewer => self.message = "one worker is the least".to_owned(),
            Key::Reload => return self.wish(Wish::Reload),
            Key::Recycle => {
                if let Some(wish) = self.recycling() {
                    return self.wish(wish);
                }
            }
        }
        Outcome::Nothing
    }

    /// Takes in what became of a wish.
    pub(super) fn told(&mut self, wish: Wish, outcome: Result<(), String>) {
        self.message = match outcome {
            Ok(()) => format!("{}: done", wish.words()),
            Err(error) => format!("{}: {error}", wish.words()),
        };
    }

    fn wish(&mut self, wish: Wish) -> Outcome {
        self.message = format!("{} …", wish.words());
        if let Wish::Scale(workers) = wish {
            // The next key counts from here, even before the server has said so.
            self.sample.wanted = workers;
        }
        Outcome::Wish(wish)
    }

    fn recycling(&self) -> Option<Wish> {
        let rows = self.rows();
        let row = rows.get(self.selected_row()?)?;
        Some(Wish::Recycle {
            worker: row.worker,
            generation: row.generation,
        })
    }

    fn select(&mut self, change: impl Fn(usize) -> usize) {
        let rows = self.rows();
        let last = rows.len().saturating_sub(1);
        let row = self.selected_row().map_or(0, change).min(last);
        self.selected = rows.get(row).map(|row| row.generation);
    }
}

fn rate(before: u64, now: u64, seconds: f64) -> f64 {
    now.saturating_sub(before) as f64 / seconds.max(0.001)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A server with three workers, of which the second has served most.
    pub(in crate::top) fn sample(accepted: u64) -> Sample {
        let status = json!({ "phase": "serving", "addresses": ["127.0.0.1:80"], "pid": 7,
            "uptime_ms": 61_000, "wanted": 3, "ready": 3, "connections": 6, "waiting": 0,
            "silent": 1, "parked": 2, "accepted": accepted });
        let worker = |worker: u32, served: u64| {
            json!({ "worker": worker, "generation": worker + 10, "pid": 100 + worker,
                "state": "ready", "connections": worker, "served": served, "age_ms": 5000,
                "memory_bytes": 4 << 20 })
        };
        let workers = json!([worker(0, 5), worker(1, accepted), worker(2, 7)]);
        Sample::read(&status, &workers).unwrap()
    }

    fn ids(state: &State) -> Vec<u32> {
        state.rows().iter().map(|row| row.worker).collect()
    }

    #[test]
    fn rates_are_what_was_added_since_the_sample_before() {
        let mut state = State::default();

        state.update(sample(100), 1.0);
        state.update(sample(300), 2.0);

        assert_eq!(state.rates, [100]);
        assert_eq!(state.sample.workers[1].rate, 100.0);
        assert_eq!(state.sample.workers[0].rate, 0.0);
    }

    #[test]
    fn workers_are_sorted_by_the_column_that_is_chosen() {
        let mut state = State::default();
        state.update(sample(100), 1.0);
        assert_eq!(ids(&state), [0, 1, 2]);

        state.press(Key::Sort);
        state.press(Key::Sort);
        assert_eq!((state.sort, ids(&state)), (Column::Served, vec![1, 2, 0]));

        state.press(Key::Reverse);
        assert_eq!(ids(&state), [0, 2, 1]);
    }

    #[test]
    fn a_selected_worker_stays_selected_wherever_it_is_shown() {
        let mut state = State::default();
        state.update(sample(100), 1.0);
        state.press(Key::Down);
        state.press(Key::Down);
        state.press(Key::Down);
        assert_eq!(state.selected_row(), Some(2));

        state.press(Key::Sort);

        let selected = state.selected_row().unwrap();
        assert_eq!(state.rows()[selected].worker, 2);
        let wish = Wish::Recycle {
            worker: 2,
            generation: 12,
        };
        assert_eq!(state.press(Key::Recycle), Outcome::Wish(wish));
    }

    #[test]
    fn two_keys_in_a_row_scale_by_two() {
        let mut state = State::default();
        state.update(sample(1), 1.0);

        state.press(Key::More);

        assert_eq!(state.press(Key::More), Outcome::Wish(Wish::Scale(5)));
        for _ in 0..4 {
            state.press(Key::Fewer);
        }
        assert_eq!(state.press(Key::Fewer), Outcome::Nothing);
    }

    #[test]
    fn the_selection_moves_on_when_its_worker_is_gone() {
        let mut state = State::default();
        state.update(sample(1), 1.0);
        let mut later = sample(2);
        later.workers.remove(0);

        state.update(later, 1.0);

        assert_eq!(state.selected_row(), Some(0));
    }
}
