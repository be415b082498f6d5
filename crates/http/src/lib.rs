//! The HTTP asset server of ezdfs.
