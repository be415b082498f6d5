//! `Tls`: certificate and key of a listener, which can be read again while it serves.

use std::path::PathBuf;

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those between it and an authority, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

#[cfg(feature = "tls")]
pub use built_in::Tls;
#[cfg(not(feature = "tls"))]
pub use left_out::Tls;

#[cfg(feature = "tls")]
mod built_in {
    use std::sync::{Arc, PoisonError, RwLock};

    use ezdfs_core::{Error, ErrorKind, Result};
    use rustls_pki_types::pem::PemObject as _;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::crypto::aws_lc_rs;

    use super::TlsFiles;

    /// TLS of a listener. Cheap to clone; all clones are one.
    #[derive(Debug, Clone)]
    pub struct Tls {
        files: TlsFiles,
        /// Whether HTTP/2 is offered.
        http2: bool,
        config: Arc<RwLock<Arc<ServerConfig>>>,
    }

    impl Tls {
        /// Reads certificate and key.
        ///
        /// # Errors
        /// [`ErrorKind::Config`] when they cannot be read or do not belong together.
        pub fn load(files: TlsFiles, http2: bool) -> Result<Self> {
            let config = Arc::new(RwLock::new(Arc::new(read(&files, http2)?)));
            Ok(Self { files, http2, config })
        }

        /// Reads them again, for connections from now on. When it fails the old ones stay.
        ///
        /// # Errors
        /// As [`Self::load`].
        pub fn reload(&self) -> Result<()> {
            let config = Arc::new(read(&self.files, self.http2)?);
            *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
            Ok(())
        }

        pub(crate) fn acceptor(&self) -> TlsAcceptor {
            let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
            TlsAcceptor::from(Arc::clone(&config))
        }
    }

    fn read(files: &TlsFiles, http2: bool) -> Result<ServerConfig> {
        let refuse = |what: &str, e: Box<dyn std::error::Error + Send + Sync>| {
            Error::new(ErrorKind::Config, format!("{what}; write it in PEM")).with_source(e)
        };
        let cannot = |file: &std::path::Path| format!("cannot read {}", file.display());
        let chain = CertificateDer::pem_file_iter(&files.certificate)
            .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
            .map_err(|e| refuse(&cannot(&files.certificate), e.into()))?;
        if chain.is_empty() {
            let message = format!("there is no certificate in {}", files.certificate.display());
            return Err(Error::new(ErrorKind::Config, message));
        }
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .map_err(|e| refuse(&cannot(&files.key), e.into()))?;
        let both = format!(
            "{} and {} do not belong together",
            files.certificate.display(),
            files.key.display()
        );
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
                .map_err(|e| Error::new(ErrorKind::Config, both).with_source(e))?;
        if http2 {
            config.alpn_protocols.push(b"h2".to_vec());
        }
        config.alpn_protocols.push(b"http/1.1".to_vec());
        Ok(config)
    }
}

#[cfg(not(feature = "tls"))]
mod left_out {
    use std::convert::Infallible;

    use ezdfs_core::{Error, ErrorKind, Result};

    use super::TlsFiles;

    /// TLS, which this build has not: there is none of these.
    #[derive(Debug, Clone)]
    pub struct Tls(Infallible);

    impl Tls {
        /// Fails.
        ///
        /// # Errors
        /// [`ErrorKind::Config`].
        pub fn load(_: TlsFiles, _: bool) -> Result<Self> {
            Err(Error::new(
                ErrorKind::Config,
                "this build has no TLS; build it with the feature `tls`, or end TLS before it",
            ))
        }

        /// Cannot be called.
        ///
        /// # Errors
        /// None.
        pub fn reload(&self) -> Result<()> {
            match self.0 {}
        }
    }
}
