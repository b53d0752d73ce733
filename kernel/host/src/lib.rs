//! The kernel's side of every WIT import, one module per interface.
