//! TLS that ends in the workers.
//!
//! The main process knows where certificates and keys are, and never reads them: a worker does when
//! it starts. What all share is the secret of the session tickets, so that a client resumes its
//! session in whichever worker its next connection comes to.

mod certificates;
mod tickets;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::{self, ServerConfig};

use self::certificates::{Certificates, load};
use self::tickets::{SECRET_BYTES, Tickets};

/// How long a ticket key is used to make tickets, unless something else was chosen.
const TICKET_PERIOD: Duration = Duration::from_secs(6 * 60 * 60);

/// How a server speaks TLS: made by the main process, used by the workers.
///
/// Give it to the workers as [`state`](crate::ServerBuilder::state), or as a part of yours. Each worker
/// reads the files when it makes its [`acceptor`](Self::acceptor), before it is ready: so a reload (`SIGHUP`)
/// takes new certificates, and one that cannot be read keeps the reload from happening.
///
/// # Examples
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use hatchery::Tls;
///
/// #[hatchery::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let tls = Tls::new("cert.pem", "key.pem")?;
///     hatchery::Server::builder()
///         .bind("0.0.0.0:8443")
///         .state(&tls)
///         .run(|worker| async move {
///             let tls: &Tls = worker.state();
///             let app = Router::new().route("/", get(async || "Hello!\n"));
///             axum::serve(worker.tls_listener(tls.acceptor()?), app)
///                 .with_graceful_shutdown(worker.draining())
///                 .await?;
///             Ok(())
///         })
///         .await?;
///     Ok(())
/// }
/// ```
#[derive(Clone, Serialize, Deserialize)]
pub struct Tls {
    pairs: Vec<CertificateFiles>,
    protocols: Vec<Vec<u8>>,
    secret: [u8; SECRET_BYTES],
    ticket_period: Duration,
}

/// Where a certificate chain is, and its key.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
}

impl Tls {
    /// Speaks TLS with the certificate chain and the private key in these files, both PEM.
    ///
    /// They are read by the workers only.
    ///
    /// # Errors
    ///
    /// Returns [`TlsError::Random`] if the kernel gives no secret.
    pub fn new(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, TlsError> {
        let mut tls = Self {
            pairs: Vec::new(),
            protocols: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            secret: tickets::new_secret().ok_or(TlsError::Random)?,
            ticket_period: TICKET_PERIOD,
        };
        tls.certificate(certificate, key);
        Ok(tls)
    }

    /// Has a further certificate, for clients that ask for a name which it is valid for.
    ///
    /// # Default
    ///
    /// Only the first one, which is also for clients that ask for a name of nobody's, or none.
    pub fn certificate(
        &mut self,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> &mut Self {
        self.pairs.push(CertificateFiles {
            certificate: certificate.as_ref().to_owned(),
            key: key.as_ref().to_owned(),
        });
        self
    }

    /// Offers these protocols (ALPN), the most wanted first; none at all leaves it to the client.
    ///
    /// # Default
    ///
    /// `h2`, then `http/1.1`.
    pub fn protocols<P: AsRef<[u8]>>(
        &mut self,
        protocols: impl IntoIterator<Item = P>,
    ) -> &mut Self {
        let protocols = protocols.into_iter();
        self.protocols = protocols.map(|it| it.as_ref().to_vec()).collect();
        self
    }

    /// Makes tickets with a new key after each such period, at least a second.
    ///
    /// A ticket can be used for one to two periods. All keys come from one secret that lives as long as
    /// the main process: who gets at that can read what clients of TLS 1.2 said in resumed sessions,
    /// though not those of TLS 1.3.
    ///
    /// # Default
    ///
    /// Six hours.
    pub fn ticket_period(&mut self, period: Duration) -> &mut Self {
        self.ticket_period = period.max(Duration::from_secs(1));
        self
    }

    /// Reads certificates and keys, and makes what accepts TLS. Call it once in each worker.
    ///
    /// # Errors
    ///
    /// Returns [`TlsError`] if a file cannot be read, or does not hold what it should.
    pub fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        Ok(TlsAcceptor::from(Arc::new(self.server_config()?)))
    }

    /// As [`acceptor`](Self::acceptor), for who wants to change something that rustls can be told.
    ///
    /// # Errors
    ///
    /// As [`acceptor`](Self::acceptor).
    pub fn server_config(&self) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(default_provider());
        let keys = self.pairs.iter();
        let keys = keys.map(|files| load(&files.certificate, &files.key, &provider));
        let certificates = Certificates::new(keys.collect::<Result<_, _>>()?);
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(TlsError::Rustls)?;
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols.clone_from(&self.protocols);
        config.ticketer = Arc::new(Tickets::new(&self.secret, self.ticket_period));
        Ok(config)
    }
}

/// Shows where everything is, and no secret.
impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("pairs", &self.pairs)
            .field("ticket_period", &self.ticket_period)
            .finish_non_exhaustive()
    }
}

/// Why a worker cannot speak TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The kernel gave no random bytes.
    #[error("the kernel gave no random bytes")]
    Random,
    /// A certificate cannot be read.
    #[error("the certificate {} cannot be read: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A private key cannot be read.
    #[error("the private key {} cannot be read: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate and its key do not go together, or are of a kind that is not supported.
    #[error("the certificate {} and its key cannot be used", certificate.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// What rustls says of the rest.
    #[error("TLS cannot be set up")]
    Rustls(#[source] rustls::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_holds_no_secret() {
        let mut tls = Tls::new("a.pem", "a.key").unwrap();
        tls.secret = [77; SECRET_BYTES];

        let shown = format!("{tls:?}");

        assert!(shown.contains("a.key") && !shown.contains("77"), "{shown}");
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        let tls = Tls::new("/nowhere/a.pem", "/nowhere/a.key").unwrap();

        let error = tls.server_config().unwrap_err();

        assert!(error.to_string().contains("/nowhere/a.pem"), "{error}");
    }
}
