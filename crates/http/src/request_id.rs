//! What ties the lines of several programs to one request: `X-Request-Id`, and the trace that a
//! caller says the request belongs to (W3C Trace Context).

use std::sync::atomic::{AtomicU64, Ordering};

use ezdfs_core::Entropy;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// Identity of a request, taken over from the client or made here.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// `00-TRACE-PARENT-FLAGS`.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Longest identity that is taken over, in bytes.
const MAX_ID: usize = 128;

/// Makes identities: the process's own random number, and a count.
#[derive(Debug)]
pub(crate) struct RequestIds {
    process: u64,
    next: AtomicU64,
}

/// What identifies one request.
#[derive(Debug, Clone)]
pub(crate) struct RequestId {
    /// As text of visible ASCII without quotes.
    pub(crate) id: HeaderValue,
    /// As the answer says it: the caller's trace, and the part of it that is this request.
    pub(crate) trace: Option<HeaderValue>,
}

impl RequestIds {
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        let token = entropy.token().to_string();
        let process = token.get(..16).and_then(|hex| u64::from_str_radix(hex, 16).ok());
        Self { process: process.unwrap_or_default(), next: AtomicU64::new(0) }
    }

    /// The identity of a request. Without one from the client it is made if `wanted`.
    pub(crate) fn of(&self, fields: &HeaderMap, wanted: bool) -> Option<RequestId> {
        let sent = fields.get(REQUEST_ID).filter(|id| is_id(id.as_bytes()));
        let parent = fields.get(TRACEPARENT).and_then(|value| trace_of(value.as_bytes()));
        if sent.is_none() && parent.is_none() && !wanted {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = match sent {
            Some(id) => id.clone(),
            None => HeaderValue::try_from(format!("{:016x}-{number:x}", self.process)).ok()?,
        };
        let trace = parent.and_then(|(trace, flags)| {
            // Never zero, and another one for each request of this process.
            let span = (self.process ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).max(1);
            HeaderValue::try_from(format!("00-{trace}-{span:016x}-{flags}")).ok()
        });
        Some(RequestId { id, trace })
    }
}

impl RequestId {
    /// Tells the client.
    pub(crate) fn apply(&self, fields: &mut HeaderMap) {
        fields.insert(REQUEST_ID, self.id.clone());
        if let Some(trace) = &self.trace {
            fields.insert(TRACEPARENT, trace.clone());
        }
    }

    /// The trace, in 32 hex digits.
    pub(crate) fn trace_id(&self) -> Option<&str> {
        self.trace.as_ref()?.to_str().ok()?.get(3..35)
    }

    /// The part of the trace that is this request, in 16 hex digits.
    pub(crate) fn span_id(&self) -> Option<&str> {
        self.trace.as_ref()?.to_str().ok()?.get(36..52)
    }
}

fn is_id(id: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(b);
    (1..=MAX_ID).contains(&id.len()) && id.iter().all(plain)
}

/// Trace and flags of a `traceparent` (its version 00, and what later versions begin with).
fn trace_of(value: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(value).ok()?;
    let mut parts = text.split('-');
    let (version, trace, parent, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_zero = |part: &str| part.bytes().all(|b| b == b'0');
    let well_formed = is_hex(version, 2)
        && version != "ff"
        && (version != "00" || parts.next().is_none())
        && is_hex(trace, 32)
        && !is_zero(trace)
        && is_hex(parent, 16)
        && !is_zero(parent)
        && is_hex(flags, 2);
    well_formed.then_some((trace, flags))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ezdfs_core::SeededEntropy;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn of(name: &'static str, value: &str) -> Option<RequestId> {
        let ids = RequestIds::new(&SeededEntropy::new(1));
        let mut fields = HeaderMap::new();
        fields.insert(name, HeaderValue::from_str(value).unwrap());
        ids.of(&fields, false)
    }

    #[test]
    fn an_identity_is_taken_over_or_made() {
        assert_eq!(of("x-request-id", "abc-1").unwrap().id, "abc-1");
        for odd in ["", "a b", "a\"b", "é", &"x".repeat(129)] {
            assert!(of("x-request-id", odd).is_none(), "{odd}");
        }
        let ids = RequestIds::new(&SeededEntropy::new(1));
        let made: Vec<_> = (0..2).map(|_| ids.of(&HeaderMap::new(), true).unwrap().id).collect();
        assert!(made[0] != made[1] && made.iter().all(|id| is_id(id.as_bytes())), "{made:?}");
        assert!(ids.of(&HeaderMap::new(), false).is_none());
    }

    #[test]
    fn a_trace_goes_on() {
        let id = of("traceparent", &format!("00-{TRACE}-00f067aa0ba902b7-01")).unwrap();
        assert_eq!(id.trace_id(), Some(TRACE));
        assert_ne!(id.span_id(), Some("00f067aa0ba902b7"));
        assert!(id.trace.unwrap().to_str().unwrap().ends_with("-01"));
        assert!(of("traceparent", &format!("01-{TRACE}-00f067aa0ba902b7-01-later")).is_some());
        for odd in [
            "",
            "00",
            "00-4bf9-00f067aa0ba902b7-01",
            &format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            &format!("00-{TRACE}-00f067aa0ba902b7-01-x"),
            &format!("00-{TRACE}-0000000000000000-01"),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            &format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
        ] {
            assert!(of("traceparent", odd).is_none(), "{odd}");
        }
    }
}
