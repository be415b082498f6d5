//! What `ezdfs schema check` finds.

use std::fmt;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Something does not work, or not as it should.
    Problem,
    /// Everything works, and something costs more or needs care.
    Note,
}

/// One thing that is not as it could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub weight: Weight,
    /// What is there.
    pub what: String,
    /// What it costs.
    pub cost: String,
    /// What to do.
    pub fix: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.what, self.cost, self.fix)
    }
}

/// What a database lacks; nothing when it is as this ezdfs makes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// In the order in which they were looked for.
    pub all: Vec<Finding>,
    /// Nothing of ezdfs is there at all.
    pub not_installed: bool,
}

impl Findings {
    /// What does not work, or not as it should.
    pub fn problems(&self) -> impl Iterator<Item = &Finding> {
        self.all.iter().filter(|f| f.weight == Weight::Problem)
    }

    /// What costs more or needs care.
    pub fn notes(&self) -> impl Iterator<Item = &Finding> {
        self.all.iter().filter(|f| f.weight == Weight::Note)
    }

    pub(crate) fn problem(
        &mut self,
        what: impl Into<String>,
        cost: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.add(Weight::Problem, what.into(), cost.into(), fix.into());
    }

    pub(crate) fn note(
        &mut self,
        what: impl Into<String>,
        cost: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.add(Weight::Note, what.into(), cost.into(), fix.into());
    }

    fn add(&mut self, weight: Weight, what: String, cost: String, fix: String) {
        self.all.push(Finding { weight, what, cost, fix });
    }
}
