//! The program: its command line, its log, its signals, its exit codes.
