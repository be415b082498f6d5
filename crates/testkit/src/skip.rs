//! Tests that cannot run here say so; with `EZDFS_REQUIRE=all` they fail.

/// Says loudly that a test does not run, and why.
///
/// # Panics
/// With `EZDFS_REQUIRE=all`: nothing may be skipped.
#[allow(clippy::panic, clippy::print_stderr)]
pub fn skipped(what: &str, why: &str) {
    if std::env::var("EZDFS_REQUIRE").as_deref() == Ok("all") {
        panic!("EZDFS_REQUIRE=all: {what} may not be skipped, but {why}");
    }
    eprintln!("SKIPPED: {what}, because {why}");
}
