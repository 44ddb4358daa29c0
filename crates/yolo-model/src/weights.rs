//! Named tensors on the host, and the files they live in.
