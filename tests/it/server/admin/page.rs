//! The page, in a browser.

use rustix::process::Signal;

use super::Shown;
use super::browser::Browser;

/// How many workers the page shows in a state.
fn shows(count: usize, state: &str) -> String {
    format!("document.querySelectorAll('.worker.{state}').length === {count}")
}

#[test]
fn the_page_shows_a_killed_worker_and_its_successor_without_being_loaded_again() {
    let Some(mut browser) = Browser::start() else {
        eprintln!("left out: there is no chromium");
        return;
    };
    let shown = Shown::new("talk", "workers.count=2");
    let (killed, other) = (shown.server().workers[0], shown.server().workers[1]);
    browser.visit(&format!("http://{}/", shown.address));
    browser.await_true(&shows(2, "ready"));
    browser.await_true("document.getElementById('phase').textContent === 'serving'");

    let mut client = shown.server().client();
    assert_eq!(client.ask("on"), "ON");
    browser.await_true("document.querySelector('.tile b').textContent === '1'");
    let victim = if client.worker() == killed { 1 } else { 0 };
    let killed = if victim == 0 { killed } else { other };
    shown.server().worker(victim).signal(Signal::KILL);

    browser.await_true(&format!(
        "document.querySelector('.worker.gone')?.dataset.pid === '{killed}'"
    ));
    browser.await_true("document.querySelector('.worker.ready[data-generation=\"2\"]') !== null");
    browser.await_true(&format!(
        "[...document.querySelectorAll('#events li.bad')].some(line => \
         line.textContent.includes('Worker {victim} ended with signal: 9'))"
    ));
    // Twelve seconds later the dead one is not shown any more.
    browser.await_true(&shows(0, "gone"));
    browser.await_true(&shows(2, "ready"));
    assert_eq!(browser.complaints, Vec::<String>::new());
}
