//! What is done: drawn from the seed, and from nothing else. A seed repeats who does what to which
//! path with which fault; how long each step takes is up to the machine.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::paths::Class;

/// The randomness of one actor.
pub(crate) fn of(seed: u64, actor: &str) -> StdRng {
    let mut hash = seed ^ 0xcbf2_9ce4_8422_2325;
    for byte in actor.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    StdRng::seed_from_u64(hash)
}

/// What happens to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// SIGKILL, so long after its start.
    Kill(Duration),
    /// SIGSTOP, so long after its start, and SIGCONT so much later.
    Stop(Duration, Duration),
}

/// What a writer does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Put,
    PutIfAbsent,
    PutIfMatch,
    Delete,
    /// A new file is put elsewhere and renamed to the path.
    RenameIn,
    /// The file is renamed away, and read there.
    RenameOut,
    /// A new file is put elsewhere and copied to the path.
    CopyIn,
    /// The file is copied, and read there.
    CopyOut,
    /// A put of a path of its own, which stays.
    Cold,
}

/// By which door it does that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Command,
    /// The admin API of a node.
    Http(usize),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) what: What,
    pub(crate) door: Door,
    pub(crate) class: Class,
    pub(crate) path: usize,
    pub(crate) size: usize,
    pub(crate) fault: Fault,
    /// In a process namespace of its own: as good as another machine, for nobody here sees whether
    /// it lives.
    pub(crate) elsewhere: bool,
    pub(crate) pause: Duration,
}

impl Step {
    pub(crate) fn draw(rng: &mut StdRng, nodes: usize) -> Self {
        let what = match rng.random_range(0..100) {
            0..36 => What::Put,
            36..48 => What::PutIfAbsent,
            48..58 => What::PutIfMatch,
            58..71 => What::Delete,
            71..78 => What::RenameIn,
            78..84 => What::RenameOut,
            84..87 => What::CopyIn,
            87..90 => What::CopyOut,
            _ => What::Cold,
        };
        let door = match rng.random_range(0..100) {
            0..60 => Door::Command,
            _ => Door::Http(rng.random_range(0..nodes)),
        };
        let class = match (what, rng.random_range(0..100)) {
            (What::Cold, _) => Class::Cold,
            (What::Put | What::Delete, 70..85) => Class::Turns,
            (What::Put | What::Delete, 85..100) => Class::Race,
            _ => Class::Own,
        };
        let path = rng.random_range(0..1_000);
        let size = match rng.random_range(0..100) {
            0..60 => rng.random_range(0..8_000),
            60..95 => rng.random_range(8_000..200_000),
            _ => rng.random_range(200_000..6_000_000),
        };
        let after = Duration::from_millis(rng.random_range(0..700));
        let lasting = Duration::from_millis(rng.random_range(16_000..32_000));
        let fault = match rng.random_range(0..100) {
            0..12 => Fault::Kill(after),
            // A path that takes turns must not wait for that.
            12..16 if class == Class::Own && door == Door::Command => Fault::Stop(after, lasting),
            _ => Fault::None,
        };
        // Who is killed elsewhere blocks its path for lease and time-out.
        let elsewhere = rng.random_range(0..100) < if fault == Fault::None { 10 } else { 35 };
        let pause = Duration::from_millis(rng.random_range(0..300));
        Self { what, door, class, path, size, fault, elsewhere, pause }
    }
}

/// What a PHP node does next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PhpStep {
    pub(crate) what: PhpWhat,
    pub(crate) class: Class,
    pub(crate) path: usize,
    pub(crate) size: usize,
    pub(crate) pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PhpWhat {
    Create,
    Delete,
    SoftDelete,
}

impl PhpStep {
    pub(crate) fn draw(rng: &mut StdRng) -> Self {
        let what = match rng.random_range(0..100) {
            0..65 => PhpWhat::Create,
            65..85 => PhpWhat::Delete,
            _ => PhpWhat::SoftDelete,
        };
        let class = match rng.random_range(0..100) {
            0..60 => Class::Php,
            60..80 => Class::Turns,
            _ => Class::Race,
        };
        let path = rng.random_range(0..1_000);
        let size = match rng.random_range(0..4) {
            // Often the same: neither size nor second tell such versions apart.
            0 => 5_000,
            _ => rng.random_range(0..300_000),
        };
        let pause = Duration::from_millis(rng.random_range(20..500));
        Self { what, class, path, size, pause }
    }
}

/// What is broken next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Breakage {
    /// SIGKILL of a node, which is started again.
    KillNode(usize),
    /// SIGSTOP of a node.
    StopNode(usize),
    /// Something happens to the lines of one node, of the commands (the last), or of all (beyond).
    Line(usize, LineFault),
    /// The same on the lines to the object store.
    StoreLine(usize, LineFault),
    /// SIGKILL of the database server, which is started again.
    KillDatabase,
}

/// What happens to connections.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum LineFault {
    /// They end.
    Cut,
    /// They stay open, and nothing comes through.
    Silence,
    /// New ones are refused, and old ones end.
    Refuse,
    Delay(Duration),
    /// Bytes a second.
    Throttle(u64),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Trouble {
    pub(crate) before: Duration,
    pub(crate) breakage: Breakage,
    pub(crate) lasting: Duration,
}

impl Trouble {
    /// `has_store`: an object store with lines of its own.
    pub(crate) fn draw(rng: &mut StdRng, nodes: usize, has_store: bool) -> Self {
        let before = Duration::from_millis(rng.random_range(1_500..7_000));
        let lasting = Duration::from_millis(rng.random_range(300..4_000));
        let node = rng.random_range(0..nodes);
        // Nodes, commands, and all of them.
        let line = rng.random_range(0..=nodes + 1);
        let delay = Duration::from_millis(rng.random_range(10..300));
        let rate = rng.random_range(2_000..50_000);
        let long = Duration::from_millis(rng.random_range(2_000..20_000));
        let at_store = rng.random_range(0..2) == 0 && has_store;
        let of_line = |fault| match at_store {
            true => Breakage::StoreLine(line, fault),
            false => Breakage::Line(line, fault),
        };
        let (breakage, lasting) = match rng.random_range(0..100) {
            0..18 => (Breakage::KillNode(node), lasting),
            18..30 => (Breakage::StopNode(node), long),
            30..45 => (of_line(LineFault::Cut), Duration::ZERO),
            45..58 => (of_line(LineFault::Silence), lasting),
            58..70 => (of_line(LineFault::Refuse), lasting),
            70..82 => (of_line(LineFault::Delay(delay)), lasting),
            // Whole files go over the lines of a store.
            82..90 if at_store => (of_line(LineFault::Throttle(rate * 20)), lasting),
            82..90 => (of_line(LineFault::Throttle(rate)), lasting),
            _ => (Breakage::KillDatabase, lasting),
        };
        Self { before, breakage, lasting }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_the_plan_of_each_actor() {
        let steps = |seed, actor| {
            let mut rng = of(seed, actor);
            (0..200).map(|_| format!("{:?}", Step::draw(&mut rng, 3))).collect::<Vec<_>>()
        };
        assert_eq!(steps(1, "a"), steps(1, "a"));
        assert_ne!(steps(1, "a"), steps(1, "b"));
        assert_ne!(steps(1, "a"), steps(2, "a"));
    }
}
