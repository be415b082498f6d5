//! Binarydata handlers of ezdfs: the local/NFS store, builders, metadata derived from objects.
