//! Sizes in results.

/// Bytes for people: `512 B`, `1.50 KiB`.
pub(crate) fn human(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// As [`human`] if `human` is wanted, else the number.
pub(crate) fn show(bytes: u64, wanted: bool) -> String {
    if wanted { human(bytes) } else { bytes.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_for_people() {
        assert_eq!(show(1536, true), "1.50 KiB");
        assert_eq!(show(1536, false), "1536");
        assert_eq!(human(0), "0 B");
    }
}
