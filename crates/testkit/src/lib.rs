//! Conformance suites, fault-injecting stores and test servers of ezdfs.
