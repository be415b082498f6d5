//! What a user sees of a defect.

use std::panic::PanicHookInfo;

/// Panics are defects: says so, what to report, and where.
pub(crate) fn install_hook() {
    std::panic::set_hook(Box::new(|info| crate::say::error(&message(info))));
}

fn message(info: &PanicHookInfo<'_>) -> String {
    let what = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    format!(
        "this is a defect of ezdfs {}: {what} ({place})\nPlease report it, with these lines and \
         what you did, at {}/issues",
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_REPOSITORY"),
    )
}
