//! The configuration as a whole: every key from every source, the messages, the printed form.

mod bind;
mod messages;
mod precedence;
mod reference;
mod round_trip;
mod sources;

use self::round_trip::any_address;

use super::{Config, ConfigError};

fn load_text(text: &str) -> Result<Config, ConfigError> {
    Config::loader().text("hatchery.toml", text).load()
}

fn load_variable(name: &str, value: &str) -> Result<Config, ConfigError> {
    Config::loader()
        .environment([(name.into(), value.into())])
        .load()
}

fn load_flag(key: &str, value: &str) -> Result<Config, ConfigError> {
    Config::loader().flag("--flag", key, value).load()
}

fn shown(config: &Config, key: &str) -> String {
    let mut settings = config.settings();
    settings.find(|setting| setting.key == key).unwrap().value
}
