use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Mutex;
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Waits until `condition` holds: asks at once, then with pauses that grow from 1 ms to 50 ms.
///
/// # Panics
/// When it does not hold `within` that time, however long a single question takes; the message
/// says `what` was waited for.
pub async fn wait_until(what: &str, within: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let poll = async {
        let mut pause = FIRST_PAUSE;
        while !condition().await {
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    };
    let held = tokio::time::timeout(within, poll).await.is_ok();
    assert!(held, "waited {within:?} in vain until {what}");
}

/// A TCP port of the loopback that nobody listens on, and that no other call of this function in
/// any process gets until this process ends.
///
/// The port is below the range from which systems take the ports of outgoing connections. So it is
/// still free when a server that was killed comes up on it again.
pub fn free_port() -> u16 {
    // Tests need the TCP port for themselves. The UDP port of the same number is the claim, which
    // the system takes back even from a process that was killed.
    static CLAIMS: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    for _ in 0..1000 {
        let port = rand::random_range(20_000..30_000);
        if let Ok(claim) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))
            && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
        {
            CLAIMS.lock().expect("pushing cannot panic").push(claim);
            return port;
        }
    }
    panic!("no free port between 20000 and 30000");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[tokio::test]
    async fn a_condition_is_asked_until_it_holds() {
        let mut asked = 0;
        wait_until("it was asked three times", Duration::from_secs(10), async || {
            asked += 1;
            asked == 3
        })
        .await;
        assert_eq!(asked, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "in vain until pigs fly")]
    async fn a_condition_that_never_holds_panics_with_its_name() {
        wait_until("pigs fly", Duration::from_millis(5), async || false).await;
    }

    #[tokio::test]
    #[should_panic(expected = "in vain until the answer comes")]
    async fn a_question_that_hangs_is_bounded() {
        wait_until("the answer comes", Duration::from_millis(5), std::future::pending).await;
    }

    #[test]
    fn free_ports_differ_and_can_be_bound() {
        let ports: Vec<u16> = (0..100).map(|_| free_port()).collect();
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len());
        for port in ports {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
        }
    }
}
