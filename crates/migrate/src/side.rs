//! `Side`: one end of a migration.

use ezdfs_core::DirPath;
use ezdfs_engine::FileService;

use crate::place::Places;
use crate::sides::SidePair;

/// One end of a migration: its handler names, and the file service over those handlers.
#[derive(Debug, Clone)]
pub struct Side {
    /// Handler names.
    pub pair: SidePair,
    /// Rows and bytes.
    pub service: FileService,
    /// Where they are, as far as it is known: lets overlapping sides be refused.
    pub places: Places,
}

impl Side {
    /// Names the handlers with their places, for the journal: a handler that was configured to
    /// another place is another side.
    pub(crate) fn describe(&self) -> String {
        let binary = self.service.binary();
        let prefix = match binary.dir_key(&DirPath::root()) {
            Ok(Some(key)) => format!(", prefix {key}"),
            _ => String::new(),
        };
        format!("{} ({}; {}{prefix})", self.pair, self.service.metadata().describe(), binary.store)
    }
}
