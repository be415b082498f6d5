//! Encryption of connections, and whom to believe.

use std::fmt;

use ezdfs_core::{Error, ErrorKind, Result};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Whether the connection is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Tls {
    /// Never.
    Off,
    /// If the server can; its certificate is not checked.
    #[default]
    Prefer,
    /// Always, with a certificate for that host that a public authority has signed, or one of these.
    Verify(Option<Authorities>),
}

impl Tls {
    /// What is believed besides the public authorities. Never left to sqlx, which asks the
    /// environment.
    pub(crate) fn authorities(&self) -> Vec<u8> {
        match self {
            Self::Verify(Some(authorities)) => authorities.pem.clone(),
            _ => Vec::new(),
        }
    }
}

/// Certificates of authorities of one's own.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities {
    pem: Vec<u8>,
}

impl Authorities {
    /// Certificates in PEM, one or more; text between them does not count.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when there is none, or something else of that form.
    pub fn from_pem(pem: Vec<u8>) -> Result<Self> {
        let wrong = |what| Error::new(ErrorKind::Config, what);
        let mut count = 0_usize;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            certificate.map_err(|e| wrong("a certificate is not PEM").with_source(e))?;
            count += 1;
        }
        if count == 0 {
            return Err(wrong("holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`)"));
        }
        Ok(Self { pem })
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of PEM", self.pem.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        let pem = "a text\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(Authorities::from_pem(pem.repeat(2).into_bytes()).is_ok());
        for wrong in ["", "a text", &pem.replace("AAAA", "A*"), &pem.replace("CERTIFICATE", "KEY")]
        {
            let error = Authorities::from_pem(wrong.as_bytes().to_vec()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{wrong}");
        }
    }
}
