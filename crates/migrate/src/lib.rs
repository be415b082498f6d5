//! migrate-files: listers, planner, journal, verification and report.
