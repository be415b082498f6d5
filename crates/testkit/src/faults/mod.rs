//! Fault injection: wrappers around both seams that share one [`Plan`].
//!
//! | type | what it does |
//! |---|---|
//! | [`Plan`] | counts calls; kills the process at one of them, or lets somebody act in between; or draws faults from a seed |
//! | [`FaultyObjects`] | an object store whose calls follow a plan |
//! | [`FaultyMetadata`] | a metadata store whose calls follow a plan |
//! | [`StampedObjects`] | an object store whose objects change in a test's time |
//! | [`Still`] | simulated time stands still while a store works on threads of its own |
//! | [`TickingClock`] | a clock that tests move, on which waits still come to an end |

mod clock;
mod metadata;
mod objects;
mod plan;
mod stamped;
mod still;

pub use clock::TickingClock;
pub use metadata::FaultyMetadata;
pub use objects::FaultyObjects;
pub use plan::{Chances, Injected, Loss, Plan, When};
pub use stamped::StampedObjects;
pub use still::Still;
