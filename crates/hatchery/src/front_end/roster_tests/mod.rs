//! The roster, over random histories and in what each way of dispatching promises.

mod worker;
mod world;

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngAlgorithm;

use self::world::{Limits, WORKERS_MAX, World};
use super::roster::{Roster, Seat, WINDOW};
use crate::config::Dispatch;

/// One event; what it names is counted modulo what there is.
#[derive(Clone, Debug)]
enum Op {
    Wait {
        millis: u64,
    },
    Add,
    Ready {
        worker: usize,
        room: u32,
    },
    Offer {
        peer: u64,
        count: usize,
    },
    PlaceWaiting,
    Take {
        worker: usize,
        count: usize,
        is_told: bool,
    },
    Claim {
        worker: usize,
        which: usize,
    },
    Finish {
        worker: usize,
        which: usize,
    },
    Park {
        worker: usize,
        which: usize,
    },
    SetDeclining {
        worker: usize,
        is_declining: bool,
    },
    Decline {
        worker: usize,
        which: usize,
    },
    Wake {
        which: usize,
        is_over: bool,
    },
    SendBack {
        worker: usize,
        count: usize,
    },
    Release,
    Drain {
        worker: usize,
    },
    Lose {
        worker: usize,
    },
    Misreport {
        seat: usize,
        which: usize,
        lie: Lie,
    },
}

/// A report that cannot be true.
#[derive(Clone, Copy, Debug)]
enum Lie {
    ClaimedAgain,
    ClaimedFree,
    FinishedFree,
    SentBackFree,
    SentBackWhatItTook,
    TookMore,
}

fn any_lie() -> impl Strategy<Value = Lie> {
    prop_oneof![
        Just(Lie::ClaimedAgain),
        Just(Lie::ClaimedFree),
        Just(Lie::FinishedFree),
        Just(Lie::SentBackFree),
        Just(Lie::SentBackWhatItTook),
        Just(Lie::TookMore),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    let worker = 0..WORKERS_MAX;
    let which = 0..64_usize;
    let one = (worker.clone(), which.clone());
    let room = prop_oneof![0..6_u32, Just(u32::MAX)];
    let offers = prop_oneof![4 => 1..4_usize, 1 => 30..45_usize];
    prop_oneof![
        4 => Just(Op::Add),
        6 => (worker.clone(), room).prop_map(|(worker, room)| Op::Ready { worker, room }),
        12 => (0..4_u64, offers).prop_map(|(peer, count)| Op::Offer { peer, count }),
        4 => Just(Op::PlaceWaiting),
        10 => (one.clone(), any::<bool>()).prop_map(|((worker, count), is_told)| Op::Take {
            worker,
            count,
            is_told,
        }),
        8 => one.clone().prop_map(|(worker, which)| Op::Claim { worker, which }),
        10 => one.prop_map(|(worker, which)| Op::Finish { worker, which }),
        6 => (worker.clone(), which.clone())
            .prop_map(|(worker, which)| Op::Park { worker, which }),
        4 => (worker.clone(), any::<bool>())
            .prop_map(|(worker, is_declining)| Op::SetDeclining { worker, is_declining }),
        4 => (worker.clone(), which.clone())
            .prop_map(|(worker, which)| Op::Decline { worker, which }),
        6 => (which.clone(), any::<bool>())
            .prop_map(|(which, is_over)| Op::Wake { which, is_over }),
        3 => (worker.clone(), 1..6_usize)
            .prop_map(|(worker, count)| Op::SendBack { worker, count }),
        2 => Just(Op::Release),
        1 => worker.clone().prop_map(|worker| Op::Drain { worker }),
        2 => worker.clone().prop_map(|worker| Op::Lose { worker }),
        4 => (0..30_u64).prop_map(|millis| Op::Wait { millis }),
        6 => (worker, which, any_lie())
            .prop_map(|(seat, which, lie)| Op::Misreport { seat, which, lie }),
    ]
}

fn any_dispatch() -> impl Strategy<Value = Dispatch> {
    prop_oneof![
        Just(Dispatch::LeastLoaded),
        Just(Dispatch::RoundRobin),
        Just(Dispatch::Hash),
    ]
}

fn any_limits() -> impl Strategy<Value = Limits> {
    let per_worker = prop_oneof![2 => 1..6_u32, 1 => WINDOW - 1..WINDOW + 6];
    let in_all = prop_oneof![1 => 1..12_u32, 2 => Just(u32::MAX)];
    (per_worker, in_all).prop_map(|(per_worker, in_all)| Limits { per_worker, in_all })
}

/// A roster whose workers have just become ready, with room for all that comes.
fn ready_roster(dispatch: Dispatch, workers: usize) -> Roster<u64> {
    let mut roster = Roster::new(dispatch, u32::MAX);
    for _ in 0..workers {
        let seat = roster.add(u32::MAX);
        roster.ready(seat, u32::MAX, Duration::ZERO);
    }
    roster
}

/// Places a connection of `peer`, which its worker takes and finishes at once.
fn serve(roster: &mut Roster<u64>, peer: u64) -> Seat {
    let now = Duration::ZERO;
    let placement = roster.place(peer, peer, now).unwrap();
    let received = roster.served(placement.seat);
    roster.received(placement.seat, received, now).unwrap();
    assert_eq!(roster.finished(placement, now), Ok(Some(peer)));
    placement.seat
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3_000,
        // Most of the time would go into the default generator.
        rng_algorithm: RngAlgorithm::XorShift,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_roster_always_knows_who_has_what(
        dispatch in any_dispatch(),
        limits in any_limits(),
        workers in 0..WORKERS_MAX,
        ops in vec(any_op(), 1..100),
    ) {
        let mut world = World::new(dispatch, limits);
        for worker in 0..workers {
            world.apply(&Op::Add);
            world.apply(&Op::Ready { worker, room: u32::MAX });
        }

        for op in &ops {
            world.apply(op);
            world.check();
        }
    }
}

proptest! {
    #[test]
    fn round_robin_visits_every_free_worker_in_turn(workers in 1..20_usize, rounds in 1..4) {
        let mut roster = ready_roster(Dispatch::RoundRobin, workers);

        for _ in 0..rounds {
            let visited: Vec<Seat> = (0..workers).map(|_| serve(&mut roster, 0)).collect();

            prop_assert_eq!(visited, (0..workers).map(Seat).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_worker_that_is_lost_moves_only_its_own_peers(
        workers in 2..20_usize,
        lost: prop::sample::Index,
        peers in vec(any::<u64>(), 1..100),
    ) {
        let mut roster = ready_roster(Dispatch::Hash, workers);
        let before: Vec<Seat> = peers.iter().map(|&peer| serve(&mut roster, peer)).collect();
        let lost = Seat(lost.index(workers));

        roster.lost(lost);

        for (&peer, &seat) in peers.iter().zip(&before) {
            let is_same = serve(&mut roster, peer) == seat;
            prop_assert_eq!(is_same, seat != lost);
        }
    }
}

#[test]
fn hashing_gives_every_worker_about_its_share() {
    let mut roster = ready_roster(Dispatch::Hash, 4);
    let mut shares = [0; 4];

    for peer in 0..4_000 {
        let Seat(seat) = serve(&mut roster, peer);
        shares[seat] += 1;
    }

    assert!(
        shares.iter().all(|share| (900..1_100).contains(share)),
        "{shares:?}"
    );
}
