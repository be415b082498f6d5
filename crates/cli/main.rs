//! ezdfs.
fn main() {}
