//! Metadata stores of ezdfs: SQL handlers and the memory store.
