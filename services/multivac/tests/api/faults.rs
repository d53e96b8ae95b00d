//! Stores that are away, slow or unwilling, and workers that die.
