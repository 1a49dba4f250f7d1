//! How long things may take in a server, and what follows from workers that die.

use std::time::Duration;

use super::builder::ServerBuilder;
use crate::config::{ByteSize, MemoryMeasure};

/// # Supervision
impl ServerBuilder {
    /// Gives workers this long to finish what they have when the server is told to stop, or when
    /// they retire.
    ///
    /// # Default
    ///
    /// 30 seconds.
    pub fn drain_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.config.workers.drain_timeout = timeout;
        self
    }

    /// Gives workers that did not finish in time this long to break off, before they are killed.
    ///
    /// Asynchronous handlers are dropped then. A blocking one reads the end of its connection, as if the
    /// client had hung up, and can still answer. Clients see the end of their connections instead of
    /// a reset. A handler that keeps the loop, or blocks on anything but its client, is killed.
    ///
    /// # Default
    ///
    /// 5 seconds.
    pub fn kill_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.config.workers.kill_timeout = timeout;
        self
    }

    /// Chooses whether `ps` shows what the server's processes are: `hatchery: worker 3 [12 conns]` and
    /// `hatchery: fork server`. The main process keeps its command line.
    ///
    /// The count follows within a second. `std::env::args` returns the same as ever. Where the kernel has no title
    /// to give, the command line stays.
    ///
    /// # Default
    ///
    /// It does.
    pub fn process_titles(&mut self, are_on: bool) -> &mut Self {
        self.config.workers.titles = are_on;
        self
    }

    /// Gives a new program that is to take over this long to become ready.
    ///
    /// # Default
    ///
    /// 60 seconds.
    pub fn upgrade_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.config.server.upgrade_timeout = timeout;
        self
    }

    /// Gives a worker this long to become ready.
    ///
    /// # Default
    ///
    /// 10 seconds.
    pub fn start_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.config.workers.start_timeout = timeout;
        self
    }

    /// Kills a worker whose event loop stands still for this long, so that others take its place;
    /// zero is never.
    ///
    /// A handler that computes or blocks without awaiting keeps its worker's loop, and with it all
    /// connections of that worker: until the loop turns again the worker gets nothing more. Time
    /// counts only while the front end itself runs on time, so a machine that sleeps, or a server
    /// that is stopped as a whole, loses nobody. Workers of [`serve_blocking`](Self::serve_blocking)
    /// have no loop. Where workers accept for themselves, the kernel goes on giving connections to one
    /// that stands still: they wait until it turns, or for its successor.
    ///
    /// # Default
    ///
    /// 1 minute.
    pub fn stall_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.config.workers.stall_timeout = timeout;
        self
    }

    /// Limits how long a handler may have a connection: after `soft` that is logged and told to
    /// [`on_soft_deadline`](Self::on_soft_deadline), after `hard` its worker is killed, and with it
    /// all that the worker has in hand; zero is never.
    ///
    /// Both count from when the handler gets the connection, and
    /// [`extend`](crate::ConnectionInfo::extend) moves both. As with
    /// [`stall_timeout`](Self::stall_timeout), a machine that sleeps kills nobody.
    ///
    /// # Default
    ///
    /// Neither.
    pub fn deadlines(&mut self, soft: Duration, hard: Duration) -> &mut Self {
        self.config.workers.soft_deadline = soft;
        self.config.workers.hard_deadline = hard;
        self
    }

    /// Replaces a worker that has come to take more than `limit`, as it is measured; zero is never.
    ///
    /// # Default
    ///
    /// Never.
    pub fn max_memory(&mut self, limit: ByteSize, measure: MemoryMeasure) -> &mut Self {
        let workers = &mut self.config.workers;
        (workers.max_memory, workers.memory_measure) = (limit, measure);
        self
    }

    /// Starts no more workers for `pause` once `deaths` of them have died within `window`; zero
    /// deaths is never.
    ///
    /// Whoever lives works on. After the pause one worker is tried, and once it has lasted as long
    /// as the pause all are started again. A window and a pause are longer than zero.
    ///
    /// # Default
    ///
    /// 100 deaths within 10 seconds, and a pause of 5 seconds.
    pub fn restart_limit(&mut self, deaths: u32, window: Duration, pause: Duration) -> &mut Self {
        let workers = &mut self.config.workers;
        workers.restart_intensity = deaths;
        (workers.restart_window, workers.restart_pause) = (window, pause);
        self
    }

    /// Refuses for `time` connections that are like one that `deaths` workers may have died of; zero
    /// deaths is never.
    ///
    /// Alike are those of one peer address and one listener that begin with the same bytes. The
    /// deaths are remembered for as long as well; it is longer than zero.
    ///
    /// # Default
    ///
    /// 3 deaths, and 1 minute.
    pub fn poison(&mut self, deaths: u32, time: Duration) -> &mut Self {
        (
            self.config.server.poison_after,
            self.config.server.poison_time,
        ) = (deaths, time);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::error::Error;
    use crate::server::Server;

    const SECOND: Duration = Duration::from_secs(1);

    /// A key, and what sets it to what cannot be.
    type Wrong = (&'static str, fn(&mut ServerBuilder));

    #[test]
    fn what_is_set_is_what_is_configured() {
        let mut server = Server::builder();

        server.restart_limit(7, SECOND, 2 * SECOND);
        server.poison(0, 3 * SECOND);
        server.max_memory(ByteSize::new(1 << 30), MemoryMeasure::Proportional);
        server.process_titles(false);

        let (workers, poison) = (&server.config.workers, &server.config.server);
        assert_eq!(workers.restart_intensity, 7);
        assert_eq!(
            (workers.restart_window, workers.restart_pause),
            (SECOND, 2 * SECOND)
        );
        assert_eq!(workers.max_memory, ByteSize::new(1 << 30));
        assert_eq!(workers.memory_measure, MemoryMeasure::Proportional);
        assert!(!workers.titles);
        assert_eq!((poison.poison_after, poison.poison_time), (0, 3 * SECOND));
    }

    #[test]
    fn times_that_cannot_be_are_refused_by_their_keys() {
        let wrong: [Wrong; 3] = [
            ("workers.restart_window", |it| {
                it.restart_limit(1, Duration::ZERO, SECOND);
            }),
            ("workers.restart_pause", |it| {
                it.restart_limit(1, SECOND, Duration::ZERO);
            }),
            ("server.poison_time", |it| {
                it.poison(1, Duration::ZERO);
            }),
        ];
        for (key, set) in wrong {
            let mut server = Server::builder();
            set(&mut server);

            let error = refusal(&mut server);

            assert!(error.is_usage());
            let text = format!("{error} {:?}", std::error::Error::source(&error));
            assert!(text.contains(key), "{text}");
        }
    }

    fn refusal(server: &mut ServerBuilder) -> Error {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let served = server.serve_blocking(|_: TcpStream| Ok(()));
        runtime.block_on(served).unwrap_err()
    }
}
