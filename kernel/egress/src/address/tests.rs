use super::*;
use proptest::prelude::*;

#[test]
fn every_special_range_is_refused_at_both_ends_and_open_beside_them() {
    let cases: &[(&str, &str)] = &[
        ("0.0.0.0", "0.0.0.0/8"),
        ("0.255.255.255", "0.0.0.0/8"),
        ("10.0.0.0", "10.0.0.0/8"),
        ("10.255.255.255", "10.0.0.0/8"),
        ("100.64.0.0", "100.64.0.0/10"),
        ("100.127.255.255", "100.64.0.0/10"),
        ("127.0.0.1", "127.0.0.0/8"),
        ("127.255.255.254", "127.0.0.0/8"),
        ("169.254.0.0", "169.254.0.0/16"),
        ("169.254.169.254", "169.254.0.0/16"),
        ("172.16.0.0", "172.16.0.0/12"),
        ("172.31.255.255", "172.16.0.0/12"),
        ("192.0.0.1", "192.0.0.0/24"),
        ("192.0.2.1", "192.0.2.0/24"),
        ("192.88.99.1", "192.88.99.0/24"),
        ("192.168.255.255", "192.168.0.0/16"),
        ("198.18.0.0", "198.18.0.0/15"),
        ("198.19.255.255", "198.18.0.0/15"),
        ("198.51.100.7", "198.51.100.0/24"),
        ("203.0.113.7", "203.0.113.0/24"),
        ("224.0.0.1", "224.0.0.0/4"),
        ("239.255.255.255", "224.0.0.0/4"),
        ("240.0.0.1", "240.0.0.0/4"),
        ("255.255.255.255", "255.255.255.255/32"),
        ("168.63.129.16", "168.63.129.16/32"),
        ("::", "::/128"),
        ("::1", "::1/128"),
        ("::8.8.8.8", "::/96"),
        ("::ffff:8.8.8.8", "::ffff:0.0.0.0/96"),
        ("64:ff9b::8.8.8.8", "64:ff9b::/96"),
        ("64:ff9b:1::1", "64:ff9b:1::/48"),
        ("100::1", "100::/64"),
        ("2001::1", "2001::/32"),
        ("2001:10::1", "2001:10::/28"),
        ("2001:20::1", "2001:20::/28"),
        ("2001:2::1", "2001::/23"),
        ("2001:db8::1", "2001:db8::/32"),
        ("2002:808:808::1", "2002::/16"),
        ("3fff::1", "3fff::/20"),
        ("5f00::1", "5f00::/16"),
        ("fc00::1", "fc00::/7"),
        ("fd00:ec2::254", "fc00::/7"),
        ("fe80::1", "fe80::/10"),
        ("febf::1", "fe80::/10"),
        ("fec0::1", "fec0::/10"),
        ("ff02::1", "ff00::/8"),
        ("4000::1", "what is outside 2000::/3"),
        ("64:ff9b:2::1", "what is outside 2000::/3"),
    ];
    for (address, range) in cases {
        let refusal = check_ip(address.parse().unwrap()).expect_err(address);
        assert_eq!(refusal.range, *range, "{address}");
        assert!(!refusal.why.is_empty() && refusal.to_string().contains(range), "{refusal}");
    }
    let open = [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "8.8.8.8",
        "2001:200::1",
        "2001:4860::8888",
        "2606:4700::1111",
        "2a00:1450::1",
        "2003::1",
    ];
    for address in open {
        check_ip(address.parse().unwrap()).unwrap();
    }
}

#[test]
fn metadata_services_are_known_in_every_embedding() {
    for address in [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ] {
        let ip = address.parse().unwrap();
        assert!(check_not_metadata(ip).expect_err(address).metadata);
        assert!(check_ip(ip).expect_err(address).metadata, "{address}");
    }
    for address in ["127.0.0.1", "10.0.0.1", "169.254.1.1", "fd00::1"] {
        check_not_metadata(address.parse().unwrap()).unwrap();
    }
}

#[test]
fn local_names_are_refused_with_the_rule_that_covers_them() {
    let cases = [
        ("localhost", "localhost"),
        ("LOCALHOST.", "localhost"),
        ("a.localhost", "localhost"),
        ("localhost.localdomain", "localdomain"),
        ("printer.local", "local"),
        ("vault.internal", "internal"),
        ("metadata.google.internal", "metadata.google.internal"),
        ("metadata.google.internal.", "metadata.google.internal"),
        ("nas.home.arpa", "home.arpa"),
        ("metadata", "metadata"),
        ("instance-data", "instance-data"),
        ("intranet-host", "without a dot"),
    ];
    for (name, rule) in cases {
        let refusal = check_name(name).expect_err(name);
        assert!(refusal.range.contains(rule), "{name}: {refusal}");
    }
    for name in ["example.com", "localhost.example.com", "mylocal.example", "notlocal.com", "internal.example.org"] {
        check_name(name).unwrap();
    }
}

proptest! {
    #[test]
    fn an_embedded_v4_is_never_judged_milder_than_the_plain_one(bits: u32) {
        let v4 = Ipv4Addr::from(bits);
        let [a, b, c, d] = v4.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let embeddings = [
            v4.to_ipv6_mapped(),
            Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
        ];
        let plain = check_ip(v4.into());
        for v6 in embeddings {
            prop_assert_eq!(embedded_v4(v6), Some(v4));
            prop_assert!(check_ip(v6.into()).is_err() || plain.is_ok());
            prop_assert_eq!(is_metadata(v6.into()), is_metadata(v4.into()));
            prop_assert_eq!(check_not_metadata(v6.into()).is_err(), check_not_metadata(v4.into()).is_err());
        }
    }

    #[test]
    fn only_global_unicast_v6_is_open(bits: u128) {
        let ip = Ipv6Addr::from(bits);
        if check_ip(ip.into()).is_ok() {
            prop_assert_eq!(ip.segments()[0] >> 13, 1);
        }
    }
}
