//! `Policies`: what operators choose about answers, all in one place.

use crate::cache_policy::CachePolicies;
use crate::cors::Cors;
use crate::inline_types::InlineTypes;
use crate::placeholder::Placeholders;

/// What operators choose about answers.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    /// `Cache-Control` and `CDN-Cache-Control` by path.
    pub cache: CachePolicies,
    /// Media types that browsers show in place.
    pub inline: InlineTypes,
    /// Whether answers name the directories they lie in, for purges of caches in front.
    pub surrogate_keys: bool,
    /// Sites whose scripts may read answers.
    pub cors: Cors,
    /// What is shown in place of missing files.
    pub placeholders: Placeholders,
}
