//! Check 25, and others with the program `ezdfs`.
