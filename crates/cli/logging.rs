//! Logs: stderr, as text or JSON.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// Variable that holds a filter in the syntax of `tracing`, e.g. `ezdfs_engine=debug`.
pub(crate) const VARIABLE: &str = "EZDFS_LOG";

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The filter for a verbosity: other crates keep quiet, because what they log of a statement or a
/// request may hold a secret.
fn directives(verbosity: i16) -> &'static str {
    match verbosity {
        i16::MIN..=-2 => "off",
        -1 => "error",
        0 => "warn",
        1 => "warn,ezdfs=info",
        2 => "warn,ezdfs=debug",
        3.. => "warn,ezdfs=trace",
    }
}

/// Starts logging. `base` is the verbosity without any option: servers say more than commands.
///
/// # Errors
/// When the variable does not hold a filter.
pub(crate) fn start(format: LogFormat, base: i16, verbose: u8, quiet: u8) -> Result<(), String> {
    let filter = match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).map_err(|e| {
            format!("{VARIABLE} is not a log filter ({e}); write e.g. `ezdfs=debug`")
        })?,
        _ => EnvFilter::new(directives(base + i16::from(verbose) - i16::from(quiet))),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Only one subscriber is ever started, by main.
    match format {
        LogFormat::Text => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr())
                && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            builder.with_ansi(colour).init();
        }
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
