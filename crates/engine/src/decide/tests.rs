//! The rule, branch by branch.
