//! How many workers there should be, which of them are to go, and who comes for them.
//!
//! Plain code: no process, no clock. The caller tells the staff what happened and does what
//! [`Staff::next`] says, until it says nothing.
//!
//! There is a *post* for each worker that is wanted, from 0. A worker that is to be replaced keeps
//! its post and its work until its successor at that post is ready. A worker at a post that is not
//! wanted any more keeps its work until as many others are ready as are wanted. A *renewal* is a
//! second team beside the first, by new settings: it takes over when it is complete, or not at all.

use std::collections::BTreeSet;
use std::time::Duration;

use super::breaker::{Breaker, BreakerNews, Intensity, Trial};
use super::restart::{Restarts, Verdict};
use super::roster::Seat;

/// Which settings a worker is started by: each renewal has the next number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Epoch(pub(crate) u32);

/// Something that the caller is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Start a worker for this post, and tell of it by [`Staff::started`].
    Start { post: usize, epoch: Epoch },
    /// Give this worker nothing more, and let it end.
    Drain(Seat),
    /// End this worker, which has never been of use.
    Kill(Seat),
    /// Give work to the team of this epoch: it is complete, and the only one from now on.
    Renewed(Epoch),
    /// Tell of what became of the breaker.
    Tell(BreakerNews),
}

/// How a worker came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It had been ready, and had served something or was ended by others.
    Usual,
    /// It ended by itself before it had served anything.
    Useless,
    /// Somebody wished its end.
    Wished,
}

/// What has failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The server has never been complete, and does not get on.
    Server,
    /// The renewal does not get on, and is over; the server goes on as it is.
    Renewal,
}

/// All workers and all posts.
#[derive(Debug)]
pub(crate) struct Staff {
    team: Team,
    /// The team that is to take over.
    renewal: Option<Team>,
    /// The number of the latest renewal.
    latest: Epoch,
    /// How many workers may be in the middle of being replaced.
    at_once: usize,
    /// How many deaths are too many.
    intensity: Intensity,
    seats: Vec<Option<Hand>>,
    /// How many wishes to be replaced there have been.
    wishes: u64,
    /// Whether there is nothing to do until something happens or the next start is due.
    is_settled: bool,
    next_start: Option<Duration>,
}

/// The posts of one epoch.
#[derive(Debug)]
struct Team {
    epoch: Epoch,
    /// How many posts there are.
    wanted: usize,
    /// When each post may have its next worker, from the back-off after a failed start.
    not_before: Vec<Duration>,
    restarts: Restarts,
    breaker: Breaker,
}

/// A worker, as far as its place among the others matters.
#[derive(Debug)]
struct Hand {
    post: usize,
    epoch: Epoch,
    state: State,
    /// Its turn among those that wait to be replaced, if it does.
    wish: Option<u64>,
    /// Whether a successor may be started for it.
    is_replaced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Ready,
    /// It is to leave at once, whoever else is there.
    Dismissed,
    /// It has been told to end.
    Leaving,
}

impl Staff {
    /// Makes a staff of nobody, for which so many workers are wanted.
    pub(crate) fn new(wanted: usize, at_once: usize) -> Self {
        Self {
            team: Team::new(Epoch(0), wanted, Intensity::ANY),
            renewal: None,
            latest: Epoch(0),
            at_once,
            intensity: Intensity::ANY,
            seats: Vec::new(),
            wishes: 0,
            is_settled: false,
            next_start: None,
        }
    }

    /// How many workers there should be.
    pub(crate) fn wanted(&self) -> usize {
        self.team.wanted
    }

    /// The settings by which the server works.
    pub(crate) fn epoch(&self) -> Epoch {
        self.team.epoch
    }

    /// Whether a second team is on its way.
    pub(crate) fn is_renewing(&self) -> bool {
        self.renewal.is_some()
    }

    /// Changes how many workers there should be.
    pub(crate) fn scale(&mut self, wanted: usize) {
        self.team.wanted = wanted;
        self.is_settled = false;
    }

    /// Changes how many workers may be in the middle of being replaced.
    pub(crate) fn replace_at_once(&mut self, at_once: usize) {
        self.at_once = at_once;
        self.is_settled = false;
    }

    /// Changes how many deaths are too many.
    pub(crate) fn limit_deaths(&mut self, intensity: Intensity) {
        self.intensity = intensity;
        self.team.breaker.change(intensity);
        self.is_settled = false;
    }

    /// The breaker of the team that serves.
    pub(crate) fn breaker(&self) -> &Breaker {
        &self.team.breaker
    }

    /// Begins a second team of so many; it takes over once all of them are ready.
    pub(crate) fn renew(&mut self, wanted: usize) -> Epoch {
        self.latest = Epoch(self.latest.0 + 1);
        self.renewal = Some(Team::new(self.latest, wanted, self.intensity));
        self.is_settled = false;
        self.latest
    }

    /// Gives the second team up.
    pub(crate) fn cancel_renewal(&mut self) {
        self.renewal = None;
        self.is_settled = false;
    }

    /// Says what is to be done now, if anything is.
    pub(crate) fn next(&mut self, now: Duration) -> Option<Step> {
        if self.is_settled && self.next_start.is_none_or(|at| at > now) {
            return None;
        }
        let step = self.find_step(now);
        self.is_settled = step.is_none();
        self.next_start = self.is_settled.then(|| self.first_start()).flatten();
        step
    }

    fn find_step(&mut self, now: Duration) -> Option<Step> {
        if let Some(epoch) = self.complete_renewal() {
            return Some(Step::Renewed(epoch));
        }
        self.look_at_trial(now);
        if let Some(news) = self.team.breaker.take_news() {
            return Some(Step::Tell(news));
        }
        self.grant_wishes();
        let step = self
            .dismissed()
            .or_else(|| self.outdated())
            .or_else(|| self.superfluous())
            .or_else(|| self.relieved())
            .or_else(|| self.vacancy(now))?;
        if let Step::Drain(seat) | Step::Kill(seat) = step {
            self.leaves(seat);
        }
        Some(step)
    }

    /// When there is something to do next although nothing happens.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.next_start
    }

    fn first_start(&self) -> Option<Duration> {
        let starts = self.teams().flat_map(|team| {
            let vacant = (0..team.wanted).filter(|&post| self.is_vacant(team.epoch, post));
            let breaks = self.breaks_until(team);
            vacant.filter_map(move |post| Some(breaks?.max(team.start_of(post))))
        });
        let breaker = &self.team.breaker;
        let is_idle = !breaker.is_closed() && !self.has_vacancy();
        let lapse = breaker.start(true).filter(|_| is_idle);
        starts.chain(breaker.due()).chain(lapse).min()
    }

    /// Whether the team that serves has a post without anybody.
    fn has_vacancy(&self) -> bool {
        (0..self.team.wanted).any(|post| self.is_vacant(self.team.epoch, post))
    }

    /// From when on a team may have another worker; `None` if one is being tried.
    ///
    /// A renewal has a rule of its own for workers that die: it is given up.
    fn breaks_until(&self, team: &Team) -> Option<Duration> {
        if team.epoch != self.team.epoch {
            return Some(Duration::ZERO);
        }
        let is_anybody_left = self.hands_of(team.epoch).any(|(_, hand)| hand.stays());
        team.breaker.start(is_anybody_left)
    }

    /// Tells the breaker how the worker is that it tries.
    fn look_at_trial(&mut self, now: Duration) {
        let Some(seat) = self.team.breaker.trial() else {
            if !self.has_vacancy() {
                self.team.breaker.lapse(now);
            }
            return;
        };
        let hand = self.seats.get(seat.0).and_then(Option::as_ref);
        let trial = match hand.map(|hand| hand.state) {
            Some(State::Starting) => Trial::Starting,
            Some(State::Ready) => Trial::Ready,
            Some(State::Dismissed | State::Leaving) | None => Trial::Leaving,
        };
        self.team.breaker.look(trial, now);
    }

    /// Notes that a worker for this post is starting, in this seat.
    pub(crate) fn started(&mut self, seat: Seat, post: usize, epoch: Epoch) {
        if self.seats.len() <= seat.0 {
            self.seats.resize_with(seat.0 + 1, || None);
        }
        self.seats[seat.0] = Some(Hand {
            post,
            epoch,
            state: State::Starting,
            wish: None,
            is_replaced: false,
        });
        self.is_settled = false;
        if epoch == self.team.epoch {
            self.team.breaker.started(seat);
        }
    }

    /// Notes that no worker could be started for this post.
    pub(crate) fn not_started(
        &mut self,
        post: usize,
        epoch: Epoch,
        now: Duration,
    ) -> Option<Failure> {
        let team = self.team_of(epoch)?;
        let verdict = team.restarts.failed();
        if epoch == self.team.epoch {
            self.team.breaker.not_started(now);
        }
        self.take_verdict(post, epoch, verdict, now)
    }

    /// Notes that a worker is ready.
    pub(crate) fn ready(&mut self, seat: Seat) {
        let Some(hand) = self.hand(seat) else {
            return;
        };
        if hand.state == State::Starting {
            hand.state = State::Ready;
        }
        let epoch = hand.epoch;
        if let Some(team) = self.team_of(epoch) {
            team.restarts.ready();
        }
    }

    /// Notes that the server is complete, so that it is never given up from now on.
    pub(crate) fn complete(&mut self) {
        self.team.restarts.complete();
    }

    /// Wishes a worker to be replaced once a successor is ready; false if it goes anyway.
    pub(crate) fn retire(&mut self, seat: Seat) -> bool {
        let turn = self.wishes;
        let Some(hand) = self.hand(seat) else {
            return false;
        };
        let stays = hand.stays() && hand.wish.is_none();
        if stays {
            hand.wish = Some(turn);
            self.wishes += 1;
        }
        stays
    }

    /// Has a worker that is ready leave at once, without waiting for a successor; false if it
    /// leaves anyway, or is not ready.
    pub(crate) fn dismiss(&mut self, seat: Seat) -> bool {
        let Some(hand) = self.hand(seat) else {
            return false;
        };
        let is_ready = hand.state == State::Ready;
        if is_ready {
            hand.state = State::Dismissed;
        }
        is_ready
    }

    /// Notes that a worker has been told to end.
    pub(crate) fn leaves(&mut self, seat: Seat) {
        if let Some(hand) = self.hand(seat) {
            hand.state = State::Leaving;
        }
    }

    /// Takes a worker off that is gone, and says what has failed with it.
    pub(crate) fn gone(&mut self, seat: Seat, end: End, now: Duration) -> Option<Failure> {
        let hand = self.seats.get_mut(seat.0).and_then(Option::take)?;
        self.is_settled = false;
        let (post, epoch) = (hand.post, hand.epoch);
        if hand.stays() && end != End::Wished && epoch == self.team.epoch {
            self.team.breaker.died(seat, now);
        }
        if hand.state == State::Leaving || !self.is_vacant(epoch, post) {
            return None;
        }
        let restarts = &mut self.team_of(epoch)?.restarts;
        let verdict = match hand.state {
            State::Starting => restarts.failed(),
            _ => restarts.ended(end == End::Useless),
        };
        self.take_verdict(post, epoch, verdict, now)
    }

    /// Whether a worker waits for its successor, or for its turn to have one.
    pub(crate) fn is_retiring(&self, seat: Seat) -> bool {
        let hand = self.seats.get(seat.0).and_then(Option::as_ref);
        hand.is_some_and(|hand| hand.wish.is_some())
    }

    /// At how many posts of the serving team a worker is ready.
    pub(crate) fn ready_posts(&self) -> usize {
        self.ready_posts_of(&self.team)
    }

    fn ready_posts_of(&self, team: &Team) -> usize {
        let hands = self.hands_of(team.epoch).map(|(_, hand)| hand);
        let ready = hands.filter(|hand| hand.state == State::Ready);
        // Whoever is replaced shares the post with the successor.
        let posts: BTreeSet<usize> = ready.map(|hand| hand.post).collect();
        posts.len()
    }

    /// A worker to whom something happens.
    fn hand(&mut self, seat: Seat) -> Option<&mut Hand> {
        self.is_settled = false;
        self.seats.get_mut(seat.0)?.as_mut()
    }

    fn hands(&self) -> impl Iterator<Item = (Seat, &Hand)> {
        let seats = self.seats.iter().enumerate();
        seats.filter_map(|(seat, hand)| Some((Seat(seat), hand.as_ref()?)))
    }

    fn hands_of(&self, epoch: Epoch) -> impl Iterator<Item = (Seat, &Hand)> {
        self.hands().filter(move |(_, hand)| hand.epoch == epoch)
    }

    fn teams(&self) -> impl Iterator<Item = &Team> {
        std::iter::once(&self.team).chain(&self.renewal)
    }

    fn team_of(&mut self, epoch: Epoch) -> Option<&mut Team> {
        let mut teams = std::iter::once(&mut self.team).chain(&mut self.renewal);
        teams.find(|team| team.epoch == epoch)
    }

    /// Lets the second team take over, if all of it is ready.
    fn complete_renewal(&mut self) -> Option<Epoch> {
        let renewal = self.renewal.as_ref()?;
        if self.ready_posts_of(renewal) < renewal.wanted {
            return None;
        }
        let renewal = self.renewal.take()?;
        let former = std::mem::replace(&mut self.team, renewal);
        self.team.restarts.complete();
        self.team.breaker.succeed(former.breaker);
        Some(self.team.epoch)
    }

    /// Lets as many of those that wait to be replaced have a successor as may at once.
    fn grant_wishes(&mut self) {
        if self.renewal.is_some() {
            // All of them will be replaced.
            return;
        }
        let epoch = self.team.epoch;
        let underway = self.hands_of(epoch).filter(|(_, hand)| hand.is_replaced);
        for _ in underway.count()..self.at_once {
            let hands = self.seats.iter_mut().flatten();
            let waiting = hands.filter(|hand| hand.is_waiting() && hand.epoch == epoch);
            let Some(next) = waiting.min_by_key(|hand| hand.wish) else {
                return;
            };
            next.is_replaced = true;
        }
    }

    fn dismissed(&self) -> Option<Step> {
        let mut hands = self.hands();
        let dismissed = hands.find(|(_, hand)| hand.state == State::Dismissed);
        dismissed.map(|(seat, _)| Step::Drain(seat))
    }

    /// A worker of a team that is over, or that never was to take over.
    fn outdated(&self) -> Option<Step> {
        let mut hands = self.hands().filter(|(_, hand)| {
            let is_of_a_team = self.teams().any(|team| team.epoch == hand.epoch);
            hand.stays() && !is_of_a_team
        });
        let (seat, hand) = hands.next()?;
        Some(hand.farewell(seat))
    }

    /// A worker for which there is no post, and which is not needed until the others are ready.
    fn superfluous(&self) -> Option<Step> {
        let Team { epoch, wanted, .. } = self.team;
        let outside = self.hands_of(epoch).filter(|(_, hand)| {
            // Those that are not ready are first, for nobody needs them.
            hand.stays() && hand.post >= wanted
        });
        let (seat, hand) =
            outside.max_by_key(|(_, hand)| (hand.state != State::Ready, hand.post))?;
        let is_needed = hand.state == State::Ready && self.ready_posts() <= wanted;
        (!is_needed).then(|| hand.farewell(seat))
    }

    /// A worker whose successor is ready, or which is not ready itself.
    fn relieved(&self) -> Option<Step> {
        let replaced = self.hands_of(self.team.epoch);
        let mut replaced = replaced.filter(|(_, hand)| hand.is_replaced && hand.stays());
        let (seat, hand) = replaced.find(|(_, hand)| {
            hand.state == State::Starting || self.has_ready_incumbent(hand.epoch, hand.post)
        })?;
        Some(hand.farewell(seat))
    }

    /// A post that has nobody, and whose time has come.
    fn vacancy(&self, now: Duration) -> Option<Step> {
        self.teams().find_map(|team| {
            let epoch = team.epoch;
            if self.breaks_until(team).is_none_or(|until| until > now) {
                return None;
            }
            let mut posts = 0..team.wanted;
            let post =
                posts.find(|&post| self.is_vacant(epoch, post) && team.start_of(post) <= now)?;
            Some(Step::Start { post, epoch })
        })
    }

    fn is_vacant(&self, epoch: Epoch, post: usize) -> bool {
        self.incumbents(epoch, post).next().is_none()
    }

    fn has_ready_incumbent(&self, epoch: Epoch, post: usize) -> bool {
        let mut incumbents = self.incumbents(epoch, post);
        incumbents.any(|hand| hand.state == State::Ready)
    }

    /// Who holds a post and is to stay there: one or nobody.
    fn incumbents(&self, epoch: Epoch, post: usize) -> impl Iterator<Item = &Hand> {
        let hands = self.hands_of(epoch).map(|(_, hand)| hand);
        hands.filter(move |hand| hand.post == post && hand.stays() && !hand.is_replaced)
    }

    /// Lets a post wait for its next worker, or gives its team up.
    fn take_verdict(
        &mut self,
        post: usize,
        epoch: Epoch,
        verdict: Verdict,
        now: Duration,
    ) -> Option<Failure> {
        match verdict {
            Verdict::RestartAfter(wait) => {
                self.team_of(epoch)?.wait(post, now.saturating_add(wait));
                self.is_settled = false;
                None
            }
            Verdict::GiveUp if epoch == self.team.epoch => Some(Failure::Server),
            Verdict::GiveUp => {
                self.cancel_renewal();
                Some(Failure::Renewal)
            }
        }
    }
}

impl Team {
    fn new(epoch: Epoch, wanted: usize, intensity: Intensity) -> Self {
        Self {
            epoch,
            wanted,
            not_before: Vec::new(),
            restarts: Restarts::default(),
            breaker: Breaker::new(intensity),
        }
    }

    fn start_of(&self, post: usize) -> Duration {
        self.not_before.get(post).copied().unwrap_or_default()
    }

    fn wait(&mut self, post: usize, until: Duration) {
        if self.not_before.len() <= post {
            self.not_before.resize(post + 1, Duration::ZERO);
        }
        self.not_before[post] = until;
    }
}

impl Hand {
    /// Whether it has not been told to go.
    fn stays(&self) -> bool {
        matches!(self.state, State::Starting | State::Ready)
    }

    /// Whether it has yet to get its turn to be replaced.
    fn is_waiting(&self) -> bool {
        self.stays() && self.wish.is_some() && !self.is_replaced
    }

    /// How it is told to go: what has never been ready has nothing to finish.
    fn farewell(&self, seat: Seat) -> Step {
        match self.state {
            State::Starting => Step::Kill(seat),
            _ => Step::Drain(seat),
        }
    }
}
