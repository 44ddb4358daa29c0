//! Weights files: the released checkpoint against PyTorch's own reading, our files, and files that lie.

mod assembler;
mod containers;
mod hostile;
mod packed_files;
mod released;
mod safetensors_files;
mod variants;
