//! `--bwlimit`: a rate, and the token bucket that all transfers of a run share.

use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ezdfs_core::{Error, ErrorKind};
use tokio::time::Instant;

/// Bytes per second, above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(u64);

impl Rate {
    /// Bytes per second.
    #[must_use]
    pub fn bytes_per_second(self) -> u64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = Error;
    /// A whole number of bytes per second, or of KiB, MiB or GiB with the suffix `K`, `M` or `G`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let (digits, unit) = match text.as_bytes().last() {
            Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
            Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
            Some(b'g' | b'G') => (&text[..text.len() - 1], 1 << 30),
            _ => (text, 1),
        };
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let rate = digits.parse::<u64>().ok().filter(|_| plain).and_then(|n| n.checked_mul(unit));
        rate.filter(|n| *n > 0).map(Self).ok_or_else(|| {
            Error::new(
                ErrorKind::Usage,
                format!(
                    "--bwlimit takes bytes per second, as in `500K`, `20M` or `1G`; `{text}` is \
                     something else"
                ),
            )
        })
    }
}

/// A token bucket of one second's worth of bytes.
#[derive(Debug)]
pub struct Throttle {
    rate: Rate,
    /// When everything that was taken so far will have been paid for.
    paid: Mutex<Instant>,
}

/// What may be taken at once after a pause.
const BURST: Duration = Duration::from_secs(1);

impl Throttle {
    /// A full bucket.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, paid: Mutex::new(Instant::now()) }
    }

    /// Takes `bytes`, and waits until the rate allows them.
    pub async fn take(&self, bytes: usize) {
        let until = self.book(bytes, Instant::now());
        tokio::time::sleep_until(until).await;
    }

    fn book(&self, bytes: usize, now: Instant) -> Instant {
        let nanos = u128::try_from(bytes)
            .unwrap_or(u128::MAX)
            .saturating_mul(1_000_000_000)
            .checked_div(u128::from(self.rate.0))
            .unwrap_or_default();
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let from = now.checked_sub(BURST).map_or(*paid, |earliest| earliest.max(*paid));
        *paid = from.checked_add(cost).unwrap_or(from);
        *paid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_binary_suffixes() {
        for (text, bytes) in [("1", 1), ("500K", 512_000), ("2m", 2 << 20), ("1G", 1 << 30)] {
            assert_eq!(text.parse::<Rate>().unwrap().bytes_per_second(), bytes, "{text}");
        }
        for bad in ["", "K", "0", "0M", "-1", "+1", "1.5M", "1T", "99999999999G", "1 M", "é"] {
            assert_eq!(bad.parse::<Rate>().unwrap_err().kind(), ErrorKind::Usage, "{bad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ten_seconds_worth_of_bytes_takes_ten_seconds() {
        let throttle = Throttle::new("1M".parse().unwrap());
        let start = Instant::now();
        for _ in 0..40 {
            throttle.take(256 << 10).await;
        }
        let took = start.elapsed();
        assert!(took >= Duration::from_secs(9) && took <= Duration::from_secs(11), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_saves_up_one_second_at_most() {
        let throttle = Throttle::new("1M".parse().unwrap());
        tokio::time::sleep(Duration::from_secs(60)).await;
        let start = Instant::now();
        throttle.take(3 << 20).await;
        assert_eq!(start.elapsed().as_secs(), 2);
    }
}
