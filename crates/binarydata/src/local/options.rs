//! `LocalOptions`.

use ezdfs_core::{Error, ErrorKind, Result};

/// How a local store writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalOptions {
    /// Whether a write is durable before it is acknowledged: fsync of file and directory.
    pub fsync: bool,
    /// Permission bits of files, exactly: no umask is taken off.
    pub file_mode: u32,
    /// Permission bits of directories, exactly: no umask is taken off.
    pub dir_mode: u32,
    /// Whether a missing root is made. Off for roots that an operator configured: under a mount
    /// point that is not mounted a new directory would silently take the writes.
    pub create_root: bool,
}

impl Default for LocalOptions {
    /// As Flysystem and Ibexa write (ibexa-dfs.md §1.4): 0644 and 0755; durable.
    fn default() -> Self {
        Self { fsync: true, file_mode: 0o644, dir_mode: 0o755, create_root: false }
    }
}

impl LocalOptions {
    /// Refuses modes that would lock the store out of its own files.
    pub(super) fn check(&self) -> Result<()> {
        for (what, mode, needed) in
            [("file_mode", self.file_mode, 0o600), ("dir_mode", self.dir_mode, 0o700)]
        {
            if mode > 0o7777 || mode & needed != needed {
                let text = format!(
                    "{what} {mode:o} does not do: give octal permission bits that include \
                     {needed:o}"
                );
                return Err(Error::new(ErrorKind::Config, text));
            }
        }
        Ok(())
    }
}
