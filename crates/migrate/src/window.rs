//! The window of files that are in flight or finished out of order, and the watermark that follows
//! from it.

use std::collections::VecDeque;

/// Most files between the first unfinished one and the last started one. One slow file lets this
/// many others pass; then they wait, so that memory and journal stay bounded.
pub(crate) const WINDOW: usize = 1024;

/// Files in the order of the lister.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// Number of the first file in `slots`.
    first: u64,
    slots: VecDeque<Slot>,
    /// The last known position before `slots`, when it is news.
    passed: Option<Vec<u8>>,
    /// Files that passed since the last watermark was taken.
    since: usize,
}

#[derive(Debug)]
struct Slot {
    position: Option<Vec<u8>>,
    finished: bool,
}

/// Names a file within the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

impl Window {
    pub(crate) fn is_full(&self) -> bool {
        self.slots.len() >= WINDOW
    }

    /// The next file of the lister, and the position behind it.
    pub(crate) fn enter(&mut self, position: Option<Vec<u8>>) -> Ticket {
        let at = u64::try_from(self.slots.len()).unwrap_or(u64::MAX);
        self.slots.push_back(Slot { position, finished: false });
        Ticket(self.first.saturating_add(at))
    }

    /// A file is finished and journalled.
    pub(crate) fn finish(&mut self, ticket: Ticket) {
        let at = ticket.0.checked_sub(self.first).and_then(|n| usize::try_from(n).ok());
        if let Some(slot) = at.and_then(|n| self.slots.get_mut(n)) {
            slot.finished = true;
        }
        while self.slots.front().is_some_and(|slot| slot.finished) {
            let position = self.slots.pop_front().and_then(|slot| slot.position);
            self.passed = position.or_else(|| self.passed.take());
            self.first = self.first.saturating_add(1);
            self.since = self.since.saturating_add(1);
        }
    }

    /// Files that passed since the last watermark was taken.
    pub(crate) fn since(&self) -> usize {
        self.since
    }

    /// The position up to which everything is finished; `None` when that is no news.
    pub(crate) fn watermark(&mut self) -> Option<Vec<u8>> {
        let passed = self.passed.take();
        if passed.is_some() {
            self.since = 0;
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_never_passes_an_unfinished_file() {
        let mut window = Window::default();
        let tickets: Vec<_> = [b"a", b"b", b"c"].map(|p| window.enter(Some(p.to_vec()))).into();
        window.finish(tickets[1]);
        assert_eq!(window.watermark(), None);
        window.finish(tickets[0]);
        assert_eq!(window.since(), 2);
        assert_eq!(window.watermark(), Some(b"b".to_vec()));
        assert_eq!((window.watermark(), window.since()), (None, 0));
        let last = window.enter(Some(b"d".to_vec()));
        window.finish(last);
        assert_eq!(window.watermark(), None);
        window.finish(tickets[2]);
        assert_eq!(window.watermark(), Some(b"d".to_vec()));
    }

    #[test]
    fn files_without_a_position_wait_for_one_that_has_it() {
        let mut window = Window::default();
        let [a, b, c] = [None, Some(b"b".to_vec()), None].map(|p| window.enter(p));
        window.finish(a);
        assert_eq!((window.since(), window.watermark()), (1, None));
        window.finish(c);
        window.finish(b);
        assert_eq!(window.since(), 3, "no watermark was taken");
        assert_eq!(window.watermark(), Some(b"b".to_vec()));
    }

    #[test]
    fn it_fills_up() {
        let mut window = Window::default();
        let first = window.enter(None);
        for _ in 1..WINDOW {
            assert!(!window.is_full());
            window.enter(None);
        }
        assert!(window.is_full());
        window.finish(first);
        assert!(!window.is_full());
    }
}
