//! Which paths there are, and what is promised of each.

/// Who writes a path decides what is promised of it (SEMANTICS.md, "Foreign writers").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Only ezdfs: one register, for every reader.
    Own,
    /// Only PHP nodes, one at a time.
    Php,
    /// PHP and ezdfs, never at the same moment (what ezdfs did not acknowledge may still come).
    Turns,
    /// PHP and ezdfs at the same moment. The last to write the row wins, so an acknowledged write
    /// may be lost: whole versions are all that is promised.
    Race,
    /// Only ezdfs, one writer: never replaced.
    Cold,
}

impl Class {
    const HOT: [(Self, &'static str, usize); 4] = [
        (Self::Own, "own", 5),
        (Self::Php, "php", 3),
        (Self::Turns, "turns", 2),
        (Self::Race, "race", 2),
    ];

    /// How many hot paths of it there are.
    pub(crate) fn count(self) -> usize {
        Self::HOT.iter().find(|(class, ..)| *class == self).map_or(0, |(_, _, count)| *count)
    }

    /// One of its hot paths.
    pub(crate) fn path(self, n: usize) -> String {
        let name = Self::HOT.iter().find(|(class, ..)| *class == self).unwrap().1;
        format!("images/{name}/{}.bin", n % self.count())
    }

    /// Of which class a path is.
    pub(crate) fn of(path: &str) -> Self {
        let name = path.split('/').nth(1);
        let hot = Self::HOT.iter().find(|(_, hot, _)| name == Some(hot));
        hot.map_or(Self::Cold, |(class, ..)| *class)
    }

    /// Whether PHP writes it.
    pub(crate) fn is_foreign(self) -> bool {
        matches!(self, Self::Php | Self::Turns | Self::Race)
    }
}

/// Every hot path.
pub(crate) fn hot() -> Vec<String> {
    Class::HOT.iter().flat_map(|(class, _, count)| (0..*count).map(|n| class.path(n))).collect()
}
