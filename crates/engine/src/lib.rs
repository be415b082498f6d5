//! The file service of ezdfs: what a file operation means.
