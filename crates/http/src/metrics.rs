//! Counts and histograms of requests. Every label has few values that are known beforehand, so that
//! no client can make the memory of a scraper grow.
//!
//! Counting is a few additions on fixed places: a registry that looks each name up would cost more
//! than the answer from memory that it counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// A public asset.
    Asset,
    /// An asset by a signed URL.
    Signed,
    /// `/v1/files`.
    Files,
    /// `/v1/dirs`.
    Dirs,
    /// Another route of the admin API.
    Api,
    /// Health, readiness, metrics.
    Health,
    /// Anything else, refused requests included.
    Other,
}

impl Route {
    const ALL: [Self; 7] =
        [Self::Asset, Self::Signed, Self::Files, Self::Dirs, Self::Api, Self::Health, Self::Other];

    const fn label(self) -> &'static str {
        match self {
            Self::Asset => "asset",
            Self::Signed => "signed",
            Self::Files => "files",
            Self::Dirs => "dirs",
            Self::Api => "api",
            Self::Health => "health",
            Self::Other => "other",
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// Status classes, 5xx last.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Upper bounds of the buckets, in microseconds and as labels.
const BOUNDS: [(u64, &str); 12] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (10_000_000, "10"),
];

#[derive(Debug, Default)]
struct Histogram {
    /// Observations up to each bound and above the one before; the last is above all.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// Microseconds.
    sum: AtomicU64,
}

/// Requests by route and status class.
#[derive(Debug, Default)]
pub(crate) struct HttpMetrics([[Histogram; CLASSES.len()]; Route::ALL.len()]);

impl HttpMetrics {
    pub(crate) fn observe(&self, route: Route, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        let Some(histogram) = self.0.get(route.index()).and_then(|row| row.get(class)) else {
            return;
        };
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|(bound, _)| *bound < micros);
        if let Some(bucket) = histogram.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        histogram.sum.fetch_add(micros, Ordering::Relaxed);
    }

    /// As `ezdfs_http_request_duration_seconds`, whose `_count` is the number of requests.
    pub(crate) fn write(&self, listener: &str, page: &mut Page) {
        let family = page.family(
            "http_request_duration_seconds",
            "histogram",
            "Time from the head of a request to the end of its answer.",
        );
        for (route, row) in Route::ALL.iter().zip(&self.0) {
            for (class, histogram) in CLASSES.iter().zip(row) {
                let counts = histogram.buckets.each_ref().map(|b| b.load(Ordering::Relaxed));
                let total: u64 = counts.iter().sum();
                if total == 0 {
                    continue;
                }
                let labels = format!(
                    "listener=\"{listener}\",route=\"{}\",status=\"{class}\"",
                    route.label()
                );
                let mut so_far = 0;
                for ((_, bound), count) in BOUNDS.iter().zip(counts) {
                    so_far += count;
                    family.sample("_bucket", &format!("{labels},le=\"{bound}\""), so_far);
                }
                family.sample("_bucket", &format!("{labels},le=\"+Inf\""), total);
                let sum = Duration::from_micros(histogram.sum.load(Ordering::Relaxed));
                family.sample("_sum", &labels, sum.as_secs_f64());
                family.sample("_count", &labels, total);
            }
        }
    }
}

/// A page in Prometheus's text format.
#[derive(Debug, Default)]
pub(crate) struct Page(Vec<Family>);

/// A metric with its samples, which must stand together.
#[derive(Debug)]
struct Family {
    name: String,
    text: String,
}

impl Page {
    /// The metric of that name, without the prefix of all.
    fn family(&mut self, name: &str, kind: &str, help: &str) -> &mut Family {
        let at = self.0.iter().position(|family| family.name == name).unwrap_or_else(|| {
            let text = format!("# HELP ezdfs_{name} {help}\n# TYPE ezdfs_{name} {kind}\n");
            self.0.push(Family { name: name.to_owned(), text });
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    /// What goes up and down.
    pub(crate) fn gauge(
        &mut self,
        name: &str,
        help: &str,
        labels: &str,
        value: impl std::fmt::Display,
    ) {
        self.family(name, "gauge", help).sample("", labels, value);
    }

    /// What only grows.
    pub(crate) fn counter(&mut self, name: &str, help: &str, labels: &str, value: u64) {
        self.family(name, "counter", help).sample("", labels, value);
    }

    pub(crate) fn into_text(self) -> String {
        self.0.into_iter().map(|family| family.text).collect()
    }
}

impl Family {
    fn sample(&mut self, suffix: &str, labels: &str, value: impl std::fmt::Display) {
        let name = &self.name;
        let line = if labels.is_empty() {
            format!("ezdfs_{name}{suffix} {value}\n")
        } else {
            format!("ezdfs_{name}{suffix}{{{labels}}} {value}\n")
        };
        self.text.push_str(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_are_cumulative() {
        let metrics = HttpMetrics::default();
        for micros in [1, 500, 501, 20_000_000] {
            metrics.observe(Route::Asset, StatusCode::OK, Duration::from_micros(micros));
        }
        metrics.observe(Route::Other, StatusCode::NOT_FOUND, Duration::ZERO);
        let mut page = Page::default();
        metrics.write("assets", &mut page);
        let text = page.into_text();
        let labels = "listener=\"assets\",route=\"asset\",status=\"2xx\"";
        for line in [
            format!("ezdfs_http_request_duration_seconds_bucket{{{labels},le=\"0.0005\"}} 2\n"),
            format!("ezdfs_http_request_duration_seconds_bucket{{{labels},le=\"10\"}} 3\n"),
            format!("ezdfs_http_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 4\n"),
            format!("ezdfs_http_request_duration_seconds_count{{{labels}}} 4\n"),
            format!("ezdfs_http_request_duration_seconds_sum{{{labels}}} 20.001002\n"),
        ] {
            assert!(text.contains(&line), "{line}{text}");
        }
        assert_eq!(text.matches("# TYPE").count(), 1);
        assert!(text.contains("route=\"other\",status=\"4xx\"") && !text.contains("5xx"));
    }
}
