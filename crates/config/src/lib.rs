//! Settings of ezdfs: TOML, environment, validation, and the parts built from them.
