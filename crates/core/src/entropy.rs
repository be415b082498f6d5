//! Randomness from one seedable source: tokens and jitter.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};

use crate::digest::Token;

/// The source of randomness. Tests seed it, so that a failing run can be replayed.
pub trait Entropy: Send + Sync + fmt::Debug + 'static {
    /// A fresh 128-bit token.
    fn token(&self) -> Token;
    /// A random duration in `[0, max]`: spreads retries of several nodes.
    fn jitter(&self, max: Duration) -> Duration;
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

#[expect(clippy::disallowed_methods, reason = "this is the one place that may ask the system")]
impl Entropy for OsEntropy {
    fn token(&self) -> Token {
        Token::from_bytes(rand::random())
    }

    fn jitter(&self, max: Duration) -> Duration {
        max.mul_f64(rand::random::<f64>())
    }
}

/// Randomness that a seed repeats: for tests.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<StdRng>);

impl SeededEntropy {
    /// The sequence of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    fn with<T>(&self, f: impl FnOnce(&mut StdRng) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Entropy for SeededEntropy {
    fn token(&self) -> Token {
        let mut bytes = [0; 16];
        self.with(|rng| rng.fill_bytes(&mut bytes));
        Token::from_bytes(bytes)
    }

    fn jitter(&self, max: Duration) -> Duration {
        max.mul_f64(self.with(|rng| rng.random::<f64>()))
    }
}
