use std::net::{Ipv4Addr, SocketAddrV6};

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Endpoint, EndpointError> {
    Endpoint::parse(text, 6379)
}

fn name(text: &str) -> Host {
    Host::Name(text.into())
}

/// PITFALL-05, RULE-24
#[test]
fn reads_every_form() {
    let v6 = || Host::Ip(IpAddr::V6(Ipv6Addr::LOCALHOST));
    let v4 = || Host::Ip(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
    for (text, host, port) in [
        ("redis.example.com:7000", name("redis.example.com"), 7000),
        ("redis.example.com", name("redis.example.com"), 6379),
        ("redis.example.com:", name("redis.example.com"), 6379),
        ("Redis.Example.COM.:7000", name("redis.example.com"), 7000),
        ("redis_1", name("redis_1"), 6379),
        ("10.0.0.1:7000", v4(), 7000),
        ("10.0.0.1", v4(), 6379),
        ("[::1]:7000", v6(), 7000),
        ("[::1]", v6(), 6379),
        ("::1", v6(), 6379),
        ("[::ffff:10.0.0.1]:7000", v4(), 7000),
        ("host:65535", name("host"), 65535),
    ] {
        assert_eq!(parse(text), Ok(Endpoint::Tcp { host, port }), "{text}");
    }
}

#[test]
fn says_which_part_is_wrong() {
    let long_label = "a".repeat(MAX_LABEL + 1);
    let long_name = "a.".repeat(MAX_NAME);
    for (text, error) in [
        ("", EndpointError::Empty),
        (":6379", EndpointError::Empty),
        ("?", EndpointError::Host),
        ("a b:1", EndpointError::Host),
        ("user@host:1", EndpointError::Host),
        ("/run/redis.sock", EndpointError::Host),
        ("a..b", EndpointError::Host),
        ("..", EndpointError::Host),
        ("10.0.0", EndpointError::Host),
        ("10.0.0.256:1", EndpointError::Host),
        ("bücher.example", EndpointError::Host),
        ("[::1", EndpointError::Host),
        ("[::1]x", EndpointError::Host),
        ("[::1]x:1", EndpointError::Host),
        ("[10.0.0.1]:1", EndpointError::Host),
        ("[]:1", EndpointError::Host),
        ("a:b:c", EndpointError::Host),
        (long_label.as_str(), EndpointError::Host),
        (long_name.as_str(), EndpointError::Host),
        ("host:65536", EndpointError::Port),
        ("host:+1", EndpointError::Port),
        ("host:x", EndpointError::Port),
        ("host:0", EndpointError::ZeroPort),
        ("host:000", EndpointError::ZeroPort),
    ] {
        assert_eq!(parse(text), Err(error), "{text}");
    }
    assert_eq!(Endpoint::parse("host", 0), Err(EndpointError::ZeroPort));
}

#[test]
fn shows_what_it_reads() {
    for text in ["redis.example.com:7000", "10.0.0.1:7000", "[2001:db8::1]:7000"] {
        assert_eq!(parse(text).unwrap().to_string(), text);
    }
    assert_eq!(Endpoint::unix("/run/redis.sock").to_string(), "unix:/run/redis.sock");
    assert_eq!(Peer::from(Path::new("/run/redis.sock")).to_string(), "unix:/run/redis.sock");
}

#[test]
fn one_address_is_one_peer() {
    let plain = Peer::from("10.0.0.1:6379".parse::<SocketAddr>().unwrap());
    let mapped = Peer::from("[::ffff:10.0.0.1]:6379".parse::<SocketAddr>().unwrap());
    assert_eq!(plain, mapped);
    assert_eq!(mapped.to_string(), "10.0.0.1:6379");

    let labelled = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 6379, 7, 0);
    let unlabelled = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 6379, 0, 0);
    assert_eq!(Peer::from(SocketAddr::V6(labelled)), Peer::from(SocketAddr::V6(unlabelled)));
}

#[test]
fn only_a_name_has_no_certain_peer() {
    let address: SocketAddr = "[::1]:7000".parse().unwrap();
    assert_eq!(parse("[::1]:7000").unwrap().peer(), Some(Peer::from(address)));
    assert_eq!(Endpoint::from(address).peer(), Some(Peer::from(address)));
    assert_eq!(parse("localhost:7000").unwrap().peer(), None);
    assert_eq!(Endpoint::unix("/run/a").peer(), Some(Peer::from(Path::new("/run/a"))));
}

proptest! {
    /// INV-11
    #[test]
    fn parse_is_total_and_display_reads_back(text in ".{0,40}") {
        if let Ok(endpoint) = parse(&text) {
            prop_assert_eq!(parse(&endpoint.to_string()), Ok(endpoint));
        }
    }

    #[test]
    fn near_misses_read_back_too(text in r"\[?[a-zA-Z0-9:.\[\]_-]{0,20}\]?(:[0-9]{0,6})?") {
        if let Ok(endpoint) = parse(&text) {
            prop_assert_eq!(parse(&endpoint.to_string()), Ok(endpoint));
        }
    }

    #[test]
    fn every_address_reads_back(bits: u128, port in 1..=u16::MAX, v4: bool) {
        let ip = if v4 { IpAddr::V4((bits as u32).into()) } else { IpAddr::V6(bits.into()) };
        let endpoint = Endpoint::from(SocketAddr::new(ip, port));
        prop_assert_eq!(parse(&endpoint.to_string()), Ok(endpoint));
    }
}
