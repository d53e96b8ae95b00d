/// What the test process was started with; an empty variable counts as unset.
#[expect(
    clippy::disallowed_methods,
    reason = "the switches of the tests themselves, not a service's configuration"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
