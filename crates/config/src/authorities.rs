//! Certificates of authorities of one's own, as `tls_ca` names them.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use ezdfs_core::{Error, ErrorKind, Result};
use ezdfs_metadata::server::Authorities;

/// Largest file that is read, in bytes: the list of all public authorities is a quarter of that.
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads a file of certificates.
///
/// # Errors
/// [`ErrorKind::Config`] when it cannot be read, or holds no certificate: names the file.
pub(crate) fn read(path: &Path) -> Result<Authorities> {
    let from = format!("certificate file {}", path.display());
    let pem = bytes(path).map_err(|e| {
        let message = format!("{from} cannot be read; check path and permissions");
        Error::new(ErrorKind::Config, message).with_source(e)
    })?;
    Authorities::from_pem(pem).map_err(|e| e.context(from))
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_BYTES) {
        return Err(io::Error::other("more than 1 MiB: these are no certificates of authorities"));
    }
    Ok(bytes)
}
