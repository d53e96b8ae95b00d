//! Looking names up: what the DNS says, and what is made of it.

use std::fmt::Write as _;

use futures_util::future::join_all;
use hickory_server::proto::op::ResponseCode;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::wait_until;

use crate::dns::{Reply, a, aaaa, cname};
use crate::{Service, TIMEOUT};

#[tokio::test]
async fn a_name_is_answered_with_its_addresses_unique_and_in_numeric_order() {
    let service = Service::start(&[]).await;
    let addresses = ["93.184.216.34", "9.0.0.1", "10.0.0.2", "93.184.216.34", "10.0.0.10"];
    service.dns.set_addresses("example.com", &addresses);

    let answer = service.look_up("Example.COM.").await;

    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    let mut answer: Value = answer.json().await.unwrap();
    let created_at = answer["created_at"].take();
    let created_at = created_at.as_str().unwrap();
    assert!(created_at.ends_with('Z') && created_at.len() == "2024-05-13T08:47:47.037Z".len());
    assert_eq!(
        answer,
        json!({
            "id": 1,
            "client_ip": "127.0.0.1",
            "domain": "example.com",
            "created_at": null,
            "addresses": [
                {"ip": "9.0.0.1"}, {"ip": "10.0.0.2"}, {"ip": "10.0.0.10"}, {"ip": "93.184.216.34"},
            ],
        })
    );
}

#[tokio::test]
async fn an_internationalised_name_is_asked_for_and_answered_as_a_labels() {
    let service = Service::start(&[]).await;
    service.dns.set_addresses("xn--bcher-kva.example", &["192.0.2.1"]);

    let answer: Value = service.look_up("Bücher.example").await.json().await.unwrap();

    assert_eq!(answer["domain"], "xn--bcher-kva.example");
    assert_eq!(service.dns.asked("xn--bcher-kva.example"), 1);
}

#[tokio::test]
async fn cnames_are_followed_in_one_answer_and_in_several() {
    let service = Service::start(&[]).await;
    let mut chain = vec![
        cname("www.one.example", 60, "edge.one.example"),
        cname("edge.one.example", 60, "host.one.example"),
    ];
    chain.extend(a("host.one.example", 60, &["192.0.2.1"]));
    service.dns.set("www.one.example", Reply::Records(chain));
    // Those that come together are as many as fit.
    let mut long: Vec<_> = (0..20)
        .map(|step| {
            cname(&format!("{step}.long.example"), 60, &format!("{}.long.example", step + 1))
        })
        .collect();
    long.extend(a("20.long.example", 60, &["192.0.2.3"]));
    service.dns.set("0.long.example", Reply::Records(long));

    assert_eq!(service.addresses("www.one.example").await, ["192.0.2.1"]);
    assert_eq!(service.addresses("0.long.example").await, ["192.0.2.3"]);
}

#[tokio::test]
async fn seven_cnames_that_take_a_question_each_are_followed_and_no_more() {
    let service = Service::start(&[]).await;
    for step in 0..8 {
        let (from, to) = (format!("{step}.many.example"), format!("{}.many.example", step + 1));
        service.dns.set(&from, Reply::Records(vec![cname(&from, 60, &to)]));
    }
    service.dns.set_addresses("8.many.example", &["192.0.2.2"]);

    assert_eq!(service.addresses("1.many.example").await, ["192.0.2.2"]);
    assert_eq!(service.dns.asked("8.many.example"), 1);
    assert_eq!(service.look_up("0.many.example").await.status(), 502);
    assert_eq!(service.dns.asked("7.many.example"), 3, "it is asked for, and leads too far");
    assert_eq!(service.dns.asked("8.many.example"), 1);
}

#[tokio::test]
async fn a_cname_that_leads_in_a_circle_is_a_502_and_one_that_leads_nowhere_a_404() {
    let service = Service::start(&[]).await;
    let (to, fro) =
        (cname("to.example", 60, "fro.example"), cname("fro.example", 60, "to.example"));
    service.dns.set("to.example", Reply::Records(vec![to.clone()]));
    service.dns.set("fro.example", Reply::Records(vec![fro.clone()]));
    service.dns.set(
        "both.example",
        Reply::Records(vec![cname("both.example", 60, "to.example"), to, fro]),
    );
    let own = cname("own.example", 60, "own.example");
    service.dns.set("own.example", Reply::Records(vec![own]));
    let dangling = cname("dangling.example", 60, "nobody.example");
    service.dns.set("dangling.example", Reply::Records(vec![dangling]));

    for name in ["to.example", "both.example", "own.example"] {
        assert_eq!(service.look_up(name).await.status(), 502, "{name}");
    }
    assert_eq!(service.look_up("dangling.example").await.status(), 404);
    let outcome = "stakefish_lookups_total{outcome=\"failed\"}";
    assert_eq!(service.app.metric(outcome).await, Some(3.0));
}

#[tokio::test]
async fn an_answer_that_is_none_is_a_502() {
    let service = Service::start(&[]).await;
    service.dns.set("referral.example", Reply::Referral("ns.example"));
    service.dns.set("unassigned.example", Reply::Code(ResponseCode::Unknown(13)));
    service.dns.set("empty.example", Reply::Records(Vec::new()));

    for name in ["referral.example", "unassigned.example"] {
        let answer = service.look_up(name).await;
        assert_eq!(answer.status(), 502, "{name}: {:?}", answer.text().await);
    }
    assert_eq!(service.look_up("empty.example").await.status(), 404);
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_asked_for_over_tcp() {
    let service = Service::start(&[]).await;
    let full = Reply::Records(a("small.example", 60, &["192.0.2.1"]));
    service.dns.set("small.example", Reply::Truncated(Box::new(full)));
    let many: Vec<String> = (0..1000).map(|n| format!("10.0.{}.{}", n / 250, n % 250)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    service.dns.set_addresses("many.example", &many);

    assert_eq!(service.addresses("small.example").await, ["192.0.2.1"]);
    assert_eq!(service.addresses("many.example").await, many);

    assert_eq!(service.dns.asked_over_tcp("small.example"), 1);
    assert_eq!(service.dns.asked_over_tcp("many.example"), 1);
}

#[tokio::test]
async fn a_name_without_an_a_record_is_a_404_that_is_not_saved() {
    let service = Service::start(&[]).await;
    service.dns.set("six.example", Reply::Records(vec![aaaa("six.example", "2001:db8::1")]));
    service.dns.set("nothing.example", Reply::NoData(60));

    for name in ["six.example", "nothing.example", "nobody.example", "invalid"] {
        let answer = service.look_up(name).await;
        assert_eq!(answer.status(), 404, "{name}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["detail"], "the name does not exist or has no A record");
    }
    assert_eq!(service.app.get("/history").await.text().await.unwrap(), "[]");
    let outcome = "stakefish_lookups_total{outcome=\"not_found\"}";
    assert_eq!(service.app.metric(outcome).await, Some(4.0));
}

#[tokio::test]
async fn a_resolver_that_fails_is_a_502_whose_cause_is_logged() {
    let service = Service::start(&[]).await;

    for (name, code) in [
        ("servfail.example", ResponseCode::ServFail),
        ("refused.example", ResponseCode::Refused),
        ("notimp.example", ResponseCode::NotImp),
        ("formerr.example", ResponseCode::FormErr),
    ] {
        service.dns.set(name, Reply::Code(code));
        let answer = service.look_up(name).await;
        assert_eq!(answer.status(), 502, "{name}");
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        let problem = answer.text().await.unwrap();
        assert!(problem.contains("the resolver cannot be reached or fails"), "{problem}");
        let lines = service.app.logs_of(&id).await;
        let errors: Vec<_> = lines.iter().filter(|line| line["level"] == "ERROR").collect();
        assert_eq!(errors.len(), 1, "{lines:?}");
        assert_eq!(errors[0]["error"], format!("DNS error: error response: {code}"));
    }
    // Failures are not kept.
    service.dns.set_addresses("servfail.example", &["192.0.2.1"]);
    assert_eq!(service.addresses("servfail.example").await, ["192.0.2.1"]);
}

#[tokio::test]
async fn a_resolver_that_is_not_there_is_a_502() {
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let service = Service::start(&[("DNS_SERVERS", &closed.to_string())]).await;

    assert_eq!(service.look_up("example.com").await.status(), 502);
}

#[tokio::test]
async fn a_resolver_that_says_nothing_is_a_504() {
    let service = Service::start(&[("DNS_TIMEOUT", "100ms")]).await;
    service.dns.set("silent.example", Reply::Silence);
    let forged = Reply::Records(a("forged.example", 60, &["6.6.6.6"]));
    service.dns.set("forged.example", Reply::WrongId(Box::new(forged)));
    let mute = Reply::Truncated(Box::new(Reply::Silence));
    service.dns.set("mute.example", mute);

    for name in ["silent.example", "forged.example", "mute.example"] {
        let answer = service.look_up(name).await;
        assert_eq!(answer.status(), 504, "{name}");
        assert!(service.dns.asked(name) >= 2, "it is tried twice");
    }
}

#[tokio::test]
async fn a_slow_answer_is_waited_for_and_everybody_waits_for_the_same() {
    let service = Service::start(&[("WORKERS", "4"), ("DNS_TIMEOUT", "30s")]).await;
    let reply = Reply::Records(a("slow.example", 60, &["192.0.2.1"]));
    service.dns.set("slow.example", Reply::Held(Box::new(reply)));

    let lookups = join_all((0..20).map(|_| service.look_up("slow.example")));
    let release = async {
        wait_until("all requests wait", TIMEOUT, async || {
            service.app.metric("http_server_active_requests").await >= Some(21.0)
        })
        .await;
        service.dns.release();
    };
    let (answers, ()) = tokio::join!(lookups, release);

    assert!(answers.iter().all(|answer| answer.status() == 200));
    assert_eq!(service.app.metric("stakefish_dns_duration_seconds_count").await, Some(1.0));
    assert_eq!(service.app.metric("stakefish_dns_cache_hits_total").await, Some(19.0));
}

#[tokio::test]
async fn an_answer_is_kept_as_long_as_it_says_and_no_longer() {
    let service = Service::start(&[]).await;
    service.dns.set_addresses("long.example", &["192.0.2.1"]);
    service.dns.set("short.example", Reply::Records(a("short.example", 1, &["192.0.2.1"])));
    service.dns.set("never.example", Reply::Records(a("never.example", 0, &["192.0.2.1"])));
    // The alias is the shorter one of the two.
    service
        .dns
        .set("alias.example", Reply::Records(vec![cname("alias.example", 1, "long.example")]));
    service.dns.set("absent.example", Reply::NxDomain(3600));
    service.dns.set("empty.example", Reply::NoData(1));
    let names = [
        "long.example",
        "short.example",
        "never.example",
        "alias.example",
        "absent.example",
        "empty.example",
    ];
    for name in names {
        service.look_up(name).await;
        service.dns.set(name, Reply::Records(a(name, 3600, &["192.0.2.2"])));
    }

    assert_eq!(service.addresses("never.example").await, ["192.0.2.2"]);
    for name in ["short.example", "alias.example", "empty.example"] {
        let what = format!("{name} is asked for again");
        wait_until(&what, TIMEOUT, async || {
            let answer = service.look_up(name).await;
            answer.status() == 200 && answer.text().await.unwrap().contains("192.0.2.2")
        })
        .await;
    }

    assert_eq!(service.addresses("long.example").await, ["192.0.2.1"]);
    assert_eq!(service.look_up("absent.example").await.status(), 404);
    assert_eq!(service.dns.asked("absent.example"), 1);
}

#[tokio::test]
async fn lookups_have_a_limit_of_their_own_for_each_address() {
    let service =
        Service::start(&[("LOOKUP_RATE_LIMIT", "2/h"), ("TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    service.dns.set_addresses("example.com", &["192.0.2.1"]);
    let ask = async |client: &'static str| {
        let request = service.app.request(Method::GET, "/v1/tools/lookup?domain=example.com");
        request.header("x-forwarded-for", client).send().await.unwrap()
    };

    let statuses = [ask("198.51.100.1").await.status(), ask("198.51.100.1").await.status()];
    let third = ask("198.51.100.1").await;

    assert_eq!(statuses, [200, 200]);
    assert_eq!(third.status(), 429);
    let wait: u64 = third.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=1800).contains(&wait), "{wait}");
    assert_eq!(
        third.json::<Value>().await.unwrap()["message"],
        "too many lookups from this address"
    );
    assert_eq!(ask("198.51.100.2").await.status(), 200);
    let validate = service.post("/tools/validate", &json!({"ip": "1.2.3.4"})).await;
    assert_eq!(validate.status(), 200, "nothing else is limited");
    let outcome = "stakefish_lookups_total{outcome=\"limited\"}";
    assert_eq!(service.app.metric(outcome).await, Some(1.0));
}

#[tokio::test]
async fn by_default_twenty_lookups_a_second_are_allowed() {
    let service = Service::start(&[("LOOKUP_RATE_LIMIT", "")]).await;
    service.dns.set_addresses("example.com", &["192.0.2.1"]);
    let ask = || service.app.get("/v1/tools/lookup?domain=example.com");

    let answers = join_all((0..200).map(|_| ask())).await;

    let refused = answers.iter().filter(|answer| answer.status() == 429).count();
    assert!((1..=180).contains(&refused), "{refused}");
}

#[tokio::test]
async fn the_client_is_the_peer_or_who_a_trusted_proxy_says() {
    let forged = async |variables: &[(&str, &str)], chain: &'static str| {
        let service = Service::start(variables).await;
        service.dns.set_addresses("example.com", &["192.0.2.1"]);
        let request =
            service.app.request(Method::POST, "/tools/lookup").header("x-forwarded-for", chain);
        let answer = request.body(r#"{"domain":"example.com"}"#).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["client_ip"].clone()
    };
    let trusted = [("TRUSTED_PROXIES", "127.0.0.1")];

    assert_eq!(forged(&[], "203.0.113.7").await, "127.0.0.1");
    assert_eq!(forged(&trusted, "6.6.6.6, 203.0.113.7").await, "203.0.113.7");
    assert_eq!(forged(&trusted, "::ffff:203.0.113.7").await, "203.0.113.7");
    assert_eq!(forged(&trusted, "2001:DB8::7").await, "2001:db8::7");
    assert_eq!(forged(&trusted, "'; DROP TABLE queries; --").await, "127.0.0.1");
}

#[tokio::test]
async fn the_access_log_has_the_shape_of_the_original() {
    let service = Service::start(&[]).await;
    let request = service.app.request(Method::GET, "/history");
    let request = request.header("host", "localhost:3000").header("user-agent", "curl/8.2.1");

    let answer = request.send().await.unwrap();

    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let line = service.app.logs_of(&id).await.pop().unwrap();
    // Of the original's README, but for what is new in the lines of all services.
    let original = r#"{"message": "Incoming request", "req": {"method": "GET", "url": "http://localhost:3000/history", "client": "127.0.0.1", "user-agent": "curl/8.2.1"}, "res": {"status_code": 200}}"#;
    let original: Value = serde_json::from_str(original).unwrap();
    for (member, value) in original.as_object().unwrap() {
        assert_eq!(&line[member], value, "{line}");
    }
}

#[tokio::test]
async fn what_resolvers_took_and_kept_is_measured() {
    let service = Service::start(&[]).await;
    service.dns.set_addresses("example.com", &["192.0.2.1"]);

    for _ in 0..3 {
        service.addresses("example.com").await;
    }

    let mut missing = String::new();
    for (sample, value) in [
        ("stakefish_lookups_total{outcome=\"saved\"}", 3.0),
        ("stakefish_lookups_total{outcome=\"not_saved\"}", 0.0),
        ("stakefish_lookups_total{outcome=\"failed\"}", 0.0),
        ("stakefish_lookups_total{outcome=\"timed_out\"}", 0.0),
        ("stakefish_dns_cache_hits_total", 2.0),
        ("stakefish_dns_duration_seconds_count", 1.0),
    ] {
        if service.app.metric(sample).await != Some(value) {
            writeln!(missing, "{sample}").unwrap();
        }
    }
    assert_eq!(missing, "");
}
