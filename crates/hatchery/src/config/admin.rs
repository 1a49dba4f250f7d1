//! The `[admin]` section: where a server shows how it is.

use super::bind::{BindAddress, BindAddressProblem};
use super::error::ValueProblem;
use super::given::{Given, Refusal};
use super::key::ValueKind;
use super::show::quoted;
use super::value::Value;

/// Where a server shows how it is.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct AdminConfig {
    /// The address of the admin listener, on this machine alone; `None` has none.
    ///
    /// It is a [`BindAddress::Tcp`] of a loopback address, or a [`BindAddress::Unix`], whose mode
    /// is 0600 if it does not say.
    pub bind: Option<BindAddress>,
}

impl AdminConfig {
    pub(super) const ALLOWED: &str = r#""" (none), a loopback address such as "127.0.0.1:9180" or "[::1]:9180", or a socket file such as "unix:/run/echo.admin""#;
}

impl Value for Option<BindAddress> {
    const KIND: ValueKind = ValueKind::LocalAddress;

    fn read(given: &Given, _: (u64, u64)) -> Result<Self, Refusal> {
        let text = given.text()?;
        if text.is_empty() {
            return Ok(None);
        }
        let address = BindAddress::parse(text).and_then(|address| match address {
            BindAddress::Tcp(tcp) if tcp.ip().is_loopback() => Ok(address),
            BindAddress::Unix { .. } => Ok(address),
            _ => Err(BindAddressProblem::NotLocal),
        });
        let address = address.map_err(|problem| given.refuse(ValueProblem::Address(problem)))?;
        Ok(Some(address))
    }

    fn show(&self) -> String {
        let address = self.as_ref().map(BindAddress::to_string);
        quoted(&address.unwrap_or_default())
    }
}
