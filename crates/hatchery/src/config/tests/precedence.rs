//! Who wins, and who is said to have won.

use std::num::NonZeroU32;

use super::{load_text, shown};
use crate::config::{Config, ConfigLoader, Dispatch, Origin, Overload};

#[test]
fn a_flag_wins_over_the_environment_and_that_over_a_file() {
    let mut loader = Config::loader();
    let count_and_origin = |loader: &ConfigLoader| {
        let config = loader.load().unwrap();
        let origin = config.origin("workers.count").unwrap().to_string();
        format!("{} from {origin}", shown(&config, "workers.count"))
    };
    assert_eq!(count_and_origin(&loader), "\"auto\" from default");

    loader.text("a.toml", "[workers]\ncount = 2");
    assert_eq!(count_and_origin(&loader), "2 from a.toml:2");
    loader.text("b.toml", "workers.count = 3");
    assert_eq!(count_and_origin(&loader), "3 from b.toml:1");

    let variable = "HATCHERY_WORKERS_COUNT";
    loader.environment([(variable.into(), "4".into())]);
    let found = count_and_origin(&loader);
    assert_eq!(found, format!("4 from environment {variable}"));

    loader.flag("--workers", "workers.count", "5");
    assert_eq!(count_and_origin(&loader), "5 from flag --workers");
    loader.flag("-w", "workers.count", "6");
    loader.text("c.toml", "workers.count = 7");
    assert_eq!(count_and_origin(&loader), "6 from flag -w");
}

#[test]
fn a_later_file_wins_key_by_key() {
    let config = Config::loader()
        .text("a.toml", "[workers]\ncount = 2\nmax_concurrency = 7")
        .text("b.toml", "workers.count = 3")
        .load()
        .unwrap();

    let origin = |key| config.origin(key).unwrap().to_string();
    assert_eq!(origin("workers.count"), "b.toml:1");
    assert_eq!(origin("workers.max_concurrency"), "a.toml:3");
    assert_eq!(origin("workers.max_memory"), "default");
    assert_eq!(config.origin("workers.cuont"), None);
}

#[test]
fn what_the_program_changes_is_its_own_and_checked() {
    let mut config = load_text("server.backlog = 64").unwrap();
    config.server.overload = Overload::Reset;
    config.server.backlog = NonZeroU32::MIN;
    assert_eq!(config.origin("server.backlog"), Some(&Origin::Program));
    assert_eq!(config.origin("server.overload"), Some(&Origin::Program));
    config.check().unwrap();

    config.server.dispatch = Dispatch::Direct;
    let error = config.check().unwrap_err();
    assert_eq!(error.key(), Some("server.overload"));

    config.server.bind.clear();
    assert_eq!(
        config.check().unwrap_err().to_string().split(';').next(),
        Some("program: server.bind: [] is an empty list")
    );
}
