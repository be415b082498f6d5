//! Certificates of authorities of one's own, as `tls_ca` names them.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use ezdfs_core::{Error, ErrorKind, Result};
#[cfg(any(feature = "mysql", feature = "postgres"))]
use ezdfs_metadata::server::Authorities;

/// Largest file that is read, in bytes: the list of all public authorities is a quarter of that.
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads a file of certificates for a database server.
///
/// # Errors
/// [`ErrorKind::Config`] when it cannot be read, or holds no certificate: names the file.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(crate) fn read(path: &Path) -> Result<Authorities> {
    Authorities::from_pem(pem(path)?).map_err(|e| e.context(from(path)))
}

/// Reads a file of certificates.
///
/// # Errors
/// [`ErrorKind::Config`] when it cannot be read, or looks like no certificate: names the file.
pub(crate) fn pem(path: &Path) -> Result<Vec<u8>> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let from = from(path);
    let pem = bytes(path).map_err(|e| {
        let message = format!("{from} cannot be read; check path and permissions");
        Error::new(ErrorKind::Config, message).with_source(e)
    })?;
    if pem.windows(BEGIN.len()).any(|w| w == BEGIN) {
        Ok(pem)
    } else {
        Err(Error::new(
            ErrorKind::Config,
            format!("{from}: holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`)"),
        ))
    }
}

fn from(path: &Path) -> String {
    format!("certificate file {}", path.display())
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_BYTES) {
        return Err(io::Error::other("more than 1 MiB: these are no certificates of authorities"));
    }
    Ok(bytes)
}
