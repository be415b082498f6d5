//! The combined report, from the journal: it covers all runs that the journal covers.

use std::fs::{File, Permissions};
use std::io::{self, BufReader, BufWriter, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ezdfs_core::{Error, ErrorKind, Result};

use crate::journal::{Line, Piece, each_line};
use crate::progress::FileDone;

/// Hands every finished file of a journal to `each`, in the order in which they finished. Blocks.
pub(crate) fn each_file(
    mut journal: &File,
    mut each: impl FnMut(&FileDone) -> Result<()>,
) -> Result<()> {
    journal.seek(SeekFrom::Start(0)).map_err(|e| {
        Error::new(ErrorKind::Unavailable, "cannot read the journal").with_source(e)
    })?;
    each_line(BufReader::new(journal), |piece, _| match piece {
        Piece::Line(Line::Done(done)) => each(&done),
        _ => Ok(()),
    })
}

/// Refuses a place where no report can be written: better before the run than after it. Blocks.
///
/// # Errors
/// [`ErrorKind::Usage`].
pub(crate) fn check(path: &Path) -> Result<()> {
    if path.file_name().is_some() && !path.is_dir() && directory(path).is_dir() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Usage,
        format!("--report names a file in an existing directory; `{}` does not", path.display()),
    ))
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes the report as a whole or not at all: one line per file, symbol, space, path. Blocks.
///
/// # Errors
/// When it cannot be written; an earlier report stays as it is then.
pub(crate) fn write(journal: &File, unjournalled: &[FileDone], path: &Path) -> Result<()> {
    let failed = |e: io::Error| {
        Error::new(ErrorKind::Unavailable, format!("cannot write the report `{}`", path.display()))
            .with_source(e)
    };
    let mut temp = tempfile::NamedTempFile::new_in(directory(path)).map_err(failed)?;
    {
        let mut out = BufWriter::new(temp.as_file_mut());
        each_file(journal, |done| writeln!(out, "{done}").map_err(failed))?;
        for done in unjournalled {
            writeln!(out, "{done}").map_err(failed)?;
        }
        out.flush().map_err(failed)?;
    }
    temp.as_file().set_permissions(Permissions::from_mode(0o644)).map_err(failed)?;
    temp.as_file().sync_all().map_err(failed)?;
    temp.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}
