#![doc = include_str!("../README.md")]

pub mod mongodb;
pub mod redis;
